"""`python -m lab.bench`: measure, print the table, write build/bench.json."""

from __future__ import annotations

from lab.bench import core, flows
from lab.bench.figures import show

if __name__ == "__main__":
    show([*core.figures(), *flows.figures()])
