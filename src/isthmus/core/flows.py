"""The flows of an OVS appliance, computed from its segments.

    trunk NIC        br-int                              patch      br-tun                        vxlan
    vid v  ------->  0 who may speak                                0 from where
                       trunk, v, source is a NIC here -> 10         2 to the overlay: v still on
                       patch                          -> 20           a MAC on the move -> both VTEPs
                       anything else: drop                            multicast -> 22, else -> 19
                                                                   19 learnt from a moved VM (timed, not reconciled)
                    10 from a VM here                              20 MAC -> VTEP: untag, VNI out
                       ARP for a known remote: answered            22 every VTEP that has the network: untag, VNI out
                       unicast to a NIC here: other VID -> retag    4 from the overlay: VNI -> VID
                       unicast elsewhere -> patch                     RARP, broadcast ARP: learn the VTEP in 19
                       multicast: the other VIDs here, and patch
                    20 from the overlay
                       unicast to a NIC here; else every VID of the network

A network may have several VIDs on one host (a port that moved in keeps its own): they are joined here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from isthmus.core.segments import Segment
from isthmus.model.flow import (
    BROADCAST,
    ETH_ARP,
    ETH_RARP,
    MULTICAST,
    ArpReply,
    Bridge,
    Flow,
    FlowAction,
    FlowPort,
    Goto,
    LearnVtep,
    Match,
    Output,
    PopVid,
    PushVid,
    SetVid,
    Tunnel,
)
from isthmus.model.nve import NveEntry, NveKey
from isthmus.model.tags import Vid, Vni

CLASSIFY = 0
FROM_VM, FROM_OVERLAY = 10, 20  # br-int
TO_OVERLAY, DECAP, LEARNT, UNICAST, FLOOD = (
    2,
    4,
    19,
    20,
    22,
)  # br-tun; the numbers stock Neutron agents use, where they have one
TAGGING = (PushVid, SetVid)
POP_VID, TO_VXLAN = PopVid(), Output(FlowPort.VXLAN)
LEARNT_SECONDS = 10
"""How long what a moved VM's RARP taught pre-empts the computed entry: some rounds.

