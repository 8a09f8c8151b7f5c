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
        self.takes = 10.0
        self.asked_for: list[str] = []
        self.settings = SimpleNamespace(task_timeout=60.0, timeout=30.0)

    def lost(self, epoch: int) -> None:
        assert epoch == self.epoch
        self.epoch += 1

    def WaitForUpdatesEx(self, *_: Any) -> Any:  # noqa: N802
        self.now += self.takes
        objects = self.told.pop(0) if self.told else []
        return Collector.UpdateSet(version="1", filterSet=[Collector.FilterUpdate(objectSet=objects)])

    def CreateListView(self, _: Any) -> Any:  # noqa: N802
        def put(_list: Any, _method: Any, tasks: Any) -> list[Any]:
            self.asked_for.append(tasks[0][0]._GetMoId())
            return []

        return vim.view.ListView("list-1", SimpleNamespace(InvokeMethod=put))

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


SWITCH = vim.DistributedVirtualSwitch("dvs-1", None)


def running(vcenter: Telling) -> Any:
    """Runs tasks of a switch, and gives what they gave."""
    tasks = Tasks(vcenter, clock=lambda: vcenter.now)  # type: ignore[arg-type]
    return lambda name: tasks.run(lambda _: vim.Task(name, None), "test", of=SWITCH)


def test_a_tasks_end_is_heard_with_its_switchs_recent_tasks_though_another_waited_when_it_was_told() -> None:
    vcenter = Telling(
        [update("task-1", "enter", state="running"), update("task-2", "enter", state="success", result="second")],
        [update("task-1", state="success", result="first")],
    )
    vcenter.takes = 0.5
    ended = running(vcenter)
    assert [ended("task-1"), ended("task-2")] == ["first", "second"]
    assert (vcenter.asked_for, vcenter.now) == ([], 1.0), "the second was not waited for"


def test_other_recent_tasks_that_nobody_can_see_or_that_leave_the_list_are_nobodys_concern() -> None:
    vcenter: Any = Telling(
        [
            update("task-0", "enter", missing=vmodl.fault.ManagedObjectNotFound()),
            update("task-1", "enter", state="success", result="made"),
        ],
        [update("task-0", "leave"), update("task-1", "leave"), update("task-2", "enter", state="success")],
    )
    tasks = Tasks(vcenter, clock=lambda: vcenter.now)
    assert tasks.run(lambda _: vim.Task("task-1", None), "test", of=SWITCH) == "made"
    tasks.run(lambda _: vim.Task("task-2", None), "test", of=SWITCH)
    [watcher] = tasks._idle[SWITCH]
    assert list(watcher._heard) == [vim.Task("task-2", None)], "and are not remembered"


def test_a_switch_that_does_not_list_its_tasks_is_waited_for_once_in_a_session() -> None:
    vcenter = Telling([], [update("task-1", "enter", state="success")], [update("task-2", "enter", state="success")])
    vcenter.takes = 0.4
    vcenter.told[:0] = [[] for _ in range(4)]  # 2 s in all
    ended = running(vcenter)
    ended("task-1")
    assert (vcenter.asked_for, round(vcenter.now, 1)) == (["task-1"], 2.4)
    ended("task-2")
    assert (vcenter.asked_for, round(vcenter.now, 1)) == (["task-1", "task-2"], 2.8)
    vcenter.epoch += 1
    vcenter.told = [[update("task-3", "enter", state="success")]]
    ended("task-3")
    assert vcenter.asked_for == ["task-1", "task-2"]


def test_a_task_that_takes_long_is_asked_for_by_itself_and_the_next_is_not() -> None:
    vcenter = Telling(
        [update("task-1", "enter", state="running")],
        [update("task-1", "enter", state="running")],
        [update("task-1", state="success")],
        [update("task-2", "enter", state="success")],
    )
    ended = running(vcenter)
    ended("task-1")
    ended("task-2")
    assert vcenter.asked_for == ["task-1"]


def test_a_session_that_expired_while_its_recent_tasks_were_listened_to_is_followed_by_another() -> None:
    vcenter = Telling(
        [update("task-1", "enter", missing=vim.fault.NotAuthenticated())],
        [update("task-1", "enter", state="success", result="made")],
    )
    assert running(vcenter)("task-1") == "made"
    assert (vcenter.epoch, vcenter.asked_for) == (2, [])
