"""What is to be done for a request, and the answer to it.  It knows no sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from lab.contrail import partial
from lab.contrail.faults import Faults
from lab.contrail.objects import Objects
from lab.contrail.refusals import MALFORMED, Refused
from lab.contrail.schema import KINDS, Json, Kind, kind_of
from lab.contrail.views import listed, query_of_body, query_of_url, read

ACTIONS = (
    ("GET", "prop-collection-get", "prop-collection-get"),
    ("POST", "prop-collection-update", "prop-collection-update"),
    ("POST", "ref-update", "ref-update"),
    ("POST", "fqname-to-id", "name-to-id"),
    ("POST", "id-to-fqname", "id-to-name"),
    ("POST", "list-bulk-collection", "list-bulk-collection"),
)
"""Method, path, and the name by which the generated client looks for it."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    base: str
    """The scheme and host that the client used; links in answers begin with it."""
    body: bytes = b""
    is_json: bool = True
    """Whether its header says so.  A body that does not is none to the server."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Json:
        """Raises ValueError for what is none, and is None where the server sees none: either way a 500 there."""
        return json.loads(self.body) if self.is_json and self.body else None  # type: ignore[return-value]

    def url(self, kind: str, object_id: str) -> str:
        return f"{self.base}/{kind}/{object_id}"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    text: bytes = b""
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(objects: Objects, faults: Faults, request: Request) -> Answer:
    """Do it.  An error is a plain text, and 500 where the real server trips over what a client sent."""
    try:
        with objects.lock:
            return _answer(objects, faults, request)
    except Refused as refusal:
        return Answer(refusal.status, refusal.text.encode(), "text/html; charset=UTF-8")
    except MALFORMED as fault:
        return Answer(500, f"{type(fault).__name__}: {fault}".encode(), "text/html; charset=UTF-8")


def _answer(objects: Objects, faults: Faults, request: Request) -> Answer:
    first, _, rest = request.path.strip("/").partition("/")
    if not first:
        return _json(_homepage(request, with_watch=faults.has_watch))
    action = _ACTING.get(first)
    if action is not None and not rest:
        if (request.method, first) not in [(method, path) for method, path, _ in ACTIONS]:
            raise Refused(405, "Method not allowed.")
        return action(objects, faults, request)
    kind = _BY_COLLECTION.get(first)
    if kind is not None and not rest:
        return _of_collection(objects, faults, request, kind)
    if first in _NAMES and rest and "/" not in rest:
        return _of_object(objects, request, kind_of(first), rest)
    raise Refused(404, f"Not found: '{request.path}'")


def _of_collection(objects: Objects, faults: Faults, request: Request, kind: Kind) -> Answer:
    if request.method == "GET":
        _check_lists(faults, kind)
        return _json(listed(objects, kind, query_of_url(objects, kind, request.query), request.url))
    if request.method == "POST":
        made = objects.create(kind, request.json[kind.name])
        shown: Json = {name: made[name] for name in ("fq_name", "uuid", "parent_type", "parent_uuid") if name in made}
        shown |= {"name": made["fq_name"][-1], "href": request.url(kind.name, made["uuid"])}
        if "parent_uuid" in made:
            shown["parent_href"] = request.url(made["parent_type"], made["parent_uuid"])
        return _json({kind.name: shown})
    raise Refused(405, "Method not allowed.")


def _of_object(objects: Objects, request: Request, kind: Kind, object_id: str) -> Answer:
    match request.method:
        case "GET":
            seen = read(objects, kind, object_id, request.query, request.url)
            return _json({kind.name: seen}, {"ETag": f'"{seen["id_perms"]["last_modified"]}"'})
        case "PUT":
            given = request.json
            if not given or not given[kind.name]:
                return Answer()
            objects.update(kind, object_id, given[kind.name])
            return _json({kind.name: {"uuid": object_id, "href": request.url(kind.name, object_id)}})
        case "DELETE":
            objects.delete(kind, object_id, request.url)
            return Answer()
    raise Refused(405, "Method not allowed.")


def _check_lists(faults: Faults, kind: Kind) -> None:
    if kind.name in faults.failing_lists:
        raise Refused(faults.failing_lists[kind.name], f"the list of {kind.name} failed")


def _bulk(objects: Objects, faults: Faults, request: Request) -> Answer:
    kind, query = query_of_body(request.json)
    _check_lists(faults, kind)
    return _json(listed(objects, kind, query, request.url))


def _id_of_name(objects: Objects, faults: Faults, request: Request) -> Answer:
    kind, name = kind_of(request.json.get("type")), request.json["fq_name"]
    found = objects.id_of(kind, name)
    if found is None:
        raise Refused(404, f"Name {name} not found")
    return _json({"uuid": found})


def _name_of_id(objects: Objects, faults: Faults, request: Request) -> Answer:
    object_id = request.json["uuid"]
    kind = objects.kind_of(object_id)
    if kind is None:
        raise Refused(404, f"UUID {object_id} not found")
    return _json({"fq_name": objects.body(object_id)["fq_name"], "type": kind.name})


def _ref_update(objects: Objects, faults: Faults, request: Request) -> Answer:
    return _json(partial.update_ref(objects, request.json))


def _collection_update(objects: Objects, faults: Faults, request: Request) -> Answer:
    partial.update_collections(objects, request.json)
    return Answer()


def _collection_get(objects: Objects, faults: Faults, request: Request) -> Answer:
    return _json(partial.collections(objects, request.query))


def _homepage(request: Request, *, with_watch: bool) -> Json:
    """Where everything is, as the generated client needs it before all else."""
    links = [("root", "", "/config-root", "config-root")]
    links += [("collection", "", f"/{kind.collection}", kind.name) for kind in KINDS]
    links += [("resource-base", "", f"/{kind.name}", kind.name) for kind in KINDS]
    links += [("action", method, f"/{path}", name) for method, path, name in ACTIONS]
    links += [("action", "GET", "/watch", "watch")] if with_watch else []
    shown = [
        {"link": {"rel": rel, "method": method or None, "href": request.base + path, "name": name}}
        for rel, method, path, name in links
    ]
    return {"href": request.base, "links": shown}


def _json(said: Json, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(200, json.dumps(said).encode(), headers=headers or {})


_BY_COLLECTION = {kind.collection: kind for kind in KINDS}
_NAMES = {kind.name for kind in KINDS}
_ACTING: dict[str, Callable[[Objects, Faults, Request], Answer]] = {
    "prop-collection-get": _collection_get,
    "prop-collection-update": _collection_update,
    "ref-update": _ref_update,
    "fqname-to-id": _id_of_name,
    "id-to-fqname": _name_of_id,
    "list-bulk-collection": _bulk,
}
