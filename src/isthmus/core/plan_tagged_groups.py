"""Make, mend and remove the port groups that carry the VID of their network, and have every NVE map it.

Law: as with ports, a tagged port group is there before any NVE learns its VID, and goes only after all have forgotten
it and nothing is plugged in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from isthmus.core.allocate import Allocation
from isthmus.core.claims import group_of, held_port, subject_at, wanted_group
from isthmus.core.draft import Draft
from isthmus.core.plan_nves import About, NveDiff, compare, forget, learn
from isthmus.core.port_groups import drift, give_vnis_away, mark_for, networks, remove_group, vni_is_taken
from isthmus.core.realize import Live, realize
from isthmus.core.segments import Whereabouts
from isthmus.core.view import View, name_on, standard_switch_target, switch_target
from isthmus.core.worn import carried_by
from isthmus.model.change import (
    AddHostPortGroup,
    AlterHostPortGroup,
    AlterPortGroup,
    CreatePortGroup,
    Gate,
    PortGroupSpec,
    RemoveHostPortGroup,
    SetDvPort,
)
from isthmus.model.intent import Network
from isthmus.model.names import DvsId, HostId, NetworkId
from isthmus.model.observed import Access, DvPortState, StandardSwitchMirror, TargetId
from isthmus.model.place import DvPortGroup, HostPortGroup, PlaceKind
from isthmus.model.scope import NetworkSubject, Subject
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True)
class _Tagged:
    """A port group that carries a VID: where it is, for whom, what it wears, whether it must stay."""

    place: DvPortGroup | HostPortGroup
    network: Network
    vid: Vid | None
    leaving: bool
    in_use: bool


@dataclass(frozen=True, slots=True)
class _Unwanted:
    """What an NVE forgets of a network that nobody wants goes with its port groups, or waits with them for a word.

    Machines that are no VMs may be in it.  A VID that is another's by now is no such thing: it is forgotten at once.
    """

    wanted: frozenset[Vni]
    """The VNIs that some network of the intent has, or had."""
    owners: Mapping[Vid, Subject]
    handed_back: frozenset[tuple[Vid, Vni]]

    @classmethod
    def of(cls, view: View, allocation: Allocation) -> _Unwanted:
        networks = view.world.intent.networks
        had = (vni for mark in view.marks.values() if mark.network in networks for vni in (mark.vni, *mark.was))
        return cls(
            frozenset((*(network.vni for network in networks.values()), *had)),
            {vid: owner for (domain, vid), owner in allocation.owners.items() if domain == view.shard.scope},
            frozenset(
                (group.vlan.vid, group.handed_back.vni)
                for dvs in view.shard.switches
                if dvs in view.switches
                for group in view.switches[dvs].port_groups.values()
                if group.handed_back is not None and isinstance(group.vlan, Access)
            ),
        )

    def holds(self, subject: About, vids: Collection[Vid]) -> bool:
        """Whether the guard may hold this back."""
        if not isinstance(subject, NetworkSubject) or subject.vni in self.wanted:
            return False
        return all(self.owners.get(vid, subject) == subject or (vid, subject.vni) in self.handed_back for vid in vids)


def plan_tagged_groups(view: View, allocation: Allocation, draft: Draft) -> None:
    """Port groups with the VID of their network, and the mapping of those VIDs at every NVE of the scope."""
    where = view.whereabouts()
    groups = list(_tagged(view))
    live = live_groups(view, allocation)
    diffs = [compare_nve(view, where, place, live, draft) for place in sorted(view.shard.nves)]
    known = _all_read(view)
    _write_groups(view, allocation, draft)
    _write_ports(view, draft)
    guarded = _Unwanted.of(view, allocation)
    for diff in diffs:
        learn(diff, draft)
        if known:
            forget(view, diff, {}, draft, guarded.holds)
    if known:
        _remove_groups(view, groups, diffs, draft)
        _remove_strays(view, diffs, draft)


def live_groups(view: View, allocation: Allocation) -> list[Live]:
    """The VIDs that the NVEs of the scope should know: of port groups that stay, or are still plugged in.

    A VID that is somebody else's at some NVE, and that cannot be changed for another, goes on meaning its network at
    the others.
    """
    return [
        Live(group.network, group.vid)
        for group in _tagged(view)
        if group.vid is not None
        and (not group.leaving or group.in_use)
        and (
            _is_its_own(view, allocation, NetworkSubject(group.network.vni), group.vid)
            or (not _is_given(view, allocation, group) and _is_its_own_elsewhere(view, allocation, group))
        )
    ]


def compare_nve(view: View, where: Whereabouts, place: str, live: list[Live], draft: Draft) -> NveDiff:
    """Compare the NVE of a host or leaf with what it should hold, given the VIDs that are live in the scope."""
    target = view.shard.nves[place]
    if target not in view.known | view.passing:
        draft.cannot(target, f"unknown: {view.unknown.get(target, 'never read')}")
    live = [item for item in live if _given(view, target, item, draft)]
    here = [*live, *_nics_behind(view, where, place, live)] if view.design.nve.on_each_host else live
    return compare(view, target, realize(view, where, place, here), draft)


def _given(view: View, target: TargetId, item: Live, draft: Draft) -> bool:
    """Whether the VID was given to the network: another hand may have put its port group into a VLAN of its own.

    What an NVE maps already was given, though the pool may have changed since.  Not where it is somebody else's.
    """
    scope, network = view.shard.scope, item.network
    mirror = view.nves.get(target)
    if mirror is not None and item.vid in mirror.foreign_vids:
        return False  # the allocation says so
    offered = view.pool.offers(scope, item.vid) or (scope is not None and network.assigned.get(scope) == item.vid)
    if offered or (item.vid, NetworkSubject(network.vni)) in view.maps.get(target, ()):
        return True
    reason = f"its port group has VID {item.vid}, which isthmus does not give out: mapped nowhere until it is put right"
    draft.cannot(f"network {network.id}", reason)
    return False


def _nics_behind(view: View, where: Whereabouts, place: str, live: list[Live]) -> Iterator[Live]:
    """On an appliance, the NICs of its host and those announced for it, each behind its network's VID."""
    vids = {item.network.id: item.vid for item in live}
    host = HostId(place)
    for attachment in (*view.attachments.by_host.get(host, ()), *where.arriving(host)):
        vid = vids.get(attachment.network.id)
        if vid is not None and attachment.live:
            yield Live(attachment.network, vid, attachment, expected=attachment.nic.host != host)


