"""Leaves that take their time, hang, refuse or are gone: the others are told as if these were not there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.app.backoff import Backoff
from isthmus.app.conditions import conditions_of
from isthmus.app.daemon import kept_once_more
from isthmus.app.keeper import Habits, Keeper, Pass, Round
from isthmus.app.observing import Sight
from isthmus.app.standing import Word
from isthmus.core.design import VDS_LEAF, VDS_STATIC, Design
from isthmus.core.guard import Limits
from isthmus.core.handover import handover
from isthmus.model.change import Change, Result
from isthmus.model.handover import Handover
from isthmus.model.nve import LeafBinding
from isthmus.model.observed import Access, Mirror, Unknown
from lab.wire.faults import ALWAYS
from lab.wire.switch import SwitchTarget
from tests.faults.racks import (
    DEAD,
    HEALTHY,
    HUNG,
    HUNG_AT_WRITES,
    LEAVES,
    REFUSING,
    SLOW,
    Ailment,
    Racks,
    Told,
    lateness,
    racks,
)

ONCE = 1.5
"""Seconds that the first leaf which does not answer may cost the others, until that is known."""
EVER = 0.7
"""And from then on: what a look and a write that were begun for another leaf take."""
IN_ALL = 5.0
"""What leaves that are always a little slower than expected may cost: a few looks and writes of 1 s."""

in_both_designs = pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)


def a_busy_day(site: Racks, ailments: Mapping[str, Ailment]) -> float:
    """Some leaves fall ill; networks come, then VMs, and a binding is taken off a sound leaf.

    Gives the moment from which on everybody knows who is ill.
    """
    for name, ailment in ailments.items():
        ailment.befall(site.leaves[name])
    site.clock.advance(1)
    site.lab.intent.add_network("blue")
    site.clock.advance(2)
    site.lab.intent.add_network("green")
    site.clock.advance(60)
    known = site.clock.now
    for leaf in list(site.leaves)[::2]:
        site.lab.boot(f"blue@{leaf}", f"esx-{leaf}", "blue")
        site.clock.advance(1.1)
    site.lab.intent.add_network("white")
    site.clock.advance(10)
    site.lab.vcenter.destroy(site.lab.vm(f"red@{list(site.leaves)[-2]}").id)
    site.clock.advance(60)
    site.rob(list(site.leaves)[-1])
    site.clock.advance(400)  # a slow leaf is told one thing after the other
    return known


def the_day(
    design: Design, ailments: Mapping[str, Ailment], *, listening: bool = True
) -> tuple[float, dict[str, Told]]:
    with racks(design, listening=listening) as site:
        return a_busy_day(site, ailments), site.leaves


@pytest.fixture(scope="module")
def sound_days() -> dict[str, dict[str, Told]]:
    """What leaves are told where all are well."""
    return {design.name: the_day(design, {}, listening=False)[1] for design in (VDS_STATIC, VDS_LEAF)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "ailments"),
    [
        (VDS_STATIC, {"leaf1": SLOW, "leaf2": HUNG, "leaf3": REFUSING}),
        (VDS_STATIC, {"leaf1": Ailment(read=30), "leaf2": Ailment(read=math.inf), "leaf3": DEAD}),
        (VDS_STATIC, {"leaf1": Ailment(write=30), "leaf2": Ailment(write=math.inf), "leaf3": DEAD}),
        (VDS_LEAF, {"leaf1": SLOW, "leaf2": HUNG, "leaf3": DEAD}),
    ],
    ids=["slow, hung, refusing", "slow, hung at reads, dead", "slow, hung at writes, dead", "vds-leaf"],
)
def test_seven_leaves_are_right_when_they_would_be_without_three_sick_ones(
    design: Design, ailments: Mapping[str, Ailment], sound_days: dict[str, dict[str, Told]]
) -> None:
    known, leaves = the_day(design, ailments, listening=False)
    sound = sound_days[design.name]
    healthy = [name for name in LEAVES if name not in ailments]
    assert len(healthy) == 7
    assert all(leaves[name].holds == sound[name].holds for name in healthy)
    assert max(lateness(sound[name], leaves[name]) for name in healthy) <= ONCE
    assert max(lateness(sound[name], leaves[name], since=known) for name in healthy) <= EVER
    assert leaves["leaf1"].holds == sound["leaf1"].holds, "the slow one is told, too"


FEW = LEAVES[:5]
SICK = FEW[1:4]
SECONDS = st.one_of(st.floats(0.0, 120.0), st.sampled_from([0.0, 2.9, 3.1, 9.9, 10.1, math.inf]))
AILMENTS = st.builds(Ailment, SECONDS, SECONDS, st.booleans(), st.booleans())


@pytest.fixture(scope="module")
def sound_few() -> dict[str, Told]:
    with racks(leaves=FEW, listening=False) as site:
        a_busy_day(site, {})
        return site.leaves


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries(dict.fromkeys(SICK, AILMENTS)))
def test_whatever_the_others_suffer_a_leaf_is_told_as_if_it_were_alone(
    sound_few: dict[str, Told], ailments: Mapping[str, Ailment]
) -> None:
    with racks(leaves=FEW) as site:
        a_busy_day(site, ailments)
        for name in (FEW[0], FEW[4]):
            assert site.leaves[name].holds == sound_few[name].holds
            assert lateness(sound_few[name], site.leaves[name]) <= IN_ALL


def vnis(leaf: Told) -> set[int]:
    return {int(entry.vni) for entry in leaf.holds if isinstance(entry, LeafBinding)}


@in_both_designs
@pytest.mark.parametrize("ailment", [SLOW, Ailment(read=0.2, write=30), HUNG, HUNG_AT_WRITES, DEAD], ids=str)
def test_what_a_leaf_begins_to_suffer_costs_the_others_a_second(design: Design, ailment: Ailment) -> None:
    with racks(design, leaves=FEW, listening=False) as site:
        ailment.befall(site.leaves["leaf2"])
        others = [leaf for name, leaf in site.leaves.items() if name != "leaf2"]
        site.lab.intent.add_network("blue")
        site.clock.advance(0.5)
        site.lab.intent.add_network("green")
        site.clock.advance(2.5)
        assert all(vnis(leaf) == {5000, 5001, 5002} for leaf in others)
        site.clock.advance(60)
        site.lab.intent.add_network("white")
        site.clock.advance(1.5)
        assert all(5003 in vnis(leaf) for leaf in others)
        site.lab.intent.remove_network("white")
        site.clock.advance(1.0)
        assert all(5003 not in vnis(leaf) for leaf in others)


def test_a_process_that_starts_while_a_leaf_hangs_looks_after_the_others() -> None:
    with racks(leaves=FEW) as site:
        HUNG.befall(site.leaves["leaf2"])
        site.loop.stop()
        site.rob("leaf5")
        site.restart()
        site.clock.advance(4)
        assert vnis(site.leaves["leaf5"]) == {5000}


def test_a_slow_leaf_is_heard_and_told_among_many_news_and_nothing_twice() -> None:
    with a_slow_leaf(30) as (site, slow):
        before = slow.tried
        site.lab.intent.add_network("blue")
        for _ in range(65):
            site.loop.wake()
            site.clock.advance(1)
        assert vnis(slow) == {5000, 5001}
        assert slow.tried - before == 1


@contextmanager
def a_slow_leaf(read: float, write: float = 0.3) -> Iterator[tuple[Racks, Told]]:
    """It is known to be slow, and all is at rest."""
    with racks(leaves=FEW, listening=False) as site:
        slow = site.leaves["leaf2"]
        Ailment(read=read, write=write).befall(slow)
        site.loop.look_at_everything()
        (seat,) = site.loop.seats.values()
        site.clock.advance(3 * read + 10)
        while not (seat.last is not None and seat.last.settled):  # the timer has it read, half of the time
            site.clock.advance(1)
        yield site, slow


def looks_of(site: Racks) -> list[tuple[float, Handover]]:
    """What an SDN is shown, and when, from now on."""
    seen: list[tuple[float, Handover]] = []

    def looked(last: Pass) -> None:
        found = handover(last.world, last.observed, last.thought, last.now)
        assert found is not None
        seen.append((site.clock.now, found))

    site.loop.looked = looked
    return seen


def test_what_a_slow_leaf_told_before_is_not_what_it_holds_now() -> None:
    """A VLAN would be given back to the SDN that it wears."""
    with a_slow_leaf(30) as (site, slow):
        slow.inner.entries.clear()
        slow.note()
        lost_at = site.clock.now
        looks = looks_of(site)
        for _ in range(80):
            site.loop.wake()
            site.clock.advance(2)
        assert vnis(slow) == {5000}, "it is put right"
        back_at = next(moment for moment, held in slow.history if moment > lost_at and held)
        (red,) = {red for _, look in looks for red in look.groups}
        carried = [look.at for _, look in looks if "leaf2" in look.groups[red].mapped_at]
        assert any(at >= back_at for at in carried)
        assert not [at for at in carried if lost_at <= at < back_at]


def test_a_look_is_as_old_as_the_oldest_reading_in_it() -> None:
    with a_slow_leaf(30) as (site, _):
        looks = looks_of(site)
        for _ in range(50):
            site.loop.wake()
            site.clock.advance(2)
        whole = [(when, look.at) for when, look in looks if look.whole]
        assert whole
        assert all(30 <= when - at <= 60 + 2 for when, at in whole)


def test_a_bug_in_reading_a_slow_leaf_is_shown_though_nobody_waits_for_it() -> None:
    with a_slow_leaf(30) as (site, slow):
        reads = slow.target or slow.inner

        class Broken:
            def observe(self) -> Mirror:
                raise KeyError("what no switch says")

            apply = reads.apply

        slow.target = Broken()  # type: ignore[assignment]
        site.loop.look_at_everything()
        faults = set[str]()
        for _ in range(70):
            site.clock.advance(1)
            faults |= {condition.reason for condition in site.conditions() if condition.kind == "fault"}
        assert faults == {"KeyError: 'what no switch says'"}
        assert [c.reason for c in site.conditions() if c.kind == "unknown"] == ["KeyError: 'what no switch says'"]
        slow.target = None
        site.clock.advance(200)
        assert not site.conditions()


def test_a_bug_in_writing_is_shown_though_nobody_waits_for_it_and_what_else_came_late_is_heeded() -> None:
    with racks(leaves=FEW) as site:
        clock, leaf, refusing = site.clock, site.leaves["leaf2"], site.leaves["leaf3"]

        class Broken:
            observe = leaf.inner.observe

            def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
                clock.advance(20)
                raise KeyError("what no switch does")

        leaf.target = Broken()  # type: ignore[assignment]
        Ailment(read=0.2, write=19.0, refuses=True).befall(refusing)
        before = refusing.tried
        site.lab.intent.add_network("blue")
        faults = set[str]()
        for _ in range(50):
            site.clock.advance(1)
            faults |= {condition.reason for condition in site.conditions() if condition.kind == "fault"}
        assert faults == {"KeyError: 'what no switch does'"}
        assert refusing.tried - before == 1
        leaf.target = None
        site.clock.advance(100)


@pytest.mark.parametrize(("refused", "most"), [(True, 2), (False, 7)], ids=["refused", "failed"])
def test_what_a_slow_leaf_does_not_take_is_tried_as_seldom_as_with_any(refused: bool, most: int) -> None:
    with a_slow_leaf(5) as (site, slow):
        slow.inner.faults.fail("Learn", times=ALWAYS, refused=refused)
        before = slow.tried
        site.lab.intent.add_network("blue")
        shown = []
        for _ in range(60):
            site.clock.advance(2)
            site.loop.wake()
            shown.append({c.kind for c in site.conditions() if c.about.startswith("leaf:leaf2")})
        assert 1 <= slow.tried - before <= most
        since = next(second for second, kinds in enumerate(shown) if kinds)
        assert set(map(frozenset, shown[since:])) == {frozenset({"refused" if refused else "failed"})}, "all the time"


def test_being_read_slowly_is_no_news() -> None:
    with a_slow_leaf(30) as (site, slow):
        for _ in range(300):
            site.clock.advance(1)
            assert not site.conditions()
        Ailment(read=math.inf).befall(slow)
        site.clock.advance(200)
        shown = {condition.reason for condition in site.conditions() if condition.kind == "unknown"}
        assert shown == {"no answer within 60 s"}, "it was waited for twice as long as it took before"


def told_by(site: Racks, agree: bool, seconds: float = 60.0) -> list[tuple[dict[str, int], list[str]]]:
    """What `isthmus apply` is answered by a running isthmus: empty until then."""
    answers: list[tuple[dict[str, int], list[str]]] = []
    site.clock.begin(lambda: answers.append(kept_once_more(site.loop, agree, seconds)))
    return answers


@in_both_designs
@pytest.mark.parametrize("agree", [False, True], ids=["apply", "apply --agree"])
def test_an_operator_waits_until_a_slow_leaf_is_right_and_nobody_else_does(design: Design, agree: bool) -> None:
    with racks(design, leaves=FEW) as site:
        slow = site.leaves["leaf2"]
        Ailment(read=6, write=4).befall(slow)
        site.lab.intent.add_network("green")
        site.clock.advance(100)
        slow.inner.entries.clear()
        slow.note()
        answers = told_by(site, agree)
        site.clock.advance(3)
        assert not answers
        site.lab.intent.add_network("blue")
        site.clock.advance(1.5)
        assert all(5002 in vnis(leaf) for leaf in site.leaves.values() if leaf is not slow)
        while not answers:
            site.clock.advance(1)
        assert vnis(slow) >= {5000, 5001}
        ((made, unanswered),) = answers
        assert not unanswered
        assert sum(made.values()) > 0


@in_both_designs
@pytest.mark.parametrize("ailment", [HUNG, HUNG_AT_WRITES], ids=["reads", "writes"])
def test_an_operator_is_told_which_leaf_did_not_answer(design: Design, ailment: Ailment) -> None:
    with racks(design, leaves=FEW) as site:
        ailment.befall(site.leaves["leaf2"])
        site.lab.intent.add_network("blue")
        answers = told_by(site, agree=True, seconds=30)
        site.clock.advance(29)
        assert all(5001 in vnis(site.leaves[name]) for name in FEW if name != "leaf2")
        assert not answers
        site.clock.advance(2)
        assert [unanswered for _, unanswered in answers] == [["leaf:leaf2"]]


@contextmanager
def a_removal_that_is_held(read: float, then: float) -> Iterator[tuple[Racks, Told]]:
    """A slow leaf's last answer is too old to go by when the operator agrees; the next takes `then`."""
    with racks(leaves=FEW, limits=Limits(0, 0.0)) as site:
        site.lab.intent.add_network("blue")
        site.lab.intent.add_network("green")
        site.clock.advance(20)
        slow = site.leaves["leaf2"]
        Ailment(read=read, write=5).befall(slow)
        site.lab.intent.remove_network("blue")
        site.clock.advance(2 * read + 100)
        assert {c.kind for c in site.conditions()} == {"held"}
        (seat,) = site.loop.seats.values()
        Ailment(read=then, write=5).befall(slow)
        asked = slow.asked
        while slow.asked == asked:
            site.clock.advance(0.5)
        site.clock.advance(1)
        assert seat.last is not None
        assert seat.last.last is not None
        assert isinstance(seat.last.last.observed.targets[slow.id], Unknown)
        yield site, slow


