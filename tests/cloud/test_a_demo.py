"""`make demo-vds` and `make demo-ovsvapp` from the outside: what they print, how they end, and if a piece is missing.

Its name lets it run before the other tests have their site up: two sites are too many for a small machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.netns import namespace
from lab.netns.state import WorldState
from lab.openstack import __main__ as command_line
from lab.openstack import preflight

TREE = Path(__file__).parents[2]


@pytest.mark.openstack
@pytest.mark.live_long
@pytest.mark.timeout(920)
@pytest.mark.parametrize(("command", "label"), [("demo", "demo-vds"), ("demo-ovsvapp", "demo-ovsvapp")])
def test_the_demo_shows_everything_and_leaves_nothing(command: str, label: str) -> None:
    if advice := preflight.missing():
        pytest.skip("; ".join(advice))
    state, before = WorldState(f"o{os.getpid()}"), set(namespace.existing())
    called = [sys.executable, "-m", "lab.openstack", command, state.name]
    done = subprocess.run(called, cwd=TREE, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(label + r": (3[0-9]|[4-9]\d) checks passed, 0 failed", done.stdout.splitlines()[-1])
    assert not state.exists
    assert set(namespace.existing()) <= before
    assert state.name not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("broken", "advice"),
    [
        ("not root", "sudo"),
        ("mariadbd", "mariadb-server"),
        ("epmd", "rabbitmq-server"),
        ("neutron", "make openstack"),
    ],
)
def test_a_missing_piece_is_named_with_its_remedy(broken: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ["not root: run this with sudo"] if broken == "not root" else []
    monkeypatch.setattr(preflight.preflight, "missing", lambda: plain)
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000 if plain else 0)
    monkeypatch.setattr(preflight, "_has", lambda tool: tool != broken)
    monkeypatch.setattr(preflight, "find_spec", lambda module: None if module == broken else object())
    for file in ("SERVER", "EMULATOR"):
        monkeypatch.setattr(preflight, file, TREE / "Makefile")
    (line,) = preflight.missing()
    assert advice in line


def test_the_command_line_tells_the_advice_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "missing", lambda: ["not root: do this"])
    monkeypatch.setattr(command_line, "die_by_exception", lambda: None)
    assert command_line.main(["demo"]) == 1
    assert capsys.readouterr().err == "lab.openstack: not root: do this\n"
