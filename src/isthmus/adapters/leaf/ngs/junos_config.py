"""What a Junos switch (ELS) says of itself: its configuration, what of that is in force, what it then shows.

Law: a statement about a VLAN of ours is one that is known here and judged, or makes it somebody's; and only what stands
in the configuration as we would say it ourselves is ours, since nothing else can be taken away by our words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from isthmus.adapters.leaf.ngs.held import Held
from isthmus.adapters.leaf.ngs.judging import Judged, Port, Shown
from isthmus.adapters.leaf.ngs.judging import held as judged_held
from isthmus.adapters.leaf.ngs.kind import nonsense, parsed
from isthmus.adapters.leaf.ngs.needs import JUNOS_NAMES, evpn_vni_config
from isthmus.adapters.leaf.ngs.ports import junos as port_name
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.statements import Statement
from isthmus.model.tags import ALL_VIDS, MAX_VID, MAX_VNI, NO_VIDS, Vid, VidSet, Vni

INSTANCE = "default-switch"
"""The one whose VLANs the library maps."""

_HARMLESS = re.compile(
    r"protocols (vstp|mstp|rstp|igmp-snooping|mld-snooping|lldp|lldp-med|lacp|layer2-control) .*"
    r"|system (host-name|login|syslog|ntp|services|root-authentication) .*|snmp .*|class-of-service .*|event-options .*"
)
"""Whatever VLANs they name: they mean nothing for who hears whom."""
_TARGET = re.compile(r"\btarget:[^\s:]+:(\d+)")
_VNI_LIST = re.compile(r"vni-list (.+)")
"""Such as those that are carried on to another data centre (`protocols evpn interconnect`)."""
_EVERYWHERE = re.compile(r" (vlan members|vlan-id-list) (.* )?all\b")
_OUTER = re.compile(r"\b0x[\da-f]+\.(\d+)")
"""A VID after the type of its tag."""
_OF_ALL = 1 << 28
"""What a route target that the switch makes by itself has beside the VNI."""
_NEEDED = {
    "vxlan": "there is no 'protocols evpn encapsulation vxlan'",
    "vnis": "EVPN is not told of every VNI: say 'protocols evpn extended-vni-list all'",
    "source": "there is no 'switch-options vtep-source-interface'",
    "rd": "there is no 'switch-options route-distinguisher'",
    "target": "there is no 'switch-options vrf-target'",
    "bgp": "no group of BGP has 'family evpn signaling'",
}
_TUNNEL = re.compile(r"\s*(\S+)\s+\S+\+(\d+)\s+(\d+)(\s.*)?\s(\d+(\.\d+){3}|[\da-f]*:[\da-f:.]*)(\s+\S+)?\s*")
"""The routing instance, the VID after the VLAN's name, the VNI; last a multicast group."""
_TUNNELS = re.compile(r"(vtep|esi)\b.*")


def vlan_name(settings: NgsSettings, vid: int) -> str:
    """What the library calls a VLAN of ours."""
    form = {**JUNOS_NAMES, **settings.options}["ngs_network_name_format"]
    return form.format(network_id=UUID(int=vid).hex, segmentation_id=int(vid))


