"""What a configuration's statements and what the switch shows come to, for types that are configured by statements.

Law: a statement about a VID of ours that is not known makes the VLAN somebody's.  A port of ours is in a VLAN if it is
configured so and shown so; one that is shown, and not configured so, makes the VLAN somebody's too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.adapters.leaf.ngs.held import Held, Vlan
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.statements import Statement, vid_list, vids_of
from isthmus.model.tags import ALL_VIDS, MAX_VNI, NO_VIDS, Vid, VidSet, Vni

HARMLESS = (
    r"description .*|hostname .*|alias .*|snmp-server .*|logging .*|ntp .*|username .*|end"
    r"|(no )?spanning-tree vlan(-id)? .*|(no )?ip igmp snooping .*|(no )?ipv6 mld snooping .*"
    r"|(ip|ipv6) prefix-list .*|route-map \S+ (permit|deny) \d+"
    r"|(no )?ip dhcp snooping .*|(no )?ip arp inspection .*"
)
"""Whatever VIDs they cover: they mean nothing for who hears whom."""
_ROUTE_TARGET = re.compile(r"route-target .*?[\d.]+:(\d+)")
_DIVERTS = re.compile(r"translat|mapping|rewrite|encapsulation|dot1q|native vlan")
"""Words at a port that give its frames another VLAN, or somebody else, than their VID says."""
_VNI = re.compile(r"(?:\bvni|vn-segment) (\d+)(?:-(\d+))?")


@dataclass(slots=True)
class Port:
    """What is configured of a port."""

    mode: str = "access"
    routed: bool = False
    allowed: VidSet = ALL_VIDS
    listed: VidSet = NO_VIDS
    """The VLANs that a list of its own names."""
    lag: str = ""
    alone: bool = False
    """A LAG whose members stand alone as long as nobody speaks LACP."""
    inherits: bool = False
    """More is said of it elsewhere."""
    anywhere: str = ""
    """Why it may be in any VLAN that is made; empty if it is known where it is."""

    def allow(self, words: Sequence[str]) -> None:
        """A list of VLANs, or what is added to it."""
        named = vid_list(words[-1] if words else "")
        self.allowed = self.allowed | named if words[0] == "add" else named
        self.listed = self.allowed

    @property
    def carries(self) -> VidSet:
        """The VLANs that it is a trunk for."""
        return self.may_carry if self.mode == "trunk" else NO_VIDS

    @property
    def may_carry(self) -> VidSet:
        """The VLANs that it is a trunk of any kind for, such as one for a phone too."""
        return self.allowed if self.mode.startswith("trunk") and not self.routed else NO_VIDS


@dataclass(slots=True)
class Judged:
    """What the statements come to, as far as they have been taken."""

    settings: NgsSettings
    ports: dict[str, Port] = field(default_factory=dict)
    vlans: set[Vid] = field(default_factory=set)
    vnis: dict[Vid, Vni] = field(default_factory=dict)
    said: dict[Vid, str] = field(default_factory=dict)
    judgements: list[tuple[VidSet, Statement]] = field(default_factory=list)
    """The same, all that is said of each."""
    taken: dict[Vni, str] = field(default_factory=dict)
    taken_ranges: list[tuple[range, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    lost: set[Vid] = field(default_factory=set)
    """VLANs with a VNI, and without a word that goes with it."""
    without: dict[Vid, frozenset[str]] = field(default_factory=dict)
    """Which, where the switch complains if such a word is to be taken off."""
    there: set[str] = field(default_factory=set)
    """Of what everything stands on."""

    def unknown(self, said: Statement) -> None:
        """Nobody here knows what it means: VIDs and VNIs in it are somebody's."""
        self.somebodys(vids_of(said.line), said)
        if target := _ROUTE_TARGET.search(said.line):
            self.takes(int(target[1]), said)
        for found in _VNI.finditer(said.line):
            if found[2]:
                self.taken_ranges.append((range(int(found[1]), int(found[2]) + 1), str(said)))
            else:
                self.takes(int(found[1]), said)

    def somebodys(self, vids: VidSet, said: Statement) -> None:
        """These VLANs are."""
        self.judgements.append((vids & self.settings.vids, said))
        for vid in vids & self.settings.vids:
            self.said.setdefault(vid, str(said))

    def diverts(self, said: Statement) -> bool:
        """It is said of a part of a port of ours, or gives VIDs another meaning there."""
        port, _, part = self.port_of(said).partition(".")
        return port in self.settings.members and (bool(part) or _DIVERTS.search(said.line) is not None)

    def port_of(self, said: Statement) -> str:
        """The port that it is said of, or one that has a profile that it is said of; empty if none."""
        raise NotImplementedError

    def takes(self, vni: int, said: Statement) -> None:
        """This VNI is, if it is one."""
        if 1 <= vni <= MAX_VNI:
            self.taken.setdefault(Vni(vni), str(said))

    def note_beside(self, said: Statement) -> None:
        """Frames of a port, or of a VLAN, may go somewhere beside its VLAN."""
        self.notes.append(f"frames of ours may go elsewhere too: {said}")

    def barred(self) -> Iterator[tuple[str, str]]:
        """Ports of ours that can join nothing."""
        for name in self.settings.members:
            port = self.ports.get(name)
            if port is None:
                yield name, "there is no such port on the switch"
            elif port.lag:
                yield name, f"it is a member of {port.lag}: name that instead"
            elif port.routed:
                yield name, "it is a routed port (no switchport)"
            elif port.mode != "trunk":
                yield name, f"it is in switchport mode {port.mode}, and must be a trunk"


