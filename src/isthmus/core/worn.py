"""Who is seen wearing which VID: places in vCenter, NVEs that still map it, and foreign things."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from isthmus.core.allocate import Hold, Worn
from isthmus.core.attach import implied_port
from isthmus.core.view import View
from isthmus.model.intent import Network
from isthmus.model.names import DvsId, HostId, NetworkId, PortId, VmId
from isthmus.model.observed import Access, DvPortState, OwnerMark, PortGroupState, PrivateVlan, SwitchMirror
from isthmus.model.place import DvPort, DvPortGroup, HostPortGroup, PlaceKind
from isthmus.model.scope import (
    Domain,
    ForeignSubject,
    HostScope,
    NetworkSubject,
    PortSubject,
    Scope,
    Subject,
)
from isthmus.model.tags import Vid, VidSet

_Alike: TypeAlias = tuple[str, Vid, bool, HostId | None]
"""Port group, VID, whether it is closed, and the host where a domain ends with it."""


def worn(view: View) -> list[Worn]:
    """All that is worn in the domains of this shard."""
    match view.design.place:
        case PlaceKind.DV_PORT:
            return [*_dv_ports(view), *_known_at_hosts(view)]
        case PlaceKind.DV_PORT_GROUP:
            return [*_port_groups(view), *_known_in_scope(view)]
        case PlaceKind.HOST_PORT_GROUP:
            return [*_host_port_groups(view), *_known_in_scope(view)]


def unseen(view: View) -> dict[Domain, str]:
    """The domains of NVEs that were never read whole: what is known there nobody can say."""
    found: dict[Domain, str] = {}
    for place, target in view.shard.nves.items():
        if target in view.nves:
            continue
        if view.design.place is PlaceKind.DV_PORT:
            found |= {view.domain(dvs, HostId(place)): str(target) for dvs in view.shard.switches}
        elif view.shard.scope is not None:
            found[view.shard.scope] = str(target)
    return found


def unfit(view: View) -> dict[Domain, dict[str, VidSet]]:
    """The VIDs that an NVE of the scope would not take now: nobody is given one of these, and who has one keeps it."""
    if view.shard.scope is None:
        return {}
    found = {str(target): view.nves[target].unfit for target in view.shard.nves.values() if target in view.nves}
    return {view.shard.scope: {target: vids for target, vids in sorted(found.items()) if vids.ranges}}


def shared(view: View) -> frozenset[Domain]:
    """The domains with hosts whose ports another shard tags: it sees what is worn, but not what our NVEs know."""
    if view.design.place is not PlaceKind.DV_PORT or view.pool.reuse:
        return frozenset()
    switches = view.world.inventory.switches
    return frozenset(
        view.domain(dvs, None)
        for dvs in view.shard.switches
        if dvs in switches and not switches[dvs].hosts <= view.shard.hosts
    )


def port_of(view: View, mark: OwnerMark, port: DvPortState) -> PortId:
    """The port that a DV port in a port group of ours belongs to: of its NIC in that network, else one of its own."""
    if port.nic is None:
        return PortId(f"dv-port {port.key}")
    attachment = view.attachments.by_nic.get(port.nic)
    if attachment is not None and attachment.network.id == mark.network:
        return attachment.port
    return implied_port(port.nic, mark.network)


def subject_of(view: View, mark: OwnerMark, port: DvPortState) -> Subject:
    """Whose tag a DV port in a port group of ours wears."""
    if view.design.nve.knows_ports:
        return PortSubject(port_of(view, mark, port))
    return NetworkSubject(mark.vni)


def _dv_ports(view: View) -> Iterator[Worn]:
    announced: defaultdict[VmId, set[HostId]] = defaultdict(set)
    for move in view.world.inventory.moves if view.pool.reuse else ():
        announced[VmId(move.vm)].add(move.to)
    for dvs, mirror in view.switches.items():
        yield from _foreign_groups(view, dvs, mirror)
        yield from _ports_of(view, dvs, mirror, announced)


def _ports_of(
    view: View, dvs: DvsId, mirror: SwitchMirror, announced: Mapping[VmId, Iterable[HostId]]
) -> Iterator[Worn]:
    """What the ports of a switch wear.  Where a VID is a network's, those on other hosts are only counted."""
    counts = not view.design.nve.knows_ports
    elsewhere: defaultdict[_Alike, int] = defaultdict(int)
    for port in mirror.ports.values():
        vid = _vid(port)
        if vid is None:
            continue
        mark = view.marks.get((dvs, port.port_group))
        if mark is None:
            yield from _foreign(view, dvs, vid, f"port {port.key} of port group {port.port_group}")
            continue
        host = host_of(view, port)
        if announced and port.nic is not None:
            for to in announced.get(port.nic.vm, ()):
                if to != host:
                    there = HostScope(to, dvs)
                    yield Worn(there, there, vid, subject_of(view, mark, port), Hold.KNOWN)
        if counts and host not in view.shard.hosts:
            elsewhere[port.port_group, vid, port.blocked, host if view.pool.reuse else None] += 1
            continue
        place = DvPort(dvs, port.key, port.cookie)
        scope = None if host is None else HostScope(host, dvs)
        yield Worn(view.domain(dvs, host), scope, vid, subject_of(view, mark, port), _hold(port.blocked), place)
    for (group, vid, blocked, host), times in elsewhere.items():
        subject, place_of_all = NetworkSubject(view.marks[dvs, group].vni), DvPortGroup(dvs, group)
        yield Worn(view.domain(dvs, host), None, vid, subject, _hold(blocked), place_of_all, times)


