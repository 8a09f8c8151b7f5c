"""Events are heard once each, whether vCenter sent them along or they had to be asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim

from isthmus.adapters.vcenter.moves import PAGE_SIZE, EventReader


class EventManager:
    """One that keeps all events, with one collector."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.read = self.asked = 0

    def happen(self, count: int) -> None:
        first = len(self.events) + 1
        self.events += [vim.event.VmEmigratingEvent(key=key) for key in range(first, first + count)]

    @property
    def page(self) -> list[Any]:
        return self.events[: -PAGE_SIZE - 1 : -1]

    def CreateCollectorForEvents(self, _: Any) -> Any:  # noqa: N802 (vSphere's names)
        return SimpleNamespace(SetCollectorPageSize=lambda size: None, ReadNextEvents=self.next_events)

    def QueryEvents(self, _: Any) -> list[Any]:  # noqa: N802
        return []

    def next_events(self, count: int) -> list[Any]:
        self.asked += 1
        found = self.events[self.read : self.read + count]
        self.read += len(found)
        return found


def reader(manager: EventManager) -> EventReader:
    return EventReader(SimpleNamespace(eventManager=manager), datetime(2026, 1, 1, tzinfo=UTC), 600)


@given(st.lists(st.tuples(st.integers(0, 130), st.booleans()), max_size=12))
def test_every_event_is_heard_once_in_order_in_whatever_portions_they_come(bursts: list[tuple[int, bool]]) -> None:
    manager = EventManager()
    heard: list[int] = []
    events = reader(manager)
    for count, sent_along in bursts:
        manager.happen(count)
        heard += [event.key for event in events.news(manager.page if sent_along else ())]
    heard += [event.key for event in events.news()]
    assert heard == [event.key for event in manager.events]


def test_a_few_events_at_a_time_are_heard_without_asking() -> None:
    manager = EventManager()
    events = reader(manager)
    for _ in range(40):
        manager.happen(2)
        assert len(events.news(manager.page)) == 2
    assert manager.asked == 0
    manager.happen(90)
    assert len(events.news(manager.page)) == 90
    assert 0 < manager.asked <= 3


def test_an_update_that_shows_no_new_event_is_asked_about() -> None:
    manager = EventManager()
    events = reader(manager)
    manager.happen(3)
    assert len(events.news([])) == 3
    assert manager.asked == 1
