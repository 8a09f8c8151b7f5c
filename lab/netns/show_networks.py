"""What `make demo` shows of networks: that they come up, who talks in them, and who does not hear it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lab.netns import frames
from lab.netns.capture import Capture
from lab.netns.frames import BROADCAST, ETH_ARP, Frame, mark_of, marked
from lab.netns.guest import Guest
from lab.netns.showing import Shown
from lab.netns.stage import (
    BLUE_DB,
    BLUE_WEB,
    ESX1,
    ESX2,
    ESX3,
    QUIET,
    RED_DB,
    RED_WEB,
    Stage,
    is_open,
    listed,
    took,
    until,
)


def two_tenants(stage: Stage) -> Iterator[Shown]:
    """Two tenants with two networks each and the same addresses, on hosts that may not use the same VID."""
    world, isthmus = stage.world, stage.isthmus
    networks = (RED_WEB, RED_DB, BLUE_WEB, BLUE_DB)
    isthmus.want(*networks)
    isthmus.start(ESX1)
    made = until(lambda: {network.name for network in networks} <= world.admin.port_group_names())
    yield Shown("a port group for each network", made is not None, took(made))

    stage.boot("red-a", ESX1, RED_WEB, 1)
    bound = until(lambda: is_open(stage, "red-a"))
    vid = world.admin.vid_of("red-a")
    yield Shown(
        "a VM booted through vCenter gets its tag and its port opens", bound is not None, f"VID {vid}, {took(bound)}"
    )
    isthmus.start(ESX2, reserved=str(vid))

    boots = [
        ("red-b", ESX1, RED_WEB, 2), ("red-c", ESX2, RED_WEB, 3), ("red-e", ESX1, RED_DB, 1),
        ("red-f", ESX2, RED_DB, 2), ("blue-a", ESX1, BLUE_WEB, 1), ("blue-b", ESX2, BLUE_WEB, 3),
        ("blue-e", ESX1, BLUE_DB, 1), ("blue-f", ESX2, BLUE_DB, 2),
    ]  # fmt: skip
    for name, host, network, number in boots:
        stage.boot(name, host, network, number)
    names = [name for name, *_ in boots]
    opened = until(lambda: all(is_open(stage, name) for name in names))
    yield Shown(f"{len(boots)} more VMs on two hosts are bound", opened is not None, took(opened))
    here, there = world.admin.vid_of("red-a"), world.admin.vid_of("red-c")
    yield Shown(
        "two hosts wear different VIDs for one VNI",
        None not in (here, there) and here != there,
        f"VNI {RED_WEB.vni} is VID {here} on {ESX1} and {there} on {ESX2}, where {vid} is reserved",
    )


def unbound(stage: Stage) -> Iterator[Shown]:
    """A VM on a host whose isthmus is not running yet."""
    world = stage.world
    red_d, bystander = stage.boot("red-d", ESX3, RED_WEB, 4), stage.boot("red-g", ESX3, RED_WEB, 5)
    with Capture(world.appliance(ESX3).namespace, "trunk0") as trunk, bystander.listen() as beside:
        red_d.send(*(marked(red_d.mac, BROADCAST, f"unbound {number}") for number in range(10)))
        answers = red_d.ping("10.0.0.1", count=10, patience=QUIET)
        heard = len(trunk.heard()) + len(beside.heard())
    yield Shown(
        "a VM not yet bound cannot send anything",
        heard == 0 and answers.none_answered,
        f"10 broadcasts and 10 pings sent, {heard} frames heard, {answers}",
    )
    stage.isthmus.start(ESX3)
    reached = until(lambda: red_d.ping("10.0.0.1", count=1, patience=0.1).all_answered)
    yield Shown("its host's isthmus starts, and it talks", reached is not None, took(reached))


def same_host(stage: Stage) -> Iterator[Shown]:
    """Two VMs of one network on one host."""
    a, b = stage.guest("red-a"), stage.guest("red-b")
    a.reaches("10.0.0.2")
    with Capture(stage.world.appliance(ESX1).namespace, "trunk0") as trunk:
        result = a.ping("10.0.0.2", count=20)
        seen = len(trunk.frames(lambda frame: {frame.src, frame.dst} == {a.mac, b.mac}))
    passed = result.all_answered and seen == 0
    yield Shown("same-host ping without the appliance", passed, f"{result}, {seen} of the frames seen by the appliance")


def across_hosts(stage: Stage) -> Iterator[Shown]:
    """Two VMs of one network on two hosts, through VXLAN."""
    a, c = stage.guest("red-a"), stage.guest("red-c")
    a.reaches("10.0.0.3")
    a.reaches("fd00::3")
    with Capture(stage.world.underlay) as wire:
        four, six = a.ping("10.0.0.3", count=20), a.ping("fd00::3", count=20)
        sent = a.transfer(c, "10.0.0.3", 1 << 20)
        found = [
            vxlan
            for frame in wire.frames()
            if (vxlan := frames.vxlan(frame)) and c.mac in (vxlan.inner.src, vxlan.inner.dst)
        ]
    yield Shown("cross-host ping", four.all_answered, str(four))
    yield Shown("cross-host ping, IPv6", six.all_answered, str(six))
    yield Shown(
        "cross-host TCP", sent.intact, f"{sent.received} bytes in {sent.seconds:.2f} s, unharmed: {sent.intact}"
    )
    vnis, tags = {vxlan.vni for vxlan in found}, {vxlan.inner.vid for vxlan in found}
    yield Shown(
        "on the underlay the frames carry the VNI and no inner tag",
        len(found) >= 80 and vnis == {RED_WEB.vni} and tags == {None},
        f"{len(found)} VXLAN frames, VNI {listed(vnis)}, inner tag {listed(tags)}",
    )


def isolation(stage: Stage) -> Iterator[Shown]:
    """What tenant blue says, and who of tenant red hears it."""
    blue_a, blue_b = stage.guest("blue-a"), stage.guest("blue-b")
    strangers = [stage.guest(name) for name in ("red-a", "red-b", "red-c", "red-d", "red-e", "red-f")]
    arp = frames.arp_request(blue_a.mac, "10.0.0.1", "10.0.0.77")
    guessed = [marked(blue_a.mac, stranger.mac, f"guessed {stranger.name}") for stranger in strangers]
    said: list[tuple[str, list[Frame], bool]] = [
        ("an ARP request", [arp], True),
        ("a broadcast", [marked(blue_a.mac, BROADCAST, "to all")], True),
        ("a unicast to the guessed MAC of each of its VMs", guessed, False),
    ]
    for what, sent, own_hears in said:
        heard, own = who_hears(blue_a, sent, blue_b, strangers)
        yield Shown(
            f"tenant red does not hear tenant blue send {what}",
            not heard and own == own_hears,
            f"heard by {listed(heard)} of red's {len(strangers)} VMs"
            + (f", by blue's other VM: {own}" if own_hears else ""),
        )
    blue_a.reaches("10.0.0.3")
    with blue_b.listen() as to_blue, stage.guest("red-c").listen() as to_red:
        result = blue_a.ping("10.0.0.3", count=10)
        reached = len(to_blue.frames(lambda frame: frame.src == blue_a.mac))
        strayed = len(to_red.frames(lambda frame: frame.src == blue_a.mac))
    yield Shown(
        "10.0.0.3 is another machine for each tenant",
        result.all_answered and reached >= 10 and not strayed,
        f"{result}, {reached} frames at blue's, {strayed} at red's",
    )


def who_hears(speaker: Guest, sent: list[Frame], friend: Guest, strangers: list[Guest]) -> tuple[set[str], bool]:
    """The strangers that heard one of these frames, and whether the friend did."""
    captures = {guest.name: guest.listen() for guest in (*strangers, friend)}
    try:
        speaker.send(*sent)
        time.sleep(QUIET)
        hearers = {name for name, capture in captures.items() if capture.frames(lambda frame: _is_one_of(frame, sent))}
    finally:
        for capture in captures.values():
            capture.close()
    return hearers - {friend.name}, friend.name in hearers


def _is_one_of(frame: Frame, sent: list[Frame]) -> bool:
    marks = {mark_of(one) for one in sent} - {None}
    return mark_of(frame) in marks or (frame.ethertype == ETH_ARP and frame.src == sent[0].src and not marks)
