"""Changes of one ref and of one element."""

from __future__ import annotations

from typing import Any

from lab.contrail.client import PROJECT, Client

KIND = "virtual-machine-interface"


def test_a_ref_is_added_and_taken_away_by_id_or_by_name(client: Client) -> None:
    port, machine = client.port(), client.make("virtual-machine", ["vm"])
    update: dict[str, Any] = {"type": KIND, "uuid": port, "ref-type": "virtual-machine"}
    by_id, by_name = {"ref-uuid": machine}, {"ref-fq-name": ["vm"]}
    for which in (by_id, by_id, by_name):
        assert client.ask("POST", "/ref-update", {**update, **which, "operation": "ADD"}) == (200, {"uuid": port})
        (ref,) = client.read(KIND, port)["virtual_machine_refs"]
        assert ref["uuid"] == machine
    assert client.ask("DELETE", f"/virtual-machine/{machine}")[0] == 409
    assert client.ask("POST", "/ref-update", {**update, **by_name, "operation": "DELETE"})[0] == 200
    assert "virtual_machine_refs" not in client.read(KIND, port)


def test_a_ref_update_that_cannot_be_done_is_refused(client: Client) -> None:
    port = client.port()
    update: dict[str, Any] = {"type": KIND, "uuid": port, "ref-type": "virtual-machine", "operation": "ADD"}
    nobody = "5011a9bb-0000-4000-8000-000000000009"
    assert client.ask("POST", "/ref-update", {**update, "ref-uuid": nobody})[0] == 404
    assert client.ask("POST", "/ref-update", {**update, "ref-fq-name": ["nobody"]})[0] == 404
    assert client.ask("POST", "/ref-update", update)[0] == 400
    assert client.ask("POST", "/ref-update", {**update, "ref-uuid": nobody, "operation": "MOVE"})[0] == 400


def test_one_annotation_changes_and_the_others_stay(client: Client) -> None:
    port = client.port(annotations={"key_value_pair": [{"key": "host", "value": "h1"}, {"key": "vid", "value": "12"}]})
    assert change(client, port, operation="set", value={"key": "vid", "value": "13"})[0] == 200
    assert pairs(client, port) == {"host": "h1", "vid": "13"}
    assert change(client, port, operation="delete", position="host")[0] == 200
    assert pairs(client, port) == {"vid": "13"}
    read = client.get(f"/prop-collection-get?uuid={port}&fields=annotations&position=vid")
    assert read == {"annotations": [[{"key": "vid", "value": "13"}, "vid"]]}


def test_a_put_replaces_all_annotations(client: Client) -> None:
    port = client.port(annotations={"key_value_pair": [{"key": "host", "value": "h1"}]})
    body = {KIND: {"annotations": {"key_value_pair": [{"key": "vid", "value": "13"}]}}}
    assert client.ask("PUT", f"/{KIND}/{port}", body)[0] == 200
    assert pairs(client, port) == {"vid": "13"}


def test_bindings_are_a_map_too(client: Client) -> None:
    port = client.port()
    field = "virtual_machine_interface_bindings"
    assert change(client, port, field, operation="set", value={"key": "host_id", "value": "host-7"})[0] == 200
    assert client.read(KIND, port)[field] == {"key_value_pair": [{"key": "host_id", "value": "host-7"}]}


def test_a_collection_that_is_none_or_an_element_that_is_none_is_refused(client: Client) -> None:
    port = client.port()
    assert change(client, port, "display_name", operation="set", value={"key": "a", "value": "b"})[0] == 400
    assert change(client, port, operation="add", value={"key": "a", "value": "b"})[0] == 400
    assert change(client, port, operation="set", value={"name": "a"})[0] == 400
    nobody = "5011a9bb-0000-4000-8000-000000000009"
    assert change(client, nobody, operation="set", value={"key": "a", "value": "b"})[0] == 404
    assert client.ask("GET", f"/prop-collection-get?uuid={port}")[0] == 400


def test_a_list_property_has_places(client: Client) -> None:
    client.make("network-ipam", [*PROJECT, "ipam"], parent_type="project")
    (ipam,) = [each for each in client.get("/network-ipams")["network-ipams"] if each["fq_name"][-1] == "ipam"]
    for update in ({"operation": "add", "value": {"n": 1}}, {"operation": "add", "value": {"n": 2}}):
        assert change(client, ipam["uuid"], "ipam_subnets", **update)[0] == 200
    assert change(client, ipam["uuid"], "ipam_subnets", operation="delete", position="0")[0] == 200
    read = client.get(f"/prop-collection-get?uuid={ipam['uuid']}&fields=ipam_subnets")
    assert read == {"ipam_subnets": [[{"n": 2}, "0"]]}


def change(client: Client, object_id: str, field: str = "annotations", **update: Any) -> tuple[int, Any]:
    body = {"uuid": object_id, "updates": [{"field": field, **update}]}
    return client.ask("POST", "/prop-collection-update", body)


def pairs(client: Client, port: str) -> dict[str, str]:
    kept = client.read(KIND, port)["annotations"]["key_value_pair"]
    return {pair["key"]: pair["value"] for pair in kept}
