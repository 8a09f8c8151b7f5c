"""`isthmus prepare` on a simulated vCenter: what it shows, what it makes, and that a site stands on what it made."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from pyVmomi import vim

from isthmus.adapters.vcenter import marks
from isthmus.app import cli
from isthmus.model.ground import MakerMark
from lab.vcenter import (
    Cluster,
    Datacenter,
    Delay,
    Drop,
    Dvs,
    Fault,
    Host,
    Member,
    NotBuilt,
    Pnic,
    PortGroup,
    Pvlan,
    PvlanEntry,
    Security,
    Simulator,
    Topology,
    Trunk,
    Vm,
    Vswitch,
)
from tests.app.ovs_site import MemoryOvs
from tests.app.test_leaves_with_vcenter import MemoryLeaf, until
from tests.lab.vcenter.client import Client, port_group_spec, trunk, wait

pytestmark = pytest.mark.sim
PNICS = tuple(Pnic(f"vmnic{number}") for number in range(4))
HOSTS = ("esx1.lab", "esx2.lab")
LEAF = (
    '[deployment.rack1]\ndesign = "vds-leaf"\ndvs = "rack1"\nvids = "101-199"\nreserved = "150"\nmtu = 1600\n'
    '[deployment.rack1.leaf.leaf1]\ndriver = "hwvtep"\ntarget = "unix:/nowhere/leaf1"\nvtep = "192.0.2.1"\n'
    '[deployment.rack1.host."esx1.lab"]\nleaf = "leaf1"\nports = ["swp1", "swp2"]\nnics = ["vmnic1", "vmnic2"]\n'
    '[deployment.rack1.host."esx2.lab"]\nleaf = "leaf1"\nports = "swp3"\nnics = "vmnic1"\n'
)
OVSVAPP = '[deployment.tenant]\ndesign = "ovsvapp"\ndvs = "tenant"\nvids = "100-999"\n' + "".join(
    f'[deployment.tenant.host."esx{n}.lab"]\nvtep = "192.0.2.1{n}"\ntrunk = "eth1"\novsdb = "unix:/none/{n}/db.sock"\n'
    for n in (1, 2)
)


def topology(switches: Sequence[Dvs] = (), hosts: Sequence[Host] = (), vms: Sequence[Vm] = ()) -> Topology:
    cluster = Cluster("cluster1", tuple(hosts) or tuple(Host(name, pnics=PNICS) for name in HOSTS))
    return Topology((Datacenter("dc1", (cluster,), tuple(switches), tuple(vms)),))


class Site:
    """A vCenter, a configuration, and the commands of an operator."""

    def __init__(self, folder: Path, simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.simulator, self._capsys = folder, simulator, capsys
        (folder / "password").write_text(simulator.password)
        (folder / "intent.yaml").write_text("networks: [{name: red, vni: 5001}]")
        self.client = Client(simulator)

    def configure(self, deployments: str) -> None:
        (self.folder / "isthmus.toml").write_text(
            f'[vcenter.vc1]\nurl = "{self.simulator.url}"\nuser = "{self.simulator.user}"\n'
            f'password_file = "password"\nca_file = "{self.simulator.ca_file}"\n[intent]\nfile = "intent.yaml"\n'
            f'[status]\nstate = "state"\nsocket = "sock"\n{deployments}'
        )

    def run(self, *words: str) -> tuple[int, list[str], list[str]]:
        """Exit status, and the lines of stdout and stderr, but for those that say that something takes its time."""
        status = cli.main([*words, "--config", str(self.folder / "isthmus.toml")])
        said = self._capsys.readouterr()
        return status, said.out.splitlines(), [line for line in said.err.splitlines() if not line.endswith(" ...")]

    def prepare(self) -> list[str]:
        """Write it all; nothing may be left."""
        status, said, complaints = self.run("prepare", "--write")
        assert (status, complaints) == (0, [])
        return said

    def nics(self, dvs: str) -> dict[str, list[str]]:
        """The physical NICs of the members of a switch."""
        return {
            member.config.host.name: [spec.pnicDevice for spec in member.config.backing.pnicSpec or ()]
            for member in self.client.dvs(dvs).config.host
        }

    def uplink_ranges(self, dvs: str) -> list[tuple[int, int]]:
        [group] = self.client.dvs(dvs).config.uplinkPortgroup
        return [(piece.start, piece.end) for piece in group.config.defaultPortConfig.vlan.vlanId]

    def switches(self) -> list[str]:
        return sorted(dvs.name for dvs in self.client.all(vim.DistributedVirtualSwitch))


Make = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr("isthmus.adapters.leaf.hwvtep.HwvtepTarget", MemoryLeaf)
    monkeypatch.setattr("isthmus.adapters.ovs.OvsTarget", MemoryOvs)
    for store in ("made", "held", "misfits"):
        monkeypatch.setattr(MemoryLeaf, store, {})
    with ExitStack() as over:

        def make(deployments: str, there: Topology | None = None) -> Site:
            try:
                simulator = over.enter_context(Simulator(there or topology()))
            except NotBuilt as missing:
                pytest.skip(str(missing))
            made = Site(tmp_path, simulator, capsys)
            over.callback(made.client.close)
            made.configure(deployments)
            return made

        yield make


def test_what_would_be_made_is_shown_and_nothing_is_written(site: Make) -> None:
    made = site(LEAF)
    status, said, complaints = made.run("prepare")
    assert (status, complaints) == (2, [])
    assert said == [
        (
            "rack1: make distributed switch 'rack1' in datacenter 'dc1': MTU 1600, LLDP on, its uplinks carry VIDs "
            "101-149,151-199 (it does not exist)"
        ),
        "rack1: add host 'esx1.lab' to distributed switch 'rack1' with vmnic1, vmnic2 (host 'esx1.lab' is no member)",
        "rack1: add host 'esx2.lab' to distributed switch 'rack1' with vmnic1 (host 'esx2.lab' is no member)",
        "3 changes",
    ]
    assert made.switches() == []


def test_a_wired_switch_is_made_whole_and_a_second_run_changes_nothing(site: Make) -> None:
    made = site(LEAF)
    assert made.prepare()[-1] == "3 changes made"
    config = made.client.dvs("rack1").config
    assert config.maxMtu == 1600
    discovery = config.linkDiscoveryProtocolConfig
    assert (discovery.protocol, discovery.operation) == ("lldp", "both")
    assert config.description.startswith("isthmus/1 owner=isthmus deployment=rack1\n")
    assert made.nics("rack1") == {"esx1.lab": ["vmnic1", "vmnic2"], "esx2.lab": ["vmnic1"]}
    assert made.uplink_ranges("rack1") == [(101, 149), (151, 199)]
    version = config.configVersion
    assert made.run("prepare") == (0, ["nothing to do"], [])
    assert made.prepare() == ["0 changes made"]
    assert made.client.dvs("rack1").config.configVersion == version


STATIC = (
    '[deployment.rows]\ndesign = "vds-static"\ndvs = ["row1", "row2"]\nvids = "101-199"\n'
    '[deployment.rows.leaf.leaf1]\ndriver = "hwvtep"\ntarget = "unix:/nowhere/leaf1"\nvtep = "192.0.2.1"\n'
    '[deployment.rows.host."esx1.lab"]\nleaf = "leaf1"\nports = "swp1"\ndvs = "row1"\nnics = "vmnic1"\n'
    '[deployment.rows.host."esx2.lab"]\nleaf = "leaf1"\nports = "swp2"\ndvs = "row2"\nnics = "vmnic1"\n'
)


def test_each_switch_of_a_deployment_gets_the_hosts_that_name_it(site: Make) -> None:
    made = site(STATIC)
    status, said, _ = made.run("prepare", "--write", "--json")
    assert status == 0
    done = json.loads("\n".join(said))["done"]["rows"]
    assert [(step["switch"], step["action"]) for step in done] == [
        ("row1", "MakeSwitch"),
        ("row1", "JoinHost"),
        ("row2", "MakeSwitch"),
        ("row2", "JoinHost"),
    ]
    assert made.nics("row1") == {"esx1.lab": ["vmnic1"]}
    assert made.nics("row2") == {"esx2.lab": ["vmnic1"]}
    assert made.run("check")[0] == 0


def test_a_vcenter_that_goes_away_in_the_middle_is_not_asked_on_and_on(site: Make) -> None:
    made = site(STATIC)
    with made.simulator.faults.during(Drop(), method="CreateDVS_Task"):
        status, said, complaints = made.run("prepare", "--write")
    assert (status, said) == (1, ["0 changes made"])
    [text] = complaints
    assert "make distributed switch 'row1'" in text
    assert "and what comes after it" in text
    made.prepare()


def test_a_host_that_names_no_switch_of_several_is_said(site: Make) -> None:
    made = site(STATIC.replace('dvs = "row2"\nnics = "vmnic1"\n', ""))
    status, _, complaints = made.run("prepare")
    assert status == 1
    assert "isthmus: rows: host 'esx2.lab': say on which switch it is to be: dvs = one of row1, row2" in complaints


def test_a_site_with_leaves_stands_on_what_was_made(site: Make) -> None:
    made = site(LEAF)
    made.prepare()
    status, said, complaints = made.run("check")
    assert (status, complaints, said[-1]) == (0, [], "all is well")
    assert made.run("apply")[0] == 0
    assert made.client.port_group("red").config.defaultPortConfig.vlan.vlanId in range(101, 200)
    assert made.run("prepare") == (0, ["nothing to do"], [])


def test_a_site_with_appliances_stands_on_what_was_made(site: Make) -> None:
    made = site(OVSVAPP)
    assert made.prepare()[-1] == "4 changes made"
    assert made.nics("tenant") == {"esx1.lab": [], "esx2.lab": []}
    status, said, complaints = made.run("check")
    assert (status, complaints, said[-1]) == (0, [], "all is well")
    made.run("apply")
    red = made.client.port_group("red")
    wait(made.client.make_vm("a", red).PowerOnVM_Task())
    assert made.run("apply")[0] == 0
    port = made.client.port_of(made.client.vm("a"))
    assert port.config.setting.vlan.vlanId in range(100, 1000), "in a trunk that is foreign to the core"
    assert not port.config.setting.blocked.value
    assert made.run("prepare") == (0, ["nothing to do"], [])


def test_a_nic_that_manages_its_host_is_not_taken_and_the_other_host_is_served(site: Make) -> None:
    made = site(LEAF.replace('nics = "vmnic1"', 'nics = "vmnic0"'))
    status, _, complaints = made.run("prepare", "--write")
    assert status == 1
    [text] = complaints
    assert text == (
        "isthmus: rack1: distributed switch 'rack1': NIC vmnic0 of host 'esx2.lab' is in use: it is the only uplink "
        "of standard switch 'vSwitch0', by which the host is managed (vmk0): "
        "name a free one, or take it off there first"
    )
    assert made.nics("rack1") == {"esx1.lab": ["vmnic1", "vmnic2"]}
    [vswitch] = made.client.host("esx2.lab").config.network.vswitch
    assert list(vswitch.pnic) == ["key-vim.host.PhysicalNic-vmnic0"]


def test_the_last_uplink_of_a_standard_switch_and_anothers_uplink_are_not_taken(site: Make) -> None:
    storage = Vswitch("vSwitch1", ("vmnic1",), ("vmk1",))
    hosts = [Host("esx1.lab", pnics=PNICS), Host("esx2.lab", pnics=PNICS, vswitches=(storage,))]
    other = Dvs("other", uplinks=("u1",), members=(Member("esx1.lab", ("vmnic2",)),))
    made = site(LEAF, topology([other], hosts))
    status, said, complaints = made.run("prepare", "--json")
    assert status == 1
    answer = json.loads("\n".join(said))
    assert [step["action"] for step in answer["prepare"]["rack1"]] == [], "nor is a switch made that no host can join"
    assert [error.partition(" is in use: ")[2].partition(":")[0] for error in answer["errors"]] == [
        "it is the only uplink of distributed switch 'other'",
        "it is the only uplink of standard switch 'vSwitch1', on which vmk1 of the host stand",
    ]
    assert len(complaints) == 2


def test_a_switch_of_other_hands_that_will_do_is_taken_as_it_is(site: Make) -> None:
    wired = (Member("esx1.lab", ("vmnic1", "vmnic2")), Member("esx2.lab", ("vmnic1",)))
    made = site(LEAF, topology([Dvs("rack1", mtu=9000, uplinks=("a", "b"), members=wired)]))
    before = made.client.dvs("rack1").config
    assert made.prepare() == ["0 changes made"]
    after = made.client.dvs("rack1").config
    assert (after.configVersion, after.description) == (before.configVersion, before.description)


def test_a_switch_of_other_hands_that_will_not_do_is_left_and_what_it_lacks_is_said(site: Make) -> None:
    theirs = Dvs("rack1", uplinks=("a",), uplink_vlans=((101, 120),), members=(Member("esx1.lab", ("vmnic1",)),))
    made = site(LEAF, topology([theirs]))
    before = made.client.dvs("rack1").config.configVersion
    status, said, complaints = made.run("prepare", "--write")
    assert (status, said) == (1, ["0 changes made"])
    lacks = [text.partition("'rack1': ")[2].partition(" (isthmus did not make")[0] for text in complaints]
    assert lacks == [
        "its MTU is 1500, 1600 is needed: set it to 1600 or more",
        "its uplinks do not carry VIDs 121-149,151-199: add them to the uplink port group's trunk",
        "host 'esx1.lab' needs 2 uplinks, it has 1: add uplinks to the switch",
        "host 'esx2.lab' is no member: add it with vmnic1",
    ]
    assert made.client.dvs("rack1").config.configVersion == before
    assert made.uplink_ranges("rack1") == [(101, 120)]


def test_what_other_hands_took_from_a_switch_of_ours_is_given_back(site: Make) -> None:
    made = site(LEAF)
    made.prepare()
    dvs = made.client.dvs("rack1")
    spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(configVersion=dvs.config.configVersion, maxMtu=1500)
    spec.linkDiscoveryProtocolConfig = vim.host.LinkDiscoveryProtocolConfig(protocol="cdp", operation="listen")
    wait(dvs.ReconfigureDvs_Task(spec))
    set_uplinks(made, (101, 120))
    assert made.prepare()[-1] == "2 changes made"
    config = dvs.config
    assert (config.maxMtu, config.linkDiscoveryProtocolConfig.protocol) == (1600, "lldp")
    assert made.uplink_ranges("rack1") == [(101, 149), (151, 199)]
    assert made.prepare() == ["0 changes made"]


def set_uplinks(made: Site, *ranges: tuple[int, int]) -> None:
    [group] = made.client.dvs("rack1").config.uplinkPortgroup
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(configVersion=group.config.configVersion)
    spec.defaultPortConfig = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(vlan=trunk(*ranges))
    wait(group.ReconfigureDVPortgroup_Task(spec))


def ours(made: Site) -> None:
    """Let the switch of a topology be one that `prepare` made."""
    dvs = made.client.dvs("rack1")
    mark = marks.prepared(MakerMark("isthmus", "rack1"))
    spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(configVersion=dvs.config.configVersion, description=mark)
    wait(dvs.ReconfigureDvs_Task(spec))


WIRED = (Member("esx1.lab", ("vmnic1", "vmnic2")), Member("esx2.lab", ("vmnic1",)))
MANAGED = (Member("esx1.lab", ("vmnic1", "vmnic2"), ("vmk1",)), WIRED[1])


@pytest.mark.parametrize(
    ("members", "groups", "before", "after"),
    [
        (MANAGED, (PortGroup("mgmt"),), (0, 120), [(0, 149), (151, 199)]),
        (MANAGED, (PortGroup("mgmt"),), (0, 4094), [(0, 4094)]),
        (MANAGED, (PortGroup("mgmt", 120),), (0, 4094), [(0, 4094)]),
        (WIRED, (PortGroup("mgmt"),), (0, 120), [(0, 149), (151, 199)]),
        (WIRED, (PortGroup("mgmt"),), (0, 4094), [(0, 4094)]),
        (WIRED, (PortGroup("isolated", Pvlan(701)),), (0, 4094), [(0, 4094)]),
        (WIRED, (), (0, 120), [(101, 149), (151, 199)]),
        (WIRED, (), (0, 4094), [(101, 149), (151, 199)]),
    ],
)
def test_untagged_frames_go_on_passing_wherever_somebody_may_send_them(
    site: Make,
    members: tuple[Member, ...],
    groups: tuple[PortGroup, ...],
    before: tuple[int, int],
    after: list[tuple[int, int]],
) -> None:
    pvlans = (PvlanEntry(700, 700, "promiscuous"), PvlanEntry(700, 701, "isolated"))
    rack1 = Dvs("rack1", groups, 1600, ("u1", "u2"), (before,), members, pvlans)
    made = site(LEAF, topology([rack1]))
    ours(made)
    made.prepare()
    assert made.uplink_ranges("rack1") == after
    assert made.run("prepare") == (0, ["nothing to do"], [])


def test_vids_that_a_deployment_gets_later_pass_beside_what_was_let_through_by_hand(site: Make) -> None:
    made = site(LEAF)
    made.prepare()
    set_uplinks(made, (0, 199))
    wait(made.client.dvs("rack1").AddDVPortgroup_Task([port_group_spec("by hand")]))
    made.configure(LEAF.replace("101-199", "101-299"))
    assert made.prepare() == [
        (
            "rack1: let VIDs 101-149,151-299 through the uplinks of distributed switch 'rack1', too "
            "(its uplinks do not carry VIDs 200-299)"
        ),
        "1 change made",
    ]
    assert made.uplink_ranges("rack1") == [(0, 299)]


def test_a_second_nic_joins_the_first_which_stays_on_its_uplink(site: Make) -> None:
    made = site(LEAF)
    made.prepare()
    first = uplink_of(made, "esx2.lab", "vmnic1")
    move_to_last_uplink(made, "esx2.lab", "vmnic1")
    uplink = uplink_of(made, "esx2.lab", "vmnic1")
    assert uplink != first, "else it would get the same one anew"
    made.configure(LEAF.replace('nics = "vmnic1"', 'nics = ["vmnic3", "vmnic1"]'))
    assert made.prepare() == [
        (
            "rack1: add vmnic3 of host 'esx2.lab' to the uplinks of distributed switch 'rack1' "
            "(host 'esx2.lab' does not bring vmnic3)"
        ),
        "1 change made",
    ]
    assert sorted(made.nics("rack1")["esx2.lab"]) == ["vmnic1", "vmnic3"]
    assert uplink_of(made, "esx2.lab", "vmnic1") == uplink
    assert made.prepare() == ["0 changes made"]


def move_to_last_uplink(made: Site, host: str, nic: str) -> None:
    """As an operator does who assigns uplinks by hand."""
    dvs = made.client.dvs("rack1")
    [member] = [one for one in dvs.config.host if one.config.host.name == host]
    spec = vim.dvs.HostMember.PnicSpec(pnicDevice=nic, uplinkPortKey=member.uplinkPortKey[-1])
    backing = vim.dvs.HostMember.PnicBacking(pnicSpec=[spec])
    change = vim.dvs.HostMember.ConfigSpec(operation="edit", host=made.client.host(host), backing=backing)
    config = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(configVersion=dvs.config.configVersion, host=[change])
    wait(dvs.ReconfigureDvs_Task(config))


def uplink_of(made: Site, host: str, nic: str) -> str:
    [member] = [one for one in made.client.dvs("rack1").config.host if one.config.host.name == host]
    return next(spec.uplinkPortKey for spec in member.config.backing.pnicSpec if spec.pnicDevice == nic)


def test_a_host_out_of_reach_is_said_and_joins_when_it_is_back(site: Make) -> None:
    made = site(LEAF)
    wait(made.client.host("esx2.lab").DisconnectHost_Task())
    status, _, complaints = made.run("prepare", "--write")
    assert status == 1
    assert ["not connected" in text for text in complaints] == [True]
    assert made.nics("rack1") == {"esx1.lab": ["vmnic1", "vmnic2"]}
    wait(made.client.host("esx2.lab").ReconnectHost_Task())
    made.prepare()
    assert made.nics("rack1")["esx2.lab"] == ["vmnic1"]


def test_what_a_failure_in_the_middle_left_open_the_next_run_makes(site: Make) -> None:
    made = site(LEAF)
    with made.simulator.faults.during(Fault("ConcurrentAccess"), method="ReconfigureDVPortgroup_Task", in_task=True):
        status, said, complaints = made.run("prepare", "--write")
    assert (status, said) == (1, ["0 changes made"])
    assert len(complaints) == 1, "and nothing was begun on a switch that is half made"
    assert made.nics("rack1") == {}
    made.prepare()
    assert made.uplink_ranges("rack1") == [(101, 149), (151, 199)]
    assert made.nics("rack1") == {"esx1.lab": ["vmnic1", "vmnic2"], "esx2.lab": ["vmnic1"]}


def test_a_name_that_something_else_bears_is_said(site: Make) -> None:
    made = site(LEAF, topology([Dvs("other", (PortGroup("rack1"),), members=())]))
    status, _, complaints = made.run("prepare", "--write")
    assert status == 1
    assert ["that name belongs to DistributedVirtualPortgroup" in text for text in complaints] == [True]
    assert made.switches() == ["other"]


def test_a_host_that_one_switch_cannot_take_stops_no_other_host(site: Make) -> None:
    made = site(LEAF)
    with made.simulator.faults.during(Fault("ConcurrentAccess"), method="ReconfigureDvs_Task", in_task=True, count=1):
        status, said, _ = made.run("prepare", "--write")
    assert (status, said[-1]) == (1, "2 changes made")
    assert made.nics("rack1") == {"esx2.lab": ["vmnic1"]}


@pytest.mark.parametrize("key", ["observe_only = true", "serve = []\nport_groups = false"])
def test_what_this_process_is_not_to_write_is_only_shown(site: Make, key: str) -> None:
    rest = (
        LEAF.replace("rack1", "rack2").replace("leaf1", "leaf2").replace("192.0.2.1", "192.0.2.2").replace("esx", "x")
    )
    made = site(LEAF.replace("mtu = 1600", f"mtu = 1600\n{key}") + rest)
    status, said, complaints = made.run("prepare", "--write")
    assert (status, said) == (1, ["0 changes made"])
    assert any("rack1: 3 changes not made" in text for text in complaints)
    assert made.switches() == []


RACKS = LEAF.partition('[deployment.rack1.host."esx2.lab"]')[0] + (
    '[deployment.rack2]\ndesign = "vds-leaf"\ndvs = "rack2"\nvids = "101-199"\n'
    '[deployment.rack2.leaf.leaf2]\ndriver = "hwvtep"\ntarget = "unix:/nowhere/leaf2"\nvtep = "192.0.2.2"\n'
    '[deployment.rack2.host."esx2.lab"]\nleaf = "leaf2"\nports = "swp3"\nnics = "vmnic1"\n'
)


def test_a_cluster_that_would_be_torn_gets_no_switches(site: Make) -> None:
    made = site(RACKS)
    status, said, complaints = made.run("prepare", "--write")
    assert (status, said) == (1, ["0 changes made"])
    assert ["are in one cluster, and in deployments" in text for text in complaints] == [True, True]
    assert made.switches() == []


def test_racks_of_a_cluster_each_get_their_switches_and_stand_on_them(site: Make) -> None:
    racks = [Cluster(name, (Host(f"esx{name[-1]}.lab", pnics=PNICS),)) for name in ("c1", "c2")]
    made = site(RACKS, Topology((Datacenter("dc1", tuple(racks)),)))
    assert made.prepare()[-1] == "4 changes made"
    assert made.run("check")[0] == 0
    assert made.run("plan")[0] == 2


def test_an_operator_who_interrupts_hears_what_was_made_and_what_may_still_come(site: Make) -> None:
    made = site(LEAF)
    command = [sys.executable, "-m", "isthmus.app.cli", "prepare", "--write"]
    command += ["--config", str(made.folder / "isthmus.toml")]
    with made.simulator.faults.during(Delay(4000), method="ReconfigureDvs_Task", in_task=True) as delayed:
        preparing = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: made.simulator.faults.struck(delayed))
        preparing.send_signal(signal.SIGINT)
        said, complaints = preparing.communicate(timeout=20)
    assert preparing.returncode == 130
    assert said.splitlines()[-1] == "1 change made"
    [text] = [line for line in complaints.splitlines() if "interrupted" in line]
    assert "add host 'esx1.lab' to distributed switch 'rack1'" in text
    assert "vCenter may still be at it" in text
    until(lambda: made.run("prepare")[1][-1] == "1 change")
    made.prepare()
    assert made.nics("rack1") == {"esx1.lab": ["vmnic1", "vmnic2"], "esx2.lab": ["vmnic1"]}


def test_the_example_with_leaves_is_prepared_whole(site: Make) -> None:
    example = (Path(__file__).parents[2] / "examples" / "isthmus-vds.toml").read_text()
    nics = tuple(Pnic(f"vmnic{number}") for number in range(4))
    clusters = tuple(Cluster(f"c{n}", (Host(f"esx{n}.example.org", pnics=nics),)) for n in range(1, 6))
    made = site(example.partition("[intent]")[2].partition("\n\n")[2], Topology((Datacenter("dc1", clusters),)))
    assert made.prepare()[-1] == "10 changes made"
    assert made.switches() == ["rack3", "rack4", "rack5", "row1", "row2"]
    assert made.run("prepare") == (0, ["nothing to do"], [])


# --- the tenant switch --------------------------------------------------------------------------------------------


def test_the_trunk_grows_with_the_vids_and_one_of_other_hands_is_left(site: Make) -> None:
    made = site(OVSVAPP)
    made.prepare()
    made.configure(OVSVAPP.replace("100-999", "100-1999"))
    assert made.prepare()[-1] == "1 change made"
    assert made.run("check")[0] == 0
    group = made.client.port_group("tenant-trunk")
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(configVersion=group.config.configVersion, description="mine")
    wait(group.ReconfigureDVPortgroup_Task(spec))
    made.configure(OVSVAPP.replace("100-999", "100-2999"))
    status, said, complaints = made.run("prepare", "--write")
    assert (status, said) == (1, ["0 changes made"])
    assert "its trunk lacks VIDs 2000-2999" in complaints[0]


def test_a_fitting_trunk_of_any_name_is_taken_as_it_is(site: Make) -> None:
    theirs = PortGroup("appliances", Trunk(), security=Security(promiscuous=True, forged_transmits=True))
    made = site(OVSVAPP, topology([Dvs("tenant", (theirs,))]))
    assert made.prepare() == ["0 changes made"]


def test_a_tenant_switch_of_other_hands_gets_a_trunk_of_ours_and_nothing_else(site: Make) -> None:
    made = site(OVSVAPP, topology([Dvs("tenant", (PortGroup("narrow", Trunk(((0, 50),))),))]))
    before = made.client.dvs("tenant").config.configVersion
    assert made.prepare()[-1] == "1 change made"
    assert made.client.dvs("tenant").config.configVersion == before
    assert made.run("check")[0] == 0


@pytest.mark.parametrize("uplinks", [(), ((100, 999),)])
def test_nothing_is_put_on_a_production_switch_that_is_named_by_mistake(
    site: Make, uplinks: tuple[tuple[int, int], ...]
) -> None:
    members = (Member("esx1.lab", ("vmnic1",)), Member("esx2.lab", ("vmnic1",)))
    production = Dvs("tenant", (PortGroup("prod"),), 1500, ("u1",), uplinks or None, members)
    made = site(OVSVAPP, topology([production]))
    before = made.client.dvs("tenant").config.configVersion
    status, said, complaints = made.run("prepare", "--write")
    assert (status, said) == (1, ["0 changes made"])
    [text] = complaints
    assert "physical NICs are on it" in text
    names = [group.name for group in made.client.dvs("tenant").portgroup if not group.config.uplink]
    assert (made.client.dvs("tenant").config.configVersion, names) == (before, ["prod"])
