"""Frames between VMs below leaves that two HwvtepTargets have been told of: the same network, and never another."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from isthmus.adapters.leaf.hwvtep import HwvtepSettings, HwvtepTarget
from isthmus.model.change import Forget, Learn
from isthmus.model.names import LeafId, Mac
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast
from isthmus.model.tags import Vid, Vni
from lab.netns.capture import Capture
from lab.netns.fabric import Fabric, Spot
from lab.netns.frames import BROADCAST, ETH_LAB, mark_of, marked, rarp, vxlan
from lab.netns.guest import Guest
from lab.netns.leaf import Leaf
from lab.netns.state import WorldState
from tests.adapters.leaf.switch import done, eventually

pytestmark = pytest.mark.live

RED, BLUE = Vni(5000), Vni(6000)
VTEP1, VTEP2 = "192.0.2.1", "192.0.2.2"
AT1, NEXT_TO_IT, AT2 = Spot("leaf1", "swp1", 101), Spot("leaf1", "swp2", 101), Spot("leaf2", "swp1", 205)
STRANGE1, STRANGE2 = Spot("leaf1", "swp1", 205), Spot("leaf2", "swp1", 101)


@contextmanager
def up(**leaves: tuple[str, ...]) -> Iterator[Fabric[Leaf]]:
    state = WorldState(f"f{secrets.token_hex(4)}")
    state.claim(keep=False)
    try:
        yield Fabric.up(state, leaves, Leaf.at)
    finally:
        state.take_down()


@contextmanager
def targets(fabric: Fabric[Leaf]) -> Iterator[list[HwvtepTarget]]:
    made = [
        HwvtepTarget(LeafId(leaf.name), HwvtepSettings(leaf.db, str(leaf.vtep.ip), leaf.ports, "test"))
        for leaf in fabric.leaves.values()
    ]
    yield made
    for target in made:
        target.close()


@pytest.fixture
def fabric() -> Iterator[Fabric[Leaf]]:
    with up(leaf1=("swp1", "swp2"), leaf2=("swp1",)) as made:
        yield made


@pytest.fixture
def leaves(fabric: Fabric[Leaf]) -> Iterator[tuple[HwvtepTarget, HwvtepTarget]]:
    with targets(fabric) as (one, two):
        yield one, two


def at(vtep: str, vni: Vni, guest: Guest) -> LeafUnicast:
    return LeafUnicast(vni, Mac(guest.mac), vtep)


def join(leaves: tuple[HwvtepTarget, HwvtepTarget], vni: Vni, vid1: int, vid2: int) -> None:
    """One network with a VID of its own at each leaf."""
    one, two = leaves
    done(one, Learn((LeafBinding(Vid(vid1), vni), LeafFlood(vni, frozenset({VTEP2})))))
    done(two, Learn((LeafBinding(Vid(vid2), vni), LeafFlood(vni, frozenset({VTEP1})))))


def test_a_network_joins_the_vids_that_mean_it_and_no_others(
    fabric: Fabric[Leaf], leaves: tuple[HwvtepTarget, HwvtepTarget]
) -> None:
    a, b = fabric.boot("a", AT1, "10.0.0.1/24"), fabric.boot("b", AT2, "10.0.0.2/24")
    c, d = fabric.boot("c", STRANGE1, "10.0.0.3/24"), fabric.boot("d", STRANGE2, "10.0.0.4/24")
    assert not a.reaches("10.0.0.2", 1.0), "nobody has told the leaves anything"
    join(leaves, RED, 101, 205)
    join(leaves, BLUE, 205, 101)
    done(leaves[0], Learn((at(VTEP2, RED, b), at(VTEP2, BLUE, d))))
    done(leaves[1], Learn((at(VTEP1, RED, a), at(VTEP1, BLUE, c))))
    eventually(lambda: a.reaches("10.0.0.2", 0.5) and c.reaches("10.0.0.4", 0.5), within=30)

    with Capture(fabric.spine) as wire:
        assert a.ping("10.0.0.2").all_answered
        assert a.transfer(b, "10.0.0.2").intact
        told = [found for heard in wire.heard() if (found := vxlan(heard.frame)) is not None]
    red = [found for found in told if a.mac in (found.inner.src, found.inner.dst)]
    assert red
    assert {found.vni for found in red} == {RED}
    assert {found.inner.vid for found in told} == {None}
    assert {(str(found.local), str(found.remote)) for found in red} == {(VTEP1, VTEP2), (VTEP2, VTEP1)}

    assert b.hears(a)
    assert d.hears(c)
    for hearer, speaker in ((c, a), (d, a), (a, c), (b, c), (c, b), (a, d)):
        assert not hearer.hears(speaker), f"{hearer.name} hears {speaker.name}"


def test_what_one_says_to_all_is_heard_below_every_leaf_once() -> None:
    """With the schema's own default, service_node, one of two other leaves hears nothing."""
    with up(leaf1=("swp1",), leaf2=("swp1",), leaf3=("swp1",)) as fabric, targets(fabric) as made:
        guests = [
            fabric.boot(name, Spot(leaf, "swp1", vid), f"10.0.0.{vid}/24")
            for name, leaf, vid in (("a", "leaf1", 11), ("b", "leaf2", 12), ("c", "leaf3", 13))
        ]
        vteps = frozenset(str(leaf.vtep.ip) for leaf in fabric.leaves.values())
        for target, leaf, vid in zip(made, fabric.leaves.values(), (11, 12, 13), strict=True):
            done(target, Learn((LeafBinding(Vid(vid), RED), LeafFlood(RED, vteps - {str(leaf.vtep.ip)}))))
        for speaker in guests:
            for hearer in guests:
                if hearer is not speaker:
                    eventually(lambda hearer=hearer, speaker=speaker: hearer.hears(speaker), within=30)  # type: ignore[misc]
        with guests[1].listen() as heard:
            guests[0].send(*(marked(guests[0].mac, BROADCAST, f"no {number}") for number in range(20)))
            time.sleep(0.5)
            said = [mark_of(frame) for frame in heard.frames(lambda frame: frame.ethertype == ETH_LAB)]
            assert sorted(filter(None, said)) == sorted(f"no {number}" for number in range(20))


