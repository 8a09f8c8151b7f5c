"""What of a stage is committed where the switch refuses some of it, and how often it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from isthmus.adapters.leaf.ngs.commits import InTheWay, Refusal, committed
from isthmus.adapters.leaf.ngs.kind import Words


def vlan(words: Words) -> str:
    return words[0].split()[0]


@dataclass(slots=True)
class Switch:
    """It refuses whatever is about one of these VLANs."""

    refused: frozenset[str] = frozenset()
    asked: list[list[Words]] = field(default_factory=list)
    holds: set[str] = field(default_factory=set)
    before: Callable[[int], None] = lambda number: None

    def commit(self, steps: Sequence[Words]) -> Refusal | None:
        self.asked.append(list(steps))
        self.before(len(self.asked))
        if wrong := sorted({vlan(words) for words in steps} & self.refused):
            return Refusal([f"VLAN {one}: no" for one in wrong], frozenset(wrong))
        self.holds |= {words[0] for words in steps}
        return None


def joins(vlans: int, ports: int = 1) -> list[Words]:
    return [[f"{number} on port {port}"] for port in range(ports) for number in range(vlans)]


def test_what_is_not_refused_is_one_commit_and_what_says_nothing_none() -> None:
    switch = Switch()
    assert committed(switch.commit, vlan, [*joins(8, 3), []]) == []
    assert (len(switch.asked), len(switch.holds)) == (1, 24)
    assert committed(switch.commit, vlan, [[], []]) == []
    assert len(switch.asked) == 1


def test_a_vlan_that_is_refused_is_refused_with_all_its_ports_at_once() -> None:
    switch = Switch(frozenset({"0"}))
    assert committed(switch.commit, vlan, joins(1, 8)) == ["VLAN 0: no"]
    assert len(switch.asked) == 1


def test_the_others_of_a_stage_are_committed_and_each_that_is_refused_is_named() -> None:
    switch = Switch(frozenset({"3", "12"}))
    assert sorted(committed(switch.commit, vlan, joins(16, 2))) == ["VLAN 12: no", "VLAN 3: no"]
    assert len(switch.holds) == 2 * 14
    switch = Switch(frozenset({"40"}))
    assert committed(switch.commit, vlan, joins(256)) == ["VLAN 40: no"]
    assert len(switch.holds) == 255


def test_a_switch_that_refuses_many_is_asked_a_few_times_and_the_rest_is_tried_again() -> None:
    switch = Switch(frozenset(map(str, range(0, 256, 2))))
    *_, last = committed(switch.commit, vlan, joins(256))
    assert "tried again" in last
    assert len(switch.asked) <= 24


def test_what_was_refused_is_told_also_where_something_gets_in_the_way_of_the_rest() -> None:
    """All, both halves, the two of the first: then somebody comes."""

    def comes(number: int) -> None:
        if number == 6:
            raise InTheWay("somebody came")

    switch = Switch(frozenset("0123"), before=comes)
    [said] = committed(switch.commit, vlan, joins(4))
    assert said.endswith("; somebody came")
    assert said.startswith("VLAN ")
