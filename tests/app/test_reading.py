"""A source is read as seldom as can be: a reading answers all who asked before it began, and nobody else."""

from __future__ import annotations

import threading
import time

import pytest

from isthmus.app.backoff import Backoff
from isthmus.app.reading import Answer, Source
from isthmus.model.faults import Retry

PATIENCE = 20.0


class Slow:
    """A far side that answers with the number of the question, when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None
        self.begun = threading.Semaphore(0)
        self.going = threading.Semaphore(0)

    def read(self) -> int:
        self.asked += 1
        number = self.asked
        self.begun.release()
        assert self.going.acquire(timeout=PATIENCE)
        if self.fault is not None:
            raise self.fault
        return number


class Readers:
    """Shards that ask at the same time."""

    def __init__(self, source: Source[int]) -> None:
        self.source = source
        self.threads: list[threading.Thread] = []
        self.answers: list[Answer[int]] = []
        self.faults: list[Exception] = []

    def ask(self, count: int) -> None:
        for _ in range(count):
            self.threads.append(threading.Thread(target=self._ask))
            self.threads[-1].start()

    def _ask(self) -> None:
        try:
            self.answers.append(self.source.read())
        except Exception as fault:
            self.faults.append(fault)

    def end(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def far() -> Slow:
    return Slow()


@pytest.fixture
def readers(far: Slow) -> Readers:
    return Readers(Source("far", far.read, time.monotonic, Backoff(60, 60), patience=PATIENCE))


def let_eight_wait_for_the_first(far: Slow, readers: Readers) -> None:
    """One is being answered, seven came too late for that."""
    readers.ask(1)
    assert far.begun.acquire(timeout=PATIENCE)
    readers.ask(7)
    time.sleep(0.5)  # till they wait
    far.going.release()


def test_who_asks_while_another_is_being_answered_gets_a_later_answer_and_all_of_them_the_same(
    far: Slow, readers: Readers
) -> None:
    let_eight_wait_for_the_first(far, readers)
    far.going.release()
    readers.end()
    assert [answer.value for answer in readers.answers].count(2) >= 7
    assert len(readers.answers) == 8
    assert far.asked == 2


def test_a_failure_is_told_to_all_who_waited_for_it_and_tried_once(far: Slow, readers: Readers) -> None:
    let_eight_wait_for_the_first(far, readers)
    assert far.begun.acquire(timeout=PATIENCE)
    far.fault = Retry("away")
    far.going.release()
    readers.end()
    assert [answer.reason for answer in readers.answers].count("away") >= 7
    assert len(readers.answers) == 8
    assert far.asked == 2


def test_a_bug_in_reading_is_no_answer_to_anybody(far: Slow, readers: Readers) -> None:
    let_eight_wait_for_the_first(far, readers)
    assert far.begun.acquire(timeout=PATIENCE)
    far.fault = ZeroDivisionError()
    for _ in range(7):
        far.going.release()
    readers.end()
    assert [type(fault) for fault in readers.faults] == [ZeroDivisionError] * 7
    assert [answer.value for answer in readers.answers] == [1]


def test_an_answer_that_still_holds_is_not_asked_for_again(far: Slow) -> None:
    holds = True
    source = Source("far", far.read, time.monotonic, Backoff(60, 60), patience=PATIENCE, holds=lambda: holds)
    for _ in range(3):
        far.going.release()
    assert [source.read().value for _ in range(3)] == [1, 1, 1]
    holds = False
    assert source.read().value == 2


def test_an_answer_that_could_not_be_had_anew_is_not_taken_for_one_that_holds(far: Slow) -> None:
    holds = False
    source = Source("far", far.read, time.monotonic, Backoff(0, 0), patience=PATIENCE, holds=lambda: holds)
    for _ in range(3):
        far.going.release()
    source.read()
    far.fault = Retry("away")
    assert source.read().reason == "away"
    holds, far.fault = True, None
    assert source.read() == Answer(3, 0.0, "")


def test_who_asks_before_a_newer_answer_was_taken_in_is_not_given_the_one_before_it(far: Slow) -> None:
    """The far side knows what it answered last before we do: it holds, and the one that we have does not."""
    answered = threading.Event()

    def read() -> int:
        number = far.read()
        if number == 2:
            answered.set()
            assert far.going.acquire(timeout=PATIENCE)
        return number

    source = Source("far", read, time.monotonic, Backoff(60, 60), patience=PATIENCE, holds=answered.is_set)
    far.going.release()
    assert source.read().value == 1
    readers = Readers(source)
    readers.ask(1)
    far.going.release()
    assert answered.wait(PATIENCE)
    readers.ask(1)
    time.sleep(0.5)  # till it waits
    for _ in range(2):
        far.going.release()
    readers.end()
    assert min(answer.value for answer in readers.answers) >= 2
