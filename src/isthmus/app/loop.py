"""When shards are kept: woken by watches, by a jittered timer, by what may be tried again; and where bugs end.

Watches never act.  Wakes coalesce: however many come while a shard is being kept, it is kept once more.
"""

from __future__ import annotations

import gc
import logging
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from isthmus.app import describing
from isthmus.app.conditions import Condition, conditions_of
from isthmus.app.keeper import NOTHING, Keeper, Pass, Round
from isthmus.app.observing import Clock, Sight
from isthmus.app.openings import Openings
from isthmus.app.standing import Standing, Word
from isthmus.app.text import plain
from isthmus.core.flows import forget_made
from isthmus.core.guard import Agreed, Consent
from isthmus.model.change import Action, Outcome, Result
from isthmus.model.names import HostId
from isthmus.model.observed import TargetId
from isthmus.model.shard import Duty

log = logging.getLogger("isthmus")
NEVER = inf
AGREED = 60.0
"""Seconds for which an operator's word holds at most, while leaves are not waited for that have not answered since."""
STUCK = 600.0
"""Seconds after which a round under way is no progress any more."""
BUGS = 3
"""Rounds in a row that end in a bug until nobody keeps the shard: it is tried again, ever more seldom."""
HOSTS_FIRST = 1.0
"""Seconds after a change on hosts in which a shard that writes port groups alone lets the shards of these hosts go
first: nothing of its own is urgent then, and what they leave behind is what it has to see."""
PASSING = ("fault", "waiting")
"""Kinds of condition that hold for one round only."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a shard is kept without being woken."""

    resync: float = 60.0
    jitter: float = 0.2
    again: float = 1.0
    """Soon: there was more to do than one round does, or the round ended in a bug."""
    longest: float = 60.0
    forget: float = 3600.0
    """Seconds after which flows are made anew, so that memory follows what there is and not what there was."""
    together: int = 8
    """Shards kept at the same time."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """An operator's word: when he gave it, what he says by it now, and until when it holds."""

    at: float
    said: Agreed | Consent
    until: float = NEVER


@dataclass(slots=True)
class Seat:
    """One shard's place in the loop."""

    keeper: Keeper
    due: float
    woken: int | None = None
    """The tick of the wake that made it due; None: it is due by itself, to try something again."""
    agreement: Agreement | None = None
    running_since: float | None = None
    woken_at: float = 0.0
    bugs: int = 0
    fault: str = ""
    rounds: int = 0
    answered_since: float = -inf
    """Whatever was to be seen or done here when it was asked for at that moment has been, or has failed."""
    changes: int = 0
    settled_at: float | None = None
    last: Round | None = None
    handed_back: bool = False
    """It was released and carries no mark of ours any more: it is not even looked at."""
    conditions: dict[Condition, float] = field(default_factory=dict)

    def wake(self, now: float, tick: int) -> None:
        """It is due, with observations from `tick` on; how long it has been due counts from the first wake."""
        self.due, self.woken = min(self.due, now), tick if self.woken is None else max(tick, self.woken)

    def word(self, now: float) -> Agreement | None:
        """The operator's word, if it still holds."""
        if self.agreement is not None and now > self.agreement.until:
            self.agreement = None
        return self.agreement

    def used(self, word: Agreement | None, answered_since: float, consent: Consent | None) -> None:
        """A round was made on it: the others, until all has answered, have his consent only."""
        if self.agreement is not word or word is None:
            return
        if answered_since >= word.at or consent is None:
            self.agreement = None
        elif isinstance(word.said, Agreed):
            self.agreement = Agreement(word.at, consent, word.at + AGREED)

    def concerned_by(self, hosts: frozenset[HostId]) -> bool:
        """Whether a change on these hosts may matter here.  A shard that writes port groups has all hosts."""
        last = self.last.last if self.last else None
        return last is None or not hosts.isdisjoint(last.world.shard.hosts)

    @property
    def follows_hosts(self) -> bool:
        """Whether what happens on hosts is for other shards to act upon first."""
        last = self.last.last if self.last else None
        return last is not None and last.world.shard.duties == Duty.PORT_GROUPS


