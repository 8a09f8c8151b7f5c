"""Which DV ports vCenter told to have changed, in the order it told, so that only these are read again.

Law: what is told here is a hint to read.  Who lost count is told that everything may have changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from itertools import islice

REMEMBERED = 10_000
"""Changes; who is further behind reads everything."""


@dataclass(slots=True)
class Told:
    """The changes of one log-in.  Not thread-safe: its owner holds a lock."""

    count: int = 0
    """How many there were; to be given back as `since`."""
    _changes: deque[tuple[str, str] | None] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def ports(self, ports: Iterable[tuple[str, str]]) -> None:
        """These ports changed, or the NICs that hold them: (uuid of the switch, port key)."""
        for port in ports:
            self._changes.append(port)
            self.count += 1

    def everything(self) -> None:
        """Anything may have changed."""
        self._changes.append(None)
        self.count += 1

    def forget(self) -> None:
        """What was told until now is of no use to anybody any more; who asks for it is told that anything changed."""
        self._changes.clear()

    def since(self, count: int, switch: str) -> Set[str] | None:
        """The ports of a switch that changed after the first `count` changes; None: all may have."""
        missed = self.count - count
        if missed > len(self._changes):
            return None
        changes = list(islice(reversed(self._changes), missed))
        if None in changes:
            return None
        return {change[1] for change in changes if change is not None and change[0] == switch}
