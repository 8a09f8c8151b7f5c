"""Read from one look what stands ready in a tag scope, or on a switch, and what is gone from there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from isthmus.core.attach import Marks, attach
from isthmus.core.claims import plugged_in
from isthmus.model.change import Reconciled
from isthmus.model.handover import Handover, Member, StandingGroup
from isthmus.model.names import DvsId, Mac, NetworkId, PortId
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast
from isthmus.model.observed import (
    Access,
    NveMirror,
    Observed,
    OwnerMark,
    PortGroupState,
    SwitchMirror,
    TargetId,
    Unknown,
)
from isthmus.model.shard import World
from isthmus.model.tags import Vid, Vni


def handover(
    world: World, observed: Observed, thought: Reconciled, now: float, vteps: frozenset[str] = frozenset()
) -> Handover | None:
    """What stood ready in the shard's scope when it was looked at, `now` at the latest; None for a shard without one.

    `vteps` are those of its NVEs: behind them are its members.
    """
    shard = world.shard
    if shard.scope is None:
        return None
    bound = {place: frozenset(_bindings(observed, place, world)) for place in shard.nves}
    groups: dict[tuple[NetworkId, DvsId], StandingGroup] = {}
    vnis: set[Vni] = {vni for known in bound.values() for _, vni, _ in known}
    marks: dict[tuple[DvsId, str], OwnerMark] = {}
    for dvs, key, group, mark in _groups(world, observed):
        marks[dvs, key] = mark
        vnis.update((mark.vni, *mark.was))
        vid = group.vlan.vid if isinstance(group.vlan, Access) else None
        mapped = frozenset(place for place, known in bound.items() if (vid, mark.vni, True) in known)
        # Of two port groups of one network the one that is mapped is the network's.
        before = groups.get((mark.network, dvs))
        if before is None or len(before.mapped_at) < len(mapped):
            groups[mark.network, dvs] = StandingGroup(mark.network, dvs, key, vid, mapped)
    here = [observed.targets.get(target) for target in shard.nves.values()]
    switches = [m for t, m in observed.targets.items() if t.kind == "dvs" and DvsId(t.name) in shard.switches]
    whole = len(switches) == len(shard.switches) and not any(
        mirror is None or isinstance(mirror, Unknown) for mirror in (*here, *switches)
    )
    members, elsewhere = frozenset(_members(world, marks, vteps)), frozenset(_elsewhere(world, observed, vteps))
    vids = frozenset(_vids(world, observed))
    unfit = _unfit(world, observed)
    at, reading = min(now, observed.since), world.intent.reading
    unmet = thought.unmet
    return Handover(
        shard.scope, groups, frozenset(vnis), vids, whole, at, members, elsewhere, unmet, reading, unfit=unfit
    )


def _unfit(world: World, observed: Observed) -> dict[int, str]:
    found: defaultdict[int, list[str]] = defaultdict(list)
    for target in world.shard.nves.values():
        mirror = observed.targets.get(target)
        for vid in mirror.unfit if isinstance(mirror, NveMirror) else ():
            found[int(vid)].append(str(target))
    return {vid: ", ".join(sorted(targets)) for vid, targets in found.items()}


def overlaid(
    world: World, observed: Observed, thought: Reconciled, now: float, vteps: frozenset[str] = frozenset()
) -> Handover | None:
    """The same of a switch whose ports have VIDs of their own, which any shard of it sees whole.

    None if the switch could not be read: then nothing is known of it.  `vteps` are those of its hosts.
    """
    (dvs,) = world.shard.switches
    mirror = observed.targets.get(TargetId("dvs", dvs))
    if not isinstance(mirror, SwitchMirror):
        return None
    groups: dict[tuple[NetworkId, DvsId], StandingGroup] = {}
    marks: dict[tuple[DvsId, str], OwnerMark] = {}
    for _, key, group, mark in _groups(world, observed):
        marks[dvs, key] = mark
        # Of two port groups of one network the busier one stays.
        before = groups.get((mark.network, dvs))
        if before is None or plugged_in(mirror, before.key) < plugged_in(mirror, key):
            vid = group.vlan.vid if isinstance(group.vlan, Access) else None
            groups[mark.network, dvs] = StandingGroup(mark.network, dvs, key, vid, frozenset())
    vnis = frozenset(vni for mark in marks.values() for vni in (mark.vni, *mark.was))
    at, wired = min(now, observed.since), frozenset(_wired(world, mirror, marks))
    members, elsewhere = frozenset(_members(world, marks, vteps)), frozenset(_elsewhere(world, observed, vteps))
    reading = world.intent.reading
    return Handover(None, groups, vnis, frozenset(), True, at, members, elsewhere, thought.unmet, reading, wired)


def _wired(world: World, mirror: SwitchMirror, marks: Marks) -> Iterator[PortId]:
    """The ports whose NICs hold an open DV port with a VID of its own."""
    for attachment in attach(world.intent, world.inventory, marks).by_nic.values():
        place = attachment.place
        if place is None or place.dvs != mirror.dvs or not attachment.live:
            continue
        state = mirror.ports.get(place.key)
        if state is None or state.nic != attachment.nic.id or state.conflict or state.blocked:
            continue
        if state.vlan_own and isinstance(state.vlan, Access):
            yield attachment.port


def _members(world: World, marks: Marks, vteps: frozenset[str]) -> Iterator[Member]:
    """NICs in our port groups, by where their hosts are, and machines that are no VMs."""
    hosts = world.inventory.hosts
    for attachment in attach(world.intent, world.inventory, marks).by_nic.values():
        host = hosts.get(attachment.nic.host) if attachment.nic.host is not None else None
        if attachment.live and host is not None and host.vtep in vteps and host.vtep is not None:
            yield Member(attachment.network.id, attachment.nic.mac, host.vtep, attachment.addresses)
    for peer in world.intent.peers:
        if peer.vtep in vteps and peer.mac is not None:
            yield Member(peer.network, peer.mac, peer.vtep, peer.addresses)


def _elsewhere(world: World, observed: Observed, vteps: frozenset[str]) -> Iterator[tuple[NetworkId, Mac]]:
    """NICs in port groups of ours on other switches than the shard's, or of hosts that have other VTEPs."""
    networks = {
        (mirror.dvs, key): mark.network
        for mirror in observed.targets.values()
        if isinstance(mirror, SwitchMirror)
        for key, group in mirror.port_groups.items()
        if (mark := group.mark or group.handed_back) is not None and mark.owner == world.shard.owner
    }
    at = {host.id: host.vtep for host in world.inventory.hosts.values() if host.vtep is not None}
    if vteps.issuperset(at.values()) and all(dvs in world.shard.switches for dvs, _ in networks):
        return  # as where one process keeps it all, and there may be many NICs
    for nic in world.inventory.nics.values():
        if nic.powered_on and nic.connected and nic.host in at and nic.dvs is not None and nic.port_group is not None:
            network = networks.get((nic.dvs, nic.port_group))
            is_here = nic.dvs in world.shard.switches and at[nic.host] in vteps
            if network is not None and not is_here:
                yield network, nic.mac