def test_an_operators_word_holds_for_what_a_slow_leaf_forbade_when_he_gave_it() -> None:
    with a_removal_that_is_held(20, then=8) as (site, _):
        answers = told_by(site, agree=True)
        said_at = site.clock.now
        while not answers:
            site.clock.advance(1)
        assert answers[0][1] == []
        assert [group.name for group in site.lab.groups_of_ours()] == ["red", "green"]
        assert site.clock.now - said_at < 40
        site.lab.intent.remove_network("green")
        site.clock.advance(100)
        assert {c.kind for c in site.conditions()} == {"held"}, "that was not said of this one"


def test_an_operators_word_does_not_hold_for_ever() -> None:
    with a_removal_that_is_held(20, then=80) as (site, slow):
        answers = told_by(site, agree=True)
        site.clock.advance(61)
        assert [unanswered for _, unanswered in answers] == [["leaf:leaf2"]]
        HEALTHY.befall(slow)
        site.clock.advance(200)
        assert {c.kind for c in site.conditions()} == {"held"}


def test_a_command_waits_until_a_slow_leaf_was_told() -> None:
    with racks(leaves=FEW, listening=False) as site:
        site.loop.stop()
        Ailment(read=30, write=30).befall(site.leaves["leaf2"])
        site.lab.intent.add_network("blue")
        (seat,) = site.loop.seats.values()
        habits = Habits(limits=Limits(1000), waits_for_leaves=True)
        sight = Sight(lambda: site.clock.now, Backoff(1, 60))
        rounds: list[Round] = []

        def command() -> None:
            rounds.append(Keeper(seat.keeper.charge, sight, lambda: site.clock.now, habits).keep(sight.tick()))

        site.clock.begin(command)
        while not rounds:
            site.clock.advance(1)
        assert vnis(site.leaves["leaf2"]) == {5000, 5001}
        assert rounds[0].settled


