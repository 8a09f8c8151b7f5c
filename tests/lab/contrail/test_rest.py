"""Requests that reach no object."""

from __future__ import annotations

import json

from lab.contrail.api_server import ApiServer
from lab.contrail.client import PROJECT, Client


def test_the_homepage_says_where_everything_is(client: Client) -> None:
    page = client.get("/")
    assert page["href"] == client.url
    links = {(link["link"]["rel"], link["link"]["name"]): link["link"]["href"] for link in page["links"]}
    assert links["collection", "virtual-network"] == f"{client.url}/virtual-networks"
    assert links["resource-base", "virtual-network"] == f"{client.url}/virtual-network"
    assert links["action", "name-to-id"] == f"{client.url}/fqname-to-id"
    assert links["action", "watch"] == f"{client.url}/watch"


def test_a_create_answers_with_the_objects_place(client: Client) -> None:
    body = {"virtual-network": {"fq_name": [*PROJECT, "blue"], "parent_type": "project"}}
    status, said = client.ask("POST", "/virtual-networks", body)
    made = said["virtual-network"]
    assert (status, made["name"], made["fq_name"]) == (200, "blue", [*PROJECT, "blue"])
    assert made["href"] == f"{client.url}/virtual-network/{made['uuid']}"
    assert made["parent_href"] == f"{client.url}/project/{made['parent_uuid']}"


def test_names_and_ids_are_looked_up_both_ways(client: Client) -> None:
    network = client.network("blue", "10.2.0.0")
    for kind in ("virtual-network", "virtual_network"):
        asked = {"type": kind, "fq_name": [*PROJECT, "blue"]}
        assert client.ask("POST", "/fqname-to-id", asked) == (200, {"uuid": network})
    said = {"type": "virtual-network", "fq_name": [*PROJECT, "blue"]}
    assert client.ask("POST", "/id-to-fqname", {"uuid": network}) == (200, said)


def test_what_is_no_json_or_does_not_say_so_is_a_fault_of_the_servers(client: Client) -> None:
    body = {"virtual-machine": {"fq_name": ["vm"]}}
    assert client.ask("POST", "/virtual-machines", b'{"virtual-mach')[0] == 500
    assert client.ask("POST", "/virtual-machines", {"vm": {}})[0] == 500
    # From the server's code: without the header it sees no body.
    assert client.ask("POST", "/virtual-machines", json.dumps(body).encode(), content="text/plain")[0] == 500
    assert client.get("/virtual-machines") == {"virtual-machines": []}


def test_an_empty_update_changes_nothing(client: Client) -> None:
    port = client.port()
    before = client.read("virtual-machine-interface", port)
    assert client.ask("PUT", f"/virtual-machine-interface/{port}", {"virtual-machine-interface": {}}) == (200, "")
    assert client.read("virtual-machine-interface", port) == before


def test_paths_and_methods_that_are_none(client: Client) -> None:
    assert client.ask("GET", "/nothing")[0] == 404
    assert client.ask("PUT", "/virtual-networks", {})[0] == 405
    assert client.ask("GET", "/ref-update")[0] == 405


def test_an_answer_to_a_refusal_is_a_plain_text(server: ApiServer, client: Client) -> None:
    status, said = client.ask("POST", "/virtual-machines", {"virtual-machine": {"fq_name": ["a:b"]}})
    assert (status, said) == (400, "Bad Request, name has one of invalid chars {':'}")
