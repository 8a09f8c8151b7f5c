"""The lab's world keeps its word: what vCenter holds for a port is what the wire does, with an NVE of fixed flows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.netns import frames, static_nve
from lab.netns.capture import Capture
from lab.netns.dvs import Access, Policy
from lab.netns.frames import BROADCAST, Frame, mark_of, marked
from lab.netns.guest import Guest
from lab.netns.moves import Timing
from lab.netns.stage import until
from lab.netns.static_nve import StaticNetwork
from lab.netns.world import World

pytestmark = pytest.mark.live

VNI = 5000
RED = {"esx1.lab": 11, "esx2.lab": 57}
QUIET = 0.2


@pytest.fixture(scope="module")
def red(two_hosts: World) -> Iterator[World]:
    """Three VMs in a network that has another VID on each host, and on one of them a stranger with a tag of his own."""
    world = two_hosts
    world.admin.create_port_group("tenant", "red", Policy(Access(0), blocked=True))
    world.admin.create_port_group("tenant", "blue", Policy(Access(0), blocked=True))
    for number, (name, host, group) in enumerate(
        [("a", "esx1.lab", "red"), ("b", "esx1.lab", "red"), ("c", "esx2.lab", "red"), ("x", "esx1.lab", "blue")], 1
    ):
        guest = world.boot(name, host, group, [f"10.0.0.{number}/24", f"fd00::{number}/64"])
        assert guest.interface == "eth0"
    return world


@pytest.fixture(autouse=True)
def as_at_first(red: World) -> None:
    """Every test finds the three open in their network, the stranger open in another."""
    for name, host in (("a", "esx1.lab"), ("b", "esx1.lab"), ("c", "esx2.lab")):
        if red.admin.vm(name).runtime.host.name != host:
            red.migrate(name, host)
        red.admin.set_port(name, Access(RED[host]), blocked=False)
    red.admin.set_port("x", Access(12), blocked=False)
    static_nve.remove(red.appliances)
    red.picture()


def macs(world: World, **places: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    at_home = {"a": ("esx1.lab",), "b": ("esx1.lab",), "c": ("esx2.lab",)}
    return {world.guest(name).mac: hosts for name, hosts in {**at_home, **places}.items()}


def install_red(world: World, **places: tuple[str, ...]) -> None:
    static_nve.install(world.appliances, [StaticNetwork(VNI, RED, macs(world, **places))])


def is_marked(mark: str):  # type: ignore[no-untyped-def]
    return lambda frame: mark_of(frame) == mark


def hears(listener: Guest, speaker: Guest, said: Frame) -> bool:
    with listener.listen() as heard:
        speaker.send(said)
        return heard.hears(is_marked(mark_of(said) or ""), within_seconds=QUIET)


def test_vms_of_one_host_and_vid_talk_without_any_appliance(red: World) -> None:
    a = red.guest("a")
    assert a.ping("10.0.0.2").all_answered
    assert a.ping("fd00::2").all_answered
    assert a.ping("10.0.0.3", patience=0.3).none_answered
    assert all(appliance.own_bridges == [] for appliance in red.appliances)


def test_vms_of_two_hosts_talk_through_the_overlay_whatever_their_tags(red: World) -> None:
    install_red(red)
    a, c = red.guest("a"), red.guest("c")
    with Capture(red.underlay) as wire:
        assert a.reaches("10.0.0.3")
        assert a.ping("10.0.0.3").all_answered
        assert a.ping("fd00::3").all_answered
        sent = a.transfer(c, "10.0.0.3", 1 << 20)
        tunnelled = [found for frame in wire.frames() if (found := frames.vxlan(frame))]
    assert sent.intact
    assert len(tunnelled) > 700
    assert {found.vni for found in tunnelled} == {VNI}
    assert {found.inner.vid for found in tunnelled} == {None}
    assert {(str(found.local), str(found.remote)) for found in tunnelled} == {
        ("192.0.2.1", "192.0.2.2"),
        ("192.0.2.2", "192.0.2.1"),
    }


def test_a_blocked_port_passes_nothing(red: World) -> None:
    a, b = red.guest("a"), red.guest("b")
    red.admin.set_port("b", blocked=True)
    red.picture()
    assert not hears(a, b, marked(b.mac, BROADCAST, "from the blocked"))
    assert not hears(b, a, marked(a.mac, b.mac, "to the blocked"))


def test_a_forged_source_is_dropped(red: World) -> None:
    a, b = red.guest("a"), red.guest("b")
    assert hears(b, a, marked(a.mac, BROADCAST, "true"))
    assert not hears(b, a, marked("00:50:56:99:00:01", BROADCAST, "forged"))


def test_a_unicast_is_not_heard_by_others(red: World) -> None:
    a, b, x = red.guest("a"), red.guest("b"), red.guest("x")
    said = marked(a.mac, b.mac, "for b")
    assert hears(b, a, said)
    assert not hears(x, a, said)
    assert not hears(x, a, marked(a.mac, x.mac, "guessed"))


def test_a_tag_changed_in_vcenter_takes_effect_by_itself(red: World) -> None:
    a = red.guest("a")
    assert a.ping("10.0.0.2").all_answered
    red.admin.set_port("b", Access(13))
    assert until(lambda: a.ping("10.0.0.2", patience=QUIET).none_answered, 5) is not None
    assert red.admin.vid_of("b") == 13


def test_hosts_that_lose_their_session_keep_the_wire_and_log_in_again(red: World) -> None:
    red.admin.end_other_sessions()
    assert red.guest("a").ping("10.0.0.2").all_answered
    red.admin.set_port("b", Access(13))
    red.picture()
    assert red.guest("a").ping("10.0.0.2", patience=QUIET).none_answered


def test_the_wire_goes_with_the_power_and_the_machine_with_the_vm(red: World) -> None:
    d = red.boot("d", "esx1.lab", "red", ["10.0.0.9/24"])
    red.admin.set_port("d", Access(11), blocked=False)
    red.picture()
    a = red.guest("a")
    assert a.reaches("10.0.0.9")
    red.admin.power_off("d")
    assert red.picture().vm("d").nics[0].bridge == ""
    assert a.ping("10.0.0.9", patience=0.2).none_answered
    red.admin.power_on("d")
    red.picture()
    assert a.reaches("10.0.0.9")
    assert d.namespace in red.state.namespaces()
    red.admin.destroy("d")
    assert "d" not in [vm.name for vm in red.picture().vms]
    assert d.namespace not in red.state.namespaces()


@pytest.mark.parametrize("peer", ["b", "c"])
def test_a_vm_loses_no_ping_beyond_the_stun_of_its_vmotion(red: World, peer: str) -> None:
    """The control: an NVE that knows both hosts beforehand.  The port keeps its VID, which means red on both."""
    red.admin.set_port("a", Access(RED["esx2.lab"]))
    for name in ("a", "b"):
        red.admin.set_port(name, Access(57))
    vids = {"esx1.lab": 57, "esx2.lab": 57}
    networks = [StaticNetwork(VNI, vids, macs(red, a=("esx1.lab", "esx2.lab")))]
    static_nve.install(red.appliances, networks)
    red.set_timing(Timing(precopy=0.15, stun=0.1))
    red.picture()
    with Capture(red.appliance("esx2.lab").namespace, "trunk0") as trunk:
        running = red.guest(peer).keep_pinging("10.0.0.1")
        stun = red.migrate("a", "esx2.lab")
        time.sleep(0.3)
        result = running.stop()
        rarps = trunk.frames(lambda frame: frame.ethertype == frames.ETH_RARP)
    assert red.admin.vm("a").runtime.host.name == "esx2.lab"
    assert stun.ended is not None
    assert stun.ended - stun.began > 0.09
    assert result.lost > 0
    assert result.lost_beyond([stun]) == 0
    assert {(frame.src, frame.vid) for frame in rarps} == {(red.guest("a").mac, 57)}
    assert len(rarps) >= 2


def test_a_stun_too_short_to_be_seen_is_told_of_all_the_same(red: World) -> None:
    """So it is where the machine is busy for as long as a stun lasts."""
    red.set_timing(Timing(precopy=0.15, stun=0.0))
    stun = red.migrate("c", "esx1.lab")
    assert stun.ended is not None
    assert red.picture().vm("c").nics[0].bridge


def test_vcenter_speaks_of_the_new_host_only_when_the_vm_has_gone_on_there(red: World) -> None:
    """Otherwise the world would be kinder to a controller than a real one."""
    red.set_timing(Timing(precopy=0.15, stun=0.1))
    stun = red.migrate("c", "esx1.lab")
    assert stun.ended is not None
    assert time.monotonic() - stun.ended > 0.05
