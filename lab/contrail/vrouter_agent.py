"""A vRouter agent's port API over HTTP, with the troubles that an agent can have; no packet ever crosses it.

Written from OpenSDN fbb63bcd, src/vnsw/agent/port_ipc/rest_server.cc.  What it takes and holds is in `port_table.py`.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.contrail.port_table import UNSET, Event, PortTable, Wrong

ONE = r"/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"  # lower case, or it is an unknown request
CALLS = {
    ("POST", "/port"): re.compile("/port"),
    ("POST", "/syncports"): re.compile("/syncports"),
    ("DELETE", "/port"): re.compile("/port" + ONE),
    ("GET", "/port"): re.compile("/port" + ONE),
    ("PUT", "/enable-port"): re.compile("/enable-port" + ONE),
    ("PUT", "/disable-port"): re.compile("/disable-port" + ONE),
}
JSON = "application/json; charset=UTF-8"
Known = Container[str] | Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Trouble:
    """How an agent misbehaves.  `done` is whether it does what it was asked before."""

    delay: float = 0.0
    hangs: bool = False
    """No answer until the trouble is over; then it does what it was asked."""
    cuts: bool = False
    """It hangs up instead of answering."""
    body: bytes | None = None
    status: int = 200
    kind: str = JSON
    promised: int = 0
    """Bytes that are announced and never come, for it hangs up."""
    done: bool = False


HANG = Trouble(hangs=True)
HANG_WHEN_DONE = Trouble(hangs=True, done=True)
CUT = Trouble(cuts=True)
CUT_WHEN_DONE = Trouble(cuts=True, done=True)
HTML = Trouble(body=b"<html><body>It works!</body></html>", kind="text/html")
HALF_JSON = Trouble(body=b'{"id": "0')
CUT_JSON = Trouble(body=b'{"id": "0', promised=400)
NOT_READY = Trouble(body=b'{"error":"{ Operation Not Supported }"}', status=500)
UNAVAILABLE = Trouble(body=b"no healthy upstream", status=503, kind="text/plain")


def slow(seconds: float) -> Trouble:
    """Right, but late."""
    return Trouble(delay=seconds)


@dataclass(frozen=True, slots=True)
class Port:
    """What the agent has of a port, as tests want to see it.  `vid` is None if it uses none, or two different ones."""

    vmi: str
    vm: str
    vn: str
    mac: str
    address: str
    vid: int | None
    enabled: bool


class VrouterAgentStandIn:
    """Starts when it is made or entered.  It keeps its port and its files over `stop` and `start`.

    `known` says of which VMIs the control node has told; of others a GET finds nothing.  A hypervisor type other than
    "vmware" makes the agent use no VLAN.
    """

    def __init__(
        self,
        folder: Path,
        *,
        known: Known | None = None,
        hypervisor_type: str = "vmware",
        cleanup_timeout: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.known = known
        self.hypervisor_type = hypervisor_type
        self.calls: Counter[str] = Counter()
        """How often each was called, whatever came of it: "POST /port", "GET /port", and so on."""
        self.table = PortTable(folder, cleanup_timeout, clock)
        self._trouble: Trouble | None = None
        self._over = threading.Event()
        self._server: _Server | None = None
        self.port = 0
        self.start()

    def __enter__(self) -> VrouterAgentStandIn:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def events(self) -> list[Event]:
        """What happened, in order."""
        return self.table.events

    def told(self, vmi: str) -> list[str]:
        """What happened to one port, in order."""
        return [event.what for event in self.events if event.vmi == vmi]

    @property
    def ports(self) -> dict[str, Port]:
        """What it holds, by VMI."""
        return {
            vmi: Port(vmi, e.vm, e.vn, e.mac, e.address, self._vid(e.tx, e.rx), e.enabled)
            for vmi, e in self.table.entries().items()
        }

    @property
    def trouble(self) -> Trouble | None:
        return self._trouble

    @trouble.setter
    def trouble(self, trouble: Trouble | None) -> None:
        """From the next call on; those that hang in the former go on."""
        former, self._over = self._over, threading.Event()
        self._trouble = trouble
        former.set()

    def start(self, *, with_files: bool = True) -> None:
        """Listen, as ever on the same port.  Without its files it is an agent VM that was deployed anew."""
        if not with_files:
            shutil.rmtree(self.table.folder, ignore_errors=True)
        self.table.note("start")
        self.table.load()
        self._server = _Server(self, self.port)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Go, with all connections and without a word.  Its files stay."""
        server, self._server = self._server, None
        if server is not None:
            server.gone = True
            server.shutdown()
            server.server_close()
            server.cut()
            self._over.set()
            self._over = threading.Event()
            self.table.note("stop")

    def knows(self, vmi: str) -> bool:
        """Whether the control node has told of it."""
        if self.known is None:
            return True
        return self.known(vmi) if callable(self.known) else vmi in self.known

    def answered(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and document."""
        for (of, name), pattern in CALLS.items():
            found = pattern.fullmatch(path) if of == method else None
            if found:
                vmi = found[1] if found.groups() else ""
                try:
                    return self._done(f"{of} {name}", vmi, body)
                except Wrong as wrong:
                    self.table.note("refused", vmi)
                    text = str(wrong) if vmi else f" {wrong} "
                    return 500, {"error": "{" + text + "}"}
        return 404, {"error": "Unknown Request"}

    def counted(self, method: str, path: str) -> None:
        """One more call of its kind."""
        self.calls[f"{method} /{path.split('/')[1]}"] += 1

    @property
    def over(self) -> threading.Event:
        """Set when the trouble of now is over."""
        return self._over

    def _done(self, call: str, vmi: str, body: bytes) -> tuple[int, Any]:
        match call:
            case "POST /port":
                self.table.post(body)
            case "POST /syncports":
                self.table.sync()
            case "DELETE /port":
                self.table.delete(vmi)
            case "PUT /enable-port":
                self.table.set_link(vmi, 1)
            case "PUT /disable-port":
                self.table.set_link(vmi, 0)
            case _:
                told = self.table.shown(vmi, uses_vlans=self._uses_vlans) if self.knows(vmi) else None
                return (404, {"error": "{ Not Found }"}) if told is None else (200, told)
        return 200, {}

    @property
    def _uses_vlans(self) -> bool:
        return self.hypervisor_type == "vmware"

    def _vid(self, tx: int, rx: int) -> int | None:
        return tx if self._uses_vlans and tx == rx and tx != UNSET else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, agent: VrouterAgentStandIn, port: int) -> None:
        self.agent, self.gone = agent, False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is no news."""

    def cut(self) -> None:
        with self._lock:
            for request in self._open:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body in one segment, as the agent sends them
    server: _Server

    def _handle(self) -> None:
        agent = self.server.agent
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        trouble, over = agent.trouble or Trouble(), agent.over
        agent.counted(self.command, self.path)
        answer = agent.answered(self.command, self.path, body) if trouble.done else None
        if trouble.hangs:
            over.wait()
        elif trouble.delay:
            over.wait(trouble.delay)
        if self.server.gone or trouble.cuts:
            self.close_connection = True
            return
        if trouble.body is not None:
            self._say(trouble.status, trouble.body, trouble.kind, trouble.promised)
            return
        status, document = answer or agent.answered(self.command, self.path, body)
        self._say(status, json.dumps(document).encode())

    def _say(self, status: int, body: bytes, kind: str = JSON, promised: int = 0) -> None:
        self.send_response_only(status, "OK")  # so says the agent, whatever the status
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) + promised))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = self.close_connection or bool(promised)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Nothing: `calls` and `events` tell."""
