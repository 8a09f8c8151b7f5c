"""The loop: what one far side, source or shard suffers stays its own."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest

from isthmus.app.applying import Ending, Waiting, carry_out
from isthmus.app.backoff import Backoff
from isthmus.app.keeper import Habits, Round, objects_of
from isthmus.app.loop import Agreement, Timing
from isthmus.app.observing import Sight
from isthmus.app.standing import Word
from isthmus.core.guard import Agreed, Consent
from isthmus.model.change import BuildNve, Change, Learn, Outcome, Plan, Reconciled, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.names import DvsId, HostId, NetworkId
from isthmus.model.observed import NveMirror, Observed, SwitchMirror, TargetId, Unknown
from isthmus.model.shard import Duty, World
from isthmus.model.tags import Vni
from tests.app.far_sides import Clock, Nve, Small, entry, learn_all, wanting
from tests.core.town import DVS, Town


def test_a_shard_is_brought_to_what_is_wanted_and_then_rests() -> None:
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("esx1", nve))
    loop.step()
    assert nve.vnis == {5001}
    assert loop.seats["esx1"].last.settled  # type: ignore[union-attr]
    written = len(nve.batches)
    small.clock.now += 61
    loop.step()
    assert len(nve.batches) == written


def test_an_unreadable_target_leaves_the_others_going() -> None:
    small, dead, live = Small(), Nve("dead"), Nve("live")
    dead.observe_fault = Retry("no answer")
    loop = small.loop(small.keeper("shard", dead, live))
    loop.step()
    assert (live.vnis, dead.batches) == ({5001}, [])
    kinds = {(found.kind, found.about) for found in loop.seats["shard"].conditions}
    assert ("unknown", "ovs:dead") in kinds


def test_a_target_that_comes_back_is_served_when_its_wait_is_over() -> None:
    small, nve = Small(), Nve("esx1")
    nve.observe_fault = Retry("no answer")
    loop = small.loop(small.keeper("esx1", nve))
    due = loop.step()
    nve.observe_fault = None
    assert due == small.clock.now + 1
    small.clock.now = due
    loop.step()
    assert nve.vnis == {5001}
    assert loop.seats["esx1"].conditions == {}


def test_one_targets_back_off_delays_no_other() -> None:
    small, sick, sound = Small(), Nve("sick"), Nve("sound")
    sick.apply_fault = Retry("busy")
    loop = small.loop(small.keeper("shard", sick, sound))
    loop.step()
    tried = len(sick.batches)
    small.intent.answer = wanting(5001, 5002)
    loop.wake()
    loop.step()
    assert sound.vnis == {5001, 5002}
    assert len(sick.batches) == tried  # still waiting, whatever woke the shard


def test_waits_grow_while_a_target_keeps_failing() -> None:
    small, nve = Small(), Nve("esx1")
    nve.observe_fault = Retry("no answer")
    loop = small.loop(small.keeper("esx1", nve))
    waits = []
    for _ in range(5):
        due = loop.step()
        waits.append(due - small.clock.now)
        small.clock.now = due
    assert waits == [1, 2, 4, 8, 16]


def test_a_target_that_fails_is_not_asked_again_before_its_time_whatever_wakes() -> None:
    small, nve = Small(), Nve("esx1")
    nve.observe_fault = Retry("no answer")
    loop = small.loop(small.keeper("esx1", nve))
    for _ in range(10):
        loop.wake()
        loop.step()
    assert nve.looks == 1


def test_a_source_that_fails_leaves_its_last_good_answer_in_force_and_says_how_old() -> None:
    seen: list[Intent] = []

    def think(design, world: World, observed, pool, now) -> Reconciled:  # type: ignore[no-untyped-def]
        seen.append(world.intent)
        return learn_all(design, world, observed, pool, now)

    small, nve = Small(think=think), Nve("esx1")
    loop = small.loop(small.keeper("esx1", nve))
    loop.step()
    small.intent.fault = Refused("intent.yaml:3: nonsense")
    small.clock.now += 61
    nve.vnis.clear()
    loop.step()
    assert nve.vnis == {5001}
    assert (seen[0].fresh, seen[-1].fresh, seen[-1].age) == (True, False, 61)
    assert "stale" in {found.kind for found in loop.seats["esx1"].conditions}


def test_an_inventory_that_fails_makes_the_intent_stale_too_since_nothing_may_be_deleted() -> None:
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("esx1", nve))
    loop.step()
    small.inventory.fault = Retry("vCenter is away")
    loop.wake()
    loop.step()
    last = loop.seats["esx1"].last
    assert last is not None
    assert last.last is not None
    assert not last.last.world.intent.fresh


def test_without_any_intent_yet_nothing_is_thought_or_written() -> None:
    small, nve = Small(), Nve("esx1")
    small.intent.fault = Refused("intent.yaml: cannot be read")
    loop = small.loop(small.keeper("esx1", nve))
    loop.step()
    assert nve.batches == []
    assert [found.kind for found in loop.seats["esx1"].conditions] == ["waiting"]


def test_targets_are_observed_before_sources_are_read() -> None:
    order: list[str] = []
    small, nve = Small(), Nve("esx1")
    observe, read = nve.observe, small.intent.read
    nve.observe = lambda: (order.append("observe"), observe())[1]  # type: ignore[method-assign,func-returns-value]
    small.intent_source._read = lambda: (order.append("read"), read())[1]  # type: ignore[assignment,func-returns-value]
    small.loop(small.keeper("esx1", nve)).step()
    assert order[:2] == ["observe", "read"]


def test_a_bug_in_one_shard_stops_no_other_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> Reconciled:
        raise ZeroDivisionError("a bug")

    small, one, two = Small(), Nve("one"), Nve("two")
    loop = small.loop(small.keeper("one", one, think=broken), small.keeper("two", two))
    loop.step()
    assert two.vnis == {5001}
    assert loop.seats["one"].fault == "ZeroDivisionError: a bug"
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    waits = []
    for _ in range(3):
        waits.append(loop.seats["one"].due - small.clock.now)
        small.clock.now = loop.seats["one"].due
        loop.step()
    assert waits == [1, 2, 4]


def test_a_shard_whose_rounds_all_end_in_bugs_is_kept_by_nobody_until_one_does_not() -> None:
    well = [True]

    def frail(*seen: Any) -> Reconciled:
        return learn_all(*seen) if well[0] else Reconciled(1 // 0)  # type: ignore[arg-type]

    small = Small()
    loop = small.loop(small.keeper("one", Nve("one"), think=frail))
    loop.step()
    well[0] = False
    for bugs in range(4):
        assert bool(loop.unkept("one")) == (bugs >= 3)
        loop.wake()
        loop.step()
    assert (
        loop.unkept("one") == "4 rounds in a row ended in a bug: ZeroDivisionError: integer division or modulo by zero"
    )
    well[0] = True
    loop.wake()
    loop.step()
    assert loop.unkept("one") == ""


def test_a_shard_whose_round_does_not_end_is_kept_by_nobody_and_the_others_are() -> None:
    told = []

    def slow(*seen: Any) -> Reconciled:
        for small.clock.now in (599.0, 600.0) if not told else ():
            told.append((loop.is_stuck, loop.unkept("one"), loop.unkept("two")))
        return learn_all(*seen)

    small = Small()
    small.clock.now = 0.0
    loop = small.loop(small.keeper("one", Nve("one"), think=slow), small.keeper("two", Nve("two")))
    loop.step()
    assert told == [(False, "", ""), (True, "a round does not end for 600 s now", "")]
    assert (loop.is_stuck, loop.unkept("one")) == (False, "")


def test_a_shared_target_is_read_once_for_all_shards_of_a_wake() -> None:
    small, shared = Small(), Nve("dvs")
    shared.vnis = {5001}
    loop = small.loop(*(small.keeper(f"esx{n}", shared) for n in range(5)))
    loop.step()
    assert shared.looks == 1
    loop.wake()
    loop.step()
    assert shared.looks == 2


def test_what_one_shard_wrote_is_read_again_before_the_next_thinks() -> None:
    small, shared = Small(), Nve("dvs")
    loop = small.loop(small.keeper("esx1", shared), small.keeper("esx2", shared))
    loop.step()
    assert shared.vnis == {5001}
    assert len(shared.batches) == 1  # the second shard saw it


def test_a_refused_change_is_shown_and_not_tried_again_at_once() -> None:
    small, nve = Small(), Nve("esx1")
    nve.outcome = Outcome.REFUSED
    loop = small.loop(small.keeper("esx1", nve))
    loop.step()
    for _ in range(5):
        loop.wake()
        loop.step()
    assert len(nve.batches) == 1
    assert "refused" in {found.kind for found in loop.seats["esx1"].conditions}
    small.intent.answer = wanting(5002)
    nve.outcome = Outcome.DONE
    loop.wake()
    loop.step()
    assert nve.vnis == {5002}  # the input changed
    assert loop.seats["esx1"].conditions == {}  # nobody wants any more what was refused


def test_a_refused_change_is_tried_again_after_a_while_though_nothing_changed() -> None:
    small, nve = Small(habits=Habits(refused_again_after=50)), Nve("esx1")
    nve.outcome = Outcome.REFUSED
    loop = small.loop(small.keeper("esx1", nve))
    loop.step()
    nve.outcome = Outcome.DONE
    small.clock.now += 49
    loop.wake()
    loop.step()
    assert nve.vnis == set()
    small.clock.now += 12
    loop.step()
    assert nve.vnis == {5001}
    assert loop.seats["esx1"].conditions == {}


def test_a_quiet_round_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    small, nve, sick = Small(), Nve("esx1"), Nve("sick")
    sick.observe_fault = Retry("no answer")
    loop = small.loop(small.keeper("esx1", nve), small.keeper("sick", sick))
    loop.step()
    assert sum("learn 1 entry" in record.getMessage() for record in caplog.records) == 1
    caplog.clear()
    for _ in range(3):
        small.clock.now += 61
        loop.step()
    assert [record.getMessage() for record in caplog.records] == []


def test_the_guard_holds_deletes_back_until_an_operator_agrees() -> None:
    def think(design, world, observed, pool, now) -> Reconciled:  # type: ignore[no-untyped-def]
        plan = learn_all(design, world, observed, pool, now).plan
        guarded = [Change(c.id, c.target, c.action, c.reason, c.after, guarded=True) for c in plan.changes]
        return Reconciled(Plan(tuple(guarded)))

    small, nve = Small(think=think), Nve("esx1")
    small.intent.answer = wanting(*range(5000, 5100))
    small.habits = type(small.habits)()
    loop = small.loop(small.keeper("esx1", nve))
    loop.step()
    assert nve.vnis == set()
    assert {found.kind for found in loop.seats["esx1"].conditions} == {"held"}
    loop.agree()
    loop.step()
    assert len(nve.vnis) == 100


def test_the_guards_share_is_of_what_the_shard_has_on_its_own_switch() -> None:
    town = Town().network("red").vm("a", "red")
    world, observed, _, _ = town.seen()
    mine = SwitchMirror(DVS, town.groups, town.ports)
    other = replace(mine, dvs=DvsId("another"))
    assert objects_of(world, observed) == 2
    assert objects_of(world, Observed({**observed.targets, TargetId("dvs", "another"): other})) == 2


def asking_for_each(design, world, observed, pool, now) -> Reconciled:  # type: ignore[no-untyped-def]
    """Every network is learnt on an operator's word only."""
    plan = learn_all(design, world, observed, pool, now).plan
    return Reconciled(Plan(tuple(replace(change, asks=True) for change in plan.changes)))


