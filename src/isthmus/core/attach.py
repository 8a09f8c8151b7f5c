"""Join intent and inventory: which NIC is which port, of which network, at which place.

A NIC is in a network because its port group carries our mark for that network; a listed port must agree with it, and
must not be elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from isthmus.model.change import Unmet
from isthmus.model.intent import Intent, Network, Port
from isthmus.model.inventory import Inventory, Nic
from isthmus.model.names import DvsId, HostId, Mac, NetworkId, NicId, PortId, VmId
from isthmus.model.observed import OwnerMark
from isthmus.model.place import DvPort


class Attachment(NamedTuple):  # a round makes one for every NIC of a site, and asks most of them nothing
    """A NIC that belongs to a network, as the port `listed` if the intent has one for it.

    `presumed`: its port group carries no mark any more, and was this network's as far as can be told: the NIC may be
    served as it is, and nothing of it is written.
    """

    nic: Nic
    network: Network
    listed: Port | None = None
    presumed: bool = False

    @property
    def port(self) -> PortId:
        """The port it is."""
        return implied_port(self.nic.id, self.network.id) if self.listed is None else self.listed.id

    @property
    def macs(self) -> tuple[Mac, ...]:
        """What it may send from: its own MAC first, then those of allowed pairs."""
        if self.listed is None or not self.listed.allowed_pairs:
            return (self.nic.mac,)
        return tuple(dict.fromkeys((self.nic.mac, *(pair.mac for pair in self.listed.allowed_pairs))))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its known IP addresses."""
        return () if self.listed is None else self.listed.addresses

    @property
    def senders(self) -> Mapping[Mac, Set[str]]:
        """The addresses that it may send from, by MAC; a MAC that is not here may send from any."""
        if self.listed is None or not self.listed.secured:
            return {}
        found: defaultdict[Mac, set[str]] = defaultdict(set, {self.nic.mac: set(self.addresses)})
        for pair in self.listed.allowed_pairs:
            found[pair.mac].add(pair.address)
        return {mac: addresses for mac, addresses in found.items() if "" not in addresses}

    @property
    def live(self) -> bool:
        """It should carry traffic now."""
        return self.nic.powered_on and self.nic.connected and not self.disabled

    @property
    def disabled(self) -> bool:
        """It is switched off where it is listed."""
        return self.listed is not None and not self.listed.admin_up

    @property
    def place(self) -> DvPort | None:
        """The DV port it holds, once vCenter handed one out."""
        if self.nic.dvs is None or self.nic.port_key is None:
            return None
        return DvPort(self.nic.dvs, self.nic.port_key, self.nic.cookie)


@dataclass(frozen=True, slots=True)
class Attachments:
    """All attachments, by NIC, by network and by host, and the NICs that could not be joined."""

    by_nic: Mapping[NicId, Attachment]
    by_network: Mapping[NetworkId, Sequence[Attachment]]
    by_host: Mapping[HostId, Sequence[Attachment]]
    unmet: tuple[Unmet, ...] = ()
    left_out: tuple[tuple[Attachment, str], ...] = ()
    """What NICs would be that the inventory leaves out, and why it does."""
    elsewhere: frozenset[NicId] = frozenset()
    """The NICs whose ports are elsewhere."""


Marks: TypeAlias = Mapping[tuple[DvsId, str], OwnerMark]
"""The marks of port groups, by switch and key."""
_Listed: TypeAlias = Mapping[tuple[VmId, Mac], Sequence[Port]]


def implied_port(nic: NicId, network: NetworkId) -> PortId:
    """The id of a port that no source listed: the NIC in this network.  In another network it is another port."""
    return PortId(f"{nic}@{network}")


def attach(intent: Intent, inventory: Inventory, marks: Marks, presumed: Marks = MappingProxyType({})) -> Attachments:
    """Attach every NIC in a port group of ours, or that names one of a standard switch.

    `marks` are those of our port groups; `presumed` the marks of those that lost theirs.
    """
    listed: defaultdict[tuple[VmId, Mac], list[Port]] = defaultdict(list)
    for port in intent.ports.values():
        listed[port.vm, port.mac].append(port)
    twins = _twins(inventory.nics.values(), listed)
    carried, lost = _carried(marks, intent), _lost(presumed, intent)
    found: list[Attachment] = []
    unmet: list[Unmet] = []
    elsewhere: set[NicId] = set()
    for nic in inventory.nics.values():
        network = _network_of(nic, carried, intent)
        if network is None:
            former = lost.get((nic.dvs, nic.port_group)) if lost else None
            if former is not None and (attachment := _joined(nic, former, listed)) is not None:
                found.append(attachment._replace(presumed=True))
            elif (mark := _mark_of(nic, marks, presumed)) and (why := _elsewhere(nic, mark.network, listed)):
                elsewhere.add(nic.id)
                unmet.append(Unmet(str(nic.id), why))
        elif twins and (nic.id.vm, nic.mac) in twins:
            unmet.append(Unmet(str(nic.id), f"two NICs of one VM identity carry MAC {nic.mac}: none is wired"))
        elif (attachment := _joined(nic, network, listed)) is not None:
            found.append(attachment)
        elif why := _elsewhere(nic, network.id, listed):
            elsewhere.add(nic.id)
            unmet.append(Unmet(str(nic.id), why))
        else:
            unmet.append(Unmet(str(nic.id), _stranger(nic, network, listed)))
    left_out = [
        (Attachment(left.nic, network), left.reason)
        for left in inventory.left_out
        if (network := _network_of(left.nic, carried, intent)) is not None
    ]
    return replace(_indexed(found, unmet, left_out), elsewhere=frozenset(elsewhere))


