"""The examples that the documentation points to are read without a complaint."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from isthmus.adapters.file import FileIntent
from isthmus.app.settings import load
from isthmus.app.wiring import wire
from isthmus.model.inventory import Host
from isthmus.model.names import HostId

TREE = Path(__file__).parents[2]


def test_the_example_configuration_and_intent_are_good(tmp_path: Path) -> None:
    for name in ("isthmus.toml", "intent.yaml"):
        shutil.copy(TREE / "examples" / name, tmp_path)
    (tmp_path / "vcenter.password").write_text("x")
    text = (tmp_path / "isthmus.toml").read_text().replace("/etc/isthmus/vcenter-ca.pem", "ca.pem")
    (tmp_path / "isthmus.toml").write_text(text)
    (tmp_path / "ca.pem").touch()
    config = load(tmp_path / "isthmus.toml", {}).config
    assert len(FileIntent(config.intent.file).read().networks) == 3


def test_the_example_with_leaves_is_good(tmp_path: Path) -> None:
    for name in ("isthmus-vds.toml", "intent.yaml"):
        shutil.copy(TREE / "examples" / name, tmp_path)
    (tmp_path / "vcenter.password").write_text("x")
    text = (tmp_path / "isthmus-vds.toml").read_text().replace("/etc/isthmus/vcenter-ca.pem", "ca.pem")
    (tmp_path / "isthmus-vds.toml").write_text(text)
    (tmp_path / "ca.pem").touch()
    wiring = wire(load(tmp_path / "isthmus-vds.toml", {}), time.monotonic)
    assert [charge.name for charge in wiring.charges] == ["rows", "rack3", "rack4", "rack5"]


def test_the_example_with_neutron_is_good(tmp_path: Path) -> None:
    (tmp_path / "neutron.url").write_text("fake:///")
    (tmp_path / "vcenter.password").write_text("x")
    (tmp_path / "ca.pem").touch()
    text = (TREE / "examples" / "isthmus-neutron.toml").read_text().replace("/etc/isthmus/vcenter-ca.pem", "ca.pem")
    (tmp_path / "isthmus-neutron.toml").write_text(text)
    wiring = wire(load(tmp_path / "isthmus-neutron.toml", {}), time.monotonic)
    assert [charge.name for charge in wiring.charges] == [
        "rack1",
        "cluster2/port-groups",
        "cluster2/esx11.example.org",
        "cluster2/esx12.example.org",
    ]
    deployments = wiring.config.deployment
    assert {name: list(found.compute) for name, found in deployments.items()} == {
        "rack1": ["compute-rack1"],
        "cluster2": ["compute-cluster2"],
    }
    assert list(deployments["rack1"].attached) == ["net-1"]
    for host in deployments["cluster2"].host:
        wiring.ovs(deployments["cluster2"], Host(HostId(host), host))
    wiring.close()


def test_the_example_with_contrail_is_good(tmp_path: Path) -> None:
    for secret in ("vcenter-east.password", "vcenter-west.password", "contrail.password"):
        (tmp_path / secret).write_text("x")
    (tmp_path / "ca.pem").touch()
    text = (TREE / "examples" / "isthmus-contrail.toml").read_text().replace("/etc/isthmus/vcenter-ca.pem", "ca.pem")
    (tmp_path / "isthmus-contrail.toml").write_text(text)
    wiring = wire(load(tmp_path / "isthmus-contrail.toml", {}), time.monotonic)
    assert [charge.name for charge in wiring.charges] == [
        "east/port-groups",
        "east/esx1.example.org",
        "east/esx2.example.org",
        "west/port-groups",
        "west/esx11.example.net",
    ]
    wiring.close()


def test_every_key_of_the_configuration_is_documented() -> None:
    from isthmus.app import config

    text = (TREE / "docs" / "configuration.md").read_text()
    sections = [kind for kind in vars(config).values() if isinstance(kind, type) and issubclass(kind, config.Section)]
    keys = {field.alias or name for kind in sections for name, field in kind.model_fields.items()}
    assert [key for key in sorted(keys) if key not in text] == []
