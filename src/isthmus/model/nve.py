"""What an external NVE holds, entry by entry, whatever its kind: flows, leaf mappings, plugged ports and their objects.

Every entry has a `key` (two entries of one key replace each other) and a `vni` or port it serves, so that one planner
works for an OVS appliance, a leaf switch and a vRouter agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from isthmus.model.flow import Flow, FlowKey
from isthmus.model.names import Mac, NetworkId, NicId, PortId
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True, order=True)
class LeafKey:
    """The identity of a leaf's entry: its kind and what it is about."""

    kind: str
    about: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeafBinding:
    """On every host-facing port of the leaf, `vid` means `vni`.

    `whole` is False for one found on some ports only, or leading to a network that another hand altered: never wanted,
    so it is mended where the binding is wanted, and forgotten where it is not.
    """

    vid: Vid
    vni: Vni
    whole: bool = True

    @property
    def key(self) -> LeafKey:
        """One VNI per VID."""
        return LeafKey("binding", (str(int(self.vid)),))


@dataclass(frozen=True, slots=True)
class LeafFlood:
    """Broadcast, multicast and unknown unicast of `vni` go to these VTEPs."""

    vni: Vni
    vteps: frozenset[str]

    @property
    def key(self) -> LeafKey:
        """One list per VNI."""
        return LeafKey("flood", (str(int(self.vni)),))


@dataclass(frozen=True, slots=True)
class LeafUnicast:
    """In `vni`, `mac` is behind `vtep`."""

    vni: Vni
    mac: Mac
    vtep: str

    @property
    def key(self) -> LeafKey:
        """One VTEP per MAC."""
        return LeafKey("unicast", (str(int(self.vni)), self.mac))


@dataclass(frozen=True, slots=True)
class Plug:
    """A port handed to a vRouter agent or to the stock Neutron OVS agent: on this host's trunk, `vid` is this port.

    `wired` is False for one that the agent has not (or not yet, or no longer) wired and filtered, or that lacks a part:
    never wanted, so no port opens on it, and it is forgotten like any other.  Nothing passes a `dead` one: its DV port
    is open, and the agent may not filter it so far.
    """

    port: PortId
    vid: Vid
    network: NetworkId
    vni: Vni
    nic: NicId
    mac: Mac
    addresses: tuple[str, ...] = ()
    enabled: bool = True
    wired: bool = True
    dead: bool = False

    @property
    def key(self) -> PortId:
        """One plug per port."""
        return self.port


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKey:
    """The identity of a workload, beside that of its plug."""

    port: PortId


@dataclass(frozen=True, slots=True)
class Workload:
    """What the SDN's own database says of a port that we made there: VM, VMI and instance-ip, one of each for a NIC.

    It is there as long as the NIC is in the network, running or not, wherever its VM is.  An NVE holds those that are
    kept from its host, so that each is one NVE's to give up, and none is because a VM moved.  One that was given up is
    gone as soon as no NVE has the port.
    """

    port: PortId
    network: NetworkId
    vni: Vni
    nic: NicId
    mac: Mac
    vm_name: str = ""
    address: str | None = None
    """The one it is to have; empty: none so far; None: the SDN gives it one."""

    @property
    def key(self) -> WorkloadKey:
        """One workload per port."""
        return WorkloadKey(self.port)


NveEntry: TypeAlias = Flow | LeafBinding | LeafFlood | LeafUnicast | Plug | Workload
NveKey: TypeAlias = FlowKey | LeafKey | PortId | WorkloadKey
