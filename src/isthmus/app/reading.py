"""What is wanted: the sources, with their last good answers.  Law: a source that fails is stale, never empty."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from isthmus.app.asking import PATIENCE, Asking, no_answer
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

    def __init__(
        self,
        name: str,
        read: Callable[[], T],
        clock: Clock,
        backoff: Backoff,
        patience: float = PATIENCE,
        silence: Callable[[], float] | None = None,
        holds: Callable[[], bool] = lambda: False,
        doubt: Callable[[], None] | None = None,
        remark: Callable[[], str] = str,
    ) -> None:
        """`silence`: seconds since the far side's last word, if what is read from memory is kept current by these.
        `holds`: whether its last good answer is still what it would say, as it has told of no change.
        `doubt`: have the next reading ask the far side, which may tell of changes late; None: each one asks.
        `remark`: how it is read, for its operator."""
        self.late: Callable[[], None] = lambda: None
        """Told when a read ends that somebody stopped waiting for."""
        self.name = name
        self._read = read
        self._clock = clock
        self._backoff = backoff
        self._patience = patience
        self._silence = silence
        self._holds = holds
        self._doubt = doubt
        self.remark = remark
        self._lock = threading.Lock()
        self._reading: Asking[T] | None = None
        self._begun = 0
        """Readings, so far: one answers all who asked before it began."""
        self._ended = 0
        """The last of them that ended with an answer, or a fault that was foreseen."""
        self._took = 0.0
        self._good: T | None = None
        self._good_at = 0.0
        self.reason = "not read yet"

    @property
    def tells(self) -> bool:
        """Whether what is read may be what the far side has told so far, and not what it would say."""
        return self._doubt is not None

    def read(self, *, anew: bool = False) -> Answer[T]:
        """The last good answer, tried anew unless backing off or too slow; `anew` asks a far side that tells, too.

        Raises Retry or Refused if there never was one.
        """
        if anew and self._doubt is not None:
            self._doubt()
        wanted = None
        while True:
            with self._lock:
                if wanted is None:
                    # While it is read, `holds` may speak of an answer that we have not taken yet.
                    ours = self._good is not None and self._reading is None and not self.reason
                    if ours and self._holds():
                        return self._last(None)
                    # Only a read that began after we were asked is the answer: who needs it has looked before.
                    wanted = self._begun + 1
                if self._reading is None:
                    if self._backoff.waiting(self.name, self._clock()) or self._ended >= wanted:
                        return self._last(None)
                    self._begun += 1
                    self._reading = self._asking(self._begun)
                reading, number = self._reading, self._begun
                # One that answers whole, if slowly, is waited for.
                patience = None if self._good is None else max(self._patience, 2 * self._took)
            if not reading.wait(patience):
                with self._lock:
                    if self._reading is reading and not self.reason:
                        self.reason = no_answer(self._patience)
                    return self._last(None)
            if number >= wanted:
                break
        if reading.fault is not None and not isinstance(reading.fault, (Retry, Refused)):
            raise reading.fault
        with self._lock:
            return self._last(reading.fault)

    def _last(self, fault: BaseException | None) -> Answer[T]:
        if self._good is None:
            raise type(fault)(self.reason) if fault else Retry(self.reason)
        return Answer(self._good, (self.age or 0.0) if self.reason else 0.0, self.reason)

    def _asking(self, number: int) -> Asking[T]:
        began = self._clock()

        def ended(reading: Asking[T]) -> None:
            now = self._clock()
            with self._lock:
                self._reading = None
                if reading.answer is not None:
                    self._good, self._good_at, self._took, self.reason = reading.answer, now, now - began, ""
                    self._ended = number
                    self._backoff.succeeded(self.name)
                elif isinstance(reading.fault, (Retry, Refused)):
                    self.reason = str(reading.fault) or type(reading.fault).__name__
                    self._ended = number
                    self._backoff.failed(self.name, now)

        return Asking(lambda: self._read(), ended, lambda reading: self.late())

    @property
    def age(self) -> float | None:
        """Seconds since its last word; None: it was never read whole."""
        if self._good is None:
            return None
        return self._clock() - self._good_at if self._silence is None else self._silence()

    def woken(self) -> None:
        """It says that it changed: no reason to wait any longer."""
        self._backoff.succeeded(self.name)

    def retry_at(self) -> float | None:
        """When a failed source may be tried again.  One that is being read right now tells of its end itself."""
        return None if self._reading is not None else self._backoff.until([self.name])


def in_force(intent: Answer[Intent], inventory: Answer[Inventory]) -> Intent:
    """The intent as the core must take it: what is stale on either side forbids deletes."""
    if not intent.reason and not inventory.reason:
        return intent.value
    return replace(intent.value, fresh=False, age=max(intent.age, inventory.age))
