"""What the api-server tells of changes, and what becomes of it when that breaks off: /watch and the message bus."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange

from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.bus import EXCHANGE, Bus
from isthmus.adapters.contrail.feed import Feed
from isthmus.adapters.contrail.http import Http
from isthmus.adapters.contrail.intent import ContrailIntent
from isthmus.adapters.contrail.meaning import ADDRESS, NETWORK, VMI, Choice
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.adapters.contrail.records import Records
from isthmus.model.faults import Refused, Unreachable
from lab.contrail import api_server
from lab.contrail.announcer import Announcer
from lab.contrail.client import PROJECT, Client
from tests.adapters.contrail.far_side import FarSide, certificate, ok


def until(so: Callable[[], object], patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while not so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


class Listening:
    """A process that listens to an api-server."""

    def __init__(self, url: str, bus: Bus | None = None, silence: float = 30.0, poll: float = 3600.0) -> None:
        self.api = ApiServer(Http(url, place="the api-server", kind="an api-server", timeout=20))
        self.mirror = Mirror()
        self.feed = Feed(self.api, self.mirror, bus, silence)
        self.source = ContrailIntent(self.api, Choice(), poll, mirror=self.mirror, feed=self.feed)
        self.woken = 0

    def __enter__(self) -> Listening:
        self.source.watch(self._wake)
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()

    def _wake(self, _: object) -> None:
        self.woken += 1

    def names(self) -> set[str]:
        return {network.name for network in self.source.read().networks.values()}

    def told(self) -> set[str]:
        """The networks of which it was told, whatever the server has."""
        return {fields["fq_name"][-1] for fields in self.mirror.listed(NETWORK) or ()}


@pytest.fixture(params=["watch", "bus"])
def site(request: pytest.FixtureRequest) -> Iterator[tuple[api_server.ApiServer, Client, Listening]]:
    """A server that tells of changes by the one way or the other, and who listens."""
    url = "memory://"
    with contextlib.ExitStack() as stack:
        bus = None
        if request.param == "bus":
            announcer = Announcer(url)
            stack.callback(announcer.close)
            declare(url)
            server = stack.enter_context(api_server.ApiServer(announce=announcer))
            server.faults.has_watch = False
            bus = Bus(lambda: url)
        else:
            server = stack.enter_context(api_server.ApiServer())
        client = Client(server.url)
        client.project()
        client.network("red")
        listening = stack.enter_context(Listening(server.url, bus))
        until(lambda: listening.mirror.is_whole)
        yield server, client, listening


def declare(url: str) -> None:
    with Connection(url) as connection:
        Exchange(EXCHANGE, type="fanout", durable=False)(connection.channel()).declare()


Site = tuple[api_server.ApiServer, Client, Listening]


def test_what_is_made_changed_and_removed_is_told_and_wakes(site: Site) -> None:
    _, client, listening = site
    woken = listening.woken
    blue = client.network("blue", "10.2.0.0")
    until(lambda: {"red", "blue"} <= listening.told())
    assert listening.woken > woken
    assert listening.names() == {"red", "blue"}
    client.ask("DELETE", f"/{NETWORK}/{blue}")
    until(lambda: "blue" not in listening.told())
    assert listening.names() == {"red"}


def test_what_is_told_is_read_without_asking(site: Site) -> None:
    server, client, listening = site
    client.network("blue", "10.2.0.0")
    until(lambda: "blue" in listening.told())
    server.calls.forget()
    assert listening.names() == {"red", "blue"}
    assert listening.source.holds()
    assert server.calls.so_far().total() == 0


def test_an_update_that_changes_nothing_of_interest_wakes_nobody(site: Site) -> None:
    _, client, listening = site
    port = client.port("p1")
    until(lambda: listening.mirror.of(VMI, port))
    red = next(fields["uuid"] for fields in listening.mirror.listed(NETWORK) or () if fields["fq_name"][-1] == "red")
    woken = listening.woken
    client.ask("PUT", f"/{NETWORK}/{red}", {NETWORK: {"display_name": "another"}})
    client.port("p2")
    until(lambda: len(listening.mirror.listed(VMI) or ()) == 2)
    assert listening.woken == woken


def test_who_doubts_what_was_told_asks_the_server(site: Site) -> None:
    server, _, listening = site
    listening.source.doubt()
    server.calls.forget()
    listening.names()
    assert server.calls.so_far() == {("POST", "list-bulk-collection"): 1}


def test_while_the_server_is_away_nothing_is_told_and_afterwards_all_of_it(site: Site) -> None:
    server, client, listening = site
    server.stop()
    server.watchers.drop()
    listening.mirror.end()  # the bus itself has nobody to miss
    with pytest.raises(Unreachable):
        listening.source.read()
    server.start()
    client.network("blue", "10.2.0.0")
    until(lambda: {"red", "blue"} <= listening.told())


def test_a_server_without_either_is_looked_at_again_and_again() -> None:
    with api_server.ApiServer() as server:
        server.faults.has_watch = False
        client = Client(server.url)
        client.project()
        with Listening(server.url, poll=0.05) as listening:
            until(lambda: "watch" in listening.feed.why)
            client.network("red")
            until(lambda: listening.woken)
            assert listening.names() == {"red"}
            assert not listening.mirror.is_whole
            assert listening.feed.way == ""


def test_messages_that_are_lost_are_made_good_when_somebody_doubts() -> None:
    url = "memory://"
    announcer = Announcer(url)
    declare(url)
    with api_server.ApiServer(announce=announcer) as server:
        server.faults.has_watch = False
        client = Client(server.url)
        client.project()
        with Listening(server.url, Bus(lambda: url)) as listening:
            until(lambda: listening.mirror.is_whole)
            server.faults.loses_messages = True
            client.network("red")
            assert listening.names() == set()
            listening.source.doubt()
            assert listening.names() == {"red"}
            until(lambda: "red" in listening.told())  # who tells too late is begun anew
    announcer.close()


def test_a_stream_that_stops_is_begun_anew_with_everything() -> None:
    with api_server.ApiServer() as server:
        client = Client(server.url)
        client.project()
        with Listening(server.url) as listening:
            until(lambda: listening.mirror.is_whole)
            server.watchers.stop("the database is away")
            until(lambda: "the database is away" in listening.feed.why)
            client.network("red")
            until(lambda: "red" in listening.told())


def test_a_stream_that_falls_silent_is_given_up() -> None:
    with api_server.ApiServer(watch_keep_alive=3600) as server:
        Client(server.url).project()
        with Listening(server.url, silence=0.3) as listening:
            until(lambda: listening.mirror.is_whole)
            until(lambda: "/watch" in listening.feed.why)
            until(lambda: listening.mirror.is_whole)


def test_a_list_that_fails_within_a_stream_is_never_an_empty_one() -> None:
    with api_server.ApiServer() as server:
        client = Client(server.url)
        client.project()
        client.network("red")
        server.faults.failing_lists[NETWORK] = 404
        with Listening(server.url) as listening:
            until(lambda: "cannot go on" in listening.feed.why)
            assert not listening.mirror.is_whole
            server.faults.failing_lists.clear()
            until(lambda: "red" in listening.told())


STRANGE = (
    'event: init\ndata: {"virtual-networks": [{"virtual-network": {"fq_na\n\n',
    "event: init\ndata: []\n\n",
    'event: init\ndata: {"virtual-networks": [{"virtual-network": {"uuid": 5}}]}\n\n',
    'event: init\ndata: {"virtual-planets": []}\n\n',
    'event: rename\ndata: {"virtual-network": {"uuid": "a", "fq_name": []}}\n\n',
    "<html><body>It works!</body></html>\n\n",
)


@pytest.mark.parametrize("strange", STRANGE)
def test_a_stream_of_nonsense_is_no_stream(strange: str) -> None:
    answers = [ok(strange.encode(), "200 OK", "Content-Type: text/event-stream")]
    with FarSide(lambda _: answers) as far:
        listening = Listening(far.address)
        with pytest.raises(Unreachable):
            listening.feed._watch()
        assert not listening.mirror.is_whole


def test_a_change_told_before_all_kinds_were_given_is_not_lost() -> None:
    def event(name: str, said: Any) -> str:
        return f"event: {name}\ndata: {json.dumps(said)}\n\n"

    new = {"uuid": "n2", "fq_name": [*PROJECT, "blue"]}
    text = (
        event("init", {"virtual-networks": [{NETWORK: {"uuid": "n1", "fq_name": [*PROJECT, "red"]}}]})
        + event("create", {NETWORK: new})
        + event("delete", {NETWORK: {"uuid": "n1"}})
        + event("init", {"virtual-machine-interfaces": []})
        + event("init", {"instance-ips": []})
    )
    seen: list[set[str]] = []
    with FarSide(lambda _: [ok(text.encode(), "200 OK", "Content-Type: text/event-stream")]) as far:
        listening = Listening(far.address)
        listening._wake = lambda _: seen.append(listening.told())  # type: ignore[method-assign]
        listening.source._wake = listening._wake
        with pytest.raises(Unreachable, match="ended its telling"):
            listening.feed._watch()
    assert seen == [{"blue"}]


def test_an_object_that_makes_no_sense_ends_no_telling_of_the_others() -> None:
    odd = {"uuid": "a1", "fq_name": ["a1"], "virtual_machine_interface_refs": [{"to": ["p"]}]}
    port = {"uuid": "p1", "fq_name": ["p1"], "virtual_network_refs": "red", "annotations": [], "id_perms": 7}
    events = [
        ("init", {"virtual-networks": []}),
        ("init", {"virtual-machine-interfaces": [{VMI: port}]}),
        ("init", {"instance-ips": []}),
        ("create", {ADDRESS: odd}),
        ("create", {NETWORK: {"uuid": "n1", "fq_name": [*PROJECT, "red"]}}),
    ]
    text = "".join(f"event: {name}\ndata: {json.dumps(said)}\n\n" for name, said in events)
    with FarSide(lambda _: [ok(text.encode(), "200 OK", "Content-Type: text/event-stream")]) as far:
        listening = Listening(far.address)
        Records(listening.api, "isthmus", time.monotonic, listening.mirror)
        with pytest.raises(Unreachable, match="ended its telling"):
            listening.feed._watch()
        assert listening.told() == {"red"}


def test_a_listener_that_has_a_bug_is_begun_anew_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with api_server.ApiServer() as server, Listening(server.url) as listening:
        until(lambda: listening.mirror.is_whole)
        put = Mirror.put

        def baffled(self: Mirror, kind: str, fields: dict[str, Any]) -> None:
            raise KeyError("strange")

        monkeypatch.setattr(Mirror, "put", baffled)
        Client(server.url).project()
        Client(server.url).network("red")
        until(lambda: "KeyError" in listening.feed.why)
        assert not listening.mirror.is_whole
        monkeypatch.setattr(Mirror, "put", put)
        until(lambda: "red" in listening.told())


def test_a_bus_that_is_not_there_is_named_without_its_password() -> None:
    bus = Bus(lambda: "amqp://isthmus:s3cret@127.0.0.1:1//")
    api = ApiServer(Http("http://127.0.0.1:1", place="the api-server", kind="an api-server"))
    mirror = Mirror()
    with pytest.raises(Unreachable, match="message bus cannot be listened to") as fault:
        bus.follow(api, mirror, Feed(api, mirror, bus))
    assert "s3cret" not in str(fault.value)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_bus_with_tls_is_told_nothing_before_it_has_shown_a_certificate_that_is_trusted(
    tmp_path: Path, *, is_trusted: bool
) -> None:
    tls, ca_file = certificate(tmp_path)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            line, _ = listening.accept()
            with contextlib.suppress(OSError), tls.wrap_socket(line, server_side=True) as secure:
                heard.append(secure.recv(8))

        server = threading.Thread(target=serve)
        server.start()
        bus = Bus(lambda: f"amqps://u:s3cret@127.0.0.1:{listening.getsockname()[1]}//", ca_file if is_trusted else None)
        api, mirror = ApiServer(Http("http://127.0.0.1:1", place="x", kind="y")), Mirror()
        with pytest.raises(Unreachable):
            bus.follow(api, mirror, Feed(api, mirror, bus))
        server.join(20)
    assert heard == ([b"AMQP\x00\x00\x09\x01"] if is_trusted else [])


def test_a_url_of_no_bus_is_refused_without_its_password() -> None:
    bus = Bus(lambda: "smoke://isthmus:s3cret@127.0.0.1")
    api = ApiServer(Http("http://127.0.0.1:1", place="the api-server", kind="an api-server"))
    mirror = Mirror()
    with pytest.raises((Refused, Unreachable)) as fault:
        bus.follow(api, mirror, Feed(api, mirror, bus))
    assert "s3cret" not in str(fault.value)
