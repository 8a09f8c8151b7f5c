"""Ethernet frames as bytes: the few kinds a scenario sends, and what a capture tells of each frame it heard."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

BROADCAST = "ff:ff:ff:ff:ff:ff"

ETH_IPV4, ETH_ARP, ETH_RARP, ETH_VLAN, ETH_IPV6 = 0x0800, 0x0806, 0x8035, 0x8100, 0x86DD
ETH_LAB = 0x88B5  # IEEE 802 "local experimental": nothing else in the world speaks it
VXLAN_PORT = 4789
_UDP = 17


@dataclass(frozen=True, slots=True)
class Frame:
    """One Ethernet frame; `vid` is None when it carries no 802.1Q tag."""

    dst: str
    src: str
    ethertype: int
    payload: bytes
    vid: int | None = None

    def to_bytes(self) -> bytes:
        tag = b"" if self.vid is None else struct.pack("!HH", ETH_VLAN, self.vid)
        return _mac(self.dst) + _mac(self.src) + tag + struct.pack("!H", self.ethertype) + self.payload

    @classmethod
    def parse(cls, data: bytes) -> Frame:
        dst, src = _text(data[0:6]), _text(data[6:12])
        ethertype = _u16(data, 12)
        if ethertype != ETH_VLAN:
            return cls(dst, src, ethertype, data[14:])
        return cls(dst, src, _u16(data, 16), data[18:], vid=_u16(data, 14) & 0x0FFF)


@dataclass(frozen=True, slots=True)
class VxlanFrame:
    """What one VTEP sent another: the VNI, and the tenant's frame inside."""

    local: IPv4Address
    remote: IPv4Address
    vni: int
    inner: Frame


def vxlan(frame: Frame) -> VxlanFrame | None:
    """The tenant's frame in an underlay frame; None if that is no VXLAN."""
    packet = frame.payload
    if frame.ethertype != ETH_IPV4 or len(packet) < 20 or packet[9] != _UDP:
        return None
    datagram = packet[(packet[0] & 0x0F) * 4 :]
    # 8 bytes UDP, 8 bytes VXLAN, 14 bytes of an inner Ethernet header at the least
    if len(datagram) < 30 or _u16(datagram, 2) != VXLAN_PORT:
        return None
    vni = int.from_bytes(datagram[12:15], "big")
    return VxlanFrame(IPv4Address(packet[12:16]), IPv4Address(packet[16:20]), vni, Frame.parse(datagram[16:]))


def arp_request(src: str, asker: str, target: str) -> Frame:
    """ "Who has `target`?  Tell `asker`."""
    return Frame(BROADCAST, src, ETH_ARP, _arp(1, src, asker, "00:00:00:00:00:00", target))


def gratuitous_arp(src: str, address: str) -> Frame:
    return Frame(BROADCAST, src, ETH_ARP, _arp(1, src, address, "00:00:00:00:00:00", address))


def rarp(mac: str) -> Frame:
    """What ESXi sends in the name of a VM that has just resumed, so that switches learn its new place."""
    return Frame(BROADCAST, mac, ETH_RARP, _arp(3, mac, "0.0.0.0", mac, "0.0.0.0"))


def marked(src: str, dst: str, mark: str, size: int = 60, vid: int | None = None) -> Frame:
    """A frame of the lab's own type that a listener can tell from all others.  `size` is without the tag."""
    return Frame(dst, src, ETH_LAB, mark.encode().ljust(size - 14, b"\0"), vid)


def mark_of(frame: Frame) -> str | None:
    return frame.payload.rstrip(b"\0").decode() if frame.ethertype == ETH_LAB else None


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total: int = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _arp(operation: int, sha: str, spa: str, tha: str, tpa: str) -> bytes:
    header = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, operation)
    return header + _mac(sha) + IPv4Address(spa).packed + _mac(tha) + IPv4Address(tpa).packed


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _text(mac: bytes) -> str:
    return mac.hex(":")


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
