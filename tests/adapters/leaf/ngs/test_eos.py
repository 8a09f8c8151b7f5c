"""An Arista EOS switch by networking-generic-switch: what it shows, and what a statement makes of a VLAN."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.adapters.leaf.ngs import NgsTarget
from isthmus.adapters.leaf.ngs.eos import reads, understood
from isthmus.adapters.leaf.ngs.held import Held
from isthmus.model.change import Change, Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.names import LeafId
from isthmus.model.tags import Vid, VidSet, Vni
from lab.wire.eos import EosSwitch
from lab.wire.modal import SwitchPort
from tests.adapters.leaf.ngs.switch import PEER_LINK, PORTS, EosTestSwitch, eos, eos_pair, eos_switch
from tests.adapters.leaf.ngs.telling import BLUE, RED, THEIRS, apply, binding, done, held, not_to_be_had
from tests.adapters.leaf.ngs.test_any_type import TYPES

ON_OURS = dict.fromkeys(PORTS, "tagged")
SETTINGS = EosTestSwitch().settings()


@pytest.fixture
def switch() -> Iterator[EosTestSwitch]:
    with eos() as made:
        yield made


def answers(cli: EosSwitch) -> list[str]:
    return [cli.run(command) for command in reads("Vxlan1")]


def read(cli: EosSwitch) -> Held:
    config, shown, configured, vxlan = answers(cli)
    return understood(config, shown, configured, vxlan, SETTINGS)


SOMEBODYS = {
    "interface Vlan150\n   ip address 192.0.2.1/28": "150",
    "interface Ethernet7\n   switchport access vlan 150": "150",
    "interface Ethernet7\n   switchport mode trunk\n   switchport trunk native vlan 150\n"
    "   switchport trunk allowed vlan none": "150",
    "interface Ethernet7\n   switchport mode trunk\n   switchport trunk allowed vlan 150-160,170": "150-160,170",
    "interface Ethernet7\n   switchport mode trunk": "2-199,205",
    "interface Ethernet7\n   switchport mode trunk phone\n   switchport trunk allowed vlan 150": "150",
    "interface Ethernet7\n   switchport phone vlan 150": "150",
    "interface Ethernet7\n   switchport vlan forwarding accept all": "2-199,205",
    "interface Ethernet7\n   switchport vlan translation 150 300": "150",
    "interface Ethernet4\n   switchport vlan translation in 300 150": "150",
    "interface Ethernet4\n   switchport trunk native vlan 150": "150",
    "interface Ethernet4\n   switchport access vlan 150": "150",
    "interface Ethernet7.150\n   encapsulation dot1q vlan 150": "150",
    "interface Ethernet7.150\n   vlan id 150": "150",
    "vlan 150\n   trunk group MLAG": "150",
    "vlan 150-152\n   private-vlan isolated vlan 160": "150-152,160",
    "vlan 300\n   private-vlan isolated vlan 160": "160",
    "vlan 150\n   state suspend": "150",
    "vlan internal order ascending range 150 160": "150-160",
    "vmtracker session vc\n   allowed-vlan 150-152": "150-152",
    "mac address-table static 0050.5600.0001 vlan 150 interface Ethernet7": "150",
    "interface profile HOST\n   command switchport access vlan 150": "150",
    "router bgp 65000\n   vlan 150\n      rd 192.0.2.1:150\n      route-target both 65000:77": "150",
    "router bgp 65000\n   vlan-aware-bundle ALL\n      vlan 150-152": "150-152",
    "interface Vxlan1\n   vxlan vlan 150 flood vtep 192.0.2.9": "150",
    "a word that nobody knows of vlan 150": "150",
    "nobody knows vlan all": "2-199,205",
}
NOBODYS = (
    "interface Ethernet7\n   no switchport default phone vlan\n   description VLAN 150 to the roof",
    "interface Ethernet7\n   switchport mode trunk\n   switchport trunk allowed vlan 1,200-204,300",
    "no spanning-tree vlan-id 150",
    "spanning-tree vlan-id 150 priority 4096",
    "spanning-tree mst configuration\n   instance 1 vlan 1-4094",
    "ip igmp snooping vlan 150 querier",
    "ip dhcp snooping vlan 1-4094",
    "ip prefix-list PL-VLAN seq 150 permit 192.0.2.0/24",
    "route-map RM-VLAN-IN permit 150",
    "vlan internal order ascending range 1006 1199",
    "banner login\nvlan 150 is ours\ninterface Vlan150\nEOF",
    "! vlan 150 is a comment",
    "interface Vlan300\n   ip address 192.0.2.1/28",
)


@pytest.mark.parametrize("more", SOMEBODYS)
def test_a_statement_about_a_vlan_that_is_not_known_makes_it_somebodys(switch: EosTestSwitch, more: str) -> None:
    switch.cli.more = more
    target, vids = switch.target(), VidSet.of(SOMEBODYS[more])
    assert not_to_be_had(target) & SETTINGS.vids == vids
    assert any(f"VLAN {vids}, in our range, is not made" in found.what for found in target.findings())
    vid = 150 if 150 in vids else min(vids)
    [result] = apply(target, Learn((binding(vid),)))
    assert result.outcome is Outcome.REFUSED
    assert not switch.told


@pytest.mark.parametrize("more", NOBODYS)
def test_a_statement_that_means_nothing_for_who_hears_whom_is_no_matter(switch: EosTestSwitch, more: str) -> None:
    switch.cli.more = more
    target = switch.target()
    assert target.observe().foreign_vids & SETTINGS.vids == VidSet()
    done(target, Learn((binding(150),)))
    assert switch.state == {150: (RED, ON_OURS)}


@pytest.mark.parametrize("more", [text for text, vids in SOMEBODYS.items() if 150 in VidSet.of(vids)])
def test_no_port_joins_a_vlan_of_ours_that_such_a_statement_is_about_and_it_is_told(
    switch: EosTestSwitch, more: str
) -> None:
    target = switch.target()
    done(target, Learn((binding(150),)))
    switch.off_by_hand(150, PORTS[0])
    switch.cli.more = more
    assert target.observe().warnings
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.RETRY
    assert switch.cli.members(150) == {PORTS[1]: "tagged"}


UNREADY: dict[str, Callable[[EosSwitch], object]] = {
    "there is no Vxlan1": lambda cli: setattr(cli, "vxlan", None),
    "Vxlan1 is shut down": lambda cli: setattr(cli, "vxlan", ("vxlan source-interface Loopback1", "shutdown")),
    "Vxlan1 has no source-interface": lambda cli: setattr(cli, "vxlan", ()),
    "another controller": lambda cli: setattr(cli, "vxlan", ("vxlan controller-client",)),
    "there is no 'router bgp 65000'": lambda cli: setattr(cli, "asn", 65001),
    "BGP is shut down": lambda cli: setattr(cli, "bgp", ("shutdown", *cli.bgp)),
    "no neighbor is activated": lambda cli: setattr(cli, "bgp", ("address-family evpn",)),
    "others make VLANs": lambda cli: setattr(cli, "more", "mvrp"),
}


@pytest.mark.parametrize("why", UNREADY)
def test_a_switch_that_cannot_carry_a_network_is_told_nothing_and_the_reason_is_shown(
    switch: EosTestSwitch, why: str
) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    told = list(switch.told)
    UNREADY[why](switch.cli)
    assert any(why in warning for warning in target.observe().warnings)
    results = apply(target, Forget((binding(101),)), Learn((binding(102, BLUE),)))
    assert {result.outcome for result in results} == {Outcome.RETRY}
    assert all(why in result.detail for result in results)
    assert switch.told == told


def test_a_switch_that_becomes_unready_in_the_midst_is_told_no_more(switch: EosTestSwitch) -> None:
    def shut(command: str) -> None:
        if command == "router bgp 65000":
            switch.cli.bgp = ("shutdown",)

    target, switch.before = switch.target(), shut
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, "BGP is shut down" in result.detail) == (Outcome.RETRY, True)
    assert switch.cli.members(101) == {}


BARRED = {
    "there is no such port": lambda cli: cli.ports.pop(PORTS[0]),
    "member of Port-Channel10": lambda cli: setattr(cli.ports[PORTS[0]], "lag", 10),
    "routed port": lambda cli: setattr(cli.ports[PORTS[0]], "routed", True),
    "switchport mode access": lambda cli: setattr(cli.ports[PORTS[0]], "mode", "access"),
    "switchport mode dot1q-tunnel": lambda cli: setattr(cli.ports[PORTS[0]], "mode", "dot1q-tunnel"),
}


@pytest.mark.parametrize("why", BARRED)
def test_a_port_that_can_join_nothing_is_not_asked_to_and_the_reason_is_shown(switch: EosTestSwitch, why: str) -> None:
    BARRED[why](switch.cli)
    target = switch.target()
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, why in result.detail) == (Outcome.RETRY, True)
    assert any(why in warning for warning in target.observe().warnings)
    assert f"interface {PORTS[0]}" not in switch.told
    assert switch.state == {101: (RED, {PORTS[1]: "tagged"})}


def lag(switch: EosTestSwitch, number: int, **members: SwitchPort) -> None:
    switch.cli.ports[f"Port-Channel{number}"] = SwitchPort(alone=True)
    for name, port in members.items():
        port.lag = number
        switch.cli.ports[name] = port


def test_the_members_of_a_lag_that_falls_back_stand_alone_and_are_in_a_vlan(switch: EosTestSwitch) -> None:
    lag(switch, 20, Ethernet20=SwitchPort(allowed=frozenset({101})))
    target = switch.target()
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, "Ethernet20" in result.detail) == (Outcome.REFUSED, True)
    switch.cli.ports["Port-Channel20"].alone = False
    done(target, Learn((binding(101),)))


def test_the_members_of_our_own_lag_are_no_strangers(switch: EosTestSwitch) -> None:
    lag(switch, 20, Ethernet20=SwitchPort(allowed=frozenset({101})))
    target = switch.target(switch.settings(("Po20",)))
    done(target, Learn((binding(101),)))
    assert switch.cli.ports["Port-Channel20"].allowed == frozenset({101})


def test_who_is_shown_in_a_vlan_and_not_configured_so_makes_it_somebodys(
    switch: EosTestSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as by 802.1X, or by what nobody here has heard of."""
    target = switch.target()
    done(target, Learn((binding(101),)))
    carries = SwitchPort.carries
    monkeypatch.setattr(
        SwitchPort,
        "carries",
        lambda port, vid: "untagged" if vid == 150 and port is switch.cli.ports[PORTS[0]] else carries(port, vid),
    )
    switch.by_hand(150)
    assert 150 in target.observe().foreign_vids
    assert 101 not in target.observe().foreign_vids


