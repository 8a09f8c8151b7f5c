"""A Cisco NX-OS switch by networking-generic-switch: what it shows, and what a statement makes of a VLAN."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.adapters.leaf.ngs import NgsSettings
from isthmus.adapters.leaf.ngs.held import Held
from isthmus.adapters.leaf.ngs.nxos import READS, understood
from isthmus.adapters.leaf.ngs.ports import nxos_list
from isthmus.model.change import Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.tags import Vid, VidSet, Vni
from lab.wire import nxos as wire
from lab.wire.modal import SwitchPort
from lab.wire.nxos import BGP, FEATURES, NVE, NxosSwitch
from tests.adapters.leaf.ngs.switch import NXOS_PORTS, EosTestSwitch, NxosTestSwitch, nxos, nxos_switch
from tests.adapters.leaf.ngs.telling import BLUE, RED, THEIRS, apply, binding, done, held, not_to_be_had

ON_OURS = dict.fromkeys(NXOS_PORTS, "tagged")
SETTINGS = NxosTestSwitch().settings()


@pytest.fixture
def switch() -> Iterator[NxosTestSwitch]:
    with nxos() as made:
        yield made


def answers(cli: NxosSwitch) -> list[str]:
    return [cli.run(command) for command in READS]


def read(told: list[str]) -> Held:
    config, end, vlans, ports, nve = told
    return understood(config, end, vlans, ports, nve, SETTINGS)


SOMEBODYS = {
    "interface Vlan150\n  ip address 192.0.2.1/28": "150",
    "interface Ethernet1/7\n  switchport access vlan 150": "150",
    "interface Ethernet1/7\n  switchport mode trunk\n  switchport trunk native vlan 150\n"
    "  switchport trunk allowed vlan none": "150",
    "interface Ethernet1/7\n  switchport mode trunk\n  switchport trunk allowed vlan 150-151\n"
    "  switchport trunk allowed vlan add 155,170": "150-151,155,170",
    "interface Ethernet1/7\n  switchport mode trunk": "2-199,205",
    "interface Ethernet1/7\n  switchport voice vlan 150": "150",
    "interface Ethernet1/4\n  switchport vlan mapping 300 150": "150",
    "interface Ethernet1/4\n  switchport trunk native vlan 150": "150",
    "interface Ethernet1/4\n  switchport private-vlan trunk allowed vlan 150": "150",
    "interface Ethernet1/7.150\n  encapsulation dot1q 150": "150",
    "vlan 150\n  private-vlan isolated": "150",
    "vlan 300\n  private-vlan association 150,152": "150,152",
    "vlan 150\n  state suspend": "150",
    "vpc domain 1\n  dual-active exclude interface-vlan 150": "150",
    "system vlan 150 reserve": "150-199,205",
    "system nve infra-vlans 150-151": "150-151",
    "system bridge-domain 150-151": "150-151",
    "vlan filter MAP vlan-list 150-152": "150-152",
    "mac address-table static 0050.5600.0001 vlan 150 interface Ethernet1/7": "150",
    "ip route 0.0.0.0/0 Vlan150 192.0.2.1": "150",
    "a word that nobody knows of vlan 150": "150",
}
NOBODYS = (
    "interface Ethernet1/7\n  switchport mode fex-fabric\n  fex associate 150\n  description vlan 150",
    "interface Ethernet1/7\n  switchport mode trunk\n  switchport trunk allowed vlan 1,200-204,300",
    "vlan configuration 1-4094",
    "spanning-tree vlan 1-4094 priority 8192",
    "spanning-tree mst configuration\n  instance 1 vlan 1-4094",
    "ip dhcp snooping vlan 1-4094",
    "ip igmp snooping vlan 150",
    "system vlan long-name",
    "vdc leaf1 id 1\n  limit-resource vlan minimum 16 maximum 4094",
    "vpc domain 1\n  delay restore interface-vlan 150",
    "ip prefix-list VLAN-NETS seq 150 permit 192.0.2.0/24",
    "vlan access-map MAP 150",
    "feature vtp\nvtp mode transparent",
    "banner motd ^vlan 150\ninterface Vlan150\n^",
    "vrf context 150",
)


@pytest.mark.parametrize("more", SOMEBODYS)
def test_a_statement_about_a_vlan_that_is_not_known_makes_it_somebodys(switch: NxosTestSwitch, more: str) -> None:
    switch.cli.more = more
    target, vids = switch.target(), VidSet.of(SOMEBODYS[more]) & SETTINGS.vids
    assert not_to_be_had(target) & SETTINGS.vids == vids
    vid = 150 if 150 in vids else min(vids)
    [result] = apply(target, Learn((binding(vid),)))
    assert result.outcome is Outcome.REFUSED
    assert not switch.told


@pytest.mark.parametrize("more", NOBODYS)
def test_a_statement_that_means_nothing_for_who_hears_whom_is_no_matter(switch: NxosTestSwitch, more: str) -> None:
    switch.cli.more = more
    target = switch.target()
    assert target.observe().foreign_vids & SETTINGS.vids == VidSet()
    done(target, Learn((binding(150),)))
    assert switch.state == {150: (RED, ON_OURS)}


@pytest.mark.parametrize("more", SOMEBODYS)
def test_no_port_joins_a_vlan_of_ours_that_such_a_statement_is_about(switch: NxosTestSwitch, more: str) -> None:
    target, vids = switch.target(), VidSet.of(SOMEBODYS[more]) & SETTINGS.vids
    vid = 150 if 150 in vids else min(vids)
    done(target, Learn((binding(vid),)))
    switch.off_by_hand(vid, NXOS_PORTS[0])
    switch.cli.more = more
    assert target.observe().warnings
    [result] = apply(target, Learn((binding(vid),)))
    assert result.outcome is Outcome.RETRY
    assert switch.cli.members(vid) == {NXOS_PORTS[1]: "tagged"}


def without(lines: tuple[str, ...], line: str) -> tuple[str, ...]:
    return tuple(one for one in lines if line not in one)


UNREADY: dict[str, Callable[[NxosSwitch], object]] = {
    "there is no 'feature vn-segment-vlan-based'": lambda cli: setattr(cli, "features", without(FEATURES, "segment")),
    "there is no 'feature nv overlay'": lambda cli: setattr(cli, "features", without(FEATURES, "feature nv")),
    "there is no 'nv overlay evpn'": lambda cli: setattr(cli, "features", without(FEATURES, "nv overlay evpn")),
    "there is no 'interface nve1'": lambda cli: setattr(cli, "of_nve", None),
    "nve1 is shut down": lambda cli: setattr(cli, "of_nve", without(NVE, "shutdown")),
    "nve1 has no 'source-interface'": lambda cli: setattr(cli, "of_nve", without(NVE, "source")),
    "nve1 has no 'host-reachability protocol bgp'": lambda cli: setattr(cli, "of_nve", without(NVE, "host")),
    "there is no 'router bgp'": lambda cli: setattr(cli, "bgp", ()),
    "there is no 'address-family l2vpn evpn'": lambda cli: setattr(cli, "bgp", without(BGP, "l2vpn")),
    "BGP is shut down": lambda cli: setattr(cli, "bgp", (BGP[0], "  shutdown", *BGP[1:])),
    "VTP may make and remove its VLANs": lambda cli: setattr(cli, "more", "feature vtp\nvtp mode client"),
}


@pytest.mark.parametrize("why", UNREADY)
def test_a_switch_that_cannot_carry_a_network_is_told_nothing_and_the_reason_is_shown(
    switch: NxosTestSwitch, why: str
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


BARRED = {
    "there is no such port": lambda cli: cli.ports.pop(NXOS_PORTS[0]),
    "member of port-channel10": lambda cli: setattr(cli.ports[NXOS_PORTS[0]], "lag", 10),
    "routed port": lambda cli: setattr(cli.ports[NXOS_PORTS[0]], "routed", True),
    "switchport mode access": lambda cli: setattr(cli.ports[NXOS_PORTS[0]], "mode", "access"),
    "switchport mode fex-fabric": lambda cli: setattr(cli.ports[NXOS_PORTS[0]], "mode", "fex-fabric"),
}


@pytest.mark.parametrize("why", BARRED)
def test_a_port_that_can_join_nothing_is_not_asked_to_and_the_reason_is_shown(switch: NxosTestSwitch, why: str) -> None:
    BARRED[why](switch.cli)
    target = switch.target()
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, why in result.detail) == (Outcome.RETRY, True)
    assert f"interface {NXOS_PORTS[0]}" not in switch.told
    assert switch.state == {101: (RED, {NXOS_PORTS[1]: "tagged"})}


def test_the_members_of_a_lag_that_are_not_suspended_stand_alone_and_are_in_a_vlan(switch: NxosTestSwitch) -> None:
    switch.cli.ports["port-channel20"] = SwitchPort(alone=True)
    switch.cli.ports["Ethernet1/20"] = SwitchPort(lag=20, allowed=frozenset({101}))
    target = switch.target()
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, "Ethernet1/20" in result.detail) == (Outcome.REFUSED, True)
    ours = switch.target(switch.settings(("Po20",)))
    done(ours, Learn((binding(101),)))


def test_a_port_has_one_name_and_lists_are_read_whole(switch: NxosTestSwitch) -> None:
    assert nxos_list("Ethernet1/1-3, port-channel10,Po11") == [
        "Ethernet1/1",
        "Ethernet1/2",
        "Ethernet1/3",
        "port-channel10",
        "port-channel11",
    ]
    target = switch.target(switch.settings(("Eth1/4", "ethernet 1/8")))
    done(target, Learn((binding(101),)))
    assert switch.state == {101: (RED, ON_OURS)}


def test_all_that_stands_on_a_vni_is_told_before_it_and_taken_back_with_it(switch: NxosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101, BLUE),)))
    assert switch.cli.nve == {BLUE: ["ingress-replication protocol bgp"]}
    assert switch.cli.evpn == {BLUE: ["rd auto", "route-target import auto", "route-target export auto"]}
    assert switch.told.index(f"member vni {BLUE}") < switch.told.index(f"vn-segment {BLUE}")
    done(target, Forget((binding(101, BLUE),)))
    assert (switch.cli.nve, switch.cli.evpn, switch.state) == ({}, {}, {})
    assert switch.told.index(f"no member vni {BLUE}") < switch.told.index(f"no vn-segment {BLUE}")


def test_a_vni_that_another_put_there_in_the_last_moment_is_not_taken_off(switch: NxosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101, BLUE),)))

    def comes(command: str) -> None:
        if command.startswith("no vn-segment"):
            switch.cli.maps[101] = THEIRS

    switch.before = comes
    apply(target, Forget((binding(101, BLUE),)))
    assert switch.cli.maps == {101: THEIRS}


def test_a_switch_without_room_for_suppressed_arp_carries_a_network_and_one_that_has_it_said_by_hand_too(
    switch: NxosTestSwitch,
) -> None:
    switch.refuses = "suppress-arp"
    switch.no = "ERROR: Please configure TCAM region for Ingress ARP-Ether ACL before configuring ARP supression."
    target = switch.target()
    done(target, Learn((binding(101, BLUE),)))
    switch.cli.nve[BLUE].append("suppress-arp")
    assert held(target) == {binding(101, BLUE)}
    assert target.observe().warnings == ()
    done(target, Forget((binding(101, BLUE),)))
    assert switch.state == {}


def test_an_as_number_that_is_not_the_configured_one_is_told(switch: NxosTestSwitch) -> None:
    for number, told in (("65000", False), ("65001", True)):
        warnings = switch.target(switch.settings(ngs_bgp_asn=number)).observe().warnings
        assert any("router bgp 65000" in warning for warning in warnings) is told


def test_a_vni_that_there_is_none_of_is_refused_before_anything_is_said(switch: NxosTestSwitch) -> None:
    [result] = apply(switch.target(), Learn((binding(101, Vni(4095)),)))
    assert (result.outcome, "none below 4096" in result.detail) == (Outcome.REFUSED, True)
    assert not switch.told


@pytest.mark.parametrize(
    "more",
    [
        "interface nve1\n  member vni 5000 associate-vrf",
        "vrf context TENANT\n  vni 5000",
        "vrf context TENANT\n  address-family ipv4 unicast\n    route-target import 65000:5000 evpn",
        "evpn\n  vni 5000 l2\n    route-target import 65000:77",
    ],
)
def test_a_vni_that_a_statement_gives_to_somebody_is_refused(switch: NxosTestSwitch, more: str) -> None:
    switch.cli.more = more
    red, blue = apply(switch.target(), Learn((binding(101),)), Learn((binding(102, BLUE),)))
    assert (red.outcome, blue.outcome) == (Outcome.REFUSED, Outcome.DONE)
    assert "VNI 5000 is somebody else's" in red.detail


def test_a_vni_whose_frames_for_all_go_to_a_group_is_somebodys(switch: NxosTestSwitch) -> None:
    switch.cli.nve[5000] = ["mcast-group 239.1.1.1"]
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert (result.outcome, "mcast-group 239.1.1.1" in result.detail) == (Outcome.REFUSED, True)
    switch.by_hand(102)
    switch.cli.maps[102] = 5000
    [shared] = [warning for warning in switch.target().observe().warnings if "mcast-group" in warning]
    assert "VLANs 102" in shared


@pytest.mark.parametrize("gone", [(), ("evpn",), ("nve",)])
@pytest.mark.parametrize(("part", "line"), [("nve", "mcast-group 239.1.1.1"), ("evpn", "route-target import 65000:77")])
def test_a_network_is_forgotten_also_where_a_hand_said_more_of_its_vni_and_what_he_said_goes_with_it(
    switch: NxosTestSwitch, part: str, line: str, gone: tuple[str, ...]
) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    for lost in gone:
        getattr(switch.cli, lost).clear()
    getattr(switch.cli, part).setdefault(5000, []).append(line)
    lacks = set(gone) - {part}
    assert held(target) == {binding(101, whole=not lacks)}
    told = list(switch.told)
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, line in result.detail, switch.told) == (Outcome.REFUSED, True, told)
    done(target, Forget((binding(101),)))
    assert (switch.state, switch.cli.nve, switch.cli.evpn) == ({}, {}, {})
    done(target, Learn((binding(102),)))


LOST: dict[str, Callable[[NxosSwitch], object]] = {
    "evpn": lambda cli: cli.evpn.clear(),
    "nve": lambda cli: cli.nve.clear(),
    "both": lambda cli: (cli.evpn.clear(), cli.nve.clear()),
}


@pytest.mark.parametrize("what", LOST)
def test_what_a_hand_took_from_a_vni_of_ours_is_seen_and_said_again(switch: NxosTestSwitch, what: str) -> None:
    target = switch.target()
    done(target, Learn((binding(101, BLUE),)))
    before = (dict(switch.cli.nve), dict(switch.cli.evpn))
    LOST[what](switch.cli)
    assert held(target) == {binding(101, BLUE, whole=False)}
    done(target, Learn((binding(101, BLUE),)))
    assert (switch.cli.nve, switch.cli.evpn) == before
    assert held(target) == {binding(101, BLUE)}
    LOST[what](switch.cli)
    done(target, Forget((binding(101, BLUE),)))
    assert (switch.state, switch.cli.nve, switch.cli.evpn) == ({}, {}, {})


@pytest.mark.parametrize("more", ["vrf context TENANT\n  vni 4096-16777215", "interface nve1\n  member vni 4999-5000"])
def test_a_vni_in_a_range_that_a_statement_gives_to_somebody_is_refused(switch: NxosTestSwitch, more: str) -> None:
    """However many there are in it."""
    switch.cli.more = "\n".join([more, *(f"a word nobody knows of vni 70000-{16_777_215 - n}" for n in range(50))])
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert (result.outcome, "VNI 5000 is somebody else's" in result.detail) == (Outcome.REFUSED, True)
    if "member" in more:
        done(switch.target(), Learn((binding(101, Vni(5001)),)))


@pytest.mark.parametrize("gone", [("evpn",), ("nve",), ("evpn", "nve")])
def test_a_network_is_forgotten_whatever_a_hand_took_of_its_vni(switch: NxosTestSwitch, gone: tuple[str, ...]) -> None:
    """The switch complains if what is not there is to be taken away."""
    target = switch.target()
    done(target, Learn((binding(101),)), Learn((binding(102, BLUE),)))
    for part in gone:
        getattr(switch.cli, part).clear()
    done(target, Forget((binding(101),)), Forget((binding(102, BLUE),)))
    assert (switch.state, switch.cli.evpn, switch.cli.nve) == ({}, {}, {})


def test_a_network_is_forgotten_at_last_wherever_the_session_broke_and_nothing_is_left_of_it() -> None:
    for moment in range(200):
        with nxos() as switch:
            target = switch.target()
            done(target, Learn((binding(101),)))
            switch.dies_after = moment
            [result] = apply(target, Forget((binding(101),)))
            if switch.up:
                assert (result.outcome, moment > 30) == (Outcome.DONE, True)
                return
            switch.up, switch.dies_after = True, None
            done(target, Forget((binding(101),)))
            assert (switch.cli.maps, switch.cli.evpn, switch.cli.nve, switch.cli.members(101)) == ({}, {}, {}, {})
            assert switch.cli.saved
    raise AssertionError("it never ends")


def test_what_is_lost_of_a_vni_and_cannot_be_said_again_is_told_with_the_reason(switch: NxosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.cli.nve.clear()
    switch.refuses = "member vni"
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, "not all that is told with it (% Not now)" in result.detail) == (Outcome.RETRY, True)
    switch.refuses, switch.cli.more = "", "vrf context TENANT\n  vni 5000"
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, "vrf context TENANT" in result.detail) == (Outcome.REFUSED, True)
    assert switch.cli.nve == {}


def test_a_trunk_that_inherits_its_list_is_in_every_vlan_also_those_that_are_not_made_yet(
    switch: NxosTestSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as by a port-profile: its statements are not below the port."""
    port = switch.cli.ports["Ethernet1/48"]
    port.allowed = None
    of = wire._of
    monkeypatch.setattr(wire, "_of", lambda found: iter(["inherit port-profile P"]) if found is port else of(found))
    target = switch.target()
    assert not_to_be_had(target) & SETTINGS.vids == SETTINGS.vids
    [result] = apply(target, Learn((binding(101),)))
    assert (result.outcome, "it would be on Ethernet1/48" in result.detail) == (Outcome.REFUSED, True)
    assert not switch.told


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("port", [SwitchPort(allowed=None), SwitchPort("access", 101, allowed=frozenset())])
def test_a_port_that_inherits_its_mode_counts_as_trunk_and_as_access_port_up_or_down(
    switch: NxosTestSwitch, monkeypatch: pytest.MonkeyPatch, port: SwitchPort, *, up: bool
) -> None:
    port = replace(port, up=up)
    switch.cli.ports["Ethernet1/48"] = port
    of = wire._of
    monkeypatch.setattr(wire, "_of", lambda found: iter(["inherit port-profile P"]) if found is port else of(found))
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert (result.outcome, "it would be on Ethernet1/48" in result.detail) == (Outcome.REFUSED, True)
    assert not switch.told


