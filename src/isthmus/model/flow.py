"""An OpenFlow flow as data: what br-int and br-tun of an OVS appliance are told, independent of any syntax.

The vocabulary is exactly what core/flows.py needs, so that the OVS adapter can render and read it back without
loss and the in-memory OVS of the lab can obey it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeAlias

from isthmus.model.names import Mac
from isthmus.model.tags import Vid, Vni


class Bridge(Enum):
    """The two bridges that are wholly ours."""

    INT = "br-int"
    TUN = "br-tun"

    __hash__ = object.__hash__  # a large site hashes them by the million, and Enum's own is slow


class FlowPort(Enum):
    """The ports of the two bridges, by role; the adapter knows their numbers."""

    __hash__ = object.__hash__

    TRUNK = "trunk"  # br-int: the NIC in the trunk port group
    PATCH = "patch"  # br-int <-> br-tun
    VXLAN = "vxlan"  # br-tun: one flow-based tunnel port for all VTEPs


MULTICAST = "01:00:00:00:00:00/01:00:00:00:00:00"
"""A destination match: any broadcast or multicast frame."""
BROADCAST = "ff:ff:ff:ff:ff:ff"
ETH_ARP, ETH_RARP = 0x0806, 0x8035
ETH_IPV4, ETH_IPV6 = 0x0800, 0x86DD


class Match(NamedTuple):
    """What a flow matches; None is "any".  `src`, `dst` are MACs, `dst` also MULTICAST; `arp_target` needs ETH_ARP.

    `source` is whom the packet says to be from, an IP address or a prefix: it needs ETH_ARP, ETH_IPV4 or ETH_IPV6.

    `raw` is in nothing we want: the switch's own words for a match read back that these fields cannot say.
    """

    in_port: FlowPort | None = None
    vid: Vid | None = None
    tun_id: Vni | None = None
    src: str | None = None
    dst: str | None = None
    eth_type: int | None = None
    arp_op: int | None = None
    arp_target: str | None = None
    source: str | None = None
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Goto:
    """Continue in a later table of the same bridge."""

    table: int


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look a table up in passing, then go on with the next action."""

    table: int


@dataclass(frozen=True, slots=True)
class SetVid:
    """Retag the frame."""

    vid: Vid


@dataclass(frozen=True, slots=True)
class PushVid:
    """Tag an untagged frame."""

    vid: Vid


@dataclass(frozen=True, slots=True)
class PopVid:
    """Take the tag off."""


class Tunnel(NamedTuple):  # compared by the million, as Output is; no other action is a tuple like either
    """Set VNI and remote VTEP (IP address) for a following Output(VXLAN)."""

    vni: Vni
    vtep: str


class Output(NamedTuple):
    """Send the frame as it is now out of a port; `back` sends it where it came from (OpenFlow IN_PORT).

    Only the side of the VMs is ever sent back to: TRUNK in br-int, PATCH in br-tun (split horizon).
    """

    port: FlowPort
    back: bool = False


@dataclass(frozen=True, slots=True)
class ArpReply:
    """Turn an ARP request into the reply "`address` is at `mac`" and send it back where it came from."""

    mac: Mac
    address: str


@dataclass(frozen=True, slots=True)
class LearnVtep:
    """Add a timed unicast entry to `table`: frames in `vid` to this frame's source go to the VTEP it came from.

    `seconds` is a hard time-out.  The table belongs to the data path: reconcile neither reads nor removes it.
    """

    table: int
    vid: Vid
    vni: Vni
    seconds: int


@dataclass(frozen=True, slots=True)
class Raw:
    """Read back, never wanted: the switch's own words for actions or settings that are not in this vocabulary."""

    text: str


FlowAction: TypeAlias = Goto | Resubmit | SetVid | PushVid | PopVid | Tunnel | Output | ArpReply | LearnVtep | Raw


class FlowKey(NamedTuple):
    """What makes two flows the same flow to a switch."""

    bridge: Bridge
    table: int
    priority: int
    match: Match


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow; no actions means drop.  `vni` (kept in the cookie) names the network it serves, None the fixed frame."""

    bridge: Bridge
    table: int
    priority: int
    match: Match
    actions: tuple[FlowAction, ...] = ()
    vni: Vni | None = None
    key: FlowKey = field(init=False, repr=False, compare=False)
    """Its identity in the switch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", FlowKey(self.bridge, self.table, self.priority, self.match))
