"""What `make demo-vds` shows of changes: VMs that move, parts that end and come again, meddling hands, a deletion."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from lab.netns.leaf import LAG_MS
from lab.netns.showing import Shown
from lab.netns.stage import listed, took, until
from lab.openstack.machines import OVS_AGENT
from lab.openstack.scene import ESX1, ESX2, ESX3, Scene
from lab.openstack.site import KVM

SLACK = 2
"""Pings that may be under way in either direction when the VM is stunned."""


def vmotion(scene: Scene) -> Iterator[Shown]:
    """vMotions inside a rack under a ping every 10 ms, from below another leaf and from KVM; Neutron hears nothing."""
    site, address = scene.site, scene.vms["red-a"].address
    until(lambda: site.isthmus.is_settled, 30)
    before = scene.told()
    for destination in (ESX2, ESX1):
        running = [scene.guest(name).keep_pinging(address) for name in ("red-b", "red-k")]
        time.sleep(0.2)
        stun = site.migrate("red-a", destination)
        time.sleep(0.7)
        results = [ping.stop() for ping in running]
        beyond = [result.lost_beyond([stun]) for result in results]
        yield Shown(
            f"vMotion to {destination}",
            max(beyond) <= LAG_MS / 10 + SLACK and all(result.received for result in results),
            f"stunned for {stun.seconds * 1000:.0f} ms; lost {_and(result.lost for result in results)} pings, "
            f"{_and(beyond)} beyond the stun; the leaf itself may take {LAG_MS} ms to look",
        )
    until(lambda: site.isthmus.is_settled, 30)
    yield Shown("no leaf was told anything", scene.told() == before, "databases as before")


def killed(scene: Scene) -> Iterator[Shown]:
    """isthmus killed with SIGKILL, under a ping every 10 ms, and started again."""
    site = scene.site
    running = [scene.guest("red-a").keep_pinging(scene.vms["red-b"].address)]
    running.append(scene.guest("red-k").keep_pinging(scene.vms["red-a"].address))
    site.isthmus.kill()
    scene.network("late", "10.0.8.0/24")
    port = site.rest.port(scene.networks["late"], "compute-2")
    failed = site.rest.show("ports", port)["binding:vif_type"]
    site.isthmus.start()
    bound = until(lambda: site.rest.is_active(port), 60)
    results = [ping.stop() for ping in running]
    yield Shown(
        "without isthmus traffic flows", all(result.all_answered for result in results), _and(map(str, results))
    )
    yield Shown(
        "a port made meanwhile is bound by itself afterwards",
        failed == "binding_failed" and bound is not None,
        f"{failed}, then ACTIVE {took(bound)}",
    )
    site.rest.delete("ports", port)


def agent_anew(scene: Scene) -> Iterator[Shown]:
    """The KVM host's Open vSwitch agent killed, its tunnels gone with it, and started again."""
    machine = scene.site.machines[KVM]
    machine.kill(OVS_AGENT)
    machine.ovs.vsctl("del-br", "br-tun")
    cut = scene.guest("red-k").ping(scene.vms["red-a"].address, patience=0.3)
    machine.start(OVS_AGENT)
    reached = scene.talks("red-k", "red-a", 90)
    others = scene.talks("red-k", "red-b")
    yield Shown(
        "it is told again who is behind the leaves",
        cut.none_answered and reached is not None and others is not None,
        f"without tunnels {cut}; then reached leaf1's VM {took(reached)}, leaf2's {took(others)}",
    )
    heard = scene.guest("red-a").hears(scene.guest("red-k"))
    yield Shown("and its broadcasts arrive", heard, f"heard below leaf1: {heard}")


def meddling(scene: Scene) -> Iterator[Shown]:
    """A mapping taken from a leaf by hand."""
    site = scene.site
    vid = site.vids_of(scene.networks["red"])["rack2"]
    site.leaves["leaf2"].ctl("unbind-ls", "leaf2", "swp1", str(vid))
    healed = until(lambda: f"{vid:04d} " in site.leaves["leaf2"].ctl("list-bindings", "leaf2", "swp1"), 30)
    talks = scene.talks("red-a", "red-b", 20)
    yield Shown(
        "it is put back",
        healed is not None and talks is not None,
        f"VID {vid} mapped again {took(healed)}; its VM answers: {talks is not None}",
    )


def cold_move(scene: Scene) -> Iterator[Shown]:
    """A VM moved to another rack by Nova while it is off."""
    site, vids = scene.site, scene.site.vids_of(scene.networks["blue"])
    scene.vms["blue-x"] = site.move_cold(scene.vms["blue-x"], ESX3)
    active, vid = scene.active("blue-x"), site.admin.vid_of("blue-x")
    reached = scene.talks("blue-y", "blue-x")
    yield Shown(
        "it talks there, in the other rack's VLAN",
        active is not None and reached is not None and vid == vids["rack2"],
        f"VID {vids['rack1']} became {vid}; ACTIVE {took(active)}, first answer {took(reached)}",
    )
    gone = until(lambda: scene.vni("blue") not in site.vnis_at("leaf1"), 60)
    left = {name for name in site.admin.port_group_names() if name == "blue (rack1)"}
    yield Shown(
        "the rack that it left forgets the network",
        gone is not None and not left,
        f"leaf1 {took(gone)}, {listed(left)} left",
    )


def deletion(scene: Scene) -> Iterator[Shown]:
    """A network deleted with its VMs, and what is left of it."""
    site, vni = scene.site, scene.vni("blue")
    macs = {scene.guest(name).mac for name in ("blue-x", "blue-y")}
    for name in ("blue-x", "blue-y"):
        site.delete(scene.vms.pop(name))
    site.rest.delete("networks", scene.networks["blue"])
    groups = until(lambda: not any(name.startswith("blue ") for name in site.admin.port_group_names()), 60)
    yield Shown("its port groups go", groups is not None, took(groups))
    leaves = until(lambda: vni not in site.vnis_at("leaf1") | site.vnis_at("leaf2"), 60)
    known = {mac for mac in macs for told in scene.told().values() if mac in told}
    yield Shown(
        "its mappings go", leaves is not None and not known, f"{took(leaves)}; its MACs at leaves: {listed(known)}"
    )
    pings = scene.guest("red-a").ping(scene.vms["red-b"].address)
    yield Shown("its neighbour is untouched", pings.all_answered, str(pings))


def _and(values: Iterable[object]) -> str:
    return " and ".join(map(str, values))