ODD: dict[str, Callable[[dict[str, str]], object]] = {
    "an access VLAN that is none": lambda row: row.update(oper_mode="access", access_vlan="none"),
    "VLAN 0": lambda row: row.update(oper_mode="access", access_vlan="0"),
    "no mode": lambda row: row.pop("oper_mode"),
    "no list": lambda row: row.pop("trunk_vlans"),
    "an odd list": lambda row: row.update(trunk_vlans="some"),
}


@pytest.mark.parametrize("how", ODD)
def test_a_port_of_which_something_odd_is_shown_may_be_in_every_vlan_and_the_others_are_read(how: str) -> None:
    cli = busy()
    cli.ports["Ethernet1/48"].mode = "access" if "VLAN" in how else "trunk"
    told = answers(cli)
    ports = json.loads(told[3])
    [row] = [row for row in ports["TABLE_interface"]["ROW_interface"] if row["interface"] == "Ethernet1/48"]
    ODD[how](row)
    seen = read([*told[:3], json.dumps(ports), told[4]])
    assert seen.at(Vid(101)).tagged == seen.at(Vid(150)).tagged == {"Ethernet1/48"}
    assert any("Ethernet1/48 may be in any VLAN" in note for note in seen.notes)


@pytest.mark.parametrize("nothing", ["", "{}", "{ }\n", "{\n}"])
def test_no_vni_is_shown_in_several_ways_where_none_is_configured(nothing: str) -> None:
    told = answers(nxos_switch())
    assert read([*told[:4], nothing]).vlans.keys().isdisjoint(SETTINGS.vids)
    with pytest.raises(Retry):
        read([*answers(busy())[:4], nothing])


