"""A message bus that is not there, or not one, is said in bounded time, without its password."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from isthmus.adapters.neutron import bus as bus_module
from isthmus.adapters.neutron.bus import Bus, BusSettings
from isthmus.adapters.neutron.reach import PATIENCE, Reach
from isthmus.model.faults import Refused, Retry, Unreachable

SECRET = "canary-Pa55"


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def bus(url: str) -> Bus:
    return Bus(BusSettings(lambda: url, timeout=2.0))


def test_a_broker_that_is_away_is_said_soon_and_by_its_address(nobody: int) -> None:
    began = time.monotonic()
    with pytest.raises(Retry, match=re.escape(f"127.0.0.1:{nobody}: Connection refused")) as told:
        bus(f"rabbit://user:{SECRET}@127.0.0.1:{nobody}/").call("isthmus", "read")
    assert time.monotonic() - began < 5
    assert SECRET not in str(told.value)


def test_who_hears_no_answer_is_asked_for_no_driver_that_he_may_not_use() -> None:
    with pytest.raises(Retry, match=r"did not answer 'read': is neutron-rpc-server running") as told:
        bus("fake:///").call("isthmus", "read", seconds=0.1)
    assert not re.search(r"isthmus_(fabric|vds|ovsvapp)", str(told.value))


@dataclass(frozen=True)
class Host:
    port: int
    hostname: str = "127.0.0.1"


def test_of_several_brokers_one_is_enough() -> None:
    with socket.socket() as gone, socket.create_server(("127.0.0.1", 0)) as there:
        gone.bind(("127.0.0.1", 0))
        hosts = [Host(gone.getsockname()[1]), Host(there.getsockname()[1])]
        assert Reach().why_not(hosts) == ""
        assert str(hosts[0].port) in Reach().why_not(hosts[:1])
    assert Reach().why_not([]) == ""


def test_a_broker_that_hangs_is_waited_for_once_and_not_for_each_message() -> None:
    with (
        socket.socket() as hanging,
        socket.create_server(("127.0.0.1", 0), backlog=50) as there,
        ExitStack() as callers,
    ):
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(0)
        for _ in range(4):  # more than it keeps waiting: the next one hears nothing
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(hanging.getsockname())
        hosts = [Host(hanging.getsockname()[1]), Host(there.getsockname()[1])]
        reach = Reach(holds=0.0)
        reach.why_not(hosts)
        began = time.monotonic()
        assert [reach.why_not(hosts) for _ in range(20)] == [""] * 20
        assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    "url", ["nonsense", f"foo://u:{SECRET}@h/", f"rabbit://u:{SECRET}@[::1/", f"rabbit://u:{SECRET}@h:99999/"]
)
def test_what_is_no_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises((Refused, Retry)) as told:
        bus(url).call("isthmus", "read")
    assert SECRET not in str(told.value)


def test_an_options_file_that_cannot_be_read_is_named(tmp_path: object) -> None:
    wrong = Bus(BusSettings(lambda: "fake:///", options_file=f"{tmp_path}/none.conf"))
    with pytest.raises(Refused, match=r"none\.conf"):
        wrong.call("isthmus", "read")


def test_nobody_who_answers_is_said_with_where_to_look() -> None:
    with pytest.raises(Retry, match="is neutron-rpc-server running"):
        Bus(BusSettings(lambda: "fake:///", timeout=0.3)).call("isthmus", "read")


def test_a_broker_that_does_not_take_a_message_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no use in sending it the next one."""

    def refused(self: Bus, topic: str) -> None:
        raise bus_module.oslo_messaging.MessageDeliveryFailure("no route")

    monkeypatch.setattr(Bus, "_client", refused)
    with pytest.raises(Unreachable, match="no route"):
        Bus(BusSettings(lambda: "fake:///")).call("isthmus", "ready")


def test_serving_begins_without_waiting_for_a_broker(nobody: int) -> None:
    began = time.monotonic()
    late = bus(f"rabbit://user:x@127.0.0.1:{nobody}/")
    late.serve("isthmus.rack1", "me", [object()])
    late.close()
    assert time.monotonic() - began < 1
