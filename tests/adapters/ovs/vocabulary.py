"""Any flow that the vocabulary can say, and any that a switch will take, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from isthmus.adapters.ovs.numbers import PORTS, TOWARDS_VMS
from isthmus.model.flow import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ETH_RARP,
    MULTICAST,
    ArpReply,
    Bridge,
    Flow,
    FlowAction,
    Goto,
    LearnVtep,
    Match,
    Output,
    PopVid,
    PushVid,
    Resubmit,
    SetVid,
    Tunnel,
)
from isthmus.model.names import Mac, prefix
from isthmus.model.tags import MAX_VID, MAX_VNI, Vid, Vni

ETH_LLDP = 0x88CC
LAST_TABLE = 253  # 254 is the switch's own

vids = st.integers(1, MAX_VID).map(Vid)
vnis = st.integers(1, MAX_VNI).map(Vni)
macs = st.binary(min_size=6, max_size=6).map(lambda octets: Mac(octets.hex(":")))
addresses = st.ip_addresses(v=4).map(str)
bridges = st.sampled_from(Bridge)


@st.composite
def matches(draw: st.DrawFn, bridge: Bridge) -> Match:
    eth_type = draw(st.none() | st.sampled_from([ETH_ARP, ETH_RARP, ETH_IPV4, ETH_IPV6, ETH_LLDP]))
    is_arp = eth_type == ETH_ARP  # a switch takes arp_op and arp_tpa only of a flow that matches ARP
    return Match(
        in_port=draw(st.none() | st.sampled_from(sorted(PORTS[bridge], key=lambda port: port.value))),
        vid=draw(st.none() | vids),
        tun_id=draw(st.none() | vnis),
        src=draw(st.none() | macs),
        dst=draw(st.none() | macs | st.just(MULTICAST)),
        eth_type=eth_type,
        arp_op=draw(st.none() | st.integers(1, 4)) if is_arp else None,
        arp_target=draw(st.none() | addresses) if is_arp else None,
        source=draw(st.none() | sources(eth_type)),
    )


def sources(eth_type: int | None) -> st.SearchStrategy[str | None]:
    """Whom a packet may say to be from: an address, or a prefix that leaves something open."""
    version = {ETH_ARP: 4, ETH_IPV4: 4, ETH_IPV6: 6}.get(eth_type or 0)
    if version is None:
        return st.none()
    longest = 32 if version == 4 else 128
    any_of = st.tuples(st.ip_addresses(v=version), st.integers(1, longest))
    return any_of.map(lambda drawn: prefix(f"{drawn[0]}/{drawn[1]}"))


def outputs(bridge: Bridge) -> st.SearchStrategy[FlowAction]:
    ports = st.sampled_from(sorted(PORTS[bridge], key=lambda port: port.value))
    return ports.map(Output) | st.just(Output(TOWARDS_VMS[bridge], back=True))


def anywhere(bridge: Bridge, table: int) -> st.SearchStrategy[FlowAction]:
    """Actions that a frame can meet tagged or not."""
    later = st.integers(table + 1, LAST_TABLE)
    learns = st.builds(LearnVtep, later, vids, vnis, st.integers(1, 65535))
    return outputs(bridge) | st.builds(Tunnel, vnis, addresses) | later.map(Resubmit) | learns


@st.composite
def acceptable_actions(draw: st.DrawFn, bridge: Bridge, table: int, match: Match) -> tuple[FlowAction, ...]:
    """Actions that Open vSwitch takes: it wants proof that a tag is there before it is altered."""
    tagged, actions = match.vid is not None, list[FlowAction]()
    for _ in range(draw(st.integers(0, 6))):
        choice = anywhere(bridge, table)
        if tagged:
            choice |= vids.map(SetVid) | st.just(PopVid())
        else:
            choice |= vids.map(PushVid)
        if match.eth_type == ETH_ARP:
            choice |= st.builds(ArpReply, macs, addresses)
        action = draw(choice)
        if isinstance(action, PushVid | PopVid):
            tagged = isinstance(action, PushVid)
        actions.append(action)
    goto = draw(st.none() | st.builds(Goto, st.integers(table + 1, LAST_TABLE)))
    return (*actions, goto) if goto else tuple(actions)


@st.composite
def acceptable_flows(draw: st.DrawFn) -> Flow:
    """A flow that Open vSwitch takes."""
    bridge, table = draw(bridges), draw(st.integers(0, LAST_TABLE - 1))
    match = draw(matches(bridge))
    actions = draw(acceptable_actions(bridge, table, match))
    return Flow(bridge, table, draw(st.integers(0, 65535)), match, actions, draw(st.none() | vnis))


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Any flow at all, sensible or not."""
    bridge, table = draw(bridges), draw(st.integers(0, LAST_TABLE - 1))
    action = (
        anywhere(bridge, table)
        | st.builds(ArpReply, macs, addresses)
        | vids.map(SetVid)
        | vids.map(PushVid)
        | st.just(PopVid())
        | st.integers(0, LAST_TABLE).map(Goto)
    )
    actions = tuple(draw(st.lists(action, max_size=8)))
    vni = draw(st.none() | vnis)
    return Flow(bridge, table, draw(st.integers(0, 65535)), draw(matches(bridge)), actions, vni)
