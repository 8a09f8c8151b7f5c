"""Tasks of vCenter: no more at once than it bears, and a slot is held until its task has ended."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.tasks import Tasks

Collector = vmodl.query.PropertyCollector
BOTH = 0.3  # seconds that a task stays open to see whether one too many joins it


class SlowVcenter:
    """A session and a collector whose tasks end only after another had every chance to begin."""

    def __init__(self) -> None:
        self.place, self.epoch = "vCenter slow", 1
        self.settings = SimpleNamespace(task_timeout=60.0, timeout=30.0)
        self.running = self.most = 0
        self._changed = threading.Condition()

    def raw(self, start: Any) -> Any:
        return start(self)

    def call(self, work: Any) -> Any:
        return work(SimpleNamespace(propertyCollector=self, viewManager=self))

    def CreatePropertyCollector(self) -> Any:  # noqa: N802 (vSphere's name, as those below)
        return self

    def CreateListView(self, _: Any) -> Any:  # noqa: N802
        return vim.view.ListView("list-1", SimpleNamespace(InvokeMethod=lambda *_: []))

    def start(self, _: Any) -> Any:
        with self._changed:
            self.running += 1
            self.most = max(self.most, self.running)
            self._changed.notify_all()
        return vim.Task("task-1", None)

    def CreateFilter(self, *_: Any) -> Any:  # noqa: N802
        return SimpleNamespace(DestroyPropertyFilter=lambda: None)

    def WaitForUpdatesEx(self, *_: Any) -> Any:  # noqa: N802
        with self._changed:
            self._changed.wait_for(lambda: self.most > 8, BOTH)
            self.running -= 1
        done = Collector.Change(name="info.state", op="assign", val=vim.TaskInfo.State.success)
        update = Collector.ObjectUpdate(kind="enter", obj=vim.Task("task-1", None), changeSet=[done])
        return Collector.UpdateSet(version="1", filterSet=[Collector.FilterUpdate(objectSet=[update])])


def test_eight_tasks_run_at_once_and_a_ninth_waits_for_the_end_of_one() -> None:
    vcenter: Any = SlowVcenter()
    tasks = Tasks(vcenter)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: tasks.run(vcenter.start, "test"), range(12)))
    assert (vcenter.most, vcenter.running) == (8, 0)
