"""Watching: one enter per object, one update per change, pages, versions, and the end of a session."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, Watch, wait

pytestmark = pytest.mark.sim

LIGHT = ["name", "runtime.host", "runtime.powerState"]
High = vim.VirtualMachine.MovePriority.highPriority


def changed(update: Any) -> dict[str, Any]:
    return {change.name: change.val for change in update.changeSet}


def test_every_vm_enters_exactly_once(client: Client, other_client: Client) -> None:
    watch = Watch(client, vim.VirtualMachine, [*LIGHT, "config.hardware.device"])
    known = watch.drain()
    assert {u.kind for u in known} == {"enter"}
    assert {u.obj for u in known} == set(client.all(vim.VirtualMachine))
    red = other_client.port_group("red")
    made = {other_client.make_vm(f"watch-enter-{i}", red)._moId for i in range(6)}
    updates = list(watch.updates(seconds=1))
    assert sorted(u.obj._moId for u in updates if u.kind == "enter") == sorted(made)
    for update in updates:
        assert update.kind == "enter"
        values = changed(update)
        assert values["name"].startswith("watch-enter-")
        assert values["runtime.host"]._moId == other_client.host("esx1.lab")._moId
        (nic,) = [d for d in values["config.hardware.device"] if isinstance(d, vim.vm.device.VirtualEthernetCard)]
        assert nic.backing.port.portKey


def test_one_change_is_one_update(client: Client, other_client: Client) -> None:
    mine = other_client.make_vm("watch-change", other_client.port_group("red"))
    watch = Watch(client, vim.VirtualMachine, LIGHT)
    watch.drain()
    wait(mine.PowerOnVM_Task())
    (update,) = watch.updates(seconds=1)
    assert (update.kind, changed(update)) == ("modify", {"runtime.powerState": "poweredOn"})
    wait(mine.MigrateVM_Task(host=other_client.host("esx2.lab"), priority=High))
    (update,) = watch.updates(seconds=1)
    assert [change.name for change in update.changeSet] == ["runtime.host"]
    wait(mine.Rename_Task("watch-changed"))
    (update,) = watch.updates(seconds=1)
    assert changed(update) == {"name": "watch-changed"}
    wait(mine.PowerOffVM_Task())
    wait(mine.Destroy_Task())
    updates = list(watch.updates(seconds=1))
    assert [u.kind for u in updates][-1] == "leave"
    assert updates[-1].obj._moId == mine._moId


def test_what_is_not_watched_is_not_told(client: Client, other_client: Client) -> None:
    watch = Watch(client, vim.VirtualMachine, ["name"])
    watch.drain()
    wait(other_client.vm("resident").ReconfigVM_Task(vim.vm.ConfigSpec(annotation="quiet")))
    other_client.make_port_group(other_client.dvs("tenant"), "watch-quiet")
    assert watch.next(seconds=1) is None


def test_pages_are_truncated_and_complete(client: Client) -> None:
    watch = Watch(client, vim.ManagedEntity, ["name"])
    seen: list[Any] = []
    while True:
        update = watch.next(seconds=0, limit=3)
        if update is None:
            break
        page = [o for f in update.filterSet for o in f.objectSet]
        seen += page
        if not update.truncated:
            assert watch.next(seconds=0, limit=3) is None
            break
        assert len(page) == 3
    assert {u.obj for u in seen} == set(client.all(vim.ManagedEntity))
    assert len(seen) == len({u.obj for u in seen}) > 6


def test_a_client_says_how_many_objects_one_answer_may_hold(client: Client) -> None:
    watch = Watch(client, vim.HostSystem, ["name"])
    first, second = watch.next(limit=2), watch.next(limit=2)
    assert [len(u.filterSet[0].objectSet) for u in (first, second)] == [2, 1]
    assert first.truncated
    assert not second.truncated


def test_a_hundred_objects_make_a_page(client: Client) -> None:
    tenant = client.dvs("tenant")
    specs = [c.port_group_spec(f"watch-page-{i}", numPorts=0) for i in range(120)]
    wait(tenant.AddDVPortgroup_Task(specs))
    watch = Watch(client, vim.dvs.DistributedVirtualPortgroup, ["name"])
    first = watch.next()
    assert len(first.filterSet[0].objectSet) == 100
    assert first.truncated
    assert len(watch.drain()) == len(tenant.portgroup) + len(client.dvs("uplink").portgroup) - 100


def test_an_unknown_version_is_refused_and_empty_starts_anew(client: Client) -> None:
    watch = Watch(client, vim.HostSystem, ["name"])
    first = [u.obj for u in watch.drain()]
    good = watch.version
    for stale in ("99", "nonsense"):
        watch.version = stale
        with pytest.raises(vmodl.query.InvalidCollectorVersion):
            watch.next(seconds=0)
    watch.version = good
    assert watch.next(seconds=0) is None
    watch.version = ""
    assert [u.obj for u in watch.drain()] == first


def test_a_lost_answer_can_be_asked_for_again(client: Client, other_client: Client) -> None:
    watch = Watch(client, vim.VirtualMachine, ["config.annotation"])
    watch.drain()
    before = watch.version
    wait(other_client.vm("resident").ReconfigVM_Task(vim.vm.ConfigSpec(annotation="lost")))
    lost = watch.next()
    watch.version = before
    again = watch.next()
    assert again.version == lost.version
    assert changed(again.filterSet[0].objectSet[0]) == {"config.annotation": "lost"}


def test_a_partial_update_tells_the_changed_device_alone(client: Client, other_client: Client) -> None:
    vm = other_client.make_vm("watch-partial", other_client.port_group("red"))
    watch = Watch(client, vim.VirtualMachine, ["config.hardware.device", "runtime"], partial=True)
    watch.drain()
    c.change_devices(vm, c.add_nic(other_client.port_group("blue")))
    (update,) = watch.updates(seconds=1)
    added = [ch for ch in update.changeSet if ch.op == "add"]
    assert [ch.name for ch in added] == ["config.hardware.device[4001]"]
    assert added[0].val.backing.port.portKey
    c.change_devices(vm, c.remove_nic(c.nics(vm)[1]))
    (update,) = watch.updates(seconds=1)
    assert ("config.hardware.device[4001]", "remove") in [(ch.name, ch.op) for ch in update.changeSet]
    wait(vm.PowerOnVM_Task())
    values = changed(*watch.updates(seconds=1))
    assert values["runtime.powerState"] == "poweredOn"
    assert "runtime" not in values
    assert values["config.hardware.device[4000]"].connectable.connected


def test_a_waiter_is_woken_at_once(client: Client, other_client: Client) -> None:
    watch = Watch(client, vim.VirtualMachine, ["name"])
    watch.drain()
    woken: list[float] = []
    waiting = threading.Thread(target=lambda: watch.next(seconds=10) and woken.append(time.monotonic()))
    waiting.start()
    time.sleep(0.2)
    vm = other_client.vm("resident")
    wait(vm.Rename_Task("renamed"))
    renamed = time.monotonic()
    waiting.join()
    wait(vm.Rename_Task("resident"))
    assert woken[0] - renamed < 5  # of the ten it would have waited


def test_a_waiter_can_be_cancelled(client: Client, vcenter: Any) -> None:
    watch = Watch(client, vim.VirtualMachine, ["name"])
    watch.drain()
    outcome: list[BaseException] = []

    def wait_long() -> None:
        try:
            watch.next(seconds=30)
        except vmodl.fault.RequestCanceled as cancelled:
            outcome.append(cancelled)

    waiting = threading.Thread(target=wait_long)
    waiting.start()
    time.sleep(0.3)
    watch.collector.CancelWaitForUpdates()
    waiting.join(timeout=5)
    assert len(outcome) == 1


def test_a_destroyed_filter_and_collector_are_silent(client: Client, other_client: Client) -> None:
    watch = Watch(client, vim.VirtualMachine, ["config.annotation"])
    watch.drain()
    watch.filter.Destroy()
    wait(other_client.vm("resident").ReconfigVM_Task(vim.vm.ConfigSpec(annotation="unheard")))
    assert watch.next(seconds=1) is None
    watch.collector.Destroy()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        watch.next(seconds=0)


def test_a_destroyed_collector_takes_its_filters_along(client: Client) -> None:
    watch = Watch(client, vim.VirtualMachine, ["name"])
    watch.collector.Destroy()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        watch.filter.Destroy()


def test_port_groups_can_be_watched(client: Client, other_client: Client) -> None:
    watch = Watch(client, vim.dvs.DistributedVirtualPortgroup, ["name", "config.description", "vm"])
    watch.drain()
    group = other_client.make_port_group(other_client.dvs("tenant"), "watch-group")
    (update,) = watch.updates(seconds=1)
    assert (update.kind, changed(update)["name"]) == ("enter", "watch-group")
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion=group.config.configVersion, description="marked"
    )
    wait(group.ReconfigureDVPortgroup_Task(spec))
    (update,) = watch.updates(seconds=1)
    assert changed(update) == {"config.description": "marked"}
    vm = other_client.make_vm("watch-group", group)
    (update,) = watch.updates(seconds=1)
    assert [v._moId for v in changed(update)["vm"]] == [vm._moId]
    wait(vm.Destroy_Task())
    wait(group.Destroy_Task())
    assert [u.kind for u in watch.updates(seconds=1)][-1] == "leave"


def test_new_events_wake_a_watcher_that_then_reads_them(client: Client, other_client: Client) -> None:
    reader = client.events()
    collect = vmodl.query.PropertyCollector
    collector = client.content.propertyCollector.CreatePropertyCollector()
    spec = collect.FilterSpec(
        objectSet=[collect.ObjectSpec(obj=reader.collector)],
        propSet=[collect.PropertySpec(type=vim.event.EventHistoryCollector, pathSet=["latestPage"])],
    )
    reader.collector.SetCollectorPageSize(1)
    collector.CreateFilter(spec, False)
    version = collector.WaitForUpdatesEx("", None).version
    reader.read()
    for i in range(30):
        wait(other_client.vm("resident").ReconfigVM_Task(vim.vm.ConfigSpec(annotation=f"event {i}")))
    assert collector.WaitForUpdatesEx(version, collect.WaitOptions(maxWaitSeconds=5)) is not None
    events = reader.read()
    assert len([e for e in events if isinstance(e, vim.event.VmReconfiguredEvent)]) == 30
    assert [e.key for e in events] == sorted(e.key for e in events)


def test_objects_reached_by_following_properties_enter_once(client: Client, other_client: Client) -> None:
    collect = vmodl.query.PropertyCollector
    folder = client.all(vim.Datacenter)[0].vmFolder
    children = collect.TraversalSpec(path="childEntity", skip=False, type=vim.Folder)
    spec = collect.FilterSpec(
        objectSet=[collect.ObjectSpec(obj=folder, skip=True, selectSet=[children])],
        propSet=[collect.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])],
    )
    collector = client.content.propertyCollector.CreatePropertyCollector()
    collector.CreateFilter(spec, False)
    first = collector.WaitForUpdatesEx("", None)
    entered = [o.obj._moId for f in first.filterSet for o in f.objectSet]
    vm = other_client.make_vm("watch-followed", other_client.port_group("red"))
    second = collector.WaitForUpdatesEx(first.version, collect.WaitOptions(maxWaitSeconds=5))
    assert [(o.kind, o.obj._moId) for f in second.filterSet for o in f.objectSet] == [("enter", vm._moId)]
    assert vm._moId not in entered
    assert len(entered) == len(set(entered))


def test_a_switchs_tasks_are_told_with_its_recent_ones_to_their_ends(client: Client, other_client: Client) -> None:
    collect = vmodl.query.PropertyCollector
    switch = client.dvs("tenant")
    recent = collect.TraversalSpec(path="recentTask", skip=False, type=vim.DistributedVirtualSwitch)
    spec = collect.FilterSpec(
        objectSet=[collect.ObjectSpec(obj=switch, skip=True, selectSet=[recent])],
        propSet=[collect.PropertySpec(type=vim.Task, pathSet=["info.state"])],
    )
    collector = client.content.propertyCollector.CreatePropertyCollector()
    collector.CreateFilter(spec, False)
    version = collector.WaitForUpdatesEx("", None).version
    last: dict[str, str] = {}
    nowhere = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key="999999")
    made = [other_client.dvs("tenant").ReconfigureDVPort_Task([nowhere]) for _ in range(3)]
    deadline = time.monotonic() + 60
    while not all(last.get(task._moId) in ("success", "error") for task in made) and time.monotonic() < deadline:
        news = collector.WaitForUpdatesEx(version, collect.WaitOptions(maxWaitSeconds=5))
        if news is not None:
            version = news.version
            last |= {o.obj._moId: o.changeSet[0].val for f in news.filterSet for o in f.objectSet if o.changeSet}
    assert {task._moId: task.info.state for task in made} == {task._moId: last[task._moId] for task in made}


def test_a_vm_that_migrates_leaves_the_view_of_its_host(client: Client, other_client: Client) -> None:
    vm = other_client.make_vm("watch-leaving", other_client.port_group("red"), power_on=True)
    here, there = (client.host(name) for name in ("esx1.lab", "esx2.lab"))
    views = [client.content.viewManager.CreateContainerView(h, [vim.VirtualMachine], True) for h in (here, there)]

    def seen() -> list[bool]:
        return [vm._moId in [member._moId for member in view.view] for view in views]

    assert seen() == [True, False]
    wait(vm.MigrateVM_Task(host=other_client.host("esx2.lab"), priority=High))
    assert seen() == [False, True]