def test_at_a_leaf_that_hangs_what_its_switch_takes_is_waited_for_as_long_as_it_takes() -> None:
    with racks(VDS_LEAF, leaves=FEW) as site:
        HUNG_AT_WRITES.befall(site.leaves["leaf2"])
        site.lab.vcenter.faults.latency = {"": 0.1}
        for plain in site.lab.loops.values():
            for target in plain.targets.values():
                if isinstance(target, SwitchTarget):
                    target.faults.latency = {"CreatePortGroup": 30.0}
        site.rob("leaf2")
        site.lab.intent.add_network("blue")
        site.clock.advance(29)
        assert not [condition for condition in site.conditions() if condition.about.startswith("dvs")]
        site.clock.advance(2)
        assert len(site.lab.groups_of_ours()) == 2 * len(FEW)
        assert not [condition for condition in site.conditions() if condition.about.startswith("dvs")]


@in_both_designs
@pytest.mark.parametrize("write", [2.0, 30.0])
def test_a_slow_leaf_is_told_a_networks_other_vni_to_the_end(design: Design, write: float) -> None:
    """What is left of a chain (forget, then learn) is planned anew where its end is missing."""
    with racks(design, leaves=FEW, listening=False) as site:
        slow = site.leaves["leaf2"]
        site.lab.intent.add_network("blue")
        site.clock.advance(20)
        Ailment(read=0.2, write=write).befall(slow)
        site.lab.intent.renumber("blue")
        site.clock.advance(2.5)
        assert all(vnis(leaf) == {5000, 5002} for leaf in site.leaves.values() if leaf is not slow)
        before = slow.tried
        site.clock.advance(2 * write + 10)
        assert vnis(slow) == {5000, 5002}
        assert slow.tried - before <= 1, "nothing twice"
        assert not site.conditions()


