"""Leaves that find out by themselves who is where (BGP EVPN), and on which nothing says whose it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.adapters.leaf.pair import LeafPair
from isthmus.core.design import VDS_LEAF, VDS_STATIC, Design
from isthmus.core.explain import explain
from isthmus.model.change import AlterPortGroup, Outcome
from isthmus.model.names import LeafId
from isthmus.model.nve import LeafBinding
from isthmus.model.observed import Access, Observed
from isthmus.model.shard import World
from isthmus.model.tags import Vid, Vni
from lab.wire.leaf import WireLeaf
from lab.wire.world import Lab, Unsettled, two_racks

STRANGE = Vni(999_999)


def leaves(lab: Lab) -> list[WireLeaf]:
    return [nve for nve in lab.nves.values() if isinstance(nve, WireLeaf)]


def learning(design: Design = VDS_STATIC) -> Lab:
    lab = two_racks(design, switch_per_cluster=design is VDS_LEAF)
    for leaf in leaves(lab):
        leaf.fellows = leaves(lab)
    return lab


def bound(leaf: WireLeaf) -> set[tuple[int, int]]:
    return {(entry.vid, entry.vni) for entry in leaf.entries.values() if isinstance(entry, LeafBinding)}


@pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)
def test_they_are_told_bindings_alone_and_vms_hear_each_other(design: Design) -> None:
    lab = learning(design).network("red").vms("a@esx1", "c@esx3").network("blue").vms("b@esx2", "d@esx3")
    for leaf in leaves(lab):
        assert leaf.entries
        assert all(isinstance(entry, LeafBinding) for entry in leaf.entries.values())
    assert lab.hears("c", frame_from="a")
    assert lab.hears("d", frame_from="b")
    assert not lab.hears("b", frame_from="a")
    assert not lab.hears("d", frame_from="a")


def test_a_vm_that_moves_costs_them_nothing() -> None:
    lab = learning().network("red").vms("a@esx1", "b@esx2")
    before = [leaf.writes for leaf in leaves(lab)]
    lab.vcenter.announce(lab.vm("b").id, lab.host("esx3"))
    lab.settle()
    lab.vcenter.complete(lab.vm("b").id)
    lab.settle()
    assert lab.hears("b", frame_from="a")
    assert [leaf.writes for leaf in leaves(lab)] == before


def test_what_maps_a_vni_that_nobody_of_ours_has_is_left_alone_and_its_vid_is_not_given_out() -> None:
    lab = learning()
    leaf = leaves(lab)[0]
    theirs = LeafBinding(Vid(100), STRANGE)
    leaf.entries[theirs.key] = theirs
    for name in ("red", "blue", "green"):
        lab.network(name)
    assert leaf.entries[theirs.key] == theirs
    assert all(vid != 100 for vid, vni in bound(leaf) if vni != STRANGE)
    for loop in lab.loops.values():
        assert any("maps VID 100 to VNI 999999" in text for text in loop.think().warnings)


def test_a_network_that_went_while_nobody_looked_is_known_by_its_port_group_and_forgotten() -> None:
    lab = learning().network("red")
    lab.intent.remove_network("red")
    for loop in lab.loops.values():
        loop.restart()
    lab.settle()
    assert [bound(leaf) for leaf in leaves(lab)] == [set(), set()]
    groups = [group for switch in lab.vcenter.switches.values() for group in switch.port_groups.values()]
    assert [group.name for group in groups if group.mark is not None] == []


def test_a_network_that_got_another_vni_is_forgotten_under_the_first() -> None:
    lab = learning().network("red").vms("a@esx1", "c@esx3")
    first = lab.intent.networks["red"].vni  # type: ignore[index]
    lab.intent.renumber("red")
    lab.settle()
    for leaf in leaves(lab):
        assert first not in {vni for _, vni in bound(leaf)}
    assert lab.hears("c", frame_from="a")


def test_a_binding_that_a_hand_took_away_or_gave_to_another_is_put_back() -> None:
    lab = learning().network("red").vms("a@esx1", "c@esx3").network("blue")
    leaf = leaves(lab)[0]
    before = bound(leaf)
    (vid, _), (_, blue) = sorted(before)
    leaf.entries.clear()
    wrong = LeafBinding(Vid(vid), Vni(blue))
    leaf.entries[wrong.key] = wrong
    lab.settle()
    assert bound(leaf) == before
    assert lab.hears("c", frame_from="a")


def test_two_networks_that_a_hand_swapped_on_a_leaf_are_put_back() -> None:
    """Each VNI is in the other's way, and none is taken off that is not named."""
    lab = learning().network("red").vms("a@esx1", "c@esx3").network("blue").vms("b@esx1", "d@esx3")
    leaf = leaves(lab)[0]
    before = bound(leaf)
    (one, first), (two, second) = sorted(before)
    for wrong in (LeafBinding(Vid(one), Vni(second)), LeafBinding(Vid(two), Vni(first))):
        leaf.entries[wrong.key] = wrong
    lab.settle()
    assert bound(leaf) == before
    assert lab.hears("c", frame_from="a")
    assert not lab.hears("d", frame_from="a")


