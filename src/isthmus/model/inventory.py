"""What vCenter runs, as far as tags and reachability need it: hosts, switches, VM NICs, and moves under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.model.names import ClusterId, DvsId, HostId, LeafId, Mac, NicId
from isthmus.model.tags import VidSet


@dataclass(frozen=True, slots=True)
class Host:
    """An ESXi host.  `vtep` is the IP address of its external NVE, from configuration or intent."""

    id: HostId
    name: str
    cluster: ClusterId | None = None
    vtep: str | None = None
    leaf: LeafId | None = None
    connected: bool = True


@dataclass(frozen=True, slots=True)
class Dvs:
    """A distributed switch.  `uplink_vids` are the VIDs that any of its uplinks carries; None if it has no uplinks.

    `uplink_nics` are the hosts' physical NICs on it, by device.  In its `folder` (an id) a port group's name is unique.
    """

    id: DvsId
    name: str
    mtu: int
    hosts: frozenset[HostId]
    uplink_vids: VidSet | None = None
    uplink_nics: frozenset[tuple[HostId, str]] = frozenset()
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What a host's physical NIC hears of the switch at the other end of its cable, which may have several names."""

    protocol: str
    systems: tuple[str, ...]
    ports: tuple[str, ...]

    def __str__(self) -> str:
        port = next(iter(self.ports), "a port")
        return f"{port} of {next(iter(self.systems), 'a switch without a name')} ({self.protocol})"


@dataclass(frozen=True, slots=True)
class Nic:
    """A VM's network adapter and what it is plugged into.

    `port_key` and `cookie` are None until vCenter has handed out a DV port.  `network_name` is the standard-switch
    port group's name where there is no DVS.
    """

    id: NicId
    mac: Mac
    host: HostId | None
    powered_on: bool
    dvs: DvsId | None = None
    port_group: str | None = None
    port_key: str | None = None
    cookie: int | None = None
    connected: bool = True
    network_name: str | None = None
    vm_name: str = ""
    label: str = ""
    guest_addresses: tuple[str, ...] = ()
    """Those that the guest used when its VMware Tools told last, where that is read at all."""


@dataclass(frozen=True, slots=True)
class Move:
    """An announced move of a VM that has not ended yet: it only adds, and losing it is safe.

    `seen` is when the announcement came (seconds on the loop's clock); a move past its deadline is dropped.
    """

    vm: str
    to: HostId
    seen: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A NIC that is not among those of the inventory, and why: its VM has another's identity, say."""

    nic: Nic
    reason: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A VM that was asked for by its BIOS UUID (`config.uuid`), as an appliance is.  `host`: where it is."""

    bios_uuid: str
    name: str
    host: HostId | None
    powered_on: bool
    nics: tuple[Nic, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """Hosts, switches and NICs, whole for what a shard serves, plus MAC and host of the peers in its networks."""

    hosts: Mapping[HostId, Host]
    switches: Mapping[DvsId, Dvs]
    nics: Mapping[NicId, Nic]
    moves: tuple[Move, ...] = field(default=())
    left_out: tuple[LeftOut, ...] = ()
    machines: tuple[Machine, ...] = ()
