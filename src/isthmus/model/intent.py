"""What is wanted: networks, ports, and the members of a network that live outside vSphere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.model.names import Mac, NetworkId, PortId, VmId
from isthmus.model.scope import Scope
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True)
class Network:
    """An overlay network.  `name` is for people; `mtu` counts the bytes of an IP packet inside the overlay."""

    id: NetworkId
    vni: Vni
    name: str = ""
    mtu: int = 1450
    assigned: Mapping[Scope, Vid] = field(default_factory=dict)
    """VIDs that the SDN chose itself (a Neutron dynamic segment), by scope."""
    ports_listed: bool = False
    """True: only the ports of the intent belong.  False: every NIC in the network's port group does."""


@dataclass(frozen=True, slots=True)
class AllowedPair:
    """A further address that a port may send from (Neutron allowed-address-pairs, VRRP)."""

    mac: Mac
    address: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """One attachment to a network, matched to a VM NIC by VM and MAC together."""

    id: PortId
    network: NetworkId
    vm: VmId
    mac: Mac
    addresses: tuple[str, ...] = ()
    admin_up: bool = True
    allowed_pairs: tuple[AllowedPair, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """A member of a network behind a VTEP that isthmus does not run: a KVM host, a network node, a gateway.

    Without a MAC it only says that the VTEP has the network and must get its broadcasts.
    """

    network: NetworkId
    vtep: str
    mac: Mac | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Intent:
    """The wanted networks and ports, whole.  `fresh` is False when a source failed and this is its last good answer."""

    networks: Mapping[NetworkId, Network]
    ports: Mapping[PortId, Port] = field(default_factory=dict)
    peers: tuple[Peer, ...] = ()
    fresh: bool = True
    age: float = 0.0
    """Seconds since the source last answered whole."""
