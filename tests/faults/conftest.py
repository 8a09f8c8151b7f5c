"""Says the sums over all trials at the end of a run."""

from __future__ import annotations

import pytest

from tests.faults.meter import TOTAL


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, if there was a trial."""
    if TOTAL.trials:
        terminalreporter.write_line(f"over all faults: {TOTAL.said()}")
