"""A distributed switch of the lab does what a real one does, for every kind of DV port."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lab.netns.dvs import Access, MacLearning, Policy, Trunk
from lab.netns.frames import BROADCAST, mark_of, marked
from lab.netns.namespace import packet_socket
from tests.lab.netns.bench import QUIET, Bench, bench, mac

pytestmark = pytest.mark.live

RED, BLUE = Policy(Access(11)), Policy(Access(12))
FORGER = Policy(Access(11), forged_transmits=True)
STRANGER = "00:50:56:99:99:99"


def trunk(*ranges: tuple[int, int], **policy: object) -> Policy:
    return Policy(Trunk(ranges or ((1, 4094),)), forged_transmits=True, **policy)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def dvs() -> Iterator[Bench]:
    with bench() as made:
        yield made


def test_a_broadcast_is_heard_in_its_vid_only(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": RED, "c": RED, "x": BLUE})
    assert dvs.who_hears("a", marked(mac("a"), BROADCAST, "hello")) == {"b": [None], "c": [None]}


def test_a_unicast_is_heard_by_its_receiver_only(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": RED, "c": RED})
    assert dvs.who_hears("a", marked(mac("a"), mac("b"), "for b")) == {"b": [None]}


def test_a_unicast_to_a_mac_of_another_vid_is_heard_by_nobody(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": RED, "x": BLUE})
    assert dvs.who_hears("a", marked(mac("a"), mac("x"), "guessed")) == {}


def test_a_unicast_to_an_unknown_mac_is_not_flooded_to_plain_ports(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": RED})
    assert dvs.who_hears("a", marked(mac("a"), STRANGER, "who?")) == {}


def test_a_switch_on_another_host_hears_nothing(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": RED, "c": RED}, c="h2")
    assert dvs.who_hears("a", marked(mac("a"), BROADCAST, "hello")) == {"b": [None]}


def test_ports_without_vlan_talk_untagged_among_themselves(dvs: Bench) -> None:
    dvs.set({"a": Policy(Access(0)), "b": Policy(Access(0)), "c": RED, "t": trunk((1, 4094))})
    assert dvs.who_hears("a", marked(mac("a"), BROADCAST, "untagged")) == {"b": [None]}


def test_a_forged_source_is_dropped_unless_allowed(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": RED, "f": FORGER})
    forged = marked(STRANGER, BROADCAST, "forged")
    assert dvs.who_hears("a", forged) == {}
    assert dvs.who_hears("f", forged) == {"a": [None], "b": [None]}


def test_a_blocked_port_passes_nothing_either_way(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": Policy(Access(11), blocked=True), "c": RED})
    assert dvs.who_hears("b", marked(mac("b"), BROADCAST, "out")) == {}
    assert dvs.who_hears("a", marked(mac("a"), BROADCAST, "in")) == {"c": [None]}
    assert dvs.who_hears("a", marked(mac("a"), mac("b"), "in, unicast")) == {}


def test_a_tag_sent_by_a_guest_on_an_access_port_is_dropped(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": RED, "x": BLUE, "t": trunk()})
    for vid in (11, 12):
        assert dvs.who_hears("a", marked(mac("a"), BROADCAST, f"tagged {vid}", vid=vid)) == {}


def test_a_trunk_hears_its_ranges_tagged(dvs: Bench) -> None:
    dvs.set({"a": RED, "x": BLUE, "t": trunk((5, 11), (100, 200)), "u": trunk((0, 12))})
    assert dvs.who_hears("a", marked(mac("a"), BROADCAST, "11")) == {"t": [11], "u": [11]}
    assert dvs.who_hears("x", marked(mac("x"), BROADCAST, "12")) == {"u": [12]}


def test_a_trunk_may_send_its_ranges_only(dvs: Bench) -> None:
    dvs.set({"a": RED, "x": BLUE, "n": Policy(Access(0)), "t": trunk((11, 11)), "u": trunk((0, 0))})
    assert dvs.who_hears("t", marked(mac("t"), BROADCAST, "11", vid=11)) == {"a": [None]}
    assert dvs.who_hears("t", marked(mac("t"), BROADCAST, "12", vid=12)) == {}
    assert dvs.who_hears("t", marked(mac("t"), BROADCAST, "untagged")) == {}
    assert dvs.who_hears("u", marked(mac("u"), BROADCAST, "untagged 0")) == {"n": [None]}


def test_a_promiscuous_port_hears_everything_of_its_vids_once(dvs: Bench) -> None:
    dvs.set({"a": RED, "b": RED, "x": BLUE, "y": BLUE, "p": Policy(Access(11), promiscuous=True)})
    assert dvs.who_hears("a", marked(mac("a"), mac("b"), "to b")) == {"b": [None], "p": [None]}
    assert dvs.who_hears("a", marked(mac("a"), BROADCAST, "to all")) == {"b": [None], "p": [None]}
    assert dvs.who_hears("a", marked(mac("a"), mac("p"), "to p")) == {"p": [None]}
    assert dvs.who_hears("a", marked(mac("a"), STRANGER, "to nobody")) == {"p": [None]}
    assert dvs.who_hears("x", marked(mac("x"), mac("y"), "blue")) == {"y": [None]}


def test_unknown_unicast_reaches_a_learning_port_that_floods(dvs: Bench) -> None:
    floods, silent = MacLearning(unicast_flooding=True), MacLearning(unicast_flooding=False)
    dvs.set({"a": RED, "b": RED, "t": trunk(mac_learning=floods), "s": trunk(mac_learning=silent)})
    assert dvs.who_hears("a", marked(mac("a"), STRANGER, "who?")) == {"t": [11]}
    assert dvs.who_hears("a", marked(mac("a"), mac("b"), "b")) == {"b": [None]}


def test_a_learned_mac_is_found_behind_its_port_only(dvs: Bench) -> None:
    floods, silent = MacLearning(unicast_flooding=True), MacLearning(unicast_flooding=False)
    dvs.set({"a": RED, "x": BLUE, "t": trunk(mac_learning=floods), "s": trunk(mac_learning=silent)})
    remote = "00:50:56:77:00:01"
    dvs.who_hears("s", marked(remote, BROADCAST, "here I am", vid=11))
    assert dvs.who_hears("a", marked(mac("a"), remote, "found")) == {"s": [11]}
    # What was learned in one VID says nothing of another.
    assert dvs.who_hears("x", marked(mac("x"), remote, "blue")) == {"t": [12]}


def test_what_was_learned_is_forgotten_with_the_port(dvs: Bench) -> None:
    silent = MacLearning(unicast_flooding=False)
    remote = "00:50:56:77:00:02"
    dvs.set({"a": RED, "s": trunk(mac_learning=silent)})
    dvs.who_hears("s", marked(remote, BROADCAST, "here I am", vid=11))
    dvs.set({"a": RED, "s": trunk()})
    dvs.set({"a": RED, "s": trunk(mac_learning=silent)})
    assert dvs.who_hears("a", marked(mac("a"), remote, "lost")) == {}


@pytest.mark.parametrize(("drop", "heard"), [(True, {}), (False, {"a": [None]})])
def test_beyond_its_limit_a_learning_port_drops_or_floods(dvs: Bench, drop: bool, heard: dict[str, list[None]]) -> None:
    learning = MacLearning(unicast_flooding=False, limit=2, drop_over_limit=drop)
    dvs.set({"a": RED, "t": trunk(mac_learning=learning)})
    for last in (1, 2):
        within_limit = marked(f"00:50:56:77:01:0{last}", BROADCAST, f"number {last}", vid=11)
        assert dvs.who_hears("t", within_limit) == {"a": [None]}
    assert dvs.who_hears("t", marked("00:50:56:77:01:03", BROADCAST, "one too many", vid=11)) == heard
    assert dvs.who_hears("a", marked(mac("a"), "00:50:56:77:01:02", "learned")) == {"t": [11]}
    assert dvs.who_hears("a", marked(mac("a"), "00:50:56:77:01:03", "not learned")) == {}


@pytest.mark.parametrize(("payload", "heard"), [(1600, {"b": [None], "t": [11]}), (1601, {})])
def test_a_frame_above_the_mtu_is_dropped_tag_not_counted(
    dvs: Bench, payload: int, heard: dict[str, list[int | None]]
) -> None:
    dvs.set({"a": RED, "b": RED, "t": trunk()})
    for name in ("a", "b", "t"):
        dvs.set_mtu(name, 9000)
    assert dvs.who_hears("a", marked(mac("a"), BROADCAST, "large", size=14 + payload)) == heard
    from_trunk = {name: [None] for name in ("a", "b") if heard}
    assert dvs.who_hears("t", marked(mac("t"), BROADCAST, "large", size=14 + payload, vid=11)) == from_trunk


def test_a_stunned_vm_hears_and_says_nothing_and_is_sought_nowhere_else(dvs: Bench) -> None:
    floods = MacLearning(unicast_flooding=True)
    dvs.set({"a": RED, "b": RED, "t": trunk(mac_learning=floods)})
    dvs.stun("b")
    assert dvs.who_hears("a", marked(mac("a"), mac("b"), "to b")) == {}
    assert dvs.who_hears("a", marked(mac("a"), BROADCAST, "to all")) == {"t": [11]}
    assert dvs.who_hears("b", marked(mac("b"), BROADCAST, "from b")) == {}


def test_a_vm_that_changes_its_host_leaves_one_switch_and_is_on_the_other(dvs: Bench) -> None:
    machines = {"a": RED, "b": RED, "c": RED}
    dvs.set(machines, c="h2")
    dvs.set(machines, b="h2", c="h2")
    assert dvs.who_hears("b", marked(mac("b"), BROADCAST, "moved")) == {"c": [None]}
    assert dvs.who_hears("a", marked(mac("a"), mac("b"), "gone")) == {}


def test_two_ports_with_one_mac_are_told_apart_by_their_vid(dvs: Bench) -> None:
    dvs.macs["o"] = mac("b")
    dvs.set({"a": RED, "b": RED, "x": BLUE, "o": BLUE})
    assert dvs.who_hears("a", marked(mac("a"), mac("b"), "red")) == {"b": [None]}
    assert dvs.who_hears("x", marked(mac("x"), mac("b"), "blue")) == {"o": [None]}


def test_a_retagged_port_is_at_every_instant_in_one_network(dvs: Bench) -> None:
    machines = {"a": RED, "b": RED, "x": BLUE, "z": Policy(Access(0)), "t": trunk()}
    dvs.set(machines)
    done = threading.Event()

    def talk() -> None:
        with packet_socket(dvs.cable("a").namespace, "eth0") as raw:
            number = 0
            while not done.wait(0.0005):
                raw.send(marked(mac("a"), BROADCAST, str(number := number + 1)).to_bytes())

    with dvs.listening() as captures:
        talker = threading.Thread(target=talk)
        talker.start()
        for vlan in (BLUE, RED) * 10:
            dvs.set({**machines, "a": vlan})
        done.set()
        talker.join()
        captures["b"].hears(lambda frame: False, within_seconds=QUIET)
        heard = {name: {mark for frame in c.frames() if (mark := mark_of(frame))} for name, c in captures.items()}
        tags = {frame.vid for frame in captures["t"].frames()}
    assert len(heard["b"]) > 50
    assert len(heard["x"]) > 50
    assert not heard["b"] & heard["x"]
    assert not heard["z"]
    assert tags == {11, 12}
