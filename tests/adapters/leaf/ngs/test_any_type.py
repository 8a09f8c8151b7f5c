"""What holds on a switch of any device type by networking-generic-switch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from isthmus.adapters.leaf.ngs import NgsTarget
from isthmus.model.change import Change, Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.tags import VidSet
from tests.adapters.leaf.ngs.junos_switch import junos
from tests.adapters.leaf.ngs.switch import TestSwitch, eos, nxos, sonic
from tests.adapters.leaf.ngs.telling import BLUE, RED, THEIRS, apply, binding, done, held

TYPES = {"sonic": sonic, "eos": eos, "nxos": nxos, "junos": junos}
SAVED = ("sonic", "eos", "nxos")
"""Those that are told to save."""


def ours(switch: TestSwitch) -> dict[str, str]:
    return dict.fromkeys(switch.ports, "tagged")


def theirs(switch: TestSwitch, mode: str = "tagged") -> dict[str, str]:
    return {switch.theirs: mode}


NO_PORT = "Ethernet99"


@pytest.fixture(params=TYPES)
def switch(request: pytest.FixtureRequest) -> Iterator[TestSwitch]:
    with TYPES[request.param]() as made:
        yield made


@pytest.fixture
def target(switch: TestSwitch) -> NgsTarget:
    return switch.target()


def foreign(switch: TestSwitch, target: NgsTarget) -> VidSet:
    """But for those that such a switch is set up with."""
    return target.observe().foreign_vids - switch.set_up


def test_a_binding_is_a_vlan_on_every_port_of_the_hosts_and_forgotten_nothing_is_left(
    switch: TestSwitch, target: NgsTarget
) -> None:
    done(target, Learn((binding(101), binding(102, BLUE))))
    assert switch.state == {101: (RED, ours(switch)), 102: (BLUE, ours(switch))}
    assert held(target) == {binding(101), binding(102, BLUE)}
    assert switch.cli.saved
    done(target, Forget((binding(101), binding(102, BLUE))))
    assert switch.state == {}
    assert switch.cli.saved


def test_a_vid_goes_from_one_network_to_another_at_once(switch: TestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101), binding(102, BLUE))))
    done(target, Learn((binding(101, BLUE),)), Forget((binding(101, RED), binding(102, BLUE))))
    assert switch.state == {101: (BLUE, ours(switch))}


def test_what_a_hand_took_away_is_seen_and_put_back(switch: TestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101), binding(102, BLUE))))
    switch.no_vni_by_hand(101)
    switch.off_by_hand(102, switch.ports[0])
    assert held(target) == {binding(102, BLUE, whole=False)}
    assert foreign(switch, target) == VidSet()
    done(target, Learn((binding(101), binding(102, BLUE))))
    assert switch.state == {101: (RED, ours(switch)), 102: (BLUE, ours(switch))}


def test_a_port_that_is_not_there_is_told_with_what_the_switch_said(switch: TestSwitch) -> None:
    target = switch.target(switch.settings((switch.ports[0], NO_PORT)))
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert f"VLAN 101 is not tagged on {NO_PORT}" in result.detail
    assert re.search("does not exist|no such port", result.detail)
    assert switch.state == {101: (RED, {switch.ports[0]: "tagged"})}


def test_a_vlan_outside_the_range_is_worn_and_left_alone_even_with_our_vni(
    switch: TestSwitch, target: NgsTarget
) -> None:
    switch.by_hand(300, RED, **ours(switch))
    assert foreign(switch, target) == VidSet.of("300")
    [learnt, forgotten] = apply(target, Learn((binding(101),)), Forget((binding(300),)))
    assert (learnt.outcome, forgotten.outcome) == (Outcome.REFUSED, Outcome.DONE)
    assert "VNI 5000 is on VLAN 300 already" in learnt.detail
    assert switch.state == {300: (RED, ours(switch))}


@pytest.mark.parametrize(("whose", "mode"), [("theirs", "tagged"), ("ours", "untagged")])
def test_a_plain_vlan_in_the_range_on_another_port_or_untagged_is_somebody_elses(
    switch: TestSwitch, target: NgsTarget, whose: str, mode: str
) -> None:
    ports = {switch.theirs if whose == "theirs" else switch.ports[0]: mode}
    switch.by_hand(150, **ports)
    assert foreign(switch, target) == VidSet.of("150")
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
    assert switch.state == {150: (None, ports)}


def test_a_vni_of_another_is_not_taken_off(switch: TestSwitch, target: NgsTarget) -> None:
    assert held(target) == set()
    switch.by_hand(150, THEIRS, **theirs(switch))
    [learnt, forgotten] = apply(target, Learn((binding(150),)), Forget((binding(150, BLUE),)))
    assert (learnt.outcome, forgotten.outcome) == (Outcome.RETRY, Outcome.DONE)
    assert switch.state == {150: (THEIRS, theirs(switch))}


def test_ports_that_another_hand_added_stay_and_keep_the_vid_from_the_next(
    switch: TestSwitch, target: NgsTarget
) -> None:
    done(target, Learn((binding(101),)))
    switch.by_hand(101, **theirs(switch))
    assert any(switch.theirs in found.what for found in target.findings())
    done(target, Forget((binding(101),)))
    assert switch.state == {101: (None, theirs(switch))}
    assert foreign(switch, target) == VidSet.of("101")


def test_a_port_that_was_taken_out_of_the_configuration_is_warned_of(switch: TestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101),)))
    [warning] = switch.target(switch.settings(switch.ports[:1])).observe().warnings
    assert f"{switch.ports[1]} carries VLANs 101 of our range too" in warning


@pytest.mark.parametrize("says", ["", "-bash: show: command not found", "% Invalid input", "{", "{}", "[]", "null"])
def test_a_switch_that_answers_nonsense_is_unknown_not_empty(switch: TestSwitch, target: NgsTarget, says: str) -> None:
    done(target, Learn((binding(101),)))
    switch.garbled = says or " "
    with pytest.raises(Retry):
        target.observe()
    [result] = apply(target, Forget((binding(101),)))
    assert result.outcome is Outcome.RETRY
    switch.garbled = ""
    assert held(target) == {binding(101)}


@pytest.mark.parametrize("answers", range(0, 90, 4))
def test_a_session_that_breaks_anywhere_leaves_what_the_next_round_mends_and_saves(
    switch: TestSwitch, target: NgsTarget, answers: int
) -> None:
    done(target, Learn((binding(101),)))
    switch.dies_after = answers
    apply(target, Forget((binding(101),)), Learn((binding(102, BLUE),)))
    switch.up, switch.dies_after = True, None
    done(target, Forget((binding(101),)), Learn((binding(102, BLUE),)))
    assert {vid: found for vid, found in switch.state.items() if found != (None, {})} == {102: (BLUE, ours(switch))}
    assert foreign(switch, target) == VidSet()
    assert switch.cli.saved


@pytest.mark.parametrize("switch", SAVED, indirect=True)
def test_one_that_does_not_save_says_so_and_is_asked_again(switch: TestSwitch, target: NgsTarget) -> None:
    now = 0.0
    target._switch._clock = lambda: now
    switch.refuses = {"sonic": "config save", "eos": "write memory", "nxos": "copy running"}[switch.kind]
    done(target, Learn((binding(101),)))
    assert any("does not save" in warning for warning in target.observe().warnings)
    assert not switch.cli.saved
    switch.refuses, now = "", 3600.0
    assert target.observe().warnings == ()
    assert switch.cli.saved


@pytest.mark.parametrize("switch", SAVED, indirect=True)
def test_looking_at_a_switch_that_it_told_nothing_says_and_saves_nothing(switch: TestSwitch, target: NgsTarget) -> None:
    switch.cli.saved = False
    assert held(target) == set()
    assert (switch.told, switch.cli.saved) == ([], False)


def test_the_words_are_what_is_said(switch: TestSwitch, target: NgsTarget) -> None:
    target.observe()
    learn = Change(1, target.id, Learn((binding(101),)), "test")
    words = list(target.words(learn))
    assert words
    assert not switch.told
    target.apply([learn])
    assert [word for word in switch.told if word in words] == words


def test_many_ports_take_no_more_looks_than_two(switch: TestSwitch) -> None:
    """One joins and is looked at; then all others do at once.  Where that is one commit all join at once."""
    looks: list[str] = []
    more = switch.with_ports(47)
    switch.before = lambda command: looks.append(command) if command == switch.reads[0] else None
    done(switch.target(switch.settings(more)), Learn((binding(101),)))
    assert switch.state == {101: (RED, dict.fromkeys(more, "tagged"))}
    assert len(looks) == (4 if switch.kind == "junos" else 5), "before, made, mapped, one joined, all joined"


@pytest.mark.parametrize(
    ("kind", "more"),
    [("eos", "interface Vxlan1\n   vxlan vrf TENANT vni 5000"), ("nxos", "vrf context TENANT\n  vni 5000")],
)
def test_a_vni_that_somebody_takes_once_the_vlan_is_made_is_not_mapped(kind: str, more: str) -> None:
    with TYPES[kind]() as switch:

        def takes(command: str) -> None:
            if command.startswith("name "):
                switch.cli.more = more  # type: ignore[attr-defined]

        switch.before = takes
        [result] = apply(switch.target(), Learn((binding(101),)))
        assert result.outcome is Outcome.RETRY
        assert (switch.state, switch.cli.maps) == ({}, {})


@dataclass(frozen=True, slots=True)
class Hand:
    """What a stranger does with VLAN 101, and whether it is as he left it."""

    does: Callable[[TestSwitch], None]
    stands: Callable[[TestSwitch], bool]
    types: tuple[str, ...] = tuple(TYPES)


def in_it(switch: TestSwitch) -> bool:
    return switch.theirs in switch.state.get(101, (None, {}))[1]


BY_STATEMENTS = ("eos", "nxos", "junos")
HANDS = {
    "native": Hand(lambda switch: switch.by_hand(101, **theirs(switch, "untagged")), in_it),
    "trunk": Hand(lambda switch: switch.by_hand(101, **theirs(switch)), in_it),
    "vni": Hand(lambda switch: switch.by_hand(101, THEIRS), lambda switch: switch.cli.maps.get(101) == THEIRS),
    "access": Hand(lambda switch: switch.access_by_hand(101), in_it, BY_STATEMENTS),
    "svi": Hand(lambda switch: switch.svi_by_hand(101), lambda switch: 101 in switch.cli.svis, BY_STATEMENTS),  # type: ignore[attr-defined]
}
COMES = [(kind, name) for name, hand in HANDS.items() for kind in hand.types]


@pytest.mark.parametrize(("kind", "hand"), COMES)
def test_a_stranger_who_comes_between_any_two_words_hears_nothing_of_ours(kind: str, hand: str) -> None:
    """From the next look on nothing is mapped and nobody joins, and what is his stays his."""
    for moment in range(200):
        with TYPES[kind]() as switch:
            if not _meddled_at(switch, moment, HANDS[hand]):
                assert moment > 10
                return
    raise AssertionError("it never ends")


def _meddled_at(switch: TestSwitch, moment: int, hand: Hand) -> bool:
    """Whether there were so many words."""
    count = 0
    at_the_look: list[tuple[int | None, set[str]]] = []

    def of_ours() -> tuple[int | None, set[str]]:
        vni, ports = switch.state.get(101, (None, {}))
        return (vni if vni == RED else None), set(ports).intersection(switch.ports)

    def between(command: str) -> None:
        nonlocal count
        if count == moment:
            hand.does(switch)
        elif count > moment and (at_the_look or command == switch.reads[0]):
            at_the_look.append(of_ours())
            _nothing_more(at_the_look[0], of_ours())
        count += 1

    switch.before = between
    target = switch.target()
    apply(target, Learn((binding(101),)))
    if count <= moment:
        return False
    apply(target, Learn((binding(101),)))
    _nothing_more(at_the_look[0], of_ours())
    for _ in range(2):
        assert hand.stands(switch)
        apply(target, Forget((binding(101),)))
    return True


def _nothing_more(before: tuple[int | None, set[str]], now: tuple[int | None, set[str]]) -> None:
    assert now[0] in (None, before[0]), "it was mapped"
    assert now[1] <= before[1], "a port joined"


@pytest.mark.parametrize(("kind", "hand"), COMES)
def test_a_vlan_that_a_stranger_comes_to_while_it_is_forgotten_stays_with_him(kind: str, hand: str) -> None:
    for moment in range(200):
        with TYPES[kind]() as switch:
            target = switch.target()
            done(target, Learn((binding(101),)))
            if not _came_in_time(switch, moment, HANDS[hand], target):
                assert moment > 10
                return
    raise AssertionError("it never ends")


def _came_in_time(switch: TestSwitch, moment: int, hand: Hand, target: NgsTarget) -> bool:
    count = 0
    looked_at: list[bool] = []

    def his() -> bool:
        """What a word of ours took in the very moment that he came cannot be helped."""
        return 101 in switch.cli.vlans and hand.stands(switch)

    def between(command: str) -> None:
        nonlocal count
        if count == moment:
            hand.does(switch)
        elif count > moment and command == switch.reads[0]:
            looked_at.append(his())
        count += 1

    switch.before = between
    for _ in range(2):
        apply(target, Forget((binding(101),)))
    assert not looked_at or not looked_at[0] or his()
    return count > moment
