"""What is, as seen by all shards of this process: each target read once for all who need it, whole or Unknown.

Ticks order things without a clock.  A mirror serves a round if its reading began at or after the tick the round
was woken by, and nothing of ours was written to the target since.  A target that tells what changed is asked for
that alone, until the timer or an operator wants a look at everything.

A far side that stands apart keeps nobody waiting for longer than a moment, and not even that if it is known to be slow:
it is Unknown for now, and who went on without it is woken when its answer comes.  That answer serves the next look of
each who needs it, however many news there are, and further looks for as long as it takes to get a newer one.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

from isthmus.app.asking import PATIENCE, Asking, no_answer
from isthmus.app.backoff import Backoff
from isthmus.app.parallel import in_parallel
from isthmus.app.seen import BRIEFLY, LONGEST, NOT_ANSWERED, Extent, Look, Seen
from isthmus.model.boundary import Target, Telling
from isthmus.model.change import Change
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import Mirror, Observed, TargetId

Clock = Callable[[], float]


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
        self.late: Callable[[TargetId, int], None] = lambda target, since: None
        """Told when a read or write ends that somebody stopped waiting for, with the tick that was asked for."""
        self._patience = patience
        self._clock = clock
        self._backoff = backoff
        self._ticks = itertools.count()
        self._lock = threading.Lock()
        self._seen: dict[TargetId, Seen] = {}
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
        whole_since: int = -1,
        ports_since: int = -1,
        apart: Collection[TargetId] = (),
        served: dict[TargetId, int] | None = None,
    ) -> Observed:
        """All these targets, in parallel, each read at or after the tick `since`, and read whole after `whole_since`.

        Since a whole reading only what changed need have been read again, and all ports since `ports_since`.  A target
        that does not answer in time is Unknown for now.  `apart` are those that no other is kept waiting for; `served`
        is what who looks has seen of each, and is kept up to date here.
        Raises Refused if one refuses to be looked at: who may not see a part of a shard must not write the others.
        """
        chosen, known = list(targets), {} if served is None else served

        def look(target: Target) -> Look:
            unseen_after = known.get(target.id, -1) if target.id in apart else None
            return self._look(target, (since, whole_since, ports_since), unseen_after)

        looks = in_parallel([lambda target=target: look(target) for target in chosen])  # type: ignore[misc]
        self._refuse(chosen)
        known.update({target.id: look.begun for target, look in zip(chosen, looks, strict=True) if look.begun >= 0})
        mirrors = {target.id: look.mirror for target, look in zip(chosen, looks, strict=True)}
        return Observed(mirrors, min((look.began_at for look in looks), default=inf))

    def _refuse(self, targets: Collection[Target]) -> None:
        entries = [self._entry(target.id) for target in targets]
        if reasons := [entry.reason for entry in entries if entry.refused]:
            raise Refused("\n".join(dict.fromkeys(reasons)))

    def writing(self, target: TargetId, changes: Sequence[Change]) -> None:
        """These are about to be written there, or will be after what is being written."""
        entry = self._entry(target)
        with entry.lock:
            entry.writes.begin(changes, self._clock())

    def written(self, target: TargetId) -> None:
        """Something was, or may have been, written there: the next observation reads again."""
        entry = self._entry(target)
        with entry.lock:
            late = entry.written(self._clock())
        if late:
            self.late(target, entry.wanted)

    def left_alone(self, target: TargetId, waited: float) -> None:
        """Nobody waits any longer for a write there, after so many seconds: until it ends the target is Unknown."""
        entry = self._entry(target)
        with entry.lock:
            entry.writes.leave(self._clock() - waited)

    def unanswered(self, targets: Iterable[TargetId]) -> list[TargetId]:
        """Those that are being read or written."""
        entries = ((target, self._entry(target)) for target in targets)
        return [target for target, entry in entries if entry.reading is not None or entry.writes.left_at is not None]

    @property
    def writes_end(self) -> bool:
        """Nothing is being written anywhere."""
        with self._lock:
            return not any(entry.writes.under_way for entry in self._seen.values())

    def writes_slowly(self, target: TargetId) -> bool:
        """Whether it was not worth waiting for the last write there."""
        return self._entry(target).writes.took > BRIEFLY

    def retry_at(self, targets: Iterable[TargetId]) -> float | None:
        """When the first of these targets that cannot be read may be tried again, or is to be shown as silent.

        One that is being read right now tells of its end itself.
        """
        entries = {target: self._entry(target) for target in targets}
        quiet = (until for entry in entries.values() if (until := entry.quiet_until) is not None)
        failed = self._backoff.until(target for target, entry in entries.items() if entry.reading is None)
        return min([*quiet, *([] if failed is None else [failed])], default=None)

    def health(self) -> tuple[TargetHealth, ...]:
        """All targets seen so far."""
        now = self._clock()
        with self._lock:
            entries = sorted(self._seen.items())
        return tuple(
            TargetHealth(target, None if entry.seen_at is None else now - entry.seen_at, entry.reason)
            for target, entry in entries
        )

    def _entry(self, target: TargetId) -> Seen:
        with self._lock:
            return self._seen.setdefault(target, Seen())

    def _look(self, target: Target, needed: tuple[int, int, int], unseen_after: int | None) -> Look:
        """`needed`: from which ticks on something, everything and all ports must have been read.

        `unseen_after`: it stands apart, and what was read at a later tick has not been looked at yet.
        """
        entry, apart = self._entry(target.id), unseen_after is not None
        since, whole_since, ports_since = needed
        while True:
            with entry.lock:
                bug, entry.bug = entry.bug, None
                if bug is not None:
                    raise bug
                entry.wanted = max(entry.wanted, since)
                if entry.writes.left_at is not None:
                    return entry.missed(self._clock()) if apart else Look(entry.unknown(NOT_ANSWERED))
                whole, all_ports = entry.all_begun >= whole_since, entry.ports_begun >= ports_since
                if entry.good is not None and entry.begun >= since and whole and all_ports:
                    return entry.served(entry.good)
                mine = entry.reading is None
                if entry.reading is None:
                    if self._backoff.waiting(target.id, self._clock()):
                        return Look(entry.unknown(entry.reason))
                    entry.reading = self._asking(target, entry, everything=not whole, every_port=not all_ports)
                reading = entry.reading
                patience = self._moment(entry) if apart else self._long(entry)
            if not reading.wait(patience):
                return self._gone_on(entry, reading, unseen_after)
            if reading.fault is not None:
                if not _expected(reading.fault):
                    raise reading.fault
                return Look(entry.unknown(entry.reason))
            if mine:
                with entry.lock:
                    if entry.mirror is not None:
                        return entry.served(entry.mirror)

    def _gone_on(self, entry: Seen, reading: Asking[Mirror], unseen_after: int | None) -> Look:
        """Without what is being read.  What was read before may still do."""
        with entry.lock:
            if unseen_after is None:
                if entry.reading is reading and not entry.reason:
                    entry.reason = no_answer(self._patience)
                return Look(entry.unknown(entry.reason or no_answer(self._patience)))
            if entry.good is not None:
                age = self._clock() - entry.began_at
                if entry.begun > unseen_after or age <= min(LONGEST, 2 * entry.took):
                    return entry.served(entry.good)
            return entry.missed(self._clock())

    def _moment(self, entry: Seen) -> float:
        """How long one that stands apart is waited for."""
        if entry.reason or entry.took > BRIEFLY:
            return 0.0
        return self._patience if entry.mirror is None else min(BRIEFLY, self._patience)

    def _long(self, entry: Seen) -> float | None:
        """How long any other is waited for.  One that answers whole, if slowly, is."""
        return None if entry.mirror is None else max(self._patience, 2 * entry.took)

    def _asking(self, target: Target, entry: Seen, *, everything: bool, every_port: bool) -> Asking[Mirror]:
        begun, entry.asked_at = self.tick(), self._clock()
        entry.stale = False  # a write during the reading makes it stale again
        read: Callable[[], Mirror] = target.observe
        extent = Extent.EVERYTHING
        if isinstance(target, Telling) and entry.all_begun >= self._all_from and not everything and target.tells:
            read = partial(target.refresh, every_port=every_port)
            extent = Extent.EVERY_PORT if every_port else Extent.WHAT_WAS_TOLD

        def ended(reading: Asking[Mirror]) -> None:
            now = self._clock()
            with entry.lock:
                entry.reading = None
                if reading.answer is not None:
                    entry.answered(reading.answer, begun, now, extent)
                    self._backoff.succeeded(target.id)
                elif isinstance(reading.fault, (Retry, Refused)):
                    entry.failed(reading.fault)
                    self._backoff.failed(target.id, now)
                else:
                    entry.stale = True

        def late(reading: Asking[Mirror]) -> None:
            if reading.fault is not None and not _expected(reading.fault):
                with entry.lock:
                    entry.bug = reading.fault
                    entry.reason = f"{type(reading.fault).__name__}: {reading.fault}"
                    self._backoff.failed(target.id, self._clock())
            self.late(target.id, entry.wanted)

        return Asking(read, ended, late)


def _expected(fault: BaseException) -> bool:
    return isinstance(fault, (Retry, Refused))
