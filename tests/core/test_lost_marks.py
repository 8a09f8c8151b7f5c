"""A port group that lost its owner mark takes the network from nobody who is using it."""

from __future__ import annotations

from dataclasses import replace

from isthmus.model.observed import Access
from isthmus.model.tags import Vid
from tests.core.town import DVS, ESX2, Town


def unmarked(town: Town, name: str) -> None:
    """Somebody cleared the description, or the port group was handed back."""
    town.groups[f"pg-{name}"] = replace(town.groups[f"pg-{name}"], mark=None)


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
