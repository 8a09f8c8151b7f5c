"""What the lab knows of the simulated vCenter, and the switches that follow from it.  Values and pure functions.

Law: a port opens only if the VM's NIC and the DV port name each other.  Whatever is missing or unclear stays closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from lab.netns.dvs import Access, Attached, HostSwitch, Policy, common


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
    uplink_of: str = ""  # managed object id of the host whose physical NIC is plugged in here


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
    stunned_on_the_way_to: str | None = None

    @property
    def stunned(self) -> bool:
        return self.stunned_on_the_way_to is not None

    @property
    def plugged_at(self) -> str:
        """Where its cables are.  A stunned VM's are at its destination already, so that resuming takes no time."""
        return self.stunned_on_the_way_to or self.host


@dataclass(frozen=True, slots=True)
class Uplink:
    """The cable of a host's physical NICs on a switch, and what passes there."""

    number: int
    policy: Policy


@dataclass(frozen=True, slots=True)
class Berth:
    """Where a moving VM's NIC will be plugged in, if its destination is on another switch: a switch's uuid, and a VID.

    Its destination is told beforehand; vCenter shows it when it shows the VM there.
    """

    switch: str
    vid: int


BridgeId = tuple[str, str]
"""(host, switch): a distributed switch on one host."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What every switch on every host does with its ports, and which cables are in it."""

    switches: Mapping[BridgeId, HostSwitch]
    cables: Mapping[int, BridgeId]


def wiring(
    inventory: Inventory,
    places: Mapping[str, Place],
    numbers: Mapping[NicId, int],
    uplinks: Mapping[BridgeId, Uplink],
) -> Wiring:
    """What follows from what vCenter holds and where each VM is at this moment."""
    attached: dict[BridgeId, list[Attached]] = {
        (host, switch): [] for host in inventory.hosts for switch in inventory.switches
    }
    cables = {uplink.number: bridge for bridge, uplink in uplinks.items()}
    for bridge, uplink in uplinks.items():
        attached[bridge].append(Attached(uplink.number, "", uplink.policy, is_uplink=True))
    for nic in plugged(inventory):
        place, policy = places[nic.id.vm], _policy(inventory, nic)
        cables[numbers[nic.id]] = (place.plugged_at, nic.switch)
        if policy is not None:
            port = Attached(numbers[nic.id], nic.mac, policy, is_stunned=place.stunned)
            attached[place.host, nic.switch].append(port)
    switches = {
        (host, switch): HostSwitch(inventory.switches[switch].mtu, tuple(ports))
        for (host, switch), ports in attached.items()
    }
    return Wiring(switches, cables)


def uplinks(inventory: Inventory, cables: Mapping[str, Mapping[str, int]]) -> dict[BridgeId, Uplink]:
    """A host's cable is in a switch while a physical NIC of the host is on it; what passes says the NIC's port.

    `cables`: by the name of the switch and the host's.  Of several NICs a frame may take any (teaming is not acted
    out), so only what passes all of them does.
    """
    policies: dict[BridgeId, list[Policy | None]] = {}
    for port in inventory.ports.values():
        if port.uplink_of:
            policies.setdefault((port.uplink_of, port.switch), []).append(port.policy)
    return {
        (host, switch): Uplink(cables[inventory.switches[switch].name][inventory.hosts[host]], policy)
        for (host, switch), of_nics in policies.items()
        if inventory.hosts.get(host) in cables.get(inventory.switches[switch].name, {})
        and (policy := _of_all(of_nics)) is not None
    }


def ahead(inventory: Inventory, places: Mapping[str, Place], berths: Mapping[str, Berth]) -> Inventory:
    """With the first NICs of VMs that have gone on where vCenter does not have them yet in their berths there."""
    vms, ports = dict(inventory.vms), dict(inventory.ports)
    for id in berths.keys() & vms.keys():
        vm, berth = vms[id], berths[id]
        if places[id].host != vm.host:
            first, *others = sorted(vm.nics, key=lambda nic: nic.id)
            port = DvPort(berth.switch, f"berth of {id}", first.id, Policy(Access(berth.vid)))
            ports[port.switch, port.key] = port
            vms[id] = replace(vm, nics=(replace(first, switch=port.switch, port=port.key), *others))
    return replace(inventory, vms=vms, ports=ports)


def plugged(inventory: Inventory) -> list[Nic]:
    """The NICs that hang on a distributed switch: of VMs that run, their virtual cable in."""
    return [
        nic
        for vm in inventory.vms.values()
        if vm.powered_on and vm.host in inventory.hosts
        for nic in vm.nics
        if nic.connected and nic.mac and nic.switch in inventory.switches
    ]


def _of_all(policies: Sequence[Policy | None]) -> Policy | None:
    known = [policy for policy in policies if policy is not None]
    if len(known) < len(policies):
        return None
    return Policy(reduce(common, (policy.vlan for policy in known)), blocked=any(policy.blocked for policy in known))


def _policy(inventory: Inventory, nic: Nic) -> Policy | None:
    port = inventory.ports.get((nic.switch, nic.port))
    return port.policy if port is not None and port.connectee == nic.id else None
