"""A VLAN on its way out keeps its place until Neutron has said so twice; who asks in between is told to wait."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.adapters.neutron.intent import HOLDS, NeutronIntent
from isthmus.adapters.neutron.meaning import Places
from isthmus.adapters.neutron.packing import packed
from isthmus.adapters.neutron.protocol import RETIRING
from isthmus.model.faults import Retry
from isthmus.model.names import LeafId, NetworkId
from isthmus.model.scope import LeafScope
from tests.adapters.neutron.test_meaning import binding, network, port, segment

RED = NetworkId("red")
ONE, TWO = f"{RETIRING} one", f"{RETIRING} two"
BOUND = port("p", "red", binding("compute-1", "vxlan", "s101", ours=True))


class Bus:
    """Neutron with one network."""

    def __init__(self) -> None:
        self.segment = segment(101)
        self.away = False

    def call(self, topic: str, method: str) -> Any:
        if self.away:
            raise Retry("away")
        nets = [network("red", 70001, self.segment)]
        none: dict[str, Any] = {"ports": [BOUND], "agents": [], "held": []}
        answer = {"networks": nets, "domains": {"rack1": ["101-149"]}, "fabric": True, **none}
        return packed({**answer, "kept": [], "beside": [], "static": []})


class Site:
    def __init__(self) -> None:
        self.bus = Bus()
        self.now = 0.0
        places = Places({"rack1": LeafScope(LeafId("leaf1"))})
        self.source = NeutronIntent(self.bus, places, lambda: self.now)  # type: ignore[arg-type]

    def has_place(self, mark: str, *, used: bool = False) -> bool:
        """Whether the network has a place in rack1 after another reading."""
        self.bus.segment = segment(101, mark=mark, used=used)
        return bool(self.source.read().networks[RED].assigned)

    def holds(self, reading: int) -> bool:
        """What was seen after that answer is there to stay."""
        return self.source.tenure.holds("rack1", RED, 101, reading)


@pytest.fixture
def made() -> Site:
    return Site()


def test_its_place_goes_at_the_second_answer_that_says_so(made: Site) -> None:
    assert made.has_place("")
    assert made.has_place(ONE)
    assert not made.holds(1), "nobody is given what is about to go"
    assert not made.has_place(ONE)


def test_what_was_taken_up_again_in_between_stays(made: Site) -> None:
    for mark in ("", ONE, "isthmus: reserved x", TWO):
        assert made.has_place(mark)
    assert not made.has_place(TWO)


def test_an_answer_that_did_not_come_says_nothing(made: Site) -> None:
    made.has_place("")
    made.has_place(ONE)
    made.bus.away = True
    with pytest.raises(Retry):
        made.source.read()
    made.bus.away = False
    assert made.has_place("isthmus: reserved x")
    assert made.holds(1)


def test_what_was_on_its_way_out_before_we_came_has_no_place(made: Site) -> None:
    assert not made.has_place(ONE)


def test_what_a_binding_refers_to_stays_whatever_its_mark(made: Site) -> None:
    assert all(made.has_place(ONE, used=True) for _ in range(3))
    assert made.holds(1)


def test_what_could_not_be_had_of_neutron_is_a_doubt(made: Site) -> None:
    made.source.troubles = {"correct": "ValueError"}
    assert [(doubt.about, doubt.scope) for doubt in made.source.read().doubts] == [("neutron correct", None)]


def test_an_answer_holds_until_neutron_says_that_something_changed(made: Site) -> None:
    assert not made.source.holds()
    made.source.read()
    assert made.source.holds()
    made.bus.serve = lambda topic, server, endpoints: endpoints[0].changed(None, ["red"])  # type: ignore[attr-defined]
    woken: list[object] = []
    made.source.watch(woken.append)
    assert woken == [None]
    assert not made.source.holds()


def test_what_changed_while_neutron_was_answering_is_not_in_the_answer(made: Site) -> None:
    answer = made.bus.call

    def slowly(topic: str, method: str) -> Any:
        made.source.changed()
        return answer(topic, method)

    made.bus.call = slowly  # type: ignore[method-assign]
    made.source.read()
    assert not made.source.holds()


def test_an_answer_does_not_hold_for_long_since_a_word_of_neutron_may_be_lost(made: Site) -> None:
    made.source.read()
    made.now = HOLDS
    assert not made.source.holds()


def test_why_a_port_is_not_bound_is_in_the_next_answer(made: Site) -> None:
    made.source.read()
    made.source.hear("p", "compute-1", "no")
    assert not made.source.holds()