def test_a_port_has_one_name(switch: EosTestSwitch) -> None:
    target = switch.target(switch.settings(("Et4", "eth8")))
    done(target, Learn((binding(101),)))
    assert switch.state == {101: (RED, ON_OURS)}


def test_a_port_of_the_other_switch_of_a_pair_is_company_unless_it_is_called_as_ours() -> None:
    shown = answers(busy())
    for port, company in (("PeerEthernet4", set()), ("PeerEt4", set()), ("PeerEt7", {"PeerEthernet7"})):
        told = json.loads(shown[1])
        told["vlans"]["101"]["interfaces"][port] = {"privatePromoted": False}
        vlan = understood(shown[0], json.dumps(told), *shown[2:], SETTINGS).at(Vid(101))
        assert (vlan.tagged, vlan.said) == (company, "")


def test_a_pair_of_which_each_shows_the_others_ports_learns_and_forgets_alike() -> None:
    on_ours = {**ON_OURS, PEER_LINK: "tagged"}
    with eos_pair() as pair:
        target = pair.target()
        for _ in range(2):  # what one has already is in nobody's way at the other
            [learnt] = target.apply([Change(1, target.id, Learn((binding(101),)), "test")])
            assert (learnt.outcome, learnt.detail) == (Outcome.DONE, "")
        assert [switch.state for switch in pair.switches] == [{101: (RED, on_ours)}] * 2
        mirror = target.observe()
        assert (set(mirror.entries.values()), mirror.foreign_vids & SETTINGS.vids) == ({binding(101)}, VidSet())
        [forgotten] = target.apply([Change(2, target.id, Forget((binding(101),)), "test")])
        assert (forgotten.outcome, forgotten.detail) == (Outcome.DONE, "")
        assert [switch.state for switch in pair.switches] == [{}, {}]


