"""What the server makes of an object: ids, MACs, addresses, tags."""

from __future__ import annotations

from lab.contrail.api_server import ApiServer
from lab.contrail.client import PROJECT, Client

MACS = "virtual_machine_interface_mac_addresses"
TAG = "virtual_machine_interface_properties"


def test_a_network_has_a_number_of_its_own_and_a_routing_instance(client: Client) -> None:
    one, other = (
        client.read("virtual-network", client.network(name, f"10.{at}.0.0")) for at, name in ((2, "b"), (3, "c"))
    )
    assert one["virtual_network_network_id"] != other["virtual_network_network_id"]
    (child,) = one["routing_instances"]
    assert child["to"] == [*PROJECT, "b", "b"]
    body = {"fq_name": [*PROJECT, "d"], "parent_type": "project", "virtual_network_network_id": 7}
    assert client.ask("POST", "/virtual-networks", {"virtual-network": body})[0] == 403  # from the server's code


def test_the_servers_own_networks_are_there_and_stay(client: Client) -> None:
    own = {each["fq_name"][-1]: each["uuid"] for each in client.get("/virtual-networks")["virtual-networks"]}
    assert {"ip-fabric", "__link_local__", "default-virtual-network", "dci-network"} < set(own)
    assert client.ask("DELETE", f"/virtual-network/{own['ip-fabric']}")[0] == 409


def test_an_interface_without_a_mac_gets_one_of_its_uuid(client: Client) -> None:
    port = client.port(uuid="a1b2c3d4-e5f6-4000-8000-000000000001")
    assert client.read("virtual-machine-interface", port)[MACS] == {"mac_address": ["02:a1:b2:c3:d4:e5"]}


def test_a_mac_is_taken_as_it_is_but_for_its_dashes_and_twice_too(client: Client) -> None:
    given = [["00-50-56-AA-bb-01"], ["00:50:56:AA:bb:01"], ["no MAC"]]
    ports = [client.port(str(at), **{MACS: {"mac_address": macs}}) for at, macs in enumerate(given)]
    seen = [client.read("virtual-machine-interface", port)[MACS]["mac_address"] for port in ports]
    assert seen == [["00:50:56:AA:bb:01"], ["00:50:56:AA:bb:01"], ["no MAC"]]


def test_addresses_begin_behind_the_gateway_and_the_name_server(client: Client) -> None:
    given = [client.address(f"ip{at}")[1]["instance-ip"]["uuid"] for at in range(2)]
    read = [client.read("instance-ip", each) for each in given]
    assert [each["instance_ip_address"] for each in read] == ["10.1.0.3", "10.1.0.4"]
    (ref,) = client.read("virtual-network", read[0]["virtual_network_refs"][0]["uuid"])["network_ipam_refs"]
    (subnet,) = ref["attr"]["ipam_subnets"]
    assert (subnet["default_gateway"], subnet["dns_server_address"]) == ("10.1.0.1", "10.1.0.2")
    assert read[0]["subnet_uuid"] == subnet["subnet_uuid"]
    client.ask("DELETE", f"/instance-ip/{given[0]}")
    again = client.address("ip9")[1]["instance-ip"]["uuid"]
    assert client.read("instance-ip", again)["instance_ip_address"] == "10.1.0.3"


def test_a_given_address_is_taken_once_and_only_within(client: Client) -> None:
    assert client.address("ip1", instance_ip_address="10.1.0.77")[0] == 200
    assert client.address("ip2", instance_ip_address="10.1.0.77")[0] == 409
    status, said = client.address("ip3", instance_ip_address="192.0.2.1")
    assert (status, "has exhausted subnet([])" in said) == (400, True)
    assert client.address("ip4", instance_ip_address="no address")[0] == 500


def test_the_gateways_address_is_given_away_but_not_to_a_vm(client: Client) -> None:
    assert client.address("ip1", instance_ip_address="10.1.0.1")[0] == 200
    client.make("virtual-machine", ["vm"])
    client.port(virtual_machine_refs=[{"to": ["vm"]}])
    of_vm = [{"to": [*PROJECT, "p1"]}]
    status, _ = client.address("ip2", instance_ip_address="10.1.0.1", virtual_machine_interface_refs=of_vm)
    assert status == 400  # from the server's code


def test_a_network_runs_out_of_addresses(client: Client) -> None:
    client.network("tiny", "10.9.0.0", 29)
    assert [client.address(f"t{at}", "tiny")[0] for at in range(5)] == [200, 200, 200, 200, 400]


