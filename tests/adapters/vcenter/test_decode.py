"""What vCenter says of ports and port groups, in our words."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pyVmomi import vim

from isthmus.adapters.vcenter import vlans
from isthmus.adapters.vcenter.fetched import FETCH_DV_PORTS, dv_port
from isthmus.adapters.vcenter.groups import group_config, port_group
from isthmus.adapters.vcenter.stream import values
from isthmus.model.names import HostId, NicId, VmId
from isthmus.model.observed import Access, MacLearning, NoVlan, PrivateVlan, Trunk
from isthmus.model.tags import ALL_VIDS, NO_VIDS, Vid, VidSet
from tests.adapters.vcenter.answers import answer_of

Switch = vim.dvs.VmwareDistributedVirtualSwitch
VmwareSetting = Switch.VmwarePortConfigPolicy


def trunk(*ranges: tuple[int, int]) -> Any:
    return Switch.TrunkVlanSpec(vlanId=[vim.NumericRange(start=first, end=last) for first, last in ranges])


@pytest.mark.parametrize(
    ("vlan", "said"),
    [
        (None, NoVlan()),
        (Switch.VlanIdSpec(vlanId=0), NoVlan()),
        (Switch.VlanIdSpec(vlanId=4094), Access(Vid(4094))),
        (Switch.VlanIdSpec(vlanId=4095), Trunk(ALL_VIDS)),
        (Switch.PvlanSpec(pvlanId=300), PrivateVlan(Vid(300))),
        (trunk((0, 4094)), Trunk(ALL_VIDS)),
        (trunk((100, 200), (150, 300), (0, 0)), Trunk(VidSet.of("100-300"))),
        (trunk(), Trunk(NO_VIDS)),
        (vim.dvs.VmwareDistributedVirtualSwitch.VlanSpec(), NoVlan()),
    ],
)
def test_every_kind_of_vlan_is_read(vlan: Any, said: object) -> None:
    assert vlans.vlan_spec(vlan) == said


def group(**setting: Any) -> Any:
    config = group_config(
        vim.dvs.DistributedVirtualPortgroup.ConfigInfo(
            key="dvportgroup-1",
            name="a%2fb",
            description="isthmus/1 owner=o network=n vni=5",
            type="earlyBinding",
            configVersion="7",
            policy=Switch.VMwarePortgroupPolicy(vlanOverrideAllowed=True, blockOverrideAllowed=True),
            defaultPortConfig=VmwareSetting(**setting),
        )
    )
    return port_group(config, None)


def test_a_port_group_is_read_with_its_name_as_people_know_it() -> None:
    read = group(blocked=vim.BoolPolicy(value=True), vlan=Switch.VlanIdSpec(vlanId=12))
    assert (read.name, read.version, read.blocked, read.vlan) == ("a/b", "7", True, Access(Vid(12)))
    assert read.mark is not None
    assert read.mark.network == "n"
    assert read.vlan_override
    assert read.block_override
    assert not read.reset_at_disconnect


def test_the_newer_mac_policy_goes_before_the_older_security_policy() -> None:
    old = Switch.SecurityPolicy(forgedTransmits=vim.BoolPolicy(value=True), allowPromiscuous=vim.BoolPolicy(value=True))
    assert group(securityPolicy=old).forged_transmits
    assert group(securityPolicy=old).promiscuous
    new = Switch.MacManagementPolicy(forgedTransmits=False, macLearningPolicy=Switch.MacLearningPolicy(enabled=True))
    read = group(securityPolicy=old, macManagementPolicy=new)
    assert (read.forged_transmits, read.promiscuous, read.mac_learning) == (False, True, MacLearning())
    assert not group().forged_transmits


def test_mac_learning_is_read_with_what_it_floods_and_where_it_ends_and_else_as_vsphere_has_it() -> None:
    def learning(**how: Any) -> MacLearning | None:
        policy = Switch.MacManagementPolicy(macLearningPolicy=Switch.MacLearningPolicy(**how))
        learned: MacLearning | None = group(macManagementPolicy=policy).mac_learning
        return learned

    assert learning(enabled=False, allowUnicastFlooding=True) is None
    assert learning(enabled=True) == MacLearning(unicast_flooding=True, limit=4096, drops=True)
    silent = learning(enabled=True, allowUnicastFlooding=False, limit=1, limitPolicy="ALLOW")
    assert silent == MacLearning(unicast_flooding=False, limit=1, drops=False)


def test_a_setting_of_a_plain_switch_reads_as_untagged_and_open() -> None:
    config = vim.dvs.DistributedVirtualPortgroup.ConfigInfo(key="k", name="n", type="ephemeral")
    read = port_group(group_config(config), "n")
    assert (read.vlan, read.blocked, read.mark, read.early_binding) == (NoVlan(), False, None, False)


def port(connectee: Any = None, cookie: int | None = None, host: Any = None, **setting: Any) -> Any:
    return vim.dvs.DistributedVirtualPort(
        key="17",
        portgroupKey="dvportgroup-1",
        dvsUuid="u",
        config=vim.dvs.DistributedVirtualPort.ConfigInfo(configVersion="3", setting=VmwareSetting(**setting)),
        connectee=connectee,
        connectionCookie=cookie,
        proxyHost=host,
    )


def read(raw: Any, known: bool = True) -> Any:
    [fetched] = values(io.BytesIO(answer_of([raw])), FETCH_DV_PORTS)
    return dv_port(
        fetched,
        lambda vm, key: NicId(VmId(f"uuid-of-{vm}"), key) if known else None,
        lambda host: HostId(f"vc/{host}"),
        lambda vm: HostId("vc/from-vm"),
    )


VM_NIC = vim.dvs.PortConnectee(connectedEntity=vim.VirtualMachine("vm-5", None), nicKey="4001", type="vmVnic")


def test_a_connected_port_names_its_nic_and_host() -> None:
    state = read(port(VM_NIC, 99, vim.HostSystem("host-3", None)))
    assert (state.nic, state.host, state.cookie, state.connected) == (
        NicId(VmId("uuid-of-vm-5"), 4001),
        "vc/host-3",
        99,
        True,
    )


def test_a_port_without_proxy_host_is_where_its_vm_is() -> None:
    assert read(port(VM_NIC, 99)).host == "vc/from-vm"


def test_a_port_of_an_unknown_vm_is_connected_to_nobody_we_know() -> None:
    state = read(port(VM_NIC, 99), known=False)
    assert (state.nic, state.connected, state.cookie) == (None, True, 99)


def test_a_port_held_by_a_host_is_connected_without_a_nic() -> None:
    vmk = vim.dvs.PortConnectee(connectedEntity=vim.HostSystem("host-3", None), nicKey="vmk0", type="hostConsoleVnic")
    state = read(port(vmk, 5))
    assert (state.nic, state.connected) == (None, True)


def test_a_port_that_a_host_made_without_vcenter_is_told_from_the_others() -> None:
    made = port(VM_NIC, 5)
    made.key, made.conflict, made.conflictPortKey = "c-17", True, "17"
    assert (read(made).key, read(made).conflict) == ("c-17", True)
    assert not read(port(VM_NIC, 5)).conflict


def test_an_override_is_told_from_what_is_inherited() -> None:
    own = read(
        port(vlan=Switch.VlanIdSpec(vlanId=5, inherited=False), blocked=vim.BoolPolicy(value=False, inherited=False))
    )
    inherited = read(
        port(vlan=Switch.VlanIdSpec(vlanId=5, inherited=True), blocked=vim.BoolPolicy(value=True, inherited=True))
    )
    assert (own.vlan_own, own.blocked_own, own.blocked) == (True, True, False)
    assert (inherited.vlan_own, inherited.blocked_own, inherited.blocked) == (False, False, True)
    assert own.vlan == inherited.vlan == Access(Vid(5))
    assert (own.cookie, own.connected) == (None, False)
