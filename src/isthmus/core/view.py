"""What one round sees: every mirror, or the last good one together with the fact that it is old."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from isthmus.core.attach import Attachments, attach
from isthmus.core.design import Design
from isthmus.core.readback import bindings_in, bindings_of, serves
from isthmus.core.segments import Whereabouts
from isthmus.model.intent import Network
from isthmus.model.names import DvsId, HostId, LeafId, NetworkId
from isthmus.model.nve import LeafBinding
from isthmus.model.observed import (
    Access,
    DvPortState,
    Mirror,
    NoVlan,
    NveMirror,
    Observed,
    OwnerMark,
    PortGroupState,
    StandardSwitchMirror,
    SwitchMirror,
    TargetId,
    Trunk,
    Unknown,
)
from isthmus.model.place import PlaceKind
from isthmus.model.scope import Domain, HostScope, Subject, SwitchScope
from isthmus.model.shard import Shard, VidPool, World
from isthmus.model.tags import Vid, VidSet, Vni


def switch_target(dvs: DvsId) -> TargetId:
    """The target of a distributed switch."""
    return TargetId("dvs", dvs)


def standard_switch_target(host: HostId, vswitch: str) -> TargetId:
    """The target of one standard switch of one host."""
    return TargetId("vss", f"{host}/{vswitch}")


@dataclass(frozen=True, slots=True)
class View:
    """The world and the mirrors of one round.  `known` holds the targets that were read whole just now."""

    design: Design
    world: World
    pool: VidPool
    switches: Mapping[DvsId, SwitchMirror]
    standard: Mapping[TargetId, StandardSwitchMirror]
    nves: Mapping[TargetId, NveMirror]
    known: frozenset[TargetId]
    unknown: Mapping[TargetId, str]
    maps: Mapping[TargetId, frozenset[tuple[Vid, Subject]]] = field(default_factory=dict)
    """What each NVE maps, as far as it was ever read, or may map by now because it was told to since."""
    marks: Mapping[tuple[DvsId, str], OwnerMark] = field(default_factory=dict)
    """Of our port groups; where these are tagged, of those that were handed back and work on, too."""
    attachments: Attachments = field(default_factory=lambda: Attachments({}, {}, {}))
    groups: Mapping[tuple[DvsId, NetworkId], tuple[str, ...]] = field(default_factory=dict)
    """The keys of our port groups by switch and network."""
    presumed: Mapping[tuple[DvsId, str], OwnerMark] = field(default_factory=dict)
    """The marks of port groups that carry none any more, as far as can be told."""
    names: Mapping[str, int] = field(default_factory=dict)
    """How many networks have a name."""
    trunks: tuple[PortGroupState, ...] = ()
    """The trunk port groups of the shard's switches, uplinks left out: an appliance's NIC is in one of them."""
    passing: frozenset[TargetId] = frozenset()
    """Those of the unknown that are only being asked or told: no news."""

    @property
    def shard(self) -> Shard:
        """The shard in question."""
        return self.world.shard

    def whereabouts(self) -> Whereabouts:
        """Where the members of each network are."""
        return Whereabouts(self.world.intent, self.world.inventory, self.attachments)

    def domain(self, dvs: DvsId, host: HostId | None) -> Domain:
        """Where the VID of a DV port on `host` must mean one subject."""
        if self.pool.reuse and host is not None:
            return HostScope(host, dvs)
        return SwitchScope(dvs)

    def nve_hosts(self, place: str) -> frozenset[HostId]:
        """The hosts served by an NVE of this shard, named by its host or leaf."""
        if self.design.nve.on_each_host:
            return frozenset({HostId(place)})
        hosts = self.world.inventory.hosts.values()
        return frozenset(host.id for host in hosts if host.leaf == LeafId(place))

    def nve_of(self, host: HostId) -> str | None:
        """The NVE of a host, by its host or leaf."""
        if self.design.nve.on_each_host:
            return host
        known = self.world.inventory.hosts.get(host)
        return None if known is None else known.leaf

    def vteps(self, hosts: Iterable[HostId]) -> frozenset[str]:
        """The VTEPs that serve these hosts."""
        found = (self.world.inventory.hosts.get(host) for host in hosts)
        return frozenset(host.vtep for host in found if host is not None and host.vtep)


def look(design: Design, world: World, observed: Observed, pool: VidPool) -> View:
    """Sort the mirrors by kind and attach the NICs.  A target without any mirror is absent, never empty."""
    switches: dict[DvsId, SwitchMirror] = {}
    standard: dict[TargetId, StandardSwitchMirror] = {}
    nves: dict[TargetId, NveMirror] = {}
    known: set[TargetId] = set()
    unknown: dict[TargetId, str] = {}
    for target, seen in observed.targets.items():
        if isinstance(seen, Unknown):
            unknown[target] = seen.reason
            mirror = seen.last
        else:
            known.add(target)
            mirror = seen
        match mirror:
            case SwitchMirror():
                switches[mirror.dvs] = mirror
            case StandardSwitchMirror():
                standard[target] = mirror
            case NveMirror():
                nves[target] = mirror
            case None:
                pass
    marks = {
        (dvs, key): group.mark
        for dvs, mirror in switches.items()
        for key, group in mirror.port_groups.items()
        if group.mark is not None and group.mark.owner == world.shard.owner
    }
    if design.place is PlaceKind.DV_PORT_GROUP:
        marks |= _taken_up(world, switches, marks)
    groups: dict[tuple[DvsId, NetworkId], tuple[str, ...]] = {}
    for (dvs, key), mark in sorted(marks.items()):
        groups[dvs, mark.network] = (*groups.get((dvs, mark.network), ()), key)
    names = Counter(network.name for network in world.intent.networks.values())
    vnis = _known_vnis(world, marks.values())
    nves = {target: mirror if mirror.marked else _ours_of(mirror, vnis) for target, mirror in nves.items()}
    maps = {target: bindings_of(mirror) | _coming(observed.targets[target]) for target, mirror in nves.items()}
    presumed = _presumed(design, world, switches, nves)
    attachments = attach(world.intent, world.inventory, marks, presumed)
    return View(
        design,
        world,
        _closed(design, world, pool),
        switches,
        standard,
        nves,
        frozenset(known),
        unknown,
        maps,
        marks,
        attachments,
        groups,
        presumed,
        names,
        tuple(_trunks(switches[dvs] for dvs in world.shard.switches if dvs in switches)),
        frozenset(target for target, seen in observed.targets.items() if isinstance(seen, Unknown) and seen.passing),
    )


def _coming(seen: Mirror | Unknown[Mirror]) -> frozenset[tuple[Vid, Subject]]:
    """What an NVE that cannot be seen now may map besides: it was told to, and nobody knows whether it has done so."""
    return bindings_in(seen.coming) if isinstance(seen, Unknown) else frozenset()


def _taken_up(
    world: World, switches: Mapping[DvsId, SwitchMirror], marks: Mapping[tuple[DvsId, str], OwnerMark]
) -> Iterator[tuple[tuple[DvsId, str], OwnerMark]]:
    """The marks that tagged port groups had until they were handed back, of those that count as ours as they are.

    One with NICs in it works on as it was, wanted or not, and its NICs are members for the shards of other switches,
    too; and a wanted network without another has its own again.
    """
    for dvs, mirror in switches.items():
        former = {
            key: group.handed_back
            for key, group in mirror.port_groups.items()
            if group.mark is None and group.handed_back is not None and group.handed_back.owner == world.shard.owner
        }
        if not former:
            continue
        in_use = {port.port_group for port in mirror.ports.values() if port.connected}
        having = {mark.network for (at, _), mark in marks.items() if at == dvs}
        for key in sorted(former, key=lambda key: (key not in in_use, key)):
            mark = former[key]
            if key in in_use or (mark.network in world.intent.networks and mark.network not in having):
                having.add(mark.network)
                yield (dvs, key), mark


def _known_vnis(world: World, marks: Iterable[OwnerMark]) -> frozenset[Vni]:
    """Those of networks that we have, or had: a port group keeps its mark until every NVE has forgotten its VID."""
    had = (vni for mark in marks for vni in (mark.vni, *mark.was))
    return frozenset((*(network.vni for network in world.intent.networks.values()), *had))


def _ours_of(mirror: NveMirror, vnis: frozenset[Vni]) -> NveMirror:
    """An NVE whose entries do not say whose they are, less those of VNIs that we know nothing of: a stranger's."""
    entries = {key: entry for key, entry in mirror.entries.items() if entry.vni in vnis}
    ours = replace(mirror, entries=entries, rivals=tuple(rival for rival in mirror.rivals if rival.vni in vnis))
    strange = VidSet.of(entry.vid for entry in strangers(mirror, ours))
    return replace(ours, foreign_vids=mirror.foreign_vids | strange)


