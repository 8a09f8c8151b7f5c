"""The configuration of designs whose NVEs are leaf switches: what it means, and what cannot work, with its reason."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from isthmus.app.config import HwvtepLeafConfig
from isthmus.app.settings import Settings, load
from isthmus.app.wiring import wire
from isthmus.model.faults import Refused

STATIC = """
[vcenter.vc1]
url = "https://vc1.example/sdk"
user = "isthmus"
password_env = "SECRET"
[intent]
file = "intent.yaml"
[deployment.fabric]
design = "vds-static"
dvs = ["rack1", "rack2"]
vids = "101-3999"
[deployment.fabric.leaf.leaf1]
driver = "hwvtep"
target = "tcp:192.0.2.101:6640"
vtep = "192.0.2.1"
[deployment.fabric.leaf.leaf2]
driver = "hwvtep"
target = ["tcp:192.0.2.102:6640", "tcp:192.0.2.103:6640"]
vtep = "192.0.2.2"
[deployment.fabric.host."esx1.example"]
leaf = "leaf1"
ports = ["swp1", "swp2"]
[deployment.fabric.host."esx2.example"]
leaf = "leaf2"
ports = "bond1"
"""
RACK1, RACK2 = (
    f"""
[deployment.rack{n}]
design = "vds-leaf"
dvs = "rack{n}"
[deployment.rack{n}.leaf.leaf{n}]
driver = "hwvtep"
target = "tcp:192.0.2.10{n}:6640"
vtep = "192.0.2.{n}"
[deployment.rack{n}.host."esx{n}.example"]
leaf = "leaf{n}"
ports = ["swp1"]
"""
    for n in (1, 2)
)
BEFORE = STATIC[: STATIC.index("[deployment.fabric]")]
APPLIANCE = """
[deployment.ovs]
design = "ovsvapp"
dvs = "tenant"
[deployment.ovs.host."esx9.example"]
vtep = "192.0.2.9"
trunk = "eth1"
"""


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "isthmus.toml"
    path.write_text(text)
    return load(path, {"SECRET": "x"})


def errors(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(Refused) as refused:
        read(tmp_path, text)
    return [line.removeprefix(f"{tmp_path}/") for line in str(refused.value).split("\n")]


def test_a_host_has_the_vtep_of_its_leaf_and_a_leaf_the_ports_of_its_hosts(tmp_path: Path) -> None:
    fabric = read(tmp_path, STATIC).config.deployment["fabric"]
    assert fabric.dvs == ("rack1", "rack2")
    assert [fabric.vtep_of(host) for host in fabric.host] == ["192.0.2.1", "192.0.2.2"]
    assert [fabric.ports_of(leaf) for leaf in fabric.leaf] == [("swp1", "swp2"), ("bond1",)]
    assert len(fabric.leaf["leaf2"].addresses) == 2


def test_each_rack_may_have_a_deployment_of_its_own_also_beside_appliances(tmp_path: Path) -> None:
    assert len(read(tmp_path, BEFORE + RACK1 + RACK2 + APPLIANCE).config.deployment) == 3


LEAF1 = '[deployment.fabric.leaf.leaf1]\ndriver = "hwvtep"'
HOST1 = '[deployment.fabric.host."esx1.example"]\nleaf = "leaf1"'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'driver = "hwvtep"',
            'driver = "vtep"',
            "leaf.leaf1.driver: there is no driver 'vtep'; there are: hwvtep, ngs, external",
        ),
        ('driver = "hwvtep"', 'driver = "external"', "leaf.leaf1.target: unknown key"),
        ('driver = "hwvtep"', "driver = 7", "leaf.leaf1.driver"),
        ('driver = "hwvtep"\n', "", "leaf.leaf1.driver: is missing"),
        ('target = "tcp:192.0.2.101:6640"', "target = []", "leaf.leaf1.target"),
        ('target = "tcp:192.0.2.101:6640"\n', "", "leaf.leaf1.target: is missing"),
        ('vtep = "192.0.2.1"', 'vtep = "leaf1"', "leaf.leaf1.vtep: 'leaf1' is not an IPv4 address"),
        ('vtep = "192.0.2.1"', 'vtep = "192.0.2.2"', "192.0.2.2 is the VTEP of leaf 'leaf1' already"),
        ("192.0.2.102", "192.0.2.101", "leaf.leaf2.target: tcp:192.0.2.101:6640 is that of leaf 'leaf1' already"),
        ("192.0.2.102", "192.0.2.103", "leaf.leaf2.target: tcp:192.0.2.103:6640 is that of leaf 'leaf2' already"),
        (HOST1, '[deployment.fabric.host."esx1.example"]', "leaf: is missing: say below which leaf the host is"),
        (HOST1, HOST1[:-2] + '9"', "there is no leaf 'leaf9' in this deployment; there are: leaf1, leaf2"),
        (HOST1, HOST1[:-2] + '2"', "leaf.leaf1: nothing is below it"),
        ('ports = ["swp1", "swp2"]\n', "", "ports: is missing: name the ports, or LAGs"),
        ('"swp2"]', '"swp1"]', "ports: names a port twice"),
        (HOST1, HOST1 + '\nnics = ["vmnic2"]', "nics: say to which dvs they go: dvs = one of rack1, rack2"),
        (HOST1, HOST1 + '\ndvs = "rack3"', "dvs: the deployment has no dvs 'rack3'; it has: rack1, rack2"),
        (HOST1, HOST1 + '\ndvs = "rack1"\nnics = ["vmnic2", "vmnic2"]', "nics: names a NIC twice"),
        (HOST1, HOST1 + '\nvtep = "192.0.2.3"', "vtep: design 'vds-static': its VTEP is that of its leaf: take it out"),
        (HOST1, HOST1 + '\ntrunk = "eth1"', "trunk: design 'vds-static': hosts below leaves have no appliance"),
        (HOST1, HOST1 + '\novsdb = "unix:/x"', "ovsdb: design 'vds-static': hosts below leaves have no appliance"),
        (HOST1, HOST1 + '\nreserved = "101"', "reserved: design 'vds-static': a port group has its VID on every host"),
        ("vids =", "reuse = true\nvids =", "fabric.reuse: design 'vds-static': a port group has its VID on every host"),
        ("vids =", 'trunk_port_group = "t"\nvids =', "fabric.trunk_port_group: design 'vds-static': hosts below"),
        ("vids =", 'by_hand = "adopt"\nvids =', "fabric.by_hand: design 'vds-static': the VLAN of a port group"),
        ("vids =", 'serve = "esx1.example"\nvids =', "fabric.serve: design 'vds-static' is one shard"),
        ("vids =", "port_groups = false\nvids =", "fabric.serve: design 'vds-static' is one shard"),
        (LEAF1, "[deployment.fabric.appliance]\n" + LEAF1, "fabric.appliance: design 'vds-static': hosts below"),
        ('["rack1", "rack2"]', '["rack1", "rack1"]', "fabric.dvs: names a switch twice"),
        ('["rack1", "rack2"]', "[]", "fabric.dvs"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in STATIC
    found = errors(tmp_path, STATIC.replace(old, new, 1))
    assert any(said in error for error in found), found


def test_one_port_of_a_leaf_has_one_host(tmp_path: Path) -> None:
    third = '[deployment.fabric.host."esx3.example"]\nleaf = "leaf2"\nports = ["bond1"]\n'
    (error,) = errors(tmp_path, STATIC + third)
    assert error.startswith('isthmus.toml:28: deployment.fabric.host."esx3.example".ports: port bond1 of leaf2 is that')
    assert error.endswith("that of host 'esx2.example' already")
    read(tmp_path, STATIC + third.replace("leaf2", "leaf1"))


def test_a_deployment_per_leaf_has_one_leaf(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, STATIC.replace("vds-static", "vds-leaf"))
    assert (
        "deployment.fabric.leaf: its hosts lie in 2 scopes of kind leaf (leaf1, leaf2), but a port group has" in error
    )
    assert error.endswith("give each leaf a distributed switch of its own, and a deployment")


def test_what_two_deployments_both_name_is_refused(tmp_path: Path) -> None:
    found = errors(tmp_path, BEFORE + RACK1 + RACK2.replace("leaf2", "leaf1").replace("192.0.2.2", "192.0.2.8"))
    assert any("rack2.leaf.leaf1: deployment 'rack1' has a leaf 'leaf1' already" in error for error in found), found
    found = errors(tmp_path, BEFORE + RACK1 + RACK2.replace('"rack2"', '["rack2", "rack1"]'))
    assert any("rack2.dvs: deployment 'rack1' has dvs 'rack1' already" in error for error in found), found
    found = errors(tmp_path, BEFORE + RACK1 + RACK2.replace("esx2", "esx1"))
    assert any("deployment 'rack1' has this host with another VTEP" in error for error in found), found
    found = errors(tmp_path, BEFORE + RACK1 + APPLIANCE.replace("192.0.2.9", "192.0.2.1"))
    assert any("192.0.2.1 is the VTEP of leaf 'leaf1' already" in error for error in found), found


def test_a_nic_is_on_one_switch(tmp_path: Path) -> None:
    both = (RACK1 + RACK2.replace("leaf2", "leaf9")).replace("esx2", "esx1").replace("192.0.2.2", "192.0.2.1")
    nics = both.replace('ports = ["swp1"]', 'ports = ["swp1"]\nnics = ["vmnic2"]')
    found = errors(tmp_path, BEFORE + nics)
    assert any(
        "rack2.host.\"esx1.example\".nics: vmnic2 of this host is that of deployment 'rack1'" in e for e in found
    )
    assert not any("vmnic2" in error for error in errors(tmp_path, BEFORE + both))
    named = nics.replace("[deployment.rack2]\n", '[deployment.rack2]\nvcenter = "vc1"\n')
    found = errors(tmp_path, BEFORE + named)
    assert any("vmnic2 of this host is that of deployment 'rack1'" in error for error in found), "named or not"


def test_hosts_with_appliances_have_no_leaves(tmp_path: Path) -> None:
    of_leaves = '[deployment.ovs.leaf.leaf1]\ndriver = "hwvtep"\ntarget = "unix:/x"\nvtep = "192.0.2.1"\n'
    text = BEFORE + APPLIANCE.replace('"tenant"', '["a", "b"]').replace("vtep =", 'leaf = "leaf1"\nvtep =') + of_leaves
    found = errors(tmp_path, text)
    assert len(found) == 3
    assert any("ovs.dvs: design 'ovsvapp' stands on one switch" in error for error in found), found
    assert sum("an appliance on each host, and no leaves: take it out" in error for error in found) == 2
    for key in ("nics", "lldp_ports", "dvs"):
        (error,) = errors(tmp_path, BEFORE + APPLIANCE.replace("vtep =", f'{key} = "x"\nvtep ='))
        assert f".{key}: design 'ovsvapp' has an appliance" in error
    (missing,) = errors(tmp_path, BEFORE + APPLIANCE.replace('vtep = "192.0.2.9"\n', ""))
    assert missing.endswith('host."esx9.example".vtep: is missing')


def test_a_deployment_that_another_process_keeps_is_only_read(tmp_path: Path) -> None:
    elsewhere = RACK2.replace('dvs = "rack2"', 'dvs = "rack2"\nserve = []\nport_groups = false')
    wiring = wire(read(tmp_path, BEFORE + RACK1 + elsewhere), time.monotonic)
    assert [charge.name for charge in wiring.charges] == ["rack1"]
    found = errors(tmp_path, BEFORE + elsewhere)
    assert any("nothing is left to do" in error for error in found), found


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("ssl:192.0.2.101:6640", "needs tls"),
        ("192.0.2.101", "is none of tcp:host:port, ssl:host:port, unix:/absolute/path, ptcp:port, pssl:port"),
    ],
)
def test_targets_that_are_none_are_all_named_before_anything_is_connected(
    tmp_path: Path, target: str, said: str
) -> None:
    settings = read(tmp_path, BEFORE + RACK1.replace("tcp:192.0.2.101:6640", target) + RACK2.replace("tcp:", "udp:"))
    with pytest.raises(Refused) as refused:
        wire(settings, time.monotonic)
    first, second = str(refused.value).split("\n")
    assert first.startswith("deployment.rack1.leaf.leaf1: target")
    assert said in first
    assert second.startswith("deployment.rack2.leaf.leaf2: target")


def test_relative_paths_of_tls_files_are_relative_to_the_file(tmp_path: Path) -> None:
    tls = 'tls = { key = "k", certificate = "c", ca = "/etc/ca" }\n'
    config = read(tmp_path, BEFORE + RACK1.replace("vtep =", tls + "vtep =")).config
    leaf = config.deployment["rack1"].leaf["leaf1"]
    assert isinstance(leaf, HwvtepLeafConfig)
    found = leaf.tls
    assert found is not None
    assert (found.key, found.certificate, found.ca) == (tmp_path / "k", tmp_path / "c", Path("/etc/ca"))
