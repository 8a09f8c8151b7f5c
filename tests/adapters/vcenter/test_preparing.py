"""What is read of a vCenter's ground, and that a step is taken only while the ground is still as the plan saw it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim

from isthmus.adapters.vcenter import ground, marks, preparing
from isthmus.adapters.vcenter.ground import OPAQUE, PNIC, VNIC, host_found, standing_on
from isthmus.adapters.vcenter.vlans import carried, is_trunk, trunk_of
from isthmus.core.prepare import prepare
from isthmus.model.faults import Refused, Retry
from isthmus.model.ground import (
    Carried,
    JoinHost,
    MakerMark,
    MakeTrunk,
    NarrowUplinks,
    NicUse,
    Preparing,
    SetSwitch,
    SetTrunk,
    Step,
    SwitchWanted,
    WidenUplinks,
)
from isthmus.model.names import DvsId
from isthmus.model.tags import VidSet
from lab.vcenter import Dvs, Host, Member, Pnic, PortGroup, Topology, Trunk, Vswitch
from tests.adapters.vcenter.bench import Bench, running
from tests.lab.vcenter.client import Client, Edit, setting, trunk, vlan, wait

pytestmark = pytest.mark.sim
PNICS = tuple(Pnic(f"vmnic{number}") for number in range(5))
MARK = MakerMark("isthmus", "rack1")
VIDS = VidSet.of("100-199")


@pytest.fixture
def bench() -> Iterator[Bench]:
    pair = Vswitch("pair", ("vmnic2", "vmnic3"), ("vmk1", "vmk2"))
    members = (Member("esx1", ("vmnic1",), ("vmk3",)), Member("esx2"))
    theirs = Dvs("theirs", (PortGroup("t", Trunk(((0, 50),))),), 9000, ("u1", "u2"), ((0, 0), (5, 7)), members)
    hosts = [Host("esx1", pnics=PNICS, vswitches=(pair,)), Host("esx2", pnics=PNICS)]
    with running(Topology.single(hosts, [theirs, Dvs("unasked")])) as made:
        yield made


@pytest.fixture
def client(bench: Bench) -> Iterator[Client]:
    session = Client(bench.simulator)
    yield session
    session.close()


@pytest.fixture
def ours(bench: Bench) -> Step:
    """A step on a switch that was made a moment ago: the one that adds esx2."""
    wanted = SwitchWanted("rack1", MARK, 1600, VIDS, True, {"esx1": ("vmnic4",), "esx2": ("vmnic1",)})
    steps = prepare(wanted, bench.vcenter.ground({"esx1", "esx2"}, {"rack1"})).steps
    for step in steps[:2]:
        bench.vcenter.prepare(step)
    return steps[2]


def reconfigure(dvs: Any, **changes: Any) -> None:
    wait(dvs.ReconfigureDvs_Task(Edit.ConfigSpec(configVersion=dvs.config.configVersion, **changes)))


def step(does: Preparing) -> Step:
    return Step("rack1", None, "isthmus", does, "")


def uplinks_of(dvs: Any) -> Any:
    [group] = dvs.config.uplinkPortgroup
    return group


def passing(dvs: Any) -> list[tuple[int, int]]:
    """The VIDs that pass the uplinks; 0 is untagged frames."""
    return ranges(uplinks_of(dvs))


def ranges(group: Any) -> list[tuple[int, int]]:
    return [(piece.start, piece.end) for piece in group.config.defaultPortConfig.vlan.vlanId]


def let_through(group: Any, *pieces: tuple[int, int]) -> None:
    policy = Edit.VmwarePortConfigPolicy(vlan=trunk(*pieces))
    version = group.config.configVersion
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(configVersion=version, defaultPortConfig=policy)
    wait(group.ReconfigureDVPortgroup_Task(spec))


def test_the_uses_of_a_hosts_nics_are_read(bench: Bench) -> None:
    ground = bench.vcenter.ground({"esx1"}, set())
    [host] = ground.hosts
    assert (host.name, host.datacenter, host.connected) == ("esx1", "dc1", True)
    theirs = DvsId(bench.vcenter.switch("theirs").id.name)
    assert host.nics == {
        "vmnic0": NicUse("standard switch 'vSwitch0'", None, ("vmk0",), ("vmk0",), last=True),
        "vmnic1": NicUse("distributed switch 'theirs'", theirs, ("vmk3",), (), last=True),
        "vmnic2": NicUse("standard switch 'pair'", None, ("vmk1", "vmk2")),
        "vmnic3": NicUse("standard switch 'pair'", None, ("vmk1", "vmk2")),
        "vmnic4": None,
    }


def test_a_nic_of_a_switch_of_nsx_is_in_use() -> None:
    pnic = SimpleNamespace(key="key-vmnic4", device="vmnic4")
    opaque = SimpleNamespace(key="nsx", name="nsxswitch", pnic=["key-vmnic4"])
    known = {"name": "esx1", PNIC: [pnic], OPAQUE: [opaque]}
    found = host_found("vc", vim.HostSystem("host-1"), known, (), "dc1")
    assert found.nics == {"vmnic4": NicUse("opaque switch 'nsxswitch'", last=True)}


def test_a_switch_is_read_with_its_members_and_who_stands_on_it(bench: Bench) -> None:
    ground = bench.vcenter.ground(set(), {"theirs"})
    [switch] = ground.switches
    assert {host.name for host in ground.hosts} == {"esx1", "esx2"}, "members are read, too"
    assert (switch.name, switch.datacenter, switch.maker, switch.mtu, switch.lldp) == (
        ("theirs", "dc1", None, 9000, False)
    )
    assert (switch.uplinks, switch.vmkernel) == (2, ("vmk3 of esx1",))
    assert [group.carries for group in switch.uplink_groups] == [Carried(VidSet.of("5-7"), untagged=True)]
    assert sorted(switch.members.values()) == [(), ("vmnic1",)]
    assert [group.state.name for group in switch.groups] == ["t"], "uplinks are not among them"
    assert bench.vcenter.ground(set(), {switch.id}).switches == (switch,)


def test_a_switch_that_lost_its_mark_since_it_was_looked_at_is_left_alone(
    bench: Bench, client: Client, ours: Step
) -> None:
    dvs = client.dvs("rack1")
    reconfigure(dvs, description="mine now")
    with pytest.raises(Refused, match="carries no mark"):
        bench.vcenter.prepare(ours)
    with pytest.raises(Refused, match="carries no mark"):
        bench.vcenter.prepare(step(WidenUplinks(uplinks_of(dvs)._GetMoId(), Carried(VidSet.of("7")))))
    assert passing(dvs) == [(100, 199)]
    assert len(dvs.config.host) == 1


def test_a_switch_of_another_installation_and_a_foreign_trunk_are_left_alone(
    bench: Bench, client: Client, ours: Step
) -> None:
    with pytest.raises(Refused, match="carries no mark"):
        bench.vcenter.prepare(Step("rack1", None, "another", ours.does, ""))
    group = client.port_group("t")
    with pytest.raises(Refused, match="carries no mark"):
        bench.vcenter.prepare(Step("theirs", client.dvs("theirs").uuid, "isthmus", SetTrunk(group.key, "t", VIDS), ""))
    assert [(piece.start, piece.end) for piece in group.config.defaultPortConfig.vlan.vlanId] == [(0, 50)]


def test_what_passes_the_uplinks_when_they_are_widened_goes_on_passing(
    bench: Bench, client: Client, ours: Step
) -> None:
    dvs = client.dvs("rack1")
    let_through(uplinks_of(dvs), (0, 150), (300, 310))  # since it was looked at
    bench.vcenter.prepare(step(WidenUplinks(uplinks_of(dvs)._GetMoId(), Carried(VIDS))))
    assert passing(dvs) == [(0, 199), (300, 310)]
    let_through(uplinks_of(dvs), (0, 0), (101, 110))
    bench.vcenter.prepare(step(WidenUplinks(uplinks_of(dvs)._GetMoId(), Carried(VIDS))))
    assert passing(dvs) == [(0, 0), (100, 199)]


@pytest.mark.parametrize("vid", [0, 300])
def test_uplinks_that_somebody_uses_since_they_were_looked_at_are_not_narrowed(
    bench: Bench, client: Client, ours: Step, vid: int
) -> None:
    dvs = client.dvs("rack1")
    let_through(uplinks_of(dvs), (0, 4094))
    narrow = step(NarrowUplinks(uplinks_of(dvs)._GetMoId(), Carried(VIDS)))
    client.make_port_group(dvs, "backup", defaultPortConfig=setting(vlan=vlan(vid)))
    with pytest.raises(Refused, match="port group 'backup'"):
        bench.vcenter.prepare(narrow)
    assert passing(dvs) == [(0, 4094)]
    wait(client.port_group("backup").Destroy_Task())
    bench.vcenter.prepare(narrow)
    assert passing(dvs) == [(100, 199)]


def test_uplinks_that_are_no_trunk_any_more_are_left_alone(bench: Bench, client: Client, ours: Step) -> None:
    dvs = client.dvs("rack1")
    group = uplinks_of(dvs)
    policy = setting(vlan=vlan(7))
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion=group.config.configVersion, defaultPortConfig=policy
    )
    wait(group.ReconfigureDVPortgroup_Task(spec))
    [found] = bench.vcenter.ground(set(), {"rack1"}).switches
    assert [(one.trunk, one.carries) for one in found.uplink_groups] == [(False, Carried(VidSet.of("7")))]
    with pytest.raises(Refused, match="no VLAN trunk"):
        bench.vcenter.prepare(step(WidenUplinks(group._GetMoId(), Carried(VIDS))))
    assert group.config.defaultPortConfig.vlan.vlanId == 7


def test_an_mtu_that_was_raised_since_it_was_looked_at_stays(bench: Bench, client: Client, ours: Step) -> None:
    dvs = client.dvs("rack1")
    reconfigure(dvs, maxMtu=9000)
    bench.vcenter.prepare(step(SetSwitch(1600)))
    assert dvs.config.maxMtu == 9000


def test_a_switch_that_only_listens_to_lldp_does_not_speak_it(bench: Bench, client: Client, ours: Step) -> None:
    dvs = client.dvs("rack1")
    for operation, speaks in (("both", True), ("listen", False), ("advertise", False), ("none", False)):
        reconfigure(dvs, linkDiscoveryProtocolConfig=link_discovery(operation))
        [found] = bench.vcenter.ground(set(), {"rack1"}).switches
        assert found.lldp == speaks


def link_discovery(operation: str) -> Any:
    return vim.host.LinkDiscoveryProtocolConfig(protocol="lldp", operation=operation)


def test_what_a_trunk_carries_beyond_its_need_it_goes_on_carrying(bench: Bench, client: Client, ours: Step) -> None:
    bench.vcenter.prepare(step(MakeTrunk("appliances", MARK, VidSet.of("100-150"))))
    group = client.port_group("appliances")
    let_through(group, (0, 120), (300, 310))
    bench.vcenter.prepare(step(SetTrunk(group.key, "appliances", VIDS)))
    assert ranges(group) == [(0, 199), (300, 310)]


@pytest.fixture
def swapped(bench: Bench, client: Client, ours: Step, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two trunks and the uplinks, each with the id of another as its key: so it may be in a vCenter that was restored
    from a backup.  By the keys.
    """
    for name in ("appliances", "others"):
        bench.vcenter.prepare(step(MakeTrunk(name, MARK, VidSet.of("100-150"))))
    groups = [client.port_group("appliances"), client.port_group("others"), uplinks_of(client.dvs("rack1"))]
    ids = [group._GetMoId() for group in groups]
    keys = dict(zip(ids, [*ids[1:], ids[0]], strict=True))
    for module in (preparing, ground):
        really = module.properties

        def read(*asked: Any, really: Any = really, **how: Any) -> dict[Any, Any]:
            found: dict[Any, Any] = really(*asked, **how)
            for managed, known in found.items():
                if managed._GetMoId() in keys:
                    known["config"].key = keys[managed._GetMoId()]
                    known["config"].uplink = None  # as a vCenter may leave it
            return found

        monkeypatch.setattr(module, "properties", read)
    return {keys[group._GetMoId()]: group for group in groups}