def strangers(mirror: NveMirror, ours: NveMirror) -> Iterator[LeafBinding]:
    """The bindings of an NVE that are not among `ours`."""
    theirs = [entry for key, entry in mirror.entries.items() if key not in ours.entries]
    for entry in (*theirs, *(rival for rival in mirror.rivals if rival not in ours.rivals)):
        if isinstance(entry, LeafBinding):
            yield entry


def _trunks(switches: Iterable[SwitchMirror]) -> Iterator[PortGroupState]:
    for mirror in switches:
        for group in mirror.port_groups.values():
            if isinstance(group.vlan, Trunk) and not group.is_uplink:
                yield group


def _presumed(
    design: Design,
    world: World,
    switches: Mapping[DvsId, SwitchMirror],
    nves: Mapping[TargetId, NveMirror],
) -> dict[tuple[DvsId, str], OwnerMark]:
    """Whose the port groups were that look like ours and carry no mark: as handed back, else as their name says.

    A name proves nothing.  It is only asked what a NIC may keep that its NVE serves already.  Where several networks
    have the name it is the one in which the NVEs serve NICs that are plugged in there.
    """
    if design.place is not PlaceKind.DV_PORT:
        return {}
    found: dict[tuple[DvsId, str], OwnerMark] = {}
    for dvs, mirror in switches.items():
        named: defaultdict[str, list[Network]] = defaultdict(list)
        for network in world.intent.networks.values():
            for name in names_of(network, switch_name(world, dvs)):
                named[name].append(network)
        for key, group in mirror.port_groups.items():
            if not has_lost_its_mark(group):
                continue
            candidates = named.get(group.name, [])
            if len(candidates) > 1:
                vnis = _vnis_in(world, mirror, key, nves)
                candidates = [network for network in candidates if network.vni in vnis]
            if group.handed_back is not None:
                if group.handed_back.owner == world.shard.owner:
                    found[dvs, key] = group.handed_back
            elif len(candidates) == 1:
                found[dvs, key] = OwnerMark(world.shard.owner, candidates[0].id, candidates[0].vni)
    return found


