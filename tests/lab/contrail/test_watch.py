"""The stream of /watch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import Any

import pytest

from lab.contrail.api_server import ApiServer
from lab.contrail.client import PROJECT, Client

KIND = "virtual-machine-interface"
TYPE = "virtual_machine_interface"


def test_a_stream_begins_with_everything_and_goes_on_with_every_change(server: ApiServer, client: Client) -> None:
    one = client.port("one")
    with watching(server, f"{TYPE},virtual_network") as stream:
        event, said = next(stream)
        assert (event, [each[KIND]["uuid"] for each in said[f"{KIND}s"]]) == ("init", [one])
        event, said = next(stream)
        assert (event, "red" in {each["virtual-network"]["fq_name"][-1] for each in said["virtual-networks"]}) == (
            "init",
            True,
        )
        two = client.port("two")
        event, said = next(stream)
        assert (event, said[KIND]["uuid"], said[KIND]["fq_name"]) == ("create", two, [*PROJECT, "two"])
        event, said = next(stream)  # the server's own: its ref to the routing instance
        assert (event, said[KIND]["routing_instance_refs"][0]["attr"]) == ("update", {"direction": "both"})
        client.ask("DELETE", f"/{KIND}/{two}")
        assert next(stream) == ("delete", {KIND: {"uuid": two}})


def test_nobody_else_is_told_of_a_ref(server: ApiServer, client: Client) -> None:
    with watching(server, "virtual_network") as stream:
        next(stream)
        client.port()
        client.network("blue", "10.2.0.0")
        event, said = next(stream)
        assert (event, said["virtual-network"]["fq_name"][-1]) == ("create", "blue")


def test_some_fields_may_be_asked_for(server: ApiServer, client: Client) -> None:
    with watching(server, f"{TYPE}&{TYPE}_fields=display_name") as stream:
        next(stream)
        client.port()
        _, said = next(stream)
        assert set(said[KIND]) == {"fq_name", "uuid", "parent_type", "parent_uuid", "display_name"}


def test_a_quiet_stream_says_that_it_lives(server: ApiServer, client: Client) -> None:
    with watching(server, TYPE, keep_alives=True) as stream:
        assert next(stream)[0] == "init"
        assert next(stream) == (":", None)


def test_a_type_with_dashes_is_given_whole_and_never_changes(server: ApiServer, client: Client) -> None:
    """From the server's code."""
    with watching(server, KIND, keep_alives=True) as stream:
        assert next(stream)[0] == "init"
        client.port()
        assert next(stream) == (":", None)


def test_a_type_that_is_none_is_not_found_and_one_is_needed(client: Client) -> None:
    assert client.ask("GET", "/watch?resource_type=virtual_planet")[0] == 404
    assert client.ask("GET", "/watch")[0] == 400


def test_older_servers_have_no_stream(server: ApiServer, client: Client) -> None:
    server.faults.has_watch = False
    assert client.ask("GET", f"/watch?resource_type={TYPE}")[0] == 404
    assert "watch" not in {link["link"]["name"] for link in client.get("/")["links"]}


def test_a_stream_that_cannot_begin_says_stop(server: ApiServer, client: Client) -> None:
    server.faults.failing_lists[KIND] = 500
    with watching(server, TYPE) as stream:
        assert next(stream)[0] == "stop"


def test_a_stream_may_end_with_a_word_or_without(server: ApiServer, client: Client) -> None:
    with watching(server, TYPE) as stream:
        next(stream)
        server.watchers.stop("the database is away")
        assert next(stream) == ("stop", {KIND: {"error": "the database is away"}})
    with watching(server, TYPE) as stream:
        next(stream)
        server.watchers.drop()
        with pytest.raises((IncompleteRead, StopIteration, ConnectionError)):
            next(stream)
    await_that(lambda: server.watchers.count() == 0)


@contextmanager
def watching(server: ApiServer, types: str, *, keep_alives: bool = False) -> Iterator[Iterator[tuple[str, Any]]]:
    line = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        line.request("GET", f"/watch?resource_type={types}")
        answer = line.getresponse()
        assert answer.headers["Content-Type"] == "text/event-stream"
        yield events(answer, keep_alives)
    finally:
        line.close()


def events(answer: HTTPResponse, keep_alives: bool) -> Iterator[tuple[str, Any]]:
    event = ""
    while line := answer.readline().decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)
        elif name == ":" and keep_alives:
            yield ":", None


def await_that(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
