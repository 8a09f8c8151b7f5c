"""A leaf switch as a Target: reads its database whole, writes only what differs, foreign things never.

A leaf has no frame for us to build: which switch it is, its ports and its VTEP address are its operator's, and one that
is not as configured is not touched, and says what there is instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.adapters.leaf.hwvtep import findings as finding
from isthmus.adapters.leaf.hwvtep import mirror, steps
from isthmus.adapters.leaf.hwvtep.database import Database, KeptByAnother
from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings
from isthmus.adapters.leaf.hwvtep.snapshot import Snapshot
from isthmus.adapters.leaf.hwvtep.watch import Watch
from isthmus.model.boundary import Wake
from isthmus.model.change import Change, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import HostId, LeafId
from isthmus.model.observed import NveMirror, TargetId

LOOKING = 1.0
"""Seconds between two looks of the watch, and for which it waits for a leaf that is not there."""


class HwvtepTarget:
    """One leaf, read by any number of processes and written by the one of an installation that holds its OVSDB lock.

    With `keeps` it is held from the first look on, so that a second keeper is refused before it has anything to write.
    """

    def __init__(
        self, leaf: LeafId, settings: HwvtepSettings, hosts: frozenset[HostId] | None = None, *, keeps: bool = False
    ) -> None:
        """`hosts` are those below the leaf, the ones that a change of it concerns; None: whichever."""
        self.leaf = leaf
        self._hosts = hosts
        self._keeps = keeps
        self._settings = settings
        self._database = Database(settings)
        self._watch: Watch | None = None
        self._last: Snapshot | None = None
        """As it was last observed, and what was ours in it."""
        self._seen: NveMirror | None = None

    @property
    def id(self) -> TargetId:
        """Which far side this is."""
        return TargetId("leaf", self.leaf)

    def observe(self) -> NveMirror:
        """All that the leaf holds of ours.  Raises Refused if another process of the installation keeps it.

        A leaf that is not as it was configured cannot be read, and that is all: it must not stop the others of its
        fabric.
        """
        try:
            if self._keeps:
                self._database.claim()
            snapshot = self._database.snapshot()
            if self._seen is None or snapshot is not self._last:
                seen = mirror.mirror(self.id, snapshot, self._settings)
                self._seen = replace(seen, warnings=finding.warnings(snapshot, self._settings))
                self._last = snapshot
        except KeptByAnother:
            raise
        except Refused as fault:
            raise Retry(str(fault)) from fault
        return self._seen

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """All changes in one transaction, or in as few as the server takes."""
        known = self._last.local if self._last is not None else frozenset()
        try:
            return self._database.commit(changes, known)
        except (Retry, Refused) as fault:
            return [Result.failed(change, fault) for change in changes]

    def findings(self) -> Sequence[LeafFinding]:
        """What is not as configured, or not well.  Needs no lock.  Raises Retry if the leaf is silent."""
        return finding.findings(self._database.snapshot(), self._settings)

    def words(self, change: Change) -> Sequence[str]:
        """A change in the switch's own words, from what was last observed; asks nobody."""
        if self._last is None:
            return ()
        draft = steps.Draft(self._last, self._settings, self._last.local)
        draft.take(change)
        return [line for step in draft.steps() for line in steps.words(draft.switch, step)]

    def watch(self, wake: Wake) -> None:
        """Call `wake` for the hosts below, until `close`, when the database is altered, or the leaf goes or comes."""
        self._watch = Watch(
            str(self.id), lambda: self._database.glance(LOOKING), lambda: self._last, lambda: wake(self._hosts), LOOKING
        )
        self._watch.start()

    def claim(self) -> None:
        """Become the writer of this leaf until `close`, as `apply` does.  Raises Refused if another process is."""
        self._database.claim()

    def close(self) -> None:
        """Let go of watch, connection and lock.  What was written stays."""
        if self._watch is not None:
            self._watch.close()
        self._database.close()
