"""What one loop reconciles: which scope, on which switches, for which hosts, and which of the duties are its."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto

from isthmus.model.intent import Intent
from isthmus.model.inventory import Inventory
from isthmus.model.names import DvsId, HostId
from isthmus.model.observed import AS_IT_IS, Security, TargetId
from isthmus.model.scope import Scope
from isthmus.model.tags import ALL_VIDS, NO_VIDS, VidSet


class Duty(Flag):
    """What a shard writes.  Port groups are shared by hosts, so they may be another shard's."""

    PORT_GROUPS = auto()
    TAGS = auto()


@dataclass(frozen=True, slots=True)
class Shard:
    """One unit of reconciliation.

    `switches` are the DVSes whose places it writes, `hosts` those it serves, `nves` the external NVEs that must know
    its bindings (host id -> target for NVEs on hosts, leaf id -> target for leaves).  `owner` is the installation's
    name in owner marks.  `beyond` are the leaves that another controller tells what VIDs mean: nothing of them is seen.
    `deployment` is the name of the deployment that it is a part of.
    """

    name: str
    scope: Scope | None
    switches: tuple[DvsId, ...]
    hosts: frozenset[HostId]
    nves: Mapping[str, TargetId]
    duties: Duty = Duty.PORT_GROUPS | Duty.TAGS
    owner: str = "isthmus"
    beyond: frozenset[str] = frozenset()
    deployment: str = ""
    security: Security = AS_IT_IS
    """What its port groups let VMs do."""


@dataclass(frozen=True, slots=True)
class VidPool:
    """The VIDs that may be given out: configured ranges less the reserved, which may differ by scope."""

    ranges: VidSet = ALL_VIDS
    reserved: VidSet = NO_VIDS
    reserved_in: Mapping[Scope, VidSet] = field(default_factory=dict)
    reuse: bool = False
    """True: a VID may mean another subject on another host of one switch; isolation then hangs on announced moves."""

    def reserves(self, scope: Scope | None, vid: int) -> bool:
        """Whether `vid` belongs to something else in `scope`."""
        if vid in self.reserved:
            return True
        return scope is not None and scope in self.reserved_in and vid in self.reserved_in[scope]

    def offers(self, scope: Scope | None, vid: int) -> bool:
        """Whether `vid` may be given out in `scope`."""
        return vid in self.ranges and not self.reserves(scope, vid)


@dataclass(frozen=True, slots=True)
class World:
    """What is wanted, for one shard: the intent, what vCenter runs, and moves under way."""

    shard: Shard
    intent: Intent
    inventory: Inventory
    move_deadline: float = 600.0
    """Seconds after which an announced move that never ended is taken as lost."""