def test_a_vlan_that_there_is_none_of_is_in_nobodys_way_on_a_trunk_for_all(switch: NxosTestSwitch) -> None:
    """Such as a pair's peer link."""
    switch.cli.ports["port-channel1"] = SwitchPort(allowed=None)
    target = switch.target(switch.settings(ngs_trunk_ports="port-channel1"))
    assert target.observe().warnings == ()
    switch.by_hand(150)
    [warning] = target.observe().warnings
    assert "port-channel1 carries VLANs 150 of our range, which have no VNI" in warning


def test_a_vlan_whose_vni_lacks_what_another_says_of_it_is_shared_with_him(switch: NxosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    switch.cli.evpn.clear()
    switch.cli.more = "vrf context TENANT\n  vni 5000"
    [warning] = [warning for warning in target.observe().warnings if "TENANT" in warning]
    assert "VLANs 101 of our range have a VNI, and are somebody's too" in warning


@pytest.mark.parametrize(
    "more",
    [
        "monitor session 1\n  source interface Ethernet1/4 both",
        "monitor session 1\n  source interface Ethernet1/1-8 rx",
        "monitor session 1\n  source interface Ethernet1/2, Ethernet1/8 both",
        "monitor session 1\n  source vlan 101",
        "monitor session 1\n  destination interface Ethernet1/8",
        "feature vmtracker",
    ],
)
def test_where_frames_of_ours_may_go_beside_is_told(switch: NxosTestSwitch, more: str) -> None:
    switch.cli.more = more
    target = switch.target()
    assert any(more.splitlines()[-1].strip() in warning for warning in target.observe().warnings)
    done(target, Learn((binding(101),)))


def test_a_word_that_is_refused_breaks_its_step_off_and_not_the_others(switch: NxosTestSwitch) -> None:
    switch.refuses = "member vni 5000"
    red, blue = apply(switch.target(), Learn((binding(101),)), Learn((binding(102, BLUE),)))
    assert (red.outcome, blue.outcome) == (Outcome.RETRY, Outcome.DONE)
    assert "VLAN 101 has no VNI (% Not now)" in red.detail
    assert switch.state == {102: (BLUE, ON_OURS)}, "a VLAN that got no VNI is taken away again"
    assert switch.told[switch.told.index("member vni 5000") + 1] == "end"
    assert any("VNI 5000 is told to BGP" in found.what for found in switch.target().findings())


def test_a_port_that_is_down_is_a_member_like_any_other(switch: NxosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    for found in switch.cli.ports.values():
        found.up = False
    assert held(target) == {binding(101)}


def test_a_port_is_not_made_a_trunk(switch: NxosTestSwitch) -> None:
    """It would carry all VLANs until it is told which."""
    done(switch.target(), Learn((binding(101),)))
    assert "switchport mode trunk" not in switch.told


def test_a_save_is_believed_when_the_switch_says_that_it_did(switch: NxosTestSwitch) -> None:
    switch.no, switch.refuses = "[####      ] 40%", "copy"
    target = switch.target()
    done(target, Learn((binding(101),)))
    assert any("does not save" in warning for warning in target.observe().warnings)


def test_a_copy_that_is_complete_and_could_not_be_written_is_not_saved(switch: NxosTestSwitch) -> None:
    switch.no = "Copy complete, now saving to disk (please wait)...\nERROR: Could not write startup-config"
    switch.refuses = "copy"
    target = switch.target()
    done(target, Learn((binding(101),)))
    assert any("Could not write" in warning for warning in target.observe().warnings)


@pytest.mark.parametrize("no", ["  ^\nInvalid interface format at '^' marker.", "Syntax error", "Command rejected: no"])
def test_what_it_complains_of_is_shown(switch: NxosTestSwitch, no: str) -> None:
    switch.no, switch.refuses = no, "interface Ethernet1/8"
    [result] = apply(switch.target(), Learn((binding(101),)))
    assert (result.outcome, no.splitlines()[-1].strip() in result.detail) == (Outcome.RETRY, True)
    assert switch.told[switch.told.index("interface Ethernet1/8") + 1] == "end"


def test_a_configuration_is_whole_whatever_blank_lines_end_it_and_whenever_it_was_asked_for() -> None:
    told = answers(busy())
    for blanks in ("", "\n", "\n" * 20):
        whole, end = told[0].rstrip() + blanks, told[1].rstrip() + blanks
        assert read([whole, "!Time: a second later\n" + end, *told[2:]]).at(Vid(101)).vni == RED
    for end in ("", "\n" * 30, "!Time: now"):
        with pytest.raises(Retry):
            read([told[0], end, *told[2:]])


def test_a_member_vni_that_no_vlan_has_is_no_vlans() -> None:
    told = answers(busy())
    for nothing in ("L2 [0]", "L2 [-]", "L3 [TENANT]", "L2 [4095]"):
        row = {"vni": "6000", "type": nothing}
        nve = json.loads(told[4])["TABLE_nve_vni"]["ROW_nve_vni"]
        seen = read([*told[:4], json.dumps({"TABLE_nve_vni": {"ROW_nve_vni": [nve, row]}})])
        assert {vid: vlan.vni for vid, vlan in seen.vlans.items() if vlan.vni} == {101: RED}


def busy() -> NxosSwitch:
    made = NxosTestSwitch()
    made.by_hand(101, 5000)
    made.by_hand(102)
    return made.cli


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 4), st.floats(0, 0.999))
def test_an_answer_that_is_cut_anywhere_is_no_answer(which: int, where: float) -> None:
    told = answers(busy())
    assert read(told).at(Vid(101)).vni == RED
    told[which] = told[which][: int(len(told[which].rstrip()) * where)]
    if which == 1 and told[1].strip() and told[0].rstrip().endswith(told[1].rstrip()):
        return
    with pytest.raises(Retry):
        read(told)


