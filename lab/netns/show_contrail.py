"""What `make demo-contrail` shows, step by step, on the site of contrail.py.

No packet crosses a vRouter here: the agents are stand-ins, and what they hold is acted out by vrouters.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from lab.netns import namespace
from lab.netns.appliance import TRUNK
from lab.netns.capture import Capture
from lab.netns.contrail import CENTRAL, VMI, ContrailSite
from lab.netns.frames import BROADCAST, Frame, mark_of, marked
from lab.netns.guest import Guest
from lab.netns.show_networks import who_hears
from lab.netns.showing import Shown, Step
from lab.netns.stage import ESX1, ESX2, ESX3, QUIET, listed, took, until

VRRP = "00:00:5e:00:01:07"
"""The MAC of virtual router 7 (RFC 5798): of whoever is master just now."""
LOOSE = {"forged_transmits": True, "promiscuous": True}


def networks(site: ContrailSite) -> Iterator[Shown]:
    """A virtual network is created on the api-server."""
    site.tenant.network("red", "10.1.0.0")
    site.start(security=LOOSE)
    made = until(lambda: "red" in site.world.admin.port_group_names())
    group = site.world.admin.port_group("red").config
    closed, overridable = group.defaultPortConfig.blocked.value, group.policy.vlanOverrideAllowed
    vid = group.defaultPortConfig.vlan.vlanId
    yield Shown(
        "a port group of the same name, closed, VLAN none, override allowed",
        made is not None and closed and overridable and vid == 0,
        f"{took(made)}; closed: {closed}, VLAN {vid}, override allowed: {overridable}",
    )
    site.tenant.network("blue", "10.2.0.0")
    heard = until(lambda: "blue" in site.world.admin.port_group_names())
    yield Shown("a second one is heard of by /watch", heard is not None and heard < 5, took(heard))


def three_vms(site: ContrailSite) -> Iterator[Shown]:
    """Three VMs are made through vCenter: objects, VLANs, plugs, frames."""
    places = {"a": ESX1, "b": ESX1, "c": ESX2}
    for number, (name, host) in enumerate(places.items(), start=11):
        site.boot(name, host, "red", number)
    wired = until(lambda: all(site.is_wired(name, host) for name, host in places.items()))
    yield Shown("their ports are plugged in, and open", wired is not None, took(wired))
    counts = {kind: len(site.there(kind)) for kind in ("virtual-machine", VMI, "instance-ip")}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    yield Shown("the api-server has VM, VMI and instance-ip of each", set(counts.values()) == {3}, told)
    vids = {name: site.world.admin.vid_of(name) for name in places}
    yield Shown("each wears a VID of its own", len(set(vids.values()) - {None, 0}) == 3, listed(set(vids.values())))
    a = site.world.guest("a")
    for what, address in (("on the same host", "10.1.0.12"), ("across hosts, in VXLAN", "10.1.0.13")):
        a.reaches(address)
        result = a.ping(address, count=20)
        yield Shown(f"ping {what}", result.all_answered, str(result))


def seam(site: ContrailSite) -> Iterator[Shown]:
    """VID v on host h is VMI x: by frames on the trunk, and at each VMI's end behind it."""
    for name in ("a", "b"):
        guest, (vmi,) = site.world.guest(name), site.vmis_of(name)
        vids, came = _arrives(site, guest, marked(guest.mac, BROADCAST, f"i am {name}"))
        vid = site.world.admin.vid_of(name)
        yield Shown(
            f"what VM {name} says comes by its VID, and in at its VMI alone",
            vids == {vid} and came == {vmi},
            f"VID {listed(vids)} on the trunk, VMI {listed({one[:8] for one in came})}",
        )


def isolation(site: ContrailSite) -> Iterator[Shown]:
    """Another network with the same addresses."""
    for number, (name, host) in enumerate({"x": ESX1, "y": ESX2}.items(), start=11):
        site.boot(name, host, "blue", number)
    until(lambda: site.is_wired("x", ESX1) and site.is_wired("y", ESX2))
    x, y = site.world.guest("x"), site.world.guest("y")
    strangers = [site.world.guest(name) for name in ("a", "b", "c")]
    guessed = [marked(x.mac, stranger.mac, f"guessed {stranger.name}") for stranger in strangers]
    for what, sent, own in (
        ("a broadcast", [marked(x.mac, BROADCAST, "to all")], True),
        ("unicasts to their guessed MACs", guessed, False),
    ):
        heard, friend = who_hears(x, sent, y, strangers)
        yield Shown(
            f"red does not hear blue send {what}",
            not heard and (friend or not own),
            f"heard by {listed(heard)} of red's 3 VMs" + (f", by blue's other VM: {friend}" if own else ""),
        )