@dataclass(slots=True)
class _Config(Judged):
    said_plainly: Collection[str] = ()
    """What stands there so, by nobody's group or range."""
    names: defaultdict[str, VidSet] = field(default_factory=lambda: defaultdict(VidSet))
    """The VIDs of each VLAN that there is a word of."""
    switched: set[str] = field(default_factory=set)
    every: set[str] = field(default_factory=set)
    """Ports whose list says that they are in all VLANs."""
    by_unit: set[str] = field(default_factory=set)
    """Ports that have VLANs by their units."""
    linked: set[str] = field(default_factory=set)
    """Ports that carry private VLANs to another switch, whatever they list."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Ports in another routing instance."""
    lists: list[tuple[str, VidSet, Statement]] = field(default_factory=list)
    """Statements that put a port of others' into VLANs."""
    targeted: set[Vid] = field(default_factory=set)
    """VLANs that have a route target of their own, as we would say it."""

    def name(self, line: str) -> None:
        """Take from a statement what a VLAN is called."""
        match line.split():
            case ["vlans", name, ("vlan-id" | "vlan-id-list" | "vlan-range"), *said]:
                self.names[name] |= _numbers(said)
            case ["vlans", name, *_]:
                self.names[name] |= NO_VIDS

    def take(self, line: str) -> None:
        """Judge a statement that is in force."""
        said = Statement(line)
        match line.split():
            case ["groups" | "apply-groups" | "apply-groups-except", *_]:
                pass  # what is in force of them is said where it is
            case ["vlans", name, *rest]:
                self._of_vlan(name, rest, said)
            case ["interfaces", "interface-range", *_]:
                self.unknown(said)
            case ["interfaces", port, *rest]:
                self._of_port(port, rest, said)
            case ["protocols", ("bgp" | "evpn") as protocol, "disable"]:
                self.unready.append(f"{protocol.upper()} is disabled")
            case ["protocols", "evpn", *rest]:
                self._of_evpn(rest, said)
            case ["protocols", "bgp", *_]:
                self.there |= {"bgp"} if " family evpn signaling" in line else set()
                self.unknown(said)
            case ["protocols", ("mvrp" | "ovsdb"), *_] | ["switch-options", "ovsdb-managed", *_]:
                self.unready.append(f"others make VLANs of it: {said}")
            case ["switch-options", *rest]:
                self._of_switch(rest, said)
            case ["routing-instances", instance, "interface", port]:
                self.elsewhere[port_name(port)] = instance
                self.unknown(said)
            case ["forwarding-options", "analyzer", _, "input", *rest]:
                if self.about(said) & self.settings.vids or self._names_ours(rest):
                    self.note_beside(said)
            case words:
                if words[:1] == ["forwarding-options"] and self._names_ours(words):
                    self.note_beside(said)
                if not _HARMLESS.fullmatch(line):
                    self.unknown(said)

    def about(self, said: Statement) -> VidSet:
        """The VLANs that a statement is about by their names."""
        found = (self.names.get(word.strip('"[]'), NO_VIDS) for word in said.line.split())
        return VidSet.joined(piece for vids in found for piece in vids.ranges)

    def unknown(self, said: Statement) -> None:
        """Nobody here knows what it means: VLANs in it, by number or name, and VNIs are somebody's."""
        Judged.unknown(self, said)
        self.somebodys(self.about(said), said)
        for found in _TARGET.finditer(said.line):
            self.takes(int(found[1]), said)
            self.takes(int(found[1]) - _OF_ALL, said)
        if listed := _VNI_LIST.search(said.line):
            for first, last in re.findall(r"\b(\d+)(?:-(\d+))?\b", listed[1]):
                self.taken_ranges.append((range(int(first), int(last or first) + 1), str(said)))
        self.somebodys(_numbers(_OUTER.findall(said.line)), said)

    def diverts(self, said: Statement) -> bool:
        """It is said of a part of a port of ours, or of its instance, or gives VIDs another meaning there."""
        match said.line.split():
            case ["interfaces", name, *rest]:
                words = {"vlan-rewrite", "vlan-id", "vlan-tags", "vlan-id-list", "vlan-id-range", "native-vlan-id"}
                return name in self.settings.members and not words.isdisjoint(rest)
            case ["routing-instances", instance, *_]:
                return instance in (self.elsewhere.get(name) for name in self.settings.members)
        return False

    def _names_ours(self, words: Iterable[str]) -> bool:
        return not {port_name(word) for word in words}.isdisjoint(self.settings.members)

    def _of_vlan(self, name: str, rest: list[str], said: Statement) -> None:
        vids = self.names[name]
        match rest:
            case [] | ["vxlan"] | ["description", *_] | ["vxlan", "ingress-node-replication"]:
                return
            case ["vlan-id", vid] if vid.isdecimal():
                self.vlans.update(vids)
                if name == vlan_name(self.settings, int(vid)) and len(vids) == 1:
                    self._must_be_plain(vids, said)
                else:
                    self.somebodys(vids, said)
            case ["vxlan", "vni", vni] if len(vids) == 1 and _is_vni(vni):
                [mapped] = vids
                if self.vnis.setdefault(mapped, Vni(int(vni))) != int(vni):
                    self.unknown(said)
                self._must_be_plain(vids, said)
            case ["vrf-target", target] if len(vids) == 1 and target == self._target(*vids):
                self.targeted.update(vids)
                self._must_be_plain(vids, said)
            case _:
                self.somebodys(vids, said)
                self.unknown(said)

    def _must_be_plain(self, vids: VidSet, said: Statement) -> None:
        if said.line not in self.said_plainly:
            self.somebodys(vids, Statement(f"by a group: {said.line}"))

    def _target(self, vid: Vid) -> str:
        if not evpn_vni_config(self.settings.options) or vid not in self.vnis:
            return ""
        return f"target:{self.settings.options['ngs_bgp_asn']}:{int(self.vnis[vid])}"

    def _of_port(self, name: str, rest: list[str], said: Statement) -> None:
        port = self.ports.setdefault(name, Port(allowed=NO_VIDS))
        match rest:
            case ["description", *_] | ["unit", _, "description", *_]:
                pass
            case ["unit", "0", "family", "ethernet-switching", *what]:
                self.switched.add(name)
                self._of_switching(name, port, what, said)
            case ["unit", "0", "family", *_]:
                port.routed = True
                self.unknown(said)
            case ["unit", unit, *what]:
                if _EVERYWHERE.search(said.line):
                    self.somebodys(ALL_VIDS, said)
                if unit != "0" or what:
                    self.by_unit.add(name)
                self.unknown(said)
            case ["ether-options" | "gigether-options", "802.3ad", lag] if re.fullmatch(r"ae\d+", lag):
                port.lag = lag
            case [("flexible-vlan-tagging" | "vlan-tagging" | "stacked-vlan-tagging" | "encapsulation"), *_]:
                self.by_unit.add(name)
                self.unknown(said)
            case _:
                self.unknown(said)

    def _of_switching(self, name: str, port: Port, what: list[str], said: Statement) -> None:
        match what:
            case ["interface-mode", mode]:
                port.mode = mode
            case ["vlan", "members", *members]:
                for member in (word.strip("[]") for word in members):
                    self._member(name, port, member, said)
            case [] | ["storm-control" | "recovery-timeout", *_]:
                pass
            case ["inter-switch-link", *_]:
                self.linked.add(name)
            case _:
                self.unknown(said)

    def _member(self, name: str, port: Port, member: str, said: Statement) -> None:
        if member == "all":
            self.every.add(name)
            port.allowed = ALL_VIDS
            if name not in self.settings.members:
                self.lists.append((name, ALL_VIDS, said))
            return
        vids = _numbers([member]) or self.names.get(member, NO_VIDS)
        port.allowed |= vids
        port.listed |= vids
        if name not in self.settings.members:
            self.lists.append((name, vids, said))
        elif not member.isdecimal() or said.line not in self.said_plainly:
            self.somebodys(vids, said)

    def _of_evpn(self, rest: list[str], said: Statement) -> None:
        match rest:
            case ["encapsulation", "vxlan"]:
                self.there.add("vxlan")
            case ["extended-vni-list", *listed] if "all" in listed:
                self.there.add("vnis")
            case ["interconnect", "interconnected-vni-list" | "interconnected-vlan-list", *listed] if "all" in listed:
                self.note_beside(said)
            case _:
                self.unknown(said)

    def _of_switch(self, rest: list[str], said: Statement) -> None:
        match rest:
            case ["vtep-source-interface", _, *_]:
                self.there.add("source")
            case ["route-distinguisher", _]:
                self.there.add("rd")
            case [("vrf-target" | "vrf-import" | "vrf-export"), *_]:
                self.there.add("target")
            case ["remote-vtep-list", *_]:
                self.notes.append(f"frames for all go to these too: {said}")
            case _:
                self.unknown(said)

    def finish(self) -> None:
        """Judge what only all statements together tell."""
        for name, vids, said in self.lists:
            if self.ports[name].mode != "trunk":
                self.somebodys(vids, said)
        ours = {vlan_name(self.settings, vid): vid for vid in self.settings.vids}
        for name in ours.keys() & self.names.keys():
            if self.names[name] != VidSet.of([ours[name]]):
                self.somebodys(VidSet.of([ours[name]]), Statement(f"vlans {name} is called as we would call it"))
        if evpn_vni_config(self.settings.options):
            self.lost.update(self.vnis.keys() - self.targeted)

    def lacks(self) -> Iterator[str]:
        """Why nothing may be said to it."""
        yield from self.unready
        yield from (why for what, why in _NEEDED.items() if what not in self.there)

    def barred(self) -> Iterator[tuple[str, str]]:
        """Ports of ours that can join nothing."""
        for name in self.settings.members:
            port = self.ports.get(name)
            if port is None:
                yield name, "there is no such port in its configuration"
            elif port.lag:
                yield name, f"it is a member of {port.lag}: name that instead"
            elif name in self.elsewhere:
                yield name, f"it is in routing instance {self.elsewhere[name]}"
            elif name in self.linked:
                yield name, "it carries private VLANs to another switch (inter-switch-link)"
            elif name in self.by_unit or port.routed:
                yield name, "it has more than unit 0 with family ethernet-switching"
            elif name not in self.switched:
                yield name, "it is no switched port (unit 0 family ethernet-switching)"
            elif port.mode != "trunk":
                yield name, f"its interface-mode is {port.mode}, and must be trunk"
            elif name not in self.every and not port.listed - self.settings.vids:
                yield name, "it lists no VLAN outside vids, and Junos takes no trunk without VLANs: add one to it"

    def always(self) -> frozenset[str]:
        """Ports of ours that are in every VLAN."""
        trunks = {name for name in self.every if self.ports[name].mode == "trunk"}
        return frozenset(trunks & set(self.settings.members) - dict(self.barred()).keys())


