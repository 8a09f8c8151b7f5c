"""What an api-server has of the kinds that concern us, as it tells of it: whole, or not at all.

Law: only what was given whole begins it, and whatever breaks the telling ends it.  Who reads while there is none asks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Protocol

from isthmus.adapters.contrail.api import Fields
from isthmus.adapters.contrail.meaning import KINDS, narrow


class Listener(Protocol):
    """Who wants to know.  Called by the thread that listens to the api-server."""

    def opening(self) -> None:
        """It is about to be given whole: what was written before is in it."""
        ...

    def begun(self) -> None:
        """It is whole."""
        ...

    def changed(self, kind: str, uuid: str, before: Fields | None, after: Fields | None) -> None:
        """An object is another, new or gone, or was told of again."""
        ...

    def ended(self) -> None:
        """Nobody tells any more."""
        ...


class Mirror:
    """Threads may read; one writes."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._changed = threading.Condition()
        self._kinds: dict[str, dict[str, Fields]] | None = None
        self._versions = dict.fromkeys(KINDS, 0)

    @property
    def is_whole(self) -> bool:
        """Whether it can be read."""
        return self._kinds is not None

    def listed(self, kind: str) -> list[Fields] | None:
        """All objects of a kind; None if nobody tells of them."""
        with self._changed:
            return None if self._kinds is None else list(self._kinds[kind].values())

    def of(self, kind: str, uuid: str) -> Fields | None:
        """One object; None if it is not told of."""
        with self._changed:
            return None if self._kinds is None else self._kinds[kind].get(uuid)

    def version(self, kind: str) -> int | None:
        """Another one whenever something of interest in a kind is another; None if nobody tells of it."""
        with self._changed:
            return None if self._kinds is None else self._versions[kind]

    def awaited(self, kind: str, uuid: str, field: str, seconds: float) -> object:
        """A field of an object that is about to be told of; None if it was not within so many seconds."""

        def found() -> object:
            return None if self._kinds is None else self._kinds[kind].get(uuid, {}).get(field)

        with self._changed:
            self._changed.wait_for(lambda: self._kinds is None or found(), seconds)
            return found()

    def opening(self) -> None:
        """Whoever tells is about to begin."""
        for listener in self.listeners:
            listener.opening()

    def begin(self, lists: Mapping[str, Iterable[Fields]]) -> None:
        """This is all there is, of each kind."""
        with self._changed:
            self._kinds = {kind: {item["uuid"]: narrow(kind, item) for item in lists[kind]} for kind in KINDS}
            self._versions = {kind: version + 1 for kind, version in self._versions.items()}
            self._changed.notify_all()
        for listener in self.listeners:
            listener.begun()

    def put(self, kind: str, fields: Fields) -> None:
        """An object is new, or another."""
        self._set(kind, fields["uuid"], narrow(kind, fields))

    def drop(self, kind: str, uuid: str) -> None:
        """An object is gone."""
        self._set(kind, uuid, None)

    def end(self) -> None:
        """Nobody tells any more."""
        with self._changed:
            was_whole, self._kinds = self._kinds is not None, None
            self._changed.notify_all()
        if was_whole:
            for listener in self.listeners:
                listener.ended()

    def _set(self, kind: str, uuid: str, after: Fields | None) -> None:
        with self._changed:
            if self._kinds is None:
                return
            held = self._kinds[kind]
            before = held.pop(uuid, None)
            if after is not None:
                held[uuid] = after
            if before != after:
                self._versions[kind] += 1
            self._changed.notify_all()
        for listener in self.listeners:
            listener.changed(kind, uuid, before, after)
