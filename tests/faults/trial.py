"""A trial: the loop of `isthmus run`, on far sides in memory and a virtual clock, watched write by write.

Law: what is watched is read off the far sides alone; no thought of the core is used to judge it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from _pytest.mark import ParameterSet

from isthmus.app.backoff import Backoff
from isthmus.app.hands import Policy
from isthmus.app.keeper import Charge, Habits, Keeper, Placed
from isthmus.app.loop import Loop, Timing
from isthmus.app.observing import Sight
from isthmus.app.reading import Source
from isthmus.core.design import DESIGNS, OVSVAPP, Design
from isthmus.core.guard import Limits
from isthmus.model.boundary import Target
from isthmus.model.change import (
    Change,
    Gate,
    Outcome,
    Result,
    SetDvPort,
)
from isthmus.model.faults import Retry
from isthmus.model.inventory import Inventory
from isthmus.model.names import DvsId, HostId, NetworkId, VmId
from isthmus.model.observed import DvPortState, Mirror, SwitchMirror, TargetId
from isthmus.model.place import PlaceKind
from isthmus.model.shard import VidPool
from isthmus.model.tags import VidSet
from lab.wire.switch import SwitchTarget
from lab.wire.vsphere import DvBacking, Port, Vm
from lab.wire.world import Lab, two_racks
from tests.core.properties.laws import Laws
from tests.core.properties.setting import HOSTS, NETWORKS, Setting
from tests.faults.meter import TOTAL, Meter
from tests.faults.reads import Reads

LOOSE = VidPool(VidSet.of("100-149"))
UNGUARDED = Habits(limits=Limits(1000))


def _params(designs: Iterable[Design]) -> list[ParameterSet]:
    """The first design of the program in every run, the others where there is time."""
    return [pytest.param(d, id=d.name, marks=[] if d is OVSVAPP else [pytest.mark.slow]) for d in designs]


in_every_design = pytest.mark.parametrize("design", _params(DESIGNS.values()))
where_ports_are_tagged = pytest.mark.parametrize(
    "design", _params(design for design in DESIGNS.values() if design.place is PlaceKind.DV_PORT)
)
SEEDS = int(os.environ.get("SEEDS", "2"))
with_many_seeds = pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, SEEDS))]
)


UNCLAIMED = "a look at everything is due"


class Killed(BaseException):
    """SIGKILL: no handler sees it coming."""


class Trial:
    """One world, one or more processes on it, one fault."""

    def __init__(
        self,
        seed: int = 0,
        design: Design = OVSVAPP,
        pool: VidPool = LOOSE,
        *,
        distributed: bool = False,
        switch_per_cluster: bool = False,
        by_hand: Policy = Policy.ENFORCE,
        habits: Habits = UNGUARDED,
        lab: Lab | None = None,
    ) -> None:
        self.dice = Random(seed)
        self.lab = lab or two_racks(design, pool, distributed=distributed, switch_per_cluster=switch_per_cluster)
        self.lab.pool = pool
        self.laws = Laws(Setting(design, pool, distributed), self.lab)
        self.meter = Meter(trials=1)
        self.written = 0
        self.events = 0
        self.opened: deque[VmId] = deque(maxlen=100)
        """The VMs whose ports were opened of late."""
        self.heed = True
        """Whether the world is judged after each write.  (Costly: every NIC speaks to every other.)"""
        self.by_hand = by_hand
        self.habits = habits
        self.lock = threading.RLock()
        self.before_write: Callable[[Change], None] = lambda change: None
        self.wake_heard: Callable[[Callable[[], None]], None] = lambda wake: wake()
        """What becomes of an event: heard at once, unless told otherwise."""
        self.reads = Reads(self.lab)
        self.told: set[str] = set()
        """Ports whose last change by another hand every process was told of."""
        self.lab.vcenter.watch(lambda hosts: self._happened())
        self.processes = [self.start()]

    # --- processes ------------------------------------------------------------------------------------------------

    @property
    def process(self) -> Loop:
        """The first process."""
        return self.processes[0]

    def start(self, *shards: str) -> Loop:
        """Another process, of all shards or some: it remembers nothing."""
        clock = self._now
        sight = Sight(clock, Backoff(1, 60))
        intent = Source("intent", self.reads.intent, clock, Backoff(1, 60))
        inventory = Source("inventory", self._inventory, clock, Backoff(1, 60))
        keepers = []
        watched: dict[TargetId, Watched] = {}
        for plain in (self.lab.loops[name] for name in shards or self.lab.loops):
            for target in plain.targets.values():
                kind = WatchedSwitch if isinstance(target, SwitchTarget) else Watched
                watched.setdefault(target.id, kind(target, self))
            targets = tuple(watched[target] for target in plain.targets)
            charge = Charge(
                plain.shard.name,
                self.lab.design,
                intent,
                inventory,
                lambda targets=targets: targets,  # type: ignore[misc]
                lambda found, shard=plain.shard: Placed(shard, self.lab.pool, found),  # type: ignore[misc]
                by_hand=self.by_hand,
            )
            keepers.append(Keeper(charge, sight, clock, self.habits))
        loop = Loop(keepers, sight, clock, Timing(resync=60, jitter=0.2), dice=Random(self.dice.random()))

        def wake(hosts: frozenset[HostId] | None) -> None:
            self.events += 1
            self.wake_heard(lambda: (intent.woken(), inventory.woken(), loop.wake(hosts))[-1])

        self.lab.vcenter.watch(wake)
        self.lab.intent.watch(wake)
        return loop

    def part(self) -> dict[str, Loop]:
        """The process dies, and each shard gets one of its own.  Those not among `processes` are down."""
        for loop in self.processes:
            loop.stop()
        parts = {name: self.start(name) for name in self.lab.loops}
        self.processes = list(parts.values())
        return parts

    def restart(self) -> None:
        """Every process dies and is started anew."""
        for loop in self.processes:
            loop.stop()
        self.processes = [self.start() for _ in self.processes]

    def run(self, seconds: float) -> None:
        """Let time pass: every process does what is due, when it is due."""
        until = self._now() + seconds
        while True:
            due = min(loop.step() for loop in self.processes)
            if due > until:
                break
            self.lab.clock.advance(max(due - self._now(), 0.001))
        self.lab.clock.advance(max(0.0, until - self._now()))

    def rest(self, seconds: float = 200.0) -> None:
        """Time enough for whatever is waited for; then everything is as it should be."""
        self.lab.vcenter.faults.heal()
        self.lab.intent.faults.heal()
        for target in self.lab.targets.values():
            target.faults.heal()  # type: ignore[attr-defined]
        self.run(seconds)
        for loop in self.processes:
            for seat in loop.seats.values():
                assert not seat.bugs, seat.fault
                assert seat.last is not None
                assert seat.last.last is not None, seat.last.reason
                assert not seat.last.last.plan, f"{seat.keeper.name} still wants {seat.last.last.plan}"
        self.laws.neighbours_hear_each_other()
        self._judge()

    # --- the world ------------------------------------------------------------------------------------------------

    def furnish(self, *networks: str, vms: int = 4) -> list[str]:
        """Networks, and running VMs spread over networks and hosts by the dice.  Gives the VMs' names."""
        for name in networks:
            self.lab.intent.add_network(name, vni=NETWORKS[name])
        self.run(5)
        names = [f"vm{number}" for number in range(vms)]
        for number, name in enumerate(names):
            self.boot(name, self.dice.choice(HOSTS), networks[number % len(networks)])
        self.run(10)
        self.laws.neighbours_hear_each_other()
        return names

    def renumber(self, network: str) -> None:
        """Give a network another VNI, which is as good as its old one until nobody has the old one."""
        old = self.lab.intent.networks[NetworkId(network)].vni
        self.lab.intent.renumber(network)
        new = self.lab.intent.networks[NetworkId(network)].vni
        self.laws.same[f"VNI {int(new)}"] = self.laws.same.get(f"VNI {int(old)}", f"VNI {int(old)}")

    def boot(self, name: str, host: str, network: str) -> Vm:
        """A VM is created and started."""
        return self.lab.boot(name, host, network)

    def elsewhere(self, name: str) -> HostId:
        """A host that a VM is not on, and can be moved to."""
        vm = self.lab.vm(name)
        fits = set(self.lab.vcenter.hosts)
        for nic in vm.nics.values():
            if isinstance(nic.backing, DvBacking):
                fits &= self.lab.vcenter.switches[nic.backing.dvs].hosts
        return self.dice.choice(sorted(fits - {vm.host}) or [vm.host])

    def port(self, name: str) -> Port:
        """The DV port of a VM's first NIC."""
        backing = self.lab.nic(name).backing
        assert isinstance(backing, DvBacking)
        return self.lab.vcenter.switches[backing.dvs].ports[backing.port_key]

    def touch(self, port: Port) -> None:
        """A hand has written to a port, and vCenter tells of it."""
        port.version += 1
        self.told.add(f"{port.key} {port.version}")
        self.lab.vcenter.changed(None)

    def is_open(self, name: str) -> bool:
        """Whether a VM's port passes traffic."""
        backing = self.lab.nic(name).backing
        assert isinstance(backing, DvBacking)
        return not self.lab.vcenter.switches[backing.dvs].is_blocked(self.port(name))

    def conditions(self, kind: str) -> list[str]:
        """What the processes show of a kind."""
        seats = [seat for loop in self.processes for seat in loop.seats.values()]
        return [f"{c.about}: {c.reason}" for seat in seats for c in seat.conditions if c.kind == kind]

    # --- watching -------------------------------------------------------------------------------------------------

    def wrote(self, change: Change, result: Result, doubts: Collection[str] = ()) -> None:
        """Judge the world after one write; `doubts` is what was not read whole and may have spoken against it."""
        self.meter.writes += 1
        self.written += 1
        if result.outcome is not Outcome.DONE:
            return
        match change.action:
            case SetDvPort(dvs=dvs, key=key, gate=Gate.OPEN):
                if (nic := self.lab.vcenter.switches[dvs].ports[key].nic) is not None:
                    self.opened.append(nic.vm)
                self._check("ports_opened_before_their_nve_was_ready", self._opened, dvs, key)
        if doubts:
            self.meter.wrong("deletes_after_a_failed_read", f"{change.action} without {doubts}")
        self._instant()

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """What is wrong meanwhile is not our doing."""
        before, self.heed = self.heed, False
        try:
            yield
        finally:
            self.heed = before

    def _instant(self) -> None:
        if not self.heed:
            return
        self._check("frames_heard_by_strangers", self.laws.nobody_hears_strangers)
        self._check("tags_of_two_subjects", self.laws.a_vid_names_one_subject)

    def _happened(self) -> None:
        """Judge the frames at once after whatever people and VMs did, before anybody writes.

        The promise: a VID means one network on its whole switch, so that a VM is in its own network or in none wherever
        it comes up, announced or not.  It does not hold where VIDs are used again, nor for a tag written by hand.
        """
        if self.heed and not self.lab.pool.reuse:
            self._check("frames_heard_by_strangers", self.laws.nobody_hears_strangers)

    def _opened(self, dvs: DvsId, key: str) -> None:
        if self.lab.vcenter.switches[dvs].ports[key].nic is not None:
            self.laws.an_opened_port_is_known(dvs, key)

    def _check(self, what: str, law: Callable[..., None], *args: object) -> None:
        try:
            law(*args)
        except AssertionError as broken:
            self.meter.wrong(what, str(broken))

    def end(self) -> None:
        """Nobody wants anything any more: every tag is free, everything of ours gone.  Then the sums are drawn."""
        for vm in [vm for vm in self.lab.vcenter.vms.values() if not vm.name.startswith("nve-")]:
            self.lab.vcenter.destroy(vm.id)
        for network in list(self.lab.intent.networks):
            self.lab.intent.remove_network(network)
        self.run(4000)  # longer than anything is left alone for
        self._check("tags_leaked", self.laws.nothing_of_ours_is_left)
        self._judge()

    def _judge(self) -> None:
        self._instant()
        TOTAL.add(self.meter)
        stories, self.meter = self.meter.stories, Meter()
        assert not stories, "\n".join(stories[:5])

    def _inventory(self) -> Inventory:
        with self.reads.noted("inventory"):
            return self.lab.inventory.read()

    def _now(self) -> float:
        return self.lab.clock.now


