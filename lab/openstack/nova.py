"""Nova, as far as Neutron speaks to it: an endpoint that takes its events, and keeps them.

Law: what Nova does is done by whoever plays a scene; this only hears.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PLUGGED = "network-vif-plugged"


@dataclass(slots=True)
class Nova:
    """`port` is one of the loopback."""

    port: int
    _heard: Counter[tuple[str, str]] = field(default_factory=Counter)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2.1"

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _line_of(self))
        threading.Thread(target=self._server.serve_forever, name="nova", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def take(self, event: str, port: str) -> None:
        self._heard[event, port] += 1

    def plugged(self, port: str) -> int:
        """How often it was told that a port is plugged in."""
        return self._heard[PLUGGED, port]


def _line_of(nova: Nova) -> type[BaseHTTPRequestHandler]:
    class Line(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken = [{**event, "code": 200, "status": event.get("status", "completed")} for event in asked["events"]]
            for event in taken:
                nova.take(event["name"], event.get("tag", ""))
            answer = json.dumps({"events": taken}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            """Who is told something says nothing."""

    return Line
