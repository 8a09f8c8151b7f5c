"""What could not be done, why, and when it is tried again.

Law: a change waits for its own failures, and for those of the far side as a whole, but never for another change's.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field, replace

from isthmus.core.plan_nves import about
from isthmus.model.change import (
    Action,
    AddHostPortGroup,
    AlterHostPortGroup,
    AlterPortGroup,
    BuildNve,
    Change,
    CreatePortGroup,
    Forget,
    Learn,
    Outcome,
    RemoveHostPortGroup,
    Result,
    SetDvPort,
)
from isthmus.model.observed import TargetId


@dataclass(frozen=True, slots=True)
class Deferred:
    """A change that is not made now.  Without a reason of its own it only comes after another one."""

    change: Change
    reason: str = ""
    until: float | None = None
    """When it is tried again by itself."""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    target: TargetId
    action: Action
    reason: str
    at: float
    count: int
    outcome: Outcome


@dataclass(slots=True)
class Failures:
    """The memory of one shard.  All times are in seconds."""

    first: float = 1.0
    longest: float = 60.0
    """Waits double from the first to the longest."""
    urgent: float = 5.0
    """The longest for what lets somebody speak where he must not until it is done."""
    refused_again_after: float = 60.0
    """What was refused is tried again after this time, or at once in another form."""
    _known: dict[Hashable, _Failure] = field(default_factory=dict)

    def note(self, results: Iterable[Result], now: float) -> None:
        """What became of changes that were made together.

        A success ends a row of failures when a look no longer wants the change.  If it does, the change did not last:
        the first time that is no failure yet.  A far side that took something is no failure as a whole.
        """
        made = list(results)
        took = {result.change.target for result in made if result.outcome is Outcome.DONE}
        failed: dict[Hashable, Result] = {}
        for result in made:
            if result.outcome is Outcome.UNREACHABLE and result.change.target not in took:
                failed[result.change.target] = result
            elif result.outcome not in (Outcome.SKIPPED, Outcome.UNDER_WAY):
                failed[_key(result.change)] = result
        for target in took:
            self._known.pop(target, None)
        for key, result in failed.items():
            self._known[key] = self._failed(result, self._known.get(key), now)

    def _failed(self, result: Result, before: _Failure | None, now: float) -> _Failure:
        target, action = result.change.target, result.change.action
        count = before.count if before is not None else 0
        if result.outcome is not Outcome.DONE:
            return _Failure(target, action, result.detail, now, count + 1, result.outcome)
        again = before is not None and before.outcome is Outcome.DONE and _form(before.action) == _form(action)
        return _Failure(target, action, "it was made, and did not last", now, count + again, Outcome.DONE)

    def forget_all_but(self, wanted: Iterable[Change], unseen: Collection[TargetId] = ()) -> None:
        """What nobody wants any more has not failed.  What is wanted of a far side that is `unseen`, nobody knows."""
        if self._known:
            keys = {key for change in wanted for key in (_key(change), change.target)}
            self._known = {
                key: failure for key, failure in self._known.items() if key in keys or failure.target in unseen
            }

    def waiting(self, change: Change, now: float, *, urgent: bool) -> Deferred | None:
        """The change with its last failure, if it is too early to try again."""
        if not self._known:
            return None
        whole, own = self._known.get(change.target), self._known.get(_key(change))
        if whole is not None and now < (until := self._until(whole, self.longest)):
            return Deferred(change, whole.reason, until)
        if own is None:
            return None
        if own.outcome is Outcome.REFUSED:
            early = own.action == change.action and now - own.at < self.refused_again_after
            return Deferred(change, own.reason, None, refused=True) if early else None
        if own.outcome is Outcome.DONE and _form(own.action) != _form(change.action):
            return None  # something else is wanted of the same object now
        until = self._until(own, self.urgent if urgent else self.longest)
        return Deferred(change, own.reason, until) if now < until else None

    def _until(self, failure: _Failure, longest: float) -> float:
        if not failure.count:
            return failure.at
        wait: float = self.first * 2 ** min(failure.count - 1, 30)
        return failure.at + min(longest, self.longest, wait)


def _form(action: Action) -> Action:
    """The action, whatever version it is written against."""
    return replace(action, version="") if isinstance(action, AlterPortGroup | SetDvPort) else action


def _key(change: Change) -> Hashable:
    """What is done to which object, whatever version or entries it is written with."""
    return change.target, type(change.action), _object(change.action)


def _object(action: Action) -> Hashable:
    match action:
        case SetDvPort():
            return action.key, action.cookie, action.gate
        case CreatePortGroup():
            return action.spec.mark.network
        case Learn() | Forget():
            return about(action.entries[0]) if action.entries else None
        case AddHostPortGroup() | AlterHostPortGroup() | RemoveHostPortGroup():
            return action.vswitch, action.name
        case BuildNve():
            return None
    return action.key
