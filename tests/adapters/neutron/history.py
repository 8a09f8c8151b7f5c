"""Any history of one network in one mapping domain: ports come and go while Neutron is read, looked at and obeyed.

The desk, its errands and the source are the product's.  Neutron, the rack, and the two shards that share a reading of
Neutron are as small as they can be.  What Neutron says of a change, it says at once or never.  Everything that takes a
while takes several steps, so that all else may happen in between: a reading (asked, then answered), a round (look,
read, tell the desk, and each change), a binding (reserved, asked for, bound).

Law: whoever was told a port group finds it there with that VID until he goes; a port that is ACTIVE has its mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from isthmus.adapters.neutron.desk import Desk
from isthmus.adapters.neutron.errands import LINGER, Cluster
from isthmus.adapters.neutron.intent import NeutronIntent
from isthmus.adapters.neutron.meaning import Places
from isthmus.adapters.neutron.packing import packed
from isthmus.adapters.neutron.protocol import RESERVED, RETIRING
from isthmus.model.handover import Handover, StandingGroup
from isthmus.model.intent import Intent
from isthmus.model.names import DvsId, HostId, LeafId, NetworkId
from isthmus.model.scope import LeafScope
from isthmus.model.tags import Vid, Vni
from tests.adapters.neutron import test_meaning as rows

RED, VNI, DVS = NetworkId("red"), 70001, DvsId("dvs-1")
HOME, ELSEWHERE = LeafScope(LeafId("leaf1")), LeafScope(LeafId("leaf2"))
CLUSTERS = {"compute-1": Cluster("rack1", DVS, frozenset({"leaf1"}), frozenset({HostId("esx1")}))}
VIDS = (101, 102)
BIND_WITHIN = 10.0
"""Seconds, of the model's, until a port that was told is bound."""


@dataclass(slots=True)
class Port:
    """`group` once it was told one."""

    segment: str
    vid: int
    came: float
    group: str = ""
    told: float = 0.0
    bound: bool = False
    active: bool = False


@dataclass(slots=True)
class Rack:
    """What stands: port groups by key, and the leaf's mapping."""

    groups: dict[str, int] = field(default_factory=dict)
    mapped: set[int] = field(default_factory=set)


