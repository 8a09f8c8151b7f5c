"""Neutron is told what stands ready, and gets a VLAN back when nothing wears it: neither too early, nor never."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from isthmus.adapters.neutron.errands import LINGER, LONGEST_AGAIN, WORN, Cluster, Errands, Memory, errands
from isthmus.adapters.neutron.facts import Binding, Facts, NeutronNetwork, NeutronPort, Segment
from isthmus.adapters.neutron.protocol import RETIRING
from isthmus.model.handover import Handover, StandingGroup
from isthmus.model.names import DvsId, LeafId, NetworkId, PortId
from isthmus.model.scope import LeafScope
from isthmus.model.tags import Vid, VidSet, Vni

RED = NetworkId("red")
VNI = Vni(70001)
DVS = DvsId("dvs-uuid")
BOUND = Binding("compute-1", True, False, ("vxlan", "seg"), True, "dvs-uuid", "pg-1")
FAILED = Binding("compute-1", True, True, (), False)
ONE = f"{RETIRING} one"
UNUSED = Segment("seg", RED, "rack1", 101, dynamic=True, mark="", used=False)
GROUP = StandingGroup(RED, DVS, "pg-1", Vid(101), frozenset({"leaf1", "leaf2"}))


def port(*bindings: Binding, status: str = "BUILD", owner: str = "compute:nova") -> NeutronPort:
    return NeutronPort("p", RED, "fa:16:3e:00:00:01", "vm", owner, True, status, (), (), bindings)


class Site:
    """Neutron with one network, and one rack with two leaves."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.ports: tuple[NeutronPort, ...] = ()
        self.segments: tuple[Segment, ...] = (replace(UNUSED, used=True),)
        self.seen: Handover | None = Handover(
            LeafScope(LeafId("leaf1")), {(RED, DVS): GROUP}, frozenset({VNI}), frozenset({101}), True, 0.0
        )
        self.cluster = Cluster("rack1", DVS, frozenset({"leaf1", "leaf2"}))
        self.static: frozenset[str] = frozenset()
        self.now = 0.0
        self.fabric = True
        self.held: tuple[tuple[str, int], ...] = ()

    def sees(self, **what: Any) -> None:
        assert self.seen is not None
        self.seen = replace(self.seen, at=self.now, **what)

    def facts(self) -> Facts:
        return Facts(
            {RED: NeutronNetwork(RED, "red", 1450, int(VNI), "vxlan")},
            self.segments,
            self.ports,
            (),
            {"rack1": VidSet.of("101-149")},
            self.held,
            self.fabric,
        )

    def errands(self) -> Errands:
        facts, seen = self.facts(), {} if self.seen is None else {"rack1": self.seen}
        return errands(facts, seen, {"compute-1": self.cluster}, {"net-1": "rack1"}, self.static, self.memory, self.now)


@pytest.fixture
def made() -> Site:
    return Site()


def test_a_port_is_ready_when_port_group_and_every_leaf_of_its_switch_are(made: Site) -> None:
    made.ports = (port(BOUND),)
    for leaves in ((), ("leaf1",), ("leaf2",)):
        made.sees(groups={(RED, DVS): replace(GROUP, mapped_at=frozenset(leaves))})
        assert made.errands().ready == ()
    made.sees(groups={(RED, DVS): GROUP})
    assert made.errands().ready == ({"id": "p", "host": "compute-1", "segment": "seg"},)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {(RED, DVS): replace(GROUP, vid=Vid(102))},
        {(RED, DVS): replace(GROUP, vid=None)},
        {(NetworkId("blue"), DVS): GROUP},
        {(RED, DvsId("other")): GROUP},
    ],
)
def test_a_port_whose_port_group_is_not_as_neutron_says_is_not_ready(made: Site, wrong: dict[Any, Any]) -> None:
    made.ports = (port(BOUND),)
    made.sees(groups=wrong)
    assert made.errands() == Errands()


@pytest.mark.parametrize(
    "other",
    [
        port(BOUND, status="ACTIVE"),
        port(replace(BOUND, active=False)),
        port(replace(BOUND, host="kvm")),
        replace(port(BOUND), awaits_others=True),
    ],
)
def test_who_waits_for_nothing_is_told_nothing(made: Site, other: NeutronPort) -> None:
    made.ports = (other,)
    assert made.errands() == Errands()


def test_of_a_port_with_an_agent_of_its_own_neutron_is_told_only_while_it_is_about_to_be_moved(made: Site) -> None:
    """Then that agent says nothing, and Nova waits for a word."""
    made.cluster = replace(made.cluster, overlaid=True, plugged=True)
    made.sees(groups={(RED, DVS): replace(GROUP, vid=None)}, wired=frozenset({PortId("p")}))
    made.ports = (port(BOUND),)
    assert made.errands() == Errands()
    made.ports = (port(BOUND, replace(BOUND, host="compute-2", active=False)),)
    assert made.errands().ready == ({"id": "p", "host": "compute-1", "segment": "seg"},)
    made.sees(groups={(RED, DVS): replace(GROUP, vid=None)}, wired=frozenset())
    made.ports = (port(BOUND, replace(BOUND, host="compute-2", active=False), status="ACTIVE"),)
    assert made.errands() == Errands(), "that it is down is the agent's to say"


