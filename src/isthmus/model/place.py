"""The places where a tag is worn, and what the core must know of each kind.

place          carried by a move   VID unique within   gate         stale writer caught by   owner mark
DvPort         yes                 the DVS             port block   port's configVersion     PG description
DvPortGroup    same everywhere     the tag's scope     none, NVE    PG's configVersion       PG description
HostPortGroup  no, name is found   (host, vswitch)     none, NVE    nothing                  the switch
               anew at the host
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

from isthmus.model.names import DvsId, HostId


class PlaceKind(Enum):
    """Which kind of place a design tags at."""

    DV_PORT = "DV-port override"
    DV_PORT_GROUP = "port group"
    HOST_PORT_GROUP = "port group of a standard switch"

    @property
    def carried_by_moves(self) -> bool:
        """A move brings the tag to the destination host, announced or not."""
        return self is PlaceKind.DV_PORT

    @property
    def has_gate(self) -> bool:
        """The place itself can be closed; else the NVE, which drops what it does not map, is the gate."""
        return self is PlaceKind.DV_PORT


class DvPort(NamedTuple):  # one for each port and round, whose hash is asked for several times
    """A port of a distributed switch as held by one NIC: the cookie tells a re-used key from the old holder."""

    dvs: DvsId
    key: str
    cookie: int | None = None

    def __str__(self) -> str:
        return f"port {self.key}"


@dataclass(frozen=True, slots=True, order=True)
class DvPortGroup:
    """A port group of a distributed switch, by key; its VID is shared by every port and host."""

    dvs: DvsId
    key: str

    def __str__(self) -> str:
        return f"port group {self.key}"


@dataclass(frozen=True, slots=True, order=True)
class HostPortGroup:
    """A port group of a standard switch: known by name, anew on each host."""

    host: HostId
    vswitch: str
    name: str

    def __str__(self) -> str:
        return f"port group {self.name!r} on {self.host} {self.vswitch}"


Place: TypeAlias = DvPort | DvPortGroup | HostPortGroup
