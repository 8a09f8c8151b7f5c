"""A Flow in the words of ovs-ofctl, both ways, without loss.

The words are those in which `ovs-ofctl -O OpenFlow13 --no-stats --no-names dump-flows` answers (OVS 2.17 to 3.x), so
that a flow loaded and a flow read back are compared as values.

    cookie   63        48 47        32 31              0
             |  0x157a   |  schema   |  VNI, 0: none   |    ours
             |  0x157b   |  schema   |  VNI            |    learnt by the data path: neither read nor removed

Law: parse(render(flow)) == flow.  What was not written by this vocabulary and this schema is read as Raw, so that it
never equals anything wanted: it is replaced if its match is wanted, and can be removed exactly if not.

A table that LearnVtep fills pre-empts another when frames Goto it and its own priority-0 flow goes on with Goto: a
frame that meets a learnt flow ends there, since a learnt flow has no goto.  (Resubmit to it and then Goto would send
the frame twice: a resubmit comes back, whether it hit or not.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from isthmus.model.flow import (
    ETH_ARP,
    ETH_RARP,
    MULTICAST,
    ArpReply,
    Bridge,
    Flow,
    FlowAction,
    FlowKey,
    FlowPort,
    Goto,
    LearnVtep,
    Match,
    Output,
    PopVid,
    PushVid,
    Raw,
    Resubmit,
    SetVid,
    Tunnel,
)
from isthmus.model.names import Mac
from isthmus.model.tags import Vid, Vni

MARK, LEARNT_MARK, SCHEMA = 0x157A, 0x157B, 1
LEARNT_PRIORITY = 100
PORT_NUMBERS = {FlowPort.TRUNK: 1, FlowPort.PATCH: 2, FlowPort.VXLAN: 3}
"""The ports' OpenFlow numbers, which OVSDB is asked for (`ofport_request`): the same after every restart."""
PORTS = {Bridge.INT: {FlowPort.TRUNK, FlowPort.PATCH}, Bridge.TUN: {FlowPort.PATCH, FlowPort.VXLAN}}
TOWARDS_VMS = {Bridge.INT: FlowPort.TRUNK, Bridge.TUN: FlowPort.PATCH}

_VID_PRESENT = 0x1000  # OpenFlow 1.3, 7.2.3.7: OFPVID_PRESENT is part of the vlan_vid field
_DEFAULT_PRIORITY = 0x8000
_NAMES = {number: port for port, number in PORT_NUMBERS.items()}
_ETH_WORDS = {ETH_ARP: "arp", ETH_RARP: "rarp", 0x0800: "ip", 0x86DD: "ipv6", 0x8847: "mpls", 0x8848: "mplsm"}
_ETH_TYPES = {word: eth_type for eth_type, word in _ETH_WORDS.items()}
_MAC = "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"


def render(flow: Flow) -> str:
    """The flow as a line for `add-flows`.  Raises ValueError for what no bridge of ours can hold."""
    return f"cookie={_cookie(MARK, flow.vni)},{_place(flow.key)} actions={_actions(flow)}"


def render_key(key: FlowKey) -> str:
    """What names exactly this flow to `delete_strict`."""
    return _place(key)


def parse(bridge: Bridge, line: str) -> Flow | None:
    """A line of `dump-flows` as a Flow; None for a flow that the data path learnt."""
    head, _, actions = line.strip().partition(" actions=")
    fields = [word.partition("=") for word in re.split(r"[,\s]+", head) if word]
    found = {name: value for name, _, value in fields}
    cookie = int(found.pop("cookie", "0"), 0)
    table, priority = int(found.pop("table", "0")), int(found.pop("priority", _DEFAULT_PRIORITY))
    if cookie >> 48 == LEARNT_MARK:
        return None
    settings = {name: found.pop(name) for name in list(found) if name in _NOT_A_MATCH}
    match, vni = _match_read(bridge, found), cookie & 0xFFFFFFFF
    if settings or cookie >> 32 != MARK << 16 | SCHEMA or vni >= 2**24:
        return Flow(bridge, table, priority, match, (Raw(line.strip()),))
    return Flow(bridge, table, priority, match, _actions_read(bridge, actions), Vni(vni) if vni else None)


_NOT_A_MATCH = {
    "duration", "n_packets", "n_bytes", "idle_age", "hard_age", "idle_timeout", "hard_timeout", "importance",
    "send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts",
}  # fmt: skip


def _cookie(mark: int, vni: Vni | None) -> str:
    return f"0x{mark << 48 | SCHEMA << 32 | (vni or 0):x}"


