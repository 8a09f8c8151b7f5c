"""Whether a message broker can be reached at all, found out in bounded time.

oslo.messaging waits without end for a broker that is not there, before it looks at the time-out of a call.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

DEFAULT_PORT = 5672
PATIENCE = 3.0
"""Seconds for a connection to one broker."""


ASKED_AGAIN = 10.0
"""Seconds that a finding holds: who asks often must not pay for it each time."""


class Reach:
    """Remembers for a while what was found out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found = ""
        self._until = float("-inf")

    def why_not(self, hosts: Iterable[Any]) -> str:
        """As `unreachable`, as it was at most some seconds ago."""
        if self._clock() >= self._until:
            self._found = unreachable(hosts)
            self._until = self._clock() + ASKED_AGAIN
        return self._found


def unreachable(hosts: Iterable[Any]) -> str:
    """Why none of the brokers of a transport URL can be connected to; empty if one can, or if the URL names none."""
    reasons = []
    for host in hosts:
        if not host.hostname:
            continue
        place = (host.hostname, host.port or DEFAULT_PORT)
        try:
            socket.create_connection(place, PATIENCE).close()
        except (OSError, OverflowError) as fault:
            reasons.append(f"{place[0]}:{place[1]}: {getattr(fault, 'strerror', None) or fault}")
        else:
            return ""
    return "; ".join(reasons)