def _carried(marks: Marks, intent: Intent) -> dict[tuple[DvsId | None, str | None], Network]:
    """The wanted network that each port group of ours carries.

    The mark rules until it is rewritten, so that all hosts change the VNI with it and none before.
    """
    return {
        group: network if network.vni == mark.vni else replace(network, vni=mark.vni)
        for group, mark in marks.items()
        if (network := intent.networks.get(mark.network)) is not None
    }


def _lost(presumed: Marks, intent: Intent) -> dict[tuple[DvsId | None, str | None], Network]:
    """The network that each port group was of before it lost its mark, if that is wanted, and with the same VNI."""
    return {
        group: network
        for group, mark in presumed.items()
        if (network := intent.networks.get(mark.network)) is not None and network.vni == mark.vni
    }


def _network_of(nic: Nic, carried: Mapping[tuple[DvsId | None, str | None], Network], intent: Intent) -> Network | None:
    if nic.dvs is not None and nic.port_group is not None:
        return carried.get((nic.dvs, nic.port_group))
    return intent.networks.get(NetworkId(nic.network_name)) if nic.network_name is not None else None


def _joined(nic: Nic, network: Network, listed: _Listed) -> Attachment | None:
    """The NIC in this network, as its port; None if that is elsewhere, or if the network lists its ports without it."""
    if listed:
        for port in listed.get((nic.id.vm, nic.mac), ()):
            if port.network == network.id:
                return None if port.elsewhere else Attachment(nic, network, port)
    return None if network.ports_listed else Attachment(nic, network)


def _twins(nics: Iterable[Nic], listed: _Listed) -> set[tuple[VmId, Mac]]:
    """Listed (VM, MAC) pairs that more than one NIC of the same network answers to."""
    if not listed:
        return set()
    seen: defaultdict[tuple[VmId, Mac, str | None], int] = defaultdict(int)
    for nic in nics:
        if (nic.id.vm, nic.mac) in listed:
            seen[nic.id.vm, nic.mac, nic.port_group or nic.network_name] += 1
    return {(vm, mac) for (vm, mac, _), count in seen.items() if count > 1}


def _mark_of(nic: Nic, marks: Marks, presumed: Marks) -> OwnerMark | None:
    """Of its port group, also of one that lost it, or whose network is not wanted here."""
    if nic.dvs is None or nic.port_group is None:
        return None
    return marks.get((nic.dvs, nic.port_group)) or presumed.get((nic.dvs, nic.port_group))


def _elsewhere(nic: Nic, network: NetworkId, listed: _Listed) -> str:
    """Where the port is that the NIC would be in this network, if it is elsewhere."""
    for port in listed.get((nic.id.vm, nic.mac), ()):
        if port.network == network and port.elsewhere:
            return f"port {port.id} {port.elsewhere}"
    return ""


def _stranger(nic: Nic, network: Network, listed: _Listed) -> str:
    elsewhere = [str(port.network) for port in listed.get((nic.id.vm, nic.mac), ())]
    if elsewhere:
        return f"its port belongs to network {', '.join(elsewhere)}, but it is plugged into that of {network.id}"
    return f"no port of network {network.id} has this VM and MAC {nic.mac}"


def _indexed(
    found: Iterable[Attachment], unmet: Iterable[Unmet], left_out: Iterable[tuple[Attachment, str]]
) -> Attachments:
    by_nic: dict[NicId, Attachment] = {}
    by_network: defaultdict[NetworkId, list[Attachment]] = defaultdict(list)
    by_host: defaultdict[HostId, list[Attachment]] = defaultdict(list)
    for attachment in found:
        nic = attachment.nic
        by_nic[nic.id] = attachment
        by_network[attachment.network.id].append(attachment)
        if nic.host is not None:
            by_host[nic.host].append(attachment)
    return Attachments(by_nic, dict(by_network), dict(by_host), tuple(unmet), tuple(left_out))
