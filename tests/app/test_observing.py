"""What is looked at: what was told to have changed, and everything when that is not enough."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import pytest

from isthmus.app.backoff import Backoff
from isthmus.app.observing import Sight
from isthmus.app.weighing import opens_on_trust
from isthmus.core.design import OVSVAPP, VDS_STATIC, Design
from isthmus.model.change import (
    Action,
    AlterPortGroup,
    Change,
    CreatePortGroup,
    Gate,
    Plan,
    PortGroupSpec,
    Reconciled,
    SetDvPort,
    Unmet,
)
from isthmus.model.faults import Retry
from isthmus.model.names import DvsId, NetworkId
from isthmus.model.observed import (
    Access,
    DvPortState,
    NoVlan,
    Observed,
    OwnerMark,
    SwitchMirror,
    TargetId,
    Unknown,
)
from isthmus.model.tags import Vid, Vni
from tests.app.far_sides import Small

DVS = DvsId("dvs")
ID = TargetId("dvs", "dvs")


@dataclass
class Switch:
    """A switch that tells what changed, and notes how it was looked at."""

    id: TargetId = ID
    looks: list[str] = field(default_factory=list)
    broken: bool = False
    tells: bool = True

    def observe(self) -> SwitchMirror:
        return self._look("everything")

    def refresh(self, *, every_port: bool = False) -> SwitchMirror:
        return self._look("all ports" if every_port else "what was told")

    def apply(self, changes: object) -> list[object]:
        return []

    def _look(self, at: str) -> SwitchMirror:
        self.looks.append(at)
        if self.broken:
            raise Retry("down")
        return SwitchMirror(DVS, {}, {})


def test_everything_is_looked_at_first_on_the_timer_on_demand_and_after_a_failed_read() -> None:
    now = [0.0]
    switch, sight = Switch(), Sight(lambda: now[0], Backoff(1, 60))

    def look(*, everything: bool = False, ports: bool = False) -> str:
        now[0] += 100
        since = sight.tick()
        wanted = {"whole_since": since if everything else -1, "ports_since": since if ports else -1}
        sight.observe([switch], since, **wanted)  # type: ignore[list-item]
        return switch.looks[-1]

    assert [look(ports=True), look(), look()] == ["everything", "what was told", "what was told"]
    sight.look_at_everything()
    assert [look(ports=True), look()] == ["everything", "what was told"]
    assert [look(everything=True), look()] == ["everything", "what was told"]
    assert [look(ports=True), look()] == ["all ports", "what was told"]
    assert [look(everything=True, ports=True), look()] == ["everything", "what was told"]
    switch.tells = False
    assert [look(), look(ports=True)] == ["everything"] * 2
    switch.tells = True
    assert [look(everything=True), look()] == ["everything", "what was told"]
    switch.broken = True
    assert look() == "what was told"
    switch.broken = False
    assert [look(ports=True), look()] == ["everything", "what was told"]


@pytest.mark.parametrize(("wanted", "how"), [("whole_since", "everything"), ("ports_since", "all ports")])
def test_one_such_look_serves_all_who_claimed_before_it_and_what_is_written_since_is_read_beside(
    wanted: str, how: str
) -> None:
    switch, sight = Switch(), Sight(lambda: 0.0, Backoff(1, 60))
    since = sight.tick()
    sight.observe([switch], since)  # type: ignore[list-item]
    claimed = [sight.tick(), sight.tick()]
    for last in claimed:
        sight.writing(ID, [])
        sight.written(ID)
        sight.observe([switch], since, **{wanted: last})  # type: ignore[list-item, arg-type]
    assert switch.looks[1:] == [how, "what was told"]
    later = sight.tick()
    sight.observe([switch], since, **{wanted: later})  # type: ignore[list-item, arg-type]
    assert switch.looks[3:] == [how]


def test_a_look_at_everything_is_one_at_all_ports_and_not_the_other_way_round() -> None:
    switch, sight = Switch(), Sight(lambda: 0.0, Backoff(1, 60))
    sight.observe([switch], sight.tick())  # type: ignore[list-item]
    since = sight.tick()
    sight.observe([switch], since)  # type: ignore[list-item]
    sight.observe([switch], since, ports_since=since)  # type: ignore[list-item]
    sight.observe([switch], since, whole_since=since)  # type: ignore[list-item]
    assert switch.looks[1:] == ["what was told", "all ports", "everything"]
    since = sight.tick()
    sight.observe([switch], since, whole_since=since)  # type: ignore[list-item]
    sight.observe([switch], since, ports_since=since)  # type: ignore[list-item]
    assert switch.looks[4:] == ["everything"]


@pytest.mark.parametrize(("design", "looks"), [(OVSVAPP, "all ports"), (VDS_STATIC, "everything")])
def test_who_gives_a_tag_looks_first_at_all_that_wears_tags_in_its_design(design: Design, looks: str) -> None:
    small, switch = Small(), Switch()
    plan = [Plan(())]
    think = lambda *_: Reconciled(plan[0], ())  # noqa: E731
    loop = small.loop(small.keeper("one", switch, think=think, design=design, observe_only=True))  # type: ignore[arg-type]
    loop.step()
    plan[0] = Plan((Change(0, ID, CreatePortGroup(DVS, spec(5)), ""),))
    loop.wake()
    loop.step()
    assert switch.looks == ["everything", "what was told", looks]


def test_while_a_tag_is_contested_all_that_may_wear_it_is_looked_at_again_and_again_until_it_is_not() -> None:
    """Its rival is another process's, perhaps, and vCenter may not tell when it leaves."""
    small, switch = Small(), Switch()
    unmet = [(Unmet("port 1", "its VID is worn by another", contested=True),)]
    think = lambda *_: Reconciled(Plan(()), unmet[0])  # noqa: E731
    loop = small.loop(small.keeper("one", switch, think=think))  # type: ignore[arg-type]
    began = small.clock.now
    loop.step()
    for wait in (1, 2, 4, 8):
        small.clock.now = began + wait / 2
        loop.wake()
        assert loop.step() == began + wait, "whatever else happens neither hastens nor delays it"
        small.clock.now = began = began + wait
        loop.step()
    assert switch.looks == ["everything"] + ["what was told", "all ports"] * 4
    small.clock.now += 16
    unmet[0] = ()
    assert loop.step() > small.clock.now + 16
    loop.wake()
    loop.step()
    assert switch.looks[9:] == ["all ports", "what was told"]


