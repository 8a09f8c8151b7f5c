"""Neutron's own Open vSwitch agent on the appliances of ESXi hosts: who may say what to whom, on one host and two."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from lab.netns.frames import ETH_IPV4, Frame, checksum, gratuitous_arp
from lab.netns.stage import until
from lab.openstack import preflight
from lab.openstack.live_move import LiveMove
from lab.openstack.machines import OVS_AGENT
from lab.openstack.plugged import COMPUTES, plugged_site
from lab.openstack.site import KVM, Site, Vm
from tests.cloud.talking import talks

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(600)]

ESX1, ESX2 = "esx1.lab", "esx2.lab"
SUBNET = "10.0.0.0/24"
UNHEARD = 2.0
"""Seconds after which a frame that was not heard is not coming."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if advice := preflight.missing():
        pytest.skip("; ".join(advice))
    with plugged_site(f"p{os.getpid()}") as made:
        yield made
        print(made.logs())


@pytest.fixture(scope="module")
def icmp_only(site: Site) -> str:
    """A security group that lets in ICMP alone."""
    return site.rest.security_group("icmp only", protocol="icmp", ethertype="IPv4")


@pytest.fixture(scope="module")
def three(site: Site, icmp_only: str) -> dict[str, Vm]:
    """Two VMs of one network on one host, and a third on another, all in the group."""
    red = site.network("red", SUBNET)
    where = {"a": ESX1, "b": ESX1, "c": ESX2}
    made = {name: site.vm(f"red-{name}", red, host, security_groups=[icmp_only]) for name, host in where.items()}
    assert until(lambda: site.are_active(*made.values()), 60) is not None, site.logs()
    return made


def takes_tcp(one: Vm, other: Vm) -> bool:
    """Whether a connection is accepted within a few seconds."""
    return one.guest.connects(other.guest, other.address, UNHEARD)


def echo_request(speaker: Vm, to: Vm, source: str) -> Frame:
    """A ping by who says to be at `source`."""
    icmp = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
    ends = IPv4Address(source).packed + IPv4Address(to.address).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0) + ends
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return Frame(to.guest.mac, speaker.guest.mac, ETH_IPV4, head + icmp + bytes(18))


def is_at(speaker: Vm, address: str) -> Frame:
    """It says to all to be at an address."""
    return gratuitous_arp(speaker.guest.mac, address)


def test_each_port_of_a_host_has_a_vid_of_its_own_and_is_open_when_the_agent_has_wired_it(
    site: Site, three: dict[str, Vm]
) -> None:
    vids = [site.admin.vid_of(vm.guest.name) for vm in three.values()]
    assert (
        until(lambda: all(site.admin.vid_of(vm.guest.name) in range(101, 150) for vm in three.values()), 30) is not None
    )
    vids = [site.admin.vid_of(vm.guest.name) for vm in three.values()]
    assert len(set(vids)) == 3
    shown = site.rest.show("ports", three["a"].port)
    assert (shown["binding:vif_type"], shown["binding:vif_details"]["port_filter"]) == ("dvs", True)


def test_vms_of_one_network_talk_on_one_host_and_between_hosts(three: dict[str, Vm]) -> None:
    assert talks(three["a"], three["b"])
    assert talks(three["a"], three["c"])
    assert three["b"].guest.ping(three["c"].address, count=20).all_answered


def test_a_group_that_allows_icmp_keeps_tcp_from_a_vm_on_the_same_host_until_a_rule_allows_it(
    site: Site, three: dict[str, Vm], icmp_only: str
) -> None:
    a, b, c = three["a"], three["b"], three["c"]
    assert talks(a, b)
    assert not takes_tcp(a, b)
    assert not takes_tcp(a, c)
    site.rest.allow(icmp_only, protocol="tcp", ethertype="IPv4", port_range_min=7000, port_range_max=7000)
    assert until(lambda: takes_tcp(a, b), 20) is not None
    assert until(lambda: takes_tcp(a, c), 20) is not None
    assert a.guest.transfer(b.guest, b.address, 1 << 18).intact


