"""What a vCenter consists of, as mutable records: hosts, switches, port groups, DV ports, VMs and their NICs.

Law: these know their own settings and nothing of isthmus; an owner mark is a text the server keeps and never reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from isthmus.model.names import ClusterId, DvsId, HostId, LeafId, Mac, NicId, VmId
from isthmus.model.observed import NoVlan, OwnerMark, VlanSpec
from isthmus.model.tags import VidSet


@dataclass(slots=True)
class EsxHost:
    """An ESXi host and its standard switches, by name."""

    id: HostId
    name: str
    cluster: ClusterId | None = None
    vtep: str | None = None
    leaf: LeafId | None = None
    connected: bool = True
    standard: dict[str, StandardSwitch] = field(default_factory=dict)


@dataclass(slots=True)
class PortGroup:
    """A port group of a distributed switch.  `settings` stands for all that isthmus has no business with."""

    key: str
    name: str
    vlan: VlanSpec = field(default_factory=NoVlan)
    blocked: bool = False
    version: int = 1
    mark: OwnerMark | None = None
    vlan_override: bool = False
    block_override: bool = False
    reset_at_disconnect: bool = True
    early_binding: bool = True
    """False: ephemeral, a port is there only while its VM runs."""
    is_uplink: bool = False
    forged_transmits: bool = False
    promiscuous: bool = False
    mac_changes: bool = False
    handed_back: OwnerMark | None = None
    lost: OwnerMark | None = None
    """The mark that a hand has wiped off: nobody can see it, but whose NICs they are has not changed."""
    mac_learning: bool = False
    settings: dict[str, str] = field(default_factory=lambda: {"teaming": "loadbalance_srcid", "shaping": "off"})


@dataclass(slots=True)
class Port:
    """A DV port.  `vlan` and `blocked` are its overrides, None where the port group's setting holds."""

    key: str
    port_group: str
    version: int = 1
    vlan: VlanSpec | None = None
    blocked: bool | None = None
    nic: NicId | None = None
    cookie: int | None = None
    conflict: bool = False
    """Made by a host that could not ask vCenter: nobody can write it, and it goes when its VM stops."""

    @property
    def overrides(self) -> bool:
        """Something of its own is set."""
        return self.vlan is not None or self.blocked is not None


@dataclass(slots=True)
class DistributedSwitch:
    """A DVS.  `uplink_vids` is None where it has no uplinks; untagged frames pass any uplink."""

    id: DvsId
    name: str
    hosts: set[HostId]
    mtu: int = 1600
    uplink_vids: VidSet | None = None
    port_groups: dict[str, PortGroup] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    next_port: int = 0
    next_group: int = 1

    def vlan_of(self, port: Port) -> VlanSpec:
        """The VLAN in effect on a port."""
        return self.port_groups[port.port_group].vlan if port.vlan is None else port.vlan

    def is_blocked(self, port: Port) -> bool:
        """Whether a port passes no traffic."""
        return self.port_groups[port.port_group].blocked if port.blocked is None else port.blocked

    def group_named(self, name: str) -> PortGroup | None:
        """The port group of a name, which is unique on a switch."""
        return next((group for group in self.port_groups.values() if group.name == name), None)


@dataclass(slots=True)
class StandardPortGroup:
    """A port group of a standard switch: a name and a VID, and who may send what."""

    name: str
    vlan: VlanSpec
    forged_transmits: bool = False
    promiscuous: bool = False


@dataclass(slots=True)
class StandardSwitch:
    """A vSwitch of one host.  It learns no MACs: what is not for its NICs reaches only promiscuous ports."""

    host: HostId
    name: str
    has_uplinks: bool = False
    port_groups: dict[str, StandardPortGroup] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DvBacking:
    """Plugged into a DV port, as vCenter hands it out; without a key while an ephemeral port group has none for it."""

    dvs: DvsId
    port_group: str
    port_key: str
    cookie: int


@dataclass(frozen=True, slots=True)
class NameBacking:
    """Plugged into whatever standard port group bears this name on the host the VM runs on."""

    name: str


Backing = DvBacking | NameBacking


@dataclass(slots=True)
class VmNic:
    """A VM's network adapter."""

    id: NicId
    mac: Mac
    backing: Backing | None = None
    connected: bool = True


@dataclass(slots=True)
class Vm:
    """A virtual machine.  `moving_to` is set between the announcement of a move and its end."""

    id: VmId
    name: str
    host: HostId
    powered_on: bool = True
    nics: dict[int, VmNic] = field(default_factory=dict)
    moving_to: HostId | None = None
    move_seen: float = 0.0
