"""The lab's switches, leaves and appliances treat frames as the real ones do; else no scenario proves anything."""

from __future__ import annotations

import pytest

from isthmus.core.design import OVSVAPP, OVSVAPP_VSS, VDS_STATIC
from isthmus.model.flow import Bridge, Flow, FlowPort, Goto, LearnVtep, Match, Output, PopVid, PushVid, Resubmit, SetVid
from isthmus.model.names import HostId, Mac
from isthmus.model.nve import LeafBinding, LeafUnicast
from isthmus.model.observed import Access, NoVlan, Trunk
from isthmus.model.tags import Vid, VidSet, Vni
from lab.wire.clock import VirtualClock
from lab.wire.frames import ToHost, ToVtep, broadcast, rarp, unicast
from lab.wire.nve import tagged
from lab.wire.ovs import WireOvs
from lab.wire.vcenter import CannotMove
from lab.wire.world import Lab, two_hosts

A, B = "00:50:56:aa:00:01", "00:50:56:aa:00:02"


def by_hand(*vids: int) -> Lab:
    """One port group and VM per VID on esx1, without isthmus; the VMs are v0, v1..."""
    world = two_hosts(OVSVAPP)
    dvs = next(iter(world.vcenter.switches))
    for index, vid in enumerate(vids):
        group = world.vcenter.add_port_group(dvs, f"pg-{index}", Access(Vid(vid)) if vid else NoVlan())
        world.vcenter.create_vm(f"v{index}", world.host("esx1"), (dvs, group.key))
    return world


def test_the_switch_itself_joins_two_port_groups_of_one_vid() -> None:
    world = by_hand(7, 7, 8)
    assert world.hears("v1", frame_from="v0")
    assert not world.hears("v2", frame_from="v0")
    assert not world.hears("v0", frame_from="v2")


def test_the_isolation_audit_sees_a_vid_shared_by_two_networks() -> None:
    world = two_hosts(OVSVAPP).network("red").vms("a@esx1").network("blue").vms("x@esx1")
    assert not world.leaks()
    switch = next(iter(world.vcenter.switches.values()))
    ports = {port.nic: port for port in switch.ports.values()}
    ports[world.nic("x").id].vlan = ports[world.nic("a").id].vlan
    assert {leak.hearer_is_on for leak in world.leaks()} == {"red", "blue"}


def test_a_blocked_port_and_a_powered_off_vm_neither_hear_nor_speak() -> None:
    world = by_hand(7, 7)
    port = next(p for p in next(iter(world.vcenter.switches.values())).ports.values() if p.nic == world.nic("v1").id)
    port.blocked = True
    assert not world.hears("v1", frame_from="v0")
    assert not world.hears("v0", frame_from="v1")
    port.blocked = None
    world.vcenter.power(world.vm("v1").id, False)
    assert not world.hears("v1", frame_from="v0")


def test_a_forged_source_is_dropped_unless_the_port_group_allows_it() -> None:
    world = by_hand(7, 7)
    assert not world.send("v0", broadcast(B))
    for group in next(iter(world.vcenter.switches.values())).port_groups.values():
        group.forged_transmits = True
    assert world.send("v0", broadcast(B))


def test_a_unicast_reaches_its_owner_only_and_a_promiscuous_port() -> None:
    world = by_hand(7, 7, 7)
    to_v1 = unicast(world.nic("v0").mac, world.nic("v1").mac)
    assert [heard.nic.vm for heard in world.send("v0", to_v1)] == ["vm-v1"]
    next(iter(world.vcenter.switches.values())).port_groups[
        world.nic("v2").backing.port_group  # type: ignore[union-attr]
    ].promiscuous = True
    assert {heard.nic.vm for heard in world.send("v0", to_v1)} == {"vm-v1", "vm-v2"}


def test_a_trunk_port_hears_the_tag_and_only_those_in_its_range() -> None:
    world = by_hand(7, 8)
    dvs = next(iter(world.vcenter.switches))
    trunk = world.vcenter.add_port_group(dvs, "trunk", Trunk(VidSet.of([7])))
    world.vcenter.create_vm("t", world.host("esx1"), (dvs, trunk.key))
    assert [h.frame.vid for h in world.ways("t", frame_from="v0")] == [7]
    assert not world.ways("t", frame_from="v1")


def test_a_switch_without_uplinks_ends_at_its_host() -> None:
    world = by_hand(7, 7)
    world.vcenter.move(world.vm("v1").id, world.host("esx2"))
    assert not world.hears("v1", frame_from="v0")
    next(iter(world.vcenter.switches.values())).uplink_vids = VidSet.of([7])
    assert world.hears("v1", frame_from="v0")


