"""Port groups that nobody wants any more go, and what a hand did to a tagged one is undone."""

from __future__ import annotations

import pytest

from isthmus.core.design import DESIGNS, OVSVAPP, OVSVAPP_VSS, Design
from isthmus.model.observed import NoVlan
from isthmus.model.place import PlaceKind
from lab.wire.world import Lab, two_hosts

TAGGED = [design for design in DESIGNS.values() if design.place is PlaceKind.DV_PORT_GROUP]


def test_a_standard_port_group_in_use_when_its_network_is_deleted_goes_with_its_last_vm() -> None:
    world = two_hosts(OVSVAPP_VSS).network("red").vms("a@esx1", "b@esx1")
    world.intent.remove_network("red")
    world.settle()
    assert world.tenant_groups("esx1") == ["red"]
    assert world.tenant_groups("esx2") == []
    assert world.hears("a", frame_from="b")
    for name in "ab":
        world.vcenter.destroy(world.vm(name).id)
    world.settle()
    assert world.tenant_groups("esx1") == []


def test_a_standard_port_group_whose_network_even_the_nve_forgot_goes() -> None:
    world = two_hosts(OVSVAPP_VSS).network("red")
    world.intent.remove_network("red")
    world.nve("esx1").restart()
    world.settle()
    assert world.tenant_groups("esx1") == []


@pytest.mark.parametrize("design", TAGGED, ids=lambda design: design.name)
def test_a_port_group_goes_with_its_network_even_if_somebody_took_its_vlan_off(design: Design) -> None:
    world = two_hosts(design).network("red")
    (group,) = world.groups_of_ours()
    group.vlan = NoVlan()
    world.intent.remove_network("red")
    world.settle()
    assert not world.groups_of_ours()


@pytest.mark.parametrize("design", TAGGED, ids=lambda design: design.name)
def test_an_override_made_by_hand_is_undone_and_costs_the_rightful_wearer_nothing(design: Design) -> None:
    world: Lab = two_hosts(design).network("red").vms("a@esx1").network("blue").vms("x@esx1")
    tag = next(group.vlan for group in world.groups_of_ours() if group.name == "blue")
    switch = next(iter(world.vcenter.switches.values()))
    port = next(port for port in switch.ports.values() if port.nic == world.nic("a").id)
    port.vlan, port.version = tag, port.version + 1
    assert world.hears("x", frame_from="a")
    world.settle()
    assert port.vlan is None
    assert not world.leaks()
    assert next(group.vlan for group in world.groups_of_ours() if group.name == "blue") == tag


def test_an_unwanted_port_group_opened_by_hand_closes_while_vms_are_still_plugged_in() -> None:
    world = two_hosts(OVSVAPP).network("red").vms("a@esx1", "b@esx1")
    world.intent.remove_network("red")
    (group,) = world.groups_of_ours()
    group.blocked, group.version = False, group.version + 1
    world.settle()
    assert group.blocked
    assert not world.hears("a", frame_from="b")
