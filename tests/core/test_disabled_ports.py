"""A port that is disabled where it is listed is closed, also where its port group is open: alone, and until enabled."""

from __future__ import annotations

import pytest

from isthmus.core.design import DESIGNS, Design
from isthmus.core.explain import PortReport, Side, explain
from isthmus.model.observed import Access, Observed
from isthmus.model.place import PlaceKind
from isthmus.model.shard import World
from isthmus.model.tags import Vid
from lab.wire.vsphere import Port
from lab.wire.world import Lab, two_racks

BY_SWITCH = [design for design in DESIGNS.values() if design.place is not PlaceKind.HOST_PORT_GROUP]
TAGGED = [design for design in BY_SWITCH if design.place is PlaceKind.DV_PORT_GROUP]


def world(design: Design) -> Lab:
    made = two_racks(design, switch_per_cluster=design.name == "vds-leaf").network("red", ports_listed=True)
    return made.vms("a@esx1", "next@esx1", "b@esx2", "c@esx3")


def disable(lab: Lab, *, up: bool = False) -> None:
    lab.intent.set_admin_up("port-a", up)
    lab.settle()


def hears_nobody(lab: Lab) -> bool:
    others = ("next", "b", "c")
    return not any(lab.hears("a", frame_from=name) or lab.hears(name, frame_from="a") for name in others)


def port_of_a(lab: Lab) -> Port:
    ports = [port for switch in lab.vcenter.switches.values() for port in switch.ports.values()]
    return next(port for port in ports if port.nic == lab.nic("a").id)


def report_of_a(lab: Lab) -> PortReport:
    for loop in lab.loops.values():
        seen = Observed({target.id: target.observe() for target in loop.targets.values()})
        world = World(loop.shard, lab.intent.read(), lab.inventory.read())
        for report in explain(lab.design, world, seen, lab.pool, lab.clock.now)[0]:
            if report.nic == lab.nic("a").id:
                return report
    raise AssertionError("nobody reports it")


@pytest.mark.parametrize("design", BY_SWITCH, ids=lambda design: design.name)
def test_it_hears_and_is_heard_by_nobody_and_all_others_go_on_until_it_is_enabled(design: Design) -> None:
    lab = world(design)
    disable(lab)
    assert hears_nobody(lab)
    for one, other in (("next", "b"), ("b", "c"), ("c", "next")):
        assert lab.hears(one, frame_from=other)
    disable(lab, up=True)
    for name in ("next", "b", "c"):
        assert lab.hears("a", frame_from=name)
        assert lab.hears(name, frame_from="a")
    if design in TAGGED:
        assert (port_of_a(lab).vlan, port_of_a(lab).blocked) == (None, None), "it has no settings of its own any more"


@pytest.mark.parametrize("design", TAGGED, ids=lambda design: design.name)
def test_opened_or_tagged_by_hand_it_is_closed_again_and_a_hand_that_closes_another_is_undone(design: Design) -> None:
    lab = world(design)
    disable(lab)
    port = port_of_a(lab)
    for vlan, blocked in ((None, None), (None, False), (Access(Vid(150)), True), (Access(Vid(150)), False)):
        port.vlan, port.blocked, port.version = vlan, blocked, port.version + 1
        lab.settle()
        assert (port.vlan, port.blocked) == (None, True)
        assert hears_nobody(lab)
    disable(lab, up=True)
    port.blocked, port.version = True, port.version + 1
    lab.settle()
    assert lab.hears("a", frame_from="next")


@pytest.mark.parametrize("design", TAGGED, ids=lambda design: design.name)
def test_a_port_group_in_which_no_port_could_be_closed_is_put_right_first(design: Design) -> None:
    lab = world(design)
    for group in lab.groups_of_ours():
        group.block_override, group.version = False, group.version + 1
    disable(lab)
    assert hears_nobody(lab)


def test_a_disabled_vm_that_moves_stays_closed_and_its_port_is_open_for_who_gets_it_next() -> None:
    lab = world(DESIGNS["vds-static"])
    disable(lab)
    lab.migrate("a", to="esx3").settle()
    assert hears_nobody(lab)
    lab.vcenter.destroy(lab.vm("a").id)
    lab.settle()
    lab.vms("d@esx1", network="red")
    assert lab.hears("d", frame_from="next")


@pytest.mark.parametrize("design", BY_SWITCH, ids=lambda design: design.name)
def test_who_asks_is_told_whether_it_is_closed_yet(design: Design) -> None:
    lab = world(design)
    lab.intent.set_admin_up("port-a", False)
    report = report_of_a(lab)
    assert (report.wired, report.behind) == (False, Side.VCENTER)
    assert report.why == "the port is administratively down, and its DV port is to be closed"
    lab.settle()
    report = report_of_a(lab)
    assert (report.wired, report.behind, report.why) == (False, Side.INTENT, "the port is administratively down")
    lab.intent.set_admin_up("port-a", True)
    lab.settle()
    lab.vcenter.power(lab.vm("a").id, on=False)
    assert report_of_a(lab).why.startswith("the VM is powered off")
