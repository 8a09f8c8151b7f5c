"""What stands between an appliance as it is and as configured, in words for its operator.  Law: only reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.adapters.ovs.bridges import (
    OWNER_KEY,
    AddBridge,
    AddPort,
    BridgeState,
    Correction,
    PortState,
    RemovePort,
    Set,
    Snapshot,
    corrections,
    faults,
    is_ours,
    unproven,
)
from isthmus.adapters.ovs.settings import VXLAN, OvsSettings
from isthmus.model.faults import Refused
from isthmus.model.flow import Bridge

_ATTRIBUTES = {"external_ids": "owner", "ofport_request": "wanted_number"}


@dataclass(frozen=True, slots=True)
class OvsFinding:
    """One thing that is not as configured: what `apply` changes, or, if it cannot, a problem with its remedy."""

    what: str
    remedy: str = ""
    is_problem: bool = False


def findings(snapshot: Snapshot, settings: OvsSettings, nics: frozenset[str] | None) -> tuple[OvsFinding, ...]:
    """Problems first, then pending corrections; `nics` are the appliance's interfaces, None if they cannot be seen."""
    problems = tuple(_problems(snapshot, settings, nics))
    held_up = bool(problems) and bool(unproven(snapshot, settings))  # apply changes nothing then
    return problems if held_up else (*problems, *_pending(snapshot, settings))


def interfaces_beside(rundir: str) -> frozenset[str] | None:
    """The network interfaces that the ovs-vswitchd of a run directory sees; None if it is not of this machine."""
    try:
        pid = int((Path(rundir) / "ovs-vswitchd.pid").read_text())
        process = Path("/proc") / str(pid)
        if (process / "comm").read_text().strip() != "ovs-vswitchd":
            return None  # a number from another PID namespace, or of a process that ended
        lines = (process / "net" / "dev").read_text().splitlines()[2:]
    except (OSError, ValueError):
        return None
    return frozenset(line.partition(":")[0].strip() for line in lines)


def _problems(snapshot: Snapshot, settings: OvsSettings, nics: frozenset[str] | None) -> Iterator[OvsFinding]:
    missing = nics is not None and settings.trunk not in nics
    if missing:
        what = f"the appliance has no interface {settings.trunk}, which 'trunk' names"
        yield OvsFinding(what, "correct 'trunk', or give the appliance this NIC", is_problem=True)
    try:
        steps = corrections(snapshot, settings)
    except Refused as fault:
        yield OvsFinding(str(fault), is_problem=True)
        return
    for fault_ in faults(snapshot, settings) if not steps else ():
        if not (missing and f"interface {settings.trunk} of" in fault_):
            yield OvsFinding(fault_, "see the log of ovs-vswitchd", is_problem=True)


def _pending(snapshot: Snapshot, settings: OvsSettings) -> Iterator[OvsFinding]:
    if not any(is_ours(snapshot, bridge, settings) for bridge in Bridge):
        return  # it is new: everything is to be made
    try:
        steps = corrections(snapshot, settings)
    except Refused:
        return
    for step in steps:
        for what in _in_words(snapshot, step):
            yield OvsFinding(what)


def _in_words(snapshot: Snapshot, step: Correction) -> Iterator[str]:
    match step:
        case AddBridge(name, _):
            yield f"{name} is not there: apply makes it"
        case AddPort(bridge, name, _):
            yield f"{bridge} has no port {name}: apply adds it"
        case RemovePort(bridge, name):
            yield f"port {name} of {bridge} has no place there: apply removes it"
        case Set("Controller", name, columns):
            yield f"{name} does not listen at {columns['target']}: apply changes it"
        case Set("Bridge", name, columns) if state := snapshot.bridges.get(name):
            for what in _differences(state, columns):
                yield f"{name} {what}: apply changes it"
        case Set("Interface", name, columns):
            port = snapshot.ports[name]
            for what in _differences(port, columns):
                place = f"{port.bridge}'s {'tunnel' if name == VXLAN else f'port {name}'}"
                yield f"{place} {what}: apply changes it"


def _differences(state: BridgeState | PortState, columns: Mapping[str, Any]) -> Iterator[str]:
    for column, wanted in columns.items():
        if isinstance(state, PortState) and column == "options":
            options = state.options
            yield from (_difference(key, options.get(key), to) for key, to in wanted.items() if options.get(key) != to)
        else:
            held = getattr(state, _ATTRIBUTES.get(column, column))
            yield _difference(column, held, wanted[OWNER_KEY] if column == "external_ids" else wanted)


def _difference(key: str, held: object, wanted: object) -> str:
    match key:
        case "local_ip":
            return f"sends from {held or 'any address'}, configured is {wanted}"
        case "dst_port":
            return f"sends to UDP port {held or 4789}, configured is {wanted}"
        case "external_ids":
            return f"carries the mark of {held or 'nobody'}, must carry that of {wanted}"
        case _:
            return f"has {key} {_shown(held)}, must have {_shown(wanted)}"


def _shown(value: object) -> str:
    if isinstance(value, (list, frozenset)):
        return ", ".join(sorted(map(str, value))) or "none"
    return str(value) if value not in (None, "") else "none"