def test_what_comes_after_what_a_slow_leaf_could_not_do_is_not_tried() -> None:
    with racks(leaves=FEW, listening=False) as site:
        slow = site.leaves["leaf2"]
        site.lab.intent.add_network("blue")
        site.clock.advance(20)
        Ailment(read=0.2, write=5.0).befall(slow)
        slow.inner.faults.fail("Forget", times=ALWAYS)
        site.lab.intent.renumber("blue")
        site.clock.advance(15)
        for _ in range(60):
            site.clock.advance(1)
            assert vnis(slow) == {5000, 5001}
            assert {c.kind for c in site.conditions()} == {"failed"}, "also while it is tried again"
        slow.inner.faults.heal()
        site.clock.advance(100)
        assert vnis(slow) == {5000, 5002}


def test_what_a_slow_leaf_has_still_to_do_is_not_begun_once_the_shard_is_paused() -> None:
    with racks(leaves=FEW, listening=False) as site:
        slow = site.leaves["leaf2"]
        site.lab.intent.add_network("blue")
        site.clock.advance(20)
        Ailment(read=0.2, write=10.0).befall(slow)
        site.lab.intent.renumber("blue")
        site.clock.advance(5)
        (name,) = site.loop.seats
        site.loop.standing.say(name, Word.PAUSED)
        site.clock.advance(60)
        assert vnis(slow) == {5000, 5001}
        site.loop.standing.say(name, None)
        site.loop.wake()
        site.clock.advance(60)
        assert vnis(slow) == {5000, 5002}