def _numbers(words: Iterable[str]) -> VidSet:
    """The VIDs among these words."""
    found = NO_VIDS
    for word in words:
        if spans := re.fullmatch(r"(\d+)(?:-(\d+))?", word.strip("[]")):
            first, last = max(int(spans[1]), 1), min(int(spans[2] or spans[1]), MAX_VID)
            found |= VidSet.of(f"{first}-{last}") if first <= last else NO_VIDS
    return found


def _is_vni(word: str) -> bool:
    return word.isdecimal() and 1 <= int(word) <= MAX_VNI


@dataclass(frozen=True, slots=True)
class _Vlan:
    """One VLAN as the switch shows it."""

    instance: str
    vid: Vid
    ports: Mapping[str, bool]
    """And whether with a tag."""
    routed: str
    """The interface that routes it, or empty."""


def understood(
    plain: Sequence[str],
    in_force: Sequence[str],
    vlans: str,
    tunnels: Iterable[str],
    settings: NgsSettings,
    in_the_way: Iterable[str] = (),
) -> Held:
    """What its answers say; with what is in the way of telling it anything.  Raises Retry if they say nothing."""
    try:
        config = _judged(plain, in_force, settings)
        config.unready += in_the_way
        return _held(config, list(_vlans(vlans)), list(_tunnels(tunnels)))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as wrong:  # not what was asked for
        raise nonsense(f"{type(wrong).__name__}: {wrong}") from wrong


