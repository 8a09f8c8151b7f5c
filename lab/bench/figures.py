"""A figure, the table that shows figures, and the file that keeps them."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path("build/bench.json")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `against` says what it was measured against.

    `target` is an upper bound; None for what is only told.
    """

    name: str
    value: float
    unit: str
    target: float | None
    against: str

    @property
    def met(self) -> bool:
        """Within its target."""
        return self.target is None or self.value <= self.target

    def as_json(self) -> dict[str, object]:
        """As kept in build/bench.json."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "target": self.target,
            "met": self.met,
            "against": self.against,
        }


def seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The median wall time of `work`, in seconds."""
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def show(figures: Iterable[Figure], results: Path = RESULTS) -> None:
    """Print the table, each figure as soon as it is measured, and write what there is so far to a file.

    Raises ValueError for a figure that is no number.
    """
    found: list[Figure] = []
    results.parent.mkdir(exist_ok=True)
    results.unlink(missing_ok=True)  # what an earlier run measured is not of this one
    print(f"{'figure':66} {'value':>10}  {'target':>8}  against")
    for figure in figures:
        found.append(figure)
        print(row(figure), flush=True)
        results.write_text(json.dumps([known.as_json() for known in found], indent=1, allow_nan=False) + "\n")
    missed = sum(not figure.met for figure in found)
    print(f"{len(found)} figures, {missed} of them missed; written to {results}")


def row(figure: Figure) -> str:
    """A line of the table."""
    mark = "" if figure.met else "  MISSED"
    target = "-" if figure.target is None else f"{figure.target:g}"
    return f"{figure.name:66} {figure.value:>8.3g} {figure.unit:<3}{target:>6}  {figure.against}{mark}"