@pytest.mark.parametrize(
    ("which", "old", "new"),
    [
        (0, "!Command: show running-config", "leaf1"),
        (0, "hostname leaf1", "% Invalid command"),
        (0, "vlan 101\n", "vlan 5101\n"),
        (0, "vn-segment 5000", "vn-segment 0"),
        (0, "allowed vlan none", "allowed vlan some"),
        (1, "evpn", "vlan"),
        (2, '"vlanshowbr-vlanid-utf": "101"', '"vlanshowbr-vlanid-utf": "5101"'),
        (2, "TABLE_vlanbrief", "TABLE_vlan"),
        (3, '"oper_mode"', '"mode"'),
        (3, '"trunk_vlans": "none"', '"trunk_vlans": ""'),
        (4, '"5000"', '"0"'),
        (4, '"type"', '"typ"'),
    ],
)
def test_an_answer_that_is_not_understood_is_no_answer(which: int, old: str, new: str) -> None:
    told = answers(busy())
    assert old in told[which]
    told[which] = told[which].replace(old, new)
    with pytest.raises(Retry):
        read(told)


def test_who_is_shown_in_a_vlan_and_not_configured_so_makes_it_somebodys() -> None:
    told = answers(busy())
    vlans = json.loads(told[2])
    vlans["TABLE_vlanbrief"]["ROW_vlanbrief"][2]["vlanshowplist-ifidx"] = "Ethernet1/4-5"
    told[2] = json.dumps(vlans)
    vlan = read(told).at(Vid(102))
    assert "Ethernet1/4 is in it, and is not configured" in vlan.said
    assert vlan.tagged == {"Ethernet1/5"}