def test_a_port_group_whose_key_is_not_the_id_of_its_object_is_read_and_written(
    bench: Bench, client: Client, swapped: dict[str, Any]
) -> None:
    [found] = bench.vcenter.ground(set(), {"rack1"}).switches
    by_name = {one.state.name: one.state.key for one in found.groups}
    assert {swapped[by_name[name]].name for name in ("appliances", "others")} == {"appliances", "others"}
    assert by_name.keys() == {"appliances", "others"}, "the uplinks are known as such"
    [uplinks] = found.uplink_groups
    bench.vcenter.prepare(step(SetTrunk(by_name["appliances"], "appliances", VidSet.of("160-170"))))
    bench.vcenter.prepare(step(WidenUplinks(uplinks.key, Carried(VidSet.of("300")))))
    assert ranges(client.port_group("appliances")) == [(100, 150), (160, 170)]
    assert ranges(client.port_group("others")) == [(100, 150)]
    assert passing(client.dvs("rack1")) == [(100, 199), (300, 300)]
    with pytest.raises(Retry, match="port group dvportgroup-none is gone"):
        bench.vcenter.prepare(step(SetTrunk("dvportgroup-none", "appliances", VIDS)))


def test_a_member_that_tells_of_no_interface_may_have_one_on_the_switch() -> None:
    dvs = SimpleNamespace(host=[SimpleNamespace(config=SimpleNamespace(host=name)) for name in ("a", "b", None)])
    found = standing_on({"uuid": "u", "config": dvs}, {"b": {"name": "b", VNIC: ()}}, {"b": ()})
    assert found == ("interfaces of 3 hosts that tell of none",)


