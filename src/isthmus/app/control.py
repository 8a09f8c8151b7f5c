"""The daemon's socket: one line of JSON asks, one line of JSON answers.  Whoever may open it may steer the daemon."""

from __future__ import annotations

import json
import logging
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from isthmus.model.faults import Refused

log = logging.getLogger("isthmus")
LONGEST_REQUEST = 65536
Request = dict[str, Any]
Answer = dict[str, Any]


class Server:
    """Answers requests on a unix socket, each in a thread of its own."""

    def __init__(self, path: Path, answer: Callable[[Request], Answer]) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if _someone_listens(path):
                raise Refused(f"{path}: another isthmus run answers here; stop it, or give this one a status.socket")
            path.unlink()

        class Handler(socketserver.StreamRequestHandler):
            timeout = 10

            def handle(self) -> None:
                with suppress(OSError):  # who asked has gone
                    self.wfile.write(_answered(self.rfile.readline(LONGEST_REQUEST), answer))

        class Listener(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False

        before = os.umask(0o077)
        try:
            self._server = Listener(str(path), Handler)
        except OSError as fault:
            raise Refused(f"{path}: cannot listen here: {fault.strerror or fault}") from fault
        finally:
            os.umask(before)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="control", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering and take the socket away."""
        self._server.shutdown()
        self._server.server_close()
        with suppress(FileNotFoundError):
            self._path.unlink()


def _answered(line: bytes, answer: Callable[[Request], Answer]) -> bytes:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a request is a JSON object")
        reply = answer(request)
    except (ValueError, TypeError, RecursionError) as wrong:
        reply = {"error": f"not understood: {wrong}"}
    except Refused as fault:
        reply = {"error": str(fault)}
    return json.dumps(reply).encode() + b"\n"


def _someone_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def ask(path: Path, request: Request, seconds: float = 10.0) -> Answer | None:
    """The daemon's answer; None if no daemon runs.  Raises Refused with what it refused, or why it cannot be asked."""
    with socket.socket(socket.AF_UNIX) as conversation:
        conversation.settimeout(seconds)
        try:
            conversation.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as fault:
            raise Refused(f"{path}: cannot ask the daemon: {fault.strerror or fault}") from fault
        try:
            conversation.sendall(json.dumps(request).encode() + b"\n")
            with conversation.makefile("rb") as lines:
                reply = json.loads(lines.readline())
        except (OSError, ValueError) as fault:
            raise Refused(f"{path}: the daemon did not answer: {fault}") from fault
    if not isinstance(reply, dict):
        raise Refused(f"{path}: answered by something that is not isthmus")
    if "error" in reply:
        raise Refused(str(reply["error"]))
    return reply