A move that nobody announced and whose RARPs were all lost is misdirected for as long.
"""


def flows(segments: Iterable[Segment]) -> Iterator[Flow]:
    """All flows of an appliance that serves these segments."""
    yield from _frame()
    for segment in segments:
        if segment.vids:
            yield from _int_flows(segment)
            yield from _tun_flows(segment)


def mapped(entries: Mapping[NveKey, NveEntry]) -> set[tuple[Vid, Vni]]:
    """Which VIDs an appliance maps to which VNIs, read back from the flows it holds."""
    found: set[tuple[Vid, Vni]] = set()
    for flow in entries.values():
        if not isinstance(flow, Flow) or flow.vni is None:
            continue
        if flow.match.vid is not None:
            found.add((flow.match.vid, flow.vni))
        for action in flow.actions:
            if isinstance(action, TAGGING):
                found.add((action.vid, flow.vni))
    return found


def _frame() -> Iterator[Flow]:
    """What is there without any network: the way from table to table, and a closing drop in each."""
    yield Flow(Bridge.INT, CLASSIFY, 90, Match(in_port=FlowPort.PATCH), (Goto(FROM_OVERLAY),))
    for table in (CLASSIFY, FROM_VM, FROM_OVERLAY):
        yield Flow(Bridge.INT, table, 0, Match())
    yield Flow(Bridge.TUN, CLASSIFY, 90, Match(in_port=FlowPort.PATCH), (Goto(TO_OVERLAY),))
    yield Flow(Bridge.TUN, CLASSIFY, 90, Match(in_port=FlowPort.VXLAN), (Goto(DECAP),))
    yield Flow(Bridge.TUN, TO_OVERLAY, 90, Match(dst=MULTICAST), (Goto(FLOOD),))
    yield Flow(Bridge.TUN, TO_OVERLAY, 0, Match(), (Goto(LEARNT),))
    yield Flow(Bridge.TUN, LEARNT, 0, Match(), (Goto(UNICAST),))
    yield Flow(Bridge.TUN, UNICAST, 0, Match(), (Goto(FLOOD),))
    for table in (CLASSIFY, DECAP, FLOOD):
        yield Flow(Bridge.TUN, table, 0, Match())


def _int_flows(segment: Segment) -> Iterator[Flow]:
    vni = segment.network.vni

    def flow(table: int, priority: int, match: Match, *actions: FlowAction) -> Flow:
        return Flow(Bridge.INT, table, priority, match, actions, vni)

    for mac, vid in segment.local.items():
        yield flow(CLASSIFY, 100, Match(in_port=FlowPort.TRUNK, vid=vid, src=mac), Goto(FROM_VM))
    for vid in segment.vids:
        others = tuple(other for other in segment.vids if other != vid)
        for address, mac in segment.addresses.items():
            if ":" not in address:
                match = Match(vid=vid, eth_type=ETH_ARP, arp_op=1, arp_target=address)
                yield flow(FROM_VM, 60, match, ArpReply(mac, address))
        for mac, at in segment.local.items():
            yield flow(FROM_VM, 40, Match(vid=vid, dst=mac), *_to_neighbour(segment, vid, mac, at))
            yield flow(FROM_OVERLAY, 40, Match(vid=vid, dst=mac), *_retag(vid, at), Output(FlowPort.TRUNK))
        joined = tuple(action for other in others for action in (SetVid(other), Output(FlowPort.TRUNK, back=True)))
        yield flow(FROM_VM, 30, Match(vid=vid, dst=MULTICAST), Output(FlowPort.PATCH), *joined)
        yield flow(FROM_VM, 10, Match(vid=vid), Output(FlowPort.PATCH))
        all_vids = tuple(action for other in others for action in (SetVid(other), Output(FlowPort.TRUNK)))
        yield flow(FROM_OVERLAY, 10, Match(vid=vid), Output(FlowPort.TRUNK), *all_vids)


def _to_neighbour(segment: Segment, vid: Vid, mac: str, at: Vid) -> tuple[FlowAction, ...]:
    """A frame from a VM here to a VM here: the DVS has delivered it if they share the VID, else we carry it over.

    If the neighbour is about to leave (it has remote VTEPs, too) the destination gets a copy.
    """
    leaving = (Output(FlowPort.PATCH),) if mac in segment.remote else ()
    across = () if at == vid else (SetVid(at), Output(FlowPort.TRUNK, back=True))
    return (*leaving, *across)


def _retag(vid: Vid, at: Vid) -> tuple[FlowAction, ...]:
    return () if vid == at else (SetVid(at),)


def _tun_flows(segment: Segment) -> Iterator[Flow]:
    vni = segment.network.vni
    canonical = segment.vids[0]
    moving = {mac for mac, vteps in segment.remote.items() if len(vteps) > 1 or mac in segment.local}

    def flow(table: int, priority: int, match: Match, *actions: FlowAction) -> Flow:
        return Flow(Bridge.TUN, table, priority, match, actions, vni)

    learn = tuple(LearnVtep(LEARNT, vid, vni, LEARNT_SECONDS) for vid in segment.vids)
    inward = (PushVid(canonical), Output(FlowPort.PATCH))
    # ESXi announces a moved VM by RARP, guests by broadcast ARP; the frame came from the very VTEP the VM is behind.
    yield flow(DECAP, 60, Match(tun_id=vni, eth_type=ETH_RARP), *learn, *inward)
    yield flow(DECAP, 60, Match(tun_id=vni, dst=BROADCAST, eth_type=ETH_ARP), *learn, *inward)
    yield flow(DECAP, 50, Match(tun_id=vni), *inward)
    for vid in segment.vids:
        for mac, vteps in segment.remote.items():
            yield _unicast(vni, vid, mac, vteps, mac in moving)
        if segment.flood:
            yield flow(FLOOD, 40, Match(vid=vid), POP_VID, *(act for vtep in segment.flood for act in _to(vni, vtep)))


@lru_cache(maxsize=1 << 18)
def _unicast(vni: Vni, vid: Vid, mac: str, vteps: tuple[str, ...], moving: bool) -> Flow:
    """Frames to `mac`: to all the VTEPs it may be behind.  The same on every host where `vid` means `vni`."""
    # While a VM moves, what was learnt of an earlier move must not go before what is announced of this one.
    table, priority = (TO_OVERLAY, 95) if moving else (UNICAST, 40)
    out = (act for vtep in vteps for act in _to(vni, vtep))
    return Flow(Bridge.TUN, table, priority, Match(vid=vid, dst=mac), (POP_VID, *out), vni)


@lru_cache(maxsize=1 << 16)
def _to(vni: Vni, vtep: str) -> tuple[FlowAction, ...]:
    return Tunnel(vni, vtep), TO_VXLAN
