"""Binding a port waits for its port group for so long in all, and asks nobody again who does not answer."""

from __future__ import annotations

import pytest

from isthmus.adapters.neutron.ml2.patience import PAUSE, Patience

WAIT = 10.0


class Binding:
    """A Neutron that binds ports, and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.patience = Patience(WAIT, lambda: self.now)

    def left(self, host: str = "compute-1") -> float | None:
        return self.patience.left("p", host)


@pytest.fixture
def made() -> Binding:
    return Binding()


def test_all_tries_of_a_binding_wait_so_long_together(made: Binding) -> None:
    assert made.left() == WAIT
    made.now += 4
    assert made.left() == WAIT - 4
    made.now += WAIT
    assert made.left() == 0.0, "who answered is asked again, and does not wait"


def test_who_answered_nothing_all_the_while_is_not_asked_again(made: Binding) -> None:
    made.left()
    made.patience.unheard("p", "compute-1")
    made.now += WAIT - 1
    assert made.left() == 1.0, "there is time yet"
    made.now += 2
    assert made.left() is None
    assert made.left("compute-2") == WAIT, "another host is another matter"


def test_the_next_request_waits_anew(made: Binding) -> None:
    made.left()
    made.patience.unheard("p", "compute-1")
    made.now += WAIT + PAUSE
    assert made.left() == WAIT


def test_tries_that_follow_each_other_are_of_one_request_however_many(made: Binding) -> None:
    made.left()
    made.patience.unheard("p", "compute-1")
    made.now += WAIT
    for _ in range(10):
        made.now += PAUSE - 1
        assert made.left() is None


def test_what_is_bound_waits_anew_when_it_is_bound_again(made: Binding) -> None:
    made.left()
    made.now += WAIT
    made.patience.over("p", "compute-1")
    assert made.left() == WAIT
