"""The documentation names tests that exist, and its links lead somewhere."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from lab.scenarios.table import SCENARIOS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_every_test_that_the_scenarios_name_exists() -> None:
    page = (ROOT / "docs/scenarios.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert named
    missing = [f"{file}::{name}" for file, name in named if name not in _functions(ROOT / file)]
    assert not missing


def test_every_scenario_of_the_lab_is_on_the_page() -> None:
    page = (ROOT / "docs/scenarios.md").read_text()
    named = set(re.findall(r"`designs` (\w+)", page))
    assert named == set(SCENARIOS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


@functools.cache
def _functions(file: Path) -> frozenset[str]:
    if not file.exists():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))
