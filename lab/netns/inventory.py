"""What the lab knows of the simulated vCenter, and the switches that follow from it.  Values and one pure function.

Law: a port opens only if the VM's NIC and the DV port name each other.  Whatever is missing or unclear stays closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.netns.dvs import Attached, HostSwitch, Policy, Trunk


@dataclass(frozen=True, slots=True, order=True)
class NicId:
    vm: str  # managed object id
    key: int  # device key


@dataclass(frozen=True, slots=True)
class Nic:
    id: NicId
    mac: str
    connected: bool
    switch: str  # uuid of the DVS; "" when the NIC is on no distributed switch
    port: str


@dataclass(frozen=True, slots=True)
class Vm:
    id: str
    name: str
    host: str
    powered_on: bool
    nics: tuple[Nic, ...] = ()


@dataclass(frozen=True, slots=True)
class DvPort:
    switch: str
    key: str
    connectee: NicId | None
    policy: Policy | None  # None: of a kind the lab cannot act out (a private VLAN); nothing passes


@dataclass(frozen=True, slots=True)
class Switch:
    uuid: str
    name: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Inventory:
    hosts: Mapping[str, str] = field(default_factory=dict)  # managed object id -> name
    switches: Mapping[str, Switch] = field(default_factory=dict)
    vms: Mapping[str, Vm] = field(default_factory=dict)
    ports: Mapping[tuple[str, str], DvPort] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a VM runs as the wire sees it, which in a migration is for a while not what vCenter says."""

    host: str
    stunned: bool = False


ANY_TAG = Policy(Trunk(((0, 4094),)))


@dataclass(frozen=True, slots=True)
class Uplink:
    number: int
    policy: Policy = ANY_TAG


BridgeId = tuple[str, str]
"""(host, switch): a distributed switch on one host."""


def host_switches(
    inventory: Inventory,
    places: Mapping[str, Place],
    numbers: Mapping[NicId, int],
    uplinks: Mapping[BridgeId, Uplink],
) -> dict[BridgeId, HostSwitch]:
    """Every switch on every host with the ports that are plugged in there."""
    attached: dict[BridgeId, list[Attached]] = {
        (host, switch): [] for host in inventory.hosts for switch in inventory.switches
    }
    for bridge, uplink in uplinks.items():
        attached[bridge].append(Attached(uplink.number, "", uplink.policy, is_uplink=True))
    for nic in plugged(inventory):
        place = places[nic.id.vm]
        policy = _policy(inventory, nic)
        if policy is not None:
            port = Attached(numbers[nic.id], nic.mac, policy, is_stunned=place.stunned)
            attached[place.host, nic.switch].append(port)
    return {
        (host, switch): HostSwitch(inventory.switches[switch].mtu, tuple(ports))
        for (host, switch), ports in attached.items()
    }


def plugged(inventory: Inventory) -> list[Nic]:
    """The NICs that hang on a distributed switch: of VMs that run, their virtual cable in."""
    return [
        nic
        for vm in inventory.vms.values()
        if vm.powered_on and vm.host in inventory.hosts
        for nic in vm.nics
        if nic.connected and nic.mac and nic.switch in inventory.switches
    ]


def _policy(inventory: Inventory, nic: Nic) -> Policy | None:
    port = inventory.ports.get((nic.switch, nic.port))
    return port.policy if port is not None and port.connectee == nic.id else None
