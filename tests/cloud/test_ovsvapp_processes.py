"""One isthmus for each appliance, and one for the port groups: a whole Neutron, and who is found where."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from lab.netns.stage import until
from lab.netns.world import appliance_of
from lab.openstack import preflight
from lab.openstack.overlaid import CLUSTERS, LAYOUT, overlaid_site
from lab.openstack.product import APPLIANCE_TYPE, Isthmus, with_appliances
from lab.openstack.site import KVM, Site, Vm
from tests.cloud.talking import settled_company, talks, unharmed

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(600)]

ESX1, ESX2, ESX3 = LAYOUT.hosts


@dataclass
class Apart:
    """The site, with its VMs, and the process of each host."""

    site: Site
    vms: dict[str, Vm]
    at: dict[str, Isthmus]


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    """At first one process keeps all; it hands its hosts over while VMs talk, and no packet is lost."""
    if advice := preflight.missing():
        pytest.skip("; ".join(advice))
    with overlaid_site(f"q{os.getpid()}") as site:
        vms = settled_company(site, ESX1, ESX3)
        with unharmed((vms["a"], vms["b"]), (vms["k"], vms["b"])):
            at = handed_over(site)
        yield Apart(site, vms, at)
        print(site.logs())


def handed_over(site: Site) -> dict[str, Isthmus]:
    """The processes that keep the hosts from now on; the first keeps the port groups."""
    site.isthmus.kill()
    appliances = [appliance_of(site.state, LAYOUT, host) for host in LAYOUT.hosts]
    given = site.login, site.broker.url
    site.isthmus.configure(*given, with_appliances(CLUSTERS, appliances, "serve = []\n"))
    site.isthmus.start()
    at = {host: Isthmus(site.state, name=f"isthmus-{host}") for host in LAYOUT.hosts}
    for host, process in at.items():
        its = f'serve = "{host}"\nport_groups = false\n'
        process.configure(*given, with_appliances(CLUSTERS, appliances, its))
        process.start()
    assert until(lambda: all(process.is_settled for process in (site.isthmus, *at.values())), 90) is not None
    return at


def test_each_process_reports_its_own_appliance(apart: Apart) -> None:
    apart.site.await_agents({(host, APPLIANCE_TYPE) for host in LAYOUT.hosts})


def test_new_vms_are_wired_by_the_process_of_their_host_and_reached_from_everywhere(apart: Apart) -> None:
    site, blue = apart.site, apart.site.network("blue", "10.0.1.0/24")
    vms = [site.vm(f"blue-{host[:4]}", blue, host) for host in (*LAYOUT.hosts, KVM)]
    assert until(lambda: site.are_active(*vms), 90) is not None
    for one, other in pairwise(vms):
        assert talks(one, other)
        assert talks(other, one)


def test_a_vm_that_moves_from_one_process_to_another_is_found_from_esxi_and_from_kvm(apart: Apart) -> None:
    site, vms = apart.site, apart.vms
    for to in (ESX2, ESX3, ESX1):
        site.migrate(vms["mover"].guest.name, to)
        assert talks(vms["a"], vms["mover"])
        assert talks(vms["k"], vms["mover"])


def test_a_host_whose_process_dies_is_shown_as_dead_while_its_vms_talk_on(apart: Apart) -> None:
    site, vms = apart.site, apart.vms
    with unharmed((vms["a"], vms["b"]), (vms["k"], vms["b"])):
        apart.at[ESX3].kill()
        assert until(lambda: (ESX3, APPLIANCE_TYPE) not in site.rest.agents(), 120) is not None
        assert (ESX1, APPLIANCE_TYPE) in site.rest.agents()
        apart.at[ESX3].start()
        site.await_agents({(ESX3, APPLIANCE_TYPE)})
