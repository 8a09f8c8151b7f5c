"""What is wanted: networks, ports, and the members of a network that live outside vSphere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
    only_assigned: bool = False
    """True: the network has a place only in the scopes of `assigned`, and in the deployments of `wanted_in`.
    False: everywhere.  Where no VID is assigned it gets one of our own."""
    wanted_in: frozenset[str] = frozenset()
    """The deployments on whose hosts it has a port."""
    guests_choose: bool = False
    """True: its SDN gives no addresses, and is told those that guests use."""
    subnets: tuple[str, ...] = ()
    """Where such an address must lie, as prefixes."""


@dataclass(frozen=True, slots=True)
class AllowedPair:
    """A further address, or prefix, that a port may send from (Neutron allowed-address-pairs, VRRP)."""

    mac: Mac
    address: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """One attachment to a network, matched to a VM NIC by VM and MAC together.

    One that is `secured` may send from its own addresses and those of its pairs only.  `wired` is False for one that
    an agent of the SDN's own wires and filters, and has not said to be ready: it is not opened before.  `elsewhere`
    says where the source has it instead, if that is on no host of ours ("is bound on host kvm-1, not here"): no NIC
    is it then, whatever its VM and MAC.
    """

    id: PortId
    network: NetworkId
    vm: VmId
    mac: Mac
    addresses: tuple[str, ...] = ()
    admin_up: bool = True
    allowed_pairs: tuple[AllowedPair, ...] = ()
    secured: bool = False
    wired: bool = True
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """A member of a network behind a VTEP that isthmus does not run: a KVM host, a network node, a gateway.

    Without a MAC it only says that the VTEP has the network and must get its broadcasts.  `pairs` are MACs that it may
    speak with besides its own (Neutron allowed-address-pairs, VRRP).
    """

    network: NetworkId
    vtep: str
    mac: Mac | None = None
    addresses: tuple[str, ...] = ()
    pairs: tuple[Mac, ...] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that the source has and that cannot be had like that: left out, and shown.  `scope`: only there."""

    about: str
    reason: str
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """The wanted networks and ports, whole.  `fresh` is False when a source failed and this is its last good answer, or
    where it is unsure: then nothing is deleted."""

    networks: Mapping[NetworkId, Network]
    ports: Mapping[PortId, Port] = field(default_factory=dict)
    peers: tuple[Peer, ...] = ()
    fresh: bool = True
    age: float = 0.0
    """Seconds since the source last answered whole."""
    reading: int = 0
    """Which of its source's answers this is, if the source counts them."""
    doubts: tuple[Doubt, ...] = ()
    unsure: frozenset[Scope] = frozenset()
    """Where the source does not know what is wanted: its silence of a network there is no word to take it away."""

    def within(self, scope: Scope | None, deployment: str = "") -> Intent:
        """The part that concerns a tag scope of a deployment: the networks that have a place there."""
        if not self.doubts and not self.unsure and not any(network.only_assigned for network in self.networks.values()):
            return self
        return replace(
            self,
            networks={
                id_: network
                for id_, network in self.networks.items()
                if not network.only_assigned or scope in network.assigned or deployment in network.wanted_in
            },
            doubts=tuple(doubt for doubt in self.doubts if doubt.scope in (None, scope)),
            fresh=self.fresh and scope not in self.unsure,
        )