def test_a_binding_to_a_port_group_that_is_gone_is_led_to_the_one_in_its_place(made: Site) -> None:
    made.ports = (port(replace(BOUND, pg_id="pg-0")),)
    found = made.errands()
    assert [item["pg_id"] for item in found.correct] == ["pg-1"]
    assert found.ready == ()


def test_a_port_that_could_not_be_bound_is_tried_again_more_and_more_seldom(made: Site) -> None:
    made.ports = (port(FAILED),)
    tries = []
    for made.now in range(3000):
        if made.errands().rebind:
            tries.append(made.now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps[:3] == [5, 10, 20]
    assert max(gaps) == LONGEST_AGAIN
    made.ports = (port(BOUND, status="ACTIVE"),)
    assert made.errands() == Errands()
    made.ports = (port(FAILED),)
    assert made.errands().rebind == ("p",), "another time is another time"


@pytest.mark.parametrize("waits", [FAILED, replace(FAILED, failed=False, unbound=True)])
def test_a_port_that_comes_while_its_vlan_is_on_its_way_out_is_bound_again(made: Site, waits: Binding) -> None:
    """That takes the VLAN up again.  Its port group has gone, and nothing else would bring it back."""
    made.segments, made.ports = (replace(UNUSED, mark=ONE),), (port(waits),)
    made.sees(groups={})
    made.errands()
    made.now = LINGER + 1
    assert made.errands().rebind == ("p",)
    assert made.errands().release == ()


@pytest.mark.parametrize("owner", ["network:dhcp", "compute:bare"])
def test_a_machines_port_that_could_not_be_bound_is_tried_again(made: Site, owner: str) -> None:
    """A network node below a leaf: a stock driver binds it, as soon as the domain has a VLAN for it."""
    made.segments, made.ports = (), (port(replace(FAILED, host="net-1"), owner=owner),)
    assert made.errands().rebind == ("p",)
    made.ports = (port(replace(BOUND, host="net-1", ours=False), owner=owner),)
    made.segments = (replace(UNUSED, used=True),)
    assert made.errands() == Errands()


def test_a_vlan_that_neutron_does_not_give_out_is_not_held(made: Site) -> None:
    made.sees(vids=frozenset({101, 102, 900}))
    assert made.errands().hold == (("rack1", 102, WORN),)


def test_a_vlan_that_was_reserved_meanwhile_is_unused_since_then(made: Site) -> None:
    made.segments = (UNUSED,)
    made.errands()
    made.now = LINGER - 1
    made.segments = (replace(UNUSED, mark="isthmus: reserved x"),)
    assert made.errands() == Errands()
    made.now = LINGER + 1
    assert made.errands() == Errands()
    made.now = 2 * LINGER
    assert made.errands().retire == (("seg", "isthmus: reserved x"),)


def test_an_unused_vlan_is_retired_after_a_while_and_released_when_a_later_look_sees_nobody_wear_it(made: Site) -> None:
    made.segments = (UNUSED,)
    assert made.errands() == Errands()
    made.now = LINGER + 1
    assert made.errands().retire == (("seg", ""),)
    made.sees(groups={}, vnis=frozenset(), vids=frozenset())
    made.segments = (replace(UNUSED, mark=ONE),)
    assert made.errands().release == (), "the look is no younger than the news of its retirement"
    made.now += 1
    made.sees()
    assert made.errands().release == (("seg", ONE),)
    made.now += 10
    made.segments = (replace(UNUSED, mark=f"{RETIRING} two"),)
    assert made.errands().release == (), "another process took it up and retired it again: nobody looked since"


@pytest.mark.parametrize("unclear", [{"vnis": frozenset({VNI})}, {"vids": frozenset({101})}, {"whole": False}])
def test_a_vlan_that_somebody_wears_or_may_wear_is_not_released(made: Site, unclear: dict[str, Any]) -> None:
    made.segments = (replace(UNUSED, mark=ONE),)
    made.errands()
    made.now = 1000.0
    made.sees(**{"groups": {}, "vnis": frozenset(), "vids": frozenset(), **unclear})
    assert made.errands().release == ()


@pytest.mark.parametrize(
    "kept",
    [replace(UNUSED, dynamic=False), replace(UNUSED, used=True), replace(UNUSED, domain="rack2")],
)
def test_a_vlan_that_is_not_ours_to_give_back_is_left(made: Site, kept: Segment) -> None:
    made.segments = (kept,)
    made.sees(vids=frozenset())
    made.errands()
    made.now = 1000.0
    assert made.errands() == Errands()


def test_a_vlan_that_a_port_waits_for_is_not_retired_under_it(made: Site) -> None:
    made.segments, made.ports = (UNUSED,), (port(FAILED),)
    made.errands()
    made.now = 1000.0
    assert made.errands().retire == ()


def test_in_a_static_domain_every_network_has_a_vlan_and_keeps_it(made: Site) -> None:
    made.static, made.segments = frozenset({"rack1"}), ()
    assert made.errands().allocate == ((RED, "rack1"),)
    assert made.errands().allocate == (), "not at once again"
    made.segments = (UNUSED,)
    made.errands()
    made.now = 1000.0
    assert made.errands() == Errands()
    made.segments = (replace(UNUSED, mark=ONE),)
    assert made.errands().allocate == ((RED, "rack1"),), "the domain was made static while the VLAN was on its way out"


def test_where_another_controller_gives_the_vlans_none_is_made_or_given_back(made: Site) -> None:
    made.fabric, made.static = False, frozenset({"rack1"})
    made.segments = (replace(UNUSED, mark=ONE),)
    made.errands()
    made.now = 1000.0
    made.sees(groups={}, vnis=frozenset())
    assert made.errands() == Errands()


def test_a_vlan_of_a_deleted_network_is_free_when_a_later_look_sees_nobody_wear_it(made: Site) -> None:
    made.segments, made.held = (), (("rack1", 101),)
    made.sees(groups={}, vnis=frozenset(), vids=frozenset())
    assert made.errands().free == (), "the look is no younger than the news"
    made.now = 1.0
    made.sees(vids=frozenset({101}))
    assert made.errands().free == ()
    made.sees(vids=frozenset(), whole=False)
    assert made.errands().free == ()
    made.sees(whole=True)
    assert made.errands().free == (("rack1", 101),)


def test_a_vlan_that_something_wears_of_which_neutron_does_not_know_is_held(made: Site) -> None:
    made.segments = ()
    assert made.errands().hold == (("rack1", 101, WORN),)
    made.held = (("rack1", 101),)
    assert made.errands().hold == ()
    made.segments, made.held = (replace(UNUSED, used=True),), ()
    assert made.errands().hold == ()


def test_a_vlan_that_a_leaf_would_not_take_now_is_held_and_taken_from_nobody(made: Site) -> None:
    made.sees(unfit={101: "leaf:leaf1", 102: "leaf:leaf1, leaf:leaf2"})
    [(domain, vid, why)] = made.errands().hold
    assert (domain, vid) == ("rack1", 102), "101 is a network's"
    assert why == "nothing wears it, and leaf:leaf1, leaf:leaf2 does not take it now ('isthmus check' says why)"
    made.held = (("rack1", 102),)
    made.errands()
    made.now = 1.0
    made.sees()
    assert made.errands() == Errands()
    made.sees(unfit={101: "leaf:leaf1"})
    assert made.errands() == Errands(free=(("rack1", 102),))


def test_a_retiring_vlan_is_released_also_where_a_leaf_would_not_take_it(made: Site) -> None:
    made.segments = (replace(UNUSED, mark=ONE),)
    made.errands()
    made.now = 1.0
    made.sees(groups={}, vnis=frozenset(), vids=frozenset(), unfit={101: "leaf:leaf1"})
    assert len(made.errands().release) == 1


def test_a_port_that_nobody_bound_for_a_while_is_bound(made: Site) -> None:
    """Who began it died."""
    made.ports = (port(Binding("compute-1", True, False, (), False, unbound=True)),)
    assert made.errands().rebind == (), "it may be being bound right now"
    made.now = LINGER
    assert made.errands().rebind == ("p",)


def test_what_has_waited_long_enough_and_cannot_be_done_waits_for_news(made: Site) -> None:
    """Or the clock would be asked for it over and over."""
    made.ports = (port(Binding("compute-1", True, False, (), False, unbound=True)),)
    made.sees(groups={})
    made.errands()
    assert made.memory.next_at(made.now) == LINGER
    made.now = LINGER
    assert made.errands() == Errands()
    assert made.memory.next_at(made.now) is None


def test_a_port_is_not_bound_again_while_its_port_group_is_not_there(made: Site) -> None:
    made.ports = (port(FAILED),)
    made.sees(groups={})
    assert made.errands().rebind == ()
    made.segments = ()
    assert made.errands().rebind == ("p",), "Neutron has to find a VLAN for it first"


def test_what_was_asked_for_is_not_asked_again_at_once(made: Site) -> None:
    made.ports = (port(BOUND),)
    assert made.errands().ready
    made.now = 1.0
    assert not made.errands().ready
    made.now = 6.0
    assert made.errands().ready


def test_while_a_domain_was_never_looked_at_nothing_is_done_about_it(made: Site) -> None:
    made.ports, made.segments, made.seen = (port(BOUND), port(FAILED)), (UNUSED,), None
    made.errands()
    made.now = 1000.0
    assert made.errands() == Errands()


def test_nothing_is_remembered_of_what_is_gone(made: Site) -> None:
    made.ports, made.segments = (port(FAILED),), (replace(UNUSED, id="a"), replace(UNUSED, id="b", mark=ONE))
    made.errands()
    made.memory.tried_at = dict.fromkeys(made.memory.again_at, 0.0)
    made.memory.failed_alone = set(made.memory.again_at)
    made.ports, made.segments = (), ()
    made.sees(vids=frozenset())
    made.errands()
    assert made.memory == Memory()
    assert made.memory.next_at(0.0) is None