def _judged(plain: Sequence[str], in_force: Sequence[str], settings: NgsSettings) -> _Config:
    off = frozenset(line.removeprefix("deactivate ") for line in (*plain, *in_force) if line.startswith("deactivate "))
    stated = {line.removeprefix("set ") for line in plain if line.startswith("set ")}
    config = _Config(settings, said_plainly=stated)
    active: list[str] = []
    idle: list[str] = []
    for line in in_force:
        if line.startswith("set "):
            line = line.removeprefix("set ")
            (idle if off and _is_off(line, off) else active).append(line)
        elif not line.startswith("deactivate "):
            idle.append(line)  # such as what nobody may change
    idle += sorted(line for line in stated.difference(active, idle) if off and _is_off(line, off))
    for line in (*active, *idle):
        config.name(line)
    for line in sorted(active, key=_vni_first):
        config.take(line)
    for line in idle:
        if not line.startswith("groups "):
            config.unknown(Statement(line))
    config.finish()
    return config


def _vni_first(line: str) -> bool:
    """False, which is sorted first, for what the route target of a VLAN is compared with."""
    return " vxlan vni " not in line


def _is_off(line: str, off: frozenset[str]) -> bool:
    words = line.split()
    return any(" ".join(words[:count]) in off for count in range(1, len(words) + 1))


