"""A network has one closed port group per switch, of ours; what is not ours is not written."""

from dataclasses import replace

from isthmus.core.guard import Limits, held_back
from isthmus.core.view import switch_target
from isthmus.model.change import AlterPortGroup, CreatePortGroup
from isthmus.model.intent import Network
from isthmus.model.names import DvsId, NetworkId
from isthmus.model.observed import Access, NoVlan, OwnerMark, PortGroupState, Security
from isthmus.model.shard import Duty
from isthmus.model.tags import Vid, Vni
from tests.core.town import SWITCH, Town, gates, kinds


def town_of_groups() -> Town:
    return Town(duties=Duty.PORT_GROUPS).network("red")


def test_a_network_without_a_port_group_gets_one_closed_and_without_a_vid() -> None:
    town = town_of_groups()
    town.groups.clear()
    [change] = town.think().plan.changes
    assert isinstance(change.action, CreatePortGroup)
    assert (change.action.spec.vid, change.action.spec.gated) == (None, True)
    town.settle()
    assert not town.think().plan


def test_a_port_group_that_was_opened_or_tagged_by_hand_is_mended() -> None:
    town = town_of_groups()
    town.groups["pg-red"] = replace(town.groups["pg-red"], blocked=False, vlan=Access(Vid(7)))
    assert kinds(town.think()) == ["AlterPortGroup"]
    town.settle()
    assert (town.groups["pg-red"].blocked, town.groups["pg-red"].vlan) == (True, NoVlan())


def test_a_rename_by_hand_is_left_alone() -> None:
    town = town_of_groups()
    town.groups["pg-red"] = replace(town.groups["pg-red"], name="crimson")
    assert not town.think().plan


def test_the_port_group_of_a_deleted_network_goes_when_nothing_is_plugged_in() -> None:
    town = town_of_groups().vm("a", "red")
    del town.networks[NetworkId("red")]
    thought = town.think()
    assert not thought.plan
    assert thought.unmet[0].reason == "network red is not wanted, but 1 NICs are plugged in: VM a"
    town.ports.clear()
    town.nics.clear()
    assert kinds(town.think()) == ["RemovePortGroup"]


def test_of_many_vms_that_keep_an_unwanted_port_group_some_are_named() -> None:
    town = town_of_groups().network("blue").vm("z", "blue")
    for name in "abcdefg":
        town.vm(name, "red")
    del town.networks[NetworkId("red")]
    (unmet,) = town.think().unmet
    assert unmet.reason.endswith("but 7 NICs are plugged in: VM a, b, c, d, e and 2 more")


def test_a_remembered_intent_or_an_unknown_switch_removes_nothing() -> None:
    town = town_of_groups()
    town.networks.clear()
    town.fresh = False
    assert not town.think().plan
    town.fresh, town.unknown = True, {SWITCH}
    assert not town.think().plan


def test_foreign_port_groups_are_not_written_whoever_made_them() -> None:
    town = town_of_groups()
    by_hand = PortGroupState("pg-x", "red", Access(Vid(100)), False, "0")
    other = OwnerMark("other installation", NetworkId("red"), Vni(5001))
    town.groups |= {"pg-x": by_hand, "pg-y": replace(by_hand, key="pg-y", mark=other)}
    town.networks.clear()
    town.settle()
    assert set(town.groups) == {"pg-x", "pg-y"}


def test_a_port_group_that_lets_vms_do_less_than_is_said_is_mended_once_and_the_reason_named() -> None:
    town = town_of_groups()
    town.security = Security(forged_transmits=True, promiscuous=False)
    changes = [c for c in town.think().plan.changes if isinstance(c.action, AlterPortGroup)]
    assert all("it rejects forged transmits" in change.reason for change in changes)
    assert "pg-red" in {change.action.key for change in changes if isinstance(change.action, AlterPortGroup)}
    town.settle()
    assert town.groups["pg-red"].forged_transmits
    assert not town.think().plan


def test_what_is_not_said_of_a_port_groups_security_is_left_as_it_is() -> None:
    town = town_of_groups()
    town.groups["pg-red"] = replace(town.groups["pg-red"], forged_transmits=True, promiscuous=True, mac_changes=True)
    assert not town.think().plan


