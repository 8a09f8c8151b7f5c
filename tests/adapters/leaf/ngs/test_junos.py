"""A Junos switch by networking-generic-switch: what is ours on it, what others do there, what breaks."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.adapters.leaf.ngs import NgsTarget
from isthmus.adapters.leaf.ngs.junos import CANDIDATE, CONFIG, COUNT, HISTORY, IN_FORCE, JUNOS, TUNNELS, UPTIME, VLANS
from isthmus.adapters.leaf.ngs.junos_config import understood
from isthmus.model.change import Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.nve import LeafBinding
from isthmus.model.tags import Vid, Vni
from lab.wire.junos import JunosSwitch
from tests.adapters.leaf.ngs.junos_switch import JUNOS_PORTS, JunosTestSwitch, junos, junos_settings, members
from tests.adapters.leaf.ngs.telling import BLUE, RED, THEIRS, apply, binding, done, held, not_to_be_had

CHECK, COMMIT, ENTER, DROP = "commit check", "commit", "configure private", "rollback 0"
ON_OURS = dict.fromkeys(JUNOS_PORTS, "tagged")
SWITCHED = "unit 0 family ethernet-switching"


@pytest.fixture
def switch() -> Iterator[JunosTestSwitch]:
    with junos() as made:
        yield made


@pytest.fixture
def target(switch: JunosTestSwitch) -> NgsTarget:
    return reached(switch)


def reached(switch: JunosTestSwitch) -> NgsTarget:
    return switch.target(switch.settings())


def used(switch: JunosTestSwitch) -> dict[int, object]:
    """But for VLANs that nothing is in: these are nobody's, and free."""
    return {vid: found for vid, found in switch.state.items() if found != (None, {})}


def test_each_stage_of_many_networks_is_one_commit(switch: JunosTestSwitch, target: NgsTarget) -> None:
    done(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(10)))
    assert switch.told.count(COMMIT) == 3, "make, map, join"
    done(target, *(Forget((binding(100 + n, Vni(5000 + n)),)) for n in range(10)))
    assert switch.told.count(COMMIT) == 6
    assert switch.state == {}


def test_no_port_joins_before_the_vni_is_seen_and_none_loses_it_before_it_has_left(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    states = []
    switch.cli.changed = lambda: states.append(dict(switch.state))
    done(target, Learn((binding(101),)))
    done(target, Forget((binding(101),)))
    assert states == [
        {101: (None, {})},
        {101: (RED, {})},
        {101: (RED, ON_OURS)},
        {101: (RED, {})},
        {101: (None, {})},
        {},
    ]


def test_nothing_is_committed_that_was_not_checked(switch: JunosTestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101),)))
    said = [word for word in switch.told if not word.startswith("set")]
    assert said == [ENTER, CHECK, COMMIT, "exit configuration-mode"] * 3


def test_what_it_holds_already_is_not_said_again(switch: JunosTestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101),)))
    told = list(switch.told)
    done(target, Learn((binding(101),)), Forget((binding(102, BLUE),)))
    assert switch.told == told


def test_the_words_are_the_librarys_and_what_is_taken_off_is_named(switch: JunosTestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101),)))
    done(target, Forget((binding(101),)))
    assert [word for word in switch.told if word.startswith(("set", "delete"))] == [
        "set vlans vlan101 vlan-id 101",
        "set vlans vlan101 vxlan vni 5000",
        *(members(port, 101) for port in JUNOS_PORTS),
        *(members(port, 101).replace("set", "delete", 1) for port in JUNOS_PORTS),
        "delete vlans vlan101 vxlan vni 5000",
        "delete vlans vlan101",
    ]


