"""A SONiC switch by networking-generic-switch: what is ours on it, what a change comes to, what is left alone."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from isthmus.adapters.leaf.pair import LeafPair
from isthmus.model.change import Change, Forget, Learn, Outcome
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.nve import LeafBinding, LeafFlood
from isthmus.model.tags import VidSet, Vni
from tests.adapters.leaf.ngs.switch import ADDRESS, PORTS, TestSwitch, settings, sonic
from tests.adapters.leaf.ngs.telling import BLUE, RED, THEIRS, apply, binding, done, held

SAVE = "config save -y"


@pytest.fixture
def switch() -> Iterator[TestSwitch]:
    with sonic() as made:
        yield made


def test_a_binding_is_a_vlan_on_every_port_of_the_hosts_mapped_to_the_vni_and_saved(switch: TestSwitch) -> None:
    done(switch.target(), Learn((binding(101, BLUE),)))
    assert switch.cli.vlans == {101: dict.fromkeys(PORTS, "tagged")}
    assert switch.cli.maps == {101: BLUE}
    assert switch.cli.saved
    assert switch.cli.routing_saved, "BGP keeps what it was told in another place"


def test_all_that_a_round_has_to_say_is_said_in_one_session_and_saved_once(switch: TestSwitch) -> None:
    target = switch.target()
    done(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(10)))
    done(target, Forget((binding(100),)), Learn((binding(110, RED),)))
    assert switch.told.count(SAVE) == 2
    assert switch.most_sessions == 1
    assert {e.vni for e in held(target) if isinstance(e, LeafBinding)} == {*range(5001, 5010), RED}


def test_what_it_holds_already_is_not_said_again(switch: TestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    told = list(switch.told)
    done(target, Learn((binding(101),)), Forget((binding(102, BLUE),)))
    assert switch.told == told


def test_it_is_told_of_no_member_and_says_so(switch: TestSwitch) -> None:
    target = switch.target()
    seen = target.observe()
    assert (seen.learns, seen.marked) == (True, False)
    with pytest.raises(TypeError):
        apply(target, Learn((LeafFlood(RED, frozenset()),)))


@pytest.mark.parametrize(
    "hand",
    [
        ("vxlan map del vtep 101 5000",),
        ("vlan member del 101 Ethernet4",),
        ("vlan member del 101 Ethernet4", "vlan member add -u 101 Ethernet4"),
        (
            "vxlan map del vtep 101 5000",
            "vlan member del 101 Ethernet4",
            "vlan member del 101 Ethernet8",
            "vlan del 101",
        ),
    ],
)
def test_what_a_hand_took_away_is_seen_and_put_back(switch: TestSwitch, hand: tuple[str, ...]) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.ctl(*hand)
    assert binding(101) not in held(target)
    assert target.observe().foreign_vids == VidSet(), "a VLAN of our range on no ports but ours is nobody else's"
    done(target, Learn((binding(101),)))
    assert held(target) == {binding(101)}
    assert switch.cli.vlans == {101: dict.fromkeys(PORTS, "tagged")}


def test_an_accepted_command_is_not_an_applied_one(switch: TestSwitch) -> None:
    """SONiC says that the port does not exist, and the library finds nothing wrong with that."""
    target = switch.target(settings(ports=("Ethernet4", "Ethernet99")))
    [red, blue] = apply(target, Learn((binding(101),)), Forget((binding(102, BLUE),)))
    assert red.outcome is Outcome.RETRY
    assert "VLAN 101 is not tagged on Ethernet99" in red.detail
    assert "Ethernet99 does not exist" in red.detail
    assert blue.outcome is Outcome.DONE
    assert held(target) == {binding(101, whole=False)}


@pytest.mark.parametrize("answers", range(40))
def test_a_session_that_breaks_anywhere_leaves_what_the_next_round_mends_and_saves(
    switch: TestSwitch, answers: int
) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.dies_after = 3 + answers  # it is looked at first
    results = apply(target, Forget((binding(101),)), Learn((binding(102, BLUE),)))
    # It is there, and read back, before it is saved.
    assert {result.outcome for result in results} == {Outcome.UNREACHABLE if answers < 38 else Outcome.DONE}
    switch.up, switch.dies_after = True, None
    assert target.observe().foreign_vids == VidSet()
    done(target, Forget((binding(101),)), Learn((binding(102, BLUE),)))
    assert held(target) == {binding(102, BLUE)}
    assert {vid: ports for vid, ports in switch.cli.vlans.items() if ports} == {102: dict.fromkeys(PORTS, "tagged")}
    assert switch.cli.saved


def test_what_was_told_in_a_session_that_broke_before_it_was_saved_is_saved_at_the_next_look(
    switch: TestSwitch,
) -> None:
    target = switch.target()
    switch.before = lambda command: switch.__setattr__("up", switch.up and command != SAVE)
    done(target, Learn((binding(101),)))
    assert not switch.cli.saved
    switch.before, switch.up = lambda command: None, True
    assert held(target) == {binding(101)}
    assert switch.cli.saved


def test_a_vni_that_cannot_be_taken_off_one_vlan_is_not_put_on_another(switch: TestSwitch) -> None:
    """S39: twice on one switch it would be two networks, or none."""
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.refuses = "config vxlan map del"
    results = apply(target, Forget((binding(101),)), Learn((binding(102),)))
    assert {result.outcome for result in results} == {Outcome.RETRY}
    assert not [command for command in switch.told if command.endswith("vxlan map add vtep 102 5000")]


def test_looking_at_a_switch_that_it_told_nothing_saves_nothing(switch: TestSwitch) -> None:
    switch.ctl("vlan add 300")
    held(switch.target())
    assert not switch.cli.saved


@pytest.mark.parametrize("hangs", [False, True])
def test_a_switch_that_does_not_save_is_seen_and_said_and_asked_again_more_and_more_seldom(
    switch: TestSwitch, hangs: bool
) -> None:
    from netmiko.exceptions import ReadTimeout

    def hang(command: str) -> None:
        if command == SAVE:
            raise ReadTimeout("no prompt")

    now = 0.0
    target = switch.target()
    target._switch._clock = lambda: now
    switch.refuses, switch.before = ("", hang) if hangs else (SAVE, switch.before)
    done(target, Learn((binding(101),)))
    for _ in range(600):
        now += 10
        assert held(target) == {binding(101)}
        assert any("does not save" in warning for warning in target.observe().warnings)
    assert 5 < switch.told.count(SAVE) < 12
    switch.refuses, switch.before = "", lambda command: None
    done(target, Learn((binding(102, BLUE),)))
    assert target.observe().warnings == ()
    assert switch.cli.saved


def test_one_that_is_not_to_be_saved_is_not(switch: TestSwitch) -> None:
    done(switch.target(settings(ngs_save_configuration="False")), Learn((binding(101),)))
    assert SAVE not in switch.told


@pytest.mark.parametrize("seconds", [3, 40])
def test_a_slow_switch_is_waited_for_and_told_nothing_twice(switch: TestSwitch, seconds: float) -> None:
    target = switch.target()
    switch.takes = seconds
    done(target, *(Learn((binding(100 + n, Vni(5000 + n)),)) for n in range(20)))
    assert len(held(target)) == 20
    assert len(set(switch.told)) == len(switch.told)
    assert switch.cli.saved


def test_one_that_hangs_is_left_alone_and_told_nothing_twice(switch: TestSwitch) -> None:
    target = switch.target()
    assert held(target) == set()
    switch.before = lambda command: switch.__setattr__("takes", 0 if command.startswith("show") else 600)
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.UNREACHABLE
    assert switch.told == ["config vlan add 101"]
    switch.before, switch.takes = lambda command: None, 0
    assert held(target) == set()
    assert switch.cli.saved, "it may have been carried out, and nobody heard of it"


def test_two_who_speak_to_it_at_once_take_turns(switch: TestSwitch) -> None:
    """What one is answered the other would take for its own."""
    target, inside, most = switch.target(), [0], [0]

    def slowly(command: str) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        inside[0] -= 1

    switch.before = slowly
    with ThreadPoolExecutor(8) as threads:
        asked = [Learn((binding(101 + n, Vni(5000 + n)),)) for n in range(4)]
        writes = [threads.submit(apply, target, action) for action in asked]
        looks = [threads.submit(target.observe) for _ in range(4)]
    assert {result.outcome for write in writes for result in write.result()} == {Outcome.DONE}
    assert all(look.result() for look in looks)
    assert (most, switch.most_sessions) == ([1], 1)
    assert len(held(target)) == 4


def test_one_that_cannot_be_entered_as_configured_is_unknown_and_not_in_the_way_of_others(switch: TestSwitch) -> None:
    def secrets() -> dict[str, str]:
        raise Refused("leaf.password: No such file")

    target = switch.target(replace(settings(), secrets=secrets))
    with pytest.raises(Retry, match="No such file"):
        target.observe()
    with pytest.raises(Retry, match="No such file"):
        target.findings()


def taken_by_a_hand(switch: TestSwitch) -> None:
    switch.ctl("vlan add 150", "vlan member add 150 Ethernet48", "vxlan map add vtep 150 99999")


def test_a_vlan_that_a_hand_took_between_look_and_deed_is_left_alone(switch: TestSwitch) -> None:
    target = switch.target()
    assert held(target) == set()
    taken_by_a_hand(switch)
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.RETRY
    assert "VLAN 150 has VNI 99999 by now" in result.detail
    assert (switch.cli.maps, switch.cli.vlans) == ({150: THEIRS}, {150: {"Ethernet48": "tagged"}})


@pytest.mark.parametrize("command", ["config vlan add 150", "config vxlan map add vtep 150 5000"])
def test_no_port_joins_a_vlan_that_a_hand_takes_in_the_midst_of_a_deed(switch: TestSwitch, command: str) -> None:
    def meddle(said: str) -> None:
        if said == command:
            switch.cli.vlans[150], switch.cli.maps[150] = {"Ethernet48": "tagged"}, THEIRS

    target, switch.before = switch.target(), meddle
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.RETRY
    assert (switch.cli.maps, switch.cli.vlans) == ({150: THEIRS}, {150: {"Ethernet48": "tagged"}})


def test_a_vlan_with_a_strangers_port_is_not_given_from_one_network_to_another(switch: TestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.ctl("vlan member add 101 Ethernet48")
    forgotten, learnt = apply(target, Forget((binding(101),)), Learn((binding(101, BLUE),)))
    assert (forgotten.outcome, learnt.outcome) == (Outcome.DONE, Outcome.REFUSED)
    assert (switch.cli.maps, switch.cli.vlans) == ({}, {101: {"Ethernet48": "tagged"}})


def test_a_pair_takes_no_strangers_vlan_that_only_one_member_has(monkeypatch: pytest.MonkeyPatch) -> None:
    netmiko = pytest.importorskip("netmiko")
    boxes = {ADDRESS: TestSwitch(), "192.0.2.102": TestSwitch()}
    monkeypatch.setattr(netmiko, "ConnectHandler", lambda ip, **given: boxes[ip].connect(**given))
    one, two = boxes.values()
    first, second = one.target(), two.target(replace(settings(), address="192.0.2.102"))
    done(first, Learn((binding(150),)))
    taken_by_a_hand(two)
    pair = LeafPair([("one", first), ("two", second)])
    seen = pair.observe()
    assert {*seen.entries.values(), *seen.rivals} == {binding(150, whole=False), binding(150, THEIRS, whole=False)}
    [result] = pair.apply([Change(1, pair.id, Learn((binding(150),)), "test")])
    assert result.outcome is Outcome.RETRY
    assert (two.cli.maps, two.cli.vlans) == ({150: THEIRS}, {150: {"Ethernet48": "tagged"}})


def test_the_first_of_a_pair_is_told_nothing_that_the_second_refuses_or_cannot_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or the stranger would hear it over the peer link."""
    netmiko = pytest.importorskip("netmiko")
    boxes = {ADDRESS: TestSwitch(), "192.0.2.102": TestSwitch()}
    monkeypatch.setattr(netmiko, "ConnectHandler", lambda ip, **given: boxes[ip].connect(**given))
    one, two = boxes.values()
    pair = LeafPair([("one", one.target()), ("two", two.target(replace(settings(), address="192.0.2.102")))])
    two.by_hand(150, Ethernet48="tagged")
    learn = [Change(n, pair.id, Learn((binding(vid, vni),)), "test") for n, vid, vni in ((1, 150, RED), (2, 151, BLUE))]
    refused, learnt = pair.apply(learn)
    assert (refused.outcome, refused.detail.startswith("two: VLAN 150 is somebody else's")) == (Outcome.REFUSED, True)
    assert learnt.outcome is Outcome.DONE
    assert (one.cli.maps, two.cli.maps) == ({151: BLUE}, {151: BLUE})
    two.up = False
    [gone] = pair.apply([Change(3, pair.id, Forget((binding(151, BLUE),)), "test")])
    assert (gone.outcome, one.cli.maps) == (Outcome.UNREACHABLE, {151: BLUE})


