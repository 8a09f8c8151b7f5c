"""The actions of a Flow in the words of ovs-ofctl, both ways; actions these cannot say are kept as Raw."""

from __future__ import annotations

import re
from collections.abc import Callable

from isthmus.adapters.ovs.numbers import LEARNT_MARK, TOWARDS_VMS, cookie, port_number, port_numbered
from isthmus.model.flow import (
    ArpReply,
    Bridge,
    Flow,
    FlowAction,
    Goto,
    LearnVtep,
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

LEARNT_PRIORITY = 100
_VID_PRESENT = 0x1000  # OpenFlow 1.3, 7.2.3.7: OFPVID_PRESENT is part of the vlan_vid field
_MAC = "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"


def action_words(flow: Flow) -> str:
    """The actions of a flow, joined.  Raises ValueError for what no bridge of ours can do."""
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
            return f"output:{port_number(bridge, port)}"
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
                f"cookie={cookie(LEARNT_MARK, vni)},NXM_OF_VLAN_TCI[0..12]=0x{vid | _VID_PRESENT:x},"
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
    r"output:(\d+)": lambda bridge, said: Output(port_numbered(bridge, said[1])),
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


def actions_of(bridge: Bridge, text: str) -> tuple[FlowAction, ...]:
    """The actions that a switch said."""
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
    if said[3] != cookie(LEARNT_MARK, vni):
        raise ValueError("a cookie of another schema")
    return LearnVtep(int(said[1]), _vid(said[4]), vni, int(said[2]))