class Loop:
    """Keeps all shards of this process."""

    def __init__(
        self,
        keepers: Iterable[Keeper],
        sight: Sight,
        clock: Clock,
        timing: Timing = Timing(),
        standing: Standing | None = None,
        dice: random.Random | None = None,
    ) -> None:
        self._sight = sight
        self._clock = clock
        self._timing = timing
        self.standing = standing or Standing()
        self._dice = dice or random.Random()
        self._changed = threading.Condition()  # re-entrant
        self._stopping = threading.Event()
        self.seats = {keeper.name: Seat(keeper, clock()) for keeper in keepers}
        self.openings = Openings()
        self.looked: Callable[[Pass], None] = lambda last: None
        """Told of each look at a shard that is kept."""
        self.released: Callable[[Pass], None] = lambda last: None
        """Told of each look at a shard that is handed back, before anything of it is."""
        self.refused: Callable[[str, str], None] = lambda shard, reason: None
        """Told of a shard that cannot be looked at before an operator has decided something, and why."""
        self.term: Callable[[], int | None] = lambda: 0
        """The term in which this process may write, as its leader lock says; None: it may not now."""
        self.beside: Callable[[], Iterable[Condition]] = tuple
        """What is to be said of every shard."""
        self._resync_at = clock()
        self._forget_at = clock() + timing.forget
        sight.late = self.heard
        for seat in self.seats.values():
            seat.keeper.charge.intent.late = seat.keeper.charge.inventory.late = self.wake

    # --- waking ---------------------------------------------------------------------------------------------------

    def wake(self, hosts: frozenset[HostId] | None = None) -> None:
        """Something changed on these hosts (None: anywhere).  Called by watches, from any thread."""
        now, tick = self._clock(), self._sight.tick()
        with self._changed:
            for seat in self.seats.values():
                if hosts is None:
                    seat.wake(now, tick)
                elif seat.concerned_by(hosts):
                    seat.wake(now + HOSTS_FIRST if seat.follows_hosts else now, tick)
            self._changed.notify_all()

    def heard(self, target: TargetId, since: int) -> None:
        """A far side answered that was not waited for.  Whatever was seen at or after the tick `since` will do."""
        with self._changed:
            for seat in self.seats.values():
                if seat.keeper.looks_at(target):
                    seat.wake(self._clock(), since)
            self._changed.notify_all()

    def look_at_everything(self) -> None:
        """As the timer does it."""
        self._sight.look_at_everything()
        self.wake()

    def agree(self, shard: str | None = None) -> None:
        """An operator's word to the guard, for the next round of one shard or all."""
        self._sight.look_at_everything()
        now, tick = self._clock(), self._sight.tick()
        with self._changed:
            for name, seat in self.seats.items():
                if shard in (None, name):
                    seat.agreement = Agreement(now, Agreed(seat.last.asked if seat.last else NOTHING))
                    seat.wake(now, tick)
            self._changed.notify_all()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    @property
    def now(self) -> float:
        """Seconds on the clock that its looks are dated by."""
        return self._clock()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    # --- keeping --------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Keep every shard that is due, one after the other, in this thread.  Returns when the next is due."""
        while not self.stopping and (taken := self._take()) is not None:
            self._keep(*taken)
        return self._next_due()

    def run(self) -> None:
        """Keep shards until stopped, some at the same time."""
        while not self.stopping:
            with self._changed:
                taken = self._take() if self._running() < self._timing.together else None
                if taken is None:
                    self._changed.wait(self._patience())
                    continue
            threading.Thread(target=self._keep, args=taken, name=f"shard {taken[0].keeper.name}", daemon=True).start()

    def finish(self, seconds: float) -> bool:
        """Wait for rounds and writes under way to end.  False if some did not within `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running() and self._sight.writes_end, timeout=seconds)

    @property
    def is_stuck(self) -> bool:
        """A round is under way that makes no progress any more."""
        return any(self._is_stuck(seat) for seat in self.seats.values())

    def unkept(self, shard: str) -> str:
        """Why nobody keeps a shard that should be kept; empty if somebody does."""
        seat = self.seats[shard]
        if seat.bugs >= BUGS:
            return f"{seat.bugs} rounds in a row ended in a bug: {seat.fault}"
        return f"a round does not end for {STUCK:.0f} s now" if self._is_stuck(seat) else ""

    def _is_stuck(self, seat: Seat) -> bool:
        since = seat.running_since
        return since is not None and self._clock() - since >= STUCK

    def _running(self) -> int:
        return sum(seat.running_since is not None for seat in self.seats.values())

    def _take(self) -> tuple[Seat, int] | None:
        """The shard that is due the longest, and the tick from which on it needs observations."""
        with self._changed:
            now = self._clock()
            if now >= self._resync_at:
                self._resync_at = now + self._timing.resync * (1 + self._timing.jitter * self._dice.uniform(-1, 1))
                self.look_at_everything()
            if now >= self._forget_at:
                self._forget_at = now + self._timing.forget
                forget_made()
                gc.collect()  # what is left of faults, which hold what they met
            idle = [seat for seat in self.seats.values() if seat.running_since is None and seat.due <= now]
            if not idle:
                return None
            seat = min(idle, key=lambda seat: seat.due)
            since = self._sight.tick() if seat.woken is None else seat.woken
            seat.running_since, seat.woken_at = now, min(seat.due, now)
            seat.due, seat.woken = NEVER, None
            return seat, since

    def _next_due(self) -> float:
        with self._changed:
            dues = [seat.due for seat in self.seats.values() if seat.running_since is None]
            return min([*dues, self._resync_at])

    def _patience(self) -> float | None:
        if self._running() >= self._timing.together:
            return None
        return max(0.0, self._next_due() - self._clock())

    def _keep(self, seat: Seat, since: int) -> None:
        name = seat.keeper.name
        word = self.standing.of(name)
        seat.handed_back = seat.handed_back and word is Word.RELEASED
        if seat.handed_back:
            seat.last = None
            self._note(seat, (Condition("unmet", of.about, of.reason) for of in seat.keeper.charge.missed()))
            self._put_back(seat, NEVER, self._clock())
            return
        with self._changed:
            agreement = seat.word(self._clock())
        made_at: dict[Action, float] = {}
        term = self.term()
        silent = seat.keeper.charge.observe_only or word is Word.PAUSED or term is None
        try:
            done = seat.keeper.keep(
                since,
                write=not silent,
                said=agreement.said if agreement is not None else None,
                release=word is Word.RELEASED,
                # A word that comes meanwhile is heeded at once: what is under way ends, and nothing more begins.
                # So is a lease that ran out: what was seen in one term is not written in another.
                stopping=lambda: self.stopping or self.standing.of(name) is not word or self.term() != term,
                told=lambda result: self._told(seat, result, made_at),
                seen=self.released if word is Word.RELEASED else self.looked,
            )
        except Exception as bug:  # the one place where bugs end: this shard waits, the others go on
            log.exception("shard %s: a bug: %r", name, bug)
            seat.bugs += 1
            seat.fault = f"{type(bug).__name__}: {bug}"
            self._note(seat, (Condition("fault", "shard", seat.fault),))
            wait = min(self._timing.longest, self._timing.again * 2 ** min(seat.bugs - 1, 10))
            consent, answered_since = None, self._clock()
        else:
            seat.bugs, seat.fault, seat.last = 0, "", done
            self.openings.note(done, seat.woken_at, made_at)
            if done.refused:
                self.refused(name, done.reason)
            found = conditions_of(done, seat.keeper.named, seat.keeper.charge.remarks(), seat.conditions)
            # A round that could not even be thought through says nothing against what was known before.
            before = () if done.last is not None else [c for c in seat.conditions if c.kind not in PASSING]
            self._note(seat, (*found, *before, *self._strays(), *self.beside()))
            wait, answered_since = self._wait(seat, done), min(done.answered_since, self._clock())
            consent = done.consent
            if word is Word.RELEASED and done.settled and term is not None:
                seat.handed_back, seat.last, wait = True, None, NEVER
        with self._changed:
            seat.used(agreement, answered_since, consent)
        self._put_back(seat, wait, answered_since)

    def _strays(self) -> Iterator[Condition]:
        """Words on shards that are not here: what they were meant for may run."""
        for name, word in self.standing.of_others(self.seats).items():
            what = f"shard '{plain(name)}' is {word.value}, and there is none of that name here: was it renamed?"
            yield Condition("warning", "standing.json", what)

    def _wait(self, seat: Seat, done: Round) -> float:
        """Seconds until the shard is due by itself: more to do, or something to try again."""
        now = self._clock()
        if done.settled:
            seat.settled_at = now
        moved = any(result.outcome is Outcome.DONE for result in done.results)
        soon = self._timing.again if moved and done.last is not None and done.last.plan else NEVER
        retry_at = seat.keeper.retry_at()
        if retry_at is None:
            return soon
        # A moment that passed during this round is no reason to begin the next at once, and then again.
        return min(soon, retry_at - now if retry_at > now else self._timing.again)

    def _put_back(self, seat: Seat, wait: float, answered_since: float) -> None:
        with self._changed:
            seat.rounds += 1
            seat.answered_since = max(seat.answered_since, answered_since)
            seat.running_since = None
            seat.due = min(seat.due, self._clock() + wait)  # it may have been woken meanwhile
            self._changed.notify_all()

    # --- telling --------------------------------------------------------------------------------------------------

    def _told(self, seat: Seat, result: Result, made_at: dict[Action, float]) -> None:
        if result.outcome is Outcome.DONE:
            made_at[result.change.action] = self._clock()
            seat.changes += 1
            log.info("%s: %s", seat.keeper.name, describing.result(result, seat.keeper.named))

    def _note(self, seat: Seat, conditions: Iterable[Condition]) -> None:
        """Log what is new and what is gone; a condition that stays is news once."""
        now = self._clock()
        current = {condition: seat.conditions.get(condition, now) for condition in conditions}
        for condition in current.keys() - seat.conditions.keys():
            text = f"{plain(condition.about, 300)}: {plain(condition.reason, 2000)}"
            log.warning("%s: %s: %s", seat.keeper.name, condition.kind, text)
        lasting = {(condition.kind, condition.about) for condition in current}
        for condition in seat.conditions.keys() - current.keys():
            if (condition.kind, condition.about) in lasting:
                continue  # it has another reason now, and that was news above
            log.info("%s: no longer %s: %s", seat.keeper.name, condition.kind, plain(condition.about, 300))
        seat.conditions = current