def test_an_operators_word_makes_what_was_shown_before_it_and_nothing_that_came_up_since() -> None:
    small, nve = Small(think=asking_for_each), Nve("esx1")
    loop = small.loop(small.keeper("esx1", nve))
    loop.agree()  # to nothing: no round has shown anything yet
    loop.step()
    assert nve.vnis == set()
    assert {found.kind for found in loop.seats["esx1"].conditions} == {"held"}
    small.intent.answer = wanting(5001, 5002)
    loop.agree()  # the new intent comes in the same moment
    loop.step()
    assert nve.vnis == {5001}
    loop.wake()
    loop.step()
    assert nve.vnis == {5001}, "a word is used up by the round after it"
    loop.agree()
    loop.step()
    assert nve.vnis == {5001, 5002}


class Forgetful(Nve):
    """A far side where another hand undoes everything before anybody looks."""

    def observe(self) -> NveMirror:
        self.vnis.clear()
        return super().observe()


def test_an_operators_word_holds_for_the_first_pass_of_a_round_only() -> None:
    small, nve = Small(think=asking_for_each), Forgetful("esx1")
    loop = small.loop(small.keeper("esx1", nve))
    loop.step()
    loop.agree()
    loop.step()
    assert len(nve.batches) == 1
    assert {found.kind for found in loop.seats["esx1"].conditions} == {"held"}


