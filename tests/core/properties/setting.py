"""What a history is about: a design, a pool of VIDs small enough to run out, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from isthmus.core.design import Design
from isthmus.model.place import PlaceKind
from isthmus.model.shard import VidPool
from isthmus.model.tags import VidSet

NETWORKS = MappingProxyType({"red": 5003, "blue": 5006, "green": 5014, "white": 5015})
"""Networks by VNI: all of them would like the same VID of SMALL first, so that they meet."""
HOSTS = ("esx1", "esx2", "esx3")
VMS = ("a", "b", "c", "d", "e")
OTHER = "vSwitch0"
"""A standard switch that is not ours."""
SMALL = VidPool(VidSet.of("11-13"))


@dataclass(frozen=True)
class Setting:
    """One kind of history.

    `meddling`: hands write tags onto our places, too.  `crowded`: little but VMs that come and go, so that tags change
    wearers all the time.
    """

    design: Design
    pool: VidPool = SMALL
    distributed: bool = False
    meddling: bool = False
    crowded: bool = False

    @property
    def dv_ports(self) -> bool:
        """Tags are worn by DV ports."""
        return self.design.place is PlaceKind.DV_PORT

    @property
    def standard(self) -> bool:
        """Tags are worn by port groups of standard switches."""
        return self.design.place is PlaceKind.HOST_PORT_GROUP
