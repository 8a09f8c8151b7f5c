"""Whether a message broker can be reached at all, found out in bounded time.

oslo.messaging waits without end for a broker that is not there, before it looks at the time-out of a call.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

DEFAULT_PORT = 5672
PATIENCE = 3.0
"""Seconds for a connection to one broker."""


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