PIECES = st.lists(st.tuples(st.integers(0, 4094), st.integers(0, 4094)).map(lambda pair: (min(pair), max(pair))))


@given(PIECES)
def test_what_passes_an_uplink_reads_back_as_it_was_written(pieces: list[tuple[int, int]]) -> None:
    frames = {vid for first, last in pieces for vid in range(first, last + 1)}
    passes = carried(trunk(*pieces))
    assert (set(passes.vids), passes.untagged) == (frames - {0}, 0 in frames)
    written = trunk_of(passes)
    assert is_trunk(written)
    assert {vid for piece in written.vlanId for vid in range(piece.start, piece.end + 1)} == frames


def test_a_host_whose_nics_changed_since_it_was_looked_at_is_looked_at_again(
    bench: Bench, client: Client, ours: Step
) -> None:
    joined = ours.does
    assert isinstance(joined, JoinHost)
    member = vim.dvs.HostMember.PnicBacking(pnicSpec=[vim.dvs.HostMember.PnicSpec(pnicDevice="vmnic3")])
    esx2 = vim.dvs.HostMember.ConfigSpec(operation="add", host=client.host("esx2"), backing=member)
    dvs = client.dvs("rack1")
    reconfigure(dvs, host=[esx2])
    with pytest.raises(Retry, match="changed since"):
        bench.vcenter.prepare(ours)
    [nics] = [one.config.backing.pnicSpec for one in dvs.config.host if one.config.host.name == "esx2"]
    assert [spec.pnicDevice for spec in nics] == ["vmnic3"]


def test_a_nic_that_was_taken_since_it_was_looked_at_is_left_where_it_is(
    bench: Bench, client: Client, ours: Step
) -> None:
    theirs = client.dvs("theirs")
    taking = vim.dvs.HostMember.PnicBacking(pnicSpec=[vim.dvs.HostMember.PnicSpec(pnicDevice="vmnic1")])
    esx2 = vim.dvs.HostMember.ConfigSpec(operation="edit", host=client.host("esx2"), backing=taking)
    reconfigure(theirs, host=[esx2])
    with pytest.raises(Retry, match=r"host HostSystem .*ResourceInUse"):
        bench.vcenter.prepare(ours)
    assert len(client.dvs("rack1").config.host) == 1


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_mark_of_a_maker_reads_back_and_is_no_mark_of_a_network(owner: str, deployment: str) -> None:
    text = marks.prepared(MakerMark(owner, deployment))
    assert marks.maker(text) == MakerMark(owner, deployment)
    assert marks.decoded(text) is None
    assert marks.newer_schema(text) is None
    assert marks.maker(text.replace("isthmus/1 ", "isthmus/2 ", 1)) is None
