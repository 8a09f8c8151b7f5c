"""A flow and its text are one: nothing is lost on the way to the switch or back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.ovs.text import parse, render, render_key
from isthmus.model.flow import (
    ETH_ARP,
    ETH_IPV6,
    ArpReply,
    Bridge,
    Flow,
    FlowPort,
    Goto,
    LearnVtep,
    Match,
    Output,
    PopVid,
    Raw,
    Resubmit,
    Tunnel,
)
from isthmus.model.names import mac, prefix
from isthmus.model.tags import Vid, Vni
from tests.adapters.ovs.vocabulary import flows

OURS = "cookie=0x157a000100001388"


@given(flows())
def test_a_flow_reads_back_as_itself(flow: Flow) -> None:
    assert parse(flow.bridge, render(flow)) == flow


@given(flows(), flows())
def test_two_flows_have_one_name_in_the_switch_only_if_they_have_one_key(one: Flow, other: Flow) -> None:
    if one.bridge is other.bridge:
        assert (render_key(one.key) == render_key(other.key)) == (one.key == other.key)


def test_the_vni_and_the_schema_are_in_the_cookie() -> None:
    assert render(Flow(Bridge.TUN, 2, 7, Match(), (), Vni(5000))).startswith(f"{OURS},table=2,priority=7 ")
    assert render(Flow(Bridge.TUN, 2, 7, Match())).startswith("cookie=0x157a000100000000,")


# As Open vSwitch 3.1 prints them, with the parts it leaves out when they are at their default.
@pytest.mark.parametrize(
    ("bridge", "line", "flow"),
    [
        (
            Bridge.TUN,
            f" {OURS}, priority=100,tun_id=0x1388,in_port=3 actions=goto_table:4",
            Flow(Bridge.TUN, 0, 100, Match(in_port=FlowPort.VXLAN, tun_id=Vni(5000)), (Goto(4),), Vni(5000)),
        ),
        (
            Bridge.TUN,
            f" {OURS}, dl_vlan=11 actions=pop_vlan,set_field:0x1388->tun_id,set_field:192.0.2.9->tun_dst,output:3",
            Flow(
                Bridge.TUN,
                0,
                32768,
                Match(vid=Vid(11)),
                (PopVid(), Tunnel(Vni(5000), "192.0.2.9"), Output(FlowPort.VXLAN)),
                Vni(5000),
            ),
        ),
        (
            Bridge.INT,
            f" {OURS}, priority=100,ipv6,ipv6_src=::ffff:124.128.0.0/105 actions=goto_table:10",
            Flow(
                Bridge.INT, 0, 100, Match(eth_type=ETH_IPV6, source=prefix("::ffff:7c80:0/105")), (Goto(10),), Vni(5000)
            ),
        ),
        (
            Bridge.INT,
            " cookie=0x157a000100000000, table=1, priority=0 actions=drop",
            Flow(Bridge.INT, 1, 0, Match()),
        ),
    ],
)
def test_a_line_of_a_dump_is_understood(bridge: Bridge, line: str, flow: Flow) -> None:
    assert parse(bridge, line) == flow


def test_what_the_data_path_learnt_is_not_read() -> None:
    line = " cookie=0x157b000100001388, table=19, hard_timeout=30, priority=100,dl_vlan=11 actions=output:3"
    assert parse(Bridge.TUN, line) is None


@pytest.mark.parametrize(
    "line",
    [
        " priority=5,in_port=2,dl_vlan=11 actions=goto_table:20",
        " cookie=0x157a000000001388, priority=5,in_port=2,dl_vlan=11 actions=goto_table:20",
        f" {OURS}, idle_timeout=9, priority=5,in_port=2,dl_vlan=11 actions=goto_table:20",
        f" {OURS}, send_flow_rem priority=5,in_port=2,dl_vlan=11 actions=goto_table:20",
        f" {OURS}, priority=5,in_port=2,dl_vlan=11 actions=NORMAL",
        f" {OURS}, priority=5,in_port=2,dl_vlan=11 actions=goto_table:20,clear_actions",
        f" {OURS}, priority=5,in_port=2,dl_vlan=11 actions=output:1",  # br-tun has no trunk port
        f" {OURS}, priority=5,in_port=2,dl_vlan=11 actions=push_vlan:0x8100",
        f" {OURS}, priority=5,in_port=2,dl_vlan=11 actions=set_field:300->vlan_vid",
    ],
    ids=["no-cookie", "schema", "timeout", "flag", "normal", "more", "port", "half", "vid"],
)
def test_a_flow_that_is_not_of_this_vocabulary_keeps_its_key_and_equals_nothing_wanted(line: str) -> None:
    found = parse(Bridge.TUN, line)
    assert found is not None
    assert found.key == Flow(Bridge.TUN, 0, 5, Match(in_port=FlowPort.PATCH, vid=Vid(11))).key
    assert [type(action) for action in found.actions] == [Raw]


@pytest.mark.parametrize(
    "match",
    [
        "ct_state=+trk,tcp",
        "dl_vlan=0",
        "tun_id=0x0",
        "tun_id=0x1388/0xffff00",
        "in_port=65534",
        "in_port=1",
        "dl_dst=00:00:00:00:00:00/fe:00:00:00:00:00",
        "arp,arp_tpa=10.0.0.0/8",
        "vlan_tci=0x000b/0x0fff",
        "dl_vlan=11,dl_vlan_pcp=3",
    ],
)
def test_a_match_that_this_vocabulary_cannot_say_is_named_in_the_switchs_own_words(match: str) -> None:
    found = parse(Bridge.TUN, f" {OURS}, table=3, priority=5,{match} actions=drop")
    assert found is not None
    assert found.match == Match(raw=match)
    assert render_key(found.key) == f"table=3,priority=5,{match}"


@given(st.sampled_from(FlowPort))
def test_a_frame_of_the_overlay_cannot_be_sent_back_into_it(port: FlowPort) -> None:
    flow = Flow(Bridge.TUN, 0, 1, Match(), (Output(port, back=True),))
    if port is FlowPort.PATCH:
        assert render(flow).endswith("actions=IN_PORT")
    else:
        with pytest.raises(ValueError, match="sends nothing back"):
            render(flow)


def test_nothing_goes_out_of_a_port_of_the_other_bridge() -> None:
    with pytest.raises(ValueError, match="br-int has no vxlan port"):
        render(Flow(Bridge.INT, 0, 1, Match(), (Output(FlowPort.VXLAN),)))


def test_what_was_not_understood_is_never_written() -> None:
    with pytest.raises(ValueError, match="never written"):
        render(Flow(Bridge.INT, 0, 1, Match(), (Raw("NORMAL"),)))


def test_an_arp_reply_with_two_different_macs_is_not_ours() -> None:
    reply = Flow(Bridge.INT, 0, 1, Match(eth_type=ETH_ARP), (ArpReply(mac("02:00:00:00:00:01"), "10.0.0.1"),))
    tampered = render(reply).replace("02:00:00:00:00:01->arp_sha", "02:00:00:00:00:02->arp_sha")
    found = parse(Bridge.INT, tampered)
    assert found is not None
    assert found.key == reply.key
    assert found != reply


def test_a_learnt_entry_of_another_schema_is_replaced() -> None:
    teach = Flow(Bridge.TUN, 4, 1, Match(), (LearnVtep(19, Vid(11), Vni(5000), 30),), Vni(5000))
    assert parse(Bridge.TUN, render(teach)) == teach
    assert parse(Bridge.TUN, render(teach).replace("cookie=0x157b0001", "cookie=0x157b0000")) != teach


def test_the_vni_is_said_once_for_many_vteps_and_again_after_another_table() -> None:
    there, back = Tunnel(Vni(5000), "192.0.2.2"), Tunnel(Vni(5000), "192.0.2.3")
    out = Output(FlowPort.VXLAN)
    near = Flow(Bridge.TUN, 4, 1, Match(), (there, out, back, out, Tunnel(Vni(5001), "192.0.2.4"), out))
    assert render(near).count("->tun_id") == 2
    assert parse(Bridge.TUN, render(near)) == near
    between = replace(near, actions=(there, Resubmit(9), back, out))
    assert render(between).count("->tun_id") == 2
    assert parse(Bridge.TUN, render(between)) == between


def test_a_vtep_without_a_vni_is_not_ours() -> None:
    found = parse(Bridge.TUN, f" {OURS}, priority=5 actions=set_field:192.0.2.2->tun_dst,output:3")
    assert found is not None
    assert [type(action) for action in found.actions] == [Raw]
