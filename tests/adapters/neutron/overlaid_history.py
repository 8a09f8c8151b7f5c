"""Any history of one network on a cluster whose hosts have VTEPs of their own: as in `history`, without a VLAN.

A port needs its network's port group from when it is made until it goes, and nothing in Neutron says that the port
group is about to go: only that no port needs it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from isthmus.adapters.neutron.desk import Desk
from isthmus.adapters.neutron.errands import Cluster
from isthmus.adapters.neutron.intent import NeutronIntent
from isthmus.adapters.neutron.meaning import Places
from isthmus.adapters.neutron.packing import packed
from isthmus.model.handover import Handover, StandingGroup
from isthmus.model.intent import Intent
from isthmus.model.names import DvsId, HostId, NetworkId
from isthmus.model.tags import Vni
from tests.adapters.neutron import test_meaning as rows

RED, VNI, DVS = NetworkId("red"), 70001, DvsId("dvs-1")
CLUSTERS = {"compute-1": Cluster("cloud", DVS, frozenset(), frozenset({HostId("esx1")}), overlaid=True)}


@dataclass
class OverlaidHistory:
    """One step after the other.  Law: whoever was told a port group finds it there until he goes."""

    dice: Random
    now: float = 0.0
    names: int = 0
    ports: dict[str, str] = field(default_factory=dict)
    """What each was told, or nothing yet."""
    groups: set[str] = field(default_factory=set)
    answer: dict[str, Any] = field(default_factory=dict)
    told: int = 0
    removed: int = 0
    held: int = 0
    asked: tuple[int, float] = (0, 0.0)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """isthmus dies at whatever it was doing."""
        places = Places(overlaid={"compute-1": "cloud"})
        self.source = NeutronIntent(self, places, lambda: self.now)  # type: ignore[arg-type]
        self.desk = Desk(self, self.source, frozenset(), {}, lambda: self.now)  # type: ignore[arg-type]
        self.intent: Intent | None = None
        self.begun = self.ended = 0
        self.keeping, self.looking = self._keep(), self._look()

    def call(self, topic: str, method: str, **asked: Any) -> Any:
        """What isthmus asks of Neutron."""
        return packed(self.answer) if method == "read" else []

    def name(self, what: str) -> str:
        """Another each time."""
        self.names += 1
        return f"{what} {self.names}"

    def begin_to_read(self) -> None:
        """Neutron makes its answer."""
        if self.begun == self.ended:
            self.begun += 1
            self.asked = self.source._changes, self.now
            bound = [
                rows.port(id_, RED, rows.binding("compute-1", *(["vxlan"] if group else []), ours=bool(group)))
                for id_, group in self.ports.items()
            ]
            nothing: dict[str, Any] = {
                "agents": [],
                "held": [],
                "domains": {},
                "fabric": False,
                "kept": [],
                "beside": [],
                "static": [],
            }
            self.answer = {"networks": [rows.network(RED, VNI)], "ports": bound, **nothing}

    def end_reading(self) -> None:
        """It arrives, if it does."""
        if self.begun > self.ended:
            self.ended = self.begun
            if self.dice.random() < 0.9:
                self.intent = self.source.read()
                self.source._answered = self.asked

    def keep(self) -> None:
        """One step of the shard that writes the switch's port groups."""
        next(self.keeping)

    def _keep(self) -> Iterator[None]:
        while True:
            groups = set(self.groups)
            yield
            intent = yield from self._read()
            wanted = RED in intent.within(None, "cloud").networks
            self.desk.saw("cloud", self._seen(groups, intent), CLUSTERS)
            yield
            if self.dice.random() < 0.9:
                self._make(groups, wanted=wanted)
            yield

    def look(self) -> None:
        """One step of a host's shard, which writes ports only, and looks at the same switch."""
        next(self.looking)

    def _look(self) -> Iterator[None]:
        while True:
            groups = set(self.groups)
            yield
            intent = yield from self._read()
            self.desk.saw_ports("cloud", self._seen(groups, intent))

    def _seen(self, groups: set[str], intent: Intent) -> Handover:
        standing = {(RED, DVS): StandingGroup(RED, DVS, max(groups), None, frozenset())} if groups else {}
        vnis = frozenset({Vni(VNI)} if groups else ())
        return Handover(None, standing, vnis, frozenset(), True, self.now, reading=intent.reading)

    def _read(self) -> Generator[None, None, Intent]:
        """What holds, or of a reading that began after this."""
        if self.intent is not None and self.source.holds():
            self.held += 1
            return self.intent
        asked = self.begun + 1
        while self.intent is None or self.ended < asked:
            self.begin_to_read()
            yield
        return self.intent

    def _make(self, groups: set[str], *, wanted: bool) -> None:
        if wanted and not groups:
            self.groups.add(self.name("group"))
        for key in groups if not wanted else ():
            assert key not in self.ports.values(), "a port was told of it"
            self.removed += key in self.groups
            self.groups.discard(key)

    def port_comes(self) -> None:
        """Neutron has it before it binds it."""
        if len(self.ports) < 2:
            self.ports[self.name("port")] = ""

    def ports_ask(self) -> None:
        """For the port group."""
        for id_, group in self.ports.items():
            if not group:
                answer = self.desk.port_group("cloud", "compute-1", RED, None, 0.0)
                if "pg_id" in answer:
                    assert answer["pg_id"] in self.groups, "told of what is not there"
                    self.ports[id_] = answer["pg_id"]
                    self.told += 1
                    self._says_of_it()

    def _says_of_it(self) -> None:
        if self.dice.random() < 0.7:
            self.source.changed()

    def port_goes(self) -> None:
        """Whether it was bound or not."""
        if self.ports:
            del self.ports[self.dice.choice(list(self.ports))]
            self._says_of_it()
