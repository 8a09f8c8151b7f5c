"""What is read as ours on a leaf, what as somebody else's, and which leaves are not looked at at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.adapters.leaf.hwvtep.mirror import mirror, named_vni
from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings
from isthmus.adapters.leaf.hwvtep.snapshot import Snapshot
from isthmus.model.faults import Refused
from isthmus.model.names import LeafId
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import Vid, VidSet
from tests.adapters.leaf.world import (
    BLUE,
    OTHER,
    OUR_BLUE,
    OUR_RED,
    PEER,
    RED,
    SETTINGS,
    A,
    everywhere,
    leaf,
    ours,
    theirs,
    with_switch,
)

NOWHERE = LeafFlood(RED, frozenset())


def read(snapshot: Snapshot, settings: HwvtepSettings = SETTINGS) -> NveMirror:
    return mirror(TargetId("leaf", LeafId("leaf1")), snapshot, settings)


def entries(snapshot: Snapshot) -> set[NveEntry]:
    return set(read(snapshot).entries.values())


def refusal(snapshot: Snapshot, settings: HwvtepSettings = SETTINGS) -> str:
    with pytest.raises(Refused) as refused:
        read(snapshot, settings)
    return str(refused.value)


def test_a_leaf_with_nothing_of_ours_holds_nothing() -> None:
    assert read(leaf()) == NveMirror(TargetId("leaf", "leaf1"), {})


def test_all_that_is_ours_is_read() -> None:
    snapshot = leaf(
        ours(RED), bound=everywhere((101, OUR_RED)), unicast={(OUR_RED, A): (PEER,)}, flood={OUR_RED: frozenset({PEER})}
    )
    assert entries(snapshot) == {
        LeafBinding(Vid(101), RED), LeafUnicast(RED, A, PEER), LeafFlood(RED, frozenset({PEER})),
    }  # fmt: skip


def test_a_network_of_ours_with_nothing_in_it_is_there() -> None:
    assert entries(leaf(ours(RED))) == {NOWHERE}


def test_a_binding_that_a_port_lacks_is_not_whole() -> None:
    snapshot = leaf(ours(RED), bound={"swp1": {101: OUR_RED}})
    assert entries(snapshot) == {LeafBinding(Vid(101), RED, whole=False), NOWHERE}


@pytest.mark.parametrize("altered", [ours(RED, key=5001), ours(RED, replication="service_node")])
def test_a_binding_to_a_network_that_another_hand_altered_is_not_whole(altered: object) -> None:
    snapshot = replace(leaf(bound=everywhere((101, OUR_RED))), logical={OUR_RED: altered})  # type: ignore[dict-item]
    assert entries(snapshot) == {LeafBinding(Vid(101), RED, whole=False), NOWHERE}


def test_a_schema_without_replication_mode_asks_for_none() -> None:
    snapshot = replace(leaf(ours(RED, replication=""), bound=everywhere((101, OUR_RED))), replicates=False)
    assert LeafBinding(Vid(101), RED) in entries(snapshot)


def test_a_vid_that_means_two_networks_of_ours_is_not_whole() -> None:
    snapshot = leaf(ours(RED), ours(BLUE), bound={"swp1": {101: OUR_RED}, "swp2": {101: OUR_BLUE}})
    assert LeafBinding(Vid(101), RED, whole=False) in entries(snapshot)


def test_a_binding_on_a_port_that_was_taken_out_of_the_configuration_is_to_be_mended_or_forgotten() -> None:
    bound = {**everywhere((101, OUR_RED)), "swp9": {101: OUR_RED, 102: OUR_RED}}
    assert entries(leaf(ours(RED), bound=bound)) == {
        LeafBinding(Vid(101), RED, whole=False), LeafBinding(Vid(102), RED, whole=False), NOWHERE,
    }  # fmt: skip


def test_vids_bound_by_others_on_our_ports_are_worn_and_nothing_else_of_theirs_is_read() -> None:
    bound = {"swp1": {300: "storage", 0: "storage", 4095: "storage"}, "swp9": {301: "storage"}}
    snapshot = leaf(theirs(), bound=bound, unicast={("storage", A): (PEER,)}, flood={"storage": frozenset({PEER})})
    assert entries(snapshot) == set()
    assert read(snapshot).foreign_vids == VidSet.of([300])


@pytest.mark.parametrize(
    "not_ours",
    [
        theirs(RED, name=OUR_RED, description=""),
        theirs(RED, name=OUR_RED, description="isthmus owner=test schema=2"),
        theirs(RED, name=OUR_RED, description="isthmus owner=other schema=1"),
        theirs(RED, name="isthmus-other-5000", description=SETTINGS.mark),
        theirs(RED, name="isthmus-test-05000", description=SETTINGS.mark),
        theirs(RED, name="isthmus-test-red", description=SETTINGS.mark),
        theirs(RED, name="isthmus-test-16777216", description=SETTINGS.mark),
    ],
)
def test_what_does_not_say_by_name_and_description_that_it_is_ours_is_not(not_ours: object) -> None:
    name = not_ours.name  # type: ignore[attr-defined]
    snapshot = replace(leaf(bound=everywhere((101, name))), logical={name: not_ours})  # type: ignore[dict-item]
    assert entries(snapshot) == set()
    assert read(snapshot).foreign_vids == VidSet.of([101])


def test_an_owner_whose_name_begins_like_ours_is_another() -> None:
    longer = replace(SETTINGS, owner="test-5")
    assert named_vni(longer.name_of(RED), SETTINGS) is None
    assert named_vni(SETTINGS.name_of(RED), longer) is None
    assert named_vni(longer.name_of(RED), longer) == RED


def test_a_mac_that_another_hand_put_in_two_places_reads_like_none_that_is_wanted() -> None:
    assert LeafUnicast(RED, A, f"{PEER},{OTHER}") in entries(leaf(ours(RED), unicast={(OUR_RED, A): (PEER, OTHER)}))


def test_a_leaf_without_a_port_that_was_configured_is_refused_with_those_it_has() -> None:
    told = refusal(leaf(), replace(SETTINGS, ports=("swp1", "Ethernet4", "Ethernet5")))
    assert "switch leaf1 at tcp:leaf1:6640 has no port Ethernet4, Ethernet5" in told
    assert "there are: swp1, swp2, swp9.  Correct 'ports'" in told


def test_a_leaf_that_sends_from_another_address_is_refused() -> None:
    assert "sends from 192.0.2.7 (tunnel_ips), configured is 192.0.2.1" in refusal(
        with_switch(leaf(), tunnel_ips=frozenset({"192.0.2.7"}))
    )
    assert "sends from nowhere" in refusal(with_switch(leaf(), tunnel_ips=frozenset()))


def test_of_several_switches_in_a_database_one_must_be_named() -> None:
    one = leaf().physical["leaf1"]
    two = replace(leaf(), physical={"leaf1": one, "leaf2": replace(one, name="leaf2", tunnel_ips=frozenset())})
    assert "has not one physical switch; there are: leaf1, leaf2.  Name ours as 'switch'" in refusal(two)
    assert read(two, replace(SETTINGS, switch="leaf1")).entries == {}
    assert "no physical switch 'leaf3'; there are: leaf1, leaf2" in refusal(two, replace(SETTINGS, switch="leaf3"))
    assert "there are: none.  Is the switch's VTEP service" in refusal(replace(leaf(), physical={}))
