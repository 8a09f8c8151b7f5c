"""The fixed frame of an appliance: what br-int and br-tun must be, and the corrections that make them so.

    trunk NIC [1] br-int [2] <--- patch ---> [2] br-tun [3] one VXLAN port, every VTEP and VNI set by flows

Law: only what carries our mark is altered or removed, and a port that works never for one that was not seen to work.
When everything is right there is no correction, so no write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from isthmus.adapters.ovs.numbers import PORT_NUMBERS
from isthmus.adapters.ovs.settings import PATCH_INT, PATCH_TUN, VXLAN, OvsSettings
from isthmus.model.faults import Refused
from isthmus.model.flow import Bridge, FlowPort

OWNER_KEY, SCHEMA_KEY, SCHEMA = "isthmus-owner", "isthmus-schema", "1"
PROTOCOLS = frozenset({"OpenFlow13", "OpenFlow14", "OpenFlow15"})
LOCAL = 65534
"""The number of a bridge's own internal port (OFPP_LOCAL); -1 or none if ovs-vswitchd could not make the bridge."""


@dataclass(frozen=True, slots=True)
class PortState:
    """A port, with the interface it consists of, as OVSDB holds it."""

    bridge: str
    name: str
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    owner: str | None = None
    wanted_number: int | None = None
    number: int | None = None
    error: str = ""
    tag: int | None = None
    """The VID of an access port, or the native one of a trunk."""
    vlan_mode: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BridgeState:
    """A bridge as OVSDB holds it."""

    name: str
    owner: str | None
    datapath_type: str
    fail_mode: str
    protocols: frozenset[str]
    listeners: frozenset[str] = frozenset()
    controlled: bool = False
    """An OpenFlow controller that it was told to call is on the line."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All bridges and ports of an appliance at one moment."""

    bridges: Mapping[str, BridgeState]
    ports: Mapping[str, PortState]


@dataclass(frozen=True, slots=True)
class AddBridge:
    """Make an empty bridge."""

    name: str
    datapath_type: str


@dataclass(frozen=True, slots=True)
class AddPort:
    """Add a port of one interface."""

    bridge: str
    name: str
    columns: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RemovePort:
    """Take a port out of a bridge."""

    bridge: str
    name: str


@dataclass(frozen=True, slots=True)
class Set:
    """Write columns of a row; of a map column, only the keys given."""

    table: str
    row: str
    columns: Mapping[str, object]


Correction: TypeAlias = AddBridge | AddPort | RemovePort | Set


@dataclass(frozen=True, slots=True)
class WantedPort:
    """A port of the frame."""

    bridge: Bridge
    role: FlowPort
    name: str
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def ports(settings: OvsSettings) -> tuple[WantedPort, ...]:
    """The ports of the frame."""
    tunnel = {
        "key": "flow", "remote_ip": "flow", "local_ip": settings.vtep, "dst_port": str(settings.vxlan_port),
    }  # fmt: skip
    return (
        WantedPort(Bridge.INT, FlowPort.TRUNK, settings.trunk),
        WantedPort(Bridge.INT, FlowPort.PATCH, PATCH_TUN, "patch", {"peer": PATCH_INT}),
        WantedPort(Bridge.TUN, FlowPort.PATCH, PATCH_INT, "patch", {"peer": PATCH_TUN}),
        WantedPort(Bridge.TUN, FlowPort.VXLAN, VXLAN, "vxlan", tunnel),
    )


def is_ours(snapshot: Snapshot, bridge: Bridge, settings: OvsSettings) -> bool:
    """The bridge is there and carries our mark."""
    state = snapshot.bridges.get(bridge.value)
    return state is not None and state.owner == settings.owner


def corrections(snapshot: Snapshot, settings: OvsSettings) -> tuple[Correction, ...]:
    """What must be written for the frame to stand.  Raises Refused where something foreign is in the way."""
    wanted = ports(settings)
    for bridge in Bridge:
        check_ownership(snapshot, bridge.value, settings)
    return (
        *_leftovers(snapshot, wanted, settings),
        *(step for bridge in Bridge for step in _bridge(snapshot, bridge, settings)),
        *(step for port in wanted for step in _port(snapshot, port, settings)),
    )