@dataclass(slots=True)
class Shown:
    """What the switch itself shows, however it came to be."""

    vlans: set[Vid]
    """Those that there are."""
    ports: Mapping[Vid, Collection[str]]
    """Who is in each, or would be if he were up, or if there were such a VLAN."""
    own: Collection[Vid]
    """Those that it made for itself."""
    vnis: Mapping[Vid, Vni]


def held(judged: Judged, shown: Shown, unready: str, always: frozenset[str] = frozenset()) -> Held:
    """Both together; with those ports of ours that are in every VLAN, and in no VLAN's ports."""
    settings, members = judged.settings, judged.settings.members
    said = dict(judged.said)
    for vid in settings.vids:
        told, seen = judged.vnis.get(vid), shown.vnis.get(vid)
        if told != seen:
            said.setdefault(vid, f"it is configured with VNI {told}, and the switch shows {seen}")
    tagged: defaultdict[Vid, set[str]] = defaultdict(set)
    for name, port in judged.ports.items():
        lag = judged.ports.get(port.lag)
        if port.lag and not (lag and lag.alone):
            continue  # as long as it is a member it has nothing of its own
        if name not in members and port.lag not in members:
            for vid in port.may_carry & settings.vids:
                tagged[vid].add(name)  # also where there is no such VLAN yet
    for vid in shown.vlans | shown.ports.keys():
        for name in sorted(set(shown.ports.get(vid, ())) - always):
            port = judged.ports.get(name, Port())
            if (vid in port.carries and name in members) or (name not in members and port.lag not in members):
                tagged[vid].add(name)
            elif vid not in port.carries and vid in settings.vids:
                said.setdefault(vid, f"{name} is in it, and is not configured as a trunk that allows it")
        if vid in shown.own:
            said.setdefault(vid, "the switch made it for itself")
    found = {
        vid: Vlan(judged.vnis.get(vid, shown.vnis.get(vid)), frozenset(tagged[vid]), frozenset(), said.get(vid, ""))
        for vid in sorted(shown.vlans | tagged.keys() | said.keys() | judged.vnis.keys() | shown.vnis.keys())
    }
    return Held(
        found,
        unready,
        judged.taken,
        dict(judged.barred()),
        tuple(dict.fromkeys(judged.notes)),
        absent=frozenset(found.keys() - shown.vlans),
        always=always,
        lost=frozenset(judged.lost),
        loose=frozenset(_loose(judged, shown, found)),
        taken_ranges=tuple(judged.taken_ranges),
        without=judged.without,
        unproven=dict(_unproven(judged, shown)),
        diverted=VidSet.joined(p for vids, by in judged.judgements if judged.diverts(by) for p in vids.ranges),
    )


def _unproven(judged: Judged, shown: Shown) -> Iterator[tuple[Vid, str]]:
    """VLANs that a port of ours, such as the one to the other switch of a pair, has at once, and who knows who else."""
    members = judged.settings.members
    strangers = [(name, port) for name, port in judged.ports.items() if name not in members and not port.routed]
    anywhere = [f"{name} {port.anywhere}" for name, port in strangers if port.anywhere]
    ours = VidSet.joined(piece for m in members if m in judged.ports for piece in judged.ports[m].carries.ranges)
    for vid in ours & judged.settings.vids if anywhere else NO_VIDS:
        if vid not in shown.vlans:
            yield vid, f"a port of ours would carry it at once, and so may {'; '.join(anywhere)}"


def _loose(judged: Judged, shown: Shown, found: Mapping[Vid, Vlan]) -> Iterator[Vid]:
    strangers = (port for name, port in judged.ports.items() if name not in judged.settings.members)
    listed = VidSet.joined(piece for port in strangers for piece in port.listed.ranges)
    for vid in shown.vlans & set(judged.settings.vids):
        theirs = vid in listed or vid in judged.said or vid in shown.own
        if not theirs and found[vid].vni is None and shown.ports.get(vid):
            yield vid
