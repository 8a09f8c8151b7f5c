"""A switch in memory under networking-generic-switch's real code: only the ssh session is ours."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest

from isthmus.adapters.leaf.ngs import NgsSettings, NgsTarget
from isthmus.adapters.leaf.ngs.eos import reads as eos_reads
from isthmus.adapters.leaf.ngs.nxos import READS as NXOS_READS
from isthmus.adapters.leaf.pair import LeafPair
from isthmus.model.names import LeafId
from isthmus.model.tags import VidSet
from lab.wire.eos import EosSwitch
from lab.wire.modal import SwitchPort
from lab.wire.nxos import NxosSwitch
from lab.wire.sonic import SonicSwitch

ADDRESS = "192.0.2.101"
PROMPT = "root@leaf1:~#"
PORTS = ("Ethernet4", "Ethernet8")
OPTIONS = {"username": "admin", "ngs_vtep_name": "vtep", "ngs_bgp_asn": "65000"}


def settings(ports: tuple[str, ...] = PORTS, vids: str = "1-199,205", **options: str) -> NgsSettings:
    return NgsSettings("netmiko_sonic", ADDRESS, ports, VidSet.of(vids), {**OPTIONS, **options})


@dataclass(slots=True)
class Session:
    """What netmiko's connection does for the library, on a switch in memory."""

    switch: TestSwitch
    born: int = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.disconnect()

    def enable(self) -> None:
        self.switch.roots += 1

    def is_alive(self) -> bool:
        return self.switch.up and self.born == self.switch.born

    def disconnect(self) -> None:
        self.switch.sessions -= 1

    def find_prompt(self) -> str:
        self.switch.answer()
        return self.switch.prompt

    def send_command(self, command: str, *, expect_string: str = "", read_timeout: float = 10) -> str:
        said = self.switch.hear(command, read_timeout)
        assert re.search(expect_string, self.switch.prompt), "nobody would see the end of the answer"
        return said


@dataclass(slots=True)
class TestSwitch:
    __test__ = False

    kind: ClassVar[str] = "sonic"
    reads: ClassVar[tuple[str, ...]] = ("show vlan config", "show vxlan vlanvnimap")
    ports: ClassVar[tuple[str, ...]] = PORTS
    theirs: ClassVar[str] = "Ethernet48"
    set_up: ClassVar[VidSet] = VidSet()
    """VLANs that it has from the beginning."""
    cli: SonicSwitch = field(default_factory=lambda: SonicSwitch((*PORTS, "Ethernet48")))
    up: bool = True
    garbled: str = ""
    """What it says instead of every answer."""
    no: str = "Error: not now"
    refuses: str = ""
    """It complains of commands that begin so, and does nothing."""
    takes: float = 0
    """Seconds that it needs for a command."""
    told: list[str] = field(default_factory=list)
    """Every command but those that only look."""
    before: Callable[[str], None] = lambda command: None
    """What happens just before a command."""
    sessions: int = 0
    most_sessions: int = 0
    password: str | None = None
    """None: whoever comes is let in."""
    born: int = 0
    """Sessions of before are dead."""
    roots: int = 0
    """How often somebody became root."""
    dies_after: int | None = None
    """It goes down after so many commands more."""

    @property
    def prompt(self) -> str:
        return PROMPT

    def connect(self, password: str | None = None, **_: object) -> Session:
        from netmiko.exceptions import NetmikoAuthenticationException, NetmikoTimeoutException

        if self.up and self.password not in (None, password):
            raise NetmikoAuthenticationException("Authentication to device failed.")

        if not self.up:
            raise NetmikoTimeoutException(f"TCP connection to {ADDRESS} failed")
        self.sessions += 1
        self.most_sessions = max(self.most_sessions, self.sessions)
        return Session(self, self.born)

    def drop_sessions(self) -> None:
        """As one that ends what is idle."""
        self.born += 1

    def hear(self, command: str, patience: float) -> str:
        from netmiko.exceptions import ReadTimeout

        if not command.startswith("show"):
            self.told.append(command)
        self.before(command)
        self.answer()
        if self.refuses and command.startswith(self.refuses):
            return self.no
        said = self.garbled or self.cli.run(command)
        if self.takes > patience:
            raise ReadTimeout("Pattern not detected")
        return said

    def answer(self) -> None:
        from netmiko.exceptions import ReadTimeout

        if self.dies_after is not None:
            self.up = self.up and self.dies_after > 0
            self.dies_after -= 1
        if not self.up:
            raise ReadTimeout("Pattern not detected")

    def ctl(self, *lines: str) -> None:
        """By its operator's hand."""
        for line in lines:
            said = self.cli.run(f"config {line}")
            assert not said, said

    def settings(self, ports: tuple[str, ...] = PORTS, **options: str) -> NgsSettings:
        return settings(ports, **options)

    def target(self, found: NgsSettings | None = None) -> NgsTarget:
        return NgsTarget(LeafId("leaf1"), found or self.settings())

    @property
    def state(self) -> Mapping[int, tuple[int | None, Mapping[str, str]]]:
        """The VNI and the ports of each VLAN."""
        there = self.cli.vlans.keys() | self.cli.maps.keys()
        return {vid: (self.cli.maps.get(vid), dict(self.cli.vlans.get(vid, {}))) for vid in sorted(there)}

    def with_ports(self, count: int) -> tuple[str, ...]:
        """So many more, of which none carries anything."""
        names = tuple(f"Ethernet{100 + number}" for number in range(count))
        self.cli.ports = (*self.cli.ports, *names)
        return names

    def by_hand(self, vid: int, vni: int | None = None, **ports: str) -> None:
        """A VLAN, its VNI if it has one, and ports more."""
        self.cli.vlans.setdefault(vid, {}).update(ports)
        if vni is not None:
            self.cli.maps[vid] = vni

    def no_vni_by_hand(self, vid: int) -> None:
        del self.cli.maps[vid]

    def off_by_hand(self, vid: int, port: str) -> None:
        del self.cli.vlans[vid][port]

    def access_by_hand(self, vid: int) -> None:
        """An access port of somebody's, where there are any."""
        self.by_hand(vid)
        port: SwitchPort = self.cli.ports[self.theirs]  # type: ignore[call-overload]
        port.mode, port.access = "access", vid

    def svi_by_hand(self, vid: int) -> None:
        """A VLAN interface, where it is shown."""
        self.cli.svis.add(vid)  # type: ignore[attr-defined]


