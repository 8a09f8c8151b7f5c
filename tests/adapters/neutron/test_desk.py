"""At the desk: Neutron is given a port group that stands and stays, and one failure keeps nothing else from it."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from isthmus.adapters.neutron import errands
from isthmus.adapters.neutron.delivery import PORTS_AT_ONCE, SHARE, Delivery
from isthmus.adapters.neutron.desk import SOON, Desk
from isthmus.adapters.neutron.errands import FIRST_AGAIN, LONGEST_AGAIN, Cluster, Errands, Memory, key_of
from isthmus.adapters.neutron.facts import Binding, Facts, Tunnelling
from isthmus.adapters.neutron.protocol import RESERVED, RETIRING
from isthmus.adapters.neutron.tenure import Tenure
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.handover import Member
from isthmus.model.names import HostId, Mac, NetworkId, PortId
from tests.adapters.neutron.test_errands import BOUND, DVS, FAILED, ONE, RED, UNUSED, Site, port

PATIENCE = 10.0
ANSWERED_WITHIN = 30.0
"""Seconds, as `timeout` of the configuration has it."""
TAKEN_UP = f"{RESERVED} anew"
ALL = Errands(
    ready=({"id": "p"},),
    rebind=("q",),
    correct=({"id": "r"},),
    allocate=((RED, "rack1"),),
    retire=(("s", ""),),
    release=(("t", "mark"),),
    hold=(("rack1", 101, "a stranger wears it"),),
    free=(("rack1", 102),),
)
KINDS = ("correct", "ready", "allocate", "retire", "release", "hold", "free")


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < end
        time.sleep(0.005)


class Bus:
    """Neutron, as far as it answers."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, Exception] = {}
        self.fails_after = 0.0
        self.casts: Counter[str] = Counter()
        self.told: list[tuple[str, Any]] = []
        self.seconds_a_port = 0.0
        self.slow: set[str] = set()
        self.refuses: set[str] = set()
        self.hangs: set[str] = set()
        self.passes: Callable[[float], None] = lambda seconds: None
        self.changed: set[str] = set()
        self.hanging: set[str] = {"rebind"}
        self.going = threading.Event()
        self.going.set()

    def cast(self, topic: str, method: str, **what: Any) -> None:
        self.told.append((method, what))
        self.casts[method] += 1

    def call(self, topic: str, method: str, **what: Any) -> Any:
        self.calls[method] += 1
        if method in self.hanging:
            assert self.going.wait(6 * PATIENCE)
        if method in self.faults:
            self.passes(self.fails_after)
            raise self.faults[method]
        if method in self.hangs:
            self.passes(ANSWERED_WITHIN)
            raise Retry("Neutron did not answer")
        ports = [port["id"] for port in what.get("ports", ()) if isinstance(port, dict)]
        if self.refuses.intersection(ports):
            raise Refused("no such port")
        if self.slow.intersection(ports):
            self.passes(ANSWERED_WITHIN)
            raise Retry("Neutron did not answer")
        if len(ports) * self.seconds_a_port > ANSWERED_WITHIN:
            raise Retry("Neutron did not answer")
        self.changed.update(ports)
        return "" if method == "allocate" else []

    def serve(self, *what: object) -> None:
        pass


class Source:
    """What Neutron last said."""

    def __init__(self) -> None:
        self.facts: Facts | None = None
        self.tenure = Tenure()
        self.reasons: dict[Any, str] = {}
        self.troubles: Mapping[str, str] = {}
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1

    def reads(self, mark: str = "", *, used: bool = False) -> int:
        """Another answer of Neutron's: what RED's VLAN in rack1 is marked with.  Returns its number."""
        site = Site()
        site.segments = (replace(UNUSED, mark=mark, used=used),)
        self.facts = site.facts()
        self.tenure.read(self.facts)
        return self.tenure.reading


RACK1 = Cluster("rack1", DVS, frozenset({"leaf1", "leaf2"}), frozenset({HostId("esx1")}))


class Office:
    """A desk, or what carries its errands, with everything it stands between."""

    def __init__(self) -> None:
        self.bus, self.source, self.memory = Bus(), Source(), Memory()
        self.rebound = threading.Event()
        self.shown: Mapping[str, str] = {}
        self.now = 0.0
        self.delivery = Delivery(self.bus, self.memory, self._show, self.rebound.set, lambda: self.now)  # type: ignore[arg-type]
        vteps = {"rack1": frozenset({"192.0.2.1"})}
        self.unkept = ""
        self.desk = Desk(
            self.bus,  # type: ignore[arg-type]
            self.source,  # type: ignore[arg-type]
            frozenset(),
            {},
            time.monotonic,
            vteps=vteps,
            unkept=lambda domain: self.unkept,
        )
        self.woken: list[frozenset[HostId] | None] = []
        self.desk._wake = self.woken.append

    def _show(self, troubles: Mapping[str, str]) -> None:
        self.shown = troubles

    def looks(self, reading: int, *members: Member, host: str = "compute-1") -> None:
        """Rack1 is looked at, RED's port group standing there with VID 101; what is wanted was in that answer."""
        seen = Site().seen
        assert seen is not None
        self.desk.saw("rack1", replace(seen, members=frozenset(members), reading=reading), {host: RACK1})

    def gives(self) -> bool:
        """Neutron is given RED's port group, when it asks now."""
        return "pg_id" in self.desk.port_group("rack1", "compute-1", RED, 101, 0.0)

    def tried(self) -> None:
        """As if all of it had been due."""
        for kind in KINDS:
            for item in getattr(ALL, kind):
                self.memory.due(key_of(kind, item), 0.0)