def _held(config: _Config, vlans: list[_Vlan], tunnels: list[tuple[str, Vid, int]]) -> Held:
    settings, always = config.settings, config.always()
    bare = set(_bare(config, vlans))
    ports: defaultdict[Vid, set[str]] = defaultdict(set)
    shown: set[Vid] = set()
    for vlan in vlans:
        ports[vlan.vid].update(vlan.ports)
        if vlan.instance != INSTANCE:
            config.somebodys(VidSet.of([vlan.vid]), Statement(f"routing-instances {vlan.instance} has VLAN {vlan.vid}"))
            continue
        shown.add(vlan.vid)
        for odd in _odd(vlan, always & config.ports.keys(), settings):
            config.somebodys(VidSet.of([vlan.vid]), Statement(odd))
    for vid in config.vlans - shown:
        config.somebodys(VidSet.of([vid]), Statement("it is configured, and the switch does not show it"))
        config.lost.add(vid)
        ports[vid].update(
            port for port in settings.members if port in config.ports and vid in config.ports[port].carries
        )
    vnis: dict[Vid, Vni] = {}
    for instance, vid, vni in tunnels:
        if instance == INSTANCE and _is_vni(str(vni)):
            vnis[vid] = Vni(vni)
        else:
            said = Statement(f"{instance} has VLAN {vid} with VNI {vni}")
            config.takes(vni, said)
            config.somebodys(VidSet.of([vid]), said)
    config.notes += (f"{port} carries every VLAN, ours too: it is named as ours" for port in sorted(always))
    made = judged_held(config, Shown(shown, ports, shown - config.vlans, vnis), "; ".join(config.lacks()), always)
    return replace(made, bare=frozenset(bare))


def _bare(config: _Config, vlans: Iterable[_Vlan]) -> Iterator[Vid]:
    """What is shown may be as it was before the last commit: it counts for what is not of our own doing."""
    ours = set(config.settings.members)
    used = {v.vid for v in vlans if v.instance != INSTANCE or v.routed or not ours.issuperset(v.ports)}
    strangers = [port for name, port in config.ports.items() if name not in ours]
    lists = (*(port.listed for port in config.ports.values()), *(port.may_carry for port in strangers))
    configured = VidSet.joined(piece for vids in lists for piece in vids.ranges)
    for vid in config.vlans & set(config.settings.vids) - used - config.said.keys() - config.vnis.keys():
        if vid not in configured:
            yield vid


def _odd(vlan: _Vlan, always: Collection[str], settings: NgsSettings) -> Iterator[str]:
    """What is shown of a VLAN and makes it somebody's."""
    if vlan.routed:
        yield f"{vlan.routed} routes it"
    for port in sorted(vlan.ports):
        if port in settings.members and not vlan.ports[port]:
            yield f"it is on {port} without a tag"
    for port in sorted(always):
        if port not in vlan.ports:
            yield f"it is to be on {port}, and is not"


def _vlans(answer: str) -> Iterator[_Vlan]:
    """What `show vlans extensive | display json` says, of those that have a VID."""
    [information] = parsed(answer)["l2ng-l2ald-vlan-instance-information"]
    for group in information["l2ng-l2ald-vlan-instance-group"]:
        text(group, "l2ng-l2rtb-vlan-name")
        vid = text(group, "l2ng-l2rtb-vlan-tag") if "l2ng-l2rtb-vlan-tag" in group else ""
        if not vid.isdecimal() or int(vid) == 0:
            continue
        ports: dict[str, bool] = {}
        for member in filter(None, group.get("l2ng-l2rtb-vlan-member", ())):
            port = port_name(text(member, "l2ng-l2rtb-vlan-member-interface").rstrip("*"))
            if port and not _TUNNELS.fullmatch(port):
                tagged = text(member, "l2ng-l2rtb-vlan-member-tagness") == "tagged"
                ports[port] = ports.get(port, True) and tagged
        routed = group.get("l2ng-l2rtb-vlan-l3-interface")
        gateway = text(group, "l2ng-l2rtb-vlan-l3-interface") if routed else ""
        yield _Vlan(text(group, "l2ng-l2rtb-name"), Vid(int(vid)), ports, gateway)


def text(entry: Mapping[str, Any], word: str) -> str:
    """What stands below a word in Junos' JSON, where all is in lists; empty if nothing does."""
    [value] = entry[word]
    said = value.get("data", "") if value else ""
    return str(said) if isinstance(said, str | int) else ""


def _tunnels(rows: Iterable[str]) -> Iterator[tuple[str, Vid, int]]:
    for row in rows:
        found = _TUNNEL.fullmatch(row)
        if found is None:
            raise nonsense(row)
        yield found[1], Vid(int(found[2])), int(found[3])
