"""`python -m lab.netns up|down|status|demo|...`: the world from the command line."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys

from lab.netns import play, preflight
from lab.netns.demo import demo, demo_contrail
from lab.netns.hosts import run_hostd
from lab.netns.state import AlreadyThere, BadName, NotThere, WorldState, clear_away, die_by_exception, stale, worlds
from lab.netns.world import bring_up
from lab.vcenter import BuildFailed, NotBuilt

OF_A_DEMO = re.compile(r"d\d+")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.netns", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring a world up and leave it running")
    up.add_argument("name", nargs="?", default=play.PLAY)
    up.add_argument("--bare", action="store_true", help="without isthmus, networks and VMs")
    up.set_defaults(act=_up)
    down = commands.add_parser("down", help="take a world down, whole or in pieces")
    down.add_argument("name", nargs="?", default=play.PLAY)
    down.add_argument(
        "--all-stale", action="store_true", help="every world whose maker is gone, instead of one by name"
    )
    down.set_defaults(act=_down)
    commands.add_parser("status", help="what worlds there are, and what of them runs").set_defaults(act=_status)
    showing = commands.add_parser("demo", help="bring a world up, show that isthmus works in it, take it down")
    showing.add_argument("name", nargs="?", help="default: one of its own, so that several may run side by side")
    showing.set_defaults(act=_demo, shows=demo)
    contrail = commands.add_parser("demo-contrail", help="the same of design contrail")
    contrail.add_argument("name", nargs="?", help="default: one of its own, so that several may run side by side")
    contrail.set_defaults(act=_demo, shows=demo_contrail)
    hostd = commands.add_parser("hostd")
    hostd.add_argument("name")
    hostd.set_defaults(act=_hostd)
    play.add_commands(commands)
    asked = parser.parse_args(arguments)
    die_by_exception()
    if asked.command in ("up", "demo", "demo-contrail") and (advice := preflight.missing()):
        print("\n".join(f"lab.netns: {line}" for line in advice), file=sys.stderr)
        return 1
    try:
        status: int = asked.act(asked)
        return status
    except (AlreadyThere, BadName, BuildFailed, NotBuilt, NotThere) as problem:
        print(f"lab.netns: {problem}", file=sys.stderr)
        return 1


def _up(asked: argparse.Namespace) -> int:
    print(f"-- bringing up the world {asked.name!r}", flush=True)
    world = bring_up(asked.name, keep=True)
    try:
        if not asked.bare:
            print("-- starting isthmus for each appliance, two tenants, four VMs", flush=True)
            play.furnish(world)
        print(play.instructions(world, is_furnished=not asked.bare))
    except BaseException:
        world.state.take_down()
        raise
    finally:
        world.close()
    return 0


def _down(asked: argparse.Namespace) -> int:
    doomed = stale() if asked.all_stale else [WorldState(asked.name)]
    for state in doomed:
        was_there = state.exists
        state.take_down()
        print(f"{state.name}: {'taken down' if was_there else 'not there'}")
    return 0


def _status(_: argparse.Namespace) -> int:
    found = worlds()
    for state in found:
        print(f"{state.name}: {'up' if state.is_live else 'stale'}, {state.directory}")
        for process in state.processes.all():
            print(f"  {'runs' if process.alive else 'GONE'}  {process.pid:>8}  {process.what}")
        for namespace in state.namespaces():
            print(f"  namespace {namespace}")
    if not found:
        print("no world is up")
    return 0


def _demo(asked: argparse.Namespace) -> int:
    clear_away(OF_A_DEMO)
    try:
        status: int = asked.shows(asked.name or f"d{os.getpid()}")
        return status
    except KeyboardInterrupt:
        return 130


def _hostd(asked: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run_hostd(WorldState(asked.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