def test_an_observe_only_shard_shows_what_it_would_do_and_writes_nothing() -> None:
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("esx1", nve, observe_only=True))
    loop.step()
    last = loop.seats["esx1"].last
    assert last is not None
    assert last.last is not None
    assert (len(last.last.plan), nve.batches) == (1, [])


def test_a_shard_that_is_handed_back_is_said_to_be_before_it_is_and_told_of_again_when_resumed() -> None:
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("esx1", nve))
    told: list[tuple[str, int]] = []
    loop.looked = lambda last: told.append((last.world.shard.name, len(nve.batches)))
    loop.released = lambda last: told.append((f"{last.world.shard.name} is released", len(nve.batches)))
    loop.step()
    assert {name for name, _ in told} == {"esx1"}
    told.clear()
    before = len(nve.batches)
    loop.standing.say("esx1", Word.RELEASED)
    loop.wake()
    loop.step()
    assert told[0] == ("esx1 is released", before)
    assert {name for name, _ in told} == {"esx1 is released"}
    told.clear()
    loop.standing.say("esx1", None)
    loop.wake()
    loop.step()
    assert {name for name, _ in told} == {"esx1"}


def test_a_pause_that_comes_during_a_round_ends_it_after_what_is_under_way() -> None:
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("esx1", nve))

    def paused_and_more_wanted() -> None:
        loop.standing.say("esx1", Word.PAUSED)
        small.intent.answer = wanting(5001, 5002)

    nve.on_apply = paused_and_more_wanted
    loop.step()
    assert nve.vnis == {5001}
    loop.standing.say("esx1", None)
    loop.wake()
    loop.step()
    assert nve.vnis == {5001, 5002}


