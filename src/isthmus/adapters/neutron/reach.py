"""Whether a message broker can be reached at all, found out in bounded time.

oslo.messaging waits without end for a broker that is not there, before it looks at the time-out of a call.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

DEFAULT_PORT = 5672
PATIENCE = 3.0
"""Seconds for a connection to one broker."""
ASKED_AGAIN = 10.0
"""Seconds that a finding holds: who asks often must not pay for it each time."""


Place: TypeAlias = tuple[str, int]


class Reach:
    """Remembers for a while what was found out, and which broker it was that could be reached."""

    def __init__(self, holds: float = ASKED_AGAIN, clock: Callable[[], float] = time.monotonic) -> None:
        """`holds`: seconds that a finding is good for."""
        self._holds = holds
        self._clock = clock
        self._found = ""
        self._there: Place | None = None
        self._until = float("-inf")

    def why_not(self, hosts: Iterable[Any]) -> str:
        """Why none of the brokers of a transport URL can be connected to; empty if one can, or if the URL names none.

        One that hangs is met once: the one that was there last is asked first.
        """
        if self._clock() >= self._until:
            places = [(host.hostname, host.port or DEFAULT_PORT) for host in hosts if host.hostname]
            self._found, self._there = _asked(sorted(places, key=lambda place: place != self._there))
            self._until = self._clock() + self._holds
        return self._found


def _asked(places: Iterable[Place]) -> tuple[str, Place | None]:
    reasons = []
    for place in places:
        try:
            socket.create_connection(place, PATIENCE).close()
        except (OSError, OverflowError) as fault:
            reasons.append(f"{place[0]}:{place[1]}: {getattr(fault, 'strerror', None) or fault}")
        else:
            return "", place
    return "; ".join(reasons), None
