"""Reads and lists."""

from __future__ import annotations

import uuid

import pytest

from lab.contrail.client import PROJECT, Client

KIND = "virtual-machine-interface"


def test_a_read_shows_what_hangs_on_an_object_unless_it_shall_not(client: Client) -> None:
    network = client.network("blue", "10.2.0.0")
    port = client.port(network="blue")
    read = client.read("virtual-network", network)
    (link,) = read["virtual_machine_interface_back_refs"]
    assert link == {"to": [*PROJECT, "p1"], "uuid": port, "attr": None, "href": f"{client.url}/{KIND}/{port}"}
    assert read["href"] == f"{client.url}/virtual-network/{network}"
    assert read["parent_href"] == f"{client.url}/project/{read['parent_uuid']}"
    bare = client.get(f"/virtual-network/{network}?exclude_back_refs=True&exclude_children=True&exclude_hrefs=True")
    assert not {"virtual_machine_interface_back_refs", "routing_instances", "href"} & set(bare["virtual-network"])
    one = client.get(f"/virtual-network/{network}?fields=display_name")["virtual-network"]
    assert "network_ipam_refs" not in one
    assert one["display_name"] == "blue"


def test_a_plain_list_has_names_and_ids_only(client: Client) -> None:
    port = client.port()
    (entry,) = client.get(f"/{KIND}s")[f"{KIND}s"]
    assert entry == {"fq_name": [*PROJECT, "p1"], "uuid": port, "href": f"{client.url}/{KIND}/{port}"}
    (entry,) = client.get(f"/{KIND}s?exclude_hrefs=true")[f"{KIND}s"]
    assert set(entry) == {"fq_name", "uuid"}


def test_a_list_shows_some_fields_or_everything(client: Client) -> None:
    client.port()
    (entry,) = client.get(f"/{KIND}s?fields=display_name,virtual_network_refs")[f"{KIND}s"]
    assert set(entry) == {
        "fq_name",
        "uuid",
        "parent_type",
        "parent_uuid",
        "href",
        "display_name",
        "virtual_network_refs",
    }
    (entry,) = client.get(f"/{KIND}s?detail=True")[f"{KIND}s"]
    assert entry[KIND]["name"] == "p1"
    assert "id_perms" in entry[KIND]


def test_a_list_counts(client: Client) -> None:
    client.port()
    assert client.get(f"/{KIND}s?count=True") == {f"{KIND}s": {"count": 1}}


def test_a_list_is_of_a_parent_of_a_ref_or_of_ids(client: Client) -> None:
    blue = client.network("blue", "10.2.0.0")
    one, two = client.port("one"), client.port("two", "blue")
    parent = client.read(KIND, one)["parent_uuid"]
    assert seen(client, f"parent_id={parent}") == {one, two}
    assert seen(client, f"parent_id={uuid.uuid4()}") == set()
    assert seen(client, f"parent_fq_name_str={':'.join(PROJECT)}") == {one, two}
    assert seen(client, "parent_fq_name_str=default-domain:nowhere") == set()
    assert seen(client, f"back_ref_id={blue}") == {two}
    assert seen(client, f"obj_uuids={one},{uuid.uuid4()}") == {one}


def test_a_list_is_filtered(client: Client) -> None:
    one, two, _ = (client.port(name) for name in ("one", "two", "three"))
    assert seen(client, 'filters=display_name=="one",display_name=="two"') == {one, two}
    assert client.ask("GET", f"/{KIND}s?filters=display_name")[0] == 400


def test_a_list_comes_in_pages_to_whoever_gives_a_marker(client: Client) -> None:
    ports = {client.port(f"p{at}") for at in range(5)}
    assert len(seen(client, "page_limit=2")) == 5  # from the server's code: without a marker there are no pages
    found, marker, pages = [], "None", 0
    while marker:
        page = client.get(f"/{KIND}s?page_marker={marker}&page_limit=2")
        found += [entry["uuid"] for entry in page[f"{KIND}s"]]
        marker, pages = page["marker"], pages + 1
    assert (set(found), len(found), pages) == (ports, 5, 3)


@pytest.mark.parametrize("wrong", ["page_marker=x", "page_marker=None&page_limit=0", "page_marker=None&page_limit=x"])
def test_a_wrong_page_is_refused(client: Client, wrong: str) -> None:
    assert client.ask("GET", f"/{KIND}s?{wrong}")[0] == 400


def test_a_long_list_of_ids_is_asked_for_in_bulk_as_one_string(client: Client) -> None:
    one, two = client.port("one"), client.port("two")
    asked = {"type": KIND, "obj_uuids": f"{one},{two}", "fields": "display_name"}
    status, said = client.ask("POST", "/list-bulk-collection", asked)
    assert (status, {entry["display_name"] for entry in said[f"{KIND}s"]}) == (200, {"one", "two"})
    for wrong in ({"obj_uuids": [one]}, {"fields": ["display_name"]}):
        assert client.ask("POST", "/list-bulk-collection", {"type": KIND, **wrong})[0] == 500


def seen(client: Client, query: str) -> set[str]:
    quoted = query.replace('"', "%22")
    return {entry["uuid"] for entry in client.get(f"/{KIND}s?{quoted}")[f"{KIND}s"]}
