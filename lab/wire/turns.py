"""Threads that take turns on a virtual clock: code that begins threads and waits runs as it is, in no time at all.

Law: one at a time, first woken first, and time passes only when nobody can go on; so every history can be had again.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import inf
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any, Generic, TypeVar

from lab.wire.clock import VirtualClock

T = TypeVar("T")
TICK = 1e-6
"""The shortest time that can be waited for: sums of floats may fall short of a moment, and would do so for ever."""


class Ended(BaseException):
    """The world is over for whoever still waits in it."""


class Turns(VirtualClock):
    """The clock, and who waits for what.  To one of its threads `advance` is a sleep, as others have their turns."""

    def __init__(self) -> None:
        super().__init__()
        self._ready: deque[Turn] = deque()
        self._living: set[Turn] = set()
        self._at_work: Turn | None = None
        self._back = threading.Semaphore(0)
        self._over = False

    def begin(self, work: Callable[[], object]) -> Turn:
        """Let `work` be done in a thread of its own, when its turn comes."""
        turn = Turn(work, self._back)
        self._living.add(turn)
        self._ready.append(turn)
        return turn

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if self._at_work is not None:
            if seconds > 0:
                self.pause(seconds)
            return
        self._go_round()
        super().advance(seconds)

    def _happen(self) -> None:
        super()._happen()
        self._go_round()

    def _go_round(self) -> None:
        while self._ready:
            self._let(self._ready.popleft())

    def _let(self, turn: Turn) -> None:
        self._at_work = turn
        turn.naps += 1
        turn.go.release()
        self._back.acquire()
        self._at_work = None
        if turn.over:
            self._living.discard(turn)
            turn.ended.set(self)
            if turn.fault is not None and not self._over:
                raise turn.fault

    def pause(self, seconds: float | None) -> None:
        """Whoever is at work waits until he is woken, or for so long."""
        turn = self._at_work
        assert turn is not None, "only a thread of this clock's waits by it"
        if self._over:
            raise Ended
        if seconds is not None:
            nap = turn.naps
            self.after(max(seconds, TICK), lambda: self._time_is_up(turn, nap))
        self._back.release()
        turn.go.acquire()
        if self._over:
            raise Ended

    def _time_is_up(self, turn: Turn, nap: int) -> None:
        if turn.naps == nap:
            self.wake(turn)

    def wake(self, turn: Turn) -> None:
        """Let a waiting thread go on when its turn comes."""
        if turn not in self._ready:
            self._ready.append(turn)

    def wait_among(self, waiting: deque[Turn], seconds: float | None) -> None:
        """Wait until somebody wakes the first or all of `waiting`, or for so long."""
        turn = self._at_work
        assert turn is not None, "only a thread of this clock's waits by it"
        if seconds is not None and seconds <= 0:
            return
        waiting.append(turn)
        try:
            self.pause(seconds)
        finally:
            if turn in waiting:
                waiting.remove(turn)

    def close(self) -> None:
        """End everybody who still waits."""
        self._over = True
        while self._living:
            self._let(next(iter(self._living)))

    @contextmanager
    def instead_of_threads(self, modules: Iterable[ModuleType]) -> Iterator[None]:
        """Let these modules begin their threads, and wait, here."""
        stand_ins = {"threading": self._threading(), "queue": self._queue(), "time": self._time()}
        before = [(m, name, getattr(m, name)) for m in modules for name in stand_ins if hasattr(m, name)]
        for module, name, _ in before:
            setattr(module, name, stand_ins[name])
        try:
            yield
        finally:
            self.close()
            for module, name, real in before:
                setattr(module, name, real)

    def _threading(self) -> SimpleNamespace:
        """What isthmus uses of `threading`.  Locks are the real ones: nobody keeps one while he waits."""
        return SimpleNamespace(
            Thread=lambda **given: Thread(self, **given),
            Event=lambda: Event(self),
            Condition=lambda: Condition(self),
            Lock=threading.Lock,
        )

    def _time(self) -> SimpleNamespace:
        return SimpleNamespace(monotonic=lambda: self.now, sleep=self.advance)

    def _queue(self) -> SimpleNamespace:
        return SimpleNamespace(Queue=lambda: Queue(self), Empty=queue.Empty)


class Turn:
    """One thread, which works only when it is let."""

    def __init__(self, work: Callable[[], object], back: threading.Semaphore) -> None:
        self.go = threading.Semaphore(0)
        self.naps = 0
        """How often it was let: a time that was waited for and is past wakes nobody."""
        self.over = False
        self.fault: BaseException | None = None
        self.ended = _Flag()
        self._work = work
        self._back = back
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        self.go.acquire()
        try:
            self._work()
        except BaseException as fault:  # carried to whoever lets time pass
            self.fault = fault
        self.over = True
        self._back.release()


class _Flag:
    """Up or not, and who waits for it."""

    def __init__(self) -> None:
        self.up = False
        self.waiting: deque[Turn] = deque()

    def set(self, turns: Turns) -> None:
        self.up = True
        for turn in self.waiting:
            turns.wake(turn)
        self.waiting.clear()


class Event:
    """As `threading.Event`."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._flag = _Flag()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._flag.up

    def set(self) -> None:
        """Let all who wait go on."""
        self._flag.set(self._turns)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was set in time."""
        if not self._flag.up:
            self._turns.wait_among(self._flag.waiting, timeout)
        return self._flag.up


class Thread:
    """As `threading.Thread`."""

    def __init__(
        self,
        turns: Turns,
        target: Callable[..., object],
        args: tuple[Any, ...] = (),
        name: str = "",
        daemon: bool = True,
    ) -> None:
        assert daemon, f"{name} would keep the process alive"
        self._turns = turns
        self._work = lambda: target(*args)
        self._turn: Turn | None = None

    def start(self) -> None:
        """Begin."""
        self._turn = self._turns.begin(self._work)

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        if self._turn is not None and not self._turn.ended.up:
            self._turns.wait_among(self._turn.ended.waiting, timeout)


class Condition:
    """As `threading.Condition`: a lock that nobody has to wait for, since one works at a time."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waiting: deque[Turn] = deque()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def wait(self, timeout: float | None = None) -> None:
        """Wait to be told, or for so long."""
        self._turns.wait_among(self._waiting, timeout)

    def wait_for(self, so: Callable[[], bool], timeout: float | None = None) -> bool:
        """Until it is so, or for as many seconds; whether it is."""
        end = inf if timeout is None else self._turns.now + timeout
        while not so() and self._turns.now < end:
            self.wait(None if timeout is None else end - self._turns.now)
        return so()

    def notify_all(self) -> None:
        """Tell all who wait."""
        while self._waiting:
            self._turns.wake(self._waiting.popleft())


class Queue(Generic[T]):
    """As `queue.Queue`."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._items: deque[T] = deque()
        self._waiting: deque[Turn] = deque()

    def put(self, item: T) -> None:
        """Add one."""
        self._items.append(item)
        if self._waiting:
            self._turns.wake(self._waiting.popleft())

    def get(self, timeout: float | None = None) -> T:
        """The oldest; Empty if there was none in time."""
        if not self._items:
            self._turns.wait_among(self._waiting, timeout)
        if not self._items:
            raise queue.Empty
        return self._items.popleft()