def shared_mac(site: ContrailSite) -> Iterator[Shown]:
    """Two VMs on one host speak with one VRRP MAC."""
    for name in ("a", "b"):
        (vmi,) = site.vmis_of(name)
        _, came = _arrives(site, site.world.guest(name), marked(VRRP, BROADCAST, f"master is {name}"))
        told = f"came in at VMI {listed({one[:8] for one in came})}"
        yield Shown(f"{VRRP} from VM {name} is VMI {vmi[:8]}'s", came == {vmi}, told)


def service(site: ContrailSite) -> Iterator[Shown]:
    """An in-line service VM hands on what others say, between its two VIDs."""
    site.tenant.network("left", "10.3.0.0")
    site.tenant.network("right", "10.4.0.0")
    until(lambda: {"left", "right"} <= site.world.admin.port_group_names())
    left, right = site.boot("l", ESX1, "left", 21), site.boot("r", ESX2, "right", 22)
    site.vm("service", ESX1, "left", "right")
    site.world.admin.power_on("service")
    inside = site.world.guest("service").namespace
    namespace.ip(
        inside,
        [
            "link add pass type bridge forward_delay 0 mcast_snooping 0",
            "link set eth0 master pass promisc on up",
            "link set eth1 master pass promisc on up",
            "link set pass up",
        ],
    )
    plugged = until(lambda: site.is_wired("l", ESX1) and site.is_wired("r", ESX2) and len(_vids(site, "service")) == 2)
    yield Shown("it has two VMIs and two VIDs", plugged is not None, listed(_vids(site, "service")))
    reached = left.reaches("10.1.0.22", 10)
    result = left.ping("10.1.0.22", count=20)
    with right.listen() as heard:
        left.ping("10.1.0.22", count=3)
        foreign = {frame.src for frame in heard.frames(lambda frame: frame.dst == right.mac)}
    yield Shown(
        "VMs of two networks reach each other through it, with their own MACs",
        reached and result.all_answered and left.mac in foreign,
        f"{result}; the right one hears {listed(foreign)}",
    )
    left_behind = {site.uuid_of(name) for name in ("l", "r", "service")}
    for name in ("l", "r", "service"):
        site.world.admin.destroy(name)
    until(lambda: not left_behind & site.there("virtual-machine"))


def vmotion(site: ContrailSite) -> Iterator[Shown]:
    """A vMotion under ping: VMI, address and VID stay, the plug moves."""
    before = site.vmis_of("c"), site.world.admin.vid_of("c"), site.there("instance-ip")
    running = site.world.guest("a").keep_pinging("10.1.0.13")
    time.sleep(0.2)
    stun = site.world.migrate("c", ESX3)
    moved = until(lambda: site.is_wired("c", ESX3) and site.uuid_of("c") not in site.held(ESX2))
    time.sleep(0.5)
    result = running.stop()
    after = site.vmis_of("c"), site.world.admin.vid_of("c"), site.there("instance-ip")
    yield Shown(
        "it is plugged in at its destination and nowhere else, as the same VMI with the same VID",
        moved is not None and before == after,
        f"VID {after[1]}, {took(moved)} after vCenter told of its end",
    )
    beyond = result.lost_beyond([stun])
    yield Shown(
        "it is reachable soon after vCenter tells that it is there",
        result.longest_gap_ms < 3000,
        f"{beyond} pings of 10 ms lost beyond the stun of {stun.seconds * 1000:.0f} ms: its link comes up on arrival",
    )


def power_cycle(site: ContrailSite) -> Iterator[Shown]:
    """Power off and on again."""
    objects = site.vmis_of("b"), site.there("instance-ip")
    site.world.admin.power_off("b")
    gone = until(lambda: site.uuid_of("b") not in site.held(ESX1) and site.world.admin.vid_of("b") in (None, 0))
    yield Shown(
        "off: unplugged, the VID is free, the address is kept",
        gone is not None and (site.vmis_of("b"), site.there("instance-ip")) == objects,
        took(gone),
    )
    site.world.admin.power_on("b")
    back = until(lambda: site.is_wired("b", ESX1))
    _address(site.world.guest("b"), 12)
    yield Shown("on: plugged in again", back is not None and site.world.guest("a").reaches("10.1.0.12"), took(back))


