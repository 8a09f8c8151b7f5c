"""What one NVE must know of each network it serves: which VIDs mean it here, who is here, who is elsewhere.

A segment is the seam itself: local VIDs on one side, a VNI and the VTEPs of its members on the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from isthmus.core.attach import Attachment, Attachments
from isthmus.model.intent import Intent, Network, Peer
from isthmus.model.inventory import Inventory
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
    homes: Mapping[Mac, str] = field(default_factory=dict)
    """The VTEP where a MAC is now, here or elsewhere, of those that are at one only."""
    here: frozenset[str] = frozenset()
    """The NVE's own VTEPs."""
    senders: Mapping[Mac, frozenset[str] | None] = field(default_factory=dict)
    """The addresses and prefixes that a MAC here may send from; None, or not in it: from any."""


class _Member(NamedTuple):
    """A NIC, or a peer that no inventory knows: where it is reached, and what answers there."""

    vteps: tuple[str, ...]
    macs: tuple[Mac, ...]
    addresses: tuple[tuple[str, Mac], ...]
    hosts: tuple[HostId, ...] = ()
    """Its host first, unless it has none, then those it is announced for."""


@dataclass(frozen=True, slots=True)
class _Members:
    """All members of one network, seen from nowhere: each NVE takes away what is its own."""

    answering: tuple[_Member, ...]
    """Those with known addresses."""
    remote: Mapping[Mac, tuple[str, ...]]
    flood: tuple[str, ...]
    homes: Mapping[Mac, str]
    """See `Segment.homes`."""
    macs_at: Mapping[str, Set[Mac]]
    """The MACs that have a VTEP among theirs."""

    @classmethod
    def of(cls, members: Iterable[_Member]) -> _Members:
        """The members, indexed."""
        answering: list[_Member] = []
        remote: dict[Mac, tuple[str, ...]] = {}
        homes: dict[Mac, str | None] = {}
        macs_at: defaultdict[str, set[Mac]] = defaultdict(set)
        for member in members:
            if member.addresses:
                answering.append(member)
            for mac in member.macs:
                known = remote.setdefault(mac, member.vteps)
                if known is not member.vteps:
                    remote[mac] = (*known, *(v for v in member.vteps if v not in known))
                if member.vteps:  # until a moving VM has arrived it is where it was, which is named first
                    home = member.vteps[0]
                    homes[mac] = home if homes.setdefault(mac, home) == home else None
            for vtep in member.vteps:
                macs_at[vtep].update(member.macs)
        return cls(
            tuple(answering),
            {mac: vteps for mac, vteps in sorted(remote.items()) if vteps},
            tuple(sorted(macs_at)),
            {mac: home for mac, home in sorted(homes.items()) if home is not None},
            macs_at,
        )


class Whereabouts:
    """Where every member of every network is, or is about to be: computed once per round, asked for each NVE."""

    def __init__(self, intent: Intent, inventory: Inventory, attachments: Attachments) -> None:
        self._hosts = inventory.hosts
        self._attachments = attachments.by_network
        self._destinations: dict[VmId, set[HostId]] = {}
        for move in inventory.moves:
            self._destinations.setdefault(VmId(move.vm), set()).add(move.to)
        self._moving: defaultdict[str, list[Attachment]] = defaultdict(list)
        for attachment in attachments.by_nic.values() if self._destinations else ():
            self._moving[attachment.nic.id.vm].append(attachment)
        self._peers: dict[NetworkId, list[Peer]] = {}
        for peer in intent.peers:
            self._peers.setdefault(peer.network, []).append(peer)
        self._members: dict[NetworkId, _Members] = {}
        self._at: dict[tuple[HostId, ...], tuple[str, ...]] = {}

    def arriving(self, host: HostId) -> Iterable[Attachment]:
        """Attachments of VMs that are announced for `host` and not there yet."""
        for vm, destinations in self._destinations.items():
            if host in destinations:
                for attachment in self._moving.get(vm, ()):
                    if attachment.nic.host != host and attachment.live:
                        yield attachment

    def segment(
        self, network: Network, vids: Iterable[Vid], local: Mapping[Mac, Vid], here: frozenset[str], hosts: set[HostId]
    ) -> Segment:
        """The segment of `network` at the NVE whose own VTEPs are `here` and which serves `hosts`."""
        members = self._members.get(network.id)
        if members is None:
            members = self._members[network.id] = _Members.of(self._of(network.id))
        remote = dict(members.remote)
        for mac in {mac for vtep in here for mac in members.macs_at.get(vtep, ())}:
            elsewhere = tuple(vtep for vtep in remote[mac] if vtep not in here)
            if elsewhere:
                remote[mac] = elsewhere
            else:
                del remote[mac]
        return Segment(
            network,
            tuple(sorted(set(vids))),
            dict(sorted(local.items())),
            remote,
            tuple(vtep for vtep in members.flood if vtep not in here),
            dict(sorted(_addresses(members.answering, here, hosts))),
            members.homes,
            here,
        )

    def _of(self, network: NetworkId) -> Iterator[_Member]:
        for attachment in self._attachments.get(network, ()):
            if attachment.live:
                nic = attachment.nic
                home = () if nic.host is None else (nic.host,)
                moving = self._destinations.get(nic.id.vm, ())
                hosts = (*home, *sorted(host for host in moving if host != nic.host)) if moving else home
                known = attachment.addresses
                addresses = tuple((address, nic.mac) for address in known) if known else ()
                yield _Member(self._vteps(hosts), attachment.macs, addresses, hosts)
        for peer in self._peers.get(network, ()):
            if peer.mac is None:
                yield _Member((peer.vtep,), (), ())
            else:
                addresses = tuple((address, peer.mac) for address in peer.addresses)
                yield _Member((peer.vtep,), (peer.mac, *peer.pairs), addresses)

    def _vteps(self, hosts: tuple[HostId, ...]) -> tuple[str, ...]:
        """The VTEPs of these hosts, as far as they have any: looked up once per round."""
        found = self._at.get(hosts)
        if found is None:
            known = (self._hosts[host].vtep for host in hosts if host in self._hosts)
            found = self._at[hosts] = tuple(dict.fromkeys(vtep for vtep in known if vtep))
        return found


def _addresses(members: Iterable[_Member], here: frozenset[str], hosts: set[HostId]) -> Iterator[tuple[str, Mac]]:
    """What is answered for: whoever is here, or about to come, answers for itself."""
    for member in members:
        if hosts.isdisjoint(member.hosts) and not here.issuperset(member.vteps):
            yield from member.addresses
