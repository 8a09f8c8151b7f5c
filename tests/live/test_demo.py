"""`make demo` and `make demo-contrail` from the outside: what they print, how they end, what they say if broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.netns import preflight
from lab.netns.state import WorldState

TREE = Path(__file__).parents[2]


@pytest.mark.live
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("demo", "checks"), [("demo", 25), ("demo-contrail", 28)])
def test_the_demo_shows_everything_and_leaves_nothing(demo: str, checks: int) -> None:
    state = WorldState(f"d{os.getpid()}")
    command = [sys.executable, "-m", "lab.netns", demo, state.name]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False, timeout=230)
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.fullmatch(rf"{demo}: (\d+) checks passed, 0 failed", last)
    assert passed is not None, last
    assert int(passed[1]) >= checks
    assert not state.exists
    assert not [path for path in Path("/tmp").iterdir() if state.name in path.name]


@pytest.mark.parametrize(
    ("broken", "advice"),
    [
        ("not root", "sudo"),
        ("no Open vSwitch", "apt-get install openvswitch-switch"),
        ("no tun device", "modprobe tun"),
        ("no right to make namespaces", "--cap-add SYS_ADMIN"),
    ],
)
def test_a_missing_piece_is_named_with_its_remedy(broken: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000 if broken == "not root" else 0)
    packages = {tool: package for tool, package in preflight._TOOLS.items() if package != "openvswitch-switch"}
    has = set(packages) if broken == "no Open vSwitch" else set(preflight._TOOLS)
    monkeypatch.setattr(preflight.shutil, "which", lambda tool, path: tool if tool in has else None)
    monkeypatch.setattr(preflight, "SCHEMA", TREE / "Makefile")
    monkeypatch.setattr(preflight, "TUN", Path("/nonexistent") if broken == "no tun device" else TREE)
    may = broken != "no right to make namespaces"
    monkeypatch.setattr(preflight, "_can_make_namespaces", lambda: may)
    (line,) = preflight.missing()
    assert advice in line


def test_the_command_line_tells_the_advice_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lab.netns import __main__ as command_line

    monkeypatch.setattr(preflight, "missing", lambda: ["no /dev/net/tun: do this"])
    monkeypatch.setattr(command_line, "die_by_exception", lambda: None)
    assert command_line.main(["demo"]) == 1
    assert capsys.readouterr().err == "lab.netns: no /dev/net/tun: do this\n"
