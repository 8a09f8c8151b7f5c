"""What `make demo` shows, step by step.  Each step acts through vCenter and the intent file, and looks at the wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab.netns import frames, static_nve
from lab.netns.capture import Capture
from lab.netns.control import Stunned
from lab.netns.frames import BROADCAST, ETH_ARP, Frame, mark_of, marked
from lab.netns.guest import Guest
from lab.netns.ping import PingResult
from lab.netns.product import Isthmus, Network
from lab.netns.static_nve import StaticNetwork
from lab.netns.world import World

ESX1, ESX2, ESX3 = "esx1.lab", "esx2.lab", "esx3.lab"
RED_WEB, RED_DB = Network("red-web", 5001), Network("red-db", 5002)
BLUE_WEB, BLUE_DB = Network("blue-web", 6001), Network("blue-db", 6002)
CONTROL_VNI = 9000
QUIET = 0.3
"""Seconds after which a frame that was not heard will not come."""


@dataclass(frozen=True, slots=True)
class Shown:
    what: str
    passed: bool
    observed: str


@dataclass(slots=True)
class Stage:
    world: World
    isthmus: Isthmus
    control: list[int] = field(default_factory=list)
    """Pings lost beyond the stun with fixed flows, one figure for each peer of each move."""

    def guest(self, name: str) -> Guest:
        return self.world.guest(name)

    def boot(self, name: str, host: str, network: Network, number: int) -> Guest:
        addresses = [f"10.0.0.{number}/24", f"fd00::{number}/64"]
        guest = self.world.boot(name, host, network.name, addresses)
        guest.set_mtu(network.mtu)
        return guest


Step = Callable[[Stage], Iterator[Shown]]


def until(condition: Callable[[], bool], patience: float = 20.0) -> float | None:
    """Seconds until it is so; None if it is not in that time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + patience:
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def took(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds * 1000:.0f} ms"


# --- the world without isthmus


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
            _lost(stun, results),
        )
    static_nve.remove(world.appliances)


def move_under_ping(
    stage: Stage, name: str, to: str, address: str, peers: tuple[str, ...]
) -> tuple[Stunned, list[PingResult]]:
    running = [stage.guest(peer).keep_pinging(address, interval=0.01) for peer in peers]
    time.sleep(0.2)
    stun = stage.world.migrate(name, to)
    time.sleep(0.7)
    return stun, [ping.stop() for ping in running]


def _lost(stun: Stunned, results: list[PingResult]) -> str:
    off = (stun.ended or stun.began) - stun.began
    beyond = " and ".join(str(result.lost_beyond([stun])) for result in results)
    lost = " and ".join(str(result.lost) for result in results)
    return f"stunned for {off * 1000:.0f} ms; a local and a remote peer lost {lost} pings, {beyond} beyond the stun"


# --- two tenants


def two_tenants(stage: Stage) -> Iterator[Shown]:
    """Two tenants with two networks each and the same addresses, on hosts that may not use the same VID."""
    world, isthmus = stage.world, stage.isthmus
    networks = (RED_WEB, RED_DB, BLUE_WEB, BLUE_DB)
    isthmus.want(*networks)
    isthmus.start(ESX1)
    made = until(lambda: {network.name for network in networks} <= world.admin.port_group_names())
    yield Shown("a port group for each network", made is not None, took(made))

    stage.boot("red-a", ESX1, RED_WEB, 1)
    bound = until(lambda: _is_open(stage, "red-a"))
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
    opened = until(lambda: all(_is_open(stage, name) for name in names))
    yield Shown(f"{len(boots)} more VMs on two hosts are bound", opened is not None, took(opened))
    here, there = world.admin.vid_of("red-a"), world.admin.vid_of("red-c")
    yield Shown(
        "two hosts wear different VIDs for one VNI",
        None not in (here, there) and here != there,
        f"VNI {RED_WEB.vni} is VID {here} on {ESX1} and {there} on {ESX2}, where {vid} is reserved",
    )


def _is_open(stage: Stage, name: str) -> bool:
    setting = stage.world.admin.dv_port(name)[1].config.setting
    return not setting.blocked.value and bool(stage.world.admin.vid_of(name))


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


# --- who hears whom


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
        f"{len(found)} VXLAN frames, VNI {_list(vnis)}, inner tag {_list(tags)}",
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
        ("a unicast to each one's guessed MAC", guessed, False),
    ]
    for what, sent, own_hears in said:
        heard, own = _who_hears(blue_a, sent, blue_b, strangers)
        yield Shown(
            f"{what} of tenant blue is not heard by tenant red",
            not heard and own == own_hears,
            f"heard by {_list(heard)} of red's {len(strangers)} VMs"
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


def _who_hears(speaker: Guest, sent: list[Frame], friend: Guest, strangers: list[Guest]) -> tuple[set[str], bool]:
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


# --- changes


def vmotion(stage: Stage) -> Iterator[Shown]:
    """vMotions under a ping every 10 ms, from a peer on the source host and from one on a third."""
    control = max(stage.control, default=0)
    for destination in (ESX3, ESX1):
        stun, results = move_under_ping(stage, "red-a", destination, "10.0.0.1", ("red-b", "red-c"))
        beyond = [result.lost_beyond([stun]) for result in results]
        yield Shown(
            f"vMotion to {destination}",
            max(beyond) <= control and all(result.received for result in results),
            f"{_lost(stun, results)}; control run {control}",
        )


def killed(stage: Stage) -> Iterator[Shown]:
    """Every isthmus killed with SIGKILL and started again, under a ping every 10 ms."""
    running = [stage.guest(name).keep_pinging("10.0.0.3") for name in ("red-a", "red-d")]
    for host in stage.world.layout.hosts:
        stage.isthmus.kill(host)
    time.sleep(0.5)
    for host in stage.world.layout.hosts:
        stage.isthmus.restart(host)
    settled = until(lambda: all(stage.isthmus.is_settled(host) for host in stage.world.layout.hosts))
    time.sleep(0.5)
    results = [ping.stop() for ping in running]
    yield Shown(
        "the daemons killed and restarted without a lost ping",
        settled is not None and all(result.all_answered for result in results),
        f"{' and '.join(map(str, results))}; all settled again {took(settled)}",
    )


def meddling(stage: Stage) -> Iterator[Shown]:
    """A VLAN changed by hand, to that of another tenant."""
    from lab.netns.dvs import Access

    admin = stage.world.admin
    own, other = admin.vid_of("red-b"), admin.vid_of("blue-a")
    admin.set_port("red-b", Access(other or 0))
    healed = until(lambda: _is_open(stage, "red-b") and admin.vid_of("red-b") != other)
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
    still = {
        vid for name in ("red-a", "red-c", "red-e", "red-f", "blue-a", "blue-b") for vid in [world.admin.vid_of(name)]
    }
    yield Shown("its tags are free", not worn & still, f"VID {_list(worn)} worn by nobody: {not worn & still}")
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


def _flows_of(stage: Stage, network: Network) -> list[str]:
    return [
        flow
        for appliance in stage.world.appliances
        for bridge in appliance.own_bridges
        for flow in appliance.ovs.dump_flows(bridge)
        if f"{network.vni:#x}" in flow
    ]


def _list(values: set[str] | set[int] | set[int | None]) -> str:
    return ", ".join("none" if value is None else str(value) for value in sorted(values, key=str)) or "none"


STEPS: tuple[Step, ...] = (
    control_run, two_tenants, unbound, same_host, across_hosts, isolation, vmotion, killed, meddling, deletion,
    stopping,
)  # fmt: skip