def test_a_second_port_group_of_one_network_goes_if_unused() -> None:
    town = town_of_groups()
    town.groups["pg-zz"] = replace(town.groups["pg-red"], key="pg-zz", name="red (2)")
    town.settle()
    assert set(town.groups) == {"pg-red"}


def test_an_override_left_on_a_port_that_nobody_holds_is_taken_off() -> None:
    town = town_of_groups().vm("a", "red")
    town.tag("a", 100, blocked=False)
    town.ports["a"] = replace(town.ports["a"], nic=None, connected=False)
    assert gates(town.think()) == [("a", "bare")]


def test_a_second_network_with_a_vni_that_is_taken_waits_and_the_first_stays_as_it_is() -> None:
    town = town_of_groups()
    usurper = replace(town.networks[NetworkId("red")], id=NetworkId("aaa"))
    town.networks[usurper.id] = usurper
    thought = town.think()
    assert not thought.plan
    assert "VNI 5001 is network red's already" in thought.unmet[0].reason


def test_two_networks_of_one_name_get_port_groups_that_can_be_told_apart() -> None:
    town = town_of_groups()
    town.networks[NetworkId("red-2")] = replace(town.networks[NetworkId("red")], id=NetworkId("red-2"), vni=Vni(5009))
    town.groups.clear()
    names = [c.action.spec.name for c in town.think().plan.changes if isinstance(c.action, CreatePortGroup)]
    assert names == ["red (red)", "red (red-2)"]


def test_a_changed_vni_is_written_into_the_mark_and_then_learnt_without_closing_a_port() -> None:
    town = Town(duties=Duty.PORT_GROUPS | Duty.TAGS).network("red").vm("a", "red")
    town.settle()
    vid = town.open_with("a")
    town.networks[NetworkId("red")] = replace(town.networks[NetworkId("red")], vni=Vni(5009))
    assert kinds(town.think()) == ["AlterPortGroup"]
    town.settle()
    assert town.open_with("a") == vid
    assert town.maps() == {(vid, 5009)}


def test_a_vni_that_another_networks_port_group_still_carries_is_waited_for() -> None:
    town = town_of_groups().network("blue").vm("b", "blue")
    red, blue = town.networks[NetworkId("red")], town.networks[NetworkId("blue")]
    town.networks = {red.id: replace(red, vni=blue.vni)}
    thought = town.think()
    assert not thought.plan
    assert any("a port group of network blue still has its VNI" in unmet.reason for unmet in thought.unmet)
    town.networks = {NetworkId("new"): replace(blue, id=NetworkId("new"))}
    assert kinds(town.think()) == ["RemovePortGroup"], "red goes, new waits for blue"
    town.ports.clear()
    town.nics.clear()
    town.settle()
    assert [group.mark and group.mark.network for group in town.groups.values()] == ["new"]


def test_while_another_switch_was_never_read_no_network_gets_a_vni_that_may_be_anothers_there() -> None:
    town = town_of_groups().vm("a", "red")
    town.never_read = {switch_target(DvsId("other"))}
    assert not town.think().plan, "what it has already is its own"
    town.networks[NetworkId("green")] = Network(NetworkId("green"), Vni(5002), "green")
    red = town.networks[NetworkId("red")]
    town.networks[red.id] = replace(red, vni=Vni(6001))
    thought = town.think()
    assert not thought.plan
    assert [unmet.about for unmet in thought.unmet] == ["network green", "network red"]
    assert all("dvs:other, which was never read" in unmet.reason for unmet in thought.unmet)
    town.never_read.clear()
    town.settle()
    marks = {key: group.mark for key, group in town.groups.items()}
    assert {key: mark and int(mark.vni) for key, mark in marks.items()} == {"pg-red": 6001, "new-green": 5002}


def renumbered() -> Town:
    """Red had VNI 5001 and has 6001 now, with a VM in it; green wants 5001."""
    town = town_of_groups().vm("a", "red")
    red = town.networks[NetworkId("red")]
    town.networks[red.id] = replace(red, vni=Vni(6001))
    town.settle()
    town.networks[NetworkId("green")] = Network(NetworkId("green"), Vni(5001), "green")
    return town


