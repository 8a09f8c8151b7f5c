"""Appliances with Neutron's own agent as they are deployed: an isthmus on each, and one that speaks to Neutron."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial

import pytest

from lab.netns.stage import until
from lab.openstack import preflight
from lab.openstack.live_move import LiveMove
from lab.openstack.plugged import COMPUTES, LAYOUT, OnAppliance, plugged_site
from lab.openstack.product import with_agents
from lab.openstack.site import Vm
from lab.openstack.unallowed import says_to_be
from tests.cloud.apart import Apart, handed_over
from tests.cloud.talking import settled_company, talks

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(600)]

ESX1, ESX2 = LAYOUT.hosts


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    if advice := preflight.missing():
        pytest.skip("; ".join(advice))
    with plugged_site(f"q{os.getpid()}") as site:
        group = site.rest.security_group("icmp only", protocol="icmp", ethertype="IPv4")
        vms = settled_company(site, ESX1, ESX2, security_groups=[group])
        with handed_over(site, LAYOUT, partial(with_agents, COMPUTES), vms) as made:
            yield made


def another(apart: Apart, name: str, host: str) -> Vm:
    """A VM in the network and the group of the others, once its port is open."""
    shown = apart.site.rest.show("ports", apart.vms["a"].port)
    vm = apart.site.vm(name, shown["network_id"], host, security_groups=shown["security_groups"])
    assert until(lambda: apart.site.are_active(vm), 90) is not None
    return vm


def test_new_vms_are_wired_by_the_process_of_their_host(apart: Apart) -> None:
    new = [another(apart, f"red-new-{host[:4]}", host) for host in LAYOUT.hosts]
    assert talks(new[0], new[1])
    assert talks(apart.vms["k"], new[0])


def test_a_security_group_that_is_emptied_lets_nothing_pass_on_the_same_host_either(apart: Apart) -> None:
    rest, one, other = apart.site.rest, apart.vms["a"], apart.vms["mover"]
    (group,) = rest.show("ports", one.port)["security_groups"]
    assert one.guest.ping(other.address).all_answered
    for rule in rest.list("security-group-rules", f"security_group_id={group}&direction=ingress"):
        rest.delete("security-group-rules", rule["id"])
    assert until(lambda: not one.guest.reaches(other.address, 0.5), 30) is not None
    assert one.guest.ping(other.address).none_answered
    rest.allow(group, protocol="icmp", ethertype="IPv4")
    assert talks(one, other)


def test_a_vm_that_nova_moves_alive_from_one_process_to_another_is_found(apart: Apart) -> None:
    site, mover = apart.site, apart.vms["mover"]
    move = LiveMove(site, mover, site.rest.show("ports", mover.port)["network_id"], *COMPUTES)
    binding = move.bind()
    move.announce()
    move.go(ESX2, binding)
    move.arrived()
    assert until(lambda: site.are_active(mover), 90) is not None
    assert talks(apart.vms["a"], mover)
    assert talks(apart.vms["k"], mover)


def test_an_appliance_that_reboots_with_its_isthmus_lets_nothing_through_that_no_rule_allows(apart: Apart) -> None:
    neighbour, speaker = another(apart, "red-neighbour", ESX1), apart.vms["a"]
    machine = apart.site.machines["compute-1"]
    assert isinstance(machine, OnAppliance)
    assert talks(neighbour, speaker)
    with says_to_be("10.0.0.250", speaker.guest, neighbour.guest) as heard:
        apart.at[ESX1].kill()
        machine.reboot()
        time.sleep(3)
        apart.at[ESX1].start()
        assert talks(apart.vms["b"], speaker, 120)
        assert talks(neighbour, speaker)
    assert heard.sent > 100
    assert not heard.times, heard
