"""Tells systemd how the daemon is, in its own datagram protocol; without systemd, tells nobody."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Systemd:
    """The notification socket that systemd names in the environment."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(microseconds) / 1e6 if microseconds.isdigit() and mine else None
        """Seconds within which systemd wants a sign of progress; None if it wants none."""

    def tell(self, *facts: str) -> None:
        """``READY=1``, ``STATUS=...``, ``WATCHDOG=1``, ``STOPPING=1``.  A systemd that does not listen is no fault."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto("\n".join(facts).encode(), self._address)
        except OSError:
            return
