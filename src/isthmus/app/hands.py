"""What becomes of changes that undo what another hand did: made, or left as they are and shown; and never a fight.

Law: what has been undone `patience` times in a row, with nothing of ours between, is left alone for a while that
doubles.  Only what joins nobody to a network is ever left: the core says which changes these are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from isthmus.model.change import (
    Action,
    AlterPortGroup,
    Change,
    CreatePortGroup,
    Hand,
    Outcome,
    RemovePortGroup,
    Result,
    SetDvPort,
)


class Policy(Enum):
    """What to do about what another hand did to the settings of a port group."""

    ENFORCE = "enforce"  # put it right
    REPORT = "report"  # leave it and show it, until an operator says `apply --agree`
    ADOPT = "adopt"  # leave it, without a word


Gist = tuple[Hashable, Hashable]


@dataclass(frozen=True, slots=True)
class Left:
    """A change that is not made because of another hand.  `until` is when it will be made after all, if it will."""

    change: Change
    reason: str
    until: float | None = None
    silent: bool = False


@dataclass(slots=True)
class _Made:
    """The last thing that we did to an object, and how often it was undone."""

    gist: Gist
    at: float
    undone: int = 0
    noticed: bool = False
    """That it is undone now was counted already."""


@dataclass(slots=True)
class Hands:
    """The memory of one shard."""

    policy: Policy = Policy.ENFORCE
    """What to do about the settings of a port group."""
    patience: int = 3
    first: float = 60.0
    """Seconds for which a contested object is left alone at first."""
    longest: float = 3600.0
    calm: float = 600.0
    """Seconds after which what was made counts as accepted: an undoing later than that is the first of a new row."""
    _made: dict[Hashable, _Made] = field(default_factory=dict)

    def made(self, results: Iterable[Result], now: float) -> None:
        """Remember what was done; what was done long ago counts as accepted and is forgotten."""
        for thing in [thing for thing, made in self._made.items() if now - made.at > self._row(made)]:
            del self._made[thing]
        for result in results:
            if result.outcome is Outcome.DONE and (known := _object_and_gist(result.change.action)) is not None:
                thing, gist = known
                before = self._made.get(thing)
                again = before is not None and before.gist == gist
                self._made[thing] = _Made(gist, now, before.undone if before is not None and again else 0)

    def left(self, changes: Iterable[Change], now: float) -> tuple[Left, ...]:
        """Those of the wanted changes that are not to be made now."""
        return tuple(left for change in changes if (left := self._judged(change, now)) is not None)

    def agree(self) -> None:
        """An operator's word: whatever was undone is done once more."""
        for made in self._made.values():
            made.undone = 0

    def _judged(self, change: Change, now: float) -> Left | None:
        known = _object_and_gist(change.action)
        if known is None:
            return None
        thing, gist = known
        made = self._made.get(thing)
        if change.undoes is Hand.PORT_GROUP and self.policy is not Policy.ENFORCE:
            reason = "changed by another hand, and left so as configured (apply --agree undoes it)"
            return Left(change, reason, silent=self.policy is Policy.ADOPT)
        if made is None or made.gist != gist or not _may_be_left(change):
            return None
        if not made.noticed:
            made.noticed = True
            made.undone = made.undone + 1 if now - made.at <= self._row(made) else 1
        until = made.at + self._wait(made)
        if now >= until:
            return None
        reason = f"another hand has undone this {made.undone} times: left alone for {until - made.at:.0f} s"
        return Left(change, f"{reason} (vCenter's events say who; apply --agree tries at once)", until)

    def _row(self, made: _Made) -> float:
        return self.calm + self._wait(made)

    def _wait(self, made: _Made) -> float:
        beyond = made.undone - self.patience
        return 0.0 if beyond < 0 else min(self.longest, self.first * 2 ** min(beyond, 30))


def _may_be_left(change: Change) -> bool:
    return change.undoes is not None or isinstance(change.action, (CreatePortGroup, RemovePortGroup))


def _object_and_gist(action: Action) -> tuple[Hashable, Gist] | None:
    """What an action is done to, and what it does, whatever version it was written against.

    None: nobody else writes there.  (An NVE is wholly ours, so what is missing there is written again, always.)
    """
    match action:
        case SetDvPort():
            return (action.dvs, action.key, action.cookie), (action.gate, action.vid)
        case CreatePortGroup(dvs=dvs, spec=spec):
            return (dvs, spec.mark.network), ("create", spec)
        case AlterPortGroup(dvs=dvs, key=key, spec=spec):
            return (dvs, key), ("alter", spec)
        case RemovePortGroup(dvs=dvs, mark=mark):
            return (dvs, mark.network), ("remove", mark)
    return None
