"""What a switch without marks holds, and what of it is ours.

Law: in the range that we were given a VLAN with a VNI may be ours, and whether one of our networks has the VNI is for
others to say; one without is somebody else's if it is on a port that is not ours, or untagged.  Outside all are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.model.nve import LeafBinding, NveEntry, NveKey
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import Vid, VidSet, Vni


@dataclass(frozen=True, slots=True)
class Vlan:
    """One VLAN of a switch: the VNI it is mapped to, and its ports."""

    vni: Vni | None = None
    tagged: frozenset[str] = frozenset()
    untagged: frozenset[str] = frozenset()

    @property
    def ports(self) -> frozenset[str]:
        """All its ports."""
        return self.tagged | self.untagged


Held: TypeAlias = Mapping[Vid, Vlan]
"""Every VLAN of a switch."""
NOTHING = Vlan()


def is_foreign(vid: Vid, vlan: Vlan, settings: NgsSettings) -> bool:
    """It is somebody else's, whatever its VNI."""
    if vid not in settings.vids:
        return vlan != NOTHING
    return vlan.vni is None and not (vlan.tagged.issubset(settings.members) and not vlan.untagged)


def mirror(target: TargetId, held: Held, settings: NgsSettings) -> NveMirror:
    """All that the switch holds of what may be ours."""
    entries: dict[NveKey, NveEntry] = {}
    foreign: list[Vid] = []
    for vid, vlan in held.items():
        if is_foreign(vid, vlan, settings):
            foreign.append(vid)
        elif vlan.vni is not None:
            binding = LeafBinding(vid, vlan.vni, whole=vlan.tagged.issuperset(settings.members))
            entries[binding.key] = binding
    return NveMirror(target, entries, foreign_vids=VidSet.of(foreign), learns=True, marked=False)
