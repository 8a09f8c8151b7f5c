"""What a Cumulus Linux switch says of itself: NVUE's applied configuration, and what the kernel's bridge carries.

Law: a statement that mentions a VID of ours is one that is known here and judged, or makes the VLAN somebody's.  What
only one of the two says, configuration or kernel, is not as it should be: a port in that state is no member.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeAlias

from isthmus.adapters.leaf.ngs.held import Held, Vlan
from isthmus.adapters.leaf.ngs.kind import nonsense, parsed
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.statements import without_secret
from isthmus.model.tags import MAX_VNI, NO_VIDS, Vid, VidSet, Vni

BRIDGE = "br_default"
"""The one that networking-generic-switch maps VLANs on."""
RESERVED = VidSet.of("3725-3999")
"""The VLANs that the hardware takes for itself, if it is not told otherwise."""

Statement: TypeAlias = tuple[str, ...]
"""One setting, word by word, as ``nv set`` would have it; of one port, where it is about several."""

_ON = ("on", "enabled")
_OF_BRIDGE = ("bridge", "domain", BRIDGE)
_SAYS_VLANS = frozenset(("access", "untagged", "pvid", "native", "vid", "vids"))
_CARRYING = ("/etc/network/interfaces", "/etc/frr/")
"""What NVUE writes VLANs and VNIs to."""
_HARMLESS = (("stp", "vlan"), ("dhcp-snoop", "vlan"), ("dhcp-snoop6", "vlan"))
"""Words of a bridge that mean nothing for who hears whom, whatever VLANs they are about."""
_ROUTE_TARGET = re.compile(r".+:(\d+)")
"""One that EVPN would find by itself for the VNI at its end."""
_STANDS_ON = re.compile(r"(?:vlan|[a-z]\S*\.|\S+_vlan)(\d+)(?:_l3|-v\d+)?")
"""``vlan101``, ``swp1.101``, ``bridge2_vlan101``; what routes a layer 3 VNI there, or is a second address of it."""


def names(said: str) -> Iterator[str]:
    """The names in ``swp1-3,5``, ``bond1,bond3`` or ``swp1s0-3``."""
    stem = ""
    for part in said.split(","):
        if found := re.fullmatch(r"(.*?[^\d-])?(\d+)-(\d+)", part):
            stem = found[1] or stem
            yield from (f"{stem}{number}" for number in range(int(found[2]), int(found[3]) + 1))
        else:
            yield f"{stem}{part}" if part.isdigit() else part
            stem = stem if part.isdigit() else re.sub(r"\d+$", "", part)


def vids(said: str) -> VidSet | None:
    """The VIDs in ``10-12,20``; None if it is something else."""
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", said):
        return None
    try:
        return VidSet.of(said)
    except ValueError:
        return None


def _vni(said: str) -> Vni | None:
    return Vni(int(said)) if said.isdecimal() and 1 <= int(said) <= MAX_VNI else None


def statements(answer: str) -> list[Statement]:
    """What `nv config show -o json` says.  Raises Retry if it is not that, whole."""
    document = parsed(answer)
    parts = document if isinstance(document, list) else [document]
    if not all(isinstance(part, dict) for part in parts) or not any("header" in part for part in parts):
        raise nonsense(answer)
    found: list[Statement] = []
    for part in parts:
        for word, below in part.items():
            if word != "header":
                found += _leaves(below, () if word == "set" else (word,))
    return [single for statement in found for single in _singly(statement)]


def _leaves(below: Any, above: Statement) -> Iterator[Statement]:
    if isinstance(below, dict) and below:
        for word, rest in below.items():
            yield from _leaves(rest, (*above, str(word)))
    elif isinstance(below, list) and below:
        for rest in below:
            yield from _leaves(rest, above)
    else:
        yield above if below is None or below in ({}, []) else (*above, str(below))


def _singly(statement: Statement) -> Iterator[Statement]:
    choices = (
        list(names(word)) if at and statement[at - 1] in ("interface", "member") else [word]
        for at, word in enumerate(statement)
    )
    return product(*choices)


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is so at this moment."""

    there: frozenset[str]
    """Its interfaces."""
    filtering: bool
    """There is the bridge, and it is VLAN-aware, of 802.1Q."""
    bonds: Mapping[str, str]
    """The bond that a port is in."""
    bridged: frozenset[str]
    """The ports of the bridge, beside the tunnel."""
    carried: Mapping[Vid, Mapping[str, bool]]
    """The ports in each VLAN of the bridge, and whether with a tag."""
    maps: Mapping[Vid, Vni]
    upper: Mapping[Vid, str]
    """The interface that stands on a VLAN, of the bridge or of a port."""
    bases: Mapping[str, str]
    """What such an interface stands on."""


