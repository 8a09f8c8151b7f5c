"""The api-server on a port: HTTP, its faults, its door, and the stream of /watch.

    with ApiServer() as server:
        server.url, server.objects, server.faults, server.calls

Quirk kept on purpose: header and body of an answer leave as two small segments, without TCP_NODELAY, so that over a
kept connection a client that does not acknowledge quickly waits some 40 ms for each.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lab.contrail.beginnings import fresh
from lab.contrail.faults import Calls, Faults
from lab.contrail.identity import Door, Open
from lab.contrail.objects import Notice, Objects
from lab.contrail.refusals import Refused
from lab.contrail.rest import Answer, Request, answer
from lab.contrail.schema import kind_of
from lab.contrail.watch import KEEP_ALIVE, Watchers

HOST = "127.0.0.1"


class ApiServer:
    """Objects stay over a stop and a start, and so does the port."""

    def __init__(
        self,
        *,
        objects: Objects | None = None,
        door: Door | None = None,
        tls: ssl.SSLContext | None = None,
        announce: Callable[[Notice], None] | None = None,
        host: str = HOST,
        port: int = 0,
        watch_keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self.objects = objects or fresh()
        self.faults = Faults()
        self.calls = Calls()
        self.watchers = Watchers(self.objects, watch_keep_alive)
        self.door: Door = door or Open()
        self._tls = tls
        self._host = host
        self.port = port
        self._http: _Http | None = None
        if announce is not None:
            self.objects.listeners.append(self._told(announce))

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}"

    def start(self) -> ApiServer:
        self.faults.start_again()
        self._http = _Http((self._host, self.port), type("Handler", (_Handler,), {"api": self}), self._tls)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """As if killed: connections break, whatever was going on."""
        if self._http is None:
            return
        self.faults.stop_waiting()
        self.watchers.drop()
        self._http.shutdown()
        self._http.server_close()
        self._http.cut()
        self._http = None

    def __enter__(self) -> ApiServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _told(self, announce: Callable[[Notice], None]) -> Callable[[Notice], None]:
        def tell(notice: Notice) -> None:
            if not self.faults.loses_messages:
                announce(notice)

        return tell


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, where: tuple[str, int], handler: type[_Handler], tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(where, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        if self._tls is not None:
            # The handshake is the handler's, so that a client that begins none holds up nobody else.
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._open.add(connection)
        return connection, peer

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is none of the server's errors."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer
    protocol_version = "HTTP/1.1"
    server_version = "lab"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        api, faults = self.api, self.api.faults
        request = self._request()
        api.calls.add(request.method, request.path)
        is_met = faults.where(request.method, request.path)
        if is_met and faults.slowness:
            faults.pause(faults.slowness)
        if not faults.await_turn(request.method, request.path):
            self.close_connection = True
            return
        if is_met and faults.spoiled is not None:
            status, content, text = faults.spoiled
            self._send(Answer(status, text, content))
            return
        if request.path != "/" and not api.door.lets_in(
            self.headers.get("Authorization"), self.headers.get("X-Auth-Token")
        ):
            self._send(Answer(401, b"Authentication required", "text/html", {"WWW-Authenticate": "Keystone"}))
        elif request.path == "/watch" and request.method == "GET":
            self._watch(request)
        else:
            done = answer(api.objects, faults, request)
            if is_met and faults.loses_answers:
                faults.pause(3600)
                self.close_connection = True
                return
            self._send(done)

    def _request(self) -> Request:
        length = int(self.headers.get("Content-Length") or 0)
        scheme = self.api.url.partition(":")[0]
        return Request(
            self.command,
            self.path,
            f"{scheme}://{self.headers.get('Host', '')}",
            self.rfile.read(length),
            self.headers.get_content_type() == "application/json",
        )

    def _send(self, done: Answer) -> None:
        self.send_response(done.status)
        self.send_header("Content-Type", done.type)
        self.send_header("Content-Length", str(len(done.text)))
        for name, value in done.headers.items():
            self.send_header(name, value)
        self.end_headers()  # leaves at once, and the body behind it as a segment of its own
        if done.text:
            self.wfile.write(done.text)

    def _watch(self, request: Request) -> None:
        asked = request.query.get("resource_type")
        try:
            if not self.api.faults.has_watch:
                raise Refused(404, "Not found: '/watch'")
            if asked is None:
                raise Refused(400, "resource_type required in request")
            fields = {
                name: tuple(request.query.get(f"{name}_fields", "").split(","))
                if f"{name}_fields" in request.query
                else ()
                for name in asked.split(",")
                if kind_of(name)
            }
        except Refused as refusal:
            self._send(Answer(refusal.status, refusal.text.encode(), "text/html; charset=UTF-8"))
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        for piece in self.api.watchers.stream(fields, self.api.faults.failing_lists):
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
