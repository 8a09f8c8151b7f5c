"""Objects: names, ids, who holds whom.  Each answer was measured on the real server, unless a test says so."""

from __future__ import annotations

import uuid

import pytest

from lab.contrail.api_server import ApiServer
from lab.contrail.client import PROJECT, Client

VM = "5011a9bb-0000-4000-8000-000000000001"


def test_a_second_object_of_a_name_or_of_an_id_is_a_conflict(client: Client) -> None:
    there = client.make("virtual-machine", [VM], uuid=VM)
    status, said = client.ask("POST", "/virtual-machines", {"virtual-machine": {"fq_name": [VM]}})
    assert (status, "already exists with uuid: " + there in said) == (409, True)
    status, said = client.ask("POST", "/virtual-machines", {"virtual-machine": {"fq_name": ["other"], "uuid": VM}})
    assert (status, "already exists with fq_name" in said) == (409, True)


def test_what_is_referred_to_stays_and_the_answer_says_by_whom(client: Client) -> None:
    client.make("virtual-machine", [VM], uuid=VM)
    port = client.port(virtual_machine_refs=[{"to": [VM]}])
    network = client.read("virtual-machine-interface", port)["virtual_network_refs"][0]["uuid"]
    ref = [{"to": [*PROJECT, "p1"]}]
    status, said = client.address(virtual_machine_interface_refs=ref)
    address = said["instance-ip"]["uuid"]
    for path, holder in (
        (f"/virtual-network/{network}", port),
        (f"/virtual-machine/{VM}", port),
        (f"/virtual-machine-interface/{port}", address),
    ):
        status, said = client.ask("DELETE", path)
        assert (status, holder in said, "still referred" in said) == (409, True, True)


def test_a_project_with_children_stays(client: Client) -> None:
    (project,) = [each for each in client.get("/projects")["projects"] if each["fq_name"] == PROJECT]
    status, said = client.ask("DELETE", f"/project/{project['uuid']}")
    assert (status, "children still present" in said) == (409, True)


def test_in_the_right_order_everything_goes(client: Client) -> None:
    client.make("virtual-machine", [VM], uuid=VM)
    port = client.port(virtual_machine_refs=[{"to": [VM]}])
    ref = [{"to": [*PROJECT, "p1"]}]
    address = client.address(virtual_machine_interface_refs=ref)[1]["instance-ip"]["uuid"]
    network = client.read("instance-ip", address)["virtual_network_refs"][0]["uuid"]
    paths = [f"/instance-ip/{address}", f"/virtual-machine-interface/{port}", f"/virtual-machine/{VM}"]
    assert [client.ask("DELETE", path) for path in [*paths, f"/virtual-network/{network}"]] == [(200, "")] * 4
    names = [each["fq_name"] for each in client.get("/routing-instances")["routing-instances"]]
    assert [*PROJECT, "red", "red"] not in names


def test_what_is_not_there_is_not_found(client: Client) -> None:
    nobody = uuid.uuid4()
    assert client.ask("GET", f"/virtual-network/{nobody}")[0] == 404
    assert client.ask("DELETE", f"/virtual-network/{nobody}")[0] == 404
    assert client.ask("PUT", f"/virtual-network/{nobody}", {"virtual-network": {"display_name": "x"}})[0] == 404
    assert client.ask("GET", "/virtual-planets")[0] == 404
    wanted = {"type": "virtual-network", "fq_name": [*PROJECT, "blue"]}
    assert client.ask("POST", "/fqname-to-id", wanted)[0] == 404
    assert client.ask("POST", "/id-to-fqname", {"uuid": str(nobody)})[0] == 404


def test_a_ref_to_nothing_is_the_clients_fault_and_a_parent_that_is_not_there_is_not_found(client: Client) -> None:
    port = {"fq_name": [*PROJECT, "p"], "parent_type": "project", "virtual_network_refs": [{"to": [*PROJECT, "blue"]}]}
    status, said = client.ask("POST", "/virtual-machine-interfaces", {"virtual-machine-interface": port})
    assert (status, said.startswith("Unknown reference")) == (400, True)
    network = {"fq_name": ["default-domain", "nowhere", "red"], "parent_type": "project"}
    assert client.ask("POST", "/virtual-networks", {"virtual-network": network})[0] == 404