def test_no_port_joins_where_a_stranger_has_one_at_the_other_switch_of_a_pair() -> None:
    with eos_pair() as pair:
        target = pair.target()
        pair.switches[1].by_hand(101, Ethernet48="tagged")
        [learnt] = target.apply([Change(1, target.id, Learn((binding(101),)), "test")])
        assert learnt.outcome is not Outcome.DONE
        for switch in pair.switches:
            assert not switch.state.get(101, (None, {}))[1].keys() & set(PORTS)


def test_bgp_is_told_before_the_vni_comes_and_before_it_goes(switch: EosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    auto = {f"route-target {way} auto 65000" for way in ("export", "import")}
    assert set(switch.cli.told[101]) == {"rd auto", "redistribute learned", *auto}
    assert switch.told.index("router bgp 65000") < switch.told.index("vxlan vlan 101 vni 5000")
    switch.told.clear()
    done(target, Forget((binding(101),)))
    assert switch.cli.told == {}
    assert switch.told.index("router bgp 65000") < switch.told.index("no vxlan vlan 101 vni 5000")


def test_what_a_hand_took_from_bgp_is_seen_and_said_again(switch: EosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    before = dict(switch.cli.told)
    switch.cli.told.clear()
    assert held(target) == {binding(101, whole=False)}
    done(target, Learn((binding(101),)))
    assert (switch.cli.told, held(target)) == (before, {binding(101)})
    switch.cli.told.clear()
    done(target, Forget((binding(101),)))
    assert switch.state == {}


def test_a_vlan_that_shows_a_stranger_only_once_it_is_there_is_removed_again_and_no_vid_is_lost(
    switch: EosTestSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as by a mode that nobody here has heard of.  It is not tried again until something else is seen there."""
    switch.cli.ports["Ethernet48"].mode = "profile"
    carries = SwitchPort.carries
    monkeypatch.setattr(
        SwitchPort, "carries", lambda port, vid: "tagged" if port.mode == "profile" else carries(port, vid)
    )
    now = [0.0]
    target = NgsTarget(LeafId("leaf1"), SETTINGS, lambda: now[0])
    for vid in (101, 102):
        [result] = apply(target, Learn((binding(vid),)))
        assert (result.outcome, f"VLAN {vid}: it is on Ethernet48" in result.detail) == (Outcome.RETRY, True)
    assert (switch.state, target.observe().foreign_vids & SETTINGS.vids) == ({}, VidSet()), "nobody has it"
    assert "write memory" not in switch.told, "nothing came of it"
    told = list(switch.told)
    for now[0] in (1.0, 599.0):
        assert target.observe().unfit == VidSet.of("101-102")
        [result] = apply(target, Learn((binding(101),)))
        assert (result.outcome, "is on Ethernet48" in result.detail) == (Outcome.REFUSED, True)
    [warned] = [told for told in target.observe().warnings if "in vain" in told]
    assert "VLAN 101-102 is not asked for now" in warned
    assert switch.told == told
    switch.cli.ports["Ethernet48"].mode = "trunk"
    switch.ctl("vlan 102")
    assert target.observe().unfit == VidSet.of("101"), "it is seen there, and nobody in it"
    now[0] = 601.0
    assert (target.observe().unfit, target.observe().warnings) == (VidSet(), ())
    done(target, Learn((binding(101),)))
    assert switch.state[101] == (RED, ON_OURS)


TRUNK = "command switchport mode trunk"
PROFILES = {
    "a mode that nobody knows": ("", ["switchport mode profile"], True),
    "a trunk for all": (TRUNK, ["profile OTHER HOST"], True),
    "who knows what": ("command switchport mode profile", ["profile HOST"], True),
    "a trunk for a list": (f"{TRUNK}\n   command switchport trunk allowed vlan 7", ["profile HOST"], False),
    "a list of its own": (TRUNK, ["profile HOST", "switchport trunk allowed vlan 7"], False),
    "an access port": ("command switchport access vlan 7", ["profile HOST"], False),
    "a routed port": (TRUNK, ["profile HOST", "no switchport"], False),
}


@pytest.mark.parametrize(("profile", "port", "may_hear"), PROFILES.values(), ids=PROFILES)
def test_who_may_show_only_in_a_vlan_that_is_there_hears_nothing_over_the_link_of_a_pair(
    profile: str, port: list[str], may_hear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One switch was replaced by an empty one, and the other has the network."""
    carries = SwitchPort.carries
    monkeypatch.setattr(SwitchPort, "carries", lambda port, vid: "tagged" if port.more else carries(port, vid))
    with eos_pair() as pair:
        first, second = pair.switches
        target = pair.target()
        done(target, Learn((binding(101),)))
        for lost in (second.cli.vlans, second.cli.maps, second.cli.told):
            lost.clear()
        odd = second.cli.ports["Ethernet48"]
        odd.mode, odd.allowed, odd.more = "access", None, port
        second.cli.more = f"interface profile HOST\n   {profile}\n" if profile else ""
        if may_hear:
            heard: list[str] = []
            second.before = lambda command: heard.extend([command] * (101 in second.cli.vlans))
            before = first.state
            for _ in range(2):
                [result] = apply(target, Learn((binding(101),)))
                assert (result.outcome, "Ethernet48 (" in result.detail) == (Outcome.REFUSED, True)
            assert (heard, second.state, first.state) == ([], {}, before)
            [warned] = [told for told in target.observe().warnings if "not asked for now" in told]
            assert "Ethernet48 (" in warned
        odd.more = [] if may_hear else port
        monkeypatch.undo()
        done(target, Learn((binding(101),)))
        assert second.state == first.state


@pytest.mark.parametrize("kind", ["eos", "nxos"])
def test_a_vlan_that_the_switch_does_not_make_is_not_asked_for_again_for_a_while_and_nothing_is_saved(
    kind: str,
) -> None:
    """EOS shows the VLANs of its routed ports nowhere."""
    with TYPES[kind]() as switch:
        switch.refuses, switch.no = "vlan 101", "% Failed to create VLANs: 101 (VLAN is internal)"
        target = switch.target()
        for outcome in (Outcome.RETRY, Outcome.REFUSED, Outcome.REFUSED):
            [result] = apply(target, Learn((binding(101),)))
            assert (result.outcome, "VLAN is internal" in result.detail) == (outcome, True)
            assert (target.observe().unfit, 101 in target.observe().foreign_vids) == (VidSet.of("101"), False)
        assert (switch.told.count("vlan 101"), switch.cli.saved) == (1, True)
        done(target, Learn((binding(102),)))
        assert switch.state == {102: (RED, dict.fromkeys(switch.ports, "tagged"))}


@pytest.mark.parametrize(
    ("refused", "says"),
    [
        ("configure", "% Configuration is locked by another session"),
        ("vlan", "% Authorization denied for command 'vlan 101'"),
        ("vlan", "% Failed to create VLANs: 101, 102 (no space in the VLAN table)"),
    ],
)
def test_a_switch_that_takes_nothing_at_all_keeps_no_vid_from_any_network(
    switch: EosTestSwitch, refused: str, says: str
) -> None:
    switch.refuses, switch.no = refused, says
    target = switch.target()
    for _ in range(2):
        results = apply(target, Learn((binding(101),)), Learn((binding(102, BLUE),)))
        assert {(result.outcome, says in result.detail) for result in results} == {(Outcome.RETRY, True)}
        assert (target.observe().unfit, target.observe().foreign_vids & SETTINGS.vids) == (VidSet(), VidSet())
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, target.observe().unfit) == (Outcome.RETRY, VidSet.of([101] * ("Failed" in says)))
    switch.refuses = ""
    done(switch.target(), Learn((binding(101),)))


def test_what_a_round_that_broke_left_is_saved_also_where_the_next_leaves_nothing(switch: EosTestSwitch) -> None:
    target = switch.target()
    switch.before = lambda command: setattr(switch, "up", switch.up and command != "vxlan vlan 101 vni 5000")
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, switch.cli.saved) == (Outcome.UNREACHABLE, False)
    switch.up, switch.before = True, lambda command: None
    switch.refuses = "vlan 102"
    apply(target, Learn((binding(102),)))
    assert switch.cli.saved


@pytest.mark.parametrize("command", ["name", "show vlan | json"])
def test_a_vlan_that_we_made_and_a_statement_then_gave_to_somebody_stays(switch: EosTestSwitch, command: str) -> None:
    def comes(said: str) -> None:
        if 101 in switch.cli.vlans and said.startswith(command):
            switch.by_hand(101, Ethernet48="tagged")

    switch.before = comes
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert switch.state == {101: (None, {"Ethernet48": "tagged"})}


def test_who_comes_to_a_vlan_in_the_last_look_before_it_is_removed_again_keeps_it(switch: EosTestSwitch) -> None:
    """His statement came after the configuration was shown, and his port before the VLANs were."""
    looks = 0

    def comes(command: str) -> None:
        nonlocal looks
        looks += command == "show vlan | json"
        if looks == 4 and command == "show vlan | json":
            port = switch.cli.ports["Ethernet48"]
            port.mode, port.access = "access", 101

    switch.before, switch.refuses = comes, "vxlan vlan 101"
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert (result.outcome, looks) == (Outcome.RETRY, 4)
    assert switch.state == {101: (None, {"Ethernet48": "untagged"})}


def test_who_comes_at_the_last_look_to_another_that_shows_only_in_a_vlan_that_is_there_keeps_it(
    switch: EosTestSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His statement came after the configuration was shown: at the look before there was nobody but the first."""
    carries, looks = SwitchPort.carries, 0
    monkeypatch.setattr(
        SwitchPort, "carries", lambda port, vid: "tagged" if port.mode == "profile" else carries(port, vid)
    )

    def comes(command: str) -> None:
        nonlocal looks
        looks += command == "show vlan | json"
        if looks == 3 and command == "show vlan | json":
            port.mode, port.access = "access", 101

    port = switch.cli.ports["Ethernet47"] = SwitchPort()
    switch.cli.ports["Ethernet48"].mode = "profile"
    switch.before = comes
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert (result.outcome, looks) == (Outcome.RETRY, 3)
    assert switch.state == {101: (None, {"Ethernet47": "untagged", "Ethernet48": "tagged"})}


def test_vnis_in_dotted_notation_are_read(switch: EosTestSwitch, monkeypatch: pytest.MonkeyPatch) -> None:
    done(switch.target(), Learn((binding(101),)))
    run, cli = switch.cli.run, switch.cli

    class Dotted:
        def __getattr__(self, name: str) -> object:
            return getattr(cli, name)

        def run(self, line: str) -> str:
            return run(line).replace("vni 5000", "vni 0.19.136").replace('"vni": 5000', '"vni": "0.19.136"')

    switch.cli = Dotted()  # type: ignore[assignment]
    assert held(switch.target()) == {binding(101)}
    done(switch.target(), Forget((binding(101),)))
    assert cli.maps == {}


@pytest.mark.parametrize("mark", ["\u2028", "\x0c", "\x85"])
def test_a_line_ends_where_the_switch_ends_it(switch: EosTestSwitch, mark: str) -> None:
    """A description may have whatever other systems end lines with: what follows is none of another port's."""
    theirs = switch.cli.ports["Ethernet48"]
    theirs.allowed = frozenset((150,))
    switch.cli.more = f"interface Ethernet47\n   description x{mark}interface Ethernet4\n   switchport mode trunk\n"
    assert not_to_be_had(switch.target()) & SETTINGS.vids == SETTINGS.vids, "Ethernet47 is a trunk for all"


def test_a_prompt_that_does_not_come_again_is_told_with_what_to_look_for(switch: EosTestSwitch) -> None:
    switch.takes = 1000.0
    with pytest.raises(Retry, match="which must have no time in it"):
        switch.target().observe()


def test_what_bgp_was_told_of_a_vlan_without_vni_is_told_to_the_operator(switch: EosTestSwitch) -> None:
    switch.cli.told[101] = ["rd auto", "redistribute learned"]
    assert any("BGP has an instance of VLAN 101" in found.what for found in switch.target().findings())
    done(switch.target(), Learn((binding(101),)))
    assert switch.target().observe().warnings == ()


@pytest.mark.parametrize(
    "more",
    [
        "interface Vxlan1\n   vxlan vrf TENANT vni 5000",
        "router bgp 65000\n   vrf TENANT\n      route-target import evpn 65000:5000",
        "router bgp 65000\n   vlan 300\n      route-target both 65000:5000",
    ],
)
def test_a_vni_that_a_statement_gives_to_somebody_is_refused(switch: EosTestSwitch, more: str) -> None:
    switch.cli.more = more
    target = switch.target()
    red, blue = apply(target, Learn((binding(101),)), Learn((binding(102, BLUE),)))
    assert (red.outcome, blue.outcome) == (Outcome.REFUSED, Outcome.DONE)
    assert "VNI 5000 is somebody else's" in red.detail


@pytest.mark.parametrize(
    "more",
    [
        "monitor session 1 source Ethernet4 both",
        "monitor session 1 source vlan 101",
        "patch panel\n   patch p\n      connector 1 interface Ethernet4",
        "directflow\n   flow f\n      action output interface Ethernet4",
        "interface Vxlan1\n   vxlan flood vtep 192.0.2.9",
    ],
)
def test_where_frames_of_ours_may_go_beside_is_told(switch: EosTestSwitch, more: str) -> None:
    switch.cli.more = more
    target = switch.target()
    assert any(more.splitlines()[-1].strip() in warning for warning in target.observe().warnings)
    done(target, Learn((binding(101),)))


def test_a_word_that_is_refused_breaks_its_step_off_and_not_the_others(switch: EosTestSwitch) -> None:
    switch.refuses = "vxlan vlan 101"
    target = switch.target()
    red, blue = apply(target, Learn((binding(101),)), Learn((binding(102, BLUE),)))
    assert (red.outcome, blue.outcome) == (Outcome.RETRY, Outcome.DONE)
    assert "VLAN 101 has no VNI (% Not now)" in red.detail
    assert switch.state == {102: (BLUE, ON_OURS)}, "a VLAN that got no VNI is taken away again"
    assert switch.told[switch.told.index("vxlan vlan 101 vni 5000") + 1] == "end"


def test_a_vlan_that_a_hand_removed_and_left_its_vni_is_made_again(switch: EosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.ctl("no vlan 101")
    assert held(target) == {binding(101, whole=False)}
    done(target, Learn((binding(101),)))
    assert switch.state == {101: (RED, ON_OURS)}
    switch.ctl("no vlan 101")
    done(target, Forget((binding(101),)))
    assert (switch.state, switch.cli.told) == ({}, {})


def test_a_trunk_for_all_vlans_carries_ours_and_gives_back_one_that_is_forgotten(switch: EosTestSwitch) -> None:
    """Such as a pair's peer link, which is named in ngs_trunk_ports."""
    switch.cli.ports["Ethernet48"].allowed = None
    target = switch.target(switch.settings(ngs_trunk_ports="Ethernet48"))
    done(target, Learn((binding(101),)))
    assert switch.state == {101: (RED, {**ON_OURS, "Ethernet48": "tagged"})}
    done(target, Forget((binding(101),)))
    assert switch.state == {}
    assert 101 not in (switch.cli.ports["Ethernet48"].allowed or ())


def test_a_vlan_that_it_made_for_itself_is_somebody_elses(switch: EosTestSwitch) -> None:
    switch.cli.dynamic.add(150)
    target = switch.target()
    assert 150 in target.observe().foreign_vids
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED


@pytest.mark.parametrize("vid", [1013, 4094, 4097])
def test_the_vlan_of_a_vrfs_vni_is_the_switchs_own_whatever_its_number(switch: EosTestSwitch, vid: int) -> None:
    """Newer releases number them above all VIDs."""
    switch.cli.vrfs[vid] = 50_001
    target = switch.target()
    done(target, Learn((binding(101),)))
    assert held(target) == {binding(101)}
    [result] = apply(target, Learn((binding(102, Vni(50_001)),)))
    assert (result.outcome, switch.state) == (Outcome.REFUSED, {101: (RED, ON_OURS)})


@pytest.mark.parametrize("words", ["switchport trunk allowed vlan", "switchport trunk allowed vlan add"])
def test_a_list_without_vlans_is_no_answer(words: str) -> None:
    told = answers(busy())
    with pytest.raises(Retry):
        understood(told[0].replace("hostname leaf1", f"interface Ethernet7\n   {words}"), *told[1:], SETTINGS)


def test_a_port_of_ours_that_is_a_trunk_of_another_kind_joins_nothing(switch: EosTestSwitch) -> None:
    switch.cli.ports[PORTS[0]] = SwitchPort("trunk phone", allowed=frozenset({150}))
    switch.by_hand(150)
    target = switch.target()
    learnt, shown = apply(target, Learn((binding(101),)), Learn((binding(150, BLUE),)))
    assert (learnt.outcome, "switchport mode trunk phone" in learnt.detail) == (Outcome.RETRY, True)
    assert (shown.outcome, f"{PORTS[0]} is in it, and is not" in shown.detail) == (Outcome.REFUSED, True)
    assert f"interface {PORTS[0]}" not in switch.told


def test_a_port_that_is_down_is_a_member_like_any_other(switch: EosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    for found in switch.cli.ports.values():
        found.up = False
    assert held(target) == {binding(101)}


def test_a_save_is_believed_when_the_switch_says_that_it_did(switch: EosTestSwitch) -> None:
    switch.no, switch.refuses = "", "write memory"
    target = switch.target()
    done(target, Learn((binding(101),)))
    assert any("does not save" in warning for warning in target.observe().warnings)


def busy() -> EosSwitch:
    cli = eos_switch()
    for line in ("configure terminal", "vlan 101", "interface Vxlan1", "vxlan vlan 101 vni 5000"):
        assert not cli.run(line)
    return cli


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 3), st.floats(0, 0.999))
def test_an_answer_that_is_cut_anywhere_is_no_answer(which: int, where: float) -> None:
    told = answers(busy())
    assert read(busy()).at(Vid(101)).vni == RED
    told[which] = told[which][: int(len(told[which]) * where)]
    config, shown, configured, vxlan = told
    with pytest.raises(Retry):
        understood(config, shown, configured, vxlan, SETTINGS)


@pytest.mark.parametrize(
    ("which", "old", "new"),
    [
        (0, "! Command: show running-config", "leaf1"),
        (0, "hostname leaf1", "% Invalid input"),
        (0, "vlan 101\n", "vlan 5101\n"),
        (0, "vxlan vlan 101 vni 5000", "vxlan vlan 101-102 vni 5000"),
        (0, "allowed vlan none", "allowed vlan some"),
        (1, '"101"', '"VLAN0101"'),
        (1, '"dynamic": false', '"status": false'),
        (2, '"interfaces": {', '"interface": {'),
        (3, '"vni": 5000', '"vni": 0'),
        (3, '"vni": 5000', '"vin": 5000'),
        (3, '"Vxlan1": {', '"Vxlan2": {'),
    ],
)
def test_an_answer_that_is_not_understood_is_no_answer(which: int, old: str, new: str) -> None:
    told = answers(busy())
    assert old in told[which]
    told[which] = told[which].replace(old, new)
    config, shown, configured, vxlan = told
    with pytest.raises(Retry):
        understood(config, shown, configured, vxlan, SETTINGS)


@pytest.mark.parametrize("line", ["username admin secret sha512 $6$HIDDEN", "password HIDDEN", "enable secret HIDDEN"])
def test_a_configuration_that_is_cut_shows_no_secret(line: str) -> None:
    told = answers(busy())
    config = told[0].replace("hostname leaf1", line)
    with pytest.raises(Retry) as cut:
        understood(config[: config.index("HIDDEN") + 6], *told[1:], SETTINGS)
    assert line.split()[0] in str(cut.value)
    assert "HIDDEN" not in str(cut.value)


@pytest.mark.parametrize(
    "statement", ["ip ospf message-digest-key 1 md5 7 HIDDEN vlan 150", "x password HIDDEN vlan 150"]
)
def test_a_statement_that_makes_a_vlan_somebodys_shows_no_secret(switch: EosTestSwitch, statement: str) -> None:
    switch.cli.more = f"interface Vlan300\n   {statement}"
    found = switch.target().findings()
    assert any("interface Vlan300" in one.what for one in found)
    assert "HIDDEN" not in str(found)


def test_no_guest_logs_what_a_switch_answers(switch: EosTestSwitch, caplog: pytest.LogCaptureFixture) -> None:
    """Such as a whole configuration with its secrets, where isthmus is to log all it can."""
    logging.getLogger("netmiko").setLevel(logging.NOTSET)
    with caplog.at_level(logging.DEBUG):
        switch.target().observe()
        for guest in ("netmiko", "paramiko.transport", "networking_generic_switch"):
            logging.getLogger(guest).debug("read_channel: username admin secret HIDDEN")
    assert "HIDDEN" not in caplog.text


def test_a_map_that_is_configured_and_not_shown_or_the_other_way_round_is_somebodys(switch: EosTestSwitch) -> None:
    switch.cli.more = "interface Vxlan1\n   vxlan vlan 150 vni 99999"
    vlan = read(switch.cli).at(Vid(150))
    assert vlan.vni == THEIRS
    assert "configured with VNI 99999, and the switch shows None" in vlan.said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ngs_evpn_route_target": "65000:1"}, "is one for all networks"),
        ({"ngs_vxlan_interface": "Vxlan2"}, "such a switch has Vxlan1"),
        ({"ngs_bum_replication_mode": "multicast"}, "only 'ingress-replication'"),
        ({"ngs_manage_vlans": "False"}, "ngs_manage_vlans"),
        ({"ngs_bgp_asn": "65000.1"}, "say it as a number"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EosTestSwitch().settings(**options)


@pytest.mark.parametrize(
    "line",
    [
        "mac access-group VLAN-140-160 in",
        "switchport port-security vlan 140-160 mac-address maximum 5",
        "switchport backup-link Ethernet7 prefer vlan 140-160",
    ],
)
def test_a_word_about_vlans_at_a_port_of_ours_that_gives_them_no_other_meaning_takes_no_vid_from_a_network(
    line: str,
) -> None:
    with eos() as switch:
        switch.cli.ports[switch.ports[0]].more.append(line)
        assert 150 not in switch.target().observe().foreign_vids
