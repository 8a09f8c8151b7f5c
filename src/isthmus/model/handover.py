"""What of each network stands ready in one tag scope: for an SDN that waits for it, or waits for it to be gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.model.change import Unmet
from isthmus.model.names import DvsId, Mac, NetworkId, PortId
from isthmus.model.scope import Scope
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True)
class StandingGroup:
    """A network's port group as it is now.  `mapped_at`: the NVEs that map its VID to its VNI, whole."""

    network: NetworkId
    dvs: DvsId
    key: str
    vid: Vid | None
    mapped_at: frozenset[str]


@dataclass(frozen=True, slots=True)
class Member:
    """Who is in a network behind one of our VTEPs now."""

    network: NetworkId
    mac: Mac
    vtep: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handover:
    """One scope as it was last seen: nothing of it is older than `at` (seconds on the loop's clock).

    `whole`: every switch and NVE could be read, so that what is not here is nowhere.  `unmet`: what
    could not be had, and why.
    """

    scope: Scope | None
    groups: Mapping[tuple[NetworkId, DvsId], StandingGroup]
    vnis: frozenset[Vni]
    """Those that some port group or NVE of the scope still has."""
    vids: frozenset[int]
    """Those that anything in it wears, whoever's it is."""
    whole: bool
    at: float
    members: frozenset[Member] = frozenset()
    elsewhere: frozenset[tuple[NetworkId, Mac]] = frozenset()
    """Who is in a network somewhere else, on another switch or behind another VTEP: others tell of them."""
    unmet: tuple[Unmet, ...] = ()
    reading: int = 0
    """Which of its source's answers the intent was."""
    wired: frozenset[PortId] | None = None
    """The ports whose DV ports are open with a VID of their own; None: it is not known, or tags are not worn there."""
    unfit: Mapping[int, str] = field(default_factory=dict)
    """VIDs that nobody wears there, and the NVEs that would not take them now."""

    def wears(self, vni: Vni) -> bool:
        """Something in the scope has the network, or might."""
        return not self.whole or vni in self.vnis

    def is_free(self, vid: int) -> bool:
        """Nothing in the scope wears the VID, and all of it was seen."""
        return self.whole and vid not in self.vids

    def is_fit(self, vid: int) -> bool:
        """The VID may be given to a network, as far as the scope goes."""
        return self.is_free(vid) and vid not in self.unfit

    def why(self, network: NetworkId) -> str:
        """Why a network does not have what it should, as far as is known."""
        return "; ".join(unmet.reason for unmet in self.unmet if network in unmet.about)