@pytest.fixture
def made() -> Office:
    return Office()


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_of_one_kind_keeps_no_other_from_being_asked_for_and_is_shown(made: Office, kind: str) -> None:
    made.bus.faults[kind] = Retry(f"Neutron failed at '{kind}'")
    made.tried()
    made.delivery.deliver(ALL)
    until(lambda: made.bus.calls["rebind"] == 1)
    assert set(made.bus.calls) == {*KINDS, "rebind"}
    assert made.shown == {kind: f"Neutron failed at '{kind}'"}
    del made.bus.faults[kind]
    made.now += FIRST_AGAIN
    made.delivery.deliver(replace(ALL, rebind=()))
    assert made.shown == {}


def test_a_failure_is_shown_until_nobody_wants_it_any_more(made: Office) -> None:
    made.bus.faults["retire"] = Retry("no")
    made.tried()
    made.delivery.deliver(ALL)
    made.delivery.deliver(Errands())
    assert set(made.shown) == {"retire"}, "it waits for its turn"
    made.memory.keep_only(set(), set(), set(), set(), set())
    made.delivery.deliver(Errands())
    assert made.shown == {}


def test_a_failure_is_shown_though_the_same_was_had_for_others(made: Office) -> None:
    def some(topic: str, method: str, **what: Any) -> Any:
        if what["network"] == "a":
            raise Retry("not for a")
        return ""

    made.bus.call = some  # type: ignore[method-assign]
    both = tuple((NetworkId(name), "rack1") for name in "ab")
    for item in both:
        made.memory.due(key_of("allocate", item), 0.0)
    made.delivery.deliver(Errands(allocate=both))
    assert made.shown == {"allocate": "not for a"}
    made.delivery.deliver(Errands(allocate=both[1:]))
    assert made.shown == {"allocate": "not for a"}


def test_ports_that_could_not_be_tried_again_are_shown(made: Office) -> None:
    made.bus.faults["rebind"] = Retry("nobody answers")
    made.memory.due("rebind q", 0.0)
    made.delivery.deliver(Errands(rebind=("q",)))
    assert made.rebound.wait(PATIENCE)
    made.delivery.settle(1.0)
    made.delivery.deliver(Errands())
    assert made.shown == {"rebind": "nobody answers"}


def test_while_the_bus_is_away_nothing_counts_as_tried(made: Office) -> None:
    made.bus.faults["ready"] = Unreachable("away")
    assert not made.memory.due("ready p", 0.0) or not made.memory.due("ready p", 0.0)
    made.memory.failed_alone.add(key_of("ready", {"id": "p"}))
    with pytest.raises(Unreachable):
        made.delivery.deliver(ALL)
    assert made.memory.due("ready p", 0.0)
    assert not made.memory.failed_alone


def test_binding_again_is_seldom_also_where_it_takes_longer_than_to_wait_for_it(made: Office) -> None:
    """20 ports that cannot be bound, half a second each: an hour."""
    ports, tries, now, ends = [f"rebind {n}" for n in range(20)], Counter[str](), 0.0, None
    while now < 3600:
        if ends is not None and now >= ends:
            made.memory.ended("rebind", range(20), now)
            ends = None
        if due := [port for port in ports if made.memory.due(port, now)]:
            tries.update(due)
            made.memory.begun("rebind")
            ends = now + len(due) / 2
        now += 0.5
    assert max(tries.values()) < 25


def test_a_wait_outlasts_a_try_during_which_the_port_was_not_seen_to_fail(made: Office) -> None:
    for _ in range(4):
        made.memory.due("rebind p", 0.0)
        made.memory.again_at.clear()
    made.memory.due("rebind p", 0.0)
    made.memory.begun("rebind")
    made.memory.keep_only(set(), set(), set(), set(), set())
    made.memory.ended("rebind", ["p"], 100.0)
    assert not made.memory.due("rebind p", 120.0)


@pytest.mark.parametrize("kind", ["ready", "down", "correct"])
def test_a_neutron_that_takes_two_seconds_for_each_port_changes_many_all_the_same(made: Office, kind: str) -> None:
    """What is not answered in time is asked for again, while Neutron goes on with it: for ever, if there is much."""
    made.bus.seconds_a_port = 2.0
    ports = [{"id": f"p{n}"} for n in range(45)]
    made.delivery.deliver(Errands(**{kind: tuple(ports)}))  # type: ignore[arg-type]
    assert made.bus.changed == {port["id"] for port in ports}


PORTS = tuple({"id": f"p{n:02}"} for n in range(45))


def passes_time(made: Office) -> None:
    def passes(seconds: float) -> None:
        made.now += seconds

    made.bus.passes = passes


