"""Far sides as small as the loop needs them: things that hold words, fail on demand, and remember what was asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from isthmus.app.backoff import Backoff
from isthmus.app.keeper import Charge, Habits, Keeper, Placed
from isthmus.app.loop import Loop, Timing
from isthmus.app.observing import Sight
from isthmus.app.reading import Source
from isthmus.core.design import OVSVAPP, Design
from isthmus.core.guard import Limits
from isthmus.model.change import Change, Learn, Outcome, Plan, Reconciled, Result, Unmet
from isthmus.model.flow import Bridge, Flow, Match
from isthmus.model.intent import Intent, Network
from isthmus.model.inventory import Inventory
from isthmus.model.names import HostId, NetworkId
from isthmus.model.observed import NveMirror, Observed, TargetId, Unknown
from isthmus.model.shard import Duty, Shard, VidPool, World
from isthmus.model.tags import Vni


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def entry(vni: int) -> Flow:
    """What an NVE holds for a network, in these tests."""
    return Flow(Bridge.INT, 0, 1, Match(tun_id=Vni(vni)), vni=Vni(vni))


class Nve:
    """A target that holds entries."""

    def __init__(self, name: str) -> None:
        self.id = TargetId("ovs", name)
        self.vnis: set[int] = set()
        self.observe_fault: Exception | None = None
        self.apply_fault: Exception | None = None
        self.outcome = Outcome.DONE
        self.looks = 0
        self.batches: list[list[int]] = []
        self.on_apply: Callable[[], None] = lambda: None

    def observe(self) -> NveMirror:
        self.looks += 1
        if self.observe_fault:
            raise self.observe_fault
        flows = [entry(vni) for vni in self.vnis]
        return NveMirror(self.id, {flow.key: flow for flow in flows})

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        self.batches.append([change.id for change in changes])
        self.on_apply()
        if self.apply_fault:
            raise self.apply_fault
        for change in changes:
            assert isinstance(change.action, Learn)
            if self.outcome is Outcome.DONE:
                self.vnis |= {int(flow.vni) for flow in change.action.entries if isinstance(flow, Flow) and flow.vni}
        return [Result(change, self.outcome, "" if self.outcome is Outcome.DONE else "not now") for change in changes]


@dataclass
class Says:
    """A source that says what it is told to."""

    answer: object
    fault: Exception | None = None
    reads: int = 0

    def read(self) -> object:
        self.reads += 1
        if self.fault:
            raise self.fault
        return self.answer


def wanting(*vnis: int) -> Intent:
    """An intent of some networks."""
    networks = {NetworkId(f"n{vni}"): Network(NetworkId(f"n{vni}"), Vni(vni)) for vni in vnis}
    return Intent(networks)


def learn_all(design: Design, world: World, observed: Observed, pool: VidPool, now: float) -> Reconciled:
    """Thinks that every NVE must know every network; a stale intent adds but takes nothing away."""
    numbers = itertools.count()
    changes, unmet = [], []
    for target, mirror in observed.targets.items():
        if isinstance(mirror, Unknown):
            unmet.append(Unmet(str(target), f"unknown: {mirror.reason}"))
            continue
        assert isinstance(mirror, NveMirror)
        known = {int(flow.vni) for flow in mirror.entries.values() if isinstance(flow, Flow) and flow.vni}
        for network in world.intent.networks.values():
            if int(network.vni) not in known:
                changes.append(Change(next(numbers), target, Learn((entry(network.vni),)), f"network {network.id}"))
    return Reconciled(Plan(tuple(changes)), tuple(unmet))


@dataclass
class Small:
    """A process with some shards, each with targets of its own, on one clock."""

    think: Callable[..., Reconciled] = learn_all
    habits: Habits = field(default_factory=lambda: Habits(limits=Limits(1000)))
    timing: Timing = field(default_factory=lambda: Timing(resync=60, jitter=0))

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.sight = Sight(self.clock, Backoff(1, 60))
        self.intent = Says(wanting(5001))
        self.inventory = Says(Inventory({}, {}, {}))
        self.intent_source: Source[Intent] = Source("intent", self.intent.read, self.clock, Backoff(1, 60))  # type: ignore[arg-type]
        self.inventory_source: Source[Inventory] = Source("inventory", self.inventory.read, self.clock, Backoff(1, 60))  # type: ignore[arg-type]

    def keeper(
        self,
        name: str,
        *targets: Nve,
        observe_only: bool = False,
        think: object = None,
        hosts: Collection[str] = (),
        duties: Duty = Duty.PORT_GROUPS | Duty.TAGS,
        design: Design = OVSVAPP,
    ) -> Keeper:
        """`hosts`: those it serves, by default one that is called like the shard."""
        shard = Shard(name, None, (), frozenset(map(HostId, hosts or [name])), {}, duties)
        charge = Charge(
            name,
            design,
            self.intent_source,
            self.inventory_source,
            lambda: targets,
            lambda inventory: Placed(shard, VidPool(), inventory),
            observe_only,
        )
        return Keeper(charge, self.sight, self.clock, self.habits, think or self.think)  # type: ignore[arg-type]

    def loop(self, *keepers: Keeper) -> Loop:
        return Loop(keepers, self.sight, self.clock, self.timing)


def faster(habits: Habits, **changes: object) -> Habits:
    """Other habits."""
    return replace(habits, **changes)  # type: ignore[arg-type]
