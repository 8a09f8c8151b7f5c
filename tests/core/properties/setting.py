"""What a history is about: a design, a pool of VIDs small enough to run out, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from isthmus.core.design import Design
from isthmus.model.place import PlaceKind
from isthmus.model.shard import VidPool
from isthmus.model.tags import VidSet

NETWORKS = MappingProxyType({"red": 5001, "blue": 5002, "green": 5003, "white": 5004})
HOSTS = ("esx1", "esx2", "esx3")
VMS = ("a", "b", "c", "d", "e")
OTHER = "vSwitch0"
"""A standard switch that is not ours."""
SMALL = VidPool(VidSet.of("11-13"))


@dataclass(frozen=True)
class Setting:
    """One kind of history.  `meddling`: hands write tags onto our places, too."""

    design: Design
    pool: VidPool = SMALL
    distributed: bool = False
    meddling: bool = False

    @property
    def dv_ports(self) -> bool:
        """Tags are worn by DV ports."""
        return self.design.place is PlaceKind.DV_PORT

    @property
    def standard(self) -> bool:
        """Tags are worn by port groups of standard switches."""
        return self.design.place is PlaceKind.HOST_PORT_GROUP
