"""What `isthmus check` says of an api-server: what older programs left there, and agents that it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.app.check import check
from isthmus.app.finding import Finding
from tests.app.contrail_site import A, Site, contrail_site

pytestmark = pytest.mark.sim
ROUTER = ["default-global-system-config", "esx1-agent"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path) as made:
        yield made


def found(site: Site) -> list[Finding]:
    return check(site.processes[0].wiring)


def test_what_older_programs_left_is_listed_first_and_stays(site: Site) -> None:
    theirs = {"creator": "vcenter-manager", "enable": True}
    site.client.make("virtual-machine", [A], uuid=A, id_perms=theirs, display_name="web-1")
    port = site.client.port("old", id_perms=theirs)
    site.client.port("others")
    vms, ports = found(site)[:2]
    assert (vms.place, vms.what) == ("Contrail", f"1 virtual-machine objects of vcenter-manager: web-1 ({A})")
    assert "1 virtual-machine-interface objects of vcenter-manager" in ports.what
    assert "adopt" in ports.remedy
    assert {A} == site.there("virtual-machine")
    assert port in site.there("virtual-machine-interface")


def test_nothing_is_said_of_a_site_where_they_never_were(site: Site) -> None:
    site.client.port("others")
    assert not [finding for finding in found(site) if finding.place == "Contrail" and "objects of" in finding.what]


def test_an_agent_whose_address_is_no_virtual_router_is_named(site: Site) -> None:
    named = {finding.place for finding in found(site) if "no virtual-router" in finding.what}
    assert named == {f'deployment.cloud.host."{host}".vrouter' for host in site.agents}
    fields = {"parent_type": "global-system-config", "virtual_router_ip_address": "127.0.0.1"}
    site.client.make("virtual-router", ROUTER, **fields)
    assert not [finding for finding in found(site) if "no virtual-router" in finding.what]
