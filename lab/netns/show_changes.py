"""What `make demo` shows of changes: vMotions, killed daemons, meddling hands, a deleted network, an orderly end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from lab.netns import static_nve
from lab.netns.dvs import Access
from lab.netns.layout import TENANT
from lab.netns.product import Network
from lab.netns.showing import Shown
from lab.netns.stage import (
    BLUE_DB,
    BLUE_WEB,
    CONTROL_VNI,
    ESX1,
    ESX2,
    ESX3,
    RED_DB,
    RED_WEB,
    Stage,
    is_open,
    listed,
    move_under_ping,
    told_lost,
    took,
    until,
)
from lab.netns.static_nve import StaticNetwork


def control_run(stage: Stage) -> Iterator[Shown]:
    """Without isthmus: VMs of a hand-made port group, and fixed flows that know a vMotion beforehand."""
    world, group = stage.world, stage.world.layout.foreign_group
    places = {"foreign-a": ESX1, "foreign-b": ESX1, "foreign-c": ESX2}
    guests = {
        name: world.boot(name, host, group, [f"10.9.0.{number}/24"])
        for number, (name, host) in enumerate(places.items(), start=1)
    }
    stations: dict[str, tuple[str, ...]] = {guests[name].mac: (host,) for name, host in places.items()}
    stations[guests["foreign-a"].mac] = (ESX1, ESX3)
    vids = dict.fromkeys(world.layout.hosts, world.layout.foreign_vid)
    static_nve.install(world.appliances, [StaticNetwork(CONTROL_VNI, vids, stations)])
    for destination in (ESX3, ESX1):
        stun, results = move_under_ping(stage, "foreign-a", destination, "10.9.0.1", ("foreign-b", "foreign-c"))
        stage.control += [result.lost_beyond([stun]) for result in results]
        yield Shown(
            f"control run, vMotion to {destination}",
            all(result.received for result in results),
            told_lost(stun, results),
        )
    static_nve.remove(world.appliances)


def vmotion(stage: Stage) -> Iterator[Shown]:
    """vMotions under a ping every 10 ms, from a peer on the source host and from one on a third."""
    control = max(stage.control, default=0)
    for destination in (ESX3, ESX1):
        stun, results = move_under_ping(stage, "red-a", destination, "10.0.0.1", ("red-b", "red-c"))
        beyond = [result.lost_beyond([stun]) for result in results]
        yield Shown(
            f"vMotion to {destination}",
            max(beyond) <= control and all(result.received for result in results),
            f"{told_lost(stun, results)}; control run {control}",
        )


def killed(stage: Stage) -> Iterator[Shown]:
    """Every isthmus killed with SIGKILL and started again, under a ping every 10 ms."""
    running = [stage.guest(name).keep_pinging("10.0.0.3") for name in ("red-a", "red-d")]
    for host in stage.world.layout.hosts:
        stage.isthmus.kill(host)
    time.sleep(0.5)
    for host in stage.world.layout.hosts:
        stage.isthmus.restart(host)
    settled = until(lambda: all(stage.isthmus.is_settled(host) for host in stage.world.layout.hosts), patience=40)
    time.sleep(0.5)
    results = [ping.stop() for ping in running]
    yield Shown(
        "the daemons killed and restarted without a lost ping",
        settled is not None and all(result.all_answered for result in results),
        f"{' and '.join(map(str, results))}; all settled again {took(settled)}",
    )


def meddling(stage: Stage) -> Iterator[Shown]:
    """A VLAN changed by hand, to that of another tenant."""
    admin = stage.world.admin
    own, other = admin.vid_of("red-b"), admin.vid_of("blue-a")
    admin.set_port("red-b", Access(other or 0))
    healed = until(lambda: is_open(stage, "red-b") and admin.vid_of("red-b") != other)
    talks = stage.guest("red-b").reaches("10.0.0.1")
    yield Shown(
        "a VLAN changed by hand is healed",
        healed is not None and talks,
        f"VID {own} made {other}, {admin.vid_of('red-b')} again {took(healed)}; it reaches its peer: {talks}",
    )


def deletion(stage: Stage) -> Iterator[Shown]:
    """A network deleted, and what is left of it."""
    world, isthmus = stage.world, stage.isthmus
    by_hand = world.layout.foreign_group
    before = _as_made(stage, by_hand)
    worn = {world.admin.vid_of(name) for name in ("blue-e", "blue-f")}
    for name in ("blue-e", "blue-f"):
        world.admin.destroy(name)
    isthmus.want(RED_WEB, RED_DB, BLUE_WEB)
    gone = until(lambda: BLUE_DB.name not in world.admin.port_group_names())
    yield Shown("a deleted network's port group goes", gone is not None, took(gone))
    flows = until(lambda: not _flows_of(stage, BLUE_DB))
    yield Shown(
        "its flows go", flows is not None, f"{len(_flows_of(stage, BLUE_DB))} left on all appliances, {took(flows)}"
    )
    still = worn & (world.admin.worn_vids(TENANT) | _mapped_vids(stage))
    yield Shown(
        "its tags are free", not still, f"VID {listed(worn)}; worn by a port or known to an NVE: {listed(still)}"
    )
    talks = stage.guest("foreign-a").ping("10.9.0.2")
    yield Shown(
        "the hand-made port group is untouched",
        _as_made(stage, by_hand) == before and talks.all_answered,
        f"configuration unchanged: {_as_made(stage, by_hand) == before}, its VMs: {talks}",
    )


def stopping(stage: Stage) -> Iterator[Shown]:
    """Every isthmus stopped in an orderly way."""
    running = stage.guest("red-a").keep_pinging("10.0.0.3")
    seconds = [stage.isthmus.stop(host) for host in stage.world.layout.hosts]
    time.sleep(0.3)
    result = running.stop()
    yield Shown(
        "SIGTERM stops the daemons and leaves traffic flowing",
        max(seconds) < 2 and result.all_answered,
        f"the slowest took {max(seconds):.2f} s, {result}",
    )


def _as_made(stage: Stage, group: str) -> tuple[str, str, int]:
    found = stage.world.admin.port_group(group)
    config = found.config
    return config.configVersion, str(config.defaultPortConfig), len(found.portKeys)


def _mapped_vids(stage: Stage) -> set[int | None]:
    """The VIDs that any flow of any appliance matches or sets."""
    return {
        int(vid)
        for flow in _all_flows(stage)
        for vid in re.findall(r"(?:dl_vlan|set_vlan_vid:|mod_vlan_vid:)=?(\d+)", flow)
    }


def _flows_of(stage: Stage, network: Network) -> list[str]:
    return [flow for flow in _all_flows(stage) if f"{network.vni:#x}" in flow]


def _all_flows(stage: Stage) -> list[str]:
    return [
        flow
        for appliance in stage.world.appliances
        for bridge in appliance.own_bridges
        for flow in appliance.ovs.dump_flows(bridge)
    ]
