"""What could not be done, why, and when it is tried again.

Law: a change waits for its own failures, and for those of the far side as a whole, but never for another change's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from isthmus.core.plan_nves import about
from isthmus.model.change import (
    Action,
    AddHostPortGroup,
    AlterHostPortGroup,
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
    action: Action
    reason: str
    at: float
    count: int
    refused: bool


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
        """What became of changes that were made together."""
        failed: dict[Hashable, Result] = {}
        for result in results:
            match result.outcome:
                case Outcome.DONE:
                    self._known.pop(_key(result.change), None)
                    self._known.pop(result.change.target, None)
                case Outcome.RETRY | Outcome.REFUSED:
                    failed[_key(result.change)] = result
                case Outcome.UNREACHABLE:
                    failed[result.change.target] = result
        for key, result in failed.items():
            count = before.count + 1 if (before := self._known.get(key)) is not None else 1
            refused = result.outcome is Outcome.REFUSED
            self._known[key] = _Failure(result.change.action, result.detail, now, count, refused)

    def forget_all_but(self, wanted: Iterable[Change]) -> None:
        """What nobody wants any more has not failed."""
        if self._known:
            keys = {key for change in wanted for key in (_key(change), change.target)}
            self._known = {key: failure for key, failure in self._known.items() if key in keys}

    def waiting(self, change: Change, now: float, *, urgent: bool) -> Deferred | None:
        """The change with its last failure, if it is too early to try again."""
        if not self._known:
            return None
        failure, whole = self._known.get(_key(change)), self._known.get(change.target)
        if failure is not None and failure.refused:
            early = failure.action == change.action and now - failure.at < self.refused_again_after
            return Deferred(change, failure.reason, None, refused=True) if early else None
        for known, longest in ((whole, self.longest), (failure, self.urgent if urgent else self.longest)):
            if known is not None and now < (until := self._until(known, longest)):
                return Deferred(change, known.reason, until)
        return None

    def _until(self, failure: _Failure, longest: float) -> float:
        wait: float = self.first * 2 ** min(failure.count - 1, 30)
        return failure.at + min(longest, self.longest, wait)


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
