"""A vCenter that forgets its clients, goes away, loses hosts or events, while the VMs of two tenants listen."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from pyVmomi import vim

from lab.netns.admin import macs_of
from lab.netns.layout import TENANT
from lab.netns.moves import Timing
from lab.netns.product import Network
from lab.netns.simulator import Meddling
from lab.netns.stage import Stage, is_open, until
from lab.netns.world import world
from lab.vcenter import Delay, Fault, Hang
from tests.live.company import (
    ALL,
    BLUE,
    ESX1,
    ESX2,
    ESX3,
    HOSTS,
    QUICK,
    RED,
    OneProcess,
    admitted,
    assert_each_vid_has_one_network,
    company,
    furnished,
    homes,
    macs_of_all,
    right_everywhere,
    settled,
)

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
PLACES = {
    "a": (ESX1, RED, 1),
    "c": (ESX2, RED, 3),
    "d": (ESX3, RED, 4),
    "x": (ESX1, BLUE, 1),
    "y": (ESX2, BLUE, 3),
}
TENANTS = {name: network for name, (_, network, _) in PLACES.items()}
LAB_SESSIONS: set[str] = set()
NUMBERS = itertools.count(20)
"""Of addresses: a VM that takes another's is not found until its peers forget the other's MAC."""


@pytest.fixture(scope="module")
def stage(machine: None) -> Iterator[Stage]:
    with world(f"sff{os.getpid()}") as made:
        LAB_SESSIONS.update(line.key for line in made.meddling.sessions.list())
        set_up = Stage(made, OneProcess(made))
        furnished(set_up, PLACES)
        try:
            yield set_up
        finally:
            print(set_up.isthmus.log(ALL)[-6000:], made.state.tail("hostd.log"))


@contextlib.contextmanager
def counted(stage: Stage, method: str) -> Iterator[Callable[[], int]]:
    """How often vCenter is asked for this, within a block; nothing is spoilt."""
    faults = stage.world.meddling.faults
    rule = faults.add(Delay(0), method=method, probability=1e-9)
    try:
        yield lambda: next(found.matched for found in faults.list() if found.id == rule)
    finally:
        faults.clear(rule)


def gone(stage: Stage, *names: str) -> None:
    for name in names:
        stage.world.admin.destroy(name)


def test_sessions_that_end_again_and_again_in_every_way_delete_nothing_and_delay_little(stage: Stage) -> None:
    sessions, admin = stage.world.meddling.sessions, stage.world.admin

    def of_isthmus() -> list[str]:
        return [line.key for line in sessions.list() if line.key not in LAB_SESSIONS]

    ways = {"terminated": sessions.end, "expired without a word": sessions.hollow}
    with company(stage, TENANTS), counted(stage, "Destroy_Task") as deletes:
        ping = stage.guest("c").keep_pinging("10.0.0.1", interval=0.02)
        for number, end in enumerate([*ways.values()] * 2):
            admin.create_vm(f"s{number}", HOSTS[number % 3], ["red"])
            admin.power_on(f"s{number}")
            for _ in range(8):  # in the middle of the round that this wakes, wherever that is
                ended = sum(end(key=key) for key in of_isthmus())
                time.sleep(0.05)
            assert ended or until(of_isthmus) is not None
            assert until(lambda name=f"s{number}": is_open(stage, name), 30) is not None
        assert deletes() == 0
        assert ping.stop().lost == 0
    assert until(lambda: right_everywhere(stage, [*PLACES, "s0", "s1", "s2", "s3"]), 30) is not None
    assert ": close" not in stage.isthmus.log(ALL)
    gone(stage, "s0", "s1", "s2", "s3")


@pytest.mark.live_long
def test_what_happens_while_vcenter_is_away_is_survived_or_followed_after(stage: Stage) -> None:
    """Away for three times the longest back-off: an appliance's switch restarts, HA restarts a VM elsewhere."""
    made, appliance, number = stage.world, stage.world.appliance(ESX1), next(NUMBERS)
    stage.boot("h", ESX1, RED, number)
    assert until(lambda: is_open(stage, "h")) is not None
    assert stage.guest("c").reaches(f"10.0.0.{number}", 15)
    with company(stage, TENANTS):
        ping = stage.guest("c").keep_pinging("10.0.0.4", interval=0.02)
        other = stage.guest("d").keep_pinging("10.0.0.3", interval=0.02)
        a, x = stage.guest("a"), stage.guest("x")
        left = time.monotonic()
        made.meddling.leave()
        os.kill(int((appliance.ovs.rundir / "ovs-vswitchd.pid").read_text()), signal.SIGKILL)
        made.meddling.vms.appear("h", ESX3)
        stage.isthmus.want(RED, BLUE, Network("green", 7003))
        appliance.ovs.start_vswitchd(made.state.processes)
        subprocess.run(
            ["ip", "-n", appliance.namespace, "addr", "replace", str(appliance.vtep), "dev", "br-phy"], check=True
        )
        subprocess.run(["ip", "-n", appliance.namespace, "link", "set", "br-phy", "up"], check=True)
        assert a.reaches("10.0.0.3", 15), "told again without a vCenter"
        assert x.reaches("10.0.0.3", 15)
        time.sleep(max(0.0, left + 3 * QUICK["backoff_longest"] - time.monotonic()))
        assert "unreachable" in stage.isthmus.ask(ALL, "show").stdout
        made.meddling.come_back()
        made.admin.log_in_again()
        assert made.admin.port_group_names() >= {"red", "blue"}
        assert until(lambda: right_everywhere(stage, [*PLACES, "h"]), 30) is not None
        assert until(lambda: "green" in made.admin.port_group_names(), 30) is not None
        assert stage.guest("c").reaches(f"10.0.0.{number}", 15)
        assert [ping.stop().lost, other.stop().lost] == [0, 0]
    gone(stage, "h")
    stage.isthmus.want(RED, BLUE)
    assert until(lambda: "green" not in made.admin.port_group_names(), 15) is not None
    assert settled(stage)