def due(made: Office, kind: str) -> tuple[Mapping[str, str], ...]:
    return tuple(port for port in PORTS if made.memory.due(key_of(kind, port), made.now))


def test_a_kind_that_hangs_holds_up_the_others_by_one_portion(made: Office) -> None:
    passes_time(made)
    made.bus.slow = {port["id"] for port in PORTS}
    found = Errands(correct=due(made, "correct"), ready=({"id": "q"},))
    made.delivery.deliver(found)
    assert (made.now, made.bus.calls["ready"]) == (ANSWERED_WITHIN, 1)


def rounds(made: Office, wanted: Callable[[], Sequence[Mapping[str, str]]], until: float) -> None:
    """The desk's rounds with one kind of errand, as it times them itself: nobody brings news."""
    while wanted() and made.now < until:
        keys = {key_of("ready", port) for port in wanted()}
        made.memory.keep_only(keys, set(), set(), set(), set())
        found = [port for port in wanted() if made.memory.due(key_of("ready", port), made.now)]
        if found:
            made.delivery.deliver(Errands(ready=tuple(found)))
        at = made.memory.next_at(made.now)
        made.now = max(made.now + SOON, min(made.now + 60, at if at is not None else made.now + 60))


@pytest.mark.parametrize("apart", [1, 10, 40], ids=["in one portion", "one in each portion", "far apart"])
@pytest.mark.parametrize("hanging", [1, 2, 5])
def test_ports_of_which_neutron_never_says_a_word_cost_the_others_two_answers_each(
    made: Office, hanging: int, apart: int
) -> None:
    passes_time(made)
    ports = [{"id": f"p{n:03}"} for n in range(200)]
    made.bus.slow = {f"p{apart * n:03}" for n in range(hanging)}
    good = {port["id"] for port in ports} - made.bus.slow

    def wanted() -> list[dict[str, str]]:
        return [port for port in ports if port["id"] not in made.bus.changed] if not good <= made.bus.changed else []

    rounds(made, wanted, until=3600.0)
    assert good <= made.bus.changed
    assert made.now <= 2 * hanging * (ANSWERED_WITHIN + FIRST_AGAIN) + 60


def test_what_there_was_no_time_for_is_due_as_soon_as_all_other_kinds_were_asked_for(made: Office) -> None:
    passes_time(made)
    made.bus.slow = {"p00"}
    made.delivery.deliver(Errands(ready=due(made, "ready")))
    made.now += 20 * FIRST_AGAIN  # the other kinds took that long
    assert made.memory.next_at(made.now) == made.now
    assert set(map(str, due(made, "ready"))) == set(map(str, PORTS)), "and so is what was not answered"


def test_all_that_there_was_no_time_for_is_due_at_once(made: Office) -> None:
    passes_time(made)
    made.bus.slow = {"p00"}
    made.delivery.deliver(Errands(ready=due(made, "ready")))
    assert due(made, "ready") == PORTS[PORTS_AT_ONCE:]


def test_what_failed_often_waits_as_long_as_ever_though_there_was_no_time_for_it_once(made: Office) -> None:
    what = key_of("ready", PORTS[0])
    for _ in range(4):
        assert made.memory.due(what, made.now)
        made.memory.ended("ready", [PORTS[0]], made.now)
        made.now = made.memory.again_at[what]
    waited = made.memory.waits[what]
    assert made.memory.due(what, made.now)
    made.memory.postponed("ready", [PORTS[0]], made.now)
    assert made.memory.due(what, made.now)
    assert made.memory.waits[what] == 2 * waited > 2 * FIRST_AGAIN


def lacking(made: Office) -> Callable[[], Sequence[Mapping[str, str]]]:
    ports = [{"id": f"p{n:03}"} for n in range(1000)]
    return lambda: [port for port in ports if port["id"] not in made.bus.changed]


def test_a_neutron_that_fails_at_every_port_is_asked_once_a_second_and_the_log_has_one_line(
    made: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="isthmus")
    passes_time(made)
    made.bus.faults["ready"], made.bus.fails_after = Retry("Neutron failed at 'ready': DBError"), 0.05
    wanted = lacking(made)
    rounds(made, wanted, until=600.0)
    asked_before = made.bus.calls["ready"]
    rounds(made, wanted, until=1200.0)
    assert 300 < made.bus.calls["ready"] - asked_before <= 600
    assert len(caplog.messages) == 1
    del made.bus.faults["ready"]
    rounds(made, wanted, until=1800.0)
    assert not wanted()
    assert made.now < 1200.0 + LONGEST_AGAIN + 60


def test_ports_that_hang_for_ever_take_a_fifth_of_the_time_and_a_new_one_waits_for_one_of_them_at_most(
    made: Office,
) -> None:
    passes_time(made)
    ports = [{"id": f"p{n:03}"} for n in range(30)]
    made.bus.slow = {port["id"] for port in ports[:20]}
    rounds(made, lambda: [port for port in ports if port["id"] not in made.bus.changed], until=3600.0)
    assert {port["id"] for port in ports[20:]} <= made.bus.changed
    hung = made.bus.calls["ready"]
    rounds(made, lambda: ports[:20], until=7200.0)
    assert 0.1 < (made.bus.calls["ready"] - hung) * ANSWERED_WITHIN / 3600 <= 0.21
    began = made.now
    rounds(made, lambda: [*ports[:20], *({"id": "new"} for _ in "1" if "new" not in made.bus.changed)], until=began + 1)
    assert "new" in made.bus.changed