@dataclass
class Watched:
    """A target whose reads and writes are watched, one at a time."""

    inner: Target
    trial: Trial

    @property
    def id(self) -> TargetId:
        return self.inner.id

    def observe(self) -> Mirror:
        with self.trial.reads.noted(str(self.id)):
            return self.inner.observe()

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        return [self._made(change) for change in changes]

    def _made(self, change: Change) -> Result:
        try:
            self.trial.before_write(change)
        except Retry as fault:  # this write fails, as a bulk may fail for one host
            return Result.failed(change, fault)
        with self.trial.lock:
            doubts = self.trial.reads.doubts(change)
            (result,) = self.inner.apply([change])
            self.trial.wrote(change, result, doubts)
        return result


@dataclass
class WatchedSwitch(Watched):
    """A switch whose every change of a port that is not a NIC's coming or going was folded with others and not told."""

    last: SwitchMirror | None = None
    written: set[str] = field(default_factory=set)
    """Ports that this process wrote since it looked last."""

    def observe(self) -> Mirror:
        self.written, self.last = set(), None
        mirror = super().observe()
        assert isinstance(mirror, SwitchMirror)
        self.last = mirror
        return mirror

    @property
    def tells(self) -> bool:
        """Not after a tag that was given without a claim, nor after another port group."""
        return self.last is not None and UNCLAIMED not in self.written

    def refresh(self, *, every_port: bool = False) -> Mirror:
        """What the adapter does: a look at what was told of, and at everything if port groups changed."""
        last, written = self.last, self.written
        mirror = self.observe()
        assert isinstance(mirror, SwitchMirror)
        if every_port or last is None or mirror.port_groups != last.port_groups:
            return mirror
        self.last = replace(mirror, ports={
            key: last.ports[key] if key not in written and self._untold(last.ports.get(key), port) else port
            for key, port in mirror.ports.items()
        })  # fmt: skip
        return self.last

    def _was_open(self, key: str) -> bool:
        port = self.last.ports.get(key) if self.last is not None else None
        return port is not None and not port.blocked

    def _untold(self, last: DvPortState | None, now: DvPortState) -> bool:
        if last is None or f"{now.key} {now.version}" in self.trial.told:
            return False
        return (last.nic, last.host, last.cookie, last.connected) == (now.nic, now.host, now.cookie, now.connected)

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        results = super().apply(changes)
        for change in changes:
            action = change.action
            self.written.add(action.key if isinstance(action, SetDvPort) else UNCLAIMED)
            if isinstance(action, SetDvPort) and action.gate is Gate.OPEN and self._was_open(action.key):
                self.written.add(UNCLAIMED)
        return results
