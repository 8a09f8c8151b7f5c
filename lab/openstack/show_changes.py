"""What `make demo-vds` shows of changes: VMs that move, parts that end and come again, meddling hands, a deletion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from lab.netns.control import Stunned
from lab.netns.leaf import LAG_MS
from lab.netns.ping import PingResult
from lab.netns.showing import Shown
from lab.netns.stage import listed, took, until
from lab.openstack.live_move import LiveMove
from lab.openstack.machines import OVS_AGENT
from lab.openstack.retiring import Left, forgotten
from lab.openstack.scene import ESX1, ESX2, ESX3, ESX4, Scene
from lab.openstack.site import KVM

T = TypeVar("T")
SLACK = 2
"""Pings that may be under way in either direction when the VM is stunned."""
TOLD_MS = 3000
"""In which another rack's leaf is told where a VM went on; vCenter says so some 200 ms after the fact.  When the leaf
does as it was told is its own affair: ovs-vtep looks once a second, and less often while the machine is busy."""


def control_run(scene: Scene) -> Iterator[Shown]:
    """Control run: vMotions inside a rack while isthmus stands still, by SIGSTOP."""
    until(lambda: scene.site.isthmus.is_settled, 30)
    with scene.site.isthmus.standing_still():
        for destination in (ESX2, ESX1):
            stun, results = vmotion_of_red_a(scene, destination)
            scene.control += [result.lost_beyond([stun]) for result in results]
            yield Shown(
                f"control run, vMotion to {destination}",
                all(result.received for result in results),
                told_lost(stun, results),
            )


def vmotion(scene: Scene) -> Iterator[Shown]:
    """The same with isthmus: a ping every 10 ms, from below another leaf and from KVM; Neutron hears nothing."""
    until(lambda: scene.site.isthmus.is_settled, 30)
    before = scene.told()
    for destination in (ESX2, ESX1):
        stun, results = vmotion_of_red_a(scene, destination)
        beyond = [result.lost_beyond([stun]) for result in results]
        yield Shown(
            f"vMotion to {destination}",
            max(beyond) <= LAG_MS / 10 + SLACK and all(result.received for result in results),
            f"{told_lost(stun, results)}; control run up to {max(scene.control, default=0)}: "
            f"the leaf itself may take {LAG_MS} ms to look",
        )
    until(lambda: scene.site.isthmus.is_settled, 30)
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
        "without isthmus traffic flows", all(result.all_answered for result in results), joined(map(str, results))
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
    scene.left.append(Left(site, scene.networks["blue"], site.rack_of(ESX1), vids["rack1"]))


def live_move(scene: Scene) -> Iterator[Shown]:
    """A VM moved to another rack alive, as a Nova would that takes the port group which is ready there."""
    site = scene.site
    move = _about_to_move(scene)
    reason = move.refused()
    yield Shown(
        "by default Neutron refuses the second binding, and its log says why",
        bool(reason) and site.rest.bindings(move.vm.port) == {"compute-1": "ACTIVE"},
        f"{reason}",
    )
    site.neutron.move_between_switches(True)
    binding, vid = move.bind(), move.vid(move.source)
    ready = until(move.is_ready)
    yield Shown(
        "with live_migration_between_switches port group and mapping are there before it is activated",
        ready is not None and site.rest.bindings(move.vm.port) == {"compute-1": "ACTIVE", "compute-2": "INACTIVE"},
        f"{site.group_of(binding)!r}, VID {move.vid(move.target)} {took(ready)}; VID {vid} stays in {move.source.name}",
    )
    move.announce()
    moved, results = under_ping(
        scene, lambda: move.follow("leaf3", ESX3, binding), "live-a", ("live-d", "live-k"), after=2
    )
    told, done = moved.after(moved.told), moved.after(moved.done)
    lost = [echo.sent for result in results for echo in result.echoes if echo.answered is None]
    yield Shown(
        "it goes on there under a ping every 10 ms, from below a third leaf and from KVM",
        told is not None
        and told * 1000 <= TOLD_MS
        and moved.done is not None
        and max(lost, default=0.0) <= moved.done + LAG_MS / 1000
        and all(result.received for result in results),
        f"{told_lost(moved.stun, results)}; leaf3 was told {took(told)}, did so {took(done)}, and then none was lost",
    )
    move.arrived()
    active = scene.active("live-a")
    yield Shown(
        "its binding there is the active one and the only one",
        active is not None and site.rest.bindings(move.vm.port) == {"compute-2": "ACTIVE"},
        f"ACTIVE {took(active)}",
    )
    scene.left.append(Left(site, move.network, move.source, vid or 0))


def left_racks(scene: Scene) -> Iterator[Shown]:
    """What the two VMs left behind, cold and alive, in the rack where they had been alone in their networks."""
    gone = forgotten(scene.left)
    vids = {place.vid for place in scene.left}
    yield Shown(
        "port groups and mappings go there",
        gone is not None and len(scene.left) == 2,
        f"of VID {listed(vids)}, {took(gone)}",
    )
    outlived = {what for place in scene.left for what in place.outlived}
    yield Shown(
        "before that Neutron would have given their VLANs to nobody",
        gone is not None and not outlived,
        f"worn while free: {listed(outlived)}",
    )
    talks = scene.talks("live-d", "live-a", 5)
    yield Shown("who moved alive is reached as before", talks is not None, took(talks))


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


def _about_to_move(scene: Scene) -> LiveMove:
    network = scene.network("live")
    vm = scene.vm("live-a", "live", ESX1)
    for name, host in (("live-d", ESX4), ("live-k", KVM)):
        scene.vm(name, "live", host)
    scene.active("live-a", "live-d", "live-k")
    for name in ("live-d", "live-k"):
        scene.talks(name, "live-a")
    return LiveMove(scene.site, vm, network, scene.site.rack_of(ESX1), scene.site.rack_of(ESX3))


def vmotion_of_red_a(scene: Scene, destination: str, after: float = 0.7) -> tuple[Stunned, list[PingResult]]:
    return under_ping(scene, lambda: scene.site.migrate("red-a", destination), "red-a", ("red-b", "red-k"), after)


def under_ping(
    scene: Scene, move: Callable[[], T], name: str, peers: Sequence[str], after: float = 0.7
) -> tuple[T, list[PingResult]]:
    """A VM moves while its peers ping it every 10 ms, and for some seconds after."""
    running = [scene.guest(peer).keep_pinging(scene.vms[name].address) for peer in peers]
    time.sleep(0.2)
    moved = move()
    time.sleep(after)
    return moved, [ping.stop() for ping in running]


def told_lost(stun: Stunned, results: list[PingResult]) -> str:
    beyond = [result.lost_beyond([stun]) for result in results]
    return (
        f"stunned for {stun.seconds * 1000:.0f} ms; lost {joined(result.lost for result in results)} pings, "
        f"{joined(beyond)} beyond the stun"
    )


def joined(values: Iterable[object]) -> str:
    return " and ".join(map(str, values))
