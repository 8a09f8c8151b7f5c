"""An Ethernet frame, the ways it leaves an NVE, and what is known of it where it is heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from isthmus.model.flow import BROADCAST, ETH_ARP, ETH_IPV4, ETH_RARP
from isthmus.model.names import HostId, NicId
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it is on some wire.  `vid` None is untagged.  `arp` is (operation, sender address, target address);
    `source` is whom an IP packet says to be from.
    """

    src: str
    dst: str
    eth_type: int = ETH_IPV4
    vid: Vid | None = None
    arp: tuple[int, str, str] | None = None
    payload: str = ""
    source: str = ""

    @property
    def is_group(self) -> bool:
        """Broadcast or multicast."""
        return bool(int(self.dst[:2], 16) & 1)


def unicast(src: str, dst: str, payload: str = "") -> Frame:
    """An IP packet for one MAC."""
    return Frame(src, dst, payload=payload)


def broadcast(src: str, payload: str = "") -> Frame:
    """An IP packet for everyone."""
    return Frame(src, BROADCAST, payload=payload)


def arp_request(src: str, address: str, target: str) -> Frame:
    """Who has `target`?"""
    return Frame(src, BROADCAST, ETH_ARP, arp=(1, address, target))


def arp_reply(src: str, dst: str, address: str, target: str) -> Frame:
    """`address` is at `src`."""
    return Frame(src, dst, ETH_ARP, arp=(2, address, target))


def rarp(src: str) -> Frame:
    """What ESXi sends for a VM that has just resumed on a host."""
    return Frame(src, BROADCAST, ETH_RARP)


@dataclass(frozen=True, slots=True)
class Trail:
    """The names a frame wore on its way: every VID on a switch, every VNI on the underlay."""

    vids: tuple[int, ...] = ()
    vnis: tuple[int, ...] = ()
    hops: int = 0

    def on_switch(self, vid: int) -> Trail:
        """One hop further, over a switch in this VID (0: untagged)."""
        return Trail((*self.vids, vid), self.vnis, self.hops + 1)

    def on_underlay(self, vni: int) -> Trail:
        """One hop further, over the underlay in this VNI."""
        return Trail(self.vids, (*self.vnis, vni), self.hops + 1)


@dataclass(frozen=True, slots=True)
class Heard:
    """Who heard a frame, as it was then, and the way it came."""

    nic: NicId
    frame: Frame
    vids: tuple[int, ...] = field(compare=False, default=())
    vnis: tuple[int, ...] = field(compare=False, default=())


@dataclass(frozen=True, slots=True)
class ToHost:
    """Out of an NVE, towards the switch of a host it serves, tagged."""

    host: HostId
    frame: Frame


@dataclass(frozen=True, slots=True)
class ToVtep:
    """Out of an NVE, over the underlay."""

    vtep: str
    vni: Vni
    frame: Frame


Exit: TypeAlias = ToHost | ToVtep
