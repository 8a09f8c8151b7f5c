"""A leaf switch behind networking-generic-switch as a Target: what it may hold of ours, and changes that are read back.

Law: a change is made when the switch shows it; a command that was accepted is nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.adapters.leaf.ngs.findings import findings, warnings
from isthmus.adapters.leaf.ngs.held import Held, company, mirror
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.steps import Draft, Make, Remove, Step, left_over, shortfall, stages, stands
from isthmus.adapters.leaf.ngs.switch import Switch
from isthmus.adapters.leaf.ngs.vain import Vain
from isthmus.model.boundary import Wake
from isthmus.model.change import Change, Forget, Outcome, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import LeafId
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import Vid


class NgsTarget:
    """One switch.  It tells of no change by another hand: such is seen when it is next read."""

    def __init__(self, leaf: LeafId, settings: NgsSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.leaf = leaf
        self._settings = settings
        self._switch = Switch(settings, clock)
        self._vain = Vain(clock)
        self._last: Held | None = None

    @property
    def id(self) -> TargetId:
        """Which far side this is."""
        return TargetId("leaf", self.leaf)

    def observe(self) -> NveMirror:
        """All that the switch holds of what may be ours.

        A switch that cannot be entered as it was configured cannot be read, and that is all: it must not stop the
        others of its fabric.  What it was told before and has not saved is saved.
        """
        held = self._read()
        told = (*warnings(held, self._settings), *self._switch.save())
        return replace(mirror(self.id, held, self._settings), warnings=told)

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """All changes together, made to what the switch holds now, stage by stage, and read back."""
        if not changes:
            return []
        try:
            return self._applied(changes)
        except (Retry, Refused) as fault:
            return [Result.failed(change, fault) for change in changes]

    def foreseen(self, changes: Sequence[Change]) -> Sequence[Result]:
        """The changes that it could not make as it is now.  Tells it nothing."""
        try:
            _, failed = self._drafted(changes, self._read())
        except Retry as fault:
            return [Result.failed(change, fault) for change in changes]
        return list(failed.values())

    def findings(self) -> Sequence[LeafFinding]:
        """What is not as configured.  Raises Retry if the switch is silent."""
        return list(findings(self._read(), self._settings))

    def words(self, change: Change) -> Sequence[str]:
        """The commands of a change, to what was last seen; asks nobody."""
        if self._last is None:
            return ()
        draft = Draft(self._last, self._settings)
        try:
            draft.take(change)
        except (Retry, Refused) as fault:
            return [f"# {fault}"]
        return self._switch.words(draft.steps)

    def watch(self, wake: Wake) -> None:
        """There is nothing to listen to."""

    def close(self) -> None:
        """End the session.  What was written stays."""
        self._switch.close()

    def _not_made(self, steps: Sequence[Step], held: Held, heard: Sequence[str]) -> dict[Vid, str]:
        """VLANs that the switch does not want by their numbers: else it may be that it now takes nothing at all.

        So it may if it took none of several; and the number in a command that it only repeats says nothing.
        """
        made = {step.vid for step in steps if isinstance(step, Make)}
        absent = {vid for vid in made if _is_absent(vid, held)}
        if held.unready or self._switch.kind.commits or (len(made) > 1 and absent == made):
            return {}
        told = sorted(self._switch.words(steps), key=len, reverse=True)
        own = re.compile("|".join(map(re.escape, told)))
        return {vid: line for vid in absent for line in heard if re.search(rf"\b{vid}\b", own.sub(" ", line))}

    def _read(self) -> Held:
        try:
            self._last = self._vain.marked(self._switch.read())
        except Refused as fault:
            raise Retry(str(fault)) from fault
        return self._last

    def _drafted(self, changes: Sequence[Change], held: Held) -> tuple[Draft, dict[int, Result]]:
        """What is to be done, and what cannot be."""
        draft, failed = Draft(held, self._settings), dict[int, Result]()
        # A VLAN that is given from one VNI to another is free only after.
        for change in sorted(changes, key=lambda change: not isinstance(change.action, Forget)):
            try:
                draft.take(change)
            except (Retry, Refused) as fault:
                failed[change.id] = Result.failed(change, fault)
        return draft, failed

    def _applied(self, changes: Sequence[Change]) -> list[Result]:
        kept = self._switch.kept
        first = held = self._read()
        draft, results = self._drafted(changes, held)
        said: list[str] = []
        told: list[Step] = []
        vain: dict[Vid, str] = {}
        for stage in stages(draft.steps, at_once=self._switch.kind.commits):
            if now := [step for step in stage if stands(step, held, self._settings)]:
                heard = self._switch.do(now, held.revision)
                said += heard
                told += now
                held = self._read()
                vain |= self._not_made(now, held, heard)
        before = held
        if left_over(told, before, held, self._settings):
            held = self._read()
        if undone := left_over(told, before, held, self._settings):
            strangers = {step.vid: who for step in undone if (who := company(held.at(step.vid), self._settings))}
            said += (f"VLAN {vid}: {who}" for vid, who in strangers.items())
            vain |= {
                step.vid: strangers[step.vid] for step in undone if isinstance(step, Remove) and step.vid in strangers
            }
            said += self._switch.do(undone, held.revision)
            held = self._read()
        for vid, why in vain.items():
            self._vain.add(vid, why, held)
        if kept and held == first and not self._switch.kind.commits:  # what was committed may come later
            self._switch.is_as_kept()
        said += self._switch.save()
        for change in changes:
            if change.id not in results and (lack := shortfall(change, held, self._settings, draft.steps)):
                why = f" ({'; '.join(dict.fromkeys(said[:3]))})" if said else ""
                results[change.id] = Result(change, Outcome.RETRY, f"the switch took it, but {lack}{why}")
        return [results.get(change.id) or Result(change, Outcome.DONE) for change in changes]


def _is_absent(vid: Vid, held: Held) -> bool:
    return not held.exists(vid) and held.at(vid).vni is None
