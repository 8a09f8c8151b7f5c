"""Events that are folded, lost, doubled, late or stalled, and the limits of those who read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter import READ_ONLY, ControlError, Grant, Simulator
from tests.lab.vcenter.client import Client, EventReader, wait
from tests.lab.vcenter.test_privileges import logged_in

pytestmark = pytest.mark.sim

E = vim.event


@pytest.fixture(autouse=True)
def no_troubles(vcenter: Simulator) -> Iterator[None]:
    yield
    vcenter.events.resume()
    vcenter.events.clear()
    vcenter.events.burst_filter(limit=0)


@pytest.fixture
def reader(client: Client) -> EventReader:
    return client.events(E.VmRenamedEvent, E.EventEx)


def rename(client: Client, *names: str) -> None:
    vm = client.vm("resident")
    for name in (*names, "resident"):
        wait(vm.Rename_Task(name))


def told(reader: EventReader) -> list[str]:
    events = reader.read()
    keys = [e.key for e in events]
    assert keys == sorted(set(keys))  # whatever happens to events, keys ascend in the order of reading
    return [e.newName for e in events if isinstance(e, E.VmRenamedEvent)]


def test_a_lost_event_is_never_told(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.lose("VmRenamedEvent", count=1)
    rename(client, "x", "y")
    assert told(reader) == ["y", "resident"]


def test_a_base_type_selects_what_derives_from_it(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.lose("VmEvent")
    rename(client, "x")
    assert told(reader) == []
    wait(client.port_group("blue").Rename_Task("navy"))
    wait(client.port_group("navy").Rename_Task("blue"))
    newest = client.content.eventManager.latestEvent
    assert isinstance(newest, E.DVPortgroupRenamedEvent)


def test_a_doubled_event_is_told_twice(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.double("VmRenamedEvent", count=1)
    rename(client, "x")
    assert told(reader) == ["x", "x", "resident"]


def test_a_late_event_is_overtaken(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.delay("VmRenamedEvent", by=2, count=1)
    rename(client, "x", "y")  # "x" waits for "y" and "resident"
    assert told(reader) == ["y", "resident", "x"]


def test_what_was_held_back_is_told_in_the_end(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.delay("VmRenamedEvent", by=1000)
    rename(client, "x")
    assert told(reader) == []
    vcenter.events.clear()
    assert told(reader) == ["x", "resident"]


def test_a_stalled_log_tells_everything_afterwards(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.stall()
    rename(client, "x", "y")
    assert told(reader) == []
    vcenter.events.resume()
    assert told(reader) == ["x", "y", "resident"]


def test_a_burst_about_one_object_is_folded(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.burst_filter(limit=5)
    rename(client, *[f"n{i}" for i in range(9)])
    events = reader.read()
    assert [e.newName for e in events if isinstance(e, E.VmRenamedEvent)] == [f"n{i}" for i in range(5)]
    assert [e.eventTypeId for e in events if isinstance(e, E.EventEx)] == ["com.vmware.vc.EventBurstStartedEvent"]
    other = client.make_vm("calm", client.port_group("red"))
    wait(other.Rename_Task("calmer"))  # another object is another burst
    assert told(reader) == ["calmer"]
    wait(other.Destroy_Task())


def test_what_two_users_do_to_one_object_is_two_bursts(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.burst_filter(limit=2)
    rename(client, "x", "y", "z")
    with logged_in(vcenter, Grant(READ_ONLY | {"VirtualMachine.Config.Rename"})) as other:
        rename(other, "theirs")
    assert told(reader) == ["x", "y", "theirs", "resident"]


def test_events_can_be_asked_for_by_their_time(client: Client) -> None:
    manager = client.content.eventManager
    kinds = ["VmRenamedEvent"]
    rename(client, "earlier")
    *_, before = manager.QueryEvents(E.EventFilterSpec(eventTypeId=kinds))
    time.sleep(0.05)
    rename(client, "later")
    *_, after, last = manager.QueryEvents(E.EventFilterSpec(eventTypeId=kinds))
    assert (before.newName, after.newName, last.newName) == ("resident", "later", "resident")
    between = before.createdTime + timedelta(milliseconds=20)

    def asked(**span: Any) -> list[int]:
        found = manager.QueryEvents(E.EventFilterSpec(eventTypeId=kinds, time=E.EventFilterSpec.ByTime(**span)))
        return [e.key for e in found]

    assert asked(beginTime=between) == [after.key, last.key]
    assert asked(endTime=between)[-1] == before.key
    assert asked(beginTime=between, endTime=between) == []


def test_the_end_of_a_burst_is_told_with_its_size(vcenter: Simulator, client: Client, reader: EventReader) -> None:
    vcenter.events.burst_filter(limit=1, seconds=1)
    rename(client, "x", "y")
    time.sleep(1.1)
    rename(client, "z")
    notes = [e for e in reader.read() if isinstance(e, E.EventEx)]
    (ended,) = [e for e in notes if e.eventTypeId == "com.vmware.vc.EventBurstEndedEvent"]
    assert {a.key: a.value for a in ended.arguments} == {"eventType": "VmRenamedEvent", "count": 2}


def test_the_port_events_of_one_switch_fold_together(vcenter: Simulator, client: Client) -> None:
    vcenter.events.burst_filter(limit=4, seconds=30)
    reader = client.events(E.DvsPortConnectedEvent)
    group = client.port_group("red")
    vms = [client.make_vm(f"burst{i}", group) for i in range(8)]
    assert len(reader.read()) == 4
    for vm in vms:
        wait(vm.Destroy_Task())


def test_a_session_has_so_many_collectors_and_no_more(client: Client, other_client: Client) -> None:
    manager = client.content.eventManager
    made = [manager.CreateCollectorForEvents(E.EventFilterSpec()) for _ in range(32)]
    with pytest.raises(vim.fault.InvalidState):
        manager.CreateCollectorForEvents(E.EventFilterSpec())
    other_client.content.eventManager.CreateCollectorForEvents(E.EventFilterSpec())
    made[0].DestroyCollector()
    manager.CreateCollectorForEvents(E.EventFilterSpec())


@pytest.mark.parametrize("count", [0, 1001])
def test_a_page_holds_a_thousand_events_at_most(client: Client, count: int) -> None:
    collector = client.content.eventManager.CreateCollectorForEvents(E.EventFilterSpec())
    for read in (collector.ReadNextEvents, collector.ReadPreviousEvents):
        with pytest.raises(vmodl.fault.InvalidArgument):
            read(count)


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (lambda e: e.lose("NoSuchEvent"), "NoSuchEvent"),
        (lambda e: e.delay(by=0), "late"),
        (lambda e: e.lose(probability=3.0), "probability"),
        (lambda e: e.burst_filter(seconds=0), "window"),
    ],
    ids=["type", "late", "probability", "window"],
)
def test_a_trouble_that_cannot_be_is_refused(vcenter: Simulator, do: Any, told: str) -> None:
    with pytest.raises(ControlError, match=told):
        do(vcenter.events)
