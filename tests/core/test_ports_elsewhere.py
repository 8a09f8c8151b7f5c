"""A VM whose port is on a host that is none of ours is not its port's NIC: nobody hears it, and nobody sends to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.core.attach import attach
from isthmus.core.design import DESIGNS, OVSVAPP, OVSVAPP_PORT, Design
from isthmus.core.handover import handover, overlaid
from isthmus.model.change import Plan, Reconciled
from isthmus.model.handover import Member
from isthmus.model.intent import Intent
from isthmus.model.names import NetworkId
from isthmus.model.observed import Observed
from isthmus.model.place import PlaceKind
from isthmus.model.shard import World
from lab.wire.vsphere import Port
from lab.wire.world import Lab, two_hosts, two_racks

GATED = [design for design in DESIGNS.values() if design.place is PlaceKind.DV_PORT]
TAGGED = [design for design in DESIGNS.values() if design.place is PlaceKind.DV_PORT_GROUP]
KVM = "is bound on host kvm-1, not here"


def rack(design: Design) -> Lab:
    made = two_racks(design, switch_per_cluster=design.name == "vds-leaf").network("red", ports_listed=True)
    return made.vms("a@esx1", "next@esx1", "b@esx2", "c@esx3").settle()


def rounds(lab: Lab) -> None:
    """While something cannot be had the loop comes to no rest."""
    for _ in range(6):
        lab.round()


def port_of_a(lab: Lab) -> Port:
    ports = [port for switch in lab.vcenter.switches.values() for port in switch.ports.values()]
    return next(port for port in ports if port.nic == lab.nic("a").id)


def is_closed(lab: Lab) -> bool:
    """As its port group is, until we open it."""
    return port_of_a(lab).blocked is not False


def named(lab: Lab) -> set[tuple[str, str]]:
    return {(unmet.about, unmet.reason) for loop in lab.loops.values() for unmet in loop.last.unmet}


def members(lab: Lab) -> set[Member]:
    """Whom stock agents are told of."""
    vteps = frozenset(host.vtep for host in lab.vcenter.hosts.values() if host.vtep)
    found: set[Member] = set()
    for loop in lab.loops.values():
        world = World(loop.shard, lab.intent.read(), lab.inventory.read())
        seen = Observed({name: target.observe() for name, target in loop.targets.items()})
        look = overlaid if lab.design.place is PlaceKind.DV_PORT else handover
        said = look(world, seen, Reconciled(Plan()), lab.clock.now, vteps)
        found |= set() if said is None else said.members
    return found


@pytest.mark.parametrize("design", GATED, ids=lambda design: design.name)
def test_its_vm_that_still_runs_is_closed_and_named_and_wired_when_the_port_is_back(design: Design) -> None:
    lab = rack(design)
    assert lab.hears("b", frame_from="a")
    lab.intent.set_elsewhere("port-a", KVM)
    rounds(lab)
    assert is_closed(lab)
    assert (str(lab.nic("a").id), f"port port-a {KVM}") in named(lab)
    for name in ("next", "b", "c"):
        assert not lab.hears(name, frame_from="a")
        assert not lab.hears("a", frame_from=name)
    assert lab.hears("b", frame_from="next")
    lab.intent.set_elsewhere("port-a", "")
    lab.settle()
    assert not any(KVM in reason for _, reason in named(lab))
    for name in ("next", "b", "c"):
        assert lab.hears(name, frame_from="a")
        assert lab.hears("a", frame_from=name)
    assert not lab.leaks()


@pytest.mark.parametrize("design", [OVSVAPP, *TAGGED], ids=lambda design: design.name)
def test_nobody_outside_is_told_of_its_vm(design: Design) -> None:
    lab = rack(design)
    mac = lab.nic("a").mac
    assert mac in {member.mac for member in members(lab)}
    lab.intent.set_elsewhere("port-a", KVM)
    rounds(lab)
    assert mac not in {member.mac for member in members(lab)}
    assert lab.nic("next").mac in {member.mac for member in members(lab)}
    assert (str(lab.nic("a").id), f"port port-a {KVM}") in named(lab)


@pytest.mark.parametrize("design", TAGGED, ids=lambda design: design.name)
def test_a_disabled_port_below_leaves_is_not_opened_for_its_vm(design: Design) -> None:
    lab = rack(design)
    lab.intent.set_admin_up("port-a", False)
    lab.settle()
    lab.intent.set_elsewhere("port-a", KVM)
    rounds(lab)
    assert port_of_a(lab).blocked
    lab.intent.set_admin_up("port-a", True)
    lab.intent.set_elsewhere("port-a", "")
    lab.settle()
    assert lab.hears("b", frame_from="a")


def test_a_vm_that_comes_with_the_identity_of_such_a_port_is_never_wired() -> None:
    for design in (OVSVAPP, OVSVAPP_PORT):
        lab = two_hosts(design).network("red", ports_listed=True).vms("b@esx2").settle()
        lab.boot("a", "esx1", "red")
        lab.intent.set_elsewhere("port-a", "is bound on no host")
        rounds(lab)
        assert is_closed(lab)
        assert not lab.hears("b", frame_from="a")
        assert (str(lab.nic("a").id), "port port-a is bound on no host") in named(lab)


@pytest.mark.parametrize("marked", [True, False], ids=["ours", "lost its mark"])
def test_it_is_named_also_where_its_network_has_no_place_any_more(marked: bool) -> None:
    lab = rack(OVSVAPP)
    lab.intent.set_elsewhere("port-a", KVM)
    inventory, intent = lab.inventory.read(), lab.intent.read()
    nic = inventory.nics[lab.nic("a").id]
    assert nic.dvs is not None
    assert nic.port_group is not None
    (mark,) = [g.mark for g in lab.groups_of_ours() if g.key == nic.port_group]
    marks = {(nic.dvs, nic.port_group): mark}
    gone: Intent = replace(intent, networks={k: v for k, v in intent.networks.items() if k != NetworkId("red")})
    found = attach(gone, inventory, marks) if marked else attach(intent, inventory, {}, marks)
    assert nic.id not in found.by_nic
    assert (str(nic.id), f"port port-a {KVM}") in {(unmet.about, unmet.reason) for unmet in found.unmet}