def test_a_vlan_is_forgotten_whole_where_what_is_empty_stays_behind(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.leaves_bare = True
    done(target, Learn((binding(101),)))
    done(target, Forget((binding(101),)))
    assert switch.state == {}


@pytest.mark.parametrize(
    "line",
    [
        "vlans vlan150 l3-interface irb.150",
        "vlans tenant vlan-id 150",
        "vlans tenants vlan-id-list 140-160",
        "vlans vlan150 vlan-id 150; set vlans vlan150 private-vlan isolated",
        "vlans vlan150 vlan-id 150; set vlans outer vlan-id 300; set vlans outer community-vlans vlan150",
        "vlans vlan150 vlan-id 150; set vlans vlan150 interface xe-0/0/9.0",
        "vlans vlan150 vlan-id 150; set vlans vlan150 dot1q-tunneling customer-vlans 7",
        "vlans vlan150 vlan-id 150; set vlans vlan150 vxlan multicast-group 239.1.1.1",
        "vlans vlan150 vlan-id 150; set vlans vlan150 vrf-target target:65000:5000",
        f"interfaces xe-0/0/3 {SWITCHED} vlan members 150",
        f"interfaces xe-0/0/3 {SWITCHED} vlan members 140-160",
        f"interfaces xe-0/0/3 {SWITCHED} vlan members all",
        f"interfaces xe-0/0/9 {SWITCHED} vlan members 150",
        f"interfaces xe-0/0/9 {SWITCHED} interface-mode access; set interfaces xe-0/0/9 {SWITCHED} vlan members 150",
        "interfaces xe-0/0/1 native-vlan-id 150",
        f"interfaces xe-0/0/1 {SWITCHED} vlan members 140-160",
        f"vlans vlan150 vlan-id 150; set interfaces xe-0/0/1 {SWITCHED} vlan members vlan150",
        f"interfaces xe-0/0/9 {SWITCHED} vlan members all",
        "interfaces xe-0/0/9 unit 7 family ethernet-switching vlan members all",
        "interfaces xe-0/0/9 unit 7 family ethernet-switching vlan members [ 300 all ]",
        "groups G interfaces <*> unit 7 family ethernet-switching vlan members all; set apply-groups G",
        "interfaces xe-0/0/9 unit 0 family bridge vlan-id-list 140-160",
        "interfaces xe-0/0/9 unit 7 vlan-tags outer 0x8100.150",
        f"interfaces xe-0/0/9 {SWITCHED} inter-switch-link; set interfaces xe-0/0/9 {SWITCHED} vlan members 150",
        "vlans theirs vlan-id all",
        "protocols evpn interconnect interconnected-vlan-list 140-160",
        "interfaces xe-0/0/9 unit 150 vlan-id 150",
        "interfaces xe-0/0/9 unit 7 vlan-id-list 140-160",
        "interfaces xe-0/0/9 unit 7 input-vlan-map vlan-id 150",
        f"interfaces interface-range R member xe-0/0/9; set interfaces interface-range R {SWITCHED} vlan members 150",
        "routing-instances OTHER vlans theirs vlan-id 150",
        "protocols dot1x authenticator interface xe-0/0/9.0 guest-vlan 150",
        "vlans vlan150 vlan-id 150; set protocols dot1x authenticator interface all server-fail vlan-name vlan150",
        "forwarding-options analyzer TAP output vlan 150",
        "firewall family ethernet-switching filter F term T from user-vlan-id 150",
        "protocols unheard-of vlan 100-200",
        "vlans vlan150 vlan-id 300",
    ],
)
def test_a_vlan_of_our_range_that_a_statement_is_about_is_somebody_elses(
    switch: JunosTestSwitch, target: NgsTarget, line: str
) -> None:
    switch.cli.by_hand(*f"set {line}".split("; "))
    before = dict(switch.cli.active)
    assert 150 in not_to_be_had(target)
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
    whose = "is somebody else's: " if 150 in switch.cli.vlans else "is not made: there is none yet, and it would not be"
    assert f"VLAN 150 {whose}" in result.detail
    assert (switch.cli.active, switch.told) == (before, [])
    assert any(f"in our range, {whose}" in found.what for found in target.findings())


@pytest.mark.parametrize(
    "line",
    [
        "protocols vstp vlan 100-200 bridge-priority 4k",
        "protocols igmp-snooping vlan all",
        "interfaces xe-0/0/3 description vlan150",
        "interfaces xe-0/0/9 unit 0 description to-150",
        "interfaces xe-0/0/9 mtu 150",
        "interfaces xe-0/0/1 unit 0 family ethernet-switching storm-control 150",
        "interfaces irb unit 150 family inet address 192.0.2.1/24",
        "vlans tenant vlan-id 300",
        f"interfaces xe-0/0/3 {SWITCHED} inter-switch-link",
        "vlans vlan300 l3-interface irb.150",
        f"interfaces xe-0/0/3 {SWITCHED} vlan members 300-400",
        f"interfaces xe-0/0/1 {SWITCHED} vlan members 300",
        "vlans vlan150 vlan-id 150",
        "vlans vlan150 vlan-id 150; set vlans vlan150 description reserved",
        "routing-instances RED protocols evpn ip-prefix-routes vni 9999",
        "groups NOBODYS vlans theirs vlan-id 150",
    ],
)
def test_a_statement_that_means_nothing_for_who_hears_whom_is_in_nobodys_way(
    switch: JunosTestSwitch, target: NgsTarget, line: str
) -> None:
    switch.cli.by_hand(*f"set {line}".split("; "))
    assert 150 not in target.observe().foreign_vids
    done(target, Learn((binding(150),)))
    assert switch.state[150] == (RED, ON_OURS)


@pytest.mark.parametrize("vni", [5000, 10_005_000])
@pytest.mark.parametrize(
    "line",
    [
        "routing-instances RED protocols evpn ip-prefix-routes vni {vni}",
        "routing-instances OTHER vlans theirs vxlan vni {vni}",
        "routing-instances RED vrf-target target:65000:{vni}",
        "policy-options community RT members target:65000:{auto}",
        "protocols evpn vni-options vni {vni} vrf-target target:65000:7",
        "protocols evpn interconnect interconnected-vni-list {vni}",
        "protocols evpn interconnect interconnected-vni-list [ 17 4000-{vni} ]",
        "routing-instances OTHER protocols evpn interconnect interconnected-vni-list {vni}",
        "routing-instances OTHER protocols evpn extended-vni-list {vni}",
        "vlans theirs vlan-id 300; set vlans theirs vxlan translation-vni {vni}",
        "vlans theirs vlan-id 300; set vlans theirs vxlan vni {vni}",
        "vlans nameless vxlan vni {vni}",
    ],
)
def test_a_vni_that_another_statement_is_about_is_not_ours_to_use(
    switch: JunosTestSwitch, target: NgsTarget, line: str, vni: int
) -> None:
    switch.cli.by_hand(*f"set {line.format(vni=vni, auto=vni + 2**28)}".split("; "))
    before = dict(switch.cli.active)
    [result] = apply(target, Learn((binding(150, Vni(vni)),)))
    assert result.outcome is Outcome.REFUSED
    assert f"VNI {vni}" in result.detail
    assert switch.cli.active == before


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("delete protocols evpn encapsulation", "encapsulation vxlan"),
        ("delete protocols evpn extended-vni-list", "extended-vni-list all"),
        ("set protocols evpn extended-vni-list 5000; delete protocols evpn extended-vni-list all", "not told of every"),
        ("delete switch-options vtep-source-interface", "vtep-source-interface"),
        ("delete switch-options route-distinguisher", "route-distinguisher"),
        ("delete switch-options vrf-target", "vrf-target"),
        ("delete protocols bgp", "family evpn signaling"),
        ("delete protocols bgp; set protocols bgp group UNDERLAY neighbor 192.0.2.9", "family evpn signaling"),
        ("set protocols mvrp interface xe-0/0/9", "others make VLANs of it"),
        ("set switch-options ovsdb-managed", "others make VLANs of it"),
        ("set protocols bgp disable", "BGP is disabled"),
        ("set protocols evpn disable", "EVPN is disabled"),
    ],
)
def test_a_switch_that_is_not_set_up_for_it_is_told_nothing(
    switch: JunosTestSwitch, target: NgsTarget, line: str, why: str
) -> None:
    done(target, Learn((binding(101),)))
    switch.told.clear()
    switch.cli.by_hand(*line.split("; "))
    results = apply(target, Learn((binding(102, BLUE),)), Forget((binding(101),)))
    assert {result.outcome for result in results} == {Outcome.RETRY}
    assert all(why in result.detail for result in results)
    assert any(why in warning for warning in target.observe().warnings)
    assert switch.told == []


def test_what_is_deactivated_is_not_in_force_and_is_somebodys(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.by_hand("set vlans theirs vlan-id 150", "set vlans theirs vxlan vni 6000")
    switch.cli.deactivate("vlans theirs")
    assert 150 not in switch.cli.vlans
    [first, second] = apply(target, Learn((binding(150),)), Learn((binding(151, Vni(6000)),)))
    assert (first.outcome, second.outcome) == (Outcome.REFUSED, Outcome.REFUSED)
    switch.cli.deactivate("protocols evpn")
    assert any("encapsulation vxlan" in warning for warning in target.observe().warnings)


def test_what_is_deactivated_is_somebodys_also_where_it_is_not_shown_with_what_is_in_force(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.cli.by_hand("set vlans theirs vlan-id 150")
    switch.cli.deactivate("vlans theirs")
    shown = [line for line in switch.cli.run(IN_FORCE).splitlines() if "theirs" not in line]
    switch.answers = {IN_FORCE: "\n".join(shown), f"{IN_FORCE} | last 3": "\n".join(shown[-3:])}
    assert 150 in not_to_be_had(target)


def test_a_group_that_is_deactivated_is_in_nobodys_way(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.by_hand("set groups G vlans theirs vlan-id 150")
    switch.cli.deactivate("groups G")
    done(target, Learn((binding(150),)))


def test_what_is_deactivated_of_a_vlan_of_ours_stops_it(switch: JunosTestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101),)))
    switch.cli.deactivate(members("xe-0/0/2", 101).removeprefix("set "))
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "members 101" in result.detail


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((f"delete interfaces xe-0/0/2 {SWITCHED}", "set interfaces xe-0/0/2 ether-options 802.3ad ae0"), "name that"),
        ((f"delete interfaces xe-0/0/2 {SWITCHED}", "set interfaces xe-0/0/2 unit 0 family inet"), "more than unit 0"),
        (("set interfaces xe-0/0/2 flexible-vlan-tagging",), "more than unit 0"),
        (("set interfaces xe-0/0/2 unit 7 vlan-id 300",), "more than unit 0"),
        ((f"set interfaces xe-0/0/2 {SWITCHED} interface-mode access",), "interface-mode is access"),
        ((f"delete interfaces xe-0/0/2 {SWITCHED}", "set interfaces xe-0/0/2 mtu 9216"), "no switched port"),
        ((f"set interfaces xe-0/0/2 {SWITCHED} inter-switch-link",), "private VLANs"),
        (("delete interfaces xe-0/0/2",), "no such port"),
        ((members("xe-0/0/2", 12), members("xe-0/0/2", 4).replace("set", "delete")), "lists no VLAN outside vids"),
        (("set routing-instances OTHER interface xe-0/0/2.0",), "in routing instance OTHER"),
    ],
)
def test_a_port_that_cannot_carry_our_vlans_joins_none_and_that_is_said(
    switch: JunosTestSwitch, target: NgsTarget, lines: tuple[str, ...], why: str
) -> None:
    switch.cli.by_hand(*lines)
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert why in result.detail
    assert any("xe-0/0/2 joins no VLAN" in warning and why in warning for warning in target.observe().warnings)
    assert switch.state == {101: (RED, {"xe-0/0/1": "tagged"})}


