"""Says the sums over all trials of `tests/faults` at the end of a run, however many processes shared the tests."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tests.faults.meter import TOTAL, Meter


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes hands its sums on."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["trials"] = asdict(TOTAL)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """A process that shared the tests is done."""
    if trials := getattr(node, "workeroutput", {}).get("trials"):
        TOTAL.add(Meter(**trials))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, if there was a trial."""
    if TOTAL.trials:
        terminalreporter.write_line(f"over all faults: {TOTAL.said()}")
