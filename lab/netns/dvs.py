"""A distributed switch on one host as a value: the ports on it and each one's policy.  Frames and flows come later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """The guest sends and hears untagged frames, which belong to `vid`; 0 is the switch's untagged network."""

    vid: int


@dataclass(frozen=True, slots=True)
class Trunk:
    """The guest sends and hears tagged frames of these VIDs; 0 in a range lets untagged ones through too."""

    ranges: tuple[tuple[int, int], ...]


Vlan = Access | Trunk


@dataclass(frozen=True, slots=True)
class MacLearning:
    unicast_flooding: bool
    limit: int = 4096
    drop_over_limit: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What vCenter holds for one DV port, as far as a frame can notice it."""

    vlan: Vlan
    blocked: bool = False
    promiscuous: bool = False
    forged_transmits: bool = False
    mac_learning: MacLearning | None = None


@dataclass(frozen=True, slots=True)
class Attached:
    """A wire plugged into the switch; `number` names it in flows.  An uplink has no MAC: the world lies behind it.

    A stunned VM keeps its place on the switch, so its frames are sought nowhere else; it hears and says nothing.
    """

    number: int
    mac: str
    policy: Policy
    is_uplink: bool = False
    is_stunned: bool = False


@dataclass(frozen=True, slots=True)
class HostSwitch:
    mtu: int
    ports: tuple[Attached, ...] = ()


def common(one: Vlan, other: Vlan) -> Vlan:
    """What two ports both let through."""
    match one, other:
        case Trunk(ours), Trunk(theirs):
            pieces = ((max(a, c), min(b, d)) for a, b in ours for c, d in theirs)
            return Trunk(tuple((low, high) for low, high in pieces if low <= high))
    return one if one == other else Trunk(())


def masks(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The VIDs low..high as (value, mask) pairs, which is how a flow can match a range."""
    while low <= high:
        size = low & -low or 4096
        while low + size - 1 > high:
            size //= 2
        yield low, 0xFFF & ~(size - 1)
        low += size
