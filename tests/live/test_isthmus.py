"""isthmus on the simulator and real Open vSwitch: what can go wrong out there, one shared world for all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from lab.netns import frames
from lab.netns.capture import Capture
from lab.netns.dvs import Access
from lab.netns.frames import BROADCAST, mark_of, marked
from lab.netns.guest import Guest
from lab.netns.moves import Timing
from lab.netns.product import Isthmus, Network
from lab.netns.stage import Stage, is_open, move_under_ping, until
from lab.netns.world import World, world

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

ESX1, ESX2, ESX3 = "esx1.lab", "esx2.lab", "esx3.lab"
HOSTS = (ESX1, ESX2, ESX3)
RED, BLUE = Network("red", 5001), Network("blue", 6001)
PLACES = {"a": (ESX1, RED, 1), "b": (ESX1, RED, 2), "c": (ESX2, RED, 3), "x": (ESX1, BLUE, 1), "y": (ESX2, BLUE, 3)}
QUIET = 0.3


@pytest.fixture(scope="module")
def stage(machine: None) -> Iterator[Stage]:
    with world(f"i{os.getpid()}") as made:
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


def talks(stage: Stage, name: str, address: str, patience: float = 15.0) -> bool:
    return stage.guest(name).reaches(address, patience)


def hears(listener: Guest, speaker: Guest, what: str) -> bool:
    with listener.listen() as heard:
        speaker.send(marked(speaker.mac, BROADCAST, what))
        return heard.hears(lambda frame: mark_of(frame) == what, within_seconds=QUIET)


def vswitchd(made: World, host: str) -> int:
    return int((made.appliance(host).ovs.rundir / "ovs-vswitchd.pid").read_text())


def test_flows_return_when_the_switch_of_an_appliance_restarts(stage: Stage) -> None:
    made, appliance = stage.world, stage.world.appliance(ESX1)
    assert talks(stage, "a", "10.0.0.3")
    os.kill(vswitchd(made, ESX1), signal.SIGKILL)
    time.sleep(0.5)
    assert stage.guest("a").ping("10.0.0.2").all_answered  # the host's own switch has not restarted
    assert stage.guest("a").ping("10.0.0.3", patience=QUIET).none_answered
    appliance.ovs.start_vswitchd(made.state.processes)
    # Its system sets the VTEP's address again, as at boot.
    subprocess.run(
        ["ip", "-n", appliance.namespace, "addr", "replace", str(appliance.vtep), "dev", "br-phy"], check=True
    )
    subprocess.run(["ip", "-n", appliance.namespace, "link", "set", "br-phy", "up"], check=True)
    assert talks(stage, "a", "10.0.0.3")


@pytest.mark.parametrize("bridge", ["br-int", "br-tun"])
def test_a_bridge_removed_by_hand_is_built_again(stage: Stage, bridge: str) -> None:
    stage.world.appliance(ESX2).ovs.vsctl("del-br", bridge)
    assert until(lambda: bridge in stage.world.appliance(ESX2).own_bridges) is not None
    assert talks(stage, "a", "10.0.0.3")


@pytest.mark.live_long  # it waits for the next full round
def test_flows_written_by_a_foreign_hand_are_removed_and_foreign_bridges_left_alone(stage: Stage) -> None:
    ovs = stage.world.appliance(ESX1).ovs
    foreign = "table=7,priority=3,dl_vlan=77 actions=drop"
    for bridge in ("br-int", "br-phy"):
        ovs.bundle(bridge, [f"add {foreign.replace(' actions', ',actions')}"])
    left = until(lambda: not any("dl_vlan=77" in flow for flow in ovs.dump_flows("br-int")), patience=90)
    assert left is not None
    assert any("dl_vlan=77" in flow for flow in ovs.dump_flows("br-phy"))
    ovs.bundle("br-phy", ["delete table=7"])


def test_a_vm_keeps_its_network_through_a_power_cycle(stage: Stage) -> None:
    admin = stage.world.admin
    admin.power_off("b")
    assert stage.guest("a").ping("10.0.0.2", patience=QUIET).none_answered
    admin.power_on("b")
    assert until(lambda: is_open(stage, "b")) is not None
    assert talks(stage, "b", "10.0.0.3")
    assert not hears(stage.guest("x"), stage.guest("b"), "back again")


def test_a_vm_started_on_another_host_is_in_its_own_network_there(stage: Stage) -> None:
    """As after an HA restart: nobody announced it."""
    admin = stage.world.admin
    for host in (ESX3, ESX1):
        admin.power_off("b")
        admin.migrate("b", host)
        admin.power_on("b")
        assert talks(stage, "b", "10.0.0.3")
        assert talks(stage, "b", "10.0.0.1")
        assert not hears(stage.guest("x"), stage.guest("b"), f"restarted on {host}")


def test_a_nic_put_into_another_port_group_changes_its_network(stage: Stage) -> None:
    a, b, x = stage.guest("a"), stage.guest("b"), stage.guest("x")
    assert hears(a, b, "still red")
    stage.world.admin.connect_nic("b", "blue")
    assert until(lambda: is_open(stage, "b")) is not None
    stage.world.picture()
    assert hears(x, b, "now blue")
    assert not hears(a, b, "no longer red")
    stage.world.admin.connect_nic("b", "red")
    assert talks(stage, "b", "10.0.0.3")


def test_a_port_opened_by_hand_is_no_way_into_a_network(stage: Stage) -> None:
    """Tag and gate forced to another tenant's: the moment it lasts is the time until the next round."""
    admin = stage.world.admin
    own, other = admin.vid_of("a"), admin.vid_of("x")
    admin.set_port("a", Access(other or 0), blocked=False)
    assert until(lambda: admin.vid_of("a") == own and is_open(stage, "a")) is not None
    assert talks(stage, "a", "10.0.0.3")
    assert not hears(stage.guest("x"), stage.guest("a"), "red again")