def paired(lab: Lab) -> tuple[WireLeaf, WireLeaf]:
    """The first leaf, and one that is told with it from now on."""
    first = leaves(lab)[0]
    second = WireLeaf(LeafId(first.id.name), first.vtep, [], lab.clock)
    second.fellows = first.fellows
    for loop in lab.loops.values():
        if first.id in loop.targets:
            loop.targets = {**loop.targets, first.id: LeafPair([("first", first), ("second", second)])}
    lab.settle()
    return first, second


@pytest.mark.parametrize("odd", [0, 1])
def test_a_strangers_vni_on_one_switch_of_a_pair_is_left_alone_and_the_network_gets_another_vid(odd: int) -> None:
    lab = learning().network("red").vms("a@esx1", "c@esx3")
    pair = paired(lab)
    assert bound(pair[0]) == bound(pair[1])
    [(vid, red)] = bound(pair[0])
    theirs = LeafBinding(Vid(vid), STRANGE)
    pair[odd].entries[theirs.key] = theirs
    lab.settle()
    assert pair[odd].entries[theirs.key] == theirs
    [(other, vni)] = bound(pair[1 - odd])
    assert (vni, other != vid) == (red, True)
    assert bound(pair[odd]) == {(vid, STRANGE), (other, red)}
    assert any(f"maps VID {vid} to VNI 999999" in text for loop in lab.loops.values() for text in loop.think().warnings)


@pytest.mark.parametrize("odd", [0, 1])
def test_another_network_of_ours_on_one_switch_of_a_pair_is_put_right(odd: int) -> None:
    lab = learning().network("red").vms("a@esx1", "c@esx3").network("blue")
    pair = paired(lab)
    before = bound(pair[0])
    (one, first), (two, second) = sorted(before)
    for wrong in (LeafBinding(Vid(one), Vni(second)), LeafBinding(Vid(two), Vni(first))):
        pair[odd].entries[wrong.key] = wrong
    outcomes = {result.outcome for loop in lab.loops.values() for result in loop.run_once().results.values()}
    assert outcomes == {Outcome.DONE}, "each is forgotten before the other is learnt"
    assert bound(pair[0]) == bound(pair[1]) == before


def worn(lab: Lab) -> dict[str, int]:
    return {group.name: group.vlan.vid for group in lab.groups_of_ours() if isinstance(group.vlan, Access)}


def test_a_network_whose_vid_one_leaf_does_not_take_keeps_it_and_waits_there_alone() -> None:
    """The leaf was replaced by an empty one."""
    lab = learning().network("red").vms("a@esx1", "c@esx3", "d@esx3").network("blue")
    one, two = leaves(lab)
    groups, before = worn(lab), bound(two)
    one.unfit = {vid for vid, _ in before}
    one.entries.clear()
    with pytest.raises(Unsettled):
        lab.settle()
    assert (worn(lab), bound(one), bound(two)) == (groups, set(), before)
    assert lab.hears("d", frame_from="c")
    [loop] = lab.loops.values()
    assert {result.detail for result in loop.run_once().results.values()} == {
        f"VID {vid} of {one.id} was not taken a while ago" for vid, _ in before
    }
    one.unfit.clear()
    lab.settle()
    assert (worn(lab), bound(one)) == (groups, before)
    assert lab.hears("c", frame_from="a")


def test_a_vid_that_a_leaf_does_not_take_is_given_to_no_network_that_has_none() -> None:
    lab = learning().network("red")
    [(vid, red)] = bound(leaves(lab)[0])
    lab.intent.remove_network("red")
    lab.settle()
    leaves(lab)[1].unfit = {Vid(vid)}
    lab.network("red", vni=red).vms("a@esx1", "c@esx3")
    assert worn(lab)["red"] != vid
    assert lab.hears("c", frame_from="a")


def taken(lab: Lab, *vids: int) -> None:
    """These are a stranger's on the first leaf, which has nothing of ours any more."""
    one = leaves(lab)[0]
    one.entries.clear()
    one.foreign = {Vid(vid): STRANGE for vid in vids}


def unmet(lab: Lab) -> dict[str, str]:
    return {unmet.about: unmet.reason for loop in lab.loops.values() for unmet in loop.think().unmet}


def test_networks_whose_vids_somebody_has_on_one_leaf_go_on_at_the_others_while_there_are_no_other_vids() -> None:
    lab = learning().network("red").vms("a@esx1", "c@esx3", "d@esx3").network("blue").vms("b@esx1", "e@esx3")
    one, two = leaves(lab)
    [loop] = lab.loops.values()
    groups, before = worn(lab), bound(two)
    taken(lab, *range(1, 4095))
    lab.settle()
    assert (worn(lab), bound(one), bound(two)) == (groups, set(), before)
    assert lab.hears("d", frame_from="c")
    assert not lab.hears("e", frame_from="c")
    assert not lab.hears("a", frame_from="c")
    assert not lab.hears("c", frame_from="a")
    assert sum("no VID left of" in reason for reason in unmet(lab).values()) == len(groups)
    seen = Observed({target.id: target.observe() for target in loop.targets.values()})
    world = World(loop.shard, lab.intent.read(), lab.inventory.read())
    why = {report.nic: report.why for report in explain(lab.design, world, seen, lab.pool, lab.clock.now)[0]}
    assert {name for name in "abcde" if not why[lab.nic(name).id]} == {"c", "d", "e"}
    assert "no VID left of" in why[lab.nic("a").id]
    one.foreign.clear()
    lab.settle()
    assert (worn(lab), bound(one), unmet(lab)) == (groups, before, {})
    assert lab.hears("c", frame_from="a")


