"""Carries out a plan: in its partial order, targets side by side; a fault stops only what had to come after it.

A target that takes longer than anybody waits is left to itself: nobody looks at or writes to it until it has come back,
and what became of it is told then.  One that stands apart goes on by itself with what comes after that there and needs
nobody else, link by link: what is left of a chain may not be worth anything without its end.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from isthmus.app.asking import no_answer
from isthmus.model.boundary import Target
from isthmus.model.change import Change, Outcome, Plan, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import TargetId

Ending = Sequence[Result] | BaseException
"""What became of the changes of one target."""
Finished: TypeAlias = "queue.Queue[tuple[TargetId, Ending]]"


class Watched(Protocol):
    """Who looks at what is written."""

    def writing(self, target: TargetId, changes: Sequence[Change]) -> None:
        """These are about to be written there, or will be after what is being written."""

    def written(self, target: TargetId) -> None:
        """Something was, or may have been, written there."""

    def left_alone(self, target: TargetId, waited: float) -> None:
        """Nobody waits any longer for a write there, after so many seconds; `written` is still to come."""


Stopping = Callable[[], bool]
"""Whether nothing more may begin."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """For how long those who are busy are waited for while nothing ends (None: as long as it takes).

    `apart` are those of which it says nothing that they are not waited for.  `late` is told of what became of changes
    that nobody waited for.
    """

    patience: Callable[[Collection[TargetId]], float | None] = lambda busy: None
    apart: Collection[TargetId] = ()
    late: Callable[[Ending], None] = lambda ending: None


@dataclass(slots=True)
class _Writing:
    """One target being written.  Law: it is waited for to its end, or left with what it can do alone; never both."""

    target: Target
    changes: list[Change]
    sight: Watched
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: bool = False
    _further: list[Change] | None = None
    """What it goes on with, once nobody waits for it."""

    def leave(self, waited: float, further: list[Change]) -> bool:
        """Wait for it no longer.  False if it has just ended."""
        with self._lock:
            if not self._ended:
                self._further = further
                self.sight.writing(self.target.id, further)
                self.sight.left_alone(self.target.id, waited)
            return not self._ended

    def work(self, finished: Finished, late: Callable[[Ending], None], stopping: Stopping) -> None:
        """Write, and tell who waits; or go on, and tell whoever hears of it `late`."""
        made, fault = self._made(self.changes)
        with self._lock:
            self._ended = self._further is None
        if not self._ended:
            fault = fault or self._go_on(made, stopping)
            if fault is not None:
                made += self._broken_off(made, fault)
            if made:
                late(made)
            if fault is not None:
                late(fault)
        self.sight.written(self.target.id)
        if self._ended:
            finished.put((self.target.id, fault or made))

    def _go_on(self, made: list[Result], stopping: Stopping) -> BaseException | None:
        further = self._further or []
        while further and not stopping():
            lacking = {change.id for change in further}
            lacking |= {result.change.id for result in made if result.outcome is not Outcome.DONE}
            ready = [change for change in further if not change.after & lacking]
            if not ready:
                break
            further = [change for change in further if change not in ready]
            results, fault = self._made(ready)
            made.extend(results)
            if fault is not None:
                return fault
        return None

    def _broken_off(self, made: list[Result], fault: BaseException) -> list[Result]:
        """What a bug kept from being made: it is not tried again at once."""
        known = {result.change.id for result in made}
        lost = [change for change in (*self.changes, *(self._further or ())) if change.id not in known]
        return [Result(change, Outcome.RETRY, f"{type(fault).__name__}: {fault}") for change in lost]

    def _made(self, changes: list[Change]) -> tuple[list[Result], BaseException | None]:
        try:
            return list(_applied(self.target, changes)), None
        except BaseException as fault:  # carried to the caller's thread, decided there
            return [], fault


def carry_out(
    plan: Plan,
    targets: Mapping[TargetId, Target],
    sight: Watched,
    stopping: Stopping = lambda: False,
    waiting: Waiting = Waiting(),
) -> list[Result]:
    """The result of every change.  `sight` is told of each target touched; once `stopping`, nothing more begins."""
    todo = {change.id: change for change in plan.changes}
    results: dict[int, Result] = {}
    done: set[int] = set()
    busy: dict[TargetId, _Writing] = {}
    finished: Finished = queue.Queue()
    bugs: list[BaseException] = []
    some_are_left = False

    while True:
        if not (stopping() or bugs or some_are_left):
            for target, changes in _ready(todo.values(), done, busy).items():
                for change in changes:
                    del todo[change.id]
                sight.writing(target, changes)
                busy[target] = writing = _Writing(targets[target], changes, sight)
                given = (finished, waiting.late, stopping)
                threading.Thread(target=writing.work, args=given, name=f"apply {target}", daemon=True).start()
        if not busy:
            break
        patience = None if some_are_left else waiting.patience(busy)
        try:
            target, ending = finished.get(timeout=patience)
        except queue.Empty:
            some_are_left, waited = True, patience or 0.0
            for target, writing in list(busy.items()):
                apart = target in waiting.apart
                further = _without_others(todo.values(), writing, done) if apart else []
                if writing.leave(waited, further):
                    del busy[target]
                    for change in (*writing.changes, *further):
                        todo.pop(change.id, None)
                        results[change.id] = _left(change, waited, apart=apart)
            continue
        del busy[target]
        if isinstance(ending, BaseException):
            bugs.append(ending)
            continue
        for result in ending:
            results[result.change.id] = result
            if result.outcome is Outcome.DONE:
                done.add(result.change.id)
    if bugs:
        raise bugs[0]
    skipped = {change.id: Result(change, Outcome.SKIPPED, _why(change, results)) for change in todo.values()}
    return [(results | skipped)[change.id] for change in plan.changes]


def _left(change: Change, waited: float, *, apart: bool) -> Result:
    if apart:
        return Result(change, Outcome.UNDER_WAY, "it is being made, and not waited for")
    return Result(change, Outcome.UNREACHABLE, no_answer(waited))


def _ready(changes: Iterable[Change], done: set[int], busy: Collection[TargetId]) -> dict[TargetId, list[Change]]:
    ready: dict[TargetId, list[Change]] = defaultdict(list)
    for change in changes:
        if change.target not in busy and change.after <= done:
            ready[change.target].append(change)
    return ready


def _without_others(changes: Iterable[Change], writing: _Writing, done: set[int]) -> list[Change]:
    """What a target can go on with, if it ends what it is about, whatever becomes of all others under way."""
    enough = done | {change.id for change in writing.changes}
    further = []
    for change in changes:  # they stand after what they depend on
        if change.target == writing.target.id and change.after <= enough:
            enough.add(change.id)
            further.append(change)
    return further


def _applied(target: Target, changes: list[Change]) -> Sequence[Result]:
    try:
        results = target.apply(changes)
    except Retry as fault:  # of none in particular
        return [Result(change, Outcome.UNREACHABLE, str(fault)) for change in changes]
    except Refused as fault:
        return [Result.failed(change, fault) for change in changes]
    if [result.change.id for result in results] != [change.id for change in changes]:
        raise AssertionError(f"{target.id} answered {len(results)} results for {len(changes)} changes, or others")
    return results


def _why(change: Change, results: Mapping[int, Result]) -> str:
    blocked = [result for number in sorted(change.after) if (result := results.get(number)) is not None]
    failed = [result for result in blocked if result.outcome is not Outcome.DONE]
    return f"waits for {failed[0].change.target}: {failed[0].detail}" if failed else "waits for an earlier change"