def closing(snapshot: Snapshot, settings: OvsSettings) -> tuple[Correction, ...]:
    """What must be written so that no frame of a VM goes in or out: the trunk NIC comes off br-int, if we put it on."""
    trunks = (snapshot.ports.get(port.name) for port in ports(settings) if port.role is FlowPort.TRUNK)
    return tuple(RemovePort(port.bridge, port.name) for port in trunks if port and port.owner == settings.owner)


def faults(snapshot: Snapshot, settings: OvsSettings) -> tuple[str, ...]:
    """What ovs-vswitchd has not made of a frame that is written correctly, each with the interface and a remedy."""
    found = []
    for bridge in Bridge:
        local = snapshot.ports.get(bridge.value)
        if local is None or local.number != LOCAL:
            why = local.error if local and local.error else "ovs-vswitchd has not made it"
            found.append(
                f"{bridge.value}: {why}; is datapath type {settings.datapath_type!r} available on the appliance?"
            )
    for port in ports(settings):
        state = snapshot.ports.get(port.name)
        if state is None or state.number != PORT_NUMBERS[port.role]:
            found.append(_fault(port, state))
    return tuple(found)


def unproven(snapshot: Snapshot, settings: OvsSettings) -> tuple[WantedPort, ...]:
    """Ports of which it is not known that the appliance can have them, and that would replace one of ours."""
    return tuple(
        port
        for port in ports(settings)
        if _predecessors(snapshot, port, settings) and not _works(snapshot.ports.get(port.name))
    )


def trials(snapshot: Snapshot, settings: OvsSettings) -> tuple[AddPort, ...]:
    """Adds the unproven ones beside what they are to replace, with whatever number is free: no flow names it."""
    return tuple(
        AddPort(port.bridge.value, port.name, _columns(port, settings))
        for port in unproven(snapshot, settings)
        if port.name not in snapshot.ports
    )


def failed_trials(snapshot: Snapshot, settings: OvsSettings) -> tuple[tuple[RemovePort, str], ...]:
    """After the trials: how to take back each that did not work, and why, with a remedy."""
    return tuple(
        (RemovePort(port.bridge.value, port.name), _why_kept(snapshot, port, settings))
        for port in unproven(snapshot, settings)
    )


def _why_kept(snapshot: Snapshot, port: WantedPort, settings: OvsSettings) -> str:
    kept = ", ".join(_predecessors(snapshot, port, settings))
    return (
        f"{_fault(port, snapshot.ports.get(port.name))} {kept} stays in its place and nothing is changed; "
        f"add {port.name} to the appliance, or correct its name in the configuration"
    )


def _predecessors(snapshot: Snapshot, wanted: WantedPort, settings: OvsSettings) -> list[str]:
    """Ports of ours that the frame no longer has, in the place of a wanted one."""
    frame, number = {port.name for port in ports(settings)}, PORT_NUMBERS[wanted.role]
    return sorted(
        port.name
        for port in snapshot.ports.values()
        if port.owner == settings.owner and port.bridge == wanted.bridge.value and port.name not in frame
        if number in (port.wanted_number, port.number)
    )


def _works(state: PortState | None) -> bool:
    return state is not None and not state.error and (state.number or -1) > 0


def _fault(port: WantedPort, state: PortState | None) -> str:
    why = state.error if state and state.error else "it has no port number yet"
    hint = ": does the appliance have this NIC?" if port.role is FlowPort.TRUNK else ""
    return f"{port.role.value} interface {port.name} of {port.bridge.value}: {why}{hint}"


def _columns(port: WantedPort, settings: OvsSettings) -> dict[str, object]:
    return {"type": port.type, "options": dict(port.options), "external_ids": {OWNER_KEY: settings.owner}}


