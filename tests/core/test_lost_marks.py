"""A port group that lost its owner mark takes the network from nobody who is using it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.core.design import OVSVAPP
from isthmus.core.explain import Side, explain
from isthmus.core.view import look
from isthmus.model.change import AlterPortGroup, CreatePortGroup
from isthmus.model.intent import Network
from isthmus.model.names import NetworkId, mac
from isthmus.model.observed import Access, OwnerMark
from isthmus.model.shard import Duty
from isthmus.model.tags import Vid, Vni
from tests.core.town import DVS, ESX1, ESX2, Town


def unmarked(town: Town, of: str, **changes: object) -> None:
    """Somebody cleared the description."""
    town.groups[f"pg-{of}"] = replace(town.groups[f"pg-{of}"], mark=None, **changes)  # type: ignore[arg-type]


def handed_back(town: Town, of: str, **changes: object) -> None:
    """The port group was released."""
    unmarked(town, of, handed_back=town.groups[f"pg-{of}"].mark, **changes)


def vnis(town: Town) -> set[int]:
    """The VNIs that the first host serves."""
    return {vni for _, vni in town.maps()}


def two_networks() -> Town:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "red", on=ESX2).vm("x", "blue")
    for host in town.flows:
        town.settle(host)
    return town


def test_a_host_goes_on_serving_open_nics_whose_port_group_lost_its_mark_and_says_so() -> None:
    town = two_networks()
    before, vid = dict(town.flows), town.open_with("a")
    unmarked(town, "red")
    for host in town.flows:
        thought = town.think(host)
        assert not thought.plan
        assert [(u.about, "mark" in u.reason) for u in thought.unmet] == [("port group pg-red", True)]
    assert town.flows == before
    town.vm("late", "blue")
    town.settle()
    assert town.open_with("late") not in (None, vid), "the tag is still worn"


def test_its_own_name_and_that_with_the_name_of_its_switch_say_alike_whose_it_was() -> None:
    for name, knows in (("red", True), ("red (tenant)", True), ("red (red)", True), ("red (other)", False)):
        town = two_networks()
        unmarked(town, "red", name=name)
        assert bool(look(OVSVAPP, *town.seen()[:3]).presumed) is knows, name
        assert bool(town.think().plan) is not knows, f"{name}: its NICs are served on, or cut off"


def test_with_its_mark_back_the_network_is_as_it_was() -> None:
    town = two_networks()
    mark = town.groups["pg-red"].mark
    unmarked(town, "red")
    town.settle()
    town.groups["pg-red"] = replace(town.groups["pg-red"], mark=mark)
    assert town.settle() == 0
    assert not town.think().unmet


def test_once_its_last_nic_here_has_left_the_host_forgets_the_network() -> None:
    town = two_networks()
    unmarked(town, "red")
    town.move("a", ESX2)
    town.settle()
    assert {vni for _, vni in town.maps()} == {5002}


def test_a_nic_that_went_into_a_foreign_port_group_of_the_same_vid_has_left_the_network() -> None:
    town = two_networks()
    vid = Vid(town.open_with("a") or 0)
    foreign = replace(town.groups["pg-red"], key="pg-theirs", name="theirs", mark=None, vlan=Access(vid), blocked=False)
    town.groups["pg-theirs"] = foreign
    del town.ports["a"]
    nic = next(nic for nic in town.nics if nic.vm == "a")
    town.nic("a", dvs=DVS, port_group="pg-theirs", port_key="t")
    town.ports["t"] = replace(
        town.ports["x"], key="t", port_group="pg-theirs", vlan=Access(vid), vlan_own=False, blocked=False, nic=nic
    )
    town.settle()
    assert int(vid) not in {found for found, _ in town.maps()}


def test_a_network_that_is_not_wanted_any_more_is_not_served_whatever_became_of_its_mark() -> None:
    for lose in (unmarked, handed_back):
        town = two_networks()
        lose(town, "red")
        del town.networks[NetworkId("red")]
        town.settle()
        assert vnis(town) == {5002}, lose


def test_another_network_that_got_the_vni_does_not_get_the_nics() -> None:
    for lose in (unmarked, handed_back):
        town = two_networks()
        lose(town, "red")
        town.networks.pop(NetworkId("red"))
        town.networks[NetworkId("green")] = Network(NetworkId("green"), Vni(5001), "green")
        mark = OwnerMark("isthmus", NetworkId("green"), Vni(5001))
        town.groups["pg-green"] = replace(town.groups["pg-blue"], key="pg-green", name="green", mark=mark)
        town.vm("g", "green")
        town.settle()
        assert town.maps() == {(town.open_with("g"), 5001), (town.open_with("x"), 5002)}, lose


def test_a_network_waits_for_a_vni_that_nics_of_another_still_use_in_a_port_group_that_was_handed_back() -> None:
    town = two_networks()
    town.duties = Duty.PORT_GROUPS
    handed_back(town, "red")
    town.networks.pop(NetworkId("red"))
    town.networks[NetworkId("green")] = Network(NetworkId("green"), Vni(5001), "green")
    thought = town.think()
    assert not any(isinstance(change.action, CreatePortGroup) for change in thought.plan.changes)
    assert any("still has its VNI 5001" in unmet.reason for unmet in thought.unmet)
    for vm in ("a", "b"):
        del town.ports[vm]
    assert any(isinstance(change.action, CreatePortGroup) for change in town.think().plan.changes)


def test_what_another_installation_handed_back_keeps_no_vni_from_our_networks() -> None:
    town = two_networks()
    town.duties = Duty.PORT_GROUPS
    theirs = OwnerMark("another installation", NetworkId("red"), Vni(5001))
    unmarked(town, "red", handed_back=theirs)
    town.networks.pop(NetworkId("red"))
    town.networks[NetworkId("green")] = Network(NetworkId("green"), Vni(5001), "green")
    assert any(isinstance(change.action, CreatePortGroup) for change in town.think().plan.changes)


def test_the_next_network_of_the_name_does_not_get_the_nics_if_its_vni_is_another() -> None:
    town = two_networks()
    unmarked(town, "red")
    town.networks.pop(NetworkId("red"))
    town.networks[NetworkId("r2")] = Network(NetworkId("r2"), Vni(7001), "red")
    town.settle()
    assert vnis(town) == {5002}


def test_somebody_elses_port_group_with_the_same_vid_and_nic_is_nobody_of_ours() -> None:
    theirs = OwnerMark("another installation", NetworkId("red"), Vni(5001))
    for changes in (
        {"mark": theirs},
        {"mark": None, "handed_back": theirs},
        {"mark": None, "unjudged": True},
        {"mark": None, "name": "made by hand"},
        {"mark": None, "vlan": Access(Vid(900))},
        {"mark": None, "blocked": False},
        {"mark": None, "block_override": False},
        {"mark": None, "is_uplink": True},
    ):
        town = two_networks()
        town.groups["pg-red"] = replace(town.groups["pg-red"], **changes)  # type: ignore[arg-type]
        town.settle()
        assert vnis(town) == {5002}, changes


@pytest.mark.parametrize("what", ["another mac", "a vid the nve never gave it", "a closed port", "an nve that lost it"])
def test_only_what_the_nve_serves_to_this_very_nic_now_is_served_on(what: str) -> None:
    town = two_networks()
    vid = town.open_with("a")
    match what:
        case "another mac":
            town.nic("a", mac=mac("00:50:56:ff:ff:ff"))
        case "a vid the nve never gave it":
            town.tag("a", 109 if vid != 109 else 108, blocked=False)
        case "a closed port":
            town.tag("a", vid, blocked=True)
        case _:
            town.flows[ESX1].clear()
    unmarked(town, "red")
    town.settle()
    assert vnis(town) == {5002}


def test_nics_of_the_old_port_group_and_of_a_new_one_of_the_network_hear_each_other() -> None:
    town = two_networks()
    handed_back(town, "red", name="red-old")
    mark = OwnerMark("isthmus", NetworkId("red"), Vni(5001))
    town.groups["pg-new"] = replace(town.groups["pg-blue"], key="pg-new", name="red", mark=mark)
    town.vm("n", "new")
    town.settle()
    assert {vid for vid, vni in town.maps() if vni == 5001} == {town.open_with("n"), town.open_with("a")}
    assert town.open_with("n") != town.open_with("a"), "a tag in a port group that is not ours was given away"


def test_a_port_group_that_was_handed_back_is_taken_up_again_under_whatever_name() -> None:
    town = two_networks()
    town.duties = Duty.PORT_GROUPS
    handed_back(town, "red", name="red-old")
    [change] = town.think().plan.changes
    assert isinstance(change.action, AlterPortGroup)
    town.make(change)
    assert town.settle() == 0
    assert town.groups["pg-red"].mark == OwnerMark("isthmus", NetworkId("red"), Vni(5001))


def test_a_nic_elsewhere_in_a_port_group_that_lost_its_mark_is_still_reached() -> None:
    town = two_networks()
    before = dict(town.flows[ESX1])
    unmarked(town, "red")
    town.settle()
    assert town.flows[ESX1] == before, "b is on the other host, and served there"


def test_why_a_nic_waits_names_the_port_group_that_lost_its_mark() -> None:
    town = two_networks()
    unmarked(town, "red")
    town.move("a", ESX2)
    reports, _ = explain(OVSVAPP, *town.seen(ESX2))
    [report] = [report for report in reports if report.nic.vm == "a"]
    assert (report.wired, report.behind) == (False, Side.VCENTER)
    assert "pg-red carries no mark" in report.why


def test_a_second_network_of_the_same_name_takes_nothing_from_the_nics_of_the_first() -> None:
    town = two_networks()
    unmarked(town, "red")
    town.networks[NetworkId("r2")] = Network(NetworkId("r2"), Vni(7001), "red")
    town.settle()
    assert vnis(town) == {5001, 5002}
    mark = OwnerMark("isthmus", NetworkId("r2"), Vni(7001))
    town.groups["pg-r2"] = replace(town.groups["pg-blue"], key="pg-r2", name="red (r2)", mark=mark)
    town.vm("n", "r2")
    town.settle()
    assert vnis(town) == {5001, 5002, 7001}
    assert not {vid for vid, vni in town.maps() if vni == 5001} & {vid for vid, vni in town.maps() if vni == 7001}


def namesakes() -> Town:
    """Two networks named "red", each with a port group of its own and a VM here; the first one's lost its mark."""
    town = two_networks()
    other = Network(NetworkId("r2"), Vni(7001), "red")
    town.networks[other.id] = other
    mark = OwnerMark("isthmus", other.id, other.vni)
    town.groups["pg-r2"] = replace(town.groups["pg-blue"], key="pg-r2", name="red (r2)", mark=mark)
    town.vm("n", "r2")
    town.settle()
    unmarked(town, "red")
    return town


