"""The rules of a distributed switch as OpenFlow: who may send, who hears a frame, and with which tag.

Law: nothing is switched by OVS's own learning (NORMAL).  A frame reaches a port because it is for that port's MAC, or
for everybody, or because the port's policy says so.

    0 ADMIT    the port's VID(s), its MAC unless forged transmits; reg0 = VID, the tag comes off
    1 MEASURE  reg3 = 1: larger than the switch's MTU
    2 LEARN    on ports with MAC learning the source goes into LEARNED, up to the port's limit
    3 LIMIT    reg4 = 0: could not be learned, on a port that drops such frames
    4 DELIVER  to everybody, or OWNER, else UNKNOWN; and to promiscuous ports in any case
    5 OWNER    the ports whose vNIC has this MAC
    6 UNKNOWN  reg2 = 0, nobody had it: LEARNED, and if that fails too, ports that take unknown unicast
    7 FLOOD
    8 LEARNED  reg1 = the port behind which this MAC was seen
    9 EGRESS   reg1 = port: out if the VID is one of its own, tagged on a trunk; reg2 = 1
   10 WOULD    as EGRESS, but only reg2 = 1: for a port that gets its copy as a promiscuous one anyway, or is stunned
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lab.netns.dvs import Access, Attached, HostSwitch, MacLearning, Trunk, masks

ADMIT, MEASURE, LEARN, LIMIT, DELIVER, OWNER, UNKNOWN, FLOOD, LEARNED, EGRESS, WOULD = range(11)

# API reference, DVSMacLearningPolicy has no ageing field; five minutes is what VMware's documents name.
LEARNED_FOR = 300

Flows = Mapping[str, str]
"""From "table=,priority=,match" to actions."""


def flows(switch: HostSwitch) -> Flows:
    live = [port for port in switch.ports if not port.policy.blocked]
    return {
        f"table={table},priority={priority}{',' if match else ''}{match}": actions
        for table, priority, match, actions in [
            *(flow for port in live for flow in _admit(port)),
            *_measure(switch.mtu),
            *(flow for port in live for flow in _learn(port)),
            *_deliver(live),
            *_owners(live),
            *_unknown(live),
            *(flow for port in live for flow in _egress(port)),
        ]
    }


def changes(before: Flows | None, after: Flows) -> list[str]:
    """The lines of one bundle that turn `before` into `after`.  None: unknown, so all of it goes first."""
    if before is None:
        return ["flow delete", *(_add(match, after[match]) for match in after)]
    gone = [f"flow delete_strict {match}" for match in before if match not in after]
    return gone + [_add(match, after[match]) for match in after if before.get(match) != after[match]]


Flow = tuple[int, int, str, str]


def _admit(port: Attached) -> Iterator[Flow]:
    if port.is_stunned:
        return
    anyone = port.policy.forged_transmits or port.is_uplink
    sender = f"in_port={port.number}" + ("" if anyone else f",dl_src={port.mac}")
    for match, to_reg0 in _frames_of(port):
        yield ADMIT, 10, f"{sender},{match}", f"{to_reg0},resubmit(,{MEASURE})"


def _frames_of(port: Attached) -> Iterator[tuple[str, str]]:
    """What a frame of the port's VIDs looks like on its wire, and how its VID gets into reg0."""
    untagged = "vlan_tci=0x0000/0x1fff"
    match port.policy.vlan:
        case Access(vid):
            yield untagged, f"load:{vid}->NXM_NX_REG0[]"
        case Trunk(ranges):
            for value, mask in _range_masks(ranges):
                tagged = f"vlan_tci={0x1000 | value:#06x}/{0x1000 | mask:#06x}"
                yield tagged, "move:OXM_OF_VLAN_VID[0..11]->NXM_NX_REG0[0..11],pop_vlan"
            if any(low == 0 for low, _ in ranges):
                yield untagged, "load:0->NXM_NX_REG0[]"


