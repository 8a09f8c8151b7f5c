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
    """One measured value; `target` is an upper bound; `against` says what it was measured against."""

    name: str
    value: float
    unit: str
    target: float
    against: str

    @property
    def met(self) -> bool:
        """Within its target."""
        return self.value <= self.target

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


def show(figures: Iterable[Figure]) -> None:
    """Print the table and write build/bench.json."""
    found = list(figures)
    print(f"{'figure':62} {'value':>10}  {'target':>8}  against")
    for figure in found:
        mark = "" if figure.met else "  MISSED"
        print(f"{figure.name:62} {figure.value:>8.3g} {figure.unit:<3}{figure.target:>6g}  {figure.against}{mark}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([figure.as_json() for figure in found], indent=1) + "\n")
    print(f"written to {RESULTS}")
