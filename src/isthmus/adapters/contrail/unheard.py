"""Own writes that the api-server has not told us of yet: what they say stands until it has.

Law: a facet of a VMI takes one value after another, and they are told in that order, now and then one twice in a row or
not at all.  So a value told that equals one that was written may be that write or a later one, never an earlier: it
counts as the earliest, and what is shown never goes back behind a confirmed write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple, TypeAlias

from isthmus.adapters.contrail.notes import HOME, PLUG, WORKLOAD, Record, plug_key
from isthmus.model.names import HostId
from isthmus.model.nve import Plug

ADDRESSES, THERE = "addresses", "there"
Facets: TypeAlias = Mapping[str, object]
"""What is noted of a VMI, key by key as each is written; one that is not there is absent."""
NOTHING: Facets = {}


def facets_of(record: Record | None) -> Facets:
    """A record's facets; none for a VMI of which nothing is known."""
    if record is None:
        return NOTHING
    found: dict[str, object] = {plug_key(host): _as_noted(plug) for host, plug in record.plugs.items()}
    if record.workload is not None:
        found[WORKLOAD] = record.workload, record.vm_is_ours
    if record.home is not None:
        found[HOME] = record.home
    if record.addresses:
        found[ADDRESSES] = record.addresses
    return {**found, THERE: True} if found else found


def record_of(uuid: str, facets: Facets) -> Record | None:
    """The record that has these facets."""
    if not facets:
        return None
    held: Any = facets
    workload, vm_is_ours = held.get(WORKLOAD, (None, False))
    plugs = {HostId(key.removeprefix(PLUG)): plug for key, plug in held.items() if key.startswith(PLUG)}
    return Record(uuid, workload, held.get(HOME), plugs, held.get(ADDRESSES, ()), vm_is_ours)


def changed(before: Facets, after: Facets) -> dict[str, object]:
    """The facets that differ, as they are after; None for one that is gone."""
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


class Change(NamedTuple):
    """What a write made of one facet; None is absent."""

    before: object
    after: object


def written(before: Record | None, after: Record | None) -> dict[str, Change]:
    """The facets that a write changed.  That a VMI is there is written by who makes it, and who removes it whole."""
    was, is_now = facets_of(before), facets_of(after)
    changes = {key: Change(was.get(key), value) for key, value in changed(was, is_now).items()}
    if before is not None and after is not None:
        changes.pop(THERE, None)
    elif after is None:
        changes[THERE] = Change(True, None)
    return changes


def patched(facets: Facets, changes: Facets) -> dict[str, object]:
    """The facets after these changes."""
    if THERE in changes and changes[THERE] is None:
        return {}
    return {key: value for key, value in {**facets, **changes}.items() if value is not None}


def _as_noted(plug: Plug) -> Plug:
    """As far as a note of it goes."""
    return Plug(plug.port, plug.vid, plug.network, plug.vni, plug.nic, plug.mac)


class _Write(NamedTuple):
    number: int
    at: float
    before: object
    value: object


class Unheard:
    """Used under its owner's lock."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[str, deque[_Write]]] = {}
        """Of each VMI's facets: what was written and not told so far, in order."""
        self._under_way: dict[str, list[list[Facets]]] = {}
        """What was told of VMIs since writes began that have no answer yet: it may be told before that is here."""

    def begin(self, uuid: str) -> list[Facets]:
        """A write of a VMI begins.  To be given back to `end`."""
        told: list[Facets] = []
        self._under_way.setdefault(uuid, []).append(told)
        return told

    def end(self, uuid: str, told: list[Facets]) -> None:
        """The write has its answer, or none."""
        left = [other for other in self._under_way[uuid] if other is not told]
        if left:
            self._under_way[uuid] = left
        else:
            del self._under_way[uuid]

    def is_under_way(self, uuid: str) -> bool:
        """Whether a write of it has no answer yet."""
        return uuid in self._under_way

    def wrote(self, uuid: str, changes: Mapping[str, Change], told: list[Facets], number: int, now: float) -> None:
        """These changes were confirmed; `told` is what was heard since the write began."""
        for key, (before, after) in changes.items():
            if any(key in one and one[key] == after for one in told):
                continue
            self._expected.setdefault(uuid, {}).setdefault(key, deque()).append(_Write(number, now, before, after))

    def told(self, uuid: str, changes: Facets) -> None:
        """The api-server tells that these facets changed, and how they are now."""
        expected = self._expected.get(uuid, {})
        news: dict[str, object] = {}
        for key, value in changes.items():
            if key not in expected:
                news[key] = value
            elif any(write.value == value for write in expected[key]):
                while expected[key].popleft().value != value:
                    pass
                if not expected[key]:
                    del expected[key]
        if uuid in self._expected and not expected:
            del self._expected[uuid]
        for told in self._under_way.get(uuid, ()):  # what was a write before them is not theirs
            told.append(news)

    def before(self, uuid: str, facets: Facets) -> dict[str, object]:
        """What was so before all writes that are still expected."""
        expected = self._expected.get(uuid, {})
        was = {**facets, **{key: writes[0].before for key, writes in expected.items()}}
        return {key: value for key, value in was.items() if value is not None}

    def over(self, uuid: str, base: Facets) -> Facets:
        """What is so, if the api-server told this."""
        expected = self._expected.get(uuid)
        if expected is None:
            return base
        if any(write.value is None for write in expected.get(THERE, ())):
            base = NOTHING  # whatever others noted on what has gone
        return patched(base, {key: writes[-1].value for key, writes in expected.items()})

    def forget(self, before: int) -> None:
        """All up to this number are in a list that was begun after them."""
        for under_way in self._under_way.values():
            for told in under_way:
                told.clear()
        for uuid, expected in list(self._expected.items()):
            for key, writes in list(expected.items()):
                while writes and writes[0].number <= before:
                    writes.popleft()
                if not writes:
                    del expected[key]
            if not expected:
                del self._expected[uuid]

    def uuids(self) -> Set[str]:
        """The VMIs of which something was written."""
        return self._expected.keys()

    def since(self) -> float | None:
        """When the oldest of them was confirmed; None if there is none."""
        return min((write.at for write in self._all()), default=None)

    def _all(self) -> Iterator[_Write]:
        for expected in self._expected.values():
            for writes in expected.values():
                yield from writes
