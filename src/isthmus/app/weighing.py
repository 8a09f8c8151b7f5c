"""What a change does to those who are open, judged by what was observed: how urgent it is, and what it stands on."""

from __future__ import annotations

from isthmus.model.change import (
    AlterPortGroup,
    Change,
    CreatePortGroup,
    DisownPortGroup,
    Forget,
    Gate,
    RemovePortGroup,
    SetDvPort,
)
from isthmus.model.intent import Intent
from isthmus.model.nve import Plug, Workload
from isthmus.model.observed import Access, NoVlan, Observed, SwitchMirror


def ends_harm(change: Change, observed: Observed) -> bool:
    """It closes or retags what is open: who speaks there may be heard by the wrong ones until then."""
    match observed.targets.get(change.target), change.action:
        case SwitchMirror(ports=ports), SetDvPort(key=key) if key in ports:
            return not ports[key].blocked
        case SwitchMirror(port_groups=groups), AlterPortGroup(key=key, spec=spec) if key in groups:
            vlan = NoVlan() if spec.vid is None else Access(spec.vid)
            return not groups[key].blocked and groups[key].vlan != vlan
    return False


def claims(change: Change) -> bool:
    """A tag is given that a rival may have given meanwhile."""
    return isinstance(change.action, SetDvPort) and change.action.gate is Gate.CLAIM


def opens_on_trust(change: Change, observed: Observed) -> bool:
    """Something opens with a tag that may be another's by now, so whatever else wears it must have been seen.

    A closed port may wear the claim of a process that is gone; an open one, or a port group, is not claimed first.
    """
    mirror, action = observed.targets[change.target], change.action
    match action:
        case SetDvPort(gate=Gate.OPEN) if isinstance(mirror, SwitchMirror) and action.key in mirror.ports:
            port = mirror.ports[action.key]
            wears_it = isinstance(port.vlan, Access) and port.vlan.vid == action.vid
            return wears_it if port.blocked else not wears_it
        case CreatePortGroup() | AlterPortGroup():
            return action.spec.vid is not None
    return False


def goes_unnamed(change: Change, intent: Intent, observed: Observed) -> bool:
    """It takes away what the intent does not name: a source that tells of changes may have told of it late."""
    mirror, action = observed.targets.get(change.target), change.action
    match action:
        case RemovePortGroup() | DisownPortGroup():
            return action.mark.network not in intent.networks
        case SetDvPort() if isinstance(mirror, SwitchMirror) and action.key in mirror.ports:
            port = mirror.ports[action.key]
            mark = mirror.port_groups[port.port_group].mark
            network = intent.networks.get(mark.network) if mark is not None else None
            return action.gate is not Gate.OPEN and not port.blocked and (network is None or network.ports_listed)
        case Forget(entries):
            return any(isinstance(entry, Plug | Workload) and _is_unnamed(entry, intent) for entry in entries)
    return False


def _is_unnamed(entry: Plug | Workload, intent: Intent) -> bool:
    network = intent.networks.get(entry.network)
    return network is None or (network.ports_listed and entry.port not in intent.ports)
