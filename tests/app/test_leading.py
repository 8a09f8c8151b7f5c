"""The leader lock: never two that begin to write at once, whatever stops, hangs or is slow."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.app.leading import Leading, leading_once
from isthmus.model.boundary import Held
from isthmus.model.faults import Refused, Retry
from tests.app.far_sides import Clock, Nve, Small

SESSION, CERTAIN = 15.0, 10.0


@dataclass
class Keepers:
    """A lock service: whoever was heard of last within a session has the lock."""

    clock: Clock
    holder: str = ""
    heard: float = 0.0
    up: bool = True
    slow: tuple[float, float] = (0.0, 0.0)
    """Seconds that a question takes on its way there, and its answer on the way back."""


@dataclass
class Lock:
    service: Keepers
    name: str
    closed: bool = field(default=False)

    def hold(self) -> Held:
        there, back = self.service.slow
        self.service.clock.now += there
        if not self.service.up:
            raise Retry("the lock service does not answer")
        service, now = self.service, self.service.clock.now
        if service.holder in ("", self.name) or now >= service.heard + SESSION:
            service.holder, service.heard = self.name, now
        held = Held(service.holder, CERTAIN if service.holder == self.name else None)
        self.service.clock.now += back
        return held

    def holder(self) -> str:
        return self.service.holder

    def close(self) -> None:
        self.closed = True
        if self.service.holder == self.name:
            self.service.holder = ""


def pair() -> tuple[Clock, Keepers, list[Leading]]:
    clock = Clock()
    service = Keepers(clock)
    return clock, service, [Leading(Lock(service, name), clock=clock, changed=lambda: None) for name in ("one", "two")]


STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 30), st.floats(0, 12), st.floats(0, 12), st.booleans(), st.booleans()),
    max_size=40,
)


@given(STEPS)
def test_of_two_processes_no_two_may_begin_to_write_at_once_whatever_stalls(
    steps: list[tuple[int, float, float, float, bool, bool]],
) -> None:
    clock, service, both = pair()
    for who, stalled, there, back, up, leaves in steps:
        clock.now += stalled
        service.up, service.slow = up, (there, back)
        if leaves:
            both[who].close()
            both[who] = Leading(Lock(service, ("one", "two")[who]), clock=clock, changed=lambda: None)
        else:
            both[who].beat()
        assert sum(leading.term() is not None for leading in both) <= 1


def test_the_second_takes_over_when_the_first_has_been_silent_for_a_session() -> None:
    clock, _, (one, two) = pair()
    one.beat()
    two.beat()
    assert (one.term(), two.term()) == (1, None)
    clock.now += SESSION
    two.beat()
    assert (one.term(), two.term()) == (None, 1)


def test_a_lease_is_counted_from_the_question_and_not_from_its_answer() -> None:
    clock, service, (one, _) = pair()
    service.slow = (0.0, CERTAIN)
    one.beat()
    assert one.term() is None
    service.slow = (0.0, 1.0)
    one.beat()
    clock.now += CERTAIN * 0.75 - 1.01
    assert one.term() is not None
    clock.now += 0.02
    assert one.term() is None


def test_one_that_leaves_is_followed_at_once() -> None:
    _, _, (one, two) = pair()
    one.beat()
    one.close()
    two.beat()
    assert (one.term(), two.term()) == (None, 1)


def test_while_the_lock_cannot_be_asked_the_lease_runs_out_and_it_is_said() -> None:
    clock, service, (one, _) = pair()
    one.beat()
    assert one.conditions() == ()
    service.up = False
    one.beat()
    assert one.term() == 1
    assert [found.about for found in one.conditions()] == ["leader lock"]
    clock.now += CERTAIN
    assert one.term() is None
    service.up = True
    one.beat()
    assert (one.term(), one.conditions()) == (2, ())


def test_what_was_remembered_is_forgotten_before_each_term_and_in_none() -> None:
    clock = Clock()
    service = Keepers(clock)
    terms: list[tuple[str, int | None]] = []
    one = Leading(Lock(service, "one"), lambda: None, lambda: terms.append(("forgets", one.term())), clock)
    for _ in range(3):
        one.beat()
        terms.append(("leads", one.term()))
        clock.now += 1
    clock.now += CERTAIN
    one.beat()
    terms.append(("leads", one.term()))
    first, second = ("leads", 1), ("leads", 2)
    assert terms == [("forgets", None), first, first, first, ("forgets", None), second]


def test_what_began_may_go_on_for_the_rest_of_the_lease_and_no_longer() -> None:
    clock, _, (one, _) = pair()
    assert not one.may_write()
    one.beat()
    clock.now += CERTAIN - 0.1
    assert (one.term(), one.may_write()) == (None, True)
    clock.now += 0.2
    assert not one.may_write()


def test_a_command_writes_only_where_nobody_leads_and_leaves_the_lock_free() -> None:
    service = Keepers(Clock())
    with leading_once(Lock(service, "one")) as leads:
        assert leads()
        with pytest.raises(Refused, match="'one' leads"), leading_once(Lock(service, "two")):
            pass
    assert service.holder == ""
    assert not leads()
    service.up = False
    with pytest.raises(Refused, match="without a lease"), leading_once(Lock(service, "one"), 0.1):
        pass


@pytest.mark.parametrize("then", [Retry("no answer"), Held("two")], ids=["nobody can tell", "another has it"])
def test_a_command_whose_lock_is_lost_between_two_questions_says_so(then: Retry | Held) -> None:
    class Losing(Lock):
        asked = 0

        def hold(self) -> Held:
            self.asked += 1
            if self.asked == 1:
                return super().hold()
            if isinstance(then, Retry):
                raise then
            return then

    said = "without a lease" if isinstance(then, Retry) else "'two' leads"
    with pytest.raises(Refused, match=said), leading_once(Losing(Keepers(Clock()), "one")):
        pass


def test_a_standby_looks_and_writes_nothing_until_it_leads() -> None:
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("esx1", nve))
    term: list[int | None] = [None]
    loop.term = lambda: term[0]
    loop.step()
    assert (nve.looks, nve.vnis) == (1, set())
    term[0] = 1
    loop.look_at_everything()
    loop.step()
    assert nve.vnis == {5001}


def test_no_batch_begins_on_what_was_seen_in_an_earlier_term() -> None:
    small, first, second = Small(), Nve("esx1"), Nve("esx2")
    loop = small.loop(small.keeper("shard", first, second))
    terms = iter([1])
    loop.term = lambda: next(terms, 2)
    loop.step()
    assert (first.vnis, second.vnis) == (set(), set())
