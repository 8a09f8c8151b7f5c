"""Arista EOS: how its configuration and what it shows become VLANs, and the words of a step.

Law: an answer that is not whole is no answer.  What is not known here is somebody's (judging.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from isthmus.adapters.leaf.ngs.held import Held
from isthmus.adapters.leaf.ngs.judging import HARMLESS, Judged, Port, Shown, held
from isthmus.adapters.leaf.ngs.kind import Kind, Say, Words, first_words, in_modes, nonsense, spelt
from isthmus.adapters.leaf.ngs.ports import PEER
from isthmus.adapters.leaf.ngs.ports import eos as port_name
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.statements import Statement, named, statements, vids_of
from isthmus.adapters.leaf.ngs.steps import Join, Leave, Make, Map, Remove, Step, Unmap
from isthmus.model.tags import ALL_VIDS, MAX_VID, Vid, VidSet, Vni

COMPLAINS = ("% ",)
MODES = ("access", "dot1q-tunnel", "tap", "tool", "tap-tool")
"""Those of a port that is in no VLAN but one that a statement names."""
HEADING = ("! Command: show running-config", "! device:")
"""What the configuration begins with; it ends with `end`."""

_HARMLESS = re.compile(rf"{HARMLESS}|(no )?switchport default phone vlan.*|vxlan encapsulation .*|vxlan udp-port .*")
_NEXT_TO = re.compile(r"monitor session .*|connector .*|match input interface .*|action output interface .*|tap .*")
"""Where a frame of a port may go beside its VLAN."""
_BGP_OURS = re.compile(r"rd auto|redistribute learned|route-target (both|import|export) auto( \d+)?")
_MAP = re.compile(r"vxlan vlan (\S+) vni (\S+)")


@dataclass(slots=True)
class _Config(Judged):
    told: set[Vid] = field(default_factory=set)
    """What BGP has an instance of."""
    trunks: set[str] = field(default_factory=set)
    """Profiles of ports that make them trunks, or who knows what."""
    listed: set[str] = field(default_factory=set)
    """Profiles that say for which VLANs."""
    profiles: dict[str, list[str]] = field(default_factory=dict)
    """Those of each port."""

    @property
    def vxlan(self) -> str:
        return port_name(self.settings.options.get("ngs_vxlan_interface", "Vxlan1"))

    @property
    def bgp(self) -> str:
        return f"router bgp {self.settings.options['ngs_bgp_asn']}"

    def port_of(self, said: Statement) -> str:
        """The port that it is said of, or one that has a profile that it is said of; empty if none."""
        outer = said.above[0] if said.above else said.line
        if outer.startswith("interface profile "):
            profile = outer.removeprefix("interface profile ")
            return next((port for port in self.settings.members if profile in self.profiles.get(port, ())), "")
        return port_name(outer.removeprefix("interface ")) if outer.startswith("interface ") else ""

    def take(self, said: Statement) -> None:
        """Judge one statement."""
        outer = said.above[0] if said.above else ""
        if _HARMLESS.fullmatch(said.line):
            return
        if _NEXT_TO.fullmatch(said.line) and (
            named(said.line, self.settings.members) or vids_of(said.line) & self.settings.vids
        ):
            self.note_beside(said)
        elif said.above and re.fullmatch(r"spanning-tree mst configuration", outer):
            pass
        elif not said.above and said.line.startswith("interface "):
            self._interface(said)
        elif outer.startswith("interface "):
            name = port_name(outer.removeprefix("interface "))
            self._of_vxlan(said) if name == self.vxlan else self._of_port(name, said)
        elif not said.above and re.fullmatch(r"vlan [\d,-]+", said.line):
            self.vlans.update(VidSet.of(said.line.removeprefix("vlan ")))
        elif re.fullmatch(r"vlan [\d,-]+", outer):
            if not said.line.startswith("name "):
                self.somebodys(VidSet.of(outer.removeprefix("vlan ")), said)
                self.unknown(said)  # the primary VLAN of a private one
        elif outer.startswith("router bgp ") or said.line.startswith("router bgp "):
            self._of_bgp(said)
        elif said.line.split()[0] == "mvrp":
            self.unready.append(f"others make VLANs of it: {said}")
        else:
            self.unknown(said)

    def _interface(self, said: Statement) -> None:
        name = port_name(said.line.removeprefix("interface "))
        self.there.add(name)
        if name != self.vxlan:
            self.ports.setdefault(name, Port())
            self.unknown(said)  # one of a VLAN's own

    def _of_port(self, name: str, said: Statement) -> None:
        port = self.ports[name]
        match said.line.split():
            case ["no", "switchport"]:
                port.routed = True
            case ["switchport", "mode", *mode]:
                port.mode = " ".join(mode)
                known = port.mode in MODES or mode[0] == "trunk"
                port.anywhere = "" if known else f"(switchport mode {port.mode})"
            case ["profile", *names]:
                self.profiles[name] = names
            case ["command", "switchport", "mode", *mode] if " ".join(mode) not in MODES:
                self.trunks.add(name.removeprefix("profile "))
            case ["command", "switchport", "trunk", "allowed", *_]:
                self.listed.add(name.removeprefix("profile "))
                self.unknown(said)
            case ["switchport", "trunk", "allowed", "vlan", *words]:
                port.allow(words)
            case ["channel-group", number, *_]:
                port.lag = f"Port-Channel{number}"
            case ["port-channel", "lacp", "fallback", *_]:
                port.alone = True
            case _:
                self.unknown(said)

    def _of_vxlan(self, said: Statement) -> None:
        words = said.line.split()
        if found := _MAP.fullmatch(said.line):
            vids, vnis = list(VidSet.of(found[1])), list(_numbers(found[2]))
            if len(vids) != len(vnis):
                raise ValueError(f"{said}: not as many VLANs as VNIs")
            self.vnis.update(zip(vids, map(Vni, vnis), strict=True))
        elif words[:2] == ["vxlan", "vrf"] and words[-2:-1] == ["vni"]:
            for vni in _numbers(words[-1]):
                self.takes(vni, said)
        elif words == ["shutdown"]:
            self.unready.append(f"{self.vxlan} is shut down")
        elif words[:2] == ["vxlan", "source-interface"]:
            self.there.add("source")
        elif words[:2] == ["vxlan", "controller-client"]:
            self.unready.append(f"another controller has its VNIs: {said}")
        elif words[:3] == ["vxlan", "flood", "vtep"]:
            self.notes.append(f"frames for all go to these too: {said}")
        else:
            self.unknown(said)

    def _of_bgp(self, said: Statement) -> None:
        match (*said.above, said.line):
            case [bgp]:
                self.there.add(bgp)
            case [_, "shutdown"]:
                self.unready.append("BGP is shut down")
            case [_, vlan] if re.fullmatch(r"vlan \d+", vlan):
                self.told.add(Vid(int(vlan.removeprefix("vlan "))))
            case [_, vlan, line] if re.fullmatch(r"vlan \d+", vlan):
                if not _BGP_OURS.fullmatch(line):
                    self.somebodys(vids_of(vlan), said)
                    self.unknown(said)
            case [_, "address-family evpn", line] if re.fullmatch(r"neighbor \S+ activate", line):
                self.there.add("evpn")
            case _:
                self.unknown(said)

    def finish(self) -> None:
        """What only all of them together say."""
        for name, profiles in self.profiles.items():
            open_to_all = [profile for profile in profiles if profile in self.trunks - self.listed]
            if open_to_all and self.ports[name].allowed == ALL_VIDS:
                self.ports[name].anywhere = f"(profile {open_to_all[0]})"

    def lacks(self) -> Iterator[str]:
        """Why nothing may be said to it."""
        yield from self.unready
        if self.vxlan not in self.there:
            yield f"there is no {self.vxlan}"
        elif "source" not in self.there:
            yield f"{self.vxlan} has no source-interface"
        if self.bgp not in self.there:
            yield f"there is no '{self.bgp}'"
        elif "evpn" not in self.there:
            yield "no neighbor is activated in BGP's address-family evpn"


def _numbers(said: str) -> Iterator[int]:
    for part in said.split(","):
        first, _, last = part.partition("-")
        yield from range(_vni(first), _vni(last or first) + 1)


def _vni(said: object) -> int:
    """One of `vxlan vni notation dotted` too."""
    match str(said).split("."):
        case [high, middle, low]:
            return int(high) << 16 | int(middle) << 8 | int(low)
    return int(str(said))


def understood(config: str, shown: str, configured: str, vxlan: str, settings: NgsSettings) -> Held:
    """What its four answers say.  Raises Retry if they say nothing."""
    try:
        now, ever = (_ports_of(answer, settings) for answer in (shown, configured))
        return _held(_judged(config, settings), now, ever, vxlan)
    except (KeyError, TypeError, AttributeError, ValueError) as wrong:  # it lacks what was asked for, or is no number
        raise nonsense(f"{type(wrong).__name__}: {wrong}") from wrong


def _judged(answer: str, settings: NgsSettings) -> _Config:
    lines = [line for line in answer.split("\n") if line.strip()]
    if not lines or not lines[0].startswith(HEADING) or lines[-1].strip() != "end":
        raise nonsense(first_words(lines[-1]) if lines else "")
    made = _Config(settings)
    for said in statements(answer):
        if said.line.startswith("% "):
            raise nonsense(said.line)
        made.take(said)
    made.finish()
    return made


@dataclass(frozen=True, slots=True)
class _Vlan:
    ports: frozenset[str]
    dynamic: bool


def _ports_of(answer: str, settings: NgsSettings) -> dict[Vid, _Vlan]:
    """The ports that the switch shows in each VLAN.

    Its own tunnel is none.  Nor is one that the other switch of a pair calls as we call one of ours: that switch is
    told alike, and answers for it by itself.
    """
    vlans: Mapping[str, Any] = json.loads(answer)["vlans"]
    alike = {f"{PEER}{name}" for name in settings.members}
    found: dict[Vid, _Vlan] = {}
    for vid, vlan in _of_frames(vlans).items():
        names = {port_name(port) for port in vlan["interfaces"]} - alike
        ports = frozenset(name for name in names if not name.startswith("Vxlan"))
        found[vid] = _Vlan(ports, bool(vlan["dynamic"]))
    return found


def _vnis_of(answer: str, name: str) -> dict[Vid, Vni]:
    maps: Mapping[str, Any] = json.loads(answer)["interfaces"][name]["vlanToVniMap"]
    return {vid: Vni(_vni(found["vni"])) for vid, found in _of_frames(maps).items()}


def _of_frames(told: Mapping[str, Any]) -> dict[Vid, Any]:
    """By VID, without what no frame has: the VNI of a VRF gets a VLAN of the switch's own, which may be above them."""
    return {Vid(int(vid)): about for vid, about in told.items() if 1 <= int(vid) <= MAX_VID}


