"""A TCP port of the loopback of a namespace that leads to the same port of this machine's loopback."""

from __future__ import annotations

import contextlib
import socket
import threading

from lab.netns import namespace


class Relay:
    """As long as it is open."""

    def __init__(self, where: str, port: int) -> None:
        self._port = port
        self._door = namespace.within(where, lambda: socket.create_server(("127.0.0.1", port)))
        threading.Thread(target=self._serve, name=f"relay of {where}", daemon=True).start()

    def close(self) -> None:
        """Take nobody in any more."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pour, args=(one, other), daemon=True).start()


def _pour(one: socket.socket, other: socket.socket) -> None:
    """What one says, to the other, until it has no more to say."""
    with contextlib.suppress(OSError):
        while said := one.recv(65536):
            other.sendall(said)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)
