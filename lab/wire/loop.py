"""The loop of one shard, as small as it can be: observe, read, think, and act in the order of the plan.

Law: a read that fails leaves its last good answer in force and forbids what only a fresh one allows; it is never empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from isthmus.core.design import Design
from isthmus.core.reconcile import reconcile
from isthmus.model.boundary import IntentSource, InventorySource, Target
from isthmus.model.change import Change, Outcome, Plan, Reconciled, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.inventory import Inventory
from isthmus.model.observed import Mirror, Observed, TargetId, Unknown
from isthmus.model.shard import Shard, VidPool, World
from lab.wire.clock import VirtualClock

NOTHING = Reconciled(Plan())


@dataclass(slots=True)
class Errand:
    """A plan on its way: what was done, what failed, and what may be done next."""

    plan: Plan
    results: dict[int, Result] = field(default_factory=dict)

    def next(self) -> list[Change]:
        """The changes whose predecessors are all done."""
        return [
            change
            for change in self.plan.changes
            if change.id not in self.results
            and all(n in self.results and self.results[n].outcome is Outcome.DONE for n in change.after)
        ]

    def note(self, result: Result) -> None:
        """Keep a result; what had to come after a failure is skipped."""
        self.results[result.change.id] = result
        if result.outcome is Outcome.DONE:
            return
        for change in self.plan.changes:
            if change.id not in self.results and any(self._failed(n) for n in change.after):
                self.results[change.id] = Result(change, Outcome.SKIPPED, f"after change {result.change.id}")

    def _failed(self, number: int) -> bool:
        return number in self.results and self.results[number].outcome is not Outcome.DONE

    @property
    def open(self) -> bool:
        """Something can still be done."""
        return bool(self.next())


class ShardLoop:
    """One shard's process: it remembers the last good answers and nothing else; `restart` forgets even these."""

    def __init__(
        self,
        design: Design,
        shard: Shard,
        targets: Sequence[Target],
        intent: IntentSource,
        inventory: InventorySource,
        pool: Callable[[], VidPool],
        clock: VirtualClock,
    ) -> None:
        self.design = design
        self.shard = shard
        self.targets: Mapping[TargetId, Target] = {target.id: target for target in targets}
        self._intent_source = intent
        self._inventory_source = inventory
        self._pool = pool
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """The process dies and a new one starts."""
        self._mirrors: dict[TargetId, Mirror] = {}
        self._intent: Intent | None = None
        self._inventory: Inventory | None = None
        self._inventory_is_fresh = False
        self.last = NOTHING
        self.faults: list[str] = []

    @property
    def remembered(self) -> Intent | None:
        """The last good answer of the intent's source."""
        return self._intent

    def think(self) -> Reconciled:
        """What this shard would do now.  Observes before it reads, so that only the provably unwanted is removed."""
        self.faults = []
        observed = Observed({target: self._observed(far_side) for target, far_side in self.targets.items()})
        intent = self._read_intent()
        inventory = self._read_inventory()
        if intent is None or inventory is None:
            self.last = NOTHING
        else:
            fresh = intent.fresh and self._inventory_is_fresh  # an old inventory proves nothing unwanted, either
            world = World(self.shard, replace(intent, fresh=fresh), inventory)
            self.last = reconcile(self.design, world, observed, self._pool(), self._clock.now)
        return self.last

    def run_once(self) -> Errand:
        """Think, then do all that can be done."""
        errand = Errand(self.think().plan)
        while ready := errand.next():
            for change in ready:
                self.do(errand, change)
        return errand

    def do(self, errand: Errand, change: Change) -> Result:
        """Make one change of a plan."""
        (result,) = self.targets[change.target].apply([change])
        errand.note(result)
        return result

    def _observed(self, target: Target) -> Mirror | Unknown[Mirror]:
        try:
            mirror = target.observe()
        except Retry as fault:
            self.faults.append(str(fault))
            return Unknown(str(fault), self._mirrors.get(target.id))
        self._mirrors[target.id] = mirror
        return mirror

    def _read_intent(self) -> Intent | None:
        try:
            self._intent = self._intent_source.read()
        except (Retry, Refused) as fault:
            self.faults.append(str(fault))
            return None if self._intent is None else replace(self._intent, fresh=False)
        return self._intent

    def _read_inventory(self) -> Inventory | None:
        try:
            self._inventory = self._inventory_source.read()
        except Retry as fault:
            self.faults.append(str(fault))
            self._inventory_is_fresh = False
        else:
            self._inventory_is_fresh = True
        return self._inventory
