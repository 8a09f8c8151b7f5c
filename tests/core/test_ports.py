"""DV ports come up claimed, known, open, and go down closed, forgotten, bare; nothing else ever carries a frame."""

from dataclasses import replace

from isthmus.core.design import OVSVAPP
from isthmus.core.explain import Side, explain
from isthmus.model.intent import Port
from isthmus.model.inventory import Move
from isthmus.model.names import NetworkId, NicId, PortId, VmId
from isthmus.model.observed import Access, PortGroupState, TargetId, Trunk
from isthmus.model.scope import HostScope
from isthmus.model.shard import VidPool
from isthmus.model.tags import Vid, VidSet
from tests.core.town import DVS, ESX1, ESX2, SWITCH, Town, gates, kinds


def test_the_first_port_of_a_network_is_claimed_closed_and_opens_only_after_a_second_look() -> None:
    town = Town().network("red").vm("a", "red")
    thought = town.think()
    assert gates(thought) == [("a", "claim")]
    assert town.maps() == set()
    for change in thought.plan.changes:
        town.make(change)
    assert town.open_with("a") is None
    second = town.think()
    assert gates(second) == [("a", "open")]
    [learn] = [c.id for c in second.plan.changes if "Learn" in type(c.action).__name__]
    assert learn in second.plan.changes[-1].after
    town.settle()
    assert town.maps() == {(town.open_with("a"), 5001)}


def test_a_further_port_of_the_network_on_the_host_opens_in_one_write() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    town.vm("b", "red")
    assert gates(town.think()) == [("b", "open")]
    town.settle()
    assert town.open_with("b") == town.open_with("a")


def test_a_settled_town_rests() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "blue").vm("c", "red", on=ESX2)
    town.settle(ESX1)
    town.settle(ESX2)
    assert not town.think(ESX1).plan
    assert not town.think(ESX2).plan
    assert town.open_with("a") == town.open_with("c") != town.open_with("b")


def test_a_powered_off_vm_is_closed_before_the_nve_forgets_and_bared_after() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    town.nic("a", powered_on=False)
    thought = town.think()
    assert gates(thought) == [("a", "close"), ("a", "bare")]
    assert kinds(thought)[0] == "SetDvPort"
    close, *forgets, bare = thought.plan.changes
    assert all(close.id in forget.after for forget in forgets)
    assert {forget.id for forget in forgets} <= bare.after
    town.settle()
    assert town.maps() == set()
    assert town.ports["a"].vlan_own is False


def test_a_powered_off_vm_goes_bare_in_one_write_while_another_of_its_network_stays_on_the_host() -> None:
    town = Town().network("red").vm("a", "red").vm("b", "red").vm("c", "red", on=ESX2)
    town.settle()
    tag = town.open_with("b")
    town.nic("a", powered_on=False)
    thought = town.think()
    assert gates(thought) == [("a", "bare")]
    town.settle()
    assert (tag, 5001) in town.maps()
    assert town.open_with("b") == tag
    town.nic("b", powered_on=False)
    assert gates(town.think()) == [("b", "close"), ("b", "bare")], "one on another host does not keep the tag here"


def test_two_that_are_powered_off_at_once_do_not_keep_the_tag_for_each_other() -> None:
    town = Town().network("red").vm("a", "red").vm("b", "red")
    town.settle()
    town.nic("a", powered_on=False)
    town.nic("b", powered_on=False)
    assert sorted(gates(town.think())) == [("a", "bare"), ("a", "close"), ("b", "bare"), ("b", "close")]


def test_where_ports_are_listed_a_further_port_is_claimed_first_as_well() -> None:
    town = Town().network("red")
    town.networks[NetworkId("red")] = replace(town.networks[NetworkId("red")], ports_listed=True)
    for name in ("a", "b"):
        town.vm(name, "red")
        nic = town.nics[NicId(VmId(name), 4000)]
        town.listed[PortId(name)] = Port(PortId(name), NetworkId("red"), VmId(name), nic.mac)
        assert gates(town.think()) == [(name, "claim")]
        town.settle()
    assert town.open_with("a") == town.open_with("b") is not None


def test_with_the_nve_unknown_nothing_opens_and_no_tag_comes_off() -> None:
    town = Town().network("red").vm("a", "red").vm("b", "red")
    town.settle()
    town.unknown = {TargetId("ovs", ESX1)}
    town.nic("a", powered_on=False)
    town.network("blue").vm("c", "blue")
    for change in town.think().plan.changes:
        town.make(change)
    thought = town.think()
    assert gates(thought) == []
    assert town.ports["a"].vlan_own, "the NVE may still map it"
    assert town.open_with("c") is None
    assert town.open_with("b") is not None
    assert any("not ready" in unmet.reason for unmet in thought.unmet)


