"""A leaf takes one VTEP per MAC: one that is at several is left to flooding, which finds it at all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.core.design import VDS_LEAF, VDS_STATIC, Design
from isthmus.model.intent import AllowedPair
from isthmus.model.names import Mac, PortId
from isthmus.model.nve import LeafUnicast
from lab.wire.frames import unicast
from lab.wire.world import HostSpec, Lab

BELOW_LEAVES = pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)
LEAVES = ("leaf1", "leaf2", "leaf3")
VIRTUAL = Mac("00:00:5e:00:01:01")


def world(design: Design) -> Lab:
    """Two hosts below the first of three leaves, one below each of the others."""
    hosts = (HostSpec("esx1"), HostSpec("esx2"), HostSpec("esx3", "c2", "leaf2"), HostSpec("esx4", "c3", "leaf3"))
    return Lab(design, hosts, switch_per_cluster=design is VDS_LEAF).network("red", ports_listed=True)


def pair(lab: Lab, mac: Mac, *names: str) -> None:
    """These VMs may send from a MAC, and hear what is for it."""
    for name in names:
        port = PortId(f"port-{name}")
        lab.intent.ports[port] = replace(lab.intent.ports[port], allowed_pairs=(AllowedPair(mac, "10.0.0.100"),))
    for group in lab.groups_of_ours():
        group.mac_learning = group.forged_transmits = True
    lab.settle()


def hearers(lab: Lab, mac: Mac, *, frame_from: str) -> set[str]:
    heard = lab.send(frame_from, unicast(lab.nic(frame_from).mac, mac))
    return {str(each.nic.vm).removeprefix("vm-") for each in heard}


def remote(lab: Lab, leaf: str) -> dict[Mac, str]:
    entries = lab.nve(leaf).entries.values()
    return {entry.mac: entry.vtep for entry in entries if isinstance(entry, LeafUnicast)}


def warnings(lab: Lab) -> set[str]:
    return {text for loop in lab.loops.values() for text in loop.think().warnings}


@BELOW_LEAVES
def test_the_virtual_mac_of_routers_below_two_leaves_is_heard_at_both_from_below_each_and_from_a_third(
    design: Design,
) -> None:
    lab = world(design).vms("a@esx1", "next@esx2", "b@esx3", "c@esx4")
    pair(lab, VIRTUAL, "a", "b")
    for name in ("a", "next", "b", "c"):
        assert hearers(lab, VIRTUAL, frame_from=name) >= {"a", "b"} - {name}
    assert not any(VIRTUAL in remote(lab, leaf) for leaf in LEAVES)
    assert remote(lab, "leaf3")[lab.nic("a").mac] == lab.nve("leaf1").vtep, "what is its own is where it was"
    assert not warnings(lab), "a pair that several ports have is normal use"


@BELOW_LEAVES
def test_a_clone_below_another_leaf_takes_nothing_away_from_its_original_until_one_of_them_has_gone(
    design: Design,
) -> None:
    lab = world(design).vms("a@esx1", "next@esx2", "far@esx3", "c@esx4")
    mac = lab.nic("a").mac
    lab.boot("clone", "esx3", "red", mac=mac)
    lab.settle()
    for name in ("next", "far", "c"):
        assert hearers(lab, mac, frame_from=name) == {"a", "clone"}
    assert not any(mac in remote(lab, leaf) for leaf in LEAVES)
    assert all("VM a (NIC a:4000), VM clone (NIC clone:4000) carry one MAC" in text for text in warnings(lab))
    assert warnings(lab)
    lab.vcenter.power(lab.vm("a").id, on=False)
    lab.settle()
    assert [remote(lab, leaf).get(mac) for leaf in LEAVES] == [lab.nve("leaf2").vtep, None, lab.nve("leaf2").vtep]
    assert hearers(lab, mac, frame_from="next") == {"clone"}
    assert not warnings(lab)


@BELOW_LEAVES
def test_a_pair_with_the_own_mac_of_another_is_no_way_to_draw_its_frames_away_and_is_named(design: Design) -> None:
    lab = world(design).vms("a@esx1", "next@esx2", "b@esx3", "c@esx4")
    mac = lab.nic("a").mac
    pair(lab, mac, "b")
    for name in ("next", "b", "c"):
        assert "a" in hearers(lab, mac, frame_from=name)
    assert not any(mac in remote(lab, leaf) for leaf in LEAVES)
    assert {text.partition(" carry")[0] for text in warnings(lab)} == {
        "network red: VM a (NIC a:4000), VM b (NIC b:4000) by an allowed pair"
    }


def test_one_mac_twice_below_one_leaf_is_where_it_is_also_for_the_others() -> None:
    lab = world(VDS_STATIC).vms("a@esx1", "c@esx4")
    lab.boot("clone", "esx2", "red", mac=lab.nic("a").mac)
    lab.settle()
    assert [remote(lab, leaf).get(lab.nic("a").mac) for leaf in LEAVES] == [None, *[lab.nve("leaf1").vtep] * 2]


@BELOW_LEAVES
def test_the_virtual_mac_of_a_router_below_a_leaf_and_one_on_a_kvm_host_is_at_both(design: Design) -> None:
    lab = world(design).vms("a@esx1", "b@esx3", "c@esx4")
    kvm = lab.intent.add_peer("red", "192.0.2.77", Mac("fa:16:3e:00:00:77"))
    lab.intent.peers = [replace(kvm, pairs=(VIRTUAL,))]
    pair(lab, VIRTUAL, "a")
    assert not any(VIRTUAL in remote(lab, leaf) for leaf in LEAVES), "either of them may have it now"
    assert not warnings(lab), "a pair that several ports have is normal use"
    lab.intent.peers = [replace(kvm, pairs=(lab.nic("b").mac,))]
    lab.settle()
    assert lab.nic("b").mac not in remote(lab, "leaf3")
    assert any("a member at VTEP 192.0.2.77 by an allowed pair" in text for text in warnings(lab))


@BELOW_LEAVES
def test_a_virtual_mac_that_only_a_member_outside_vsphere_has_is_found_there(design: Design) -> None:
    lab = world(design).vms("a@esx1")
    kvm = lab.intent.add_peer("red", "192.0.2.77", Mac("fa:16:3e:00:00:77"))
    lab.intent.peers = [replace(kvm, pairs=(VIRTUAL,))]
    lab.settle()
    assert remote(lab, "leaf1")[VIRTUAL] == "192.0.2.77"
