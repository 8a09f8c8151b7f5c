"""A VLAN that another hand gave to a tagged port group is not its network's, whoever else may wear it outside."""

from __future__ import annotations

import pytest

from isthmus.core.design import DESIGNS, Design
from isthmus.core.readback import bindings_of
from isthmus.model.change import AlterPortGroup, Change
from isthmus.model.faults import Retry
from isthmus.model.observed import Access, NveMirror
from isthmus.model.place import PlaceKind
from isthmus.model.tags import Vid
from tests.faults.trial import Trial

where_port_groups_are_tagged = pytest.mark.parametrize(
    "design",
    [design for design in DESIGNS.values() if design.place is PlaceKind.DV_PORT_GROUP],
    ids=lambda design: design.name,
)


def mapped(trial: Trial) -> set[int]:
    """The VIDs that any NVE maps."""
    mirrors = (NveMirror(nve.id, nve.entries) for nve in trial.lab.nves.values())
    return {int(vid) for mirror in mirrors for vid, _ in bindings_of(mirror)}


def put_elsewhere(trial: Trial) -> None:
    """Somebody puts a port group of ours into VLAN 3000, which the pool does not have."""
    group = trial.lab.groups_of_ours()[0]
    group.vlan = Access(Vid(3000))
    group.version += 1
    trial.lab.vcenter.changed(None)


@where_port_groups_are_tagged
def test_no_nve_learns_a_vid_of_another_hands_while_the_port_group_cannot_be_put_right(design: Design) -> None:
    trial = Trial(0, design)
    trial.furnish("red", "blue")

    def refuse(change: Change) -> None:
        if isinstance(change.action, AlterPortGroup):
            raise Retry("ConcurrentAccess")

    trial.before_write = refuse
    with trial.unwatched():  # its VMs hear nobody meanwhile: that is the hand's doing
        put_elsewhere(trial)
        trial.run(100)
        assert 3000 not in mapped(trial)
        assert any("VID 3000" in text for text in trial.conditions("unmet"))
        trial.before_write = lambda change: None
        trial.run(5)  # however often it failed
    assert 3000 not in {int(g.vlan.vid) for g in trial.lab.groups_of_ours() if isinstance(g.vlan, Access)}
    trial.rest()
    assert trial.conditions("unmet") == []
    trial.end()