def test_what_failed_among_others_is_tried_alone_while_what_failed_alone_rests(made: Office) -> None:
    passes_time(made)
    made.bus.slow = {"p01", "p02"}
    asked = due(made, "ready")[:3]
    made.delivery.deliver(Errands(ready=(asked[1],)))
    made.delivery.deliver(Errands(ready=(asked[0], asked[2])))
    made.now += FIRST_AGAIN
    made.delivery.deliver(Errands(ready=(asked[1], asked[0])))
    assert "p00" in made.bus.changed
    assert made.bus.calls["ready"] == 3
    assert made.memory.again_at[key_of("ready", asked[1])] == ANSWERED_WITHIN / SHARE


def test_what_was_had_at_last_is_asked_for_among_others_again(made: Office) -> None:
    ten = Errands(ready=due(made, "ready")[:10])
    made.bus.faults["ready"] = Retry("no")
    made.delivery.deliver(ten)
    made.delivery.deliver(ten)
    del made.bus.faults["ready"]
    made.now += FIRST_AGAIN
    made.delivery.deliver(ten)
    asked = made.bus.calls["ready"]
    made.delivery.deliver(ten)
    assert made.bus.calls["ready"] == asked + 1


def test_what_was_left_over_and_had_then_is_no_reason_to_look(made: Office) -> None:
    made.bus.faults["ready"] = Retry("no")
    made.delivery.deliver(Errands(ready=due(made, "ready")[:1]))
    del made.bus.faults["ready"]
    made.now += FIRST_AGAIN
    made.delivery.deliver(Errands(ready=due(made, "ready")[:1]))
    assert made.memory.next_at(100 * FIRST_AGAIN) is None


def test_what_failed_waits_for_its_moment_and_no_longer_whatever_others_took_till_then(made: Office) -> None:
    made.bus.faults["ready"] = Retry("no")
    made.delivery.deliver(Errands(ready=due(made, "ready")[:1]))
    assert made.memory.next_at(made.now) == made.now + FIRST_AGAIN
    assert made.memory.next_at(made.now + 20 * FIRST_AGAIN) == made.now + 20 * FIRST_AGAIN


def test_what_is_under_way_is_no_reason_to_look(made: Office) -> None:
    made.memory.due("rebind p", 0.0)
    made.memory.ended("rebind", ["p"], 0.0)
    made.memory.begun("rebind")
    assert made.memory.next_at(20 * FIRST_AGAIN) is None


def test_a_network_that_got_its_vlan_is_news_and_one_that_got_none_is_not(made: Office) -> None:
    assert made.delivery.deliver(Errands(allocate=((RED, "rack1"),)))
    made.bus.call = lambda *what, **how: "none is left"  # type: ignore[method-assign]
    assert not made.delivery.deliver(Errands(allocate=((RED, "rack1"),)))


def test_the_log_names_only_the_ports_that_neutron_answered_for(made: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="isthmus")
    made.bus.refuses = {"p00"}
    made.delivery.deliver(Errands(ready=due(made, "ready")))
    assert "p00" not in caplog.text
    assert "p10, p11" in caplog.text


def test_what_was_answered_is_no_reason_to_look_before_there_is_news(made: Office) -> None:
    found = Errands(ready=due(made, "ready"))
    made.delivery.deliver(found)
    assert made.memory.next_at(100 * FIRST_AGAIN) is None


def test_a_portion_that_neutron_refuses_keeps_none_behind_it_waiting(made: Office) -> None:
    made.bus.refuses = {"p00"}
    made.delivery.deliver(Errands(ready=due(made, "ready")))
    assert made.bus.changed == {port["id"] for port in PORTS[PORTS_AT_ONCE:]}


def test_networks_that_get_no_vlan_hold_up_the_other_kinds_by_one_answer(made: Office) -> None:
    passes_time(made)
    made.bus.hangs = {"allocate"}
    lacking = tuple((NetworkId(f"n{n}"), "rack1") for n in range(20))
    made.delivery.deliver(Errands(allocate=lacking, free=(("rack1", 102),)))
    assert (made.now, made.bus.calls["allocate"], made.bus.calls["free"]) == (ANSWERED_WITHIN, 1, 1)


def test_the_desks_own_clock_says_from_when_on_what_was_not_answered_waits(made: Office) -> None:
    made.bus.faults["ready"] = Retry("no answer")
    made.desk._delivery.deliver(Errands(ready=({"id": "p"},)))
    assert made.desk._memory.again_at[key_of("ready", {"id": "p"})] > time.monotonic() + FIRST_AGAIN / 2


def test_what_was_not_answered_waits_from_then_on_and_not_from_when_the_round_began(made: Office) -> None:
    passes_time(made)
    made.bus.slow = {port["id"] for port in PORTS}
    first = due(made, "ready")[:PORTS_AT_ONCE]
    made.delivery.deliver(Errands(ready=first))
    assert not any(made.memory.due(key_of("ready", port), ANSWERED_WITHIN + FIRST_AGAIN - 1) for port in first)
    assert all(made.memory.due(key_of("ready", port), ANSWERED_WITHIN + FIRST_AGAIN) for port in first)


