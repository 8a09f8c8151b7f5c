"""What Neutron's compute hosts are to us: the ESXi hosts of their switch, and the leaves that these are below."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from isthmus.adapters.neutron.errands import Cluster
from isthmus.adapters.neutron.facts import Facts
from isthmus.app.daemon import Daemon
from isthmus.app.keeper import Pass
from isthmus.app.neutron import NeutronSide
from isthmus.app.settings import load
from isthmus.app.standing import Word
from isthmus.app.wiring import wire
from isthmus.model.change import Plan, Reconciled
from isthmus.model.intent import Intent
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.names import DvsId, HostId, LeafId, NetworkId
from isthmus.model.observed import Observed, TargetId
from isthmus.model.scope import FabricScope
from isthmus.model.shard import Shard, VidPool, World
from isthmus.model.tags import VidSet

FABRIC = """
[vcenter.vc1]
url = "https://vc1.example/sdk"
user = "isthmus"
password_env = "SECRET"
[intent.neutron]
url_env = "BUS"
[deployment.fabric]
design = "vds-static"
dvs = ["rack1", "uuid-2"]
vids = "100-199"
[deployment.fabric.leaf.leaf1]
driver = "hwvtep"
target = "tcp:192.0.2.101:6640"
vtep = "192.0.2.1"
[deployment.fabric.leaf.leaf2]
driver = "hwvtep"
target = "tcp:192.0.2.102:6640"
vtep = "192.0.2.2"
[deployment.fabric.leaf.leaf9]
driver = "external"
vtep = "192.0.2.9"
[deployment.fabric.host.esx1]
leaf = "leaf1"
ports = ["swp1"]
[deployment.fabric.host.esx2]
leaf = "leaf2"
ports = ["swp1"]
[deployment.fabric.host.esx4]
leaf = "leaf9"
[deployment.fabric.compute."compute-1"]
dvs = "rack1"
[deployment.fabric.compute."compute-2"]
dvs = "uuid-2"
"""
BEYOND = frozenset({"leaf9"})
ONE, TWO = DvsId("uuid-1"), DvsId("uuid-2")
LEAVES = {"esx1": "leaf1", "esx2": "leaf2", "esx3": "leaf2", "esx4": "leaf9"}
HOSTS = {HostId(f"vc/{name}"): Host(HostId(f"vc/{name}"), name, leaf=LeafId(leaf)) for name, leaf in LEAVES.items()}
SWITCHES = {
    ONE: Dvs(ONE, "rack1", 1600, frozenset({HostId("vc/esx1")})),
    TWO: Dvs(TWO, "rack2", 1600, frozenset({HostId("vc/esx2"), HostId("vc/esx3"), HostId("vc/esx4")})),
}


def looked(*switches: DvsId) -> Pass:
    """A look at the fabric, where these switches were found."""
    nves = {leaf: TargetId("leaf", leaf) for leaf in ("leaf1", "leaf2")}
    shard = Shard(
        "fabric", FabricScope("fabric"), (ONE, TWO), frozenset(HOSTS), nves, beyond=BEYOND, deployment="fabric"
    )
    inventory = Inventory(HOSTS, {dvs: SWITCHES[dvs] for dvs in switches}, {})
    return Pass(World(shard, Intent({}), inventory), Observed(), VidPool(), 0.0, Reconciled(Plan()), Plan())


@pytest.fixture
def side(tmp_path: Path) -> NeutronSide:
    (tmp_path / "isthmus.toml").write_text(FABRIC)
    return NeutronSide(load(tmp_path / "isthmus.toml", {"SECRET": "x", "BUS": "fake:///"}), lambda: 0.0)


def test_a_compute_host_is_the_hosts_of_its_switch_and_those_leaves_of_ours_that_they_are_below(
    side: NeutronSide,
) -> None:
    """Its ports wait for these leaves, and for no other: one of another rack may be away."""
    side.looked(looked(ONE, TWO))
    assert side._desk._clusters() == {
        "compute-1": Cluster("fabric", ONE, frozenset({"leaf1"}), frozenset({HostId("vc/esx1")})),
        "compute-2": Cluster("fabric", TWO, frozenset({"leaf2"}), SWITCHES[TWO].hosts),
    }


def test_of_a_deployment_that_is_released_neutron_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "isthmus.toml").write_text(FABRIC + '[status]\nstate = "state"\n')
    wiring = wire(load(tmp_path / "isthmus.toml", {"SECRET": "x", "BUS": "fake:///"}), lambda: 0.0)
    loop, side = Daemon(wiring).loop, wiring.neutron
    assert side is not None
    ask = partial(side._desk.port_group, "fabric", "compute-1", NetworkId("red"), 101, 0.0)
    loop.looked(looked(ONE, TWO))
    assert "was not there" in ask()["reason"]
    loop.released(looked(ONE, TWO))
    assert "handed back" in ask()["reason"]


def test_of_a_deployment_whose_rounds_all_end_in_bugs_neutron_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "isthmus.toml").write_text(FABRIC)
    wiring = wire(load(tmp_path / "isthmus.toml", {"SECRET": "x", "BUS": "fake:///"}), lambda: 0.0)
    loop, side = Daemon(wiring).loop, wiring.neutron
    assert side is not None
    loop.looked(looked(ONE, TWO))
    assert {present.host for present in side._desk._presences()} == {"compute-1", "compute-2"}
    loop.seats["fabric"].bugs = 3
    assert side._desk._presences() == []
    assert "3 rounds in a row" in side._desk.port_group("fabric", "compute-1", NetworkId("red"), 101, 0.0)["reason"]


def test_the_hosts_of_a_released_deployment_are_known_after_a_restart(side: NeutronSide) -> None:
    """Neutron would take them for dead, with the VMs on them."""
    side.released(looked(ONE, TWO))
    assert set(side._desk._clusters()) == {"compute-1", "compute-2"}


ATTACHED = """
[deployment.fabric.attached."net-1"]
leaf = "leaf1"
ports = ["swp8"]
"""
ANOTHER = """
[deployment.rack9]
design = "vds-leaf"
dvs = "rack9"
[deployment.rack9.leaf.leaf19]
driver = "hwvtep"
target = "tcp:192.0.2.119:6640"
vtep = "192.0.2.19"
[deployment.rack9.host.esx9]
leaf = "leaf19"
ports = ["swp1"]
"""
KEPT_ELSEWHERE = 'design = "vds-static"\nserve = []\nport_groups = false\n'


def reported(folder: Path, text: str) -> set[str]:
    """The hosts that Neutron is told of, before anything was looked at."""
    (folder / "isthmus.toml").write_text(text)
    side = NeutronSide(load(folder / "isthmus.toml", {"SECRET": "x", "BUS": "fake:///"}), lambda: 0.0)
    return {presence.host for presence in side._desk._presences()}


def test_a_machine_below_a_leaf_is_reported_by_the_process_that_keeps_its_deployment(tmp_path: Path) -> None:
    """Every process lists all deployments: one that reported another's would call the dead alive."""
    here = FABRIC + ATTACHED + ANOTHER
    assert reported(tmp_path, here) == {"net-1"}
    assert reported(tmp_path, here.replace('design = "vds-static"\n', KEPT_ELSEWHERE)) == set()


