"""A VM that moves: its ports and their settings go along, and everyone can follow it by the events."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, wait

pytestmark = pytest.mark.sim

High = vim.VirtualMachine.MovePriority.highPriority
MOVES = (
    vim.event.VmBeingHotMigratedEvent,
    vim.event.VmBeingMigratedEvent,
    vim.event.VmEmigratingEvent,
    vim.event.VmMigratedEvent,
    vim.event.VmFailedMigrateEvent,
)


@pytest.fixture
def vm(client: Client, request: pytest.FixtureRequest) -> Any:
    return client.make_vm(request.node.name[:60], client.port_group("red"), power_on=True)


def steer(vm: Any, **options: str) -> None:
    values = [vim.option.OptionValue(key=f"isthmus.lab.{k.replace('_', '-')}", value=v) for k, v in options.items()]
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=values)))


def test_a_vm_that_migrates_keeps_its_port_and_override(client: Client, vm: Any) -> None:
    tenant, there = client.dvs("tenant"), client.host("esx2.lab")
    wait(tenant.ReconfigureDVPort_Task([c.port_spec(client.port_of(vm), vlan=c.vlan(301))]))
    before = client.port_of(vm)
    wait(vm.MigrateVM_Task(host=there, priority=High))
    after = client.port_of(vm)
    assert (after.key, after.connectionCookie) == (before.key, before.connectionCookie)
    assert after.config.configVersion == before.config.configVersion
    assert after.config.setting.vlan.vlanId == 301
    assert (before.proxyHost, after.proxyHost) == (client.host("esx1.lab"), there)
    assert after.state.runtimeInfo.linkUp


def test_a_vm_is_in_the_list_of_one_host_only(client: Client, vm: Any) -> None:
    wait(vm.MigrateVM_Task(host=client.host("esx3.lab"), priority=High))
    assert vm.runtime.host == vm.summary.runtime.host == client.host("esx3.lab")
    assert [host.name for host in client.all(vim.HostSystem) if vm in host.vm] == ["esx3.lab"]


def test_a_migration_is_announced_and_then_confirmed(client: Client, vm: Any) -> None:
    here, there = client.host("esx1.lab"), client.host("esx2.lab")
    reader = client.events(*MOVES)
    wait(vm.MigrateVM_Task(host=there, priority=High))
    announced, leaving, done = reader.read()
    assert isinstance(announced, vim.event.VmBeingHotMigratedEvent)
    assert (announced.host.host, announced.destHost.host) == (here, there)
    assert isinstance(leaving, vim.event.VmEmigratingEvent)
    assert isinstance(done, vim.event.VmMigratedEvent)
    assert (done.host.host, done.sourceHost.host) == (there, here)


def test_a_migration_takes_as_long_as_it_is_told(client: Client, vm: Any) -> None:
    steer(vm, migrate_ms="2000")
    reader = client.events(*MOVES)
    started = time.monotonic()
    task = vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High)
    time.sleep(0.2)
    assert vm.runtime.host == client.host("esx1.lab")  # readable, and still at home
    assert [type(e) for e in reader.read()] == [vim.event.VmBeingHotMigratedEvent]
    with pytest.raises(vim.fault.TaskInProgress):
        wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="meanwhile")))
    with pytest.raises(vim.fault.TaskInProgress):
        wait(vm.MigrateVM_Task(host=client.host("esx3.lab"), priority=High))
    wait(task)
    assert time.monotonic() - started >= 2


def test_a_migration_that_fails_leaves_the_vm_where_it_was(client: Client, vm: Any) -> None:
    steer(vm, migrate_fail="true")
    before = client.port_of(vm)
    reader = client.events(*MOVES)
    with pytest.raises(vim.fault.MigrationFault):
        wait(vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High))
    announced, failed = reader.read()
    assert isinstance(announced, vim.event.VmBeingHotMigratedEvent)
    assert isinstance(failed, vim.event.VmFailedMigrateEvent)
    assert failed.destHost.host == client.host("esx2.lab")
    assert isinstance(failed.reason, vim.fault.MigrationFault)
    assert vm.runtime.host == client.host("esx1.lab")
    assert client.port_of(vm).proxyHost == before.proxyHost
    assert vm in client.host("esx1.lab").vm


def test_a_cancelled_migration_leaves_the_vm_where_it_was(client: Client, vm: Any) -> None:
    steer(vm, migrate_ms="5000")
    reader = client.events(*MOVES)
    task = vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High)
    time.sleep(0.1)
    task.CancelTask()
    with pytest.raises(vmodl.fault.RequestCanceled):
        wait(task)
    time.sleep(0.1)
    assert [type(e) for e in reader.read()] == [MOVES[0], MOVES[4]]
    assert vm.runtime.host == client.host("esx1.lab")
    steer(vm, migrate_ms="10")
    wait(vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High))


def test_a_relocation_to_a_host_is_a_migration(client: Client, vm: Any) -> None:
    reader = client.events(*MOVES)
    wait(vm.RelocateVM_Task(vim.vm.RelocateSpec(host=client.host("esx3.lab"))))
    assert client.port_of(vm).proxyHost == client.host("esx3.lab")
    assert [type(e) for e in reader.read()] == [MOVES[0], MOVES[2], MOVES[3]]


def test_a_powered_off_vm_moves_cold(client: Client, vm: Any) -> None:
    wait(vm.PowerOffVM_Task())
    reader = client.events(*MOVES)
    wait(vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High))
    assert [type(e) for e in reader.read()] == [MOVES[1], MOVES[3]]


def test_a_host_outside_the_switch_cannot_receive_the_vm(client: Client) -> None:
    folder = client.all(vim.Datacenter)[0].networkFolder
    small = wait(
        folder.CreateDVS_Task(vim.DistributedVirtualSwitch.CreateSpec(configSpec=c.Edit.ConfigSpec(name="small")))
    )
    members = [
        vim.dvs.HostMember.ConfigSpec(operation="add", host=h, backing=vim.dvs.HostMember.PnicBacking(pnicSpec=[]))
        for h in client.all(vim.HostSystem)
    ]
    wait(small.ReconfigureDvs_Task(c.Edit.ConfigSpec(configVersion=small.config.configVersion, host=members)))
    vm = client.make_vm("move-small", client.make_port_group(small, "small-net"), power_on=True)
    members = [m for m in members if m.host.name == "esx3.lab"]
    members[0].operation = "remove"
    wait(small.ReconfigureDvs_Task(c.Edit.ConfigSpec(configVersion=small.config.configVersion, host=members)))
    with pytest.raises(vim.fault.CannotAccessNetwork):
        wait(vm.MigrateVM_Task(host=client.host("esx3.lab"), priority=High))
    wait(vm.MigrateVM_Task(host=client.host("esx2.lab"), priority=High))


def test_many_migrations_at_once_all_arrive(client: Client, other_client: Client) -> None:
    group = client.port_group("red")
    vms = [client.make_vm(f"move-many-{i}", group, power_on=True) for i in range(8)]
    there = client.host("esx2.lab")
    tasks = [vm.MigrateVM_Task(host=there, priority=High) for vm in vms]
    reading = threading.Thread(target=lambda: [other_client.port_of(other_client.vm(vm.name)) for vm in vms])
    reading.start()
    for task in tasks:
        wait(task)
    reading.join()
    assert set(vms) <= set(there.vm)
    assert {client.port_of(vm).proxyHost for vm in vms} == {there}