def test_a_wake_concerns_only_shards_of_its_hosts() -> None:
    small, one, two = Small(), Nve("one"), Nve("two")
    loop = small.loop(small.keeper("one", one), small.keeper("two", two))
    loop.step()
    looks = (one.looks, two.looks)
    loop.wake(frozenset({HostId("two")}))
    loop.step()
    assert (one.looks - looks[0], two.looks - looks[1]) == (0, 1)


def test_a_shard_of_port_groups_alone_lets_those_of_hosts_go_first_and_sees_what_they_left() -> None:
    small, shared = Small(), Nve("dvs")
    shared.vnis = {5001}
    groups = small.keeper("groups", shared, hosts=["one", "two"], duties=Duty.PORT_GROUPS)
    loop = small.loop(groups, small.keeper("one", shared), small.keeper("two", shared))
    loop.step()
    rounds = {name: seat.rounds for name, seat in loop.seats.items()}

    def kept() -> dict[str, int]:
        return {name: seat.rounds - rounds[name] for name, seat in loop.seats.items()}

    loop.wake(frozenset({HostId("two")}))
    small.clock.now += 0.5
    loop.wake(frozenset({HostId("one")}))
    assert loop.step() == small.clock.now + 0.5, "it waits no longer because more happens"
    assert kept() == {"groups": 0, "one": 1, "two": 1}
    looks = shared.looks
    small.clock.now += 0.5
    loop.step()
    assert kept() == {"groups": 1, "one": 1, "two": 1}
    assert shared.looks == looks
    loop.wake()
    loop.step()
    assert kept() == {"groups": 2, "one": 2, "two": 2}, "what does not come from hosts is for all at once"


def unwatched() -> Sight:
    """Where nobody looks."""
    return Sight(Clock(), Backoff(1.0, 60.0))


def chain(*steps: tuple[str, tuple[int, ...]]) -> Plan:
    """Changes 0, 1, ... each on a target and after others."""
    return Plan(
        tuple(
            Change(number, TargetId("ovs", target), Learn((entry(5000 + number),)), "", frozenset(after))
            for number, (target, after) in enumerate(steps)
        )
    )


