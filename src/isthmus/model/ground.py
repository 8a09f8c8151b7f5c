"""The ground that designs stand on in vCenter: distributed switches with their hosts' physical NICs, trunk port groups.

It is wanted by a deployment, found in a vCenter, and made by single steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from isthmus.model.names import DvsId, HostId
from isthmus.model.observed import Access, PortGroupState
from isthmus.model.tags import NO_VIDS, VidSet


@dataclass(frozen=True, slots=True)
class MakerMark:
    """Says that `isthmus prepare` made an object: of which installation, for which deployment.  In its description."""

    owner: str
    deployment: str


@dataclass(frozen=True, slots=True)
class Carried:
    """What uplinks let through: frames that wear these VIDs, and such as wear none."""

    vids: VidSet = NO_VIDS
    untagged: bool = False

    def __or__(self, other: Carried) -> Carried:
        return Carried(self.vids | other.vids, self.untagged or other.untagged)

    def __sub__(self, other: Carried) -> Carried:
        return Carried(self.vids - other.vids, self.untagged and not other.untagged)

    def __bool__(self) -> bool:
        return bool(self.vids) or self.untagged

    def __str__(self) -> str:
        if not self.untagged:
            return f"VIDs {self.vids}"
        return f"VIDs {self.vids} and untagged frames" if self.vids else "untagged frames"


@dataclass(frozen=True, slots=True)
class SwitchWanted:
    """A distributed switch that a deployment stands on.

    `wired`: its uplinks take `vids` to leaf switches.  Else no frame leaves a host by it but through an appliance,
    whose trunk port group carries `vids`: `trunk` by name, or any that will do.
    """

    name: str
    mark: MakerMark
    mtu: int
    vids: VidSet
    wired: bool
    nics: Mapping[str, tuple[str, ...]]
    """Its hosts, by name, and the physical NICs that each is to bring, as far as the configuration says."""
    trunk: str | None = None


# --- what is ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NicUse:
    """What a physical NIC is an uplink of, and who else depends on that."""

    switch: str
    """In an operator's words: standard switch 'vSwitch0'."""
    dvs: DvsId | None = None
    vmkernel: tuple[str, ...] = ()
    """The host's own interfaces on that switch."""
    management: tuple[str, ...] = ()
    """Those of them by which the host is managed."""
    last: bool = False
    """That switch has no other uplink on this host."""


@dataclass(frozen=True, slots=True)
class HostFound:
    """An ESXi host and what its physical NICs are used for: None is a free one."""

    id: HostId
    name: str
    datacenter: str
    connected: bool
    nics: Mapping[str, NicUse | None]


@dataclass(frozen=True, slots=True)
class GroupFound:
    """A port group, and who made it."""

    state: PortGroupState
    maker: MakerMark | None = None


@dataclass(frozen=True, slots=True)
class UplinkFound:
    """An uplink port group, and what it lets through, physical NICs there or none."""

    key: str
    name: str
    carries: Carried
    trunk: bool = True


@dataclass(frozen=True, slots=True)
class SwitchFound:
    """A distributed switch."""

    id: DvsId
    name: str
    datacenter: str
    maker: MakerMark | None
    mtu: int
    lldp: bool
    """It listens to LLDP, and speaks it."""
    uplinks: int
    """How many physical NICs a host can bring."""
    uplink_groups: tuple[UplinkFound, ...]
    members: Mapping[HostId, tuple[str, ...]]
    """The physical NICs that each host brings."""
    vmkernel: tuple[str, ...] = ()
    """The hosts' own interfaces on it, and the hosts that do not tell."""
    groups: tuple[GroupFound, ...] = ()

    def users_beside(self, owner: str, vids: VidSet) -> tuple[str, ...]:
        """Who may be using more of its uplinks than these VIDs: all but the networks of the owner that wear one.

        What a port group of somebody else needs is not weighed: its ports may wear what it does not say.
        """
        others = [group.state.name for group in self.groups if not _wears_only(group.state, owner, vids)]
        return (*self.vmkernel, *(f"port group '{name}'" for name in others))


def _wears_only(group: PortGroupState, owner: str, vids: VidSet) -> bool:
    ours = group.mark is not None and group.mark.owner == owner and not group.vlan_override
    return ours and isinstance(group.vlan, Access) and group.vlan.vid in vids


@dataclass(frozen=True, slots=True)
class Ground:
    """What there is in a vCenter, as far as it was asked for."""

    hosts: tuple[HostFound, ...]
    switches: tuple[SwitchFound, ...]


# --- what is to be done -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MakeSwitch:
    """Make it, with LLDP on; `carries` None: nothing will be wired to it."""

    datacenter: str
    mark: MakerMark
    mtu: int
    uplinks: int
    carries: Carried | None


@dataclass(frozen=True, slots=True)
class SetSwitch:
    """Set what is no port's: the MTU, and LLDP to listen and speak."""

    mtu: int


@dataclass(frozen=True, slots=True)
class WidenUplinks:
    """Let this through the uplinks of a port group, beside what they let through by then."""

    key: str
    lets: Carried


@dataclass(frozen=True, slots=True)
class NarrowUplinks:
    """Let this, and nothing else, through the uplinks of a port group, if nobody may be using more by then."""

    key: str
    lets: Carried


@dataclass(frozen=True, slots=True)
class JoinHost:
    """Make a host a member, or let it bring more physical NICs than those it `had`."""

    host: HostId
    name: str
    nics: tuple[str, ...]
    had: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class MakeTrunk:
    """Make the port group of the appliances' trunk NICs."""

    name: str
    mark: MakerMark
    vids: VidSet


@dataclass(frozen=True, slots=True)
class SetTrunk:
    """Bring it back to what an appliance needs; VIDs beyond that stay."""

    key: str
    name: str
    vids: VidSet


Preparing: TypeAlias = MakeSwitch | SetSwitch | WidenUplinks | NarrowUplinks | JoinHost | MakeTrunk | SetTrunk


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do to a switch, and why.  `dvs` is None for one that an earlier step makes."""

    switch: str
    dvs: DvsId | None
    owner: str
    does: Preparing
    reason: str


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is to be done, in this order, and what isthmus will not do, with what an operator can do about it."""

    steps: tuple[Step, ...] = ()
    refusals: tuple[str, ...] = ()
