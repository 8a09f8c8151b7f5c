"""The DV ports of a switch as last read: all of them at some moment, and some of them again since.

Law: what was read later is never overwritten by what was read before, whichever answer comes first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from isthmus.model.observed import DvPortState


class SeenPorts:
    """Threads may share it.  `begin` a read before it is asked, and hand its answer in under that number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = 0
        self._base = 0
        self._ports: dict[str, DvPortState] = {}
        self._lent = False  # somebody holds these ports as they are: the next change makes others
        self._again: dict[str, int] = {}  # read by key after the read of all began, and when that read began
        self._doubtful: dict[str, int] = {}  # changed by ourselves after the reads that had begun until then

    def begin(self) -> int:
        """A read begins."""
        with self._lock:
            self._begun += 1
            return self._begun

    def doubt(self, keys: Iterable[str]) -> None:
        """These ports have changed: what is read of them counts only if the read begins from now on."""
        with self._lock:
            self._doubtful.update(dict.fromkeys(keys, self._begun))

    @property
    def doubtful(self) -> set[str]:
        """The ports that changed since they were read."""
        with self._lock:
            return set(self._doubtful)

    def all(self, begun: int, ports: Mapping[str, DvPortState]) -> None:
        """These are all ports there are."""
        with self._lock:
            if begun < self._base:
                return
            later = {key: when for key, when in self._again.items() if when > begun}
            kept = {key: self._ports[key] for key in later if key in self._ports}
            self._ports, self._lent = {key: port for key, port in ports.items() if key not in later} | kept, False
            self._base, self._again = begun, later
            self._doubtful = {key: when for key, when in self._doubtful.items() if when >= begun}

    def some(self, begun: int, asked: Iterable[str], ports: Mapping[str, DvPortState]) -> None:
        """These are what there is of the ports that were asked for."""
        with self._lock:
            for key in asked:
                if begun < max(self._base, self._again.get(key, 0)):
                    continue
                self._again[key] = begun
                if self._doubtful.get(key, begun) < begun:
                    del self._doubtful[key]
                if self._lent:
                    self._ports, self._lent = dict(self._ports), False
                if key in ports:
                    self._ports[key] = ports[key]
                else:
                    self._ports.pop(key, None)

    def now(self) -> Mapping[str, DvPortState]:
        """The ports as they are seen now, and stay in what is returned."""
        with self._lock:
            self._lent = True
            return self._ports