def test_while_the_bus_is_away_binding_again_does_not_count_as_tried(made: Office) -> None:
    made.bus.faults["rebind"] = Unreachable("away")
    for now in (0.0, 100.0, 1000.0):
        made.memory.due("rebind p1", now)
    made.delivery.deliver(Errands(rebind=tuple(f"p{n}" for n in range(20))))
    assert made.rebound.wait(PATIENCE)
    assert made.bus.calls["rebind"] == 1, "there is no use in asking for the others"
    made.delivery.settle(2000.0)
    assert not made.memory.due("rebind p1", 2001.0), "the bus may be away for long"
    assert made.memory.due("rebind p1", 2005.0)


def test_binding_again_that_cannot_even_begin_is_tried_later(made: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        made.memory.due("rebind p", 0.0)
        made.delivery.deliver(Errands(rebind=("p",)))
    made.delivery.settle(0.0)
    assert made.memory.due("rebind p", 10.0)


def test_a_port_that_fails_while_others_are_bound_again_is_tried_when_that_is_over(made: Office) -> None:
    made.bus.going.clear()
    made.memory.due("rebind first", 0.0)
    made.delivery.deliver(Errands(rebind=("first",)))
    until(lambda: made.bus.calls["rebind"] == 1)
    assert not made.memory.due("rebind second", 0.0)
    made.bus.going.set()
    assert made.rebound.wait(PATIENCE)
    made.delivery.settle(1.0)
    assert made.memory.due("rebind second", 1.0)
    assert not made.memory.due("rebind first", 5.0), "its wait began when its try ended"


# --- port groups --------------------------------------------------------------------------------------------------


@pytest.fixture
def standing(made: Office) -> Office:
    """RED's port group stands on rack1's switch, with VID 101."""
    made.looks(made.source.reads())
    return made


def test_a_port_group_that_stands_is_given_at_once(standing: Office) -> None:
    assert standing.desk.port_group("rack1", "compute-1", RED, 101, 0.0) == {"dvs_id": str(DVS), "pg_id": "pg-1"}
    assert standing.woken == []


@pytest.mark.parametrize(
    ("domain", "host", "vid"), [("rack1", "compute-1", 102), ("rack2", "compute-1", 101), ("rack1", "other", 101)]
)
def test_a_port_group_of_another_vlan_domain_or_host_is_not_it(
    standing: Office, domain: str, host: str, vid: int
) -> None:
    assert "pg_id" not in standing.desk.port_group(domain, host, RED, vid, 0.0)
    assert standing.source.reasons[RED, host]


def test_a_port_group_that_is_about_to_go_is_not_given_till_it_is_to_stay(standing: Office) -> None:
    standing.source.reads(ONE)
    answers: list[dict[str, str]] = []
    asking = threading.Thread(
        target=lambda: answers.append(standing.desk.port_group("rack1", "compute-1", RED, 101, PATIENCE))
    )
    asking.start()
    until(lambda: standing.woken == [frozenset({HostId("esx1")})])
    assert answers == []
    standing.looks(standing.source.reads(TAKEN_UP))
    asking.join(PATIENCE)
    assert answers == [{"dvs_id": str(DVS), "pg_id": "pg-1"}]


def test_a_port_group_that_is_being_removed_is_not_given_out_of_an_earlier_look(standing: Office) -> None:
    """Its shard is busy removing it; meanwhile another shard reads that the VLAN was taken up again."""
    standing.source.reads(ONE)
    assert not standing.gives()
    leaving = standing.source.reads(ONE)
    assert not standing.gives()
    taken_up = standing.source.reads(TAKEN_UP)
    assert not standing.gives(), "seen before it had no place"
    standing.looks(leaving)
    assert not standing.gives(), "that look makes it go"
    standing.looks(taken_up)
    assert standing.gives()


def test_a_port_group_that_was_asked_for_before_its_vlan_lost_its_place_stays(standing: Office) -> None:
    standing.looks(standing.source.reads(ONE))
    assert not standing.gives()
    standing.source.reads(TAKEN_UP)
    assert standing.gives(), "it never lost its place: nothing was taken away"


def test_a_vlan_that_came_back_after_it_was_gone_counts_from_then(standing: Office) -> None:
    standing.source.facts = replace(Site().facts(), segments=())
    standing.source.tenure.read(standing.source.facts)
    again = standing.source.reads()
    assert not standing.gives()
    standing.looks(again)
    assert standing.gives()


def test_once_a_domain_is_handed_back_its_port_groups_are_given_to_nobody_until_it_is_looked_at_again(
    standing: Office,
) -> None:
    answers: list[dict[str, str]] = []
    asking = threading.Thread(
        target=lambda: answers.append(standing.desk.port_group("rack1", "compute-1", RED, 102, 6 * PATIENCE))
    )
    asking.start()
    until(lambda: bool(standing.woken))
    standing.desk.hands_back("rack1", {"compute-1": RACK1})
    asking.join(PATIENCE)
    assert [list(answer) for answer in answers] == [["reason"]], "who waits need not wait any longer"
    assert "handed back" in standing.desk.port_group("rack1", "compute-1", RED, 101, PATIENCE)["reason"]
    assert "handed back" in standing.source.reasons[RED, "compute-1"]
    standing.desk.hands_back("rack2", {})
    standing.looks(standing.source.reads())
    assert standing.gives()


def test_a_domain_that_was_never_looked_at_is_handed_back_all_the_same(made: Office) -> None:
    made.desk.hands_back("rack1", {"compute-1": RACK1})
    assert "handed back" in made.desk.port_group("rack1", "compute-1", RED, 101, PATIENCE)["reason"]


def test_of_a_domain_that_cannot_be_looked_at_nothing_is_promised_and_the_reason_is_said(standing: Office) -> None:
    """Its switch is gone, say: the port group that was seen last may be gone with it."""
    assert standing.gives()
    standing.desk.cannot_look("rack1", "there is no distributed switch 'rack1'")
    assert not standing.gives()
    assert standing.source.reasons[RED, "compute-1"] == (
        "mapping domain 'rack1' cannot be looked at: there is no distributed switch 'rack1'"
    )
    standing.looks(standing.source.reads())
    assert standing.gives()


@pytest.mark.parametrize(
    "leave",
    [lambda desk: desk.hands_back("rack1", {"compute-1": RACK1}), lambda desk: desk.cannot_look("rack1", "no switch")],
    ids=["handed back", "cannot be looked at"],
)
def test_of_a_domain_that_is_looked_at_again_and_not_seen_nothing_from_before_is_promised(
    standing: Office, leave: Callable[[Desk], None]
) -> None:
    """vCenter is away: what stood before may be gone since."""
    assert standing.gives()
    leave(standing.desk)
    standing.desk.looks_again("rack1")
    assert not standing.gives()
    assert "could not look at mapping domain 'rack1' yet" in standing.source.reasons[RED, "compute-1"]
    standing.looks(standing.source.reads())
    assert standing.gives()


def test_of_a_domain_that_nobody_keeps_any_more_nothing_is_promised_and_its_hosts_are_not_reported(
    standing: Office,
) -> None:
    """Every round ends in a bug, say: Neutron would bind ports there for which nobody makes anything."""
    standing.desk.answers("esx1.lab", "192.0.2.11", lambda: not standing.unkept)
    assert {present.host for present in standing.desk._presences()} == {"compute-1", "esx1.lab"}
    standing.unkept = "3 rounds in a row ended in a bug"
    assert not standing.gives()
    assert standing.source.reasons[RED, "compute-1"] == (
        "mapping domain 'rack1' cannot be looked at: 3 rounds in a row ended in a bug"
    )
    assert standing.desk._presences() == []
    assert set(standing.desk.unlooked) == {"rack1"}
    standing.unkept = ""
    assert standing.gives()
    assert len(standing.desk._presences()) == 2


def test_a_look_that_sees_nothing_takes_back_no_promise_of_a_domain_that_is_looked_at(standing: Office) -> None:
    standing.desk.looks_again("rack1")
    assert standing.gives()


# --- threads ------------------------------------------------------------------------------------------------------

TO_KVM = Binding("kvm", active=True, failed=False, segments=("vxlan",), ours=False)
BEHIND_LEAF1 = Member(RED, Mac("00:50:56:00:00:0a"), "192.0.2.1", ("10.0.0.5",))


@pytest.fixture
def busy(standing: Office) -> Iterator[Office]:
    """A port of compute-1 waits to be ACTIVE, and a KVM host has to hear who is behind leaf1."""
    site = Site()
    site.ports = (port(BOUND), replace(port(TO_KVM, status="ACTIVE"), id="q"))
    site.segments = (replace(UNUSED, used=True),)
    standing.source.facts = replace(site.facts(), tunnelling=(Tunnelling("kvm", "192.0.2.9", "1"),))
    yield standing
    standing.desk.close()
    standing.bus.going.set()


def test_a_bug_is_told_now_and_then_and_not_as_often_as_there_is_something_to_do(
    busy: Office, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    busy.desk._run_errands = broken  # type: ignore[method-assign]
    busy.desk._memory.again_at["ready p"] = 0.0
    busy.desk._memory.left_over.add("ready p")
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: "broken: a bug" in caplog.text)
    time.sleep(8 * SOON)
    assert caplog.text.count("broken: a bug") == 1


def hangs_at(office: Office, errand: str) -> None:
    office.bus.hanging.add(errand)
    office.bus.going.clear()
    office.desk.open(frozenset(), office.woken.append)
    until(lambda: office.bus.calls[errand] > 0)


def look(office: Office, *members: Member, host: str = "compute-1") -> None:
    office.looks(1, *members, host=host)


@pytest.mark.parametrize("fault", [Retry("no"), Unreachable("away"), ValueError("a bug")])
def test_while_neutron_fails_at_errands_kvm_hosts_hear_who_came_and_who_went(busy: Office, fault: Exception) -> None:
    busy.bus.faults["ready"] = fault
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: busy.bus.calls["ready"] > 0)
    look(busy, BEHIND_LEAF1)
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    look(busy)
    until(lambda: busy.bus.casts["remove_fdb_entries"] > 0)


