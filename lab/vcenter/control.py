"""The simulator's control socket: what a test does behind the clients' backs, as JSON over HTTP.

Law: an act that the simulator refuses raises; nothing is asked twice.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any


class ControlError(RuntimeError):
    """The simulator refused an act; the text says why."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Control:
    """The far end of the socket."""

    def __init__(self, path: Path, timeout: float = 30.0) -> None:
        self._path = path
        self._timeout = timeout

    def do(self, act: str, /, **arguments: Any) -> Any:
        """Asks for an act and returns its result."""
        connection = _UnixConnection(self._path, self._timeout)
        try:
            connection.request("POST", "/", json.dumps({"do": act, "arguments": arguments}))
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise ControlError(answer["error"])
        return answer.get("result")
