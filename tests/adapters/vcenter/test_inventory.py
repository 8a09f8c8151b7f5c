"""The live inventory on the simulator: it follows what people do, hears of moves, and outlives its sessions."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter import Vcenter
from isthmus.adapters.vcenter.mirror import Mirror
from isthmus.model.faults import Retry
from isthmus.model.inventory import Inventory, Nic
from isthmus.model.names import HostId, VmId
from isthmus.model.tags import VidSet
from lab.vcenter import Dvs, Hang, PortGroup, Topology, Vm
from lab.vcenter import Nic as PlugIn
from tests.adapters.vcenter.bench import Bench, eventually, running, settings_of

pytestmark = pytest.mark.sim


@dataclass(slots=True)
class Bell:
    """Collects wakes."""

    rung: list[frozenset[HostId] | None] = field(default_factory=list)

    def __call__(self, hosts: frozenset[HostId] | None) -> None:
        self.rung.append(hosts)

    def for_host(self, host: HostId) -> bool:
        return any(hosts is None or host in hosts for hosts in self.rung)


@pytest.fixture
def bell(bench: Bench) -> Bell:
    """The inventory is watched and quiet."""
    bell = Bell()
    bench.vcenter.inventory.watch(bell)
    bench.vcenter.inventory.read()
    settle(bell)
    return bell


def settle(bell: Bell) -> None:
    pause = threading.Event()
    count = -1
    while count != len(bell.rung):
        count = len(bell.rung)
        pause.wait(0.3)
    bell.rung.clear()


def read(bench: Bench) -> Inventory:
    return bench.vcenter.inventory.read()


def host(bench: Bench, name: str) -> HostId:
    return next(host.id for host in read(bench).hosts.values() if host.name == name)


def nic(bench: Bench, vm: str) -> Nic | None:
    return next((nic for nic in read(bench).nics.values() if nic.vm_name == vm), None)


def test_after_trouble_the_first_answer_is_believed_and_no_whole_wait_for_news(bench: Bench) -> None:
    vcenter = bench.again(wait=300.0)

    def troubled() -> bool:
        try:
            vcenter.inventory.read()
        except Retry:
            return True
        return False

    try:
        vcenter.inventory.watch(lambda hosts: None)
        vcenter.inventory.read()
        vcenter.inventory._session.sever()  # as a hang does that ends
        assert eventually(troubled)
        assert eventually(lambda: not troubled()), "it was asked again, but for a change, and there is none"
    finally:
        vcenter.close()


def test_the_whole_is_read_without_a_watch(bench: Bench) -> None:
    inventory = read(bench)
    assert {host.name for host in inventory.hosts.values()} == {"esx1", "esx2", "esx3"}
    assert {host.connected for host in inventory.hosts.values()} == {True}
    assert {host.cluster for host in inventory.hosts.values()} == set(bench.vcenter.clusters())
    assert set(bench.vcenter.clusters().values()) == {"cluster1"}
    switches = {switch.name: switch for switch in inventory.switches.values()}
    assert switches["tenant"].uplink_vids is None
    assert switches["tenant"].hosts == set(inventory.hosts)
    assert (switches["uplink"].mtu, switches["uplink"].uplink_vids) == (9000, VidSet.of("100-199,300"))
    assert {nic.vm_name: (nic.mac, nic.host) for nic in inventory.nics.values()} == {
        "a": ("00:50:56:00:00:0a", host(bench, "esx1")),
        "b": ("00:50:56:00:00:0b", host(bench, "esx2")),
        "lone": ("00:50:56:00:00:0c", host(bench, "esx3")),
    }
    assert all(host.startswith(bench.simulator.instance_uuid + "/") for host in inventory.hosts)
    assert inventory.moves == ()


def test_a_reader_without_a_watch_sees_what_came_later(bench: Bench) -> None:
    read(bench)
    red = bench.operator.named(vim.dvs.DistributedVirtualPortgroup, "red").key
    made = bench.operator.make_vm("new", "esx2", red)
    assert read(bench).nics[made].host == host(bench, "esx2")
    bench.operator.remove(bench.operator.vm(made))
    assert made not in read(bench).nics


def test_a_new_vm_wakes_its_host_and_those_of_its_peers_only(bench: Bench, bell: Bell) -> None:
    red = bench.operator.named(vim.dvs.DistributedVirtualPortgroup, "red").key
    made = bench.operator.make_vm("new", "esx2", red)
    found = eventually(lambda: read(bench).nics.get(made))
    assert (found.host, found.port_group, found.powered_on) == (host(bench, "esx2"), red, True)
    assert found.port_key is not None
    assert found.cookie is not None
    eventually(lambda: bell.for_host(host(bench, "esx2")) and bell.for_host(host(bench, "esx1")))
    settle(bell)
    bench.operator.power(bench.operator.named(vim.VirtualMachine, "lone"), on=False)
    eventually(lambda: bell.for_host(host(bench, "esx3")))
    assert not bell.for_host(host(bench, "esx1"))
    assert nic(bench, "lone").powered_on is False  # type: ignore[union-attr]


def test_a_rename_wakes_nobody(bench: Bench, bell: Bell) -> None:
    bench.operator.rename(bench.operator.named(vim.VirtualMachine, "a"), "renamed")
    eventually(lambda: nic(bench, "renamed"))
    assert bell.rung == []


def test_a_move_is_known_before_it_ends_and_wakes_both_hosts(bench: Bench, bell: Bell) -> None:
    vm = bench.operator.named(vim.VirtualMachine, "a")
    task = bench.operator.begin_move(vm, "esx3")
    [move] = eventually(lambda: read(bench).moves)
    assert (move.vm, move.to) == (VmId(vm.config.instanceUuid), host(bench, "esx3"))
    assert task.info.state != "success", "announced, not finished"
    assert bell.for_host(host(bench, "esx1"))
    assert bell.for_host(host(bench, "esx3"))
    eventually(lambda: read(bench).moves == ())
    eventually(lambda: nic(bench, "a").host == host(bench, "esx3"))  # type: ignore[union-attr]


def test_a_failed_move_ends_where_it_began(bench: Bench, bell: Bell) -> None:
    vm = bench.operator.named(vim.VirtualMachine, "a")
    option = vim.option.OptionValue(key="isthmus.lab.migrate-fail", value="true")
    vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[option]))
    eventually(lambda: any(one.key == option.key for one in vm.config.extraConfig))
    bench.operator.begin_move(vm, "esx3")
    eventually(lambda: read(bench).moves)
    eventually(lambda: read(bench).moves == ())
    assert nic(bench, "a").host == host(bench, "esx1")  # type: ignore[union-attr]


def test_a_hand_made_override_wakes_the_host_of_its_port(bench: Bench, bell: Bell) -> None:
    switch = bench.operator.switch("tenant")
    bench.operator.edit_port(switch, nic(bench, "lone").port_key, vid=77)  # type: ignore[union-attr,arg-type]
    eventually(lambda: bell.for_host(host(bench, "esx3")))
    assert not bell.for_host(host(bench, "esx1"))


def test_an_edit_of_a_port_group_wakes_all(bench: Bench, bell: Bell) -> None:
    bench.operator.make_port_group("tenant", "green", 5)
    eventually(lambda: None in bell.rung)


def test_a_switch_is_found_in_whatever_folder_and_datacenter_it_is() -> None:
    one = Topology.single(["esx1"], [Dvs("tenant", (PortGroup("red"),))], [Vm("a", "esx1", (PlugIn("red"),))])
    two = Topology.single(
        ["esx2"], [Dvs("elsewhere", (PortGroup("red"),))], [Vm("b", "esx2", (PlugIn("red"),))], datacenter="dc2"
    )
    with running(Topology(one.datacenters + two.datacenters)) as bench:
        folder = bench.operator.named(vim.Datacenter, "dc1").networkFolder.CreateFolder("teams").CreateFolder("ours")
        member = vim.dvs.HostMember.ConfigSpec(operation="add", host=bench.operator.named(vim.HostSystem, "esx1"))
        config = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(name="deep", host=[member])
        bench.operator.wait(folder.CreateDVS_Task(vim.DistributedVirtualSwitch.CreateSpec(configSpec=config)))
        bench.operator.make_vm("c", "esx1", bench.operator.make_port_group("deep", "green"))
        found = read(bench)
        homes = {nic.vm_name: found.switches[nic.dvs].name for nic in found.nics.values() if nic.dvs is not None}
        assert homes == {"a": "tenant", "b": "elsewhere", "c": "deep"}
        assert len({switch.folder for switch in found.switches.values()} - {""}) == 3
        for name, group, vm in (("tenant", "red", "a"), ("elsewhere", "red", "b"), ("deep", "green", "c")):
            mirror = bench.vcenter.switch(name).observe()
            [key] = [held.key for held in mirror.port_groups.values() if held.name == group]
            [port] = [port for port in mirror.ports.values() if port.port_group == key and port.nic is not None]
            assert found.nics[port.nic].vm_name == vm


def test_clones_with_one_instance_uuid_are_not_mixed_up(bench: Bench, bell: Bell) -> None:
    first = nic(bench, "a")
    assert first is not None
    red = first.port_group
    bench.operator.make_vm("double", "esx2", str(red), instance_uuid=first.id.vm)
    eventually(lambda: bell.rung)
    settle(bell)
    assert read(bench).nics[first.id] == first
    [left] = read(bench).left_out
    assert (left.nic.vm_name, left.nic.host) == ("double", host(bench, "esx2"))


def test_the_watch_survives_the_end_of_its_session(bench: Bench, bell: Bell) -> None:
    read(bench)
    assert bench.operator.end_other_sessions() >= 1
    bench.operator.move(bench.operator.named(vim.VirtualMachine, "a"), "esx3")
    eventually(lambda: nic_or_none(bench, "a") and nic_or_none(bench, "a").host == host(bench, "esx3"), 20)  # type: ignore[union-attr]
    settle(bell)
    bench.operator.remove(bench.operator.named(vim.VirtualMachine, "b"))
    eventually(lambda: read(bench).nics and nic(bench, "b") is None)
    assert bell.rung


def nic_or_none(bench: Bench, vm: str) -> Nic | None:
    try:
        return nic(bench, vm)
    except Retry:
        return None


def test_while_vcenter_is_away_the_inventory_says_so_instead_of_showing_less(bench: Bench, bell: Bell) -> None:
    bench.simulator.kill()

    def refused() -> bool:
        try:
            read(bench)
        except Retry:
            return True
        return False

    eventually(refused)


def test_after_one_fault_of_vcenter_the_inventory_is_read_again_and_current(
    bench: Bench, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = bench.vcenter.inventory._feed
    assert feed is not None
    wait, failed = feed.wait, threading.Event()

    def once_broken(patience: float) -> object:
        if not failed.is_set():
            failed.set()
            raise TimeoutError("no answer")
        return wait(patience)

    monkeypatch.setattr(feed, "wait", once_broken, raising=False)
    bench.operator.remove(bench.operator.named(vim.VirtualMachine, "b"))  # ends the wait that is open
    assert failed.wait(10.0)
    with pytest.raises(Retry, match="no answer"):
        eventually(lambda: not read(bench))
    bench.operator.move(bench.operator.named(vim.VirtualMachine, "a"), "esx3")
    found = eventually(lambda: nic_or_none(bench, "a"))
    assert bench.vcenter.inventory._feed is feed, "nothing was lost, so nothing is read anew"
    eventually(lambda: found.host == host(bench, "esx3") or nic(bench, "a").host == host(bench, "esx3"))  # type: ignore[union-attr]
    assert nic(bench, "b") is None


def test_while_vcenter_hangs_its_last_word_is_known_to_grow_old(bench: Bench) -> None:
    vcenter = bench.again(wait=1.0, timeout=30.0)
    inventory = vcenter.inventory
    try:
        inventory.watch(Bell())
        inventory.read()
        silences = []
        for _ in range(30):
            threading.Event().wait(0.1)
            silences.append(inventory.silence())
        assert max(silences) < 2.0, "each wait ends with a word, though nothing happens"
        rule = bench.simulator.faults.add(Hang(), method="WaitForUpdatesEx")
        eventually(lambda: inventory.silence() > 3.0)
        bench.simulator.faults.clear(rule)
        eventually(lambda: inventory.silence() < 2.0)
    finally:
        vcenter.close()


def test_a_watch_that_is_stuck_does_not_vouch_for_the_inventory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead, stuck = [0.0], threading.Event()
    vcenter = Vcenter(settings_of(bench.simulator), lambda: time.monotonic() + ahead[0])
    inventory = vcenter.inventory
    try:
        monkeypatch.setattr(inventory, "_spread", lambda news: stuck.wait())
        inventory.watch(Bell())
        inventory.read()
        ahead[0] += 2 * 3.0 + 10.0 - 5.0
        inventory.read()
        ahead[0] += 5.0
        with pytest.raises(Retry, match="no word"):
            inventory.read()
        stuck.set()
        eventually(lambda: inventory.silence() < 5.0)
        assert inventory.read().hosts
    finally:
        stuck.set()
        vcenter.close()


def test_a_process_for_one_host_gets_its_vms_whole_and_of_peers_what_reachability_needs(bench: Bench) -> None:
    alone = Vcenter(settings_of(bench.simulator), only_hosts=frozenset({"esx1"}))
    try:
        nics = {nic.mac: nic for nic in alone.inventory.read().nics.values()}
    finally:
        alone.close()
    assert nics["00:50:56:00:00:0a"].vm_name == "a"
    assert nics["00:50:56:00:00:0b"].vm_name == ""
    assert nics["00:50:56:00:00:0b"].host == host(bench, "esx2")


def test_close_does_not_wait_for_the_watch(bench: Bench, bell: Bell) -> None:
    closing = threading.Thread(target=bench.vcenter.close)
    closing.start()
    closing.join(2.0)
    assert not closing.is_alive()
    eventually(lambda: not any(thread.name == "vcenter-inventory" for thread in threading.enumerate()))


def test_a_version_that_vcenter_no_longer_knows_means_starting_anew(bench: Bench) -> None:
    before = read(bench)
    feed = bench.vcenter.inventory._feed
    assert feed is not None
    feed._version = "99999"
    assert read(bench) == before
    assert bench.vcenter.inventory._feed is not feed


def test_a_dead_event_collector_does_not_stop_the_inventory_and_is_replaced(
    bench: Bench, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus.adapters.vcenter.inventory.EVENTS_AGAIN", 0.0)
    feed = bench.vcenter.inventory._feed
    assert feed is not None
    assert feed.events is not None
    dead = feed.events
    dead.collector.DestroyCollector()
    bench.operator.move(bench.operator.named(vim.VirtualMachine, "a"), "esx3")
    eventually(lambda: nic(bench, "a").host == host(bench, "esx3"))  # type: ignore[union-attr]
    eventually(lambda: feed.events not in (None, dead))
    bench.operator.begin_move(bench.operator.named(vim.VirtualMachine, "b"), "esx3")
    eventually(lambda: read(bench).moves)


def test_a_user_who_may_not_read_events_still_gets_the_inventory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise vim.fault.NoPermission(privilegeId="System.View")

    monkeypatch.setattr("isthmus.adapters.vcenter.feed.EventReader", forbidden)
    assert len(read(bench).nics) == 3


def test_an_answer_that_cannot_be_believed_is_read_anew_and_deletes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(bench)
    feed = bench.vcenter.inventory._feed
    assert feed is not None
    vm = bench.operator.named(vim.VirtualMachine, "a")
    change = vmodl.query.PropertyCollector.MissingProperty(path="name", fault=vim.fault.NotAuthenticated())
    update = vmodl.query.PropertyCollector.ObjectUpdate(kind="modify", obj=vm, missingSet=[change])
    answer = vmodl.query.PropertyCollector.UpdateSet(
        version="x", filterSet=[vmodl.query.PropertyCollector.FilterUpdate(objectSet=[update])]
    )
    monkeypatch.setattr(feed, "wait", lambda patience: answer)
    assert read(bench) == before
    assert bench.vcenter.inventory._feed is not feed


def test_a_mirror_that_took_half_an_answer_is_thrown_away(
    bench: Bench, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt: Any = bench.vcenter.inventory._feed.mirror  # type: ignore[union-attr]
    change_vm, broken = Mirror.change_vm, threading.Event()

    def half(self: Mirror, moref: str, changes: Any) -> Any:
        if self is spoilt:
            broken.set()
            raise KeyError("a bug")
        return change_vm(self, moref, changes)

    def known() -> set[str]:
        try:
            return {nic.vm_name for nic in read(bench).nics.values()}
        except KeyError:
            return set()

    monkeypatch.setattr(Mirror, "change_vm", half)
    bench.operator.remove(bench.operator.named(vim.VirtualMachine, "b"))
    assert broken.wait(10.0)
    eventually(lambda: known() == {"a", "lone"})


@pytest.mark.parametrize("watched", [False, True])
def test_a_first_read_in_many_pages_is_not_shown_before_the_last(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    monkeypatch.setattr("isthmus.adapters.vcenter.feed.PAGE", 1)
    if watched:
        bench.vcenter.inventory.watch(Bell())
    inventory = read(bench)
    assert (len(inventory.hosts), len(inventory.switches), len(inventory.nics)) == (3, 2, 3)


def test_events_that_break_off_half_read_are_begun_anew_and_everything_is_looked_at(bench: Bench, bell: Bell) -> None:
    inventory: Any = bench.vcenter.inventory
    inventory.read()
    feed, half_read = inventory._feed, inventory._feed.events
    before = feed.mirror.told.count

    def cut_off(page: Any = ()) -> Any:
        raise OSError("the connection broke")

    half_read.news = cut_off
    vm = bench.operator.named(vim.VirtualMachine, "a")
    bench.operator.power(vm, on=False)
    eventually(lambda: inventory._feed.events not in (None, half_read), 15)
    assert inventory._feed is not feed or feed.mirror.told.since(before, "any") is None


def test_an_event_that_nobody_can_make_anything_of_costs_the_events_and_not_the_inventory(
    bench: Bench, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory: Any = bench.vcenter.inventory
    inventory.read()

    def baffled(page: Any = ()) -> Any:
        raise KeyError("strange")

    inventory._feed.events.news = baffled
    bench.operator.power(bench.operator.named(vim.VirtualMachine, "a"), on=False)
    eventually(lambda: inventory._feed.events is None)
    for nic in inventory.read().nics.values():
        assert nic.powered_on == (nic.vm_name != "a")
    assert inventory._trouble is None
