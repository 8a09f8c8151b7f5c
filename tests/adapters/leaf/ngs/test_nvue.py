"""A Cumulus Linux switch by networking-generic-switch: what is ours on it, what others do there, what breaks."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.adapters.leaf.ngs import NgsSettings, nvue_config
from isthmus.adapters.leaf.ngs.nvue import READS
from isthmus.adapters.leaf.ngs.nvue_config import Kernel, kernel, names, statements
from isthmus.model.change import Change, Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.nve import LeafBinding
from isthmus.model.tags import Vid, VidSet, Vni
from lab.wire.nvue import PAIR, NvueSwitch, at
from tests.adapters.leaf.ngs.nvue_switch import NVUE_PORTS, NvueTestSwitch, nvue, nvue_settings
from tests.adapters.leaf.ngs.telling import BLUE, RED, THEIRS, apply, binding, done, held, not_to_be_had

APPLY, SAVE, DETACH = "nv config apply --assume-no", "nv config save", "nv config detach"
ON_OURS = dict.fromkeys(NVUE_PORTS, "tagged")


@pytest.fixture
def switch() -> Iterator[NvueTestSwitch]:
    with nvue() as made:
        yield made


def ours(switch: NvueSwitch) -> dict[int, tuple[int | None, dict[str, str]]]:
    """What is so in the kernel in our range."""
    vids = {*switch.maps, *switch.members}
    return {vid: (switch.maps.get(vid), switch.members.get(vid, {})) for vid in sorted(vids) if 11 <= vid <= 205}


def test_a_binding_is_a_vlan_on_every_port_of_the_hosts_mapped_to_the_vni_and_saved(switch: NvueTestSwitch) -> None:
    done(switch.target(), Learn((binding(101, BLUE),)))
    assert ours(switch.nvue) == {101: (BLUE, ON_OURS)}
    assert switch.nvue.startup == switch.nvue.applied


def test_each_stage_of_many_networks_is_one_commit_and_all_are_saved_once(switch: NvueTestSwitch) -> None:
    target = switch.target()
    done(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(10)))
    assert (switch.told.count(APPLY), switch.told.count(SAVE)) == (3, 1), "make, map, join"
    done(target, *(Forget((binding(100 + n, Vni(5000 + n)),)) for n in range(10)))
    assert (switch.told.count(APPLY), switch.told.count(SAVE)) == (6, 2)
    assert ours(switch.nvue) == {}


def test_no_port_joins_before_the_vni_is_seen_and_none_loses_it_before_it_has_left(switch: NvueTestSwitch) -> None:
    states = []
    switch.nvue.changed = lambda: states.append(ours(switch.nvue))
    target = switch.target()
    done(target, Learn((binding(101),)))
    done(target, Forget((binding(101),)))
    assert states == [{}, {101: (RED, {})}, {101: (RED, ON_OURS)}, {101: (RED, {})}, {}, {}]


def test_what_it_holds_already_is_not_said_again(switch: NvueTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    told = list(switch.told)
    done(target, Learn((binding(101),)), Forget((binding(102, BLUE),)))
    assert switch.told == told


def test_nobody_becomes_root_since_what_is_staged_is_staged_by_login(switch: NvueTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    assert switch.roots == 0


@pytest.mark.parametrize(
    "line",
    [
        "interface vlan150 ip address 192.0.2.1/24",
        "interface vlan150 description gateway",
        "interface tenant type svi\nset interface tenant vlan 150",
        "interface swp5.150 ip address 192.0.2.1/24",
        "interface swp3 bridge domain br_default vlan 150",
        "interface swp3 bridge domain br_default vlan 140-160",
        "interface swp4 bridge domain br_default access 150",
        "interface swp4 bridge domain br_default untagged 150\nset interface swp4 bridge domain br_default vlan 4",
        "interface swp1 bridge domain br_default untagged 150",
        "bridge domain br_default vlan 150 vni auto",
        "bridge domain br_default vlan 150 multicast snooping querier source-ip 192.0.2.1",
        "bridge domain other vlan 150\nset interface swp5 bridge domain other vlan 150",
        "system global reserved vlan internal range 150-160",
        "interface swp5 dot1x auth-fail-vlan 150",
        "vrf RED something vlan 100-200",
        "system config snippet ifupdown2_eni swp5 bridge-vids 149 150",
    ],
)
def test_a_vlan_of_our_range_that_a_statement_is_about_is_somebody_elses(switch: NvueTestSwitch, line: str) -> None:
    if "auto" not in line:
        switch.nvue.by_hand(*f"set {line}".split("\n"))
    else:
        switch.nvue.applied["bridge"]["domain"]["br_default"]["vlan"]["150"] = {"vni": {"auto": {}}}
    target, before = switch.target(), deepcopy(switch.nvue.applied)
    assert 150 in not_to_be_had(target)
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
    assert re.search("VLAN 150 is (somebody else's|not made): ", result.detail)
    assert (switch.nvue.applied, switch.told) == (before, [])
    assert any(re.search("is (somebody else's|not made): ", found.what) for found in target.findings())


@pytest.mark.parametrize(
    "line",
    [
        "bridge domain br_default vlan 100-199",
        "bridge domain br_default stp vlan 1-4094 bridge-priority 4096",
        "bridge domain br_default dhcp-snoop vlan 150 trust swp5",
        "bridge domain br_default vlan-vni-offset 150",
        "interface swp5 link mtu 150",
        "interface swp3 description vlan150",
        "interface swp3 description core-sw1.150",
        "system hostname leaf1.150",
        "system config apply ignore /etc/ptp4l.conf",
        "system global reserved vlan internal range 4064-4094",
    ],
)
def test_a_statement_that_means_nothing_for_who_hears_whom_is_in_nobodys_way(switch: NvueTestSwitch, line: str) -> None:
    switch.nvue.by_hand(f"set {line}")
    target = switch.target()
    assert 150 not in not_to_be_had(target)
    done(target, Learn((binding(150),)))
    assert ours(switch.nvue)[150] == (RED, ON_OURS)


@pytest.mark.parametrize("vni", [5000, 10_005_000])
@pytest.mark.parametrize(
    "line",
    [
        "vrf RED evpn vni {vni}",
        "evpn vni {vni} route-target import 65000:77",
        "evpn vni 6000 route-target import 65000:{vni}",
        "vrf RED router bgp route-import from-evpn route-target 65000:{vni}",
        "bridge domain other vlan 7 vni {vni}",
        "bridge domain br_default vlan 300 vni {vni}",
    ],
)
def test_a_vni_that_another_statement_is_about_is_not_ours_to_use(switch: NvueTestSwitch, line: str, vni: int) -> None:
    switch.nvue.by_hand(f"set {line.format(vni=vni)}")
    target, before = switch.target(), deepcopy(switch.nvue.applied)
    [result] = apply(target, Learn((binding(150, Vni(vni)),)))
    assert result.outcome is Outcome.REFUSED
    assert f"VNI {vni}" in result.detail
    assert switch.nvue.applied == before


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("unset nve vxlan enable", "VXLAN is not enabled"),
        ("unset evpn enable", "EVPN is not enabled"),
        ("set evpn state disabled\nunset evpn enable", "EVPN is not enabled"),
        ("set bridge domain br_default type vlan-unaware", "not vlan-aware"),
        ("set interface swp4 bridge domain br_default", "swp4 carries every VLAN of br_default and is not ours"),
        ("unset interface swp1 bridge domain br_default vlan 4\nset interface swp1 bridge domain br_default vlan 12",
         "swp1 lists no VLAN outside vids"),
        ("set system config apply ignore /etc/network/interfaces", "it is told not to write /etc/network/interfaces"),
        ("set system config apply ignore /etc/frr/*", "it is told not to write /etc/frr/"),
        ("set system config apply ignore /etc/*", "it is told not to write /etc/"),
        ("set bridge domain br_default encap 802.1ad", "br_default is of 802.1ad"),
    ],
)  # fmt: skip
def test_a_switch_that_is_not_set_up_for_it_is_told_nothing(switch: NvueTestSwitch, line: str, why: str) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.told.clear()
    switch.nvue.by_hand(*line.split("\n"))
    results = apply(target, Learn((binding(102, BLUE),)), Forget((binding(101),)))
    assert {result.outcome for result in results} == {Outcome.RETRY}
    assert all(why in result.detail for result in results)
    assert any(why in warning for warning in target.observe().warnings)
    assert switch.told == []


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("set interface bond1 bond member swp2", "unset interface swp2 bridge"), "it is a member of bond1"),
        (("unset interface swp2 bridge", "set interface swp2 ip address 192.0.2.1/24"), "it is in no bridge"),
        (("unset interface swp2 bridge", "set interface swp2 bridge domain other"), "it is in bridge other"),
        (("unset interface swp2 bridge", "set interface swp2 bridge domain br_default access 300"), "an access port"),
    ],
)
def test_a_port_that_cannot_carry_our_vlans_joins_none_and_that_is_said(
    switch: NvueTestSwitch, lines: tuple[str, ...], why: str
) -> None:
    switch.nvue.by_hand(*lines)
    target = switch.target()
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert why in result.detail
    assert any("swp2 joins no VLAN" in warning and why in warning for warning in target.observe().warnings)
    assert ours(switch.nvue) == {101: (RED, {"swp1": "tagged"})}


def test_a_port_that_is_not_there_is_said(switch: NvueTestSwitch) -> None:
    target = switch.target(nvue_settings(ports=("swp1", "swp99")))
    [result] = apply(target, Learn((binding(101),)))
    assert "swp99: there is no such interface" in result.detail


def test_a_bond_that_is_named_is_a_port_like_any_other(switch: NvueTestSwitch) -> None:
    bond = ("set interface bond7 bond member swp4-5", "set interface bond7 bridge domain br_default vlan 4")
    switch.nvue.by_hand(*bond, "set interface bond7 bridge domain br_default untagged none")
    done(switch.target(nvue_settings(ports=("swp1", "bond7"))), Learn((binding(101),)))
    assert ours(switch.nvue) == {101: (RED, {"swp1": "tagged", "bond7": "tagged"})}


@pytest.mark.parametrize(
    "lines",
    [
        ("unset bridge domain br_default vlan 101 vni",),
        ("unset bridge domain br_default vlan 101",),
        ("unset interface swp1 bridge domain br_default vlan 101",),
        ("unset interface swp1-2 bridge domain br_default vlan 101", "unset bridge domain br_default vlan 101"),
    ],
)
def test_what_a_hand_took_away_is_seen_and_put_back(switch: NvueTestSwitch, lines: tuple[str, ...]) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.nvue.by_hand(*lines)
    seen = target.observe()
    assert binding(101) not in seen.entries.values()
    assert 101 not in seen.foreign_vids
    done(target, Learn((binding(101),)))
    assert ours(switch.nvue) == {101: (RED, ON_OURS)}


def test_ports_that_another_hand_added_stay_and_keep_the_vid_from_the_next(switch: NvueTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.nvue.by_hand("set interface swp3 bridge domain br_default vlan 101")
    assert any("swp3" in found.what for found in target.findings())
    done(target, Forget((binding(101),)))
    assert ours(switch.nvue) == {101: (None, {"swp3": "tagged"})}
    assert 101 in not_to_be_had(target)


def test_a_vni_of_another_is_not_taken_off(switch: NvueTestSwitch) -> None:
    target = switch.target()
    assert held(target) == set()
    switch.nvue.by_hand(f"set bridge domain br_default vlan 150 vni {int(THEIRS)}")
    [learnt, forgotten] = apply(target, Learn((binding(150),)), Forget((binding(150, BLUE),)))
    assert (learnt.outcome, forgotten.outcome) == (Outcome.RETRY, Outcome.DONE)
    assert ours(switch.nvue) == {150: (THEIRS, {})}


def test_a_vid_goes_from_one_network_to_another_at_once(switch: NvueTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101), binding(102, BLUE))))
    done(target, Learn((binding(101, BLUE),)), Forget((binding(101, RED), binding(102, BLUE))))
    assert ours(switch.nvue) == {101: (BLUE, ON_OURS)}


def test_a_switch_that_saves_by_itself_is_told_to_save_all_the_same(switch: NvueTestSwitch) -> None:
    switch.nvue.by_hand("set system config auto-save enable on")
    done(switch.target(), Learn((binding(101),)))
    assert ours(switch.nvue) == {101: (RED, ON_OURS)}
    assert switch.nvue.startup == switch.nvue.applied


def test_one_that_does_not_save_says_so_and_is_asked_again(switch: NvueTestSwitch) -> None:
    target = switch.target()
    switch.refuses = SAVE
    done(target, Learn((binding(101),)))
    assert any("does not save what it was told: Error: not now" in warning for warning in target.observe().warnings)
    switch.refuses, target._switch._clock = "", lambda: 1e9
    assert target.observe().warnings == ()
    assert switch.nvue.startup == switch.nvue.applied


def test_the_words_are_what_is_said(switch: NvueTestSwitch) -> None:
    target = switch.target()
    target.observe()
    learn = Change(1, target.id, Learn((binding(101),)), "test")
    words = list(target.words(learn))
    target.apply([learn])
    assert [word for word in switch.told if not word.startswith("nv config")] == words


@pytest.mark.parametrize(
    "bridged",
    [
        (),
        ("set interface peerlink bridge domain br_default",),
        ("unset interface peerlink type",),
        ("set interface peerlink bridge domain br_default untagged none",),
    ],
)
def test_the_link_between_a_pair_carries_every_vlan_and_is_told_of_none(
    switch: NvueTestSwitch, bridged: tuple[str, ...]
) -> None:
    switch.nvue.by_hand(*PAIR, *bridged)
    target = switch.target()
    done(target, Learn((binding(101),)))
    assert ours(switch.nvue) == {101: (RED, {**ON_OURS, "peerlink": "tagged"})}
    assert any("peerlink carries every VLAN" in warning for warning in target.observe().warnings)
    assert held(target) == {binding(101)}
    done(target, Forget((binding(101),)))
    assert ours(switch.nvue) == {}
    assert not [word for word in switch.told if "peerlink" in word]


def test_a_vlan_that_got_no_vni_goes_again_though_the_link_between_a_pair_carried_it(switch: NvueTestSwitch) -> None:
    switch.nvue.by_hand(*PAIR)
    target, switch.refuses = switch.target(), "nv set bridge domain br_default vlan 101 vni"
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert ours(switch.nvue) == {}


def test_a_link_between_a_pair_that_lists_vlans_is_a_port_like_anybodys(switch: NvueTestSwitch) -> None:
    switch.nvue.by_hand(*PAIR, "set interface peerlink bridge domain br_default vlan 4,101")
    target = switch.target()
    assert 101 in not_to_be_had(target)
    done(target, Learn((binding(102),)))
    assert ours(switch.nvue)[102] == (RED, ON_OURS)


def test_a_port_that_is_bridged_and_of_which_no_word_says_so_lets_nothing_be_told(switch: NvueTestSwitch) -> None:
    """It would be in every VLAN that is made, and keep each from its VNI."""
    at(switch.nvue.carried, "interface")["swp5"] = {"bridge": {"domain": {"br_default": {}}}}
    target = switch.target()
    for _ in range(2):
        [result] = apply(target, Learn((binding(101),)))
        assert "swp5 is in br_default, and its configuration does not say" in result.detail
    assert (switch.told, ours(switch.nvue)) == ([], {})


def test_ports_of_ours_without_a_list_carry_every_vlan_and_keep_on_doing_so(switch: NvueTestSwitch) -> None:
    """A first VLAN in its list would take all the others from a port."""
    lines = [f"unset interface {port} bridge domain br_default vlan 4" for port in (*NVUE_PORTS, "swp3")]
    switch.nvue.by_hand(*lines, "set bridge domain br_default vlan 300")
    target = switch.target(nvue_settings(ngs_trunk_ports="swp3"))
    done(target, Learn((binding(101),)))
    assert ours(switch.nvue) == {101: (RED, {**ON_OURS, "swp3": "tagged"})}
    assert switch.nvue.members[300] == {**ON_OURS, "swp3": "tagged"}
    done(target, Forget((binding(101),)))
    assert ours(switch.nvue) == {}
    assert switch.nvue.members[300] == {**ON_OURS, "swp3": "tagged"}


def test_what_is_applied_and_does_not_come_about_is_not_done(switch: NvueTestSwitch) -> None:
    target = switch.target()
    switch.nvue.slow_kernel = True
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "it is to have VNI 5000, and has no VNI" in result.detail
    switch.nvue.slow_kernel = False
    switch.nvue._carry()
    done(target, Learn((binding(101),)))
    assert held(target) == {binding(101)}


def test_a_port_that_only_the_kernel_has_in_a_vlan_was_put_there_by_somebody(switch: NvueTestSwitch) -> None:
    listed = at(switch.nvue.carried, "interface", "swp1", *BRIDGED, "vlan")
    listed["150"] = {}
    assert switch.nvue.members[150] == {"swp1": "tagged"}
    [result] = apply(switch.target(), Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
    assert switch.told == []


def test_a_bridge_that_the_kernel_has_of_another_kind_is_told_nothing(switch: NvueTestSwitch) -> None:
    at(switch.nvue.carried, *BRIDGED)["encap"] = "802.1ad"
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert "no VLAN-aware bridge br_default of 802.1Q" in result.detail
    assert switch.told == []


def test_a_file_that_is_not_written_and_has_no_vlans_in_it_is_told_of(switch: NvueTestSwitch) -> None:
    switch.nvue.by_hand("set system config apply ignore /etc/ptp4l.conf")
    [warning] = switch.target().observe().warnings
    assert "it is told not to write /etc/ptp4l.conf" in warning


def test_what_is_long_is_read_whole(switch: NvueTestSwitch) -> None:
    """A terminal is shown it page by page."""
    target = switch.target()
    for n in range(30):
        switch.nvue.states[f"{n + 100}"] = "previous"
        switch.nvue.run(f"nv set interface swp1 bridge domain br_default vlan {11 + 2 * n}")
        switch.nvue.run(f"nv set bridge domain br_default vlan {11 + 2 * n} vni {5000 + n}")
    assert len(switch.nvue.staged("isthmus")) > 23
    assert held(target) == set()
    assert switch.nvue.candidates == {}
    done(target, *(Learn((binding(11 + 2 * n, Vni(5000 + n)),)) for n in range(30)))


def test_frames_of_our_ports_that_are_copied_elsewhere_are_told(switch: NvueTestSwitch) -> None:
    switch.nvue.by_hand(
        "set system port-mirror session 1 span source-port swp1-3",
        "set acl tap rule 1 action span swp5",
        "set interface swp2 acl tap inbound",
        "set acl other rule 1 action span swp5",
    )
    warnings = switch.target().observe().warnings
    assert [warning.partition(": ")[2].partition(":")[0] for warning in warnings] == [
        "frames of swp1, swp2 are copied",
        "frames of swp2 are copied",
    ]


# What others have staged, are trying, or apply


FOREIGN = "nv set interface swp5 link mtu 9000"


def test_what_somebody_has_staged_under_our_login_is_neither_applied_nor_dropped(switch: NvueTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.told.clear()
    switch.nvue.run(FOREIGN)
    [result] = apply(target, Learn((binding(102, BLUE),)))
    assert result.outcome is Outcome.RETRY
    assert "nv config detach" in result.detail
    assert FOREIGN.removesuffix("9000") in result.detail
    assert held(target) == {binding(101)}, "it can be looked at"
    assert switch.told == []
    assert switch.nvue.staged("isthmus") == (FOREIGN,)
    switch.nvue.run("nv config detach")
    done(target, Learn((binding(102, BLUE),)))


def test_what_somebody_has_staged_under_his_own_login_is_in_nobodys_way(switch: NvueTestSwitch) -> None:
    switch.nvue.run(FOREIGN, "admin")
    done(switch.target(), Learn((binding(101),)))
    assert switch.nvue.candidates.keys() == {"admin"}


def test_what_a_session_of_ours_left_staged_is_dropped_at_the_next_look(switch: NvueTestSwitch) -> None:
    for line in (
        "nv set bridge domain br_default vlan 101-102 vni 5000",
        "nv set interface swp1-2 bridge domain br_default vlan 101-102",
    ):
        switch.nvue.run(line)
    assert held(switch.target()) == set()
    assert switch.nvue.candidates == {}
    assert switch.told == [DETACH]


def test_a_trial_of_somebody_elses_is_waited_for_and_not_saved(switch: NvueTestSwitch) -> None:
    target = switch.target()
    before = deepcopy(switch.nvue.startup)
    switch.nvue.run("nv set interface swp5 link mtu 9000", "admin")
    switch.nvue.run("nv config apply --confirm 10m --assume-yes", "admin")
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "on trial" in result.detail
    assert any("on trial" in warning for warning in target.observe().warnings)
    assert (switch.told, switch.nvue.startup) == ([], before)
    switch.nvue.roll_back()
    done(target, Learn((binding(101),)))


def test_nothing_is_saved_while_somebody_tries_something(switch: NvueTestSwitch) -> None:
    """It would keep what is to be rolled back."""

    def meddle(command: str) -> None:
        if command.startswith("bridge -j vlan tunnelshow") and switch.nvue.members.get(101) == ON_OURS:
            switch.before = lambda command: None
            switch.nvue.run("nv set interface swp5 link mtu 9000", "admin")
            switch.nvue.run("nv config apply --confirm 10m --assume-yes", "admin")

    target, switch.before = switch.target(), meddle
    done(target, Learn((binding(101),)))
    assert SAVE not in switch.told
    assert any("on trial" in warning for warning in target.observe().warnings)
    switch.nvue.roll_back()
    target._switch._clock = lambda: 1e9
    target.observe()
    assert switch.nvue.startup == switch.nvue.applied
    assert "swp5" not in switch.nvue.startup["interface"]


def test_while_something_is_being_applied_nothing_is_known(switch: NvueTestSwitch) -> None:
    switch.nvue.states["7"] = "reloading"
    with pytest.raises(Retry, match="revision 7 is in state 'reloading'"):
        switch.target().observe()


@pytest.mark.parametrize("state", ["apply", "ays_yes", "checking", "readying", "verifying", "ignore_fail"])
def test_a_revision_that_is_under_way_is_waited_for(switch: NvueTestSwitch, state: str) -> None:
    switch.nvue.states["7"] = state
    with pytest.raises(Retry, match=f"revision 7 is in state '{state}'"):
        switch.target().observe()


@pytest.mark.parametrize(
    "state",
    [
        "detached",
        "previous",
        "dry_run_complete",
        "ays",
        "ays_fail",
        "confirm_fail",
        "invalid",
        "saved",
        "of a later one",
    ],
)
def test_a_revision_that_is_at_rest_is_in_nobodys_way(switch: NvueTestSwitch, state: str) -> None:
    """For ever, else: a revision keeps its last state."""
    switch.nvue.states["2"] = state
    done(switch.target(), Learn((binding(101),)))


def test_what_was_detached_here_is_in_nobodys_way(switch: NvueTestSwitch) -> None:
    target = switch.target()
    switch.nvue.refuses = frozenset((103,))
    assert apply(target, Learn((binding(103, BLUE),)))[0].outcome is Outcome.RETRY
    assert "detached" in switch.nvue.states.values()
    done(target, Learn((binding(104, BLUE),)))


def test_nothing_is_committed_while_somebody_elses_is_just_being_applied(switch: NvueTestSwitch) -> None:
    def meddle(command: str) -> None:
        if command.startswith("nv config diff") and "isthmus" in switch.nvue.candidates:
            switch.nvue.states["77"] = "reloading"

    target, switch.before = switch.target(), meddle
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "revision 77 is in state 'reloading'" in result.detail
    assert APPLY not in switch.told
    switch.before, switch.nvue.states["77"] = lambda command: None, "applied"
    done(target, Learn((binding(101),)))


def test_a_question_of_the_switchs_is_answered_with_no_and_shown(switch: NvueTestSwitch) -> None:
    switch.nvue.warns = "/etc/network/interfaces was changed by hand and will be overwritten"
    target = switch.target()
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "will be overwritten" in result.detail
    assert switch.nvue.candidates == {}
    assert switch.told.count(APPLY) == 1


def test_vlans_that_the_switch_refuses_do_not_stop_the_others_and_are_named(switch: NvueTestSwitch) -> None:
    switch.nvue.refuses = frozenset((103, 110))
    target = switch.target()
    results = apply(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(16)))
    refused = [result for result in results if result.outcome is not Outcome.DONE]
    assert [result.change.id for result in refused] == [3, 10]
    assert all("this VLAN cannot be configured" in result.detail for result in refused)
    assert {e.vid for e in held(target) if isinstance(e, LeafBinding)} == set(range(100, 116)) - {103, 110}
    assert switch.nvue.candidates == {}


def test_what_it_refuses_whatever_vlan_is_about_is_asked_thrice_and_no_more(switch: NvueTestSwitch) -> None:
    switch.nvue.declines = "router bgp: no autonomous-system"
    results = apply(switch.target(), *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(64)))
    assert switch.told.count(APPLY) == 3
    assert {result.outcome for result in results} == {Outcome.RETRY}
    assert all("no autonomous-system" in result.detail for result in results)


def test_one_that_refuses_many_is_asked_a_few_times_a_round_and_takes_the_others_in_the_end(
    switch: NvueTestSwitch,
) -> None:
    """Also where it refuses the first, of which a round's commits would not find all, and some of the others."""
    refused = {*range(16), *range(16, 64, 8)}
    switch.nvue.refuses = frozenset(100 + n for n in refused)
    target = switch.target(nvue_settings(vids="11-205"))
    random.seed(1)
    for _ in range(60):
        switch.told.clear()
        results = apply(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(64)))
        assert switch.told.count(APPLY) <= 20 + 2, "to make, to map and to join"
        left = {result.change.id for result in results if result.outcome is not Outcome.DONE}
        if left == refused:
            break
    assert left == refused
    assert switch.nvue.candidates == {}


