"""Which virtual networks get port groups, and which VMIs are ports that others made."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.adapters.contrail.meaning import (
    ADDRESS,
    NETWORK,
    VMI,
    Choice,
    addresses_in,
    intent_of,
    narrow,
    project_named,
)
from isthmus.model.intent import Port
from isthmus.model.names import Mac, NetworkId, PortId, VmId

RED = "aaaa1111-2222-3333-4444-555566667777"
SUBNET = [{"uuid": "i", "attr": {"ipam_subnets": [{"subnet": {"ip_prefix": "10.0.0.0", "ip_prefix_len": 24}}]}}]
ALL = Choice()


def network(*name: str, uuid: str = RED, **other: Any) -> dict[str, Any]:
    fq_name = list(name) if len(name) == 3 else ["default-domain", "vCenter", *name]
    return {"uuid": uuid, "fq_name": fq_name, "virtual_network_network_id": 7, "network_ipam_refs": SUBNET, **other}


def names(choice: Choice, *listed: dict[str, Any]) -> list[str]:
    return [found.name for found in intent_of(choice, listed).networks.values()]


@pytest.mark.parametrize("name", ["red", "a/b", "50 %", "<x>&", " lead", "", "é" * 300])
def test_a_network_is_called_as_it_is_called_there(name: str) -> None:
    (found,) = intent_of(ALL, [network(name)]).networks.values()
    assert (found.id, int(found.vni), found.name) == (RED, 7, name)


@pytest.mark.parametrize("name", ["ip-fabric", "__link_local__", "default-virtual-network", "dci-network"])
def test_the_servers_own_networks_get_no_port_group(name: str) -> None:
    assert names(ALL, network("default-domain", "default-project", name)) == []
    assert names(ALL, network("default-domain", "tenant", name)) == [name]


def test_what_users_cannot_see_gets_no_port_group() -> None:
    assert names(ALL, network("lr", id_perms={"user_visible": False})) == []


def test_only_the_networks_of_configured_projects_are_ours() -> None:
    mine = Choice(frozenset({project_named("vCenter")}))
    there, elsewhere = network("red"), network("default-domain", "admin", "blue", uuid="b")
    assert names(mine, there, elsewhere) == ["red"]
    assert sorted(names(ALL, there, elsewhere)) == ["blue", "red"]


def test_a_project_may_be_named_with_its_domain_or_without() -> None:
    assert project_named("other:vCenter") == "other:vCenter"
    assert project_named("vCenter") == "default-domain:vCenter"


@pytest.mark.parametrize(
    ("lack", "said"),
    [
        ({"network_ipam_refs": None}, "has no subnet"),
        ({"network_ipam_refs": [{"attr": None}]}, "has no subnet"),
        ({"virtual_network_network_id": None}, "has no network id"),
        ({"virtual_network_network_id": 0}, "has no network id"),
    ],
)
def test_a_network_that_cannot_be_had_is_named_and_the_others_are(lack: dict[str, Any], said: str) -> None:
    intent = intent_of(ALL, [network("red", **lack), network("blue", uuid="b")])
    assert [found.name for found in intent.networks.values()] == ["blue"]
    (doubt,) = intent.doubts
    assert RED in doubt.about
    assert said in doubt.reason
    assert "default-domain:vCenter:red" in doubt.reason


def vmi(uuid: str, **other: Any) -> dict[str, Any]:
    fields = {
        "virtual_network_refs": [{"uuid": RED}],
        "virtual_machine_refs": [{"uuid": "vm-1"}],
        "virtual_machine_interface_mac_addresses": {"mac_address": ["00-50-56-AA-00-01"]},
    }
    return {"uuid": uuid, "fq_name": ["default-domain", "vCenter", uuid], **fields, **other}


def test_where_others_make_vmis_each_is_a_port_with_its_address() -> None:
    address = {"instance_ip_address": "10.0.0.3", "virtual_machine_interface_refs": [{"uuid": "p"}]}
    intent = intent_of(Choice(listed=True), [network("red")], [vmi("p")], [address])
    port = Port(PortId("p"), NetworkId(RED), VmId("vm-1"), Mac("00:50:56:aa:00:01"), ("10.0.0.3",))
    assert list(intent.ports.values()) == [port]
    assert intent.networks[NetworkId(RED)].ports_listed


def test_where_we_make_vmis_none_is_listed() -> None:
    intent = intent_of(ALL, [network("red")], [vmi("p")])
    assert not intent.ports
    assert not intent.networks[NetworkId(RED)].ports_listed


@pytest.mark.parametrize(
    "other", [{"virtual_machine_refs": None}, {"virtual_network_refs": [{"uuid": "x"}]}, {"virtual_network_refs": []}]
)
def test_a_gateways_vmi_and_one_of_another_network_are_no_ports_of_ours(other: dict[str, Any]) -> None:
    intent = intent_of(Choice(listed=True), [network("red")], [vmi("p", **other)])
    assert (intent.ports, intent.doubts) == ({}, ())


@pytest.mark.parametrize(
    "macs", [None, {"mac_address": []}, {"mac_address": ["ff:ff:ff:ff:ff:ff"]}, {"mac_address": ["x"]}]
)
def test_a_vmi_with_no_macs_of_a_nic_is_named(macs: object) -> None:
    bad = vmi("p", virtual_machine_interface_mac_addresses=macs)
    intent = intent_of(Choice(listed=True), [network("red")], [bad, vmi("q")])
    assert list(intent.ports) == ["q"]
    assert [doubt.about for doubt in intent.doubts] == ["port p"]


def test_a_vmi_that_is_disabled_is_a_port_that_is_down() -> None:
    intent = intent_of(Choice(listed=True), [network("red")], [vmi("p", id_perms={"enable": False})])
    assert [port.admin_up for port in intent.ports.values()] == [False]


ODD_NETWORKS: list[dict[str, Any]] = [
    {"network_ipam_refs": [{"to": ["x"]}]},
    {"network_ipam_refs": {"to": ["x"]}},
    {"network_ipam_refs": [{"uuid": "i", "attr": "10.0.0.0/24"}]},
    {"network_ipam_refs": [{"uuid": "i", "attr": {"ipam_subnets": ["10.0.0.0/24"]}}]},
    {"id_perms": "rwx"},
    {"external_ipam": "no"},
]


@pytest.mark.parametrize("odd", ODD_NETWORKS)
def test_a_network_of_which_one_field_makes_no_sense_is_there_and_named(odd: dict[str, Any]) -> None:
    """That it cannot be read is no reason to take its port group away."""
    said = [narrow(NETWORK, network("red", **odd)), narrow(NETWORK, network("blue", uuid="b"))]
    intent = intent_of(ALL, said)
    assert {found.name for found in intent.networks.values()} == {"red", "blue"}
    (doubt,) = intent.doubts
    assert RED in doubt.about
    assert next(iter(odd)) in doubt.reason


def test_a_networks_name_that_is_no_text_is_read_as_text() -> None:
    assert narrow(NETWORK, {**network("red"), "fq_name": ["default-domain", 7, None]})["fq_name"][1:] == ["7", "None"]
    assert narrow(NETWORK, {**network("red"), "fq_name": []})["fq_name"] == [RED]


@pytest.mark.parametrize(
    "odd",
    [
        {"virtual_machine_refs": [{"to": ["vm"]}]},
        {"virtual_machine_refs": "vm"},
        {"virtual_network_refs": [7]},
        {"virtual_machine_interface_mac_addresses": ["00:50:56:00:00:01"]},
        {"virtual_machine_interface_mac_addresses": {"mac_address": [7]}},
        {"id_perms": []},
    ],
)
def test_a_vmi_of_which_a_field_makes_no_sense_is_named_and_costs_the_others_nothing(odd: dict[str, Any]) -> None:
    listed = [narrow(VMI, vmi("p1", **odd)), narrow(VMI, vmi("p2"))]
    intent = intent_of(Choice(listed=True), [network("red")], listed)
    assert "p2" in intent.ports
    assert any("p1" in doubt.about and next(iter(odd)) in doubt.reason for doubt in intent.doubts)


@pytest.mark.parametrize("odd", [{"virtual_machine_interface_refs": [{"to": ["p1"]}]}, {"instance_ip_address": 7}])
def test_an_address_that_makes_no_sense_is_nobodys(odd: dict[str, Any]) -> None:
    sound = {"uuid": "b", "fq_name": ["b"], "instance_ip_address": "10.0.0.4"}
    sound["virtual_machine_interface_refs"] = [{"to": ["p2"], "uuid": "p2"}]
    said = [narrow(ADDRESS, {**sound, "uuid": "a", **odd}), narrow(ADDRESS, sound)]
    assert addresses_in(said) == {"p2": ["10.0.0.4"]}
