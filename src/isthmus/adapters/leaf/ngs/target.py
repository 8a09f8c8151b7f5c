"""A leaf switch behind networking-generic-switch as a Target: what it may hold of ours, and changes that are read back.

Law: a change is made when the switch shows it; a command that was accepted is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.adapters.leaf.ngs.held import Held, is_foreign, mirror
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.steps import Draft, shortfall
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
        others of its fabric.
        """
        return mirror(self.id, self._read(), self._settings)

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """All changes in one batch, made to what the switch holds now, and read back."""
        if not changes:
            return []
        try:
            return self._applied(changes)
        except (Retry, Refused) as fault:
            return [Result.failed(change, fault) for change in changes]

    def findings(self) -> Sequence[LeafFinding]:
        """What is not as configured.  Raises Retry if the switch is silent."""
        return list(_findings(self._read(), self._settings))

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
        draft = Draft(self._read(), self._settings)
        results: dict[int, Result] = {}
        # A VLAN that is given from one VNI to another is free only after.
        for change in sorted(changes, key=lambda change: not isinstance(change.action, Forget)):
            try:
                draft.take(change)
            except (Retry, Refused) as fault:
                results[change.id] = Result.failed(change, fault)
        if draft.steps:
            said = self._switch.do(draft.steps)
            after = self._read()
            for change in changes:
                if change.id not in results and (lack := shortfall(change, after, self._settings)):
                    results[change.id] = Result(change, Outcome.RETRY, f"the switch took it, but {lack}{said}")
        return [results.get(change.id) or Result(change, Outcome.DONE) for change in changes]


def _findings(held: Held, settings: NgsSettings) -> Iterator[LeafFinding]:
    for vid in (vid for vid in sorted(held) if vid in settings.vids):
        ports = held[vid].ports
        if is_foreign(vid, held[vid], settings):
            what = f"VLAN {vid}, in our range, is somebody else's: it is on {', '.join(sorted(ports))} without a VNI"
            yield LeafFinding(what, "leave it out of vids; it is left alone in any case")
        elif others := sorted(ports.difference(settings.members)):
            what = f"VLAN {vid}, in our range, is also on {', '.join(others)}, where no host of ours is"
            yield LeafFinding(what, "take it off there, or name the port with the hosts' or in ngs_trunk_ports")
