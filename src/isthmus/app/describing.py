"""Changes and results as one line of text each, for logs and plans, and as plain data for --json."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from isthmus.app.text import plain
from isthmus.model.change import (
    Action,
    AddHostPortGroup,
    AlterHostPortGroup,
    AlterPortGroup,
    BuildNve,
    Change,
    CreatePortGroup,
    DisownPortGroup,
    Forget,
    Gate,
    Learn,
    Outcome,
    RemoveHostPortGroup,
    RemovePortGroup,
    Result,
    SetDvPort,
)
from isthmus.model.flow import Flow
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry, Plug, Workload
from isthmus.model.observed import TargetId

_GATES = {
    Gate.CLAIM: "claim {vid}, closed",
    Gate.OPEN: "open with {vid}",
    Gate.CLOSE: "close, still {vid}",
    Gate.BARE: "close and take the VID off",
}


def action(act: Action) -> str:
    """What is done, in the words of the far side."""
    match act:
        case CreatePortGroup(spec=spec):
            gate = "closed until bound" if spec.vid is None else f"VID {int(spec.vid)}"
            return f"create port group '{plain(spec.name)}' ({gate}, VNI {int(spec.mark.vni)})"
        case AlterPortGroup(key=key, spec=spec):
            return f"correct port group {key} '{plain(spec.name)}'"
        case RemovePortGroup(key=key, mark=mark):
            return f"remove port group {key} of network {plain(mark.network)}"
        case DisownPortGroup(key=key, mark=mark):
            return f"take our mark off port group {key} of network {plain(mark.network)}"
        case SetDvPort(key=key, gate=does, vid=vid):
            return f"port {key}: " + _GATES[does].format(vid="untagged" if vid is None else f"VID {int(vid)}")
        case BuildNve():
            return "build bridges and tunnel port"
        case Learn(entries=entries):
            return f"learn {_counted(entries)}"
        case Forget(entries=entries):
            return f"forget {_counted(entries)}"
        case AddHostPortGroup(name=name, vswitch=vswitch, vid=tag):
            return f"add port group '{plain(name)}' to {plain(vswitch)} with VID {int(tag)}"
        case AlterHostPortGroup(name=name, vswitch=vswitch, vid=tag):
            return f"give port group '{plain(name)}' of {plain(vswitch)} VID {int(tag)}"
        case RemoveHostPortGroup(name=name, vswitch=vswitch):
            return f"remove port group '{plain(name)}' from {plain(vswitch)}"


def change(item: Change, named: Callable[[TargetId], str] = str) -> str:
    """A change in one line: ``dvs tenant: port 137: open with VID 40 (port 9f3c moved host-7 -> host-9)``."""
    return f"{named(item.target)}: {action(item.action)} ({plain(item.reason, 500)})"


def result(item: Result, named: Callable[[TargetId], str] = str) -> str:
    """A change and what became of it."""
    if item.outcome is Outcome.DONE:
        return change(item.change, named)
    return f"{change(item.change, named)}: {item.outcome.value}: {plain(item.detail, 500)}"


def change_data(item: Change) -> dict[str, Any]:
    """A change as JSON can carry it."""
    return {
        "id": item.id,
        "target": str(item.target),
        "action": type(item.action).__name__,
        "what": action(item.action),
        "reason": item.reason,
        "after": sorted(item.after),
        "guarded": item.guarded,
    }


def result_data(item: Result) -> dict[str, Any]:
    """A result as JSON can carry it."""
    return {**change_data(item.change), "outcome": item.outcome.value, "detail": item.detail}


def _counted(entries: Iterable[NveEntry]) -> str:
    items = list(entries)
    vnis = sorted({int(vni) for entry in items if (vni := _vni(entry)) is not None})
    noun = "entry" if len(items) == 1 else "entries"
    about = f" for VNI {', '.join(map(str, vnis[:8]))}{' ...' if len(vnis) > 8 else ''}" if vnis else ""
    return f"{len(items)} {noun}{about}"


def _vni(entry: NveEntry) -> int | None:
    match entry:
        case Flow(vni=vni) | LeafBinding(vni=vni) | LeafFlood(vni=vni) | LeafUnicast(vni=vni):
            return vni
        case Plug(vni=vni) | Workload(vni=vni):
            return vni
