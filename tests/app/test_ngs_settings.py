"""The configuration of leaves that networking-generic-switch speaks to, and of those that another controller tells."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from isthmus.adapters.leaf.ngs import NgsSettings, NgsTarget
from isthmus.app.check_leaves import _leaf, _route_targets
from isthmus.app.finding import Level
from isthmus.app.settings import load
from isthmus.app.wiring import _leaf_settings, wire
from isthmus.model.faults import Refused
from isthmus.model.inventory import Inventory
from isthmus.model.tags import VidSet
from tests.app.test_leaf_settings import APPLIANCE, BEFORE, RACK2, errors, read

LEAF = """
[deployment.rack.leaf.leaf1]
driver = "ngs"
vtep = "192.0.2.1"
device_type = "netmiko_sonic"
ip = "192.0.2.101"
username = "admin"
key_file = "leaf.key"
ngs_vtep_name = "vtep"
ngs_bgp_asn = 65000
"""
HOST = """
[deployment.rack.host."esx1.example"]
leaf = "leaf1"
ports = ["Ethernet4", "PortChannel1"]
"""
TABLE = '[deployment.rack]\ndesign = "vds-leaf"\ndvs = "rack1"\nvids = "101-199"\nreserved = "150"'
RACK = BEFORE + TABLE + LEAF + HOST
EXTERNAL = BEFORE + TABLE + '\n[deployment.rack.leaf.leaf1]\ndriver = "external"' + HOST


def settings(tmp_path: Path, text: str) -> list[NgsSettings]:
    found = _leaf_settings(read(tmp_path, text), "rack", "leaf1")
    return [one for one in found if isinstance(one, NgsSettings)]


def test_cumulus_linux_needs_neither_the_name_of_a_vtep_nor_an_as_number(tmp_path: Path) -> None:
    leaf = RACK.replace("netmiko_sonic", "netmiko_cumulus_nvue").replace(
        '"Ethernet4", "PortChannel1"', '"swp1", "bond1"'
    )
    [found] = settings(tmp_path, leaf.replace('ngs_vtep_name = "vtep"\nngs_bgp_asn = 65000\n', ""))
    assert (found.device_type, found.ports) == ("netmiko_cumulus_nvue", ("swp1", "bond1"))


def test_its_options_are_the_librarys_own_by_their_own_names(tmp_path: Path) -> None:
    more = (
        'port = 8022\nssh_strict = false\nngs_trunk_ports = ["Ethernet48", "Ethernet52"]\nngs_physical_networks = "r"\n'
    )
    [found] = settings(tmp_path, RACK.replace("key_file", more + "key_file"))
    assert found.device == {
        "device_type": "netmiko_sonic",
        "ip": "192.0.2.101",
        "username": "admin",
        "key_file": str(tmp_path / "leaf.key"),
        "port": "8022",
        "ssh_strict": "False",
        "system_host_keys": "True",
        "ngs_vtep_name": "vtep",
        "ngs_bgp_asn": "65000",
        "ngs_ssh_connect_timeout": "0",
        "ngs_ssh_reuse_connection": "True",
    }
    assert found.members == ("Ethernet4", "PortChannel1", "Ethernet48", "Ethernet52")
    assert found.vids == VidSet.of("101-149,151-199")


def test_a_switch_must_prove_who_it_is_unless_that_is_switched_off_by_name(tmp_path: Path) -> None:
    [found] = settings(tmp_path, RACK)
    assert (found.device["ssh_strict"], found.device["system_host_keys"]) == ("True", "True")


def test_a_pair_is_two_addresses_with_all_else_alike(tmp_path: Path) -> None:
    one, two = settings(tmp_path, RACK.replace('"192.0.2.101"', '["192.0.2.101", "192.0.2.102"]'))
    assert (one.address, two.address) == ("192.0.2.101", "192.0.2.102")
    assert {**one.device, "ip": ""} == {**two.device, "ip": ""}


def test_its_password_comes_from_a_file_or_the_environment_and_is_looked_up_anew(tmp_path: Path) -> None:
    given = 'password_file = "leaf.password"\nsecret_env = "SUDO"\n'
    path, password = tmp_path / "isthmus.toml", tmp_path / "leaf.password"
    path.write_text(RACK.replace("key_file", given + "key_file"))
    password.write_text("first\n")
    made = load(path, {"SECRET": "x", "SUDO": "sudo"})
    assert made.secrets_of("rack", "leaf1") == {"password": "first", "secret": "sudo"}
    [found] = [one for one in _leaf_settings(made, "rack", "leaf1") if isinstance(one, NgsSettings)]
    password.write_text("second\n")
    assert found.secrets()["password"] == "second"
    assert "second" not in repr(found)
    with pytest.raises(Refused, match=r"rack\.leaf\.leaf1: SUDO is not set"):
        load(path, {"SECRET": "x"})
    password.unlink()
    with pytest.raises(Refused, match="leaf1: No such file"):
        load(path, {"SECRET": "x", "SUDO": "sudo"})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("netmiko_sonic", "netmiko_dell_os10", "device_type 'netmiko_dell_os10': what such a switch holds cannot be"),
        (
            'vids = "101-199"\nreserved = "150"',
            "",
            "leaf1: vids is every VID: nothing on such a switch says whose it is",
        ),
        ('ngs_vtep_name = "vtep"\n', "", "ngs_vtep_name is missing: without it netmiko_sonic maps no VID"),
        ("ngs_bgp_asn", "ngs_bgp_ans", "ngs_bgp_ans: unknown key"),
        ("key_file", 'password = "canary"\nkey_file', "password: a password does not belong in this file"),
        ("key_file", 'ngs_allowed_vlans = "1"\nkey_file', "ngs_allowed_vlans: is said by vids: take it out"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_connected(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in RACK
    made = read(tmp_path, RACK.replace(old, new, 1))
    with pytest.raises(Refused) as refused:
        wire(made, time.monotonic)
    assert f"deployment.rack.leaf.leaf1: {said.removeprefix('leaf1: ')}" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_all_that_is_wrong_with_a_switch_is_said_at_once(tmp_path: Path) -> None:
    wrong = RACK.replace("netmiko_sonic", "netmiko_sonc").replace("key_file", 'password = "canary"\nkey_file')
    with pytest.raises(Refused) as refused:
        wire(read(tmp_path, wrong.replace("ngs_bgp_asn", "ngs_bgp_ans")), time.monotonic)
    lines = str(refused.value).splitlines()
    assert all(line.startswith("deployment.rack.leaf.leaf1: ") for line in lines)
    said = ("device_type 'netmiko_sonc'", "password: ", "ngs_bgp_ans: unknown key", "ngs_bgp_asn is missing")
    assert [any(part in line for line in lines) for part in said] == [True] * len(said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('ip = "192.0.2.101"\n', "", "leaf.leaf1.ip: is missing"),
        ('device_type = "netmiko_sonic"\n', "", "leaf.leaf1.device_type: is missing"),
        ('"192.0.2.101"', '["192.0.2.101", "192.0.2.101"]', "leaf1.ip: 192.0.2.101 is that of leaf 'leaf1' already"),
        ("key_file", 'password_file = "a"\npassword_env = "SECRET"\nkey_file', "password_env: password_file is given"),
    ],
)
def test_what_is_missing_or_said_twice_is_named_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in RACK
    found = errors(tmp_path, RACK.replace(old, new, 1))
    assert any(said in error for error in found), found


def test_a_leaf_that_another_controller_tells_needs_neither_address_nor_ports(tmp_path: Path) -> None:
    made = read(tmp_path, EXTERNAL.replace('ports = ["Ethernet4", "PortChannel1"]\n', ""))
    assert _leaf_settings(made, "rack", "leaf1") == []
    assert made.config.deployment["rack"].own_leaves == ()
    assert made.config.deployment["rack"].vtep_of("esx1.example") is None
    assert [charge.name for charge in wire(made, time.monotonic).charges] == ["rack"]
    (error,) = errors(tmp_path, EXTERNAL.replace('"external"', '"external"\nswitch = "leaf1"'))
    assert "leaf.leaf1.switch: unknown key" in error


def test_check_warns_of_a_leaf_that_learns_beside_nves_that_cannot_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NgsTarget, "findings", lambda _: ())
    inventory = Inventory({}, {}, {})
    for other, warned in (("", False), (RACK2, True), (APPLIANCE, True)):
        wiring = wire(read(tmp_path, RACK + other), time.monotonic)
        deployment = wiring.config.deployment["rack"]
        levels = {found.level for found in _leaf(wiring, "rack", deployment, "leaf1", inventory)}
        assert levels == ({Level.WARNING, Level.GOOD} if warned else {Level.GOOD})


def rack(number: int, device_type: str, asn: int) -> str:
    ports = {"netmiko_cisco_nxos": "Ethernet1/4", "netmiko_cumulus_nvue": "swp1", "netmiko_juniper": "xe-0/0/4"}
    port = ports.get(device_type, "Ethernet4")
    text = TABLE + LEAF + HOST
    for old, new in (
        ("deployment.rack", f"deployment.rack{number}"),
        ('"rack1"', f'"rack{number}"'),
        ("leaf1", f"leaf{number}"),
        ("esx1", f"esx{number}"),
        ("netmiko_sonic", device_type),
        ('ngs_vtep_name = "vtep"\n', ""),
        ('"Ethernet4", "PortChannel1"', f'"{port}"'),
        ("65000", str(asn)),
        ('"192.0.2.1"', f'"192.0.2.{number}"'),
        ("192.0.2.101", f"192.0.2.{100 + number}"),
    ):
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("device_type", "number", "warned"),
    [
        ("netmiko_arista_eos", 65001, True),
        ("netmiko_cisco_nxos", 65001, True),
        ("netmiko_arista_eos", 65000, False),
        ("netmiko_cumulus_nvue", 65001, False),
        ("netmiko_juniper", 65001, False),
    ],
)
def test_leaves_whose_route_targets_do_not_meet_are_warned_of(
    tmp_path: Path, device_type: str, number: int, warned: bool
) -> None:
    two = rack(1, "netmiko_arista_eos", 65000) + rack(2, device_type, number)
    found = list(_route_targets(read(tmp_path, BEFORE + two).config, "rack1"))
    assert [finding.level for finding in found] == [Level.WARNING] * warned
    assert all(f"65000 on leaf1; {number} on leaf2" in finding.what for finding in found)


def test_a_junos_leaf_makes_route_targets_of_its_as_number_where_that_is_asked_for(tmp_path: Path) -> None:
    asked = rack(2, "netmiko_juniper", 65001).replace("ngs_bgp_asn", "ngs_evpn_vni_config = true\nngs_bgp_asn")
    made = read(tmp_path, BEFORE + rack(1, "netmiko_arista_eos", 65000) + asked).config
    [found] = _route_targets(made, "rack1")
    assert "65000 on leaf1; 65001 on leaf2" in found.what
