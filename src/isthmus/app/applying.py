"""Carries out a plan: in its partial order, targets side by side; a fault stops only what had to come after it.

Who waits with patience leaves a target that hangs to itself: what is under way there counts as not answered, and nobody
looks at or writes to it until it has come back.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from isthmus.app.asking import no_answer
from isthmus.model.boundary import Target
from isthmus.model.change import Change, Outcome, Plan, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import TargetId

Finished = tuple[TargetId, Sequence[Result] | BaseException]


def carry_out(
    plan: Plan,
    targets: Mapping[TargetId, Target],
    written: Callable[[TargetId], None],
    stopping: Callable[[], bool] = lambda: False,
    patience: float | None = None,
    hangs: Callable[[TargetId, threading.Event], None] = lambda target, over: None,
) -> list[Result]:
    """The result of every change.  `written` is told of each target touched; once `stopping`, nothing more begins.

    `patience`: seconds that are waited while nothing ends; then `hangs` is told of each target that is still being
    written, with what says when that is over.  None: as long as it takes.
    """
    waiting = {change.id: change for change in plan.changes}
    results: dict[int, Result] = {}
    done: set[int] = set()
    busy: dict[TargetId, tuple[list[Change], threading.Event]] = {}
    finished: queue.Queue[Finished] = queue.Queue()
    bugs: list[BaseException] = []

    while True:
        if not stopping() and not bugs:
            for target, changes in _ready(waiting.values(), done, busy).items():
                for change in changes:
                    del waiting[change.id]
                busy[target] = changes, _begin(targets[target], changes, written, finished)
        if not busy:
            break
        try:
            target, outcome = finished.get(timeout=patience)
        except queue.Empty:
            results |= _left_alone(busy, no_answer(patience or 0.0), hangs)
            break
        del busy[target]
        if isinstance(outcome, BaseException):
            bugs.append(outcome)
            continue
        for result in outcome:
            results[result.change.id] = result
            if result.outcome is Outcome.DONE:
                done.add(result.change.id)
    if bugs:
        raise bugs[0]
    skipped = {change.id: Result(change, Outcome.SKIPPED, _why(change, results)) for change in waiting.values()}
    return [(results | skipped)[change.id] for change in plan.changes]


def _left_alone(
    busy: Mapping[TargetId, tuple[list[Change], threading.Event]],
    reason: str,
    hangs: Callable[[TargetId, threading.Event], None],
) -> dict[int, Result]:
    for target, (_, over) in busy.items():
        hangs(target, over)
    under_way = [change for changes, _ in busy.values() for change in changes]
    return {change.id: Result(change, Outcome.UNREACHABLE, reason) for change in under_way}


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
    finished: queue.Queue[Finished],
) -> threading.Event:
    over = threading.Event()

    def work() -> None:
        outcome: Sequence[Result] | BaseException
        try:
            outcome = _applied(target, changes)
        except BaseException as fault:  # carried to the caller's thread, decided there
            outcome = fault
        over.set()
        written(target.id)
        finished.put((target.id, outcome))

    threading.Thread(target=work, name=f"apply {target.id}", daemon=True).start()
    return over


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
