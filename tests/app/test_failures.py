"""What failed waits: for itself alone, ever longer, and never so long that somebody is heard by the wrong ones."""

from __future__ import annotations

from isthmus.app.failures import Failures
from isthmus.model.change import Action, Change, Gate, Learn, Outcome, Result, SetDvPort
from isthmus.model.flow import Bridge, Flow, FlowPort, Match
from isthmus.model.names import DvsId
from isthmus.model.observed import TargetId
from isthmus.model.tags import Vid, Vni

SWITCH = TargetId("dvs", "dvs")


def write(key: str, gate: Gate = Gate.OPEN, version: str = "1") -> Change:
    return of(SetDvPort(DvsId("dvs"), key, 7, version, gate, Vid(11)))


def of(action: Action) -> Change:
    return Change(0, SWITCH, action, "test")


def learnt(vni: int, mac: str) -> Change:
    return of(Learn((Flow(Bridge.INT, 0, 100, Match(in_port=FlowPort.TRUNK, vid=Vid(11), src=mac), (), Vni(vni)),)))


def waits(failures: Failures, change: Change, now: float, *, urgent: bool = False) -> float | None:
    """Seconds until it is tried again; None: at once."""
    item = failures.waiting(change, now, urgent=urgent)
    return None if item is None or item.until is None else item.until - now


def test_a_change_that_fails_again_waits_ever_longer_and_no_other_with_it() -> None:
    failures, seen = Failures(), []
    for _ in range(8):
        failures.note([Result(write("1"), Outcome.RETRY, "busy")], 0.0)
        seen.append(waits(failures, write("1", version="2"), 0.0))
    assert seen == [1, 2, 4, 8, 16, 32, 60, 60]
    assert waits(failures, write("2"), 0.0) is None
    assert waits(failures, write("1", Gate.CLOSE), 0.0) is None
    assert waits(failures, write("1"), 60.0) is None


def test_what_is_urgent_is_tried_every_few_seconds() -> None:
    failures = Failures()
    for _ in range(8):
        failures.note([Result(write("1", Gate.CLOSE), Outcome.RETRY, "busy")], 0.0)
    assert waits(failures, write("1", Gate.CLOSE), 0.0, urgent=True) == 5


def test_while_the_far_side_as_a_whole_takes_nothing_everything_there_waits_and_a_success_ends_it() -> None:
    failures = Failures()
    for _ in range(3):
        failures.note([Result(write(key), Outcome.UNREACHABLE, "503") for key in "123"], 0.0)
    assert waits(failures, write("4"), 0.0) == 4  # failed three times, not nine
    assert waits(failures, write("4"), 0.0, urgent=True) == 4
    failures.note([Result(write("1"), Outcome.DONE)], 4.0)
    assert waits(failures, write("4"), 4.0) is None


def test_a_refused_change_waits_a_while_in_the_same_form_and_not_in_another() -> None:
    failures = Failures(refused_again_after=60)
    failures.note([Result(write("1"), Outcome.REFUSED, "foreign")], 0.0)
    item = failures.waiting(write("1"), 59.0, urgent=True)
    assert item is not None
    assert (item.refused, item.reason, item.until) == (True, "foreign", None)
    assert failures.waiting(write("1", version="2"), 59.0, urgent=False) is None
    assert failures.waiting(write("1"), 60.0, urgent=False) is None


def test_one_networks_flows_that_cannot_be_written_hold_up_no_other_network() -> None:
    failures = Failures()
    failures.note([Result(learnt(5001, "00:50:56:00:00:01"), Outcome.RETRY, "table full")], 0.0)
    assert waits(failures, learnt(5001, "00:50:56:00:00:02"), 0.0) == 1
    assert waits(failures, learnt(5002, "00:50:56:00:00:01"), 0.0) is None


def test_a_far_side_that_takes_one_change_and_not_others_is_no_failure_as_a_whole_and_they_wait() -> None:
    failures, seen = Failures(), []
    for _ in range(4):
        failures.note([Result(write("1"), Outcome.DONE), Result(write("2"), Outcome.UNREACHABLE, "reset")], 0.0)
        seen.append(waits(failures, write("2"), 0.0))
    assert seen == [1, 2, 4, 8]
    assert waits(failures, write("3"), 0.0) is None


def test_what_was_refused_once_waits_for_the_far_side_as_a_whole_like_everything() -> None:
    failures = Failures(refused_again_after=60)
    failures.note([Result(write("1"), Outcome.REFUSED, "foreign")], 0.0)
    failures.note([Result(write("1"), Outcome.UNREACHABLE, "503")], 60.0)
    item = failures.waiting(write("1"), 60.5, urgent=False)
    assert item is not None
    assert (item.refused, item.reason) == (False, "503")


def test_a_change_that_is_made_and_does_not_last_is_made_again_at_once_and_then_ever_more_seldom() -> None:
    failures, seen = Failures(), []
    for version in "12345":
        failures.note([Result(write("1", version=version), Outcome.DONE)], 0.0)
        failures.forget_all_but([write("1", version="9")])  # a look wants it all the same
        seen.append(waits(failures, write("1", version="9"), 0.0))
    assert seen == [None, 1, 2, 4, 8]
    failures.forget_all_but([])  # a look does not want it any more
    failures.note([Result(write("1"), Outcome.DONE)], 0.0)
    assert waits(failures, write("1"), 0.0) is None


def test_a_network_to_which_members_are_added_one_after_the_other_does_not_wait() -> None:
    failures = Failures()
    for number in range(1, 6):
        failures.note([Result(learnt(5001, f"00:50:56:00:00:{number:02}"), Outcome.DONE)], 0.0)
        more = learnt(5001, f"00:50:56:00:00:{number + 1:02}")
        failures.forget_all_but([more])
        assert waits(failures, more, 0.0) is None


def test_what_nobody_wants_any_more_has_not_failed() -> None:
    failures = Failures()
    failures.note([Result(write("1"), Outcome.RETRY, "busy"), Result(write("2"), Outcome.UNREACHABLE, "503")], 0.0)
    failures.forget_all_but([write("2")])
    assert failures.waiting(write("2"), 0.5, urgent=False) is not None
    failures.forget_all_but([])
    assert failures.waiting(write("1"), 0.5, urgent=False) is None
    assert failures.waiting(write("2"), 0.5, urgent=False) is None


def test_what_is_wanted_of_a_far_side_that_cannot_be_seen_nobody_knows_and_nothing_of_it_is_forgotten() -> None:
    failures = Failures()
    failures.note([Result(write("1"), Outcome.RETRY, "busy")], 0.0)
    failures.forget_all_but([], {SWITCH})
    assert waits(failures, write("1"), 0.5) == 0.5


def test_what_is_under_way_has_not_failed() -> None:
    failures = Failures()
    failures.note([Result(write("1"), Outcome.UNDER_WAY)], 0.0)
    assert waits(failures, write("1"), 0.0) is None
    failures.note([Result(write("1"), Outcome.RETRY, "busy")], 5.0)
    assert waits(failures, write("1"), 5.0) == 1