@pytest.mark.parametrize(
    ("refused", "left", "said"),
    [
        ("config vlan member del 101 Ethernet4", {"Ethernet4": "tagged"}, "VLAN 101 is still on Ethernet4"),
        ("config vlan member del", dict.fromkeys(PORTS, "tagged"), "VLAN 101 is still on Ethernet4, Ethernet8"),
        ("config vxlan map del", {}, "VLAN 101 still has its VNI"),
    ],
)
def test_what_the_switch_does_not_let_go_is_not_forgotten_and_keeps_the_sign_that_it_is_ours(
    switch: TestSwitch, refused: str, left: dict[str, str], said: str
) -> None:
    """Until a port has left, its VMs hear those who get the VID next."""
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.refuses = refused
    [result] = apply(target, Forget((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert said in result.detail
    assert "Error: not now" in result.detail
    assert switch.cli.vlans == {101: left}
    assert {(e.vid, e.vni) for e in held(switch.target()) if isinstance(e, LeafBinding)} == {(101, RED)}
    switch.refuses = ""
    done(target, Forget((binding(101),)))
    assert (switch.cli.vlans, switch.cli.maps) == ({}, {})


def test_nothing_new_is_said_of_a_vlan_that_did_not_let_go_of_its_vni(switch: TestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.refuses = "config vxlan map del"
    results = apply(target, Forget((binding(101),)), Learn((binding(101, BLUE),)))
    assert {result.outcome for result in results} == {Outcome.RETRY}
    assert not [told for told in switch.told if str(int(BLUE)) in told], "BGP would tell of a VNI that is nowhere"


def test_a_vlan_that_is_complained_of_and_comes_to_be_after_all_was_not_made_in_vain(switch: TestSwitch) -> None:
    """It was there, and such a switch does not show one that nothing is in."""
    switch.refuses, switch.no = "config vlan add", "Error: VLAN 101 already exists"
    switch.cli.vlans[101] = {}
    run, cli = switch.cli.run, switch.cli

    class Hiding:
        def __getattr__(self, name: str) -> object:
            return getattr(cli, name)

        def run(self, line: str) -> str:
            shown = run(line).splitlines()
            empty = re.compile(r"\s*Vlan101\s+101\s*")
            return "\n".join(row for row in shown if not (line.startswith("show vlan") and empty.fullmatch(row)))

    switch.cli = Hiding()  # type: ignore[assignment]
    target = switch.target()
    done(target, Learn((binding(101),)))
    seen = target.observe()
    assert (set(seen.entries.values()), seen.unfit, seen.warnings) == ({binding(101)}, VidSet(), ())


def test_a_vlan_that_is_not_removed_is_said(switch: TestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.refuses = "config vlan del"
    [result] = apply(target, Forget((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert "VLAN 101 is still there (Error: not now)" in result.detail


def test_a_port_that_was_taken_out_of_the_configuration_and_hears_our_networks_is_warned_of(switch: TestSwitch) -> None:
    done(switch.target(), *(Learn((binding(101 + n, Vni(5000 + n)),)) for n in range(3)))
    small = switch.target(settings(ports=("Ethernet4",)))
    [warning] = small.observe().warnings
    assert warning == (
        f"{ADDRESS}: Ethernet8 carries VLANs 101-103 of our range too, and no host of ours is there: it is let alone"
    )
    switch.ctl(*(f"vlan member del {101 + n} Ethernet8" for n in range(3)))
    assert small.observe().warnings == ()


def test_a_vlan_of_our_range_that_nobody_vouches_for_on_ports_of_ours_is_warned_of(switch: TestSwitch) -> None:
    target = switch.target()
    switch.ctl("vlan add 150", "vlan member add 150 Ethernet4", "vlan add 300", "vlan member add 300 Ethernet4")
    [warning] = target.observe().warnings
    assert "Ethernet4 carries VLANs 150 of our range, which have no VNI" in warning
    taken_by_a_hand(one := TestSwitch())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netmiko.ConnectHandler", one.connect)
        assert one.target().observe().warnings == (), "a stranger's is for who knows the networks to say"


def test_a_vlan_outside_the_range_is_worn_and_nothing_of_it_is_dropped(switch: TestSwitch) -> None:
    """Also not by one that has our VNI, or our ports."""
    switch.ctl("vlan add 300", "vlan member add 300 Ethernet4", "vxlan map add vtep 300 5000", "vlan add 301")
    switch.ctl("vlan member add 301 Ethernet4", "vlan add 302")
    target = switch.target()
    before = (dict(switch.cli.vlans), dict(switch.cli.maps))
    assert target.observe().foreign_vids == VidSet.of("300-301"), "a VLAN that carries nothing is in nobody's way"
    [learnt, forgotten] = apply(target, Learn((binding(101),)), Forget((binding(300),)))
    assert learnt.outcome is Outcome.REFUSED
    assert "VNI 5000 is on VLAN 300 already" in learnt.detail
    assert forgotten.outcome is Outcome.DONE
    assert (switch.cli.vlans, switch.cli.maps) == before


@pytest.mark.parametrize("member", ["150 Ethernet48", "-u 150 Ethernet4"])
def test_a_plain_vlan_in_the_range_on_another_port_or_untagged_is_somebody_elses(
    switch: TestSwitch, member: str
) -> None:
    switch.ctl("vlan add 150", f"vlan member add {member}")
    target, before = switch.target(), switch.cli.run("show vlan config")
    assert target.observe().foreign_vids == VidSet.of("150")
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
    assert switch.cli.run("show vlan config") == before
    assert any("VLAN 150" in found.what for found in target.findings())


def test_ports_that_another_hand_added_stay_and_keep_the_vid_from_the_next(switch: TestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.ctl("vlan member add 101 Ethernet48")
    assert any("Ethernet48" in found.what for found in target.findings())
    done(target, Forget((binding(101),)))
    assert switch.cli.vlans == {101: {"Ethernet48": "tagged"}}
    assert "config vlan del 101" not in switch.told, "others than SONiC would not refuse"
    assert target.observe().foreign_vids == VidSet.of("101")


def test_a_vid_that_means_another_network_now_is_not_taken_from_it(switch: TestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101, RED),)))
    switch.ctl("vxlan map del vtep 101 5000", "vxlan map add vtep 101 70001")
    done(target, Forget((binding(101, RED),)))
    assert held(target) == {binding(101, BLUE)}


def test_a_vid_goes_from_one_network_to_another_at_once(switch: TestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101, RED), binding(102, BLUE))))
    done(target, Learn((binding(101, BLUE),)), Forget((binding(101, RED), binding(102, BLUE))))
    assert held(target) == {binding(101, BLUE)}
    assert 102 not in switch.cli.vlans


def test_a_network_gets_another_vid_when_it_has_left_the_first(switch: TestSwitch) -> None:
    """Such a switch has one VLAN for a VNI."""
    target = switch.target()
    done(target, Learn((binding(101),)))
    [result] = apply(target, Learn((binding(102),)))
    assert result.outcome is Outcome.RETRY
    done(target, Learn((binding(102),)), Forget((binding(101),)))
    assert held(target) == {binding(102)}


def test_ports_that_carry_all_vlans_are_told_like_those_of_the_hosts(switch: TestSwitch) -> None:
    target = switch.target(settings(ngs_trunk_ports="Ethernet48"))
    done(target, Learn((binding(101),)))
    assert set(switch.cli.vlans[101]) == {*PORTS, "Ethernet48"}
    done(target, Forget((binding(101),)))
    assert switch.cli.vlans == {}


@pytest.mark.parametrize("says", ["-bash: show: command not found", "", "Name     VID  Member    Mode\nnonsense"])
def test_a_switch_that_answers_nonsense_is_unknown_not_empty(switch: TestSwitch, says: str) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.garbled = says or " "
    with pytest.raises(Retry):
        target.observe()
    assert switch.sessions == 0, "the rest of what it says would be taken for the next answer"
    [result] = apply(target, Forget((binding(101),)))
    assert result.outcome is Outcome.RETRY
    switch.garbled = ""
    assert held(target) == {binding(101)}


def test_one_that_is_gone_is_unreachable_and_spoken_to_again_when_it_is_back(switch: TestSwitch) -> None:
    target = switch.target()
    switch.up = False
    with pytest.raises(Unreachable, match=r"192\.0\.2\.101"):
        target.observe()
    switch.up = True
    assert held(target) == set()


def test_one_that_stays_away_leaves_nothing_behind_in_memory(switch: TestSwitch) -> None:
    from networking_generic_switch.devices.netmiko_devices.sonic import Sonic

    def devices() -> int:
        gc.collect()
        return sum(isinstance(thing, Sonic) for thing in gc.get_objects())

    target, before = switch.target(), devices()
    switch.up = False
    for _ in range(10):
        with pytest.raises(Unreachable):
            target.observe()
    assert devices() - before <= 1


def test_a_password_that_was_changed_is_taken_at_the_next_login(switch: TestSwitch) -> None:
    password = ["first"]
    target = switch.target(replace(settings(), secrets=lambda: {"password": password[0]}))
    assert held(target) == set()
    switch.password = "second"
    switch.drop_sessions()
    with pytest.raises(Unreachable, match="refuses the login"):
        target.observe()
    password[0] = "second"
    assert held(target) == set()


def test_the_commands_are_said_before_they_are_given(switch: TestSwitch) -> None:
    target = switch.target()
    learn = Change(1, target.id, Learn((binding(101),)), "test")
    assert target.words(learn) == (), "nothing was looked at"
    target.observe()
    words = list(target.words(learn))
    assert not switch.told
    assert words[0] == "config vlan add 101"
    assert words.index("config vxlan map add vtep 101 5000") < words.index("config vlan member add 101 Ethernet4")
    assert words.count("config vlan add 101") == 1
    target.apply([learn])
    assert switch.told == [*words, 'vtysh -c "write memory"', SAVE]
    elsewhere = Change(2, target.id, Learn((binding(300),)), "test")
    assert list(target.words(elsewhere)) == ["# VID 300 is not in vids (1-199,205): it is not isthmus's on this switch"]
