"""Parts of a cloud end and come again whose appliances run Neutron's own agent: who talks meanwhile, and who after."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from lab.netns.stage import until
from lab.openstack import preflight
from lab.openstack.live_move import LiveMove
from lab.openstack.machines import KINDS, OVS_AGENT
from lab.openstack.plugged import COMPUTES, LAYOUT, OnAppliance, plugged_site
from lab.openstack.product import AGENT_TYPE
from lab.openstack.site import Site, Vm
from lab.openstack.unallowed import says_to_be
from tests.cloud.talking import AWAY, settled_company, talks, unharmed

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(600)]

ESX1, ESX2 = LAYOUT.hosts


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if advice := preflight.missing():
        pytest.skip("; ".join(advice))
    with plugged_site(f"q{os.getpid()}") as made:
        yield made
        print(made.logs())


@pytest.fixture(scope="module")
def vms(site: Site) -> dict[str, Vm]:
    group = site.rest.security_group("icmp only", protocol="icmp", ethertype="IPv4")
    return settled_company(site, ESX1, ESX2, security_groups=[group])


def those_who_stay(vms: dict[str, Vm]) -> AbstractContextManager[None]:
    """They talk on, between ESXi hosts and with KVM, and no packet is lost."""
    return unharmed((vms["a"], vms["b"]), (vms["k"], vms["b"]), (vms["k"], vms["a"]))


def all_is_well(site: Site, vms: dict[str, Vm]) -> None:
    """All are reached; a new VM is wired; Neutron hears of every host; nothing is left to do."""
    assert talks(vms["a"], vms["mover"], 120)
    assert talks(vms["k"], vms["mover"], 120)
    site.await_agents({(rack.compute, kind) for rack in COMPUTES for kind in (AGENT_TYPE, KINDS[OVS_AGENT])})
    new = another(site, vms, f"red-new-{time.monotonic_ns()}", ESX2)
    assert until(lambda: site.are_active(new), 90) is not None, site.logs()
    assert talks(new, vms["k"])
    site.delete(new)
    assert until(lambda: site.isthmus.is_settled, 60) is not None, site.isthmus.ask("show", "conditions").stdout


def network_of(site: Site, vms: dict[str, Vm]) -> str:
    return str(site.rest.show("ports", vms["a"].port)["network_id"])


def another(site: Site, vms: dict[str, Vm], name: str, host: str) -> Vm:
    """In their network and group."""
    groups = site.rest.show("ports", vms["a"].port)["security_groups"]
    return site.vm(name, network_of(site, vms), host, security_groups=groups)


def appliance(site: Site, compute: str) -> OnAppliance:
    machine = site.machines[compute]
    assert isinstance(machine, OnAppliance)
    return machine


def test_isthmus_that_is_killed_and_started_costs_no_packet_and_all_is_well_after(
    site: Site, vms: dict[str, Vm]
) -> None:
    with those_who_stay(vms):
        site.isthmus.kill()
        site.admin.power_off(vms["mover"].guest.name)
        time.sleep(5)
        site.admin.power_on(vms["mover"].guest.name)
        vms["mover"].guest.set_addresses(f"{vms['mover'].address}/24")
        site.isthmus.start()
        all_is_well(site, vms)


def test_rabbitmq_that_is_killed_and_started_anew_costs_no_packet_and_all_is_well_after(
    site: Site, vms: dict[str, Vm]
) -> None:
    with those_who_stay(vms):
        site.broker.kill()
        time.sleep(20)
        site.broker.start()
        site.broker.await_answer()
        all_is_well(site, vms)


def test_isthmus_that_starts_while_rabbitmq_is_away_harms_nobody_and_all_is_well_after(
    site: Site, vms: dict[str, Vm]
) -> None:
    with those_who_stay(vms):
        site.broker.kill()
        site.isthmus.kill()
        site.isthmus.start()
        time.sleep(20)
        site.broker.start()
        site.broker.await_answer()
        all_is_well(site, vms)


def test_neutron_that_is_away_until_all_timers_have_expired_twice_costs_no_packet_and_all_is_well_after(
    site: Site, vms: dict[str, Vm]
) -> None:
    with those_who_stay(vms):
        site.neutron.kill()
        time.sleep(AWAY)
        site.neutron.start()
        site.neutron.await_answer()
        all_is_well(site, vms)


def test_sessions_that_vcenter_ends_while_vms_come_move_and_die_lose_nothing(site: Site, vms: dict[str, Vm]) -> None:
    network = network_of(site, vms)
    with those_who_stay(vms):
        site.admin.end_other_sessions()
        move = LiveMove(site, vms["mover"], network, *COMPUTES)
        binding = move.bind()
        site.admin.end_other_sessions()
        move.announce()
        site.admin.end_other_sessions()
        move.go(ESX2, binding)
        site.admin.end_other_sessions()
        move.arrived()
        passing = another(site, vms, "red-passing", ESX2)
        site.admin.end_other_sessions()
        assert until(lambda: site.are_active(passing), 90) is not None
        assert talks(vms["k"], passing)
        site.admin.power_off(passing.guest.name)
        site.admin.end_other_sessions()
        assert until(lambda: site.rest.show("ports", passing.port)["status"] == "DOWN", 60) is not None
        site.delete(passing)
        site.admin.end_other_sessions()
        all_is_well(site, vms)
        assert site.rest.bindings(vms["mover"].port) == {"compute-2": "ACTIVE"}


def test_a_port_that_is_put_into_the_dead_vlan_by_hand_is_taken_out_of_it_by_the_agent(
    site: Site, vms: dict[str, Vm]
) -> None:
    half, ovs = f"isi-{vms['a'].port[:11]}", appliance(site, "compute-1").ovs
    ovs.vsctl("set", "port", half, "tag=4095")
    back = until(lambda: ovs.vsctl("get", "port", half, "tag").strip() != "4095", 30)
    print(f"its tag is back: {back}")
    assert back is not None
    assert talks(vms["b"], vms["a"], 20)


def test_open_vswitch_that_is_killed_and_started_is_given_its_flows_by_the_agent(
    site: Site, vms: dict[str, Vm]
) -> None:
    """Until then br-int switches what no rule allows, as on a KVM host."""
    neighbour = another(site, vms, "red-neighbour", ESX1)
    assert until(lambda: site.are_active(neighbour), 90) is not None
    assert talks(neighbour, vms["a"])
    ping = vms["b"].guest.keep_pinging(vms["a"].address)
    with says_to_be("10.0.0.250", vms["a"].guest, neighbour.guest) as heard:
        appliance(site, "compute-1").restart_open_vswitch()
        time.sleep(15)
        assert talks(vms["b"], vms["a"])
        assert talks(vms["k"], vms["a"])
    print(f"Open vSwitch anew: {heard}; {(result := ping.stop())}, longest gap {result.longest_gap_ms:.0f} ms")
    assert not heard.times or heard.times[-1] - heard.times[0] < 5
    site.delete(neighbour)
    all_is_well(site, vms)


def test_of_an_appliance_that_reboots_nothing_passes_that_no_rule_allows_and_all_is_well_after(
    site: Site, vms: dict[str, Vm]
) -> None:
    neighbour = another(site, vms, "red-neighbour", ESX1)
    assert until(lambda: site.are_active(neighbour), 90) is not None
    assert talks(neighbour, vms["a"])
    ping = vms["b"].guest.keep_pinging(vms["a"].address)
    with says_to_be("10.0.0.250", vms["a"].guest, neighbour.guest) as heard:
        appliance(site, "compute-1").reboot()
        assert talks(vms["b"], vms["a"], 120)
        assert talks(vms["k"], vms["a"])
        assert talks(neighbour, vms["a"])
    assert not heard.times, str(heard)
    print(f"reboot: {heard}; {(result := ping.stop())}, longest gap {result.longest_gap_ms:.0f} ms")
    site.delete(neighbour)
    all_is_well(site, vms)
