"""vCenter tasks: started within a limit, awaited on collectors of our own, and never for ever.

A task's end is told with the recent tasks of the object that it is about (vSphere API: ManagedEntity.recentTask), so
that nobody has to be asked for it.  One that is not heard of there in time is asked for by itself.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Any

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.faults import SessionLost, faults_of
from isthmus.adapters.vcenter.session import Session
from isthmus.model.faults import Retry

IN_FLIGHT = 8  # networking-dvs saw vCenter hang above 16
HUNG, HUNG_LONGEST = 10.0, 40.0  # seconds for a task about what hung before: it may only be slow
POLL = 20  # seconds that a single wait stays open: below any HTTP timeout
RECENTLY = 2.0  # seconds after which a task is asked for by itself
AT_ONCE = 0.5  # seconds in which it answers that it had ended before
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
        self._idle: dict[Any, list[_Watcher]] = defaultdict(list)  # by what tells of them; each dies with its session
        self._deaf = -1  # the epoch in which an end was not among the recent tasks

    def run(self, start: Callable[[Any], Any], what: str, about: Hashable = None, of: Any = None) -> Any:
        """Start a task with `start(content)` and return its result.  Faults of the task or its start rise as they came.

        `of` is the managed object that has it among its recent tasks, if there are to be many of these.
        Raises Retry if it is not finished in time or lost from sight: it may still succeed, so the caller reads back.
        After a task about the same (a host, say) was not finished, the next are waited for only shortly, few at once.
        """
        patience = self._session.settings.task_timeout
        if about is None or about not in self._hung:
            with self._slots:
                return self._run(start, what, about, of, patience)
        patience = min(self._hung.get(about, HUNG), patience)
        if not self._slots_of_hung.acquire(timeout=min(HUNG, patience)):
            raise Retry(f"{self._session.place}: {what}: too many tasks hang already")
        try:
            with self._slots:
                return self._run(start, what, about, of, patience)
        finally:
            self._slots_of_hung.release()

    def _run(self, start: Callable[[Any], Any], what: str, about: Hashable, of: Any, patience: float) -> Any:
        task = self._session.raw(start)
        try:
            info = self._finished(task, patience, what, of)
        except Unfinished:
            last = self._hung.get(about)
            self._hung[about] = HUNG if last is None else min(HUNG_LONGEST, 2 * last)
            raise
        self._hung.pop(about, None)
        if info["info.state"] == vim.TaskInfo.State.success:
            return info.get("info.result")
        raise info["info.error"]

    def _finished(self, task: Any, patience: float, what: str, of: Any) -> dict[str, Any]:
        deadline = self._clock() + patience
        with faults_of(f"{self._session.place}: {what}"):
            while True:
                epoch = self._session.epoch
                try:
                    if of is None or self._deaf == epoch:
                        return self._awaited(task, deadline, None)
                    with suppress(Unfinished):
                        return self._awaited(task, min(deadline, self._clock() + RECENTLY), of)
                    asked = self._clock()
                    info = self._awaited(task, deadline, None)
                    if self._clock() - asked < AT_ONCE:
                        self._deaf = epoch
                    return info
                except SessionLost:  # the task outlives the session that started it
                    self._session.lost(epoch)

    def _awaited(self, task: Any, deadline: float, of: Any) -> dict[str, Any]:
        watcher = self._watcher(of)
        watcher.look_at(task)
        while (known := watcher.heard).get("info.state") not in (vim.TaskInfo.State.success, vim.TaskInfo.State.error):
            left = deadline - self._clock()
            if left <= 0:
                self._idle[of].append(watcher)
                raise Unfinished(f"{self._session.place}: a task was not finished in time")
            watcher.wait(int(max(1, min(POLL, left, self._session.settings.timeout / 2))))
        self._idle[of].append(watcher)
        return known

    def _watcher(self, of: Any) -> _Watcher:
        while idle := self._idle[of]:
            try:
                watcher = idle.pop()
            except IndexError:  # another thread was quicker
                break
            if watcher.epoch == self._session.epoch:
                return watcher
        kind = _ListWatcher if of is None else partial(_Watcher, of=of)
        return self._session.call(lambda content: kind(content, self._session.epoch))


class _Watcher:
    """A collector with one filter: the recent tasks of an object, and how each is."""

    PATH = "recentTask"

    def __init__(self, content: Any, epoch: int, of: Any) -> None:
        self.epoch = epoch
        self._collector = content.propertyCollector.CreatePropertyCollector()
        self._task: Any = None
        self._heard: dict[Any, dict[str, Any]] = {}
        self._version = ""
        walk = Collector.TraversalSpec(type=type(of), path=self.PATH, skip=False)
        paths = ["info.state", "info.error", "info.result"]
        spec = Collector.FilterSpec(
            objectSet=[Collector.ObjectSpec(obj=of, skip=True, selectSet=[walk])],
            propSet=[Collector.PropertySpec(type=vim.Task, pathSet=paths)],
        )
        self._collector.CreateFilter(spec, False)

    def look_at(self, task: Any) -> None:
        """Hear of this task from now on.  Its end may have been heard already, by who waited for another."""
        self._task = task

    @property
    def heard(self) -> dict[str, Any]:
        """What the task has said."""
        return self._heard.get(self._task, {})

    def wait(self, seconds: int) -> None:
        """Hear what tasks say next, within so many seconds."""
        news = self._collector.WaitForUpdatesEx(self._version, Collector.WaitOptions(maxWaitSeconds=seconds))
        if news is None:
            return
        self._version = news.version
        for filter_update in news.filterSet:
            for update in filter_update.objectSet:
                if update.kind == "leave":
                    self._heard.pop(update.obj, None)
                    continue
                if update.missingSet and update.obj == self._task:
                    raise update.missingSet[0].fault  # an expired session answers with everything missing
                said = {change.name: change.val for change in update.changeSet}
                self._heard.setdefault(update.obj, {}).update(said)


class _ListWatcher(_Watcher):
    """The same of a list that holds one task at a time: a call for each task but the waiting."""

    PATH = "view"

    def __init__(self, content: Any, epoch: int) -> None:
        self._list = content.viewManager.CreateListView([])
        super().__init__(content, epoch, self._list)

    def look_at(self, task: Any) -> None:
        last = [self._task] if self._task is not None else []
        super().look_at(task)
        self._heard.clear()
        if self._list.ModifyListView([task], last):  # what it could not find
            raise vmodl.fault.ManagedObjectNotFound(obj=task)
