"""vCenter tasks: started within a limit, awaited on collectors of our own, and never for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.faults import SessionLost, faults_of
from isthmus.adapters.vcenter.session import Session
from isthmus.model.faults import Retry

IN_FLIGHT = 8  # networking-dvs saw vCenter hang above 16
POLL = 20  # seconds that a single wait stays open: below any HTTP timeout
Collector = vmodl.query.PropertyCollector


class Tasks:
    """Runs tasks of one session, from any thread."""

    def __init__(
        self, session: Session, *, limit: int = IN_FLIGHT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session = session
        self._clock = clock
        self._slots = threading.BoundedSemaphore(limit)
        self._idle: list[tuple[int, Any]] = []  # (epoch, collector): a collector dies with its session

    def run(self, start: Callable[[Any], Any], what: str) -> Any:
        """Start a task with `start(content)` and return its result.  Faults of the task or its start rise as they came.

        Raises Retry if it is not finished in time or lost from sight: it may still succeed, so the caller reads back.
        """
        with self._slots:
            deadline = self._clock() + self._session.settings.task_timeout
            task = self._session.raw(start)
            info = self._finished(task, deadline, what)
            if info["info.state"] == vim.TaskInfo.State.success:
                return info.get("info.result")
            raise info["info.error"]

    def _finished(self, task: Any, deadline: float, what: str) -> dict[str, Any]:
        with faults_of(f"{self._session.place}: {what}"):
            while True:
                epoch, collector = self._collector()
                try:
                    info = self._awaited(collector, task, deadline)
                except SessionLost:  # the task outlives the session that started it
                    self._session.lost(epoch)
                    continue
                self._idle.append((epoch, collector))
                return info

    def _awaited(self, collector: Any, task: Any, deadline: float) -> dict[str, Any]:
        paths = ["info.state", "info.error", "info.result"]
        spec = Collector.FilterSpec(
            objectSet=[Collector.ObjectSpec(obj=task)], propSet=[Collector.PropertySpec(type=vim.Task, pathSet=paths)]
        )
        watched = collector.CreateFilter(spec, False)
        known: dict[str, Any] = {}
        version = ""
        while known.get("info.state") not in (vim.TaskInfo.State.success, vim.TaskInfo.State.error):
            left = deadline - self._clock()
            if left <= 0:
                watched.DestroyPropertyFilter()
                raise Retry(
                    f"{self._session.place}: a task was not finished after {self._session.settings.task_timeout:.0f} s"
                )
            patience = int(max(1, min(POLL, left, self._session.settings.timeout / 2)))
            news = collector.WaitForUpdatesEx(version, Collector.WaitOptions(maxWaitSeconds=patience))
            if news is not None:
                version = news.version
                known.update(_changes(news))
        watched.DestroyPropertyFilter()
        return known

    def _collector(self) -> tuple[int, Any]:
        while self._idle:
            try:
                epoch, collector = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if epoch == self._session.epoch:
                return epoch, collector
        collector = self._session.call(lambda content: content.propertyCollector.CreatePropertyCollector())
        return self._session.epoch, collector


def _changes(news: Any) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for filter_update in news.filterSet:
        for update in filter_update.objectSet:
            for missing in update.missingSet:  # an expired session answers with everything missing
                raise missing.fault
            changed.update({change.name: change.val for change in update.changeSet})
    return changed
