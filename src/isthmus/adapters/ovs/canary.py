"""A silent OpenFlow connection by ssl:, whose end says that the ovs-vswitchd at the other end is gone."""

from __future__ import annotations

import socket
import ssl
import struct

from isthmus.adapters.tls import TlsFiles, trust

_VERSION, _HELLO, _ECHO_REQUEST, _ECHO_REPLY = 4, 0, 2, 3  # OpenFlow 1.3, 7.1: version, type, length, xid
_HEADER = struct.Struct("!BBHI")
_PATIENCE = 2.0


class Canary:
    """Sings as long as one and the same ovs-vswitchd answers."""

    def __init__(self, target: str, tls: TlsFiles) -> None:
        host, _, port = target.removeprefix("ssl:").rpartition(":")
        self._address = (host.strip("[]"), int(port))
        self._context = trust(tls)
        self._wire: ssl.SSLSocket | None = None
        self._unread = b""
        self._lives = 0

    def life(self) -> int | None:
        """The number of the connection that holds now; None if there is none."""
        if self._wire is not None and self._listen(self._wire):
            return self._lives
        self.close()
        try:
            self._wire = self._context.wrap_socket(socket.create_connection(self._address, _PATIENCE))
            self._wire.sendall(_HEADER.pack(_VERSION, _HELLO, _HEADER.size, 0))
            self._unread = self._wire.recv(65536)  # its own hello; only now has it accepted our certificate
            self._wire.setblocking(False)
        except OSError:
            self._unread = b""
        if not self._unread:
            self.close()
            return None
        self._lives += 1
        return self._lives

    def close(self) -> None:
        """Hang up."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _listen(self, wire: ssl.SSLSocket) -> bool:
        """Take what has come, and answer when asked whether we still live."""
        try:
            while read := wire.recv(65536):
                self._unread += read
                self._answer(wire)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False

    def _answer(self, wire: ssl.SSLSocket) -> None:
        while len(self._unread) >= _HEADER.size:
            version, kind, length, xid = _HEADER.unpack_from(self._unread)
            if len(self._unread) < length:
                return
            if kind == _ECHO_REQUEST:
                wire.sendall(_HEADER.pack(version, _ECHO_REPLY, length, xid) + self._unread[_HEADER.size : length])
            self._unread = self._unread[max(length, _HEADER.size) :]