def check_ownership(snapshot: Snapshot, bridge: str, settings: OvsSettings) -> None:
    """Raise Refused if there is a bridge of this name that is not ours and may not become so."""
    state = snapshot.bridges.get(bridge)
    if state is None or state.owner == settings.owner:
        return
    if state.owner is not None:
        raise Refused(
            f"{bridge} belongs to the isthmus installation {state.owner!r}, not to {settings.owner!r}: "
            "use that owner name, or remove the bridge"
        )
    inhabited = sorted(p.name for p in snapshot.ports.values() if p.bridge == bridge and p.name != bridge)
    if inhabited:
        raise Refused(
            f"{bridge} exists, is not ours, and holds {', '.join(inhabited)}: "
            f"free the name (ovs-vsctl del-br {bridge}) or use an appliance without it"
        )


def _leftovers(snapshot: Snapshot, wanted: tuple[WantedPort, ...], settings: OvsSettings) -> Iterator[RemovePort]:
    """Ports of ours to be taken out: those the frame does not have, or has elsewhere, or that got another number."""
    home = {port.name: (port.bridge.value, PORT_NUMBERS[port.role]) for port in wanted}
    numbers = {(port.bridge.value, PORT_NUMBERS[port.role]): port.name for port in wanted}
    ours = {bridge.value for bridge in Bridge}
    for port in snapshot.ports.values():
        if port.bridge not in ours:
            continue
        if port.owner == settings.owner:
            if not _at_home(port, home.get(port.name)):
                yield RemovePort(port.bridge, port.name)
        elif numbers.get((port.bridge, port.wanted_number or 0), port.name) != port.name:
            raise Refused(
                f"port {port.name} of {port.bridge} is not ours and asks for port number {port.wanted_number}: "
                f"remove it (ovs-vsctl del-port {port.bridge} {port.name})"
            )


def _at_home(port: PortState, home: tuple[str, int] | None) -> bool:
    """It is in its bridge, and has its number or may still get it.

    A port that asked for its number while another had it keeps the one it was given instead (OVS 3.1).
    """
    asked_in_vain = port.number not in (None, -1, port.wanted_number)
    return home is not None and home[0] == port.bridge and not (asked_in_vain and home[1] == port.wanted_number)


def _bridge(snapshot: Snapshot, bridge: Bridge, settings: OvsSettings) -> Iterator[Correction]:
    name, state = bridge.value, snapshot.bridges.get(bridge.value)
    if state is None:
        yield AddBridge(name, settings.datapath_type)
        state = BridgeState(name, None, settings.datapath_type, "", frozenset())
    columns: dict[str, object] = {}
    if state.owner is None:
        columns["external_ids"] = {OWNER_KEY: settings.owner, SCHEMA_KEY: SCHEMA}
    if state.datapath_type != settings.datapath_type:
        columns["datapath_type"] = settings.datapath_type
    if state.fail_mode != "secure":
        columns["fail_mode"] = "secure"  # else ovs-vswitchd forwards like a learning switch whenever it has no flows
    if "OpenFlow13" not in state.protocols:
        columns["protocols"] = sorted(PROTOCOLS)
    if columns:
        yield Set("Bridge", name, columns)
    listener = settings.listener(bridge)
    if listener and listener not in state.listeners:
        yield Set("Controller", name, {"target": listener})


def _port(snapshot: Snapshot, port: WantedPort, settings: OvsSettings) -> Iterator[Correction]:
    state, number = snapshot.ports.get(port.name), PORT_NUMBERS[port.role]
    if state is None or (state.owner == settings.owner and not _at_home(state, (port.bridge.value, number))):
        yield AddPort(port.bridge.value, port.name, {**_columns(port, settings), "ofport_request": number})
        return
    if state.bridge != port.bridge.value:
        raise Refused(
            f"interface {port.name} is in {state.bridge}, which is not ours: "
            f"take it out of there (ovs-vsctl del-port {state.bridge} {port.name}) or name another {port.role.value}"
        )
    wrong: dict[str, object] = {}
    if state.type != port.type:
        wrong["type"] = port.type
    if any(state.options.get(key) != value for key, value in port.options.items()):
        wrong["options"] = dict(port.options)
    if state.wanted_number != number:
        wrong["ofport_request"] = number
    if state.owner != settings.owner:
        wrong["external_ids"] = {OWNER_KEY: settings.owner}
    if wrong:
        yield Set("Interface", port.name, wrong)
