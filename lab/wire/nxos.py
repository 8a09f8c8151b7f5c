"""The command line of a Cisco NX-OS switch in memory, as far as isthmus and its library ask, from its documentation.

Law: what it shows of a VLAN is who hears it, whatever put him there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.model.tags import VidSet
from lab.wire.modal import Complaint, ModalSwitch, SwitchPort

MODES = frozenset({"access", "trunk", "fex-fabric"})
FEATURES = ("feature bgp", "feature vn-segment-vlan-based", "feature nv overlay", "nv overlay evpn")
NVE = ("no shutdown", "host-reachability protocol bgp", "source-interface loopback1")
BGP = ("router bgp 65000", "  neighbor 192.0.2.250", "    address-family l2vpn evpn")


@dataclass(slots=True)
class NxosSwitch(ModalSwitch):
    """The modes and shows of NX-OS.  `maps` is the vn-segment of each VLAN."""

    SAVE = (
        "copy running-config startup-config",
        "[########################################] 100%\nCopy complete.",
    )
    CONFIGURE = "Enter configuration commands, one per line. End with CNTL/Z."
    INVALID = "                   ^\n% Invalid command at '^' marker."
    LAG = "port-channel"

    nve: dict[int, list[str]] = field(default_factory=dict)
    """What is said of each VNI that the NVE interface has."""
    evpn: dict[int, list[str]] = field(default_factory=dict)
    features: tuple[str, ...] = FEATURES
    of_nve: tuple[str, ...] | None = NVE
    """What stands below nve1; None: there is no such interface."""
    bgp: tuple[str, ...] = BGP

    def shown_as(self, mode: str) -> str:
        """Without the name of what is configured."""
        return mode.split()[0]

    def in_mode(self, mode: str, line: str) -> str | None:
        """The modes that lead to a binding."""
        kind, _, name = mode.partition(" ")
        match kind:
            case "config":
                return self._globally(line)
            case "vlan":
                return self._of_vlan(int(name), line)
            case "evpn":
                return _of_vni(self.evpn, line, r"vni (\d+) l2", r"no vni (\d+) l2", "evpn-evi")
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
            case ["no", "vn-segment", vni]:
                if self.maps.get(vid, int(vni)) != int(vni):
                    raise Complaint("ERROR: VLAN has another vn-segment")
                self.maps.pop(vid, None)
            case _:
                return None
        return ""

    def _of_port(self, port: SwitchPort, line: str) -> str | None:
        return "" if port.told(line, MODES) else None

    def show(self, line: str) -> str:
        """What isthmus and its library ask for."""
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
        raise Complaint(self.INVALID)

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
        if vnis.pop(int(found[1]), None) is None:
            raise Complaint(f"ERROR: VNI delete failed: Could not find vni node for {found[1]}")
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


def _switchport(name: str, port: SwitchPort) -> dict[str, str]:
    if port.routed:
        return {"interface": name, "switchport": "Disabled"}
    mode = port.mode if port.up else "down"
    allowed = "1-4094" if port.allowed is None else str(VidSet.of(port.allowed))
    about = {"oper_mode": mode, "access_vlan": str(port.access), "native_vlan": str(port.native)}
    return {"interface": name, "switchport": "Enabled", **about, "trunk_vlans": allowed}


def _vni(vni: int, vid: int | None) -> dict[str, str]:
    state, kind = ("Up", f"L2 [{vid}]") if vid else ("Down", "L2 [0]")
    return {"if-name": "nve1", "vni": str(vni), "mcast": "UnicastBGP", "vni-state": state, "mode": "CP", "type": kind}


def _of(port: SwitchPort) -> Iterator[str]:
    words = port.words()
    yield "no switchport" if port.routed else "switchport"
    yield from (words[about] for about in ("mode", "access", "native", "allowed", "lag") if about in words)
    if port.alone:
        yield "no lacp suspend-individual"
    yield from port.more