@pytest.mark.parametrize("left_over", [0.2, 20.0], ids=["read at once", "read slowly"])
def test_the_vid_that_a_slow_leaf_is_being_told_is_nobody_elses_until_it_was_read_after_that(left_over: float) -> None:
    with racks(leaves=FEW, listening=False) as site:
        lab, slow = site.lab, site.leaves["leaf2"]
        Ailment(read=0.2, write=30.0).befall(slow)
        lab.intent.add_network("blue")
        site.clock.advance(5)
        (switch,), (scope,) = lab.vcenter.switches.values(), {loop.shard.scope for loop in lab.loops.values()}
        (blue,) = (group for group in switch.port_groups.values() if group.name == "blue")
        assert isinstance(blue.vlan, Access)
        assert scope is not None
        vid, looks = blue.vlan.vid, looks_of(site)
        lab.intent.remove_network("blue")
        del switch.port_groups[blue.key]
        lab.intent.add_network("green", assigned={scope: vid})
        slow.takes = left_over
        site.clock.advance(26)
        assert vnis(slow) == {5000, 5001}, "it did what it was told"
        site.clock.advance(200)
        assert [group.name for group in lab.groups_of_ours()] == ["red", "green"]
        assert vnis(slow) == {5000, 5002}
        forgot_at = max(when for when, held in slow.history if {e.vni for e in held} == {5000})
        free = [when for when, look in looks if look.is_free(vid)]
        assert free
        assert min(free) > forgot_at