def test_a_change_waits_for_those_it_comes_after_and_for_no_others() -> None:
    order: list[tuple[str, list[int]]] = []
    targets = {name: Nve(name) for name in "abc"}
    for name, nve in targets.items():
        nve.on_apply = lambda name=name, nve=nve: order.append((name, nve.batches[-1]))  # type: ignore[misc]
    plan = chain(("a", ()), ("b", (0,)), ("a", (1,)), ("c", ()))
    results = carry_out(plan, {nve.id: nve for nve in targets.values()}, unwatched())
    assert [result.outcome for result in results] == [Outcome.DONE] * 4
    assert [step for step in order if step[0] != "c"] == [("a", [0]), ("b", [1]), ("a", [2])]


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.REFUSED])
def test_a_fault_stops_only_what_comes_after_it(outcome: Outcome) -> None:
    targets = {name: Nve(name) for name in "ab"}
    targets["a"].outcome = outcome
    plan = chain(("a", ()), ("b", (0,)), ("b", ()), ("b", (1,)))
    results = carry_out(plan, {nve.id: nve for nve in targets.values()}, unwatched())
    assert [result.outcome for result in results] == [outcome, Outcome.SKIPPED, Outcome.DONE, Outcome.SKIPPED]
    assert "ovs:a" in results[1].detail


def only_while_busy(name: str) -> Callable[[Collection[TargetId]], float | None]:
    """Patience that ends soon once nobody else is waited for, however slow the machine."""
    return lambda busy: 0.2 if set(busy) == {TargetId("ovs", name)} else None


def test_a_target_that_hangs_is_left_to_itself_and_holds_up_no_other() -> None:
    targets, release, told = {name: Nve(name) for name in "abc"}, threading.Event(), threading.Event()
    targets["a"].on_apply = lambda: (release.wait(30), None)[1]
    sight = Sight(Clock(), Backoff(1.0, 60.0))
    sight.late = lambda target, since: told.set()
    plan = chain(("a", ()), ("b", (0,)), ("b", ()), ("c", (2,)))
    by_id = {nve.id: nve for nve in targets.values()}
    results = carry_out(plan, by_id, sight, waiting=Waiting(only_while_busy("a")))
    assert [result.outcome for result in results] == [
        Outcome.UNREACHABLE,
        Outcome.SKIPPED,
        Outcome.DONE,
        Outcome.DONE,
    ]
    seen = sight.observe(by_id.values(), sight.tick()).targets
    assert isinstance(seen[targets["a"].id], Unknown), "what is under way there may come true or not"
    assert not any(isinstance(seen[targets[name].id], Unknown) for name in "bc")
    release.set()
    assert told.wait(5), "the shard looks again when it is over"
    after = sight.observe(by_id.values(), sight.tick()).targets[targets["a"].id]
    assert isinstance(after, NveMirror)
    assert len(after.entries) == 1


@pytest.mark.parametrize("apart", [True, False])
def test_only_who_stands_apart_goes_on_alone_with_what_needs_nobody_else(apart: bool) -> None:
    nve, other, release, told = Nve("a"), Nve("b"), threading.Event(), threading.Event()
    nve.on_apply = lambda: (release.wait(30), None)[1]
    sight = Sight(Clock(), Backoff(1.0, 60.0))
    sight.late = lambda target, since: told.set()
    plan = chain(("a", ()), ("a", (0,)), ("b", (1,)), ("a", (2,)), ("a", (1,)))
    late: list[Ending] = []
    waiting = Waiting(only_while_busy("a"), {nve.id} if apart else (), late.append)
    results = carry_out(plan, {nve.id: nve, other.id: other}, sight, waiting=waiting)
    skipped, under_way = Outcome.SKIPPED, Outcome.UNDER_WAY
    assert [result.outcome for result in results] == (
        [under_way, under_way, skipped, skipped, under_way] if apart else [Outcome.UNREACHABLE] + 4 * [skipped]
    )
    seen = sight.observe([nve], sight.tick()).targets[nve.id]
    assert isinstance(seen, Unknown)
    assert len(seen.coming) == (3 if apart else 1), "what it goes on with may come there, too"
    release.set()
    assert told.wait(5)
    assert nve.batches == ([[0], [1], [4]] if apart else [[0]])
    assert not other.batches
    (made,) = late
    assert not isinstance(made, BaseException)
    assert [result.change.id for result in made] == ([0, 1, 4] if apart else [0])


def test_nothing_is_begun_at_a_target_that_was_left_to_itself() -> None:
    nve, other, release, told = Nve("a"), Nve("b"), threading.Event(), threading.Event()
    nve.on_apply = lambda: (release.wait(30), None)[1]
    sight = Sight(Clock(), Backoff(1.0, 60.0))
    sight.late = lambda target, since: told.set()
    plan, waiting = chain(("a", ()), ("b", ()), ("a", (1,))), Waiting(only_while_busy("a"))
    results = carry_out(plan, {nve.id: nve, other.id: other}, sight, waiting=waiting)
    assert [result.outcome for result in results] == [Outcome.UNREACHABLE, Outcome.DONE, Outcome.SKIPPED]
    release.set()
    assert told.wait(5)
    assert nve.batches == [[0]]


