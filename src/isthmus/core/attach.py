"""Join intent and inventory: which NIC is which port, of which network, at which place.

A NIC is in a network because its port group carries our mark for that network; a listed port must agree with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from isthmus.model.change import Unmet
from isthmus.model.intent import Intent, Network, Port
from isthmus.model.inventory import Inventory, Nic
from isthmus.model.names import DvsId, HostId, Mac, NetworkId, NicId, PortId, VmId
from isthmus.model.observed import OwnerMark
from isthmus.model.place import DvPort


@dataclass(frozen=True, slots=True)
class Attachment:
    """A NIC that belongs to a network.  `live` says that it should carry traffic now.

    `presumed`: its port group carries no mark any more, and was this network's as far as can be told: the NIC may be
    served as it is, and nothing of it is written.
    """

    nic: Nic
    port: PortId
    network: Network
    macs: tuple[Mac, ...]
    addresses: tuple[str, ...]
    live: bool
    presumed: bool = False

    @property
    def place(self) -> DvPort | None:
        """The DV port it holds, once vCenter handed one out."""
        if self.nic.dvs is None or self.nic.port_key is None:
            return None
        return DvPort(self.nic.dvs, self.nic.port_key, self.nic.cookie)


@dataclass(frozen=True, slots=True)
class Attachments:
    """All attachments, by network and by host, and the NICs that could not be joined."""

    all: tuple[Attachment, ...]
    by_network: Mapping[NetworkId, tuple[Attachment, ...]]
    by_host: Mapping[HostId, tuple[Attachment, ...]]
    by_vm: Mapping[VmId, tuple[Attachment, ...]]
    unmet: tuple[Unmet, ...] = ()


def implied_port(nic: NicId, network: NetworkId) -> PortId:
    """The id of a port that no source listed: the NIC in this network.  In another network it is another port."""
    return PortId(f"{nic}@{network}")


def attach(
    intent: Intent,
    inventory: Inventory,
    marks: Mapping[tuple[DvsId, str], OwnerMark],
    presumed: Mapping[tuple[DvsId, str], OwnerMark] = MappingProxyType({}),
) -> Attachments:
    """Attach every NIC in a port group of ours, or that names one of a standard switch.

    `marks` are those of our port groups, by switch and key; `presumed` the marks of those that lost theirs.
    """
    listed: dict[tuple[VmId, Mac], list[Port]] = defaultdict(list)
    for port in intent.ports.values():
        listed[port.vm, port.mac].append(port)
    twins = _twins(inventory.nics.values(), listed)
    found: list[Attachment] = []
    unmet: list[Unmet] = []
    for nic in inventory.nics.values():
        network = _network_of(nic, intent, marks)
        if network is None:
            lost = _lost_network(nic, intent, presumed)
            if lost is not None and (attachment := _joined(nic, lost, listed)) is not None:
                found.append(replace(attachment, presumed=True))
            continue
        if (nic.id.vm, nic.mac) in twins:
            unmet.append(Unmet(str(nic.id), f"two NICs of one VM identity carry MAC {nic.mac}: none is wired"))
            continue
        attachment = _joined(nic, network, listed)
        if attachment is None:
            unmet.append(Unmet(str(nic.id), _stranger(nic, network, listed)))
        else:
            found.append(attachment)
    return _indexed(found, unmet)


def _network_of(nic: Nic, intent: Intent, marks: Mapping[tuple[DvsId, str], OwnerMark]) -> Network | None:
    if nic.dvs is not None and nic.port_group is not None:
        mark = marks.get((nic.dvs, nic.port_group))
        network = intent.networks.get(mark.network) if mark else None
        if network is None or mark is None or network.vni == mark.vni:
            return network
        # The mark rules until it is rewritten, so that all hosts change the VNI with it and none before.
        return replace(network, vni=mark.vni)
    if nic.network_name is not None:
        return intent.networks.get(NetworkId(nic.network_name))
    return None


def _lost_network(nic: Nic, intent: Intent, presumed: Mapping[tuple[DvsId, str], OwnerMark]) -> Network | None:
    """The network that a NIC's port group was of before it lost its mark, if that is wanted, and with the same VNI."""
    mark = presumed.get((nic.dvs, nic.port_group)) if nic.dvs is not None and nic.port_group is not None else None
    network = intent.networks.get(mark.network) if mark else None
    return network if network is not None and mark is not None and network.vni == mark.vni else None


def _joined(nic: Nic, network: Network, listed: Mapping[tuple[VmId, Mac], list[Port]]) -> Attachment | None:
    """The NIC in this network, as its port; None if the network lists its ports and none of them is this NIC."""
    ports = [port for port in listed.get((nic.id.vm, nic.mac), ()) if port.network == network.id]
    if ports:
        return _as_listed(nic, ports[0], network)
    if network.ports_listed:
        return None
    live = nic.powered_on and nic.connected
    return Attachment(nic, implied_port(nic.id, network.id), network, (nic.mac,), (), live)


def _as_listed(nic: Nic, port: Port, network: Network) -> Attachment:
    macs = tuple(dict.fromkeys((nic.mac, *(pair.mac for pair in port.allowed_pairs))))
    live = nic.powered_on and nic.connected and port.admin_up
    return Attachment(nic, port.id, network, macs, port.addresses, live)


def _twins(nics: Iterable[Nic], listed: Mapping[tuple[VmId, Mac], list[Port]]) -> set[tuple[VmId, Mac]]:
    """Listed (VM, MAC) pairs that more than one NIC of the same network answers to."""
    seen: dict[tuple[VmId, Mac, str | None], int] = defaultdict(int)
    for nic in nics:
        if (nic.id.vm, nic.mac) in listed:
            seen[nic.id.vm, nic.mac, nic.port_group or nic.network_name] += 1
    return {(vm, mac) for (vm, mac, _), count in seen.items() if count > 1}


def _stranger(nic: Nic, network: Network, listed: Mapping[tuple[VmId, Mac], list[Port]]) -> str:
    elsewhere = [str(port.network) for port in listed.get((nic.id.vm, nic.mac), ())]
    if elsewhere:
        return f"its port belongs to network {', '.join(elsewhere)}, but it is plugged into that of {network.id}"
    return f"no port of network {network.id} has this VM and MAC {nic.mac}"


def _indexed(found: list[Attachment], unmet: list[Unmet]) -> Attachments:
    by_network: dict[NetworkId, list[Attachment]] = defaultdict(list)
    by_host: dict[HostId, list[Attachment]] = defaultdict(list)
    by_vm: dict[VmId, list[Attachment]] = defaultdict(list)
    for attachment in found:
        by_network[attachment.network.id].append(attachment)
        by_vm[attachment.nic.id.vm].append(attachment)
        if attachment.nic.host is not None:
            by_host[attachment.nic.host].append(attachment)
    return Attachments(
        tuple(found),
        {key: tuple(group) for key, group in by_network.items()},
        {key: tuple(group) for key, group in by_host.items()},
        {key: tuple(group) for key, group in by_vm.items()},
        tuple(unmet),
    )
