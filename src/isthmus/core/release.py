"""Hand a shard back: what it made stays open and working, and no longer says that it is ours.

Ports and NVEs carry no mark of their own, so only a shard that writes port groups has anything to do.  Its switch's tag
shards must have been released before: to them, NICs in a port group without our mark are strangers.
"""

from __future__ import annotations

from isthmus.core.design import Design
from isthmus.core.draft import Draft
from isthmus.core.view import look, switch_target
from isthmus.model.change import DisownPortGroup, Reconciled
from isthmus.model.observed import Observed
from isthmus.model.shard import Duty, VidPool, World


def hand_back(design: Design, world: World, observed: Observed, pool: VidPool, now: float) -> Reconciled:
    """The plan that leaves no mark of ours in this shard; empty once that is so.  Arguments as for `reconcile`."""
    view = look(design, world, observed, pool)
    draft = Draft()
    if Duty.PORT_GROUPS in world.shard.duties:
        for (dvs, key), mark in sorted(view.marks.items()):
            marked = view.switches[dvs].port_groups[key].mark is not None
            if marked and dvs in world.shard.switches and switch_target(dvs) in view.known:
                draft.add(switch_target(dvs), DisownPortGroup(dvs, key, mark), "the shard was released")
    return Reconciled(draft.plan(), tuple(draft.unmet))
