"""Plugs and their bridge as a snapshot of an appliance shows them, without Open vSwitch: what counts as wired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from isthmus.adapters.ovs import plug_frame
from isthmus.adapters.ovs.bridges import LOCAL, OWNER_KEY, AddPort, BridgeState, PortState, Set, Snapshot
from isthmus.adapters.ovs.plugs import BR_INT, DEAD, filtered, is_tagged, learning, names, plugs_of, why_not_made
from isthmus.adapters.ovs.settings import BR_VDS, OvsSettings
from isthmus.model.names import NetworkId, NicId, PortId, VmId, mac
from isthmus.model.nve import Plug
from isthmus.model.tags import Vid, Vni

SETTINGS = OvsSettings("trunk0", "192.0.2.1", "east", own_flows=False)
PLUG = Plug(
    PortId("9f3c0001-0000-4000-8000-000000000001"),
    Vid(11),
    NetworkId("red"),
    Vni(5000),
    NicId(VmId("vm-1"), 4000),
    mac("00:50:56:00:00:01"),
)
ON_VDS, ON_INT = names(PLUG.port)
FLOWS = (" cookie=0x1, table=60, priority=100,in_port=3 actions=load:0x3->NXM_NX_REG5[],resubmit(,71)",)
"""Of the agent's firewall, for the half on br-int."""


def frame(*more: PortState, controlled: bool = True) -> Snapshot:
    """The bridges as they should be, and ports in them."""
    bridges = (
        BridgeState(BR_VDS, SETTINGS.owner, SETTINGS.datapath_type, "", frozenset()),
        BridgeState(BR_INT, None, SETTINGS.datapath_type, "secure", frozenset(), controlled=controlled),
    )
    ours = {OWNER_KEY: SETTINGS.owner}
    ports = (
        PortState(BR_VDS, BR_VDS, "internal", number=LOCAL, tag=DEAD),
        PortState(BR_VDS, SETTINGS.trunk, owner=SETTINGS.owner, number=1, vlan_mode="trunk", external_ids=ours),
        *more,
    )
    return Snapshot({bridge.name: bridge for bridge in bridges}, {port.name: port for port in ports})


def pair() -> dict[str, PortState]:
    """What is made for a plug, tagged by the agent."""
    steps = list(learning(frame(), SETTINGS, PLUG))
    made = {}
    for number, step in enumerate((step for step in steps if isinstance(step, AddPort)), 2):
        ids, options = step.columns["external_ids"], step.columns["options"]
        assert isinstance(ids, dict)
        assert isinstance(options, dict)
        tag = int(PLUG.vid) if step.bridge == BR_VDS else 7
        made[step.name] = PortState(
            step.bridge, step.name, "patch", options, SETTINGS.owner, number=number, tag=tag, external_ids=ids
        )
    return made


def wired(states: Iterable[PortState], *, controlled: bool = True, flows: Iterable[str] = FLOWS) -> list[bool]:
    found = plugs_of(frame(*states, controlled=controlled), SETTINGS, filtered(flows))
    return [plug.wired for plug in found]


@pytest.mark.parametrize(
    "flows",
    [
        [],
        [" cookie=0x1, table=60, priority=100,in_port=2 actions=load:0x2->NXM_NX_REG5[],resubmit(,71)"],
        [" cookie=0x1, table=60, priority=100,in_port=33 actions=set_field:0x21->reg5,resubmit(,71)"],
        [" cookie=0x1, table=60, priority=100,in_port=3 actions=resubmit(,71)"],
        [" cookie=0x1, table=60, priority=200,arp,in_port=3,arp_tpa=10.0.0.2 actions=load:0x2->NXM_OF_ARP_OP[]"],
        [" cookie=0x1, table=60, priority=9,in_port=3,dl_src=00:50:56:00:00:01 actions=resubmit(,61)"],
        [" cookie=0x1, table=60, priority=3 actions=NORMAL"],
        [" cookie=0x1, table=60, priority=90,dl_vlan=7,dl_dst=00:50:56:00:00:01 actions=load:0x3->NXM_NX_REG5[]"],
    ],
)
def test_a_plug_that_the_agent_has_tagged_and_not_filtered_is_not_wired(flows: list[str]) -> None:
    """It tags all ports before it lays the filters of any; until then br-int switches as it likes."""
    assert wired(pair().values(), flows=flows) == [False]


