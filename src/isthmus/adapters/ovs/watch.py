"""Notices that an appliance is no longer as it was: ovs-vswitchd restarted, or its bridges altered.  It only wakes.

ovs-vswitchd says nowhere in OVSDB that it is a new process, but it makes the bridges' OpenFlow sockets anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeAlias

from isthmus.adapters.ovs.bridges import Snapshot
from isthmus.adapters.ovs.ovsdb import Ovsdb
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.model.faults import Retry
from isthmus.model.flow import Bridge

Sight: TypeAlias = tuple[Snapshot | None, tuple[tuple[int, int] | None, ...]]


class Watch:
    """A thread that looks every `interval` seconds and calls `wake` when what it sees has changed.

    Flows altered by hand are not seen here; the timer of the loop finds them.
    """

    def __init__(self, settings: OvsSettings, wake: Callable[[], None], interval: float = 1.0) -> None:
        self._settings = settings
        self._ovsdb = Ovsdb(settings)
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
        return snapshot, tuple(_identity(self._settings.openflow_target(bridge)) for bridge in Bridge)


def _identity(target: str) -> tuple[int, int] | None:
    """Which incarnation of a unix socket this is; None if there is none, or the target is no unix socket."""
    try:
        status = os.stat(target.removeprefix("unix:"))
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns
