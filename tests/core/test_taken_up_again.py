"""A port group below leaves that was handed back and is taken up again: nobody loses a frame by either."""

from __future__ import annotations

import pytest

from isthmus.core.design import VDS_LEAF, VDS_STATIC, Design
from isthmus.core.release import hand_back
from isthmus.model.change import AlterPortGroup, DisownPortGroup, Forget, Reconciled
from isthmus.model.observed import Observed
from isthmus.model.shard import World
from lab.wire.world import HostSpec, Lab


def released(design: Design) -> Lab:
    lab = Lab(design, [HostSpec("esx1"), HostSpec("esx2")]).network("red").vms("a@esx1", "b@esx2")
    assert lab.hears("a", frame_from="b")
    assert all(isinstance(change.action, DisownPortGroup) for change in handed_back(lab).plan.changes)
    assert handed_back(lab, write=True).plan
    assert not handed_back(lab).plan, "once is enough"
    return lab


def handed_back(lab: Lab, *, write: bool = False) -> Reconciled:
    """What handing back would do, or does."""
    (loop,) = lab.loops.values()
    observed = Observed({name: target.observe() for name, target in loop.targets.items()})
    world = World(loop.shard, lab.intent.read(), lab.inventory.read())
    done = hand_back(lab.design, world, observed, lab.pool, 0.0)
    for change in done.plan.changes if write else ():
        loop.targets[change.target].apply([change])
    return done


@pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)
def test_a_port_group_that_was_handed_back_is_taken_up_as_it_is(design: Design) -> None:
    lab = released(design)
    assert lab.hears("a", frame_from="b")
    (loop,) = lab.loops.values()
    [change] = loop.run_once().plan.changes
    assert isinstance(change.action, AlterPortGroup), change
    assert "its mark says nothing" in change.reason
    lab.settle()
    assert handed_back(lab).plan, "it is ours"
    assert lab.hears("a", frame_from="b")


@pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)
def test_one_whose_network_is_not_wanted_any_more_is_nobodys_of_ours(design: Design) -> None:
    lab = released(design)
    lab.intent.remove_network("red")
    (loop,) = lab.loops.values()
    plan = loop.run_once().plan
    assert {type(change.action) for change in plan.changes} == {Forget}
