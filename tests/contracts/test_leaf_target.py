"""Every leaf switch behind the Target boundary keeps these promises beside those of all NVEs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isthmus.model.change import Change, Forget, Learn, Outcome
from isthmus.model.names import Mac
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry
from isthmus.model.observed import NveMirror
from isthmus.model.tags import Vid, VidSet, Vni
from tests.contracts.nve_world import (
    LeafWorld,
    eos,
    eos_mlag,
    junos,
    nvue,
    nvue_pair,
    nxos,
    real_evpn,
    real_pair,
    real_vtep,
    sonic,
    wire_leaf,
    wire_pair,
)

WORLDS = {"wire-leaf": wire_leaf, "wire-pair": wire_pair, "real-vtep": real_vtep, "real-pair": real_pair}
LEARNING = {
    "sonic": sonic,
    "eos": eos,
    "eos-pair": eos_mlag,
    "junos": junos,
    "nxos": nxos,
    "nvue": nvue,
    "nvue-pair": nvue_pair,
    "real-evpn": real_evpn,
}
"""They are told of no members."""
LONG = pytest.mark.live, pytest.mark.live_long
LIVE = dict.fromkeys(("real-vtep", "real-pair"), (pytest.mark.live,)) | {"real-evpn": LONG}
RED, BLUE, THEIRS = Vni(5000), Vni(6000), Vni(7000)


@pytest.fixture(params=[pytest.param(name, marks=LIVE.get(name, ())) for name in WORLDS])
def world(request: pytest.FixtureRequest) -> Iterator[LeafWorld]:
    with WORLDS[request.param]() as made:
        yield made


@pytest.fixture(params=[pytest.param(n, marks=LIVE.get(n, ())) for n in WORLDS | LEARNING])
def any_world(request: pytest.FixtureRequest) -> Iterator[LeafWorld]:
    with (WORLDS | LEARNING)[request.param]() as made:
        yield made


def outcome(world: LeafWorld, action: Learn | Forget) -> Outcome:
    [result] = world.target.apply([Change(1, world.target.id, action, "contract")])
    return result.outcome


def seen(world: LeafWorld) -> NveMirror:
    mirror = world.target.observe()
    assert isinstance(mirror, NveMirror)
    return mirror


def held(world: LeafWorld) -> set[NveEntry]:
    return set(seen(world).entries.values())


def learn(world: LeafWorld, *entries: NveEntry) -> None:
    assert outcome(world, Learn(entries)) is Outcome.DONE


def forget(world: LeafWorld, *entries: NveEntry) -> None:
    assert outcome(world, Forget(entries)) is Outcome.DONE


def test_a_network_without_peers_is_there_all_the_same(world: LeafWorld) -> None:
    learn(world, LeafFlood(RED, frozenset()))
    assert held(world) == {LeafFlood(RED, frozenset())}
    forget(world, LeafFlood(RED, frozenset()))
    assert held(world) == set()


def test_a_network_that_loses_its_last_peer_stays(world: LeafWorld) -> None:
    learn(world, LeafBinding(Vid(101), RED), LeafFlood(RED, frozenset({"192.0.2.2"})))
    learn(world, LeafFlood(RED, frozenset()))
    assert held(world) == {LeafBinding(Vid(101), RED), LeafFlood(RED, frozenset())}


def test_a_vid_that_means_another_network_now_is_not_taken_from_it(any_world: LeafWorld) -> None:
    red, blue = LeafBinding(Vid(101), RED), LeafBinding(Vid(101), BLUE)
    learn(any_world, red)
    if not any_world.replaces:
        forget(any_world, red)
    learn(any_world, blue)
    forget(any_world, red)
    assert blue in held(any_world)


def test_one_network_may_have_several_vids_and_one_mac_be_in_several_networks(world: LeafWorld) -> None:
    mac = Mac("00:50:56:00:00:01")
    entries = (
        LeafBinding(Vid(101), RED),
        LeafBinding(Vid(102), RED),
        LeafUnicast(RED, mac, "192.0.2.2"),
        LeafUnicast(BLUE, mac, "192.0.2.3"),
    )
    learn(world, *entries)
    assert held(world) == world.reads(entries)
    forget(world, entries[0], entries[2])
    assert held(world) == world.reads([entries[1], entries[3]])


def test_what_another_hand_bound_is_worn_and_not_ours_to_change(any_world: LeafWorld) -> None:
    worn = seen(any_world).foreign_vids | VidSet.of([300])
    any_world.bind_by_hand(Vid(300), THEIRS)
    assert held(any_world) == set()
    assert seen(any_world).foreign_vids == worn
    assert outcome(any_world, Learn((LeafBinding(Vid(300), RED),))) is Outcome.REFUSED
    forget(any_world, LeafBinding(Vid(300), THEIRS))
    assert seen(any_world).foreign_vids == worn
    assert held(any_world) == set()


def test_a_vni_that_another_hand_uses_is_refused(world: LeafWorld) -> None:
    world.bind_by_hand(Vid(300), THEIRS)
    for entry in (LeafBinding(Vid(101), THEIRS), LeafFlood(THEIRS, frozenset())):
        assert outcome(world, Learn((entry,))) is Outcome.REFUSED
    learn(world, LeafBinding(Vid(101), RED))
    assert held(world) == world.reads([LeafBinding(Vid(101), RED)])