@pytest.mark.parametrize("loads", ["load:0x3->NXM_NX_REG5[]", "set_field:0x3->reg5"])
def test_a_plug_that_is_filtered_and_lost_its_vlan_of_the_agent_is_not_wired(loads: str) -> None:
    flows = [f" cookie=0x1, table=60, priority=100,in_port=3 actions={loads},set_field:0x7->reg6,resubmit(,71)"]
    assert wired(pair().values(), flows=flows) == [True]
    for tag, mode in ((None, ""), (DEAD, ""), (DEAD, "trunk")):
        made = pair()
        made[ON_INT] = replace(made[ON_INT], tag=tag, vlan_mode=mode)
        assert wired(made.values(), flows=flows) == [False]


@pytest.mark.parametrize("number", [3, 9, 10, 26, 255, 65000])
@pytest.mark.parametrize("loads", ["load:{:#x}->NXM_NX_REG5[]", "set_field:{:#x}->reg5"])
def test_a_plug_is_filtered_by_the_flow_of_its_own_number_and_of_no_other(loads: str, number: int) -> None:
    def filtered_as(port: int, loaded: int) -> list[bool]:
        flow = f" cookie=0x1, table=60, priority=100,in_port={port} actions={loads.format(loaded)},resubmit(,71)"
        made = pair()
        made[ON_INT] = replace(made[ON_INT], number=number)
        return wired(made.values(), flows=[flow])

    assert filtered_as(number, number) == [True]
    assert filtered_as(number, number + 1) == [False]
    assert filtered_as(number + 1, number) == [False]


@pytest.mark.parametrize(
    "match", ["udp,in_port=3", "priority=100,udp,in_port=3", "priority=100,in_port=3,vlan_tci=0x0"]
)
def test_a_flow_for_some_of_a_ports_frames_is_no_filter_of_it(match: str) -> None:
    assert wired(pair().values(), flows=[f" cookie=0x1, table=60, {match} actions=load:0x3->NXM_NX_REG5[]"]) == [False]


def test_a_plug_that_stands_on_another_bridge_is_not_tagged() -> None:
    made = pair()
    elsewhere = replace(made[ON_INT], bridge="br-ex")
    assert is_tagged(frame(*made.values()), PLUG.port)
    assert not is_tagged(frame(made[ON_VDS], elsewhere), PLUG.port)


def test_what_open_vswitch_says_of_a_half_is_what_is_said_of_the_plug() -> None:
    made = pair()
    assert why_not_made(frame(*made.values()), PLUG.port) == ""
    made[ON_VDS] = replace(made[ON_VDS], error="no such peer")
    assert why_not_made(frame(*made.values()), PLUG.port) == f"interface {ON_VDS}: no such peer"


def test_of_a_dead_pair_what_is_left_is_dead() -> None:
    """Else the half on br-vds would be made again with its VID, and pass."""
    made = pair()
    made[ON_VDS] = replace(made[ON_VDS], tag=DEAD, vlan_mode="trunk")
    snapshot = frame(*made.values())
    assert [(plug.dead, plug.vid) for plug in plugs_of(snapshot, SETTINGS)] == [(True, PLUG.vid)]
    assert [plug.dead for plug in plugs_of(frame(made[ON_INT]), SETTINGS)] == [True]


def test_a_plug_is_wired_while_the_agent_that_tagged_it_is_there() -> None:
    assert wired(pair().values()) == [True]
    assert wired(pair().values(), controlled=False) == [False]


@pytest.mark.parametrize("name", [ON_VDS, ON_INT])
@pytest.mark.parametrize("broken", [{"error": "no such peer"}, {"number": None}, {"number": -1}], ids=str)
def test_a_plug_with_a_half_that_open_vswitch_has_not_made_is_not_wired(name: str, broken: dict[str, object]) -> None:
    made = pair()
    made[name] = replace(made[name], **broken)  # type: ignore[arg-type]
    assert wired(made.values()) == [False]


@pytest.mark.parametrize(
    "by_hand", [{"vlan_mode": "access", "tag": 11}, {"vlan_mode": "", "tag": 11}, {"tag": 11}], ids=str
)
def test_a_trunk_that_a_hand_puts_into_one_vid_is_made_a_trunk_again(by_hand: dict[str, object]) -> None:
    right = frame()
    assert plug_frame.corrections(right, SETTINGS) == ()
    trunk = replace(right.ports[SETTINGS.trunk], **by_hand)  # type: ignore[arg-type]
    wrong = replace(right, ports={**right.ports, trunk.name: trunk})
    assert plug_frame.corrections(wrong, SETTINGS) == (Set("Port", trunk.name, {"vlan_mode": "trunk", "tag": []}),)
