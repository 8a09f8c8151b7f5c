"""What is read of a vCenter's ground, and that a step is taken only while the ground is still as the plan saw it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim

from isthmus.adapters.vcenter import marks
from isthmus.adapters.vcenter.ground import OPAQUE, PNIC, host_found
from isthmus.core.prepare import prepare
from isthmus.model.faults import Refused, Retry
from isthmus.model.ground import JoinHost, MakerMark, NicUse, SetTrunk, SetUplinkVids, Step, SwitchWanted
from isthmus.model.names import DvsId
from isthmus.model.tags import VidSet
from lab.vcenter import Dvs, Host, Member, Pnic, PortGroup, Topology, Trunk, Vswitch
from tests.adapters.vcenter.bench import Bench, running
from tests.lab.vcenter.client import Client, Edit, wait

pytestmark = pytest.mark.sim
PNICS = tuple(Pnic(f"vmnic{number}") for number in range(5))
MARK = MakerMark("isthmus", "rack1")
VIDS = VidSet.of("100-199")


@pytest.fixture
def bench() -> Iterator[Bench]:
    pair = Vswitch("pair", ("vmnic2", "vmnic3"), ("vmk1", "vmk2"))
    members = (Member("esx1", ("vmnic1",), ("vmk3",)), Member("esx2"))
    theirs = Dvs("theirs", (PortGroup("t", Trunk(((0, 50),))),), 9000, ("u1", "u2"), ((5, 7),), members)
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
    assert (switch.uplinks, switch.uplink_vids, switch.vmkernel) == (2, VidSet.of("5-7"), ("vmk3 of esx1",))
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
        bench.vcenter.prepare(Step("rack1", None, "isthmus", SetUplinkVids(VidSet.of("7")), ""))
    assert len(dvs.config.host) == 1


def test_a_switch_of_another_installation_and_a_foreign_trunk_are_left_alone(
    bench: Bench, client: Client, ours: Step
) -> None:
    with pytest.raises(Refused, match="carries no mark"):
        bench.vcenter.prepare(Step("rack1", None, "another", ours.does, ""))
    group = client.port_group("t")
    with pytest.raises(Refused, match="carries no mark"):
        bench.vcenter.prepare(Step("theirs", None, "isthmus", SetTrunk(group.key, "t", VIDS), ""))
    assert [(piece.start, piece.end) for piece in group.config.defaultPortConfig.vlan.vlanId] == [(0, 50)]


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
