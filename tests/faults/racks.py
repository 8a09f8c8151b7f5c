"""Ten racks, each below a leaf of its own, kept by the loop of `isthmus run` with its threads, on a virtual clock."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import ModuleType

from isthmus.adapters.leaf.pair import LeafPair
from isthmus.app.backoff import Backoff
from isthmus.app.conditions import Condition
from isthmus.app.keeper import Charge, Habits, Keeper, Placed
from isthmus.app.loop import Loop, Timing
from isthmus.app.observing import Sight
from isthmus.app.reading import Source
from isthmus.core.design import VDS_STATIC, Design
from isthmus.core.guard import Limits
from isthmus.model.boundary import Target
from isthmus.model.change import Change, Result
from isthmus.model.names import HostId, LeafId
from isthmus.model.nve import LeafBinding, NveEntry
from isthmus.model.observed import Access, Mirror, TargetId
from lab.wire.audit import Leak
from lab.wire.faults import ALWAYS
from lab.wire.leaf import WireLeaf
from lab.wire.turns import Turns
from lab.wire.world import HostSpec, Lab

LEAVES = tuple(f"leaf{number}" for number in range(1, 11))
FREELY = Limits(1000)
Held = frozenset[NveEntry]


@dataclass(frozen=True, slots=True)
class Ailment:
    """What is the matter with a leaf: how long it takes (inf: it never answers), and what becomes of it then."""

    read: float = 0.0
    write: float = 0.0
    down: bool = False
    refuses: bool = False

    def befall(self, leaf: Told) -> None:
        """From now on the leaf has it."""
        leaf.takes = self.read
        leaf.inner.faults.latency = {"observe": 0.0, "": self.write}
        leaf.inner.faults.down = self.down
        if self.refuses:
            for kind in ("BuildNve", "Learn", "Forget"):
                leaf.inner.faults.fail(kind, times=ALWAYS, refused=True)


HEALTHY = Ailment(read=0.2, write=0.3)
SLOW = Ailment(read=30.0, write=30.0)
HUNG = Ailment(read=math.inf, write=math.inf)
HUNG_AT_WRITES = Ailment(read=0.2, write=math.inf)
DEAD = Ailment(read=10.0, write=10.0, down=True)
REFUSING = Ailment(read=0.2, write=0.3, refuses=True)


@dataclass
class Told:
    """A leaf, and what it held since when."""

    inner: WireLeaf
    clock: Turns
    changed: Callable[[], None]
    target: Target | None = None
    """What it is told through, if it is one of a pair."""
    takes: float = 0.0
    """Seconds to be read."""
    asked: int = 0
    tried: int = 0
    history: list[tuple[float, Held]] = field(default_factory=list)

    @property
    def id(self) -> TargetId:
        return self.inner.id

    def observe(self) -> Mirror:
        """What it holds when it is asked, though it may take its time to say so."""
        self.asked += 1
        takes = self.takes
        try:
            return (self.target or self.inner).observe()
        finally:
            self.clock.advance(takes)

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        return [self._made(change) for change in changes]

    def _made(self, change: Change) -> Result:
        self.tried += 1
        (result,) = (self.target or self.inner).apply([change])
        self.note()
        return result

    def note(self) -> None:
        self.history.append((self.clock.now, self.holds))
        self.changed()

    @property
    def holds(self) -> Held:
        """What it holds now."""
        return frozenset(self.inner.entries.values())

    def came(self, entry: NveEntry) -> float:
        """Since when it has held that; inf: it does not."""
        since = math.inf
        for moment, held in reversed(self.history):
            if entry not in held:
                break
            since = moment
        return since


class Racks:
    """The world, one process on it, and what its leaves suffer."""

    def __init__(self, clock: Turns, design: Design, leaves: Sequence[str], paired: str, limits: Limits) -> None:
        self.clock = clock
        self.limits = limits
        self.lab = Lab(design, [HostSpec(f"esx-{leaf}", f"c-{leaf}", leaf) for leaf in leaves], clock=clock)
        self.lab.vcenter.faults.latency = {"": 0.1}
        self.leaves = {
            name: Told(leaf, clock, self._listen) for name, leaf in self.lab.nves.items() if isinstance(leaf, WireLeaf)
        }
        self.listening = False
        self.leaks: list[Leak] = []
        """Frames that were heard in another network."""
        self.strangers: list[str] = []
        """VIDs that port groups had for one network and leaves for another."""
        self.lab.vcenter.watch(lambda hosts: self._listen())
        for leaf in self.leaves.values():
            HEALTHY.befall(leaf)
        self.members: tuple[WireLeaf, ...] = ()
        """The switches of the pair."""
        if paired:
            one = self.leaves[paired].inner
            self.members = (one, WireLeaf(LeafId(paired), one.vtep, one.hosts, clock))
            self.leaves[paired].target = LeafPair([(f"member{n}", each) for n, each in enumerate(self.members)])  # type: ignore[misc]
        self.loop = self._start()

    def conditions(self) -> list[Condition]:
        """What the process shows."""
        return [condition for seat in self.loop.seats.values() for condition in seat.conditions]

    def _start(self) -> Loop:
        clock = lambda: self.clock.now  # noqa: E731
        sight = Sight(clock, Backoff(1, 60))
        intent = Source("intent", self.lab.intent.read, clock, Backoff(1, 60))
        inventory = Source("inventory", self.lab.inventory.read, clock, Backoff(1, 60))
        told: dict[TargetId, Target] = {leaf.id: leaf for leaf in self.leaves.values()}
        keepers = []
        for plain in self.lab.loops.values():
            targets = tuple(told.get(target, far_side) for target, far_side in plain.targets.items())
            charge = Charge(
                plain.shard.name,
                self.lab.design,
                intent,
                inventory,
                lambda targets=targets: targets,  # type: ignore[misc]
                lambda found, shard=plain.shard: Placed(shard, self.lab.pool, found),  # type: ignore[misc]
            )
            keepers.append(Keeper(charge, sight, clock, Habits(limits=self.limits)))
        loop = Loop(keepers, sight, clock, Timing(jitter=0.0), dice=Random(0))

        def wake(hosts: frozenset[HostId] | None) -> None:
            intent.woken()
            inventory.woken()
            loop.wake(hosts if len(keepers) == 1 else None)  # as for several deployments

        self.lab.vcenter.watch(wake)
        self.lab.intent.watch(wake)
        self.clock.begin(loop.run)
        return loop

    def _listen(self) -> None:
        self.strangers.extend(self._strangers())
        if self.listening:
            self.leaks.extend(self.lab.leaks())

    def _strangers(self) -> Iterator[str]:
        for switch in self.lab.vcenter.switches.values():
            worn = {
                g.vlan.vid: {g.mark.vni, *g.mark.was}
                for g in switch.port_groups.values()
                if g.mark and isinstance(g.vlan, Access)
            }
            for leaf in self.leaves.values():
                for entry in leaf.holds if switch.hosts & set(leaf.inner.hosts) else ():
                    if isinstance(entry, LeafBinding) and entry.vni not in worn.get(entry.vid, {entry.vni}):
                        yield f"{self.clock.now:.1f}: {leaf.id} has VID {entry.vid} for {entry.vni}"

    def restart(self) -> None:
        """The process dies, and another starts."""
        self.loop.stop()
        self.loop = self._start()

    def rob(self, leaf: str) -> None:
        """Somebody takes a binding off a leaf."""
        robbed = self.leaves[leaf]
        del robbed.inner.entries[next(key for key in robbed.inner.entries if key.kind == "binding")]
        robbed.note()
        self.loop.wake()


def lateness(sound: Told, beside_sick: Told, since: float = 0.0) -> float:
    """By how much later what a leaf holds in the end came to it beside sick ones than beside sound ones."""
    ends = [(sound.came(entry), beside_sick.came(entry)) for entry in sound.holds]
    return max((later - sooner for sooner, later in ends if sooner >= since), default=0.0)


def modules_with_threads() -> list[ModuleType]:
    """Where `isthmus run` begins threads and waits."""
    return [module for name, module in sorted(sys.modules.items()) if name.startswith("isthmus.app.")]


@contextmanager
def racks(
    design: Design = VDS_STATIC,
    leaves: Sequence[str] = LEAVES,
    *,
    paired: str = "",
    listening: bool = True,
    limits: Limits = FREELY,
) -> Iterator[Racks]:
    """As many racks, each with a VM on the network red, at rest; one of them, perhaps, below a pair of switches.

    `listening`: after each write every VM speaks to every other.  (Costly.)
    """
    clock = Turns()
    with clock.instead_of_threads(modules_with_threads()):
        site = Racks(clock, design, leaves, paired, limits)
        site.lab.intent.add_network("red")
        clock.advance(10)
        for leaf in leaves:
            site.lab.boot(f"red@{leaf}", f"esx-{leaf}", "red")
        clock.advance(30)
        assert all(seat.last is not None and seat.last.settled for seat in site.loop.seats.values())
        site.listening = listening
        yield site
        assert not site.leaks
        assert not site.strangers
        assert not [seat.fault for seat in site.loop.seats.values() if seat.bugs]
