"""What is wanted: the sources, with their last good answers.  Law: a source that fails is stale, never empty."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from isthmus.app.backoff import Backoff
from isthmus.app.observing import Clock
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.inventory import Inventory

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A source's last good answer, its age in seconds, and why there is none newer (empty if there is)."""

    value: T
    age: float
    reason: str = ""


class Source(Generic[T]):
    """A source as all shards of this process read it."""

    def __init__(self, name: str, read: Callable[[], T], clock: Clock, backoff: Backoff) -> None:
        self.name = name
        self._read = read
        self._clock = clock
        self._backoff = backoff
        self._lock = threading.Lock()
        self._good: T | None = None
        self._good_at = 0.0
        self.reason = "not read yet"

    def read(self) -> Answer[T]:
        """The last good answer, tried anew unless backing off.  Raises Retry or Refused if there never was one."""
        with self._lock:
            now = self._clock()
            fault: Exception | None = None
            if not self._backoff.waiting(self.name, now):
                fault = self._try(now)
            if self._good is None:
                raise type(fault)(self.reason) if fault else Retry(self.reason)
            return Answer(self._good, now - self._good_at if self.reason else 0.0, self.reason)

    def _try(self, now: float) -> Exception | None:
        try:
            self._good = self._read()
        except (Retry, Refused) as fault:
            self.reason = str(fault) or type(fault).__name__
            self._backoff.failed(self.name, now)
            return fault
        self._good_at, self.reason = now, ""
        self._backoff.succeeded(self.name)
        return None

    @property
    def age(self) -> float | None:
        """Seconds since it last answered whole; None: never."""
        return None if self._good is None else self._clock() - self._good_at

    def woken(self) -> None:
        """It says that it changed: no reason to wait any longer."""
        self._backoff.succeeded(self.name)

    def retry_at(self) -> float | None:
        """When a failed source may be tried again."""
        return self._backoff.until([self.name])


def in_force(intent: Answer[Intent], inventory: Answer[Inventory]) -> Intent:
    """The intent as the core must take it: what is stale on either side forbids deletes."""
    if not intent.reason and not inventory.reason:
        return intent.value
    return replace(intent.value, fresh=False, age=max(intent.age, inventory.age))


def current_moves(inventory: Inventory, now: float, deadline: float) -> Inventory:
    """The inventory without announced moves that should have ended long ago."""
    moves = tuple(move for move in inventory.moves if now - move.seen <= deadline)
    return inventory if len(moves) == len(inventory.moves) else replace(inventory, moves=moves)
