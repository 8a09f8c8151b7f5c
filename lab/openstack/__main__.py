"""`python -m lab.openstack demo`: a whole Neutron with isthmus from the command line."""

from __future__ import annotations

import argparse
import os
import re
import sys

from lab.netns.state import AlreadyThere, BadName, clear_away, die_by_exception
from lab.openstack import preflight
from lab.openstack.demo import demo, demo_ovsvapp
from lab.vcenter import BuildFailed, NotBuilt

OF_A_DEMO = re.compile(r"o\d+")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.openstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    showing = commands.add_parser("demo", help="bring a site up, show that isthmus works in it, take it down")
    overlaid = commands.add_parser("demo-ovsvapp", help="the same with appliances on the ESXi hosts instead of leaves")
    for each in (showing, overlaid):
        each.add_argument("name", nargs="?", help="default: one of its own, so that several may run side by side")
    asked = parser.parse_args(arguments)
    die_by_exception()
    if advice := preflight.missing():
        print("\n".join(f"lab.openstack: {line}" for line in advice), file=sys.stderr)
        return 1
    clear_away(OF_A_DEMO)
    try:
        shown = demo if asked.command == "demo" else demo_ovsvapp
        return shown(asked.name or f"o{os.getpid()}")
    except KeyboardInterrupt:
        return 130
    except (AlreadyThere, BadName, BuildFailed, NotBuilt) as problem:
        print(f"lab.openstack: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