def test_an_operators_word_does_not_hold_for_what_comes_up_while_a_slow_leaf_has_not_answered() -> None:
    with a_removal_that_is_held(20, then=8) as (site, _):
        answers = told_by(site, agree=True)
        site.clock.advance(2)
        assert not answers
        site.lab.intent.remove_network("green")
        while not answers:
            site.clock.advance(1)
        site.clock.advance(30)
        assert all(vnis(leaf) == {5000, 5002} for leaf in site.leaves.values())
        assert [group.name for group in site.lab.groups_of_ours()] == ["red", "green"], "blue went, as he said"
        assert {c.kind for c in site.conditions()} == {"held"}


@pytest.mark.parametrize("ailment", [Ailment(150, 0.3), Ailment(0.2, 150), Ailment(150, 150)], ids=str)
def test_a_leaf_that_takes_minutes_is_told_of_once_and_not_in_each_round(
    ailment: Ailment, caplog: pytest.LogCaptureFixture
) -> None:
    with racks(leaves=FEW, listening=False) as site:
        slow = site.leaves["leaf2"]
        ailment.befall(slow)
        site.lab.intent.add_network("blue")
        site.clock.advance(700)
        assert vnis(slow) == {5000, 5001}
        caplog.clear()
        caplog.set_level("INFO")
        (seat,) = site.loop.seats.values()
        before = seat.rounds
        site.lab.intent.add_network("green")
        site.clock.advance(1300)
        assert vnis(slow) == {5000, 5001, 5002}
        assert [record for record in caplog.records if "learn" in record.message]
        assert not [record.message for record in caplog.records if "unknown" in record.message]
        assert seat.rounds - before <= 60, "once a minute, and when it has answered"


@pytest.mark.slow
def test_a_slow_leaf_is_told_among_many_news_though_it_takes_longer_than_an_answer_lasts() -> None:
    with racks(leaves=FEW, listening=False) as site:
        slow = site.leaves["leaf2"]
        Ailment(read=150.0, write=0.3).befall(slow)
        site.lab.intent.add_network("blue")
        for _ in range(175):
            site.loop.wake()
            site.clock.advance(2)
        assert vnis(slow) == {5000, 5001}


def test_what_comes_and_goes_beside_a_slow_leaf_is_no_news_of_the_leaf(caplog: pytest.LogCaptureFixture) -> None:
    with a_slow_leaf(20, write=20) as (site, _):
        site.lab.intent.add_network("green")  # what it takes to be written is not known before
        site.clock.advance(150)
        caplog.clear()
        caplog.set_level("WARNING")
        site.lab.intent.add_network("blue")
        site.clock.advance(30)
        site.lab.boot("blue", "esx-leaf1", "blue")
        site.clock.advance(100)
        site.lab.vcenter.destroy(site.lab.vm("blue").id)
        site.lab.intent.remove_network("blue")
        for _ in range(70):
            site.clock.advance(3)
            site.loop.wake()
        assert [group.name for group in site.lab.groups_of_ours()] == ["red", "green"]
        assert not caplog.records


def test_what_failed_for_a_network_that_is_gone_is_not_shown_for_ever() -> None:
    with a_slow_leaf(5) as (site, slow):
        slow.inner.faults.fail("Learn", times=ALWAYS)
        site.lab.intent.add_network("blue")
        site.clock.advance(30)
        assert {condition.kind for condition in site.conditions()} == {"failed"}
        site.lab.intent.remove_network("blue")
        for _ in range(30):
            site.clock.advance(1)
            site.loop.wake()
        assert not site.conditions()


def test_what_a_leaf_refused_before_it_hung_is_no_reason_to_look_again_and_again() -> None:
    with racks(leaves=FEW) as site:
        leaf = site.leaves["leaf2"]
        leaf.inner.faults.fail("Learn", times=ALWAYS)
        site.lab.intent.add_network("blue")
        site.clock.advance(5)
        HUNG.befall(leaf)
        site.loop.wake()
        site.clock.advance(10)
        (seat,) = site.loop.seats.values()
        before = seat.rounds
        site.clock.advance(100)
        assert seat.rounds - before <= 4, "by the timer"
        assert "unknown" in {condition.kind for condition in site.conditions()}


@in_both_designs
@pytest.mark.parametrize("ailment", [HUNG, HUNG_AT_WRITES], ids=["reads", "writes"])
def test_as_many_leaves_hang_as_are_kept_at_once_and_the_others_are_told(design: Design, ailment: Ailment) -> None:
    with racks(design, listening=False) as site:
        for name in LEAVES[:8]:
            ailment.befall(site.leaves[name])
        site.lab.intent.add_network("blue")
        site.clock.advance(30)
        assert all(vnis(site.leaves[name]) == {5000, 5001} for name in LEAVES[8:])
        site.rob(LEAVES[9])
        site.clock.advance(15)
        assert vnis(site.leaves[LEAVES[9]]) == {5000, 5001}