def _vnis_in(world: World, mirror: SwitchMirror, key: str, nves: Mapping[TargetId, NveMirror]) -> set[Vni]:
    """The VNIs in which the NVEs of this shard serve the NICs of a port group, with the VIDs that they wear."""
    found: set[Vni] = set()
    for port, vid in open_with_own_vids(mirror, key):
        nic = world.inventory.nics.get(port.nic) if port.nic is not None else None
        target = world.shard.nves.get(nic.host) if nic is not None and nic.host is not None else None
        nve = nves.get(target) if target is not None else None
        if nic is not None and nve is not None:
            found |= {e.vni for e in nve.entries.values() if e.vni is not None and serves(e, vid, nic)}
    return found


def open_with_own_vids(mirror: SwitchMirror, key: str) -> Iterator[tuple[DvPortState, Vid]]:
    """The ports of a port group that somebody opened and tagged one by one, as we do."""
    for port in mirror.ports.values():
        if port.port_group == key and not port.blocked and port.vlan_own and isinstance(port.vlan, Access):
            yield port, port.vlan.vid


def has_lost_its_mark(group: PortGroupState) -> bool:
    """It is as ours are whose ports are tagged one by one, but does not say so: it may have lost its mark."""
    closed = group.blocked and group.vlan == NoVlan() and group.vlan_override and group.block_override
    return closed and group.mark is None and not group.unjudged and not group.is_uplink


def names_of(network: Network, switch: str) -> set[str]:
    """What its port group on a switch of this name may be called: see `name_on`."""
    names = {network.name or network.id, f"{network.name} ({network.id})"}
    return names | {f"{name} ({switch})" for name in names}


def name_on(view: View, dvs: DvsId, network: Network) -> str:
    """Its name, and that of its switch where a folder has several of ours: vCenter knows a name but once there."""
    name = name_of(network, view.names)
    ours = [DvsId(target.name) for target in (*view.known, *view.unknown) if target.kind == "dvs"]
    here = _folder(view.world, dvs)
    beside = sum(_folder(view.world, other) == here for other in ours)
    return f"{name} ({switch_name(view.world, dvs)})" if beside > 1 else name


def switch_name(world: World, dvs: DvsId) -> str:
    """What a switch is called; its id, if that is not known."""
    switch = world.inventory.switches.get(dvs)
    return switch.name if switch is not None else dvs


def _folder(world: World, dvs: DvsId) -> str:
    switch = world.inventory.switches.get(dvs)
    return switch.folder if switch is not None else ""


def name_of(network: Network, names: Mapping[str, int]) -> str:
    """What people see: the network's name, with its id if another network has the same.  Never an identity."""
    if not network.name:
        return network.id
    return f"{network.name} ({network.id})" if names[network.name] > 1 else network.name


def _closed(design: Design, world: World, pool: VidPool) -> VidPool:
    """The pool less what must not leave the hosts: VIDs that uplinks carry, where the NVE is on the host."""
    if not design.nve.on_each_host:
        return pool
    reserved = pool.reserved
    for dvs in world.shard.switches:
        switch = world.inventory.switches.get(dvs)
        if switch is not None and switch.uplink_vids is not None:
            reserved = reserved | switch.uplink_vids
    return VidPool(pool.ranges, reserved, pool.reserved_in, pool.reuse)