def _place(key: FlowKey) -> str:
    match = ",".join(_match_words(key.bridge, key.match))
    return f"table={key.table},priority={key.priority}" + (f",{match}" if match else "")


def _match_words(bridge: Bridge, match: Match) -> Iterator[str]:
    if match.raw:
        yield match.raw
    if match.eth_type is not None:
        yield _ETH_WORDS.get(match.eth_type, f"dl_type=0x{match.eth_type:04x}")
    if match.in_port is not None:
        yield f"in_port={_number(bridge, match.in_port)}"
    if match.vid is not None:
        yield f"dl_vlan={int(match.vid)}"
    if match.tun_id is not None:
        yield f"tun_id=0x{int(match.tun_id):x}"
    if match.src is not None:
        yield f"dl_src={match.src}"
    if match.dst is not None:
        yield f"dl_dst={match.dst}"
    if match.arp_target is not None:
        yield f"arp_tpa={match.arp_target}"
    if match.arp_op is not None:
        yield f"arp_op={match.arp_op}"


_FIELDS: dict[str, tuple[str, Callable[[Bridge, str], object]]] = {
    "in_port": ("in_port", lambda bridge, text: _port(bridge, text)),
    "dl_vlan": ("vid", lambda _, text: Vid(int(text))),
    "tun_id": ("tun_id", lambda _, text: Vni(int(text, 0))),
    "dl_src": ("src", lambda _, text: _only(text, re.fullmatch(_MAC, text))),
    "dl_dst": ("dst", lambda _, text: _only(text, text == MULTICAST or re.fullmatch(_MAC, text))),
    "dl_type": ("eth_type", lambda _, text: int(text, 0)),
    "arp_tpa": ("arp_target", lambda _, text: _only(text, "/" not in text)),
    "arp_op": ("arp_op", lambda _, text: int(text)),
}


def _match_read(bridge: Bridge, found: dict[str, str]) -> Match:
    said: dict[str, object] = {}
    try:
        for name, value in found.items():
            if name in _ETH_TYPES and not value:
                said["eth_type"] = _ETH_TYPES[name]
            else:
                field, read = _FIELDS[name]
                said[field] = read(bridge, value)
        return Match(**said)  # type: ignore[arg-type]
    except (KeyError, ValueError):  # a field, a value or a mask we never write
        return Match(raw=",".join(f"{name}={value}" if value else name for name, value in found.items()))


def _only(text: str, accepted: object) -> str:
    if not accepted:
        raise ValueError(f"{text} is not what this vocabulary writes")
    return text


def _number(bridge: Bridge, port: FlowPort) -> int:
    if port not in PORTS[bridge]:
        raise ValueError(f"{bridge.value} has no {port.value} port")
    return PORT_NUMBERS[port]


def _port(bridge: Bridge, number: str) -> FlowPort:
    port = _NAMES[int(number)]
    _number(bridge, port)
    return port


def _actions(flow: Flow) -> str:
    words: list[str] = []
    vni: Vni | None = None
    for action in flow.actions:
        match action:
            # A flow is a message of 64 KiB at most: a VNI that is set already is not said for each of 1,300 VTEPs.
            case Tunnel(same, vtep) if same == vni:
                words.append(f"set_field:{vtep}->tun_dst")
            case _:
                words.append(_action(flow.bridge, action))
        vni = _vni_after(action, vni)
    return ",".join(words) or "drop"


def _vni_after(action: FlowAction, vni: Vni | None) -> Vni | None:
    """The VNI that is certainly set on the frame: another table may have changed it."""
    match action:
        case Tunnel(set_now):
            return set_now
        case Resubmit():
            return None
        case _:
            return vni


