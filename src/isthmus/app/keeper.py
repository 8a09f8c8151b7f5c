"""Keeps one shard: looks, thinks, writes, until there is nothing left to do.  The only writer of it in this process.

observe targets -> read sources -> reconcile -> hold back -> apply ---+
      ^                                                              |
      +---------- again, until the plan is empty or nothing moves ---+
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol

from isthmus.app.applying import Ending, Waiting, carry_out
from isthmus.app.backoff import Backoff
from isthmus.app.failures import Deferred, Failures
from isthmus.app.hands import Hands, Left, Policy
from isthmus.app.observing import Clock, Sight
from isthmus.app.reading import Answer, Source, in_force
from isthmus.app.seen import BRIEFLY, WRITE_PATIENCE
from isthmus.app.text import plain
from isthmus.app.weighing import claims, ends_harm, goes_unnamed, opens_on_trust
from isthmus.core.design import Design, NveKind
from isthmus.core.guard import Agreed, Asked, Consent, Limits, Said, held_back, not_asked
from isthmus.core.reconcile import reconcile
from isthmus.core.release import hand_back
from isthmus.model.boundary import Target, Worded
from isthmus.model.change import (
    Change,
    Outcome,
    Plan,
    Reconciled,
    Result,
)
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.inventory import Inventory
from isthmus.model.nve import Workload
from isthmus.model.observed import NveMirror, Observed, SwitchMirror, TargetId, Unknown
from isthmus.model.place import PlaceKind
from isthmus.model.shard import Shard, VidPool, World

THINKING = threading.Lock()
"""Held by whose turn it is: thinking is pure Python, so that two at once would only both be late."""
NOTHING: Asked = frozenset()


class Think(Protocol):
    """The core's reconcile, or a test's."""

    def __call__(self, design: Design, world: World, observed: Observed, pool: VidPool, now: float) -> Reconciled: ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A shard found in an inventory: configured names have become ids, and hosts have their VTEPs."""

    shard: Shard
    pool: VidPool
    inventory: Inventory


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that an operator should know of a shard, found beside its rounds."""

    about: str
    reason: str


@dataclass(frozen=True, slots=True)
class Charge:
    """A shard as configured: what it is, how to reach its far sides, how to find it in an inventory."""

    name: str
    design: Design
    intent: Source[Intent]
    inventory: Source[Inventory]
    targets: Callable[[], tuple[Target, ...]]
    place: Callable[[Inventory], Placed]
    observe_only: bool = False
    by_hand: Policy = Policy.ENFORCE
    released_after: frozenset[str] = frozenset()
    """The shards whose ports stand on this one's port groups: it can be released only when they are."""
    hosts_elsewhere: frozenset[str] = frozenset()
    """Hosts whose ports stand on them, too, and which another process keeps."""
    remarks: Callable[[], Sequence[Remark]] = tuple
    missed: Callable[[], Sequence[Remark]] = tuple
    """What somebody waits for while it is handed back, and nobody looks."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How hard a keeper tries."""

    passes: int = 6
    patience: float = WRITE_PATIENCE
    """Seconds that one of several NVEs is waited for, while nothing else ends."""
    waits_for_leaves: bool = False
    """However long they take to be read and written: for a command, which looks once."""
    limits: Limits = field(default_factory=Limits)
    move_deadline: float = 600.0
    refused_again_after: float = 60.0
    backoff_first: float = 1.0
    backoff_longest: float = 60.0


