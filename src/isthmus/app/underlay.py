"""How large a packet the underlay takes between two VTEPs: what this machine's kernel knows, and what arrives."""

from __future__ import annotations

import secrets
import select
import socket
import struct
import time
from collections.abc import Collection, Iterator

ENCAPSULATION = 50
"""Bytes that VXLAN adds to an IP packet of the overlay: Ethernet 14, IPv4 20, UDP 8, VXLAN 8."""
_IP_MTU, _IP_MTU_DISCOVER = 14, 10  # Linux, <linux/in.h>; Python's socket module names neither
_PROBE = 3  # IP_PMTUDISC_PROBE: never fragment, and send however small the path is said to be
_DISCARD = 9
_ECHO, _ECHO_REPLY = 8, 0
_HEADERS = 28
"""Bytes of an echo's packet that are not its payload: IPv4 20, ICMP 8."""
_TRIES = 3


def mtu_between(vtep: str, peer: str) -> int | None:
    """The MTU of the path from `vtep` to `peer`; None if `vtep` is not an address of this machine, or no way leads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((vtep, 0))
            probe.connect((peer, _DISCARD))
            return probe.getsockopt(socket.IPPROTO_IP, _IP_MTU)
        except OSError:
            return None


def answered(
    vtep: str, peers: Collection[str], sizes: Collection[int], patience: float = 3.0
) -> set[tuple[str, int]] | None:
    """Which peer answers a ping in an unfragmented packet of which size; all are asked at once, three times.

    The answer is as large, but a router on its way may fragment it: the peer's own check looks at that way.  None if
    it cannot be tried from here.
    """
    try:
        echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    except PermissionError:
        return None
    with echo:
        try:
            echo.bind((vtep, 0))
        except OSError:
            return None
        echo.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
        name = secrets.randbits(16)
        waiting = {(peer, size) for peer in peers for size in sizes}
        heard: set[tuple[str, int]] = set()
        for _ in range(_TRIES):
            for peer, size in sorted(waiting):
                try:
                    echo.sendto(_question(name, size), (peer, 0))
                except OSError:
                    continue  # larger than its NIC takes, or no way leads there
            for answer in _answers(echo, name, time.monotonic() + patience / _TRIES, waiting):
                heard.add(answer)
            if not waiting:
                break
        return heard


def _question(name: int, size: int) -> bytes:
    payload = bytes(size - _HEADERS)
    unsummed = struct.pack("!BBHHH", _ECHO, 0, 0, name, size) + payload
    return struct.pack("!BBHHH", _ECHO, 0, _checksum(unsummed), name, size) + payload


def _answers(
    echo: socket.socket, name: int, deadline: float, waiting: set[tuple[str, int]]
) -> Iterator[tuple[str, int]]:
    """Those that come until the deadline; each is waited for no more."""
    while waiting and select.select([echo], [], [], max(0.0, deadline - time.monotonic()))[0]:
        packet, (peer, _) = echo.recvfrom(65535)
        message = packet[(packet[0] & 15) * 4 :]
        kind, _, _, answered_name, size = struct.unpack_from("!BBHHH", message)
        if kind == _ECHO_REPLY and answered_name == name and (peer, size) in waiting:
            waiting.remove((peer, size))
            yield peer, size


def _checksum(message: bytes) -> int:
    """RFC 1071: the ones' complement of the ones' complement sum."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", message + b"\0" * (len(message) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