class Neutron:
    """One network, its VLAN in rack1, and its ports; a bus that carries everything."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.segment: dict[str, Any] | None = None
        self.ports: dict[str, Port] = {}

    def reserve(self) -> dict[str, Any]:
        """As isthmus_fabric does when a port is to be bound."""
        if self.segment is None:
            vid = self.history.dice.choice(VIDS)
            self.segment = rows.segment(vid, id=self.history.name("segment"), mark=self.history.name(RESERVED))
        elif self.segment["mark"].startswith(RETIRING) or not self.is_used:
            self.segment["mark"] = self.history.name(RESERVED)
        return self.segment

    @property
    def is_used(self) -> bool:
        there = self.segment["id"] if self.segment is not None else None
        return any(port.bound and port.segment == there for port in self.ports.values())

    def told(self) -> dict[str, Any]:
        """The answer to `read`, as it is at this moment."""
        segments = [] if self.segment is None else [{**self.segment, "used": self.is_used}]
        ports = [
            rows.port(
                id_, RED, rows.binding("compute-1", "vxlan", p.segment, ours=True, dvs_id=str(DVS), pg_id=p.group)
            )
            | {"status": "ACTIVE" if p.active else "BUILD"}
            for id_, p in self.ports.items()
            if p.bound
        ]
        domains = {"rack1": ["101-102"], "rack2": ["101-102"]}
        nothing: dict[str, Any] = {"agents": [], "held": []}
        nets = [rows.network(RED, VNI, *segments)]
        return {
            "networks": nets,
            "ports": ports,
            "domains": domains,
            "fabric": True,
            "kept": [],
            "beside": [],
            "static": [],
            **nothing,
        }

    def call(self, topic: str, method: str, **asked: Any) -> Any:
        """What isthmus asks for is done as the drivers do it."""
        match method:
            case "read":
                return packed(self.history.answer)
            case "retire":
                return [id_ for id_, mark in asked["unused"] if self._is_idle(id_, mark) and self._marked(RETIRING)]
            case "release":
                return [id_ for id_, mark in asked["retiring"] if self._is_idle(id_, mark) and self._gone()]
            case "ready":
                for item in asked["ports"]:
                    self._completed(item)
            case "correct":
                for item in asked["ports"]:
                    if item["id"] in self.ports:
                        self.ports[item["id"]].group = item["pg_id"]
        return []

    def cast(self, *what: object, **more: object) -> None:
        """Nobody listens."""

    def _is_idle(self, id_: str, mark: str) -> bool:
        there = self.segment
        return there is not None and (there["id"], there["mark"]) == (id_, mark) and not self.is_used

    def _marked(self, what: str) -> bool:
        assert self.segment is not None
        self.segment["mark"] = self.history.name(what)
        return True

    def _gone(self) -> bool:
        self.segment = None
        return True

    def _completed(self, item: dict[str, str]) -> None:
        port = self.ports.get(item["id"])
        if port is None or not port.bound or port.segment != item["segment"]:
            return
        rack = self.history.rack
        assert rack.groups.get(port.group) == port.vid, "ready, and its port group is not there"
        assert port.vid in rack.mapped, "ready, and its leaf does not know the VID"
        self.history.readied += not port.active
        port.active = True


class History:
    """One step after the other."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.now = 0.0
        self.names = 0
        self.neutron, self.rack = Neutron(self), Rack()
        self.answer: dict[str, Any] = {}
        self.told = self.removed = self.readied = self.held = 0
        self.asked = (0, 0.0)
        self.restart()

    def name(self, what: str) -> str:
        """Another each time."""
        self.names += 1
        return f"{what} {self.names}"

    # --- isthmus, one process

    def restart(self) -> None:
        """It dies at whatever it was doing."""
        places = Places({"rack1": HOME, "rack2": ELSEWHERE})
        self.source = NeutronIntent(self.neutron, places, lambda: self.now)  # type: ignore[arg-type]
        self.desk = Desk(self.neutron, self.source, frozenset(), {}, lambda: self.now)  # type: ignore[arg-type]
        self.begun = self.ended = 0
        self.intent: Intent | None = None
        self.keeping, self.looking = self._keep(), self._look()

    def begin_to_read(self) -> None:
        """Neutron makes its answer."""
        if self.begun == self.ended:
            self.begun += 1
            self.asked = self.source._changes, self.now
            self.answer = self.neutron.told()

    def end_reading(self) -> None:
        """It arrives, if it does."""
        if self.begun > self.ended:
            self.ended = self.begun
            if self.dice.random() < 0.9:
                self.intent = self.source.read()
                self.source._answered = self.asked

    def keep(self) -> None:
        """One step of rack1's shard."""
        next(self.keeping)

    def look(self) -> None:
        """One step of rack2's shard, which has nothing to do and reads as often."""
        next(self.looking)

    def run_errands(self) -> None:
        if self.source.facts is not None:
            self.desk._run_errands(self.source.facts, dict(self.desk._board.seen))

    def _keep(self) -> Iterator[None]:
        while True:
            groups, mapped = dict(self.rack.groups), set(self.rack.mapped)
            yield
            intent = yield from self._read()
            standing = {}
            for key, vid in groups.items():
                at = frozenset({"leaf1"} if vid in mapped else ())
                standing[RED, DVS] = StandingGroup(RED, DVS, key, Vid(vid), at)
            vnis = frozenset({Vni(VNI)} if groups or mapped else ())
            vids = frozenset(groups.values()) | mapped
            self.desk.saw(
                "rack1", Handover(HOME, standing, vnis, vids, True, self.now, reading=intent.reading), CLUSTERS
            )
            yield
            for change in self._plan(intent, groups, mapped):
                if self.dice.random() < 0.9:
                    self._make(*change)
                yield

    def _look(self) -> Iterator[None]:
        while True:
            yield
            intent = yield from self._read()
            nothing = Handover(ELSEWHERE, {}, frozenset(), frozenset(), True, self.now, reading=intent.reading)
            self.desk.saw("rack2", nothing, {})

    def _read(self) -> Iterator[None]:
        """What holds, or of a reading that began after this, or, if it takes too long, what was wanted last."""
        if self.intent is not None and self.source.holds():
            self.held += 1
            return self.intent
        wanted = self.begun + 1
        while True:
            self.begin_to_read()
            yield
            if self.intent is not None and self.ended >= wanted:
                return self.intent
            if self.intent is not None and self.dice.random() < 0.1:
                return replace(self.intent, fresh=False)

    def _plan(self, intent: Intent, groups: dict[str, int], mapped: set[int]) -> Iterator[tuple[str, Any]]:
        assigned = intent.within(HOME).networks
        wanted = int(assigned[RED].assigned[HOME]) if RED in assigned else None
        if intent.fresh:
            yield from (("unmap", vid) for vid in sorted(mapped - {wanted}))
            yield from (("remove", key) for key, vid in groups.items() if vid != wanted)
        if wanted is not None:
            if wanted not in groups.values():
                yield "make", wanted
            if wanted not in mapped:
                yield "map", wanted

    def _make(self, what: str, it: Any) -> None:
        match what:
            case "unmap":
                assert not [p for p in self.neutron.ports.values() if p.active and p.vid == it], "an ACTIVE port's VID"
                self.rack.mapped.discard(it)
            case "remove":
                assert not [p for p in self.neutron.ports.values() if p.group == it], "a port was told of it"
                self.removed += it in self.rack.groups
                self.rack.groups.pop(it, None)
            case "make":
                self.rack.groups[self.name("group")] = it
            case "map":
                self.rack.mapped.add(it)

    # --- Neutron and time

    def port_comes(self) -> None:
        """Its VLAN is reserved."""
        if len(self.neutron.ports) < 2:
            there = self.neutron.reserve()
            self.neutron.ports[self.name("port")] = Port(there["id"], there["vid"], self.now)

    def ports_ask(self) -> None:
        """For the port group."""
        for port in self.neutron.ports.values():
            if not port.group:
                answer = self.desk.port_group("rack1", "compute-1", RED, port.vid, 0.0)
                if "pg_id" in answer:
                    assert self.rack.groups.get(answer["pg_id"]) == port.vid, "told of what is not there"
                    port.group, port.told = answer["pg_id"], self.now
                    self.told += 1

    def ports_are_bound(self) -> None:
        """Those that were told; the segment must be there, or Neutron's API fails."""
        for port in self.neutron.ports.values():
            if port.group and not port.bound:
                there = self.neutron.segment
                assert there is not None, "its VLAN went while it was bound"
                assert there["id"] == port.segment, "its VLAN went while it was bound"
                port.bound = True
                self._says_of_it()

    def port_goes(self) -> None:
        gone = [id_ for id_, port in self.neutron.ports.items() if port.bound or not port.group]
        if gone:
            del self.neutron.ports[self.dice.choice(gone)]
            self._says_of_it()

    def _says_of_it(self) -> None:
        if self.dice.random() < 0.7:
            self.source.changed()

    def time_passes(self) -> None:
        """No binding takes longer than a VLAN is left unused."""
        self.now += self.dice.choice((0.1, 1.0, LINGER))
        if any(port.group and self.now - port.told > BIND_WITHIN for port in self.neutron.ports.values()):
            self.ports_are_bound()
        for id_, port in list(self.neutron.ports.items()):
            if not port.group and self.now - port.came > BIND_WITHIN:
                del self.neutron.ports[id_]