@dataclass(frozen=True, slots=True)
class Pass:
    """One look and one thought: what there was, what was wanted, what is to be done and what is not done now."""

    world: World
    observed: Observed
    pool: VidPool
    now: float
    thought: Reconciled
    plan: Plan
    held: tuple[Change, ...] = ()
    deferred: tuple[Deferred, ...] = ()
    """What failed of late, or comes after it."""
    left: tuple[Left, ...] = ()
    """What is left as another hand made it."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round of a shard.  `last` is None, with the reason, if it could not even be thought through."""

    last: Pass | None
    results: tuple[Result, ...] = ()
    reason: str = ""
    refused: bool = False
    """It cannot be before an operator has decided something."""

    @property
    def settled(self) -> bool:
        """Everything that is wanted is so, as far as can be seen."""
        last = self.last
        return (
            last is not None
            and not (last.plan or last.held or last.deferred or last.thought.unmet)
            and all(left.silent for left in last.left)
            and not any(isinstance(mirror, Unknown) for mirror in last.observed.targets.values())
        )

    @property
    def answered_since(self) -> float:
        """What was asked for before this moment is answered, or failed; -inf while something is still under way."""
        if any(result.outcome is Outcome.UNDER_WAY for result in self.results):
            return -inf
        return inf if self.last is None else min(self.last.now, self.last.observed.since)

    @property
    def consent(self) -> Consent | None:
        """What the word on which it was made still covers afterwards."""
        if self.last is None:
            return None
        return Consent({network.id: network.vni for network in self.last.world.intent.networks.values()})

    @property
    def asked(self) -> Asked:
        """What an operator is asked about now."""
        held = self.last.held if self.last is not None else ()
        return frozenset((change.target, change.action) for change in held if change.asks)


