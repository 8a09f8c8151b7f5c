"""isthmus on the simulator and two real leaf switches, each with a VLAN map of its own: VMs, outages, other hands."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab.netns.admin import Admin
from lab.netns.capture import Capture
from lab.netns.fabric import Fabric, Spot
from lab.netns.frames import vxlan
from lab.netns.guest import Guest
from lab.netns.leaf import Leaf
from lab.netns.process import ProcessId
from lab.netns.stage import until
from lab.netns.state import WorldState
from lab.netns.vcenter import Login
from lab.vcenter import Cluster, Datacenter, Dvs, Host, Member, Simulator, Topology

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

PASSWORD = "canary-Pa55"
RED, BLUE, GREEN, AMBER = {"red": 70001}, {"blue": 70002}, {"green": 70003}, {"amber": 70004}
RACKS = {"leaf1": ("rack1", "esx1.lab", "101-109"), "leaf2": ("rack2", "esx2.lab", "201-209")}
TOPOLOGY = Topology(
    (
        Datacenter(
            "dc1",
            tuple(Cluster(rack, (Host(host),)) for rack, host, _ in RACKS.values()),
            tuple(
                Dvs(rack, mtu=1600, uplinks=("uplink1",), members=(Member(host, ("vmnic1",)),))
                for rack, host, _ in RACKS.values()
            ),
        ),
    )
)


@dataclass
class Site:
    """A vCenter, a fabric, and isthmus between them."""

    state: WorldState
    fabric: Fabric[Leaf]
    vcenter: Simulator
    admin: Admin

    def want(self, *networks: dict[str, int]) -> None:
        entries = [{"id": name, "name": name, "vni": vni} for named in networks for name, vni in named.items()]
        fresh = self.folder / "intent.new"
        fresh.write_text(json.dumps({"networks": entries}))
        fresh.rename(self.folder / "intent.yaml")

    @property
    def folder(self) -> Path:
        return self.state.directory

    def start(self) -> None:
        """The daemon."""
        (self.folder / "password").write_text(PASSWORD)
        text = (
            f'[vcenter.lab]\nurl = "{self.vcenter.url}"\nuser = "{self.vcenter.user}"\n'
            f'password_file = "password"\nca_file = "{self.vcenter.ca_file}"\n'
            '[intent]\nfile = "intent.yaml"\n[status]\nsocket = "sock"\nstate = "state"\n'
            "[loop]\nresync = 5\nbackoff_first = 0.5\nbackoff_longest = 2\n"
        )
        for name, (rack, host, vids) in RACKS.items():
            leaf = self.fabric.leaves[name]
            text += (
                f'[deployment.{rack}]\ndesign = "vds-leaf"\ndvs = "{rack}"\nvids = "{vids}"\n'
                f'[deployment.{rack}.leaf.{name}]\nvtep = "{leaf.vtep.ip}"\n{self.driver(name)}'
                f'[deployment.{rack}.host."{host}"]\nleaf = "{name}"\nports = {json.dumps(leaf.ports)}\n'
            )
        (self.folder / "isthmus.toml").write_text(text)
        self.state.processes.start("isthmus", self.command("run"), self.folder / "isthmus.log", is_vital=False)

    def driver(self, leaf: str) -> str:
        return f'driver = "hwvtep"\ntarget = "{self.fabric.leaves[leaf].db}"\ntimeout = 2\n'

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "isthmus.app.cli", *words, "--config", str(self.folder / "isthmus.toml")]

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, check=False)

    def rows(self, what: str) -> list[dict[str, Any]]:
        told = json.loads(self.ask("show", what, "--json").stdout)
        return list(told["rows"])

    def settled(self) -> bool:
        """The daemon says that all is as it is wanted."""
        told = self.ask("show", "--json")
        status = json.loads(told.stdout) if told.returncode == 0 else {"daemon": False, "shards": []}
        return status.get("daemon", True) and all(shard["state"] == "settled" for shard in status["shards"])

    def vid(self, network: str, leaf: str) -> int:
        """The VID that the network's port group really has on the switch of a rack."""
        group = self.admin.port_group(f"{network} ({RACKS[leaf][0]})")
        return int(group.config.defaultPortConfig.vlan.vlanId)

    def offered(self, network: str) -> bool:
        names = self.admin.port_group_names()
        return all(f"{network} ({rack})" in names for rack, _, _ in RACKS.values())

    def boot(self, name: str, network: str, leaf: str, port: str, address: str) -> Guest:
        """A VM in vCenter, and its guest below the leaf, with the VID of its port group on its port."""
        guest = self.fabric.boot(name, Spot(leaf, port, self.vid(network, leaf)), address)
        rack, host, _ = RACKS[leaf]
        self.admin.create_vm(name, host, [f"{network} ({rack})"], [guest.mac])
        self.admin.power_on(name)
        return guest

    def networks_at(self, leaf: str) -> set[str]:
        """What vtep-ctl says of our logical switches."""
        listed = self.fabric.leaves[leaf].ctl("list-ls").split()
        return {name for name in listed if name.startswith("isthmus-")}

    def ovsdb_of(self, leaf: str) -> ProcessId:
        """The process behind a leaf's database."""
        rundir = str(self.fabric.leaves[leaf].ovs.rundir)
        return next(
            process
            for process in self.state.processes.alive()
            if "ovsdb-server" in process.what and rundir in Path(f"/proc/{process.pid}/cmdline").read_text()
        )


