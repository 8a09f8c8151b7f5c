"""Cisco NX-OS: how its configuration and what it shows become VLANs, and the words of a step.

Law: an answer that is not whole is no answer, and its configuration has no last line that says so: its end is asked for
once more.  What is not known here is somebody's (judging.py).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from isthmus.adapters.leaf.ngs.held import Held, taker
from isthmus.adapters.leaf.ngs.judging import HARMLESS, Judged, Port, Shown, held
from isthmus.adapters.leaf.ngs.kind import Kind, Say, Words, first_words, in_modes, nonsense, spelt
from isthmus.adapters.leaf.ngs.ports import nxos as port_name
from isthmus.adapters.leaf.ngs.ports import nxos_list
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.statements import Statement, statements, vid_list, vids_of
from isthmus.adapters.leaf.ngs.steps import Join, Leave, Make, Map, Remove, Step, Unmap
from isthmus.model.tags import ALL_VIDS, MAX_VID, Vid, VidSet, Vni

READS = (
    "show running-config",
    "show running-config | last 30",
    "show vlan | json",
    "show interface switchport | json",
    "show nve vni | json",
)
COMPLAINS = ("%", "ERROR", "Error", "Invalid interface format", "Syntax error", "Command rejected")
HEADING = "!Command: show running-config"
NEEDED = ("feature vn-segment-vlan-based", "feature nv overlay", "nv overlay evpn")
"""Without these no VLAN is mapped to a VNI."""
RESERVED = 128
"""VLANs that `system vlan N reserve` takes, from N on."""

_HARMLESS = re.compile(
    rf"{HARMLESS}|vlan configuration .*|vlan access-map .*|system vlan long-name|vlan dot1q tag native"
    r"|version .*|fex associate .*|vrf context .*|limit-resource .*|delay restore interface-vlan \d+"
)
_MEMBER = re.compile(r"member vni (\d+)( associate-vrf)?")
_OF_MEMBER = ("ingress-replication protocol bgp", "suppress-arp")
_OF_EVPN = re.compile(r"rd auto|route-target (both|import|export) auto")


@dataclass(slots=True)
class _Config(Judged):
    members: set[Vni] = field(default_factory=set)
    """The VNIs that the NVE interface has, as we have it told."""
    odd: dict[Vni, str] = field(default_factory=dict)
    """Those that it, or BGP, has otherwise."""
    profiles: dict[str, list[str]] = field(default_factory=dict)
    """Those of each port."""
    evpn: set[Vni] = field(default_factory=set)
    vtp: bool = False
    transparent: bool = False
    nve_up: bool = False

    @property
    def nve(self) -> str:
        return f"interface {port_name(self.settings.options.get('ngs_nve_interface', 'nve1'))}"

    def port_of(self, said: Statement) -> str:
        """The port that it is said of, or one that has a profile that it is said of; empty if none."""
        outer = said.above[0] if said.above else said.line
        if outer.startswith("port-profile "):
            profile = outer.split()[-1]
            return next((port for port in self.settings.members if profile in self.profiles.get(port, ())), "")
        return port_name(outer.removeprefix("interface ")) if outer.startswith("interface ") else ""

    def take(self, said: Statement) -> None:
        """Judge one statement."""
        outer = said.above[0] if said.above else said.line
        if said.line in NEEDED or said.line == "feature vtp":
            self.there.add(said.line)
        elif outer.startswith("monitor session "):
            self._mirror(said)
        elif _HARMLESS.fullmatch(said.line) or outer == "spanning-tree mst configuration":
            pass
        elif outer == self.nve:
            self._of_nve(said)
        elif outer.startswith("interface "):
            self._of_port(port_name(outer.removeprefix("interface ")), said)
        elif re.fullmatch(r"vlan [\d,-]+", outer):
            self._of_vlan(VidSet.of(outer.removeprefix("vlan ")), said)
        elif outer == "evpn":
            self._of_evpn(said)
        elif outer.startswith("router bgp "):
            self._of_bgp(said)
        elif outer.startswith("vtp mode "):
            self.transparent = outer.removeprefix("vtp mode ") in ("transparent", "off")
        elif found := re.fullmatch(r"system vlan (\d+) reserve", said.line):
            first = int(found[1])
            self.somebodys(VidSet.of(f"{first}-{min(first + RESERVED - 1, 4094)}"), said)
        elif outer.startswith(("feature vmtracker", "vmtracker ")):
            self.notes.append(f"VLANs may be put on ports by vCenter's hand: {said}")
            self.unknown(said)
        else:
            self.unknown(said)

    def _mirror(self, said: Statement) -> None:
        words = said.line.split()
        named = " ".join(word for word in words[2:] if word not in ("both", "rx", "tx"))
        ports = set(nxos_list(named)) if words[1:2] == ["interface"] else set()
        if not ports.isdisjoint(self.settings.members) or vids_of(said.line) & self.settings.vids:
            self.note_beside(said)

    def _of_port(self, name: str, said: Statement) -> None:
        port = self.ports.setdefault(name, Port())
        match said.line.split():
            case ["no", "switchport"]:
                port.routed = True
            case ["switchport"]:
                port.routed = False
            case ["switchport", "mode", *mode]:
                port.mode = " ".join(mode)
            case ["switchport", "trunk", "allowed", "vlan", *words]:
                port.allow(words)
            case ["channel-group", number, *_]:
                port.lag = f"port-channel{number}"
            case ["no", "lacp", "suspend-individual"]:
                port.alone = True
            case ["inherit", "port-profile", *profiles]:
                port.inherits = True
                self.profiles[name] = profiles
            case _:
                self.unknown(said)

    def _of_vlan(self, vids: VidSet, said: Statement) -> None:
        match said.line.split():
            case ["vlan", _]:
                self.vlans.update(vids)
            case ["name", *_]:
                pass
            case ["vn-segment", vni] if len(vids) == 1:
                self.vnis[next(iter(vids))] = Vni(int(vni))
            case _:
                self.somebodys(vids, said)
                self.unknown(said)  # the others of a private one

    def _of_nve(self, said: Statement) -> None:
        match (*said.above[1:], said.line):
            case [line] if line == self.nve:
                self.there.add(line)
            case ["no shutdown"]:
                self.nve_up = True
            case [line] if line.startswith("source-interface loopback"):
                self.there.add("source-interface")
            case ["host-reachability protocol bgp"]:
                self.there.add("host-reachability protocol bgp")
            case [line] if (found := _MEMBER.fullmatch(line)) and not found[2]:
                self.members.add(Vni(int(found[1])))
            case [line, of] if (found := _MEMBER.fullmatch(line)) and not found[2]:
                if of not in _OF_MEMBER:
                    self.odd.setdefault(Vni(int(found[1])), str(said))
            case _:
                self.unknown(said)

    def _of_evpn(self, said: Statement) -> None:
        match (*said.above, said.line):
            case ["evpn"]:
                pass
            case [_, vni] if found := re.fullmatch(r"vni (\d+) l2", vni):
                self.evpn.add(Vni(int(found[1])))
            case [_, vni, line] if (found := re.fullmatch(r"vni (\d+) l2", vni)) and not _OF_EVPN.fullmatch(line):
                self.odd.setdefault(Vni(int(found[1])), str(said))
                self.unknown(said)
            case [_, vni, _] if re.fullmatch(r"vni \d+ l2", vni):
                pass
            case _:
                self.unknown(said)

    def _of_bgp(self, said: Statement) -> None:
        match (*said.above, said.line):
            case [_]:
                self.there.add("router bgp")
                if (number := self.settings.options.get("ngs_bgp_asn")) and said.line != f"router bgp {number}":
                    self.notes.append(f"its AS number is not the one of ngs_bgp_asn, {number}: {said}")
            case [_, "shutdown"]:
                self.unready.append("BGP is shut down")
            case [_, *_, "address-family l2vpn evpn"]:
                self.there.add("address-family l2vpn evpn")
            case _:
                self.unknown(said)

    def finish(self) -> None:
        """What only all of them together say."""
        parts = {"evpn": self.evpn, "member": self.members}
        for vid, vni in self.vnis.items():
            lacking = frozenset(part for part, vnis in parts.items() if vni not in vnis)
            if lacking:
                self.lost.add(vid)
                self.without[vid] = lacking
            if odd := self.odd.get(vni):
                self.said.setdefault(vid, odd)
            elif lacking and (why := taker(vni, self.taken, self.taken_ranges)):
                self.said.setdefault(vid, why)  # what lacks may be another's to say
        for vni, odd in self.odd.items():
            self.taken.setdefault(vni, odd)
        for vni in sorted((self.members | self.evpn) - set(self.vnis.values())):
            self.notes.append(f"VNI {int(vni)} is told to BGP or the NVE interface, and no VLAN has it")

    def lacks(self) -> Iterator[str]:
        """Why nothing may be said to it."""
        yield from self.unready
        yield from (f"there is no '{line}'" for line in NEEDED if line not in self.there)
        if self.nve not in self.there:
            yield f"there is no '{self.nve}'"
        else:
            if not self.nve_up:
                yield f"{self.nve.removeprefix('interface ')} is shut down"
            for line in ("source-interface", "host-reachability protocol bgp"):
                if line not in self.there:
                    yield f"{self.nve.removeprefix('interface ')} has no '{line}'"
        for line in ("router bgp", "address-family l2vpn evpn"):
            if line not in self.there:
                yield f"there is no '{line}'"
        if "feature vtp" in self.there and not self.transparent:
            yield "VTP may make and remove its VLANs: say 'vtp mode transparent' or 'vtp mode off'"


def understood(config: str, end: str, vlans: str, ports: str, nve: str, settings: NgsSettings) -> Held:
    """What its answers say.  Raises Retry if they say nothing."""
    try:
        return _held(_judged(config, end, settings), vlans, ports, nve)
    except (KeyError, TypeError, AttributeError, ValueError) as wrong:  # it lacks what was asked for, or is no number
        raise nonsense(f"{type(wrong).__name__}: {wrong}") from wrong


def _judged(answer: str, end: str, settings: NgsSettings) -> _Config:
    lines, last = (list(_said(text)) for text in (answer, end))
    if not answer.lstrip().startswith(HEADING) or not last or lines[-len(last) :] != last:
        raise nonsense(first_words(answer.rstrip().rpartition("\n")[2]))
    made = _Config(settings)
    for said in statements(answer):
        if said.line.startswith(COMPLAINS):
            raise nonsense(said.line)
        made.take(said)
    made.finish()
    return made


def _said(text: str) -> Iterator[str]:
    """Its lines but the blank ones, of which there are some at the end, and the comments, which tell the time."""
    return (line.rstrip() for line in text.split("\n") if line.strip() and not line.startswith("!"))


def _held(config: _Config, vlans: str, ports: str, nve: str) -> Held:
    there: set[Vid] = set()
    seen: defaultdict[Vid, set[str]] = defaultdict(set)
    for row in _rows(vlans, "TABLE_vlanbrief", "ROW_vlanbrief"):
        vid = Vid(int(row["vlanshowbr-vlanid-utf"]))
        there.add(vid)
        told = row.get("vlanshowplist-ifidx", "")
        seen[vid].update(nxos_list(told if isinstance(told, str) else ",".join(told)))
    for name, carried in _carried(ports, config).items():
        for vid in carried & VidSet.of([*there, *config.settings.vids]):
            seen[vid].add(name)
    own = {vid for vid in there - config.vlans if vid != 1}
    can = {config.nve, "feature nv overlay"} <= config.there
    none = nve.split() in ([], ["{}"], ["{", "}"]) and not config.members  # what it answers where it has none
    maps = dict(_vnis(nve)) if can and not none else {}
    # It shows no VNI that the NVE interface does not have.
    maps = {vid: vni for vid, vni in config.vnis.items() if vni not in config.members} | maps
    return held(config, Shown(there, seen, own, maps), "; ".join(config.lacks()))


def _carried(answer: str, config: _Config) -> dict[str, VidSet]:
    """What each switched port carries, or would if it were up.  Raises ValueError where no row is understood.

    One whose row is not understood may be in every VLAN: it is not in the way of reading all the others.
    """
    rows = [row for row in _rows(answer, "TABLE_interface", "ROW_interface") if row["switchport"] == "Enabled"]
    carried: dict[str, VidSet] = {}
    odd: list[str] = []
    for row in rows:
        name = port_name(row["interface"])
        try:
            carried[name] = _of_one(config.ports.get(name, Port()), row)
        except (KeyError, TypeError, AttributeError, ValueError) as wrong:
            carried[name] = ALL_VIDS
            odd.append(f"{name} may be in any VLAN: what is shown of it is not understood ({wrong})")
    if odd and len(odd) == len(rows):
        raise ValueError(odd[0])
    config.notes += odd
    return carried


def _of_one(port: Port, row: Mapping[str, Any]) -> VidSet:
    """One that is down is a trunk if it is configured as one; how it is in a profile is not looked up."""
    trunk = "trunk" in row["oper_mode"] or port.mode == "trunk"
    if port.inherits:
        return vid_list(row["trunk_vlans"]) | VidSet.of([int(row["access_vlan"])])
    return vid_list(row["trunk_vlans"]) if trunk else VidSet.of([int(row["access_vlan"])])


def _rows(answer: str, table: str, row: str) -> list[Mapping[str, Any]]:
    rows = json.loads(answer)[table][row]
    return rows if isinstance(rows, list) else [rows]  # one is not a list of one


def _vnis(answer: str) -> Iterator[tuple[Vid, Vni]]:
    for row in _rows(answer, "TABLE_nve_vni", "ROW_nve_vni"):
        found = re.fullmatch(r"L2 \[(\d+)\]", row["type"].strip())
        if found and 1 <= int(found[1]) <= MAX_VID:  # one that no VLAN has may be shown as VLAN 0's
            yield Vid(int(found[1])), Vni(int(row["vni"]))


def _read(say: Say, settings: NgsSettings) -> Held:
    config, end, vlans, ports = (say(command) for command in READS[:4])
    # Without the feature there is no such word.
    nve = say(READS[4]) if "feature nv overlay" in config else ""
    return understood(config, end, vlans, ports, nve, settings)


def _words(device: Any, step: Step) -> list[str]:
    return ["configure terminal", *_spelt(device, step), "end"]


def _spelt(device: Any, step: Step) -> list[str]:
    vid = int(step.vid)
    subports = [{"segmentation_id": vid}]

    def words(commands: tuple[str, ...], **about: object) -> list[str]:
        return list(device._format_commands(commands, segmentation_id=vid, nve_interface=device.nve_interface, **about))

    match step:
        case Make():
            name = device._get_network_name(UUID(int=vid).hex, vid)
            return words(device.ADD_NETWORK, network_name=name)
        case Remove():
            return words(device.DELETE_NETWORK)
        case Map(_, vni):
            # The library has the sign of ours in the midst: what it is broken off before would never be said again.
            first = (*device.PLUG_EVPN_VNI, *device.PLUG_NVE_MEMBER, *device.PLUG_NVE_INGRESS_REPLICATION)
            said = words((*first, *device.PLUG_VLAN_VNI_SEGMENT), vni=int(vni))
            # It wants TCAM that most switches have none carved of, and only spares the fabric some ARP.
            return [command for command in said if command != "suppress-arp"]
        case Unmap(_, vni, lacks):
            # It complains of what is not there, and would be broken off before the sign of ours.
            evpn = () if "evpn" in lacks else device.UNPLUG_EVPN_VNI
            member = () if "member" in lacks else device.UNPLUG_NVE_MEMBER
            said = words((*evpn, *member, *device.UNPLUG_VLAN_VNI_SEGMENT), vni=int(vni))
            # The library's are not whole: one is no command, and one takes off whatever VNI is there by then.
            whole = {f"no vni {int(vni)}": f"no vni {int(vni)} l2", "no vn-segment": f"no vn-segment {int(vni)}"}
            return [whole.get(command, command) for command in said]
        case Join(_, _, port):
            said = spelt(device, lambda device: device.add_subports_on_trunk({}, port, subports))
            # A port that is no trunk is not made one: it would carry all VLANs until it is told which.
            return [command for command in said if command != "switchport mode trunk"]
        case Leave(_, port):
            return spelt(device, lambda device: device.del_subports_on_trunk({}, port, subports))


SAVED = "Copy complete"
_UNSAVED = re.compile(r"^\s*%|error|fail|abort|denied|could not|cannot|no space", re.IGNORECASE)


def _save(say: Say, words: Words) -> list[str]:
    answer = say("copy running-config startup-config")  # networking-generic-switch leaves it to netmiko
    # It says that the copy is complete before it writes, and may fail to write.
    wrong = [line.strip() for line in answer.splitlines() if _UNSAVED.search(line)]
    return [] if SAVED in answer and not wrong else [*wrong, answer.strip()[:200] or "it does not say that it did"][:1]


NXOS = Kind(_read, _words, in_modes(COMPLAINS), _save, privileged=True)