def kernel(links_said: str, vlans_said: str, tunnels_said: str) -> Kernel:
    """What `ip -j -d link show`, `bridge -j vlan show` and `bridge -j vlan tunnelshow` say.  Raises Retry."""
    try:
        return _kernel(parsed(links_said), parsed(vlans_said), parsed(tunnels_said))
    except (KeyError, TypeError, AttributeError, ValueError) as wrong:  # not what these print, or no such number
        raise nonsense(f"{type(wrong).__name__}: {wrong}") from wrong


def _kernel(links: Any, vlans: Any, tunnels: Any) -> Kernel:
    by_name = {link["ifname"]: link for link in links}
    kinds = {name: link.get("linkinfo", {}) for name, link in by_name.items()}
    own = kinds.get(BRIDGE, {})
    carried: defaultdict[Vid, dict[str, bool]] = defaultdict(dict)
    maps: dict[Vid, Vni] = {}
    for entry in vlans:
        port = entry["ifname"]
        if port == BRIDGE or by_name[port].get("master") != BRIDGE:
            continue  # itself, for what stands on it; or of another bridge
        for vlan in entry["vlans"]:
            bare = "Egress Untagged" in vlan.get("flags", ())
            for vid in map(Vid, range(vlan["vlan"], vlan.get("vlanEnd", vlan["vlan"]) + 1)):
                if kinds[port].get("info_kind") != "vxlan":
                    carried[vid][port] = not bare
                elif "id" in (data := kinds[port].get("info_data", {})) and bare:  # one device for each VNI
                    maps[vid] = Vni(data["id"])
    for entry in tunnels:
        if by_name[entry["ifname"]].get("master") == BRIDGE:
            for tunnel in entry["tunnels"]:
                many = range(tunnel.get("vlanEnd", tunnel["vlan"]) - tunnel["vlan"] + 1)
                maps |= {Vid(tunnel["vlan"] + n): Vni(tunnel["tunid"] + n) for n in many}
    return Kernel(
        frozenset(by_name),
        own.get("info_kind") == "bridge"
        and own["info_data"].get("vlan_filtering") == 1
        and own["info_data"].get("vlan_protocol", "802.1Q") == "802.1Q",
        {n: link["master"] for n, link in by_name.items() if kinds[n].get("info_slave_kind") == "bond"},
        frozenset(n for n, k in kinds.items() if by_name[n].get("master") == BRIDGE and k.get("info_kind") != "vxlan"),
        carried,
        maps,
        {Vid(kinds[n]["info_data"]["id"]): n for n in by_name if kinds[n].get("info_kind") == "vlan"},
        {n: link["link"] for n, link in by_name.items() if kinds[n].get("info_kind") == "vlan" and "link" in link},
    )


