"""What an operator should know of a shard now: each condition stays until its cause is gone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from isthmus.app import describing
from isthmus.app.keeper import Remark, Round
from isthmus.model.change import Change, Outcome
from isthmus.model.observed import NveMirror, SwitchMirror, TargetId, Unknown


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
    target: TargetId | None = field(default=None, compare=False)
    """The far side where it was seen, if it is one's."""


def conditions_of(
    done: Round,
    named: Callable[[TargetId], str] = str,
    remarks: Iterable[Remark] = (),
    before: Iterable[Condition] = (),
) -> tuple[Condition, ...]:
    """The conditions that a round leaves, and what is remarked beside the rounds.

    While a far side is being asked or told, what was seen of it `before` holds, and so does what was said of a switch:
    what is to go from there waits for all.
    """
    beside = (Condition("warning", remark.about, remark.reason) for remark in remarks)
    found = {*_conditions(done, named), *beside}
    made = {_what(result.change, named) for result in done.results if result.outcome is Outcome.DONE}
    held_to = (condition for condition in before if condition.about not in made)
    return tuple(sorted({*found, *_still(done, held_to, {(condition.kind, condition.about) for condition in found})}))


def _still(done: Round, before: Iterable[Condition], found: Collection[tuple[str, str]]) -> Iterator[Condition]:
    targets = done.last.observed.targets if done.last is not None else {}
    passing = {target for target, mirror in targets.items() if isinstance(mirror, Unknown) and mirror.passing}
    passing |= {result.change.target for result in done.results if result.outcome is Outcome.UNDER_WAY}
    hold = passing | {target for target, mirror in targets.items() if passing and isinstance(mirror, SwitchMirror)}
    for condition in before:
        if condition.target in hold and condition.kind != "unknown" and (condition.kind, condition.about) not in found:
            yield condition


def _conditions(done: Round, named: Callable[[TargetId], str]) -> Iterator[Condition]:
    if done.last is None:
        yield Condition("waiting", "shard", done.reason)
        return
    last = done.last
    for target, mirror in last.observed.targets.items():
        if isinstance(mirror, Unknown):
            if not mirror.passing:
                yield Condition("unknown", named(target), mirror.reason, target)
        elif isinstance(mirror, NveMirror):
            for warning in mirror.warnings:
                yield Condition("warning", named(target), warning, target)
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
        yield Condition("held", _what(change, named), _held(change), change.target)
    for left in last.left:
        if not left.silent:
            yield Condition("by hand", _what(left.change, named), left.reason, left.change.target)
    for item in last.deferred:
        if item.reason:
            kind = "refused" if item.refused else "failed"
            yield Condition(kind, _what(item.change, named), item.reason, item.change.target)


def _what(change: Change, named: Callable[[TargetId], str]) -> str:
    return f"{named(change.target)}: {describing.action(change.action)}"


def _held(change: Change) -> str:
    return f"waits for apply --agree: {change.reason}"
