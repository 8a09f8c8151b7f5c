"""From changes to what networking-generic-switch is asked to do, in an order of which every beginning is harmless.

    learn:   VLAN, its VNI, then its ports        a VLAN without ports is in nobody's way
    forget:  its ports, its VNI, then the VLAN    one that has other ports stays, and stays worn

Law: a VNI is taken off a VLAN only if it is the one that was meant, and no port leaves a VLAN that is not ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from isthmus.adapters.leaf.ngs.held import NOTHING, Held, Vlan, is_foreign
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.model.change import BuildNve, Change, Forget, Learn
from isthmus.model.faults import Refused, Retry
from isthmus.model.nve import LeafBinding, NveEntry
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True)
class Map:
    """Make the VLAN, and map it to the VNI."""

    vid: Vid
    vni: Vni


@dataclass(frozen=True, slots=True)
class Unmap:
    """Map it no more."""

    vid: Vid
    vni: Vni


@dataclass(frozen=True, slots=True)
class Join:
    """A port carries the VLAN, tagged."""

    vid: Vid
    port: str


@dataclass(frozen=True, slots=True)
class Leave:
    """A port carries it no more."""

    vid: Vid
    port: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a VLAN that carries nothing."""

    vid: Vid


Step: TypeAlias = Map | Unmap | Join | Leave | Remove


class Draft:
    """What is to be done to a switch that holds this, change by change."""

    def __init__(self, held: Held, settings: NgsSettings) -> None:
        self._held = dict(held)
        self._settings = settings
        self.steps: list[Step] = []

    def take(self, change: Change) -> None:
        """Add what a change needs.  Raises Refused or Retry, and adds nothing, if it cannot be made."""
        match change.action:
            case Forget(entries):
                for binding in _bindings(entries):
                    self._forget(binding)
            case Learn(entries):
                learnt = list(_bindings(entries))
                for binding in learnt:
                    self._must_be_free(binding)
                for binding in learnt:
                    self._learn(binding)
            case BuildNve():
                pass  # what it stands on is its operator's
            case action:
                raise TypeError(f"a leaf cannot {type(action).__name__}")

    def _must_be_free(self, binding: LeafBinding) -> None:
        vid, vlan = binding.vid, self._at(binding.vid)
        if vid not in self._settings.vids:
            raise Refused(f"VID {vid} is not in vids ({self._settings.vids}): it is not isthmus's on this switch")
        if is_foreign(vid, vlan, self._settings):
            ports = ", ".join(sorted(vlan.ports))
            raise Refused(f"VLAN {vid} is on {ports} without a VNI: it is somebody else's.  Leave it out of vids")
        for other, found in sorted(self._held.items()):
            if found.vni != binding.vni or other == vid:
                continue
            said = f"VNI {int(binding.vni)} is on VLAN {other} already, and such a switch has one VLAN for a VNI"
            if other in self._settings.vids:
                raise Retry(said)
            raise Refused(f"{said}.  It is not in vids: take it off there, or put {other} back into vids")

    def _learn(self, binding: LeafBinding) -> None:
        vid, vlan = binding.vid, self._at(binding.vid)
        if vlan.vni is not None and vlan.vni != binding.vni:
            self._do(Unmap(vid, vlan.vni), replace(vlan, vni=None))
        if self._at(vid).vni is None:
            self._do(Map(vid, binding.vni), replace(self._at(vid), vni=binding.vni))
        for port in self._settings.members:
            vlan = self._at(vid)
            if port in vlan.untagged:
                self._do(Leave(vid, port), replace(vlan, untagged=vlan.untagged - {port}))
            if port not in vlan.tagged:
                vlan = self._at(vid)
                self._do(Join(vid, port), replace(vlan, tagged=vlan.tagged | {port}))

    def _forget(self, binding: LeafBinding) -> None:
        vid, vlan = binding.vid, self._at(binding.vid)
        if vlan.vni != binding.vni or vid not in self._settings.vids:
            return  # it means another network by now, or is not ours
        for port in self._settings.members:
            if port in vlan.ports:
                self.steps.append(Leave(vid, port))
        rest = vlan.ports.difference(self._settings.members)
        self._do(Unmap(vid, binding.vni), Vlan(None, vlan.tagged & rest, vlan.untagged & rest))
        if not rest:
            self._do(Remove(vid), NOTHING)

    def _at(self, vid: Vid) -> Vlan:
        return self._held.get(vid, NOTHING)

    def _do(self, step: Step, left: Vlan) -> None:
        self.steps.append(step)
        self._held[step.vid] = left


def shortfall(change: Change, held: Held, settings: NgsSettings) -> str:
    """What of a change that was made cannot be seen; empty if it is all there."""
    match change.action:
        case Learn(entries):
            return "; ".join(filter(None, (_lack(binding, held, settings) for binding in _bindings(entries))))
        case Forget(entries):
            left = [b.vid for b in _bindings(entries) if b.vid in settings.vids and _is(held, b.vid, b.vni)]
            return f"VLAN {', '.join(map(str, left))} still has its VNI" if left else ""
    return ""


def _lack(binding: LeafBinding, held: Held, settings: NgsSettings) -> str:
    vlan = held.get(binding.vid, NOTHING)
    if vlan.vni != binding.vni:
        return f"VLAN {binding.vid} has {'no VNI' if vlan.vni is None else f'VNI {int(vlan.vni)}'}"
    missing = [port for port in settings.members if port not in vlan.tagged]
    return f"VLAN {binding.vid} is not tagged on {', '.join(missing)}" if missing else ""


def _is(held: Held, vid: Vid, vni: Vni) -> bool:
    return held.get(vid, NOTHING).vni == vni


def _bindings(entries: Iterable[NveEntry]) -> Iterator[LeafBinding]:
    for entry in entries:
        if not isinstance(entry, LeafBinding):
            raise TypeError(f"such a switch learns by itself what a {type(entry).__name__} would say")
        yield entry
