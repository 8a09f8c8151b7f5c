"""Notices that an appliance is no longer as it was: ovs-vswitchd restarted, or its bridges altered.  It only wakes.

ovs-vswitchd says nowhere in OVSDB that it is a new process, but it makes the bridges' OpenFlow sockets anew; where
these cannot be seen (ssl:) a connection is kept to each.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeAlias

from isthmus.adapters.ovs.bridges import Snapshot
from isthmus.adapters.ovs.canary import Canary
from isthmus.adapters.ovs.ovsdb import Ovsdb
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.model.faults import Retry
from isthmus.model.flow import Bridge

Sight: TypeAlias = tuple[Snapshot | None, tuple[object, ...]]


class Watch:
    """A thread that looks every `interval` seconds and calls `wake` when what it sees has changed.

    Flows altered by hand are not seen here; the timer of the loop finds them.  Where flows are not ours, ovs-vswitchd
    loses nothing of ours when it restarts.
    """

    def __init__(self, settings: OvsSettings, wake: Callable[[], None], interval: float = 1.0) -> None:
        self._ovsdb = Ovsdb(settings)
        targets = [settings.openflow_target(bridge) for bridge in (Bridge if settings.own_flows else ())]
        tls = settings.tls
        self._sockets = [target.removeprefix("unix:") for target in targets if target.startswith("unix:")]
        self._canaries = [Canary(target, tls) for target in targets if tls and target.startswith("ssl:")]
        self._wake = wake
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {settings.ovsdb}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()
        self._ovsdb.close()
        for canary in self._canaries:
            canary.close()

    def _run(self) -> None:
        seen = self._look()
        while not self._stop.wait(self._interval):
            sight = self._look()
            if sight != seen:
                seen = sight
                self._wake()

    def _look(self) -> Sight:
        try:
            snapshot: Snapshot | None = self._ovsdb.snapshot()
        except Retry:
            snapshot = None
        return snapshot, (*map(_incarnation, self._sockets), *(canary.life() for canary in self._canaries))


def _incarnation(path: str) -> tuple[int, int] | None:
    """Which of the sockets that were ever at this path it is; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns
