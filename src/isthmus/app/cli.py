"""The command line: which command, with what; and how expected faults leave: one line each, no traceback."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from isthmus.app import commands, preparing, showing
from isthmus.app.output import complain, log_to_stderr, say_json
from isthmus.model.faults import Refused, Retry

DEFAULT_CONFIG = "/etc/isthmus/isthmus.toml"


class _Parser(argparse.ArgumentParser):
    """A wrong command line is an error like others: `plan` has another use for argparse's status 2."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message} (try: {self.prog} --help)")
        raise SystemExit(commands.ERROR)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    common = _Parser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("ISTHMUS_CONFIG", DEFAULT_CONFIG)),
        metavar="FILE",
        help=f"the configuration file (default: $ISTHMUS_CONFIG or {DEFAULT_CONFIG})",
    )
    common.add_argument("--json", action="store_true", help="answer as one JSON document")
    top = _Parser(prog="isthmus", description="Joins VMware vSphere networks to overlay SDNs.")
    verbs = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def verb(name: str, does: object, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text, parents=[common])
        made.set_defaults(does=does)
        return made

    verb("plan", commands.plan, "show what would change: exit 0 nothing, 2 differences, 1 error")
    applying = verb("apply", commands.apply, "make the changes, until nothing is left or nothing moves")
    applying.add_argument("--agree", action="store_true", help="agree to deletes and retags that the guard holds back")
    verb("run", commands.run, "keep everything as wanted, until stopped (the daemon)")
    verb("check", commands.check_command, "check the configuration and all it names; changes nothing anywhere")
    made = verb("prepare", preparing.prepare_command, "show which switches and trunks must be made: exits like plan")
    made.add_argument("--write", action="store_true", help="make them: exit 0, or 1 if something was left")
    shown = verb("show", showing.show, "show what is")
    choices = ("hosts", "leaves", "networks", "ports", "conditions")
    shown.add_argument("what", nargs="?", default="conditions", choices=choices)
    explained = verb(
        "explain", showing.explain, "tell everything about a port, and which side is behind, or what holds a network"
    )
    explained.add_argument(
        "port", help="a port id, a VM's name, 'name/NIC label', a MAC, an instance UUID, or a network"
    )
    for name, text in (
        ("pause", "write nothing to a shard until it is resumed"),
        ("resume", "write to a shard again"),
        ("release", "hand a shard back: ports stay open and work until their VMs move, our marks come off"),
    ):
        told = verb(name, commands.tell, text)
        told.add_argument("shard", metavar="SHARD")
        if name == "release":
            told.add_argument("--everywhere", action="store_true", help="other processes have released theirs, too")
    verb("version", commands.version, "show the version")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    # A name may hold what the terminal's encoding lacks.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _does(parser().parse_args(arguments))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return commands.ERROR


def _does(args: argparse.Namespace) -> int:
    log_to_stderr("error")
    try:
        return int(args.does(args))
    except (Refused, Retry) as fault:
        complain(str(fault))
        if args.json:
            say_json({"errors": str(fault).split("\n")})
        return commands.ERROR


if __name__ == "__main__":
    sys.exit(main())