def _measure(mtu: int) -> Iterator[Flow]:
    # The tag is off by now: 14 bytes of header, then what the MTU counts.
    yield MEASURE, 0, "", f"check_pkt_larger({mtu + 14})->NXM_NX_REG3[0],resubmit(,{LEARN})"
    yield LEARN, 100, "reg3=1", "drop"
    yield LEARN, 0, "", f"resubmit(,{DELIVER})"
    yield LIMIT, 0, "reg4=1", f"resubmit(,{DELIVER})"


def _learn(port: Attached) -> Iterator[Flow]:
    match port.policy.mac_learning:
        # A promiscuous port hears everything anyway.
        case MacLearning(limit=limit, drop_over_limit=drop) if not port.policy.promiscuous:
            learned = (
                f"table={LEARNED},priority=1,cookie={port.number},hard_timeout={LEARNED_FOR},limit={limit}"
                f",result_dst=NXM_NX_REG4[0],delete_learned,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]"
                f",NXM_NX_REG0[0..11],load:{port.number}->NXM_NX_REG1[]"
            )
            then = LIMIT if drop else DELIVER
            yield LEARN, 10, f"in_port={port.number}", f"learn({learned}),resubmit(,{then})"


def _deliver(live: Iterable[Attached]) -> Iterator[Flow]:
    to_all = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
    yield DELIVER, 10, to_all, _to(EGRESS, live)
    curious = [port for port in live if port.policy.promiscuous]
    also = f",{_to(EGRESS, curious)}" if curious else ""
    yield DELIVER, 0, "", f"resubmit(,{OWNER}),resubmit(,{UNKNOWN}){also}"


def _owners(live: Iterable[Attached]) -> Iterator[Flow]:
    owners: dict[str, list[Attached]] = {}
    for port in live:
        if not port.is_uplink:
            owners.setdefault(port.mac, []).append(port)
    for mac, ports in owners.items():
        heard = [_to(WOULD if _only_would(port) else EGRESS, [port]) for port in ports]
        yield OWNER, 10, f"dl_dst={mac}", ",".join(heard)


def _unknown(live: Iterable[Attached]) -> Iterator[Flow]:
    learned = f"load:0->NXM_NX_REG1[],resubmit(,{LEARNED}),resubmit(,{EGRESS})"
    yield UNKNOWN, 0, "reg2=0", f"{learned},resubmit(,{FLOOD})"
    yield FLOOD, 0, "reg2=0", _to(EGRESS, [port for port in live if _takes_unknown(port)])


def _takes_unknown(port: Attached) -> bool:
    learning = port.policy.mac_learning
    floods = learning is not None and learning.unicast_flooding and not port.policy.promiscuous
    return floods or port.is_uplink


def _egress(port: Attached) -> Iterator[Flow]:
    mark = "load:1->NXM_NX_REG2[]"
    untagged = f"output:{port.number}"
    tagged = f"clone(push_vlan:0x8100,move:NXM_NX_REG0[0..11]->OXM_OF_VLAN_VID[0..11],output:{port.number})"
    match port.policy.vlan:
        case Access(vid):
            ways = [(20, f"reg0={vid}", untagged)]
        case Trunk(ranges):
            ways = [(10, f"reg0={value:#x}/{mask:#x}", tagged) for value, mask in _range_masks(ranges)]
            if any(low == 0 for low, _ in ranges):
                ways.append((20, "reg0=0", untagged))
    for priority, match_vid, out in ways:
        if not port.is_stunned:
            yield EGRESS, priority, f"reg1={port.number},{match_vid}", f"{mark},{out}"
        if _only_would(port):
            yield WOULD, priority, f"reg1={port.number},{match_vid}", mark


def _only_would(port: Attached) -> bool:
    return port.policy.promiscuous or port.is_stunned


def _range_masks(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for low, high in ranges:
        # 0 stands for untagged frames, and 4095 is no VID on any wire.
        yield from masks(max(low, 1), min(high, 4094))


def _to(table: int, ports: Iterable[Attached]) -> str:
    sent = [f"load:{port.number}->NXM_NX_REG1[],resubmit(,{table})" for port in ports]
    return ",".join(sent) or "drop"


def _add(match: str, actions: str) -> str:
    return f"flow add {match},actions={actions}"
