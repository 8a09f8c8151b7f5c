"""The wire to a switch's OVSDB: dialled, or accepted where the switch dials in; by TLS where so configured.

Law: a wire that is handed out is connected and, by TLS, trusted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import time

from ovs.stream import SSLStream, Stream

from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings, Place
from isthmus.adapters.tls import trust
from isthmus.model.faults import Refused, Unreachable


class Wires:
    """Makes connections to one switch, one after the other.  Where the switch dials in it listens until close."""

    def __init__(self, settings: HwvtepSettings) -> None:
        self._settings = settings
        self._place = settings.place
        self._listening: socket.socket | None = None

    def connect(self, patience: float) -> Stream:
        """A new connection.  Raises Unreachable if there is none within `patience` seconds."""
        deadline, tls = time.monotonic() + patience, self._settings.tls
        context = trust(tls, serves=self._place.waits) if tls and self._place.secured else None
        while True:
            try:
                wire = self._accept(deadline) if self._place.waits else _dial(self._place, patience)
            except OSError as fault:
                raise Unreachable(f"OVSDB at {self._settings.target} cannot be reached: {_reason(fault)}") from fault
            try:
                return self._ready(wire, context, deadline)
            except OSError as fault:
                wire.close()
                if not self._place.waits or time.monotonic() > deadline:
                    raise Unreachable(f"OVSDB at {self._settings.target}: {_reason(fault)}") from fault

    def close(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _accept(self, deadline: float) -> socket.socket:
        """The newest of those who have dialled in: the others were given up by the switch before we came."""
        if self._listening is None:
            self._listening = _listen(self._place, self._settings.target)
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self._listening], [], [], left)[0]:
            raise Unreachable(
                f"the switch of {self._settings.target} has not dialled in: is this its manager "
                "(vtep-ctl set-manager tcp:ADDRESS:PORT or ssl:ADDRESS:PORT)?"
            )
        newest: socket.socket | None = None
        with contextlib.suppress(BlockingIOError):
            while True:
                wire, _ = self._listening.accept()
                if newest is not None:
                    newest.close()
                newest = wire
        if newest is None:
            raise OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
        return newest

    def _ready(self, wire: socket.socket, context: ssl.SSLContext | None, deadline: float) -> Stream:
        if wire.family != socket.AF_UNIX:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            wire.setblocking(False)
            return Stream(wire, self._settings.target, 0)
        wire.settimeout(max(0.1, deadline - time.monotonic()))
        secured = context.wrap_socket(wire, server_side=self._place.waits)
        secured.setblocking(False)
        return SSLStream(secured, self._settings.target, 0)


def _dial(place: Place, patience: float) -> socket.socket:
    if place.kind != "unix":
        return socket.create_connection((place.address, place.port), patience)
    wire = socket.socket(socket.AF_UNIX)
    wire.settimeout(patience)
    try:
        wire.connect(place.address)
    except OSError:
        wire.close()
        raise
    return wire


def _listen(place: Place, target: str) -> socket.socket:
    try:
        everywhere = not place.address and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if everywhere or ":" in place.address else socket.AF_INET
        listening = socket.create_server((place.address, place.port), family=family, dualstack_ipv6=everywhere)
    except OSError as fault:
        raise Refused(f"cannot listen at {target}: {_reason(fault)}; every leaf needs a port of its own") from fault
    listening.setblocking(False)
    return listening


def _reason(fault: OSError) -> str:
    return fault.strerror or str(fault) or type(fault).__name__