def test_hosts_that_cannot_commit_or_are_lost_delay_nobody_on_other_hosts(stage: Stage) -> None:
    admin, faults = stage.world.admin, stage.world.meddling.faults
    green = Network("green", 7001)
    stage.isthmus.want(RED, BLUE, green)
    assert until(lambda: "green" in admin.port_group_names()) is not None
    with company(stage, TENANTS):
        sick = faults.add(Fault.of("HostNotConnected"), method="applyDVPort", host=ESX2, in_task=True)
        for name, host in (("k1", ESX1), ("k2", ESX2), ("k3", ESX3)):
            admin.create_vm(name, host, ["green"])
        for name in ("k2", "k1", "k3"):
            admin.power_on(name)
        assert until(lambda: is_open(stage, "k1") and is_open(stage, "k3"), 10) is not None
        assert faults.struck(sick), "the sick host was not asked"
        assert not is_open(stage, "k2")
        faults.clear(sick)
        assert until(lambda: is_open(stage, "k2"), 15) is not None
        stage.world.meddling.hosts.lose(ESX2)
        stage.isthmus.want(RED, BLUE)
        assert until(lambda: not is_open(stage, "k1") and not is_open(stage, "k3"), 15) is not None
        assert is_open(stage, "k2"), "what cannot be written stays as it is"
        assert stage.guest("c").reaches("10.0.0.1"), "a lost host's VMs run on"
        stage.world.meddling.hosts.find(ESX2)
        assert until(lambda: not is_open(stage, "k2"), 15) is not None
        gone(stage, "k1", "k2", "k3")
        assert until(lambda: "green" not in admin.port_group_names(), 15) is not None
    assert_each_vid_has_one_network(stage)


def lost(meddling: Meddling) -> None:
    meddling.events.lose()


def doubled(meddling: Meddling) -> None:
    meddling.events.double()


def late(meddling: Meddling) -> None:
    meddling.events.delay(by=3, probability=0.5)


def folded(meddling: Meddling) -> None:
    meddling.events.burst_filter(limit=1)


def stalled(meddling: Meddling) -> None:
    meddling.events.stall()


@pytest.mark.parametrize(
    "spoil", [lost] + [pytest.param(how, marks=pytest.mark.live_long) for how in (doubled, late, folded, stalled)]
)
def test_whatever_becomes_of_the_events_everybody_is_where_they_belong_within_a_resync(
    stage: Stage, spoil: Callable[[Meddling], None]
) -> None:
    admin, meddling = stage.world.admin, stage.world.meddling
    here, number = [*PLACES, "e", "f"], next(NUMBERS)
    stage.boot("e", ESX1, RED, number)
    stage.boot("f", ESX2, BLUE, number)
    assert until(lambda: right_everywhere(stage, here)) is not None
    spoil(meddling)
    try:
        with company(stage, TENANTS):
            admin.migrate("e", ESX2)
            admin.power_off("f")
            admin.migrate("e", ESX3)
            meddling.vms.appear("f", ESX1)
            admin.power_on("f")
            stage.boot("g", ESX3, BLUE, next(NUMBERS))
            took = until(lambda: right_everywhere(stage, [*here, "g"]), QUICK["resync"] * 1.2 + 4)
            assert took is not None
            # The lab itself, which acts out moves by their events, may be wrong about a VM for ten seconds.
            assert stage.guest("c").reaches(f"10.0.0.{number}", 15)
            assert stage.guest("g").reaches(f"10.0.0.{number}", 15)
    finally:
        meddling.events.resume()
        meddling.events.burst_filter(limit=0)
        meddling.events.clear()
        gone(stage, "e", "f", "g")
    assert settled(stage)