def test_a_lag_that_is_named_is_a_port_like_any_other_and_a_unit_means_nothing(switch: JunosTestSwitch) -> None:
    switch.cli.by_hand(f"set interfaces ae0 {SWITCHED} interface-mode trunk", members("ae0", 4))
    switch.cli.by_hand("set interfaces xe-0/0/7 ether-options 802.3ad ae0")
    done(switch.target(junos_settings(("xe-0/0/1.0", "ae0"))), Learn((binding(101),)))
    assert switch.state == {101: (RED, {"xe-0/0/1": "tagged", "ae0": "tagged"})}


def test_a_port_for_all_vlans_that_is_named_carries_ours_and_is_told_of_none(switch: JunosTestSwitch) -> None:
    switch.cli.by_hand(f"set interfaces xe-0/0/48 {SWITCHED} interface-mode trunk", members("xe-0/0/48", "all"))
    switch.cli.by_hand("delete interfaces xe-0/0/48 unit 0 family inet")
    target = switch.target(junos_settings(ngs_trunk_ports="xe-0/0/48"))
    done(target, Learn((binding(101),)))
    assert switch.state == {101: (RED, {**ON_OURS, "xe-0/0/48": "tagged"})}
    assert any("xe-0/0/48 carries every VLAN" in warning for warning in target.observe().warnings)
    assert held(target) == {binding(101)}
    done(target, Forget((binding(101),)))
    assert switch.state == {}
    assert not [word for word in switch.told if "xe-0/0/48" in word]


# What groups and ranges say


def test_ports_that_are_trunks_by_a_group_or_a_range_are_trunks(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.by_hand(
        *(f"delete interfaces {port} {SWITCHED} interface-mode" for port in JUNOS_PORTS),
        f"set groups TRUNK interfaces xe-0/0/1 {SWITCHED} interface-mode trunk",
        "set apply-groups TRUNK",
        "set interfaces interface-range HOSTS member xe-0/0/2",
        f"set interfaces interface-range HOSTS {SWITCHED} interface-mode trunk",
    )
    done(target, Learn((binding(101),)))
    assert switch.state == {101: (RED, ON_OURS)}


@pytest.mark.parametrize(
    "line",
    [
        "vlans vlan150 vlan-id 150",
        f"interfaces <*> {SWITCHED} vlan members 150",
        f"interfaces xe-0/0/1 {SWITCHED} vlan members 150",
        "routing-instances OTHER vlans theirs vlan-id 150",
    ],
)
def test_what_a_group_says_of_a_vlan_makes_it_somebodys(switch: JunosTestSwitch, target: NgsTarget, line: str) -> None:
    switch.cli.by_hand(f"set groups THEIRS {line}", "set apply-groups THEIRS")
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
    assert switch.told == []


def test_a_switch_that_does_not_show_what_groups_say_is_unknown(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.answers = {IN_FORCE: "                ^\nsyntax error, expecting <display>."}
    with pytest.raises(Retry, match="does not tell what it holds"):
        target.observe()


# What others try, lock, commit


def test_a_commit_on_trial_is_neither_confirmed_nor_built_upon(switch: JunosTestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101),)))
    switch.told.clear()
    switch.cli.tries("set interfaces xe-0/0/9 mtu 9000")
    switch.cli.clock += 10_000
    results = apply(target, Learn((binding(102, BLUE),)), Forget((binding(101),)))
    assert {result.outcome for result in results} == {Outcome.RETRY}
    assert all("on trial" in result.detail for result in results)
    assert any("on trial" in warning for warning in target.observe().warnings)
    assert held(target) == {binding(101)}, "it can be looked at"
    assert (switch.told, switch.cli.history[0].pending) == ([], True)
    switch.cli.roll_back()
    done(target, Learn((binding(102, BLUE),)))


