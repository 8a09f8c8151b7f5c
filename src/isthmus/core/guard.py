"""Hold back deletes and retags of open ports beyond a limit, until an operator agrees; creates proceed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from isthmus.model.change import Action, Change, Forget, Plan, RemovePortGroup
from isthmus.model.names import NetworkId
from isthmus.model.observed import TargetId
from isthmus.model.tags import Vni

Asked: TypeAlias = frozenset[tuple[TargetId, Action]]
"""What an operator was asked about: changes that are made on his word only, each as it was shown."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """An operator's word for one round: what is guarded may be made, and of what asks, what he was asked about."""

    asked: Asked = frozenset()


@dataclass(frozen=True, slots=True)
class Consent:
    """What an operator's word still covers after its round: that networks go which nobody wanted when he gave it.

    A far side that could not be seen then may still have them.  What is given up only later needs another word.
    """

    wanted: Mapping[NetworkId, Vni]
    """The networks that were wanted then."""

    def covers(self, change: Change) -> bool:
        """Whether the change may be made on it."""
        match change.action:
            case RemovePortGroup(mark=mark):
                return mark.network not in self.wanted
            case Forget(entries=entries):
                return not {entry.vni for entry in entries}.intersection(self.wanted.values())
        return False


Said: TypeAlias = Agreed | Consent | None
"""What an operator says now."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many guarded changes one plan may make: up to `few` always, beyond that up to `share` of what there is."""

    few: int = 10
    share: float = 0.3

    def allow(self, guarded: int, total: int) -> bool:
        """Whether so many guarded changes of `total` objects may be made."""
        return guarded <= max(self.few, int(self.share * total))


def held_back(
    plan: Plan, limits: Limits, total: int, consent: Consent | None = None
) -> tuple[Plan, tuple[Change, ...]]:
    """The plan that may be made now, and the changes that wait for an operator's word, less what has his `consent`.

    `total` counts the objects (port groups and ports of ours) that the shard has.  All guarded changes are held or
    none: a plan that wants too much is wrong as a whole, not in its last items.  What asks for a word always waits.
    What only prepares another guarded change (an NVE forgets, and then the port group goes) is not counted beside it.
    """
    asking = [change.id for change in plan.changes if change.asks]
    guarded = [change for change in plan.changes if change.guarded and not change.asks]
    guarded = [change for change in guarded if consent is None or not consent.covers(change)]
    preparing = {number for change in guarded for number in change.after}
    count = sum(change.id not in preparing for change in guarded)
    return _split(plan, asking if limits.allow(count, total) else [*asking, *(change.id for change in guarded)])


def not_asked(plan: Plan, asked: Asked) -> tuple[Plan, tuple[Change, ...]]:
    """The same after an operator's word, which is no answer to what he was not asked about."""
    return _split(plan, [c.id for c in plan.changes if c.asks and (c.target, c.action) not in asked])


def _split(plan: Plan, held: Iterable[int]) -> tuple[Plan, tuple[Change, ...]]:
    allowed = plan.without(held)
    kept = {change.id for change in allowed.changes}
    return allowed, tuple(change for change in plan.changes if change.id not in kept)
