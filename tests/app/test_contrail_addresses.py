"""Networks whose addresses Contrail does not give: what the guests use, by their VMware Tools, is told to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.contrail.client import PROJECT
from tests.app.contrail_site import A, B, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path, intent="guest_addresses = true") as made:
        made.client.network("outer", "10.2.0.0", external_ipam=True)
        until(lambda: "outer" in made.admin.port_group_names())
        yield made


def uses(site: Site, vm: str, *addresses: str) -> None:
    """What its guest uses from now on."""
    site.vcenter.vms.addresses(vm, addresses)


def addresses(site: Site) -> set[str]:
    found = site.client.get("/instance-ips?detail=true")["instance-ips"]
    return {item["instance-ip"]["instance_ip_address"] for item in found}


def told(site: Site, host: str, vm: str) -> str:
    """The address of a VM's port, as its host's agent was told."""
    return next((port.address for port in site.agents[host].ports.values() if port.vm == vm), "none")


def test_a_port_is_plugged_in_without_an_address_and_has_the_one_that_its_guest_uses(site: Site) -> None:
    site.boot("a", A, "esx1.lab", "outer")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    assert (addresses(site), told(site, "esx1.lab", A)) == (set(), "0.0.0.0")
    uses(site, "a", "fe80::1", "127.0.0.1", "192.0.2.7", "10.2.0.77")
    until(lambda: addresses(site) == {"10.2.0.77"})
    until(lambda: told(site, "esx1.lab", A) == "10.2.0.77" and site.is_wired("a", A, "esx1.lab"))


def test_what_no_subnet_has_and_what_is_no_ipv4_is_not_used(site: Site) -> None:
    site.boot("a", A, "esx1.lab", "outer")
    site.boot("b", B, "esx1.lab", "outer")
    uses(site, "a", "127.0.0.1", "2001:db8::7", "192.0.2.7")
    uses(site, "b", "10.2.0.9")
    until(lambda: told(site, "esx1.lab", B) == "10.2.0.9")
    assert addresses(site) == {"10.2.0.9"}
    assert told(site, "esx1.lab", A) == "0.0.0.0"


def test_the_ends_of_a_subnet_are_no_guests_address(site: Site) -> None:
    site.boot("a", A, "esx1.lab", "outer")
    uses(site, "a", "10.2.0.0", "10.2.0.255", "10.2.0.8")
    until(lambda: told(site, "esx1.lab", A) not in ("none", "0.0.0.0"))
    assert told(site, "esx1.lab", A) == "10.2.0.8"


def test_a_guest_that_takes_another_address_is_given_that_and_the_agent_is_told_anew(site: Site) -> None:
    site.boot("a", A, "esx1.lab", "outer")
    uses(site, "a", "10.2.0.7")
    until(lambda: told(site, "esx1.lab", A) == "10.2.0.7")
    vmi = site.there("virtual-machine-interface")
    uses(site, "a", "10.2.0.8")
    until(lambda: told(site, "esx1.lab", A) == "10.2.0.8" and site.is_wired("a", A, "esx1.lab"))
    assert (addresses(site), site.there("virtual-machine-interface")) == ({"10.2.0.8"}, vmi)


def test_tools_that_fall_silent_and_a_restart_of_isthmus_take_nothing_back(site: Site) -> None:
    site.boot("a", A, "esx1.lab", "outer")
    uses(site, "a", "10.2.0.7")
    until(lambda: told(site, "esx1.lab", A) == "10.2.0.7")
    uses(site, "a")
    site.admin.power_off("a")
    until(lambda: site.vids("esx1.lab") == {})
    assert addresses(site) == {"10.2.0.7"}
    site.stop()
    site.start()
    site.admin.power_on("a")
    until(lambda: told(site, "esx1.lab", A) == "10.2.0.7" and site.is_wired("a", A, "esx1.lab"))
    assert addresses(site) == {"10.2.0.7"}


def test_an_address_that_another_has_is_named_and_the_port_works_without(site: Site) -> None:
    refs = [{"to": [*PROJECT, "outer"]}]
    body = {"fq_name": ["theirs"], "virtual_network_refs": refs, "instance_ip_address": "10.2.0.7"}
    assert site.client.ask("POST", "/instance-ips", {"instance-ip": body})[0] == 200
    site.boot("a", A, "esx1.lab", "outer")
    uses(site, "a", "10.2.0.7")
    until(lambda: "10.2.0.7, which its guest uses, is not its address" in site.conditions())
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    assert told(site, "esx1.lab", A) == "0.0.0.0"


def test_a_guest_that_takes_anothers_address_keeps_the_one_that_contrail_knows(site: Site) -> None:
    refs = [{"to": [*PROJECT, "outer"]}]
    body = {"fq_name": ["theirs"], "virtual_network_refs": refs, "instance_ip_address": "10.2.0.7"}
    assert site.client.ask("POST", "/instance-ips", {"instance-ip": body})[0] == 200
    site.boot("a", A, "esx1.lab", "outer")
    uses(site, "a", "10.2.0.77")
    until(lambda: told(site, "esx1.lab", A) == "10.2.0.77")
    uses(site, "a", "10.2.0.7")
    until(lambda: "10.2.0.7, which its guest uses, is not its address" in site.conditions())
    assert addresses(site) == {"10.2.0.7", "10.2.0.77"}
    assert told(site, "esx1.lab", A) == "10.2.0.77"


def test_where_contrail_gives_addresses_what_guests_use_changes_nothing(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: told(site, "esx1.lab", A) == "10.1.0.3")
    uses(site, "a", "10.1.0.99")
    site.boot("b", B, "esx1.lab")
    until(lambda: site.is_wired("b", B, "esx1.lab"))
    assert addresses(site) == {"10.1.0.3", "10.1.0.4"}


def test_without_the_word_such_a_network_is_named(tmp_path: Path) -> None:
    with contrail_site(tmp_path) as site:
        site.client.network("outer", "10.2.0.0", external_ipam=True)
        until(lambda: "guest_addresses = true" in site.conditions())
        site.boot("a", A, "esx1.lab", "outer")
        until(lambda: site.is_wired("a", A, "esx1.lab"))
        assert addresses(site) == set()
