"""Announced moves, from vCenter's events.  Law: events are hints; losing one is safe, and a deadline ends each move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from pyVmomi import vim

E = vim.event
BEGINS: tuple[Any, ...] = (E.VmBeingHotMigratedEvent, E.VmBeingMigratedEvent, E.VmBeingRelocatedEvent)
ENDS: tuple[Any, ...] = (E.VmMigratedEvent, E.VmFailedMigrateEvent, E.VmRelocatedEvent, E.VmRelocateFailedEvent)
MOVES = (*BEGINS, *ENDS, E.DrsVmMigratedEvent)
PORTS: tuple[Any, ...] = (E.DvsPortConnectedEvent, E.DvsPortDisconnectedEvent, E.DvsPortReconfiguredEvent)
PAGE_SIZE = 10  # every update of latestPage carries a whole page
READ_SIZE = 100  # below 1,000, where readers with few privileges get stuck (govmomi #3450)
REMEMBERED = 2_000  # keys of events that were heard


class Moves:
    """The moves under way: VM -> (destination, when it was first announced), by moref."""

    def __init__(self, deadline: float, clock: Callable[[], float]) -> None:
        self._deadline, self._clock = deadline, clock
        self._pending: dict[str, tuple[str, float]] = {}

    def take(self, event: Any) -> set[str]:
        """Note an event; the hosts (morefs) it concerns."""
        vm = event.vm.vm._GetMoId() if event.vm else None
        if vm is None:
            return set()
        here = {event.host.host._GetMoId()} if event.host else set()
        if isinstance(event, BEGINS) and event.destHost is not None:
            to = event.destHost.host._GetMoId()
            if self._pending.get(vm, ("",))[0] != to:
                self._pending[vm] = (to, self._clock())
            return here | {to}
        if isinstance(event, ENDS):
            ended = self._pending.pop(vm, None)
            return here | ({ended[0]} if ended else set())
        return set()

    def pending(self) -> dict[str, tuple[str, float]]:
        """The moves that have neither ended nor passed their deadline."""
        now = self._clock()
        self._pending = {vm: move for vm, move in self._pending.items() if now - move[1] < self._deadline}
        return dict(self._pending)


class EventReader:
    """An event collector of one session.

    Its latest page, which vCenter sends when it changes, is enough while it reaches back to what was heard; beyond
    that, and now and then, the events are read on from the last one that was read.
    """

    def __init__(self, content: Any, server_time: Any, look_back: float) -> None:
        # Only the server's clock is used.
        spec = _filter((*MOVES, *PORTS), server_time)
        self.collector = content.eventManager.CreateCollectorForEvents(spec)
        self.collector.SetCollectorPageSize(PAGE_SIZE)
        # A start in the middle of a move still hears of it.
        past = content.eventManager.QueryEvents(_filter(MOVES, server_time - timedelta(seconds=look_back)))
        self._past = sorted(past or (), key=_key)
        self._heard: dict[int, None] = {}  # keys, in the order they were heard
        self._unread = 0  # events that were heard from pages, and are still before where reading goes on

    def news(self, page: Sequence[Any] = ()) -> list[Any]:
        """The events that were not heard yet, given the latest page, if there is one: those before it are read."""
        fresh = sorted((event for event in page if event.key not in self._heard), key=_key)
        joined = len(fresh) < len(page) or len(page) < PAGE_SIZE
        if fresh and joined and self._unread + len(fresh) < READ_SIZE:
            self._unread += len(fresh)
        else:
            fresh, self._unread = [event for event in self._drained() if event.key not in self._heard], 0
        found, self._past = [*self._past, *fresh], []
        self._heard.update(dict.fromkeys(event.key for event in found))
        for key in list(self._heard)[:-REMEMBERED]:
            del self._heard[key]
        return found

    def _drained(self) -> Iterator[Any]:
        """What is left unread by a short answer comes with the next event."""
        more = True
        while more:
            events = self.collector.ReadNextEvents(READ_SIZE)
            more = len(events) >= READ_SIZE
            yield from events


def ports_of(events: Iterable[Any]) -> dict[str, set[str]]:
    """The port keys that DvsPort* events are about, by switch (moref)."""
    ports: dict[str, set[str]] = {}
    for event in events:
        if isinstance(event, PORTS) and event.dvs is not None:
            keys = [event.portKey] if isinstance(event.portKey, str) else event.portKey
            ports.setdefault(event.dvs.dvs._GetMoId(), set()).update(keys)
    return ports


def _filter(kinds: Iterable[Any], since: Any) -> Any:
    time = E.EventFilterSpec.ByTime(beginTime=since)
    return E.EventFilterSpec(eventTypeId=[_kind(kind) for kind in kinds], time=time)


def _key(event: Any) -> int:
    return int(event.key)


def _kind(event: Any) -> str:
    return str(event.__name__.rpartition(".")[2])
