"""What is made for a deployment, given what there is; what is refused, and that nothing is ever taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from isthmus.core.prepare import prepare
from isthmus.model.ground import (
    Carried,
    Ground,
    GroupFound,
    HostFound,
    JoinHost,
    MakerMark,
    MakeSwitch,
    MakeTrunk,
    NarrowUplinks,
    NicUse,
    Preparation,
    SetSwitch,
    SwitchFound,
    SwitchWanted,
    UplinkFound,
    WidenUplinks,
)
from isthmus.model.names import DvsId, HostId, NetworkId
from isthmus.model.observed import Access, MacLearning, NoVlan, OwnerMark, PortGroupState, PrivateVlan, Trunk, VlanSpec
from isthmus.model.tags import ALL_VIDS, NO_VIDS, Vid, VidSet, Vni

OURS = MakerMark("isthmus", "rack1")
VIDS = VidSet.of("101-199")
UUID = DvsId("50 2d")


def host(name: str, *, datacenter: str = "dc1", connected: bool = True, **used: NicUse) -> HostFound:
    nics: dict[str, NicUse | None] = dict.fromkeys(("vmnic0", "vmnic1", "vmnic2"))
    return HostFound(HostId(f"vc/{name}"), name, datacenter, connected, {**nics, **used})


def wants(nics: Mapping[str, tuple[str, ...]], *, wired: bool = True, trunk: str | None = None) -> SwitchWanted:
    return SwitchWanted("rack1", OURS, 1600, VIDS, wired, nics, trunk)


def made(members: Mapping[str, tuple[str, ...]], maker: MakerMark | None = OURS) -> SwitchFound:
    """A switch as it should be."""
    ids = {HostId(f"vc/{name}"): nics for name, nics in members.items()}
    return SwitchFound(UUID, "rack1", "dc1", maker, 1600, True, 4, (uplinks(VIDS),), ids)


def uplinks(vids: VidSet, key: str = "up", *, untagged: bool = False) -> UplinkFound:
    return UplinkFound(key, key, Carried(vids, untagged))


def carrying(switch: SwitchFound, vids: VidSet, *, untagged: bool = False) -> SwitchFound:
    return replace(switch, uplink_groups=(uplinks(vids, untagged=untagged),))


def group(name: str, vlan: VlanSpec, *, works: bool = True, maker: MakerMark | None = None) -> GroupFound:
    return GroupFound(PortGroupState("pg", name, vlan, False, "1", forged_transmits=works, promiscuous=works), maker)


def todo(wanted: SwitchWanted, *switches: SwitchFound, hosts: tuple[HostFound, ...] = ()) -> Preparation:
    there = hosts or tuple(host(name) for name in wanted.nics)
    return prepare(wanted, Ground(there, switches))


def does(preparation: Preparation) -> list[object]:
    assert not preparation.refusals
    return [step.does for step in preparation.steps]


def refused(preparation: Preparation, *words: str) -> None:
    assert preparation.steps == ()
    [text] = preparation.refusals
    assert all(word in text for word in words), text


ONE = {"esx1": ("vmnic1",)}


def test_where_nothing_is_everything_is_made_in_the_hosts_datacenter() -> None:
    joined = JoinHost(HostId("vc/esx1"), "esx1", ("vmnic1",))
    assert does(todo(wants(ONE))) == [MakeSwitch("dc1", OURS, 1600, 4, Carried(VIDS)), joined]


def test_a_host_with_many_nics_has_an_uplink_for_each() -> None:
    many = tuple(f"vmnic{number}" for number in range(6))
    there = replace(host("esx1"), nics=dict.fromkeys(many))
    assert does(todo(wants({"esx1": many}), hosts=(there,)))[0] == MakeSwitch("dc1", OURS, 1600, 6, Carried(VIDS))


@pytest.mark.parametrize("maker", [OURS, None, MakerMark("another", "rack1")])
def test_what_is_right_stays_whoever_made_it(maker: MakerMark | None) -> None:
    assert todo(wants(ONE), made(ONE, maker)) == Preparation()


@pytest.mark.parametrize("maker", [None, MakerMark("another", "rack1")])
def test_a_switch_without_our_mark_is_never_changed(maker: MakerMark | None) -> None:
    found = todo(wants(ONE), replace(carrying(made({}, maker), VidSet.of("101-150")), mtu=1500, lldp=False))
    assert found.steps == ()
    assert len(found.refusals) == 3, "MTU, uplinks, host; LLDP is no need"


def test_a_switch_keeps_an_mtu_that_is_more_than_enough() -> None:
    jumbo = replace(made(ONE), mtu=9000)
    assert does(todo(wants(ONE), jumbo)) == []
    assert does(todo(wants(ONE), replace(jumbo, lldp=False))) == [SetSwitch(9000)]


NETWORK = OwnerMark("isthmus", NetworkId("red"), Vni(5001))
WIDE, BOTH = Carried(ALL_VIDS, untagged=True), Carried(VIDS, untagged=True)


def ours(vlan: VlanSpec, *, mark: OwnerMark = NETWORK, override: bool = False) -> GroupFound:
    return GroupFound(PortGroupState("pg", "red", vlan, False, "1", mark=mark, vlan_override=override))


def test_uplinks_stop_carrying_what_nobody_uses() -> None:
    only = NarrowUplinks("up", Carried(VIDS))
    assert does(todo(wants(ONE), carrying(made(ONE), ALL_VIDS))) == [only]
    assert does(todo(wants(ONE), carrying(made(ONE), VIDS, untagged=True))) == [only]
    [step] = todo(wants(ONE), carrying(made(ONE), VidSet.of("1-150"), untagged=True)).steps
    assert step.does == only
    assert step.reason == "its uplinks do not carry VIDs 151-199, and carry VIDs 1-100 and untagged frames for nobody"
    networks = replace(carrying(made(ONE), ALL_VIDS, untagged=True), groups=(ours(Access(Vid(101))),))
    assert does(todo(wants(ONE), networks)) == [only]


USERS = [
    group("untagged", NoVlan()),
    group("backup", Access(Vid(300))),
    group("appliance", Trunk(VidSet.of("300-310"))),
    group("isolated", PrivateVlan(Vid(701))),
    group("ours by number only", Access(Vid(101))),
    group("trunk", Trunk(VIDS), maker=OURS),
    ours(Access(Vid(300))),
    ours(NoVlan()),
    ours(Access(Vid(101)), override=True),
    ours(Access(Vid(101)), mark=replace(NETWORK, owner="another")),
]


@pytest.mark.parametrize("user", USERS, ids=lambda user: f"{user.state.name}-{user.state.vlan}")
def test_uplinks_go_on_carrying_all_where_a_port_group_may_be_using_it(user: GroupFound) -> None:
    wide = replace(carrying(made(ONE), ALL_VIDS, untagged=True), groups=(user,))
    assert does(todo(wants(ONE), wide)) == []
    narrow = replace(carrying(made(ONE), VidSet.of("101-150,300"), untagged=True), groups=(user,))
    assert does(todo(wants(ONE), narrow)) == [WidenUplinks("up", Carried(VIDS))]


@pytest.mark.parametrize("untagged", [True, False])
def test_uplinks_on_which_a_host_is_managed_are_never_narrowed(untagged: bool) -> None:
    managed = replace(carrying(made(ONE), ALL_VIDS, untagged=untagged), vmkernel=("vmk0 of esx1",))
    assert does(todo(wants(ONE), managed)) == []
    narrow = replace(carrying(made(ONE), VidSet.of("120"), untagged=untagged), vmkernel=("vmk0 of esx1",))
    assert does(todo(wants(ONE), narrow)) == [WidenUplinks("up", Carried(VIDS))]


def test_each_of_several_uplink_port_groups_carries_all_vids() -> None:
    two = (uplinks(VidSet.of("101-150")), uplinks(VidSet.of("151-199"), "lag"))
    found = todo(wants(ONE), replace(made(ONE), uplink_groups=two))
    assert does(found) == [WidenUplinks("up", Carried(VIDS)), WidenUplinks("lag", Carried(VIDS))]
    assert found.steps[1].reason == "its uplinks in port group 'lag' do not carry VIDs 101-150"
    assert does(todo(wants(ONE), replace(made(ONE), uplink_groups=(uplinks(VIDS), two[1])))) == does(found)[1:]


def test_uplinks_that_are_no_trunk_or_are_not_there_are_said() -> None:
    access = replace(uplinks(VidSet.of("101")), trunk=False)
    refused(todo(wants(ONE), replace(made(ONE), uplink_groups=(access,))), "no VLAN trunk", "101-199")
    refused(todo(wants(ONE), replace(made(ONE), uplink_groups=())), "no uplink port group")


def test_a_switch_that_no_host_can_join_is_not_made() -> None:
    away = (host("esx1", connected=False), host("esx2"))
    refused(todo(wants(ONE), hosts=away), "host 'esx1' is not connected")
    refused(todo(TENANT, hosts=away), "host 'esx1' is not connected")
    both = todo(wants({"esx1": ("vmnic1",), "esx2": ("vmnic1",)}), hosts=away)
    assert [type(step.does) for step in both.steps] == [MakeSwitch, JoinHost]


def test_a_nic_that_nobody_named_is_not_taken_off_but_said() -> None:
    refused(todo(wants(ONE), made({"esx1": ("vmnic1", "vmnic2")})), "brings vmnic2", "take it off the switch")


def test_a_host_table_that_names_no_nics_is_content_with_those_there_are() -> None:
    assert todo(wants({"esx1": ()}), made(ONE)) == Preparation()
    refused(todo(wants({"esx1": ()}), made({})), "brings no physical NIC", "'nics'")


def test_a_further_nic_is_added_to_those_there_are() -> None:
    joined = JoinHost(HostId("vc/esx1"), "esx1", ("vmnic1", "vmnic2"), ("vmnic1",))
    assert does(todo(wants({"esx1": ("vmnic2", "vmnic1")}), made(ONE))) == [joined]
    full = replace(made(ONE), uplinks=1)
    refused(todo(wants({"esx1": ("vmnic1", "vmnic2")}), full), "needs 2 uplinks, it has 1")


def test_a_nic_of_the_same_switch_is_no_nic_in_use() -> None:
    used = host("esx1", vmnic2=NicUse("distributed switch 'rack1'", UUID))
    joined = JoinHost(HostId("vc/esx1"), "esx1", ("vmnic1", "vmnic2"), ("vmnic1",))
    assert does(todo(wants({"esx1": ("vmnic1", "vmnic2")}), made(ONE), hosts=(used,))) == [joined]


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (NicUse("standard switch 'v'", None, ("vmk0",), ("vmk0",), last=True), ("the only uplink", "managed (vmk0)")),
        (NicUse("standard switch 'v'", None, ("vmk0", "vmk1"), ("vmk0",)), ("an uplink", "managed (vmk0)")),
        (NicUse("standard switch 'v'", None, ("vmk1",), last=True), ("the only uplink", "on which vmk1")),
        (NicUse("distributed switch 'x'", DvsId("x")), ("an uplink of distributed switch 'x'",)),
    ],
)
def test_a_nic_in_use_is_not_taken(use: NicUse, words: tuple[str, ...]) -> None:
    refused(todo(wants(ONE), made({}), hosts=(host("esx1", vmnic1=use),)), "NIC vmnic1 of host 'esx1'", *words)


def test_a_nic_that_does_not_exist_is_said_with_those_that_do() -> None:
    refused(todo(wants({"esx1": ("vmnic7",)}), made({})), "vmnic7", "vmnic0, vmnic1, vmnic2")


def test_a_member_whose_leaf_nobody_knows_is_said_and_left() -> None:
    there = (host("esx1"), host("esx9"))
    found = todo(wants(ONE), made({**ONE, "esx9": ("vmnic1",)}), hosts=there)
    refused(found, "host 'esx9' is a member", "below which leaf")


def test_hosts_that_cannot_be_told_stop_no_other() -> None:
    twice = (host("esx1"), host("esx2"), replace(host("esx2"), id=HostId("vc/other")))
    found = todo(wants({"esx1": ("vmnic1",), "esx2": ("vmnic1",), "esx3": ("vmnic1",)}), hosts=twice)
    assert [type(step.does) for step in found.steps] == [MakeSwitch, JoinHost]
    assert ["exists 2 times" in found.refusals[0], "does not exist" in found.refusals[1]] == [True, True]


def test_one_switch_is_not_made_for_two_datacenters_nor_found_in_another() -> None:
    both = wants({"esx1": ("vmnic1",), "esx2": ("vmnic1",)})
    refused(todo(both, hosts=(host("esx1"), host("esx2", datacenter="dc2"))), "2 datacenters (dc1, dc2)")
    refused(todo(wants(ONE), made({}), hosts=(host("esx1", datacenter="dc2"),)), "lies in datacenter dc1")
    refused(todo(wants(ONE), made({}), replace(made({}), id=DvsId("51"))), "exists 2 times")


def test_a_uuid_finds_a_switch_and_never_becomes_a_name() -> None:
    uuid = DvsId("50 2d 07 7c 3b 33 dc ab-ec 11 b7 a3 68 05 d8 68")
    by_uuid = replace(wants(ONE), name=uuid)
    assert todo(by_uuid, replace(made(ONE), id=uuid)) == Preparation()
    refused(todo(by_uuid, made(ONE)), "none of this uuid")


# --- the tenant switch --------------------------------------------------------------------------------------------

TENANT = replace(wants({"esx1": ()}, wired=False), name="rack1")


def test_a_tenant_switch_has_its_hosts_without_nics_and_a_trunk() -> None:
    joined = JoinHost(HostId("vc/esx1"), "esx1", ())
    trunk = MakeTrunk("rack1-trunk", OURS, VIDS)
    assert does(todo(TENANT)) == [MakeSwitch("dc1", OURS, 1600, 1, None), joined, trunk]


def test_nics_on_a_tenant_switch_are_said_if_they_carry_its_vids() -> None:
    trunk = (group("any", Trunk(VIDS)),)
    wired = replace(made(ONE), groups=trunk)
    refused(todo(TENANT, wired), "NICs are on it", "101-199", "take the NICs off")
    two = replace(wired, uplink_groups=(uplinks(VidSet.of("7")), uplinks(VidSet.of("190-250"), "lag")))
    refused(todo(TENANT, two), "NICs are on it", "VIDs 190-199")
    assert todo(TENANT, replace(wired, uplink_groups=(uplinks(VidSet.of("7")),))) == Preparation()
    assert todo(TENANT, replace(carrying(made({"esx1": ()}), ALL_VIDS), groups=trunk)) == Preparation()


@pytest.mark.parametrize("unfit", [group("t", Trunk(VidSet.of("101-150"))), group("t", Trunk(VIDS), works=False)])
def test_a_trunk_that_will_not_do_is_said_if_named_and_else_passed_over(unfit: GroupFound) -> None:
    there = replace(carrying(made({"esx1": ()}), NO_VIDS), groups=(unfit,))
    refused(todo(replace(TENANT, trunk="t"), there), "port group 't'")
    assert does(todo(TENANT, there)) == [MakeTrunk("rack1-trunk", OURS, VIDS)]


@pytest.mark.parametrize(
    ("learning", "works"),
    [
        (MacLearning(), True),
        (MacLearning(limit=1, drops=False), True),
        (MacLearning(limit=1), False),
        (MacLearning(unicast_flooding=False), False),
        (None, False),
    ],
    ids=str,
)
def test_a_trunk_that_floods_no_unicast_or_drops_remote_vms_frames_is_none(
    learning: MacLearning | None, works: bool
) -> None:
    by_hand = group("appliances", Trunk(ALL_VIDS))
    state = replace(by_hand.state, promiscuous=False, mac_learning=learning)
    there = replace(carrying(made({"esx1": ()}), NO_VIDS), groups=(replace(by_hand, state=state),))
    assert does(todo(TENANT, there)) == ([] if works else [MakeTrunk("rack1-trunk", OURS, VIDS)])


def test_nothing_is_put_on_a_tenant_switch_that_will_not_do() -> None:
    """A trunk of its VIDs on a wired switch would be its way out."""
    for maker in (None, OURS):
        refused(todo(TENANT, made(ONE, maker)), "NICs are on it", "101-199")
    mine = group("rack1-trunk", Trunk(VidSet.of("101-150")), maker=OURS)
    refused(todo(TENANT, replace(made(ONE, None), groups=(mine,))), "NICs are on it")


def test_a_host_that_cannot_join_keeps_a_trunk_off_switches_of_others_only() -> None:
    away = (host("esx1", connected=False),)
    mine = todo(TENANT, made({}), hosts=away)
    assert [step.does for step in mine.steps] == [MakeTrunk("rack1-trunk", OURS, VIDS)]
    assert len(mine.refusals) == 1
    assert not todo(TENANT, made({}, None), hosts=away).steps
    unknown = replace(TENANT, nics={"esx1": (), "esx7": ()})
    assert not todo(unknown, made({"esx1": ()}, None), hosts=(host("esx1"),)).steps
