"""What is, as seen by all shards of this process: each target read once for all who need it, whole or Unknown.

Ticks order things without a clock.  A mirror serves a round if its reading began at or after the tick the round
was woken by, and nothing of ours was written to the target since.  A target that tells what changed is asked for
that alone, until the timer or an operator wants a look at everything.

A far side that stands apart holds nobody up: it is waited for shortly, and not at all where that was in vain before;
meanwhile it is Unknown.  What comes late wakes who went on without it, and is not asked for again.  One that takes long
is taken at its last word for as long as it would take to ask it twice: else it would never be heard among many news.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterable
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
    wanted: int = -1
    """The latest tick from which on somebody needed it."""
    stale: bool = True
    outlived: bool = False
    """Something was written there since the reading of this mirror began."""
    seen_at: float | None = None
    began_at: float = 0.0
    """When the reading of this mirror began."""
    reason: str = ""
    refused: bool = False
    """It was not that it could not answer now: an operator must decide."""
    asked_at: float = 0.0
    """When the last reading began."""
    took: float = 0.0
    bug: BaseException | None = None
    """What a reading ended with that nobody waited for any more, and nobody foresaw."""
    reading: Asking[Mirror] | None = None
    """The one read under way."""
    hanging: threading.Event | None = None
    """Set when the write that somebody stopped waiting for is over."""


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
        self.late: Callable[[int], None] = lambda since: None
        """Told when a read or write ends that somebody stopped waiting for, with the tick that was asked for."""
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

    def observe(
        self,
        targets: Iterable[Target],
        since: int,
        *,
        everything: bool = False,
        apart: Collection[TargetId] = (),
        insists: bool = False,
    ) -> Observed:
        """All these targets, in parallel, each read at or after the tick `since`, or with `everything` read whole then.

        A target that does not answer in time is Unknown for now; `apart` are those that no other is kept waiting for;
        who `insists` waits also for those that others have given up waiting for.
        Raises Refused if one refuses to be looked at: who may not see a part of a shard must not write the others.
        """
        chosen = list(targets)
        looks = in_parallel(
            [
                lambda target=target: self._look(target, since, everything, target.id in apart, insists)  # type: ignore[misc]
                for target in chosen
            ]
        )
        self._refuse(chosen)
        seen = {target.id: look for target, look in zip(chosen, looks, strict=True)}
        began = (self._entry(target).began_at for target, look in seen.items() if not isinstance(look, Unknown))
        return Observed(seen, min(began, default=inf))

    def _refuse(self, targets: Iterable[Target]) -> None:
        entries = [self._entry(target.id) for target in targets]
        if reasons := [entry.reason for entry in entries if entry.refused]:
            raise Refused("\n".join(dict.fromkeys(reasons)))

    def written(self, target: TargetId) -> None:
        """Something was, or may have been, written there: the next observation reads again."""
        entry = self._entry(target)
        with entry.lock:
            entry.stale = entry.outlived = True
            came_back, entry.hanging = entry.hanging is not None, None
        if came_back:
            self.late(entry.wanted)

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

    def _look(
        self, target: Target, since: int, everything: bool, apart: bool, insists: bool
    ) -> Mirror | Unknown[Mirror]:
        entry = self._entry(target.id)
        while True:
            with entry.lock:
                bug, entry.bug = entry.bug, None
                if bug is not None:
                    raise bug
                if entry.hanging is not None:
                    return Unknown("what was written there last has not been answered yet", entry.mirror)
                entry.wanted = max(entry.wanted, since)
                begun = entry.all_begun if everything else entry.begun
                fresh = not entry.stale and begun >= since and not entry.reason
                if entry.mirror is not None and fresh and entry.reading is None:
                    return entry.mirror
                mine = entry.reading is None
                if entry.reading is None:
                    if self._backoff.waiting(target.id, self._clock()):
                        return Unknown(entry.reason, entry.mirror)
                    entry.reading = self._asking(target, entry, everything)
                reading = entry.reading
                patience = self._short(entry) if apart else self._long(entry)
            if not reading.wait(patience, insists=insists):
                return self._given_up(entry, reading, apart)
            if reading.fault is not None:
                if not _expected(reading.fault):
                    raise reading.fault
                return Unknown(entry.reason, entry.mirror)
            if mine and reading.answer is not None:
                return reading.answer

    def _long(self, entry: _Seen) -> float | None:
        """One that answers whole, if slowly, is waited for."""
        return max(self._patience, 2 * entry.took) if entry.mirror is not None else None

    def _short(self, entry: _Seen) -> float:
        """One that did not answer in time when it was asked last is not waited for."""
        return 0.0 if entry.reason or entry.took > self._patience else self._patience

    def _given_up(self, entry: _Seen, reading: Asking[Mirror], apart: bool) -> Mirror | Unknown[Mirror]:
        with entry.lock:
            waited, now = self._patience, self._clock()
            if apart and entry.took > self._patience and not entry.reason:
                waited = 2 * entry.took
                if entry.mirror is not None and not entry.outlived and now - entry.began_at <= waited:
                    return entry.mirror
                if now - entry.asked_at <= waited:
                    return Unknown("it is being read, and takes its time", entry.mirror, passing=True)
            if entry.reading is reading and not entry.reason:
                entry.reason = no_answer(waited)
            return Unknown(entry.reason or no_answer(waited), entry.mirror)

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
                    entry.began_at, entry.outlived = began, entry.stale
                    entry.reason, entry.refused = "", False
                    entry.all_begun = begun if of_all else entry.all_begun
                    self._backoff.succeeded(target.id)
                elif reading.fault is not None and _expected(reading.fault):
                    entry.reason = str(reading.fault) or type(reading.fault).__name__
                    entry.refused = isinstance(reading.fault, Refused)
                    entry.all_begun = -1
                    self._backoff.failed(target.id, now)
                else:
                    entry.stale = True

        def late(reading: Asking[Mirror]) -> None:
            if reading.fault is not None and not _expected(reading.fault):
                with entry.lock:
                    entry.bug = reading.fault
                    entry.reason = f"{type(reading.fault).__name__}: {reading.fault}"
                    self._backoff.failed(target.id, self._clock())
            self.late(entry.wanted)

        return Asking(read, ended, late)


def _expected(fault: BaseException) -> bool:
    return isinstance(fault, (Retry, Refused))