class Keeper:
    """One shard's loop body, with what it must remember between rounds: what failed, and what other hands undid."""

    def __init__(self, charge: Charge, sight: Sight, clock: Clock, habits: Habits, think: Think = reconcile) -> None:
        self.charge = charge
        self._sight = sight
        self._clock = clock
        self._habits = habits
        self._think = think
        self._backoff = Backoff(habits.backoff_first, habits.backoff_longest)
        self._hands = Hands(charge.by_hand)
        self._left_until: float | None = None
        self._failures = Failures(
            habits.backoff_first, habits.backoff_longest, refused_again_after=habits.refused_again_after
        )
        self._late: deque[Ending] = deque()
        """What became of changes that nobody waited for."""
        self._served: dict[TargetId, int] = {}
        """What was seen of each target last."""
        self._claimed = -1
        """The tick by which it had claimed tags last: a rival may have claimed the same before."""
        self._again_at: float | None = None
        self._contests = Backoff(habits.backoff_first, habits.backoff_longest)
        self._looked_for_rivals = False
        """Whether a look of this round was one for the rivals of a contested tag."""
        self._targets: tuple[Target, ...] = ()
        self._names: dict[TargetId, str] = {}

    @property
    def name(self) -> str:
        """The shard's name."""
        return self.charge.name

    def keep(
        self,
        since: int,
        *,
        write: bool = True,
        said: Said = None,
        release: bool = False,
        stopping: Callable[[], bool] = lambda: False,
        told: Callable[[Result], None] = lambda result: None,
        seen: Callable[[Pass], None] = lambda last: None,
    ) -> Round:
        """One round.  `write` False looks and thinks only; `told` hears of each result, `seen` of each look.

        `said` lifts the guard; in the round for which it is Agreed, what was left as another hand made it is undone,
        and what the operator had been asked about is made, if it is still wanted now, and nothing else of its kind.
        `release` hands the shard back instead of keeping it.
        """
        results: list[Result] = []
        last: Pass | None = None
        self._looked_for_rivals = False
        if isinstance(said, Agreed):
            self._hands.agree()
        for _ in range(self._habits.passes):
            results.extend(self._belated(told))
            try:
                think = hand_back if release else self._think
                last = self._look_and_think(since, said, think)
            except (Retry, Refused) as fault:
                self._backoff.failed(self.name, self._clock())
                return Round(None, tuple(results), str(fault), isinstance(fault, Refused))
            self._backoff.succeeded(self.name)
            seen(last)
            if isinstance(said, Agreed):
                said = Agreed()  # what this pass did may make others ask for the same again
            if not write or not last.plan or stopping():
                break
            waiting = Waiting(lambda busy, last=last: self._patience(last, busy), self._apart(), self._late.append)  # type: ignore[misc]
            made = carry_out(last.plan, self._by_id(), self._sight, stopping, waiting)
            if any(claims(change) for change in last.plan.changes):
                self._claimed = self._sight.tick()
            for result in made:
                told(result)
            self._remember(made)
            results.extend(made)
            last = self._deferring(last)
            if not any(result.outcome is Outcome.DONE for result in made):
                break
        self._note_contests(last)
        return Round(last, tuple(results))

    def retry_at(self) -> float | None:
        """When something that failed may be tried again."""
        charge = self.charge
        failed_until = self._backoff.until([self.name])
        of_last_look = (self._again_at, self._contests.until([self.name]), self._left_until)
        moments = (
            *(of_last_look if failed_until is None else ()),  # none of these can be done without a look
            failed_until,
            self._sight.retry_at(target.id for target in self._targets),
            charge.intent.retry_at(),
            charge.inventory.retry_at(),
        )
        return min((moment for moment in moments if moment is not None), default=None)

    def named(self, target: TargetId) -> str:
        """A target as people know it: ``ovs esx1.example`` rather than by its id."""
        return self._names.get(target, str(target))

    def looks_at(self, target: TargetId) -> bool:
        """Whether the target is one of the shard's."""
        return any(own.id == target for own in self._targets)

    def words(self, change: Change) -> Sequence[str]:
        """A change as the far side's operator would type it, where it can say so."""
        target = self._by_id().get(change.target)
        return target.words(change) if isinstance(target, Worded) else ()

    def unanswered(self) -> list[str]:
        """The far sides that are being read or written now, and that nobody waits for."""
        return sorted(self.named(target) for target in self._sight.unanswered(self._apart()))

    def _belated(self, told: Callable[[Result], None]) -> Sequence[Result]:
        """What has become by now of changes that nobody waited for."""
        endings = [self._late.popleft() for _ in range(len(self._late))]
        results = [result for ending in endings if not isinstance(ending, BaseException) for result in ending]
        for result in results:
            told(result)
        self._remember(results)
        for ending in endings:
            if isinstance(ending, BaseException):
                raise ending
        return results

    def _apart(self) -> frozenset[TargetId]:
        """Leaves: none is kept waiting for another, nor what else the shard writes."""
        if self._habits.waits_for_leaves:
            return frozenset()
        return frozenset(target.id for target in self._targets if target.id.kind == "leaf")

    def _patience(self, last: Pass, busy: Collection[TargetId]) -> float | None:
        """Leaves are waited for a moment if that may be of use; one NVE of several must not hold up the others."""
        if self._habits.waits_for_leaves and any(target.kind == "leaf" for target in busy):
            return None
        if self._apart() >= set(busy):
            return 0.0 if all(map(self._sight.writes_slowly, busy)) else BRIEFLY
        return self._habits.patience if len(last.world.shard.nves) > 1 else None

    def _by_id(self) -> dict[TargetId, Target]:
        return {target.id: target for target in self._targets}

    def _look_and_think(self, since: int, said: Said, think: Think, *, whole: bool = False) -> Pass:
        """`whole`: all that may wear a tag is looked at, as it always is after a claim, and for a contested tag."""
        for_rivals = self._is_to_look_for_rivals()
        whole = whole or self._claimed > since or for_rivals
        anew = max(since, self._claimed) if whole else -1
        by_port = self.charge.design.place is PlaceKind.DV_PORT
        self._targets = self.charge.targets()
        try:
            observed = self._sight.observe(
                self._targets,
                since,
                whole_since=-1 if by_port else anew,
                ports_since=anew if by_port else -1,
                apart=self._apart(),
                served=self._served,
            )
        except Refused:
            with suppress(Retry, Refused):
                self.charge.intent.read()  # what is wanted meanwhile is told all the same
            raise
        self._looked_for_rivals |= for_rivals
        intent, inventory = self.charge.intent.read(), self.charge.inventory.read()
        with THINKING:
            found = self._think_of(observed, intent, inventory, said, think)
        unnamed = (change for change in found.plan.changes if goes_unnamed(change, found.world.intent, observed))
        if self.charge.intent.tells and any(unnamed):
            intent = self.charge.intent.read(anew=True)
            with THINKING:
                found = self._think_of(observed, intent, inventory, said, think)
        if not whole and any(opens_on_trust(change, observed) for change in found.plan.changes):
            return self._look_and_think(since, said, think, whole=True)
        return found

    def _is_to_look_for_rivals(self) -> bool:
        """A tag is contested, and it is time to see whether its rivals have left it."""
        return self._contests.until([self.name]) is not None and not self._contests.waiting(self.name, self._clock())

    def _note_contests(self, last: Pass | None) -> None:
        if last is None or not any(unmet.contested for unmet in last.thought.unmet):
            self._contests.succeeded(self.name)
        elif self._looked_for_rivals or self._contests.until([self.name]) is None:
            self._contests.failed(self.name, self._clock())

    def _think_of(
        self,
        observed: Observed,
        intent: Answer[Intent],
        inventory: Answer[Inventory],
        said: Said,
        think: Think,
    ) -> Pass:
        placed = self.charge.place(inventory.value)
        shard = placed.shard
        self._names = _names(placed.inventory)
        now = self._clock()
        world = World(
            shard,
            in_force(intent, inventory).within(shard.scope, shard.deployment),
            placed.inventory,
            self._habits.move_deadline,
        )
        thought = think(self.charge.design, world, observed, placed.pool, now)
        plan: Plan = thought.plan
        held: tuple[Change, ...] = ()
        left = () if isinstance(said, Agreed) else self._hands.left(plan.changes, now)
        self._left_until = min((until for item in left if (until := item.until) is not None), default=None)
        if isinstance(said, Agreed):
            plan, held = not_asked(plan, said.asked)
        else:
            plan = plan.without(item.change.id for item in left)
            plan, held = held_back(plan, self._habits.limits, objects_of(world, observed), said)
        return self._deferring(Pass(world, observed, placed.pool, now, thought, plan, held, left=left))

    def _deferring(self, last: Pass) -> Pass:
        """The pass without what failed of late, and what comes after it."""
        now = self._clock()
        unseen = {target for target, mirror in last.observed.targets.items() if isinstance(mirror, Unknown)}
        self._failures.forget_all_but([*last.plan.changes, *(item.change for item in last.deferred)], unseen)
        waiting = {
            change.id: item
            for change in last.plan.changes
            if (item := self._failures.waiting(change, now, urgent=ends_harm(change, last.observed))) is not None
        }
        if waiting:
            plan = last.plan.without(waiting)
            kept = {change.id for change in plan.changes}
            early = [waiting.get(c.id, Deferred(c)) for c in last.plan.changes if c.id not in kept]
            last = replace(last, plan=plan, deferred=(*last.deferred, *early))
        self._again_at = min((item.until for item in last.deferred if item.until is not None), default=None)
        return last

    def _remember(self, results: Sequence[Result]) -> None:
        now = self._clock()
        self._hands.made(results, now)
        self._failures.note(results, now)


