"""The stream of /watch: each type whole, then every change of it, without a gap between the two.

Law: who asks for a type by its name with dashes gets it whole, and no change ever: the server compares names as given.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lab.contrail.objects import Notice, Objects
from lab.contrail.schema import Json, Kind, kind_of
from lab.contrail.views import HEAD, Query, listed, whole

KEEP_ALIVE = 60.0
Event = tuple[str, Json]


@dataclass(eq=False, slots=True)
class _Watcher:
    fields: Mapping[str, tuple[str, ...]]
    events: queue.SimpleQueue[Event | None] = field(default_factory=queue.SimpleQueue)


class Watchers:
    def __init__(self, objects: Objects, keep_alive: float = KEEP_ALIVE) -> None:
        self.keep_alive = keep_alive
        self._objects = objects
        self._lock = threading.Lock()
        self._watchers: set[_Watcher] = set()
        objects.listeners.append(self._hear)

    def count(self) -> int:
        with self._lock:
            return len(self._watchers)

    def drop(self) -> None:
        """End every stream without a word."""
        with self._lock:
            for watcher in self._watchers:
                watcher.events.put(None)

    def stop(self, reason: str) -> None:
        """End every stream with the event that the server sends when it cannot read any more."""
        with self._lock:
            for watcher in self._watchers:
                for name in watcher.fields:
                    watcher.events.put(("stop", {kind_of(name).name: {"error": reason}}))

    def stream(self, fields: Mapping[str, tuple[str, ...]], failing: Mapping[str, int]) -> Iterator[bytes]:
        """Text of the stream, piece by piece.  `fields` has the types as they were asked for."""
        watcher = _Watcher(fields)
        with self._lock:
            self._watchers.add(watcher)
        try:
            for name in fields:
                event = self._whole(name, failing)
                yield _text(*event)
                if event[0] == "stop":
                    return
            yield from self._changes(watcher)
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def _changes(self, watcher: _Watcher) -> Iterator[bytes]:
        while True:
            try:
                event = watcher.events.get(timeout=self.keep_alive)
            except queue.Empty:
                yield b":\n\n"
                continue
            if event is None:
                return
            yield _text(*event)
            if event[0] == "stop":
                return

    def _whole(self, name: str, failing: Mapping[str, int]) -> Event:
        kind = kind_of(name)
        if kind.name in failing:
            return "stop", {kind.collection: [{kind.name: {"error": "the list failed"}}]}
        query = Query(detail=True, hrefs=False)
        with self._objects.lock:
            found = listed(self._objects, kind, query, lambda *_: "")[kind.collection]
        for entry in found:
            del entry[kind.name]["name"]  # which only an answer to a request has
        return "init", {kind.collection: found}

    def _hear(self, notice: Notice) -> None:
        with self._lock:
            for watcher in self._watchers:
                fields = watcher.fields.get(notice.kind.object_type)
                if fields is not None:
                    watcher.events.put((notice.oper.lower(), self._seen(notice, fields)))

    def _seen(self, notice: Notice, fields: tuple[str, ...]) -> Json:
        kind: Kind = notice.kind
        if notice.oper == "DELETE":
            return {kind.name: {"uuid": notice.id}}
        body = whole(self._objects, kind, notice.body)
        if fields:
            body = {name: value for name, value in body.items() if name in HEAD or name in fields}
        return {kind.name: body}


def _text(event: str, data: Json) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
