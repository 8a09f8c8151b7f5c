"""An NVE that was never read may still know any tag: until it is read, nothing new is given out where it counts."""

from __future__ import annotations

import pytest

from isthmus.core.design import CONTRAIL, DESIGNS, OVSVAPP_PORT, Design
from isthmus.model.shard import VidPool
from isthmus.model.tags import VidSet
from lab.wire.world import two_hosts, two_racks

TWO_VIDS = VidPool(VidSet.of("11-12"))


@pytest.mark.parametrize("design", [CONTRAIL, OVSVAPP_PORT], ids=lambda design: design.name)
def test_a_tag_that_only_an_unreachable_nve_knows_is_not_given_to_another_after_a_restart(design: Design) -> None:
    world = two_racks(design, TWO_VIDS).network("red").vms("a@esx1", "b@esx3").network("blue")
    world.nve("esx1").faults.down = True
    world.vcenter.destroy(world.vm("a").id)
    for loop in world.loops.values():
        loop.restart()
    world.boot("x", "esx2", "blue")
    world.settle()
    assert any("never read" in unmet.reason for loop in world.loops.values() for unmet in loop.last.unmet)

    world.vcenter.move(world.vm("x").id, world.host("esx1"))
    world.nve("esx1").faults.heal()
    assert not world.leaks()
    world.settle()
    assert not world.leaks()
    assert not [unmet for loop in world.loops.values() for unmet in loop.last.unmet]


@pytest.mark.parametrize("design", DESIGNS.values(), ids=lambda design: design.name)
def test_what_is_worn_goes_on_while_an_nve_is_unseen(design: Design) -> None:
    world = two_hosts(design).network("red").vms("a@esx1", "b@esx1")
    world.nve("esx1").faults.down = True
    for loop in world.loops.values():
        loop.restart()
    world.settle()
    assert world.hears("a", frame_from="b")
