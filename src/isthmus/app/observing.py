"""What is, as seen by all shards of this process: each target read once for all who need it, whole or Unknown.

Ticks order things without a clock.  A mirror serves a round if its reading began at or after the tick the round
was woken by, and nothing of ours was written to the target since.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from isthmus.app.backoff import Backoff
from isthmus.app.parallel import in_parallel
from isthmus.model.boundary import Target
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import Mirror, Observed, TargetId, Unknown

Clock = Callable[[], float]


@dataclass(slots=True)
class _Seen:
    """One target: its last good mirror, when that was, and what went wrong since."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    mirror: Mirror | None = None
    begun: int = -1
    stale: bool = True
    seen_at: float | None = None
    reason: str = ""


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

    def __init__(self, clock: Clock, backoff: Backoff) -> None:
        self._clock = clock
        self._backoff = backoff
        self._ticks = itertools.count()
        self._lock = threading.Lock()
        self._seen: dict[TargetId, _Seen] = {}

    def tick(self) -> int:
        """A moment later than every earlier one."""
        return next(self._ticks)

    def observe(self, targets: Iterable[Target], since: int) -> Observed:
        """All these targets, in parallel, each read at or after the tick `since`."""
        chosen = list(targets)
        looks = in_parallel([lambda target=target: self._look(target, since) for target in chosen])  # type: ignore[misc]
        return Observed({target.id: look for target, look in zip(chosen, looks, strict=True)})

    def written(self, target: TargetId) -> None:
        """Something was, or may have been, written there: the next observation reads again."""
        self._entry(target).stale = True

    def retry_at(self, targets: Iterable[TargetId]) -> float | None:
        """When the first of these targets that cannot be read may be tried again."""
        return self._backoff.until(targets)

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

    def _look(self, target: Target, since: int) -> Mirror | Unknown[Mirror]:
        entry = self._entry(target.id)
        with entry.lock:  # who else needs this target now waits for the same answer
            if entry.mirror is not None and not entry.stale and entry.begun >= since and not entry.reason:
                return entry.mirror
            now = self._clock()
            if self._backoff.waiting(target.id, now):
                return Unknown(entry.reason, entry.mirror)
            begun = self.tick()
            entry.stale = False  # a write during the reading makes it stale again
            try:
                entry.mirror = target.observe()
            except (Retry, Refused) as fault:
                entry.reason = str(fault) or type(fault).__name__
                self._backoff.failed(target.id, now)
                return Unknown(entry.reason, entry.mirror)
            entry.begun, entry.reason, entry.seen_at = begun, "", now
            self._backoff.succeeded(target.id)
            return entry.mirror