def test_a_port_that_another_vm_gets_while_it_is_being_opened_is_open_to_its_own_network_alone(stage: Stage) -> None:
    """The write hangs in vCenter, the VM is destroyed, the next VM gets its port key on another host."""
    admin, faults = stage.world.admin, stage.world.meddling.faults
    green = Network("green", 7002)
    stage.isthmus.want(RED, BLUE, green)
    assert until(lambda: "green" in admin.port_group_names()) is not None
    with company(stage, TENANTS) as tenants:
        for write in (0, 1):  # the claim, then the open
            first, second = f"first{write}", f"second{write}"
            rule = faults.add(Hang(), method="ReconfigureDVPort_Task", skip=write, count=1)
            stage.boot(first, ESX1, green, next(NUMBERS))
            assert until(lambda rule=rule: faults.struck(rule) == 1) is not None
            key = admin.dv_port(first)[1].key
            gone(stage, first)
            admin.create_vm(second, ESX2, ["green"])
            assert admin.dv_port(second)[1].key == key
            os.kill(stage.isthmus.pid(ALL), signal.SIGSTOP)  # so that nobody mends what the write does
            try:
                faults.clear(rule)
                time.sleep(0.5)
                assert not is_open(stage, second), "opened by a write for another VM"
            finally:
                os.kill(stage.isthmus.pid(ALL), signal.SIGCONT)
            admin.power_on(second)
            stage.guest(second).set_addresses(f"10.0.0.{next(NUMBERS)}/24")
            tenants.joined_by(second, green)
            macs = macs_of_all(stage, [second])
            assert until(lambda name=second: is_open(stage, name), 30) is not None
            assert admitted(stage, ESX2, macs) == {second}, "opened before its appliance knew it"
            assert until(lambda name=second: right_everywhere(stage, [*PLACES, name]), 15) is not None
            tenants.left_by(second)
            gone(stage, second)
    stage.isthmus.want(RED, BLUE)
    assert until(lambda: "green" not in admin.port_group_names(), 15) is not None


HOSTILE = {
    "newline": "two\nlines [info: all is well]",
    "percent": "up%2f..%2fdown%0a",
    "html": "<script>alert(1)</script>&amp;",
    "right to left": "\u202egnp.eman\u202c",
    "shell": "$(reboot); `reboot` ' \" \\",
    "long": "n" * 80,
}


@pytest.mark.live_long
def test_no_name_that_a_vm_takes_changes_anything_or_breaks_a_line(stage: Stage) -> None:
    admin, number = stage.world.admin, next(NUMBERS)
    stage.boot("n", ESX1, RED, number)
    assert until(lambda: right_everywhere(stage, [*PLACES, "n"])) is not None
    assert settled(stage)
    vm = admin.vm("n")
    log = len(stage.isthmus.log(ALL))
    ping = stage.guest("c").keep_pinging(f"10.0.0.{number}", interval=0.02)
    with counted(stage, "ReconfigureDVPort_Task") as writes:
        for name in HOSTILE.values():
            admin.wait(vm.Rename_Task(name))
            assert until(lambda: stage.isthmus.ask(ALL, "show", "ports").returncode == 0)
            shown = stage.isthmus.ask(ALL, "show", "ports")
            assert all(line.isprintable() for line in shown.stdout.splitlines()), name[:40]
            rows = json.loads(stage.isthmus.ask(ALL, "show", "ports", "--json").stdout)["rows"]
            [row] = [row for row in rows if row["vm_uuid"] == vm.config.instanceUuid]
            assert row["wired"], name[:40]
            explained = stage.isthmus.ask(ALL, "explain", row["port"])
            assert explained.returncode == 0
            assert all(line.isprintable() for line in explained.stdout.splitlines()), name[:40]
        assert writes() == 0
    admin.wait(vm.Rename_Task("n"))
    assert ping.stop().lost == 0
    assert all(line.isprintable() for line in stage.isthmus.log(ALL)[log:].splitlines())
    gone(stage, "n")


