"""What is written for which change: the least, nothing foreign, and no VNI twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.adapters.leaf.hwvtep.snapshot import LogicalSwitch, Snapshot
from isthmus.adapters.leaf.hwvtep.steps import (
    Bind,
    Draft,
    MakeSwitch,
    RemoveSwitch,
    SetFlood,
    SetMac,
    Step,
    Unbind,
    words,
)
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.flow import Bridge, Flow, Match
from isthmus.model.names import Mac
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast
from isthmus.model.observed import TargetId
from isthmus.model.tags import Vid
from tests.adapters.leaf.world import (
    BLUE,
    OTHER,
    OUR_BLUE,
    OUR_RED,
    PEER,
    RED,
    SETTINGS,
    THEIRS,
    A,
    B,
    everywhere,
    leaf,
    ours,
    theirs,
)

LEAF = TargetId("leaf", "leaf1")
BOUND, FLOOD, PLACED = LeafBinding(Vid(101), RED), LeafFlood(RED, frozenset({PEER})), LeafUnicast(RED, A, PEER)
FULL = leaf(
    ours(RED), bound=everywhere((101, OUR_RED)), unicast={(OUR_RED, A): (PEER,)}, flood={OUR_RED: frozenset({PEER})}
)


def drafted(
    snapshot: Snapshot, *actions: BuildNve | Learn | Forget, known: frozenset[tuple[str, Mac]] = frozenset()
) -> tuple[list[Result], tuple[Step, ...]]:
    draft = Draft(snapshot, SETTINGS, known)
    results = [draft.take(Change(number, LEAF, action, "test")) for number, action in enumerate(actions)]
    return results, draft.steps()


def steps(snapshot: Snapshot, *actions: BuildNve | Learn | Forget) -> tuple[Step, ...]:
    results, written = drafted(snapshot, *actions)
    assert [result.outcome for result in results] == [Outcome.DONE] * len(actions), results
    return written


def refusal(snapshot: Snapshot, action: Learn | Forget) -> tuple[str, tuple[Step, ...]]:
    [result], written = drafted(snapshot, action)
    assert result.outcome is Outcome.REFUSED
    return result.detail, written


def test_a_network_is_made_before_anything_leads_to_it() -> None:
    assert steps(leaf(), Learn((BOUND, FLOOD, PLACED))) == (
        MakeSwitch(OUR_RED, RED),
        Bind("swp1", Vid(101), OUR_RED),
        Bind("swp2", Vid(101), OUR_RED),
        SetFlood(OUR_RED, frozenset({PEER})),
        SetMac(OUR_RED, A, PEER),
    )


def test_what_is_so_already_is_not_written() -> None:
    assert steps(FULL, BuildNve(), Learn((BOUND, FLOOD, PLACED))) == ()


def test_only_the_port_that_lacks_a_binding_gets_it() -> None:
    assert steps(leaf(ours(RED), bound={"swp1": {101: OUR_RED}}), Learn((BOUND,))) == (Bind("swp2", Vid(101), OUR_RED),)


def test_a_network_goes_with_the_last_that_it_holds() -> None:
    assert steps(FULL, Forget((BOUND, FLOOD, PLACED))) == (
        Unbind("swp1", Vid(101)), Unbind("swp2", Vid(101)), RemoveSwitch(OUR_RED),
    )  # fmt: skip
    assert steps(FULL, Forget((BOUND,)), Forget((FLOOD,)), Forget((PLACED,)))[-1] == RemoveSwitch(OUR_RED)
    assert steps(FULL, Forget((BOUND, PLACED))) == (
        Unbind("swp1", Vid(101)), Unbind("swp2", Vid(101)), SetMac(OUR_RED, A, None),
    )  # fmt: skip


def test_forgetting_what_is_not_there_writes_nothing() -> None:
    assert steps(leaf(), Forget((BOUND, FLOOD, PLACED))) == ()


def test_a_vid_that_means_another_network_by_now_stays_with_it() -> None:
    rebound = leaf(ours(RED), ours(BLUE), bound=everywhere((101, OUR_BLUE)))
    assert steps(rebound, Forget((BOUND,))) == (RemoveSwitch(OUR_RED),)
    assert steps(FULL, Learn((LeafBinding(Vid(101), BLUE),)), Forget((BOUND, FLOOD, PLACED))) == (
        MakeSwitch(OUR_BLUE, BLUE),
        Bind("swp1", Vid(101), OUR_BLUE),
        Bind("swp2", Vid(101), OUR_BLUE),
        RemoveSwitch(OUR_RED),
    )


def test_a_network_that_loses_its_last_vid_to_another_goes_too() -> None:
    snapshot = leaf(ours(RED), bound=everywhere((101, OUR_RED)))
    assert RemoveSwitch(OUR_RED) in steps(snapshot, Learn((LeafBinding(Vid(101), BLUE),)))


def test_a_moved_mac_and_a_changed_list_are_replaced() -> None:
    moved, fewer = LeafUnicast(RED, A, OTHER), LeafFlood(RED, frozenset({OTHER}))
    assert steps(FULL, Learn((moved, fewer))) == (
        SetFlood(OUR_RED, frozenset({OTHER}), frozenset({PEER})),
        SetMac(OUR_RED, A, OTHER),
    )


@pytest.mark.parametrize("altered", [ours(RED, key=5001), ours(RED, replication="")])
def test_a_network_that_another_hand_altered_is_mended(altered: LogicalSwitch) -> None:
    snapshot = leaf(altered, bound=everywhere((101, OUR_RED)))
    assert steps(snapshot, Learn((BOUND,))) == (MakeSwitch(OUR_RED, RED, exists=True),)


def test_a_vni_of_somebody_elses_network_is_refused_and_nothing_is_written() -> None:
    told, written = refusal(leaf(theirs(RED)), Learn((BOUND, FLOOD)))
    assert "VNI 5000 is taken on switch leaf1 by logical switch 'storage', which is not ours" in told
    assert written == ()


def test_a_vni_that_a_network_of_ours_was_given_by_hand_waits_until_that_is_mended() -> None:
    snapshot = leaf(ours(BLUE, key=RED), bound=everywhere((102, OUR_BLUE)))
    [result], written = drafted(snapshot, Learn((BOUND,)))
    assert result.outcome is Outcome.RETRY
    assert f"VNI 5000 is on logical switch {OUR_BLUE}" in result.detail
    assert written == ()


def test_a_network_of_our_name_without_our_mark_is_refused() -> None:
    told, written = refusal(leaf(theirs(None, name=OUR_RED)), Learn((BOUND,)))
    assert f"{OUR_RED} exists and does not say that it is ours (its description is 'by hand')" in told
    assert written == ()


def test_a_vid_that_somebody_else_bound_is_refused_and_the_others_are_learnt() -> None:
    snapshot = leaf(theirs(), bound={"swp2": {101: "storage"}})
    results, written = drafted(snapshot, Learn((BOUND,)), Learn((LeafBinding(Vid(102), BLUE),)))
    assert [result.outcome for result in results] == [Outcome.REFUSED, Outcome.DONE]
    assert "VID 101 of port swp2 of switch leaf1 is bound to logical switch 'storage'" in results[0].detail
    assert written[0] == MakeSwitch(OUR_BLUE, BLUE)
    assert all(OUR_RED not in str(step) and "storage" not in str(step) for step in written)


@pytest.mark.parametrize(
    "elsewhere",
    [{"swp9": {0: OUR_RED}}, {"swp1": {101: OUR_RED, 0: OUR_RED}, "swp2": {101: OUR_RED}}],
    ids=["untagged on another port", "untagged"],
)
def test_a_network_that_another_hand_bound_elsewhere_stays_with_nothing_of_ours_in_it(
    elsewhere: dict[str, dict[int, str]],
) -> None:
    bound = {**everywhere((101, OUR_RED)), **elsewhere}
    snapshot = replace(FULL, physical=leaf(bound=bound).physical)
    told, written = refusal(snapshot, Forget((BOUND, FLOOD, PLACED)))
    assert f"logical switch {OUR_RED} stays" in told
    assert Unbind("swp1", Vid(101)) in written
    assert SetMac(OUR_RED, A, None) in written
    assert SetFlood(OUR_RED, frozenset(), frozenset({PEER})) in written
    assert not any(isinstance(step, RemoveSwitch) for step in written)
    assert all(step.port != "swp9" and step.vid != 0 for step in written if isinstance(step, Unbind))


TAKEN_OUT = {**everywhere((101, OUR_RED)), "swp9": {101: OUR_RED, 102: OUR_BLUE, 300: "storage"}}


def test_a_port_that_was_taken_out_of_the_configuration_leaves_our_networks_and_no_others() -> None:
    snapshot = leaf(ours(RED), ours(BLUE), theirs(), bound=TAKEN_OUT)
    assert steps(snapshot, Learn((BOUND,))) == (Unbind("swp9", Vid(101)),)
    assert steps(snapshot, Forget((LeafBinding(Vid(102), BLUE),))) == (Unbind("swp9", Vid(102)), RemoveSwitch(OUR_BLUE))
    assert steps(snapshot, Forget((LeafBinding(Vid(300), BLUE),))) == ()
    assert Unbind("swp9", Vid(101)) in steps(snapshot, Forget((BOUND,)))


def test_a_mac_that_the_leaf_came_to_see_below_itself_since_is_not_led_away() -> None:
    snapshot = replace(leaf(ours(RED)), local=frozenset({(OUR_RED, A)}))
    [result], written = drafted(snapshot, Learn((PLACED, LeafUnicast(RED, B, PEER))))
    assert result.outcome is Outcome.RETRY
    assert f"the leaf has just seen {A} below itself in VNI 5000" in result.detail
    assert written == (SetMac(OUR_RED, B, PEER),)


def test_a_mac_that_the_leaf_saw_before_the_world_was_read_has_moved_away_since() -> None:
    seen = frozenset({(OUR_RED, A)})
    [result], written = drafted(replace(leaf(ours(RED)), local=seen), Learn((PLACED,)), known=seen)
    assert result.outcome is Outcome.DONE
    assert written == (SetMac(OUR_RED, A, PEER),)


def test_a_mac_of_the_same_vm_in_another_network_is_another() -> None:
    snapshot = replace(leaf(ours(RED), ours(BLUE)), local=frozenset({(OUR_BLUE, A)}))
    assert steps(snapshot, Learn((PLACED,))) == (SetMac(OUR_RED, A, PEER),)


def test_an_entry_of_another_kind_of_nve_is_a_bug() -> None:
    with pytest.raises(TypeError, match="a leaf holds no Flow"):
        drafted(leaf(), Learn((Flow(Bridge.INT, 0, 1, Match(), ()),)))


def test_steps_in_the_words_of_an_operator() -> None:
    written = steps(leaf(ours(BLUE), flood={OUR_BLUE: frozenset({PEER})}), Learn((BOUND, PLACED)),
                    Learn((LeafFlood(BLUE, frozenset({OTHER})),)))  # fmt: skip
    assert [line for step in written for line in words("leaf1", step)] == [
        "vtep-ctl add-ls isthmus-test-5000",
        "vtep-ctl set Logical_Switch isthmus-test-5000 tunnel_key=5000 replication_mode=source_node",
        "vtep-ctl bind-ls leaf1 swp1 101 isthmus-test-5000",
        "vtep-ctl bind-ls leaf1 swp2 101 isthmus-test-5000",
        "vtep-ctl add-mcast-remote isthmus-test-6000 unknown-dst 192.0.2.3",
        "vtep-ctl del-mcast-remote isthmus-test-6000 unknown-dst 192.0.2.2",
        "vtep-ctl add-ucast-remote isthmus-test-5000 00:50:56:00:00:0a 192.0.2.2",
    ]
    gone = [line for step in steps(FULL, Forget((BOUND, FLOOD, PLACED))) for line in words("leaf1", step)]
    assert gone[-1] == (
        "vtep-ctl clear-remote-macs isthmus-test-5000 -- clear-local-macs isthmus-test-5000 -- del-ls isthmus-test-5000"
    )
    assert THEIRS not in gone
