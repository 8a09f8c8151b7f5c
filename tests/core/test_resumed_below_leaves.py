"""A deployment below leaves that is released and resumed has its port groups again as they are, and no leaf forgets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from isthmus.core.design import OVSVAPP_CLUSTER, VDS_LEAF, VDS_STATIC, Design
from isthmus.core.handover import handover
from isthmus.core.release import hand_back
from isthmus.model.change import Change, Plan, Reconciled, Result
from isthmus.model.nve import LeafBinding, NveEntry, NveKey
from isthmus.model.observed import Access, Observed
from isthmus.model.shard import World
from isthmus.model.tags import Vid
from lab.wire.leaf import WireLeaf
from lab.wire.loop import ShardLoop
from lab.wire.vsphere import PortGroup
from lab.wire.world import Lab, two_racks

DESIGNS = pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)
MARKED = pytest.mark.parametrize("learns", [False, True], ids=["hwvtep", "without marks"])


class Remembering(WireLeaf):
    """A leaf that notes what it has lost on the way."""

    lost: set[NveEntry]

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        before: dict[NveKey, NveEntry] = dict(self.entries)
        results = super().apply(changes)
        self.lost |= {entry for key, entry in before.items() if self.entries.get(key) != entry}
        return results


def racks(design: Design, *, learns: bool = False) -> Lab:
    lab = two_racks(design, switch_per_cluster=design is VDS_LEAF)
    for leaf in leaves(lab):
        leaf.__class__, leaf.lost = Remembering, set()
        leaf.fellows = leaves(lab) if learns else None
    for name in ("red", "blue"):
        lab.network(name).vms(f"{name}1@esx1", f"{name}2@esx2", f"{name}3@esx3")
    return lab.network("empty")


def leaves(lab: Lab) -> list[Remembering]:
    return [nve for nve in lab.nves.values() if isinstance(nve, WireLeaf)]  # type: ignore[misc]


def seen(lab: Lab, loop: ShardLoop) -> tuple[World, Observed]:
    observed = Observed({target.id: target.observe() for target in loop.targets.values()})
    return World(loop.shard, lab.intent.read(), lab.inventory.read()), observed


def release(lab: Lab) -> None:
    """As an operator does it: shard after shard, until nothing of ours is marked; then nobody looks."""
    for loop in lab.loops.values():
        for _ in range(2):
            changes = hand_back(lab.design, *seen(lab, loop), lab.pool, lab.clock.now).plan.changes
            for change in changes:
                loop.targets[change.target].apply([change])
        assert not changes
        loop.restart()
    assert not lab.groups_of_ours()
    for leaf in leaves(lab):
        leaf.lost.clear()


def bound(lab: Lab) -> dict[str, set[NveEntry]]:
    return {leaf.id.name: {e for e in leaf.entries.values() if isinstance(e, LeafBinding)} for leaf in leaves(lab)}


def groups(lab: Lab) -> dict[str, PortGroup]:
    found = [group for switch in lab.vcenter.switches.values() for group in switch.port_groups.values()]
    return {group.key: group for group in found if group.mark or group.handed_back}


@MARKED
@DESIGNS
def test_no_leaf_forgets_anything_for_a_moment_and_the_port_groups_are_the_same(design: Design, learns: bool) -> None:
    lab = racks(design, learns=learns)
    before, had = bound(lab), {key: (group.name, group.vlan) for key, group in groups(lab).items()}
    assert all(len(bindings) == 3 for bindings in before.values())
    release(lab)
    lab.settle()
    assert not [entry for leaf in leaves(lab) for entry in leaf.lost]
    assert bound(lab) == before
    assert {group.key: (group.name, group.vlan) for group in lab.groups_of_ours()} == had
    for network in ("red", "blue"):
        assert lab.hears(f"{network}2", frame_from=f"{network}1")
        assert lab.hears(f"{network}3", frame_from=f"{network}1")
    assert not lab.leaks()


def test_leaves_that_are_still_kept_go_on_sending_to_a_rack_that_is_released_and_when_it_is_resumed() -> None:
    lab = racks(VDS_LEAF)
    for leaf in leaves(lab):
        leaf.lost.clear()
    released, kept = lab.loops.values()
    for change in hand_back(lab.design, *seen(lab, released), lab.pool, lab.clock.now).plan.changes:
        released.targets[change.target].apply([change])
    released.restart()
    kept.run_once()
    assert lab.hears("red3", frame_from="red1")
    assert lab.hears("red1", frame_from="red3")
    lab.settle()
    assert not [entry for leaf in leaves(lab) for entry in leaf.lost]


@DESIGNS
def test_what_neutron_is_told_of_it_at_the_first_look_is_what_was_so_before(design: Design) -> None:
    lab = racks(design)
    before = [standing(lab, loop) for loop in lab.loops.values()]
    release(lab)
    assert [standing(lab, loop) for loop in lab.loops.values()] == before


def standing(lab: Lab, loop: ShardLoop) -> tuple[object, ...]:
    """Port groups, members, and what is worn."""
    world, observed = seen(lab, loop)
    vteps = frozenset(leaf.vtep for leaf in leaves(lab))
    told = handover(world, observed, Reconciled(Plan()), lab.clock.now, vteps)
    assert told is not None
    return told.groups, told.members, told.vnis, told.vids


@MARKED
@DESIGNS
def test_one_that_was_renamed_meanwhile_is_the_same_all_the_same(design: Design, learns: bool) -> None:
    lab = racks(design, learns=learns)
    before = bound(lab)
    release(lab)
    for key, group in groups(lab).items():
        group.name = f"my own {key}"
    lab.settle()
    assert not [entry for leaf in leaves(lab) for entry in leaf.lost if isinstance(entry, LeafBinding)]
    assert bound(lab) == before
    assert all(group.name.startswith("my own") for group in lab.groups_of_ours())
    assert lab.hears("red3", frame_from="red1")


@DESIGNS
def test_one_that_got_a_vlan_of_its_own_meanwhile_is_put_right(design: Design) -> None:
    lab = racks(design)
    before = bound(lab)
    release(lab)
    for group in groups(lab).values():
        if group.mark is None and group.handed_back is not None and group.handed_back.network == "red":
            group.vlan, group.version = Access(Vid(999)), group.version + 1
    lab.settle()
    assert {e.vni for bindings in bound(lab).values() for e in bindings if isinstance(e, LeafBinding)} == {
        e.vni for bindings in before.values() for e in bindings if isinstance(e, LeafBinding)
    }
    assert not any(e.vid == 999 for b in bound(lab).values() for e in b if isinstance(e, LeafBinding))
    assert lab.hears("red3", frame_from="red1")
    assert not lab.leaks()


@MARKED
def test_a_network_that_was_deleted_meanwhile_goes_on_for_the_vms_that_are_still_in_it(learns: bool) -> None:
    lab = racks(VDS_STATIC, learns=learns)
    vnis = {name: lab.intent.networks[name].vni for name in ("red", "empty")}  # type: ignore[index]
    release(lab)
    lab.intent.remove_network("red")
    lab.intent.remove_network("empty")
    lab.settle()
    mapped = {e.vni for bindings in bound(lab).values() for e in bindings if isinstance(e, LeafBinding)}
    assert vnis["red"] in mapped
    assert lab.hears("red2", frame_from="red1")
    if not learns:
        assert vnis["empty"] not in mapped, "nobody is in it, and it bears no mark of ours any more"
    assert {group.name for group in groups(lab).values() if group.mark is None} == {"red", "empty"}
    lab.network("new", vni=int(vnis["red"]))
    assert "new" not in {group.name for group in lab.groups_of_ours()}, "two networks would be one"


def test_below_appliances_of_a_cluster_it_is_the_same() -> None:
    lab = two_racks(OVSVAPP_CLUSTER).network("red").vms("a@esx1", "b@esx2")
    before = {group.key for group in lab.groups_of_ours()}
    release(lab)
    lab.settle()
    assert {group.key for group in lab.groups_of_ours()} == before
    assert lab.hears("b", frame_from="a")
