"""What Neutron's networks and ports mean: the intent, in everybody's words.

A row that makes no sense is left out and named; the others stand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from isthmus.adapters.neutron.facts import Facts, NeutronPort, Segment, Tunnelling
from isthmus.adapters.neutron.protocol import NO_OVERLAY
from isthmus.model.intent import AllowedPair, Doubt, Intent, Network, Peer, Port
from isthmus.model.names import Mac, NetworkId, PortId, VmId, mac, prefix, unicast_mac, vtep
from isthmus.model.scope import Scope
from isthmus.model.tags import Vid, VidSet, Vni

SMALLEST_MTU = 68


@dataclass(frozen=True, slots=True)
class Places:
    """What the configuration says of Neutron's names: the tag scope of each mapping domain, and which hosts are where.

    `homes` are the domains of nova-compute hosts and of machines that are below a leaf and no ESXi hosts; `attached`
    gives the VTEP of the leaf of these; `vids` are those that switches and leaves of a domain are there for.
    `overlaid` are the deployments of nova-compute hosts whose ESXi hosts have VTEPs of their own; of these, `plugged`
    are those where Neutron's own agent wires ports; `appliances` are the ESXi hosts where it does not, by VTEP.  In the
    domains of `static` every network is to have a VLAN.  `computes` are all nova-compute hosts: VMs of theirs, and of
    no other host of Neutron's, are in vCenter; if none is named, any may be.
    """

    scopes: Mapping[str, Scope] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    attached: Mapping[str, str] = field(default_factory=dict)
    vids: Mapping[str, VidSet] = field(default_factory=dict)
    overlaid: Mapping[str, str] = field(default_factory=dict)
    plugged: frozenset[str] = frozenset()
    appliances: Mapping[str, str] = field(default_factory=dict)
    static: frozenset[str] = frozenset()
    computes: frozenset[str] = frozenset()


Wanted: TypeAlias = frozenset[tuple[str, NetworkId]]
"""Which networks have a port in which deployments whose hosts have VTEPs of their own."""


def wanted_in(facts: Facts, places: Places) -> Wanted:
    """Where ports of VMs are bound, are being bound, failed to be, or are about to be moved."""
    return frozenset(
        (places.overlaid[binding.host], port.network)
        for port in facts.ports
        if port.is_vm
        for binding in port.bindings
        if binding.host in places.overlaid
    )


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why ports are not bound: `asked`, why Neutron was given no port group when it last asked, by network and host;
    `refused`, what Neutron's drivers said of a port on a host.  These are texts for people, and nothing else."""

    asked: Mapping[tuple[NetworkId, str], str] = field(default_factory=dict)
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def why(self, port: NeutronPort, host: str, domain: str, facts: Facts) -> str:
        """Why a port is not bound on a host of a domain, as far as it is known."""
        return (
            _full(facts, domain, port.network)
            or self.refused.get((port.id, host))
            or self.asked.get((port.network, host))
            or "neutron's log says why"
        )


NOTHING_SAID = Reasons()


def _full(facts: Facts, domain: str, network: NetworkId) -> str:
    """That a domain has no VLAN for a network, if it has none."""
    if any((segment.network, segment.domain) == (network, domain) for segment in facts.segments):
        return ""
    range_ = facts.domains.get(domain, ())
    held = {vid for where, vid in facts.held if where == domain}
    used = {segment.vid for segment in facts.segments if segment.domain == domain}
    if not range_ or any(vid not in held | used for vid in range_):
        return ""
    kept = f", {len(held)} of them held until nothing wears them" if held else ""
    return f"no VLAN is left in mapping domain {domain}: all of {range_} are taken{kept}"


def intent_of(
    facts: Facts,
    places: Places,
    reasons: Reasons = NOTHING_SAID,
    leaving: Collection[Segment] = (),
    troubles: Mapping[str, str] = MappingProxyType({}),
    wanted: Wanted = frozenset(),
) -> Intent:
    """The intent.  Below leaves VIDs are Neutron's own: a network has a place only in the scopes that it gives it one
    in.  Where hosts have VTEPs of their own it has one in the deployments where it is `wanted`.

    `leaving`: the segments that lose their place; `troubles`: what could not be had of Neutron, and why.
    """
    doubts: list[Doubt] = list(_doubts(facts, places, reasons))
    doubts += [
        Doubt(f"neutron {what}", f"it could not be done, and is asked for again: {why}")
        for what, why in troubles.items()
    ]
    deployments: defaultdict[NetworkId, set[str]] = defaultdict(set)
    for deployment, network in wanted:
        deployments[network].add(deployment)
    assigned: defaultdict[NetworkId, dict[Scope, Vid]] = defaultdict(dict)
    for segment in facts.segments:
        scope = places.scopes.get(segment.domain)
        if scope is not None and segment not in leaving and segment.network in facts.networks:
            try:
                assigned[segment.network][scope] = Vid(segment.vid)
            except ValueError as wrong:
                doubts.append(Doubt(f"network {segment.network}", str(wrong), scope))
    networks: dict[NetworkId, Network] = {}
    for row in facts.networks.values():
        try:
            vni, mtu = Vni(row.vni), max(row.mtu, SMALLEST_MTU)
        except ValueError as wrong:
            doubts.append(Doubt(f"network {row.id}", str(wrong)))
        else:
            home = frozenset(deployments.get(row.id, ()))
            vids = assigned.get(row.id, {})
            networks[row.id] = Network(row.id, vni, row.name, mtu, vids, True, only_assigned=True, wanted_in=home)
    ports: dict[PortId, Port] = {}
    peers: list[Peer] = []
    vteps: dict[str, str] = {}
    for agent in facts.tunnelling:
        try:
            vteps[agent.host] = _vtep_of(agent, places)
        except ValueError as wrong:
            doubts.append(Doubt(f"neutron agent on host {agent.host}", f"its ports are behind no VTEP: {wrong}"))
    domains = {segment.id: segment.domain for segment in facts.segments}
    for neutron_port in facts.ports:
        try:
            address = unicast_mac(neutron_port.mac)
            if neutron_port.is_vm:
                ports[PortId(neutron_port.id)] = _port(neutron_port, address, places)
            peers.extend(_peers(neutron_port, address, facts, domains, vteps, places))
        except ValueError as wrong:
            doubts.append(Doubt(f"port {neutron_port.id}", str(wrong)))
    unsure = frozenset(places.scopes[domain] for domain in _unknown(facts, places))
    return Intent(networks, ports, tuple(peers), doubts=tuple(doubts), unsure=unsure)