def _action(bridge: Bridge, action: FlowAction) -> str:
    match action:
        case Goto(table):
            return f"goto_table:{table}"
        case Resubmit(table):
            return f"resubmit(,{table})"
        case SetVid(vid):
            return f"set_field:{vid | _VID_PRESENT}->vlan_vid"
        case PushVid(vid):
            return f"push_vlan:0x8100,set_field:{vid | _VID_PRESENT}->vlan_vid"
        case PopVid():
            return "pop_vlan"
        case Tunnel(vni, vtep):
            return f"set_field:0x{int(vni):x}->tun_id,set_field:{vtep}->tun_dst"
        case Output(port, True):
            if port is not TOWARDS_VMS[bridge]:
                raise ValueError(f"{bridge.value} sends nothing back to its {port.value} port")
            return "IN_PORT"
        case Output(port):
            return f"output:{_number(bridge, port)}"
        case ArpReply(mac, address):
            return (
                f"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{mac}->eth_src,set_field:2->arp_op,"
                "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
                f"set_field:{mac}->arp_sha,set_field:{address}->arp_spa,IN_PORT"
            )
        case LearnVtep(table, vid, vni, seconds):
            # The frame that teaches came in by the tunnel port, so its in_port is where the learnt flow sends.
            return (
                f"learn(table={table},hard_timeout={seconds},priority={LEARNT_PRIORITY},"
                f"cookie={_cookie(LEARNT_MARK, vni)},NXM_OF_VLAN_TCI[0..12]=0x{vid | _VID_PRESENT:x},"
                f"NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],load:0x{int(vni):x}->NXM_NX_TUN_ID[],"
                "load:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],output:NXM_OF_IN_PORT[])"
            )
        case Raw():
            raise ValueError(f"a flow read back and not understood is never written: {action.text}")


_PHRASES: dict[str, Callable[[Bridge, re.Match[str]], FlowAction]] = {
    r"goto_table:(\d+)": lambda _, said: Goto(int(said[1])),
    r"resubmit\(,(\d+)\)": lambda _, said: Resubmit(int(said[1])),
    r"set_field:(\d+)->vlan_vid": lambda _, said: SetVid(_vid(said[1])),
    r"push_vlan:0x8100,set_field:(\d+)->vlan_vid": lambda _, said: PushVid(_vid(said[1])),
    r"pop_vlan": lambda _, said: PopVid(),
    r"set_field:(0x[0-9a-f]+)->tun_id,set_field:([0-9.]+)->tun_dst": (
        lambda _, said: Tunnel(Vni(int(said[1], 0)), said[2])
    ),
    r"IN_PORT": lambda bridge, said: Output(TOWARDS_VMS[bridge], back=True),
    r"output:(\d+)": lambda bridge, said: Output(_port(bridge, said[1])),
    rf"move:NXM_OF_ETH_SRC\[\]->NXM_OF_ETH_DST\[\],set_field:({_MAC})->eth_src,set_field:2->arp_op,"
    r"move:NXM_NX_ARP_SHA\[\]->NXM_NX_ARP_THA\[\],move:NXM_OF_ARP_SPA\[\]->NXM_OF_ARP_TPA\[\],"
    r"set_field:\1->arp_sha,set_field:([0-9.]+)->arp_spa,IN_PORT": lambda _, said: ArpReply(Mac(said[1]), said[2]),
    rf"learn\(table=(\d+),hard_timeout=(\d+),priority={LEARNT_PRIORITY},cookie=(0x[0-9a-f]+),"
    r"NXM_OF_VLAN_TCI\[0\.\.12\]=(0x[0-9a-f]+),NXM_OF_ETH_DST\[\]=NXM_OF_ETH_SRC\[\],load:0->NXM_OF_VLAN_TCI\[\],"
    r"load:(0x[0-9a-f]+)->NXM_NX_TUN_ID\[\],load:NXM_NX_TUN_IPV4_SRC\[\]->NXM_NX_TUN_IPV4_DST\[\],"
    r"output:NXM_OF_IN_PORT\[\]\)": lambda _, said: _learn(said),
}
_READ = [(re.compile(rf"(?:{phrase})(?:,|$)"), build) for phrase, build in _PHRASES.items()]


_SAME_VNI = re.compile(r"set_field:([0-9.]+)->tun_dst(?:,|$)")


def _actions_read(bridge: Bridge, text: str) -> tuple[FlowAction, ...]:
    if text == "drop":
        return ()
    actions: list[FlowAction] = []
    at, vni = 0, None
    try:
        while at < len(text):
            if vni is not None and (said := _SAME_VNI.match(text, at)):
                action: FlowAction = Tunnel(vni, said[1])
            else:
                said, build = next((said, build) for phrase, build in _READ if (said := phrase.match(text, at)))
                action = build(bridge, said)
            actions.append(action)
            at, vni = said.end(), _vni_after(action, vni)
    except (StopIteration, KeyError, ValueError):
        return (Raw(text),)
    return tuple(actions)


def _vid(text: str) -> Vid:
    return Vid(int(text, 0) - _VID_PRESENT)


def _learn(said: re.Match[str]) -> LearnVtep:
    vni = Vni(int(said[5], 0))
    if said[3] != _cookie(LEARNT_MARK, vni):
        raise ValueError("a cookie of another schema")
    return LearnVtep(int(said[1]), _vid(said[4]), vni, int(said[2]))
