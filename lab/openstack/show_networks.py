"""What `make demo-vds` shows of networks: that they come up, who talks in them, and who does not hear it."""

from __future__ import annotations

from collections.abc import Iterator

from lab.netns import frames
from lab.netns.capture import Capture
from lab.netns.frames import BROADCAST, marked
from lab.netns.show_networks import who_hears
from lab.netns.showing import Shown
from lab.netns.stage import listed, took
from lab.openstack import dhcp
from lab.openstack.product import AGENT_TYPE
from lab.openstack.racks import spine_of
from lab.openstack.scene import ESX1, ESX2, ESX3, Scene
from lab.openstack.site import BELOW_A_LEAF, KVM


def reports(scene: Scene) -> Iterator[Shown]:
    """Neutron with MariaDB and RabbitMQ, and who reports to it; a vCenter with the switches that isthmus made there."""
    again = scene.site.isthmus.ask("prepare")
    yield Shown(
        "isthmus prepare made each rack's switch, and finds nothing left to do",
        again.returncode == 0,
        scene.site.prepared.strip().splitlines()[-1],
    )
    agents = scene.site.rest.agents()
    ours = {host for host, kind in agents if kind == AGENT_TYPE}
    yield Shown(
        "isthmus reports Nova's host for each rack, and a machine below a leaf",
        ours == {"compute-1", "compute-2", "compute-3", BELOW_A_LEAF},
        listed(ours),
    )
    stock = {f"{kind} on {host}" for host, kind in agents if kind != AGENT_TYPE}
    yield Shown("Neutron's stock agents are alive", len(stock) == 4, listed(stock))


def first_network(scene: Scene) -> Iterator[Shown]:
    """A VXLAN network of Neutron becomes a port group in each rack, with a VLAN of that rack's."""
    site = scene.site
    scene.network("red")
    a = scene.vm("red-a", "red", ESX1)
    scene.vm("red-b", "red", ESX3)
    shown = site.rest.show("ports", a.port)
    details = shown["binding:vif_details"]
    yield Shown(
        "Neutron's port names its port group",
        shown["binding:vif_type"] == "dvs" and site.group_of(shown) == "red (rack1)",
        f"{site.group_of(shown)!r}, key {details['pg_id']}, levels {' and '.join(details['bound_drivers'].values())}",
    )
    active = scene.active("red-a", "red-b")
    yield Shown("ports are ACTIVE when port group and leaf are in place", active is not None, took(active))
    vids, vni = site.vids_of(scene.networks["red"]), scene.vni("red")
    yield Shown(
        "two racks wear different VIDs for one VNI",
        len(vids) == 2 and len(set(vids.values())) == 2,
        f"VNI {vni} is " + " and ".join(f"VID {vid} in {rack}" for rack, vid in sorted(vids.items())),
    )
    reached = scene.talks("red-a", "red-b")
    yield Shown("VMs below different leaves talk", reached is not None, took(reached))
    told, groups = scene.told()["leaf1"], site.admin.port_group_names()
    scene.vm("red-c", "red", ESX2)
    second = scene.active("red-c")
    same = groups == site.admin.port_group_names() and bindings(told) == bindings(scene.told()["leaf1"])
    yield Shown(
        "another port on the same switch makes no port group and no mapping",
        second is not None and same,
        f"ACTIVE {took(second)}",
    )


def bindings(told: str) -> list[str]:
    """The lines of what a leaf was told that say which VLAN is which logical switch."""
    return [line for line in told.splitlines() if "swp" in line]


