"""A rack that the last VM of a network has left: its port group and its mapping go there, and then its VLAN is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.netns.stage import until
from lab.openstack.racks import Rack
from lab.openstack.site import Site

PATIENCE = 90.0
"""A VLAN that a port was about to be bound to may be retired after 45 s."""


@dataclass(slots=True)
class Left:
    """Which network left which rack, where it had this VID."""

    site: Site
    network: str
    rack: Rack
    vid: int
    outlived: set[str] = field(default_factory=set)
    """What wore the VID when Neutron would have given it to another network."""

    def is_forgotten(self) -> bool:
        """Whether all of it is gone by now.  To be asked again and again: it notes the order in which things go."""
        # In this order: what is worn after it was free was worn when it was free.
        is_free = self.vid not in self.site.taken_vlans(self.rack)
        worn = {"port group"} if self.rack.name in self.site.vids_of(self.network) else set()
        worn |= {"mapping"} if self.site.maps(self.rack, self.vid) else set()
        self.outlived |= worn if is_free else set()
        return is_free and not worn


def forgotten(places: Sequence[Left], patience: float = PATIENCE) -> float | None:
    """Seconds until all of these are; None if they are not in that time."""
    return until(lambda: {place.is_forgotten() for place in places} == {True}, patience)
