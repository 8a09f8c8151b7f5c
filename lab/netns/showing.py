"""How a demo tells what it shows: a title for each step, a line for each thing shown, a last line with the account."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lab.netns.process import ProcessId
from lab.netns.state import WorldState

S = TypeVar("S")
Step = Callable[[S], "Iterator[Shown]"]
"""A part of a demo, on whatever stage that plays on; the first line of its docstring is its title."""


@dataclass(frozen=True, slots=True)
class Shown:
    what: str
    passed: bool
    observed: str


def tell(label: str, all_shown: Iterable[Shown]) -> int:
    """Print everything.  Exit status 0 if everything was as it should be."""
    began = time.monotonic()
    passed = failed = 0
    for shown in all_shown:
        print(f"{'ok    ' if shown.passed else 'FAILED'}  {shown.what}: {shown.observed}", flush=True)
        passed, failed = (passed + 1, failed) if shown.passed else (passed, failed + 1)
    print(f"-- {time.monotonic() - began:.0f} s")
    print(f"{label}: {passed} checks passed, {failed} failed")
    return 0 if passed and not failed else 1


def play(steps: Sequence[Step[S]], stage: S, logs: Callable[[], str]) -> Iterator[Shown]:
    """One step after the other; one that breaks is a thing that failed, and the next goes on.  `logs` if any failed."""
    failed = False
    for step in steps:
        print(f"-- {(step.__doc__ or '').splitlines()[0]}", flush=True)
        try:
            for shown in step(stage):
                failed = failed or not shown.passed
                yield shown
        except Exception as error:
            failed = True
            traceback.print_exc(limit=-3, file=sys.stderr)
            yield Shown(getattr(step, "__name__", "").replace("_", " "), False, f"{type(error).__name__} (see above)")
    if failed:
        print(logs(), file=sys.stderr)


def broken(error: Exception) -> Shown:
    """The world itself did not come up, or down."""
    traceback.print_exception(error, file=sys.stderr)
    return Shown("the world comes up and down again", False, f"{type(error).__name__} (see above)")


def nothing_left(state: WorldState, processes: Sequence[ProcessId]) -> Shown:
    """After the end: nothing of a world that had these processes."""
    left = [process.what for process in processes if process.alive] + state.namespaces()
    left += [str(state.directory)] if state.directory.exists() else []
    return Shown(
        "nothing is left behind",
        not left,
        ", ".join(left) or f"none of {len(processes)} processes, no namespace, no file",
    )
