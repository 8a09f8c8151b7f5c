"""The command line of an Arista EOS switch in memory, as far as isthmus and its library ask, from its documentation.

Law: a word means what the mode makes it mean, and one that the mode does not know is looked for in those above it.
What it shows of a VLAN is who hears it, whatever put him there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from isthmus.model.tags import VidSet

ALL = frozenset(range(1, 4095))
INVALID = "% Invalid input"


class Complaint(Exception):
    """What the switch says instead of doing it."""


@dataclass(slots=True)
class EosPort:
    """A port that is switched: a trunk that carries nothing yet, or else one for the access VLAN."""

    mode: str = "trunk"
    access: int = 1
    native: int = 1
    allowed: frozenset[int] | None = frozenset()
    """None: nothing is said of it, and it carries all."""
    up: bool = True
    routed: bool = False
    lag: int | None = None
    fallback: bool = False
    """A LAG whose members stand alone where nobody speaks LACP, as is the case here."""
    more: list[str] = field(default_factory=list)
    """Statements that nothing is made of here."""

    def carries(self, vid: int) -> str:
        """How, or empty."""
        if self.routed:
            return ""
        if self.mode != "trunk":
            return "untagged" if vid == self.access else ""
        inside = self.allowed is None or vid in self.allowed
        return ("untagged" if vid == self.native else "tagged") if inside else ""


@dataclass(slots=True)
class EosSwitch:
    """`changed` is called after each command that was taken in a mode of configuration."""

    ports: dict[str, EosPort]
    asn: int = 65000
    vlans: dict[int, list[str]] = field(default_factory=dict)
    """What is said of each VLAN.  That there is VLAN 1 goes without saying."""
    dynamic: set[int] = field(default_factory=set)
    """Those that it made for itself."""
    svis: set[int] = field(default_factory=set)
    maps: dict[int, int] = field(default_factory=dict)
    """VNIs by VID."""
    told: dict[int, list[str]] = field(default_factory=dict)
    """What BGP was told of a VLAN."""
    more: str = ""
    """Statements that nothing is made of here."""
    vxlan: tuple[str, ...] | None = ("vxlan source-interface Loopback1", "vxlan udp-port 4789")
    """What stands below Vxlan1; None: there is no such interface."""
    bgp: tuple[str, ...] = ("address-family evpn", "   neighbor SPINES activate")
    peer: EosSwitch | None = field(default=None, repr=False, compare=False)
    """The other switch of an MLAG pair: its ports that are not in the pair's LAGs are shown with a VLAN too."""
    saved: bool = True
    modes: list[str] = field(default_factory=list)
    """Where it is, from the outermost in; empty: nothing can be configured here."""
    changed: Callable[[], None] = lambda: None

    @property
    def prompt(self) -> str:
        """With the mode in it."""
        inner = self.modes[-1].replace(" ", "-") if self.modes else ""
        return "leaf1#" if not inner else "leaf1(config)#" if inner == "config" else f"leaf1(config-{inner})#"

    def members(self, vid: int) -> dict[str, str]:
        """How each port carries a VLAN, if there is one, up or down."""
        if vid not in self.vlans and vid != 1:
            return {}
        alone = {name: port for name, port in self.ports.items() if self._stands(port)}
        return {name: how for name, port in alone.items() if (how := port.carries(vid))}

    def _stands(self, port: EosPort) -> bool:
        lag = self.ports.get(f"Port-Channel{port.lag}")
        return port.lag is None or (lag is not None and lag.fallback)

    def run(self, line: str) -> str:
        """Give a command.  Returns what it prints."""
        try:
            return self._show(line) if line.startswith("show ") else self._told(line)
        except Complaint as said:
            return str(said)

    def _told(self, line: str) -> str:
        match self.modes, line:
            case _, "write memory":
                self.saved = True
                return "Copy completed successfully."
            case _, "configure terminal":
                self.modes = ["config"]
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
            case "router":
                return self._of_bgp(line)
            case "macvrf":
                return self._tell(int(name), line)
            case "if" if name == "Vxlan1":
                return self._of_vxlan(line)
            case "if" if name.startswith("Vlan"):
                return None
            case _:
                return self._of_port(self.ports[name], line)

    def _globally(self, line: str) -> str | None:
        match line.split():
            case ["vlan", vid]:
                if int(vid) in self.dynamic:
                    raise Complaint(f"% Failed to create VLANs: {vid} (VLAN is internal)")
                self.vlans.setdefault(int(vid), [])
                return f"vlan {vid}"
            case ["no", "vlan", vid]:
                self.vlans.pop(int(vid), None)
                return ""
            case ["interface", name] if name in self.ports or (name == "Vxlan1" and self.vxlan is not None):
                return f"if {name}"
            case ["interface", name] if found := re.fullmatch(r"Vlan(\d+)", name):
                self.svis.add(int(found[1]))
                return f"if {name}"
            case ["router", "bgp", asn]:
                if int(asn) != self.asn:
                    raise Complaint(f"% BGP is already running with AS number {self.asn}")
                return "router bgp"
        return None

    def _of_vlan(self, vid: int, line: str) -> str | None:
        if not line.startswith(("name ", "trunk group ", "state ", "private-vlan ")):
            return None
        self.vlans[vid] = [said for said in self.vlans[vid] if said.split()[0] != line.split()[0]] + [line]
        return ""

    def _of_bgp(self, line: str) -> str | None:
        match line.split():
            case ["vlan", vid]:
                self.told.setdefault(int(vid), [])
                return f"macvrf {vid}"
            case ["no", "vlan", vid]:
                self.told.pop(int(vid), None)
                return ""
        return None

    def _tell(self, vid: int, line: str) -> str | None:
        if not re.fullmatch(r"rd \S+|redistribute learned|route-target (both|import|export) (auto )?\S+", line):
            return None
        if line not in self.told[vid]:
            self.told[vid].append(line)
        return ""

    def _of_vxlan(self, line: str) -> str | None:
        match line.split():
            case ["vxlan", "vlan", vid, "vni", vni]:
                if self.maps.get(int(vid), int(vni)) != int(vni):
                    raise Complaint(f"% VLAN {vid} is already mapped to VNI {self.maps[int(vid)]}")
                if any(held == int(vni) and other != int(vid) for other, held in self.maps.items()):
                    raise Complaint(f"% VNI {vni} is already mapped to another VLAN")
                self.maps[int(vid)] = int(vni)
                return ""
            case ["no", "vxlan", "vlan", vid, "vni", vni]:
                if self.maps.get(int(vid)) == int(vni):
                    del self.maps[int(vid)]
                return ""
        return None

    def _of_port(self, port: EosPort, line: str) -> str | None:
        match line.split():
            case ["switchport", "trunk", "allowed", "vlan", "add", vids]:
                port.allowed = (ALL if port.allowed is None else port.allowed) | {*VidSet.of(vids)}
            case ["switchport", "trunk", "allowed", "vlan", "remove", vids]:
                port.allowed = (ALL if port.allowed is None else port.allowed) - {*VidSet.of(vids)}
            case ["switchport", "trunk", "native", "vlan", vid]:
                port.native = int(vid)
            case ["switchport", "access", "vlan", vid]:
                port.access = int(vid)
                self.vlans.setdefault(int(vid), [])
            case ["switchport", "mode", ("access" | "trunk" | "dot1q-tunnel") as mode]:
                port.mode = mode
            case ["no", "switchport"]:
                port.routed = True
            case ["channel-group", number, "mode", _]:
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
            case "show vlan | json":
                return self._vlans(lambda port: port.up)
            case "show vlan configured-ports | json":
                return self._vlans(lambda port: True)
            case "show interfaces Vxlan1 | json" if self.vxlan is None:
                return json.dumps({"errors": ["Interface does not exist"]}, indent=4)
            case "show interfaces Vxlan1 | json":
                maps = {str(vid): {"vni": vni, "source": ""} for vid, vni in sorted(self.maps.items())}
                return json.dumps({"interfaces": {"Vxlan1": {"name": "Vxlan1", "vlanToVniMap": maps}}}, indent=4)
        raise Complaint(INVALID)

    def _vlans(self, counts: Callable[[EosPort], bool]) -> str:
        found = {str(vid): self._vlan(vid, counts) for vid in sorted({1} | self.vlans.keys() | self.dynamic)}
        return json.dumps({"sourceDetail": "", "vlans": found}, indent=4)

    def _vlan(self, vid: int, counts: Callable[[EosPort], bool]) -> dict[str, object]:
        names = [name for name in self.members(vid) if counts(self.ports[name])]
        if self.peer is not None:
            theirs = (name for name in self.peer.members(vid) if counts(self.peer.ports[name]))
            names += [f"Peer{name}" for name in theirs if not name.startswith("Port-Channel")]
        names += ["Cpu"] * (vid in self.svis) + ["Vxlan1"] * (vid in self.maps)
        shown = {name: {"privatePromoted": False} for name in names}
        return {"name": f"VLAN{vid:04}", "dynamic": vid in self.dynamic, "status": "active", "interfaces": shown}

    def _config(self) -> Iterator[str]:
        yield from ("! Command: show running-config", "! device: leaf1 (vEOS-lab, EOS-4.30.1F)", "!")
        yield from ("hostname leaf1", "!", "spanning-tree mode mstp", "no spanning-tree vlan-id 4094", "!")
        for vid, lines in sorted(self.vlans.items()):
            yield from (f"vlan {vid}", *(f"   {line}" for line in lines), "!")
        for name, port in self.ports.items():
            yield from (f"interface {name}", *(f"   {line}" for line in _of(port)), "!")
        for vid in sorted(self.svis):
            yield from (f"interface Vlan{vid}", "   ip address 192.0.2.129/28", "!")
        if self.vxlan is not None:
            maps = (f"vxlan vlan {vid} vni {vni}" for vid, vni in sorted(self.maps.items()))
            yield from ("interface Vxlan1", *(f"   {line}" for line in (*self.vxlan, *maps)), "!")
        if self.more:
            yield self.more
        yield f"router bgp {self.asn}"
        for vid, lines in sorted(self.told.items()):
            yield from ("   !", f"   vlan {vid}", *(f"      {line}" for line in lines))
        yield from (*(f"   {line}" for line in self.bgp), "!", "end")


def _of(port: EosPort) -> Iterator[str]:
    if port.routed:
        yield "no switchport"
    if port.access != 1:
        yield f"switchport access vlan {port.access}"
    if port.native != 1:
        yield f"switchport trunk native vlan {port.native}"
    if port.allowed is not None:
        yield f"switchport trunk allowed vlan {VidSet.of(port.allowed)}"
    if port.mode != "access":
        yield f"switchport mode {port.mode}"
    if port.lag is not None:
        yield f"channel-group {port.lag} mode active"
    if port.fallback:
        yield "port-channel lacp fallback individual"
    yield from port.more
