"""VMs that move below a whole Neutron on hosts with appliances: inside a cluster, and alive from one to another."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from lab.netns.control import Stunned
from lab.netns.ping import Ping
from lab.netns.stage import until
from lab.openstack import preflight
from lab.openstack.live_move import LiveMove
from lab.openstack.overlaid import CLUSTERS, LAYOUT, overlaid_site
from lab.openstack.racks import Rack
from lab.openstack.site import Site, Vm
from tests.cloud.talking import settled_company, talks, unharmed

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(400)]

ESX1, ESX2, ESX3 = LAYOUT.hosts
FIRST, SECOND = CLUSTERS
SLACK = 2
"""Pings that may be under way in either direction when the VM is stunned."""
TOLD = 2.0
"""Seconds after the stun in which everybody knows the way; most of it is for crowded processors."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if advice := preflight.missing():
        pytest.skip("; ".join(advice))
    with overlaid_site(f"m{os.getpid()}") as made:
        yield made
        print(made.logs())


@pytest.fixture(scope="module")
def vms(site: Site) -> dict[str, Vm]:
    return settled_company(site, ESX1, ESX3)


def assert_found(stun: Stunned, *pings: Ping) -> None:
    """Whoever had time to hear of the move loses nothing more."""
    time.sleep(TOLD + 0.5)
    for result in (ping.stop() for ping in pings):
        print(f"{stun.seconds:.2f} s stunned; {result}, {result.lost_beyond([stun])} lost beyond it")
        late = [echo for echo in result.echoes if echo.sent > (stun.ended or 0.0) + TOLD]
        assert late
        assert all(echo.answered is not None for echo in late)


@pytest.mark.parametrize("to", [ESX2, ESX3, ESX1], ids=["in a cluster", "to another", "and back"])
def test_vmotion_is_followed_by_all_and_neutron_hears_nothing(site: Site, vms: dict[str, Vm], to: str) -> None:
    before = site.rest.show("ports", vms["mover"].port)
    from_esxi, from_kvm = (vms[peer].guest.keep_pinging(vms["mover"].address) for peer in ("b", "k"))
    stun = site.migrate(vms["mover"].guest.name, to)
    time.sleep(0.7)
    assert from_esxi.stop().lost_beyond([stun]) <= SLACK
    assert_found(stun, from_kvm)
    assert site.rest.show("ports", vms["mover"].port) == before


@pytest.mark.parametrize(("source", "target", "to"), [(FIRST, SECOND, ESX3), (SECOND, FIRST, ESX2)], ids=["to", "back"])
def test_a_live_migration_by_nova_between_clusters_is_followed_by_all(
    site: Site, vms: dict[str, Vm], source: Rack, target: Rack, to: str
) -> None:
    """It names the NIC's port group anew, for which the NIC gets a new DV port: closed, until that is bound, too."""
    mover = vms["mover"]
    network = site.rest.show("ports", mover.port)["network_id"]
    move = LiveMove(site, mover, network, source, target)
    binding = move.bind()
    assert binding["vif_type"] == "dvs"
    move.announce()
    pings = [vms[peer].guest.keep_pinging(mover.address) for peer in ("b", "k")]
    stun = move.go(to, binding)
    move.arrived()
    assert_found(stun, *pings)
    assert site.rest.bindings(mover.port) == {target.compute: "ACTIVE"}
    assert until(lambda: site.are_active(mover), 30) is not None
    assert talks(mover, vms["k"])
    assert until(lambda: site.isthmus.is_settled, 30) is not None


def test_a_live_migration_that_is_rolled_back_costs_nothing(site: Site, vms: dict[str, Vm]) -> None:
    mover = vms["mover"]
    move = LiveMove(site, mover, site.rest.show("ports", mover.port)["network_id"], FIRST, SECOND)
    with unharmed((vms["b"], mover), (vms["k"], mover)):
        move.bind()
        move.announce()
        move.roll_back()
        time.sleep(2)
    assert site.rest.bindings(mover.port) == {FIRST.compute: "ACTIVE"}
    assert until(lambda: site.are_active(mover), 30) is not None


def test_a_new_vm_of_the_other_cluster_is_wired_where_it_is(site: Site, vms: dict[str, Vm]) -> None:
    network = site.rest.show("ports", vms["a"].port)["network_id"]
    new = site.vm("red-second", network, ESX3)
    assert site.rest.show("ports", new.port)["binding:host_id"] == SECOND.compute
    assert until(lambda: site.are_active(new), 60) is not None
    assert talks(vms["k"], new)
    assert talks(vms["a"], new)