def _all_read(view: View) -> bool:
    if view.design.place is PlaceKind.HOST_PORT_GROUP:
        return bool(view.standard) and set(view.standard) <= view.known
    return all(switch_target(dvs) in view.known for dvs in view.shard.switches)


def _is_its_own(view: View, allocation: Allocation, subject: NetworkSubject, vid: Vid) -> bool:
    scope = view.shard.scope
    return scope is not None and allocation.owners.get((scope, vid)) == subject


def _is_given(view: View, allocation: Allocation, group: _Tagged) -> bool:
    """Its network has a VID now, on whatever switch, and another port group of it: a leaf has one VID for it."""
    dvses = (dvs for dvs in view.shard.switches if dvs in view.switches)
    places = (group.place, *(wanted_group(view, dvs, group.network) for dvs in dvses))
    return any(place in allocation.bindings for place in places)


def _is_its_own_elsewhere(view: View, allocation: Allocation, group: _Tagged) -> bool:
    """It would be the network's but for what NVEs have for somebody else."""
    scope, vid = view.shard.scope, group.vid
    if scope is None or vid is None:
        return False
    return allocation.but_for_nves.get((scope, vid)) == NetworkSubject(group.network.vni)


def _tagged(view: View) -> Iterator[_Tagged]:
    """Every tagged port group of ours in the scope."""
    in_use = {(dvs, port.port_group) for dvs in view.shard.switches for port in _connected(view, dvs)}
    for (dvs, key), mark in sorted(view.marks.items()):
        mirror = view.switches.get(dvs) if dvs in view.shard.switches else None
        state = mirror.port_groups.get(key) if mirror else None
        if mirror is None or state is None:
            continue
        network = view.world.intent.networks.get(mark.network)
        leaving = network is None or group_of(view, dvs, network) != key
        kept = Network(mark.network, mark.vni) if network is None else replace(network, vni=mark.vni)
        vid = state.vlan.vid if isinstance(state.vlan, Access) else None  # None: by hand
        yield _Tagged(DvPortGroup(dvs, key), kept, vid, leaving, (dvs, key) in in_use)
    for switch in view.standard.values():
        for name, group in sorted(switch.port_groups.items()) if switch.ours else ():
            if not isinstance(group.vlan, Access):
                continue
            wanted = view.world.intent.networks.get(NetworkId(name))
            carried = carried_by(view, name, group.vlan.vid)
            if carried is not None:
                place = HostPortGroup(switch.host, switch.vswitch, name)
                yield _Tagged(place, carried, group.vlan.vid, wanted is None, group.in_use > 0)


def _connected(view: View, dvs: DvsId) -> Iterator[DvPortState]:
    mirror = view.switches.get(dvs)
    return (port for port in mirror.ports.values() if port.connected) if mirror is not None else iter(())


def _write_groups(view: View, allocation: Allocation, draft: Draft) -> None:
    for network in networks(view):
        for dvs in view.shard.switches:
            if switch_target(dvs) in view.known:
                _write_group(view, allocation, dvs, network, draft)
        for target, switch in view.standard.items():
            if target in view.known and switch.ours:
                _write_host_group(allocation, target, switch, network, draft)