def test_a_slow_leaf_is_asked_no_more_often_than_any_and_what_a_hand_does_to_it_meanwhile_is_seen() -> None:
    with racks(leaves=FEW) as site:
        slow = site.leaves["leaf2"]
        Ailment(read=5, write=0.3).befall(slow)
        site.clock.advance(70)
        before = slow.asked
        site.clock.advance(600)
        assert slow.asked - before == 10, "once a minute, as by the timer"
        site.clock.advance(15)  # and not while the timer has it read anyway
        site.loop.wake()
        site.clock.advance(1)  # it is being asked
        site.rob("leaf2")
        site.clock.advance(4 + 5 + 2)
        assert vnis(slow) == {5000}


def test_a_leaf_that_hung_is_right_when_it_is_back() -> None:
    with racks(leaves=FEW) as site:
        back = site.leaves["leaf2"]
        Ailment(read=100, write=100).befall(back)
        site.lab.intent.add_network("blue")
        site.clock.advance(10)
        HEALTHY.befall(back)  # from the next call on
        site.clock.advance(88)
        assert vnis(back) == {5000}
        site.clock.advance(5)
        assert vnis(back) == {5000, 5001}


def test_what_a_leaf_refuses_late_is_shown_and_not_tried_again_at_once_whatever_happens_elsewhere() -> None:
    with racks(leaves=FEW) as site:
        Ailment(read=0.2, write=5.0, refuses=True).befall(site.leaves["leaf2"])
        site.lab.intent.add_network("blue")
        before = site.leaves["leaf2"].tried
        for _ in range(50):
            site.loop.wake()
            site.clock.advance(1)
        assert site.leaves["leaf2"].tried - before == 1
        kinds = {(condition.kind, condition.about[:10]) for condition in site.conditions()}
        assert ("refused", "leaf:leaf2") in kinds


def test_what_a_slow_leaf_takes_late_counts_as_made() -> None:
    with a_slow_leaf(5, write=5) as (site, _):
        (seat,) = site.loop.seats.values()
        before = seat.changes
        site.lab.intent.add_network("blue")
        site.clock.advance(60)
        assert seat.changes - before == 1 + len(FEW), "a port group, and what each leaf learnt"


def test_what_was_answered_stays_answered_though_a_leaf_hangs_since() -> None:
    with racks(leaves=FEW, listening=False) as site:
        (seat,) = site.loop.seats.values()
        answered = seat.answered_since
        HUNG.befall(site.leaves["leaf2"])
        site.loop.wake()
        site.clock.advance(5)
        assert seat.answered_since >= answered > 0


def test_a_leaf_that_was_silent_is_so_no_more_while_it_is_told_what_it_missed() -> None:
    with racks(leaves=FEW, listening=False) as site:
        Ailment(read=20, write=8).befall(site.leaves["leaf2"])
        site.lab.intent.add_network("blue")
        site.clock.advance(15)
        assert "unknown" in {condition.kind for condition in site.conditions()}
        site.clock.advance(8)
        assert not site.conditions()


def test_a_port_group_stays_until_a_slow_leaf_has_forgotten_its_vid() -> None:
    with a_slow_leaf(20, write=5) as (site, slow):
        site.lab.intent.add_network("blue")
        site.clock.advance(100)
        assert vnis(slow) == {5000, 5001}
        site.lab.intent.remove_network("blue")
        while "blue" in {group.name for group in site.lab.groups_of_ours()}:
            site.clock.advance(0.5)
        forgot_at = max(when for when, held in slow.history if {e.vni for e in held} == {5000})
        assert 0 < site.clock.now - forgot_at < 42, "it is read to the end, and once more, and then it goes"
        assert vnis(slow) == {5000}


def test_what_is_held_is_shown_as_before_while_a_leaf_is_asked_and_with_one_reason_at_a_time() -> None:
    with a_removal_that_is_held(20, then=8) as (site, slow):
        assert "remove" in " ".join(condition.about for condition in site.conditions())
        (seat,) = site.loop.seats.values()
        assert seat.last is not None
        before = [replace(condition, reason="as it was", target=slow.id) for condition in site.conditions()]
        shown = conditions_of(seat.last, seat.keeper.named, (), before)
        assert len({(condition.kind, condition.about) for condition in shown}) == len(shown)
        assert "as it was" in {condition.reason for condition in shown}


