"""What stands between a leaf as it is and as configured, and what it tells of its health.  Law: only reads."""

from __future__ import annotations

from collections.abc import Iterator

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.adapters.leaf.hwvtep.mirror import our_vnis, the_switch
from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings
from isthmus.adapters.leaf.hwvtep.snapshot import PhysicalSwitch, Snapshot
from isthmus.adapters.leaf.hwvtep.steps import bound_elsewhere
from isthmus.model.faults import Refused


def findings(snapshot: Snapshot, settings: HwvtepSettings) -> tuple[LeafFinding, ...]:
    """All there is to say; nothing of a leaf that is as configured and well."""
    try:
        switch = the_switch(snapshot, settings)
    except Refused as fault:
        return (LeafFinding(str(fault), is_problem=True),)
    return (*_faults(switch, settings), *_elsewhere(snapshot, settings))


def warnings(snapshot: Snapshot, settings: HwvtepSettings) -> tuple[str, ...]:
    """What the switch tells of its health, and who is let into our networks.  Raises Refused if it is another one."""
    found = (*_faults(the_switch(snapshot, settings), settings), *_elsewhere(snapshot, settings))
    return tuple(finding.what for finding in found)


def _faults(switch: PhysicalSwitch, settings: HwvtepSettings) -> Iterator[LeafFinding]:
    for fault in sorted(switch.faults):
        yield LeafFinding(f"switch {switch.name} reports {fault}", "see the switch's log", is_problem=True)
    for port in settings.ports:
        for fault in sorted(switch.ports[port].faults):
            what = f"port {port} of switch {switch.name} reports {fault}"
            yield LeafFinding(what, "see the switch's log", is_problem=True)
    for tunnel in sorted(switch.tunnels, key=lambda tunnel: tunnel.vtep):
        if tunnel.down:
            why = f" ({tunnel.diagnostic})" if tunnel.diagnostic else ""
            what = f"switch {switch.name} finds its tunnel to {tunnel.vtep} {tunnel.state or 'without a state'}{why}"
            yield LeafFinding(what, "see the underlay between the two, and BFD at the other end", is_problem=True)


def _elsewhere(snapshot: Snapshot, settings: HwvtepSettings) -> Iterator[LeafFinding]:
    for name in sorted(our_vnis(snapshot, settings)):
        for where in bound_elsewhere(snapshot, settings, name):
            yield LeafFinding(f"{where} is bound to our {name} by another hand", "unbind it there")
