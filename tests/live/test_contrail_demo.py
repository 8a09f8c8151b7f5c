"""`make demo-contrail` from the outside: what it prints, and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.netns.state import WorldState

TREE = Path(__file__).parents[2]


@pytest.mark.live
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("machine")
def test_the_demo_shows_the_contrail_design_by_frames_and_leaves_nothing() -> None:
    state = WorldState(f"d{os.getpid()}")
    command = [sys.executable, "-m", "lab.netns", "demo-contrail", state.name]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False, timeout=290)
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"demo-contrail: (2[8-9]|[3-9]\d) checks passed, 0 failed", last)
    assert not state.exists
