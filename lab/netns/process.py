"""The processes a world has started, each known by pid and start time, so that ending one never hits a stranger.

Law: a process is on record before anything else can fail, and only what is on record is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HARDWARE_PRIORITY = -10


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A pid alone may be given to somebody else after a crash; with its start time it is one process for ever."""

    pid: int
    started: int
    what: str
    is_vital: bool = True  # without it the world is no longer one
    has_family: bool = False  # children of its own, and nothing to put in order: all of them end at once

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which `pid` started; None if it is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold spaces and parentheses, so count from the last ")": state is next, starttime is 20th.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def this_process(what: str) -> ProcessId:
    return ProcessId(os.getpid(), start_time(os.getpid()) or 0, what)


@dataclass(frozen=True, slots=True)
class Processes:
    """The record of one world's processes: a file with a line for each."""

    record: Path

    def all(self) -> list[ProcessId]:
        if not self.record.exists():
            return []
        lines = (line.split(" ", 3) for line in self.record.read_text().splitlines())
        return [
            ProcessId(int(pid), int(started), what, "vital" in kind, "family" in kind)
            for pid, started, kind, what in lines
        ]

    def alive(self) -> list[ProcessId]:
        return [process for process in self.all() if process.alive]

    def adopt(self, pid: int, what: str, is_vital: bool = True, has_family: bool = False) -> ProcessId:
        process = ProcessId(pid, start_time(pid) or 0, what, is_vital, has_family)
        kind = ("vital" if is_vital else "guest") + ("-family" if has_family else "")
        with self.record.open("a") as record:
            record.write(f"{process.pid} {process.started} {kind} {what}\n")
        return process

    def start(
        self,
        what: str,
        command: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        answers: Path | None = None,
        stands_for_hardware: bool = False,
        is_vital: bool = True,
        has_family: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own (a Ctrl-C meant for us must not reach it), its output in `log`.

        `answers`: where its standard output goes, if that is more than talk.  What stands for hardware goes before the
        programs of the world when the processor is short, as far as the machine allows.
        """
        with log.open("ab") as talk, (answers or log).open("ab") as output:
            started = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=talk,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        if stands_for_hardware:
            with contextlib.suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, started.pid, HARDWARE_PRIORITY)
        self.adopt(started.pid, what, is_vital, has_family)
        return started

    def stop_all(self) -> None:
        """The last started goes first, since it may depend on the ones before."""
        end(list(reversed(self.alive())))


def end(processes: Sequence[ProcessId], patience: float = 5.0) -> None:
    """Ask each to end, and after `patience` seconds in all insist.  A family is not asked."""
    for process in processes:
        if process.has_family:
            _end_family(process)
        else:
            _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(process.alive for process in processes) and time.monotonic() < deadline:
        _reap(processes)
        time.sleep(0.01)
    for process in processes:
        _signal(process, signal.SIGKILL)
    while any(process.alive for process in processes):
        _reap(processes)
        time.sleep(0.01)
    _reap(processes)


def _signal(process: ProcessId, number: signal.Signals) -> None:
    if process.alive:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def _end_family(process: ProcessId) -> None:
    # It was started in a session of its own, so that its group has its number, and nobody else's children are in it.
    if process.alive:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _reap(processes: Sequence[ProcessId]) -> None:
    """Collect those that are children of ours, so that none stays behind as a zombie."""
    for process in processes:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            continue
