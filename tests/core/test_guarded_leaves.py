"""What leaves forget of networks that nobody wants waits with their port groups for an operator's word."""

from __future__ import annotations

from collections import Counter

import pytest

from isthmus.core.design import OVSVAPP_CLUSTER, OVSVAPP_VSS, VDS_LEAF, VDS_STATIC, Design
from isthmus.core.guard import Consent, Limits, held_back
from isthmus.model.change import Action, AlterPortGroup, Change, Forget, Plan, PortGroupSpec, RemovePortGroup
from isthmus.model.names import DvsId, NetworkId
from isthmus.model.nve import LeafBinding
from isthmus.model.observed import Access, OwnerMark, TargetId
from isthmus.model.tags import Vid, Vni
from lab.wire.leaf import WireLeaf
from lab.wire.world import Lab, two_racks

DESIGNS = pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)
NONE, MANY = Limits(few=0, share=0.0), 1000


def world(design: Design, networks: int = 4) -> Lab:
    lab = two_racks(design, switch_per_cluster=design is VDS_LEAF)
    for number in range(networks):
        lab.network(f"n{number}")
    return lab


def kept_by_the_guard(lab: Lab, limits: Limits) -> Counter[str]:
    """Let every shard do all that the guard lets through; the kinds of what it holds back."""
    held: Counter[str] = Counter()
    for loop in lab.loops.values():
        for _ in range(4):
            plan, waiting = held_back(loop.think().plan, limits, MANY)
            for change in plan.changes:
                loop.targets[change.target].apply([change])
        held.update(type(change.action).__name__ for change in waiting)
    return held


def bindings(lab: Lab) -> dict[str, set[tuple[int, int]]]:
    return {
        nve.id.name: {(int(e.vid), int(e.vni)) for e in nve.entries.values() if isinstance(e, LeafBinding)}
        for nve in lab.nves.values()
    }


def empty(lab: Lab) -> None:
    for name in list(lab.intent.networks):
        lab.intent.remove_network(name)


@DESIGNS
def test_when_the_intent_is_emptied_no_leaf_forgets_before_an_operator_agrees(design: Design) -> None:
    lab = world(design)
    before = bindings(lab)
    assert all(len(each) == 4 for each in before.values())
    empty(lab)
    held = kept_by_the_guard(lab, NONE)
    assert held["RemovePortGroup"] == len(lab.groups_of_ours())
    assert held["Forget"] == 8, "four networks at each of two leaves"
    assert bindings(lab) == before, "a machine that is no VM has its networks still"
    assert not kept_by_the_guard(lab, Limits(1000))
    assert not any(bindings(lab).values())
    assert not lab.groups_of_ours()


@pytest.mark.parametrize("learns", [False, True], ids=["hwvtep", "without marks"])
def test_a_network_counts_by_its_port_groups_and_not_by_its_leaves(learns: bool) -> None:
    lab = world(VDS_STATIC)
    leaves = [nve for nve in lab.nves.values() if isinstance(nve, WireLeaf)]
    for leaf in leaves:
        leaf.fellows = leaves if learns else None
    groups = len(lab.groups_of_ours())
    empty(lab)
    before = bindings(lab)
    assert kept_by_the_guard(lab, Limits(groups - 1, 0.0))["Forget"] == 8
    assert bindings(lab) == before
    assert not kept_by_the_guard(lab, Limits(groups, 0.0))
    assert not any(bindings(lab).values())


@pytest.mark.parametrize("design", [OVSVAPP_CLUSTER, OVSVAPP_VSS], ids=lambda design: design.name)
def test_appliances_forget_with_their_port_groups_as_well(design: Design) -> None:
    lab = world(design)
    before = {place: dict(nve.entries) for place, nve in lab.nves.items()}
    empty(lab)
    assert kept_by_the_guard(lab, NONE)["Forget"]
    assert {place: dict(nve.entries) for place, nve in lab.nves.items()} == before
    lab.settle()
    assert not lab.groups_of_ours()


@DESIGNS
def test_a_vid_that_means_something_else_by_now_is_forgotten_without_a_word(design: Design) -> None:
    """A hand gave the VID of a deleted network's port group to one of its own."""
    lab = world(design, networks=1)
    [group, *_] = lab.groups_of_ours()
    vid, vni = group.vlan, lab.intent.networks["n0"].vni  # type: ignore[index]
    assert isinstance(vid, Access)
    empty(lab)
    for each in lab.groups_of_ours():
        each.mark = None
    assert not kept_by_the_guard(lab, NONE)["Forget"]
    assert not any((vid.vid, vni) in each for each in bindings(lab).values())


