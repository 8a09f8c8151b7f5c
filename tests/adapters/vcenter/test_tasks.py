"""Tasks of vCenter: no more at once than it bears, each known by its own end, whatever session hears of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.tasks import Tasks
from isthmus.model.faults import Retry

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


class Telling(SlowVcenter):
    """A session and a collector that tell of tasks what they are given to tell, wait by wait."""

    def __init__(self, *told: list[Any]) -> None:
        super().__init__()
        self.told = list(told)
        self.now = 0.0
        self.settings = SimpleNamespace(task_timeout=60.0, timeout=30.0)

    def lost(self, epoch: int) -> None:
        assert epoch == self.epoch
        self.epoch += 1

    def WaitForUpdatesEx(self, *_: Any) -> Any:  # noqa: N802
        self.now += 10.0
        objects = self.told.pop(0) if self.told else []
        return Collector.UpdateSet(version="1", filterSet=[Collector.FilterUpdate(objectSet=objects)])

    def ended(self, task: str) -> Any:
        """What the task with this name gives, waited for while the clock runs."""
        return Tasks(self, clock=lambda: self.now).run(lambda _: vim.Task(task, None), "test")  # type: ignore[arg-type]


def update(task: str, kind: str = "modify", missing: Any = None, **info: Any) -> Any:
    changes = [Collector.Change(name=f"info.{name}", op="assign", val=value) for name, value in info.items()]
    faults = [Collector.MissingProperty(path="info.state", fault=missing)] if missing else []
    return Collector.ObjectUpdate(kind=kind, obj=vim.Task(task, None), changeSet=changes, missingSet=faults)


def test_after_a_task_that_hung_the_next_about_the_same_is_waited_for_shortly_until_one_ends() -> None:
    vcenter = Telling()
    tasks = Tasks(vcenter, clock=lambda: vcenter.now)  # type: ignore[arg-type]

    def waited(about: str) -> float:
        began = vcenter.now
        with pytest.raises(Retry):
            tasks.run(lambda _: vim.Task("task-1", None), "test", about)
        return vcenter.now - began

    assert [waited("esx1"), waited("esx1"), waited("esx2"), waited("esx1")] == [60, 10, 60, 20]
    assert [waited("esx1"), waited("esx1"), waited("esx1")] == [40, 40, 40]  # it may only be slow
    vcenter.told = [[update("task-1", "enter", state="success")]]
    tasks.run(lambda _: vim.Task("task-1", None), "test", "esx1")
    assert waited("esx1") == 60


def test_tasks_about_what_hung_take_half_of_the_places_at_most() -> None:
    vcenter: Any = SlowVcenter()
    tasks = Tasks(vcenter)
    tasks._hung = {f"esx{number}": 10.0 for number in range(6)}
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda about: tasks.run(vcenter.start, "test", about), sorted(tasks._hung)))
    assert vcenter.most == 4


def test_a_task_whose_session_expired_without_a_word_is_waited_for_in_the_next() -> None:
    vcenter = Telling(
        [update("task-1", "enter", state="running")],
        [update("task-1", missing=vim.fault.NotAuthenticated())],
        [update("task-1", "enter", state="success", result="made")],
    )
    assert vcenter.ended("task-1") == "made"
    assert vcenter.epoch == 2


def test_what_is_still_told_of_an_earlier_task_is_not_taken_for_the_next_ones_end() -> None:
    earlier = [
        update("task-1", state="success", result="the earlier one's"),
        update("task-1", "leave", missing=vim.fault.NotAuthenticated()),
    ]
    vcenter = Telling(
        [update("task-2", "enter", state="running"), *earlier],
        earlier,
        [update("task-2", state="success", result="its own")],
    )
    assert vcenter.ended("task-2") == "its own"
    assert vcenter.epoch == 1, "nor for the end of the session"
