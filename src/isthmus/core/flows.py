"""The flows of an OVS appliance, computed from its segments.

    trunk NIC        br-int                              patch      br-tun                        vxlan
    vid v  ------->  0 who may speak                                0 from where
                       trunk, v, source is a NIC here -> 10         2 to the overlay: v still on
                         (with an address that it may use)
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

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv6Address

from isthmus.core.segments import Segment
from isthmus.model.flow import (
    BROADCAST,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
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
from isthmus.model.names import Mac
from isthmus.model.nve import NveEntry
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
UNSPECIFIED_V4, UNSPECIFIED_V6 = "0.0.0.0", "::"
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


def mapped(entries: Iterable[NveEntry]) -> set[tuple[Vid, Vni]]:
    """Which VIDs an appliance maps to which VNIs, read back from the flows it holds."""
    found: set[tuple[Vid, Vni]] = set()
    for flow in entries:
        if not isinstance(flow, Flow) or (vni := flow.vni) is None:
            continue
        if (vid := flow.match.vid) is not None:
            found.add((vid, vni))
        for action in flow.actions:
            if isinstance(action, TAGGING):
                found.add((action.vid, vni))
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
    for mac, vid in segment.local.items():
        allowed = segment.senders.get(mac)
        yield from (_speaker(vni, vid, mac),) if allowed is None else _sender(vni, vid, mac, allowed)
    for vid in segment.vids:
        for address, mac in segment.addresses.items():
            if ":" not in address:
                yield _answered(vni, vid, address, mac)
        for mac, at in segment.local.items():
            # If the neighbour is about to leave (it has remote VTEPs, too) the destination gets a copy.
            yield from _neighbour(vni, vid, mac, at, mac in segment.remote)
        yield from _joined(vni, vid, segment.vids)


def _tun_flows(segment: Segment) -> Iterator[Flow]:
    vni = segment.network.vni
    moving = {mac for mac, vteps in segment.remote.items() if len(vteps) > 1 or mac in segment.local}
    yield from _inward(vni, segment.vids)
    for vid in segment.vids:
        for mac, vteps in segment.remote.items():
            yield _unicast(vni, vid, mac, vteps, mac in moving)
        if segment.flood:
            yield _flooded(vni, vid, segment.flood)


# Flows of the same meaning are made once, for all hosts and rounds that ask for them, until they are forgotten.


@lru_cache(maxsize=1 << 17)
def _speaker(vni: Vni, vid: Vid, mac: str) -> Flow:
    """Who may speak on the trunk: a NIC here, with its VID."""
    match = Match(in_port=FlowPort.TRUNK, vid=vid, src=mac)
    return Flow(Bridge.INT, CLASSIFY, 100, match, (Goto(FROM_VM),), vni)


@lru_cache(maxsize=1 << 17)
def _sender(vni: Vni, vid: Vid, mac: str, allowed: frozenset[str]) -> tuple[Flow, ...]:
    """The same for one that may send from these addresses only: what names another sender, or is no IP, is dropped.

    Before it has an address a guest sends from none (DHCP, ARP probes, IPv6's search for duplicates), and in IPv6 from
    the link-local one that goes with its MAC.  The host announces a moved VM by RARP in its name.
    """
    four = _sources((address for address in allowed if ":" not in address), UNSPECIFIED_V4)
    six = _sources((address for address in allowed if ":" in address), UNSPECIFIED_V6, link_local(mac))
    kinds = [(ETH_RARP, None), *((ETH_IPV6, address) for address in six)]
    kinds += [(eth_type, address) for eth_type in (ETH_ARP, ETH_IPV4) for address in four]
    made = (Match(FlowPort.TRUNK, vid, src=mac, eth_type=eth_type, source=address) for eth_type, address in kinds)
    return tuple(Flow(Bridge.INT, CLASSIFY, 100, match, (Goto(FROM_VM),), vni) for match in made)


def _sources(allowed: Iterable[str], *always: str) -> list[str | None]:
    """What to match; None alone if all addresses are allowed, which a switch does not show as a match."""
    found = {*allowed, *always}
    return [None] if any(address.endswith("/0") for address in found) else [*sorted(found)]


def link_local(mac: str) -> str:
    """The IPv6 address that goes with a MAC (RFC 4291, appendix A), as Open vSwitch prints it."""
    octets = [int(octet, 16) for octet in mac.split(":")]
    identity = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + identity))


@lru_cache(maxsize=1 << 17)
def _answered(vni: Vni, vid: Vid, address: str, mac: Mac) -> Flow:
    match = Match(vid=vid, eth_type=ETH_ARP, arp_op=1, arp_target=address)
    return Flow(Bridge.INT, FROM_VM, 60, match, (ArpReply(mac, address),), vni)


@lru_cache(maxsize=1 << 17)
def _neighbour(vni: Vni, vid: Vid, mac: str, at: Vid, leaving: bool) -> tuple[Flow, ...]:
    """To a NIC here, behind VID `at`: from `vid`, unless the DVS has delivered it, and from the overlay."""
    copy = (Output(FlowPort.PATCH),) if leaving else ()
    across = () if at == vid else (SetVid(at), Output(FlowPort.TRUNK, back=True))
    retag = () if at == vid else (SetVid(at),)
    match = Match(vid=vid, dst=mac)
    return (
        Flow(Bridge.INT, FROM_VM, 40, match, (*copy, *across), vni),
        Flow(Bridge.INT, FROM_OVERLAY, 40, match, (*retag, Output(FlowPort.TRUNK)), vni),
    )


@lru_cache(maxsize=1 << 16)
def _joined(vni: Vni, vid: Vid, vids: tuple[Vid, ...]) -> tuple[Flow, ...]:
    """What goes to nobody here in particular: to the overlay, and to the network's other VIDs on this host."""
    others = tuple(other for other in vids if other != vid)
    back = tuple(action for other in others for action in (SetVid(other), Output(FlowPort.TRUNK, back=True)))
    on = tuple(action for other in others for action in (SetVid(other), Output(FlowPort.TRUNK)))
    return (
        Flow(Bridge.INT, FROM_VM, 30, Match(vid=vid, dst=MULTICAST), (Output(FlowPort.PATCH), *back), vni),
        Flow(Bridge.INT, FROM_VM, 10, Match(vid=vid), (Output(FlowPort.PATCH),), vni),
        Flow(Bridge.INT, FROM_OVERLAY, 10, Match(vid=vid), (Output(FlowPort.TRUNK), *on), vni),
    )


@lru_cache(maxsize=1 << 16)
def _inward(vni: Vni, vids: tuple[Vid, ...]) -> tuple[Flow, ...]:
    """From the overlay: the VNI becomes the network's first VID here."""
    learn = tuple(LearnVtep(LEARNT, vid, vni, LEARNT_SECONDS) for vid in vids)
    inward = (PushVid(vids[0]), Output(FlowPort.PATCH))
    # ESXi announces a moved VM by RARP, guests by broadcast ARP; the frame came from the very VTEP the VM is behind.
    return (
        Flow(Bridge.TUN, DECAP, 60, Match(tun_id=vni, eth_type=ETH_RARP), (*learn, *inward), vni),
        Flow(Bridge.TUN, DECAP, 60, Match(tun_id=vni, dst=BROADCAST, eth_type=ETH_ARP), (*learn, *inward), vni),
        Flow(Bridge.TUN, DECAP, 50, Match(tun_id=vni), inward, vni),
    )


@lru_cache(maxsize=1 << 16)
def _flooded(vni: Vni, vid: Vid, vteps: tuple[str, ...]) -> Flow:
    """To every VTEP that has the network."""
    out = (act for vtep in vteps for act in _to(vni, vtep))
    return Flow(Bridge.TUN, FLOOD, 40, Match(vid=vid), (POP_VID, *out), vni)


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


def forget_made() -> None:
    """Make every flow anew when it is asked for again: those of VMs that are gone take room for nothing."""
    for maker in (_speaker, _sender, _answered, _neighbour, _joined, _inward, _flooded, _unicast, _to):
        maker.cache_clear()