OBSERVED = FABRIC.replace('design = "vds-static"', 'design = "vds-static"\nobserve_only = true') + ATTACHED


def facts(*kept: str) -> Facts:
    return Facts({}, (), (), (), {}, held=(), fabric=True, kept=frozenset(kept))


def observing(folder: Path) -> NeutronSide:
    (folder / "isthmus.toml").write_text(OBSERVED)
    return NeutronSide(load(folder / "isthmus.toml", {"SECRET": "x", "BUS": "fake:///"}), lambda: 0.0)


def test_hosts_that_are_only_observed_are_told_as_such_unless_another_keeps_them(tmp_path: Path) -> None:
    side = observing(tmp_path)
    side.looked(looked(ONE, TWO))
    assert side._desk._presences() == [], "who keeps them is not known yet"
    side.intent.facts = facts()
    told = {(presence.host, presence.standing) for presence in side._desk._presences()}  # type: ignore[union-attr]
    assert told == {("compute-1", "observed"), ("compute-2", "observed"), ("net-1", "observed")}
    side.intent.facts = facts("compute-1", "net-1")
    assert [presence.host for presence in side._desk._presences()] == ["compute-2"]


def test_of_what_is_only_observed_neutron_is_promised_nothing_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, opened = observing(tmp_path), []
    monkeypatch.setattr(side._desk, "open", lambda domains, wake: opened.append(domains))
    side.open(lambda hosts: None)
    side.looked(looked(ONE, TWO))
    side.released(looked(ONE, TWO))
    assert (opened, side._desk.seen, side._desk.unlooked) == ([frozenset()], {}, {})