def _hold(blocked: bool) -> Hold:
    return Hold.CLAIMED if blocked else Hold.OPEN


def _vid(port: DvPortState) -> Vid | None:
    match port.vlan:
        case Access(vid) | PrivateVlan(vid):
            return vid
        case _:
            return None


def host_of(view: View, port: DvPortState) -> HostId | None:
    """The host a DV port is on: of its NIC as the inventory sees it, else as the port says."""
    if port.nic is not None:
        nic = view.world.inventory.nics.get(port.nic)
        if nic is not None and nic.host is not None:
            return nic.host
    return port.host


def _foreign_groups(view: View, dvs: DvsId, mirror: SwitchMirror) -> Iterator[Worn]:
    for key, group in mirror.port_groups.items():
        if (dvs, key) not in view.marks and not group.is_uplink:
            vid = _group_vid(group)
            if vid is not None:
                yield from _foreign(view, dvs, vid, f"port group {key}")


def _group_vid(group: PortGroupState) -> Vid | None:
    match group.vlan:
        case Access(vid) | PrivateVlan(vid):
            return vid
        case _:
            return None


def _foreign(view: View, dvs: DvsId, vid: Vid, what: str) -> Iterator[Worn]:
    """A foreign tag counts on every host of its switch: it may be plugged in anywhere."""
    domains: set[Domain]
    if view.design.place is not PlaceKind.DV_PORT:
        domains = {view.shard.scope} if view.shard.scope is not None else set()
    elif view.pool.reuse:
        hosts = view.shard.hosts | {move.to for move in view.world.inventory.moves}
        domains = {HostScope(host, dvs) for host in hosts}
    else:
        domains = {view.domain(dvs, None)}
    for domain in domains:
        yield Worn(domain, None, vid, ForeignSubject(what), Hold.OPEN)


def _known_at_hosts(view: View) -> Iterator[Worn]:
    for host, target in view.shard.nves.items():
        mirror = view.nves.get(target)
        if mirror is None:
            continue
        for dvs in view.shard.switches:
            scope = HostScope(HostId(host), dvs)
            domain = view.domain(dvs, HostId(host))
            for vid, subject in view.maps[target]:
                yield Worn(domain, scope, vid, subject, Hold.KNOWN)
            for vid in mirror.foreign_vids:
                yield Worn(domain, scope, vid, ForeignSubject(str(target)), Hold.KNOWN)


def _port_groups(view: View) -> Iterator[Worn]:
    scope = view.shard.scope
    if scope is None:
        return
    for dvs in view.shard.switches:  # others are looked at for their members, not for their tags
        mirror = view.switches.get(dvs)
        if mirror is None:
            continue
        yield from _foreign_groups(view, dvs, mirror)
        for key, group in mirror.port_groups.items():
            mark, vid = view.marks.get((dvs, key)), _group_vid(group)
            if mark is not None and vid is not None:
                yield Worn(scope, scope, vid, NetworkSubject(mark.vni), Hold.OPEN, DvPortGroup(dvs, key))
        for port in mirror.ports.values():
            vid, mark = _vid(port), view.marks.get((dvs, port.port_group))
            if not port.vlan_own or vid is None:
                continue
            if mark is None:
                yield from _foreign(view, dvs, vid, f"override of port {port.key}")
            else:  # by hand, and about to be taken off: nobody may have the tag meanwhile, but no owner loses it
                yield Worn(scope, scope, vid, NetworkSubject(mark.vni), Hold.CLAIMED)


def carried_by(view: View, name: str, vid: Vid) -> Network | None:
    """The network of a standard port group: by its name, or, if the intent forgot it, as an NVE still maps its VID."""
    wanted = view.world.intent.networks.get(NetworkId(name))
    if wanted is not None:
        return wanted
    taken = {network.vni for network in view.world.intent.networks.values()}
    for target in view.shard.nves.values():
        for known, subject in sorted(view.maps.get(target, ()), key=str):
            if known == vid and isinstance(subject, NetworkSubject) and subject.vni not in taken:
                return Network(NetworkId(name), subject.vni)
    return None


def _host_port_groups(view: View) -> Iterator[Worn]:
    scope = view.shard.scope
    for mirror in view.standard.values():
        for name, group in mirror.port_groups.items():
            if scope is None or not isinstance(group.vlan, Access | PrivateVlan):
                continue
            network = carried_by(view, name, group.vlan.vid) if mirror.ours else None
            subject: Subject = NetworkSubject(network.vni) if network else ForeignSubject(f"port group {name}")
            place = HostPortGroup(mirror.host, mirror.vswitch, name)
            yield Worn(scope, scope, group.vlan.vid, subject, Hold.OPEN, place)


def _known_in_scope(view: View) -> Iterator[Worn]:
    scope: Scope | None = view.shard.scope
    if scope is None:
        return
    for target in view.shard.nves.values():
        mirror = view.nves.get(target)
        if mirror is None:
            continue
        for vid, subject in view.maps[target]:
            yield Worn(scope, scope, vid, subject, Hold.KNOWN)
        for vid in mirror.foreign_vids:
            yield Worn(scope, scope, vid, ForeignSubject(str(target)), Hold.KNOWN)
