"""A Match in the words of ovs-ofctl, both ways; a match these cannot say is kept as the switch said it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from isthmus.adapters.ovs.numbers import port_number, port_numbered
from isthmus.model.flow import ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_RARP, MULTICAST, Bridge, Match
from isthmus.model.names import prefix
from isthmus.model.tags import Vid, Vni

_ETH_WORDS = {ETH_ARP: "arp", ETH_RARP: "rarp", ETH_IPV4: "ip", ETH_IPV6: "ipv6", 0x8847: "mpls", 0x8848: "mplsm"}
_SOURCES = {ETH_ARP: "arp_spa", ETH_IPV4: "nw_src", ETH_IPV6: "ipv6_src"}
_ETH_TYPES = {word: eth_type for eth_type, word in _ETH_WORDS.items()}
_MAC = "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"


def match_words(bridge: Bridge, match: Match) -> Iterator[str]:
    """The fields of a match, in the order in which Open vSwitch prints them."""
    if match.raw:
        yield match.raw
    if match.eth_type is not None:
        yield _ETH_WORDS.get(match.eth_type, f"dl_type=0x{match.eth_type:04x}")
    if match.in_port is not None:
        yield f"in_port={port_number(bridge, match.in_port)}"
    if match.vid is not None:
        yield f"dl_vlan={int(match.vid)}"
    if match.tun_id is not None:
        yield f"tun_id=0x{int(match.tun_id):x}"
    if match.src is not None:
        yield f"dl_src={match.src}"
    if match.dst is not None:
        yield f"dl_dst={match.dst}"
    if match.source is not None and match.eth_type is not None:
        yield f"{_SOURCES[match.eth_type]}={match.source}"
    if match.arp_target is not None:
        yield f"arp_tpa={match.arp_target}"
    if match.arp_op is not None:
        yield f"arp_op={match.arp_op}"


_FIELDS: dict[str, tuple[str, Callable[[Bridge, str], object]]] = {
    "in_port": ("in_port", lambda bridge, text: port_numbered(bridge, text)),
    "dl_vlan": ("vid", lambda _, text: Vid(int(text))),
    "tun_id": ("tun_id", lambda _, text: Vni(int(text, 0))),
    "dl_src": ("src", lambda _, text: _only(text, re.fullmatch(_MAC, text))),
    "dl_dst": ("dst", lambda _, text: _only(text, text == MULTICAST or re.fullmatch(_MAC, text))),
    "dl_type": ("eth_type", lambda _, text: int(text, 0)),
    "arp_tpa": ("arp_target", lambda _, text: _only(text, "/" not in text)),
    "arp_op": ("arp_op", lambda _, text: int(text)),
    # Open vSwitch writes the end of an IPv6 address as IPv4 where that is its kind (::ffff:192.0.2.0).
    **{word: ("source", lambda _, text: prefix(text)) for word in _SOURCES.values()},
}


def match_of(bridge: Bridge, found: Mapping[str, str]) -> Match:
    """The match that these fields (a word alone has no value) say."""
    said: dict[str, object] = {}
    try:
        for name, value in found.items():
            if name in _ETH_TYPES and not value:
                said["eth_type"] = _ETH_TYPES[name]
            else:
                field, read = _FIELDS[name]
                said[field] = read(bridge, value)
        return Match(**said)  # type: ignore[arg-type]
    except (KeyError, ValueError):  # a field, a value or a mask we never write
        return Match(raw=",".join(f"{name}={value}" if value else name for name, value in found.items()))


def _only(text: str, accepted: object) -> str:
    if not accepted:
        raise ValueError(f"{text} is not what this vocabulary writes")
    return text
