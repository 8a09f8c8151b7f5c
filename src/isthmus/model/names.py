"""The identities of things.  Never a name, never a MAC alone: names change, clones share MACs."""

from __future__ import annotations

from ipaddress import ip_network
from typing import NamedTuple, NewType

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


def mac(text: str) -> Mac:
    """`text` as a Mac.  Raises ValueError if it is not six octets."""
    octets = text.strip().lower().replace("-", ":").split(":")
    if len(octets) != 6 or not all(len(o) == 2 and set(o) <= set("0123456789abcdef") for o in octets):
        raise ValueError(f"{text!r} is not a MAC address such as 00:50:56:00:00:01")
    return Mac(":".join(octets))


def prefix(text: str) -> str:
    """An IP address, or a prefix less the bits of hosts, as everybody writes it.  Raises ValueError for neither."""
    network = ip_network(text.strip(), strict=False)
    whole = network.prefixlen == network.max_prefixlen
    return str(network.network_address if whole else network)