def test_a_vni_that_a_network_gave_up_stays_its_own_until_an_operator_gives_it_away() -> None:
    town = renumbered()
    mark = town.groups["pg-red"].mark
    assert mark is not None
    assert (mark.vni, mark.was) == (6001, (5001,))
    for _ in range(2):
        thought = town.think()
        assert any("was that of network red" in unmet.reason for unmet in thought.unmet)
        assert [(change.asks, kind) for change, kind in zip(thought.plan.changes, kinds(thought), strict=True)] == [
            (True, "AlterPortGroup")
        ]
        allowed, held = held_back(thought.plan, Limits(1000), 1000)
        assert not allowed
        assert len(held) == 1
        town.ports.clear()  # that the last NIC has left tells nothing of an appliance without isthmus
        town.nics.clear()


def test_a_network_that_never_had_a_nic_keeps_its_former_vni_too() -> None:
    town = town_of_groups()
    red = town.networks[NetworkId("red")]
    town.networks[red.id] = replace(red, vni=Vni(6001))
    town.settle()
    assert town.groups["pg-red"].mark == OwnerMark("isthmus", red.id, Vni(6001), (Vni(5001),))


def test_a_former_vni_is_free_when_the_port_group_has_gone() -> None:
    town = renumbered()
    town.networks.pop(NetworkId("red"))
    [waits] = [unmet.reason for unmet in town.think().unmet if unmet.about == "network green"]
    assert "network red, which is not wanted, but has a port group still" in waits
    town.ports.clear()
    town.nics.clear()
    town.settle()
    assert {key: group.mark and int(group.mark.vni) for key, group in town.groups.items()} == {"new-green": 5001}


def test_of_several_former_vnis_only_the_one_that_is_waited_for_is_given_away() -> None:
    town = renumbered()
    red = town.networks[NetworkId("red")]
    town.networks.pop(NetworkId("green"))
    town.networks[red.id] = replace(red, vni=Vni(7001))
    town.settle()
    town.networks[NetworkId("green")] = Network(NetworkId("green"), Vni(5001), "green")
    [change] = town.think().plan.changes
    assert "waits for VNI 5001, which network red had" in change.reason
    town.make(change)
    assert town.groups["pg-red"].mark == OwnerMark("isthmus", red.id, Vni(7001), (Vni(6001),))


def test_networks_that_swap_vnis_wait_and_are_told_to_take_a_third_one_first() -> None:
    town = town_of_groups().network("blue").network("white")
    red, blue, white = (town.networks[NetworkId(name)] for name in ("red", "blue", "white"))
    for ring in ((red, blue), (red, blue, white)):
        town.networks = {red.id: red, blue.id: blue, white.id: white}
        for each, following in zip(ring, (*ring[1:], ring[0]), strict=True):
            town.networks[each.id] = replace(each, vni=following.vni)
        thought = town.think()
        assert not thought.plan, "a word could not make it safe either"
        assert ["give one of them a third VNI" in unmet.reason for unmet in thought.unmet] == [True] * len(ring)
    town.networks = {red.id: replace(red, vni=blue.vni), blue.id: replace(blue, vni=white.vni), white.id: white}
    assert not any("third" in unmet.reason for unmet in town.think().unmet), "white stays: it is no ring"


def test_an_operators_word_gives_a_former_vni_away() -> None:
    town = renumbered()
    town.settle()  # which makes what asks, too
    assert town.groups["pg-red"].mark == OwnerMark("isthmus", NetworkId("red"), Vni(6001))
    assert "new-green" in town.groups


def test_a_network_may_take_its_former_vni_again_and_remembers_all_it_had() -> None:
    town = town_of_groups().vm("a", "red")
    red = town.networks[NetworkId("red")]
    for vni in (6001, 7001, 6001):
        town.networks[red.id] = replace(red, vni=Vni(vni))
        town.settle()
    assert town.groups["pg-red"].mark == OwnerMark("isthmus", red.id, Vni(6001), (Vni(5001), Vni(7001)))
