"""How `isthmus check` sums up what it found."""

from __future__ import annotations

import pytest

from isthmus.app.check import Finding, Level, summary

GOOD, WARNING, ERROR = (Finding(level, "here", "something") for level in (Level.GOOD, Level.WARNING, Level.ERROR))


@pytest.mark.parametrize(
    ("findings", "line"),
    [
        ([], "all is well"),
        ([GOOD], "all is well"),
        ([GOOD, WARNING], "1 warning"),
        ([ERROR, ERROR, GOOD], "2 to repair"),
        ([WARNING, ERROR, WARNING], "1 to repair, 2 warnings"),
    ],
)
def test_the_last_line_of_a_check_counts_what_is_not_good(findings: list[Finding], line: str) -> None:
    assert summary(findings) == line