@pytest.mark.live_long
def test_64_vms_that_move_at_once_are_served_before_they_arrive_without_a_write_to_vcenter(stage: Stage) -> None:
    admin = stage.world.admin
    names = [f"m{number}" for number in range(64)]
    networks = ("red", "blue")
    for number, name in enumerate(names):
        admin.create_vm(name, HOSTS[number % 3], [networks[number % 2]])
    vms = {vm.name: vm for vm in admin.all(vim.VirtualMachine)}
    hosts = {host.name: host for host in admin.all(vim.HostSystem)}
    slowly = vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="isthmus.lab.migrate-ms", value="12000")])
    for task in [vms[name].ReconfigVM_Task(slowly) for name in names]:
        admin.wait(task)
    for task in [vms[name].PowerOnVM_Task() for name in names]:
        admin.wait(task)
    assert until(lambda: right_everywhere(stage, [*PLACES, *names]), 120) is not None
    assert settled(stage)
    vids_before = admin.worn_vids(TENANT)
    with company(stage, TENANTS), counted(stage, "ReconfigureDVPort_Task") as writes:
        ping = stage.guest("c").keep_pinging("10.0.0.1", interval=0.02)
        goals = {name: HOSTS[(number + 1) % 3] for number, name in enumerate(names)}
        stage.world.set_timing(Timing(precopy=10.0))
        priority = vim.VirtualMachine.MovePriority.defaultPriority
        tasks = [vms[name].MigrateVM_Task(host=hosts[goal], priority=priority) for name, goal in goals.items()]
        macs = macs_of_all(stage, names)
        expected = {host: {name for name, goal in goals.items() if goal == host} for host in HOSTS}
        ready = until(lambda: all(expected[host] <= admitted(stage, host, macs) for host in HOSTS), 12)
        assert ready is not None
        assert {task.info.state for task in tasks} == {vim.TaskInfo.State.running}, "too late for some"
        for task in tasks:
            admin.wait(task)
        assert homes(stage, names) == expected
        stage.world.set_timing(Timing())
        assert until(lambda: right_everywhere(stage, [*PLACES, *names]), 30) is not None
        assert settled(stage)
        assert writes() == 0
        assert ping.stop().lost == 0
    assert admin.worn_vids(TENANT) == vids_before
    for task in [vms[name].PowerOffVM_Task() for name in names]:
        admin.wait(task)
    for task in [vms[name].Destroy_Task() for name in names]:
        admin.wait(task)
    assert settled(stage)


@pytest.mark.live_long
def test_a_first_write_that_vcenter_carries_out_late_does_not_open_the_port_for_the_next_vm(stage: Stage) -> None:
    """The network lists its ports, so the first write only claims: what it meets stays closed."""
    admin, faults = stage.world.admin, stage.world.meddling.faults
    networks = list(stage.isthmus.networks.values())
    vms = [admin.vm(name) for name in TENANTS if TENANTS[name] is RED]
    vms.append(admin.create_vm("former", ESX1, ["red"]))
    stage.isthmus.want(
        *networks,
        ports=[{"network": "red", "vm": vm.config.instanceUuid, "mac": macs_of(vm)[0]} for vm in vms],
    )
    assert settled(stage)
    rule = faults.add(Hang(), method="ReconfigureDVPort_Task", count=1)
    try:
        admin.power_on("former")
        assert until(lambda: faults.struck(rule) == 1) is not None
        key = admin.dv_port("former")[1].key
        gone(stage, "former")
        admin.create_vm("latter", ESX2, ["red"])
        admin.power_on("latter")
        assert admin.dv_port("latter")[1].key == key
        os.kill(stage.isthmus.pid(ALL), signal.SIGSTOP)
        faults.clear(rule)
        time.sleep(0.5)
        opened = is_open(stage, "latter")
        os.kill(stage.isthmus.pid(ALL), signal.SIGCONT)
        assert not opened
        assert until(lambda: admin.dv_port("latter")[1].config.setting.vlan.inherited, 10) is not None
        assert not is_open(stage, "latter")
    finally:
        os.kill(stage.isthmus.pid(ALL), signal.SIGCONT)
        faults.clear()
        gone(stage, "latter")
        stage.isthmus.want(*networks)
        assert settled(stage)
