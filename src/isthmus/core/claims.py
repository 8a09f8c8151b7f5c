"""What needs a tag: in each design, one claim per place that should carry traffic."""

from __future__ import annotations

from collections.abc import Iterator

from isthmus.core.allocate import Claim
from isthmus.core.attach import Attachment
from isthmus.core.view import View
from isthmus.model.intent import Network
from isthmus.model.names import DvsId
from isthmus.model.observed import DvPortState, OwnerMark, SwitchMirror
from isthmus.model.place import DvPortGroup, HostPortGroup, PlaceKind
from isthmus.model.scope import Domain, HostScope, NetworkSubject, PortSubject, Subject


def claims(view: View) -> list[Claim]:
    """All claims of this shard, in a stable order."""
    match view.design.place:
        case PlaceKind.DV_PORT:
            found = _of_dv_ports(view)
        case PlaceKind.DV_PORT_GROUP:
            found = _of_port_groups(view)
        case PlaceKind.HOST_PORT_GROUP:
            found = _of_host_port_groups(view)
    return list(found)


def group_of(view: View, dvs: DvsId, network: Network) -> str | None:
    """The key of the port group of ours that carries `network` on a switch: the busiest if there are several."""
    keys = view.groups.get((dvs, network.id), ())
    if len(keys) > 1:
        mirror = view.switches[dvs]
        return min(keys, key=lambda key: (-plugged_in(mirror, key), key))
    return keys[0] if keys else None


def subject_at(view: View, dvs: DvsId, network: Network) -> NetworkSubject:
    """The network as its port group on a switch is marked: a changed VNI counts from when the mark says so."""
    key = group_of(view, dvs, network)
    return NetworkSubject(network.vni if key is None else view.marks[dvs, key].vni)


def vni_holder(view: View, network: Network) -> OwnerMark | None:
    """The mark of another network that has this one's VNI, or had it: until it is gone the two would be one."""
    held = [mark for mark in (*view.marks.values(), *_handed_back_in_use(view)) if mark.network != network.id]
    return next((mark for mark in held if network.vni in (mark.vni, *mark.was)), None)


def _handed_back_in_use(view: View) -> Iterator[OwnerMark]:
    """What was released and not taken up again works on as it was, as long as NICs are plugged in."""
    for mirror in view.switches.values():
        for key, group in mirror.port_groups.items():
            mark = group.handed_back
            if mark is not None and mark.owner == view.shard.owner and plugged_in(mirror, key):
                yield mark


def plugged_in(mirror: SwitchMirror, key: str) -> int:
    """How many connected ports a port group has."""
    return sum(1 for port in mirror.ports.values() if port.port_group == key and port.connected)


IN_CONFLICT = (
    "vCenter holds it in conflict with another port, so that nobody can write it: "
    "power the VM off and on, or plug the NIC into another port group and back"
)
"""A host makes such a port, without any settings of its own, while it cannot ask vCenter for one."""


def port_state(view: View, attachment: Attachment) -> DvPortState | None:
    """The DV port an attachment holds, if vCenter agrees that it is this NIC's, and it can be written."""
    state = held_port(view, attachment)
    return None if state is None or state.conflict else state


def held_port(view: View, attachment: Attachment) -> DvPortState | None:
    """The DV port an attachment holds, if vCenter agrees that it is this NIC's."""
    nic = attachment.nic
    if nic.dvs is None or nic.port_key is None or nic.dvs not in view.switches:
        return None
    state = view.switches[nic.dvs].ports.get(nic.port_key)
    return state if state is not None and state.nic == nic.id and state.cookie == nic.cookie else None


def _of_dv_ports(view: View) -> Iterator[Claim]:
    destinations: dict[str, set[HostScope]] = {}
    for host in sorted(view.shard.hosts):
        if host not in view.shard.nves:
            continue
        scopes = {dvs: HostScope(host, dvs) for dvs in view.shard.switches}
        domains: dict[DvsId, Domain] = {dvs: view.domain(dvs, host) for dvs in scopes}
        for attachment in view.attachments.by_host.get(host, ()):
            place = attachment.place
            if attachment.presumed or not attachment.live or place is None or place.dvs not in scopes:
                continue
            if port_state(view, attachment) is None:
                continue
            scope, announced = scopes[place.dvs], set[HostScope]()
            if view.pool.reuse:  # where it is announced its VID must be free as well
                if not destinations:
                    destinations = _destinations(view, place.dvs)
                announced = destinations.get(attachment.nic.id.vm, set()) - {scope}
            assigned = attachment.network.assigned
            yield Claim(
                place,
                scope,
                _subject(view, attachment),
                (domains[place.dvs], *sorted(announced)),
                assigned.get(scope) if assigned else None,
            )


def _destinations(view: View, dvs: DvsId) -> dict[str, set[HostScope]]:
    found: dict[str, set[HostScope]] = {}
    for move in view.world.inventory.moves:
        found.setdefault(move.vm, set()).add(HostScope(move.to, dvs))
    return found


def _subject(view: View, attachment: Attachment) -> Subject:
    if view.design.nve.knows_ports:
        return PortSubject(attachment.port)
    return NetworkSubject(attachment.network.vni)


def wanted_group(view: View, dvs: DvsId, network: Network) -> DvPortGroup:
    """The place of a network on a switch; one that is yet to be made has a key no server gives."""
    return DvPortGroup(dvs, group_of(view, dvs, network) or f"?{network.id}")


def _of_port_groups(view: View) -> Iterator[Claim]:
    scope = view.shard.scope
    if scope is None:
        return
    for network in sorted(view.world.intent.networks.values(), key=lambda n: n.id):
        for dvs in view.shard.switches:
            if dvs in view.switches:
                place = wanted_group(view, dvs, network)
                subject = subject_at(view, dvs, network)
                yield Claim(place, scope, subject, (scope,), network.assigned.get(scope))


def _of_host_port_groups(view: View) -> Iterator[Claim]:
    scope = view.shard.scope
    if not isinstance(scope, HostScope):
        return
    for network in sorted(view.world.intent.networks.values(), key=lambda n: n.id):
        place = HostPortGroup(scope.host, scope.switch, network.id)
        yield Claim(place, scope, NetworkSubject(network.vni), (scope,), network.assigned.get(scope))