def test_a_network_that_failed_and_went_is_told_at_once_when_it_is_back() -> None:
    with racks(leaves=FEW, listening=False) as site:
        leaf = site.leaves["leaf2"]
        leaf.inner.faults.fail("Learn", times=ALWAYS)
        site.lab.intent.add_network("blue", vni=5001)
        site.clock.advance(100)
        site.lab.intent.remove_network("blue")
        site.clock.advance(5)
        leaf.inner.faults.heal()
        site.lab.intent.add_network("blue", vni=5001)
        site.clock.advance(2)
        assert vnis(leaf) == {5000, 5001}


def test_when_a_slow_leaf_has_been_told_it_is_read_and_no_other() -> None:
    with racks(leaves=FEW, listening=False) as site:
        slow = site.leaves["leaf2"]
        Ailment(read=0.2, write=8).befall(slow)
        site.lab.intent.add_network("blue")
        site.clock.advance(5)
        before = {name: leaf.asked for name, leaf in site.leaves.items()}
        site.clock.advance(8)
        assert vnis(slow) == {5000, 5001}
        assert {name for name, leaf in site.leaves.items() if leaf.asked > before[name]} == {"leaf2"}


def test_a_slow_member_of_a_pair_delays_its_fellow_and_no_other_leaf() -> None:
    """The pair is one VTEP, told alike: what the first may refuse, the second must not have taken."""
    with racks(leaves=FEW, paired="leaf2") as site:
        first, second = site.members
        first.faults.latency = {"": 20.0, "observe": 0.2}
        site.lab.intent.add_network("blue")
        site.clock.advance(2)
        assert vnis(site.leaves["leaf1"]) == {5000, 5001}
        site.clock.advance(17)
        assert second.entries.keys() == first.entries.keys()
        site.clock.advance(5)
        assert second.entries == first.entries
        assert vnis(site.leaves["leaf2"]) == {5000, 5001}


def test_a_bug_in_what_nobody_waits_for_is_not_met_ever_again_at_once() -> None:
    with racks(leaves=LEAVES[:4], listening=False) as site:
        tries: list[float] = []

        leaf = site.leaves["leaf2"]

        class Broken:
            id, observe = leaf.id, leaf.inner.observe

            def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
                tries.append(site.clock.now)
                site.clock.advance(2.0)
                raise KeyError("a bug")

        leaf.target = Broken()
        site.lab.intent.add_network("blue")
        site.clock.advance(300)
        leaf.target = None
        site.clock.advance(100)
        assert 2 <= len(tries) <= 20
        assert max(late - early for early, late in pairwise(tries)) >= 40


def test_who_stops_waits_for_a_write_that_no_round_waits_for() -> None:
    with racks(leaves=LEAVES[:4], listening=False) as site:
        Ailment(read=0.2, write=4.0).befall(site.leaves["leaf2"])
        site.lab.intent.add_network("blue")
        site.clock.advance(2.5)
        (seat,) = site.loop.seats.values()
        assert seat.running_since is None
        assert seat.keeper.unanswered()
        ended: list[tuple[bool, float]] = []
        began = site.clock.now
        for seconds in (1.0, 10.0):
            site.clock.begin(lambda seconds=seconds: ended.append((site.loop.finish(seconds), site.clock.now)))
        site.clock.advance(12)
        (within_1, at_1), (within_10, at_10) = ended
        assert (within_1, within_10) == (False, True)
        assert at_1 - began == pytest.approx(1.0, abs=0.1)
        assert 1.0 < at_10 - began < 5.0


def test_what_failed_at_a_switch_and_was_made_is_shown_no_more_though_a_leaf_takes_its_time() -> None:
    with racks(leaves=LEAVES[:4], listening=False) as site:
        Ailment(read=100, write=0.3).befall(site.leaves["leaf2"])
        site.loop.look_at_everything()
        site.clock.advance(400)
        for plain in site.lab.loops.values():
            for target in plain.targets.values():
                if isinstance(target, SwitchTarget):
                    target.faults.fail("CreatePortGroup", times=1)
        site.lab.intent.add_network("blue")
        site.clock.advance(1)
        assert any(condition.kind == "failed" for condition in site.conditions())
        site.clock.advance(10)
        assert "blue" in {group.name for group in site.lab.groups_of_ours()}
        assert not any(condition.kind == "failed" for condition in site.conditions())
