"""Processes and appliances that die, stand still or meet another, while the VMs of two tenants listen all the time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lab.netns.layout import TENANT
from lab.netns.product import Isthmus, Network
from lab.netns.stage import Stage, is_open, until
from lab.netns.world import world
from lab.vcenter import Hang
from tests.live.company import (
    ALL,
    BLUE,
    ESX1,
    ESX2,
    ESX3,
    RED,
    Company,
    OneProcess,
    assert_each_vid_has_one_network,
    at_rest,
    company,
    flows,
    furnished,
    right_everywhere,
    settled,
)

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
PLACES = {"a": (ESX1, RED, 1), "c": (ESX2, RED, 3), "x": (ESX1, BLUE, 1), "y": (ESX2, BLUE, 3)}
TENANTS = {name: network for name, (_, network, _) in PLACES.items()}
WRITES = ("CreateDVPortgroup_Task", "ReconfigureDVPortgroup_Task", "ReconfigureDVPort_Task")
MOST_WRITES = 8
"""More than any deed below needs; beyond it, a process would be making the same write again and again."""


@pytest.fixture(scope="module")
def stage(machine: None) -> Iterator[Stage]:
    with world(f"sfp{os.getpid()}") as made:
        set_up = Stage(made, OneProcess(made))
        furnished(set_up, PLACES)
        try:
            yield set_up
        finally:
            print(set_up.isthmus.log(ALL)[-6000:], made.state.tail("hostd.log"))


def killed_at_each_write(stage: Stage, deed: Callable[[], object], done: Callable[[], bool], *, after: bool) -> int:
    """Every write that follows from a deed is the last of the process that makes it.  Returns how many there were."""
    faults, kills = stage.world.meddling.faults, 0

    def arm() -> None:
        faults.clear()
        groups = {"green"} & stage.world.admin.port_group_names()
        rules = [{"method": method} for method in WRITES]
        rules += [{"method": "Destroy_Task", "object": name} for name in groups]  # VMs are destroyed by people
        for rule in rules:
            faults.add(Hang(), after=after, count=1, **rule)

    def struck() -> bool:
        return any(rule.struck for rule in faults.list())

    arm()
    deed()
    while until(lambda: struck() or (done() and at_rest(stage)), 60) is not None:
        if not struck():
            faults.clear()
            return kills
        stage.isthmus.kill(ALL)
        kills += 1
        assert kills <= MOST_WRITES
        assert_each_vid_has_one_network(stage)
        arm()  # what hung is let go by this, and done
        stage.isthmus.restart(ALL)
    pytest.fail("neither done nor at a write")


def boot(stage: Stage, name: str, host: str, network: Network, number: int, heard_by: Company) -> None:
    stage.boot(name, host, network, number)
    heard_by.joined_by(name, network)


def destroy(stage: Stage, name: str, heard_by: Company) -> None:
    heard_by.left_by(name)
    stage.world.admin.destroy(name)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(False, id="whose call vCenter carries out when the process is gone", marks=pytest.mark.live_long),
        pytest.param(True, id="whose answer never came", marks=pytest.mark.live_long),
    ],
)
def test_killed_at_each_write_of_a_networks_life_it_ends_as_if_nothing_had_been(stage: Stage, after: bool) -> None:
    green, admin = Network("green", 7000 + after), stage.world.admin
    want = stage.isthmus.want
    worn, held = admin.worn_vids(TENANT), flows(stage)
    killed: dict[str, int] = {}
    with company(stage, TENANTS) as tenants:

        def at_each_write(what: str, deed: Callable[[], object], done: Callable[[], bool]) -> None:
            killed[what] = killed_at_each_write(stage, deed, done, after=after)

        at_each_write("create", lambda: want(RED, BLUE, green), lambda: "green" in admin.port_group_names())
        at_each_write("boot", lambda: boot(stage, "k", ESX1, green, 9, tenants), lambda: is_open(stage, "k"))
        at_each_write("join", lambda: boot(stage, "p", ESX2, green, 10, tenants), lambda: is_open(stage, "p"))
        assert stage.guest("k").reaches("10.0.0.10", 15)
        at_each_write("move", lambda: admin.migrate("k", ESX3), lambda: right_everywhere(stage, ["k", "p"]))
        assert stage.guest("k").reaches("10.0.0.10", 15)
        at_each_write("power off", lambda: admin.power_off("k"), lambda: not is_open(stage, "k"))
        at_each_write("power on", lambda: admin.power_on("k"), lambda: is_open(stage, "k"))
        at_each_write("unwanted", lambda: want(RED, BLUE), lambda: not is_open(stage, "k") and not is_open(stage, "p"))
        destroy(stage, "p", tenants)
        at_each_write("delete", lambda: destroy(stage, "k", tenants), lambda: "green" not in admin.port_group_names())
    print(killed)
    assert killed["move"] == 0, "a move needs no write"
    assert {what for what, kills in killed.items() if kills} >= {"create", "boot", "join", "unwanted", "delete"}
    assert admin.worn_vids(TENANT) == worn
    assert until(lambda: flows(stage) == held) is not None
    assert stage.isthmus.log(ALL).count("Traceback") == 0


def test_killed_while_a_move_is_announced_the_next_process_serves_the_vm_where_it_arrives(stage: Stage) -> None:
    admin = stage.world.admin
    with company(stage, TENANTS):
        for destination in (ESX3, ESX1):
            mover = threading.Thread(target=admin.migrate, args=("a", destination))
            mover.start()
            time.sleep(0.7)
            stage.isthmus.kill(ALL)
            stage.isthmus.restart(ALL)
            mover.join()
            assert until(lambda: right_everywhere(stage, list(PLACES)), 30) is not None
            assert stage.guest("c").reaches("10.0.0.1", 15)


def test_killed_while_an_appliance_hangs_the_vm_is_opened_only_once_its_network_is_known_there(stage: Stage) -> None:
    """The write that is cut off is the one to Open vSwitch; the port waits closed."""
    appliance = stage.world.appliance(ESX1)
    vswitchd = int((appliance.ovs.rundir / "ovs-vswitchd.pid").read_text())
    green = Network("green", 7005)
    held = flows(stage)
    stage.isthmus.want(RED, BLUE, green)
    assert until(lambda: "green" in stage.world.admin.port_group_names()) is not None
    assert settled(stage)
    with company(stage, {"c": RED, "y": BLUE}) as tenants:
        os.kill(vswitchd, signal.SIGSTOP)
        try:
            boot(stage, "h", ESX1, green, 9, tenants)
            time.sleep(3)  # the appliance has been given up by then
            assert not is_open(stage, "h")
            stage.isthmus.kill(ALL)
            stage.isthmus.restart(ALL)
            time.sleep(3)  # the appliance has been given up by then
            assert not is_open(stage, "h")
        finally:
            os.kill(vswitchd, signal.SIGCONT)
        assert until(lambda: is_open(stage, "h"), 60) is not None
        boot(stage, "p", ESX2, green, 10, tenants)
        assert until(lambda: is_open(stage, "p"), 60) is not None
        assert stage.guest("h").reaches("10.0.0.10", 15)
        for name in ("h", "p"):
            destroy(stage, name, tenants)
    stage.isthmus.want(RED, BLUE)
    assert until(lambda: "green" not in stage.world.admin.port_group_names(), 30) is not None
    assert until(lambda: flows(stage) == held, 30) is not None


@contextlib.contextmanager
def second_process(stage: Stage) -> Iterator[Isthmus]:
    """Another one for the same hosts, of the same configuration but for its socket."""
    second = OneProcess(stage.world, label="second")
    second.start(ALL)
    try:
        yield second
    finally:
        if second.is_running(ALL):
            second.kill(ALL)


@pytest.mark.live_long
def test_of_two_processes_one_serves_the_hosts_and_the_other_takes_its_place_when_it_is_killed(stage: Stage) -> None:
    green, admin = Network("green", 7006), stage.world.admin
    with company(stage, TENANTS) as tenants:
        with second_process(stage) as second:
            assert until(lambda: second.log(ALL).count("OVSDB lock") >= 3) is not None, second.log(ALL)[-2000:]
            assert "OVSDB lock" not in stage.isthmus.log(ALL)
            rule = stage.world.meddling.faults.add(Hang(), method="CreateDVPortgroup_Task", count=1)
            stage.isthmus.want(RED, BLUE, green)  # both may make its port group; one is caught in it
            assert until(lambda: "green" in admin.port_group_names(), 30) is not None
            stage.world.meddling.faults.release(rule)
            stage.world.meddling.faults.clear()
            boot(stage, "k", ESX1, green, 9, tenants)
            assert until(lambda: is_open(stage, "k"), 30) is not None
            assert [name for name in admin.port_group_names() if name.startswith("green")] == ["green"]
            os.kill(stage.isthmus.pid(ALL), signal.SIGSTOP)
            time.sleep(3)
            os.kill(stage.isthmus.pid(ALL), signal.SIGCONT)
            assert_each_vid_has_one_network(stage)
            stage.isthmus.kill(ALL)
            boot(stage, "p", ESX2, green, 10, tenants)
            assert until(lambda: is_open(stage, "p"), 30) is not None, second.log(ALL)[-2000:]
            assert stage.guest("k").reaches("10.0.0.10", 15)
            assert until(lambda: second.is_settled(ALL), 30) is not None
            stage.isthmus.want(RED, BLUE)
            for name in ("k", "p"):
                destroy(stage, name, tenants)
            assert until(lambda: "green" not in admin.port_group_names(), 30) is not None
        stage.isthmus.restart(ALL)
        assert settled(stage)
    assert_each_vid_has_one_network(stage)


def test_an_appliance_that_lost_everything_is_built_anew_and_the_others_go_on_meanwhile(stage: Stage) -> None:
    made, appliance = stage.world, stage.world.appliance(ESX1)
    stage.boot("d", ESX3, RED, 4)
    assert until(lambda: is_open(stage, "d")) is not None
    assert stage.guest("d").reaches("10.0.0.3", 15)
    assert settled(stage)
    held, own = flows(stage), appliance.own_bridges
    with company(stage, {"c": RED, "d": RED, "y": BLUE}):
        ping = stage.guest("d").keep_pinging("10.0.0.3", interval=0.02)
        for process in made.state.processes.alive():
            if process.what.endswith(f" of {appliance.namespace}"):
                os.kill(process.pid, signal.SIGKILL)
        assert until(lambda: not [p for p in made.state.processes.alive() if p.what.endswith(appliance.namespace)])
        (appliance.ovs.rundir / "conf.db").unlink()
        for device in ("br-phy", "br-int", "br-tun"):  # a tap may outlive its switch, but not its machine
            subprocess.run(
                ["ip", "-n", appliance.namespace, "link", "delete", device], capture_output=True, check=False
            )
        time.sleep(1)
        assert stage.guest("a").ping("10.0.0.3", patience=0.3).none_answered
        appliance.boot(made.state.processes, made.layout.underlay_mtu)
        assert until(lambda: stage.guest("a").reaches("10.0.0.3"), 60) is not None
        assert stage.guest("x").reaches("10.0.0.3", 15)
        assert ping.stop().lost == 0
    assert settled(stage)
    assert sorted(appliance.own_bridges) == sorted(own)
    assert until(lambda: flows(stage) == held, 30) is not None
    made.admin.destroy("d")
