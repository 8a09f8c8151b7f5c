"""Whether this process may write: only in a lease of the leader lock that it knows of for certain.

Law: a lease is counted from the moment at which it was asked for, on a clock that goes on while a process is stopped.
A process that slept longer than its lease finds it over when it wakes, before it begins a batch.

    asked          answered                       ours is over      the lock is free
      |----------------|------- may begin ---|-RESERVE-|-------------------|
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, TypeVar

from isthmus.app.conditions import Condition
from isthmus.model.boundary import LeaderLock
from isthmus.model.faults import Refused, Retry

T = TypeVar("T")
log = logging.getLogger("isthmus")
RESERVE = 0.25
"""The share of a lease in which no batch begins any more: what began before has that long to end."""
BEAT = 1.0
"""Seconds between heartbeats, from a thread that does nothing else: no crowd of changes keeps it from them."""
CONNECTED_WITHIN = 10.0
"""Seconds that a command waits for its connection."""


def boot_clock() -> float:
    """Seconds that pass while the process is stopped, and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leading:
    """Keeps asking for the lock, and says in which term we are."""

    def __init__(
        self,
        lock: LeaderLock,
        changed: Callable[[], None],
        begins: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        """`changed` is told whenever it leads, or no longer; `begins` before each term: what was remembered of an
        earlier one may have been changed by another leader."""
        self._lock, self._changed, self._begins, self._clock = lock, changed, begins, clock
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._until, self._reserve, self._term = -inf, 0.0, 0
        self._holder, self._fault = "", "it was not asked yet"

    def term(self) -> int | None:
        """The number of our term, another each time that we take over; None: no batch may begin now."""
        with self._guard:
            return self._term if self._clock() < self._until - self._reserve else None

    def may_write(self) -> bool:
        """Whether anything may be written now, as part of a batch that began before."""
        with self._guard:
            return self._clock() < self._until

    def beat(self) -> None:
        """Ask once."""
        before, fault_before = self.term(), self._fault
        asked = self._clock()
        try:
            held = self._lock.hold()
        except Retry as fault:  # what we know of holds until it is over, and no longer
            with self._guard:
                self._fault = str(fault)
        else:
            is_new = held.seconds is not None and self._clock() >= self._until
            if is_new:
                self._begins()
            with self._guard:
                self._holder, self._fault = held.holder, ""
                if held.seconds is None or self._closing.is_set():
                    self._until = -inf
                else:
                    self._term += is_new
                    self._until, self._reserve = asked + held.seconds, held.seconds * RESERVE
        after = self.term()
        if after != before:
            log.warning("leader lock: %s", "this process leads" if after is not None else "this process writes nothing")
        if after != before or bool(self._fault) != bool(fault_before):
            self._changed()

    def conditions(self) -> tuple[Condition, ...]:
        """What an operator should know of it: that it cannot be asked."""
        if not self._fault:
            return ()
        return (Condition("warning", "leader lock", f"{self._fault}; without a lease nothing is written"),)

    def told(self) -> dict[str, Any]:
        """Who leads, for `show` and --json."""
        return {"leads": self.term() is not None, "holder": self._holder, "fault": self._fault}

    def refusal(self) -> Refused:
        """Why this process does not apply anything, for who asks it to."""
        return _no_lease(self._fault) if self._fault else _led_by(self._holder)

    def start(self) -> None:
        """Ask from now on."""
        self._thread = threading.Thread(target=self._run, name="leader lock", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self.beat()
            except Exception:  # a bug: the lease runs out, another process leads
                log.exception("leader lock: a bug")
            self._closing.wait(BEAT)

    def close(self) -> None:
        """Begin nothing more, and let another process lead at once."""
        self._closing.set()
        with self._guard:
            self._until = -inf
        self._lock.close()


def asked_until(ask: Callable[[], T], seconds: float = CONNECTED_WITHIN) -> T:
    """An answer of a lock service to which the connection may only be coming up.  Raises Retry if there is none."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except Retry:
            if time.monotonic() >= end:
                raise
        time.sleep(0.1)


def _no_lease(fault: str) -> Refused:
    return Refused(f"leader lock: {fault}; without a lease nothing is written")


def _led_by(holder: str) -> Refused:
    who = f"'{holder}'" if holder else "another process"
    return Refused(f"{who} leads: it applies by itself, and 'isthmus apply' beside it does so at once")


@contextmanager
def leading_once(lock: LeaderLock | None, patience: float = CONNECTED_WITHIN) -> Iterator[Callable[[], bool]]:
    """For a command: gives whether it may begin a batch.  Raises Refused while another leads, or nobody can tell."""
    if lock is None:
        yield lambda: True
        return
    leading = Leading(lock, lambda: None)
    try:
        try:
            held = asked_until(lock.hold, patience)
        except Retry as fault:
            raise _no_lease(str(fault)) from fault
        if held.seconds is None:
            raise _led_by(held.holder)
        leading.beat()
        if leading.term() is None:  # it was lost between two questions
            raise leading.refusal()
        leading.start()
        yield lambda: leading.term() is not None
    finally:
        leading.close()