def test_what_ends_just_when_it_would_be_left_to_itself_was_waited_for() -> None:
    nve, ending = Nve("a"), threading.Event()

    class Thoughtful(Sight):
        def written(self, target: TargetId) -> None:
            ending.set()
            threading.Event().wait(0.4)
            super().written(target)

    waiting = Waiting(lambda busy: 0.1 if ending.wait(5) else None)
    (result,) = carry_out(chain(("a", ())), {nve.id: nve}, Thoughtful(Clock(), Backoff(1.0, 60.0)), waiting=waiting)
    assert result.outcome is Outcome.DONE


def test_every_order_that_a_plan_forbids_is_never_seen() -> None:
    for dependencies in itertools.product([(), (0,)], [(), (0,), (1,), (0, 1)]):
        made: list[int] = []
        targets = {name: Nve(name) for name in "ab"}
        for nve in targets.values():
            nve.on_apply = lambda nve=nve, made=made: made.extend(nve.batches[-1])  # type: ignore[misc]
        plan = chain(("a", ()), ("b", dependencies[0]), ("a", dependencies[1]))
        carry_out(plan, {nve.id: nve for nve in targets.values()}, unwatched())
        assert sorted(made) == [0, 1, 2]
        assert all(made.index(before) < made.index(change.id) for change in plan.changes for before in change.after)


def test_nothing_more_begins_once_stopping() -> None:
    nve = Nve("a")
    results = carry_out(chain(("a", ()), ("a", (0,))), {nve.id: nve}, unwatched(), lambda: bool(nve.batches))
    assert [result.outcome for result in results] == [Outcome.DONE, Outcome.SKIPPED]


def test_a_hung_target_keeps_neither_other_shards_nor_the_end_waiting() -> None:
    small, hung, live = Small(timing=Timing(resync=3600, jitter=0)), Nve("hung"), Nve("live")
    release, entered, served = threading.Event(), threading.Event(), threading.Event()
    hung.on_apply = lambda: (entered.set(), release.wait(30))[0]
    live.on_apply = served.set
    loop = small.loop(small.keeper("hung", hung), small.keeper("live", live))
    runner = threading.Thread(target=loop.run, daemon=True)
    runner.start()
    try:
        assert entered.wait(10)
        assert served.wait(10)
        loop.stop()
        runner.join(2)
        assert not runner.is_alive()
        assert not loop.finish(0.05)  # one round is still under way, and is left behind
    finally:
        release.set()
    assert loop.finish(10)


def test_a_target_that_answers_for_other_changes_is_a_bug() -> None:
    class Liar(Nve):
        def apply(self, changes):  # type: ignore[no-untyped-def]
            return [Result(changes[0], Outcome.DONE)] * (len(changes) + 1)

    with pytest.raises(AssertionError):
        carry_out(chain(("a", ())), {TargetId("ovs", "a"): Liar("a")}, unwatched())


class Hanging:
    """Holds up whoever calls it, from when it is told to until it is let go."""

    def __init__(self, small: Small) -> None:
        self.small, self.going, self.calls = small, threading.Event(), 0
        self.over = threading.Event()
        small.sight.late = lambda target, since: self.over.set()
        small.intent_source.late = self.over.set
        self.be_patient_for(0.2)

    def be_patient_for(self, seconds: float) -> None:
        for asker in (self.small.sight, self.small.intent_source, self.small.inventory_source):
            asker._patience = seconds  # type: ignore[attr-defined]

    def let_go(self) -> None:
        self.be_patient_for(30)
        self.going.set()
        assert self.over.wait(30)

    def around(self, call: Callable[[], Any]) -> Callable[[], Any]:
        def hanging() -> Any:
            self.calls += 1
            assert self.going.wait(30)
            return call()

        return hanging


