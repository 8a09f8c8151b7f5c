"""No decision hangs on the time of day: whoever sets a clock by an hour, back or forth, changes nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import isthmus

ROOT = Path(isthmus.__file__).parent
CLOCKLESS = {"monotonic", "sleep", "clock_gettime", "CLOCK_BOOTTIME"}
"""What of `time` does not know the time of day."""
TELLS = {"adapters/vcenter/credentials.py", "adapters/neutron/presence.py"}
"""One says since when a password is refused, to people; one dates its reports to Neutron.  They decide by the other."""
FILES = {str(file.relative_to(ROOT)): file for file in sorted(ROOT.rglob("*.py"))}


@pytest.mark.parametrize("name", sorted(FILES.keys() - TELLS))
def test_no_file_asks_for_the_time_of_day(name: str) -> None:
    asked = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id="time"), attr=what) if what not in CLOCKLESS:
                asked.add(what)
            case ast.ImportFrom(module="time", names=names):
                asked |= {each.name for each in names} - CLOCKLESS
            case ast.ImportFrom(module="datetime", names=names):
                asked |= {each.name for each in names} - {"timedelta"}
            case ast.Import(names=names):
                asked |= {each.name for each in names} & {"datetime"}
    assert not asked
