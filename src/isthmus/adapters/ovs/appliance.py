"""One appliance's OVSDB as its one writer sees it, and where the appliance is.

Law: an appliance that is not on its host is not written, but for its trunk, which its writer closes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isthmus.adapters.ovs.bridges import Correction, Snapshot
from isthmus.adapters.ovs.ovsdb import Ovsdb
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.adapters.ovs.watch import Watch
from isthmus.model.boundary import Wake
from isthmus.model.faults import Retry
from isthmus.model.names import HostId

Closing = Callable[[Snapshot, OvsSettings], Sequence[Correction]]
"""What must be written so that no frame of a VM goes in or out."""


class Appliance:
    """Connection and lock.  With `keeps` the lock is held from the first look on, so that a second keeper is refused
    before it has anything to write.  `astray` says where the appliance is if it is not on its host."""

    def __init__(
        self,
        host: HostId,
        settings: OvsSettings,
        closing: Closing,
        *,
        keeps: bool,
        astray: Callable[[], str],
    ) -> None:
        self.host = host
        self.settings = settings
        self.astray = astray
        self._closing = closing
        self._keeps = keeps
        self._ovsdb = Ovsdb(settings)
        self._watch: Watch | None = None

    def look(self) -> Snapshot:
        """All bridges and ports of an appliance that is on its host.  Raises Retry."""
        if self._keeps:
            self._ovsdb.claim()
        self.stay_closed_astray(closes=self._keeps)
        return self._ovsdb.snapshot()

    def snapshot(self) -> Snapshot:
        """All bridges and ports, wherever it is.  Changes nothing and needs no lock."""
        return self._ovsdb.snapshot()

    def claim(self) -> None:
        """Become its writer until `close`.  Raises Refused if another process is."""
        self._ovsdb.claim()

    def commit(self, corrections: Sequence[Correction]) -> None:
        """Write corrections and wait until ovs-vswitchd has carried them out.  Raises Retry."""
        self._ovsdb.commit(corrections)

    def stay_closed_astray(self, *, closes: bool) -> None:
        """Raise Retry if the appliance is not on its host; with `closes`, take its trunk NIC off its bridge before."""
        why = self.astray()
        if not why:
            return
        if closes:
            self._ovsdb.claim()
            self._ovsdb.commit(self._closing(self._ovsdb.snapshot(), self.settings))
        raise Retry(f"{why}; until then its trunk is closed")

    def watch(self, wake: Wake) -> None:
        """Call `wake` for this host when its OVS is no longer as it was, until `close`."""
        self._watch = Watch(self.settings, lambda: wake(frozenset({self.host})))
        self._watch.start()

    def close(self) -> None:
        """Let go of watch, connection and lock.  What was written stays."""
        if self._watch is not None:
            self._watch.close()
        self._ovsdb.close()
