"""`isthmus run`: the loop with everything around it: signals, systemd, the control socket, the state file.

SIGTERM and SIGINT begin nothing more, wait a moment for writes under way, and leave all traffic flowing.
"""

from __future__ import annotations

import gc
import json
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from isthmus.app import holding, report
from isthmus.app.cabling import keep_looking
from isthmus.app.control import Answer, Request, Server
from isthmus.app.elsewhere import served_elsewhere
from isthmus.app.keeper import Keeper
from isthmus.app.leading import Leading
from isthmus.app.loop import AGREED, Loop, Timing
from isthmus.app.notify import Systemd
from isthmus.app.standing import Standing, Word, say_word, write_whole
from isthmus.app.status import seen_by, status
from isthmus.app.wiring import Wiring, habits_of
from isthmus.model.faults import Refused

log = logging.getLogger("isthmus")
LEAVE = 1.0
"""Seconds given to writes under way at the end: two are promised for all."""


SELDOM = (10_000, 20, 20)
"""Allocations between collections of garbage in cycles, which there is hardly any of: at Python's own 700, half of the
time that it takes to read a large vCenter went into looking for it."""


class Daemon:
    """A process that keeps its shards until it is told to stop."""

    def __init__(self, wiring: Wiring, systemd: Systemd | None = None) -> None:
        config = wiring.config
        self._wiring = wiring
        self._systemd = systemd or Systemd()
        state = config.status.state
        self._state_file = None if state is None else state / "status.json"
        habits = habits_of(config)
        self.loop = Loop(
            [Keeper(charge, wiring.sight, wiring.clock, habits) for charge in wiring.charges],
            wiring.sight,
            wiring.clock,
            Timing(config.loop.resync, config.loop.jitter, config.loop.backoff_first, config.loop.backoff_longest),
            Standing(None if state is None else state / "standing.json"),
        )
        if wiring.neutron is not None:
            self.loop.looked = wiring.neutron.looked
            self.loop.released = wiring.neutron.released
            self.loop.refused = wiring.neutron.refused
            wiring.neutron.word = self.loop.standing.of
            wiring.neutron.unkept = self.loop.unkept
        self.leading: Leading | None = None
        if wiring.lock is not None:
            self.leading = Leading(wiring.lock, self.loop.look_at_everything, self._begin_term)
            self.loop.term, self.loop.beside = self.leading.term, self.leading.conditions
            wiring.may_write = self.leading.may_write
        self._done = threading.Event()

    def run(self) -> int:
        """Keep shards until a signal, or until the loop dies.  Returns the exit status."""
        gc.freeze()  # what is there now stays
        gc.set_threshold(*SELDOM)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        server = Server(self._wiring.config.status.socket, self.answer)
        worker = threading.Thread(target=self.loop.run, name="loop", daemon=True)
        if self.leading is not None:
            self.leading.start()
        worker.start()
        self._wiring.watch(self.loop.wake)
        looking = (tuple(self._wiring.cabling.values()), self.loop.wake, self._done)
        threading.Thread(target=keep_looking, args=looking, name="cabling", daemon=True).start()
        names = ", ".join(self.loop.seats)
        log.info("keeping %d shards: %s", len(self.loop.seats), names)
        self._systemd.tell("READY=1", f"STATUS=keeping {len(self.loop.seats)} shards")
        beat = min(5.0, (self._systemd.watchdog or 10.0) / 3)
        while worker.is_alive() and not self._done.wait(beat):
            self._sign_of_life()
        died = not self.loop.stopping
        if died:  # of a bug that is no shard's: nothing would be kept any more, while all else goes on saying so
            log.error("the loop has ended by itself: leaving, to be started anew")
        self._leave(server)
        return 1 if died else 0

    def stop(self) -> None:
        """Begin nothing more and leave."""
        self.loop.stop()
        self._done.set()

    def _sign_of_life(self) -> None:
        if not self.loop.is_stuck:  # else systemd is no longer told that all is well
            settled = sum(seat.last is not None and seat.last.settled for seat in self.loop.seats.values())
            self._systemd.tell("WATCHDOG=1", f"STATUS={settled} of {len(self.loop.seats)} shards settled")
        if self._state_file is not None:
            try:
                write_whole(self._state_file, json.dumps(self.status()))
            except OSError as fault:
                log.debug("%s: %s", self._state_file, fault)

    def _leave(self, server: Server) -> None:
        self._systemd.tell("STOPPING=1")
        self.loop.finish(LEAVE)
        # A far side that hangs must not keep us: what is left open is closed by the end of the process.
        ends = [server.close, self._wiring.close]
        if self.leading is not None:
            ends.insert(0, self.leading.close)
        for end in ends:
            closing = threading.Thread(target=end, daemon=True)
            closing.start()
            closing.join(0.3)
        log.info("stopped; traffic goes on")

    def _begin_term(self) -> None:
        """What was told and seen before does not count: another process led meanwhile."""
        self._wiring.forget()
        self.loop.look_at_everything()

    # --- what the socket answers ----------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """How everything is."""
        wiring = self._wiring
        found = status(self.loop, wiring.sight, [wiring.intent, *wiring.inventories.values()], wiring.clock)
        return found if self.leading is None else {**found, "leader": self.leading.told()}

    def answer(self, request: Request) -> Answer:
        """One request of the control socket."""
        doing = request.get("do")
        answers: dict[object, Callable[[Request], Answer]] = {
            "status": lambda _: self.status(),
            "show": self._show,
            "explain": self._explain,
            "apply": self._apply,
            "pause": lambda asked: self._say(asked, Word.PAUSED),
            "resume": lambda asked: self._say(asked, None),
            "release": lambda asked: self._say(asked, Word.RELEASED),
        }
        if doing not in answers:
            raise Refused(f"there is no request {doing!r}; there are: {', '.join(map(str, answers))}")
        return answers[doing](request)

    def _show(self, asked: Request) -> Answer:
        seen = seen_by(self.loop)
        match asked.get("what"):
            case "hosts":
                others = served_elsewhere(self._wiring.config, self._wiring.neutron)
                return {"rows": [*report.hosts(seen), *others]}
            case "leaves":
                return {"rows": report.leaves(seen, self._wiring.config)}
            case "networks":
                return {"rows": report.networks(seen)}
            case "ports":
                return {"rows": report.ports(seen, self.loop.openings.seconds)}
        return self.status()

    def _explain(self, asked: Request) -> Answer:
        wanted = str(asked.get("port", ""))
        rows = report.explained(seen_by(self.loop), wanted, self.loop.openings.seconds, self._wiring.unlooked)
        networks = holding.networks(seen_by(self.loop), wanted, self._wiring.holders)
        return {"rows": [*(rows or self._wiring.explained(wanted)), *networks]}

    def _apply(self, asked: Request) -> Answer:
        if self.leading is not None and self.leading.term() is None:
            raise self.leading.refusal()
        made, unanswered = kept_once_more(self.loop, bool(asked.get("agree")), float(asked.get("seconds", AGREED)))
        return {"made": made, "unanswered": unanswered, **self.status()}

    def _say(self, asked: Request, word: Word | None) -> Answer:
        charges = [seat.keeper.charge for seat in self.loop.seats.values()]
        said = say_word(
            charges, self.loop.standing, asked.get("shard"), word, everywhere=asked.get("everywhere") is True
        )
        self.loop.wake()
        log.warning("%s: %s by an operator", said["shard"], said["state"])
        return said


def kept_once_more(loop: Loop, agree: bool, seconds: float) -> tuple[dict[str, int], list[str]]:
    """Keep every shard once more, on an operator's word if he agrees, and wait for it: the changes made in each shard.

    No round waits for a slow leaf: it is waited for here, for so many seconds, and named if it has not answered then.
    """
    seats = loop.seats
    before = {name: seat.changes for name, seat in seats.items()}
    rounds = {name: seat.rounds + (seat.running_since is not None) for name, seat in seats.items()}
    asked_at = loop.now
    if agree:
        loop.agree()
    else:
        loop.wake()
    end = time.monotonic() + seconds
    while (unkept := [name for name, seat in seats.items() if seat.rounds <= rounds[name]]) or (
        late := [seat.keeper for seat in seats.values() if seat.answered_since < asked_at]
    ):
        if time.monotonic() > end or loop.stopping:
            break
        time.sleep(0.05)
    if unkept:
        raise Refused("the daemon did not finish in time; see 'isthmus show conditions'")
    made = {name: seat.changes - before[name] for name, seat in seats.items()}
    return made, sorted({name for keeper in late for name in keeper.unanswered() or [keeper.name]})
