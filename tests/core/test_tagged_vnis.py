"""A VNI is one network's where port groups carry the tag, too."""

from __future__ import annotations

import pytest

from isthmus.core.design import DESIGNS, Design
from isthmus.model.place import PlaceKind
from lab.wire.world import Lab, two_hosts

where_port_groups_are_tagged = pytest.mark.parametrize(
    "design",
    [design for design in DESIGNS.values() if design.place is PlaceKind.DV_PORT_GROUP],
    ids=lambda design: design.name,
)


def vnis(world: Lab) -> dict[str, tuple[int, ...]]:
    """By network, the VNI that its port groups have, and those they had."""
    return {g.mark.network: (int(g.mark.vni), *map(int, g.mark.was)) for g in world.groups_of_ours() if g.mark}


@where_port_groups_are_tagged
def test_a_network_waits_for_the_vni_that_the_port_group_of_a_deleted_one_still_has(design: Design) -> None:
    world = two_hosts(design).network("red", vni=5003).vms("a@esx1")
    world.intent.remove_network("red")
    world.network("green", vni=5003)
    assert vnis(world) == {"red": (5003,)}
    world.vcenter.destroy(world.vm("a").id)
    world.settle()
    assert vnis(world) == {"green": (5003,)}


@where_port_groups_are_tagged
def test_a_former_vni_is_remembered_and_given_away_when_another_network_waits_for_it(design: Design) -> None:
    world = two_hosts(design).network("red", vni=5003).vms("a@esx1")
    world.intent.renumber("red", 5006)
    world.settle()
    assert vnis(world) == {"red": (5006, 5003)}
    world.intent.add_network("green", vni=5003)
    plans = [loop.think().plan for loop in world.loops.values()]
    assert [change.asks for plan in plans for change in plan.changes] == [True]
    world.settle()  # which takes an operator's word for given
    assert vnis(world) == {"red": (5006,), "green": (5003,)}
