"""An object, or a list of them, as a client reads it: which fields, with or without what points to it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lab.contrail.objects import Objects
from lab.contrail.refusals import Refused
from lab.contrail.schema import Json, Kind, kind_of

Url = Callable[[str, str], str]
"""Where an object is read: of its type and its id."""

HEAD = ("fq_name", "uuid", "parent_type", "parent_uuid")
PERMISSIONS = ("id_perms", "perms2")
PAGE = 256
"""What a page holds where its size is not said."""


def read(objects: Objects, kind: Kind, object_id: str, query: Mapping[str, str], url: Url) -> Json:
    """Answer to a GET of one object."""
    body = objects.get(kind, object_id)
    fields = set(query["fields"].split(",")) if "fields" in query else None
    seen = whole(objects, kind, body, fields)
    if fields is None:
        hidden = {name for name in seen if name.endswith("_back_refs")} if "exclude_back_refs" in query else set()
        hidden |= set(_children(objects, object_id)) if "exclude_children" in query else set()
        seen = {name: value for name, value in seen.items() if name not in hidden}
    if "exclude_hrefs" not in query:
        seen = _with_hrefs(kind, seen, url)
    return {"name": body["fq_name"][-1], **seen}


def whole(objects: Objects, kind: Kind, body: Json, fields: Collection[str] | None = None) -> Json:
    """All of it, or these fields, with what hangs below it and what points to it."""
    links = _back_refs(objects, body["uuid"]) | _children(objects, body["uuid"])
    if fields is None:
        return body | links
    return {name: value for name, value in (body | links).items() if name in {*HEAD, *PERMISSIONS, *fields}}


@dataclass(frozen=True, slots=True)
class Query:
    """What a list is asked for, from a URL or a body."""

    parents: list[str] | None = None
    back_refs: list[str] | None = None
    ids: list[str] | None = None
    fields: tuple[str, ...] = ()
    filters: Mapping[str, list[Any]] | None = None
    detail: bool = False
    count: bool = False
    hrefs: bool = True
    paged: bool = False
    marker: str | None = None
    limit: int = PAGE


def query_of_url(objects: Objects, kind: Kind, given: Mapping[str, str]) -> Query:
    ids = given["obj_uuids"].split(",") if "obj_uuids" in given else None
    if "fq_names" in given:
        found = [objects.id_of(kind, name.split(":")) for name in given["fq_names"].split(",")]
        ids = (ids or []) + [each for each in found if each]
    return Query(
        _parents(objects, kind, given),
        given["back_ref_id"].split(",") if "back_ref_id" in given else None,
        ids,
        tuple(given["fields"].split(",")) if given.get("fields") else (),
        _filters(given.get("filters")),
        "true" in given.get("detail", "").lower(),
        "true" in given.get("count", "").lower(),
        "exclude_hrefs" not in given,
        "page_marker" in given,
        _marker(given.get("page_marker")),
        _limit(given.get("page_limit", PAGE)),
    )


def query_of_body(given: Json) -> tuple[Kind, Query]:
    """Of /list-bulk-collection.  Its lists are strings with commas; a real list raises AttributeError, that is 500."""
    kind = kind_of(given.get("type"))

    def split(name: str) -> list[str] | None:
        return [str(part) for part in given[name].split(",")] if name in given else None

    return kind, Query(
        split("parent_id"),
        split("back_ref_id"),
        split("obj_uuids"),
        tuple(given["fields"].split(",")) if given.get("fields") else (),
        _filters(given.get("filters")),
        bool(given.get("detail")),
        bool(given.get("count")),
        not given.get("exclude_hrefs"),
        "page_marker" in given,
        _marker(given.get("page_marker")),
        _limit(given.get("page_limit", PAGE)),
    )


def listed(objects: Objects, kind: Kind, query: Query, url: Url) -> Json:
    """Answer to a list."""
    found = sorted(
        (body for body in objects.all(kind) if _is_wanted(kind, body, query)), key=lambda body: str(body["uuid"])
    )
    marker = None
    if query.paged:
        found = [body for body in found if query.marker is None or body["uuid"] > query.marker][: query.limit]
        marker = found[-1]["uuid"] if len(found) == query.limit else None
    shown: Any = {"count": len(found)} if query.count else [_entry(objects, kind, body, query, url) for body in found]
    return {kind.collection: shown, **({"marker": marker} if query.paged else {})}


def _is_wanted(kind: Kind, body: Json, query: Query) -> bool:
    if query.ids is not None and body["uuid"] not in query.ids:
        return False
    if query.parents is not None and body.get("parent_uuid") not in query.parents:
        return False
    if query.back_refs is not None:
        held = {ref["uuid"] for name in kind.ref_fields for ref in body.get(name, ())}
        if not held & set(query.back_refs):
            return False
    return all(body.get(name) in values for name, values in (query.filters or {}).items())


def _entry(objects: Objects, kind: Kind, body: Json, query: Query, url: Url) -> Json:
    href = {"href": url(kind.name, body["uuid"])} if query.hrefs else {}
    if query.detail:
        # Everything of its own; of what points to it only what was asked for.
        links = {name: value for name, value in whole(objects, kind, body).items() if name in query.fields}
        return {kind.name: {**body, **links, **href, "name": body["fq_name"][-1]}}
    if query.fields:
        seen = whole(objects, kind, body, query.fields)
        shown = {name: value for name, value in seen.items() if name in HEAD or name in query.fields}
        return {**shown, **href}
    return {"fq_name": body["fq_name"], "uuid": body["uuid"], **href}


def _back_refs(objects: Objects, object_id: str) -> Json:
    found: Json = {}
    for holder in objects.holders(object_id):
        kind = objects.kind_of(holder["uuid"])
        assert kind is not None
        for name in kind.ref_fields:
            for ref in holder.get(name, ()):
                if ref["uuid"] == object_id:
                    link = {"to": holder["fq_name"], "uuid": holder["uuid"], "attr": ref["attr"]}
                    found.setdefault(kind.back_ref_field, []).append(link)
    return found


def _children(objects: Objects, object_id: str) -> Json:
    found: Json = {}
    for kind, child in objects.children(object_id):
        found.setdefault(kind.child_field, []).append({"to": child["fq_name"], "uuid": child["uuid"]})
    return found


def _with_hrefs(kind: Kind, seen: Json, url: Url) -> Json:
    shown = {**seen, "href": url(kind.name, seen["uuid"])}
    if "parent_uuid" in seen:
        shown["parent_href"] = url(seen["parent_type"], seen["parent_uuid"])
    for name, value in seen.items():
        target = _target(kind, name)
        if target and isinstance(value, list):
            shown[name] = [{**link, "href": url(target, link["uuid"])} for link in value]
    return shown


def _target(kind: Kind, field: str) -> str | None:
    """The type that a link of this field leads to."""
    if field in kind.ref_fields:
        return kind.ref_fields[field]
    stem = field.removesuffix("_back_refs") if field.endswith("_back_refs") else field.removesuffix("s")
    try:
        return kind_of(stem).name
    except Refused:
        return None


def _parents(objects: Objects, kind: Kind, given: Mapping[str, str]) -> list[str] | None:
    if "parent_fq_name_str" in given:
        types = [given["parent_type"]] if "parent_type" in given else kind.parents
        name = given["parent_fq_name_str"].split(":")
        found = [objects.id_of(kind_of(each), name) for each in types if each != "config-root"]
        return [each for each in found if each]
    return given["parent_id"].split(",") if "parent_id" in given else None


def _filters(given: str | None) -> dict[str, list[Any]] | None:
    """`name=="value",name=="other"`: values are JSON, and one of a name's several is enough."""
    if not given:
        return None
    found: dict[str, list[Any]] = {}
    try:
        for each in given.split(","):
            name, value = each.split("==")
            found.setdefault(name, []).append(json.loads(value))
    except ValueError as fault:
        raise Refused(400, f"Invalid filter {given}") from fault
    return found


def _marker(given: str | None) -> str | None:
    if not given or given.lower() == "none":
        return None
    try:
        return str(uuid.UUID(given.split(":")[-1]))
    except ValueError as fault:
        raise Refused(400, f"Invalid page_marker {given}: {fault}") from fault


def _limit(given: str | int) -> int:
    try:
        limit = int(given)
        if limit <= 0:
            raise ValueError("page_limit has to be greater than zero")
    except ValueError as fault:
        raise Refused(400, f"Invalid page_limit {given}: {fault}") from fault
    return limit