@pytest.mark.parametrize(
    "leave",
    [
        lambda desk: desk.hands_back("rack1", {"compute-1": RACK1}),
        lambda desk: desk.cannot_look("rack1", "no switch"),
    ],
    ids=["handed back", "cannot be looked at"],
)
def test_of_a_domain_that_is_not_looked_at_kvm_hosts_keep_what_they_know_and_neutron_is_asked_nothing(
    busy: Office, leave: Callable[[Desk], None]
) -> None:
    look(busy, BEHIND_LEAF1)
    leave(busy.desk)
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    time.sleep(3 * SOON)
    assert busy.bus.casts["remove_fdb_entries"] == 0
    assert not set(busy.bus.calls) & {*KINDS, "rebind"}
    look(busy, BEHIND_LEAF1)
    until(lambda: busy.bus.calls["ready"] > 0)


def test_of_a_domain_that_can_be_looked_at_again_and_is_not_seen_yet_kvm_hosts_keep_what_they_know(
    busy: Office,
) -> None:
    look(busy, BEHIND_LEAF1)
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    busy.desk.cannot_look("rack1", "no switch")
    busy.desk.looks_again("rack1")
    busy.desk._look_again()
    time.sleep(3 * SOON)
    assert busy.bus.casts["remove_fdb_entries"] == 0
    look(busy)
    until(lambda: busy.bus.casts["remove_fdb_entries"] > 0)


