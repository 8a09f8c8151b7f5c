"""Ports whose hosts fail or act alone, and groups that take their ports back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter import Dvs, Fault, Nic, NotBuilt, Overrides, PortGroup, Simulator, Topology, Vm, binary
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, EventReader, wait

pytestmark = pytest.mark.sim

High = vim.VirtualMachine.MovePriority.highPriority
E = vim.event


@pytest.fixture
def vcenter() -> Iterator[Simulator]:
    try:
        binary()
    except NotBuilt as missing:
        pytest.skip(str(missing))
    topology = Topology.single(
        hosts=["esx1.lab", "esx2.lab", "esx3.lab"],
        switches=[
            Dvs(
                "tenant",
                (PortGroup("red", overrides=Overrides(vlan=True)), PortGroup("fleeting", binding="ephemeral")),
            )
        ],
        vms=[Vm(f"on{i}", f"esx{i}.lab", (Nic("red"),)) for i in (1, 2, 3)] + [Vm("x", "esx1.lab", (Nic("fleeting"),))],
    )
    with Simulator(topology, migrate_ms=50) as simulator:
        yield simulator


@pytest.fixture
def write(client: Client) -> Callable[[int], None]:
    """Writes a VID to the ports of on1, on2 and on3 in one task."""

    def tags(vid: int) -> None:
        specs = [c.port_spec(client.port_of(client.vm(f"on{i}")), vlan=c.vlan(vid)) for i in (1, 2, 3)]
        wait(client.dvs("tenant").ReconfigureDVPort_Task(specs))

    return tags


def worn(client: Client) -> list[int]:
    return [client.port_of(client.vm(f"on{i}")).config.setting.vlan.vlanId for i in (1, 2, 3)]


def member(client: Client, host: str) -> str:
    members = client.dvs("tenant").config.host
    return next(str(m.status) for m in members if m.config.host.name == host)


@pytest.mark.parametrize("how", ["disconnected", "lost"])
def test_a_write_fails_for_the_host_out_of_reach_and_stands_for_the_others(
    vcenter: Simulator, client: Client, write: Callable[[int], None], how: str
) -> None:
    write(10)
    host = client.host("esx2.lab")
    if how == "disconnected":
        wait(host.DisconnectHost_Task())
    else:
        vcenter.hosts.lose("esx2.lab")
    version = client.port_of(client.vm("on2")).config.configVersion
    with pytest.raises(vim.fault.DvsOperationBulkFault) as bulk:
        write(11)
    (failure,) = bulk.value.hostFault
    assert failure.host == host
    assert isinstance(failure.fault, vmodl.fault.HostNotConnected)
    assert worn(client) == [11, 10, 11]
    assert client.port_of(client.vm("on2")).config.configVersion == version
    assert member(client, "esx2.lab") == "disconnected"  # not out of step: it was never reached
    vcenter.hosts.find("esx2.lab")
    write(12)
    assert worn(client) == [12, 12, 12]


def test_a_host_that_cannot_commit_falls_out_of_step_until_it_is_rectified(
    vcenter: Simulator, client: Client, write: Callable[[int], None]
) -> None:
    write(10)
    out_of_step = client.events(E.DvsHostWentOutOfSyncEvent)
    vcenter.faults.add(Fault("PlatformConfigFault"), method="applyDVPort", object="esx3.lab", in_task=True, count=1)
    with pytest.raises(vim.fault.DvsOperationBulkFault) as bulk:
        write(20)
    (failure,) = bulk.value.hostFault
    assert (failure.host.name, type(failure.fault)) == ("esx3.lab", vim.fault.PlatformConfigFault)
    assert worn(client) == [20, 20, 10]
    assert member(client, "esx3.lab") == "outOfSync"
    assert [e.hostOutOfSync.outOfSyncHost.name for e in out_of_step.read()] == ["esx3.lab"]
    events = client.events(E.DvsHostBackInSyncEvent)
    wait(client.content.dvSwitchManager.RectifyDvsOnHost_Task([client.host("esx3.lab")]))
    assert member(client, "esx3.lab") == "up"
    assert [e.hostBackInSync.name for e in events.read()] == ["esx3.lab"]
    wait(client.dvs("tenant").RectifyDvsHost_Task())
    write(20)
    assert worn(client) == [20, 20, 20]


def test_a_host_can_fail_when_its_ports_are_written(
    vcenter: Simulator, client: Client, write: Callable[[int], None]
) -> None:
    write(10)
    where: dict[str, Any] = {"method": "applyDVPort", "object": "esx3.lab", "in_task": True, "after": True}
    vcenter.faults.add(Fault("PlatformConfigFault"), **where)
    with pytest.raises(vim.fault.DvsOperationBulkFault) as bulk:
        write(20)
    (failure,) = bulk.value.hostFault
    assert (failure.host.name, type(failure.fault)) == ("esx3.lab", vim.fault.PlatformConfigFault)
    assert worn(client) == [20, 20, 20]
    assert member(client, "esx3.lab") == "outOfSync"


def test_a_host_out_of_reach_cannot_be_rectified(vcenter: Simulator, client: Client) -> None:
    vcenter.hosts.lose("esx1.lab")
    with pytest.raises(vim.fault.DvsOperationBulkFault):
        wait(client.content.dvSwitchManager.RectifyDvsOnHost_Task([client.host("esx1.lab")]))


def test_a_group_takes_its_extra_ports_back(client: Client) -> None:
    tenant = client.dvs("tenant")
    group = client.make_port_group(tenant, "breathing", numPorts=2, autoExpand=True)
    vms = [client.make_vm(f"breath{i}", group) for i in range(12)]
    grown = set(group.portKeys)
    assert len(grown) == 18
    events = client.events(E.DvsPortDeletedEvent)
    for vm in vms:
        wait(vm.Destroy_Task())
    left = set(group.portKeys)
    assert left < grown
    assert len(left) == group.config.numPorts == 8
    assert set(tenant.FetchDVPortKeys(vim.dvs.PortCriteria(portgroupKey=[group.key], inside=True))) == left
    assert {key for e in events.read() for key in e.portKey} == grown - left


@pytest.mark.parametrize(("asked", "taken"), [(20, 1), (12, 13)], ids=["never grown", "grown"])
def test_a_group_never_shrinks_below_what_was_asked_for(client: Client, asked: int, taken: int) -> None:
    group = client.make_port_group(client.dvs("tenant"), "roomy", numPorts=asked, autoExpand=True)
    vm = client.make_vm("roomy", *[group] * taken)
    wait(vm.Destroy_Task())
    assert len(group.portKeys) == group.config.numPorts == asked


def test_a_group_that_does_not_expand_keeps_its_ports(client: Client) -> None:
    group = client.make_port_group(client.dvs("tenant"), "rigid", numPorts=20, autoExpand=False)
    vm = client.make_vm("rigid", group)
    wait(vm.Destroy_Task())
    assert len(group.portKeys) == 20


def test_a_conflict_port_takes_the_place_of_another_and_keeps_nothing(
    vcenter: Simulator, client: Client, write: Callable[[int], None]
) -> None:
    write(30)
    vm, tenant = client.vm("on1"), client.dvs("tenant")
    before = client.port_of(vm)
    vcenter.vms.conflict("on1")
    port = client.port_of(vm)
    assert port.conflict
    assert port.conflictPortKey == before.key != port.key
    assert port.connectee.connectedEntity == vm
    assert port.config.setting.vlan.vlanId == 0  # the override stayed behind
    assert client.port(tenant, before.key).connectee is None
    with pytest.raises(vim.fault.InvalidState):
        wait(tenant.ReconfigureDVPort_Task([c.port_spec(port, vlan=c.vlan(31))]))
    with pytest.raises(vim.fault.MigrationFault):
        wait(vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High))
    wait(vm.PowerOffVM_Task())
    wait(vm.PowerOnVM_Task())
    healed = client.port_of(vm)
    assert not healed.conflict
    assert tenant.FetchDVPortKeys(vim.dvs.PortCriteria(portKey=[port.key])) == []
    wait(vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High))


def test_ha_without_vcenter_leaves_ephemeral_nics_on_conflict_ports(vcenter: Simulator) -> None:
    vcenter.leave()
    assert set(vcenter.hosts.die("esx1.lab")) == {"on1", "x"}
    vcenter.come_back()
    session = Client(vcenter)
    assert session.port_of(session.vm("x")).conflict
    assert not session.port_of(session.vm("on1")).conflict  # a static port is the VM's wherever it starts
    session.close()


def test_ha_with_vcenter_makes_no_conflict_port(vcenter: Simulator, client: Client) -> None:
    assert "x" in vcenter.hosts.die("esx1.lab")
    port = client.port_of(client.vm("x"))
    assert not port.conflict
    assert port.proxyHost == client.vm("x").runtime.host


# Events of ports that come and go


def lives(reader: EventReader) -> list[tuple[str, str]]:
    """What happened to ports, one pair of event and key for each."""
    told = []
    for event in reader.read():
        keys = [event.portKey] if isinstance(event.portKey, str) else event.portKey
        told += [(type(event).__name__.rpartition(".")[2], key) for key in keys]
    return told


@pytest.fixture
def life(client: Client) -> EventReader:
    return client.events(
        E.DvsPortCreatedEvent, E.DvsPortConnectedEvent, E.DvsPortDisconnectedEvent, E.DvsPortDeletedEvent
    )


def test_an_ephemeral_port_is_deleted_when_its_vm_stops(client: Client, life: EventReader) -> None:
    vm = client.vm("x")
    old = client.port_of(vm).key
    wait(vm.PowerOffVM_Task())
    assert lives(life) == [("DvsPortDisconnectedEvent", old), ("DvsPortDeletedEvent", old)]
    wait(vm.PowerOnVM_Task())
    new = client.port_of(vm).key
    assert lives(life) == [("DvsPortCreatedEvent", new), ("DvsPortConnectedEvent", new)]


def test_a_conflict_port_comes_and_goes_with_its_events(vcenter: Simulator, client: Client, life: EventReader) -> None:
    vm = client.vm("on1")
    own = client.port_of(vm).key
    vcenter.vms.conflict("on1")
    made = client.port_of(vm).key
    assert lives(life) == [
        ("DvsPortCreatedEvent", made),
        ("DvsPortDisconnectedEvent", own),
        ("DvsPortConnectedEvent", made),
    ]
    wait(vm.PowerOffVM_Task())
    happened = lives(life)
    assert happened[:2] == [("DvsPortDisconnectedEvent", made), ("DvsPortDeletedEvent", made)]
    assert happened[2:] == [("DvsPortConnectedEvent", client.port_of(vm).key)]
