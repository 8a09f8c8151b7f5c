"""An api-server that is too old for /watch, and its real RabbitMQ: what is told there, and what when it goes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.bus import HEARTBEAT, Bus
from isthmus.adapters.contrail.feed import Feed
from isthmus.adapters.contrail.http import Http
from isthmus.adapters.contrail.intent import ContrailIntent
from isthmus.adapters.contrail.meaning import NETWORK, Choice
from isthmus.adapters.contrail.mirror import Mirror
from lab.contrail import api_server
from lab.contrail.announcer import Announcer
from lab.contrail.client import Client
from lab.netns.process import Processes
from lab.openstack.broker import Broker, free_port

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def until(so: Callable[[], object], patience: float = 90.0) -> None:
    end = time.monotonic() + patience
    while not so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)


@dataclass
class Site:
    """A server, its bus, and who listens there."""

    server: api_server.ApiServer
    client: Client
    broker: Broker
    mirror: Mirror
    feed: Feed

    def told(self) -> set[str]:
        """The networks of which it was told."""
        return {fields["fq_name"][-1] for fields in self.mirror.listed(NETWORK) or ()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    processes = Processes(tmp_path / "state")
    broker = Broker(tmp_path / "bus", free_port(), processes)
    broker.install()
    broker.await_answer()
    announcer = Announcer(broker.url)
    try:
        with api_server.ApiServer(announce=announcer) as server:
            server.faults.has_watch = False
            client = Client(server.url)
            client.project()  # the first message declares the exchange, as the server does when it starts
            api = ApiServer(Http(server.url, place="the api-server", kind="an api-server", timeout=20))
            mirror = Mirror()
            feed = Feed(api, mirror, Bus(lambda: broker.url.replace("rabbit://", "amqp://")))
            source = ContrailIntent(api, Choice(), 3600, mirror=mirror, feed=feed)
            source.watch(lambda hosts: None)
            until(lambda: mirror.is_whole)
            assert feed.way == "its message bus"
            yield Site(server, client, broker, mirror, feed)
            source.close()
    finally:
        announcer.close()
        processes.stop_all()


def test_what_changes_is_told_though_a_message_about_an_update_has_no_content(site: Site) -> None:
    site.client.network("red")
    port = site.client.port("p")
    until(lambda: site.mirror.of("virtual-machine-interface", port))
    notes = {"annotations": {"key_value_pair": [{"key": "k", "value": "v"}]}}
    site.client.ask("PUT", f"/virtual-machine-interface/{port}", {"virtual-machine-interface": notes})
    until(lambda: (site.mirror.of("virtual-machine-interface", port) or {}).get("annotations") == notes["annotations"])
    site.client.ask("DELETE", f"/virtual-machine-interface/{port}")
    until(lambda: site.mirror.of("virtual-machine-interface", port) is None)
    assert "red" in site.told()


def test_a_hundred_changes_at_once_are_read_in_a_few_lists(site: Site) -> None:
    site.server.calls.forget()
    names = {f"n{number}" for number in range(100)}
    for name in sorted(names):
        site.client.network(name, f"10.{10 + int(name[1:])}.0.0")
    until(lambda: names <= site.told())
    assert site.server.calls.so_far()["POST", "list-bulk-collection"] < 100


def test_what_is_missed_while_the_bus_is_killed_is_known_when_it_is_back(site: Site) -> None:
    site.broker.kill()
    until(lambda: not site.mirror.is_whole)
    assert "message bus" in site.feed.why
    site.client.network("red")
    site.broker.start()
    site.broker.await_answer()
    until(lambda: "red" in site.told())


def test_a_bus_that_hangs_is_given_up_by_its_missing_heartbeats_and_found_again(site: Site) -> None:
    assert site.broker._running is not None
    broker = site.broker._running.pid
    os.kill(broker, signal.SIGSTOP)
    try:
        until(lambda: not site.mirror.is_whole)
        site.client.network("red")
    finally:
        os.kill(broker, signal.SIGCONT)
    until(lambda: "red" in site.told())


def test_a_bus_that_never_falls_silent_is_listened_to_on(site: Site) -> None:
    """A broker leaves who sends it nothing for two heartbeats, however much it is sent itself."""
    ended: list[float] = []
    end = site.mirror.end

    def noted() -> None:
        ended.append(time.monotonic())
        end()

    site.mirror.end = noted  # type: ignore[method-assign]
    group = site.client.make("virtual-machine", ["vm"])
    until_then = time.monotonic() + 3.5 * HEARTBEAT
    while time.monotonic() < until_then:
        site.client.ask("PUT", f"/virtual-machine/{group}", {"virtual-machine": {"display_name": "another"}})
        time.sleep(0.3)
    assert not ended
