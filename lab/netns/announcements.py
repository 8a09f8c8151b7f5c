"""What vCenter tells by itself: that something changed (a wake), and that a VM is about to move (an announcement)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyVim.connect import Disconnect
from pyVmomi import vim, vmodl

from lab.netns.vcenter import Login

log = logging.getLogger(__name__)

# Short enough to end soon when told to, long enough to cost nothing.
WAIT_SECONDS = 10
PAUSE_AFTER_FAULT = 0.5
_WATCHED = {
    vim.VirtualMachine: ["runtime.host", "runtime.powerState", "config.hardware.device", "name"],
    vim.HostSystem: ["name"],
    vim.DistributedVirtualSwitch: ["name", "config"],
}


@dataclass(frozen=True, slots=True)
class Announced:
    """A migration is about to begin (`destination` set) or has come to nothing."""

    vm: str
    source: str
    destination: str | None


@dataclass(slots=True)
class Watch:
    """A thread that blocks in WaitForUpdatesEx and calls `wake` for every change of the inventory."""

    login: Login
    wake: Callable[[], None]
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except (vmodl.MethodFault, OSError, EOFError) as fault:
                log.warning("watch: %s: %s", type(fault).__name__, getattr(fault, "msg", fault))
                time.sleep(PAUSE_AFTER_FAULT)

    def _follow(self) -> None:
        si = self.login.connect()
        try:
            content = si.RetrieveContent()
            # The default collector is shared by everybody on the session; this one is ours.
            collector = content.propertyCollector.CreatePropertyCollector()
            collector.CreateFilter(_inventory_filter(content), partialUpdates=True)
            version = ""
            options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=WAIT_SECONDS)
            while not self._stop.is_set():
                updates = collector.WaitForUpdatesEx(version, options)
                if updates is not None:
                    version = updates.version
                    self.wake()
        finally:
            Disconnect(si)


@dataclass(slots=True)
class Announcements:
    """A cursor over vCenter's migration events, on a session of its own."""

    login: Login
    _si: Any = field(init=False)
    _events: Any = field(init=False)

    def __post_init__(self) -> None:
        self._si = self.login.connect()
        manager = self._si.RetrieveContent().eventManager
        self._events = manager.CreateCollectorForEvents(
            vim.event.EventFilterSpec(eventTypeId=["VmBeingHotMigratedEvent", "VmFailedMigrateEvent"])
        )
        self.read()  # what is past has been acted out before our time

    def read(self) -> list[Announced]:
        """Those since the last read, in order."""
        told: list[Announced] = []
        while events := self._events.ReadNextEvents(100):
            told += [_announced(event) for event in events if event.vm is not None]
        return told

    def close(self) -> None:
        Disconnect(self._si)


def _announced(event: Any) -> Announced:
    source = event.host.host._moId if event.host is not None else ""
    is_start = isinstance(event, vim.event.VmBeingHotMigratedEvent)
    return Announced(event.vm.vm._moId, source, event.destHost.host._moId if is_start else None)


def _inventory_filter(content: Any) -> Any:
    view = content.viewManager.CreateContainerView(content.rootFolder, list(_WATCHED), True)
    query = vmodl.query.PropertyCollector
    walk = query.TraversalSpec(type=vim.view.ContainerView, path="view")
    start = query.ObjectSpec(obj=view, skip=True, selectSet=[walk])
    sets = [query.PropertySpec(type=type_, pathSet=paths, all=False) for type_, paths in _WATCHED.items()]
    return query.FilterSpec(objectSet=[start], propSet=sets)
