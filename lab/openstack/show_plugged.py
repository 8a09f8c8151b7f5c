"""What `make demo-ovsvapp` shows of `ovsvapp-port`: Neutron's own agent on each appliance, a VID for each VM NIC."""

from __future__ import annotations

from collections.abc import Iterator

from lab.netns import frames
from lab.netns.showing import Shown
from lab.netns.stage import listed, took, until
from lab.openstack.machines import KINDS, OVS_AGENT
from lab.openstack.plugged import COMPUTES
from lab.openstack.product import AGENT_TYPE
from lab.openstack.scene import ESX1, ESX2, Scene

UNHEARD = 2.0
"""Seconds after which what was not heard is not coming."""
WHERE = {"red-a": ESX1, "red-b": ESX1, "red-c": ESX2}


def reports(scene: Scene) -> Iterator[Shown]:
    """The same Neutron, with its stock Open vSwitch agent on the appliance of each of two ESXi hosts."""
    agents = scene.site.rest.agents()
    hosts = {rack.compute for rack in COMPUTES}
    for kind in (KINDS[OVS_AGENT], AGENT_TYPE):
        alive = {host for host, its in agents if its == kind and host in hosts}
        yield Shown(f"each host has an agent '{kind}'", alive == hosts, listed(alive))


def ports(scene: Scene) -> Iterator[Shown]:
    """Three VMs of one network, two of them on one host, in a security group that allows ICMP alone."""
    site = scene.site
    scene.network("red")
    group = scene.groups["icmp only"] = site.rest.security_group("icmp only", protocol="icmp", ethertype="IPv4")
    for name, host in WHERE.items():
        scene.vm(name, "red", host, security_groups=[group])
    active = scene.active(*WHERE)
    vids = {name: site.admin.vid_of(name) for name in WHERE}
    yield Shown("ports are ACTIVE when the agents have wired them", active is not None, took(active))
    low, high = COMPUTES[0].vids
    own = all(vid is not None and low <= vid <= high for vid in vids.values()) and vids["red-a"] != vids["red-b"]
    yield Shown("each VM's port has a VID of its own", own, listed({f"{name} {vid}" for name, vid in vids.items()}))
    for name, where in (("red-b", "one host"), ("red-c", "two hosts")):
        reached = scene.talks("red-a", name)
        yield Shown(f"VMs on {where} talk", reached is not None, took(reached))


def micro_segmentation(scene: Scene) -> Iterator[Shown]:
    """What two VMs on one host, in one network, may say to each other."""
    a, b = scene.guest("red-a"), scene.guest("red-b")
    there, elsewhere = scene.vms["red-b"].address, scene.vms["red-c"].address
    refused = a.connects(b, there, UNHEARD), a.connects(scene.guest("red-c"), elsewhere, UNHEARD)
    yield Shown(
        "the group lets no TCP in, on the same host or another", refused == (False, False), f"connected: {refused}"
    )
    any_port = {"port_range_min": 7000, "port_range_max": 7000}
    scene.site.rest.allow(scene.groups["icmp only"], protocol="tcp", ethertype="IPv4", **any_port)
    opened = until(lambda: a.connects(b, there, UNHEARD), 30)
    sent = a.transfer(b, there, 1 << 18)
    yield Shown("a rule opens it", sent.intact, f"{took(opened)}, {sent.received} bytes")
    for address, what, passes in ((scene.vms["red-a"].address, "its own", True), ("10.0.0.250", "another's", False)):
        heard = b.gets(frames.gratuitous_arp(a.mac, address), a, UNHEARD)
        yield Shown(
            f"from {what} address a VM is {'' if passes else 'not '}heard on its own host", heard == passes,
            f"{address}: heard {heard}",
        )  # fmt: skip