S = TypeVar("S", bound=Site)


@contextmanager
def running(kind: type[S], prefix: str, fabric: Callable[[WorldState], Fabric[Any]]) -> Iterator[S]:
    """A site whose two networks are offered, until the block ends."""
    state = WorldState(f"{prefix}{secrets.token_hex(4)}")
    state.claim(keep=False)
    try:
        with Simulator(TOPOLOGY, password=PASSWORD) as vcenter:
            leaves = fabric(state)
            admin = Admin(Login(vcenter.url, vcenter.user, PASSWORD, str(vcenter.ca_file)))
            made = kind(state, leaves, vcenter, admin)
            made.want(RED, BLUE)
            made.start()
            assert until(lambda: made.offered("red") and made.offered("blue"), 60), state.tail("isthmus.log")
            yield made
            print(state.tail("isthmus.log", 6000))
            admin.close()
    finally:
        state.take_down()


@pytest.fixture(scope="module")
def site(machine: None) -> Iterator[Site]:
    with running(
        Site, "v", lambda state: Fabric.up(state, {"leaf1": ("swp1", "swp2"), "leaf2": ("swp1",)}, Leaf.at)
    ) as made:
        yield made


@pytest.fixture(scope="module")
def guests(site: Site) -> dict[str, Guest]:
    """a and b in red below different leaves; x and y in blue beside them, with addresses of the same subnet.

    They talk already: whichever test comes first.
    """
    made = {
        "a": site.boot("a", "red", "leaf1", "swp1", "10.0.0.1/24"),
        "b": site.boot("b", "red", "leaf2", "swp1", "10.0.0.2/24"),
        "x": site.boot("x", "blue", "leaf1", "swp2", "10.0.0.3/24"),
        "y": site.boot("y", "blue", "leaf2", "swp1", "10.0.0.4/24"),
    }
    assert reaches(made["a"], "10.0.0.2")
    assert reaches(made["x"], "10.0.0.4")
    return made


def reaches(guest: Guest, address: str, patience: float = 40.0) -> bool:
    return until(lambda: guest.reaches(address, 0.5), patience) is not None


def test_vms_below_different_leaves_talk_with_a_vid_of_each_leaf_for_one_vni(
    site: Site, guests: dict[str, Guest]
) -> None:
    assert site.vid("red", "leaf1") in range(101, 110)
    assert site.vid("red", "leaf2") in range(201, 210)
    assert guests["x"].ping("10.0.0.4").all_answered
    with Capture(site.fabric.spine) as wire:
        assert guests["a"].ping("10.0.0.2").all_answered
        told = [found for heard in wire.heard() if (found := vxlan(heard.frame)) is not None]
    red = [found for found in told if guests["a"].mac in (found.inner.src, found.inner.dst)]
    assert {found.vni for found in red} == {70001}
    assert {found.inner.vid for found in told} == {None}
    assert until(site.settled, 30) is not None


def test_nobody_hears_another_network(guests: dict[str, Guest]) -> None:
    assert guests["b"].hears(guests["a"])
    assert guests["y"].hears(guests["x"])
    for one, other in (("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")):
        assert not guests[one].hears(guests[other])
        assert not guests[other].hears(guests[one])
    assert guests["a"].ping("10.0.0.4", patience=0.3).none_answered


def test_what_is_shown_names_leaf_vid_and_vni(site: Site, guests: dict[str, Guest]) -> None:
    vid = site.vid("red", "leaf1")
    rows = {row["leaf"]: row for row in site.rows("leaves")}
    assert rows["leaf1"]["state"] == rows["leaf2"]["state"] == "ready"
    there = [network for named in (RED, BLUE, GREEN, AMBER) for network in named if site.offered(network)]
    assert rows["leaf1"]["vids"] == sorted(site.vid(network, "leaf1") for network in there)
    explained = site.ask("explain", "a").stdout
    assert "open and wired" in explained
    for said in ("leaf1", str(vid), "70001", "192.0.2.2"):
        assert said in explained
    checked = site.ask("check")
    assert checked.returncode == 0, checked.stdout
    assert "deployment.rack1.leaf.leaf1: answers; it sends from 192.0.2.1, and has swp1, swp2" in checked.stdout


