"""Make, mend and remove the closed port groups without a VID, whose ports are tagged one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from isthmus.core.claims import group_of, plugged_in
from isthmus.core.draft import Draft
from isthmus.core.port_groups import (
    changed_by_hand,
    drift,
    give_vnis_away,
    mark_for,
    networks,
    remove_group,
    vni_is_taken,
)
from isthmus.core.view import (
    View,
    has_lost_its_mark,
    name_on,
    names_of,
    open_with_own_vids,
    switch_name,
    switch_target,
)
from isthmus.model.change import AlterPortGroup, CreatePortGroup, Gate, Hand, PortGroupSpec, SetDvPort
from isthmus.model.intent import Network
from isthmus.model.names import DvsId
from isthmus.model.observed import PortGroupState


def plan_gated_groups(view: View, draft: Draft) -> None:
    """One closed port group without a VID per network and switch; leftovers of ports that nobody holds are bared."""
    for dvs in view.shard.switches:
        target = switch_target(dvs)
        if target not in view.known:
            draft.cannot(target, f"unknown: {view.unknown.get(target, 'never read')}")
            continue
        lost = _lost(view, dvs)
        for network in networks(view):
            key = group_of(view, dvs, network)
            mark = mark_for(view, dvs, key, network, draft)
            spec = PortGroupSpec(name_on(view, dvs, network), mark, security=view.shard.security)
            if key is None and vni_is_taken(view, network, draft):
                continue
            former = _handed_back(view, dvs, network) if key is None else None
            if former is not None and former.handed_back is not None:  # a changed VNI is corrected in the next pass
                again = PortGroupSpec(former.name, former.handed_back, security=view.shard.security)
                reason = f"network {network.id} has this port group, which was handed back"
                draft.add(target, AlterPortGroup(dvs, former.key, former.version, again), reason)
            elif key is None and (own := _own_without_mark(view, dvs, network, lost)) is not None:
                reason = (
                    f"waits: port group {own.key} is called like it, has open ports and carries no mark of ours any "
                    "more: put its description back, or give it another name, which cuts off what is plugged in"
                )
                draft.cannot(f"network {network.id}", reason)
            elif key is None:
                draft.add(target, CreatePortGroup(dvs, spec), f"network {network.id} has no port group here")
            else:
                _mend(view, dvs, key, spec, draft)
        for key in _unwanted(view, dvs):
            if plugged_in(view.switches[dvs], key):  # until they have left, its ports must close when bared
                name = view.switches[dvs].port_groups[key].name
                _mend(view, dvs, key, PortGroupSpec(name, view.marks[dvs, key], security=view.shard.security), draft)
            remove_group(view, dvs, key, (), draft)
        for state in view.switches[dvs].ports.values():
            if state.connected or state.conflict or (dvs, state.port_group) not in view.marks:
                continue
            if state.vlan_own or state.blocked_own:
                write = SetDvPort(dvs, state.key, state.cookie, state.version, Gate.BARE, None)
                draft.add(target, write, "nobody holds this port any more")


def _handed_back(view: View, dvs: DvsId, network: Network) -> PortGroupState | None:
    """The port group that was this network's until it was handed back: the busiest, if there are several."""
    mirror = view.switches[dvs]
    former = [
        group
        for group in mirror.port_groups.values()
        if group.mark is None
        and (was := group.handed_back) is not None
        and (was.owner, was.network) == (view.shard.owner, network.id)
    ]
    return min(former, key=lambda group: (-plugged_in(mirror, group.key), group.key), default=None)


def _lost(view: View, dvs: DvsId) -> dict[str, PortGroupState]:
    """By name, the port groups that may be of a network without saying so, and have NICs that use it."""
    mirror = view.switches[dvs]
    return {
        group.name: group
        for key, group in mirror.port_groups.items()
        if has_lost_its_mark(group) and group.handed_back is None and any(open_with_own_vids(mirror, key))
    }


def _own_without_mark(
    view: View, dvs: DvsId, network: Network, lost: Mapping[str, PortGroupState]
) -> PortGroupState | None:
    """The port group among `lost` that may be this network's: beside a second one its NICs would be cut off."""
    for name in names_of(network, switch_name(view.world, dvs)) & lost.keys():
        presumed = view.presumed.get((dvs, lost[name].key))
        if presumed is None or presumed.network == network.id:
            return lost[name]
    return None


def _unwanted(view: View, dvs: DvsId) -> Iterator[str]:
    """Our port groups on a switch that carry no wanted network, or a second one of the same."""
    for (switch, key), mark in sorted(view.marks.items()):
        if switch != dvs or key not in view.switches[dvs].port_groups:
            continue
        network = view.world.intent.networks.get(mark.network)
        if network is None or group_of(view, dvs, network) != key:
            yield key


def _mend(view: View, dvs: DvsId, key: str, spec: PortGroupSpec, draft: Draft) -> None:
    state = view.switches[dvs].port_groups[key]
    wrong = drift(state, spec)
    if wrong:
        action = AlterPortGroup(dvs, key, state.version, spec)
        reason = f"port group of {spec.mark.network}: {', '.join(wrong)}"
        undoes = Hand.PORT_GROUP if changed_by_hand(state, spec) else None
        draft.add(switch_target(dvs), action, reason, undoes=undoes)
    else:
        give_vnis_away(view, dvs, key, spec, draft)