def test_with_vcenter_unknown_an_nve_that_lost_its_flows_is_told_again_and_no_place_is_touched() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    town.flows[ESX1] = {}
    town.unknown = {SWITCH}
    town.nic("a", powered_on=True)
    thought = town.think()
    assert set(kinds(thought)) == {"Learn"}
    town.settle()
    assert town.maps() == {(town.open_with("a"), 5001)}


def test_an_intent_that_is_only_remembered_takes_nothing_away_but_still_wires() -> None:
    town = Town().network("red").network("blue").vm("a", "red")
    town.settle()
    vid = town.open_with("a")
    del town.networks[NetworkId("red")]
    town.fresh = False
    town.vm("b", "blue")
    town.settle()
    assert town.open_with("a") == vid
    assert town.open_with("b") is not None
    town.fresh = True
    town.settle()
    assert town.open_with("a") is None


def test_while_the_intent_is_only_remembered_no_tag_comes_off_a_closed_port_whose_nve_still_maps_it() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    before = town.maps()
    town.tag("a", town.open_with("a"), blocked=True)
    town.networks.clear()
    town.fresh = False
    assert not town.think().plan
    assert town.maps() == before
    town.fresh = True
    town.settle()
    assert (town.maps(), town.ports["a"].vlan_own) == (set(), False)


def test_two_writers_that_claimed_one_vid_at_once_never_both_open() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "blue", on=ESX2)
    town.tag("a", 105, blocked=True)
    town.tag("b", 105, blocked=True)
    for host in (ESX1, ESX2, ESX1, ESX2):
        for change in town.think(host).plan.changes:
            town.make(change, host)
        assert not (town.open_with("a") == town.open_with("b") is not None)
    town.settle(ESX1)
    town.settle(ESX2)
    assert None not in (town.open_with("a"), town.open_with("b"))


def test_who_is_open_with_a_tag_that_another_claimed_looks_until_that_one_has_left_it() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "blue", on=ESX2)
    town.settle()
    town.tag("a", 105, blocked=False)
    town.tag("b", 105, blocked=True)
    [unmet] = town.think(ESX1).unmet
    assert unmet.contested
    assert "port a" in unmet.about
    town.settle(ESX2)
    town.settle(ESX1)
    assert not town.think(ESX1).unmet
    assert town.open_with("a") == Vid(105) != town.open_with("b")


def test_a_tag_that_belongs_to_another_network_ends_at_once() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "blue")
    town.settle()
    stolen, own = town.open_with("a"), town.open_with("b")
    town.tag("b", stolen, blocked=False)
    first = town.think().plan.changes[0]
    assert (first.action.gate.value, first.after) == ("claim", frozenset())  # type: ignore[union-attr]
    town.make(first)
    assert town.open_with("b") is None
    town.settle()
    assert town.open_with("a") == stolen
    assert town.open_with("b") == own


def test_another_networks_tag_ends_at_once_though_the_nve_is_unknown_and_a_neighbour_holds_the_right_one() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "blue").vm("c", "blue")
    town.settle()
    town.tag("c", town.open_with("a"), blocked=False)
    town.unknown = {TargetId("ovs", ESX1)}
    for change in town.think().plan.changes:
        town.make(change)
    assert town.open_with("c") is None
    assert None not in (town.open_with("a"), town.open_with("b"))


def test_a_port_is_left_alone_while_inventory_and_switch_disagree_about_who_holds_it() -> None:
    for held in ({"cookie": 99}, {"port_key": "another"}):
        town = Town().network("red").vm("a", "red").vm("b", "red")
        town.settle()
        town.nic("a", **held)
        assert gates(town.think()) == []
        town.ports["b"] = replace(town.ports["b"], nic=NicId(VmId("a"), 4000))
        assert gates(town.think()) == [], "nor another one that the NIC is said to hold"


def test_a_vid_that_two_networks_wear_elsewhere_is_of_the_one_with_more_ports_and_opens_for_neither() -> None:
    town = Town().network("red").network("blue").vm("x", "blue")
    for name, network in (("a", "red"), ("b", "blue"), ("c", "blue")):
        town.vm(name, network, ESX2).tag(name, 105, blocked=False)
    town.settle()
    assert town.ports["x"].vlan == Access(Vid(105))
    assert town.ports["x"].blocked
    assert [unmet.about for unmet in town.think().unmet if unmet.contested] == ["port x"], "it looks until it may"