@pytest.mark.parametrize(
    "broken",
    [
        {"virtual_network_refs": [{"uuid": str(uuid.uuid4())}]},
        {},
        {"virtual_network_refs": []},
        {"virtual_network_refs": [{"to": [*PROJECT, "red"]}], "uuid": "no uuid"},
    ],
    ids=["a ref without `to`", "no network", "none of the networks", "a bad uuid"],
)
def test_some_of_the_clients_faults_look_like_the_servers(client: Client, broken: dict[str, object]) -> None:
    body = {"fq_name": [*PROJECT, "p"], "parent_type": "project", **broken}
    assert client.ask("POST", "/virtual-machine-interfaces", {"virtual-machine-interface": body})[0] == 500
    assert client.get("/virtual-machine-interfaces")["virtual-machine-interfaces"] == []


def test_what_the_schema_does_not_know_is_ignored(client: Client) -> None:
    port = client.port(colour="blue")
    assert "colour" not in client.read("virtual-machine-interface", port)


def test_a_known_property_has_its_type(client: Client) -> None:
    """From the server's code."""
    port = client.port()
    number = {"annotations": {"key_value_pair": [{"key": "vid", "value": 12}]}}
    for wrong in ({"annotations": [1]}, {"annotations": {"vid": "1"}}, {"port_security_enabled": "yes"}, number):
        body = {"virtual-machine-interface": wrong}
        assert client.ask("PUT", f"/virtual-machine-interface/{port}", body)[0] == 400


def test_the_creator_is_whoever_said_so_first(client: Client) -> None:
    port = client.port(id_perms={"creator": "isthmus", "enable": True})
    body = {"virtual-machine-interface": {"id_perms": {"creator": "somebody", "enable": False}}}
    assert client.ask("PUT", f"/virtual-machine-interface/{port}", body)[0] == 200
    permissions = client.read("virtual-machine-interface", port)["id_perms"]
    assert (permissions["creator"], permissions["enable"]) == ("isthmus", False)


def test_nothing_is_ever_renamed_but_its_display_name(client: Client) -> None:
    network = client.network("blue", "10.2.0.0")
    body = {"virtual-network": {"fq_name": [*PROJECT, "green"], "display_name": "green"}}
    assert client.ask("PUT", f"/virtual-network/{network}", body)[0] == 200
    read = client.read("virtual-network", network)
    assert (read["fq_name"], read["name"], read["display_name"]) == ([*PROJECT, "blue"], "blue", "green")


def test_a_name_may_be_almost_anything_but_has_no_colon(client: Client) -> None:
    for number, name in enumerate(["", " red", "a%b<&\"'", "x" * 300, "сеть", "c/d"]):
        client.network(name, f"10.{number + 20}.0.0")
    body = {"virtual-network": {"fq_name": [*PROJECT, "a:b"], "parent_type": "project"}}
    assert client.ask("POST", "/virtual-networks", body)[0] == 400


def test_a_name_above_a_name_with_a_slash_is_spoiled_for_ever(client: Client) -> None:
    network = client.network("a/b", "10.2.0.0")
    assert client.ask("DELETE", f"/virtual-network/{network}") == (200, "")
    body = {"virtual-network": {"fq_name": [*PROJECT, "a"], "parent_type": "project"}}
    assert client.ask("POST", "/virtual-networks", body)[0] == 409
    client.network("a/b", "10.2.0.0")


def test_a_refused_object_leaves_its_name_free(client: Client) -> None:
    status, _ = client.address("ip", instance_ip_address="192.0.2.1")
    assert status == 400
    assert client.address("ip")[0] == 200


def test_a_property_that_is_set_to_nothing_goes(client: Client) -> None:
    """From the server's code."""
    port = client.port(virtual_machine_interface_device_owner="compute:nova")
    body = {"virtual-machine-interface": {"virtual_machine_interface_device_owner": None}}
    assert client.ask("PUT", f"/virtual-machine-interface/{port}", body)[0] == 200
    assert "virtual_machine_interface_device_owner" not in client.read("virtual-machine-interface", port)


def test_an_object_that_was_given_out_never_changes(server: ApiServer, client: Client) -> None:
    port = client.port()
    before = server.objects.body(port)
    client.ask("PUT", f"/virtual-machine-interface/{port}", {"virtual-machine-interface": {"display_name": "new"}})
    assert (before["display_name"], server.objects.body(port)["display_name"]) == ("p1", "new")