def test_a_stale_vid_of_a_network_that_is_wanted_is_forgotten_without_a_word() -> None:
    lab = world(VDS_STATIC, networks=1)
    vni = lab.intent.networks["n0"].vni  # type: ignore[index]
    stale = LeafBinding(Vid(150), Vni(vni))
    lab.nve("leaf1").entries[stale.key] = stale
    assert not kept_by_the_guard(lab, NONE)
    assert stale not in lab.nve("leaf1").entries.values()


def test_networks_that_get_other_vnis_need_no_word() -> None:
    lab = world(VDS_STATIC)
    for name in list(lab.intent.networks):
        lab.intent.renumber(name)
    assert not kept_by_the_guard(lab, NONE)
    wanted = {int(network.vni) for network in lab.intent.networks.values()}
    assert all({vni for _, vni in each} == wanted for each in bindings(lab).values())


def test_what_comes_before_a_guarded_change_is_held_with_it_and_not_counted_beside_it() -> None:
    lab = world(VDS_STATIC, networks=1)
    empty(lab)
    [loop] = lab.loops.values()
    plan: Plan = loop.think().plan
    assert all(change.guarded for change in plan.changes)
    assert {type(change.action) for change in plan.changes} == {Forget, RemovePortGroup}
    removals = sum(isinstance(change.action, RemovePortGroup) for change in plan.changes)
    assert held_back(plan, Limits(removals, 0.0), 0) == (plan, ())
    assert held_back(plan, Limits(removals - 1, 0.0), 0) == (Plan(), plan.changes)


@DESIGNS
def test_what_was_handed_back_is_forgotten_by_no_leaf_before_an_operator_agrees(design: Design) -> None:
    """Released, and its networks deleted before it is resumed: the VIDs of its port groups are nobody's of ours now."""
    lab = world(design)
    before = bindings(lab)
    for group in lab.groups_of_ours():
        group.handed_back, group.mark = group.mark, None
    empty(lab)
    assert kept_by_the_guard(lab, NONE)["Forget"] == 8
    assert bindings(lab) == before


def test_a_vni_that_a_network_had_before_a_leaf_was_away_is_forgotten_without_a_word() -> None:
    lab = world(VDS_STATIC, networks=1)
    stale = LeafBinding(Vid(150), Vni(lab.intent.networks["n0"].vni))  # type: ignore[index]
    lab.nve("leaf1").entries = {stale.key: stale}
    before = bindings(lab)["leaf1"]
    lab.nve("leaf1").faults.down = True
    lab.intent.renumber("n0")
    kept_by_the_guard(lab, NONE)
    [group, *_] = lab.groups_of_ours()
    assert group.mark is not None
    assert {vni for _, vni in before} <= {*map(int, group.mark.was)}, "it may be there still"
    lab.nve("leaf1").faults.down = False
    assert not kept_by_the_guard(lab, NONE)
    assert not before & bindings(lab)["leaf1"]


def test_what_is_left_of_an_operators_word_lets_only_those_networks_go_that_nobody_wanted_when_he_gave_it() -> None:
    gone, wanted = (OwnerMark("isthmus", NetworkId(name), Vni(vni)) for name, vni in (("gone", 7), ("wanted", 8)))
    dvs = DvsId("dvs")
    actions: list[Action] = [
        Forget((LeafBinding(Vid(1), Vni(7)),)),
        Forget((LeafBinding(Vid(2), Vni(8)),)),
        RemovePortGroup(dvs, "1", gone),
        RemovePortGroup(dvs, "2", wanted),
        AlterPortGroup(dvs, "3", "1", PortGroupSpec("gone", gone, Vid(3))),
    ]
    plan = Plan(tuple(Change(n, TargetId("any", "any"), action, "", guarded=True) for n, action in enumerate(actions)))
    made, held = held_back(plan, NONE, MANY, Consent({NetworkId("wanted"): Vni(8)}))
    assert [change.id for change in made.changes] == [0, 2]
    assert [change.id for change in held] == [1, 3, 4]
    assert held_back(plan, Limits(3), MANY, Consent({NetworkId("wanted"): Vni(8)}))[0] == plan, "it counts the others"
