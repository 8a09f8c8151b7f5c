"""The command line of a Cisco NX-OS switch in memory, as far as isthmus and its library ask, from its documentation.

Law: a word means what the mode makes it mean, and one that the mode does not know is looked for in those above it.
What it shows of a VLAN is who hears it, whatever put him there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.model.tags import VidSet

ALL = frozenset(range(1, 4095))
INVALID = "                   ^\n% Invalid command at '^' marker."
FEATURES = ("feature bgp", "feature vn-segment-vlan-based", "feature nv overlay", "nv overlay evpn")
NVE = ("no shutdown", "host-reachability protocol bgp", "source-interface loopback1")
BGP = ("router bgp 65000", "  neighbor 192.0.2.250", "    address-family l2vpn evpn")


class Complaint(Exception):
    """What the switch says instead of doing it."""


@dataclass(slots=True)
class NxosPort:
    """A port that is switched: a trunk that carries nothing yet, or else one for the access VLAN."""

    mode: str = "trunk"
    access: int = 1
    native: int = 1
    allowed: frozenset[int] | None = frozenset()
    """None: nothing is said of it, and it carries all."""
    up: bool = True
    routed: bool = False
    lag: int | None = None
    alone: bool = False
    """A LAG whose members stand alone where nobody speaks LACP, as is the case here."""

    def carries(self, vid: int) -> str:
        """How, or empty."""
        if self.routed:
            return ""
        if self.mode != "trunk":
            return "untagged" if vid == self.access else ""
        inside = self.allowed is None or vid in self.allowed
        return ("untagged" if vid == self.native else "tagged") if inside else ""


@dataclass(slots=True)
class NxosSwitch:
    """`changed` is called after each command that was taken in a mode of configuration."""

    ports: dict[str, NxosPort]
    vlans: dict[int, list[str]] = field(default_factory=dict)
    """What is said of each VLAN.  That there is VLAN 1 goes without saying."""
    svis: set[int] = field(default_factory=set)
    maps: dict[int, int] = field(default_factory=dict)
    """The vn-segment of each VLAN."""
    nve: dict[int, list[str]] = field(default_factory=dict)
    """What is said of each VNI that the NVE interface has."""
    evpn: dict[int, list[str]] = field(default_factory=dict)
    features: tuple[str, ...] = FEATURES
    of_nve: tuple[str, ...] | None = NVE
    """What stands below nve1; None: there is no such interface."""
    bgp: tuple[str, ...] = BGP
    more: str = ""
    """Statements that nothing is made of here."""
    saved: bool = True
    modes: list[str] = field(default_factory=list)
    """Where it is, from the outermost in; empty: nothing can be configured here."""
    changed: Callable[[], None] = lambda: None

    @property
    def prompt(self) -> str:
        """With the mode in it."""
        inner = self.modes[-1].split()[0] if self.modes else ""
        return "leaf1#" if not inner else "leaf1(config)#" if inner == "config" else f"leaf1(config-{inner})#"

    def members(self, vid: int) -> dict[str, str]:
        """How each port carries a VLAN, if there is one, up or down."""
        if vid not in self.vlans and vid != 1:
            return {}
        alone = {name: port for name, port in self.ports.items() if self._stands(port)}
        return {name: how for name, port in alone.items() if (how := port.carries(vid))}

    def _stands(self, port: NxosPort) -> bool:
        lag = self.ports.get(f"port-channel{port.lag}")
        return port.lag is None or (lag is not None and lag.alone)

    def run(self, line: str) -> str:
        """Give a command.  Returns what it prints."""
        try:
            return self._show(line) if line.startswith("show ") else self._told(line)
        except Complaint as said:
            return str(said)

    def _told(self, line: str) -> str:
        match self.modes, line:
            case _, "copy running-config startup-config":
                self.saved = True
                return "[########################################] 100%\nCopy complete."
            case _, "configure terminal":
                self.modes = ["config"]
                return "Enter configuration commands, one per line. End with CNTL/Z."
            case [_, *_], "end":
                self.modes = []
            case [_, *_], "exit":
                self.modes.pop()
            case _:
                self._configure(line)
                self.saved = False
                self.changed()
        return ""

    def _configure(self, line: str) -> None:
        modes = list(self.modes)
        while modes:
            inner = self._in_mode(modes[-1], line)
            if inner is not None:
                self.modes = [*modes, inner] if inner else modes
                return
            modes.pop()
        raise Complaint(INVALID)

    def _in_mode(self, mode: str, line: str) -> str | None:
        """The mode that a word of this one leads to, or "" to stay; None: it is no word of this one."""
        kind, _, name = mode.partition(" ")
        match kind:
            case "config":
                return self._globally(line)
            case "vlan":
                return self._of_vlan(int(name), line)
            case "evpn":
                return _of_vni(self.evpn, line, r"vni (\d+) l2", r"no vni (\d+)", "evpn-evi")
            case "evpn-evi":
                return _tell(self.evpn, int(name), line, r"rd auto|route-target (both|import|export) \S+")
            case "if-nve":
                return _of_vni(self.nve, line, r"member vni (\d+)", r"no member vni (\d+)", "if-nve-vni")
            case "if-nve-vni":
                return _tell(
                    self.nve, int(name), line, r"ingress-replication protocol \S+|suppress-arp|mcast-group \S+"
                )
            case "if" if name.startswith("Vlan"):
                return None
            case _:
                return self._of_port(self.ports[name], line)

    def _globally(self, line: str) -> str | None:
        match line.split():
            case ["vlan", vid]:
                if int(vid) >= 3968:
                    raise Complaint("ERROR: VLAN is reserved for internal use")
                self.vlans.setdefault(int(vid), [])
                return f"vlan {vid}"
            case ["no", "vlan", vid]:
                self.vlans.pop(int(vid), None)
                self.maps.pop(int(vid), None)
                return ""
            case ["evpn"] if "nv overlay evpn" in self.features:
                return "evpn"
            case ["interface", "nve1"] if self.of_nve is not None:
                return "if-nve"
            case ["interface", name] if name in self.ports:
                return f"if {name}"
            case ["interface", name] if found := re.fullmatch(r"Vlan(\d+)", name):
                self.svis.add(int(found[1]))
                return f"if {name}"
        return None

    def _of_vlan(self, vid: int, line: str) -> str | None:
        match line.split():
            case ["name", _] | ["state", _] | ["private-vlan", *_]:
                self.vlans[vid] = [said for said in self.vlans[vid] if said.split()[0] != line.split()[0]] + [line]
            case ["vn-segment", vni]:
                if int(vni) < 4096:
                    raise Complaint("% Invalid number, range is (4096:16777215)")
                if any(held == int(vni) and other != vid for other, held in self.maps.items()):
                    raise Complaint("ERROR: VN-segment is already mapped to another VLAN")
                if self.maps.get(vid, int(vni)) != int(vni):
                    raise Complaint("ERROR: VLAN has another vn-segment")
                self.maps[vid] = int(vni)
            case ["no", "vn-segment"]:
                self.maps.pop(vid, None)
            case _:
                return None
        return ""

    def _of_port(self, port: NxosPort, line: str) -> str | None:
        match line.split():
            case ["switchport", "trunk", "allowed", "vlan", "add", vids]:
                port.allowed = (ALL if port.allowed is None else port.allowed) | {*VidSet.of(vids)}
            case ["switchport", "trunk", "allowed", "vlan", "remove", vids]:
                port.allowed = (ALL if port.allowed is None else port.allowed) - {*VidSet.of(vids)}
            case ["switchport", "trunk", "native", "vlan", vid]:
                port.native = int(vid)
            case ["switchport", "access", "vlan", vid]:
                port.access = int(vid)
            case ["switchport", "mode", ("access" | "trunk" | "fex-fabric") as mode]:
                port.mode = mode
            case ["no", "switchport"]:
                port.routed = True
            case ["channel-group", number, *_]:
                port.lag = int(number)
            case ["shutdown"]:
                port.up = False
            case _:
                return None
        return ""

    def _show(self, line: str) -> str:
        match line:
            case "show running-config":
                return "\n".join(self._config())
            case _ if found := re.fullmatch(r"show running-config \| last (\d+)", line):
                return "\n".join(list(self._config())[-int(found[1]) :])
            case "show vlan | json":
                rows = [self._vlan(vid) for vid in sorted({1} | self.vlans.keys())]
                return json.dumps(_table("vlanbrief", rows))
            case "show interface switchport | json":
                return json.dumps(_table("interface", [_switchport(name, port) for name, port in self.ports.items()]))
            case "show nve vni | json" if "feature nv overlay" in self.features:
                vids = {vni: vid for vid, vni in self.maps.items()}
                rows = [_vni(vni, vids.get(vni)) for vni in sorted(self.nve)] if self.of_nve is not None else []
                return json.dumps(_table("nve_vni", rows)) if rows else ""
        raise Complaint(INVALID)

    def _vlan(self, vid: int) -> dict[str, str]:
        """Only ports that are up are shown with a VLAN."""
        up = [name for name in self.members(vid) if self.ports[name].up]
        row = {"vlanshowbr-vlanid": str(vid), "vlanshowbr-vlanid-utf": str(vid), "vlanshowbr-vlanstate": "active"}
        return row | ({"vlanshowplist-ifidx": ",".join(up)} if up else {})

    def _config(self) -> Iterator[str]:
        yield from (
            "!Command: show running-config",
            "!Time: Sun Nov 22 05:00:00 2026",
            "",
            "version 10.2(3) Bios:version",
        )
        yield from ("hostname leaf1", *self.features, "spanning-tree vlan 1-3967 priority 4096", "")
        if self.vlans:
            yield f"vlan {VidSet.of([1, *self.vlans])}"
        for vid, lines in sorted(self.vlans.items()):
            segment = [f"vn-segment {self.maps[vid]}"] if vid in self.maps else []
            yield from (f"vlan {vid}", *(f"  {line}" for line in (*lines, *segment)))
        for vid in sorted(self.svis):
            yield from ("", f"interface Vlan{vid}", "  no shutdown", "  ip address 192.0.2.129/28")
        for name, port in self.ports.items():
            yield from ("", f"interface {name}", *(f"  {line}" for line in _of(port)))
        if self.of_nve is not None:
            yield from ("", "interface nve1", *(f"  {line}" for line in self.of_nve))
            for vni, lines in sorted(self.nve.items()):
                yield from (f"  member vni {vni}", *(f"    {line}" for line in lines))
        if self.more:
            yield self.more
        yield from self.bgp
        if "nv overlay evpn" in self.features:
            yield "evpn"
            for vni, lines in sorted(self.evpn.items()):
                yield from (f"  vni {vni} l2", *(f"    {line}" for line in lines))
        yield from ("", "", "")


def _of_vni(vnis: dict[int, list[str]], line: str, add: str, remove: str, mode: str) -> str | None:
    if found := re.fullmatch(add, line):
        vnis.setdefault(int(found[1]), [])
        return f"{mode} {found[1]}"
    if found := re.fullmatch(remove, line):
        vnis.pop(int(found[1]), None)
        return ""
    return None


def _tell(vnis: dict[int, list[str]], vni: int, line: str, known: str) -> str | None:
    if not re.fullmatch(known, line):
        return None
    both = [line.replace("both", way) for way in ("import", "export")] if " both " in line else [line]
    vnis[vni] += [said for said in both if said not in vnis[vni]]
    return ""


def _table(name: str, rows: Sequence[Mapping[str, str]]) -> object:
    """One row is not a list of one."""
    return {f"TABLE_{name}": {f"ROW_{name}": rows[0] if len(rows) == 1 else rows}}


def _switchport(name: str, port: NxosPort) -> dict[str, str]:
    if port.routed:
        return {"interface": name, "switchport": "Disabled"}
    mode = port.mode if port.up else "down"
    allowed = "1-4094" if port.allowed is None else str(VidSet.of(port.allowed))
    about = {"oper_mode": mode, "access_vlan": str(port.access), "native_vlan": str(port.native)}
    return {"interface": name, "switchport": "Enabled", **about, "trunk_vlans": allowed}


def _vni(vni: int, vid: int | None) -> dict[str, str]:
    state, kind = ("Up", f"L2 [{vid}]") if vid else ("Down", "L2 [0]")
    return {"if-name": "nve1", "vni": str(vni), "mcast": "UnicastBGP", "vni-state": state, "mode": "CP", "type": kind}


def _of(port: NxosPort) -> Iterator[str]:
    yield "no switchport" if port.routed else "switchport"
    if port.mode != "access":
        yield f"switchport mode {port.mode}"
    if port.access != 1:
        yield f"switchport access vlan {port.access}"
    if port.native != 1:
        yield f"switchport trunk native vlan {port.native}"
    if port.allowed is not None:
        yield f"switchport trunk allowed vlan {VidSet.of(port.allowed)}"
    if port.lag is not None:
        yield f"channel-group {port.lag} mode active"
    if port.alone:
        yield "no lacp suspend-individual"
