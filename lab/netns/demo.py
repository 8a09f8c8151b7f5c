"""`make demo`: isthmus at work in a small world, one line for each thing shown, with what was observed."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator

from lab.netns.process import ProcessId
from lab.netns.product import Isthmus
from lab.netns.show_changes import control_run, deletion, killed, meddling, stopping, vmotion
from lab.netns.show_networks import across_hosts, isolation, same_host, two_tenants, unbound
from lab.netns.stage import Shown, Stage, Step
from lab.netns.state import AlreadyThere, WorldState
from lab.netns.world import World, world
from lab.vcenter import BuildFailed, NotBuilt

STEPS: tuple[Step, ...] = (
    control_run, two_tenants, unbound, same_host, across_hosts, isolation, vmotion, killed, meddling, deletion,
    stopping,
)  # fmt: skip


def demo(name: str) -> int:
    """Exit status 0 if everything was as it should be."""
    began = time.monotonic()
    state = WorldState(name)
    passed = failed = 0
    for shown in _all(state):
        print(_line(shown), flush=True)
        passed, failed = (passed + 1, failed) if shown.passed else (passed, failed + 1)
    print(f"-- {time.monotonic() - began:.0f} s")
    print(f"demo: {passed} checks passed, {failed} failed")
    return 0 if passed and not failed else 1


def _all(state: WorldState) -> Iterator[Shown]:
    print("-- bringing up a vCenter, three ESXi hosts with an OVS appliance each, and an underlay", flush=True)
    processes: list[ProcessId] = []
    try:
        with world(state.name) as made:
            try:
                yield from _in(made)
            finally:
                processes = made.state.processes.all()
    except (AlreadyThere, BuildFailed, NotBuilt):
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        yield Shown("the world comes up and down again", False, f"{type(error).__name__} (see above)")
    left = [process.what for process in processes if process.alive] + state.namespaces()
    left += [str(state.directory)] if state.directory.exists() else []
    yield Shown(
        "nothing is left behind",
        not left,
        ", ".join(left) or f"none of {len(processes)} processes, no namespace, no file",
    )


def _in(made: World) -> Iterator[Shown]:
    stage = Stage(made, Isthmus(made))
    failed = False
    for step in STEPS:
        print(f"-- {(step.__doc__ or '').splitlines()[0]}", flush=True)
        try:
            for shown in step(stage):
                failed = failed or not shown.passed
                yield shown
        except Exception as error:
            failed = True
            traceback.print_exc(limit=-3, file=sys.stderr)
            yield Shown(step.__name__.replace("_", " "), False, f"{type(error).__name__} (see above)")
    if failed:
        _tell_logs(made, stage.isthmus)


def _tell_logs(made: World, isthmus: Isthmus) -> None:
    print(f"---- hostd\n{made.state.tail('hostd.log')}", file=sys.stderr)
    for host in made.layout.hosts:
        print(f"---- isthmus of {host}\n{isthmus.log(host)[-4000:]}", file=sys.stderr)


def _line(shown: Shown) -> str:
    return f"{'ok    ' if shown.passed else 'FAILED'}  {shown.what}: {shown.observed}"
