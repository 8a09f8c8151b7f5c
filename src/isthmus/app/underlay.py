"""How large a packet the underlay takes between two VTEPs, as the kernel of this machine knows it; nothing is sent."""

from __future__ import annotations

import socket

ENCAPSULATION = 50
"""Bytes that VXLAN adds to an IP packet of the overlay: Ethernet 14, IPv4 20, UDP 8, VXLAN 8."""
_IP_MTU = 14  # Linux, <linux/in.h>; Python's socket module does not name it
_DISCARD = 9


def mtu_between(vtep: str, peer: str) -> int | None:
    """The MTU of the path from `vtep` to `peer`; None if `vtep` is not an address of this machine, or no way leads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((vtep, 0))
            probe.connect((peer, _DISCARD))
            return probe.getsockopt(socket.IPPROTO_IP, _IP_MTU)
        except OSError:
            return None