@pytest.mark.parametrize("answer", ["", "applied", "confirm [rev_id: 2]", "ays_fail [rev_id: 2]"])
def test_a_commit_is_made_if_the_switch_says_so_with_its_revision(switch: NvueTestSwitch, answer: str) -> None:
    target = switch.target()
    switch.answers = {APPLY: answer}
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert (answer or "does not say that it applied") in result.detail
    assert switch.told == ["nv set bridge domain br_default vlan 101", APPLY, DETACH, SAVE]
    switch.answers = {}
    done(target, Learn((binding(101),)))


@pytest.mark.parametrize("answer", ["", "saved", "Error: no space left"])
def test_what_is_not_said_to_be_saved_is_saved_again(switch: NvueTestSwitch, answer: str) -> None:
    target = switch.target()
    switch.answers = {SAVE: answer}
    done(target, Learn((binding(101),)))
    assert any("does not save what it was told" in warning for warning in target.observe().warnings)
    switch.answers, target._switch._clock = {}, lambda: 1e9
    assert target.observe().warnings == ()
    assert switch.nvue.startup == switch.nvue.applied


def test_a_vni_that_somebody_put_in_the_place_of_ours_is_not_taken_off(switch: NvueTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))

    def comes(command: str) -> None:
        seen = bool(switch.asked[1:]) and switch.asked[-2].startswith("bridge -j vlan tunnelshow")
        if seen and switch.nvue.members.get(101, {}) == {}:  # all ports have left, and that was looked at
            switch.before = lambda command: None
            old, new = (f"bridge domain br_default vlan 101 vni {int(vni)}" for vni in (RED, THEIRS))
            switch.nvue.by_hand(f"unset {old}", f"set {new}")

    switch.before = comes
    apply(target, Forget((binding(101),)))
    assert ours(switch.nvue) == {101: (THEIRS, {})}


