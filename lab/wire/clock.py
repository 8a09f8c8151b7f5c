"""A clock that only moves when told to, and things that happen when it passes their time.

Law: nothing in lab/wire reads any other clock, so that a history with a seed is the same history every time.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class VirtualClock:
    """Seconds since the world began.  Latency is `advance`; what is due meanwhile happens on the way, in order."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    @property
    def now(self) -> float:
        """The present time."""
        return self._now

    def at(self, when: float, happen: Callable[[], object]) -> None:
        """Let `happen` happen when the clock reaches `when` (at the next advance, if that is past)."""
        heappush(self._due, (when, next(self._order), happen))

    def after(self, seconds: float, happen: Callable[[], object]) -> None:
        """Let `happen` happen in so many seconds."""
        self.at(self._now + seconds, happen)

    def advance(self, seconds: float) -> None:
        """Let time pass.  What falls due sees the clock at its own time, and may itself schedule more."""
        until = self._now + seconds
        while self._due and self._due[0][0] <= until:
            self._happen()
        self._now = max(self._now, until)

    def _happen(self) -> None:
        when, _, happen = heappop(self._due)
        self._now = max(self._now, when)
        happen()
