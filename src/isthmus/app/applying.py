"""Carries out a plan: in its partial order, targets side by side; a fault stops only what had to come after it.

A target that takes longer than anybody waits is left to itself: nobody looks at or writes to it until it has come back,
and what became of it is told then.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from isthmus.app.asking import no_answer
from isthmus.model.boundary import Target
from isthmus.model.change import Change, Outcome, Plan, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import TargetId

Ending = Sequence[Result] | BaseException
"""What became of the changes of one target."""


class Watched(Protocol):
    """Who looks at what is written."""

    def written(self, target: TargetId) -> None:
        """Something was, or may have been, written there."""

    def left_alone(self, target: TargetId, waited: float) -> None:
        """Nobody waits any longer for a write there, after so many seconds; `written` is still to come."""


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
    """One target being written, and whether anybody waits for that."""

    target: TargetId
    changes: list[Change]
    sight: Watched
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: bool = False
    _left: bool = False

    def leave(self, waited: float) -> bool:
        """Wait for it no longer.  False if it has just ended."""
        with self._lock:
            if not self._ended:
                self._left = True
                self.sight.left_alone(self.target, waited)
            return self._left

    def end(self) -> bool:
        """It is done.  Whether it was waited for all the while."""
        with self._lock:
            self._ended = True
            return not self._left


def carry_out(
    plan: Plan,
    targets: Mapping[TargetId, Target],
    sight: Watched,
    stopping: Callable[[], bool] = lambda: False,
    waiting: Waiting = Waiting(),
) -> list[Result]:
    """The result of every change.  `sight` is told of each target touched; once `stopping`, nothing more begins."""
    todo = {change.id: change for change in plan.changes}
    results: dict[int, Result] = {}
    done: set[int] = set()
    busy: dict[TargetId, _Writing] = {}
    finished: queue.Queue[tuple[TargetId, Ending]] = queue.Queue()
    bugs: list[BaseException] = []
    some_are_left = False

    while True:
        if not (stopping() or bugs or some_are_left):
            for target, changes in _ready(todo.values(), done, busy).items():
                for change in changes:
                    del todo[change.id]
                busy[target] = _begin(targets[target], changes, sight, finished, waiting.late)
        if not busy:
            break
        patience = None if some_are_left else waiting.patience(busy)
        try:
            target, ending = finished.get(timeout=patience)
        except queue.Empty:
            some_are_left = True
            for target in [target for target, writing in busy.items() if writing.leave(patience or 0.0)]:
                for change in busy.pop(target).changes:
                    results[change.id] = _left(change, patience or 0.0, apart=target in waiting.apart)
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


def _begin(
    target: Target,
    changes: list[Change],
    sight: Watched,
    finished: queue.Queue[tuple[TargetId, Ending]],
    late: Callable[[Ending], None],
) -> _Writing:
    writing = _Writing(target.id, changes, sight)

    def work() -> None:
        ending: Ending
        try:
            ending = _applied(target, changes)
        except BaseException as fault:  # carried to the caller's thread, decided there
            ending = fault
        in_time = writing.end()
        if not in_time:
            late(ending)
        sight.written(target.id)
        if in_time:
            finished.put((target.id, ending))

    threading.Thread(target=work, name=f"apply {target.id}", daemon=True).start()
    return writing


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
