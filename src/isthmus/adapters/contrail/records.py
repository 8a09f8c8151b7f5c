"""All VMIs that isthmus noted something on, read in one list for all hosts, and kept right by our own writes.

Law: what is given is never older than a write of ours that was confirmed, and never half a list.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.meaning import ADDRESS_FIELDS, addresses_in
from isthmus.adapters.contrail.notes import Record, record_in

FIELDS = ("annotations", "virtual_machine_refs", "virtual_network_refs")
NEVER = float("-inf")
HOLDS = 2.0
"""Seconds that a list stands while nothing is heard of a change: the hosts of a round share one."""


class Records:
    """Threads may read and note at once."""

    def __init__(self, api: ApiServer, owner: str, clock: Callable[[], float], holds: float = HOLDS) -> None:
        self._api, self.owner = api, owner
        self._clock, self._holds = clock, holds
        self._known: dict[str, Record] = {}
        self._read_at = NEVER
        self._written: dict[str, tuple[int, Record | None]] = {}
        """What was written since a list was begun that may not have it: the number of the write, and what is now."""
        self._writes = self._doubts = 0
        self._reading, self._lock = threading.Lock(), threading.Lock()

    def read(self) -> Mapping[str, Record]:
        """By the VMI's uuid.  Raises Retry or Refused if they cannot be had whole."""
        with self._reading:
            if self._clock() - self._read_at >= self._holds:
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
            self._written[uuid] = self._writes, record
            self._put(uuid, record)

    def doubt(self) -> None:
        """Something changed, or a write has no answer: the next who reads asks."""
        with self._lock:
            self._doubts += 1
            self._read_at = NEVER

    def _list(self) -> None:
        began, before, doubts = self._clock(), self._writes, self._doubts
        listed = self._api.listed("virtual-machine-interface", FIELDS)
        addresses = addresses_in(self._api.listed("instance-ip", ADDRESS_FIELDS))
        found = {vmi["uuid"]: record_in(vmi, self.owner, tuple(addresses.get(vmi["uuid"], ()))) for vmi in listed}
        with self._lock:
            self._known = {uuid: record for uuid, record in found.items() if _says_something(record)}
            self._written = {uuid: late for uuid, late in self._written.items() if late[0] > before}
            for uuid, (_, record) in self._written.items():
                self._put(uuid, record)
            if doubts == self._doubts:
                self._read_at = began

    def _put(self, uuid: str, record: Record | None) -> None:
        if record is None:
            self._known.pop(uuid, None)
        else:
            self._known[uuid] = record


def _says_something(record: Record) -> bool:
    return record.workload is not None or bool(record.plugs)