def test_a_target_that_hangs_holds_up_no_repair_of_another_and_is_asked_once() -> None:
    small, vcenter, appliance = Small(), Nve("vcenter"), Nve("appliance")
    loop = small.loop(small.keeper("shard", vcenter, appliance))
    loop.step()
    hanging = Hanging(small)
    vcenter.observe = hanging.around(vcenter.observe)  # type: ignore[method-assign]
    appliance.vnis.clear()
    for _ in range(3):
        loop.wake()
        loop.step()
    assert (appliance.vnis, hanging.calls) == ({5001}, 1)
    last = loop.seats["shard"].last.last  # type: ignore[union-attr]
    assert last is not None
    seen = last.observed.targets[vcenter.id]
    assert isinstance(seen, Unknown)
    assert seen.reason == "no answer within 0.2 s"
    assert seen.last is not None
    hanging.let_go()
    loop.wake()
    loop.step()
    assert loop.seats["shard"].last.settled  # type: ignore[union-attr]


def test_what_a_hanging_target_answers_at_last_is_seen_without_being_woken_by_anything_else() -> None:
    small, vcenter = Small(), Nve("vcenter")
    loop = small.loop(small.keeper("shard", vcenter))
    loop.step()
    hanging = Hanging(small)
    small.sight.late = lambda target, since: (loop.heard(target, since), hanging.over.set())[0]
    vcenter.observe = hanging.around(vcenter.observe)  # type: ignore[method-assign]
    loop.wake()
    loop.step()
    assert not loop.seats["shard"].last.settled  # type: ignore[union-attr]
    hanging.let_go()
    loop.step()
    assert loop.seats["shard"].last.settled  # type: ignore[union-attr]


@pytest.mark.parametrize("which", ["intent_source", "inventory_source"])
def test_a_source_that_hangs_leaves_its_last_answer_in_force_and_forbids_deletes(which: str) -> None:
    small, appliance = Small(), Nve("appliance")
    loop = small.loop(small.keeper("shard", appliance))
    loop.step()
    hanging, source = Hanging(small), getattr(small, which)
    source.late = hanging.over.set
    source._read = hanging.around(source._read)
    appliance.vnis.clear()
    small.clock.now += 61
    for _ in range(2):
        loop.wake()
        loop.step()
    assert (appliance.vnis, hanging.calls) == ({5001}, 1)
    last = loop.seats["shard"].last.last  # type: ignore[union-attr]
    assert last is not None
    assert (last.world.intent.fresh, last.world.intent.age) == (False, 61)
    hanging.let_go()
    loop.wake()
    loop.step()
    assert loop.seats["shard"].last.last.world.intent.fresh  # type: ignore[union-attr]


def test_a_loop_is_woken_by_what_comes_late() -> None:
    small = Small()
    loop = small.loop(small.keeper("shard", Nve("esx1")))
    assert small.intent_source.late == small.inventory_source.late == loop.wake
    loop.step()
    small.sight.late(TargetId("ovs", "another's"), 0)
    assert loop.seats["shard"].due > small.clock.now
    small.sight.late(TargetId("ovs", "esx1"), 0)
    assert loop.seats["shard"].due <= small.clock.now


def test_an_operators_word_holds_for_who_has_not_answered_for_a_minute_and_for_nothing_that_comes_up_meanwhile() -> (
    None
):
    small = Small()
    seat = small.loop(small.keeper("shard", Nve("esx1"))).seats["shard"]
    shown = frozenset({(TargetId("dvs", "dvs"), BuildNve())})
    consent, later_consent = Consent({NetworkId("red"): Vni(5001)}), Consent({})
    said = seat.agreement = Agreement(5.0, Agreed(shown))
    seat.used(said, 4.0, consent)
    word = seat.word(65.0)
    assert word == Agreement(5.0, consent, 65.0)
    seat.used(word, 4.0, later_consent)
    assert seat.word(65.0) == word, "it is what was wanted when it was given that counts"
    assert seat.word(65.1) is None
    later = seat.agreement = Agreement(6.0, Agreed(shown))
    seat.used(said, 7.0, consent)
    assert seat.word(1000.0) == later, "another word, which no round was made on yet"
    seat.used(later, 6.0, consent)
    assert seat.word(6.0) is None
    unseen = seat.agreement = Agreement(7.0, Agreed(shown))
    seat.used(unseen, 4.0, Round(None).consent)
    assert seat.word(7.0) is None, "nobody knows what was wanted then"


def test_what_comes_late_makes_no_older_word_do_for_what_is_news() -> None:
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("shard", nve))
    loop.step()
    nve.vnis.clear()
    loop.wake()
    small.sight.late(nve.id, 0)
    loop.step()
    assert nve.vnis == {5001}