def test_a_vlan_that_is_shown_and_not_configured_is_the_switchs_own() -> None:
    told = answers(busy())
    vlans = json.loads(told[2])
    vlans["TABLE_vlanbrief"]["ROW_vlanbrief"].append({"vlanshowbr-vlanid-utf": "150"})
    seen = read([*told[:2], json.dumps(vlans), *told[3:]])
    assert "made it for itself" in seen.at(Vid(150)).said


@pytest.mark.parametrize("made", [SETTINGS, EosTestSwitch().settings()])
def test_the_vlan_that_trunks_have_untagged_is_refused_at_once(made: NgsSettings) -> None:
    with pytest.raises(ValueError, match="vids has 1: "):
        replace(made, vids=VidSet.of("1-199"))


@pytest.mark.parametrize("vids", ["100-3968", "4094"])
def test_vlans_that_it_keeps_for_itself_are_refused_at_once(vids: str) -> None:
    with pytest.raises(ValueError, match="keeps these for itself: leave out what is above 3967"):
        replace(SETTINGS, vids=VidSet.of(vids))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ngs_nve_interface": "Vxlan1"}, "is no NVE interface"),
        ({"ngs_bum_replication_mode": "multicast"}, "only 'ingress-replication'"),
        ({"ngs_manage_vlans": "False"}, "ngs_manage_vlans"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NxosTestSwitch().settings(**options)


def test_a_new_switch_is_empty() -> None:
    assert {vid for vid in read(answers(nxos_switch())).vlans if vid in SETTINGS.vids} == set()


@pytest.mark.parametrize("how", ["a translation", "a translation by a profile", "a part of the port"])
def test_a_vid_that_a_port_of_ours_brings_to_somebody_else_is_his_though_there_is_no_such_vlan(how: str) -> None:
    with nxos() as switch:
        if how == "a translation":
            switch.cli.ports[switch.ports[0]].more.append("switchport vlan mapping 150 250")
        elif "profile" in how:
            switch.cli.more = "port-profile type ethernet HOSTS\n  switchport vlan mapping 150 250"
            switch.cli.ports[switch.ports[0]].more.append("inherit port-profile HOSTS")
        else:
            switch.cli.more = f"interface {switch.ports[0]}.150\n  encapsulation dot1q 150"
        seen = switch.target().observe()
        assert (150 in seen.foreign_vids, 150 in seen.unfit) == (True, False)
