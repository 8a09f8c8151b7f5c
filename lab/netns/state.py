"""Where a world keeps what must outlive the process that made it, and how any later process takes it down.

Law: a world's directory and namespaces carry its name, so nobody needs to remember what it made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.netns import namespace
from lab.netns.process import Processes, ProcessId, end, start_time, this_process

BASE = Path("/run/isthmus-lab")
NAMESPACE_PREFIX = "im-"
_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")


class BadName(ValueError):
    """A name that could be taken for another world's, or for something else altogether."""


class NotThere(LookupError):
    """No such world, VM, host or port group, or more than one."""


class AlreadyThere(Exception):
    """A live world of that name exists."""


@dataclass(frozen=True, slots=True)
class WorldState:
    name: str

    def __post_init__(self) -> None:
        # No dash, so that the namespaces of "demo" are never taken for those of another world.
        if not _NAME.fullmatch(self.name):
            raise BadName(f"a world's name is up to 12 of a-z and 0-9, a letter first; not {self.name!r}")

    @property
    def directory(self) -> Path:
        return BASE / self.name

    @property
    def prefix(self) -> str:
        return f"{NAMESPACE_PREFIX}{self.name}-"

    @property
    def processes(self) -> Processes:
        return Processes(self.directory / "processes")

    @property
    def control(self) -> Path:
        return self.directory / "hostd.sock"

    def claim(self, keep: bool) -> None:
        """Make the directory ours.  `keep`: the world shall outlive this process."""
        if self.exists and self.is_live:
            raise AlreadyThere(f"a world named {self.name!r} is up; take it down, or choose another name")
        self.take_down()
        BASE.mkdir(exist_ok=True)
        # With the owner already in it when it gets its name: nobody ever sees it without one.
        draft = BASE / f".{self.name}.{os.getpid()}"
        draft.mkdir(mode=0o700)
        owner = this_process("owner")
        (draft / "owner").write_text(json.dumps({"pid": owner.pid, "started": owner.started, "keep": keep}))
        try:
            draft.rename(self.directory)
        except OSError as error:
            shutil.rmtree(draft)
            raise AlreadyThere(f"a world named {self.name!r} is coming up") from error

    @property
    def exists(self) -> bool:
        return self.directory.exists() or bool(self.namespaces())

    @property
    def is_live(self) -> bool:
        """Its owner lives; or it was made to be kept and all it needs is still there."""
        try:
            owner = json.loads((self.directory / "owner").read_text())
        except FileNotFoundError:
            return False
        if ProcessId(owner["pid"], owner["started"], "owner").alive:
            return True
        vital = [process for process in self.processes.all() if process.is_vital]
        return bool(owner["keep"]) and bool(vital) and all(process.alive for process in vital)

    def namespaces(self) -> list[str]:
        return [name for name in namespace.existing() if name.startswith(self.prefix)]

    def write(self, what: str, value: Any) -> Path:
        path = self.directory / f"{what}.json"
        path.write_text(json.dumps(value, indent=2))
        return path

    def read(self, what: str) -> Any:
        return json.loads((self.directory / f"{what}.json").read_text())

    def tail(self, name: str, size: int = 2000) -> str:
        """The end of one of the world's logs."""
        path = self.directory / name
        return path.read_text(errors="replace")[-size:] if path.exists() else ""

    def take_down(self) -> None:
        """End what runs, delete what was made.  Does no harm to a world half up, half down, or not there."""
        self.processes.stop_all()
        for name in self.namespaces():
            # Whatever somebody started in a namespace of the world belongs to the world.
            guests = [ProcessId(pid, start_time(pid) or 0, name) for pid in namespace.pids(name)]
            end(guests, patience=1.0)
            namespace.delete(name)
        shutil.rmtree(self.directory, ignore_errors=True)
        if BASE.is_dir() and not any(BASE.iterdir()):
            BASE.rmdir()


def worlds() -> list[WorldState]:
    """All that have left anything on this machine, live or stale."""
    named = {path.name for path in BASE.iterdir() if not path.name.startswith(".")} if BASE.is_dir() else set()
    for name in namespace.existing():
        if name.startswith(NAMESPACE_PREFIX):
            named.add(name.removeprefix(NAMESPACE_PREFIX).split("-")[0])
    return [WorldState(name) for name in sorted(named) if _NAME.fullmatch(name)]


def stale() -> list[WorldState]:
    return [world for world in worlds() if not world.is_live]


def clear_away(names: re.Pattern[str]) -> None:
    """Take down what was left by killed makers of worlds with such names, and say so."""
    for state in stale():
        if names.fullmatch(state.name):
            print(f"-- taking away what a killed demo left: {state.name}", flush=True)
            state.take_down()


def die_by_exception() -> None:
    """Let SIGTERM and SIGHUP end this process the way Ctrl-C does, so that its world comes down with it."""

    def rise(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    for signal_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_, rise)