def test_a_port_open_without_a_tag_is_closed_or_tagged_in_the_first_write() -> None:
    town = Town().network("red").vm("a", "red")
    town.ports["a"] = replace(town.ports["a"], blocked=False, blocked_own=True)
    assert gates(town.think()) == [("a", "claim")]


def test_a_move_takes_the_tag_along_and_needs_no_write() -> None:
    town = Town().network("red").vm("a", "red").vm("b", "red", on=ESX2)
    town.settle(ESX1)
    town.settle(ESX2)
    vid = town.open_with("a")
    town.moves = (Move("a", ESX2, 0.0),)
    assert gates(town.think(ESX1)) == gates(town.think(ESX2)) == []
    town.settle(ESX2)
    town.moves = ()
    town.move("a", ESX2)
    assert gates(town.think(ESX1)) == gates(town.think(ESX2)) == []
    town.settle(ESX1)
    town.settle(ESX2)
    assert town.open_with("a") == vid
    assert town.maps(ESX1) == set()


def test_the_destination_of_an_announced_move_knows_the_vm_before_it_arrives() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    town.moves = (Move("a", ESX2, 0.0),)
    town.settle(ESX2)
    assert town.maps(ESX2) == {(town.open_with("a"), 5001)}
    town.moves = ()  # it never came
    town.settle(ESX2)
    assert town.maps(ESX2) == set()


def test_the_destination_of_an_announced_move_is_told_nothing_while_the_port_is_still_closed() -> None:
    town = Town().network("red").vm("a", "red")
    town.tag("a", 100, blocked=True)
    town.moves = (Move("a", ESX2, 0.0),)
    town.settle(ESX2)
    assert town.maps(ESX2) == set()
    town.settle(ESX1)
    town.settle(ESX2)
    assert town.maps(ESX2) == {(100, 5001)}


def test_under_reuse_an_announced_move_is_first_given_a_vid_free_on_both_hosts() -> None:
    town = Town(pool=VidPool(VidSet.of("100-101"), reuse=True)).network("red").network("blue")
    town.vm("a", "red").vm("b", "blue", on=ESX2)
    town.tag("a", 100, blocked=True)
    town.tag("b", 100, blocked=True)
    town.settle(ESX1)
    town.settle(ESX2)
    assert town.open_with("a") == town.open_with("b") == 100
    town.moves = (Move("a", ESX2, 0.0),)
    town.settle(ESX1)
    assert town.open_with("a") == 101
    town.settle(ESX2)
    assert town.maps(ESX2) == {(100, 5002), (101, 5001)}


def test_a_vid_reserved_on_the_host_where_a_vm_arrives_is_left() -> None:
    scope = HostScope(ESX2, DVS)
    town = Town(pool=VidPool(VidSet.of("100-101"), reserved_in={scope: VidSet.of("100")})).network("red")
    town.vm("a", "red")
    town.tag("a", 100, blocked=True)
    town.settle()
    town.move("a", ESX2)
    town.settle(ESX2)
    assert town.open_with("a") == 101


def test_a_listed_network_wires_only_the_ports_that_agree_in_vm_mac_and_network() -> None:
    town = Town().network("red").vm("a", "red").vm("clone", "red")
    town.networks[NetworkId("red")] = replace(town.networks[NetworkId("red")], ports_listed=True)
    nic = town.nics[NicId(VmId("a"), 4000)]
    town.listed[PortId("p")] = Port(PortId("p"), NetworkId("red"), VmId("a"), nic.mac)
    town.nic("clone", mac=nic.mac)
    town.settle()
    assert town.open_with("a") is not None
    assert town.open_with("clone") is None
    town.listed[PortId("p")] = replace(town.listed[PortId("p")], admin_up=False)
    town.settle()
    assert town.open_with("a") is None


def test_a_trunk_that_does_not_carry_a_vid_in_use_is_said_and_is_why_a_nic_has_no_network() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    vid = town.open_with("a")
    assert vid is not None
    trunk = PortGroupState("pg-trunk", "trunk", Trunk(VidSet.of(range(1, 4095))), False, "0", forged_transmits=True)
    town.groups["pg-trunk"] = trunk
    assert not town.think().unmet
    narrow = replace(trunk, vlan=Trunk(VidSet.of(range(1, vid))))
    town.groups["pg-trunk"] = narrow
    town.groups["pg-uplinks"] = replace(trunk, key="pg-uplinks", is_uplink=True)
    [unmet] = town.think().unmet
    assert f"carries VID {vid}" in unmet.reason
    [report], _ = explain(OVSVAPP, *town.seen())
    assert (report.wired, report.behind) == (False, Side.VCENTER)
    town.groups["pg-second"] = replace(trunk, key="pg-second")
    assert not town.think().unmet
