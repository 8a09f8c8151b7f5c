"""What is, as seen by all shards of this process: each target read once for all who need it, whole or Unknown.

Ticks order things without a clock.  A mirror serves a round if its reading began at or after the tick the round
was woken by, and nothing of ours was written to the target since.  A target that tells what changed is asked for
that alone, until the timer or an operator wants a look at everything.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

from isthmus.app.asking import PATIENCE, Asking, no_answer
from isthmus.app.backoff import Backoff
from isthmus.app.parallel import in_parallel
from isthmus.model.boundary import Target, Telling
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import Mirror, Observed, TargetId, Unknown

Clock = Callable[[], float]


@dataclass(slots=True)
class _Seen:
    """One target: its last good mirror, when that was, and what went wrong since."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    mirror: Mirror | None = None
    begun: int = -1
    all_begun: int = -1
    """When the last reading of everything began; -1 if the last reading of any kind failed."""
    stale: bool = True
    seen_at: float | None = None
    began_at: float = 0.0
    """When the reading of this mirror began."""
    reason: str = ""
    refused: bool = False
    """It was not that it could not answer now: an operator must decide."""
    took: float = 0.0
    asked_at: float = 0.0
    """When the last reading began."""
    reading: Asking[Mirror] | None = None
    """The one read under way."""
    hanging: threading.Event | None = None
    """Set when the write that somebody stopped waiting for is over."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of one target, and when its reading began (seconds; inf: it is not known)."""

    mirror: Mirror | Unknown[Mirror]
    began_at: float = inf


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """What an operator wants to know of a target."""

    target: TargetId
    age: float | None
    """Seconds since it was last read whole; None: never."""
    reason: str
    """Why it cannot be read; empty if it can."""


class Sight:
    """The observations of this process."""

    def __init__(self, clock: Clock, backoff: Backoff, patience: float = PATIENCE) -> None:
        self.late: Callable[[], None] = lambda: None
        """Told when a read ends that somebody stopped waiting for."""
        self._patience = patience
        self._clock = clock
        self._backoff = backoff
        self._ticks = itertools.count()
        self._lock = threading.Lock()
        self._seen: dict[TargetId, _Seen] = {}
        self._all_from = 0

    def tick(self) -> int:
        """A moment later than every earlier one."""
        return next(self._ticks)

    def look_at_everything(self) -> None:
        """The next observation of each target is of all it holds, whatever it tells to have changed."""
        self._all_from = self.tick()

    def observe(self, targets: Iterable[Target], since: int, *, everything: bool = False) -> Observed:
        """All these targets, in parallel, each read at or after the tick `since`, or with `everything` read whole then.

        A target that does not answer in time is Unknown for now.  Raises Refused if one refuses to be looked at: who
        may not see a part of a shard must not write the others.
        """
        chosen = list(targets)
        looks = in_parallel([lambda target=target: self._look(target, since, everything) for target in chosen])  # type: ignore[misc]
        self._refuse(chosen)
        mirrors = {target.id: look.mirror for target, look in zip(chosen, looks, strict=True)}
        return Observed(mirrors, min((look.began_at for look in looks), default=inf))

    def _refuse(self, targets: Iterable[Target]) -> None:
        entries = [self._entry(target.id) for target in targets]
        if reasons := [entry.reason for entry in entries if entry.refused]:
            raise Refused("\n".join(dict.fromkeys(reasons)))

    def written(self, target: TargetId) -> None:
        """Something was, or may have been, written there: the next observation reads again."""
        entry = self._entry(target)
        with entry.lock:
            entry.stale = True
            came_back, entry.hanging = entry.hanging is not None, None
        if came_back:
            self.late()

    def hangs(self, target: TargetId, over: threading.Event) -> None:
        """Nobody waits any longer for a write there: until it is `over` the target is Unknown."""
        entry = self._entry(target)
        with entry.lock:
            entry.hanging = None if over.is_set() else over

    def retry_at(self, targets: Iterable[TargetId]) -> float | None:
        """When the first of these targets that cannot be read may be tried again.

        One that is being read right now tells of its end itself.
        """
        return self._backoff.until(target for target in targets if self._entry(target).reading is None)

    def health(self) -> tuple[TargetHealth, ...]:
        """All targets seen so far."""
        now = self._clock()
        with self._lock:
            entries = sorted(self._seen.items())
        return tuple(
            TargetHealth(target, None if entry.seen_at is None else now - entry.seen_at, entry.reason)
            for target, entry in entries
        )

    def _entry(self, target: TargetId) -> _Seen:
        with self._lock:
            return self._seen.setdefault(target, _Seen())

    def _look(self, target: Target, since: int, everything: bool) -> _Look:
        entry = self._entry(target.id)
        while True:
            with entry.lock:
                if entry.hanging is not None:
                    return _Look(Unknown("what was written there last has not been answered yet", entry.mirror))
                begun = entry.all_begun if everything else entry.begun
                fresh = not entry.stale and begun >= since and not entry.reason
                if entry.mirror is not None and fresh and entry.reading is None:
                    return _Look(entry.mirror, entry.began_at)
                mine = entry.reading is None
                if entry.reading is None:
                    if self._backoff.waiting(target.id, self._clock()):
                        return _Look(Unknown(entry.reason, entry.mirror))
                    entry.reading = self._asking(target, entry, everything)
                reading, began_at, known = entry.reading, entry.asked_at, entry.mirror is not None
                # One that answers whole, if slowly, is waited for.
                patience = max(self._patience, 2 * entry.took) if known else None
            if not reading.wait(patience):
                return _Look(self._given_up(entry, reading))
            if reading.fault is not None:
                if not _expected(reading.fault):
                    raise reading.fault
                return _Look(Unknown(entry.reason, entry.mirror))
            if mine and reading.answer is not None:
                return _Look(reading.answer, began_at)

    def _given_up(self, entry: _Seen, reading: Asking[Mirror]) -> Unknown[Mirror]:
        with entry.lock:
            if entry.reading is reading and not entry.reason:
                entry.reason = no_answer(self._patience)
            return Unknown(entry.reason or no_answer(self._patience), entry.mirror)

    def _asking(self, target: Target, entry: _Seen, everything: bool) -> Asking[Mirror]:
        begun, began = self.tick(), self._clock()
        entry.asked_at = began
        entry.stale = False  # a write during the reading makes it stale again
        read, of_all = target.observe, True
        if isinstance(target, Telling) and entry.all_begun >= self._all_from and not everything and target.tells:
            read, of_all = target.refresh, False

        def ended(reading: Asking[Mirror]) -> None:
            now = self._clock()
            with entry.lock:
                entry.reading = None
                if reading.answer is not None:
                    entry.mirror, entry.begun, entry.seen_at, entry.took = reading.answer, begun, now, now - began
                    entry.began_at, entry.reason, entry.refused = began, "", False
                    entry.all_begun = begun if of_all else entry.all_begun
                    self._backoff.succeeded(target.id)
                elif reading.fault is not None and _expected(reading.fault):
                    entry.reason = str(reading.fault) or type(reading.fault).__name__
                    entry.refused = isinstance(reading.fault, Refused)
                    entry.all_begun = -1
                    self._backoff.failed(target.id, now)
                else:
                    entry.stale = True

        return Asking(read, ended, self._came_late)

    def _came_late(self) -> None:
        self.late()


def _expected(fault: BaseException) -> bool:
    return isinstance(fault, (Retry, Refused))
