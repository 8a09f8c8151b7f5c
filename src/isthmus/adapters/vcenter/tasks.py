"""vCenter tasks: started within a limit, awaited on collectors of our own, and never for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.faults import SessionLost, faults_of
from isthmus.adapters.vcenter.session import Session
from isthmus.model.faults import Retry

IN_FLIGHT = 8  # networking-dvs saw vCenter hang above 16
HUNG, HUNG_LONGEST = 10.0, 40.0  # seconds for a task about what hung before: it may only be slow
POLL = 20  # seconds that a single wait stays open: below any HTTP timeout
Collector = vmodl.query.PropertyCollector


class Unfinished(Retry):
    """A task that has not ended in time."""


class Tasks:
    """Runs tasks of one session, from any thread."""

    def __init__(
        self, session: Session, *, limit: int = IN_FLIGHT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session = session
        self._clock = clock
        self._slots = threading.BoundedSemaphore(limit)
        self._slots_of_hung = threading.BoundedSemaphore(max(1, limit // 2))
        self._hung: dict[Hashable, float] = {}  # how long the next one is waited for
        self._idle: list[_Watcher] = []  # each dies with its session

    def run(self, start: Callable[[Any], Any], what: str, about: Hashable = None) -> Any:
        """Start a task with `start(content)` and return its result.  Faults of the task or its start rise as they came.

        Raises Retry if it is not finished in time or lost from sight: it may still succeed, so the caller reads back.
        After a task about the same (a host, say) was not finished, the next are waited for only shortly, few at once.
        """
        patience = self._session.settings.task_timeout
        if about is None or about not in self._hung:
            with self._slots:
                return self._run(start, what, about, patience)
        patience = min(self._hung.get(about, HUNG), patience)
        if not self._slots_of_hung.acquire(timeout=min(HUNG, patience)):
            raise Retry(f"{self._session.place}: {what}: too many tasks hang already")
        try:
            with self._slots:
                return self._run(start, what, about, patience)
        finally:
            self._slots_of_hung.release()

    def _run(self, start: Callable[[Any], Any], what: str, about: Hashable, patience: float) -> Any:
        task = self._session.raw(start)
        try:
            info = self._finished(task, patience, what)
        except Unfinished:
            last = self._hung.get(about)
            self._hung[about] = HUNG if last is None else min(HUNG_LONGEST, 2 * last)
            raise
        self._hung.pop(about, None)
        if info["info.state"] == vim.TaskInfo.State.success:
            return info.get("info.result")
        raise info["info.error"]

    def _finished(self, task: Any, patience: float, what: str) -> dict[str, Any]:
        deadline = self._clock() + patience
        with faults_of(f"{self._session.place}: {what}"):
            while True:
                watcher = self._watcher()
                try:
                    info = self._awaited(watcher, task, deadline)
                except SessionLost:  # the task outlives the session that started it
                    self._session.lost(watcher.epoch)
                    continue
                self._idle.append(watcher)
                return info

    def _awaited(self, watcher: _Watcher, task: Any, deadline: float) -> dict[str, Any]:
        watcher.look_at(task)
        known: dict[str, Any] = {}
        while known.get("info.state") not in (vim.TaskInfo.State.success, vim.TaskInfo.State.error):
            left = deadline - self._clock()
            if left <= 0:
                self._idle.append(watcher)
                raise Unfinished(f"{self._session.place}: a task was not finished in time")
            known.update(watcher.wait(int(max(1, min(POLL, left, self._session.settings.timeout / 2)))))
        return known

    def _watcher(self) -> _Watcher:
        while self._idle:
            try:
                watcher = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if watcher.epoch == self._session.epoch:
                return watcher
        return self._session.call(lambda content: _Watcher(content, self._session.epoch))


class _Watcher:
    """A collector with one filter, on a list that holds one task at a time: a call for each task but the waiting."""

    def __init__(self, content: Any, epoch: int) -> None:
        self.epoch = epoch
        self._collector = content.propertyCollector.CreatePropertyCollector()
        self._list = content.viewManager.CreateListView([])
        self._task: Any = None
        self._version = ""
        walk = Collector.TraversalSpec(type=vim.view.ListView, path="view", skip=False)
        paths = ["info.state", "info.error", "info.result"]
        spec = Collector.FilterSpec(
            objectSet=[Collector.ObjectSpec(obj=self._list, skip=True, selectSet=[walk])],
            propSet=[Collector.PropertySpec(type=vim.Task, pathSet=paths)],
        )
        self._collector.CreateFilter(spec, False)

    def look_at(self, task: Any) -> None:
        """Hear of this task from now on, and no more of the last one."""
        last, self._task = [self._task] if self._task is not None else [], task
        if self._list.ModifyListView([task], last):  # what it could not find
            raise vmodl.fault.ManagedObjectNotFound(obj=task)

    def wait(self, seconds: int) -> dict[str, Any]:
        """What the task says next, within so many seconds."""
        news = self._collector.WaitForUpdatesEx(self._version, Collector.WaitOptions(maxWaitSeconds=seconds))
        if news is None:
            return {}
        self._version = news.version
        return self._changes(news)

    def _changes(self, news: Any) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for filter_update in news.filterSet:
            for update in filter_update.objectSet:
                if update.obj != self._task:
                    continue  # the leave of an earlier one
                for missing in update.missingSet:  # an expired session answers with everything missing
                    raise missing.fault
                changed.update({change.name: change.val for change in update.changeSet})
        return changed