def eos_switch() -> EosSwitch:
    """Its ports are trunks that carry nothing yet."""
    return EosSwitch({port: SwitchPort() for port in (*PORTS, "Ethernet48")})


@dataclass(slots=True)
class EosTestSwitch(TestSwitch):
    __test__ = False

    kind = "eos"
    reads = eos_reads("Vxlan1")
    cli: EosSwitch = field(default_factory=eos_switch)  # type: ignore[assignment]
    no: str = "% Not now"

    @property
    def prompt(self) -> str:
        return self.cli.prompt

    def connect(self, password: str | None = None, **given: object) -> Session:
        self.cli.modes = []
        return TestSwitch.connect(self, password, **given)

    def ctl(self, *lines: str) -> None:
        for line in ("configure terminal", *lines, "end"):
            said = self.cli.run(line)
            assert not said, said

    def settings(self, ports: tuple[str, ...] = PORTS, **options: str) -> NgsSettings:
        given = {"username": "admin", "ngs_bgp_asn": "65000", **options}
        return NgsSettings("netmiko_arista_eos", ADDRESS, ports, VidSet.of("2-199,205"), given)

    @property
    def state(self) -> Mapping[int, tuple[int | None, Mapping[str, str]]]:
        there = self.cli.vlans.keys() | self.cli.maps.keys()
        return {vid: (self.cli.maps.get(vid), self.cli.members(vid)) for vid in sorted(there)}

    def with_ports(self, count: int) -> tuple[str, ...]:
        names = tuple(f"Ethernet{100 + number}" for number in range(count))
        self.cli.ports.update({name: SwitchPort() for name in names})
        return names

    def by_hand(self, vid: int, vni: int | None = None, **ports: str) -> None:
        self.cli.vlans.setdefault(vid, [])
        if vni is not None:
            self.cli.maps[vid] = vni
            self.cli.told[vid] = ["rd auto", "redistribute learned"]
        for name, mode in ports.items():
            port = self.cli.ports[name]
            port.allowed = (port.allowed or frozenset()) | {vid}
            port.native = vid if mode == "untagged" else port.native

    def off_by_hand(self, vid: int, port: str) -> None:
        self.cli.ports[port].allowed = (self.cli.ports[port].allowed or frozenset()) - {vid}


