"""What `make demo-ovsvapp` shows of `ovsvapp-port`: Neutron's own agent on each appliance, a VID for each VM NIC."""

from __future__ import annotations

from collections.abc import Iterator

from lab.netns import frames
from lab.netns.control import Stunned
from lab.netns.showing import Shown
from lab.netns.stage import listed, took, until
from lab.openstack.live_move import LiveMove
from lab.openstack.machines import KINDS, OVS_AGENT
from lab.openstack.plugged import COMPUTES, OnAppliance
from lab.openstack.product import AGENT_TYPE
from lab.openstack.scene import ESX1, ESX2, Scene
from lab.openstack.show_changes import told_lost, under_ping
from lab.openstack.site import KVM
from lab.openstack.unallowed import says_to_be

UNHEARD = 2.0
"""Seconds after which what was not heard is not coming."""
MOVED, MOVED_MS = 6.0, 3000
"""Seconds that a move is watched, and what may be lost of it beyond the stun: Neutron tells the others where it is."""
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


def kvm(scene: Scene) -> Iterator[Shown]:
    """A VM on a KVM host with the same agent, in the same network and group."""
    scene.vm("red-k", "red", KVM, security_groups=[scene.groups["icmp only"]])
    scene.active("red-k")
    k, a = scene.guest("red-k"), scene.guest("red-a")
    reached, back = scene.talks("red-k", "red-a"), scene.talks("red-a", "red-k")
    yield Shown(
        "it reaches an ESXi host's, and is reached", None not in (reached, back), f"{took(reached)}, {took(back)}"
    )
    there, here = a.hears(k), k.hears(a)
    yield Shown("each hears the other's broadcasts", there and here, f"on ESXi: {there}, on KVM: {here}")


def live_move(scene: Scene) -> Iterator[Shown]:
    """A VM moved alive to the other host as Nova does it, under a ping every 10 ms from its old host and from KVM."""
    move = LiveMove(scene.site, scene.vms["red-b"], scene.networks["red"], *COMPUTES)
    binding = move.bind()
    move.announce()

    def there() -> Stunned:
        stun = move.go(ESX2, binding)
        move.arrived()
        return stun

    stun, results = under_ping(scene, there, "red-b", ("red-a", "red-k"), after=MOVED)
    lost = max(result.lost_beyond([stun]) for result in results)
    yield Shown("it goes on there", lost * 10 <= MOVED_MS, told_lost(stun, results))
    bindings = scene.site.rest.bindings(move.vm.port)
    talks = scene.talks("red-a", "red-b")
    yield Shown(
        "its binding there is the only one", bindings == {"compute-2": "ACTIVE"} and talks is not None, str(bindings)
    )


def agent_dies(scene: Scene) -> Iterator[Shown]:
    """The agent of an appliance killed with SIGKILL, and started again."""
    site, agent = scene.site, scene.site.machines["compute-1"]
    ping = scene.guest("red-k").keep_pinging(scene.vms["red-a"].address)
    agent.kill(OVS_AGENT)
    shown = until(lambda: "is not connected to br-int" in site.isthmus.ask("show", "conditions").stdout, 30)
    pings = ping.stop()
    yield Shown("isthmus shows it", shown is not None, took(shown))
    yield Shown("what it has wired goes on", pings.all_answered, str(pings))
    agent.start(OVS_AGENT)
    gone = until(lambda: "is not connected" not in site.isthmus.ask("show", "conditions").stdout, 60)
    yield Shown("and when it is back isthmus says no more of it", gone is not None, took(gone))


def reboot(scene: Scene) -> Iterator[Shown]:
    """An appliance reboots while a VM there says to be at an address that is not its own."""
    rebooted = scene.site.machines["compute-1"]
    assert isinstance(rebooted, OnAppliance)
    scene.vm("red-d", "red", ESX1, security_groups=[scene.groups["icmp only"]])
    scene.active("red-d")
    scene.talks("red-d", "red-a")
    with says_to_be("10.0.0.250", scene.guest("red-a"), scene.guest("red-d")) as heard:
        rebooted.reboot()
        reached = [scene.talks(name, "red-a", 120) for name in ("red-k", "red-d")]
    yield Shown("its VMs are back", None not in reached, "; ".join(map(took, reached)))
    yield Shown("no frame passed that no rule allows", not heard.times and heard.sent > 0, str(heard))
