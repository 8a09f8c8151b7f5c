"""The identities of things.  Never a name, never a MAC alone: names change, clones share MACs."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_network
from typing import NamedTuple, NewType
from uuid import UUID

NetworkId = NewType("NetworkId", str)
"""Neutron network, Contrail virtual network, or the id given in an intent file."""
PortId = NewType("PortId", str)
"""Neutron port, Contrail VMI; without either, ``<vm>/<nic key>``."""
VmId = NewType("VmId", str)
"""``config.instanceUuid`` of a VM."""
HostId = NewType("HostId", str)
"""An ESXi host: ``<vCenter instance UUID>/<moref>``, since morefs repeat between vCenters."""
ClusterId = NewType("ClusterId", str)
"""A cluster, written like a HostId."""
DvsId = NewType("DvsId", str)
"""The uuid of a distributed switch, an opaque string."""
LeafId = NewType("LeafId", str)
"""A leaf switch, or a pair that acts as one VTEP, by its configured name."""
Mac = NewType("Mac", str)
"""An Ethernet address in lower case with colons; `mac()` makes one."""


class NicId(NamedTuple):  # looked up by the hundred thousand, for which a dataclass hashes and compares too slowly
    """A VM's network adapter: the VM and its device key."""

    vm: VmId
    key: int

    def __str__(self) -> str:
        return f"{self.vm}/{self.key}"


def bios_uuid(text: str) -> str:
    """The BIOS UUID of a VM as vCenter writes it.  Raises ValueError for anything else."""
    try:
        return str(UUID("".join(text.split()).replace("-", "")))
    except ValueError:
        raise ValueError(f"{text!r} is not a BIOS UUID such as 42001122-3344-5566-7788-99aabbccddee") from None


def mac(text: str) -> Mac:
    """`text` as a Mac.  Raises ValueError if it is not six octets."""
    octets = text.strip().lower().replace("-", ":").split(":")
    if len(octets) != 6 or not all(len(o) == 2 and set(o) <= set("0123456789abcdef") for o in octets):
        raise ValueError(f"{text!r} is not a MAC address such as 00:50:56:00:00:01")
    return Mac(":".join(octets))


def unicast_mac(text: str) -> Mac:
    """`text` as the Mac of a network adapter.  Raises ValueError for one of many, or of none."""
    address = mac(text)
    if int(address[:2], 16) & 1:
        raise ValueError(f"{text} is a multicast address, not one of a network adapter")
    return address


def vtep(text: str) -> str:
    """The IPv4 address of a VTEP.  Raises ValueError for anything else."""
    try:
        address = IPv4Address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address such as 192.0.2.1, as that of a VTEP must be") from None
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise ValueError(f"{text} cannot be the address of a VTEP")
    return str(address)


def ovsdb(text: str) -> str:
    """Where the OVSDB, or a bridge, of an appliance is.  Raises ValueError for what is no such place."""
    if not re.fullmatch(r"unix:/.+|ssl:([^\s:\[\]]+|\[[0-9a-f:]+\]):\d{1,5}", text):
        raise ValueError(f"{text!r} is neither unix:/absolute/path nor ssl:host:port")
    return text


def prefix(text: str) -> str:
    """An IP address, or a prefix less the bits of hosts, as everybody writes it.  Raises ValueError for neither."""
    network = ip_network(text.strip(), strict=False)
    whole = network.prefixlen == network.max_prefixlen
    return str(network.network_address if whole else network)
