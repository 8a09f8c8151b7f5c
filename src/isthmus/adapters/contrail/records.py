"""All VMIs that isthmus noted something on: as the api-server tells, else in one list for all hosts.

Law: what is given is never older than a write of ours that was confirmed, and never half a list.  So what was written
lies over what is told until that has caught up with it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from isthmus.adapters.contrail.api import ApiServer, Fields
from isthmus.adapters.contrail.meaning import ADDRESS, KINDS, VMI, addresses_in
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.adapters.contrail.notes import Record, record_in
from isthmus.model.names import HostId

NEVER = float("-inf")
HOLDS = 2.0
"""Seconds that a list stands while nobody tells of changes: the hosts of a round share one."""
CATCHES_UP = 10.0
"""Seconds in which a write of ours must be told back; who has not by then tells us late, or not at all."""
SOON = 1.0
"""Seconds in which the server tells of what it has just made."""
PARTS = ("workload", "home", "addresses", "vm_is_ours")


@dataclass(slots=True)
class _Written:
    """What was written to a VMI and not told back: some parts of its record, or that it is gone."""

    at: float
    number: int = 0
    writes: int = 0
    told: int = 0
    gone: bool = False
    anew: bool = False
    """It was gone before: nothing that is told of it counts until that is told, too."""
    parts: dict[str, Any] = field(default_factory=dict)
    plugs: dict[HostId, Any] = field(default_factory=dict)
    """None: it was taken off."""

    def over(self, record: Record | None, uuid: str) -> Record | None:
        """What is told, with this in its place."""
        if self.gone:
            return None
        if record is None or self.anew:
            record = Record(uuid)
        plugs = {host: plug for host, plug in {**record.plugs, **self.plugs}.items() if plug is not None}
        return replace(record, plugs=plugs, **self.parts)

    def is_told_back(self, record: Record | None) -> bool:
        """Whether what is told says it, too, after at least as many words as there were writes."""
        if self.told < self.writes or record is None:
            return self.told >= self.writes and self.gone
        return not self.gone and self.over(record, record.uuid) == record


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
        self._known: dict[str, Record] = {}
        self._told: dict[str, Record] = {}
        self._written: dict[str, _Written] = {}
        self._addresses: defaultdict[str, dict[str, str]] = defaultdict(dict)
        """The addresses of each VMI by their instance-ip, as they are told."""
        self._read_at = NEVER
        self._writes = self._doubts = self._opened_at = 0
        self._reading, self._lock = threading.Lock(), threading.Lock()

    def read(self) -> Mapping[str, Record]:
        """By the VMI's uuid.  Raises Retry or Refused if they cannot be had whole."""
        with self._reading:
            if self._is_behind():
                self._mirror.end()
            if self._read_at == NEVER or (not self._mirror.is_whole and self._clock() - self._read_at >= self._holds):
                self._list()
        with self._lock:
            return MappingProxyType(dict(self._known))

    def of(self, uuid: str) -> Record | None:
        """What is known of one VMI now; all are read first if that is in doubt.  Raises as `read` does."""
        if self._read_at == NEVER:
            self.read()
        with self._lock:
            return self._known.get(uuid)

    def wrote(self, uuid: str, record: Record | None) -> None:
        """A write was confirmed: this is what the VMI says now (None: it is gone)."""
        with self._lock:
            self._writes += 1
            before = self._known.get(uuid)
            if record == before:
                return
            written = self._written.get(uuid)
            if written is None or written.gone != (record is None):
                was = written or _Written(0.0)
                written = _Written(self._clock(), gone=record is None, anew=was.gone)
                written.writes = max(0, was.writes - was.told)  # these are still to be told, before this one
                self._written[uuid] = written
            written.number = self._writes
            written.writes += 1
            if record is not None:
                base = before or Record(uuid)
                written.parts |= {part: _of(record, part) for part in PARTS if _of(record, part) != _of(base, part)}
                changed = {
                    host for host in {*base.plugs, *record.plugs} if base.plugs.get(host) != record.plugs.get(host)
                }
                written.plugs |= {host: record.plugs.get(host) for host in changed}
            self._settle(uuid)

    def address_told(self, instance_ip: str) -> str | None:
        """What an instance-ip was given, where the server tells of it soon."""
        told = self._mirror.awaited(ADDRESS, instance_ip, "instance_ip_address", SOON)
        return str(told) if told else None

    def doubt(self) -> None:
        """Something changed, or a write has no answer: the next who reads asks."""
        with self._lock:
            self._doubts += 1
            self._read_at = NEVER

    # --- what the mirror says

    def opening(self) -> None:
        """What is written from now on may not be in what it begins with."""
        with self._lock:
            self._opened_at = self._writes

    def begun(self) -> None:
        """All of it was told."""
        vmis, addresses = self._mirror.listed(VMI), self._mirror.listed(ADDRESS)
        if vmis is None or addresses is None:
            return
        with self._lock:
            self._addresses.clear()
            for address in addresses:
                self._place(address)
            self._take(vmis, {vmi: tuple(sorted(found.values())) for vmi, found in self._addresses.items()})
            self._written = {uuid: late for uuid, late in self._written.items() if late.number > self._opened_at}
            self._settle_all()
            self._read_at = self._clock()
        self.wake(None)

    def changed(self, kind: str, uuid: str, before: Fields | None, after: Fields | None) -> None:
        """One object was told of."""
        if kind not in (VMI, ADDRESS):
            return
        woken: list[frozenset[HostId]] = []
        with self._lock:
            if kind == ADDRESS:
                for vmi in _vmis_of(before):
                    self._addresses[vmi].pop(uuid, None)
                self._place(after)
            for vmi in {uuid} if kind == VMI else {*_vmis_of(before), *_vmis_of(after)}:
                seen = self._known.get(vmi)
                self._hear(vmi)
                if self._known.get(vmi) != seen:
                    woken.append(_hosts(seen) | _hosts(self._known.get(vmi)))
        for hosts in woken:
            self.wake(hosts or None)

    def ended(self) -> None:
        """Nobody tells any more: what is known stands for a while."""
        with self._lock:
            self._read_at = min(self._read_at, self._clock())

    def _hear(self, vmi: str) -> None:
        fields = self._mirror.of(VMI, vmi)
        self._told.pop(vmi, None)
        if fields is not None:
            record = record_in(fields, self.owner, tuple(sorted(self._addresses.get(vmi, {}).values())))
            if _says_something(record):
                self._told[vmi] = record
        if (written := self._written.get(vmi)) is not None:
            written.told += 1
            written.anew = written.anew and fields is not None
            if written.is_told_back(self._told.get(vmi)):
                del self._written[vmi]
        self._settle(vmi)

    def _place(self, address: Fields | None) -> None:
        if address is not None and address.get("instance_ip_address"):
            for vmi in _vmis_of(address):
                self._addresses[vmi][address["uuid"]] = address["instance_ip_address"]

    def _is_behind(self) -> bool:
        """Whether something that we wrote is long overdue."""
        with self._lock:
            late = self._clock() - CATCHES_UP
            return self._mirror.is_whole and any(written.at < late for written in self._written.values())

    # --- lists

    def _list(self) -> None:
        began, before, doubts = self._clock(), self._writes, self._doubts
        listed = self._api.listed(VMI, KINDS[VMI])
        addresses = addresses_in(self._api.listed(ADDRESS, KINDS[ADDRESS]))
        with self._lock:
            self._take(listed, {vmi: tuple(sorted(found)) for vmi, found in addresses.items()})
            if not self._mirror.is_whole:  # else it may still tell what was before
                self._written = {uuid: late for uuid, late in self._written.items() if late.number > before}
            self._settle_all()
            if doubts == self._doubts:
                self._read_at = began

    def _take(self, vmis: Iterable[Fields], addresses: Mapping[str, tuple[str, ...]]) -> None:
        found = {vmi["uuid"]: record_in(vmi, self.owner, addresses.get(vmi["uuid"], ())) for vmi in vmis}
        self._told = {uuid: record for uuid, record in found.items() if _says_something(record)}

    def _settle_all(self) -> None:
        self._known = dict(self._told)
        for uuid in self._written:
            self._settle(uuid)

    def _settle(self, uuid: str) -> None:
        """What is known of one VMI is what is told of it, and what was written over that."""
        written, record = self._written.get(uuid), self._told.get(uuid)
        if written is not None:
            record = written.over(record, uuid)
        if record is None:
            self._known.pop(uuid, None)
        else:
            self._known[uuid] = record


def _of(record: Record, part: str) -> Any:
    return getattr(record, part)


def _vmis_of(address: Fields | None) -> list[str]:
    return [ref["uuid"] for ref in (address or {}).get("virtual_machine_interface_refs") or ()]


def _hosts(record: Record | None) -> frozenset[HostId]:
    if record is None:
        return frozenset()
    return frozenset(record.plugs) | (frozenset() if record.home is None else {record.home})


def _says_something(record: Record) -> bool:
    return record.workload is not None or bool(record.plugs)