def _groups(world: World, observed: Observed) -> Iterator[tuple[DvsId, str, PortGroupState, OwnerMark]]:
    """Our port groups on those of the shard's switches that can be read now: of the others nothing is promised.

    One that was handed back, and is about to be taken up again, works on as it was.
    """
    for mirror in observed.targets.values():
        if isinstance(mirror, SwitchMirror) and mirror.dvs in world.shard.switches:
            for key, group in sorted(mirror.port_groups.items()):
                mark = group.mark or group.handed_back
                if mark is not None and mark.owner == world.shard.owner:
                    yield mirror.dvs, key, group, mark


def _vids(world: World, observed: Observed) -> Iterator[int]:
    """Those that are worn on the shard's switches and mapped at its NVEs, by anybody."""
    for mirror in observed.targets.values():
        if isinstance(mirror, SwitchMirror) and mirror.dvs in world.shard.switches:
            vlans = (place.vlan for places in (mirror.port_groups, mirror.ports) for place in places.values())
            yield from (int(vlan.vid) for vlan in vlans if isinstance(vlan, Access))
        elif isinstance(mirror, NveMirror) and mirror.target in world.shard.nves.values():
            yield from mirror.foreign_vids
            yield from (int(e.vid) for e in mirror.entries.values() if isinstance(e, LeafBinding))


def _bindings(observed: Observed, place: str, world: World) -> Iterator[tuple[Vid | None, Vni, bool]]:
    """The VNIs that an NVE has, each with the VID that means it there, if any."""
    mirror = observed.targets.get(world.shard.nves[place])
    for entry in mirror.entries.values() if isinstance(mirror, NveMirror) else ():
        match entry:
            case LeafBinding(vid=vid, vni=vni, whole=whole):
                yield vid, vni, whole
            case LeafFlood(vni=vni) | LeafUnicast(vni=vni):
                yield None, vni, False