def test_a_round_that_began_before_it_was_time_to_look_for_rivals_does_not_count_as_such_a_look() -> None:
    small, switch = Small(), Switch()

    def think(*_: object) -> Reconciled:
        small.clock.now += 0.75
        return Reconciled(Plan(()), (Unmet("port 1", "its VID is worn by another", contested=True),))

    loop = small.loop(small.keeper("one", switch, think=think))  # type: ignore[arg-type]
    for _ in range(8):  # one right after the other; rivals are looked for 1 s and then 2 s after the round before ended
        loop.wake()
        loop.step()
    told = "what was told"
    assert switch.looks == ["everything", told, told, "all ports", told, told, told, "all ports"]


def test_a_shard_that_can_no_longer_be_looked_at_waits_longer_each_time_though_a_tag_was_contested() -> None:
    small, switch = Small(), Switch()
    faults: list[Exception] = []

    def think(*_: object) -> Reconciled:
        if faults:
            raise faults[0]
        return Reconciled(Plan(()), (Unmet("port 1", "its VID is worn by another", contested=True),))

    loop = small.loop(small.keeper("one", switch, think=think))  # type: ignore[arg-type]
    loop.step()
    faults.append(Retry("down"))
    waits = []
    for _ in range(5):
        small.clock.now += 1 if not waits else waits[-1]
        loop.wake()
        waits.append(loop.step() - small.clock.now)
    assert waits == [1, 2, 4, 8, 16]
    faults.clear()
    small.clock.now += 16
    loop.step()
    assert switch.looks[-1] == "all ports", "and looks for the rivals as soon as it can"