def test_a_vm_that_moves_to_another_leaf_is_found_there_although_the_old_one_still_claims_it(
    fabric: Fabric[Leaf], leaves: tuple[HwvtepTarget, HwvtepTarget]
) -> None:
    one, two = leaves
    a, b = fabric.boot("a", AT1, "10.0.0.1/24"), fabric.boot("b", NEXT_TO_IT, "10.0.0.2/24")
    join(leaves, RED, 101, 205)
    done(two, Learn((at(VTEP1, RED, a), at(VTEP1, RED, b))))
    eventually(lambda: a.reaches("10.0.0.2", 0.5), within=30)
    pinging = a.keep_pinging("10.0.0.2", interval=0.05)
    eventually(lambda: b.mac in fabric.leaves["leaf1"].ctl("list-local-macs", "isthmus-test-5000"))

    done(two, Forget((at(VTEP1, RED, b),)))
    one.observe()
    fabric.plug("b", AT2)
    b.send(rarp(b.mac))
    moved = time.monotonic()
    time.sleep(3)
    assert b.mac in fabric.leaves["leaf1"].ctl("list-local-macs", "isthmus-test-5000"), (
        "frames to it keep it alive there"
    )
    done(one, Learn((at(VTEP2, RED, b),)))
    told = time.monotonic()
    time.sleep(5)
    result = pinging.stop()
    lost = [echo.sent for echo in result.echoes if echo.answered is None]
    assert any(moved < sent < told for sent in lost), "it was gone"
    assert max(lost) < told + 3, f"the last lost {max(lost) - told:.1f} s after the leaf was told"
    assert b.mac not in fabric.leaves["leaf1"].ctl("list-local-macs", "isthmus-test-5000")
