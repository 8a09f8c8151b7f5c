"""What one NVE must know of each network it serves: which VIDs mean it here, who is here, who is elsewhere.

A segment is the seam itself: local VIDs on one side, a VNI and the VTEPs of its members on the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from isthmus.core.attach import Attachment, Attachments
from isthmus.model.intent import Intent, Network
from isthmus.model.inventory import Host, Inventory
from isthmus.model.names import HostId, Mac, NetworkId, VmId
from isthmus.model.tags import Vid


@dataclass(frozen=True, slots=True)
class Segment:
    """One network at one NVE.

    `local` gives the VID behind which a MAC is; `remote` the VTEPs (two while a VM moves) of MACs elsewhere, also of
    a local MAC that is about to leave; `flood` the VTEPs that have the network; `addresses` the MAC of known remote
    IP addresses.
    """

    network: Network
    vids: tuple[Vid, ...]
    local: Mapping[Mac, Vid] = field(default_factory=dict)
    remote: Mapping[Mac, tuple[str, ...]] = field(default_factory=dict)
    flood: tuple[str, ...] = ()
    addresses: Mapping[str, Mac] = field(default_factory=dict)
    here: frozenset[Mac] = frozenset()
    """The MACs that are at this NVE now, also those about to leave."""


class Whereabouts:
    """Where every member of every network is, or is about to be: computed once per round, asked for each NVE."""

    def __init__(self, intent: Intent, inventory: Inventory, attachments: Attachments) -> None:
        self._intent = intent
        self._hosts = inventory.hosts
        self._attachments = attachments
        self._destinations: dict[VmId, set[HostId]] = {}
        for move in inventory.moves:
            self._destinations.setdefault(VmId(move.vm), set()).add(move.to)
        self._peers: dict[NetworkId, list[tuple[str, Mac | None, tuple[str, ...]]]] = {}
        for peer in intent.peers:
            self._peers.setdefault(peer.network, []).append((peer.vtep, peer.mac, peer.addresses))

    def arriving(self, host: HostId) -> Iterable[Attachment]:
        """Attachments of VMs that are announced for `host` and not there yet."""
        for vm, destinations in self._destinations.items():
            if host in destinations:
                for attachment in self._attachments.by_vm.get(vm, ()):
                    if attachment.nic.host != host and attachment.live:
                        yield attachment

    def hosts_of(self, attachment: Attachment) -> tuple[HostId, ...]:
        """The host of a NIC, and those it is announced for."""
        here = () if attachment.nic.host is None else (attachment.nic.host,)
        moving = self._destinations.get(attachment.nic.id.vm, ())
        return (*here, *sorted(host for host in moving if host not in here))

    def segment(
        self, network: Network, vids: Iterable[Vid], local: Mapping[Mac, Vid], here: frozenset[str], hosts: set[HostId]
    ) -> Segment:
        """The segment of `network` at the NVE whose own VTEPs are `here` and which serves `hosts`."""
        remote: dict[Mac, list[str]] = {}
        flood: set[str] = set()
        addresses: dict[str, Mac] = {}
        present: set[Mac] = set()
        for attachment in self._attachments.by_network.get(network.id, ()):
            if not attachment.live:
                continue
            places = self.hosts_of(attachment)
            elsewhere = [vtep for vtep in map(self._vtep, places) if vtep and vtep not in here]
            if not elsewhere:
                continue
            flood.update(elsewhere)
            for mac in attachment.macs:
                remote.setdefault(mac, []).extend(elsewhere)
            if attachment.nic.host in hosts:
                present.update(attachment.macs)
            # Whoever is here, or about to come, answers for itself.
            if not any(host in hosts for host in places):
                addresses.update((address, attachment.nic.mac) for address in attachment.addresses)
        for vtep, member, known in self._peers.get(network.id, ()):
            if vtep in here:
                continue  # a source that echoes our own VTEP back must not make a loop
            flood.add(vtep)
            if member is not None:
                remote.setdefault(member, []).append(vtep)
                addresses.update((address, member) for address in known)
        return Segment(
            network,
            tuple(sorted(set(vids))),
            dict(sorted(local.items())),
            {mac: tuple(dict.fromkeys(vteps)) for mac, vteps in sorted(remote.items())},
            tuple(sorted(flood)),
            dict(sorted(addresses.items())),
            frozenset(present),
        )

    def _vtep(self, host: HostId) -> str | None:
        found: Host | None = self._hosts.get(host)
        return found.vtep if found else None