def test_a_trial_that_the_switch_does_not_tell_of_is_waited_for_as_long_as_it_may_take(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    """Older releases only say for how long it was to be; and do so for ever."""
    switch.cli.tells_of_trial = False
    switch.cli.tries("set interfaces xe-0/0/9 mtu 9000", minutes=10)
    assert any("on trial" in warning for warning in target.observe().warnings)
    switch.cli._confirm()
    switch.cli.clock += 600
    assert any("on trial" in warning for warning in target.observe().warnings)
    switch.cli.clock += 200
    assert target.observe().warnings == ()
    done(target, Learn((binding(101),)))


def test_a_trial_of_which_the_time_is_not_told_is_one_on_trial(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.tells_of_trial = False
    switch.cli.tries("set interfaces xe-0/0/9 mtu 9000")
    switch.cli.clock += 10_000
    assert target.observe().warnings == ()
    switch.answers = {HISTORY: re.sub(r'"attributes": \{[^}]*\}', '"attributes": {}', switch.cli.run(HISTORY))}
    assert any("on trial" in warning for warning in target.observe().warnings)


def test_others_who_are_in_configuration_mode_are_in_nobodys_way(switch: JunosTestSwitch, target: NgsTarget) -> None:
    def enters(command: str) -> None:
        switch.answers = {}
        if command == ENTER:
            said = switch.cli.run(command).removesuffix("\n\n[edit]")
            others = (
                "Users currently editing the configuration:\n  alice terminal p0 (pid 4681) on since 09:31, idle 0:02"
            )
            switch.answers = {ENTER: f"{said}\n{others}\n      private [edit]\n\n[edit]"}

    switch.before = enters
    done(target, Learn((binding(101),)))


def test_a_commit_at_a_set_time_is_waited_for(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.at_a_time = "commit requested by root via cli at 2026-11-22 23:00:00 UTC"
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "clear system commit" in result.detail
    assert switch.told == []


def test_while_somebody_keeps_all_others_out_nothing_is_said(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.exclusive = "alice"
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "alice" in result.detail
    assert "leave configuration mode" in result.detail
    assert switch.told == [ENTER]
    switch.cli.exclusive = ""
    done(target, Learn((binding(101),)))


def test_one_who_comes_to_keep_others_out_while_we_speak_is_waited_for(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    def locks(command: str) -> None:
        if command == CHECK:
            switch.cli.exclusive = "alice"

    switch.before = locks
    [result, _] = apply(target, Learn((binding(101),)), Learn((binding(102, BLUE),)))
    assert "alice" in result.detail
    assert (switch.cli.candidate, switch.state) == (None, {})
    assert switch.told.count(CHECK) == 1, "it is no VLAN that it refuses"


def test_what_others_have_said_and_not_committed_is_not_committed_with_ours(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.cli.shared = ["set interfaces xe-0/0/9 mtu 9000"]
    [result] = apply(target, Learn((binding(101),)))
    assert "shared candidate" in result.detail
    assert "commit them, or 'rollback'" in result.detail
    assert switch.told == [ENTER]
    assert ("interfaces", "xe-0/0/9", "mtu", "9000") not in switch.cli.active


@pytest.mark.parametrize("at", [CHECK, COMMIT])
def test_who_commits_while_we_speak_is_looked_at_first(switch: JunosTestSwitch, target: NgsTarget, at: str) -> None:
    before = {CHECK: "run show system commit", COMMIT: CHECK}[at]

    def comes(command: str) -> None:
        if command.startswith(before) and switch.cli.candidate:
            switch.before = lambda command: None
            switch.cli.by_hand("set vlans vlan101 l3-interface irb.101")

    switch.before = comes
    [result] = apply(target, Learn((binding(101),)))
    assert "somebody else committed something meanwhile" in result.detail
    assert ("vlans", "vlan101", "vlan-id", "101") not in switch.cli.active
    assert switch.cli.candidate is None


# What it refuses, and what is not believed


def test_vlans_that_the_switch_refuses_do_not_stop_the_others_and_are_named(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.cli.refuses = frozenset((103, 110))
    results = apply(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(16)))
    refused = [result for result in results if result.outcome is not Outcome.DONE]
    assert [result.change.id for result in refused] == [3, 10]
    assert all("this VLAN cannot be configured" in result.detail for result in refused)
    assert {e.vid for e in held(target) if isinstance(e, LeafBinding)} == set(range(100, 116)) - {103, 110}


def test_who_commits_right_after_one_half_of_a_stage_is_looked_at_before_the_other(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.cli.refuses = frozenset((103,))
    his: list[None] = []

    def comes() -> None:
        if not his:
            his.append(None)
            switch.cli.by_hand(*ACCESS)

    switch.cli.changed = comes
    apply(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(4)))
    assert his, "he came"
    since = switch.asked[switch.asked.index(COMMIT) + 1 :]
    assert COMMIT not in since[: since.index(CONFIG)], "nothing more, before all was looked at anew"


def test_nothing_is_committed_where_nothing_is_left_to_say(switch: JunosTestSwitch, target: NgsTarget) -> None:
    """A VNI that a group gives to a VLAN is not in the configuration to be taken off."""
    switch.cli.by_hand(
        "set vlans vlan101 vlan-id 101", "set groups G vlans vlan101 vxlan vni 5000", "set apply-groups G"
    )
    [result] = apply(target, Forget((binding(101),)))
    assert (result.outcome, "still has its VNI" in result.detail) == (Outcome.RETRY, True)
    assert {CHECK, COMMIT}.isdisjoint(switch.told)
    assert switch.cli.candidate is None


def test_a_word_that_the_switch_refuses_stops_its_own_vlan_alone(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.refuses = "set vlans vlan103 vxlan"
    results = apply(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(8)))
    [refused] = [result for result in results if result.outcome is not Outcome.DONE]
    assert refused.change.id == 3
    assert "error: not now" in refused.detail
    assert 103 not in switch.state, "what got no VNI is removed again"


def test_what_it_refuses_whatever_vlan_is_about_is_asked_thrice_and_no_more(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.cli.declines = "encapsulation is not licensed"
    results = apply(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(64)))
    assert switch.told.count(CHECK) == 3
    assert COMMIT not in switch.told
    assert all("not licensed" in result.detail for result in results)


def test_one_that_refuses_many_takes_the_others_in_the_end(switch: JunosTestSwitch) -> None:
    refused = {*range(8), *range(8, 32, 8)}
    switch.cli.refuses = frozenset(100 + n for n in refused)
    target = reached(switch)
    random.seed(1)
    for _ in range(60):
        results = apply(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(32)))
        left = {result.change.id for result in results if result.outcome is not Outcome.DONE}
        if left == refused:
            break
    assert left == refused


@pytest.mark.parametrize("command", [CHECK, COMMIT])
@pytest.mark.parametrize(
    "answer", ["", "commit", "configuration check", "{master:0}[edit]", "commit complete\nerror: x"]
)
def test_a_commit_is_made_if_the_switch_says_so(
    switch: JunosTestSwitch, target: NgsTarget, command: str, answer: str
) -> None:
    switch.answers = {command: answer}
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert switch.state == {}
    switch.answers = {}
    done(target, Learn((binding(101),)))
    assert switch.state == {101: (RED, ON_OURS)}


def test_a_stack_says_it_for_each_of_its_switches(switch: JunosTestSwitch, target: NgsTarget) -> None:
    run = switch.cli.run
    found: list[str] = []

    def stacked(command: str) -> None:
        if command in (CHECK, COMMIT):
            found.append(f"fpc0:\nconfiguration check succeeds\nfpc1:\n{run(command)}")
            switch.answers = {command: found[-1]}
        else:
            switch.answers = {}

    switch.before = stacked
    done(target, Learn((binding(101),)))
    assert len(found) == 6


def test_a_switch_that_goes_on_keeping_us_in_configuration_mode_is_left(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.answers = {"exit configuration-mode": "Discard uncommitted changes? [yes,no] (yes)"}
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    switch.answers = {}
    target.observe()
    assert switch.cli.candidate is None


# What is so


def test_what_is_committed_and_does_not_come_about_is_not_done(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.slow = True
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "the switch does not show it" in result.detail
    switch.cli.slow = False
    switch.cli.comes_about()
    done(target, Learn((binding(101),)))
    assert held(target) == {binding(101)}


def test_a_port_of_ours_that_is_shown_in_a_vlan_with_and_without_a_tag_has_it_without_too(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    done(target, Learn((binding(101),)))
    shown = switch.cli.run(VLANS)
    tagged = {
        "l2ng-l2rtb-vlan-member-interface": [{"data": "xe-0/0/1.0*"}],
        "l2ng-l2rtb-vlan-member-tagness": [{"data": "tagged"}],
        "l2ng-l2rtb-vlan-member-interface-mode": [{"data": "trunk"}],
    }
    for both in (["untagged", "tagged"], ["tagged", "untagged"]):
        told = json.loads(shown)
        [information] = told["l2ng-l2ald-vlan-instance-information"]
        groups = information["l2ng-l2ald-vlan-instance-group"]
        [group] = [group for group in groups if group["l2ng-l2rtb-vlan-tag"] == [{"data": "101"}]]
        group["l2ng-l2rtb-vlan-member"] = [
            {**tagged, "l2ng-l2rtb-vlan-member-tagness": [{"data": how}]} for how in both
        ] + group["l2ng-l2rtb-vlan-member"][1:]
        switch.answers = {VLANS: json.dumps(told)}
        assert any("it is on xe-0/0/1 without a tag" in warning for warning in target.observe().warnings)


def test_a_vni_that_is_shown_in_another_instance_is_not_ours_to_use(switch: JunosTestSwitch, target: NgsTarget) -> None:
    row = "    OTHER                    theirs+300                 5000                         0.0.0.0"
    switch.answers = {TUNNELS: row, TUNNELS + COUNT: "Count: 1 lines"}
    [result] = apply(target, Learn((binding(150),)))
    assert (result.outcome, "VNI 5000 is somebody else's" in result.detail) == (Outcome.REFUSED, True)


def configured(switch: JunosTestSwitch, vid: int) -> list[str]:
    return [line for line in switch.cli.run(CONFIG).splitlines() if {str(vid), f"vlan{vid}"} & set(line.split())]


def test_a_vlan_that_is_shown_as_before_is_forgotten_whole(switch: JunosTestSwitch, target: NgsTarget) -> None:
    """What is shown of VLANs comes after a commit."""
    done(target, Learn((binding(101),)), Learn((binding(102, BLUE),)))
    switch.answers = {VLANS: switch.cli.run(VLANS)}
    done(target, Forget((binding(101),)))
    assert configured(switch, 101) == []
    switch.answers = {}
    assert (held(target), target.observe().warnings) == ({binding(102, BLUE)}, ())
    assert switch.state == {102: (BLUE, ON_OURS)}


def test_a_vlan_whose_vni_is_shown_as_before_is_taken_off_and_forgotten_when_it_is_gone(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    done(target, Learn((binding(101),)))
    switch.cli.slow = True
    [result] = apply(target, Forget((binding(101),)))
    assert (result.outcome, configured(switch, 101)) == (Outcome.RETRY, [])
    switch.cli.slow = False
    switch.cli.comes_about()
    done(target, Forget((binding(101),)))
    assert switch.state == {}


def test_a_vlan_that_is_not_shown_yet_does_not_work_and_is_forgotten_whole(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    before = switch.cli.run(VLANS)
    done(target, Learn((binding(101),)))
    switch.answers = {VLANS: before}
    assert held(target) == {binding(101, whole=False)}
    done(target, Forget((binding(101),)))
    assert configured(switch, 101) == []


@pytest.mark.parametrize("word", ["delete vlans vlan101 vxlan vni 5000", "delete vlans vlan101"])
def test_a_vlan_that_is_configured_still_is_not_forgotten_whatever_is_shown(
    switch: JunosTestSwitch, target: NgsTarget, word: str
) -> None:
    done(target, Learn((binding(101),)))
    switch.answers = {VLANS: switch.cli.run(VLANS), word: "error: not now"}
    [result] = apply(target, Forget((binding(101),)))
    assert (result.outcome, "not now" in result.detail) == (Outcome.RETRY, True)
    assert "set vlans vlan101 vlan-id 101" in configured(switch, 101)


@pytest.mark.parametrize("what", [101, "all"])
def test_a_vlan_that_a_stranger_is_configured_in_stays_also_where_he_is_not_shown(
    switch: JunosTestSwitch, target: NgsTarget, what: int | str
) -> None:
    done(target, Learn((binding(101),)))
    switch.answers = {VLANS: switch.cli.run(VLANS)}
    switch.cli.by_hand(members("xe-0/0/3", what))
    apply(target, Forget((binding(101),)))
    assert "set vlans vlan101 vlan-id 101" in configured(switch, 101)


def test_a_vlan_that_a_stranger_is_shown_in_stays_when_it_is_forgotten(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    done(target, Learn((binding(101),)))
    switch.cli.dynamic = {101: "xe-0/0/9"}
    apply(target, Forget((binding(101),)))
    assert configured(switch, 101) == ["set vlans vlan101 vlan-id 101"]


def test_a_vni_that_the_switch_does_not_show_lets_nobody_join(switch: JunosTestSwitch, target: NgsTarget) -> None:
    def maps(command: str) -> None:
        switch.cli.slow = switch.cli.slow or "vxlan vni" in command

    switch.before = maps
    [result] = apply(target, Learn((binding(101),)))
    assert "it is configured with VNI 5000, and the switch shows None" in result.detail
    assert not any("interfaces" in word for word in switch.told)


def test_a_port_that_something_else_put_into_a_vlan_makes_it_somebodys(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.cli.by_hand("set vlans vlan150 vlan-id 150")
    switch.cli.dynamic = {150: "xe-0/0/9"}
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
    assert "it is on xe-0/0/9" in result.detail


def test_a_vlan_that_only_shows_a_stranger_once_it_is_made_is_removed_again(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.cli.dynamic = {101: "xe-0/0/9"}
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert switch.state == {}
    assert not any("vni" in word for word in switch.told)


def test_a_vlan_of_ours_that_is_without_a_tag_on_a_port_of_ours_is_joined_by_no_other(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    done(target, Learn((binding(101),)))
    switch.cli.by_hand("set interfaces xe-0/0/1 native-vlan-id 101")
    switch.off_by_hand(101, "xe-0/0/2")
    [result] = apply(target, Learn((binding(101),)))
    assert "native-vlan-id 101" in result.detail
    assert switch.state[101][1] == {"xe-0/0/1": "untagged"}


def test_a_vlan_of_another_routing_instance_is_somebodys(switch: JunosTestSwitch, target: NgsTarget) -> None:
    shown = json.loads(switch.cli.run(VLANS))
    group = shown["l2ng-l2ald-vlan-instance-information"][0]["l2ng-l2ald-vlan-instance-group"]
    words = {"l2ng-l2rtb-name": "EVPN-A", "l2ng-l2rtb-vlan-name": "vlan150", "l2ng-l2rtb-vlan-tag": "150"}
    group.append({word: [{"data": said}] for word, said in words.items()})
    switch.answers = {VLANS: json.dumps(shown)}
    [result] = apply(target, Learn((binding(150),)))
    assert "routing-instances EVPN-A has VLAN 150" in result.detail


@pytest.mark.parametrize(
    ("word", "said", "why"),
    [
        ("l2ng-l2rtb-vlan-l3-interface", [{"data": "irb.7"}], "irb.7 routes it"),
        ("l2ng-l2rtb-vlan-member", [], "it is to be on xe-0/0/48, and is not"),
        (
            "l2ng-l2rtb-vlan-member",
            [
                {
                    "l2ng-l2rtb-vlan-member-interface": [{"data": port}],
                    "l2ng-l2rtb-vlan-member-tagness": [{"data": how}],
                }
                for port, how in (("xe-0/0/48.0*", "tagged"), ("xe-0/0/1.0*", "untagged"))
            ],
            "it is on xe-0/0/1 without a tag",
        ),
    ],
)
def test_what_is_shown_of_a_vlan_and_is_not_configured_makes_it_somebodys(
    switch: JunosTestSwitch, word: str, said: object, why: str
) -> None:
    switch.cli.by_hand(f"set interfaces xe-0/0/48 {SWITCHED} interface-mode trunk", members("xe-0/0/48", "all"))
    switch.cli.by_hand("delete interfaces xe-0/0/48 unit 0 family inet", "set vlans vlan150 vlan-id 150")
    target = switch.target(junos_settings(ngs_trunk_ports="xe-0/0/48"))
    assert 150 not in target.observe().foreign_vids
    shown = json.loads(switch.cli.run(VLANS))
    groups = shown["l2ng-l2ald-vlan-instance-information"][0]["l2ng-l2ald-vlan-instance-group"]
    [vlan] = [group for group in groups if group["l2ng-l2rtb-vlan-tag"] == [{"data": "150"}]]
    vlan[word] = said
    switch.answers = {VLANS: json.dumps(shown)}
    [result] = apply(target, Learn((binding(150),)))
    assert (result.outcome, why in result.detail) == (Outcome.REFUSED, True), result.detail


def test_a_route_target_of_each_vlan_goes_with_its_vni_where_it_is_asked_for(switch: JunosTestSwitch) -> None:
    target = switch.target(junos_settings(ngs_evpn_vni_config="true", ngs_bgp_asn="65000"))
    done(target, Learn((binding(101),)))
    aimed = ("vlans", "vlan101", "vrf-target", "target:65000:5000")
    assert aimed in switch.cli.active
    assert held(target) == {binding(101)}
    switch.cli.by_hand("delete vlans vlan101 vrf-target")
    assert held(target) == {binding(101, whole=False)}
    done(target, Learn((binding(101),)))
    assert aimed in switch.cli.active
    done(target, Forget((binding(101),)))
    assert switch.state == {}


def looked_at(switch: JunosTestSwitch) -> bool:
    """All was just looked at, and the next word tells it something."""
    return switch.asked[-2:] == [f"{TUNNELS} | count", HISTORY]


def test_a_vni_that_somebody_put_in_the_place_of_ours_is_not_taken_off(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    done(target, Learn((binding(101),)))

    def comes(command: str) -> None:
        if looked_at(switch) and switch.state[101][1] == {}:  # all ports have left
            switch.before = lambda command: None
            switch.cli.by_hand(f"set vlans vlan101 vxlan vni {int(THEIRS)}")

    switch.before = comes
    apply(target, Forget((binding(101),)))
    assert switch.state == {101: (THEIRS, {})}


def test_a_vlan_that_somebody_says_more_of_before_it_is_to_go_stays(switch: JunosTestSwitch, target: NgsTarget) -> None:
    done(target, Learn((binding(101),)))

    def comes(command: str) -> None:
        if looked_at(switch) and switch.state[101][0] is None:  # its VNI is off
            switch.before = lambda command: None
            switch.cli.by_hand("set vlans vlan101 l3-interface irb.101")

    switch.before = comes
    apply(target, Forget((binding(101),)))
    assert ("vlans", "vlan101", "l3-interface", "irb.101") in switch.cli.active
    assert ("vlans", "vlan101", "vlan-id", "101") in switch.cli.active


@pytest.mark.parametrize("more", ["description reserved", "vxlan ingress-node-replication"])
def test_what_means_nothing_does_not_keep_a_vlan_of_ours_from_going(
    switch: JunosTestSwitch, target: NgsTarget, more: str
) -> None:
    done(target, Learn((binding(101),)))
    switch.cli.by_hand(f"set vlans vlan101 {more}")
    assert held(target) == {binding(101)}
    done(target, Forget((binding(101),)))
    assert switch.state == {}


@pytest.mark.parametrize("line", ["vlans vlan101 vlan-id 300", "vlans vlan101 l3-interface irb.101"])
def test_a_name_that_somebody_takes_before_we_do_is_his(switch: JunosTestSwitch, target: NgsTarget, line: str) -> None:
    def comes(command: str) -> None:
        if looked_at(switch):
            switch.before = lambda command: None
            switch.cli.by_hand(f"set {line}")

    switch.before = comes
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert tuple(line.split()) in switch.cli.active
    assert ("vlans", "vlan101", "vlan-id", "101") not in switch.cli.active


def test_frames_of_our_ports_and_vlans_that_go_elsewhere_too_are_told(
    switch: JunosTestSwitch, target: NgsTarget
) -> None:
    switch.cli.by_hand(
        "set forwarding-options analyzer A input ingress interface xe-0/0/1.0",
        "set forwarding-options analyzer B input ingress interface xe-0/0/9.0",
        "set vlans vlan101 vlan-id 101",
        "set forwarding-options analyzer C input ingress vlan vlan101",
        "set switch-options remote-vtep-list 192.0.2.7",
    )
    warnings = target.observe().warnings
    assert [re.sub(".*: ", "", warning) for warning in warnings] == [
        "forwarding-options analyzer A input ingress interface xe-0/0/1.0",
        "forwarding-options analyzer C input ingress vlan vlan101",
        "switch-options remote-vtep-list 192.0.2.7",
    ]
    assert 101 not in target.observe().foreign_vids


# Others between any two words


@dataclass(slots=True)
class Between:
    """Somebody who comes just before a word of ours, the first being number 0, and once."""

    number: int
    comes: Callable[[str], None]
    said: list[str] = field(default_factory=list)

    def __call__(self, command: str) -> None:
        if len(self.said) == self.number:
            self.comes(command)
        self.said.append(command)


CHANGE = (Forget((binding(101),)), Learn((binding(102, BLUE),)))


@pytest.fixture(scope="module")
def words() -> int:
    """How many it takes to make the change."""
    with junos() as switch:
        target = reached(switch)
        done(target, Learn((binding(101),)))
        switch.asked.clear()
        done(target, *CHANGE)
        return len(switch.asked)


@pytest.mark.parametrize("how", ["trial", "silent trial", "lock", "candidate", "commit"])
def test_what_somebody_tries_locks_or_stages_between_any_two_words_stays_his(words: int, how: str) -> None:
    """Only in the moment before our commit, or its check, itself can a trial come unseen, and be confirmed by it."""
    his = "set interfaces xe-0/0/9 mtu 9000"
    for number in range(words):
        with junos() as switch:
            target, cli = reached(switch), switch.cli
            done(target, Learn((binding(101),)))
            cli.tells_of_trial = how != "silent trial"

            def comes(command: str, cli: JunosSwitch = cli) -> None:
                if "trial" in how and command not in (CHECK, COMMIT):
                    cli.tries(his)
                elif how == "commit":
                    cli.by_hand(his)
                elif how == "lock":
                    cli.exclusive = "alice"
                elif how == "candidate":
                    cli.shared = [his]

            switch.before = Between(number, comes)
            apply(target, *CHANGE)
            target.observe()
            switch.before = lambda command: None
            assert cli.candidate is None, number
            assert (tuple(his.split()[1:]) in cli.active) == (cli.before_trial is not None or how == "commit"), number
            if cli.before_trial is not None:
                assert cli.history[0].pending
                cli.roll_back()
            cli.exclusive, cli.shared = "", []
            done(target, *CHANGE)
            assert used(switch) == {102: (BLUE, ON_OURS)}, number


@pytest.mark.parametrize("does_it", [False, True])
def test_a_session_that_breaks_at_any_word_leaves_what_the_next_round_mends(words: int, does_it: bool) -> None:
    for number in range(words):
        with junos() as switch:
            target = reached(switch)
            done(target, Learn((binding(101),)))
            asked = len(switch.asked)

            def breaks(command: str, switch: JunosTestSwitch = switch, at: int = asked + number) -> None:
                if len(switch.asked) == at + 1:
                    switch.hangs_at, switch.up = (command, True) if does_it else ("", False)

            switch.before = breaks
            apply(target, *CHANGE)
            switch.before, switch.up, switch.hangs_at = lambda command: None, True, ""
            target.observe()
            assert switch.cli.candidate is None, number
            done(target, *CHANGE)
            assert used(switch) == {102: (BLUE, ON_OURS)}, number


ASKED = (CONFIG, IN_FORCE, VLANS, TUNNELS, HISTORY)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from((*ASKED, *(f"{asked} | last 3" for asked in ASKED[:2]), f"{TUNNELS} | count")),
    st.floats(0, 1, exclude_max=True),
)
def test_a_look_of_which_any_answer_is_cut_anywhere_is_no_look_or_the_same(command: str, share: float) -> None:
    """The end of the last tunnel's row may go: it tells nothing that is asked for."""
    with junos() as switch:
        target = reached(switch)
        done(target, Learn((binding(101), binding(102, BLUE))))
        switch.told.clear()
        switch.cuts = (command, share)
        try:
            assert held(target) == {binding(101), binding(102, BLUE)}
            assert command == TUNNELS
        except Retry:
            [result] = apply(target, Forget((binding(101),)))
            assert result.outcome is Outcome.RETRY
        assert switch.told == []
        assert switch.state == {101: (RED, ON_OURS), 102: (BLUE, ON_OURS)}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from((*ASKED, f"run {HISTORY}", "show", "set", "delete", ENTER, CHECK, COMMIT, DROP, "exit", "")),
    st.floats(0, 1),
    st.integers(0, 140),
)
def test_an_answer_that_is_cut_in_the_midst_of_a_change_is_mended_by_the_next(
    command: str, share: float, number: int
) -> None:
    with junos() as switch:
        target = reached(switch)
        done(target, Learn((binding(101),)))

        def cut(_: str) -> None:
            switch.cuts = (command, share)

        switch.before = Between(number, cut)
        apply(target, *CHANGE)
        switch.before, switch.cuts = lambda command: None, None
        done(target, *CHANGE)
        assert used(switch) == {102: (BLUE, ON_OURS)}
        assert switch.cli.candidate is None


# Names, options, answers of other forms


@pytest.mark.parametrize(
    "option",
    [
        {"ngs_bum_replication_mode": "multicast"},
        {"ngs_evpn_vni_config": "true"},
        {"ngs_save_configuration": "False"},
        {"ngs_network_name_format": "{network_id}"},
        {"ngs_network_name_format": "all"},
        {"ngs_network_name_format": "net {segmentation_id}"},
        {"ngs_network_name_format": "{unknown}"},
    ],
)
def test_an_option_that_cannot_work_is_refused_where_it_is_configured(option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        junos_settings(**option)


def test_options_of_the_librarys_own_are_taken(switch: JunosTestSwitch) -> None:
    given = {"ngs_commit_timeout": "120", "ngs_commit_interval": "1", "ngs_network_name_format": "n-{network_id}"}
    done(switch.target(junos_settings(**given)), Learn((binding(101),)))
    assert switch.cli.vlans[101] == "n-00000000000000000000000000000065"


def test_a_vlan_of_ours_that_is_called_otherwise_by_now_is_not_touched(switch: JunosTestSwitch) -> None:
    done(reached(switch), Learn((binding(101),)))
    target = switch.target(junos_settings(ngs_network_name_format="n{segmentation_id}"))
    [result] = apply(target, Learn((binding(101),)))
    assert any("somebody's too: vlans vlan101 vlan-id 101" in found.what for found in target.findings())
    assert result.outcome is Outcome.DONE, "it has its VNI, and all ports"
    [result] = apply(target, Forget((binding(101),)))
    assert "VLAN 101 still has its VNI" in result.detail
    assert switch.state == {101: (RED, {})}


def test_nothing_that_is_shown_has_a_secret_in_it(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.by_hand("set vlans vlan150 vlan-id 150", "set protocols unheard-of secret HIDDEN vlan 150")
    [result] = apply(target, Learn((binding(150),)))
    assert "protocols unheard-of secret ..." in result.detail
    assert "HIDDEN" not in str((result, target.findings(), target.observe()))


def test_what_the_switch_says_to_a_word_is_shown_without_a_secret(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.refuses, switch.no = "set vlans", "error: password HIDDEN is too old"
    [result] = apply(target, Learn((binding(101),)))
    assert ("error: password ..." in result.detail, "HIDDEN" in result.detail) == (True, False)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from((CONFIG, IN_FORCE)), st.floats(0, 1))
def test_a_configuration_that_is_cut_anywhere_shows_no_secret(command: str, share: float) -> None:
    with junos() as switch:
        switch.cuts = (command, share)
        try:
            said = str(reached(switch).observe())
        except Retry as fault:
            said = str(fault)
        assert "HID" not in said


@pytest.mark.parametrize("list_of", ["vni", "vlan"])
def test_a_network_that_is_carried_on_to_another_data_centre_like_all_is_told(
    switch: JunosTestSwitch, target: NgsTarget, list_of: str
) -> None:
    switch.cli.by_hand(line := f"set protocols evpn interconnect interconnected-{list_of}-list all")
    told = f"frames of ours may go elsewhere too: {line.removeprefix('set ')}"
    assert any(told in warning for warning in target.observe().warnings)
    done(target, Learn((binding(101),)))


@pytest.mark.parametrize("command", [CONFIG, IN_FORCE])
@pytest.mark.parametrize(
    "line",
    ["set system ACCESS-DENIED", "set vlans ## ACCESS-DENIED", "## ACCESS-DENIED", "set vlans /* ACCESS-DENIED */"],
)
def test_a_switch_that_does_not_show_this_login_everything_is_not_read(
    switch: JunosTestSwitch, target: NgsTarget, command: str, line: str
) -> None:
    """What is not shown would look as if nobody had it."""
    first, *rest = switch.cli.run(command).splitlines()
    switch.answers = {command: "\n".join([first, line, *rest])}
    with pytest.raises(Retry, match="is not shown all of its configuration"):
        target.observe()
    [result] = apply(target, Learn((binding(101),)))
    assert "is not shown all of its configuration" in result.detail
    assert switch.told == []


def test_a_configuration_with_a_complaint_in_it_is_not_read(switch: JunosTestSwitch, target: NgsTarget) -> None:
    first, *rest = switch.cli.run(IN_FORCE).splitlines()
    switch.answers = {IN_FORCE: "\n".join([first, "error: could not expand group 'G'", *rest])}
    with pytest.raises(Retry, match="could not expand"):
        target.observe()


def test_both_prompts_end_an_answer_and_nothing_else_does() -> None:
    ends = re.compile(JUNOS.prompts("isthmus@leaf1>"))
    assert ends.search("commit complete\n\n{master:0}[edit]\nisthmus@leaf1# ")
    assert ends.search("\nisthmus@leaf1> ")
    assert not ends.search("isthmus@leaf1> show configuration")
    assert not ends.search("Discard uncommitted changes? [yes,no] (yes) ")


def test_the_clock_of_a_stack_is_found(switch: JunosTestSwitch, target: NgsTarget) -> None:
    switch.cli.tells_of_trial = False
    switch.cli.tries("set interfaces xe-0/0/9 mtu 9000")
    shown = json.loads(switch.cli.run(UPTIME))
    stack = {"multi-routing-engine-results": [{"multi-routing-engine-item": [shown]}]}
    switch.answers = {UPTIME: f"{json.dumps(stack)}\n\n{{master:0}}"}
    assert any("on trial" in warning for warning in target.observe().warnings)


def test_what_documentation_shows_is_understood() -> None:
    """Lists in brackets, a table without its last column, a member without a name, VLANs without a VID."""
    config = [
        "set version 21.4R3.15",
        "set protocols bgp group OVERLAY neighbor 192.0.2.9 family evpn signaling",
        "set protocols evpn encapsulation vxlan",
        "set protocols evpn extended-vni-list all",
        "set switch-options vtep-source-interface lo0.0 inet6",
        "set switch-options route-distinguisher 192.0.2.1:1",
        "set switch-options vrf-import FABRIC",
        "set interfaces xe-0/0/1 unit 0 family ethernet-switching interface-mode trunk",
        "set interfaces xe-0/0/1 unit 0 family ethernet-switching vlan members [ 101 300-310 ]",
        "set vlans vlan101 vlan-id 101",
        "set vlans vlan101 vxlan vni 5000",
    ]
    words = {"l2ng-l2rtb-name": "default-switch", "l2ng-l2rtb-vlan-name": "vlan101", "l2ng-l2rtb-vlan-tag": "101"}
    vlan: dict[str, list[dict[str, object]]] = {word: [{"data": said}] for word, said in words.items()}
    vlan["l2ng-l2rtb-vlan-member"] = [
        {"l2ng-l2rtb-vlan-member-interface": [{"data": port}], "l2ng-l2rtb-vlan-member-tagness": [{"data": "tagged"}]}
        for port in ("xe-0/0/1.0*", "vtep.32769*", "esi.1758*")
    ]
    vlan["l2ng-l2rtb-vlan-member"] += [{}, {"l2ng-l2rtb-vlan-member-interface": [{"data": [None]}]}]
    nameless = {word: [{"data": said}] for word, said in words.items()} | {"l2ng-l2rtb-vlan-tag": [{"data": "NA"}]}
    shown = {"l2ng-l2ald-vlan-instance-information": [{"l2ng-l2ald-vlan-instance-group": [vlan, nameless]}]}
    for row in ("vlan101+101    5000         0.0.0.0", "vlan101+101  5000    5001    ::    vtep.32768"):
        rows = [f"    default-switch           {row}", "    default-switch  other+300   0   0.0.0.0"]
        found = understood(config, config, json.dumps(shown), rows, junos_settings(("xe-0/0/1",)))
        assert found.unready == ""
        assert found.vlans.keys() == {Vid(101)}
        assert (found.at(Vid(101)).vni, found.at(Vid(101)).tagged, found.at(Vid(101)).said) == (RED, {"xe-0/0/1"}, "")


LOOKING = (CONFIG, IN_FORCE, VLANS, TUNNELS, TUNNELS + COUNT, HISTORY, ENTER, CANDIDATE, CHECK)
ACCESS = (
    "delete interfaces xe-0/0/3 unit 0 family ethernet-switching vlan members",
    "set interfaces xe-0/0/3 unit 0 family ethernet-switching interface-mode access",
    members("xe-0/0/3", 101),
)
THEN = {"map": (None, {}), "join": (RED, {}), "remove": (None, {})}
"""What VLAN 101 is when the stranger comes into it, by the stage that is next."""


@pytest.mark.parametrize("stage", THEN)
@pytest.mark.parametrize("at", LOOKING)
def test_what_is_committed_is_committed_to_what_was_looked_at(stage: str, at: str) -> None:
    """Whoever comes into the VLAN between our look and the last before the commit, at whatever command."""
    with junos() as switch:
        target = reached(switch)
        if stage == "remove":
            apply(target, Learn((binding(101),)))
        his: list[object] = []

        def hand(command: str) -> None:
            if command == at and not his and switch.state.get(101) == THEN[stage]:
                his.append(None)
                switch.cli.by_hand(*ACCESS)
                his[0] = switch.state.get(101)
                switch.cli.changed = lambda: his.append(switch.state.get(101))

        switch.before = hand
        change = Forget((binding(101),)) if stage == "remove" else Learn((binding(101),))
        [result] = apply(target, change)
        assert his, "he came"
        for _ in range(3):
            apply(target, change.__class__(change.entries))
        last = switch.state.get(101)
        assert last is None or last[0] is None or "xe-0/0/3" not in last[1], "nor does he keep it"
        assert result.outcome is not Outcome.DONE or stage == "remove"
        vni, ports = his[0]  # type: ignore[misc]
        for after in his:
            assert after is not None, "the VLAN did not go while he was in it"
            if vni is None:
                assert after[0] is None, "he was not given our network"  # type: ignore[index]
            assert set(after[1]) <= set(ports) or "xe-0/0/3" not in after[1], "no port of ours joined him"  # type: ignore[index]


OTHER = "set routing-instances OTHER"
DIVERTED = {
    "another instance": (
        f"{OTHER} instance-type virtual-switch",
        f"{OTHER} interface xe-0/0/2.0",
        f"{OTHER} vlans theirs vlan-id 150",
    ),
    "a translation": ("set interfaces xe-0/0/2 unit 0 family ethernet-switching vlan-rewrite translate 150 250",),
    "frames without a tag": ("set interfaces xe-0/0/2 native-vlan-id 150",),
    "a unit": ("set interfaces xe-0/0/2 flexible-vlan-tagging", "set interfaces xe-0/0/2 unit 150 vlan-id 150"),
}


@pytest.mark.parametrize("lines", DIVERTED.values(), ids=DIVERTED)
def test_a_vid_that_a_port_of_ours_brings_to_somebody_else_is_his_though_there_is_no_such_vlan(
    lines: tuple[str, ...],
) -> None:
    with junos() as switch:
        switch.cli.by_hand(*lines)
        seen = switch.target().observe()
        assert (150 in seen.foreign_vids, 150 in seen.unfit) == (True, False)
        switch.cli.by_hand("set firewall family ethernet-switching filter f term t from user-vlan-id 160")
        seen = switch.target().observe()
        assert (160 in seen.foreign_vids, 160 in seen.unfit) == (False, True), "no port of ours has it"
