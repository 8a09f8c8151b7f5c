"""A whole Neutron, its stock agents, real leaves and `isthmus run` as processes of their own: who talks with whom."""

from __future__ import annotations

import time

import pytest

from lab.netns.capture import Capture
from lab.netns.frames import vxlan
from lab.netns.leaf import LAG_MS
from lab.netns.stage import until
from lab.openstack import dhcp
from lab.openstack.racks import spine_of
from lab.openstack.site import KVM, Site

pytestmark = [pytest.mark.openstack, pytest.mark.live, pytest.mark.timeout(300)]
SUBNET = "10.0.0.0/24"


def test_a_port_is_bound_and_active_when_port_group_and_leaf_are_in_place(cloud: Site) -> None:
    network = cloud.network("first")
    port = cloud.rest.port(network, "compute-1")
    shown = cloud.rest.show("ports", port)
    assert shown["binding:vif_type"] == "dvs"
    assert cloud.group_of(shown) == "first (rack1)"
    assert until(lambda: cloud.rest.is_active(port), 30) is not None
    assert cloud.vni_of(network) in cloud.vnis_at("leaf1")
    assert cloud.vni_of(network) not in cloud.vnis_at("leaf2")


def test_vms_below_different_leaves_talk_with_a_vid_of_each_rack_for_one_vni(cloud: Site) -> None:
    network = cloud.network("red", SUBNET)
    a, b = cloud.vm("red-a", network, "esx1.lab"), cloud.vm("red-b", network, "esx3.lab")
    assert until(lambda: cloud.are_active(a, b), 60) is not None
    vids, vni = cloud.vids_of(network), cloud.vni_of(network)
    assert vids["rack1"] in range(101, 150)
    assert vids["rack2"] in range(201, 250)
    assert until(lambda: a.guest.reaches(b.address, 0.5), 30) is not None
    with Capture(spine_of(cloud.state)) as wire:
        assert a.guest.ping(b.address).all_answered
        assert a.guest.transfer(b.guest, b.address, 1 << 18).intact
        told = [found for heard in wire.heard() if (found := vxlan(heard.frame)) is not None]
    ours = [found for found in told if a.guest.mac in (found.inner.src, found.inner.dst)]
    assert len(ours) >= 10
    assert {(found.vni, found.inner.vid) for found in ours} == {(vni, None)}
    assert {str(found.local) for found in ours} == {"192.0.2.1", "192.0.2.2"}


def test_nobody_hears_another_network_with_the_same_addresses(cloud: Site) -> None:
    one, other = cloud.network("mine", SUBNET), cloud.network("theirs", SUBNET)
    a, b = cloud.vm("mine-a", one, "esx1.lab"), cloud.vm("mine-b", one, "esx3.lab")
    x, y = cloud.vm("theirs-x", other, "esx2.lab"), cloud.vm("theirs-y", other, "esx3.lab")
    k = cloud.vm("mine-k", one, KVM)
    assert until(lambda: cloud.are_active(a, b, x, y, k), 60) is not None
    for vm, peer in ((a, b), (x, y), (a, k)):
        assert until(lambda vm=vm, peer=peer: vm.guest.reaches(peer.address, 0.5), 30) is not None
        assert peer.guest.hears(vm.guest)
    for vm in (a, b, k):
        for stranger in (x, y):
            assert not vm.guest.hears(stranger.guest)
            assert not stranger.guest.hears(vm.guest)


def test_a_vm_on_the_kvm_host_and_vms_below_leaves_reach_each_other_one_by_one_and_all_at_once(cloud: Site) -> None:
    network = cloud.network("mixed", SUBNET)
    a, b, k = (cloud.vm(f"mixed-{host[:4]}", network, host) for host in ("esx1.lab", "esx3.lab", KVM))
    assert until(lambda: cloud.are_active(a, b, k), 60) is not None
    for vm in (a, b):
        assert until(lambda vm=vm: k.guest.reaches(vm.address, 0.5), 30) is not None
        assert vm.guest.ping(k.address).all_answered
        assert vm.guest.hears(k.guest)
        assert k.guest.hears(vm.guest)
    assert k.guest.transfer(b.guest, b.address, 1 << 18).intact


def test_the_network_node_gives_vms_below_leaves_their_addresses_and_routes_between_their_networks(cloud: Site) -> None:
    web, db = cloud.network("web", "10.0.1.0/24"), cloud.network("db", "10.0.2.0/24")
    a = cloud.vm("web-a", web, "esx1.lab", by_dhcp=True)
    b = cloud.vm("db-b", db, "esx3.lab", by_dhcp=True)
    cloud.rest.router("between", web, db)
    assert until(lambda: cloud.are_active(a, b), 60) is not None
    for vm in (a, b):
        assert dhcp.lease(vm.guest, cloud.state.directory) == vm.address
    assert until(lambda: a.guest.reaches(b.address, 0.5), 60) is not None
    assert a.guest.transfer(b.guest, b.address, 1 << 18).intact


def test_vmotion_inside_a_rack_loses_nothing_beyond_the_stun_and_changes_nothing_at_leaves(cloud: Site) -> None:
    network = cloud.network("moving", SUBNET)
    a, b, k = (cloud.vm(f"moving-{host[:4]}", network, host) for host in ("esx1.lab", "esx3.lab", KVM))
    assert until(lambda: cloud.are_active(a, b, k), 60) is not None
    assert until(lambda: b.guest.reaches(a.address, 0.5) and k.guest.reaches(a.address, 0.5), 30) is not None
    assert until(lambda: cloud.isthmus.is_settled, 30) is not None
    before = {leaf: cloud.told(leaf) for leaf in cloud.leaves}
    for destination in ("esx2.lab", "esx1.lab"):
        pings = [peer.guest.keep_pinging(a.address) for peer in (b, k)]
        stun = cloud.migrate(a.guest.name, destination)
        time.sleep(1)
        # One every 10 ms; it is not isthmus that the leaf waits for.
        assert max(ping.stop().lost_beyond([stun]) for ping in pings) <= LAG_MS / 10 + 2
    assert until(lambda: cloud.isthmus.is_settled, 30) is not None
    assert {leaf: cloud.told(leaf) for leaf in cloud.leaves} == before


def test_the_last_vm_of_a_network_leaves_nothing_behind(cloud: Site) -> None:
    network = cloud.network("passing", SUBNET)
    vni = cloud.vni_of(network)
    vms = [cloud.vm(f"passing-{host[:4]}", network, host) for host in ("esx1.lab", "esx3.lab")]
    assert until(lambda: cloud.are_active(*vms), 60) is not None
    for vm in vms:
        cloud.delete(vm)
    cloud.rest.delete("networks", network)
    assert until(lambda: not any(name.startswith("passing") for name in cloud.admin.port_group_names()), 60) is not None
    assert until(lambda: vni not in cloud.vnis_at("leaf1") | cloud.vnis_at("leaf2"), 30) is not None
    for leaf in cloud.leaves:
        assert all(vm.guest.mac not in cloud.told(leaf) for vm in vms)
