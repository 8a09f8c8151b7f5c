"""What the SDN's own database is to have of the NICs of a host, beside their plugs.

Law: of one VM's NIC in one network there is one workload, kept by one host, and no host gives it up while the NIC is in
the network, wherever that is: the address that it has there stays through moves and power cycles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from isthmus.core.attach import Attachment, implied_port
from isthmus.core.view import View
from isthmus.model.intent import Network
from isthmus.model.names import HostId, NicId, PortId
from isthmus.model.nve import NveEntry, NveKey, Workload


def workloads(view: View, place: str, plugged: Set[PortId]) -> Iterator[Workload]:
    """Those to be kept from a host: of its NICs in a network, unless the SDN lists their ports itself.

    Of a NIC that is to be plugged in, the SDN is told then, VID and all at once.  What was told from here of a NIC that
    is elsewhere by now, or of which nobody can say where it is, stays until another host has taken it over.
    """
    if not view.design.nve.keeps_workloads:
        return
    here = {attachment.nic.id: attachment for attachment in view.attachments.by_host.get(HostId(place), ())}
    mirror = view.nves.get(view.shard.nves[place])
    entries = mirror.entries if mirror is not None else {}
    for attachment in here.values():
        if attachment.listed is None and not attachment.presumed:
            workload = _of(attachment, entries)
            if workload.key in entries or not attachment.live or workload.port in plugged:
                yield workload
    doubtful = {attachment.nic.id: attachment for attachment, _ in view.attachments.left_out}
    for held in entries.values():
        if isinstance(held, Workload) and _is_kept(view, held, here, doubtful):
            yield held


def _is_kept(
    view: View, held: Workload, here: Mapping[NicId, Attachment], doubtful: Mapping[NicId, Attachment]
) -> bool:
    attachment = view.attachments.by_nic.get(held.nic) or doubtful.get(held.nic)
    if attachment is None or implied_port(held.nic, attachment.network.id) != held.port:
        return False
    return held.nic not in here or attachment.presumed


def _of(attachment: Attachment, held: Mapping[NveKey, NveEntry]) -> Workload:
    nic, network = attachment.nic, attachment.network
    workload = Workload(attachment.port, network.id, network.vni, nic.id, nic.mac, nic.vm_name)
    if not network.guests_choose:
        return workload
    before = held.get(workload.key)
    known = (before.address or "") if isinstance(before, Workload) else ""
    used = [address for address in nic.guest_addresses if _fits(address, network)]
    # One that is used still is kept, and a guest that says nothing takes nothing back.
    return replace(workload, address=known if known in used or not used else used[0])


def _fits(address: str, network: Network) -> bool:
    """Whether the network can have it: IPv4, and a host's in a subnet of it.  Guests tell of much else."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return found.version == 4 and any(_is_a_hosts(found, ip_network(subnet)) for subnet in network.subnets)


def _is_a_hosts(address: IPv4Address | IPv6Address, subnet: IPv4Network | IPv6Network) -> bool:
    """A subnet's own address and its broadcast address are no guest's."""
    ends = () if subnet.num_addresses <= 2 else (subnet.network_address, subnet.broadcast_address)  # RFC 3021
    return address in subnet and address not in ends