def _names(inventory: Inventory) -> dict[TargetId, str]:
    switches = {TargetId("dvs", dvs.id): f"dvs {plain(dvs.name)}" for dvs in inventory.switches.values()}
    kinds = {NveKind.OVS: "ovs", NveKind.STOCK_OVS: "ovs", NveKind.VROUTER: "vrouter"}
    appliances = {
        TargetId(kind.value, host.id): f"{said} {plain(host.name)}"
        for host in inventory.hosts.values()
        for kind, said in kinds.items()
    }
    return switches | appliances


def objects_of(world: World, observed: Observed) -> int:
    """How many port groups, ports in them, and workloads this shard has: what the guard's share is a share of."""
    count = 0
    for mirror in observed.targets.values():
        seen = mirror.last if isinstance(mirror, Unknown) else mirror
        if isinstance(seen, SwitchMirror) and seen.dvs in world.shard.switches:  # others are read, never written
            ours = {
                key
                for key, group in seen.port_groups.items()
                if group.mark is not None and group.mark.owner == world.shard.owner
            }
            served = world.shard.hosts
            ports = sum(port.port_group in ours and (not served or port.host in served) for port in seen.ports.values())
            count += len(ours) + ports
        elif isinstance(seen, NveMirror) and seen.target in world.shard.nves.values():
            count += sum(isinstance(entry, Workload) for entry in seen.entries.values())
    return count
