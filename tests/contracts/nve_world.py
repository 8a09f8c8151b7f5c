"""What the contract suite of external NVEs needs of a far side, real or in memory, beyond the boundary itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from isthmus.adapters.contrail.agent import VrouterAgent
from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.http import Http
from isthmus.adapters.contrail.objects import Objects
from isthmus.adapters.contrail.records import Records
from isthmus.adapters.contrail.vrouter import VrouterTarget
from isthmus.adapters.leaf.pair import LeafPair
from isthmus.model.boundary import Target
from isthmus.model.flow import Bridge, Flow, FlowPort, Goto, Match, Output, PopVid, SetVid, Tunnel
from isthmus.model.names import LeafId, Mac, NetworkId, NicId, PortId, VmId
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry, NveKey, Plug, Workload
from isthmus.model.tags import Vid, Vni
from lab.contrail.api_server import ApiServer as ContrailServer
from lab.contrail.client import PROJECT, Client
from lab.contrail.vrouter_agent import VrouterAgentStandIn
from lab.wire.clock import VirtualClock
from lab.wire.junos import JunosSwitch
from lab.wire.leaf import WireLeaf
from lab.wire.nvue import PAIR, NvueSwitch
from lab.wire.ovs import WireOvs
from lab.wire.sonic import SonicSwitch
from lab.wire.vrouter import Directory, WireVrouter
from tests.adapters.leaf.ngs.evpn import TestFabric, evpn
from tests.adapters.leaf.ngs.junos_switch import junos as junos_memory
from tests.adapters.leaf.ngs.nvue_switch import NVUE_PORTS, NvueTestSwitch
from tests.adapters.leaf.ngs.nvue_switch import nvue as nvue_switch
from tests.adapters.leaf.ngs.switch import PORTS as SONIC_PORTS
from tests.adapters.leaf.ngs.switch import EosPair, TestSwitch, eos_of_pair, eos_pair, eos_switch, nxos_switch
from tests.adapters.leaf.ngs.switch import eos as eos_memory
from tests.adapters.leaf.ngs.switch import nxos as nxos_memory
from tests.adapters.leaf.ngs.switch import sonic as sonic_switch
from tests.adapters.leaf.switch import PORTS, TestLeaf, leaf
from tests.adapters.ovs.appliance import HOST, TestAppliance, appliance
from tests.adapters.ovs.stock_agent import PluggedAppliance, plugged_appliance


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

    @property
    def replaces(self) -> bool:
        """An entry takes the place of another of its key.  Else that must be forgotten first."""
        ...

    @property
    def builds(self) -> bool:
        """Its frame is ours to build, and goes when it restarts."""
        ...

    @property
    def keeps(self) -> bool:
        """What it holds outlives a restart: it is noted elsewhere, too."""
        ...

    def entry(self, number: int) -> NveEntry:
        """One of any number of different entries."""
        ...

    def reads(self, entries: Iterable[NveEntry]) -> set[NveEntry]:
        """How these read, all of them and nothing else being there."""
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


class LeafWorld(NveWorld, Protocol):
    """A leaf switch, on which somebody else has networks too."""

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """Another hand binds a VID to a network of its own, on every port of ours."""
        ...


class OvsEntries:
    """Entries of an OVS appliance: in both bridges, for several networks."""

    builds = True
    replaces = True
    keeps = False

    def reads(self, entries: Iterable[NveEntry]) -> set[NveEntry]:
        """As they were learnt."""
        return set(entries)

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


class LeafEntries:
    """Entries of a leaf: several of each kind, for several networks."""

    builds = False
    replaces = True
    keeps = False

    def entry(self, number: int) -> NveEntry:
        """By turns where a MAC is, what a VID means, and where frames for all go."""
        vni, mac = Vni(5000 + number // 2), Mac(f"00:50:56:00:00:{number:02x}")
        kinds = (
            LeafUnicast(vni, mac, f"192.0.2.{10 + number % 4}"),
            LeafBinding(Vid(11 + number), vni),
            LeafFlood(Vni(6000 + number), frozenset({"192.0.2.10", f"192.0.2.{11 + number}"})),
        )
        return kinds[number % 3]

    def altered(self, entry: NveEntry) -> NveEntry:
        """The MAC is elsewhere; the VID means another network; the frames go to others."""
        match entry:
            case LeafUnicast(vni, mac):
                return LeafUnicast(vni, mac, "192.0.2.99")
            case LeafBinding(vid):
                return LeafBinding(vid, Vni(7000))
            case LeafFlood(vni):
                return LeafFlood(vni, frozenset({"192.0.2.98", "192.0.2.99"}))
        raise AssertionError(entry)

    def reads(self, entries: Iterable[NveEntry]) -> set[NveEntry]:
        """A network that has anything has a flood list, if an empty one."""
        known: dict[NveKey, NveEntry] = {}
        for entry in entries:
            assert isinstance(entry, LeafBinding | LeafFlood | LeafUnicast)
            flood = LeafFlood(entry.vni, frozenset())
            known.setdefault(flood.key, flood)
            known[entry.key] = entry
        return set(known.values())


class EvpnEntries:
    """Entries of a leaf that learns by itself, and has one VID for a VNI."""

    builds = False
    replaces = False
    keeps = False

    def entry(self, number: int) -> LeafBinding:
        """What a VID means."""
        return LeafBinding(Vid(11 + number), Vni(5000 + number))

    def altered(self, entry: NveEntry) -> LeafBinding:
        """It means another network."""
        assert isinstance(entry, LeafBinding)
        return LeafBinding(entry.vid, Vni(7000 + int(entry.vid)))

    def reads(self, entries: Iterable[NveEntry]) -> set[NveEntry]:
        """As they were learnt."""
        return set(entries)


class PlugEntries:
    """Entries of an NVE that takes one port at a time."""

    replaces = True
    keeps = False

    def reads(self, entries: Iterable[NveEntry]) -> set[NveEntry]:
        """As they were learnt."""
        return set(entries)

    def entry(self, number: int) -> Plug:
        """A port."""
        nic = NicId(VmId(f"5029{number:04x}-0000-4000-8000-000000000001"), 4000)
        mac, network = Mac(f"00:50:56:00:00:{number:02x}"), NetworkId(f"network-{number // 2}")
        addresses = (f"10.0.0.{number}", f"fd00::{number:x}")[: number % 3]
        port = PortId(f"9f3c{number:04x}-0000-4000-8000-000000000001")
        return Plug(port, Vid(11 + number), network, Vni(5000 + number // 2), nic, mac, addresses, number % 4 != 3)

    def altered(self, entry: NveEntry) -> Plug:
        """It has another VID and another address."""
        assert isinstance(entry, Plug)
        return replace(entry, vid=Vid(1000 + entry.vid), addresses=("10.0.9.9",))


@dataclass(slots=True)
class WirePlugWorld(PlugEntries):
    """The in-memory NVE that knows ports."""

    target: WireVrouter = field(
        default_factory=lambda: WireVrouter(HOST, "192.0.2.1", VirtualClock(), Directory(), "stock-ovs")
    )
    builds = False

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
class RealPlugWorld(PlugEntries):
    """Open vSwitch in a namespace, with a stand-in for the stock agent."""

    plugged: PluggedAppliance
    target: Target
    other: Target
    builds = True

    def stop(self) -> None:
        """Its machine has no power: the agent, ovs-vswitchd and ovsdb-server are gone."""
        self.plugged.power_off()

    def start(self) -> None:
        """Another machine in its place: one that comes back keeps its database."""
        self.plugged.replace()


@dataclass(slots=True)
class VrouterWorld:
    """A vRouter agent and an api-server, stand-ins over real HTTP: every other port is one that Neutron made there."""

    server: ContrailServer
    agent: VrouterAgentStandIn
    target: Target
    other: Target
    builds = False
    replaces = True
    keeps = True

    @staticmethod
    def network(number: int) -> NetworkId:
        """One of its networks; two ports are in each."""
        return NetworkId(f"7e7e{number:04x}-0000-4000-8000-000000000001")

    @staticmethod
    def nic(number: int) -> NicId:
        """One of its NICs."""
        return NicId(VmId(f"5029{number:04x}-0000-4000-8000-000000000001"), 4000)

    @staticmethod
    def port(number: int) -> PortId:
        """One of Neutron's."""
        return PortId(f"9f3c{number:04x}-0000-4000-8000-000000000001")

    def entry(self, number: int) -> Plug | Workload:
        """A plug of a port that is there, or a port of a NIC that nobody made known yet."""
        nic, network, vni = self.nic(number), self.network(number // 2), Vni(5000 + number // 2)
        mac = Mac(f"00:50:56:00:00:{number:02x}")
        if number % 2:
            return Workload(PortId(f"{nic}@{network}"), network, vni, nic, mac, f"vm {number}")
        addresses = (f"10.0.0.{number}", f"fd00::{number:x}")[: number % 3]
        return Plug(self.port(number), Vid(11 + number), network, vni, nic, mac, addresses, number % 4 != 2)

    def altered(self, entry: NveEntry) -> Plug | Workload:
        """It has another VID and another address; its VM has another name."""
        match entry:
            case Plug():
                return replace(entry, vid=Vid(1000 + entry.vid), addresses=("10.0.9.9",))
            case Workload():
                return replace(entry, vm_name=f"renamed {entry.vm_name}")
        raise AssertionError(entry)

    def reads(self, entries: Iterable[NveEntry]) -> set[NveEntry]:
        """As they were learnt."""
        return set(entries)

    def stop(self) -> None:
        """Neither answers."""
        self.server.stop()
        self.agent.stop()

    def start(self) -> None:
        """Both are back, and the agent has lost its files."""
        self.server.start()
        self.agent.start(with_files=False)


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


@dataclass(slots=True)
class WireLeafWorld(LeafEntries):
    """The in-memory leaf of the lab."""

    target: WireLeaf = field(default_factory=lambda: WireLeaf(LeafId("leaf1"), "192.0.2.1", [], VirtualClock()))

    @property
    def other(self) -> Target:
        """In memory there is one view."""
        return self.target

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """It is there."""
        self.target.foreign[vid] = vni

    def stop(self) -> None:
        """Unreachable."""
        self.target.faults.down = True

    def start(self) -> None:
        """Another switch in its place."""
        self.target.restart()
        self.target.faults.heal()


@dataclass(slots=True)
class WirePairWorld(LeafEntries):
    """Two in-memory leaves as one."""

    members: tuple[WireLeaf, WireLeaf] = field(
        default_factory=lambda: (
            WireLeaf(LeafId("leaf1"), "192.0.2.1", [], VirtualClock()),
            WireLeaf(LeafId("leaf1"), "192.0.2.1", [], VirtualClock()),
        )
    )

    @property
    def target(self) -> Target:
        """The pair."""
        return LeafPair([(f"member{number}", member) for number, member in enumerate(self.members, 1)])

    @property
    def other(self) -> Target:
        """Another pair of eyes."""
        return self.target

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """At one of them, which is enough to be in the way."""
        self.members[0].foreign[vid] = vni

    def stop(self) -> None:
        """One of them is enough."""
        self.members[1].faults.down = True

    def start(self) -> None:
        """Two others in their place."""
        for member in self.members:
            member.restart()
            member.faults.heal()


@dataclass(slots=True)
class RealVtepWorld(LeafEntries):
    """ovsdb-server with the schema of VTEPs."""

    leaf: TestLeaf
    target: Target
    other: Target

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """By vtep-ctl."""
        name = f"by-hand-{int(vni)}"
        self.leaf.ctl("add-ls", name, "--", "set", "Logical_Switch", name, f"tunnel_key={int(vni)}")
        for port in PORTS:
            self.leaf.ctl("bind-ls", "leaf1", port, str(int(vid)), name)

    def stop(self) -> None:
        """ovsdb-server is killed."""
        self.leaf.stop()

    def start(self) -> None:
        """Another switch in its place: one that comes back keeps its database."""
        self.leaf.replace()


@dataclass(slots=True)
class RealPairWorld(LeafEntries):
    """The two members of an MLAG pair: a VTEP database each, told alike."""

    members: tuple[RealVtepWorld, RealVtepWorld]
    target: Target
    other: Target

    @classmethod
    def of(cls, *members: RealVtepWorld) -> RealPairWorld:
        """Two as one, and other eyes for the same two."""
        first, second = members
        pair = LeafPair([("one", first.target), ("two", second.target)])
        return cls((first, second), pair, LeafPair([("one", first.other), ("two", second.other)]))

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """At one of them, which is enough to be in the way."""
        self.members[0].bind_by_hand(vid, vni)

    def stop(self) -> None:
        """One of them is enough."""
        self.members[1].stop()

    def start(self) -> None:
        """Two others in their place."""
        self.members[0].stop()
        for member in self.members:
            member.start()


@dataclass(slots=True)
class SonicWorld(EvpnEntries):
    """SONiC in memory, told by networking-generic-switch."""

    switch: TestSwitch
    target: Target
    other: Target

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """At its command line."""
        self.switch.ctl(f"vlan add {vid}", f"vxlan map add vtep {vid} {int(vni)}")
        self.switch.ctl(*(f"vlan member add {vid} {port}" for port in SONIC_PORTS))

    def stop(self) -> None:
        """It answers nobody."""
        self.switch.up = False

    def start(self) -> None:
        """Another switch in its place."""
        self.switch.cli = SonicSwitch(self.switch.cli.ports)
        self.switch.up = True


@dataclass(slots=True)
class NgsWorld(EvpnEntries):
    """A switch of another type in memory, told by networking-generic-switch."""

    switch: TestSwitch
    target: Target
    other: Target
    new: Callable[[], object]

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """At its command line."""
        self.switch.by_hand(vid, vni, **dict.fromkeys(self.switch.ports, "tagged"))

    def stop(self) -> None:
        """It answers nobody."""
        self.switch.up = False

    def start(self) -> None:
        """Another switch in its place."""
        self.switch.cli = self.new()  # type: ignore[assignment]
        self.switch.up = True


@dataclass(slots=True)
class RealEvpnWorld(EvpnEntries):
    """FRR in a namespace, behind a command line like SONiC's and a real ssh server."""

    fabric: TestFabric
    target: Target
    other: Target

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """At its command line."""
        leaf = self.fabric.leaf("leaf1")
        for line in (f"vlan add {vid}", f"vxlan map add vtep {vid} {int(vni)}"):
            leaf.cli(f"config {line}")

    def stop(self) -> None:
        """Its ssh server is killed, sessions and all."""
        self.fabric.leaf("leaf1").stop_ssh(self.fabric.state.processes)

    def start(self) -> None:
        """Another switch in its place: one that comes back keeps its configuration."""
        self.fabric.leaf("leaf1").replace()
        self.fabric.leaf("leaf1").start_ssh(self.fabric.state.processes)


@dataclass(slots=True)
class NvueWorld(EvpnEntries):
    """Cumulus Linux in memory, told by networking-generic-switch."""

    switch: NvueTestSwitch
    target: Target
    other: Target
    set_up: tuple[str, ...] = ()
    """What was said to it before."""

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """At its command line."""
        ports = ",".join(NVUE_PORTS)
        bound = f"set bridge domain br_default vlan {vid} vni {int(vni)}"
        self.switch.nvue.by_hand(bound, f"set interface {ports} bridge domain br_default vlan {vid}")

    def stop(self) -> None:
        """It answers nobody."""
        self.switch.up = False

    def start(self) -> None:
        """Another switch in its place."""
        self.switch.nvue = NvueSwitch()
        self.switch.nvue.by_hand(*self.set_up)
        self.switch.up = True


@contextmanager
def nvue() -> Iterator[LeafWorld]:
    """Real library, switch in memory."""
    with nvue_switch() as made:
        yield NvueWorld(made, made.target(), made.target())


@contextmanager
def nvue_pair() -> Iterator[LeafWorld]:
    """The same, as one of a pair."""
    with nvue_switch() as made:
        made.nvue.by_hand(*PAIR)
        yield NvueWorld(made, made.target(), made.target(), PAIR)


@contextmanager
def real_evpn() -> Iterator[LeafWorld]:
    """For real: needs root, FRR and an ssh server."""
    with evpn(leaf1=("Ethernet4",)) as made:
        yield RealEvpnWorld(made, made.target("leaf1"), made.target("leaf1"))


@contextmanager
def sonic() -> Iterator[LeafWorld]:
    """Real library, switch in memory."""
    with sonic_switch() as made:
        yield SonicWorld(made, made.target(), made.target())


@contextmanager
def eos() -> Iterator[LeafWorld]:
    """Real library, switch in memory."""
    with eos_memory() as made:
        yield NgsWorld(made, made.target(), made.target(), eos_switch)


@dataclass(slots=True)
class EosPairWorld(EvpnEntries):
    """Two that act as one, each of which shows the ports of the other."""

    pair: EosPair
    target: Target
    other: Target

    def bind_by_hand(self, vid: Vid, vni: Vni) -> None:
        """At one of them, which is enough to be in the way."""
        first = self.pair.switches[0]
        first.by_hand(vid, vni, **dict.fromkeys(first.ports, "tagged"))

    def stop(self) -> None:
        """One of them is enough."""
        self.pair.switches[1].up = False

    def start(self) -> None:
        """Two others in their place."""
        for switch, cli in zip(self.pair.switches, eos_of_pair(), strict=True):
            switch.cli = cli
            switch.up = True


@contextmanager
def eos_mlag() -> Iterator[LeafWorld]:
    """Real library, switches in memory."""
    with eos_pair() as made:
        yield EosPairWorld(made, made.target(), made.target())


@contextmanager
def nxos() -> Iterator[LeafWorld]:
    """Real library, switch in memory."""
    with nxos_memory() as made:
        yield NgsWorld(made, made.target(), made.target(), nxos_switch)


@contextmanager
def junos() -> Iterator[LeafWorld]:
    """Real library, switch in memory."""
    with junos_memory() as made:
        settings = made.settings()
        yield NgsWorld(made, made.target(settings), made.target(settings), JunosSwitch)


@contextmanager
def wire_leaf() -> Iterator[LeafWorld]:
    """In memory."""
    yield WireLeafWorld()


@contextmanager
def wire_pair() -> Iterator[LeafWorld]:
    """In memory, two that act as one."""
    yield WirePairWorld()


@contextmanager
def real_vtep() -> Iterator[LeafWorld]:
    """For real: needs root and Open vSwitch's VTEP schema."""
    with leaf() as made:
        yield RealVtepWorld(made, made.target(), made.target())


@contextmanager
def real_pair() -> Iterator[LeafWorld]:
    """As above, twice."""
    with real_vtep() as one, real_vtep() as two:
        assert isinstance(one, RealVtepWorld)
        assert isinstance(two, RealVtepWorld)
        yield RealPairWorld.of(one, two)


@contextmanager
def wire_ovs() -> Iterator[NveWorld]:
    """In memory."""
    yield WireOvsWorld()


@contextmanager
def wire_plugs() -> Iterator[NveWorld]:
    """In memory."""
    yield WirePlugWorld()


@contextmanager
def vrouter() -> Iterator[NveWorld]:
    """Real HTTP to stand-ins."""
    with TemporaryDirectory() as folder, ContrailServer() as server, VrouterAgentStandIn(Path(folder)) as agent:
        client = Client(server.url)
        client.project()
        names: dict[NetworkId, list[str]] = {}
        for number in range(0, 20, 2):
            network, vm = VrouterWorld.network(number // 2), VrouterWorld.nic(number).vm
            names[network] = [*PROJECT, name := f"net{number}"]
            client.network(name, uuid=network)
            client.make("virtual-machine", [vm], uuid=vm)
            port = VrouterWorld.port(number)
            client.port(port, name, uuid=port, virtual_machine_refs=[{"to": [vm]}])

        def process() -> VrouterTarget:
            api = ApiServer(Http(server.url, place="the api-server", kind="an api-server", timeout=2))
            records = Records(api, "isthmus", time.monotonic, holds=0)  # else the hosts of a round share one list
            objects = Objects(api, records, names.__getitem__)
            return VrouterTarget(HOST, VrouterAgent(agent.address, 2), objects, time.monotonic)

        target, other = process(), process()
        try:
            yield VrouterWorld(server, agent, target, other)
        finally:
            target.close()
            other.close()


@contextmanager
def real_plugs() -> Iterator[NveWorld]:
    """For real: needs root and Open vSwitch."""
    with plugged_appliance() as made:
        target, other = made.target(), made.target()
        try:
            yield RealPlugWorld(made, target, other)
        finally:
            target.close()
            other.close()


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