def test_an_interface_that_changes_its_network_leaves_its_address_behind(client: Client) -> None:
    client.network("blue", "10.2.0.0")
    port = client.port()
    address = client.address(virtual_machine_interface_refs=[{"to": [*PROJECT, "p1"]}])[1]["instance-ip"]["uuid"]
    moved = {"virtual-machine-interface": {"virtual_network_refs": [{"to": [*PROJECT, "blue"]}]}}
    assert client.ask("PUT", f"/virtual-machine-interface/{port}", moved)[0] == 200
    (ref,) = client.read("virtual-machine-interface", port)["virtual_network_refs"]
    assert ref["to"] == [*PROJECT, "blue"]
    (ref,) = client.read("instance-ip", address)["virtual_network_refs"]
    assert ref["to"] == [*PROJECT, "red"]


def test_a_network_whose_interface_has_left_goes_with_its_routing_instance(client: Client) -> None:
    """From the server's code."""
    blue, _ = client.network("blue", "10.2.0.0"), client.port("p1", "blue")
    (port,) = client.get("/virtual-machine-interfaces")["virtual-machine-interfaces"]
    moved = {"virtual-machine-interface": {"virtual_network_refs": [{"to": [*PROJECT, "red"]}]}}
    client.ask("PUT", f"/virtual-machine-interface/{port['uuid']}", moved)
    assert client.ask("DELETE", f"/virtual-network/{blue}") == (200, "")
    assert "routing_instance_refs" not in client.read("virtual-machine-interface", port["uuid"])


def test_a_tag_is_free_to_change_until_the_interface_is_one_below_another(client: Client) -> None:
    plain = client.port("plain")
    below = client.port("sub", virtual_machine_interface_refs=[{"to": [*PROJECT, "plain"]}], **tag(12))
    assert client.ask("PUT", f"/virtual-machine-interface/{plain}", {"virtual-machine-interface": tag(7)})[0] == 200
    assert client.ask("PUT", f"/virtual-machine-interface/{below}", {"virtual-machine-interface": tag(13)})[0] == 400
    assert client.ask("PUT", f"/virtual-machine-interface/{below}", {"virtual-machine-interface": tag(12)})[0] == 200


def test_a_tag_is_12_bits(client: Client) -> None:
    body = {"fq_name": [*PROJECT, "p"], "parent_type": "project", "virtual_network_refs": [{"to": [*PROJECT, "red"]}]}
    said = client.ask("POST", "/virtual-machine-interfaces", {"virtual-machine-interface": body | tag(4095)})
    assert said[0] == 400
    plain = client.port("plain")
    assert client.ask("PUT", f"/virtual-machine-interface/{plain}", {"virtual-machine-interface": tag(4095)})[0] == 400


def test_a_floating_ip_holds_its_interface(client: Client) -> None:
    pool = [*PROJECT, "red", "pool"]
    client.make("floating-ip-pool", pool, parent_type="virtual-network")
    port = client.port()
    refs = [{"to": [*PROJECT, "p1"]}]
    floating = client.make(
        "floating-ip", [*pool, "f"], parent_type="floating-ip-pool", virtual_machine_interface_refs=refs
    )
    assert client.read("floating-ip", floating)["floating_ip_address"] == "10.1.0.3"
    assert client.ask("DELETE", f"/virtual-machine-interface/{port}")[0] == 409
    update = {"type": "floating-ip", "uuid": floating, "ref-type": "virtual-machine-interface", "ref-uuid": port}
    assert client.ask("POST", "/ref-update", {**update, "operation": "DELETE"})[0] == 200
    assert client.ask("DELETE", f"/virtual-machine-interface/{port}")[0] == 200


def test_a_virtual_router_has_an_address_and_its_machines(client: Client) -> None:
    client.make("virtual-machine", ["vm"])
    name = ["default-global-system-config", "host-7"]
    parent = {"parent_type": "global-system-config", "virtual_router_ip_address": "192.0.2.7"}
    router = client.make("virtual-router", name, virtual_machine_refs=[{"to": ["vm"]}], **parent)
    assert client.read("virtual-router", router)["virtual_router_ip_address"] == "192.0.2.7"


def test_a_subnet_that_is_lived_in_stays(server: ApiServer, client: Client) -> None:
    """From the server's code."""
    address = client.address()[1]["instance-ip"]["uuid"]
    network = client.read("instance-ip", address)["virtual_network_refs"][0]["uuid"]
    bare = {"virtual-network": {"network_ipam_refs": []}}
    assert client.ask("PUT", f"/virtual-network/{network}", bare)[0] == 409
    client.ask("DELETE", f"/instance-ip/{address}")
    assert client.ask("PUT", f"/virtual-network/{network}", bare)[0] == 200


def tag(vid: int) -> dict[str, dict[str, int]]:
    return {TAG: {"sub_interface_vlan_tag": vid}}