def test_an_assigned_vid_that_somebody_has_on_one_leaf_goes_on_meaning_its_network_at_the_others() -> None:
    lab = learning()
    [loop] = lab.loops.values()
    assert loop.shard.scope is not None
    lab.intent.add_network("red", vni=5001, assigned={loop.shard.scope: Vid(150)})
    lab.settle().vms("a@esx1", "c@esx3", "d@esx3", network="red")
    one, two = leaves(lab)
    taken(lab, 150)
    lab.settle()
    assert (worn(lab), bound(one), bound(two)) == ({"red": 150}, set(), {(150, 5001)})
    assert lab.hears("d", frame_from="c")
    assert any(f"VID 150 is assigned to it but still worn by {one.id}" in reason for reason in unmet(lab).values())
    lab.intent.remove_network("red")
    lab.settle()
    assert bound(two) == {(150, 5001)}, "VMs are in it"


def test_a_vid_that_is_a_strangers_in_vcenter_means_a_network_at_no_leaf_whoever_has_it_there() -> None:
    lab = learning().network("red").vms("a@esx1", "c@esx3", "d@esx3")
    taken(lab, *range(1, 4095))
    lab.settle()
    assert lab.hears("d", frame_from="c")
    [dvs] = lab.vcenter.switches
    lab.vcenter.add_port_group(dvs, "theirs", Access(Vid(worn(lab)["red"])))
    lab.settle()
    assert bound(leaves(lab)[1]) == set()


def test_a_vid_that_two_networks_wear_means_neither_where_somebody_has_it_on_another_leaf() -> None:
    lab = learning().network("red").vms("a@esx1", "c@esx3").network("blue").vms("b@esx1", "e@esx3")
    taken(lab, *range(1, 4095))
    red, blue = sorted(lab.groups_of_ours(), key=lambda group: group.name != "red")
    blue.vlan = red.vlan
    lab.settle()
    assert bound(leaves(lab)[1]) == set()


def test_a_network_that_is_assigned_another_vid_goes_to_it_wherever_nobody_wears_that() -> None:
    lab = learning()
    [loop] = lab.loops.values()
    assert loop.shard.scope is not None
    red = lab.intent.add_network("red", assigned={loop.shard.scope: Vid(150)})
    lab.settle().vms("a@esx1", "c@esx3", network="red")
    lab.intent.networks[red.id] = replace(red, assigned={loop.shard.scope: Vid(160)})
    lab.settle()
    assert worn(lab) == {"red": 160}
    assert [bound(leaf) for leaf in leaves(lab)] == [{(160, red.vni)}] * 2
    assert lab.hears("c", frame_from="a")


def test_a_port_group_that_is_to_leave_a_vid_of_its_own_is_for_the_guard_and_one_that_has_anothers_is_not() -> None:
    """Neutron was restored from a backup, say: where many are to, the intent may be what is wrong."""
    lab = learning()
    [loop] = lab.loops.values()
    assert loop.shard.scope is not None
    red = lab.intent.add_network("red", assigned={loop.shard.scope: Vid(150)})
    lab.settle()
    lab.intent.networks[red.id] = replace(red, assigned={loop.shard.scope: Vid(160)})
    assert guarded_retags(lab) == [True]
    lab.intent.networks[red.id] = red
    [group] = lab.groups_of_ours()
    lab.vcenter.add_port_group(next(iter(lab.vcenter.switches)), "theirs", Access(Vid(170)))
    group.vlan = Access(Vid(170))
    assert guarded_retags(lab) == [False]


def guarded_retags(lab: Lab) -> list[bool]:
    [loop] = lab.loops.values()
    return [change.guarded for change in loop.think().plan.changes if isinstance(change.action, AlterPortGroup)]


def test_of_two_port_groups_of_a_network_the_lesser_keeps_no_vid_that_the_network_has_left() -> None:
    """Somebody copied it, with its mark, and a NIC is still in the copy."""
    lab = learning().network("red").vms("a@esx1", "b@esx2", "c@esx3", "d@esx1")
    [dvs], [group] = lab.vcenter.switches, lab.groups_of_ours()
    vid = worn(lab)["red"]
    copy = lab.vcenter.add_port_group(dvs, "copy", Access(Vid(vid)))
    copy.mark = group.mark
    lab.vcenter.replug(lab.nic("d").id, (dvs, copy.key))
    lab.settle()
    one, two = leaves(lab)
    one.entries.clear()
    one.foreign = {Vid(vid): STRANGE}
    lab.settle()
    [(now, _)] = bound(one)
    assert (now != vid, bound(two)) == (True, bound(one))
    assert lab.hears("c", frame_from="a")