def _unknown(facts: Facts, places: Places) -> list[str]:
    """The mapping domains that Neutron does not name: none of its networks has a VLAN there, whatever is in use."""
    return sorted(places.scopes.keys() - facts.domains.keys())


def _vtep_of(agent: Tunnelling, places: Places) -> str:
    """Raises ValueError for an address that is no VTEP's, or another's."""
    address = vtep(agent.vtep)
    if address in places.appliances:
        raise ValueError(f"{address} is the VTEP of the appliance on {places.appliances[address]}")
    return address


def _port(row: NeutronPort, address: Mac, places: Places) -> Port:
    has_agent = any(binding.active and binding.host in places.plugged for binding in row.bindings)
    return Port(
        PortId(row.id),
        row.network,
        VmId(row.device),
        address,
        tuple(map(prefix, row.addresses)),
        row.admin_up,
        tuple(AllowedPair(mac(pair), prefix(ip)) for pair, ip in row.pairs),
        row.secured,
        wired=row.status == "ACTIVE" or not has_agent,
        elsewhere=_elsewhere(row, places),
    )


def _elsewhere(row: NeutronPort, places: Places) -> str:
    """Where a VM's port is, if not in vCenter.

    A VM that runs is not cut off because it is on another cluster than Neutron says: whichever of our hosts has a
    binding, active, prepared for a move, or failed, it is here.
    """
    if not places.computes or any(binding.ours or binding.host in places.computes for binding in row.bindings):
        return ""
    hosts = ", ".join(binding.host for binding in row.bindings)
    return f"is bound on host {hosts}, not here" if hosts else "is bound on no host"


def _peers(
    row: NeutronPort,
    address: Mac,
    facts: Facts,
    domains: Mapping[str, str],
    vteps: Mapping[str, str],
    places: Places,
) -> Iterator[Peer]:
    """The port as a member that no vCenter knows: behind a VTEP of its own, or below a leaf of ours.

    `domains`: of each VLAN segment.  One of a provider's, or of another domain, leads to no leaf of the host's; where
    Neutron does not name the host's domain nobody can say which is, and nothing is taken away.
    """
    pairs = tuple(sorted({mac(pair) for pair, _ in row.pairs} - {address}))
    for binding in row.bindings:
        if not binding.active or binding.failed or binding.ours or not binding.segments:
            continue
        at = None
        if facts.tunnelled(row, binding):
            at = vteps.get(binding.host)
        elif (home := places.homes.get(binding.host)) not in facts.domains or domains.get(binding.segments[-1]) == home:
            at = places.attached.get(binding.host)
        if at is not None:
            yield Peer(row.network, at, address, row.addresses, pairs)


def _doubts(facts: Facts, places: Places, reasons: Reasons) -> Iterator[Doubt]:
    for domain in _unknown(facts, places):
        yield Doubt(
            f"mapping domain {domain}",
            "Neutron does not know it, and nothing is taken away there meanwhile: name it in [ml2_isthmus] domains, "
            "with a range in network_vlan_ranges, or correct 'domain' of the deployment",
            places.scopes[domain],
        )
    for domain in sorted(places.vids.keys() & facts.domains.keys()):
        if strange := facts.domains[domain] - places.vids[domain]:
            yield Doubt(
                f"mapping domain {domain}",
                f"Neutron may give out VLANs {strange} there, which the deployment's 'vids' less 'reserved' lack: let "
                "network_vlan_ranges and 'vids' name the same",
                places.scopes[domain],
            )
    for domain in sorted(places.scopes.keys() & facts.domains.keys()) if facts.fabric else ():
        if (domain in places.static) != (domain in facts.static):
            right, wrong = ("static_domains", "domains") if domain in places.static else ("domains", "static_domains")
            yield Doubt(
                f"mapping domain {domain}",
                f"[ml2_isthmus] {wrong} names it, which does not fit the deployment's design: name it in {right}",
                places.scopes[domain],
            )
    for beside in facts.beside:
        if beside.host in places.overlaid:
            yield Doubt(f"port {beside.id}", f"it has no port group on host {beside.host}: {NO_OVERLAY}")
    for port in facts.ports:
        for binding in port.bindings:
            home = places.homes.get(binding.host) or places.overlaid.get(binding.host)
            if binding.failed and home is not None:
                why = reasons.why(port, binding.host, home, facts)
                what = f"Neutron could not bind it on host {binding.host}, and tries again: {why}"
                yield Doubt(f"port {port.id}", what, places.scopes.get(home))
