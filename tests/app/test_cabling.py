"""What hosts hear by LLDP and CDP, beside what the configuration says: disagreement is shown, silence is nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from isthmus.app import cli, wiring
from isthmus.app.cabling import REMEDY, keep_looking
from isthmus.app.looking import keepers_of
from isthmus.app.settings import load
from lab.vcenter import Cluster, Datacenter, Dvs, Hang, Host, Member, Neighbour, NotBuilt, Pnic, Simulator, Topology
from tests.app.test_leaves_with_vcenter import MemoryLeaf, until
from tests.lab.vcenter.client import Client, wait

pytestmark = pytest.mark.sim
HOSTS = ("esx1.lab", "esx2.lab")
PLAN = (
    '[deployment.rack1]\ndesign = "vds-leaf"\ndvs = "rack1"\nvids = "101-199"\n'
    '[deployment.rack1.leaf.leaf1]\ndriver = "hwvtep"\ntarget = "unix:/nowhere/leaf1"\nvtep = "192.0.2.1"\n'
    '[deployment.rack1.host."esx1.lab"]\nleaf = "leaf1"\nports = ["swp1", "swp2"]\n'
    '[deployment.rack1.host."esx2.lab"]\nleaf = "leaf1"\nports = "swp3"\n'
)
RIGHT = {
    ("esx1.lab", "vmnic1"): Neighbour("leaf1", "swp1"),
    ("esx1.lab", "vmnic2"): Neighbour("leaf1.example.org", "swp2"),
    ("esx2.lab", "vmnic1"): Neighbour("LEAF1(FDO12345)", "swp3", protocol="cdp"),
}


class Site:
    """A switch in a rack, whose hosts hear what they should; vmnic0 is on another switch, below another leaf."""

    def __init__(self, folder: Path, simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.simulator, self._capsys = folder, simulator, capsys
        (folder / "password").write_text(simulator.password)
        (folder / "intent.yaml").write_text("networks: []")
        self.configure(PLAN)

    def configure(self, plan: str) -> None:
        (self.folder / "isthmus.toml").write_text(
            f'[vcenter.vc1]\nurl = "{self.simulator.url}"\nuser = "{self.simulator.user}"\n'
            f'password_file = "password"\nca_file = "{self.simulator.ca_file}"\n[intent]\nfile = "intent.yaml"\n'
            f'[status]\nstate = "state"\nsocket = "sock"\n{plan}'
        )

    def wired(self) -> wiring.Wiring:
        return wiring.wire(load(self.folder / "isthmus.toml", {}), time.monotonic)

    def said(self, *words: str) -> list[str]:
        cli.main([*words, "--config", str(self.folder / "isthmus.toml")])
        return self._capsys.readouterr().out.splitlines()

    def about_lldp(self) -> list[str]:
        """The findings of `check` about cables."""
        return [line for line in self.said("check") if "hears" in line or "LLDP" in line]


Make = Callable[..., Site]


def topology() -> Topology:
    def pnic(host: str, device: str) -> Pnic:
        stranger = Neighbour("management", "Gi1/0/1")
        return Pnic(device, neighbour=stranger if device == "vmnic0" else RIGHT.get((host, device)))

    hosts = tuple(Host(name, pnics=tuple(pnic(name, f"vmnic{n}") for n in range(4))) for name in HOSTS)
    members = (Member("esx1.lab", ("vmnic1", "vmnic2")), Member("esx2.lab", ("vmnic1",)))
    other = Dvs("other", uplinks=("u1",), members=(Member("esx1.lab", ("vmnic3",)),))
    rack = Dvs("rack1", mtu=1600, uplinks=("u1", "u2"), members=members)
    return Topology((Datacenter("dc1", (Cluster("cluster1", hosts),), (rack, other)),))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    monkeypatch.setattr("isthmus.adapters.leaf.hwvtep.HwvtepTarget", MemoryLeaf)
    for store in ("made", "held", "misfits"):
        monkeypatch.setattr(MemoryLeaf, store, {})
    with ExitStack() as over:
        try:
            simulator = over.enter_context(Simulator(topology()))
        except NotBuilt as missing:
            pytest.skip(str(missing))
        yield Site(tmp_path, simulator, capsys)


def test_where_hosts_hear_what_is_configured_all_is_well(site: Site) -> None:
    [line] = site.about_lldp()
    assert line.startswith("ok ")
    assert "for 2 of 2 hosts" in line
    assert site.said("check")[-1] == "all is well"


@pytest.mark.parametrize(
    ("neighbour", "said"),
    [
        (Neighbour("leaf2", "swp3"), "vmnic1 hears swp3 of leaf2 (LLDP), the configuration says swp3 of leaf1"),
        (Neighbour("leaf1", "swp1"), "vmnic1 hears swp1 of leaf1 (LLDP), the configuration says swp3 of leaf1"),
        (Neighbour("x", "Eth1", "cdp"), "vmnic1 hears Eth1 of x (CDP), the configuration says swp3 of leaf1"),
    ],
)
def test_a_cable_in_another_switch_or_port_is_shown_by_check_and_as_a_condition(
    site: Site, neighbour: Neighbour, said: str
) -> None:
    site.simulator.hosts.hear("esx2.lab", "vmnic1", neighbour)
    [line] = site.about_lldp()
    assert line == f'warning deployment.rack1.host."esx2.lab": {said} -> {REMEDY}'
    assert f"  warning: host 'esx2.lab': {said}: {REMEDY}" in site.said("show")


def test_what_nics_of_other_switches_hear_is_not_used(site: Site) -> None:
    for nic in ("vmnic0", "vmnic3"):
        site.simulator.hosts.hear("esx1.lab", nic, Neighbour("leaf9", "swp9"))
    assert [line.split()[0] for line in site.about_lldp()] == ["ok"]


def test_silence_is_no_disagreement(site: Site) -> None:
    for host, nic in RIGHT:
        site.simulator.hosts.hear(host, nic, None)
    assert site.about_lldp() == []
    assert site.said("check")[-1] == "all is well"


def test_what_was_heard_stays_while_the_nic_is_silent_or_its_host_away(site: Site) -> None:
    site.simulator.hosts.hear("esx2.lab", "vmnic1", Neighbour("leaf2", "swp3"))
    made = site.wired()
    operator = Client(site.simulator)
    try:
        cabling = made.cabling["rack1"]
        cabling.look()
        wrong = cabling.remarks()
        assert [remark.about for remark in wrong] == ["host 'esx2.lab'"]
        site.simulator.hosts.hear("esx2.lab", "vmnic1", None)
        cabling.look()
        assert cabling.remarks() == wrong
        wait(operator.host("esx2.lab").DisconnectHost_Task())
        site.simulator.hosts.hear("esx2.lab", "vmnic1", RIGHT["esx2.lab", "vmnic1"])
        site.simulator.hosts.hear("esx1.lab", "vmnic1", Neighbour("leaf3", "swp1"))
        cabling.look()
        assert [remark.about for remark in cabling.remarks()] == ["host 'esx1.lab'", "host 'esx2.lab'"]
        wait(operator.host("esx2.lab").ReconnectHost_Task())
        cabling.look()
        assert [remark.about for remark in cabling.remarks()] == ["host 'esx1.lab'"]
    finally:
        operator.close()
        made.close()


def test_other_names_can_be_told_and_a_pair_is_compared_only_by_names_that_are(site: Site) -> None:
    site.simulator.hosts.hear("esx2.lab", "vmnic1", Neighbour("sw-b", "Eth3"))
    pair = PLAN.replace('"unix:/nowhere/leaf1"', '["unix:/nowhere/a", "unix:/nowhere/b"]')
    site.configure(pair)
    assert not [line for line in site.about_lldp() if "hears" in line]
    named = pair.replace('vtep = "192.0.2.1"', 'vtep = "192.0.2.1"\nlldp_name = ["leaf1", "sw-b"]')
    site.configure(named)
    [line] = site.about_lldp()
    assert "hears Eth3 of sw-b (LLDP), the configuration says swp3 of leaf1" in line
    site.configure(named.replace('ports = "swp3"', 'ports = "swp3"\nlldp_ports = ["Eth3"]'))
    assert [line.split()[0] for line in site.about_lldp()] == ["ok"]


def test_a_host_that_hangs_keeps_nobody_else_from_being_heard(site: Site) -> None:
    site.configure(PLAN)
    text = (site.folder / "isthmus.toml").read_text().replace("ca_file", "timeout = 1\nca_file")
    (site.folder / "isthmus.toml").write_text(text)
    site.simulator.hosts.hear("esx2.lab", "vmnic1", Neighbour("leaf2", "swp3"))
    made = site.wired()
    try:
        made.cabling["rack1"].look()
        assert [remark.about for remark in made.cabling["rack1"].remarks()] == ["host 'esx2.lab'"]
        site.simulator.hosts.hear("esx1.lab", "vmnic1", Neighbour("leaf3", "swp1"))
        with site.simulator.faults.during(Hang(), method="QueryNetworkHint", host="esx2.lab"):
            made.cabling["rack1"].look()
        assert [remark.about for remark in made.cabling["rack1"].remarks()] == ["host 'esx1.lab'", "host 'esx2.lab'"]
    finally:
        made.close()


# --- how often ----------------------------------------------------------------------------------------------------


def test_a_daemon_asks_when_it_starts_and_shows_what_it_heard(site: Site) -> None:
    site.simulator.hosts.hear("esx2.lab", "vmnic1", Neighbour("leaf2", "swp3"))
    command = [sys.executable, "-m", "isthmus.app.cli", "run", "--config", str(site.folder / "isthmus.toml")]
    with (site.folder / "log").open("w") as log:
        daemon = subprocess.Popen(command, stderr=log)

    def shown() -> bool:
        lines = site.said("show")
        by_daemon = any(line.startswith("source ") for line in lines)  # only a daemon has ages to tell
        return by_daemon and any("hears swp3 of leaf2" in line for line in lines)

    try:
        until(shown)
    finally:
        daemon.terminate()
        assert daemon.wait(10) == 0


def test_rounds_do_not_ask_and_news_is_told_when_it_is_heard(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.app.cabling.SELDOM", 0.2)
    site.simulator.hosts.hear("esx2.lab", "vmnic1", Neighbour("leaf2", "swp3"))
    made, done, told = site.wired(), threading.Event(), []

    def news() -> None:
        told.append([remark.about for remark in made.cabling["rack1"].remarks()])

    [keeper] = keepers_of(made)
    keeper.keep(made.sight.tick())
    assert not made.cabling["rack1"].heard
    listening = threading.Thread(target=keep_looking, args=(tuple(made.cabling.values()), news, done))
    listening.start()
    try:
        until(lambda: told == [["host 'esx2.lab'"]])
        time.sleep(0.5)
        assert len(told) == 1, "what stays the same is no news"
        site.simulator.hosts.hear("esx2.lab", "vmnic1", RIGHT["esx2.lab", "vmnic1"])
        until(lambda: told[1:] == [[]])
    finally:
        done.set()
        listening.join(5)
        made.close()
    assert not listening.is_alive()
