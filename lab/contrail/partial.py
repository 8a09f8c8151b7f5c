"""Changes of a part: one ref with /ref-update, one element of a list or a map with /prop-collection-update."""

from __future__ import annotations

from typing import Any

from lab.contrail.objects import Objects
from lab.contrail.refusals import Refused
from lab.contrail.schema import Json, Kind, check_pair, kind_of


def update_ref(objects: Objects, given: Json) -> Json:
    kind, target = kind_of(given.get("type")), kind_of(given["ref-type"])
    object_id, operation = given.get("uuid"), given.get("operation")
    if object_id is None or operation is None:
        text = f"{kind.name}, {object_id}, {target.name}, {operation}"
        raise Refused(400, f"Bad Request: type/uuid/ref-type/operation is null: {text}.")
    if operation.upper() not in ("ADD", "DELETE"):
        raise Refused(400, f"Bad Request: operation should be add or delete: {operation}")
    with objects.lock:
        wanted = _wanted(objects, target, given, is_new=operation.upper() == "ADD")
        body = objects.get(kind, object_id)
        name = f"{target.object_type}_refs"
        if name not in kind.ref_fields:
            raise KeyError(name)  # the real server trips over it, too
        left = [ref for ref in body.get(name, ()) if ref["uuid"] != wanted]
        if operation.upper() == "ADD":
            added = {"to": objects.body(wanted)["fq_name"], "uuid": wanted, "attr": given.get("attr")}
            left.append(added)
        objects.update(kind, object_id, {name: left})
    return {"uuid": object_id}


def _wanted(objects: Objects, target: Kind, given: Json, *, is_new: bool) -> str:
    named, name = given.get("ref-uuid"), given.get("ref-fq-name")
    if not named and not name:
        raise Refused(400, "Bad Request: ref-uuid or ref-fq-name must be specified")
    found = named or objects.id_of(target, name or ())
    if not found or (is_new and objects.kind_of(found) is None):
        raise Refused(404, f"Name {name or named} not found")
    return str(found)


def update_collections(objects: Objects, given: Json) -> None:
    if not given.get("uuid"):
        raise Refused(400, "Error: prop_collection_update needs obj_uuid")
    with objects.lock:
        kind = _kind(objects, given["uuid"])
        updates = given.get("updates") or []
        for update in updates:
            _check(kind, update)
        body = objects.body(given["uuid"])
        changes: Json = {}
        for update in updates:
            name = update["field"]
            before = changes.get(name, body.get(name))
            changes[name] = (_of_map if name in kind.maps else _of_list)(name, before, update)
        if changes:
            objects.update(kind, given["uuid"], changes)


def collections(objects: Objects, query: dict[str, str]) -> Json:
    """Answer to /prop-collection-get: each element with its position, its wrapper taken off."""
    for needed, what in (("uuid", "Object uuid"), ("fields", "Object fields")):
        if needed not in query:
            raise Refused(400, f"{what} needed for property collection get")
    kind = _kind(objects, query["uuid"])
    body = objects.body(query["uuid"])
    found: Json = {}
    for name in query["fields"].split(","):
        _check_field(kind, name)
        elements = _elements(body.get(name))
        places = [(element["key"] if name in kind.maps else str(at), element) for at, element in enumerate(elements)]
        wanted = query.get("position")
        found[name] = [(element, at) for at, element in places if wanted is None or at == wanted]
    return found


def _kind(objects: Objects, object_id: str) -> Kind:
    kind = objects.kind_of(object_id)
    if kind is None:
        raise Refused(404, f"Object Not Found: {object_id}")
    return kind


def _check_field(kind: Kind, name: str) -> None:
    if name not in kind.maps and name not in kind.lists:
        raise Refused(400, f'{name} neither "ListProperty" nor "MapProperty"')


def _check(kind: Kind, update: Json) -> None:
    name = update.get("field", "")
    _check_field(kind, name)
    known = ("set", "delete") if name in kind.maps else ("add", "modify", "delete")
    operation = update["operation"].lower()
    if operation not in known:
        raise Refused(400, f"Unsupported operation {operation} in request {update}")
    if name in kind.maps:
        check_pair(update.get("value"))
    if operation in ("add", "modify") and update.get("value") is None:
        raise Refused(400, f"{operation.capitalize()} needs field value in request {update}")


def _elements(value: Json | None) -> list[Any]:
    """A collection's elements: its value is an object with one field that has them."""
    return list(next(iter((value or {}).values()), None) or [])


def _of_map(_: str, before: Json | None, update: Json) -> Json:
    key = update["value"]["key"] if update["operation"].lower() == "set" else str(update.get("position"))
    left = [pair for pair in _elements(before) if pair["key"] != key]
    if update["operation"].lower() == "set":
        left.append(update["value"])
    return {"key_value_pair": left}


def _of_list(name: str, before: Json | None, update: Json) -> Json:
    left = _elements(before)
    match update["operation"].lower():
        case "add":
            left.append(update["value"])
        case "modify":
            left[int(update["position"])] = update["value"]
        case _:
            del left[int(update["position"])]
    return {next(iter(before or {}), name): left}