def test_a_clone_below_another_leaf_draws_no_frame_away_from_its_original(site: Site, guests: dict[str, Guest]) -> None:
    """The clone, which vCenter alone knows, is silent: whoever asks for its MAC asks for the original."""
    a, neighbour = guests["a"], site.boot("n", "red", "leaf1", "swp2", "10.0.0.9/24")
    assert reaches(neighbour, "10.0.0.1")
    leaf1, leaf2 = site.fabric.leaves["leaf1"], site.fabric.leaves["leaf2"]
    remote = "list-remote-macs", "isthmus-isthmus-70001"
    assert until(lambda: a.mac in leaf2.ctl(*remote), 20) is not None
    site.admin.create_vm("clone", RACKS["leaf2"][1], ["red (rack2)"], [a.mac])
    site.admin.power_on("clone")
    try:
        assert until(lambda: "carry one MAC" in site.ask("show").stdout, 30) is not None
        assert until(lambda: a.mac not in leaf2.ctl(*remote), 20) is not None
        time.sleep(3)  # the VTEP emulator looks once a second
        assert a.mac not in leaf1.ctl(*remote)
        assert neighbour.ping("10.0.0.1").all_answered
        assert guests["b"].ping("10.0.0.1").all_answered
    finally:
        for name in ("clone", "n"):
            site.admin.destroy(name)
    assert until(lambda: a.mac in leaf2.ctl(*remote), 20) is not None
    assert until(site.settled, 30) is not None


def test_what_another_hand_took_away_is_planned_in_its_own_words_and_put_back(
    site: Site, guests: dict[str, Guest]
) -> None:
    assert site.ask("pause", "rack2").returncode == 0
    vid = site.vid("red", "leaf2")
    site.fabric.leaves["leaf2"].ctl("unbind-ls", "leaf2", "swp1", str(vid))
    planned = site.ask("plan")
    assert planned.returncode == 2, planned.stderr
    assert f"    vtep-ctl bind-ls leaf2 swp1 {vid} isthmus-isthmus-70001" in planned.stdout.splitlines()
    [change] = json.loads(site.ask("plan", "--json").stdout)["plan"]["rack2"]
    assert change["words"] == [f"vtep-ctl bind-ls leaf2 swp1 {vid} isthmus-isthmus-70001"]
    assert site.ask("resume", "rack2").returncode == 0
    bound = f"{vid:04d} isthmus-isthmus-70001"
    assert until(lambda: bound in site.fabric.leaves["leaf2"].ctl("list-bindings", "leaf2", "swp1"), 20) is not None
    assert reaches(guests["a"], "10.0.0.2")


def test_a_leaf_that_does_not_answer_holds_up_no_other_and_is_told_when_it_is_back(
    site: Site, guests: dict[str, Guest]
) -> None:
    ovsdb = site.ovsdb_of("leaf2").pid
    os.kill(ovsdb, signal.SIGSTOP)
    try:
        site.want(RED, BLUE, GREEN)
        assert until(lambda: "isthmus-isthmus-70003" in site.networks_at("leaf1"), 40) is not None
        assert guests["a"].ping("10.0.0.2").all_answered, "what was told goes on"
        assert until(lambda: "leaf:leaf2" in site.ask("show").stdout, 20) is not None
    finally:
        os.kill(ovsdb, signal.SIGCONT)
    assert until(lambda: "isthmus-isthmus-70003" in site.networks_at("leaf2"), 60) is not None
    assert until(site.settled, 30) is not None
    c = site.boot("c", "green", "leaf1", "swp1", "10.0.0.5/24")
    site.boot("d", "green", "leaf2", "swp1", "10.0.0.6/24")
    assert reaches(c, "10.0.0.6")


def test_a_second_process_of_the_installation_writes_nothing(site: Site, guests: dict[str, Guest]) -> None:
    other = site.folder / "other.toml"
    text = (site.folder / "isthmus.toml").read_text().replace('"sock"', '"sock2"').replace('"state"', '"state2"')
    other.write_text(text.replace('"101-109"', '"111-119"'))
    command = [*site.command()[:-2], "--config", str(other)]
    started = site.state.processes.start(
        "a second isthmus", [*command[:3], "run", *command[3:]], site.folder / "other.log", is_vital=False
    )
    ask = [*command[:3], "show", *command[3:]]

    def told() -> str:
        return subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False).stdout

    try:
        refused = "another isthmus process writes the leaf"
        assert until(lambda: told().count(refused) == 2, 20) is not None
        time.sleep(3)  # it looks again
        assert told().count(refused) == 2
        assert "rack1: waiting" in told()
        assert site.vid("red", "leaf1") in range(101, 110)
    finally:
        started.terminate()
        started.wait()


def test_a_deleted_network_goes_from_vcenter_and_from_every_leaf(site: Site, guests: dict[str, Guest]) -> None:
    site.want(RED, BLUE, GREEN, AMBER)
    assert until(lambda: site.offered("amber"), 40) is not None
    e = site.boot("e", "amber", "leaf1", "swp1", "10.0.0.7/24")
    site.boot("f", "amber", "leaf2", "swp1", "10.0.0.8/24")
    assert reaches(e, "10.0.0.8")
    site.want(RED, BLUE, GREEN)
    time.sleep(2)
    assert site.offered("amber"), "VMs are in it"
    for name in ("e", "f"):
        site.admin.destroy(name)
    assert until(lambda: not any(name.startswith("amber") for name in site.admin.port_group_names()), 40) is not None
    assert until(lambda: "isthmus-isthmus-70004" not in site.networks_at("leaf1") | site.networks_at("leaf2"), 20)
    assert until(site.settled, 30) is not None
    assert guests["a"].ping("10.0.0.2").all_answered