def test_what_kvm_hosts_were_told_is_recalled_of_those_domains_only_that_are_kept_still(
    side: NeutronSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leaf that got another VTEP is of a domain still kept; a deployment that another process has now is not."""
    [domain] = side._vteps
    kept = {"vteps": {"192.0.2.98": domain, "192.0.2.99": "another's"}, "told": []}
    assert side._state is not None
    side._state.parent.mkdir(parents=True, exist_ok=True)
    side._state.write_text(json.dumps(kept))
    recalled: list[object] = []
    monkeypatch.setattr(side._desk, "open", lambda domains, wake: None)
    monkeypatch.setattr(side._desk, "recall", lambda rows, ours: recalled.append(ours))
    side.open(lambda hosts: None)
    assert recalled == [{"192.0.2.98"}]
    side._keep([])
    assert set(json.loads(side._state.read_text())["vteps"]) == side._vteps[domain]


def test_how_a_deployment_stands_is_told_with_its_hosts(side: NeutronSide) -> None:
    side.looked(looked(ONE, TWO))
    for word, told in ((None, "kept"), (Word.PAUSED, "paused"), (Word.RELEASED, "released")):
        side.word = {"fabric": word}.get
        assert {presence.standing for presence in side._desk._presences()} == {told}  # type: ignore[union-attr]


CLOUD = """
[vcenter.vc1]
url = "https://vc1.example/sdk"
user = "isthmus"
password_env = "SECRET"
[intent.neutron]
url_env = "BUS"
[deployment.cloud]
design = "ovsvapp"
dvs = "tenants"
vids = "101-199"
[deployment.cloud.appliance]
trunk = "eth1"
[deployment.cloud.compute."compute-1"]
[deployment.cloud.host.esx1]
vtep = "192.0.2.1"
ovsdb = "unix:/run/one/db.sock"
"""


def test_the_vteps_of_our_own_appliances_are_known_and_those_of_neutrons_agents_are_not_ours(tmp_path: Path) -> None:
    for design, own in (("ovsvapp", {"192.0.2.1": "esx1"}), ("ovsvapp-port", {})):
        text = CLOUD.replace('"ovsvapp"', f'"{design}"')
        if design == "ovsvapp-port":
            text = text.replace('"compute-1"]', '"compute-1"]\nhost = "esx1"')
        (tmp_path / "isthmus.toml").write_text(text)
        side = NeutronSide(load(tmp_path / "isthmus.toml", {"SECRET": "x", "BUS": "fake:///"}), lambda: 0.0)
        assert side._places.appliances == own


def test_vlans_that_are_reserved_are_not_there_for_neutron(tmp_path: Path) -> None:
    (tmp_path / "isthmus.toml").write_text(FABRIC.replace('"100-199"', '"100-199"\nreserved = "150-159"'))
    side = NeutronSide(load(tmp_path / "isthmus.toml", {"SECRET": "x", "BUS": "fake:///"}), lambda: 0.0)
    assert side._places.vids["fabric"] == VidSet.of("100-149,160-199")


def test_a_compute_host_whose_switch_is_not_found_is_none(side: NeutronSide) -> None:
    side.looked(looked(TWO))
    assert set(side._desk._clusters()) == {"compute-2"}