def _held(config: _Config, shown: dict[Vid, _Vlan], configured: dict[Vid, _Vlan], vxlan: str) -> Held:
    unready = "; ".join(config.lacks())
    vnis = _vnis_of(vxlan, config.vxlan) if config.vxlan in config.there else {}
    looks = (shown, configured)
    there = shown.keys() | configured.keys()
    ports = {vid: frozenset[str]().union(*(look[vid].ports for look in looks if vid in look)) for vid in there}
    own = [vid for vid in there if any(vid in look and look[vid].dynamic for look in looks)]
    config.notes += _notes(config)
    config.lost.update(config.vnis.keys() - config.told)
    return held(config, Shown(set(there), ports, own, vnis), unready)


def _notes(config: _Config) -> Iterator[str]:
    for vid in sorted(config.told - config.vnis.keys()):
        if vid in config.settings.vids:
            yield f"BGP has an instance of VLAN {vid}, which has no VNI: {config.bgp}: vlan {vid}"
    for vid in sorted(config.vnis.keys() - config.told):
        if vid in config.settings.vids:
            yield f"VLAN {vid} has VNI {int(config.vnis[vid])}, and BGP has no instance of it"


def _read(say: Say, settings: NgsSettings) -> Held:
    vxlan = port_name(settings.options.get("ngs_vxlan_interface", "Vxlan1"))
    answers = [say(command) for command in reads(vxlan)]
    config, shown, configured, maps = answers
    return understood(config, shown, configured, maps, settings)


