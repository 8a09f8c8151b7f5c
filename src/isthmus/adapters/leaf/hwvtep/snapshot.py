"""What the database of a leaf holds, as far as we look at it, at one moment.  Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.model.names import Mac


@dataclass(frozen=True, slots=True)
class LogicalSwitch:
    """A network of the switch: `key` is its VNI, None if it has none yet."""

    name: str
    description: str
    key: int | None
    replication: str = ""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What the switch tells of its tunnel to another VTEP, where it watches it by BFD."""

    vtep: str
    watched: bool
    state: str
    diagnostic: str = ""

    @property
    def down(self) -> bool:
        """The switch itself says that nothing gets through."""
        return self.watched and self.state != "up"


@dataclass(frozen=True, slots=True)
class PhysicalPort:
    """A port: each VID bound there, with the name of its logical switch."""

    bindings: Mapping[int, str]
    faults: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class PhysicalSwitch:
    """A switch.  What it tells of its health is no part of what it was told, so it is not compared."""

    name: str
    tunnel_ips: frozenset[str]
    ports: Mapping[str, PhysicalPort]
    faults: frozenset[str] = field(default=frozenset(), compare=False)
    tunnels: tuple[Tunnel, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The database.  Logical switches go by their names, which are unique in it.

    `unicast` has the VTEPs of every remote MAC, more than one only where another hand made it so; `flood` those of
    `unknown-dst`.  `local` are the MACs the switch has seen below itself: they come and go with every VM's talk.
    """

    physical: Mapping[str, PhysicalSwitch]
    logical: Mapping[str, LogicalSwitch]
    unicast: Mapping[tuple[str, Mac], tuple[str, ...]]
    flood: Mapping[str, frozenset[str]]
    local: frozenset[tuple[str, Mac]] = field(default=frozenset(), compare=False)
    replicates: bool = True
    """The schema knows how broadcast is copied (replication_mode)."""