def test_a_target_that_refuses_to_be_seen_keeps_its_shard_from_writing_anything_and_no_other() -> None:
    small, taken, switch, other = Small(), Nve("taken"), Nve("switch"), Nve("other")
    taken.observe_fault = Refused("another isthmus keeps it")
    loop = small.loop(small.keeper("shard", taken, switch), small.keeper("other", other))
    for _ in range(3):  # also while it is not asked again
        loop.wake()
        loop.step()
    assert (switch.vnis, taken.looks, other.vnis) == (set(), 1, {5001})
    conditions = [(found.kind, found.reason) for found in loop.seats["shard"].conditions]
    assert conditions == [("waiting", "another isthmus keeps it")]
    taken.observe_fault = None
    small.clock.now += 61
    loop.step()
    assert (switch.vnis, taken.vnis) == ({5001}, {5001})


def test_a_lost_race_leaves_nothing_to_try_again_once_the_winner_has_made_the_change() -> None:
    """Two processes, one port group: the loser rests like any other."""
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("shard", nve))
    nve.outcome = Outcome.RETRY
    loop.step()
    assert loop.seats["shard"].rounds == 1
    nve.vnis = {5001}  # the other one's write
    for _ in range(20):
        small.clock.now += 1
        loop.step()
    assert loop.seats["shard"].last.settled  # type: ignore[union-attr]
    assert loop.seats["shard"].rounds <= 3


def test_while_a_far_side_hangs_its_shard_is_not_kept_over_and_over() -> None:
    small, vcenter = Small(), Nve("vcenter")
    loop = small.loop(small.keeper("shard", vcenter))
    vcenter.observe_fault = Retry("not yet")
    loop.step()
    vcenter.observe_fault = None
    small.clock.now += 1
    loop.step()
    before = loop.seats["shard"].rounds
    vcenter.observe_fault = Retry("and again")
    loop.wake()
    loop.step()
    hanging = Hanging(small)
    vcenter.observe = hanging.around(vcenter.observe)  # type: ignore[method-assign]
    for _ in range(30):
        small.clock.now += 1
        loop.step()
    assert hanging.calls == 1
    assert loop.seats["shard"].rounds - before <= 3
    hanging.let_go()


def test_no_shard_is_kept_again_at_once_because_of_a_moment_that_is_past() -> None:
    small, nve = Small(), Nve("esx1")
    keeper = small.keeper("shard", nve)
    loop = small.loop(keeper)
    keeper.retry_at = lambda: small.clock.now - 5  # type: ignore[method-assign]
    due = loop.step()
    assert loop.seats["shard"].rounds == 1
    assert due == small.clock.now + small.timing.again


def test_a_target_that_stays_unknown_for_another_reason_is_not_told_of_as_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    small, nve = Small(), Nve("esx1")
    loop = small.loop(small.keeper("shard", nve))
    for reason in ("no answer", "connection refused"):
        nve.observe_fault = Retry(reason)
        small.clock.now += 61
        loop.step()
    assert [record.message for record in caplog.records if "ovs:esx1: connection refused" in record.message]
    assert not [record.message for record in caplog.records if "no longer" in record.message]
    nve.observe_fault = None
    small.clock.now += 61
    loop.step()
    assert any("no longer unknown: ovs:esx1" in record.message for record in caplog.records)


def test_what_is_wrong_stays_shown_while_nothing_can_be_seen() -> None:
    small, nve = Small(), Nve("esx1")
    nve.observe_fault = Retry("no answer")
    loop = small.loop(keeper := small.keeper("esx1", nve))
    loop.step()
    assert [(c.kind, c.about) for c in loop.seats["esx1"].conditions if c.kind == "unknown"] == [
        ("unknown", "ovs:esx1")
    ]

    def nowhere(inventory: object) -> None:
        raise Refused("the switch is gone")

    keeper.charge = replace(keeper.charge, place=nowhere)  # type: ignore[arg-type]
    loop.wake()
    loop.step()
    kinds = {c.kind for c in loop.seats["esx1"].conditions}
    assert kinds >= {"waiting", "unknown"}
    keeper.charge = replace(keeper.charge, place=small.keeper("esx1", nve).charge.place)
    nve.observe_fault = None
    small.clock.now += 120
    loop.wake()
    loop.step()
    assert loop.seats["esx1"].conditions == {}
