"""What the contract suite of external NVEs needs of a far side, real or in memory, beyond the boundary itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from isthmus.model.boundary import Target
from isthmus.model.flow import Bridge, Flow, FlowPort, Goto, Match, Output, PopVid, SetVid, Tunnel
from isthmus.model.nve import NveEntry
from isthmus.model.tags import Vid, Vni
from lab.wire.clock import VirtualClock
from lab.wire.ovs import WireOvs
from tests.adapters.ovs.appliance import HOST, TestAppliance, appliance


class NveWorld(Protocol):
    """A far side, not built yet, and what may befall it."""

    @property
    def target(self) -> Target:
        """The NVE as this process sees it."""
        ...

    @property
    def other(self) -> Target:
        """The same NVE as a second reader sees it, one that has never written."""
        ...

    def entry(self, number: int) -> NveEntry:
        """One of any number of different entries."""
        ...

    def altered(self, entry: NveEntry) -> NveEntry:
        """Another entry of the same key."""
        ...

    def stop(self) -> None:
        """The NVE is gone: it answers nobody."""
        ...

    def start(self) -> None:
        """It is back, as after a power failure: what it does not keep over a restart is lost."""
        ...


class OvsEntries:
    """Entries of an OVS appliance: in both bridges, for several networks."""

    def entry(self, number: int) -> Flow:
        """A flow."""
        vni, mac = Vni(5000 + number), f"00:50:56:00:00:{number:02x}"
        match = Match(in_port=FlowPort.PATCH, vid=Vid(11 + number), dst=mac)
        if number % 2:
            actions = (SetVid(Vid(3000 + number)), Output(FlowPort.TRUNK))
            return Flow(Bridge.INT, 20, 40, match, actions, vni)
        return Flow(Bridge.TUN, 20, 40, match, (PopVid(), Tunnel(vni, "192.0.2.9"), Output(FlowPort.VXLAN)), vni)

    def altered(self, entry: NveEntry) -> Flow:
        """The same match, otherwise dealt with."""
        assert isinstance(entry, Flow)
        return Flow(entry.bridge, entry.table, entry.priority, entry.match, (Goto(22),), entry.vni)


@dataclass(slots=True)
class WireOvsWorld(OvsEntries):
    """The in-memory OVS of the lab."""

    target: WireOvs = field(default_factory=lambda: WireOvs(HOST, "192.0.2.1", VirtualClock()))

    @property
    def other(self) -> Target:
        """In memory there is one view."""
        return self.target

    def stop(self) -> None:
        """Unreachable."""
        self.target.faults.down = True

    def start(self) -> None:
        """Reachable, and empty."""
        self.target.restart()
        self.target.faults.heal()


@dataclass(slots=True)
class RealOvsWorld(OvsEntries):
    """ovsdb-server and ovs-vswitchd in a namespace."""

    appliance: TestAppliance
    target: Target
    other: Target

    def stop(self) -> None:
        """ovs-vswitchd is killed; ovsdb-server stays."""
        self.appliance.stop_vswitchd()

    def start(self) -> None:
        """A new ovs-vswitchd on the same database."""
        self.appliance.start_vswitchd()


@contextmanager
def wire_ovs() -> Iterator[NveWorld]:
    """In memory."""
    yield WireOvsWorld()


@contextmanager
def real_ovs() -> Iterator[NveWorld]:
    """For real: needs root and Open vSwitch."""
    with appliance() as made:
        target, other = made.target(), made.target()
        try:
            yield RealOvsWorld(made, target, other)
        finally:
            target.close()
            other.close()
