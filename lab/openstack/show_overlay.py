"""What `make demo-ovsvapp` shows: a whole Neutron, and ESXi hosts with an Open vSwitch appliance each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address
from typing import Any

from lab.netns import frames
from lab.netns.capture import Capture
from lab.netns.control import Stunned
from lab.netns.ping import PingResult
from lab.netns.showing import Shown
from lab.netns.stage import listed, took, until
from lab.netns.world import underlay_of
from lab.openstack import dhcp
from lab.openstack.live_move import LiveMove
from lab.openstack.machines import EXTERNAL, OUTSIDE, OVS_AGENT
from lab.openstack.overlaid import CLUSTERS, LAYOUT, flows_at
from lab.openstack.product import AGENT_TYPE, APPLIANCE_TYPE
from lab.openstack.scene import ESX1, ESX2, ESX3, Scene
from lab.openstack.show_changes import SLACK, joined, told_lost, under_ping, vmotion_of_red_a
from lab.openstack.site import KVM, NETWORK_NODE

TOLD = 2.0
"""Seconds after a stun in which everybody knows the way; most of it is for crowded processors."""
ALONE = {ESX1: "the same host", ESX3: "another host"}


def reports(scene: Scene) -> Iterator[Shown]:
    """Neutron with MariaDB and RabbitMQ, and who reports to it."""
    agents = scene.site.rest.agents()
    ours = {host for host, kind in agents if kind == APPLIANCE_TYPE}
    yield Shown("each ESXi host with an appliance is a Neutron agent", ours == set(LAYOUT.hosts), listed(ours))
    clusters = {host for host, kind in agents if kind == AGENT_TYPE}
    named = {cluster.compute for cluster in CLUSTERS}
    yield Shown("and so is Nova's host for each cluster", clusters == named, listed(clusters))
    stock = {f"{kind} on {host}" for host, kind in agents if kind not in (AGENT_TYPE, APPLIANCE_TYPE)}
    yield Shown("Neutron's stock agents are alive", len(stock) == 4, listed(stock))


def first_network(scene: Scene) -> Iterator[Shown]:
    """A VXLAN network of Neutron becomes one port group, closed and without a VLAN."""
    site = scene.site
    scene.network("red", secured=False)  # who hears whom is not port security's doing
    scene.network("blue", secured=False)
    before = site.admin.port_group_names()
    port = site.rest.port(scene.networks["red"], CLUSTERS[0].compute)
    made = site.admin.port_group_names() - before
    shown = site.rest.show("ports", port)
    settings = site.admin.port_group("red").config.defaultPortConfig
    yield Shown(
        "there when Neutron's port is bound to it",
        made == {"red"} and site.group_of(shown) == "red" and settings.blocked.value and settings.vlan.vlanId == 0,
        f"{listed(made)}, blocked {settings.blocked.value}, VLAN {settings.vlan.vlanId}, port {shown['status']}",
    )
    site.rest.delete("ports", port)
    for name, host in (("red-a", ESX1), ("red-b", ESX3), ("red-c", ESX1)):
        scene.vm(name, "red", host)
    active = scene.active("red-a", "red-b", "red-c")
    yield Shown("ports are ACTIVE when their VMs are wired", active is not None, took(active))
    for name, host in (("red-c", ESX1), ("red-b", ESX3)):
        reached = scene.talks("red-a", name)
        yield Shown(f"VMs on {ALONE[host]} talk", reached is not None, took(reached))


def across_hosts(scene: Scene) -> Iterator[Shown]:
    """Frames between two hosts, as the underlay sees them."""
    a, b, c = (scene.vms[name] for name in ("red-a", "red-b", "red-c"))
    with Capture(underlay_of(scene.site.state)) as wire:
        pings = a.guest.ping(b.address, count=20)
        sent = a.guest.transfer(b.guest, b.address, 1 << 20)
        beside = a.guest.ping(c.address, count=20)
        found = [vxlan for heard in wire.heard() if (vxlan := frames.vxlan(heard.frame))]
    across = [one for one in found if a.guest.mac in (one.inner.src, one.inner.dst)]
    yield Shown("cross-host ping", pings.all_answered, str(pings))
    yield Shown(
        "cross-host TCP", sent.intact, f"{sent.received} bytes in {sent.seconds:.2f} s, unharmed: {sent.intact}"
    )
    vnis, tags = {one.vni for one in across}, {one.inner.vid for one in across}
    yield Shown(
        "on the underlay the frames carry the VNI and no inner tag",
        len(across) >= 40 and vnis == {scene.vni("red")} and tags == {None},
        f"{len(across)} VXLAN frames, VNI {listed(vnis)}, inner tag {listed(tags)}",
    )
    strayed = [one for one in found if {one.inner.src, one.inner.dst} == {a.guest.mac, c.guest.mac}]
    yield Shown(
        "what is said on one host does not leave it",
        beside.all_answered and not strayed,
        f"{beside}; {len(strayed)} of it on the underlay",
    )


def security(scene: Scene) -> Iterator[Shown]:
    """A secured port, and whom it says to be."""
    scene.network("green", "10.0.7.0/24")
    one, other = scene.vm("green-a", "green", ESX1), scene.vm("green-b", "green", ESX3)
    ready = scene.active("green-a", "green-b") is not None and scene.talks("green-a", "green-b") is not None
    for address, what, passes in ((one.address, "its own address", True), ("10.0.7.250", "another's", False)):
        passed = other.guest.gets(frames.gratuitous_arp(one.guest.mac, address), one.guest, 2.0)
        yield Shown(
            f"from {what} it is {'' if passes else 'not '}heard on another host", ready and passed == passes,
            f"{address}: heard {passed}",
        )  # fmt: skip


def kvm(scene: Scene) -> Iterator[Shown]:
    """A VM on a KVM host with the stock Open vSwitch agent, in the same network."""
    scene.vm("red-k", "red", KVM)
    scene.active("red-k")
    k = scene.guest("red-k")
    for name in ("red-a", "red-b"):
        other = scene.guest(name)
        reached = scene.talks("red-k", name)
        yield Shown(
            f"it reaches {name}, and is reached",
            reached is not None and other.ping(scene.vms["red-k"].address).all_answered,
            f"first answer {took(reached)}",
        )
        there, back = other.hears(k), k.hears(other)
        yield Shown("each hears the other's broadcasts", there and back, f"on ESXi: {there}, on KVM: {back}")
    sent = k.transfer(scene.guest("red-b"), scene.vms["red-b"].address, 1 << 20)
    yield Shown("TCP between KVM and ESXi", sent.intact, f"{sent.received} bytes in {sent.seconds:.2f} s")


def network_node(scene: Scene) -> Iterator[Shown]:
    """A network node with the stock DHCP and L3 agents."""
    scene.network("red-db", "10.0.9.0/24")
    web, db = scene.vms["red-a"], scene.vm("db-a", "red-db", ESX3, by_dhcp=True)
    scene.active("db-a")
    for vm in (web, db):
        address = dhcp.lease(vm.guest, scene.site.state.directory)
        yield Shown(f"{vm.guest.name} gets its address from Neutron's DHCP agent", address == vm.address, f"{address}")
    router = scene.site.rest.router("red-router", scene.networks["red"], scene.networks["red-db"])
    reached = scene.talks("red-a", "db-a")
    pings = web.guest.ping(db.address)
    yield Shown("its router joins the two networks", pings.all_answered, f"first answer {took(reached)}, {pings}")
    yield from _outside(scene, router)


def _outside(scene: Scene, router: str) -> Iterator[Shown]:
    web, world = scene.guest("red-a"), scene.site.machines[NETWORK_NODE].outside
    address = scene.site.rest.lead_out(router, EXTERNAL, f"{OUTSIDE}/24")
    reached = until(lambda: web.reaches(OUTSIDE, 0.5), 60)
    with world.listen() as heard:
        pings = web.ping(OUTSIDE)
        sent = web.transfer(world, OUTSIDE, 1 << 20)
        packets = heard.frames(lambda frame: frame.ethertype == frames.ETH_IPV4)
    sources = {str(IPv4Address(packet.payload[12:16])) for packet in packets}
    yield Shown(
        "and leads to the world outside",
        pings.all_answered and sent.intact,
        f"first answer {took(reached)}, {pings}, {sent.received} bytes by TCP",
    )
    yield Shown("where a VM is known by its router's address", sources == {address}, listed(sources))


def vmotion(scene: Scene) -> Iterator[Shown]:
    """vMotion in a cluster, to the other and back, of which Neutron hears nothing, seen from ESXi and from KVM."""
    until(lambda: scene.site.isthmus.is_settled, 30)
    before = scene.site.rest.show("ports", scene.vms["red-a"].port)
    for destination in (ESX2, ESX3, ESX1):
        stun, results = vmotion_of_red_a(scene, destination, after=TOLD + 0.5)
        esxi, from_kvm = (result.lost_beyond([stun]) for result in results)
        yield Shown(
            f"vMotion to {destination}, seen from an ESXi host",
            esxi <= SLACK and all(result.received for result in results),
            told_lost(stun, results),
        )
        yield Shown(
            "and from KVM, whose agent is told where it is",
            _is_found(stun, results[1]),
            f"{from_kvm} pings beyond the stun, none {TOLD:.0f} s after it",
        )
    after = scene.site.rest.show("ports", scene.vms["red-a"].port)
    changed = {key for key, value in before.items() if after[key] != value}
    yield Shown("Neutron's port is as it was", not changed, f"changed: {listed(changed)}")


def between_clusters(scene: Scene) -> Iterator[Shown]:
    """A VM that Nova moves alive to the other cluster, and back: naming its port group anew gives it a new DV port."""
    site, vm = scene.site, scene.vms["red-a"]
    first, second = CLUSTERS
    for source, target, host in ((first, second, ESX3), (second, first, ESX1)):
        move = LiveMove(site, vm, scene.networks["red"], source, target)
        binding = move.bind()
        move.announce()
        stun, results = under_ping(
            scene, partial(_carried_out, move, host, binding), "red-a", ("red-b", "red-k"), after=TOLD + 0.5
        )
        yield Shown(
            f"to {host}, seen from an ESXi host and from KVM",
            all(_is_found(stun, result) for result in results),
            f"{told_lost(stun, results)}, none {TOLD:.0f} s after it",
        )
        active, bound = scene.active("red-a"), site.rest.bindings(vm.port)
        yield Shown(
            "its binding there is the only one",
            active is not None and bound == {target.compute: "ACTIVE"},
            f"{listed(set(bound))}, ACTIVE {took(active)}",
        )


def _carried_out(move: LiveMove, host: str, binding: Mapping[str, Any]) -> Stunned:
    stun = move.go(host, binding)
    move.arrived()
    return stun


def _is_found(stun: Stunned, result: PingResult) -> bool:
    """Whether all pings are answered that were sent when everybody had had time to hear of a move."""
    late = [echo for echo in result.echoes if echo.sent > (stun.ended or 0.0) + TOLD]
    return len(late) > 0 and all(echo.answered is not None for echo in late)


def agents_anew(scene: Scene) -> Iterator[Shown]:
    """The Open vSwitch agents of the KVM host and of the network node killed, their tunnels gone, and started again."""
    scene.site.migrate("red-a", ESX2)
    for name in (KVM, NETWORK_NODE):
        machine = scene.site.machines[name]
        machine.kill(OVS_AGENT)
        machine.ovs.vsctl("del-br", "br-tun")
    cut = scene.guest("red-k").ping(scene.vms["red-a"].address, patience=0.3)
    for name in (KVM, NETWORK_NODE):
        scene.site.machines[name].start(OVS_AGENT)
    reached = scene.talks("red-k", "red-a", 90)
    others = scene.talks("red-k", "red-b")
    yield Shown(
        "the KVM host is told again where each VM is, also one that has moved",
        cut.none_answered and reached is not None and others is not None,
        f"without tunnels {cut}; then first answers {took(reached)} and {took(others)}",
    )
    routed = scene.talks("red-a", "db-a", 90)
    yield Shown("the network node routes again", routed is not None, took(routed))
    scene.site.migrate("red-a", ESX1)


def killed(scene: Scene) -> Iterator[Shown]:
    """isthmus killed with SIGKILL, under a ping every 10 ms, and started again; a VM moves meanwhile."""
    site = scene.site
    running = [scene.guest("red-k").keep_pinging(scene.vms["red-b"].address)]
    running.append(scene.guest("red-a").keep_pinging(scene.vms["red-b"].address))
    site.isthmus.kill()
    site.migrate("red-c", ESX2)
    site.isthmus.start()
    settled = until(lambda: site.isthmus.is_settled, 60)
    results = [ping.stop() for ping in running]
    yield Shown("without isthmus traffic flows", all(r.all_answered for r in results), joined(map(str, results)))
    reached = scene.talks("red-a", "red-c"), scene.talks("red-k", "red-c")
    yield Shown(
        "who moved meanwhile is found where he is",
        settled is not None and None not in reached,
        f"settled {took(settled)}; from ESXi {took(reached[0])}, from KVM {took(reached[1])}",
    )


def powered_off(scene: Scene) -> Iterator[Shown]:
    """A VM switched off and on, as Neutron sees it."""
    site, vm = scene.site, scene.vms["red-c"]
    site.admin.power_off("red-c")
    down = until(lambda: site.rest.show("ports", vm.port)["status"] == "DOWN", 30)
    yield Shown("its port is DOWN", down is not None, took(down))
    site.admin.power_on("red-c")
    vm.guest.set_addresses(f"{vm.address}/24")
    active, reached = scene.active("red-c"), scene.talks("red-k", "red-c")
    yield Shown(
        "and ACTIVE again, and it talks",
        active is not None and reached is not None,
        f"ACTIVE {took(active)}, first answer from KVM {took(reached)}",
    )


def deletion(scene: Scene) -> Iterator[Shown]:
    """A network deleted with its VMs, and what is left of it."""
    site, vni = scene.site, scene.vni("blue")
    macs = {scene.guest(name).mac for name in ("blue-x", "blue-y")}
    for name in ("blue-x", "blue-y"):
        site.delete(scene.vms.pop(name))
    site.rest.delete("networks", scene.networks["blue"])
    groups = until(lambda: "blue" not in site.admin.port_group_names(), 60)
    yield Shown("its port group goes", groups is not None, took(groups))
    gone = until(lambda: not _flows_of(scene, vni, macs), 30)
    yield Shown("its flows go", gone is not None, took(gone))
    pings = scene.guest("red-a").ping(scene.vms["red-b"].address)
    yield Shown("its neighbour is untouched", pings.all_answered, str(pings))


def _flows_of(scene: Scene, vni: int, macs: set[str]) -> list[str]:
    """The flows that name the VNI or one of the MACs, at any appliance."""
    named = {f"0x{vni:x}", *macs}
    lines = [line for host in LAYOUT.hosts for line in flows_at(scene.site.state, host)]
    return [line for line in lines if any(name in line for name in named)]