@pytest.mark.parametrize("everything", [False, True])
def test_what_was_seen_before_a_failed_read_is_only_remembered_until_the_next_good_one(everything: bool) -> None:
    now = [0.0]
    switch, sight = Switch(), Sight(lambda: now[0], Backoff(10, 60))
    early = sight.tick()

    def look(since: int) -> object:
        whole_since = since if everything else -1
        return sight.observe([switch], since, whole_since=whole_since).targets[ID]  # type: ignore[list-item]

    seen = look(early)
    switch.broken = True
    assert look(sight.tick()) == Unknown("down", seen)
    switch.broken = False
    asked = len(switch.looks)
    assert [look(sight.tick()), look(early)] == [Unknown("down", seen)] * 2, "it is not asked yet, for whatever reason"
    assert len(switch.looks) == asked
    now[0] += 20
    assert look(early) == seen, "who was woken before the failure needs a good answer, too"
    assert len(switch.looks) == asked + 1


def spec(vid: int | None) -> PortGroupSpec:
    return PortGroupSpec("red", OwnerMark("isthmus", NetworkId("red"), Vni(5001)), Vid(vid) if vid else None)


def port(vid: int | None, *, blocked: bool) -> DvPortState:
    return DvPortState("1", "g", "0", Access(Vid(vid)) if vid else NoVlan(), blocked, vlan_own=vid is not None)


def write(gate: Gate, vid: int | None) -> SetDvPort:
    return SetDvPort(DVS, "1", None, "0", gate, Vid(vid) if vid else None, None)


@pytest.mark.parametrize(
    ("action", "held", "so"),
    [
        (CreatePortGroup(DVS, spec(100)), port(None, blocked=True), True),
        (AlterPortGroup(DVS, "g", "0", spec(100)), port(None, blocked=True), True),
        (CreatePortGroup(DVS, spec(None)), port(None, blocked=True), False),
        (write(Gate.OPEN, 100), port(100, blocked=True), True),
        (write(Gate.OPEN, 100), port(101, blocked=False), True),
        (write(Gate.OPEN, 100), port(None, blocked=True), False),  # beside one that is open with it
        (write(Gate.CLAIM, 100), port(None, blocked=True), False),
        (write(Gate.BARE, None), port(100, blocked=False), False),
    ],
)
def test_what_opens_with_a_tag_that_may_be_anothers_by_now_needs_a_look_at_everything(
    action: Action, held: DvPortState, so: bool
) -> None:
    observed = Observed({ID: SwitchMirror(DVS, {}, {"1": held})})
    assert opens_on_trust(Change(0, ID, action, "test"), observed) is so


def test_a_look_is_as_old_as_the_oldest_reading_in_it_and_not_as_the_thought() -> None:
    """A VLAN would be given back by what a slow switch held before it was retired."""
    now = [0.0]

    class Slow(Switch):
        def _look(self, at: str) -> SwitchMirror:
            now[0] += 30
            return super()._look(at)

    switch, sight = Slow(), Sight(lambda: now[0], Backoff(1, 60))
    woken = sight.tick()
    assert sight.observe([switch], woken).since == 0.0  # type: ignore[list-item]
    assert now == [30.0]
    assert sight.observe([switch], woken).since == 0.0, "another shard that was woken by the same"  # type: ignore[list-item]
    assert now == [30.0]
    assert sight.observe([switch], sight.tick()).since == 30.0  # type: ignore[list-item]
    switch.broken = True
    assert sight.observe([switch], sight.tick()).since == inf  # type: ignore[list-item]
