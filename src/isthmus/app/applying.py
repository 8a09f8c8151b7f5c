"""Carries out a plan: in its partial order, targets side by side; a fault stops only what had to come after it.

Who waits with patience leaves a target that hangs to itself: what is under way there counts as not answered, nobody
looks at or writes to it until it has come back, and what became of it is told then.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from isthmus.app.asking import no_answer
from isthmus.model.boundary import Target
from isthmus.model.change import Change, Outcome, Plan, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import TargetId

BRIEFLY = 1.0
"""Seconds without an answer after which those still being written are left to themselves, if others are hurried."""

Ending = Sequence[Result] | BaseException
"""What became of the changes of one target."""


@dataclass(slots=True)
class _Writing:
    """One target being written, and whether anybody waits for that."""

    changes: list[Change]
    over: threading.Event
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: bool = False
    _left: bool = False

    def leave(self) -> bool:
        """Wait for it no longer.  False if it has just ended."""
        with self._lock:
            self._left = not self._ended
            return self._left

    def end(self) -> bool:
        """It is done.  Whether it was waited for all the while."""
        with self._lock:
            self._ended = True
            return not self._left


def carry_out(
    plan: Plan,
    targets: Mapping[TargetId, Target],
    written: Callable[[TargetId], None],
    stopping: Callable[[], bool] = lambda: False,
    patience: float | None = None,
    hangs: Callable[[TargetId, threading.Event], None] = lambda target, over: None,
    hurried: Callable[[Collection[TargetId]], bool] = lambda busy: False,
    late: Callable[[Ending], None] = lambda ending: None,
) -> list[Result]:
    """The result of every change.  `written` is told of each target touched; once `stopping`, nothing more begins.

    `patience`: seconds that are waited while nothing ends; then `hangs` is told of each target that is still being
    written, with what says when that is over, and `late`, in the end, of what became of it.  None: as long as it
    takes.  `hurried`: whether there is something better to do than to wait for these; then they are left to themselves
    sooner, and have not failed.
    """
    waiting = {change.id: change for change in plan.changes}
    results: dict[int, Result] = {}
    done: set[int] = set()
    busy: dict[TargetId, _Writing] = {}
    finished: queue.Queue[tuple[TargetId, Ending]] = queue.Queue()
    bugs: list[BaseException] = []
    some_are_left = False

    while True:
        if not (stopping() or bugs or some_are_left):
            for target, changes in _ready(waiting.values(), done, busy).items():
                for change in changes:
                    del waiting[change.id]
                busy[target] = _begin(targets[target], changes, written, finished, late)
        if not busy:
            break
        ended = _awaited(finished, patience, lambda: hurried(busy))
        if ended is None:
            some_are_left = True
            for target in [target for target, writing in busy.items() if writing.leave()]:
                writing = busy.pop(target)
                hangs(target, writing.over)
                results |= {change.id: _left(change, patience, hurried([target])) for change in writing.changes}
            continue
        target, ending = ended
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
    skipped = {change.id: Result(change, Outcome.SKIPPED, _why(change, results)) for change in waiting.values()}
    return [(results | skipped)[change.id] for change in plan.changes]


def _awaited(
    finished: queue.Queue[tuple[TargetId, Ending]], patience: float | None, hurried: Callable[[], bool]
) -> tuple[TargetId, Ending] | None:
    """The next to end; None if nothing does for as long as it is waited for."""
    if patience is None:
        return finished.get()
    while patience > 0:
        with suppress(queue.Empty):
            return finished.get(timeout=min(patience, BRIEFLY))
        patience -= BRIEFLY
        if hurried():
            break
    return None


def _left(change: Change, patience: float | None, hurried: bool) -> Result:
    if hurried:
        return Result(change, Outcome.SKIPPED, "it is being made, and not waited for")
    return Result(change, Outcome.UNREACHABLE, no_answer(patience or 0.0))


def _ready(changes: Iterable[Change], done: set[int], busy: Collection[TargetId]) -> dict[TargetId, list[Change]]:
    ready: dict[TargetId, list[Change]] = defaultdict(list)
    for change in changes:
        if change.target not in busy and change.after <= done:
            ready[change.target].append(change)
    return ready


def _begin(
    target: Target,
    changes: list[Change],
    written: Callable[[TargetId], None],
    finished: queue.Queue[tuple[TargetId, Ending]],
    late: Callable[[Ending], None],
) -> _Writing:
    writing = _Writing(changes, threading.Event())

    def work() -> None:
        ending: Ending
        try:
            ending = _applied(target, changes)
        except BaseException as fault:  # carried to the caller's thread, decided there
            ending = fault
        in_time = writing.end()
        if not in_time:
            late(ending)
        writing.over.set()
        written(target.id)
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
