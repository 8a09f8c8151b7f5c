"""What an operator should know of a shard now: each condition stays until its cause is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from isthmus.app import describing
from isthmus.app.keeper import Remark, Round
from isthmus.model.change import Change
from isthmus.model.observed import NveMirror, TargetId, Unknown


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """Something that is not as it should be.

    Kinds: fault (a bug), waiting (the shard cannot be thought through), unknown (a target cannot be read), stale (a
    source does not answer), unmet, warning, held (by the guard), failed (a change that could not be made and is tried
    again), refused, by hand (left as another hand made it).
    """

    kind: str
    about: str
    reason: str


def conditions_of(
    done: Round, named: Callable[[TargetId], str] = str, remarks: Iterable[Remark] = ()
) -> tuple[Condition, ...]:
    """The conditions that a round leaves, and what is remarked beside the rounds."""
    beside = (Condition("warning", remark.about, remark.reason) for remark in remarks)
    return tuple(sorted({*_conditions(done, named), *beside}))


def _conditions(done: Round, named: Callable[[TargetId], str]) -> Iterator[Condition]:
    if done.last is None:
        yield Condition("waiting", "shard", done.reason)
        return
    last = done.last
    for target, mirror in last.observed.targets.items():
        if isinstance(mirror, Unknown):
            yield Condition("unknown", named(target), mirror.reason)
        elif isinstance(mirror, NveMirror):
            for warning in mirror.warnings:
                yield Condition("warning", named(target), warning)
    intent = last.world.intent
    if not intent.fresh and last.world.shard.scope not in intent.unsure:  # what it is unsure of is a doubt
        # The age grows with every look: it is shown beside the sources, not here, where it would look like news.
        yield Condition("stale", "sources", "the last good answer stays in force; nothing is deleted meanwhile")
    for doubt in intent.doubts:
        yield Condition("unmet", doubt.about, doubt.reason)
    for unmet in last.thought.unmet:
        yield Condition("unmet", unmet.about, unmet.reason)
    for warning in last.thought.warnings:
        yield Condition("warning", "shard", warning)
    for change in last.held:
        yield Condition("held", f"{named(change.target)}: {describing.action(change.action)}", _held(change))
    for left in last.left:
        if not left.silent:
            yield Condition(
                "by hand", f"{named(left.change.target)}: {describing.action(left.change.action)}", left.reason
            )
    for item in last.deferred:
        if item.reason:
            what = f"{named(item.change.target)}: {describing.action(item.change.action)}"
            yield Condition("refused" if item.refused else "failed", what, item.reason)


def _held(change: Change) -> str:
    return f"waits for apply --agree: {change.reason}"
