"""A plan under construction: numbered changes, each after those it names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from isthmus.model.change import Action, Change, Hand, Plan, Unmet
from isthmus.model.observed import TargetId


@dataclass(slots=True)
class Draft:
    """Collects changes and what could not be planned.  A change can only come after one that was added before it."""

    changes: list[Change] = field(default_factory=list)
    unmet: list[Unmet] = field(default_factory=list)

    def add(
        self,
        target: TargetId,
        action: Action,
        reason: str,
        after: Iterable[int] = (),
        *,
        guarded: bool = False,
        undoes: Hand | None = None,
        asks: bool = False,
    ) -> int:
        """Add a change; the number to name it by."""
        number = len(self.changes)
        self.changes.append(Change(number, target, action, reason, frozenset(after), guarded, undoes, asks))
        return number

    def cannot(self, about: object, reason: str, *, contested: bool = False) -> None:
        """Say why something wanted is not in the plan."""
        self.unmet.append(Unmet(str(about), reason, contested))

    def plan(self) -> Plan:
        """What was collected."""
        return Plan(tuple(self.changes))