def nxos_switch() -> NxosSwitch:
    """Its ports are trunks that carry nothing yet."""
    return NxosSwitch({port: SwitchPort() for port in (*NXOS_PORTS, "Ethernet1/48")})


NXOS_PORTS = ("Ethernet1/4", "Ethernet1/8")


@dataclass(slots=True)
class NxosTestSwitch(TestSwitch):
    __test__ = False

    kind = "nxos"
    reads = NXOS_READS
    ports = NXOS_PORTS
    theirs = "Ethernet1/48"
    cli: NxosSwitch = field(default_factory=nxos_switch)  # type: ignore[assignment]
    no: str = "% Not now"

    @property
    def prompt(self) -> str:
        return self.cli.prompt

    def connect(self, password: str | None = None, **given: object) -> Session:
        self.cli.modes = []
        return TestSwitch.connect(self, password, **given)

    def settings(self, ports: tuple[str, ...] = NXOS_PORTS, **options: str) -> NgsSettings:
        given = {"username": "admin", **options}
        return NgsSettings("netmiko_cisco_nxos", ADDRESS, ports, VidSet.of("2-199,205"), given)

    @property
    def state(self) -> Mapping[int, tuple[int | None, Mapping[str, str]]]:
        there = self.cli.vlans.keys() | self.cli.maps.keys()
        return {vid: (self.cli.maps.get(vid), self.cli.members(vid)) for vid in sorted(there)}

    def with_ports(self, count: int) -> tuple[str, ...]:
        names = tuple(f"Ethernet1/{100 + number}" for number in range(count))
        self.cli.ports.update({name: SwitchPort() for name in names})
        return names

    def by_hand(self, vid: int, vni: int | None = None, /, **ports: str) -> None:
        self.cli.vlans.setdefault(vid, [])
        if vni is not None:
            self.cli.maps[vid] = vni
            self.cli.nve[vni] = ["ingress-replication protocol bgp"]
            self.cli.evpn[vni] = ["rd auto", "route-target import auto", "route-target export auto"]
        for name, mode in ports.items():
            port = self.cli.ports[name]
            port.allowed = (port.allowed or frozenset()) | {vid}
            port.native = vid if mode == "untagged" else port.native

    def off_by_hand(self, vid: int, port: str) -> None:
        self.cli.ports[port].allowed = (self.cli.ports[port].allowed or frozenset()) - {vid}


@contextmanager
def sonic() -> Iterator[TestSwitch]:
    with reached(TestSwitch()) as made:
        yield made


@contextmanager
def eos() -> Iterator[EosTestSwitch]:
    with reached(EosTestSwitch()) as made:
        assert isinstance(made, EosTestSwitch)
        yield made


PAIR = ("192.0.2.101", "192.0.2.102")
PEER_LINK = "Port-Channel1000"


@dataclass(slots=True)
class EosPair:
    """Two that act as one VTEP, each with a trunk for all VLANs to the other."""

    switches: tuple[EosTestSwitch, EosTestSwitch]

    def connect(self, **given: object) -> Session:
        return self.switches[PAIR.index(str(given["ip"]))].connect(**given)  # type: ignore[arg-type]

    def target(self) -> LeafPair:
        made = self.switches[0].settings(ngs_trunk_ports=PEER_LINK)
        return LeafPair([(ip, NgsTarget(LeafId("leaf1"), replace(made, address=ip))) for ip in PAIR])


def eos_of_pair() -> tuple[EosSwitch, EosSwitch]:
    first, second = eos_switch(), eos_switch()
    first.peer, second.peer = second, first
    for cli in (first, second):
        cli.ports[PEER_LINK] = SwitchPort(allowed=None)
    return first, second


@contextmanager
def eos_pair() -> Iterator[EosPair]:
    netmiko = pytest.importorskip("netmiko")
    pytest.importorskip("networking_generic_switch")
    first, second = (EosTestSwitch(cli=cli) for cli in eos_of_pair())
    made = EosPair((first, second))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netmiko, "ConnectHandler", made.connect)
        yield made


@contextmanager
def nxos() -> Iterator[NxosTestSwitch]:
    with reached(NxosTestSwitch()) as made:
        assert isinstance(made, NxosTestSwitch)
        yield made


@contextmanager
def reached(made: TestSwitch) -> Iterator[TestSwitch]:
    """Behind netmiko's name for a connection."""
    netmiko = pytest.importorskip("netmiko")
    pytest.importorskip("networking_generic_switch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netmiko, "ConnectHandler", made.connect)
        yield made
