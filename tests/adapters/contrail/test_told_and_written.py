"""What is written while the api-server tells of it: each writer sees what he wrote, and nobody's else is undone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from isthmus.adapters.contrail import feed
from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.feed import Feed
from isthmus.adapters.contrail.http import Http
from isthmus.adapters.contrail.intent import ContrailIntent
from isthmus.adapters.contrail.meaning import NETWORK, Choice
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.adapters.contrail.notes import instance_ip_uuid, plug_key, plug_note, vmi_uuid
from isthmus.adapters.contrail.objects import Objects
from isthmus.adapters.contrail.records import Records
from isthmus.model.names import HostId, NetworkId, NicId, PortId, VmId, mac
from isthmus.model.nve import Plug, Workload
from isthmus.model.tags import Vid, Vni
from lab.contrail import api_server
from lab.contrail.client import PROJECT, Client
from tests.adapters.contrail.test_feed import until

ESX1, ESX2 = HostId("vc/host-1"), HostId("vc/host-2")
NIC = NicId(VmId("5011aabb-0000-4000-8000-000000000001"), 4000)


class Process:
    """isthmus, as far as it speaks to an api-server that tells of changes."""

    def __init__(self, server: api_server.ApiServer) -> None:
        self.server, self.client = server, Client(server.url)
        self.client.project()
        self.red = self.client.network("red")
        self.api = ApiServer(Http(server.url, place="the api-server", kind="an api-server", timeout=20))
        self.mirror = Mirror()
        self.feed = Feed(self.api, self.mirror)
        self.intent = ContrailIntent(self.api, Choice(), 3600, mirror=self.mirror, feed=self.feed)
        self.records = Records(self.api, "isthmus", time.monotonic, self.mirror)
        self.objects = Objects(self.api, self.records, lambda _: [*PROJECT, "red"])
        self.woken: list[Any] = []
        self.records.wake = self.woken.append
        self.intent.watch(lambda hosts: None)
        until(lambda: self.mirror.is_whole)
        self.woken.clear()

    def work(self) -> Workload:
        red = NetworkId(self.red)
        return Workload(PortId(f"{NIC}@{red}"), red, Vni(5), NIC, mac("00:50:56:00:00:05"), "web-1")

    def plug(self, vid: int = 101, **other: Any) -> Plug:
        work = self.work()
        return replace(Plug(work.port, Vid(vid), work.network, work.vni, NIC, work.mac), **other)

    @property
    def vmi(self) -> str:
        return vmi_uuid(self.work().port)

    def noted(self) -> set[str]:
        """The keys of what is noted on the server."""
        pairs = self.client.read("virtual-machine-interface", self.vmi)["annotations"]["key_value_pair"]
        return {pair["key"] for pair in pairs if pair["value"]}

    def fall_silent(self) -> None:
        """Streams live on and tell of nothing more, as with a frozen RabbitMQ behind them."""
        self.server.objects.listeners.remove(self.server.watchers._hear)

    def told(self) -> set[str]:
        """The networks of which it was told."""
        return {fields["fq_name"][-1] for fields in self.mirror.listed(NETWORK) or ()}

    def is_told_all(self) -> bool:
        return self.mirror.is_whole and not self.records._unheard.uuids()


@pytest.fixture
def process() -> Iterator[Process]:
    with api_server.ApiServer(watch_keep_alive=0.2) as server:
        made = Process(server)
        yield made
        made.intent.close()


def test_a_plug_whose_link_is_down_is_told_back_like_any_other(process: Process) -> None:
    process.objects.keep(process.work(), ESX1, process.plug())
    process.objects.note_plug(ESX2, process.plug(enabled=False, addresses=("10.1.0.3",)))
    until(process.is_told_all, 5)


def test_an_address_is_the_one_that_was_given_now_and_not_that_of_before(process: Process) -> None:
    """The server tells late: what it told of the instance-ip is one that is gone."""
    process.objects.keep(process.work(), ESX1, None)
    until(process.is_told_all, 5)
    process.fall_silent()
    process.objects.give_up(process.work(), ESX1)
    status, said = process.client.address("theirs", instance_ip_address="10.1.0.3")
    assert status == 200, said
    record = process.objects.keep(process.work(), ESX1, None)
    there = process.client.read("instance-ip", instance_ip_uuid(process.work().port))["instance_ip_address"]
    assert record.addresses == (there,) != ("10.1.0.3",)


def test_two_hosts_that_write_one_vmi_at_once_both_see_both(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of a vMotion: the destination takes the workload over, and the source lets go of its plug."""
    process.objects.keep(process.work(), ESX1, process.plug())
    process.objects.note_plug(ESX2, process.plug())
    until(process.is_told_all, 5)
    process.fall_silent()
    both, note = threading.Barrier(2, timeout=20), process.api.note

    def together(*what: Any) -> None:
        both.wait()
        note(*what)
        both.wait()

    monkeypatch.setattr(process.api, "note", together)
    writers = [
        threading.Thread(target=process.objects.keep, args=(process.work(), ESX2, process.plug())),
        threading.Thread(target=process.objects.forget_plug, args=(ESX1, process.plug())),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    known = process.records.of(process.vmi)
    assert known is not None
    assert (known.home, set(known.plugs)) == (ESX2, {ESX2})
    assert plug_key(ESX1) not in process.noted()


def test_what_isthmus_wrote_itself_wakes_nobody_though_it_is_told_before_the_answer(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.objects.keep(process.work(), ESX1, process.plug())
    until(process.is_told_all, 5)
    process.woken.clear()
    note = process.api.note

    def answered_late(*what: Any) -> None:
        note(*what)
        time.sleep(0.5)

    monkeypatch.setattr(process.api, "note", answered_late)
    process.objects.note_plug(ESX2, process.plug())
    time.sleep(0.3)
    assert process.woken == []
    until(process.is_told_all, 5)


def test_what_is_never_told_is_known_when_everything_is_asked_for_anew(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An api-server whose own bus breaks off for a moment misses what others changed, and its streams live on."""
    process.fall_silent()
    process.client.network("blue", "10.2.0.0")
    time.sleep(0.3)
    assert "blue" not in process.told()
    monkeypatch.setattr(feed, "ANEW", 0.1)
    until(lambda: "blue" in process.told())


def test_a_vm_is_made_known_by_three_calls_where_its_address_is_told(process: Process) -> None:
    process.objects.project_of(NetworkId(process.red))
    process.server.calls.forget()
    record = process.objects.keep(process.work(), ESX1, process.plug())
    assert record.addresses == ("10.1.0.3",)
    until(process.is_told_all, 5)
    assert process.records.read()[process.vmi] == record
    made = {("POST", f"{kind}s"): 1 for kind in ("virtual-machine", "virtual-machine-interface", "instance-ip")}
    assert process.server.calls.so_far() == made


def test_a_write_without_an_answer_is_read_from_the_server_whatever_is_told(process: Process) -> None:
    process.objects.keep(process.work(), ESX1, process.plug())
    until(process.is_told_all, 5)
    process.fall_silent()
    process.api.note(process.vmi, {plug_key(ESX2): plug_note(process.plug(), "isthmus")})
    process.records.doubt()
    known = process.records.of(process.vmi)
    assert known is not None
    assert set(known.plugs) == {ESX1, ESX2}
    assert set(process.records.read()[process.vmi].plugs) == {ESX1, ESX2}