def agent_away(site: ContrailSite) -> Iterator[Shown]:
    """A vRouter agent goes down and comes back."""
    running = site.world.guest("a").keep_pinging("10.1.0.12")
    site.agents[ESX1].stop()
    site.boot("d", ESX1, "red", 14)
    site.boot("e", ESX2, "red", 15)
    elsewhere = until(lambda: site.is_wired("e", ESX2))
    closed = site.world.admin.dv_port("d")[1].config.setting.blocked.value
    yield Shown(
        "a VM on its host waits, closed; one on another host does not",
        elsewhere is not None and closed,
        f"the other {took(elsewhere)}; this one closed: {closed}",
    )
    site.agents[ESX1].start()
    back = until(lambda: site.is_wired("d", ESX1), patience=60)
    result = running.stop()
    yield Shown(
        "it is plugged in when the agent is back, and who ran lost nothing",
        back is not None and result.all_answered,
        f"{took(back)}; {result}",
    )


def killed(site: ContrailSite) -> Iterator[Shown]:
    """isthmus is killed with SIGKILL, a VM is deleted meanwhile, and isthmus starts again."""
    running = site.world.guest("a").keep_pinging("10.1.0.12")
    site.isthmus.kill(CENTRAL)
    site.world.admin.destroy("e")
    time.sleep(0.5)
    site.isthmus.restart(CENTRAL)
    settled = until(lambda: site.isthmus.is_settled(CENTRAL), patience=60)
    gone = until(lambda: site.uuid_of("e") not in site.there("virtual-machine"))
    result = running.stop()
    yield Shown("no ping is lost", settled is not None and result.all_answered, f"{result}; settled {took(settled)}")
    yield Shown("what was deleted meanwhile is undone", gone is not None, took(gone))


def network_in_use(site: ContrailSite) -> Iterator[Shown]:
    """A network is to be deleted while VMs are in it."""
    blue = next(
        vn["uuid"] for vn in site.tenant.get("/virtual-networks")["virtual-networks"] if vn["fq_name"][-1] == "blue"
    )
    status, said = site.tenant.ask("DELETE", f"/virtual-network/{blue}")
    yield Shown("the api-server refuses, and names what is in it", status == 409 and VMI in str(said), f"HTTP {status}")
    for name in ("x", "y"):
        site.world.admin.destroy(name)
    free = until(lambda: site.tenant.ask("DELETE", f"/virtual-network/{blue}")[0] == 200)
    gone = until(lambda: "blue" not in site.world.admin.port_group_names())
    yield Shown(
        "its VMs go, it is deleted, and so is its port group", free is not None and gone is not None, took(gone)
    )


def everybody_leaves(site: ContrailSite) -> Iterator[Shown]:
    """All VMs and networks are deleted."""
    for name in ("a", "b", "c", "d"):
        site.world.admin.destroy(name)
    kinds = ("virtual-machine", VMI, "instance-ip")
    gone = until(lambda: not any(site.there(kind) for kind in kinds))
    left = sum(len(agent.ports) for agent in site.agents.values())
    yield Shown("no object and no plug of ours is left", gone is not None and not left, f"{left} plugs; {took(gone)}")
    for vn in site.tenant.get("/virtual-networks")["virtual-networks"]:
        if vn["fq_name"][1] == "vCenter":
            site.tenant.ask("DELETE", f"/virtual-network/{vn['uuid']}")
    groups = until(lambda: not {"red", "left", "right"} & site.world.admin.port_group_names())
    yield Shown("no port group of ours is left", groups is not None, took(groups))


def _arrives(site: ContrailSite, guest: Guest, frame: Frame) -> tuple[set[int | None], set[str]]:
    """By which VIDs a frame of a VM on the first host comes down the trunk, and in at the ends of which VMIs."""
    vrouter, said = site.vrouters[ESX1], mark_of(frame)

    def is_it(heard: Frame) -> bool:
        return mark_of(heard) == said

    with ExitStack() as stack:
        trunk = stack.enter_context(Capture(vrouter.appliance.namespace, TRUNK))
        ends = {
            vmi: stack.enter_context(Capture(vrouter.namespace(one.network), one.end))
            for vmi, one in vrouter.wired.items()
        }
        guest.send(frame, frame, frame)
        time.sleep(QUIET)
        return {f.vid for f in trunk.frames(is_it)}, {vmi for vmi, end in ends.items() if end.frames(is_it)}


def _vids(site: ContrailSite, name: str) -> set[int | None]:
    """The VIDs of a VM's NICs under which its host's agent holds them."""
    return {port.vid for port in site.agents[ESX1].ports.values() if port.enabled and port.vm == site.uuid_of(name)}


def _address(guest: Guest, number: int) -> None:
    guest.set_addresses(f"10.1.0.{number}/24")
    guest.set_mtu(1450)


STEPS: tuple[Step[ContrailSite], ...] = (
    networks, three_vms, seam, isolation, shared_mac, service, vmotion, power_cycle, agent_away, killed,
    network_in_use, everybody_leaves,
)  # fmt: skip
