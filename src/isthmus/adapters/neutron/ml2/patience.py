"""How long binding a port may wait.  Neutron tries ten times in a row; the wait is for all of them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MANY = 10_000
PAUSE = 5.0
"""Seconds beyond the wait, and without a try, after which the next one is of another request and may wait as long
again: Neutron's ten tries follow each other at once, and `isthmus run` has a port bound again at most so often."""


@dataclass(slots=True)
class _Waiting:
    deadline: float
    tried_at: float
    unheard: bool = False


class Patience:
    """Deadlines of the ports being bound in this process."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._waiting: dict[tuple[str, str], _Waiting] = {}

    def left(self, port: str, host: str) -> float | None:
        """Seconds that this try may wait; None: nobody answered all the while, and nobody is to be asked again."""
        now = self._clock()
        if len(self._waiting) >= MANY:
            self._waiting.clear()
        waiting = self._waiting.get((port, host))
        if waiting is None or now - max(waiting.deadline, waiting.tried_at) >= PAUSE:
            waiting = self._waiting[port, host] = _Waiting(now + self._seconds, now)
        waiting.tried_at = now
        left = max(0.0, waiting.deadline - now)
        return None if waiting.unheard and not left else left

    def unheard(self, port: str, host: str) -> None:
        """Nobody answered."""
        if (port, host) in self._waiting:
            self._waiting[port, host].unheard = True

    def over(self, port: str, host: str) -> None:
        """It is bound: the next time is another time."""
        self._waiting.pop((port, host), None)
