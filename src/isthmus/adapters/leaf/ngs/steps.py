"""From changes to what networking-generic-switch is asked to do, in an order of which every beginning is harmless.

    learn:   VLAN, its VNI, one port, then the others     a VLAN without ports is in nobody's way
    forget:  its ports, its VNI, then the VLAN            one that has other ports stays, and stays worn

Law: a VNI is taken off a VLAN only if a change names it, and no port leaves or joins a VLAN that is not ours.  The VNI
is the one sign that a VLAN is ours, so it is there before the first port of ours joins and until the last has left; and
nobody gets one, or gets company, as long as the switch shows anybody else in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from isthmus.adapters.leaf.ngs.held import NOTHING, Held, Vlan, company, is_foreign, not_ours
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.model.change import BuildNve, Change, Forget, Learn
from isthmus.model.faults import Refused, Retry
from isthmus.model.nve import LeafBinding, NveEntry
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True)
class Make:
    """Make the VLAN, which means nothing yet."""

    vid: Vid


@dataclass(frozen=True, slots=True)
class Map:
    """Map it to the VNI."""

    vid: Vid
    vni: Vni


@dataclass(frozen=True, slots=True)
class Unmap:
    """Map it no more."""

    vid: Vid
    vni: Vni
    lacks: frozenset[str] = frozenset()
    """What goes with a VNI, and is not there to be taken away."""


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


Step: TypeAlias = Make | Map | Unmap | Join | Leave | Remove
ORDER: tuple[type[Step], ...] = (Leave, Unmap, Remove, Make, Map)


def stages(steps: Sequence[Step], *, at_once: bool) -> Iterator[list[Step]]:
    """What is asked for together.  What comes after stands on what the switch then shows, not on what it was asked.

    One port joins each VLAN, and is looked at, before the others do; or all join at once.
    """
    for word in ORDER:
        yield [step for step in steps if isinstance(step, word)]
    joins: list[Step] = [step for step in steps if isinstance(step, Join)]
    first = [] if at_once else list({step.vid: step for step in reversed(joins)}.values())
    yield first
    yield [step for step in joins if step not in first]


def left_over(steps: Collection[Step], before: Held, held: Held, settings: NgsSettings) -> list[Step]:
    """What takes away again the VLANs that these steps made and that got no VNI, if nobody asked to be in them.

    Who is in them only since they are there had nothing of them before.  He is so at two looks, or what puts him there
    may have come between two answers of one look.  Where a port of somebody's came before the first of ours, it would
    hear the network: the VNI is taken off again.
    """
    if held.unready:
        return []
    made = [step.vid for step in steps if isinstance(step, Make)]
    mapped = [step for step in steps if isinstance(step, Map)]
    joined = [step for step in mapped if held.at(step.vid).ports.difference(settings.members)]
    unmapped = [Unmap(step.vid, step.vni, held.without.get(step.vid, frozenset())) for step in joined]
    loose = {vid for vid in before.loose & held.loose if held.at(vid).ports <= before.at(vid).ports}
    removed = [Remove(vid) for vid in made if held.vlans.get(vid) == NOTHING or vid in loose]
    return [*(step for step in unmapped if stands(step, held, settings)), *removed]


def stands(step: Step, held: Held, settings: NgsSettings) -> bool:
    """Whether a step may be taken on a switch that holds this, all earlier stages having been asked for."""
    if held.unready:
        return False
    vlan = held.at(step.vid)
    match step:
        case Leave():
            return True
        case Unmap(_, vni):
            return vlan.vni == vni and vlan.ports.isdisjoint(settings.members)
        case Remove(vid):
            return vlan == NOTHING or vid in held.bare
        case Make(vid):
            return not held.exists(vid) and not company(vlan, settings)
        case Map(vid, vni):
            free = vlan.vni is None or (vlan.vni == vni and vid in held.lost)
            free = free and not company(vlan, settings)
            elsewhere = held.taker(vni) or any(f.vni == vni for other, f in held.vlans.items() if other != vid)
            return free and not elsewhere and (held.exists(vid) or not held.shows_empty)
        case Join(_, vni, port):
            return vlan.vni == vni and not company(vlan, settings) and port not in held.barred


class Draft:
    """What is to be done to a switch that holds this, change by change."""

    def __init__(self, held: Held, settings: NgsSettings) -> None:
        self._held = held
        self._vlans = dict(held.vlans)
        self._settings = settings
        self.steps: list[Step] = []

    def take(self, change: Change) -> None:
        """Add what a change needs.  Raises Refused or Retry, and adds nothing, if it cannot be made."""
        match change.action:
            case Learn() | Forget() if self._held.unready:
                raise Retry(f"nothing is told to the switch: {self._held.unready}")
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
        if binding.vni < self._settings.lowest_vni:
            raise Refused(f"VNI {int(binding.vni)}: such a switch has none below {self._settings.lowest_vni}")
        if is_foreign(vid, vlan, self._settings) or (vid in self._held.absent and company(vlan, self._settings)):
            raise Refused(f"VLAN {vid} {not_ours(vid, vlan, self._held, self._settings)}.  Leave it out of vids")
        if why := self._held.vain.get(vid) or self._held.unproven.get(vid):
            raise Refused(f"VLAN {vid} is not asked for now: {why}")
        if vlan.vni is not None and vlan.vni != binding.vni:  # nobody who saw it said that it may be taken off
            raise Retry(f"VLAN {vid} has VNI {int(vlan.vni)} by now")
        if taken := self._held.taker(binding.vni):
            raise Refused(f"VNI {int(binding.vni)} is somebody else's on this switch: {taken}")
        for other, found in sorted(self._vlans.items()):
            if found.vni != binding.vni or other == vid:
                continue
            said = f"VNI {int(binding.vni)} is on VLAN {other} already, and such a switch has one VLAN for a VNI"
            if other in self._settings.vids:
                raise Retry(said)
            raise Refused(f"{said}.  It is not in vids: take it off there, or put {other} back into vids")

    def _learn(self, binding: LeafBinding) -> None:
        vid = binding.vid
        if vid not in self._vlans or vid in self._held.absent:
            self._do(Make(vid), self._at(vid))
        if self._at(vid).vni is None or vid in self._held.lost:
            self._do(Map(vid, binding.vni), replace(self._at(vid), vni=binding.vni))
        for port in self._held.joining(self._settings):
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
        left = Vlan(None, vlan.tagged & rest, vlan.untagged & rest, vlan.said)
        self._do(Unmap(vid, binding.vni, self._held.without.get(vid, frozenset())), left)
        if not rest:
            self.steps.append(Remove(vid))  # if nothing else is said of it then
        if left == NOTHING:
            del self._vlans[vid]

    def _at(self, vid: Vid) -> Vlan:
        return self._vlans.get(vid, NOTHING)

    def _do(self, step: Step, left: Vlan) -> None:
        self.steps.append(step)
        self._vlans[step.vid] = left


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
    vid, vlan = binding.vid, held.at(binding.vid)
    alone = f": {why}" if (why := held.unready or company(vlan, settings)) else ""
    if vlan.vni != binding.vni:
        return f"VLAN {vid} has {'no VNI' if vlan.vni is None else f'VNI {int(vlan.vni)}'}{alone}"
    if vid in held.lost:
        return f"VLAN {vid} has its VNI, and not all that is told with it{alone}"
    missing = [port for port in held.joining(settings) if port not in vlan.tagged]
    barred = "".join(f"; {port}: {held.barred[port]}" for port in missing if port in held.barred)
    return f"VLAN {vid} is not tagged on {', '.join(missing)}{alone}{barred}" if missing else ""


def _rest(binding: LeafBinding, held: Held, settings: NgsSettings, steps: Collection[Step]) -> str:
    vid, vlan = binding.vid, held.vlans.get(binding.vid)
    if vlan is None or vid not in settings.vids:
        return ""
    why = f": {held.unready}" if held.unready else ""
    if vlan.vni == binding.vni:
        ports = sorted(vlan.ports.intersection(settings.members))
        return f"VLAN {vid} is still on {', '.join(ports)}{why}" if ports else f"VLAN {vid} still has its VNI{why}"
    # One that others have ports in stays; one that nothing is in was to go, unless it is mapped anew.
    left = vlan == NOTHING or vid in held.bare
    return f"VLAN {vid} is still there{why}" if Remove(vid) in steps and left else ""


def _bindings(entries: Iterable[NveEntry]) -> Iterator[LeafBinding]:
    for entry in entries:
        if not isinstance(entry, LeafBinding):
            raise TypeError(f"such a switch learns by itself what a {type(entry).__name__} would say")
        yield entry
