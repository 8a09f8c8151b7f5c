"""What is: one mirror per target, each whole, or Unknown with a reason.  Unknown is never empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeAlias, TypeVar

from isthmus.model.names import DvsId, HostId, NetworkId, NicId
from isthmus.model.nve import NveEntry, NveKey
from isthmus.model.tags import NO_VIDS, Vid, VidSet, Vni


@dataclass(frozen=True, slots=True, order=True)
class TargetId:
    """One far side, observed and written as a whole; kind is "dvs", "vss", "ovs", "leaf", "vrouter" or "stock-ovs"."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class NoVlan:
    """Frames are sent and received untagged."""


@dataclass(frozen=True, slots=True)
class Access:
    """Frames wear this VID on the switch."""

    vid: Vid


@dataclass(frozen=True, slots=True)
class Trunk:
    """Frames keep the VIDs they come with, if within these."""

    vids: VidSet


@dataclass(frozen=True, slots=True)
class PrivateVlan:
    """A private VLAN: reads as worn, never written."""

    vid: Vid


VlanSpec: TypeAlias = NoVlan | Access | Trunk | PrivateVlan


@dataclass(frozen=True, slots=True)
class OwnerMark:
    """Says that an object is ours: of which installation, for which network.  Kept in a port group's description.

    `was` are VNIs that the network had before: an appliance whose process is down may still use them for its VMs.
    """

    owner: str
    network: NetworkId
    vni: Vni
    was: tuple[Vni, ...] = ()
    schema: int = 1


MOST_LEARNED = 4096
"""MACs that a port of a distributed switch can learn."""


@dataclass(frozen=True, slots=True)
class MacLearning:
    """What a port group's ports do with MACs that are not their NIC's own; by default what vSphere does by default.

    `drops`: frames from a MAC beyond the first `limit` are dropped; else they pass, and their MAC is not learned.
    """

    unicast_flooding: bool = True
    limit: int = MOST_LEARNED
    drops: bool = True


@dataclass(frozen=True, slots=True)
class Security:
    """What a port group lets its VMs do with MACs that are not their own; None: not ours to say."""

    forged_transmits: bool | None = None
    """Send with another source MAC: a router of VRRP, a service in the way of others' frames."""
    promiscuous: bool | None = None
    """Hear frames to MACs that are not theirs."""
    mac_changes: bool | None = None
    """Change the MAC of their NIC, and go on hearing."""


AS_IT_IS = Security()


@dataclass(frozen=True, slots=True)
class PortGroupState:
    """A port group of a distributed switch as vCenter holds it.  `mark` is None for what is not ours.

    `handed_back` is the mark that it had until it was released; `unjudged` says that it carries one of a newer isthmus.
    """

    key: str
    name: str
    vlan: VlanSpec
    blocked: bool
    version: str
    mark: OwnerMark | None = None
    vlan_override: bool = False
    block_override: bool = False
    reset_at_disconnect: bool = True
    early_binding: bool = True
    is_uplink: bool = False
    forged_transmits: bool = False
    promiscuous: bool = False
    mac_learning: MacLearning | None = None
    mac_changes: bool = False
    handed_back: OwnerMark | None = None
    unjudged: bool = False


@dataclass(frozen=True, slots=True)
class DvPortState:
    """A DV port as vCenter holds it: `vlan` and `blocked` are effective; `*_own` says that the port overrides them."""

    key: str
    port_group: str
    version: str
    vlan: VlanSpec
    blocked: bool
    vlan_own: bool = False
    blocked_own: bool = False
    nic: NicId | None = None
    """The connected VM NIC; None for a free port or one held by something else (see `connected`)."""
    host: HostId | None = None
    cookie: int | None = None
    connected: bool = False
    conflict: bool = False
    """A host made it in another port's place while it could not ask vCenter; it keeps no settings."""


@dataclass(frozen=True, slots=True)
class SwitchMirror:
    """All port groups of a distributed switch and all its DV ports that are connected or override something."""

    dvs: DvsId
    port_groups: Mapping[str, PortGroupState]
    ports: Mapping[str, DvPortState]


@dataclass(frozen=True, slots=True)
class HostPortGroupState:
    """A port group of a standard switch.  `in_use` counts the NICs that name it."""

    name: str
    vlan: VlanSpec
    in_use: int = 0


@dataclass(frozen=True, slots=True)
class StandardSwitchMirror:
    """All port groups of one standard switch of one host; `ours` says that the switch is wholly ours."""

    host: HostId
    vswitch: str
    port_groups: Mapping[str, HostPortGroupState]
    ours: bool = True


@dataclass(frozen=True, slots=True)
class NveMirror:
    """All that an NVE holds of ours.  `ready` is False while its fixed frame (bridges, tunnel port) must be built.

    `foreign_vids` are worn there by something that is not ours.  `unfit` are VIDs that nobody wears there and that it
    would not take now: who has none yet gets another.  `warnings` are what it tells of its own health.
    `learns` says that it finds out by itself who is where in a network (BGP EVPN), so that it is told bindings only;
    `marked` that what it holds says whose it is.  `rivals` are what one switch of a pair has in the place of an
    entry of the other: the same VID with another VNI.
    """

    target: TargetId
    entries: Mapping[NveKey, NveEntry]
    ready: bool = True
    foreign_vids: VidSet = NO_VIDS
    unfit: VidSet = NO_VIDS
    warnings: tuple[str, ...] = ()
    learns: bool = False
    marked: bool = True
    rivals: tuple[NveEntry, ...] = ()


Mirror: TypeAlias = SwitchMirror | StandardSwitchMirror | NveMirror
M_co = TypeVar("M_co", bound=Mirror, covariant=True)


@dataclass(frozen=True, slots=True)
class Unknown(Generic[M_co]):
    """A target that could not be read whole.  `last` is its last good mirror in this process, if any.

    `passing`: nothing is wrong; it is being read or written, and who needs others does not wait for it.
    `coming`: what an NVE was told to learn since `last`, and may hold by now or soon.
    """

    reason: str
    last: M_co | None = None
    passing: bool = False
    coming: tuple[NveEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """The mirrors of one round, by target.  `since`: when the oldest of their readings began, in seconds on the loop's
    clock: what came later may not be in them.  -inf while some are being read or written, and nobody waits for them."""

    targets: Mapping[TargetId, Mirror | Unknown[Mirror]] = field(default_factory=dict)
    since: float = inf