def created(town: Town) -> list[str]:
    return [str(c.action.spec.mark.network) for c in town.think().plan.changes if isinstance(c.action, CreatePortGroup)]


def test_no_second_port_group_is_made_for_a_network_whose_own_lost_its_mark_though_a_name_is_free() -> None:
    town = two_networks()
    town.duties = Duty.PORT_GROUPS | Duty.TAGS
    unmarked(town, "red")
    town.networks[NetworkId("z")] = Network(NetworkId("z"), Vni(5777), "red")
    assert created(town) == ["z"], "the NVE serves red's VMs in it with red's VNI"
    assert any(u.about == "network red" and "put its description back" in u.reason for u in town.think().unmet)
    town.settle()
    assert vnis(town) == {5001, 5002}
    for vm in "ab":
        town.tag(vm, town.open_with(vm), blocked=True)
    assert created(town) == ["red"], "nobody is in it who could lose anything"


def test_who_writes_port_groups_and_sees_no_nve_makes_none_for_any_network_that_the_lost_one_may_be_of() -> None:
    town = two_networks()
    unmarked(town, "red")
    town.networks[NetworkId("z")] = Network(NetworkId("z"), Vni(5777), "red")
    town.networks[NetworkId("green")] = Network(NetworkId("green"), Vni(5778), "green")
    town.duties = Duty.PORT_GROUPS
    for host in town.flows:
        town.flows[host].clear()
    assert created(town) == ["green"]
    assert [u.about for u in town.think().unmet if "put its description back" in u.reason] == [
        "network red",
        "network z",
    ]


def test_of_two_networks_of_one_name_it_is_the_one_that_the_nve_serves_though_that_has_a_port_group_already() -> None:
    town = namesakes()
    mark = OwnerMark("isthmus", NetworkId("red"), Vni(5001))
    town.groups["pg-again"] = replace(town.groups["pg-blue"], key="pg-again", name="red (red)", mark=mark)
    town.settle()
    assert vnis(town) == {5001, 5002, 7001}
    assert {vid for vid, vni in town.maps() if vni == 5001} == {town.open_with("a")}


def test_of_two_networks_of_one_name_a_closed_port_or_one_with_anothers_vid_proves_neither() -> None:
    for blocked, wearing in ((True, "a"), (False, "n"), (True, "n")):
        town = namesakes()
        town.tag("a", town.open_with(wearing), blocked=blocked)
        assert not presumed(town)
        town.settle()
        assert vnis(town) == {5002, 7001}
    assert presumed(namesakes()) == {"pg-red": "red"}


def presumed(town: Town) -> dict[str, str]:
    """The port groups without a mark and whose they are taken for."""
    world, observed, pool, _ = town.seen()
    return {key: mark.network for (_, key), mark in look(OVSVAPP, world, observed, pool).presumed.items()}
