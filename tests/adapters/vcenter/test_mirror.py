"""The mirror of the inventory: whatever the order and the size of vCenter's updates, what is whole is right."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import VmomiSupport, vim, vmodl

from isthmus.adapters.vcenter.mirror import Mirror
from isthmus.adapters.vcenter.nics import DEVICES, Unclear
from isthmus.model.inventory import Machine
from isthmus.model.names import HostId, NicId, VmId
from isthmus.model.tags import VidSet

Change = vmodl.query.PropertyCollector.Change
Card = vim.vm.device.VirtualEthernetCard
DEVICE_ARRAY: Any = VmomiSupport.GetVmodlType("vim.vm.device.VirtualDevice[]")
U1, U2 = "u-1", "u-2"


def change(name: str, value: Any = None, op: str = "assign") -> Any:
    return Change(name=name, op=op, val=value)


def nic(key: int = 4000, mac: str | None = "00:50:56:AA:00:01", port: str | None = "17", cookie: int = 7) -> Any:
    connection = vim.dvs.PortConnection(
        switchUuid="dvs-1", portgroupKey="dvportgroup-1", portKey=port, connectionCookie=cookie if port else None
    )
    return vim.vm.device.VirtualVmxnet3(
        key=key,
        macAddress=mac,
        deviceInfo=vim.Description(label="Network adapter 1", summary=""),
        backing=Card.DistributedVirtualPortBackingInfo(port=connection),
    )


def facts(uuid: str = U1, host: str = "host-1", devices: Any = None) -> list[Any]:
    return [
        change("config.instanceUuid", uuid),
        change("config.template", False),
        change("name", "vm"),
        change("runtime.host", vim.HostSystem(host, None)),
        change("runtime.powerState", "poweredOn"),
        change(DEVICES, DEVICE_ARRAY([vim.vm.device.VirtualDisk(key=2000), nic()] if devices is None else devices)),
    ]


def mirror_with(*updates: tuple[str, list[Any]]) -> Mirror:
    mirror = Mirror("vc")
    for moref, changes in updates:
        mirror.change_vm(moref, changes)
    return mirror


def test_a_vm_appears_only_when_it_is_whole_in_whatever_order_it_becomes_known() -> None:
    whole = next(iter(mirror_with(("vm-1", facts())).nics().values()))
    assert (whole.id, whole.mac, whole.host) == (NicId(VmId(U1), 4000), "00:50:56:aa:00:01", "vc/host-1")
    assert (whole.dvs, whole.port_group, whole.port_key, whole.cookie) == ("dvs-1", "dvportgroup-1", "17", 7)
    for order in permutations(facts(), 6):
        mirror = Mirror("vc")
        for one in order:
            assert not list(mirror.nics().values()) or one.name in ("name", "runtime.powerState")
            mirror.change_vm("vm-1", [one])
        assert list(mirror.nics().values()) == [whole]


@pytest.mark.parametrize(
    "missing", ["config.instanceUuid", "config.template", "runtime.host", DEVICES], ids=lambda path: path
)
def test_a_vm_of_which_something_is_missing_is_left_out(missing: str) -> None:
    assert list(mirror_with(("vm-1", [one for one in facts() if one.name != missing])).nics()) == []


def test_a_template_and_a_nic_without_mac_are_left_out() -> None:
    assert not list(mirror_with(("vm-1", [*facts(), change("config.template", True)])).nics())
    assert not list(mirror_with(("vm-1", facts(devices=[nic(mac=None)]))).nics())


def test_clones_with_one_instance_uuid_do_not_become_one_vm() -> None:
    mirror = mirror_with(("vm-20", facts(host="host-2")), ("vm-3", facts(host="host-1")))
    assert [one.host for one in mirror.nics().values()] == ["vc/host-1"], "the oldest keeps it"
    assert mirror.nic_of("vm-20", 4000) is None
    [left] = mirror.left_out()
    assert (left.nic.host, left.nic.mac) == ("vc/host-2", "00:50:56:aa:00:01")
    assert f"its instance UUID {U1} is that of VM" in left.reason
    mirror.change_vm("vm-20", [change("config.instanceUuid", U2)])
    assert mirror.left_out() == ()
    assert {one.id.vm for one in mirror.nics().values()} == {U1, U2}
    mirror.change_vm("vm-20", [change("config.instanceUuid", U1)])
    mirror.change_vm("vm-3", None)
    assert [one.host for one in mirror.nics().values()] == ["vc/host-2"]
    assert mirror.left_out() == ()


def test_a_vm_that_is_asked_for_by_its_bios_uuid_is_found_wherever_it_goes_and_with_its_copies() -> None:
    mirror = Mirror("vc", machines=frozenset({"b-1"}))
    for moref, uuid, bios in (("vm-20", U2, "b-1"), ("vm-3", U1, "B-1"), ("vm-4", "u-3", "b-2")):
        mirror.change_vm(moref, [*facts(uuid=uuid), change("config.uuid", bios)])
    first, copy = mirror.machines()
    assert replace(first, nics=()) == Machine("b-1", "vm", HostId("vc/host-1"), True)
    assert replace(copy, nics=()) == replace(first, nics=())
    assert [(nic.dvs, nic.port_group) for nic in first.nics] == [
        (nic.dvs, nic.port_group) for nic in mirror.nics().values() if nic.id.vm == U2
    ]
    assert first.nics
    touched, _ = mirror.change_vm("vm-3", [change("runtime.host", vim.HostSystem("host-2", None))])
    assert touched == {"host-1", "host-2"}, "who serves either host is to look again"
    mirror.change_vm("vm-20", [change("config.uuid", "b-7")])
    assert [machine.host for machine in mirror.machines()] == ["vc/host-2"]
    mirror.change_vm("vm-3", [change("runtime.powerState", "poweredOff")])
    assert [machine.powered_on for machine in mirror.machines()] == [False]
    mirror.change_vm("vm-3", None)
    assert mirror.machines() == ()


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        (change(f"{DEVICES}[4000]", None, "remove"), []),
        (change(f"{DEVICES}[4000]", nic(port="18", cookie=8)), [("00:50:56:aa:00:01", "18", 8)]),
        (change(f"{DEVICES}[4001]", nic(4001, "00:50:56:aa:00:02"), "add"), [None, None]),
        (change(f"{DEVICES}[4000].macAddress", "00:50:56:aa:00:09"), [("00:50:56:aa:00:09", "17", 7)]),
        (change(f"{DEVICES}[4000].backing.port.portKey", "19"), [("00:50:56:aa:00:01", "19", 7)]),
        (change(f"{DEVICES}[4000].backing.port.connectionCookie", 5), [("00:50:56:aa:00:01", "17", 5)]),
        (change(f"{DEVICES}[4000].backing.port", None, "indirectRemove"), [("00:50:56:aa:00:01", None, None)]),
        (change(f"{DEVICES}[4000].backing", nic(port=None).backing), [("00:50:56:aa:00:01", None, None)]),
        (change(f"{DEVICES}[4000].deviceInfo.summary", "x"), [("00:50:56:aa:00:01", "17", 7)]),
        (change(f"{DEVICES}[2000].capacityInKB", 5), [("00:50:56:aa:00:01", "17", 7)]),
        (change(DEVICES, DEVICE_ARRAY([])), []),
        (change("config", None, "remove"), []),
    ],
    ids=lambda value: value.name if isinstance(value, Change) else "",
)
def test_a_partial_update_changes_what_it_says(update: Any, expected: list[Any]) -> None:
    mirror = mirror_with(("vm-1", facts()), ("vm-1", [update]))
    found = [(one.mac, one.port_key, one.cookie) for one in mirror.nics().values()]
    assert len(found) == len(expected)
    assert expected in ([None, None], found)


@pytest.mark.parametrize("path", [f"{DEVICES}[4000].backing.port.what", f"{DEVICES}.x", "config.hardware.numCPU"])
def test_an_update_that_is_not_understood_is_not_skipped(path: str) -> None:
    with pytest.raises(Unclear):
        mirror_with(("vm-1", facts()), ("vm-1", [change(path, 1)]))


def test_a_rename_wakes_nobody_and_a_move_wakes_both_hosts() -> None:
    mirror = mirror_with(("vm-1", facts()))
    assert mirror.change_vm("vm-1", [change("name", "other")]) == (set(), set())
    assert next(iter(mirror.nics().values())).vm_name == "other"
    hosts, groups = mirror.change_vm("vm-1", [change("runtime.host", vim.HostSystem("host-2", None))])
    assert (hosts, groups) == ({"host-1", "host-2"}, {"dvportgroup-1"})
    assert mirror.hosts_in(groups) == {"host-2"}
    assert mirror.change_vm("vm-1", None)[0] == {"host-2"}


def switch_config(wired: bool) -> Any:
    backing = vim.dvs.HostMember.PnicBacking(
        pnicSpec=[vim.dvs.HostMember.PnicSpec(pnicDevice="vmnic1")] if wired else []
    )
    member = vim.dvs.HostMember(
        config=vim.dvs.HostMember.ConfigInfo(host=vim.HostSystem("host-1", None), backing=backing)
    )
    uplink = vim.dvs.DistributedVirtualPortgroup("dvportgroup-9", None)
    return vim.dvs.VmwareDistributedVirtualSwitch.ConfigInfo(maxMtu=9000, host=[member], uplinkPortgroup=[uplink])


@pytest.mark.parametrize("wired", [True, False])
def test_uplinks_carry_their_trunk_only_where_a_host_has_a_physical_nic(wired: bool) -> None:
    mirror = Mirror("vc")
    mirror.change_switch("dvs-1", [change("uuid", "u"), change("name", "d%2f"), change("config", switch_config(wired))])
    trunk = vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec(vlanId=[vim.NumericRange(start=0, end=200)])
    setting = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(vlan=trunk)
    mirror.learn_uplinks({"dvportgroup-9": setting})
    [dvs] = mirror.dvses().values()
    assert (dvs.name, dvs.mtu, dvs.hosts) == ("d/", 9000, {"vc/host-1"})
    assert dvs.uplink_vids == (VidSet.of("1-200") if wired else None)


VMS = st.sampled_from(["vm-2", "vm-3", "vm-20"])
STEPS = st.lists(
    st.tuples(VMS, st.none())
    | st.tuples(VMS, st.tuples(st.sampled_from([U1, U2, None]), st.sampled_from(["host-1", "host-2"]), st.booleans())),
    max_size=14,
)
"""A VM that goes, or one that becomes known or changes: instance UUID, host, template or not."""


@given(STEPS)
def test_after_any_history_the_nics_are_those_of_the_vms_there_are_and_what_was_handed_out_stays(steps: Any) -> None:
    mirror, now = Mirror("vc", frozenset({"one"})), {}
    mirror.change_host("host-1", [change("name", "one")])
    handed_out = []
    for moref, after in steps:
        now.pop(moref, None)
        if after is None:
            mirror.change_vm(moref, None)
        else:
            uuid, host, template = after
            now[moref] = [
                *facts(uuid or "", host)[:1],
                change("config.template", template),
                *facts(uuid or "", host)[2:],
            ]
            mirror.change_vm(moref, now[moref])
        nics = mirror.nics()
        handed_out.append((nics, dict(nics)))
    afresh = Mirror("vc", frozenset({"one"}))
    for moref, changes in now.items():
        afresh.change_vm(moref, changes)
    afresh.change_host("host-1", [change("name", "one")])
    assert mirror.nics() == afresh.nics()
    assert all(nics == copy for nics, copy in handed_out)
    assert all(bool(nic.vm_name) == (nic.host == "vc/host-1") for nic in mirror.nics().values())


def test_a_change_tells_of_the_port_a_nic_left_and_of_the_one_it_took() -> None:
    mirror = mirror_with(("vm-1", facts()))
    since = mirror.told.count
    mirror.change_vm("vm-1", facts(devices=DEVICE_ARRAY([nic(port="18")])))
    assert mirror.told.since(since, "dvs-1") == {"17", "18"}
    since = mirror.told.count
    mirror.change_vm("vm-1", [change("name", "other")])
    assert mirror.told.since(since, "dvs-1") == set()
    mirror.change_vm("vm-1", None)
    assert mirror.told.since(since, "dvs-1") == {"18"}


def test_another_owner_of_an_instance_uuid_tells_of_everything() -> None:
    mirror = mirror_with(("vm-3", facts()), ("vm-20", facts(host="host-2")))
    since = mirror.told.count
    mirror.change_vm("vm-3", None)
    assert mirror.told.since(since, "dvs-1") is None
