"""An Arista EOS switch by networking-generic-switch: what it shows, and what its modes make of a word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from isthmus.adapters.leaf.ngs.held import Vlan
from isthmus.adapters.leaf.ngs.kinds import KINDS
from isthmus.model.change import Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.tags import VidSet, Vni
from lab.wire.eos import ALL
from tests.adapters.leaf.ngs.switch import PORTS, EosTestSwitch, eos, eos_settings
from tests.adapters.leaf.ngs.test_any_type import BLUE, ON_OURS, RED, apply, binding, done, held

KIND = KINDS["netmiko_arista_eos"]


@pytest.fixture
def switch() -> Iterator[EosTestSwitch]:
    with eos() as made:
        yield made


def port(mode: str = "trunk", *, access: int = 1, native: int = 1, allowed: str = "NONE", on: bool = True) -> Any:
    info = {"mode": mode, "accessVlanId": access, "trunkingNativeVlanId": native, "trunkAllowedVlans": allowed}
    return {"enabled": on, "switchportInfo": info}


VLANS = {
    str(vid): {"name": "", "dynamic": vid == 1006, "status": "active", "interfaces": {}} for vid in (1, 4, 101, 1006)
}
PORTS_SHOWN = {
    "Ethernet1": port(allowed="ALL"),
    "Ethernet2": port("access", access=4),
    "Ethernet3": port(native=101, allowed="90-110,4000"),
    "Ethernet4": port("dot1qTunnel", access=101, allowed="ALL"),
    "Ethernet5": port(allowed="ALL", on=False),
    "Ethernet6": port(),
}
MAPS = {"101": {"vni": 5000, "source": ""}, "102": {"vni": 70_001}}


def answers(vlans: Any = VLANS, ports: Any = PORTS_SHOWN, maps: Any = MAPS) -> list[str]:
    vxlan = {"interfaces": {"Vxlan1": {"vlanToVniMap": maps}}}
    return [json.dumps(said) for said in ({"vlans": vlans}, {"switchports": ports}, vxlan)]


def ports(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_what_it_shows_is_the_vlans_that_there_are_with_what_the_ports_are_configured_for() -> None:
    assert KIND.understood(answers()) == {
        1: Vlan(None, ports(), ports("Ethernet1")),
        4: Vlan(None, ports("Ethernet1"), ports("Ethernet2")),
        101: Vlan(Vni(5000), ports("Ethernet1"), ports("Ethernet3", "Ethernet4")),
        102: Vlan(Vni(70_001), ports("Ethernet1", "Ethernet3")),
        1006: Vlan(None, ports("Ethernet1"), ports("Cpu")),
    }


@pytest.mark.parametrize(
    "said",
    [
        answers(vlans={"5000": VLANS["1"]}),
        answers(vlans={"x": VLANS["1"]}),
        answers(vlans={"101": {"name": "red"}}),
        answers(vlans=None),
        answers(ports={"Ethernet1": port("tap")}),
        answers(ports={"Ethernet1": port(allowed="1-")}),
        answers(ports={"Ethernet1": port(allowed="")}),
        answers(ports={"Ethernet1": {"enabled": True}}),
        answers(ports=None),
        answers(maps={"101": {"source": ""}}),
        answers(maps={"101": {"vni": 0}}),
        answers(maps=None),
        [*answers()[:2], json.dumps({"interfaces": {}})],
        [*answers()[:2], json.dumps({"errors": ["Interface does not exist"]})],
        [*answers()[:2], "% Interface does not exist"],
        [answers()[0][:-1], *answers()[1:]],
        [answers()[1], answers()[0], answers()[2]],
        ["", *answers()[1:]],
    ],
)
def test_an_answer_that_is_cut_short_or_not_understood_is_no_answer(said: list[str]) -> None:
    with pytest.raises(Retry):
        KIND.understood(said)


def test_bgp_is_told_of_a_vlan_before_its_vni_and_not_of_one_that_is_gone(switch: EosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    auto = {f"route-target {way} auto 65000" for way in ("export", "import")}
    assert switch.cli.told == {101: {"rd auto", "redistribute learned", *auto}}
    done(target, Forget((binding(101),)))
    assert switch.cli.told == {}


def test_its_route_target_is_the_one_that_is_given(switch: EosTestSwitch) -> None:
    target = switch.target(eos_settings(ngs_evpn_route_target="65000:100"))
    done(target, Learn((binding(101),)))
    assert "route-target both 65000:100" in switch.cli.told[101]


def test_with_another_as_number_than_its_own_no_vlan_gets_a_vni_and_none_is_removed(switch: EosTestSwitch) -> None:
    """Else the words for BGP would be taken for the whole switch: `no vlan` for one."""
    done(switch.target(), Learn((binding(101),)))
    switch.by_hand(101, Ethernet48="tagged")
    target = switch.target(eos_settings(ngs_bgp_asn="65001"))
    forgotten, learnt = apply(target, Forget((binding(101),)), Learn((binding(102, BLUE),)))
    assert (forgotten.outcome, learnt.outcome) == (Outcome.DONE, Outcome.RETRY)
    assert "VLAN 102 has no VNI (% BGP is already running with AS number 65000)" in learnt.detail
    assert switch.state == {101: (None, {"Ethernet48": "tagged"}), 102: (None, {})}


def test_a_word_for_a_port_that_is_not_there_is_not_said_of_another(switch: EosTestSwitch) -> None:
    target = switch.target(eos_settings(ports=("Ethernet4", "Ethernet99")))
    apply(target, Learn((binding(101),)))
    asked = switch.told.index("interface Ethernet99")
    assert switch.told[asked + 1] == "end"


def test_a_port_that_is_down_is_a_member_like_any_other(switch: EosTestSwitch) -> None:
    target = switch.target()
    done(target, Learn((binding(101),)))
    for found in switch.cli.ports.values():
        found.up = False
    assert held(target) == {binding(101)}


def test_a_trunk_for_all_vlans_carries_ours_and_gives_back_one_that_is_forgotten(switch: EosTestSwitch) -> None:
    """Such as a pair's peer link, which is named in ngs_trunk_ports."""
    switch.cli.ports["Ethernet48"].allowed = ALL
    target = switch.target(eos_settings(ngs_trunk_ports="Ethernet48"))
    done(target, Learn((binding(101),)))
    assert switch.state == {101: (RED, {**ON_OURS, "Ethernet48": "tagged"})}
    done(target, Forget((binding(101),)))
    assert switch.state == {}
    assert switch.cli.ports["Ethernet48"].allowed == ALL - {101}


def test_a_port_that_is_no_trunk_joins_nothing_and_that_is_said(switch: EosTestSwitch) -> None:
    switch.cli.ports[PORTS[0]].mode = "access"
    target = switch.target()
    [result] = apply(target, Learn((binding(101),)))
    assert result.outcome is Outcome.RETRY
    assert f"VLAN 101 is not tagged on {PORTS[0]}" in result.detail
    assert held(target) == {binding(101, whole=False)}


def test_a_vlan_that_it_made_for_itself_is_somebody_elses(switch: EosTestSwitch) -> None:
    switch.cli.dynamic.add(150)
    target = switch.target()
    assert target.observe().foreign_vids == VidSet.of("150")
    [result] = apply(target, Learn((binding(150),)))
    assert result.outcome is Outcome.REFUSED