def _write_group(view: View, allocation: Allocation, dvs: DvsId, network: Network, draft: Draft) -> None:
    place = wanted_group(view, dvs, network)
    vid = allocation.bindings.get(place)
    if vid is None:
        return  # the allocation says why
    key = group_of(view, dvs, network)
    mark = mark_for(view, dvs, key, network, draft)
    spec = PortGroupSpec(name_on(view, dvs, network), mark, vid, view.shard.security)
    if key is None and vni_is_taken(view, network, draft):
        return
    if key is None:
        draft.add(switch_target(dvs), CreatePortGroup(dvs, spec), f"network {network.id} has VID {vid} here")
        return
    state = view.switches[dvs].port_groups[key]
    wrong = drift(state, spec)
    if not wrong:
        give_vnis_away(view, dvs, key, spec, draft)
    else:
        action = AlterPortGroup(dvs, key, state.version, spec)
        # Off a VID that is another's it must at once; to leave its own for a better one can wait for an operator.
        worn = state.vlan.vid if isinstance(state.vlan, Access) else vid
        retag = worn != vid and _is_its_own(view, allocation, subject_at(view, dvs, network), worn)
        reason = f"port group of {network.id}, VID {vid}: {', '.join(wrong)}"
        draft.add(switch_target(dvs), action, reason, guarded=retag)


def _write_ports(view: View, draft: Draft) -> None:
    """A port in a tagged port group of ours has no settings of its own, but that it is closed while it is disabled.

    That of a NIC whose own port is elsewhere is left as it is: what is closed is not opened for it.
    """
    for dvs in view.shard.switches:
        if switch_target(dvs) not in view.known:
            continue
        mirror = view.switches[dvs]
        for state in mirror.ports.values():
            if state.conflict or (dvs, state.port_group) not in view.marks or state.nic in view.attachments.elsewhere:
                continue
            group = mirror.port_groups[state.port_group]
            if group.mark is None:
                continue  # it is taken up again first
            attachment = view.attachments.by_nic.get(state.nic) if state.nic is not None else None
            if attachment is not None and attachment.disabled and held_port(view, attachment) is state:
                if group.block_override and (state.vlan_own or not state.blocked):
                    write = SetDvPort(dvs, state.key, state.cookie, state.version, Gate.CLOSE, None, state.host)
                    draft.add(switch_target(dvs), write, f"{attachment.port} is administratively down")
            elif state.vlan_own or state.blocked_own:
                write = SetDvPort(dvs, state.key, state.cookie, state.version, Gate.BARE, None, state.host)
                draft.add(switch_target(dvs), write, "the port group's VLAN holds for all its ports")


def _write_host_group(
    allocation: Allocation, target: TargetId, switch: StandardSwitchMirror, network: Network, draft: Draft
) -> None:
    vid = allocation.bindings.get(HostPortGroup(switch.host, switch.vswitch, network.id))
    if vid is None:
        return
    state = switch.port_groups.get(network.id)
    if state is None:
        action = AddHostPortGroup(switch.host, switch.vswitch, network.id, vid)
        draft.add(target, action, f"network {network.id} has VID {vid} on this host")
    elif state.vlan != Access(vid):
        mend = AlterHostPortGroup(switch.host, switch.vswitch, network.id, vid)
        draft.add(target, mend, f"network {network.id} has VID {vid} on this host, not {state.vlan}")


def _remove_groups(view: View, groups: list[_Tagged], diffs: list[NveDiff], draft: Draft) -> None:
    """Remove what is unwanted and unused, once every NVE has forgotten it."""
    for group in groups:
        if not group.leaving:
            continue
        subject = NetworkSubject(group.network.vni)
        if not group.in_use and not all(diff.ready for diff in diffs):
            if not all(diff.ready or diff.target in view.passing for diff in diffs):
                draft.cannot(group.place, "it is not wanted, but an NVE that may still map its VID cannot be asked")
            continue
        after = tuple(diff.forgotten[subject] for diff in diffs if subject in diff.forgotten)
        match group.place:
            case DvPortGroup(dvs, key):
                remove_group(view, dvs, key, after, draft)
            case HostPortGroup(host, vswitch, name):
                _remove_host_group(view, RemoveHostPortGroup(host, vswitch, name), group.in_use, after, draft)


def _remove_strays(view: View, diffs: list[NveDiff], draft: Draft) -> None:
    """Remove standard port groups that neither intent nor NVE knows: it is the switch that marks them as ours."""
    if not all(diff.ready for diff in diffs):
        return
    for switch in view.standard.values():
        for name, group in sorted(switch.port_groups.items()) if switch.ours else ():
            if isinstance(group.vlan, Access) and carried_by(view, name, group.vlan.vid) is None:
                action = RemoveHostPortGroup(switch.host, switch.vswitch, name)
                _remove_host_group(view, action, group.in_use > 0, (), draft)


def _remove_host_group(
    view: View, action: RemoveHostPortGroup, in_use: bool, after: tuple[int, ...], draft: Draft
) -> None:
    if in_use:
        draft.cannot(action.name, "its network is not wanted, but NICs use it")
    elif not view.world.intent.fresh:
        draft.cannot(action.name, "not wanted any more, but the intent is only remembered")
    else:
        target = standard_switch_target(action.host, action.vswitch)
        draft.add(target, action, f"network {action.name} is not wanted", after, guarded=True)
