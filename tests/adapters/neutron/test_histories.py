"""Whatever happens in between: nobody is told a port group that then goes, and no ACTIVE port loses its leaf."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from isthmus.adapters.neutron.desk import Desk
from isthmus.adapters.neutron.facts import Facts, Segment
from isthmus.adapters.neutron.meaning import Wanted
from isthmus.adapters.neutron.tenure import Tenure, _key
from isthmus.model.handover import Handover
from tests.adapters.neutron.history import History
from tests.adapters.neutron.overlaid_history import CLUSTERS, OverlaidHistory

STEPS = {
    "port_comes": 1,
    "ports_ask": 4,
    "ports_are_bound": 2,
    "port_goes": 4,
    "begin_to_read": 1,
    "end_reading": 5,
    "keep": 8,
    "look": 4,
    "run_errands": 5,
    "time_passes": 3,
}
"""What happens more often has the greater number."""
LENGTH, RESTARTS = 1200, 0.002


def play(seed: int) -> History:
    dice = Random(seed)
    made = History(dice)
    for step in dice.choices(list(STEPS), weights=list(STEPS.values()), k=LENGTH):
        made.now += 0.01
        if dice.random() < RESTARTS:
            made.restart()
        getattr(made, step)()
    return made


def test_nobody_is_told_what_goes_and_no_active_port_loses_its_leaf() -> None:
    made = [play(seed) for seed in range(150)]
    assert sum(history.told for history in made) > 500
    assert sum(history.readied for history in made) > 100
    assert sum(history.removed for history in made) > 100, "else nothing was ever about to go"
    assert sum(history.held for history in made) > 1000, "else every round read Neutron anew"


def ignoring_the_reading(self: Tenure, domain: str, network: object, vid: int, reading: int) -> bool:
    retiring, since = self._now
    return (domain, network, vid) in since and all(_key(segment) != (domain, network, vid) for segment in retiring)


def at_the_first_word(self: Tenure, facts: Facts, wanted: Wanted) -> tuple[frozenset[Segment], Wanted]:
    self._now = frozenset(segment for segment in facts.segments if not segment.wanted), self._now[1]
    return READ(self, facts, wanted)


READ = Tenure.read


@pytest.mark.parametrize(
    ("rule", "broken"), [("holds", ignoring_the_reading), ("read", at_the_first_word)], ids=["looks", "second word"]
)
def test_such_histories_find_a_rule_that_is_broken(
    monkeypatch: pytest.MonkeyPatch, rule: str, broken: Callable[..., object]
) -> None:
    monkeypatch.setattr(Tenure, rule, broken)
    with pytest.raises(AssertionError, match="told of"):
        one_after_the_other(1000)


def one_after_the_other(histories: int) -> None:
    for seed in range(histories):
        play(seed)


OVERLAID_STEPS = {
    "port_comes": 2,
    "ports_ask": 4,
    "port_goes": 2,
    "begin_to_read": 1,
    "end_reading": 5,
    "keep": 8,
    "look": 4,
}


def play_overlaid(seed: int) -> OverlaidHistory:
    dice = Random(seed)
    made = OverlaidHistory(dice)
    for step in dice.choices(list(OVERLAID_STEPS), weights=list(OVERLAID_STEPS.values()), k=LENGTH):
        made.now += 0.01
        if dice.random() < RESTARTS:
            made.restart()
        getattr(made, step)()
    return made


def test_where_hosts_have_vteps_nobody_is_told_of_a_port_group_that_then_goes() -> None:
    made = [play_overlaid(seed) for seed in range(150)]
    assert sum(history.told for history in made) > 500
    assert sum(history.removed for history in made) > 100, "else nothing was ever about to go"
    assert sum(history.held for history in made) > 1000, "else every round read Neutron anew"


def overlaid_ones(histories: int) -> None:
    for seed in range(histories):
        play_overlaid(seed)


def dropped_at_once(self: Tenure, facts: Facts, wanted: Wanted) -> tuple[frozenset[Segment], Wanted]:
    leaving, _ = READ(self, facts, wanted)
    return leaving, wanted


@pytest.mark.parametrize(
    ("rule", "broken"), [("holds", ignoring_the_reading), ("read", dropped_at_once)], ids=["looks", "second word"]
)
def test_overlaid_histories_find_a_rule_that_is_broken(
    monkeypatch: pytest.MonkeyPatch, rule: str, broken: Callable[..., object]
) -> None:
    monkeypatch.setattr(Tenure, rule, broken)
    with pytest.raises(AssertionError, match="told of"):
        overlaid_ones(1000)


def believing_everybody(self: Desk, domain: str, handover: Handover) -> None:
    self.saw(domain, handover, CLUSTERS)


def test_overlaid_histories_find_a_port_group_that_was_promised_while_another_shard_took_it_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Desk, "saw_ports", believing_everybody)
    with pytest.raises(AssertionError, match="told of"):
        overlaid_ones(1000)
