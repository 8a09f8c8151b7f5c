"""A plan: single changes in a partial order, each of which may be the last that happens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Self, TypeAlias

from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.names import DvsId, HostId
from isthmus.model.nve import NveEntry
from isthmus.model.observed import AS_IT_IS, OwnerMark, Security, TargetId
from isthmus.model.tags import Vid


@dataclass(frozen=True, slots=True)
class PortGroupSpec:
    """A port group of ours.  `vid` None: no VLAN, closed, each port opened by override.  Else tagged and open."""

    name: str
    mark: OwnerMark
    vid: Vid | None = None
    security: Security = AS_IT_IS

    @property
    def gated(self) -> bool:
        """Ports are closed until overridden."""
        return self.vid is None


@dataclass(frozen=True, slots=True)
class CreatePortGroup:
    """Make a port group: early binding, auto-expand, block and VLAN override allowed, reset at disconnect.

    DuplicateName: adopt if it carries our mark for this network, else Refused.
    """

    dvs: DvsId
    spec: PortGroupSpec


@dataclass(frozen=True, slots=True)
class AlterPortGroup:
    """Bring the settings we own back to `spec` (name excepted), leaving every other setting as it is."""

    dvs: DvsId
    key: str
    version: str
    spec: PortGroupSpec


@dataclass(frozen=True, slots=True)
class RemovePortGroup:
    """Delete a port group of ours, only if the server agrees that nothing is plugged in (else Retry)."""

    dvs: DvsId
    key: str
    mark: OwnerMark


@dataclass(frozen=True, slots=True)
class DisownPortGroup:
    """Take our mark off a port group and leave everything else as it is: from now on it is foreign."""

    dvs: DvsId
    key: str
    mark: OwnerMark


class Gate(Enum):
    """What a DV-port write does to the traffic of the port."""

    CLAIM = "claim"  # closed, wearing its VID: seen by every other allocator before it is used
    OPEN = "open"  # tagged and open
    CLOSE = "close"  # closed, still wearing its VID until the NVE has forgotten it
    BARE = "bare"  # closed, wearing nothing: back to the port group's default


@dataclass(frozen=True, slots=True)
class SetDvPort:
    """One write to a DV port: `vid` None takes the override off.

    The server refuses it if `version` is stale; the adapter, if it opens and another NIC holds the port (`cookie`).
    """

    dvs: DvsId
    key: str
    cookie: int | None
    version: str
    gate: Gate
    vid: Vid | None
    host: HostId | None = None


@dataclass(frozen=True, slots=True)
class BuildNve:
    """Build the fixed frame of an NVE: its bridges, patch ports and tunnel port."""


@dataclass(frozen=True, slots=True)
class Learn:
    """Add or replace entries of an NVE."""

    entries: tuple[NveEntry, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove entries of an NVE."""

    entries: tuple[NveEntry, ...]


@dataclass(frozen=True, slots=True)
class AddHostPortGroup:
    """Make a port group with its VID on a standard switch."""

    host: HostId
    vswitch: str
    name: str
    vid: Vid


@dataclass(frozen=True, slots=True)
class AlterHostPortGroup:
    """Repair the VID of a port group of a standard switch that was changed by hand: the one time that it changes."""

    host: HostId
    vswitch: str
    name: str
    vid: Vid


@dataclass(frozen=True, slots=True)
class RemoveHostPortGroup:
    """Remove a port group of a standard switch (refused by the host while NICs use it: Retry)."""

    host: HostId
    vswitch: str
    name: str


class Hand(Enum):
    """What another hand may have done to an object of ours, where nobody is let into a network by it."""

    PORT_GROUP = "port group"  # settings that we own are changed; none of it lets anybody into a network
    CLOSED_PORT = "closed port"  # a DV port that wears its tag is closed, by a hand if not by us on the way to open it


Action: TypeAlias = (
    CreatePortGroup
    | AlterPortGroup
    | RemovePortGroup
    | DisownPortGroup
    | SetDvPort
    | BuildNve
    | Learn
    | Forget
    | AddHostPortGroup
    | AlterHostPortGroup
    | RemoveHostPortGroup
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change to one target, to be made only when all those in `after` were made.

    `guarded` marks a delete or a retag of an open port that is not urgent for isolation, and what an NVE forgets before
    a delete: the guard may hold it back.
    `undoes` names what another hand may have done, if that is all the change is for: it may be left as it is.
    `asks`: made only on an operator's word.
    """

    id: int
    target: TargetId
    action: Action
    reason: str
    after: frozenset[int] = frozenset()
    guarded: bool = False
    undoes: Hand | None = None
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in a partial order.  Every downward-closed subset keeps isolation."""

    changes: tuple[Change, ...] = ()

    def __len__(self) -> int:
        return len(self.changes)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def without(self, held: Iterable[int]) -> Plan:
        """The plan less some changes and everything that had to come after them."""
        gone = set(held)
        for change in self.changes:  # changes stand after what they depend on
            if change.after & gone:
                gone.add(change.id)
        return Plan(tuple(change for change in self.changes if change.id not in gone))


class Outcome(Enum):
    """What became of a change."""

    DONE = "done"
    RETRY = "retry"  # could not be done now
    UNREACHABLE = "unreachable"  # the same, and nor could anything else there
    REFUSED = "refused"  # cannot be done until the input changes
    SKIPPED = "skipped"  # something it had to come after was not done
    UNDER_WAY = "under way"  # it was begun, and what becomes of it is told later


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one change, with the far side's reason if it was not done."""

    change: Change
    outcome: Outcome
    detail: str = ""

    @classmethod
    def failed(cls, change: Change, fault: Retry | Refused) -> Self:
        """What the far side's fault makes of the change."""
        match fault:
            case Refused():
                outcome = Outcome.REFUSED
            case Unreachable():
                outcome = Outcome.UNREACHABLE
            case Retry():
                outcome = Outcome.RETRY
        return cls(change, outcome, str(fault))


@dataclass(frozen=True, slots=True)
class Unmet:
    """Something wanted that cannot be had now, and why: shown on the object until it is."""

    about: str
    reason: str
    contested: bool = False
    """It is another's tag that stands in the way, and nobody may tell when that is gone: it is looked for."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The outcome of thinking a shard through: what to do, what cannot be done, and what an operator should know."""

    plan: Plan
    unmet: tuple[Unmet, ...] = ()
    warnings: tuple[str, ...] = ()
    held: tuple[Change, ...] = field(default=())


Changes: TypeAlias = Sequence[Change]