def test_a_port_that_carries_without_a_tag_what_it_lists_is_no_member(switch: NvueTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    at(switch.nvue.carried, "interface", "swp1", *BRIDGED)["untagged"] = "101"
    assert held(target) == {binding(101, whole=False)}


def test_what_somebody_stages_among_our_words_is_not_dropped_with_them(switch: NvueTestSwitch) -> None:
    target = switch.target()

    def comes(command: str) -> None:
        if command.startswith("nv set"):
            switch.before = lambda command: None
            switch.nvue.run(FOREIGN)

    switch.before, switch.refuses = comes, "nv set bridge"
    [result] = apply(target, Learn((binding(102, BLUE),)))
    assert FOREIGN.removesuffix("9000") in result.detail
    assert FOREIGN in switch.nvue.staged("isthmus")


@pytest.mark.parametrize("form", ["flooding enable on", "flooding", "flooding multicast-group 239.1.1.1"])
def test_how_a_vni_of_ours_floods_may_be_shown_in_other_words(
    switch: NvueTestSwitch, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Else its VLAN would be made and removed again in every round."""
    shown = NvueSwitch.staged

    def staged(of: NvueSwitch, user: str) -> tuple[str, ...]:
        return tuple(re.sub("flooding .*", form, line) for line in shown(of, user))

    monkeypatch.setattr(NvueSwitch, "staged", staged)
    done(switch.target(), Learn((binding(101),)))
    assert ours(switch.nvue) == {101: (RED, ON_OURS)}


@pytest.mark.parametrize("line", ["bridge domain br_default vlan 101 vni 99999", "interface swp2 link mtu 9000"])
def test_what_is_staged_beside_our_words_is_not_committed_with_them(
    switch: NvueTestSwitch, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    shown = NvueSwitch.staged

    def staged(of: NvueSwitch, user: str) -> tuple[str, ...]:
        found = shown(of, user)
        return (*found, f"nv set {line}") if any("vni" in one for one in found) else found

    monkeypatch.setattr(NvueSwitch, "staged", staged)
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert switch.nvue.maps == {}


# Others between any two words


@dataclass(slots=True)
class Between:
    """Somebody who comes just before a word of ours, the first being number 0, and once."""

    switch: NvueTestSwitch
    number: int
    comes: Callable[[str], None]
    said: list[str] = field(default_factory=list)

    def __call__(self, command: str) -> None:
        if len(self.said) == self.number:
            self.comes(command)
        self.said.append(command)

    @property
    def seen_since(self) -> list[str]:
        """What was said after the whole was read again since he came."""
        after = self.said[self.number :]
        looks = [at for at, command in enumerate(after) if command.startswith("nv config show")]
        return after[looks[0] :] if looks else []


CHANGE = (Forget((binding(101),)), Learn((binding(102, BLUE),)))


@pytest.fixture(scope="module")
def words() -> int:
    """How many it takes to make the change."""
    with nvue() as switch:
        target = switch.target()
        done(target, Learn((binding(101),)))
        switch.asked.clear()
        done(target, *CHANGE)
        return len(switch.asked)


BRIDGED = ("bridge", "domain", "br_default")
ACTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "access": ("set interface swp4 bridge domain br_default access 102", ("interface", "swp4", *BRIDGED, "access")),
    "vni": ("set bridge domain br_default vlan 102 vni 99999", (*BRIDGED, "vlan", "102", "vni", "99999")),
    "trunk": ("set interface swp3 bridge domain br_default vlan 102", ("interface", "swp3", *BRIDGED, "vlan", "102")),
    "svi": ("set interface vlan102 ip address 192.0.2.1/24", ("interface", "vlan102")),
}


@pytest.mark.parametrize("act", list(ACTS))
def test_a_stranger_who_comes_between_any_two_words_keeps_what_is_his_and_stops_what_follows(
    words: int, act: str
) -> None:
    line, his = ACTS[act]
    for number in range(words):
        with nvue() as switch:
            target = switch.target()
            done(target, Learn((binding(101),)))

            def comes(command: str, switch: NvueTestSwitch = switch) -> None:
                # Who comes between the last look and the commit may lose what is his: see docs/simulator.md.
                if not command.startswith(APPLY):
                    switch.nvue.by_hand(line)

            between = Between(switch, number, comes)
            switch.before = between
            apply(target, *CHANGE)
            if between.said[number].startswith(APPLY):
                continue
            switch.before = lambda command: None
            brought = [command for command in between.seen_since if command.startswith("nv set")]
            assert not brought, f"said after he came at {number}, and was seen"
            assert at(switch.nvue.applied, *his) is not None, f"taken away by what was said after word {number}"
            assert switch.nvue.candidates == {}, number
            vni, ports = ours(switch.nvue).get(102, (None, {}))
            his_ports = set(ports).difference(NVUE_PORTS)
            assert vni != BLUE or not his_ports or set(NVUE_PORTS) <= set(ports), f"heard after he came at {number}"


@pytest.mark.parametrize("how", ["staged", "trial"])
def test_what_somebody_stages_or_tries_between_any_two_words_is_never_applied_saved_or_dropped(
    words: int, how: str
) -> None:
    for number in range(words):
        with nvue() as switch:
            target, tree = switch.target(), switch.nvue
            done(target, Learn((binding(101),)))

            def comes(command: str, tree: NvueSwitch = tree) -> None:
                # Under one login nothing comes between the last look at what is staged and the word that takes it.
                late = command.startswith((APPLY, DETACH, "nv config revision")) and "isthmus" in tree.candidates
                user = "isthmus" if how == "staged" and not late else "admin"
                tree.run(FOREIGN, user)
                if how == "trial" and not command.startswith((APPLY, SAVE)):
                    tree.run("nv config apply --confirm 10m --assume-yes", user)

            switch.before = Between(switch, number, comes)
            apply(target, *CHANGE)
            target.observe()
            switch.before = lambda command: None
            assert "swp5" not in tree.startup["interface"], number
            if how == "staged":
                assert "swp5" not in tree.applied["interface"], number
                assert any(FOREIGN in tree.staged(user) for user in tree.candidates), number
                for user in list(tree.candidates):
                    tree.run("nv config detach", user)
            elif tree.before_trial is not None:
                tree.roll_back()
            target._switch._clock = lambda: 1e9
            done(target, *CHANGE)
            assert ours(tree) == {102: (BLUE, ON_OURS)}, number
            assert tree.startup == tree.applied, number


@pytest.mark.parametrize("does_it", [False, True])
def test_a_session_that_breaks_at_any_word_leaves_what_the_next_round_mends_and_saves(
    words: int, does_it: bool
) -> None:
    for number in range(words):
        with nvue() as switch:
            target = switch.target()
            done(target, Learn((binding(101),)))
            asked = len(switch.asked)

            def breaks(command: str, switch: NvueTestSwitch = switch, at: int = asked + number) -> None:
                if len(switch.asked) == at + 1:
                    switch.hangs_at, switch.up = (command, True) if does_it else ("", False)

            switch.before = breaks
            apply(target, *CHANGE)
            switch.before, switch.up, switch.hangs_at = lambda command: None, True, ""
            target.observe()
            assert switch.nvue.candidates == {}, number
            target._switch._clock = lambda: 1e9
            done(target, *CHANGE)
            assert ours(switch.nvue) == {102: (BLUE, ON_OURS)}, number
            assert switch.nvue.startup == switch.nvue.applied, number


ASKED = ("nv config show", "ip -j", "bridge -j vlan show", "bridge -j vlan tunnelshow", "nv config revision")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((*ASKED, "nv config diff")), st.floats(0, 1, exclude_max=True))
def test_a_look_of_which_any_answer_is_cut_anywhere_is_no_look(command: str, share: float) -> None:
    with nvue() as switch:
        target = switch.target()
        done(target, Learn((binding(101), binding(102, BLUE))))
        switch.told.clear()
        switch.cuts = (command, share)
        with pytest.raises(Retry):
            target.observe()
        [result] = apply(target, Forget((binding(101),)))
        assert result.outcome is Outcome.RETRY
        assert switch.told == []
        assert ours(switch.nvue) == {101: (RED, ON_OURS), 102: (BLUE, ON_OURS)}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((*ASKED, "nv config", "nv config apply", "nv set", "nv")), st.floats(0, 1), st.integers(0, 94))
def test_an_answer_that_is_cut_in_the_midst_of_a_change_is_mended_by_the_next(
    command: str, share: float, number: int
) -> None:
    with nvue() as switch:
        target = switch.target()
        done(target, Learn((binding(101),)))

        def cut(_: str) -> None:
            switch.cuts = (command, share)

        switch.before = Between(switch, number, cut)
        apply(target, *CHANGE)
        switch.before, switch.cuts = lambda command: None, None
        target._switch._clock = lambda: 1e9
        done(target, *CHANGE)
        target.observe()
        assert ours(switch.nvue) == {102: (BLUE, ON_OURS)}
        assert switch.nvue.startup == switch.nvue.applied
        assert switch.nvue.candidates == {}


def test_what_documentation_shows_is_understood() -> None:
    """Ranges, both spellings of on, and a document that is one object."""
    assert list(names("swp1-3,5")) == ["swp1", "swp2", "swp3", "swp5"]
    assert list(names("swp1s0-1,bond2")) == ["swp1s0", "swp1s1", "bond2"]
    document = {
        "header": {"model": "VX"},
        "bridge": {"domain": {"br_default": {"vlan": {"10-12,20": {}, "30": {"vni": {"1030": {}}}}}}},
        "evpn": {"state": "enabled"},
        "nve": {"vxlan": {"state": "enabled"}},
        "interface": {"swp1-2": {"bridge": {"domain": {"br_default": {"vlan": {"10-12,300": {}}}}}}},
    }
    links = [
        {"ifname": "br_default", "linkinfo": {"info_kind": "bridge", "info_data": {"vlan_filtering": 1}}},
        {"ifname": "vxlan48", "master": "br_default", "linkinfo": {"info_kind": "vxlan"}},
        *({"ifname": port, "master": "br_default"} for port in NVUE_PORTS),
    ]
    vlans = [{"ifname": port, "vlans": [{"vlan": 10, "vlanEnd": 12}, {"vlan": 300}]} for port in NVUE_PORTS]
    tunnels = [{"ifname": "vxlan48", "tunnels": [{"vlan": 30, "tunid": 1030}]}]
    now: Kernel = kernel(json.dumps(links), json.dumps(vlans), json.dumps(tunnels))
    found = nvue_config.held(statements(json.dumps(document)), now, nvue_settings())
    assert found.unready == ""
    assert found.vlans[Vid(11)].tagged == set(NVUE_PORTS)
    assert found.vlans[Vid(30)].vni == 1030
    assert (found.vlans[Vid(20)].ports, found.vlans[Vid(20)].said) == (frozenset(), "")


@pytest.mark.parametrize(
    ("vlans", "tunnels"),
    [([{"ifname": "swp1"}], []), ([], [{"ifname": "vxlan48"}]), ([{"ifname": "swp1", "vlans": None}], [])],
)
def test_a_port_of_which_no_vlans_are_told_is_no_port_without_vlans(vlans: object, tunnels: object) -> None:
    links = [{"ifname": name, "master": "br_default"} for name in ("swp1", "vxlan48")]
    with pytest.raises(Retry):
        kernel(json.dumps(links), json.dumps(vlans), json.dumps(tunnels))


@pytest.mark.parametrize("option", [{"ngs_bum_replication_mode": "multicast"}, {"ngs_evpn_vni_config": "true"}])
def test_an_option_that_cannot_work_is_refused_where_it_is_configured(option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        nvue_settings(**option)


def test_vlans_that_the_hardware_takes_for_itself_are_nobody_elses_to_use(switch: NvueTestSwitch) -> None:
    found: NgsSettings = nvue_settings(vids="3700-3800")
    assert VidSet.of("3725-3800") & not_to_be_had(switch.target(found)) == VidSet.of("3725-3800")


STAGED = (
    "nv set vrf default router bgp neighbor swp51 password HIDDEN",
    "nv set interface swp5 description HIDDEN",
)


@pytest.mark.parametrize("staged", STAGED)
def test_what_another_has_staged_is_told_without_its_value(switch: NvueTestSwitch, staged: str) -> None:
    switch.nvue.run(staged, "isthmus")
    target = switch.target()
    warnings = target.observe().warnings
    assert any(staged.removesuffix("HIDDEN") in warning for warning in warnings)
    [result] = apply(target, Learn((binding(101),)))
    assert "HIDDEN" not in str((warnings, target.findings(), result))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(STAGED), st.floats(0, 1))
def test_what_is_staged_and_cut_anywhere_shows_no_value(staged: str, where: float) -> None:
    with nvue() as switch:
        switch.nvue.run(staged, "isthmus")
        switch.cuts = ("nv config diff", where)
        said: object = ""
        try:
            said = switch.target().observe().warnings
        except Retry as fault:
            said = fault
        assert "HID" not in str(said)


@pytest.mark.parametrize(
    "line",
    [
        "system config snippet frr.conf 'neighbor swp51 password HIDDEN vni 5000 vlan 150'",
        "interface vlan150 router ospf authentication message-digest-key 1 md5-key HIDDEN",
    ],
)
def test_a_statement_that_makes_a_vlan_somebodys_shows_no_secret(switch: NvueTestSwitch, line: str) -> None:
    *above, last = line.removesuffix("'").split(" '")[0].split() if "'" in line else line.split()
    tree = switch.nvue.applied
    for word in above:
        tree = tree.setdefault(word, {})
    tree[last] = line.split("'")[1] if "'" in line else {}
    target = switch.target()
    found, [result] = target.findings(), apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
    assert any("would not be ours alone: " in one.what for one in found)
    assert "HIDDEN" not in str((found, result, target.observe().warnings))


def test_a_vlan_that_a_port_for_all_does_not_carry_is_not_as_it_is_to_be(switch: NvueTestSwitch) -> None:
    switch.nvue.by_hand(*PAIR)
    target = switch.target()
    done(target, Learn((binding(101),)))
    config, links, vlans, tunnels = (switch.nvue.run(command) for command in READS)
    shown = json.loads(vlans)
    for entry in shown:
        if entry["ifname"] == "peerlink":
            entry["vlans"] = [vlan for vlan in entry["vlans"] if vlan["vlan"] != 101]
    now = kernel(links, json.dumps(shown), tunnels)
    assert (
        nvue_config.held(statements(config), now, nvue_settings()).at(Vid(101)).said
        == "it is to be on peerlink, and is not"
    )
    assert nvue_config.held(statements(config), kernel(links, vlans, tunnels), nvue_settings()).at(Vid(101)).said == ""


def test_a_switch_of_a_pair_takes_the_vlans_of_its_layer_3_vnis_for_itself(switch: NvueTestSwitch) -> None:
    target = switch.target(nvue_settings(vids="11-199,4000-4010"))
    assert 4000 not in not_to_be_had(target)
    switch.nvue.by_hand(*PAIR)
    assert VidSet.of("4000-4010") & not_to_be_had(target) == VidSet.of("4000-4010")
    [result] = apply(target, Learn((binding(4000),)))
    assert (result.outcome, "takes this VLAN for itself" in result.detail) == (Outcome.REFUSED, True)


@pytest.mark.parametrize(
    ("lines", "is_his"),
    [
        (("set interface swp1.150 ip address 192.0.2.1/24",), True),
        (("set interface theirs base-interface swp1", "set interface theirs vlan 150"), True),
        (("set interface theirs base-interface swp3", "set interface theirs vlan 150"), False),
        (("set interface vlan150 ip address 192.0.2.1/24",), False),
    ],
)
def test_a_vid_is_a_strangers_where_what_stands_on_a_port_of_ours_has_its_frames_and_else_only_not_to_be_had(
    switch: NvueTestSwitch, lines: tuple[str, ...], *, is_his: bool
) -> None:
    switch.nvue.by_hand(*lines)
    seen = switch.target().observe()
    assert (150 in seen.foreign_vids, 150 in seen.unfit) == (is_his, not is_his)
