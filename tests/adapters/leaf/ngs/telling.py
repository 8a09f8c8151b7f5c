"""What the tests tell a switch, and what they find on it."""

from __future__ import annotations

from isthmus.adapters.leaf.ngs import NgsTarget
from isthmus.model.change import Change, Forget, Learn, Outcome, Result
from isthmus.model.nve import LeafBinding, NveEntry
from isthmus.model.tags import Vid, VidSet, Vni

RED, BLUE, THEIRS = Vni(5000), Vni(70_001), Vni(99_999)


def binding(vid: int, vni: Vni = RED, *, whole: bool = True) -> LeafBinding:
    return LeafBinding(Vid(vid), vni, whole)


def apply(target: NgsTarget, *actions: Learn | Forget) -> list[Result]:
    return list(target.apply([Change(number, target.id, action, "test") for number, action in enumerate(actions)]))


def done(target: NgsTarget, *actions: Learn | Forget) -> None:
    results = apply(target, *actions)
    assert {result.outcome for result in results} == {Outcome.DONE}, results


def held(target: NgsTarget) -> set[NveEntry]:
    return set(target.observe().entries.values())


def not_to_be_had(target: NgsTarget) -> VidSet:
    """The VIDs that no network gets there: somebody else's, and those that somebody would be in at once."""
    seen = target.observe()
    return seen.foreign_vids | seen.unfit
