"""isthmus as a process to be measured: `python -m lab.bench.kept CONFIG STORE`, asked by lines of JSON on stdin.

It is the daemon of `isthmus run`, whole, but for one part: its NVEs are in memory, so that the vCenter side is seen.
STORE keeps what they hold between two processes, as OVS would.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isthmus.adapters import ovs
from isthmus.app import wiring
from isthmus.app.daemon import Daemon
from isthmus.app.settings import load
from isthmus.model.boundary import Wake
from isthmus.model.names import HostId
from isthmus.model.observed import TargetId
from lab.bench.meter import Meter
from lab.wire.clock import VirtualClock
from lab.wire.nve import WireNve

Told = dict[str, Any]
QUIET = 0.25
"""Seconds without a round after which nothing is going on any more."""
SOON = 2.0
"""Seconds in which a round that is due belongs to what was done before."""


class StoredNve(WireNve):
    """An NVE in memory in the place of an OVS, built, with what STORE holds for it."""

    stored: dict[str, Any] = {}  # noqa: RUF012 - one process, one store
    made: list[StoredNve] = []  # noqa: RUF012

    def __init__(self, host: HostId, settings: Any, *, keeps: bool = True) -> None:
        super().__init__(TargetId("ovs", host), settings.vtep, [host], VirtualClock())
        self.entries = self.stored.get(str(host), {})
        self.ready = True
        self.made.append(self)

    def watch(self, wake: Wake) -> None:
        """Nobody else touches it."""

    def close(self) -> None:
        """Nothing to let go of."""


class Kept:
    """A daemon and what is asked of it."""

    def __init__(self, config: Path, store: Path) -> None:
        self.store = store
        self.meter = Meter()
        self.meter.install()
        if store.exists():
            StoredNve.stored = pickle.loads(store.read_bytes())
        ovs.OvsTarget = StoredNve  # type: ignore[misc,assignment]
        self.settings = load(config)
        tidy()
        self.empty = resident()
        self.cpu = time.process_time()
        self.since = time.perf_counter()
        self.nve_writes = 0
        self.daemon: Daemon | None = None

    def answer(self, asked: Told) -> Told:
        """One request."""
        answers: dict[str, Callable[[Told], Told]] = {
            "settled": self.settled, "quiet": self.quiet, "reset": self.reset, "report": self.report,
            "memory": self.memory, "save": self.save, "wake": self.wake,
            "done": self.report,
        }  # fmt: skip
        return answers[asked["do"]](asked)

    def settled(self, asked: Told) -> Told:
        """Wait until every shard is."""
        self._until(lambda: all(seat.last is not None and seat.last.settled for seat in self._seats), asked)
        return self.report(asked)

    def quiet(self, asked: Told) -> Told:
        """Wait until no shard has anything to do; the waiting itself is not in the times."""
        self._until(self._at_rest, asked)
        return self.report(asked)

    def reset(self, _: Told) -> Told:
        """Count from now on."""
        self.meter.reset()
        self.cpu, self.since = time.process_time(), time.perf_counter()
        self.nve_writes = sum(nve.writes for nve in StoredNve.made)
        return {}

    def report(self, _: Told) -> Told:
        """What happened since the start or the last reset."""
        return {
            "wall": time.perf_counter() - self.since,
            "cpu": time.process_time() - self.cpu,
            "nve_writes": sum(nve.writes for nve in StoredNve.made) - self.nve_writes,
            "rounds": sum(seat.rounds for seat in self._seats),
            "unsettled": [seat.keeper.name for seat in self._seats if not (seat.last and seat.last.settled)],
            **self.meter.told(),
        }

    def wake(self, _: Told) -> Told:
        """A round of every shard, as the timer begins one."""
        assert self.daemon is not None
        self.daemon.loop.look_at_everything()
        return {}

    def memory(self, _: Told) -> Told:
        """Bytes that came since the process had everything but the far sides."""
        tidy()
        return {"bytes": resident() - self.empty, "all": resident()}

    def save(self, _: Told) -> Told:
        """What the NVEs hold, for the next process."""
        self.store.write_bytes(pickle.dumps({nve.id.name: nve.entries for nve in StoredNve.made}))
        return {}

    @property
    def _seats(self) -> list[Any]:
        return list(self.daemon.loop.seats.values()) if self.daemon else []

    def _at_rest(self) -> bool:
        def still() -> list[Any]:
            return [(seat.rounds, seat.running_since) for seat in self._seats]

        before = still()
        assert self.daemon is not None
        soon = self.daemon.loop.now + SOON
        if any(running is not None for _, running in before) or any(seat.due < soon for seat in self._seats):
            return False
        time.sleep(QUIET)
        return still() == before

    def _until(self, so: Callable[[], bool], asked: Told) -> None:
        end = time.monotonic() + asked.get("seconds", 120)
        while not so():
            if time.monotonic() > end:
                last = [seat.last.reason or str(seat.last.last and seat.last.last.thought.unmet)[:300]
                        for seat in self._seats if seat.last and not seat.last.settled]  # fmt: skip
                raise TimeoutError(f"not so after {asked.get('seconds', 120)} s: {last[:3]}")
            time.sleep(0.01)

    def serve(self, asked: Told) -> None:
        """Wire and run in this thread, as the command does; requests are answered by another."""
        self.reset(asked)
        self.daemon = Daemon(wiring.wire(self.settings, time.monotonic))
        threading.Thread(target=self._listen, daemon=True).start()
        self.daemon.run()

    def _listen(self) -> None:
        for line in sys.stdin:
            try:
                tell(self.answer(json.loads(line)))
            except Exception as problem:
                tell({"error": f"{type(problem).__name__}: {problem}"})
        assert self.daemon is not None
        self.daemon.stop()


def tidy() -> None:
    """Give back what is free, so that what is resident is what is used."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tell(answer: Told) -> None:
    """One line."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    config, store = map(Path, sys.argv[1:3])
    kept = Kept(config, store)
    tell({})
    kept.serve(json.loads(sys.stdin.readline()))
    os._exit(0)  # threads that wait on a far side are not waited for


if __name__ == "__main__":
    main()