def test_a_freed_port_is_handed_out_again_reset_and_with_another_cookie() -> None:
    world = by_hand(7)
    switch = next(iter(world.vcenter.switches.values()))
    before = world.nic("v0").backing
    switch.ports[before.port_key].vlan = Access(Vid(9))  # type: ignore[union-attr]
    world.vcenter.destroy(world.vm("v0").id)
    world.vcenter.create_vm("w", world.host("esx1"), (switch.id, before.port_group))  # type: ignore[union-attr]
    after = world.nic("w").backing
    assert after.port_key == before.port_key  # type: ignore[union-attr]
    assert after.cookie != before.cookie  # type: ignore[union-attr]
    assert switch.ports[after.port_key].vlan is None  # type: ignore[union-attr]


def test_a_standard_switch_resolves_the_name_anew_at_each_host() -> None:
    world = two_hosts(OVSVAPP_VSS).network("red").vms("a@esx1", "b@esx2")
    groups = [world.vcenter.hosts[world.host(name)].standard["tenant"].port_groups for name in ("esx1", "esx2")]
    groups[1]["red"].vlan = Access(Vid(199))
    world.settle()
    world.migrate("a", to="esx2", announced=False)
    assert world.ways("b", frame_from="a")[0].vids == (world.ways("a", frame_from="b")[0].vids)
    del groups[0]["red"]
    with pytest.raises(CannotMove):
        world.vcenter.move(world.vm("a").id, world.host("esx1"))


def test_a_leaf_sends_a_mac_with_a_remote_entry_there_and_nowhere_else() -> None:
    world = two_hosts(VDS_STATIC)
    leaf = world.nve("leaf1")
    leaf.entries = {e.key: e for e in (LeafBinding(Vid(7), Vni(5)), LeafUnicast(Vni(5), Mac(B), "192.0.2.9"))}
    (way,) = leaf.from_host(world.host("esx1"), tagged(unicast(A, B), Vid(7)))
    assert way == ToVtep("192.0.2.9", Vni(5), unicast(A, B))
    assert leaf.from_host(world.host("esx1"), tagged(unicast(A, B), Vid(8))) == []


def appliance(*flows: Flow) -> WireOvs:
    nve = WireOvs(HostId("h"), "192.0.2.1", VirtualClock())
    nve.ready = True
    nve.entries = {flow.key: flow for flow in flows}
    return nve


def test_an_appliance_obeys_the_highest_priority_and_never_echoes_unless_told() -> None:
    frame = tagged(unicast(A, B), Vid(7))
    low = Flow(Bridge.INT, 0, 1, Match(), (Output(FlowPort.TRUNK, back=True),))
    high = Flow(Bridge.INT, 0, 2, Match(vid=Vid(7)), (Output(FlowPort.TRUNK),))
    assert appliance(low, high).from_host(HostId("h"), frame) == []
    assert appliance(low).from_host(HostId("h"), frame) == [ToHost(HostId("h"), frame)]
    assert appliance(high).from_host(HostId("h"), tagged(frame, Vid(8))) == []


def test_a_resubmit_comes_back_and_a_goto_does_not() -> None:
    frame = tagged(unicast(A, B), Vid(7))
    there = Flow(Bridge.INT, 5, 1, Match(), (SetVid(Vid(9)), Output(FlowPort.TRUNK, back=True)))
    both = (Resubmit(5), SetVid(Vid(8)), Output(FlowPort.TRUNK, back=True))
    ways = appliance(there, Flow(Bridge.INT, 0, 1, Match(), both)).from_host(HostId("h"), frame)
    assert [way.frame.vid for way in ways] == [9, 8]
    loop = Flow(Bridge.INT, 0, 1, Match(), (Goto(0),))
    with pytest.raises(AssertionError, match="loop"):
        appliance(loop).from_host(HostId("h"), frame)


def test_a_learnt_vtep_pre_empts_until_its_time_is_over() -> None:
    learn = Flow(Bridge.TUN, 0, 9, Match(tun_id=Vni(5)), (LearnVtep(19, Vid(7), Vni(5), 30), PushVid(Vid(7))))
    out = Flow(Bridge.INT, 0, 1, Match(), (Output(FlowPort.PATCH),))
    look = Flow(Bridge.TUN, 0, 1, Match(in_port=FlowPort.PATCH), (Goto(19),))
    miss = Flow(Bridge.TUN, 19, 0, Match(), (PopVid(),))
    nve = appliance(learn, out, look, miss)
    nve.from_underlay(5, "192.0.2.9", rarp(B))
    frame = tagged(unicast(A, B), Vid(7))
    assert nve.from_host(HostId("h"), frame) == [ToVtep("192.0.2.9", Vni(5), tagged(frame, None))]
    nve.clock.advance(31)
    assert nve.from_host(HostId("h"), frame) == []
