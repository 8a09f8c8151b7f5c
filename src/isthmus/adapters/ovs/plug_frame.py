"""The fixed frame of an appliance that runs the stock Neutron OVS agent: br-vds with the trunk NIC, beside its br-int.

br-vds is an ordinary switch without flows of ours: each VID is the trunk and one access port, so nothing is learnt or
flooded there between two ports.  Its own port is in a VLAN of its own: the appliance itself hears nothing.

Law: br-int is the agent's.  We neither make it nor alter it; only ports with our mark are touched there.
"""

from __future__ import annotations

from collections.abc import Iterator

from isthmus.adapters.ovs.bridges import (
    LOCAL,
    OWNER_KEY,
    SCHEMA,
    SCHEMA_KEY,
    AddBridge,
    AddPort,
    BridgeState,
    Correction,
    PortState,
    RemovePort,
    Set,
    Snapshot,
    check_ownership,
)
from isthmus.adapters.ovs.plugs import BR_INT, DEAD, strays
from isthmus.adapters.ovs.settings import BR_VDS, OvsSettings
from isthmus.model.faults import Refused


def corrections(snapshot: Snapshot, settings: OvsSettings) -> tuple[Correction, ...]:
    """What must be written for the frame to stand.  Raises Refused where something foreign is in the way."""
    check_ownership(snapshot, BR_VDS, settings)
    agents = snapshot.bridges.get(BR_INT)
    if agents is not None and agents.owner is not None:
        raise Refused(
            f"{BR_INT} was made by isthmus, for flows of its own: remove it and br-tun "
            f"(ovs-vsctl del-br {BR_INT}; ovs-vsctl del-br br-tun), and let neutron-openvswitch-agent make its own"
        )
    gone = tuple(RemovePort(state.bridge, state.name) for state in strays(snapshot, settings))
    return (*gone, *_bridge(snapshot, settings), *_trunk(snapshot, settings))


def faults(snapshot: Snapshot, settings: OvsSettings) -> tuple[str, ...]:
    """What others have not made of a frame that is written correctly, each with a remedy."""
    found = []
    local = snapshot.ports.get(BR_VDS)
    if local is None or local.number != LOCAL:
        why = local.error if local and local.error else "ovs-vswitchd has not made it"
        found.append(f"{BR_VDS}: {why}; is datapath type {settings.datapath_type!r} available on the appliance?")
    trunk = snapshot.ports.get(settings.trunk)
    if not works(trunk):
        why = trunk.error if trunk and trunk.error else "it has no port number yet"
        found.append(f"trunk interface {settings.trunk} of {BR_VDS}: {why}: does the appliance have this NIC?")
    if BR_INT not in snapshot.bridges:
        found.append(f"{BR_INT} is not there: start neutron-openvswitch-agent on the appliance, which makes it")
    return tuple(found)


def closing(snapshot: Snapshot, settings: OvsSettings) -> tuple[Correction, ...]:
    """What must be written so that no frame of a VM goes in or out: the trunk NIC comes off br-vds."""
    trunk = snapshot.ports.get(settings.trunk)
    ours = trunk is not None and trunk.owner == settings.owner and trunk.bridge == BR_VDS
    return (RemovePort(BR_VDS, settings.trunk),) if ours else ()


def trial(snapshot: Snapshot, settings: OvsSettings) -> tuple[Correction, ...]:
    """Adds a trunk that is to replace another, shut off, to see whether the appliance has it.  Two would be a loop."""
    others = [state for state in strays(snapshot, settings) if state.bridge == BR_VDS and state.type == ""]
    if not others or settings.trunk in snapshot.ports:
        return ()
    return (AddPort(BR_VDS, settings.trunk, _columns(settings)), Set("Port", settings.trunk, {"tag": DEAD}))


def works(state: PortState | None) -> bool:
    """ovs-vswitchd has the interface."""
    return state is not None and not state.error and (state.number or -1) > 0


def _bridge(snapshot: Snapshot, settings: OvsSettings) -> Iterator[Correction]:
    state = snapshot.bridges.get(BR_VDS)
    if state is None:
        yield AddBridge(BR_VDS, settings.datapath_type)
        state = BridgeState(BR_VDS, None, settings.datapath_type, "", frozenset())
    columns: dict[str, object] = {}
    if state.owner is None:
        columns["external_ids"] = {OWNER_KEY: settings.owner, SCHEMA_KEY: SCHEMA}
    if state.datapath_type != settings.datapath_type:
        columns["datapath_type"] = settings.datapath_type
    if state.fail_mode == "secure":  # without flows it would forward nothing
        columns["fail_mode"] = "standalone"
    if columns:
        yield Set("Bridge", BR_VDS, columns)
    local = snapshot.ports.get(BR_VDS)
    if local is None or local.tag != DEAD:
        yield Set("Port", BR_VDS, {"tag": DEAD})


def _trunk(snapshot: Snapshot, settings: OvsSettings) -> Iterator[Correction]:
    name, state = settings.trunk, snapshot.ports.get(settings.trunk)
    if state is None:
        yield AddPort(BR_VDS, name, _columns(settings))
    elif state.bridge != BR_VDS:
        raise Refused(
            f"interface {name} is in {state.bridge}, which is not ours: "
            f"take it out of there (ovs-vsctl del-port {state.bridge} {name}) or name another trunk"
        )
    elif state.owner != settings.owner:
        yield Set("Interface", name, _columns(settings))
    if state is None or (state.vlan_mode, state.tag) != ("trunk", None):
        yield Set("Port", name, {"vlan_mode": "trunk", "tag": []})


def _columns(settings: OvsSettings) -> dict[str, object]:
    return {"external_ids": {OWNER_KEY: settings.owner}}
