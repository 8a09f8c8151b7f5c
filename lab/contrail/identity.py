"""Who may ask: nobody in particular, one user with a password, or whoever has a token of the lab's Keystone.

Law: a token is good until its time is over or the test ends it; the api-server asks the same object that gave it.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

LIFETIME = 3600.0


class Door(Protocol):
    def lets_in(self, authorization: str | None, token: str | None) -> bool:
        """By the headers Authorization and X-Auth-Token."""
        ...


class Open:
    """No authentication."""

    def lets_in(self, authorization: str | None, token: str | None) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Basic:
    """As on the server's admin port."""

    user: str
    password: str = field(repr=False)

    def lets_in(self, authorization: str | None, token: str | None) -> bool:
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return authorization == f"Basic {expected}"


class Keystone:
    """A tiny Keystone, of its version 3: a user's password for a token.  The door of an api-server, too."""

    def __init__(self, user: str = "admin", password: str = "secret", lifetime: float = LIFETIME) -> None:
        self.user = user
        self.password = password
        self.lifetime = lifetime
        self.asked = self.given = 0
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    # --- for tests

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v3"

    def start(self) -> Keystone:
        handler = type("Handler", (_Handler,), {"keystone": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Keystone:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def end_all(self) -> None:
        """No token that was given is good any more."""
        with self._lock:
            self._ends.clear()

    # --- for the api-server

    def lets_in(self, authorization: str | None, token: str | None) -> bool:
        with self._lock:
            return token is not None and self._ends.get(token, 0.0) > time.monotonic()

    # --- for its handler

    def give(self, asked: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """A token and what is said of it; None for the wrong user or password."""
        user = asked["auth"]["identity"]["password"]["user"]
        with self._lock:
            self.asked += 1
        if (user.get("name"), user.get("password")) != (self.user, self.password):
            return None
        token = secrets.token_urlsafe(24)
        with self._lock:
            self.given += 1
            self._ends[token] = time.monotonic() + self.lifetime
        now = time.time()
        said = {
            "methods": ["password"],
            "user": {"id": "lab", "name": self.user, "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "lab", "name": "admin"}],
            "issued_at": _iso(now),
            "expires_at": _iso(now + self.lifetime),
            "audit_ids": [],
        }
        return token, {"token": said}


class _Handler(BaseHTTPRequestHandler):
    keystone: Keystone
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/v3/auth/tokens":
            self._answer(404, {"error": {"code": 404, "title": "Not Found", "message": "no such path"}})
            return
        try:
            given = self.keystone.give(json.loads(body))
        except (ValueError, KeyError, TypeError):
            self._answer(400, {"error": {"code": 400, "title": "Bad Request", "message": "a password is needed"}})
            return
        if given is None:
            said = "The request you have made requires authentication."
            self._answer(401, {"error": {"code": 401, "title": "Unauthorized", "message": said}})
            return
        self._answer(201, given[1], given[0])

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/v3":
            links = [{"rel": "self", "href": f"{self.keystone.url}/"}]
            self._answer(200, {"version": {"id": "v3.14", "status": "stable", "links": links}})
        else:
            self._answer(404, {"error": {"code": 404, "title": "Not Found", "message": "no such path"}})

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, said: dict[str, Any], token: str | None = None) -> None:
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if token:
            self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(text)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
