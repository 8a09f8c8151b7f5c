"""From changes to what networking-generic-switch is asked to do, in an order of which every beginning is harmless.

    learn:   VLAN, its VNI, then its ports        a VLAN without ports is in nobody's way
    forget:  its ports, its VNI, then the VLAN    one that has other ports stays, and stays worn

Law: a VNI is taken off a VLAN only if a change names it, and no port leaves or joins a VLAN that is not ours.  The VNI
is the one sign that a VLAN is ours, so it is there before the first port of ours and until the last has left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
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
    """A port carries the VLAN, tagged: the one with this VNI."""

    vid: Vid
    vni: Vni
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
STAGES: tuple[tuple[type[Step], ...], ...] = ((Leave,), (Unmap, Remove), (Map,), (Join,))
"""What is asked for together.  What comes after stands on what the switch then shows, not on what it was asked."""


def stands(step: Step, held: Held, settings: NgsSettings) -> bool:
    """Whether a step may be taken on a switch that holds this, all earlier stages having been asked for."""
    vlan = held.get(step.vid, NOTHING)
    match step:
        case Leave():
            return True
        case Unmap(_, vni):
            return vlan.vni == vni and vlan.ports.isdisjoint(settings.members)
        case Remove():
            return not vlan.ports
        case Map(vid, vni):
            elsewhere = any(found.vni == vni for found in held.values())
            return vlan.vni is None and not elsewhere and not is_foreign(vid, vlan, settings)
        case Join(_, vni):
            return vlan.vni == vni


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
        if vlan.vni is not None and vlan.vni != binding.vni:  # nobody who saw it said that it may be taken off
            raise Retry(f"VLAN {vid} has VNI {int(vlan.vni)} by now")
        for other, found in sorted(self._held.items()):
            if found.vni != binding.vni or other == vid:
                continue
            said = f"VNI {int(binding.vni)} is on VLAN {other} already, and such a switch has one VLAN for a VNI"
            if other in self._settings.vids:
                raise Retry(said)
            raise Refused(f"{said}.  It is not in vids: take it off there, or put {other} back into vids")

    def _learn(self, binding: LeafBinding) -> None:
        vid = binding.vid
        if self._at(vid).vni is None:
            self._do(Map(vid, binding.vni), replace(self._at(vid), vni=binding.vni))
        for port in self._settings.members:
            vlan = self._at(vid)
            if port in vlan.untagged:
                self._do(Leave(vid, port), replace(vlan, untagged=vlan.untagged - {port}))
            if port not in vlan.tagged:
                vlan = self._at(vid)
                self._do(Join(vid, binding.vni, port), replace(vlan, tagged=vlan.tagged | {port}))

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


def shortfall(change: Change, held: Held, settings: NgsSettings, steps: Collection[Step]) -> str:
    """What of a change that was made, with others, by `steps` cannot be seen; empty if it is all there."""
    match change.action:
        case Learn(entries):
            found = (_lack(binding, held, settings) for binding in _bindings(entries))
        case Forget(entries):
            found = (_rest(binding, held, settings, steps) for binding in _bindings(entries))
        case _:
            return ""
    return "; ".join(filter(None, found))


def _lack(binding: LeafBinding, held: Held, settings: NgsSettings) -> str:
    vlan = held.get(binding.vid, NOTHING)
    if vlan.vni != binding.vni:
        return f"VLAN {binding.vid} has {'no VNI' if vlan.vni is None else f'VNI {int(vlan.vni)}'}"
    missing = [port for port in settings.members if port not in vlan.tagged]
    return f"VLAN {binding.vid} is not tagged on {', '.join(missing)}" if missing else ""


def _rest(binding: LeafBinding, held: Held, settings: NgsSettings, steps: Collection[Step]) -> str:
    vid, vlan = binding.vid, held.get(binding.vid)
    if vlan is None or vid not in settings.vids:
        return ""
    if vlan.vni == binding.vni:
        ports = sorted(vlan.ports.intersection(settings.members))
        return f"VLAN {vid} is still on {', '.join(ports)}" if ports else f"VLAN {vid} still has its VNI"
    # One that others have ports in stays; one that nothing is in was to go, unless it is mapped anew.
    return f"VLAN {vid} is still there" if Remove(vid) in steps and vlan == NOTHING else ""


def _bindings(entries: Iterable[NveEntry]) -> Iterator[LeafBinding]:
    for entry in entries:
        if not isinstance(entry, LeafBinding):
            raise TypeError(f"such a switch learns by itself what a {type(entry).__name__} would say")
        yield entry
