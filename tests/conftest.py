"""For all tests: none fails because the machine is slow; the sums over all trials are said at the end of a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.faults.meter import TOTAL, Meter

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


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
