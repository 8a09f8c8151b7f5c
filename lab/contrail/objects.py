"""The objects, and who holds whom.  An object goes only when nobody refers to it and nothing hangs below it.

Law: a kept object is never changed in place, but replaced; who was given one may keep it.  Every change is told to the
listeners, in its order, before the next one happens.
"""

from __future__ import annotations

import copy
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from lab.contrail import permissions
from lab.contrail.refusals import Refused
from lab.contrail.schema import DERIVED, ROOT, Json, Kind, check, kind_of

UNCHANGEABLE = ("uuid", "fq_name", "parent_type", "parent_uuid", "id_perms", "perms2")


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened to an object; `body` as it was then, or as it was last."""

    oper: str
    kind: Kind
    body: Json

    @property
    def id(self) -> str:
        return str(self.body["uuid"])


class Rules(Protocol):
    """What the server does of its own accord to an object of a type."""

    def made(self, objects: Objects, kind: Kind, body: Json, /) -> Json: ...
    def after_create(self, objects: Objects, kind: Kind, body: Json, /) -> None: ...
    def changed(self, objects: Objects, kind: Kind, kept: Json, changes: Json, /) -> Json: ...
    def before_delete(self, kind: Kind, body: Json, /) -> None: ...


class Objects:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.lock = threading.RLock()
        self.listeners: list[Callable[[Notice], None]] = []
        self.numbers: dict[str, Iterator[int]] = {
            "virtual-network": itertools.count(1),
            "security-group": itertools.count(8_000_000),
        }
        self._bodies: dict[str, Json] = {}
        self._kinds: dict[str, Kind] = {}
        self._ids: dict[tuple[str, tuple[str, ...]], str] = {}
        self._names = _Names()
        self._holders: dict[str, dict[tuple[str, str], None]] = {}
        self._children: dict[str, dict[str, None]] = {}

    # --- look

    def id_of(self, kind: Kind, fq_name: Sequence[str]) -> str | None:
        return self._ids.get((kind.name, tuple(fq_name)))

    def kind_of(self, object_id: str) -> Kind | None:
        return self._kinds.get(object_id)

    def body(self, object_id: str) -> Json:
        return self._bodies[object_id]

    def get(self, kind: Kind, object_id: str) -> Json:
        """Raises Refused with 404 where there is none of this type."""
        if self._kinds.get(object_id) is not kind:
            raise Refused(404, f"No {kind.name} object found for id {object_id}")
        return self._bodies[object_id]

    def all(self, kind: Kind) -> list[Json]:
        return [self._bodies[object_id] for object_id, its in self._kinds.items() if its is kind]

    def holders(self, object_id: str, kind: Kind | None = None) -> list[Json]:
        """Who refers to it, in the order in which they began to."""
        found = dict.fromkeys(holder for holder, _ in self._holders.get(object_id, ()))
        return [self._bodies[holder] for holder in found if kind is None or self._kinds[holder] is kind]

    def children(self, object_id: str) -> list[tuple[Kind, Json]]:
        return [(self._kinds[child], self._bodies[child]) for child in self._children.get(object_id, ())]

    # --- change

    def create(self, kind: Kind, given: Json) -> Json:
        body = copy.deepcopy(given)
        check_name(body)
        check(kind, body, "create")
        with self.lock:
            self._check_new(kind, body)
            owner = self._owner(kind, body)
            object_id = self._new_id(body.get("uuid"))
            parent = self._parent(kind, body)
            refs = self._resolved(kind, body, "create")
            self._names.claim(kind, body["fq_name"])
            try:
                kept = {
                    "fq_name": body["fq_name"],
                    "uuid": object_id,
                    **parent,
                    "display_name": body["fq_name"][-1],
                    **{name: body[name] for name in kind.properties if body.get(name) is not None},
                    **refs,
                    "id_perms": permissions.of_new(body.get("id_perms"), object_id, _now()),
                    "perms2": permissions.shares(body.get("perms2"), owner),
                }
                kept = self._rules.made(self, kind, kept)
            except BaseException:
                self._names.release(kind, body["fq_name"])
                raise
            self._ids[kind.name, tuple(kept["fq_name"])] = object_id
            self._kinds[object_id] = kind
            if parent:
                self._children.setdefault(parent["parent_uuid"], {})[object_id] = None
            self._keep(object_id, kept)
            self._tell("CREATE", kind, kept)
            self._rules.after_create(self, kind, kept)
            return kept

    def update(self, kind: Kind, object_id: str, given: Json) -> None:
        """What is named is replaced; another fq_name is not heard."""
        given = copy.deepcopy(given)
        with self.lock:
            kept = self.get(kind, object_id)
            if "perms2" in given and "owner" not in given["perms2"]:
                raise Refused(400, "owner in perms2 must be present")
            check(kind, given, "http_put")
            changes = {name: given[name] for name in kind.properties if name in given and name not in UNCHANGEABLE}
            changes |= self._resolved(kind, given, f"update {kind.object_type}")
            changes = self._rules.changed(self, kind, kept, changes)
            changed = {name: value for name, value in {**kept, **changes}.items() if value is not None}
            changed["id_perms"] = permissions.of_changed(kept["id_perms"], given.get("id_perms"), _now())
            if "perms2" in given:
                changed["perms2"] = kept["perms2"] | given["perms2"]
            self._keep(object_id, changed)
            self._tell("UPDATE", kind, changed)

    def delete(self, kind: Kind, object_id: str, url: Callable[[str, str], str]) -> None:
        with self.lock:
            kept = self.get(kind, object_id)
            self._rules.before_delete(kind, kept)
            below = [(its, child) for its, child in self.children(object_id) if its.name not in DERIVED]
            if below:
                hrefs = [url(its.name, child["uuid"]) for its, child in below]
                raise Refused(409, f"Delete when children still present: {hrefs}")
            held = self.holders(object_id)
            if held:
                hrefs = [url(self._kinds[holder["uuid"]].name, holder["uuid"]) for holder in held]
                raise Refused(409, f"Delete when resource still referred: {hrefs}")
            derived = [child for _, child in self.children(object_id)]
            self._forget(kind, kept)
            self._tell("DELETE", kind, kept)
            for child in derived:
                self._let_go(child["uuid"])
                self.delete(self._kinds[child["uuid"]], child["uuid"], url)

    # --- inside

    def _let_go(self, object_id: str) -> None:
        """Nobody refers to it any more: what the server made, it takes away from others, too."""
        for holder, name in list(self._holders.get(object_id, ())):
            left = [ref for ref in self._bodies[holder][name] if ref["uuid"] != object_id]
            self.update(self._kinds[holder], holder, {name: left})

    def _check_new(self, kind: Kind, body: Json) -> None:
        there = self.id_of(kind, body["fq_name"])
        if there is not None:
            raise Refused(409, f"{body['fq_name']} already exists with uuid: {there}")
        parent = body.get("parent_type")
        if parent and parent not in kind.parents:
            raise Refused(400, f"Invalid parent type: {parent}. Allowed types: {list(kind.parents)}")
        if not parent and len(kind.parents) > 1 and ROOT not in kind.parents:
            raise Refused(400, f"Missing parent type: {parent}. Allowed types: {list(kind.parents)}")
        is_root = (parent or kind.parents[0]) == ROOT
        if is_root and len(body["fq_name"]) != 1:
            raise Refused(400, f"Invalid fq-name of an object with no parent: {body['fq_name']}")
        if not is_root and len(body["fq_name"]) < 2:
            raise Refused(400, f"Invalid fq-name for object with parent_type {parent}: {body['fq_name']}")

    def _owner(self, kind: Kind, body: Json) -> str:
        """The parent's.  This is where an unknown parent is found out, with 404."""
        above = kind_of(body.get("parent_type") or kind.parents[0]) if len(body["fq_name"]) > 1 else None
        if (body.get("perms2") or {}).get("owner"):
            return str(body["perms2"]["owner"])
        if kind.name == "project" and "uuid" in body:
            return str(body["uuid"]).replace("-", "")
        if above is None or above.name == "domain":
            return "cloud-admin"
        parent = self.id_of(above, body["fq_name"][:-1])
        if parent is None:
            raise Refused(404, f"Name{body['fq_name'][:-1]} not found")
        return str(self._bodies[parent]["perms2"]["owner"])

    def _new_id(self, wanted: str | None) -> str:
        if not wanted:
            return str(uuid.uuid4())
        if wanted != str(uuid.UUID(wanted)):  # what is no UUID at all raises, and the real server answers 500
            raise Refused(400, f"Invalid UUID format: {wanted}")
        if wanted in self._bodies:
            raise Refused(409, f"{wanted} already exists with fq_name: {self._bodies[wanted]['fq_name']}")
        return wanted

    def _parent(self, kind: Kind, body: Json) -> Json:
        """An object that does not name its parent's type has none, whatever its name says."""
        named = body.get("parent_type")
        if named in (None, ROOT):
            return {}
        found = self.id_of(kind_of(named), body["fq_name"][:-1])
        if found is None:
            raise Refused(400, f"Parent {body['fq_name'][:-1]} type {named} does not exist")
        return {"parent_type": named, "parent_uuid": found}

    def _resolved(self, kind: Kind, given: Json, act: str) -> Json:
        """Its refs with the uuids that their names have.  A ref without `to` raises KeyError, that is 500."""
        found: Json = {}
        for name, target in kind.ref_fields.items():
            if given.get(name) is None:
                continue
            found[name] = []
            for ref in given[name]:
                there = self.id_of(kind_of(target), ref["to"])
                if there is None:
                    raise Refused(400, f"Unknown reference in resource {act} {given}.")
                found[name].append({"to": ref["to"], "uuid": there, "attr": ref.get("attr")})
        return found

    def _keep(self, object_id: str, body: Json) -> None:
        kind = self._kinds[object_id]
        before = self._bodies.get(object_id, {})
        for name in kind.ref_fields:
            now = {ref["uuid"] for ref in body.get(name, ())}
            for gone in {ref["uuid"] for ref in before.get(name, ())} - now:
                del self._holders[gone][object_id, name]
            for ref in body.get(name, ()):
                self._holders.setdefault(ref["uuid"], {})[object_id, name] = None
        self._bodies[object_id] = {name: value for name, value in body.items() if value != [] or name == "fq_name"}

    def _forget(self, kind: Kind, body: Json) -> None:
        self._keep(body["uuid"], {name: value for name, value in body.items() if name not in kind.ref_fields})
        for index in (self._bodies, self._kinds, self._holders, self._children):
            index.pop(body["uuid"], None)
        del self._ids[kind.name, tuple(body["fq_name"])]
        self._children.get(body.get("parent_uuid", ""), {}).pop(body["uuid"], None)
        self._names.release(kind, body["fq_name"])

    def _tell(self, oper: str, kind: Kind, body: Json) -> None:
        for listener in self.listeners:
            listener(Notice(oper, kind, body))


@dataclass(slots=True)
class _Names:
    """ZooKeeper's nodes.  A `/` in a name makes a node below another, and the upper one stays when the lower one goes:
    nobody can have the upper one's name any more."""

    _nodes: set[str] = field(default_factory=set)

    def claim(self, kind: Kind, fq_name: Sequence[str]) -> None:
        path = f"{kind.object_type}:{':'.join(fq_name)}"
        if path in self._nodes:
            raise Refused(409, f"{list(fq_name)} already exists with uuid: ")
        self._nodes.update(path[:at] for at, letter in enumerate(path) if letter == "/")
        self._nodes.add(path)

    def release(self, kind: Kind, fq_name: Sequence[str]) -> None:
        self._nodes.discard(f"{kind.object_type}:{':'.join(fq_name)}")


def check_name(body: Json) -> None:
    if not body:
        return
    if not body.get("fq_name"):
        raise Refused(400, "Bad Request, no fq_name in POST body")
    if any(letter < " " and letter not in "\t\n\r" for letter in body["fq_name"][-1]):
        raise Refused(400, "Bad Request, name has illegal xml characters")
    if ":" in body["fq_name"][-1]:
        raise Refused(400, "Bad Request, name has one of invalid chars {':'}")


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat()