@pytest.mark.parametrize("by_ports", [False, True], ids=["all", "its ports"])
def test_a_vm_that_a_look_finds_behind_the_vtep_of_others_is_not_taken_back(busy: Office, by_ports: bool) -> None:
    look(busy, BEHIND_LEAF1)
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    now = replace(busy.desk.seen["rack1"], members=frozenset(), elsewhere=frozenset({(RED, BEHIND_LEAF1.mac)}))
    if by_ports:
        busy.desk.saw_ports("rack1", now)
    else:
        busy.desk.saw("rack1", now, {"compute-1": RACK1})
    until(lambda: busy.bus.casts["remove_fdb_entries"] > 0)
    assert "00:00:00:00:00:00" in str(busy.bus.told), "its leaf, as nobody is behind it any more"
    assert not any(BEHIND_LEAF1.mac in str(what) for method, what in busy.bus.told if method == "remove_fdb_entries")


def test_of_two_deployments_with_one_leaf_both_must_find_a_vm_elsewhere(busy: Office) -> None:
    """The look of one may be older than that the VM was there."""
    busy.desk._vteps = {domain: frozenset({BEHIND_LEAF1.vtep}) for domain in ("rack1", "rack2")}
    look(busy, BEHIND_LEAF1)
    gone = replace(busy.desk.seen["rack1"], members=frozenset())
    busy.desk.saw("rack2", gone, {})
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    busy.desk.saw("rack2", replace(gone, elsewhere=frozenset({(RED, BEHIND_LEAF1.mac)})), {})
    busy.desk.saw("rack1", gone, {"compute-1": RACK1})
    until(lambda: BEHIND_LEAF1.mac in str([what for method, what in busy.bus.told if method == "remove_fdb_entries"]))


def test_while_neutron_hangs_at_an_errand_hosts_are_reported_and_kvm_hosts_told(busy: Office) -> None:
    """A host that is not reported counts as dead, and no port would be bound there."""
    hangs_at(busy, "ready")
    before = busy.bus.calls["report_state"]
    look(busy, BEHIND_LEAF1, host="compute-2")
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    until(lambda: busy.bus.calls["report_state"] > before)


def test_while_neutron_hangs_at_a_report_ports_become_active_and_kvm_hosts_are_told(busy: Office) -> None:
    hangs_at(busy, "report_state")
    look(busy, BEHIND_LEAF1)
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    until(lambda: busy.bus.calls["ready"] > 0)


def test_what_is_on_its_way_out_is_read_a_second_time_and_then_neutron_is_left_alone(standing: Office) -> None:
    """One wake for a retirement, however often it is looked at; else reading would never end."""
    standing.desk.open(frozenset(), standing.woken.append)
    standing.looks(standing.source.reads(ONE))
    until(lambda: standing.woken == [None])
    for _ in range(3):
        standing.looks(standing.source.reads(ONE))
        time.sleep(3 * SOON)
    assert standing.woken == [None]
    standing.looks(standing.source.reads(f"{RETIRING} two"))
    until(lambda: standing.woken == [None, None])
    standing.desk.close()


def test_a_port_that_was_in_place_when_isthmus_died_becomes_active_though_nothing_happens_since(
    busy: Office,
) -> None:
    """Wired before, but Neutron was not told: who starts anew knows nothing of it, and sees it."""
    busy.bus.faults["ready"] = Unreachable("away")
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: busy.bus.calls["ready"] > 0)
    busy.desk.close()
    anew = Office()
    anew.source.facts = busy.source.facts
    anew.desk.open(frozenset(), anew.woken.append)
    time.sleep(3 * SOON)
    assert anew.bus.calls["ready"] == 0, "nobody has looked yet"
    anew.looks(1)
    until(lambda: anew.bus.calls["ready"] == 1)
    anew.desk.close()


