"""All VMIs that isthmus noted something on: as the api-server tells, else in one list for all hosts.

Law: what is given is never older than a write of ours that was confirmed, and never half a list.  So what was written
lies over what is told until that has caught up with it (unheard.py).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeAlias

from isthmus.adapters.contrail.api import ApiServer, Fields
from isthmus.adapters.contrail.meaning import ADDRESS, KINDS, VMI, addresses_in, narrow
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.adapters.contrail.notes import Record, record_in
from isthmus.adapters.contrail.unheard import (
    ADDRESSES,
    NOTHING,
    Facets,
    Unheard,
    changed,
    facets_of,
    patched,
    record_of,
    written,
)
from isthmus.model.names import HostId

NEVER = float("-inf")
HOLDS = 2.0
"""Seconds that a list stands while nobody tells of changes: the hosts of a round share one."""
SETTLES = 5.0
"""Seconds after a doubt in which only lists count: what is told may be from before it."""
CATCHES_UP = 10.0
"""Seconds in which a write of ours must be told back; who has not by then tells us late, or not at all."""
SOON = 1.0
"""Seconds in which the server tells of what it has just made."""
Wrote: TypeAlias = Callable[[Record | None, Record | None], None]
"""Said of a write that was confirmed: what its writer knew of the VMI, and what it says now (None: it is gone)."""


class Records:
    """Threads may read and note at once."""

    def __init__(
        self, api: ApiServer, owner: str, clock: Callable[[], float], mirror: Mirror | None = None, holds: float = HOLDS
    ) -> None:
        self._api, self.owner = api, owner
        self._clock, self._holds = clock, holds
        self._mirror = mirror or Mirror()
        self._mirror.listeners.append(self)
        self.wake: Callable[[frozenset[HostId] | None], None] = lambda hosts: None
        """Called when another than this process changed something: on these hosts, or on any."""
        self._known: dict[str, Facets] = {}
        """As they were listed last, with what was written since."""
        self._written: list[tuple[str, Facets]] | None = None
        """What was written since the list was begun that is being read: it may not have it."""
        self._read_at = self._doubted_at = NEVER
        self._writes = self._doubts = self._opened_at = self._begins = 0
        self._is_opened = self._is_told = False
        self._told: dict[str, Facets] = {}
        """As they were told last: all VMIs that have a facet."""
        self._unheard = Unheard()
        self._shown: dict[str, Record] = {}
        """As they were told, and what was written over that."""
        self._view: Mapping[str, Record] | None = None
        """A copy of these while nothing changes."""
        self._addresses: defaultdict[str, dict[str, str]] = defaultdict(dict)
        """The addresses of each VMI by their instance-ip, as they are told."""
        self._reading, self._lock = threading.Lock(), threading.Lock()

    def read(self) -> Mapping[str, Record]:
        """By the VMI's uuid.  Raises Retry or Refused if they cannot be had whole."""
        if self._is_behind():
            self._mirror.end()
        with self._lock:
            if self._counts_told():
                return self._as_told()
        with self._reading:
            if self._clock() - self._read_at >= self._holds:
                self._list()
            with self._lock:
                records = ((uuid, record_of(uuid, facets)) for uuid, facets in self._known.items())
                return {uuid: record for uuid, record in records if record is not None and _says_something(record)}

    def of(self, uuid: str) -> Record | None:
        """What is known of one VMI now; all are read first if that is in doubt.  Raises as `read` does."""
        while True:
            with self._lock:
                if self._counts_told():
                    return record_of(uuid, self._as_written(uuid))
                if self._read_at != NEVER:
                    return record_of(uuid, self._known.get(uuid, NOTHING))
            self.read()

    @contextmanager
    def writing(self, uuid: str) -> Iterator[Wrote]:
        """Around each write of a VMI, since it may be told before it is answered."""
        with self._lock:
            told, begins = self._unheard.begin(uuid), self._begins

        def wrote(before: Record | None, after: Record | None) -> None:
            changes = written(before, after)
            values = {key: change.after for key, change in changes.items()}
            with self._lock:
                self._writes += 1
                self._patch(uuid, values)
                if self._written is not None:
                    self._written.append((uuid, values))
                if self._is_opened:
                    self._unheard.wrote(uuid, changes, told, self._writes, self._clock())
                    if self._begins != begins:
                        self._go_back(uuid)
                    self._show(uuid)

        try:
            yield wrote
        finally:
            with self._lock:
                self._unheard.end(uuid, told)

    def knows_address(self, instance_ip: str) -> bool:
        """Whether the server told of it: what it tells of one that is made now may be what was before."""
        return self._mirror.of(ADDRESS, instance_ip) is not None

    def address_told(self, instance_ip: str) -> str | None:
        """What a new instance-ip was given, where the server tells of it soon."""
        told = self._mirror.awaited(ADDRESS, instance_ip, "instance_ip_address", SOON)
        return str(told) if told else None

    def doubt(self) -> None:
        """A write has no answer, or what is known was wrong: the next who reads asks."""
        with self._lock:
            self._doubts += 1
            self._read_at, self._doubted_at = NEVER, self._clock()

    # --- what the mirror says

    def opening(self) -> None:
        """What is written from now on may not be in what it begins with."""
        with self._lock:
            self._is_opened, self._opened_at = True, self._writes
            if not self._is_told:
                self._unheard.forget(self._writes)

    def begun(self) -> None:
        """All of it was told."""
        vmis, addresses = self._mirror.listed(VMI), self._mirror.listed(ADDRESS)
        if vmis is None or addresses is None:
            return
        with self._lock:
            if not self._is_opened:  # it was ended again meanwhile
                return
            self._addresses.clear()
            for address in addresses:
                self._place(address)
            self._told = {vmi["uuid"]: facets for vmi in vmis if (facets := self._facets(vmi, self._those_of(vmi)))}
            self._unheard.forget(self._opened_at)
            for uuid in self._unheard.uuids():
                self._go_back(uuid)
            self._begins += 1
            self._shown.clear()
            self._view = None
            for uuid in self._told.keys() | self._unheard.uuids():
                self._show(uuid)
            self._is_told = True
        self.wake(None)

    def changed(self, kind: str, uuid: str, before: Fields | None, after: Fields | None) -> None:
        """One object was told of."""
        if kind not in (VMI, ADDRESS):
            return
        with self._lock:
            if kind == ADDRESS:
                for vmi in _vmis_of(before):
                    self._addresses[vmi].pop(uuid, None)
                self._place(after)
            touched = {uuid} if kind == VMI else {*_vmis_of(before), *_vmis_of(after)}
            woken = [self._hear(vmi) for vmi in touched] if self._is_told else []
        for hosts in woken:
            if hosts:
                self.wake(hosts)

    def _go_back(self, uuid: str) -> None:
        """The beginning may have what we wrote since it was opened, and all that is told once more from there on."""
        facets = self._unheard.before(uuid, self._told.pop(uuid, NOTHING))
        if facets:
            self._told[uuid] = facets
        had: Any = facets.get(ADDRESSES, ())
        self._addresses[uuid] = {ip: address for ip, address in self._addresses[uuid].items() if address in had}

    def ended(self) -> None:
        """Nobody tells any more."""
        with self._lock:
            self._is_opened = self._is_told = False
            self._unheard.forget(self._writes)
            self._told.clear()
            self._shown.clear()
            self._read_at = NEVER

    def _hear(self, vmi: str) -> frozenset[HostId]:
        """The hosts to which what is told of a VMI is news: to what we write ourselves nobody need wake."""
        fields = self._mirror.of(VMI, vmi)
        facets = self._facets(fields, self._those_of(fields)) if fields is not None else NOTHING
        before = self._as_written(vmi)
        self._unheard.told(vmi, changed(self._told.get(vmi, NOTHING), facets))
        if facets:
            self._told[vmi] = facets
        else:
            self._told.pop(vmi, None)
        after = self._as_written(vmi)
        self._show(vmi)
        if before == after or self._unheard.is_under_way(vmi):  # who writes it looks again afterwards
            return frozenset()
        return _hosts(record_of(vmi, before)) | _hosts(record_of(vmi, after))

    def _place(self, address: Fields | None) -> None:
        if address is not None and address.get("instance_ip_address"):
            for vmi in _vmis_of(address):
                self._addresses[vmi][address["uuid"]] = address["instance_ip_address"]

    def _those_of(self, vmi: Fields) -> tuple[str, ...]:
        return tuple(sorted(self._addresses.get(vmi["uuid"], {}).values()))

    def _counts_told(self) -> bool:
        return self._is_told and self._clock() - self._doubted_at >= SETTLES

    def _as_written(self, uuid: str) -> Facets:
        return self._unheard.over(uuid, self._told.get(uuid, NOTHING))

    def _as_told(self) -> Mapping[str, Record]:
        if self._view is None:
            self._view = MappingProxyType(dict(self._shown))
        return self._view

    def _show(self, uuid: str) -> None:
        record = record_of(uuid, self._as_written(uuid))
        self._view = None
        if record is not None and _says_something(record):
            self._shown[uuid] = record
        else:
            self._shown.pop(uuid, None)

    def _is_behind(self) -> bool:
        """Whether something that we wrote is long overdue."""
        with self._lock:
            since = self._unheard.since() if self._is_told else None
        return since is not None and self._clock() - since > CATCHES_UP

    # --- lists

    def _list(self) -> None:
        with self._lock:
            self._written, doubts = [], self._doubts
        began = self._clock()
        try:
            listed = [narrow(VMI, vmi) for vmi in self._api.listed(VMI, KINDS[VMI])]
            addresses = addresses_in(narrow(ADDRESS, one) for one in self._api.listed(ADDRESS, KINDS[ADDRESS]))
        except BaseException:
            with self._lock:
                self._written = None
            raise
        found = {vmi["uuid"]: self._facets(vmi, tuple(addresses.get(vmi["uuid"], ()))) for vmi in listed}
        with self._lock:
            written, self._written = self._written, None
            self._known = found
            for uuid, changes in written or ():
                self._patch(uuid, changes)
            if doubts == self._doubts:
                self._read_at = began

    def _patch(self, uuid: str, changes: Facets) -> None:
        if facets := patched(self._known.get(uuid, NOTHING), changes):
            self._known[uuid] = facets
        else:
            self._known.pop(uuid, None)

    def _facets(self, vmi: Fields, addresses: tuple[str, ...]) -> Facets:
        return facets_of(record_in(vmi, self.owner, addresses))


def _vmis_of(address: Fields | None) -> list[str]:
    return [ref["uuid"] for ref in (address or {}).get("virtual_machine_interface_refs") or ()]


def _hosts(record: Record | None) -> frozenset[HostId]:
    if record is None:
        return frozenset()
    return frozenset(record.plugs) | (frozenset() if record.home is None else {record.home})


def _says_something(record: Record) -> bool:
    return record.workload is not None or bool(record.plugs)
