"""What each shard of a configuration reads: the switch it writes, and those that say whose a VNI is."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from isthmus.adapters.vcenter.inventory import LiveInventory
from isthmus.app.backoff import Backoff
from isthmus.app.reading import Source
from isthmus.app.settings import load
from isthmus.app.wiring import wire
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.names import DvsId, HostId
from isthmus.model.observed import TargetId

TWO_DEPLOYMENTS = """
[vcenter.vc]
url = "https://vc.example/sdk"
user = "u"
password_env = "P"
[intent]
file = "intent.yaml"
[deployment.a]
design = "ovsvapp"
dvs = "dvs-a"
[deployment.a.appliance]
trunk = "eth1"
[deployment.a.host."esx1"]
vtep = "192.0.2.1"
[deployment.b]
design = "ovsvapp"
dvs = "dvs-b"
[deployment.b.appliance]
trunk = "eth1"
[deployment.b.host."esx2"]
vtep = "192.0.2.2"
ovsdb = "unix:/run/esx2/db.sock"
rundir = "/run/esx2"
"""


ONLY_READ = 'dvs = "dvs-b"\nserve = []\nport_groups = false'


def test_a_shard_reads_the_switches_of_every_deployment_on_its_vcenter_and_writes_its_own(tmp_path: Path) -> None:
    seen = reads_and_writes(tmp_path, TWO_DEPLOYMENTS)
    assert seen == {
        "a/port-groups": ({"a", "b"}, ("a",)),
        "a/esx1": ({"a", "b"}, ("a",)),
        "b/port-groups": ({"a", "b"}, ("b",)),
        "b/esx2": ({"a", "b"}, ("b",)),
    }


def test_a_process_that_serves_nothing_of_a_deployment_reads_its_switch_all_the_same(tmp_path: Path) -> None:
    seen = reads_and_writes(tmp_path, TWO_DEPLOYMENTS.replace('dvs = "dvs-b"', ONLY_READ))
    assert seen == {"a/port-groups": ({"a", "b"}, ("a",)), "a/esx1": ({"a", "b"}, ("a",))}


def test_an_inventory_is_as_old_as_its_vcenters_last_word_however_often_its_mirror_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveInventory, "read", lambda self: Inventory({}, {}, {}))
    monkeypatch.setattr(LiveInventory, "silence", lambda self: 75.0)
    file = tmp_path / "isthmus.toml"
    file.write_text(TWO_DEPLOYMENTS)
    source = wire(load(file, {"P": "x"}), time.monotonic).inventories["vc"]
    assert source.age is None
    source.read()
    assert source.age == 75.0


def reads_and_writes(tmp_path: Path, text: str) -> dict[str, tuple[set[str], tuple[str, ...]]]:
    """By shard, the switches it reads and those it writes."""
    file = tmp_path / "isthmus.toml"
    file.write_text(text)
    wiring = wire(load(file, {"P": "x"}), time.monotonic)
    hosts = {HostId(name): Host(HostId(name), name) for name in ("esx1", "esx2")}
    switches = {
        DvsId("a"): Dvs(DvsId("a"), "dvs-a", 1600, frozenset({HostId("esx1")})),
        DvsId("b"): Dvs(DvsId("b"), "dvs-b", 1600, frozenset({HostId("esx2")})),
        DvsId("c"): Dvs(DvsId("c"), "somebody else's", 1600, frozenset()),
    }
    inventory = Inventory(hosts, switches, {})
    source = Source("vCenter", lambda: inventory, time.monotonic, Backoff(1, 1))
    wiring.inventories["vc"] = source
    for dvs in switches:
        wiring._switches[dvs] = cast(Any, SimpleNamespace(id=TargetId("dvs", dvs)))
    return {
        charge.name: (
            {target.id.name for target in charge.targets() if target.id.kind == "dvs"},
            charge.place(inventory).shard.switches,
        )
        for charge in wiring.charges
    }