def test_from_when_neutron_is_asked_for_something_until_it_answered_no_answer_of_before_holds(busy: Office) -> None:
    before = busy.source.changes
    busy.bus.hanging.add("ready")
    busy.bus.going.clear()
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: busy.bus.calls["ready"] > 0)
    asked = busy.source.changes
    assert asked > before, "it may have done it, and not answered yet"
    busy.bus.going.set()
    time.sleep(1.0)  # long before it is asked again
    assert busy.source.changes > asked
    assert busy.bus.calls["ready"] == 1
    busy.desk.close()


def test_an_answer_holds_though_neutron_asks_for_a_port_group_that_stands_and_not_if_for_one_that_does_not(
    standing: Office,
) -> None:
    assert standing.gives()
    assert standing.source.changes == 0
    assert "reason" in standing.desk.port_group("rack1", "compute-1", RED, 102, 0.0)
    refused = standing.source.changes
    assert refused == 2, "when it is asked, and when it is refused: it may wait for long in between"
    assert standing.gives()
    assert standing.source.changes > refused, "why there was none is no longer so"


def test_before_the_first_look_no_cluster_is_reported_and_who_asks_is_answered_by_it(made: Office) -> None:
    """What is reported alive would be bound to, whatever is left there of an earlier life."""
    made.source.reads()
    assert (
        "could not look at mapping domain 'rack1' yet"
        in made.desk.port_group("rack1", "compute-1", RED, 101, 0.0)["reason"]
    )
    made.desk.open(frozenset({"rack1"}), made.woken.append)
    answers: list[dict[str, str]] = []
    asking = threading.Thread(
        target=lambda: answers.append(made.desk.port_group("rack1", "compute-1", RED, 101, PATIENCE))
    )
    asking.start()
    time.sleep(1.2)  # longer than it takes to report a host
    assert made.bus.calls["report_state"] == 0
    made.looks(1)
    asking.join(PATIENCE)
    assert answers == [{"dvs_id": str(DVS), "pg_id": "pg-1"}]
    until(lambda: made.bus.calls["report_state"] > 0)
    made.desk.close()


def test_a_port_is_bound_again_when_others_have_been_without_another_look(
    standing: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "FIRST_AGAIN", 1000.0)
    site = Site()
    site.ports, site.segments = (port(FAILED), replace(port(FAILED), id="q")), ()
    standing.source.facts = site.facts()
    standing.bus.going.clear()
    standing.desk.open(frozenset(), standing.woken.append)
    until(lambda: standing.bus.calls["rebind"] == 1)
    site.ports = (*site.ports, replace(port(FAILED), id="late"))
    standing.source.facts = site.facts()
    standing.bus.going.set()
    until(lambda: standing.bus.calls["rebind"] == 2)
    standing.desk.close()


def test_a_look_below_leaves_is_as_old_as_it_says_whatever_was_seen_before(made: Office) -> None:
    seen = Site().seen
    assert seen is not None
    for at in (7.0, 5.0):
        made.desk.saw("rack1", replace(seen, at=at), {"compute-1": RACK1})
        assert made.desk._board.seen["rack1"].at == at


def test_of_a_switch_whose_ports_wear_vids_the_newest_look_at_them_counts(made: Office) -> None:
    seen = Site().seen
    assert seen is not None
    early, late = frozenset({PortId("p")}), frozenset({PortId("q")})
    made.desk.saw_ports("cloud", replace(seen, at=1.0, wired=early))
    assert "cloud" not in made.desk._board.seen, "what port groups there are nobody has said"
    made.desk.saw("cloud", replace(seen, at=2.0, wired=early), {})
    made.desk.saw_ports("cloud", replace(seen, at=3.0, wired=late, groups={}))
    made.desk.saw("cloud", replace(seen, at=2.5, wired=early), {})
    made.desk.saw_ports("cloud", replace(seen, at=2.7, wired=early))
    found = made.desk._board.seen["cloud"]
    assert (found.wired, found.at, found.groups) == (late, 3.0, seen.groups)


def test_a_look_without_an_old_answer_of_a_slow_leaf_is_heeded_like_any(standing: Office) -> None:
    """It frees nothing, but ports in other racks are bound by it."""
    standing.looks(standing.source.reads(TAKEN_UP))
    assert standing.gives()
    seen = Site().seen
    assert seen is not None
    standing.desk.saw("rack1", replace(seen, groups={}, whole=False, at=-math.inf), {"compute-1": RACK1})
    assert not standing.gives()


def test_neutron_hears_of_an_appliances_tunnel_whenever_it_begins_to_answer(made: Office) -> None:
    """Agents that take part in no l2population know VTEPs from there."""
    due: dict[Any, float] = {}
    for times in (1, 2):
        made.desk.answers("esx1", "192.0.2.1")
        for _ in range(2):
            made.desk._report_those(due)
            assert made.bus.calls["tunnel_sync"] == times
        made.desk.is_silent("esx1")
        made.desk._report_those(due)
    assert made.bus.calls["report_state"] == 2