def test_while_a_move_is_announced_everybody_sends_to_both_hosts(stage: Stage) -> None:
    a = stage.guest("a")
    running = stage.guest("c").keep_pinging("10.0.0.1")
    with Capture(stage.world.underlay) as wire:
        mover = threading.Thread(target=stage.world.admin.migrate, args=("a", ESX3))
        mover.start()
        time.sleep(0.9 * Timing().precopy)
        tunnelled = [found for frame in wire.frames() if (found := frames.vxlan(frame)) and found.inner.dst == a.mac]
    mover.join()
    running.stop()
    stage.world.migrate("a", ESX1)
    to = {str(found.remote) for found in tunnelled if str(found.local) == "192.0.2.2"}
    assert to == {"192.0.2.1", "192.0.2.3"}


def test_a_vm_that_moves_to_and_fro_loses_no_ping_beyond_its_stuns(stage: Stage) -> None:
    """What a peer learnt from an earlier move must not go before what vCenter announces of the next."""
    beyond = []
    for host in (ESX3, ESX1, ESX3, ESX1):
        stun, results = move_under_ping(stage, "a", host, "10.0.0.1", ("b", "c"))
        beyond.append([result.lost_beyond([stun]) for result in results])
    assert beyond == [[0, 0]] * 4


def test_existing_vms_are_adopted_without_a_lost_ping_by_a_process_that_remembers_nothing(stage: Stage) -> None:
    running = [stage.guest("a").keep_pinging("10.0.0.3"), stage.guest("x").keep_pinging("10.0.0.3")]
    for host in HOSTS:
        stage.isthmus.stop(host)
        stage.isthmus.forget_state(host)
    for host in HOSTS:
        stage.isthmus.restart(host)
    assert until(lambda: all(stage.isthmus.is_settled(host) for host in HOSTS), patience=40) is not None
    time.sleep(0.5)
    assert [ping.stop().lost for ping in running] == [0, 0]


def test_a_second_process_on_one_appliance_refuses_before_it_has_anything_to_write(stage: Stage) -> None:
    second = Isthmus(stage.world, label="second")
    second.start(ESX1)
    try:
        assert until(lambda: "OVSDB lock" in second.log(ESX1)) is not None
        stage.world.appliance(ESX1).ovs.vsctl("del-br", "br-int")
        assert until(lambda: talks(stage, "a", "10.0.0.3")) is not None, "the first goes on"
        assert "build bridges" not in second.log(ESX1)
    finally:
        second.stop(ESX1)