def test_a_foreign_source_address_is_dropped_on_the_same_host(three: dict[str, Vm]) -> None:
    a, b = three["a"], three["b"]
    assert talks(a, b)
    assert b.guest.gets(is_at(a, a.address), a.guest, UNHEARD)
    assert not b.guest.gets(is_at(a, "10.0.0.250"), a.guest, UNHEARD)
    assert b.guest.gets(echo_request(a, b, a.address), a.guest, UNHEARD)
    assert not b.guest.gets(echo_request(a, b, "10.0.0.250"), a.guest, UNHEARD)


def test_a_vm_on_a_kvm_host_and_vms_on_esxi_reach_each_other(site: Site, icmp_only: str) -> None:
    blue = site.network("blue", "10.0.1.0/24")
    a = site.vm("blue-a", blue, ESX1, security_groups=[icmp_only])
    k = site.vm("blue-k", blue, KVM, security_groups=[icmp_only])
    assert until(lambda: site.are_active(a, k), 60) is not None
    assert talks(k, a)
    assert a.guest.ping(k.address).all_answered


def test_nobody_hears_another_network_with_the_same_addresses(site: Site, icmp_only: str, three: dict[str, Vm]) -> None:
    mine = site.network("theirs", SUBNET)
    x, y = (site.vm(f"theirs-{host[:4]}", mine, host, security_groups=[icmp_only]) for host in (ESX1, ESX2))
    assert until(lambda: site.are_active(x, y), 60) is not None
    assert talks(x, y)
    for one in (x, y):
        for other in three.values():
            assert not other.guest.gets(is_at(one, one.address), one.guest, UNHEARD)
            assert not one.guest.gets(is_at(other, other.address), other.guest, UNHEARD)


def test_a_vm_that_is_switched_off_and_on_is_wired_anew(site: Site, three: dict[str, Vm]) -> None:
    c = three["c"]
    site.admin.power_off(c.guest.name)
    assert until(lambda: site.rest.show("ports", c.port)["status"] == "DOWN", 30) is not None
    site.admin.power_on(c.guest.name)
    c.guest.set_addresses(f"{c.address}/24")
    assert until(lambda: site.are_active(c), 30) is not None
    assert talks(three["a"], c)


def plugged_at(site: Site, compute: str, vm: Vm) -> bool:
    """The appliance of that host has the port."""
    return vm.port[:11] in site.machines[compute].ovs.vsctl("list-ports", "br-vds")


def test_a_vm_that_is_moved_alive_to_another_host_is_wired_there_and_nowhere_else(
    site: Site, three: dict[str, Vm], icmp_only: str
) -> None:
    green = site.network("green", "10.0.2.0/24")
    mover, peer = (site.vm(f"green-{name}", green, ESX1, security_groups=[icmp_only]) for name in "mp")
    assert until(lambda: site.are_active(mover, peer), 60) is not None
    assert talks(mover, peer)
    move = LiveMove(site, mover, green, *COMPUTES)
    binding = move.bind()
    move.announce()
    ping = peer.guest.keep_pinging(mover.address)
    stun = move.go(ESX2, binding)
    move.arrived()
    assert until(lambda: site.rest.bindings(mover.port) == {"compute-2": "ACTIVE"}, 10) is not None
    assert until(lambda: site.are_active(mover), 30) is not None
    assert (
        until(lambda: plugged_at(site, "compute-2", mover) and not plugged_at(site, "compute-1", mover), 30) is not None
    )
    assert talks(peer, mover)
    pings = ping.stop()
    print(f"live move: {pings}, beyond the stun {pings.lost_beyond([stun])}")


def test_a_dead_agent_is_shown_and_what_it_wired_goes_on(site: Site, three: dict[str, Vm], icmp_only: str) -> None:
    agent = site.machines["compute-1"]
    agent.kill(OVS_AGENT)
    assert until(lambda: "is not connected to br-int" in site.isthmus.ask("show", "conditions").stdout, 30) is not None
    assert three["a"].guest.ping(three["b"].address).all_answered
    assert three["a"].guest.ping(three["c"].address).all_answered
    agent.start(OVS_AGENT)
    site.await_agents({("compute-1", "Open vSwitch agent")})
    assert until(lambda: "is not connected" not in site.isthmus.ask("show", "conditions").stdout, 60) is not None
    assert talks(three["a"], three["b"])
