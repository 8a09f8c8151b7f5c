"""Connections kept open over which a small answer in two segments comes as fast as in one.

A Contrail api-server (OpenSDN fbb63bcd, measured) sends header and body apart and waits for the header's
acknowledgement before it sends the body (Nagle's algorithm); Linux delays that by 40 ms on a connection in use, unless
it is told otherwise for each answer.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError


class _QuickAnswer(http.client.HTTPResponse):
    """An answer whose header is acknowledged at once, and is whole."""

    def __init__(self, sock: socket.socket, *rest: Any, **more: Any) -> None:
        super().__init__(sock, *rest, **more)
        self._quick = sock

    def begin(self) -> None:
        quicken(self._quick)
        super().begin()
        quicken(self._quick)  # the option does not last; an acknowledgement that is due goes out now
        if self.headers.defects:  # the library would take a header that was cut off for a whole one
            raise http.client.IncompleteRead(b"")


def quicken(sock: socket.socket) -> None:
    """Acknowledge what comes at once, for a while (tcp(7): TCP_QUICKACK is not permanent)."""
    with contextlib.suppress(OSError):  # hung up: reading will tell
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class QuickConnection(HTTPConnection):
    response_class = _QuickAnswer


class QuickTlsConnection(HTTPSConnection):
    response_class = _QuickAnswer

    def connect(self) -> None:
        """Whatever fails here has sent no request, so it must not look like a fault of an answer."""
        try:
            super().connect()
        except OSError as fault:  # also ssl.SSLError
            raise NewConnectionError(self, str(fault)) from fault


class QuickPool(HTTPConnectionPool):
    ConnectionCls = QuickConnection


class QuickTlsPool(HTTPSConnectionPool):
    ConnectionCls = QuickTlsConnection
