"""Frames between VMs below two FRR leaves that NgsTargets told, over ssh, what a VID means."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from isthmus.adapters.leaf.ngs import NgsTarget
from isthmus.model.change import Change, Forget, Learn, Outcome
from isthmus.model.faults import Unreachable
from isthmus.model.nve import LeafBinding
from isthmus.model.tags import Vid, VidSet, Vni
from lab.netns.capture import Capture
from lab.netns.fabric import Spot
from lab.netns.frames import rarp, vxlan
from tests.adapters.leaf.ngs.evpn import TestFabric, evpn
from tests.adapters.leaf.switch import eventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

RED, BLUE = Vni(5000), Vni(70_001)
AT1, NEXT_TO_IT, AT2 = Spot("leaf1", "Ethernet4", 101), Spot("leaf1", "Ethernet8", 101), Spot("leaf2", "Ethernet4", 205)
STRANGE1, STRANGE2 = Spot("leaf1", "Ethernet4", 205), Spot("leaf2", "Ethernet4", 101)


@pytest.fixture
def world() -> Iterator[TestFabric]:
    with evpn(leaf1=("Ethernet4", "Ethernet8"), leaf2=("Ethernet4",)) as made:
        yield made


def done(target: NgsTarget, *actions: Learn | Forget) -> None:
    results = target.apply([Change(number, target.id, action, "test") for number, action in enumerate(actions)])
    assert {result.outcome for result in results} == {Outcome.DONE}, results


def learn(target: NgsTarget, *bindings: tuple[int, Vni]) -> None:
    done(target, *(Learn((LeafBinding(Vid(vid), vni),)) for vid, vni in bindings))


def test_a_network_joins_the_vids_that_mean_it_and_no_others(world: TestFabric) -> None:
    boot = world.fabric.boot
    a, b = boot("a", AT1, "10.0.0.1/24"), boot("b", AT2, "10.0.0.2/24")
    c, d = boot("c", STRANGE1, "10.0.0.3/24"), boot("d", STRANGE2, "10.0.0.4/24")
    assert not a.reaches("10.0.0.2", 1.0), "nobody has told the leaves anything"
    learn(world.target("leaf1"), (101, RED), (205, BLUE))
    learn(world.target("leaf2"), (205, RED), (101, BLUE))
    eventually(lambda: a.reaches("10.0.0.2", 0.5) and c.reaches("10.0.0.4", 0.5), within=30)

    with Capture(world.fabric.spine) as wire:
        assert a.ping("10.0.0.2").all_answered
        assert a.transfer(b, "10.0.0.2").intact
        told = [found for heard in wire.heard() if (found := vxlan(heard.frame)) is not None]
    red = [found for found in told if a.mac in (found.inner.src, found.inner.dst)]
    assert red
    assert {found.vni for found in red} == {RED}
    assert {found.inner.vid for found in told} == {None}
    vteps = {(str(found.local), str(found.remote)) for found in red}
    assert vteps == {("192.0.2.1", "192.0.2.2"), ("192.0.2.2", "192.0.2.1")}

    assert b.hears(a)
    assert d.hears(c)
    for hearer, speaker in ((c, a), (d, a), (a, c), (b, c), (c, b), (a, d)):
        assert not hearer.hears(speaker), f"{hearer.name} hears {speaker.name}"


def test_what_a_hand_takes_off_the_switch_is_seen_and_put_back_and_vms_talk_again(world: TestFabric) -> None:
    one, two = world.target("leaf1"), world.target("leaf2")
    a, _ = world.fabric.boot("a", AT1, "10.0.0.1/24"), world.fabric.boot("b", AT2, "10.0.0.2/24")
    learn(one, (101, RED))
    learn(two, (205, RED))
    eventually(lambda: a.reaches("10.0.0.2", 0.5), within=30)
    leaf, wanted = world.leaf("leaf1"), one.observe().entries
    by_hand = [*(f"vlan member del 101 {port}" for port in leaf.ports), "vxlan map del vtep 101 5000", "vlan del 101"]
    assert [leaf.cli(f"config {line}").strip() for line in by_hand] == [""] * len(by_hand)
    assert not a.reaches("10.0.0.2", 1.0)
    assert one.observe().entries == {}
    learn(one, (101, RED))
    assert one.observe().entries == wanted
    eventually(lambda: a.reaches("10.0.0.2", 0.5), within=30)


def test_a_forgotten_network_is_gone_from_the_switch_and_nobody_is_reached_in_it(world: TestFabric) -> None:
    one, two = world.target("leaf1"), world.target("leaf2")
    a, c = world.fabric.boot("a", AT1, "10.0.0.1/24"), world.fabric.boot("c", NEXT_TO_IT, "10.0.0.3/24")
    b = world.fabric.boot("b", AT2, "10.0.0.2/24")
    learn(one, (101, RED))
    learn(two, (205, RED))
    eventually(lambda: a.reaches("10.0.0.2", 0.5) and b.reaches("10.0.0.3", 0.5), within=30)
    done(one, Forget((LeafBinding(Vid(101), RED),)))
    assert "Vlan101" not in world.leaf("leaf1").cli("show vlan config")
    assert not a.reaches("10.0.0.2", 1.0)
    assert not c.hears(a)


def test_a_vm_that_moves_to_another_leaf_is_found_there_and_nobody_tells_the_leaves(world: TestFabric) -> None:
    one, two = world.target("leaf1"), world.target("leaf2")
    a, b = world.fabric.boot("a", AT1, "10.0.0.1/24"), world.fabric.boot("b", NEXT_TO_IT, "10.0.0.2/24")
    learn(one, (101, RED))
    learn(two, (205, RED))
    eventually(lambda: a.reaches("10.0.0.2", 0.5), within=30)
    pinging = a.keep_pinging("10.0.0.2", interval=0.05)
    before = one.observe(), two.observe()
    moved = time.monotonic()
    world.fabric.plug("b", AT2)
    for _ in range(5):  # as ESXi does: once is not enough for Open vSwitch, which counts frames of the old place later
        b.send(rarp(b.mac))
        time.sleep(0.3)
    time.sleep(3)
    result = pinging.stop()
    lost = [echo.sent for echo in result.echoes if echo.answered is None]
    assert max(lost, default=moved) < moved + 2.0, f"the last lost {max(lost) - moved:.1f} s after the move"
    assert len(result.echoes) - len(lost) > 40
    assert (one.observe(), two.observe()) == before


def test_a_switch_that_nobody_can_log_in_to_goes_on_and_is_spoken_to_when_it_is_back(world: TestFabric) -> None:
    one, two = world.target("leaf1"), world.target("leaf2")
    a, _ = world.fabric.boot("a", AT1, "10.0.0.1/24"), world.fabric.boot("b", AT2, "10.0.0.2/24")
    learn(one, (101, RED))
    learn(two, (205, RED))
    eventually(lambda: a.reaches("10.0.0.2", 0.5), within=30)
    before = one.observe()
    world.leaf("leaf1").stop_ssh(world.state.processes)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        one.observe()
    [result] = one.apply([Change(1, one.id, Forget((LeafBinding(Vid(101), RED),)), "test")])
    assert result.outcome is Outcome.UNREACHABLE
    assert a.reaches("10.0.0.2", 1.0)
    world.leaf("leaf1").start_ssh(world.state.processes)
    assert one.observe() == before


def test_a_switch_that_takes_its_time_is_waited_for(world: TestFabric) -> None:
    """A silence of two seconds is netmiko's end of a batch, and fifteen are its patience."""
    two, leaf = world.target("leaf2"), world.leaf("leaf2")
    leaf.slow_down(3)
    began = time.monotonic()
    learn(two, (101, RED))
    assert time.monotonic() - began > 15
    assert [(e.vid, e.vni) for e in two.observe().entries.values() if isinstance(e, LeafBinding)] == [(101, RED)]


def test_a_switch_that_cannot_prove_who_it_is_is_told_nothing(world: TestFabric) -> None:
    leaf = world.leaf("leaf1")
    other, nobody = leaf.directory / "others_known_hosts", leaf.directory / "no_known_hosts"
    other.write_text(f"[127.0.0.1]:{leaf.ssh_port} {(leaf.directory / 'key.pub').read_text()}")
    nobody.write_text("")
    for known in (other, nobody):
        target = world.target("leaf1", {"alt_key_file": str(known)})
        with pytest.raises(Unreachable):
            target.observe()
        [result] = target.apply([Change(1, target.id, Learn((LeafBinding(Vid(101), RED),)), "test")])
        assert result.outcome is Outcome.UNREACHABLE
    assert world.target("leaf1").observe().foreign_vids == VidSet()
    assert "Vlan101" not in leaf.cli("show vlan config")
