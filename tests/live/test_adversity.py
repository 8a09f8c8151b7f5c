"""isthmus beside a vCenter that throttles, and stopped for a while: what the VMs hear meanwhile, and after."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from lab.netns.frames import BROADCAST, mark_of, marked
from lab.netns.product import Isthmus, Network
from lab.netns.stage import Stage, is_open, until
from lab.netns.world import world
from lab.vcenter import Unavailable

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
ESX1, ESX2, ESX3 = HOSTS = ("esx1.lab", "esx2.lab", "esx3.lab")
RED, BLUE = Network("red", 5001), Network("blue", 6001)
PLACES = {"a": (ESX1, RED, 1), "c": (ESX2, RED, 3), "x": (ESX1, BLUE, 1), "y": (ESX2, BLUE, 3)}


@pytest.fixture(scope="module")
def stage(machine: None) -> Iterator[Stage]:
    with world(f"v{os.getpid()}") as made:
        isthmus = Isthmus(made)
        isthmus.want(RED, BLUE)
        for host in HOSTS:
            isthmus.start(host)
        assert until(lambda: {"red", "blue"} <= made.admin.port_group_names())
        set_up = Stage(made, isthmus)
        for name, (host, network, number) in PLACES.items():
            set_up.boot(name, host, network, number)
        assert until(lambda: all(is_open(set_up, name) for name in PLACES))
        try:
            yield set_up
        finally:
            print({host: isthmus.log(host)[-3000:] for host in HOSTS})


def hears(stage: Stage, listener: str, speaker: str) -> bool:
    said = f"{speaker} to all {time.monotonic()}"
    with stage.guest(listener).listen() as heard:
        stage.guest(speaker).send(marked(stage.guest(speaker).mac, BROADCAST, said))
        return heard.hears(lambda frame: mark_of(frame) == said, within_seconds=0.3)


def settled(stage: Stage, patience: float = 60.0) -> bool:
    return until(lambda: all(stage.isthmus.is_settled(host) for host in HOSTS), patience) is not None


@pytest.mark.live_long
def test_a_vcenter_that_throttles_delays_a_vm_and_harms_none(stage: Stage) -> None:
    ping = stage.guest("c").keep_pinging("10.0.0.1", interval=0.02)
    meddling = stage.world.meddling
    admin = stage.world.admin
    stage.boot("t", ESX3, RED, 5)
    assert until(lambda: is_open(stage, "t")) is not None
    admin.power_off("t")
    with meddling.faults.during(Unavailable(), method="ReconfigureDVPort_Task", probability=0.7):
        admin.power_on("t")
        time.sleep(5)
    assert until(lambda: is_open(stage, "t"), 90) is not None
    assert stage.guest("t").reaches("10.0.0.1", 15)
    assert ping.stop().lost == 0
    admin.power_off("t")
    admin.destroy("t")
    assert settled(stage)


@pytest.mark.live_long
def test_a_process_that_was_stopped_for_a_while_does_no_harm_when_it_goes_on(stage: Stage) -> None:
    admin, pid = stage.world.admin, stage.isthmus.pid(ESX1)
    os.kill(pid, signal.SIGSTOP)
    try:
        admin.power_off("a")
        admin.migrate("a", ESX3)
        admin.power_on("a")
        assert stage.guest("a").reaches("10.0.0.3", 15)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert settled(stage)
    assert stage.guest("a").reaches("10.0.0.3", 15)
    assert not hears(stage, "x", "a")
    flows = stage.world.appliance(ESX1).ovs.dump_flows("br-int")
    mac = stage.guest("a").mac
    assert not [flow for flow in flows if f"dl_src={mac}" in flow], "a source kept what had left"
    admin.power_off("a")
    admin.migrate("a", ESX1)
    admin.power_on("a")
    assert settled(stage)