@dataclass(slots=True)
class Reading:
    """The applied configuration, judged statement by statement."""

    settings: NgsSettings
    exists: set[Vid] = field(default_factory=set)
    """VLANs of the bridge."""
    named: set[Vid] = field(default_factory=set)
    """The same, in whatever words."""
    maps: dict[Vid, Vni] = field(default_factory=dict)
    lists: defaultdict[str, VidSet] = field(default_factory=lambda: defaultdict(VidSet))
    """The VLANs that a port of the bridge lists."""
    bridged: dict[str, str] = field(default_factory=dict)
    """The bridge that a port is in."""
    limited: set[str] = field(default_factory=set)
    """Ports that are access ports, or list VLANs: the others carry every VLAN of their bridge."""
    access: set[str] = field(default_factory=set)
    bonds: dict[str, str] = field(default_factory=dict)
    """The bond that a port is in."""
    peerlinks: set[str] = field(default_factory=lambda: {"peerlink"})
    """By its type, or by the name that it has in most places."""
    said: dict[Vid, str] = field(default_factory=dict)
    parts: defaultdict[str, VidSet] = field(default_factory=lambda: defaultdict(VidSet))
    """The VIDs that something is said of at an interface."""
    bases: dict[str, str] = field(default_factory=dict)
    """What an interface stands on."""
    taken: dict[Vni, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    on: set[str] = field(default_factory=set)
    unready: list[str] = field(default_factory=list)
    reserved: VidSet = RESERVED
    routed: dict[str, int] = field(default_factory=lambda: {"begin": 4000, "end": 4064})
    """The VLANs that layer 3 VNIs get, where there is MLAG."""
    paired: bool = False
    copying: dict[str, str] = field(default_factory=dict)
    """Access lists that copy frames elsewhere."""
    filtered: list[tuple[str, str]] = field(default_factory=list)
    """Ports of ours, and an access list of each."""

    def take(self, statement: Statement) -> None:
        """Judge one."""
        match statement:
            case ("bridge", "domain", domain, "type", kind):
                if domain == BRIDGE and kind != "vlan-aware":
                    self.unready.append(f"bridge {BRIDGE} is of type {kind}, not vlan-aware")
            case ("bridge", "domain", domain, *rest) if domain == BRIDGE and tuple(rest[:2]) in _HARMLESS:
                pass
            case ("bridge", "domain", domain, "vlan", said, *rest) if domain == BRIDGE and self._is_own(said, rest):
                pass
            case ("interface", port, "bridge", "domain", domain, *rest):
                self._bridge(port, domain, rest, statement)
            case ("nve", "vxlan", ("enable" | "state"), value):
                self.on |= {"vxlan"} if value in _ON else set()
            case ("evpn", ("enable" | "state"), value):
                self.on |= {"evpn"} if value in _ON else set()
            case ("system", "global", "reserved", "vlan", "internal", "range", said):
                self.reserved = vids(said) or RESERVED
            case ("system", "global", "reserved", "vlan", "l3-vni-vlan", ("begin" | "end") as edge, vid) if vids(vid):
                self.routed[edge] = int(vid)
            case ("system", "config", "apply", "ignore", path, *_):
                told = self.unready if _carries_vlans(path) else self.notes
                told.append(f"it is told not to write {path}: {_shown(statement)}")
            case ("bridge", "domain", domain, "encap", kind):
                if domain == BRIDGE and kind.lower() != "802.1q":
                    self.unready.append(f"bridge {BRIDGE} is of {kind}, not 802.1Q")
            case (*about, "description", _) if "snippet" not in about:
                self._stranger(tuple(about))  # free text means nothing
            case ("system", "hostname" | "message", *_):
                pass
            case _:
                self._stranger(statement)
        match statement:
            case ("interface", bond, "bond", "member", port):
                self.bonds[port] = bond
            case ("interface", port, "type", "peerlink"):
                self.peerlinks.add(port)
            case ("mlag", *_):
                self.paired = True
            case ("acl", name, *rest) if {"span", "erspan"}.intersection(rest):
                self.copying.setdefault(name, _shown(statement))
            case ("interface", port, "acl", name, *_) if port in self.settings.members:
                self.filtered.append((port, name))
            case ("system", "port-mirror", *rest):
                if ports := [port for word in rest for port in names(word) if port in self.settings.members]:
                    self.notes.append(f"frames of {', '.join(ports)} are copied: {_shown(statement)}")

    def _is_own(self, vlan: str, rest: Sequence[str]) -> bool:
        """A VLAN of the bridge, and its VNI, in the words that it is given here."""
        listed = vids(vlan)
        if listed is None:
            return False
        self.named.update(listed)
        match rest:
            case [] | ["vni"]:
                pass
            case ["vni", said, *flooding] if flooding[:1] in ([], ["flooding"]) and len(listed) == 1:
                [vid], vni = listed, _vni(said)
                if vni is None or self.maps.setdefault(vid, vni) != vni:
                    return False
            case _:
                return False
        self.exists.update(listed)
        return True

    def _bridge(self, port: str, domain: str, rest: Sequence[str], statement: Statement) -> None:
        self.bridged[port] = domain
        match rest:
            case ["access", _]:
                self.access.add(port)
                self.limited.add(port)
                self._stranger(statement)
            case ["vlan", "all"]:
                pass
            case ["vlan", said] if (listed := vids(said)) is not None:
                self.limited.add(port)
                if domain == BRIDGE:
                    self.lists[port] |= listed
                if domain != BRIDGE or port not in self.settings.members:
                    self._stranger(statement)
            case _ if tuple(rest[:2]) not in _HARMLESS:
                self._stranger(statement)

    def _stranger(self, statement: Statement) -> None:
        """It is not one that we give: what it mentions is somebody's."""
        words = _words(statement)
        line = _shown(words)
        about = mentioned(statement) & self.settings.vids
        for vid in about:
            self.said.setdefault(vid, line)
        match statement:
            case ("interface", name, "base-interface", port):
                self.bases[name] = port
            case ("interface", name, *_):
                self.parts[name] |= about
        for at, word in enumerate(words[1:], 1):
            found = _ROUTE_TARGET.fullmatch(word) if "route-target" in words[:at] else None
            number = found[1] if found else word if words[at - 1] == "vni" else ""
            if vni := _vni(number):
                self.taken.setdefault(vni, line)


def mentioned(statement: Statement) -> VidSet:
    """The VIDs after words about VLANs, and in the names of interfaces that stand on one."""
    found, about, words = NO_VIDS, False, _words(statement)
    for before, word in zip(("", *words), words, strict=False):
        says = ("vlan" in before and before != "vlan-vni-offset") or before.removeprefix("bridge-") in _SAYS_VLANS
        about = says or (about and "snippet" in words)  # free text has lists with blanks
        if about:
            found |= vids(word) or NO_VIDS
        if name := _STANDS_ON.fullmatch(word):
            found |= vids(name[1]) or NO_VIDS
    return found


def _shown(statement: Statement) -> str:
    return without_secret(" ".join(statement))[:200]


def _words(statement: Statement) -> Statement:
    """One by one, also those of text that goes into the switch's files as it is."""
    if "snippet" not in statement:
        return statement
    return tuple(word for said in statement for word in said.split())


def held(config: Iterable[Statement], now: Kernel, settings: NgsSettings, in_the_way: Iterable[str] = ()) -> Held:
    """All that the switch shows; with what is in the way of telling it anything, beside what is found here."""
    reading = Reading(settings)
    for statement in config:
        reading.take(statement)
    everywhere = _everywhere(reading, now)
    unready = [*in_the_way, *reading.unready, *_unready(reading, now, everywhere)]
    said = dict(reading.said)
    for vid, name in now.upper.items():
        said.setdefault(vid, f"interface {name}")
    for vid in _reserved(reading) & settings.vids:
        said.setdefault(vid, "the switch takes this VLAN for itself (system global reserved vlan)")
    shown = {port for port, domain in reading.bridged.items() if domain == BRIDGE}.difference(everywhere)
    vlans = {
        vid: _vlan(vid, reading, now, said.get(vid, "") if vid in settings.vids else "", shown, everywhere)
        for vid in sorted({*reading.exists, *now.carried, *now.maps, *reading.maps, *_listed(reading), *said})
    }
    return Held(
        vlans,
        unready="; ".join(unready),
        taken=reading.taken,
        barred=dict(_barred(reading, now)),
        notes=tuple(dict.fromkeys(_noted(reading, everywhere))),
        absent=frozenset(vlans.keys() - reading.named - now.carried.keys() - now.maps.keys()),
        diverted=_diverted(reading, now),
        always=everywhere,
    )


def _diverted(reading: Reading, now: Kernel) -> VidSet:
    """The VIDs that a port of ours has another meaning for: what stands on it has their frames."""

    def is_ours(name: str) -> bool:
        port = reading.bases.get(name) or now.bases.get(name) or name.partition(".")[0]
        return port in reading.settings.members

    said = (vids for name, vids in reading.parts.items() if is_ours(name))
    shown = VidSet.of(vid for vid, name in now.upper.items() if is_ours(name))
    return VidSet.joined(piece for vids in (*said, shown) for piece in vids.ranges)


def _reserved(reading: Reading) -> VidSet:
    routed = VidSet.of(f"{reading.routed['begin']}-{reading.routed['end']}") if reading.paired else NO_VIDS
    return reading.reserved | routed


def _carries_vlans(path: str) -> bool:
    """It is one of the files that VLANs and VNIs are written to, or all of a folder that has one."""
    stem = path.rstrip("*")
    return any(stem.startswith(file) or file.startswith(stem) for file in _CARRYING)


def _listed(reading: Reading) -> set[Vid]:
    return {vid for listed in reading.lists.values() for vid in listed}


def _vlan(vid: Vid, reading: Reading, now: Kernel, said: str, shown: Iterable[str], everywhere: frozenset[str]) -> Vlan:
    tagged: set[str] = set()
    other: set[str] = set()
    for port in {*now.carried.get(vid, ()), *(port for port in shown if vid in reading.lists[port])} - everywhere:
        with_tag = now.carried.get(vid, {}).get(port)
        (tagged if with_tag and vid in reading.lists[port] else other).add(port)
    given, shows = reading.maps.get(vid), now.maps.get(vid)
    if given != shows:
        said = said or f"it is to have {_named(given)}, and has {_named(shows)}"
    if vid in reading.exists and (lacking := everywhere & now.there - now.carried.get(vid, {}).keys()):
        said = said or f"it is to be on {', '.join(sorted(lacking))}, and is not"
    return Vlan(given or shows, frozenset(tagged), frozenset(other), said)


def _named(vni: Vni | None) -> str:
    return "no VNI" if vni is None else f"VNI {int(vni)}"


def _everywhere(reading: Reading, now: Kernel) -> frozenset[str]:
    """Ports of ours, and those to the other switch of a pair, that carry every VLAN of the bridge, with no list.

    NVUE bridges the link between a pair by itself: its configuration seldom says so.
    """
    every = {p for p, domain in reading.bridged.items() if domain == BRIDGE} & (
        reading.peerlinks | set(reading.settings.members)
    )
    return frozenset((every | (reading.peerlinks & now.bridged)) - reading.limited)


def _unready(reading: Reading, now: Kernel, everywhere: frozenset[str]) -> Iterator[str]:
    if not now.filtering:
        yield f"there is no VLAN-aware bridge {BRIDGE} of 802.1Q"
    if "vxlan" not in reading.on:
        yield "VXLAN is not enabled (nv set nve vxlan)"
    if "evpn" not in reading.on:
        yield "EVPN is not enabled (nv set evpn)"
    for port in sorted(p for p, domain in reading.bridged.items() if domain == BRIDGE and p not in reading.limited):
        if port not in everywhere:
            yield f"{port} carries every VLAN of {BRIDGE} and is not ours: list its VLANs, or put it in ngs_trunk_ports"
    for port in sorted(now.bridged - reading.bridged.keys() - everywhere):
        if all(port in now.carried.get(vid, ()) for vid in reading.exists):
            yield f"{port} is in {BRIDGE}, and its configuration does not say with which VLANs: list them"
    for port in reading.settings.members:
        if reading.lists[port] and not reading.lists[port] - reading.settings.vids:
            yield f"{port} lists no VLAN outside vids, and to NVUE an empty list means every VLAN: add one to it"


def _barred(reading: Reading, now: Kernel) -> Iterator[tuple[str, str]]:
    for port in reading.settings.members:
        bond = reading.bonds.get(port) or now.bonds.get(port)
        if bond:
            yield port, f"it is a member of {bond}: name {bond} instead"
        elif port not in now.there:
            yield port, "there is no such interface"
        elif reading.bridged.get(port) != BRIDGE:
            where = f"in bridge {reading.bridged[port]}" if port in reading.bridged else "in no bridge"
            yield port, f"it is {where}: it must be in {BRIDGE} first"
        elif port in reading.access:
            yield port, "it is an access port: it must list VLANs instead"


def _noted(reading: Reading, everywhere: frozenset[str]) -> Iterator[str]:
    yield from reading.notes
    for port, name in reading.filtered:
        if name in reading.copying:
            yield f"frames of {port} are copied: {reading.copying[name]}"
    for port in sorted(everywhere):
        to = "it leads to the other switch of the pair" if port in reading.peerlinks else "it is named as ours"
        yield f"{port} carries every VLAN of {BRIDGE}, ours too: {to}"