def across_leaves(scene: Scene) -> Iterator[Shown]:
    """Frames between two leaves, as the spine sees them."""
    a, b = scene.vms["red-a"], scene.vms["red-b"]
    with Capture(spine_of(scene.site.state)) as wire:
        pings = a.guest.ping(b.address, count=20)
        sent = a.guest.transfer(b.guest, b.address, 1 << 20)
        found = [
            vxlan
            for heard in wire.heard()
            if (vxlan := frames.vxlan(heard.frame)) and a.guest.mac in (vxlan.inner.src, vxlan.inner.dst)
        ]
    yield Shown("cross-leaf ping", pings.all_answered, str(pings))
    yield Shown(
        "cross-leaf TCP", sent.intact, f"{sent.received} bytes in {sent.seconds:.2f} s, unharmed: {sent.intact}"
    )
    vnis, tags = {vxlan.vni for vxlan in found}, {vxlan.inner.vid for vxlan in found}
    yield Shown(
        "on the spine the frames carry the VNI and no inner tag",
        len(found) >= 40 and vnis == {scene.vni("red")} and tags == {None},
        f"{len(found)} VXLAN frames, VNI {listed(vnis)}, inner tag {listed(tags)}",
    )


def isolation(scene: Scene) -> Iterator[Shown]:
    """Tenant blue with the same addresses, and who of tenant red hears it."""
    if "blue" not in scene.networks:
        scene.network("blue")
    x, y = scene.vm("blue-x", "blue", ESX1), scene.vm("blue-y", "blue", ESX3)
    talked = scene.active("blue-x", "blue-y") is not None and scene.talks("blue-x", "blue-y") is not None
    strangers = [scene.guest(name) for name in ("red-a", "red-b", "red-c")]
    guessed = [marked(x.guest.mac, stranger.mac, f"guessed {stranger.name}") for stranger in strangers]
    arp = frames.arp_request(x.guest.mac, x.address, scene.vms["red-b"].address)
    for what, sent, own_hears in (
        ("an ARP request", [arp], True),
        ("a broadcast", [marked(x.guest.mac, BROADCAST, "to all")], True),
        ("a unicast to the guessed MAC of each of its VMs", guessed, None),
    ):
        heard, own = who_hears(x.guest, sent, y.guest, strangers)
        yield Shown(
            f"tenant red does not hear tenant blue send {what}",
            talked and not heard and own_hears in (None, own),
            f"heard by {listed(heard)} of red's {len(strangers)} VMs"
            + (f", by blue's other VM: {own}" if own_hears else ""),
        )


def kvm(scene: Scene) -> Iterator[Shown]:
    """A VM on a KVM host with the stock Open vSwitch agent, in the same network."""
    scene.vm("red-k", "red", KVM)
    scene.active("red-k")
    k = scene.guest("red-k")
    for name, where in (("red-a", "leaf1"), ("red-b", "leaf2")):
        other = scene.guest(name)
        reached = scene.talks("red-k", name)
        yield Shown(
            f"the KVM host reaches a VM below {where}, and is reached",
            reached is not None and other.ping(scene.vms["red-k"].address).all_answered,
            f"first answer {took(reached)}",
        )
        there, back = other.hears(k), k.hears(other)
        yield Shown("each hears the other's broadcasts", there and back, f"below {where}: {there}, on KVM: {back}")
    sent = k.transfer(scene.guest("red-b"), scene.vms["red-b"].address, 1 << 20)
    yield Shown("TCP between KVM and ESXi", sent.intact, f"{sent.received} bytes in {sent.seconds:.2f} s")


def network_node(scene: Scene) -> Iterator[Shown]:
    """A network node with the stock DHCP and L3 agents, for VMs below leaves."""
    scene.network("red-db", "10.0.9.0/24")
    web, db = scene.vms["red-a"], scene.vm("db-a", "red-db", ESX3, by_dhcp=True)
    scene.active("db-a")
    for vm, where in ((web, "leaf1"), (db, "leaf2")):
        address = dhcp.lease(vm.guest, scene.site.state.directory)
        yield Shown(
            f"a VM below {where} gets its address from Neutron's DHCP agent", address == vm.address, f"{address}"
        )
    scene.site.rest.router("red-router", scene.networks["red"], scene.networks["red-db"])
    reached = scene.talks("red-a", "db-a")
    pings = web.guest.ping(db.address)
    yield Shown("its router joins the two networks", pings.all_answered, f"first answer {took(reached)}, {pings}")
