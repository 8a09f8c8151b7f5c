"""One isthmus for each appliance, and one for the port groups: a whole Neutron, and who is found where."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import pytest

from lab.netns.stage import until
from lab.openstack import preflight
from lab.openstack.overlaid import CLUSTERS, LAYOUT, overlaid_site
from lab.openstack.product import APPLIANCE_TYPE, with_appliances
from lab.openstack.site import KVM
from tests.cloud.apart import Apart, handed_over
from tests.cloud.talking import settled_company, talks, unharmed

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(600)]

ESX1, ESX2, ESX3 = LAYOUT.hosts


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    if advice := preflight.missing():
        pytest.skip("; ".join(advice))
    with overlaid_site(f"q{os.getpid()}") as site:
        vms = settled_company(site, ESX1, ESX3)
        with handed_over(site, LAYOUT, partial(with_appliances, CLUSTERS), vms) as made:
            yield made


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
