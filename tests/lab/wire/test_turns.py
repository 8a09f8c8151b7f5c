"""Threads on a virtual clock: what waits, waits in virtual time, and in the same order every time."""

from __future__ import annotations

import queue
import threading
import types

import pytest

from lab.wire.turns import Turns


def module() -> types.ModuleType:
    """One that begins threads and waits."""
    found = types.ModuleType("some")
    found.threading, found.queue = threading, queue  # type: ignore[attr-defined]
    return found


def test_time_passes_for_who_waits_and_for_nobody_else() -> None:
    turns, some, told = Turns(), module(), []
    with turns.instead_of_threads([some]):
        bell = some.threading.Event()

        def waiter(name: str, patience: float | None) -> None:
            in_time = bell.wait(patience)
            told.append((turns.now, name, in_time))

        for name, patience in (("short", 1.0), ("long", None), ("none", 0)):
            some.threading.Thread(target=waiter, args=(name, patience), daemon=True).start()
        some.threading.Thread(target=lambda: (turns.advance(3), bell.set()), daemon=True).start()
        assert told == [], "nobody works before time passes"
        turns.advance(10)
    assert told == [(0.0, "none", False), (1.0, "short", False), (3.0, "long", True)]
    assert turns.now == 10.0
    assert some.threading is threading


def test_a_queue_a_condition_and_a_join_wait_by_the_same_clock() -> None:
    turns, some, told = Turns(), module(), []
    with turns.instead_of_threads([some]):
        letters, changed = some.queue.Queue(), some.threading.Condition()

        def reader() -> None:
            letter = letters.get(timeout=5)
            told.append((turns.now, letter))
            with pytest.raises(queue.Empty):
                letters.get(timeout=5)
            told.append((turns.now, "empty"))
            with changed:
                changed.wait(100)
            told.append((turns.now, "told"))

        def joiner() -> None:
            reading = some.threading.Thread(target=reader, daemon=True)
            reading.start()
            reading.join()
            told.append((turns.now, "joined"))

        turns.begin(joiner)
        turns.after(2, lambda: letters.put("a letter"))
        turns.after(9, lambda: changed.notify_all())
        turns.advance(50)
    assert told == [(2.0, "a letter"), (7.0, "empty"), (9.0, "told"), (9.0, "joined")]


def test_a_bug_in_a_thread_is_told_to_who_lets_time_pass() -> None:
    turns = Turns()
    turns.begin(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        turns.advance(1)


def test_who_waits_for_ever_ends_with_the_world() -> None:
    turns, some, cleaned = Turns(), module(), []
    with turns.instead_of_threads([some]):

        def waiter() -> None:
            try:
                some.threading.Event().wait()
            finally:
                cleaned.append(turns.now)

        some.threading.Thread(target=waiter, daemon=True).start()
        turns.advance(1000)
        assert not cleaned
    assert cleaned == [1000.0]
