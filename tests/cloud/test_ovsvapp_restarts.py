"""Parts of a cloud with appliances end and come again: who talks meanwhile, and who is found where he is afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from lab.netns.stage import until
from lab.netns.world import appliance_of
from lab.openstack import preflight
from lab.openstack.overlaid import LAYOUT, overlaid_site
from lab.openstack.product import APPLIANCE_TYPE
from lab.openstack.site import Site, Vm
from tests.cloud.talking import AWAY, settled_company, talks, unharmed

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(600)]

ESX1, ESX2, ESX3 = LAYOUT.hosts


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if advice := preflight.missing():
        pytest.skip("; ".join(advice))
    with overlaid_site(f"r{os.getpid()}") as made:
        yield made
        print(made.logs())


@pytest.fixture(scope="module")
def vms(site: Site) -> dict[str, Vm]:
    return settled_company(site, ESX1, ESX3)


def those_who_stay(vms: dict[str, Vm]) -> AbstractContextManager[None]:
    """They talk on, between ESXi hosts and with KVM, and no packet is lost."""
    return unharmed((vms["a"], vms["b"]), (vms["k"], vms["b"]))


def all_is_well(site: Site, vms: dict[str, Vm]) -> None:
    """The one that moved is found where it is, by ESXi hosts and by KVM; a new VM is wired; nothing is left to do."""
    assert talks(vms["a"], vms["mover"], 120)
    assert talks(vms["k"], vms["mover"], 120)
    site.await_agents({(host, APPLIANCE_TYPE) for host in LAYOUT.hosts})
    network = site.rest.show("ports", vms["a"].port)["network_id"]
    new = site.vm(f"red-new-{time.monotonic_ns()}", network, ESX2)
    assert until(lambda: site.are_active(new), 90) is not None, site.logs()
    assert talks(new, vms["k"])
    site.delete(new)
    assert until(lambda: site.isthmus.is_settled, 60) is not None


def test_rabbitmq_that_is_killed_and_started_anew_costs_no_packet_and_all_is_well_after(
    site: Site, vms: dict[str, Vm]
) -> None:
    with those_who_stay(vms):
        site.broker.kill()
        site.migrate(vms["mover"].guest.name, ESX2)
        assert talks(vms["a"], vms["mover"])
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
        time.sleep(AWAY / 2)
        site.migrate(vms["mover"].guest.name, ESX3)
        assert talks(vms["a"], vms["mover"])
        time.sleep(AWAY / 2)
        site.neutron.start()
        site.neutron.await_answer()
        all_is_well(site, vms)


def test_sessions_that_vcenter_ends_while_vms_come_move_and_die_lose_nothing(site: Site, vms: dict[str, Vm]) -> None:
    network = site.rest.show("ports", vms["a"].port)["network_id"]
    with those_who_stay(vms):
        site.admin.end_other_sessions()
        site.migrate(vms["mover"].guest.name, ESX2)
        site.admin.end_other_sessions()
        passing = site.vm("red-passing", network, ESX2)
        site.admin.end_other_sessions()
        assert until(lambda: site.are_active(passing), 90) is not None
        assert talks(vms["k"], passing)
        site.admin.power_off(passing.guest.name)
        site.admin.end_other_sessions()
        assert until(lambda: site.rest.show("ports", passing.port)["status"] == "DOWN", 60) is not None
        site.delete(passing)
        site.admin.end_other_sessions()
        all_is_well(site, vms)


@pytest.mark.parametrize("what", ["Open vSwitch", "the whole appliance"])
def test_an_appliance_that_starts_anew_is_told_everything_again(site: Site, vms: dict[str, Vm], what: str) -> None:
    """Of an appliance that reboots the database comes back, and not a flow."""
    ovs = appliance_of(site.state, LAYOUT, ESX1).ovs
    ends = [f"ovs-vswitchd of {ovs.namespace}"] + [f"ovsdb-server of {ovs.namespace}"] * (what != "Open vSwitch")
    for process in site.state.processes.alive():
        if process.what in ends:
            os.kill(process.pid, signal.SIGKILL)
    if what != "Open vSwitch":
        assert until(lambda: (ESX1, APPLIANCE_TYPE) not in site.rest.agents(), 90) is not None, "a dead one is shown"
        ovs.start_ovsdb(site.state.processes)
    ovs.start_vswitchd(site.state.processes)
    assert talks(vms["a"], vms["b"])
    assert talks(vms["k"], vms["a"])
    all_is_well(site, vms)
