"""Worlds stand side by side, come down whole, and leave nothing behind however their maker ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.netns import namespace
from lab.netns.dvs import Access, Policy
from lab.netns.layout import Layout
from lab.netns.process import ProcessId, end, start_time
from lab.netns.state import AlreadyThere, WorldState, stale, worlds
from lab.netns.world import attach, bring_up, world

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("machine")]

ONE_HOST = Layout(hosts=("esx1.lab",))
TREE = Path(__file__).parents[2]


def traces(state: WorldState) -> dict[str, list[str]]:
    """All that a world could have left on this machine."""
    links = namespace.run("ip", "-brief", "link").split()
    return {
        "namespaces": state.namespaces(),
        "directories": [str(state.directory)] if state.directory.exists() else [],
        "links": [link for link in links if link.startswith(("w1", "tenant-", "uplink-"))],
        "processes": [line for line in _command_lines() if str(state.directory) in line or state.prefix in line],
        "temporary": [str(path) for path in Path("/tmp").glob(f"*{state.name}*")],
    }


def _command_lines() -> list[str]:
    """Of every process there is; some end while we look."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(path.read_bytes().decode(errors="replace"))
    return found


def python(code: str) -> subprocess.Popen[bytes]:
    """Another process that makes a world; it says so on its standard output."""
    return subprocess.Popen([sys.executable, "-c", code], cwd=TREE, stdout=subprocess.PIPE)


def name(kind: str) -> str:
    return f"{kind}{os.getpid()}"


def test_two_worlds_stand_side_by_side_and_one_comes_down_without_the_other() -> None:
    first = bring_up(name("p"), ONE_HOST)
    try:
        with world(name("q"), ONE_HOST) as second:
            for made in (first, second):
                made.admin.create_port_group("tenant", "red", Policy(Access(11)))
                a = made.boot("a", "esx1.lab", "red", ["10.0.0.1/24"])
                made.boot("b", "esx1.lab", "red", ["10.0.0.2/24"])
                assert a.ping("10.0.0.2").all_answered
            first.state.take_down()
            assert not any(traces(first.state).values())
            assert second.guest("a").ping("10.0.0.2").all_answered
        assert not any(traces(second.state).values())
    finally:
        first.state.take_down()


def test_a_name_is_given_once() -> None:
    with world(name("n"), ONE_HOST) as made:
        with pytest.raises(AlreadyThere):
            bring_up(made.state.name, ONE_HOST)
        assert made.state.is_live


@pytest.mark.parametrize("end_by", [signal.SIGTERM, signal.SIGINT])
def test_a_world_comes_down_with_its_maker(end_by: signal.Signals) -> None:
    state = WorldState(name("m"))
    code = f"""
import time
from lab.netns.state import die_by_exception
from lab.netns.world import world
from tests.live.test_lifecycle import ONE_HOST
die_by_exception()
with world({state.name!r}, ONE_HOST):
    print("up", flush=True)
    time.sleep(60)
"""
    maker = python(code)
    assert maker.stdout is not None
    assert maker.stdout.readline() == b"up\n"
    maker.send_signal(end_by)
    maker.wait(timeout=15)
    assert not any(traces(state).values())


def test_a_world_whose_maker_was_killed_is_stale_and_can_be_taken_down() -> None:
    state = WorldState(name("k"))
    code = f"""
import time
from lab.netns.world import bring_up
from tests.live.test_lifecycle import ONE_HOST
bring_up({state.name!r}, ONE_HOST)
print("up", flush=True)
time.sleep(60)
"""
    maker = python(code)
    assert maker.stdout is not None
    assert maker.stdout.readline() == b"up\n"
    assert state.is_live
    maker.kill()
    maker.wait(timeout=15)
    assert not state.is_live
    assert state in stale()
    assert traces(state)["processes"]
    with world(name("o"), ONE_HOST) as other:
        # Not --all-stale: somebody else's stale world is no business of a test.
        subprocess.run([sys.executable, "-m", "lab.netns", "down", state.name], cwd=TREE, check=True)
        assert not any(traces(state).values())
        assert other.state.is_live


def test_a_killed_world_is_in_nobodys_way_when_its_name_is_used_again() -> None:
    state = WorldState(name("r"))
    left = bring_up(state.name, ONE_HOST)
    left.close()
    # As if the maker, this process, had died: the world is another owner's, who is gone.
    (state.directory / "owner").write_text('{"pid": 1, "started": 1, "keep": false}')
    with world(state.name, ONE_HOST) as again:
        assert again.state.is_live
        assert [vm.name for vm in again.picture().vms] == ["isthmus-esx1"]
    assert not any(traces(state).values())


def test_a_kept_world_lives_on_and_is_stale_when_a_piece_of_it_died() -> None:
    state = WorldState(name("u"))
    code = f"""
from lab.netns.world import bring_up
from tests.live.test_lifecycle import ONE_HOST
bring_up({state.name!r}, ONE_HOST, keep=True)
"""
    assert python(code).wait(timeout=30) == 0
    try:
        assert state.is_live
        handle = attach(state.name)
        assert handle.picture().vm("isthmus-esx1").host == "esx1.lab"
        handle.close()
        hostd = next(process for process in state.processes.alive() if process.what == "hostd")
        os.kill(hostd.pid, signal.SIGKILL)
        while hostd.alive:
            time.sleep(0.01)
        assert not state.is_live
    finally:
        state.take_down()
    assert not any(traces(state).values())


def test_whatever_somebody_started_in_a_namespace_goes_with_it() -> None:
    with world(name("g"), ONE_HOST) as made:
        inside = namespace.inside(made.appliance("esx1.lab").namespace)
        guest = subprocess.Popen([*inside, "sleep", "60"])
        time.sleep(0.1)
        process = ProcessId(guest.pid, start_time(guest.pid) or 0, "guest")
    assert not process.alive
    end([process])
    assert made.state not in worlds()
