"""The command line of an Arista EOS switch in memory, as far as isthmus and its library ask, from its documentation.

Law: a word means what the mode makes it mean, and one that the mode does not know is looked for in those above it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from isthmus.model.tags import VidSet

ALL = frozenset(range(1, 4095))
WITHOUT_WORDS = "% Invalid input"


class Complaint(Exception):
    """What the switch says instead of doing it."""


@dataclass(slots=True)
class EosPort:
    """A switched port: a trunk that carries nothing yet, or else one for the access VLAN."""

    mode: str = "trunk"
    access: int = 1
    native: int = 1
    allowed: frozenset[int] = frozenset()
    up: bool = True


@dataclass(slots=True)
class EosSwitch:
    """`changed` is called after each command that was taken in a mode of configuration."""

    ports: dict[str, EosPort]
    asn: int = 65000
    vlans: set[int] = field(default_factory=lambda: {1})
    dynamic: set[int] = field(default_factory=set)
    """Those that it made for itself."""
    maps: dict[int, int] = field(default_factory=dict)
    """VNIs by VID."""
    told: dict[int, set[str]] = field(default_factory=dict)
    """What BGP was told of a VLAN."""
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
        """The mode of each port that carries a VLAN, if there is one."""
        carried = {name: _mode(port, vid) for name, port in self.ports.items()} if vid in self.vlans else {}
        return {name: mode for name, mode in carried.items() if mode}

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
        raise Complaint(WITHOUT_WORDS)

    def _in_mode(self, mode: str, line: str) -> str | None:
        """The mode that a word of this one leads to, or "" to stay; None: it is no word of this one."""
        kind, _, name = mode.partition(" ")
        match kind:
            case "config":
                return self._globally(line)
            case "vlan":
                return "" if line.startswith("name ") else None
            case "router":
                return self._of_bgp(line)
            case "macvrf":
                told = re.fullmatch(r"rd auto|redistribute learned|route-target (both|(export|import) auto) \S+", line)
                return None if told is None else self._tell(int(name), line)
            case "if" if name == "Vxlan1":
                return self._of_vxlan(line)
            case _:
                return self._of_port(self.ports[name], line)

    def _globally(self, line: str) -> str | None:
        match line.split():
            case ["vlan", vid]:
                if int(vid) in self.dynamic:
                    raise Complaint(f"% Failed to create VLANs: {vid} (VLAN is internal)")
                self.vlans.add(int(vid))
                return f"vlan {vid}"
            case ["no", "vlan", vid]:
                self.vlans.discard(int(vid))
                return ""
            case ["interface", name] if name in self.ports or name == "Vxlan1":
                return f"if {name}"
            case ["router", "bgp", asn]:
                if int(asn) != self.asn:
                    raise Complaint(f"% BGP is already running with AS number {self.asn}")
                return "router bgp"
        return None

    def _of_bgp(self, line: str) -> str | None:
        match line.split():
            case ["vlan", vid]:
                self.told.setdefault(int(vid), set())
                return f"macvrf {vid}"
            case ["no", "vlan", vid]:
                self.told.pop(int(vid), None)
                return ""
        return None

    def _tell(self, vid: int, line: str) -> str:
        self.told[vid].add(line)
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
            case ["switchport", "trunk", "allowed", "vlan", "add", vid]:
                port.allowed |= {int(vid)}
            case ["switchport", "trunk", "allowed", "vlan", "remove", vid]:
                port.allowed -= {int(vid)}
            case ["switchport", "trunk", "native", "vlan", vid]:
                port.native = int(vid)
            case ["switchport", "access", "vlan", vid]:
                port.access = int(vid)
            case ["switchport", "mode", ("access" | "trunk") as mode]:
                port.mode = mode
            case ["shutdown"]:
                port.up = False
            case _:
                return None
        return ""

    def _show(self, line: str) -> str:
        match line:
            case "show vlan | json":
                vlans = {str(vid): self._vlan(vid) for vid in sorted(self.vlans | self.dynamic)}
                return json.dumps({"sourceDetail": "", "vlans": vlans}, indent=4)
            case "show interfaces switchport | json":
                ports = {name: {"enabled": True, "switchportInfo": _shown(port)} for name, port in self.ports.items()}
                return json.dumps({"switchports": ports}, indent=4)
            case "show interfaces Vxlan1 | json":
                maps = {str(vid): {"vni": vni, "source": ""} for vid, vni in sorted(self.maps.items())}
                return json.dumps({"interfaces": {"Vxlan1": {"name": "Vxlan1", "vlanToVniMap": maps}}}, indent=4)
        raise Complaint(WITHOUT_WORDS)

    def _vlan(self, vid: int) -> dict[str, object]:
        """Only ports that are up are shown with a VLAN."""
        up = {name: {"privatePromoted": False} for name in self.members(vid) if self.ports[name].up}
        return {
            "name": f"VLAN{vid:04}",
            "dynamic": vid in self.dynamic,
            "status": "active",
            "interfaces": up | ({"Vxlan1": {"privatePromoted": False}} if vid in self.maps else {}),
        }


def _mode(port: EosPort, vid: int) -> str:
    if port.mode == "access":
        return "untagged" if vid == port.access else ""
    if vid not in port.allowed:
        return ""
    return "untagged" if vid == port.native else "tagged"


def _shown(port: EosPort) -> dict[str, object]:
    allowed = "ALL" if port.allowed == ALL else str(VidSet.of(port.allowed)) if port.allowed else "NONE"
    return {
        "mode": port.mode,
        "accessVlanId": port.access,
        "trunkingNativeVlanId": port.native,
        "trunkAllowedVlans": allowed,
        "staticTrunkGroups": [],
    }