def reads(vxlan: str) -> tuple[str, ...]:
    """The commands that show all there is."""
    return (
        "show running-config",
        "show vlan | json",
        "show vlan configured-ports | json",
        f"show interfaces {vxlan} | json",
    )


def _words(device: Any, step: Step) -> list[str]:
    return ["configure terminal", *_spelt(device, step), "end"]


def _spelt(device: Any, step: Step) -> list[str]:
    vid = int(step.vid)
    about = {"segmentation_id": vid, "bgp_asn": device.bgp_asn, "vxlan_interface": device.vxlan_interface}
    subports = [{"segmentation_id": vid}]
    match step:
        case Make():
            name = device._get_network_name(UUID(int=vid).hex, vid)
            return list(device._format_commands(device.ADD_NETWORK, segmentation_id=vid, network_name=name))
        case Remove():
            return list(device._format_commands(device.DELETE_NETWORK, segmentation_id=vid))
        case Map(_, vni):
            made = len(device.ENSURE_VLAN)  # it begins with these, and the VLAN is there
            return spelt(device, lambda device: device.plug_switch_to_network(int(vni), vid))[made:]
        case Unmap(_, vni):
            # The library would say it the other way round, and the VNI is the sign of what is to go.
            bgp = device._format_commands(device.UNPLUG_EVPN_VLAN, **about)
            return [*bgp, *device._format_commands(device.UNPLUG_SWITCH_FROM_NETWORK, vni=int(vni), **about)]
        case Join(_, _, port):
            return spelt(device, lambda device: device.add_subports_on_trunk({}, port, subports))
        case Leave(_, port):
            return spelt(device, lambda device: device.del_subports_on_trunk({}, port, subports))


SAVED = "Copy completed successfully"


def _save(say: Say, words: Words) -> list[str]:
    answer = say("write memory")  # networking-generic-switch leaves it to netmiko
    return [] if SAVED in answer else [answer.strip()[:200] or "it does not say that it did"]


EOS = Kind(_read, _words, in_modes(COMPLAINS), _save, privileged=True)
