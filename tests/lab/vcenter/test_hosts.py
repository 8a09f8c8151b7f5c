"""Hosts that leave, die, come back or are emptied, and where their VMs and ports are then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter import (
    Cluster,
    ControlError,
    Datacenter,
    Dvs,
    Fault,
    Host,
    Member,
    Neighbour,
    Nic,
    NotBuilt,
    Overrides,
    Pnic,
    PortGroup,
    Simulator,
    Topology,
    Vm,
    binary,
)
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, Watch, wait

pytestmark = pytest.mark.sim

High = vim.VirtualMachine.MovePriority.highPriority
E = vim.event
LEAF = (
    Pnic("vmnic0", neighbour=Neighbour("leaf1", "Ethernet1/7", chassis="00:01:02:03:04:05", vid=12)),
    Pnic("vmnic1", neighbour=Neighbour("leaf2", "Gi0/7", protocol="cdp")),
)
FIRST, SECOND = ("esx1.lab", "esx2.lab", "esx3.lab"), ("esx4.lab", "esx5.lab")


def topology() -> Topology:
    clusters = (
        Cluster("first", tuple(Host(name, pnics=LEAF) for name in FIRST)),
        Cluster("second", tuple(Host(name) for name in SECOND)),
    )
    switches = (
        Dvs("tenant", (PortGroup("red", overrides=Overrides(vlan=True)), PortGroup("fleeting", binding="ephemeral"))),
        Dvs("other", (PortGroup("green", vlan=30),), members=tuple(Member(h) for h in SECOND)),
    )
    vms = (
        Vm("a", "esx1.lab", (Nic("red", ips=("10.0.0.1", "fd00::1")),)),
        Vm("b", "esx1.lab", (Nic("red"),)),
        Vm("off", "esx1.lab", (Nic("red"),), powered_on=False),
        Vm("mute", "esx2.lab", (Nic("red", ips=("10.0.0.9",)),), tools=False),
    )
    return Topology((Datacenter("dc1", clusters, switches, vms, datastores=("fast", "slow")),))


@pytest.fixture
def vcenter() -> Iterator[Simulator]:
    try:
        binary()
    except NotBuilt as missing:
        pytest.skip(str(missing))
    with Simulator(topology(), migrate_ms=100) as simulator:
        yield simulator


def eventually(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told(watch: Watch, obj: Any, path: str) -> list[Any]:
    return [ch.val for u in watch.drain() if u.obj == obj for ch in u.changeSet if ch.name == path]


# Connection


def test_a_disconnected_host_is_told_and_takes_no_work(client: Client) -> None:
    host, vm = client.host("esx1.lab"), client.vm("a")
    hosts = Watch(client, vim.HostSystem, ["runtime.connectionState", "runtime.inMaintenanceMode"])
    vms = Watch(client, vim.VirtualMachine, ["runtime.connectionState", "runtime.powerState"])
    hosts.drain()
    vms.drain()
    events = client.events(E.HostDisconnectedEvent, E.HostConnectedEvent, E.VmDisconnectedEvent)
    wait(host.DisconnectHost_Task())
    assert told(hosts, host, "runtime.connectionState") == ["disconnected"]
    assert told(vms, vm, "runtime.connectionState") == ["disconnected"]
    member = next(m for m in client.dvs("tenant").config.host if m.config.host == host)
    assert member.status == "disconnected"
    assert vm.runtime.powerState == "poweredOn"
    for work in (
        lambda: vm.PowerOffVM_Task(),
        lambda: vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High),
        lambda: vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="x")),
        lambda: client.vm("mute").MigrateVM_Task(host=host, priority=High),
        lambda: host.EnterMaintenanceMode_Task(0),
    ):
        with pytest.raises(vmodl.fault.HostNotConnected):
            wait(work())
    wait(host.ReconnectHost_Task())
    assert told(hosts, host, "runtime.connectionState") == ["connected"]
    assert told(vms, vm, "runtime.connectionState") == ["connected"]
    kinds = [type(e) for e in events.read()]
    assert kinds.count(E.VmDisconnectedEvent) == 3
    assert [k for k in kinds if k is not E.VmDisconnectedEvent] == [E.HostDisconnectedEvent, E.HostConnectedEvent]
    wait(vm.PowerOffVM_Task())


def test_the_switch_tells_its_watchers_which_member_is_away(client: Client) -> None:
    host, tenant = client.host("esx1.lab"), client.dvs("tenant")
    paths = ("config.host", "runtime")
    watches = {path: Watch(client, vim.dvs.VmwareDistributedVirtualSwitch, [path]) for path in paths}
    for watch in watches.values():
        watch.drain()

    def told_of_the_host() -> list[str]:
        (members,) = told(watches["config.host"], tenant, "config.host")
        (runtime,) = told(watches["runtime"], tenant, "runtime")
        status = next(m.status for m in members if m.config.host == host)
        return [status, next(m.status for m in runtime.hostMemberRuntime if m.host == host)]

    wait(host.DisconnectHost_Task())
    assert told_of_the_host() == ["disconnected", "disconnected"]
    wait(host.ReconnectHost_Task())
    assert told_of_the_host() == ["up", "up"]


def test_a_host_that_does_not_respond_cannot_be_reconnected_until_it_does(vcenter: Simulator, client: Client) -> None:
    host = client.host("esx2.lab")
    events = client.events(E.HostConnectionLostEvent, E.HostConnectedEvent)
    vcenter.hosts.lose("esx2.lab")
    assert host.runtime.connectionState == "notResponding"
    with pytest.raises(vmodl.fault.HostNotReachable):
        wait(host.ReconnectHost_Task())
    with pytest.raises(vmodl.fault.HostNotConnected):
        host.configManager.networkSystem.QueryNetworkHint()
    vcenter.hosts.find("esx2.lab")
    assert host.runtime.connectionState == "connected"
    assert [type(e) for e in events.read()] == [E.HostConnectionLostEvent, E.HostConnectedEvent]


# Maintenance


def test_maintenance_empties_the_host_by_drs(client: Client) -> None:
    host = client.host("esx1.lab")
    watch = Watch(client, vim.HostSystem, ["runtime.inMaintenanceMode"])
    watch.drain()
    events = client.events(
        E.EnteringMaintenanceModeEvent, E.DrsVmMigratedEvent, E.EnteredMaintenanceModeEvent, E.ExitMaintenanceModeEvent
    )
    wait(host.EnterMaintenanceMode_Task(0))
    assert {vm.name for vm in host.vm} == {"off"}
    assert client.vm("a").runtime.host.name in FIRST[1:]
    assert told(watch, host, "runtime.inMaintenanceMode") == [True]
    with pytest.raises(vim.fault.InvalidState):
        wait(client.vm("a").MigrateVM_Task(host=host, priority=High))
    wait(host.ExitMaintenanceMode_Task(0))
    assert told(watch, host, "runtime.inMaintenanceMode") == [False]
    kinds = [type(e) for e in events.read()]
    drs = E.DrsVmMigratedEvent
    assert kinds == [
        E.EnteringMaintenanceModeEvent,
        drs,
        drs,
        E.EnteredMaintenanceModeEvent,
        E.ExitMaintenanceModeEvent,
    ]


def test_maintenance_takes_powered_off_vms_along_if_asked(client: Client) -> None:
    host = client.host("esx1.lab")
    wait(host.EnterMaintenanceMode_Task(0, True))
    assert list(host.vm) == []


def test_maintenance_waits_for_a_vm_that_cannot_go(client: Client) -> None:
    host, vm = client.host("esx2.lab"), client.vm("mute")
    pin = vim.option.OptionValue(key="isthmus.lab.pinned", value="true")
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[pin])))
    with pytest.raises(vim.fault.Timedout):
        wait(host.EnterMaintenanceMode_Task(1))
    task = host.EnterMaintenanceMode_Task(0)
    time.sleep(0.2)
    assert task.info.state == "running"
    wait(vm.PowerOffVM_Task())
    wait(task)


# Moves


def test_drs_moves_a_vm_with_its_own_event(vcenter: Simulator, client: Client) -> None:
    events = client.events(E.VmBeingHotMigratedEvent, E.VmMigratedEvent)
    before = client.port_of(client.vm("a"))
    vcenter.vms.drs("a", to="esx2.lab")
    begun, ended = events.read()
    assert type(ended) is E.DrsVmMigratedEvent
    assert (begun.destHost.name, ended.host.name, ended.sourceHost.name) == ("esx2.lab", "esx2.lab", "esx1.lab")
    after = client.port_of(client.vm("a"))
    assert (after.key, after.connectionCookie) == (before.key, before.connectionCookie)
    assert after.proxyHost == client.host("esx2.lab")


def test_a_drs_move_that_is_spoilt_ends_as_the_fault(vcenter: Simulator, client: Client) -> None:
    vcenter.faults.add(Fault("PlatformConfigFault"), method="MigrateVM_Task", in_task=True)
    with pytest.raises(ControlError, match="PlatformConfigFault"):
        vcenter.vms.drs("a", to="esx2.lab")
    assert client.vm("a").runtime.host.name == "esx1.lab"


def test_a_migration_ends_when_its_host_dies_and_ha_takes_the_vm(vcenter: Simulator, client: Client) -> None:
    vm = client.vm("a")
    slow = vim.option.OptionValue(key="isthmus.lab.migrate-ms", value="600")
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[slow])))
    task = vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High)
    vcenter.hosts.lose("esx2.lab")  # so that HA chooses the third
    vcenter.hosts.die("esx1.lab")
    vcenter.hosts.find("esx2.lab")
    with pytest.raises(vim.fault.MigrationFault):
        wait(task)
    homes = [host.name for host in client.all(vim.HostSystem) if vm in host.vm]
    assert homes == [vm.runtime.host.name]
    assert client.port_of(vm).proxyHost == vm.runtime.host


def test_a_vm_can_appear_elsewhere_without_a_word(vcenter: Simulator, client: Client) -> None:
    events, vm = client.events(E.VmEvent), client.vm("a")
    watch = Watch(client, vim.VirtualMachine, ["runtime.host"])
    watch.drain()
    vcenter.vms.appear("a", on="esx3.lab")
    assert told(watch, vm, "runtime.host") == [client.host("esx3.lab")]
    assert client.port_of(vm).proxyHost == client.host("esx3.lab")
    assert not events.read()


def test_a_relocation_across_clusters_takes_the_pool_of_the_other(client: Client) -> None:
    vm, host = client.vm("a"), client.host("esx4.lab")
    port = client.port_of(vm).key
    wait(vm.RelocateVM_Task(vim.vm.RelocateSpec(host=host, pool=host.parent.resourcePool)))
    assert (vm.runtime.host, vm.resourcePool) == (host, host.parent.resourcePool)
    assert client.port_of(vm).key == port  # the same switch


@pytest.mark.parametrize("how", ["relocate", "migrate", "drs"])
def test_a_move_to_another_cluster_without_a_pool_takes_its_root_pool(
    vcenter: Simulator, client: Client, how: str
) -> None:
    vm, host = client.vm("a"), client.host("esx4.lab")
    old, new = vm.resourcePool, host.parent.resourcePool
    if how == "relocate":
        wait(vm.RelocateVM_Task(vim.vm.RelocateSpec(host=host)))
    elif how == "migrate":
        wait(vm.MigrateVM_Task(host=host, priority=High))
    else:
        vcenter.vms.drs("a", to="esx4.lab")
    assert (vm.runtime.host, vm.resourcePool) == (host, new)
    assert vm in new.vm
    assert vm not in old.vm


def test_a_host_and_a_pool_that_do_not_belong_together_are_refused(client: Client) -> None:
    vm = client.vm("a")
    here, near, far = (client.host(name) for name in ("esx1.lab", "esx2.lab", "esx4.lab"))
    for work in (
        lambda: vm.RelocateVM_Task(vim.vm.RelocateSpec(host=far, pool=here.parent.resourcePool)),
        lambda: vm.RelocateVM_Task(vim.vm.RelocateSpec(host=near, pool=far.parent.resourcePool)),
        lambda: vm.RelocateVM_Task(vim.vm.RelocateSpec(host=here, pool=far.parent.resourcePool)),
        lambda: vm.MigrateVM_Task(host=far, pool=here.parent.resourcePool, priority=High),
    ):
        with pytest.raises(vmodl.fault.InvalidArgument) as refused:
            wait(work())
        assert refused.value.invalidProperty == "pool"
    assert (vm.runtime.host, vm.resourcePool) == (here, here.parent.resourcePool)


def test_a_relocation_to_a_pool_of_another_cluster_takes_a_host_there(client: Client) -> None:
    vm, first, second = client.vm("a"), client.host("esx4.lab"), client.host("esx5.lab")
    pool = first.parent.resourcePool
    events = client.events(E.VmMigratedEvent)
    wait(first.EnterMaintenanceMode_Task(0))
    wait(vm.RelocateVM_Task(vim.vm.RelocateSpec(pool=pool)))
    assert (vm.runtime.host, vm.resourcePool) == (second, pool)
    assert client.port_of(vm).proxyHost == second
    (migrated,) = events.read()
    assert (migrated.sourceHost.name, migrated.host.name) == ("esx1.lab", "esx5.lab")
    wait(first.ExitMaintenanceMode_Task(0))
    wait(client.vm("b").RelocateVM_Task(vim.vm.RelocateSpec(pool=pool)))
    assert client.vm("b").runtime.host == first  # the first by name, now that it takes VMs


def test_a_pool_whose_hosts_cannot_take_the_vm_is_refused(client: Client) -> None:
    vm = client.vm("a")
    for name in SECOND:
        wait(client.host(name).DisconnectHost_Task())
    with pytest.raises(vim.fault.NoCompatibleHost):
        wait(vm.RelocateVM_Task(vim.vm.RelocateSpec(pool=client.host("esx4.lab").parent.resourcePool)))
    assert vm.runtime.host == client.host("esx1.lab")


def test_another_pool_of_the_same_cluster_moves_the_vm_to_no_other_host(client: Client) -> None:
    vm, host = client.vm("a"), client.host("esx1.lab")
    root = vm.resourcePool
    inner = root.CreateResourcePool("inner", root.config)
    watch = Watch(client, vim.VirtualMachine, ["resourcePool", "runtime.host"])
    watch.drain()
    events = client.events(E.VmEvent)
    wait(vm.RelocateVM_Task(vim.vm.RelocateSpec(pool=inner)))
    (update,) = watch.drain()
    assert [(ch.name, ch.val) for ch in update.changeSet] == [("resourcePool", inner)]
    assert vm.runtime.host == host
    assert (vm in inner.vm, vm in root.vm) == (True, False)
    (moved,) = events.read()
    assert isinstance(moved, E.VmResourcePoolMovedEvent)
    assert (moved.oldParent.resourcePool, moved.newParent.name) == (root, "inner")


def test_a_relocation_across_switches_gets_a_port_there(client: Client) -> None:
    vm, host = client.vm("a"), client.host("esx4.lab")
    old = client.port_of(vm)
    change = c.edit_nic(c.nics(vm)[0], client.port_group("green"))
    spec = vim.vm.RelocateSpec(host=host, pool=host.parent.resourcePool, deviceChange=[change])
    wait(vm.RelocateVM_Task(spec))
    new = client.port_of(vm)
    assert new.dvsUuid == client.dvs("other").uuid
    assert new.proxyHost == host
    assert client.port(client.dvs("tenant"), old.key).connectee is None
    assert vm in client.port_group("green").vm
    assert vm not in client.port_group("red").vm


def test_a_relocation_to_a_switch_that_the_host_lacks_is_refused(client: Client) -> None:
    vm = client.vm("a")
    change = c.edit_nic(c.nics(vm)[0], client.port_group("green"))
    with pytest.raises(vim.fault.CannotAccessNetwork):
        wait(vm.RelocateVM_Task(vim.vm.RelocateSpec(host=client.host("esx2.lab"), deviceChange=[change])))
    assert client.port_of(vm).dvsUuid == client.dvs("tenant").uuid
    assert vm.runtime.host == client.host("esx1.lab")


def test_storage_vmotion_shows_a_path_as_name_for_a_moment(client: Client) -> None:
    vm = client.vm("a")
    slow = client.named(vim.Datastore, "slow")
    watch = Watch(client, vim.VirtualMachine, ["name"])
    watch.drain()
    events = client.events(E.VmBeingRelocatedEvent, E.VmRelocatedEvent, E.VmMigratedEvent, E.VmRenamedEvent)
    port = client.port_of(vm).key
    task = vm.RelocateVM_Task(vim.vm.RelocateSpec(datastore=slow))
    names = [ch.val for u in watch.updates(seconds=1) for ch in u.changeSet]
    wait(task)
    assert names == ["%2fvmfs%2fvolumes%2fslow%2fa%2fa.vmx", "a"]
    begun, ended = events.read()
    assert (type(begun), type(ended)) == (E.VmBeingRelocatedEvent, E.VmRelocatedEvent)
    assert (begun.destHost.name, begun.destDatastore.name) == ("esx1.lab", "slow")
    assert list(vm.datastore) == [slow]
    assert vm in slow.vm
    assert client.port_of(vm).key == port


def test_a_storage_vmotion_keeps_the_vm_s_name_reserved(client: Client) -> None:
    vm = client.vm("a")
    slow = vim.option.OptionValue(key="isthmus.lab.migrate-ms", value="4000")
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[slow])))
    task = vm.RelocateVM_Task(vim.vm.RelocateSpec(datastore=client.named(vim.Datastore, "slow")))
    eventually(lambda: vm.name != "a")
    with pytest.raises(vim.fault.DuplicateName) as refused:
        wait(client.vm("b").Rename_Task("a"))
    assert refused.value.object == vm
    assert vm.name != "a"  # it was refused in the moment of the odd name
    wait(task)
    assert vm.name == "a"


def test_a_suspended_vm_keeps_its_port_with_the_link_down_and_moves_cold(client: Client) -> None:
    vm = client.vm("a")
    before = client.port_of(vm)
    wait(vm.SuspendVM_Task())
    port = client.port_of(vm)
    assert port.key == before.key
    assert not port.state.runtimeInfo.linkUp
    events = client.events(E.VmBeingMigratedEvent, E.VmBeingHotMigratedEvent, E.VmMigratedEvent)
    wait(vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High))
    assert [type(e) for e in events.read()] == [E.VmBeingMigratedEvent, E.VmMigratedEvent]
    wait(vm.PowerOnVM_Task())
    port = client.port_of(vm)
    assert (port.key, port.proxyHost) == (before.key, client.host("esx2.lab"))
    assert port.state.runtimeInfo.linkUp


# HA


def test_ha_restarts_the_vms_of_a_dead_host(vcenter: Simulator, client: Client) -> None:
    before = {name: client.port_of(client.vm(name)).key for name in "ab"}
    events = client.events(E.HostConnectionLostEvent, E.EventEx)
    assert set(vcenter.hosts.die("esx1.lab")) == {"a", "b"}
    lost, *restarted = events.read()
    assert isinstance(lost, E.HostConnectionLostEvent)
    assert {e.eventTypeId for e in restarted} == {"com.vmware.vc.ha.VmRestartedByHAEvent"}
    assert {e.vm.name for e in restarted} == {"a", "b"}
    for name, key in before.items():
        vm = client.vm(name)
        assert vm.runtime.host.name in FIRST[1:]
        assert vm.runtime.connectionState == "connected"
        port = client.port_of(vm)
        assert (port.key, port.proxyHost) == (key, vm.runtime.host)
        assert port.state.runtimeInfo.linkUp
    assert client.vm("off").runtime.connectionState == "disconnected"
    assert client.host("esx1.lab").runtime.connectionState == "notResponding"


def test_ha_works_while_vcenter_is_away_and_nobody_is_told(vcenter: Simulator) -> None:
    before = Client(vcenter)
    last = before.content.eventManager.latestEvent.key
    vcenter.leave()
    vcenter.hosts.die("esx1.lab")
    vcenter.come_back()
    after = Client(vcenter)
    assert after.vm("a").runtime.host.name != "esx1.lab"
    told = after.content.eventManager.QueryEvents(E.EventFilterSpec(eventTypeId=["EventEx", "VmPoweredOnEvent"]))
    assert [e for e in told if e.key > last] == []
    after.close()


def test_a_dead_host_without_ha_keeps_its_vms_dark(vcenter: Simulator, client: Client) -> None:
    assert vcenter.hosts.die("esx1.lab", restart=False) == ()
    vm = client.vm("a")
    assert (vm.runtime.host.name, vm.runtime.connectionState) == ("esx1.lab", "disconnected")
    assert not client.port_of(vm).state.runtimeInfo.linkUp


# What guests and neighbours tell


def test_a_running_guest_tells_its_addresses(vcenter: Simulator, client: Client) -> None:
    vm = client.vm("a")
    (nic,) = vm.guest.net
    assert (nic.macAddress, nic.deviceConfigId, nic.network) == (c.nics(vm)[0].macAddress, 4000, "red")
    assert list(nic.ipAddress) == ["10.0.0.1", "fd00::1"]
    assert [(a.ipAddress, a.prefixLength) for a in nic.ipConfig.ipAddress] == [("10.0.0.1", 24), ("fd00::1", 64)]
    watch = Watch(client, vim.VirtualMachine, ["guest.net"])
    watch.drain()
    vcenter.vms.addresses("a", ["10.0.0.2"])
    (change,) = told(watch, vm, "guest.net")
    assert list(change[0].ipAddress) == ["10.0.0.2"]
    wait(vm.PowerOffVM_Task())
    assert list(vm.guest.net) == []
    assert list(client.vm("mute").guest.net) == []


def test_a_host_hears_its_physical_neighbours(client: Client) -> None:
    host = client.host("esx1.lab")
    first, second = host.configManager.networkSystem.QueryNetworkHint()
    assert (first.device, first.lldpInfo.portId, first.lldpInfo.chassisId) == (
        "vmnic0",
        "Ethernet1/7",
        "00:01:02:03:04:05",
    )
    assert {p.key: p.value for p in first.lldpInfo.parameter}["System Name"] == "leaf1"
    assert (second.connectedSwitchPort.devId, second.connectedSwitchPort.portId) == ("leaf2", "Gi0/7")
    (only,) = host.configManager.networkSystem.QueryNetworkHint(["vmnic1"])
    assert only.device == "vmnic1"
    assert client.host("esx4.lab").configManager.networkSystem.QueryNetworkHint()[0].lldpInfo is None


def test_a_cable_that_is_plugged_elsewhere_is_heard_and_one_that_is_pulled_is_silent(
    vcenter: Simulator, client: Client
) -> None:
    network = client.host("esx4.lab").configManager.networkSystem
    vcenter.hosts.hear("esx4.lab", "vmnic1", Neighbour("leaf9", "swp9"))
    (heard,) = network.QueryNetworkHint(["vmnic1"])
    assert (heard.lldpInfo.portId, heard.connectedSwitchPort) == ("swp9", None)
    vcenter.hosts.hear("esx4.lab", "vmnic1", None)
    assert network.QueryNetworkHint(["vmnic1"])[0].lldpInfo is None
    with pytest.raises(ControlError, match="no physical NIC"):
        vcenter.hosts.hear("esx4.lab", "vmnic9", None)
