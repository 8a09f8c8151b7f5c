"""What a switch without marks holds, and what of it is ours.

Law: in the range that we were given a VLAN with a VNI may be ours, and whether one of our networks has the VNI is for
others to say; one without is somebody else's if it is on a port that is not ours, or untagged, or if anything else on
the switch is about it.  Outside all are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.model.nve import LeafBinding, NveEntry, NveKey
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import NO_VIDS, Vid, VidSet, Vni


@dataclass(frozen=True, slots=True)
class Vlan:
    """One VLAN of a switch: the VNI it is mapped to, and its ports."""

    vni: Vni | None = None
    tagged: frozenset[str] = frozenset()
    untagged: frozenset[str] = frozenset()
    said: str = ""
    """A statement of the switch's that makes it somebody's, beside its ports; empty if there is none."""

    @property
    def ports(self) -> frozenset[str]:
        """All its ports."""
        return self.tagged | self.untagged


Vlans: TypeAlias = Mapping[Vid, Vlan]
"""Every VLAN of a switch, and every other VID that somebody's statement is about."""
NOTHING = Vlan()


@dataclass(frozen=True, slots=True)
class Held:
    """All that a switch shows."""

    vlans: Vlans = field(default_factory=dict)
    unready: str = ""
    """Why nothing may be said to it as it is now; empty if it may."""
    taken: Mapping[Vni, str] = field(default_factory=dict)
    """VNIs that a statement which is not a VLAN's mapping gives to somebody."""
    barred: Mapping[str, str] = field(default_factory=dict)
    """Ports of ours that can join nothing, and why."""
    notes: tuple[str, ...] = ()
    """What lets somebody hear us, or is left of us, and is not in a VLAN's ports."""
    absent: frozenset[Vid] = frozenset()
    """VIDs of `vlans` that there is no VLAN of: only a VNI, or a statement."""
    shows_empty: bool = True
    """A VLAN that is not in it is not there.  Else it may be, without ports and VNI."""
    always: frozenset[str] = frozenset()
    """Ports that are in every VLAN there is, ours too: they join and leave none, and are in no VLAN's ports."""

    lost: frozenset[Vid] = frozenset()
    """VLANs with a VNI that BGP, or the interface of the tunnels, is not told of, as it is told with a VNI of ours."""
    loose: frozenset[Vid] = frozenset()
    """VLANs without VNI that ports are in only since there is such a VLAN: no statement is about it."""
    taken_ranges: tuple[tuple[range, str], ...] = ()
    """As `taken`, of statements that name many at once."""
    without: Mapping[Vid, frozenset[str]] = field(default_factory=dict)
    """What of it is not there of a VLAN in `lost`, where the switch complains if it is to be taken away."""
    vain: Mapping[Vid, str] = field(default_factory=dict)
    """VLANs that there are none of and that are not asked for now, and why: they were made in vain."""
    unproven: Mapping[Vid, str] = field(default_factory=dict)
    """VLANs that there are none of and that are not made now, and why: nobody can say who would be in them."""
    diverted: VidSet = NO_VIDS
    """VIDs that a port of ours has another meaning for, whether there are such VLANs or not: a translation, a part of
    the port that is somebody's."""
    bare: frozenset[Vid] = frozenset()
    """VLANs that are configured without VNI, port or any other word, though the switch may show them otherwise yet."""
    revision: str = field(default="", compare=False)
    """What it was read of, where a switch says so."""

    def exists(self, vid: Vid) -> bool:
        """The switch shows that VLAN."""
        return vid in self.vlans and vid not in self.absent

    def taker(self, vni: Vni) -> str:
        """The statement that gives that VNI to somebody; empty if there is none."""
        return taker(vni, self.taken, self.taken_ranges)

    def at(self, vid: Vid) -> Vlan:
        """That VLAN, or nothing."""
        return self.vlans.get(vid, NOTHING)

    def joining(self, settings: NgsSettings) -> tuple[str, ...]:
        """The ports that have each VID of ours, as far as they must be told of it."""
        return tuple(port for port in settings.members if port not in self.always)


def taker(vni: Vni, taken: Mapping[Vni, str], ranges: Iterable[tuple[range, str]]) -> str:
    """Of these, the statement that gives that VNI to somebody; empty if there is none."""
    number = int(vni)  # what is not quite an int a range looks for one by one
    return taken.get(vni) or next((said for vnis, said in ranges if number in vnis), "")


def is_foreign(vid: Vid, vlan: Vlan, settings: NgsSettings) -> bool:
    """It is somebody else's, whatever its VNI."""
    if vid not in settings.vids:
        return vlan != NOTHING
    return vlan.vni is None and bool(company(vlan, settings))


def company(vlan: Vlan, settings: NgsSettings, verb: str = "is") -> str:
    """Who is in a VLAN beside the ports of ours that are to be: empty if nobody is."""
    if vlan.said:
        return vlan.said
    strange = sorted(vlan.tagged.difference(settings.members) | vlan.untagged)
    return f"it {verb} on {', '.join(strange)}" if strange else ""


def not_ours(vid: Vid, vlan: Vlan, held: Held, settings: NgsSettings) -> str:
    """Why a VLAN that is foreign is, or one that there is none of would be."""
    if vid in held.absent:
        return f"is not made: there is none yet, and it would not be ours alone: {company(vlan, settings, 'would be')}"
    return f"is somebody else's: {company(vlan, settings)}, without a VNI"


def mirror(target: TargetId, held: Held, settings: NgsSettings) -> NveMirror:
    """All that the switch holds of what may be ours.

    A VLAN that there is none of nobody wears, whatever ports would be in it at once, and whatever statements are about
    it: but it is not ours to make.  Where a port of ours brings its frames to somebody all the same, it is worn.
    """
    entries: dict[NveKey, NveEntry] = {}
    foreign: list[Vid] = []
    unfit = list(held.vain)
    for vid, vlan in held.vlans.items():
        if is_foreign(vid, vlan, settings):
            (unfit if vid in held.absent and vid not in held.diverted else foreign).append(vid)
        elif vlan.vni is not None:
            whole = held.exists(vid) and vid not in held.lost and vlan.tagged.issuperset(held.joining(settings))
            binding = LeafBinding(vid, vlan.vni, whole)
            entries[binding.key] = binding
    return NveMirror(
        target, entries, foreign_vids=VidSet.of(foreign), unfit=VidSet.of(unfit), learns=True, marked=False
    )
