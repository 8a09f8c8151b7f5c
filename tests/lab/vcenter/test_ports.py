"""DV ports: a NIC gets one when it connects, keeps it while it stays, and gives it back bare."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter import Simulator
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, wait

pytestmark = pytest.mark.sim

Criteria = vim.dvs.PortCriteria


@pytest.fixture
def tenant(client: Client) -> Any:
    return client.dvs("tenant")


@pytest.fixture
def group(client: Client, tenant: Any, request: pytest.FixtureRequest) -> Any:
    return client.make_port_group(tenant, request.node.name[:60], policy=c.override_policy(**c.OPEN_POLICY))


def test_a_nic_gets_a_port_that_names_it(client: Client, tenant: Any, group: Any) -> None:
    vm = client.make_vm("ports-named", group, power_on=True)
    (nic,) = c.nics(vm)
    port = client.port_of(vm)
    assert nic.key >= 4000
    assert nic.macAddress.startswith("00:50:56:")
    assert port.portgroupKey == group.key
    assert port.connectee.connectedEntity == vm
    assert port.connectee.nicKey == str(nic.key)
    assert port.connectee.type == "vmVnic"
    assert port.connectionCookie == nic.backing.port.connectionCookie
    assert port.proxyHost == vm.runtime.host
    assert port.state.runtimeInfo.linkUp
    assert port.dvsUuid == tenant.uuid
    assert group.vm == [vm]


def test_port_keys_are_unique_on_a_switch(client: Client, tenant: Any) -> None:
    keys = tenant.FetchDVPortKeys(Criteria())
    assert len(keys) == len(set(keys)) >= 16
    assert keys == [p.key for p in tenant.FetchDVPorts(Criteria())]


def test_a_powered_off_vm_keeps_its_port_with_the_link_down(client: Client, group: Any) -> None:
    vm = client.make_vm("ports-off", group, power_on=True)
    key = client.port_of(vm).key
    wait(vm.PowerOffVM_Task())
    port = client.port_of(vm)
    assert port.key == key
    assert port.connectee.connectedEntity == vm
    assert not port.state.runtimeInfo.linkUp
    wait(vm.PowerOnVM_Task())
    assert client.port_of(vm).state.runtimeInfo.linkUp


def test_a_nic_that_moves_to_another_group_leaves_its_port_bare(client: Client, tenant: Any, group: Any) -> None:
    vm = client.make_vm("ports-moved", group)
    before = client.port_of(vm)
    wait(tenant.ReconfigureDVPort_Task([c.port_spec(before, vlan=c.vlan(77), blocked=c.flag(True))]))
    c.change_devices(vm, c.edit_nic(c.nics(vm)[0], client.port_group("blue")))
    left = client.port(tenant, before.key)
    assert left.connectee is None
    assert left.config.setting.vlan.vlanId == 0
    assert left.config.setting.vlan.inherited
    assert not left.state.runtimeInfo.blocked
    assert left.config.configVersion != before.config.configVersion
    assert client.port_of(vm).portgroupKey == client.port_group("blue").key
    assert group.vm == []
    assert vm in client.port_group("blue").vm


def test_a_port_that_is_bared_has_a_new_version(client: Client, tenant: Any, group: Any) -> None:
    vm = client.make_vm("ports-bared", group, group)
    written, untouched = client.port_of(vm, 0), client.port_of(vm, 1)
    wait(tenant.ReconfigureDVPort_Task([c.port_spec(written, vlan=c.vlan(79))]))
    wait(vm.Destroy_Task())
    assert client.port(tenant, written.key).config.configVersion == "2"  # one for the write, one for the reset
    assert client.port(tenant, untouched.key).config.configVersion == "0"  # nothing was taken away


def test_an_override_outlives_its_nic_where_the_group_says_so(client: Client, tenant: Any) -> None:
    keeping = client.make_port_group(
        tenant, "ports-keeping", policy=c.override_policy(vlanOverrideAllowed=True, portConfigResetAtDisconnect=False)
    )
    vm = client.make_vm("ports-keeping", keeping)
    port = client.port_of(vm)
    wait(tenant.ReconfigureDVPort_Task([c.port_spec(port, vlan=c.vlan(78))]))
    wait(vm.Destroy_Task())
    assert client.port(tenant, port.key).config.setting.vlan.vlanId == 78


def test_editing_something_else_of_a_nic_keeps_its_port(client: Client, group: Any) -> None:
    vm = client.make_vm("ports-edit", group, power_on=True)
    before = client.port_of(vm)
    card = c.nics(vm)[0]
    card.connectable.connected = False
    c.change_devices(vm, vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    after = client.port_of(vm)
    assert (after.key, after.connectionCookie) == (before.key, before.connectionCookie)
    assert not after.state.runtimeInfo.linkUp


def test_a_removed_nic_and_a_destroyed_vm_give_their_ports_back(client: Client, tenant: Any, group: Any) -> None:
    vm = client.make_vm("ports-gone", group, group)
    first, second = client.port_of(vm, 0).key, client.port_of(vm, 1).key
    c.change_devices(vm, c.remove_nic(c.nics(vm)[0]))
    assert client.port(tenant, first).connectee is None
    wait(vm.Destroy_Task())
    assert client.port(tenant, second).connectee is None
    assert group.vm == []


def test_a_clone_gets_ports_and_addresses_of_its_own(client: Client, group: Any) -> None:
    vm = client.make_vm("ports-original", group)
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
    clone = wait(vm.CloneVM_Task(vm.parent, "ports-clone", spec))
    assert client.port_of(clone).key != client.port_of(vm).key
    assert client.port_of(clone).connectee.connectedEntity == clone
    assert client.port_of(vm).connectee.connectedEntity == vm
    assert c.nics(clone)[0].macAddress != c.nics(vm)[0].macAddress
    assert clone.config.instanceUuid != vm.config.instanceUuid


def test_a_full_group_refuses_a_vm_before_anything_is_made(client: Client, tenant: Any) -> None:
    full = client.make_port_group(tenant, "ports-full", numPorts=1, autoExpand=False)
    client.make_vm("ports-full-1", full)
    with pytest.raises(vim.fault.ResourceNotAvailable):
        client.make_vm("ports-full-2", full)
    assert not [vm for vm in client.all(vim.VirtualMachine) if vm.name == "ports-full-2"]
    resident = client.vm("resident")
    before = len(c.nics(resident))
    with pytest.raises(vim.fault.ResourceNotAvailable):
        c.change_devices(resident, c.add_nic(full))
    assert len(c.nics(resident)) == before


def test_an_auto_expanding_group_grows(client: Client, tenant: Any) -> None:
    small = client.make_port_group(tenant, "ports-growing", numPorts=1, autoExpand=True)
    client.make_vm("ports-growing", small, small, small)
    assert small.config.numPorts > 1
    assert len(small.portKeys) == small.config.numPorts
    assert set(small.portKeys) == set(tenant.FetchDVPortKeys(Criteria(portgroupKey=[small.key], inside=True)))


def test_a_nic_in_a_group_that_does_not_exist_is_refused(client: Client, group: Any) -> None:
    ghost = c.add_nic(group)
    ghost.device.backing.port.portgroupKey = "dvportgroup-99999"
    with pytest.raises(vmodl.fault.InvalidArgument):
        c.change_devices(client.vm("resident"), ghost)
    ghost.device.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="no such network")
    with pytest.raises(vim.fault.InvalidDeviceBacking):
        c.change_devices(client.vm("resident"), ghost)


def test_a_port_taken_by_another_nic_cannot_be_asked_for(client: Client, group: Any) -> None:
    owner = client.make_vm("ports-owner", group)
    wish = c.add_nic(group)
    wish.device.backing.port.portKey = client.port_of(owner).key
    with pytest.raises(vim.fault.ResourceInUse):
        c.change_devices(client.vm("resident"), wish)
    free = client.content.dvSwitchManager.QueryDvsByUuid(wish.device.backing.port.switchUuid).FetchDVPortKeys(
        Criteria(portgroupKey=[group.key], inside=True, connected=False)
    )
    vm = client.make_vm("ports-wish")
    wish.device.backing.port.portKey = free[-1]
    c.change_devices(vm, wish)
    assert client.port_of(vm).key == free[-1]


def test_an_ephemeral_group_has_ports_only_for_running_vms(client: Client, tenant: Any) -> None:
    ephemeral = client.make_port_group(tenant, "ports-ephemeral", type="ephemeral", numPorts=0)
    vm = client.make_vm("ports-ephemeral", ephemeral)
    assert ephemeral.portKeys == []
    assert c.nics(vm)[0].backing.port.portKey is None
    wait(vm.PowerOnVM_Task())
    assert ephemeral.portKeys == [c.nics(vm)[0].backing.port.portKey]
    wait(vm.PowerOffVM_Task())
    assert ephemeral.portKeys == []


def test_the_state_of_a_port_that_does_not_exist_cannot_be_refreshed(client: Client, tenant: Any, group: Any) -> None:
    tenant.RefreshDVPortState(list(group.portKeys))
    with pytest.raises(vim.fault.NotFound):
        tenant.RefreshDVPortState([group.portKeys[0], "99999"])


def test_criteria_narrow_the_answer(client: Client, tenant: Any, group: Any) -> None:
    on = client.make_vm("ports-criteria-on", group, host="esx2.lab", power_on=True)
    off = client.make_vm("ports-criteria-off", group, host="esx3.lab")
    on_key, off_key = client.port_of(on).key, client.port_of(off).key

    def fetch(**fields: Any) -> set[str]:
        keys = tenant.FetchDVPortKeys(Criteria(**fields))
        assert sorted(keys) == sorted(p.key for p in tenant.FetchDVPorts(Criteria(**fields)))
        return set(keys)

    inside = {"portgroupKey": [group.key], "inside": True}
    assert fetch(**inside, connected=True) == {on_key, off_key}
    assert fetch(**inside, active=True) == {on_key}
    assert fetch(**inside, host=[on.runtime.host]) == {on_key}
    assert fetch(portKey=[on_key, off_key, "99999"]) == {on_key, off_key}
    assert fetch(portKey=[on_key], connected=False) == set()
    assert fetch(**inside, connected=False).isdisjoint({on_key, off_key})
    assert on_key not in fetch(portgroupKey=[group.key], inside=False)
    assert on_key in fetch(portgroupKey=["dvportgroup-99999"])
    assert fetch(nsxPort=True) == set()
    assert on_key in fetch(nsxPort=False)


def test_uplink_ports_carry_the_physical_nics(client: Client) -> None:
    uplink = client.dvs("uplink")
    ports = uplink.FetchDVPorts(Criteria(uplinkPort=True, connected=True))
    assert {p.connectee.connectedEntity for p in ports} == set(client.all(vim.HostSystem))
    for port in ports:
        assert port.connectee.type == "pnic"
        assert port.connectee.nicKey.endswith("vmnic1")
        assert [(r.start, r.end) for r in port.config.setting.vlan.vlanId] == [(100, 199)]
    assert client.dvs("tenant").FetchDVPortKeys(Criteria(uplinkPort=True)) == []


def test_connecting_and_disconnecting_are_events(client: Client, group: Any) -> None:
    reader = client.events(vim.event.DvsPortConnectedEvent, vim.event.DvsPortDisconnectedEvent)
    vm = client.make_vm("ports-events", group)
    key = client.port_of(vm).key
    wait(vm.Destroy_Task())
    happened = [(type(e), e.portKey, e.connectee.connectedEntity) for e in reader.read() if e.portKey == key]
    assert happened == [
        (vim.event.DvsPortConnectedEvent, key, vm),
        (vim.event.DvsPortDisconnectedEvent, key, vm),
    ]


def test_addresses_that_vcenter_assigns_are_distinct(client: Client, vcenter: Simulator, group: Any) -> None:
    vms = [client.make_vm(f"ports-mac-{i}", group, group) for i in range(4)]
    macs = [nic.macAddress for vm in vms for nic in c.nics(vm)]
    assert len(set(macs)) == 8
    assert all(nic.addressType == "assigned" for vm in vms for nic in c.nics(vm))


def test_a_manual_address_is_kept(client: Client, group: Any) -> None:
    vm = client.make_vm("ports-manual")
    c.change_devices(vm, c.add_nic(group, mac="00:50:56:11:22:33"))
    assert c.nics(vm)[0].macAddress == "00:50:56:11:22:33"
    with pytest.raises(vmodl.fault.InvalidArgument):
        c.change_devices(vm, c.add_nic(group, mac="not a mac"))
