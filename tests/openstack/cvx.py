"""The endpoint of Arista's controller (CVX), as far as networking-arista speaks to it: HTTP, and a memory behind it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.adapters.ovs.certificates import certificates


class Cvx:
    """What was told to the controller, by kind: network, segment, vm, port, portbinding."""

    def __init__(self, neighbours: Mapping[str, str]) -> None:
        """`neighbours`: the leaf that each host hears by LLDP."""
        self.neighbours = dict(neighbours)
        self.held: dict[str, list[dict[str, Any]]] = {}
        self.address = ""

    def answer(self, method: str, path: str, body: Any) -> Any:
        if path == "/command-api":
            return {"result": [self._topology() for _ in body["params"]["cmds"]]}
        kind = path.removeprefix("/openstack/api/").strip("/").split("/")
        match kind:
            case ["agent"]:
                return {"isLeader": True, "uuid": "cvx-1"}
            case ["region", "RegionOne", "sync"]:
                return {}
            case ["region", "RegionOne", what]:
                return self._resources(method, what, body)
        return [{"name": "RegionOne", "syncStatus": "syncComplete", "syncInterval": 30}]

    def _topology(self) -> dict[str, Any]:
        return {"neighbors": {host: {"toPort": [{"hostname": leaf}]} for host, leaf in self.neighbours.items()}}

    def _resources(self, method: str, what: str, body: Any) -> Any:
        held = self.held.setdefault(what, [])
        if method == "POST":
            held.extend(body)
        elif method == "DELETE":
            gone = {json.dumps(item.get("id", item), sort_keys=True) for item in body}
            held[:] = [item for item in held if json.dumps(item.get("id", item), sort_keys=True) not in gone]
        return held


@contextmanager
def controller(folder: Path, neighbours: Mapping[str, str]) -> Iterator[Cvx]:
    """A controller on loopback, until the block ends."""
    cvx = Cvx(neighbours)

    class Handler(BaseHTTPRequestHandler):
        def _answered(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = cvx.answer(self.command, urlsplit(self.path).path, json.loads(body) if body else None)
            text = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = _answered  # noqa: N815  (the server looks for these names)

        def log_message(self, *told: object) -> None:
            """Nothing to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files = certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    cvx.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield cvx
    finally:
        server.shutdown()
        server.server_close()
