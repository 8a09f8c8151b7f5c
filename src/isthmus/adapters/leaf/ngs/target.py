"""A leaf switch behind networking-generic-switch as a Target: what it may hold of ours, and changes that are read back.

Law: a change is made when the switch shows it; a command that was accepted is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.adapters.leaf.ngs.findings import findings, warnings
from isthmus.adapters.leaf.ngs.held import Held, company, mirror
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.steps import Draft, Step, left_over, shortfall, stages, stands
from isthmus.adapters.leaf.ngs.switch import Switch
from isthmus.model.boundary import Wake
from isthmus.model.change import Change, Forget, Outcome, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import LeafId
from isthmus.model.observed import NveMirror, TargetId


class NgsTarget:
    """One switch.  It tells of no change by another hand: such is seen when it is next read."""

    def __init__(self, leaf: LeafId, settings: NgsSettings) -> None:
        self.leaf = leaf
        self._settings = settings
        self._switch = Switch(settings)
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

    def _read(self) -> Held:
        try:
            self._last = self._switch.read()
        except Refused as fault:
            raise Retry(str(fault)) from fault
        return self._last

    def _applied(self, changes: Sequence[Change]) -> list[Result]:
        held = self._read()
        draft = Draft(held, self._settings)
        results: dict[int, Result] = {}
        # A VLAN that is given from one VNI to another is free only after.
        for change in sorted(changes, key=lambda change: not isinstance(change.action, Forget)):
            try:
                draft.take(change)
            except (Retry, Refused) as fault:
                results[change.id] = Result.failed(change, fault)
        said: list[str] = []
        told: list[Step] = []
        for stage in stages(draft.steps, at_once=self._switch.kind.commits):
            if now := [step for step in stage if stands(step, held, self._settings)]:
                said += self._switch.do(now)
                told += now
                held = self._read()
        before = held
        if left_over(told, before, held, self._settings):
            held = self._read()
        if undone := left_over(told, before, held, self._settings):
            said += (
                f"VLAN {step.vid}: {who}" for step in undone if (who := company(held.at(step.vid), self._settings))
            )
            said += self._switch.do(undone)
            held = self._read()
        said += self._switch.save()
        for change in changes:
            if change.id not in results and (lack := shortfall(change, held, self._settings, draft.steps)):
                why = f" ({'; '.join(dict.fromkeys(said[:3]))})" if said else ""
                results[change.id] = Result(change, Outcome.RETRY, f"the switch took it, but {lack}{why}")
        return [results.get(change.id) or Result(change, Outcome.DONE) for change in changes]
