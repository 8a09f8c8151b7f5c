"""What a test can do to the server, and what the client then sees."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from http.client import HTTPException
from typing import Any

import pytest

from lab.contrail import faults
from lab.contrail.api_server import ApiServer
from lab.contrail.client import Client
from lab.contrail.objects import Notice

VM = {"virtual-machine": {"fq_name": ["vm"], "uuid": "5011a9bb-0000-4000-8000-000000000001"}}
MACHINES = "/virtual-machines"


def test_a_hung_server_takes_the_request_and_says_nothing(server: ApiServer, client: Client) -> None:
    server.faults.hang()
    with pytest.raises(TimeoutError):
        hasty(client).ask("GET", MACHINES)
    server.faults.thaw()
    assert client.ask("GET", MACHINES)[0] == 200


def test_a_slow_server_answers_in_the_end(server: ApiServer, client: Client) -> None:
    server.faults.slowness = 0.3
    began = time.monotonic()
    assert client.ask("GET", MACHINES)[0] == 200
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("spoiled", [faults.HTML, faults.HALF_JSON, faults.BAD_GATEWAY, faults.UNAVAILABLE])
def test_a_spoiled_answer_does_nothing(server: ApiServer, client: Client, spoiled: faults.Spoiled) -> None:
    server.faults.spoiled = spoiled
    assert client.ask("POST", MACHINES, VM) == (spoiled[0], spoiled[2].decode())
    server.faults.spoiled = None
    assert client.get(MACHINES) == {"virtual-machines": []}


def test_faults_may_be_aimed(server: ApiServer, client: Client) -> None:
    server.faults.where = lambda method, path: method == "POST"
    server.faults.spoiled = faults.BAD_GATEWAY
    assert client.ask("GET", MACHINES)[0] == 200
    assert client.ask("POST", MACHINES, VM)[0] == 502


def test_frozen_writes_are_done_after_their_client_has_gone(server: ApiServer, client: Client) -> None:
    server.faults.freeze_writes()
    with pytest.raises(TimeoutError):
        hasty(client).ask("POST", MACHINES, VM)
    assert client.get(MACHINES) == {"virtual-machines": []}
    assert client.ask("POST", "/id-to-fqname", {"uuid": "none"})[0] == 404
    server.faults.thaw()
    await_machine(client)
    assert client.ask("POST", MACHINES, VM)[0] == 409


def test_a_lost_answer_is_that_of_something_done(server: ApiServer, client: Client) -> None:
    server.faults.where = lambda method, path: method == "POST"
    server.faults.loses_answers = True
    with pytest.raises(TimeoutError):
        hasty(client).ask("POST", MACHINES, VM)
    await_machine(client)


def test_the_lists_of_one_type_fail_and_the_others_do_not(server: ApiServer, client: Client) -> None:
    server.faults.failing_lists["virtual-network"] = 404
    assert client.ask("GET", "/virtual-networks")[0] == 404
    assert client.ask("POST", "/list-bulk-collection", {"type": "virtual-network"})[0] == 404
    assert client.ask("GET", MACHINES)[0] == 200


def test_lost_messages_are_gone(client: Client) -> None:
    heard: list[Notice] = []
    with ApiServer(announce=heard.append) as server:
        its = Client(server.url)
        server.faults.loses_messages = True
        its.make("virtual-machine", ["one"])
        server.faults.loses_messages = False
        its.make("virtual-machine", ["two"])
    assert [notice.body["fq_name"] for notice in heard] == [["two"]]


def test_a_server_that_stops_leaves_its_clients_and_comes_back_as_it_was(server: ApiServer, client: Client) -> None:
    server.faults.hang()
    ended: list[Any] = []

    def ask() -> None:
        try:
            client.ask("GET", MACHINES)
        except (OSError, HTTPException) as fault:
            ended.append(fault)

    asking = threading.Thread(target=ask)
    asking.start()
    while not server.calls.so_far()["GET", "virtual-machines"]:
        time.sleep(0.01)
    server.stop()
    asking.join(20)
    assert len(ended) == 1
    with pytest.raises(OSError, match="refused"):
        client.ask("GET", MACHINES)
    server.faults.thaw()
    server.start()
    assert "red" in {each["fq_name"][-1] for each in client.get("/virtual-networks")["virtual-networks"]}


def test_calls_are_counted_by_method_and_type(server: ApiServer, client: Client) -> None:
    server.calls.forget()
    port = client.port()
    client.read("virtual-machine-interface", port)
    client.get("/virtual-machine-interfaces?detail=True")
    assert server.calls.so_far() == {
        ("POST", "virtual-machine-interfaces"): 1,
        ("GET", "virtual-machine-interface"): 1,
        ("GET", "virtual-machine-interfaces"): 1,
    }


def hasty(client: Client) -> Client:
    return replace(client, timeout=0.3)


def await_machine(client: Client) -> None:
    until = time.monotonic() + 20
    while not client.get(MACHINES)["virtual-machines"]:
        assert time.monotonic() < until
        time.sleep(0.02)
