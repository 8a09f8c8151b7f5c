"""Who is let in."""

from __future__ import annotations

import base64
import json
from http.client import HTTPConnection

from lab.contrail.api_server import ApiServer
from lab.contrail.client import Client
from lab.contrail.identity import Basic, Keystone

USER = {"name": "admin", "domain": {"name": "Default"}, "password": "secret"}


def token(keystone: Keystone, password: str = "secret") -> tuple[int, str | None]:
    user = {**USER, "password": password}
    asked = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    line = HTTPConnection("127.0.0.1", int(keystone.url.split(":")[2].split("/")[0]), timeout=20)
    line.request("POST", "/v3/auth/tokens", json.dumps(asked), {"Content-Type": "application/json"})
    answer = line.getresponse()
    said = json.loads(answer.read())
    line.close()
    assert answer.status != 201 or said["token"]["expires_at"].endswith("Z")
    return answer.status, answer.headers["X-Subject-Token"]


def test_a_token_opens_the_door_until_it_ends() -> None:
    with Keystone() as keystone, ApiServer(door=keystone) as server:
        client = Client(server.url)
        assert client.ask("GET", "/projects")[0] == 401
        status, given = token(keystone)
        assert (status, given is None, keystone.given) == (201, False, 1)
        client.headers["X-Auth-Token"] = given or ""
        assert client.ask("GET", "/projects")[0] == 200
        keystone.end_all()
        assert client.ask("GET", "/projects")[0] == 401
        client.headers["X-Auth-Token"] = token(keystone)[1] or ""
        assert client.ask("GET", "/projects")[0] == 200


def test_a_token_has_its_time() -> None:
    with Keystone(lifetime=0.0) as keystone, ApiServer(door=keystone) as server:
        client = Client(server.url, {"X-Auth-Token": token(keystone)[1] or ""})
        assert client.ask("GET", "/projects")[0] == 401


def test_a_wrong_password_gives_no_token() -> None:
    with Keystone() as keystone:
        assert token(keystone, "wrong") == (401, None)


def test_the_homepage_needs_no_token() -> None:
    with Keystone() as keystone, ApiServer(door=keystone) as server:
        assert Client(server.url).ask("GET", "/")[0] == 200


def test_a_user_and_a_password_open_the_admins_door() -> None:
    with ApiServer(door=Basic("admin", "secret")) as server:
        client = Client(server.url)
        assert client.ask("GET", "/projects")[0] == 401
        client.headers["Authorization"] = "Basic " + base64.b64encode(b"admin:secret").decode()
        assert client.ask("GET", "/projects")[0] == 200
        client.headers["Authorization"] = "Basic " + base64.b64encode(b"admin:wrong").decode()
        assert client.ask("GET", "/projects")[0] == 401
