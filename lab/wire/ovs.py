"""An OVS appliance in memory: it obeys the flows it holds, table by table, as Open vSwitch would.

Law: a frame never leaves by the port it came in on unless told so (OpenFlow IN_PORT); a table without a match drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from isthmus.model.change import Change, Forget
from isthmus.model.flow import (
    ETH_ARP,
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
    Resubmit,
    SetVid,
    Tunnel,
)
from isthmus.model.names import HostId
from isthmus.model.nve import NveEntry, NveKey
from isthmus.model.observed import TargetId
from isthmus.model.tags import Vid, Vni
from lab.wire.clock import VirtualClock
from lab.wire.frames import Exit, Frame, ToHost, ToVtep
from lab.wire.nve import WireNve

LEARNT_PRIORITY = 100
DEPTH = 64
"""Open vSwitch gives up on a packet after this many lookups; so a loop of flows is found, not followed."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """An entry that the data path added by itself: frames in `vid` for `mac` go to `vtep`, until `until`."""

    vid: Vid
    mac: str
    vni: Vni
    vtep: str
    until: float


@dataclass(slots=True)
class _Packet:
    """A frame inside a bridge, with the metadata that OpenFlow keeps beside it."""

    frame: Frame
    bridge: Bridge
    in_port: FlowPort
    tun_id: int | None = None
    tun_src: str = ""
    tunnel: Tunnel | None = None
    lookups: int = 0


class WireOvs(WireNve):
    """br-int and br-tun of one appliance."""

    def __init__(self, host: HostId, vtep: str, clock: VirtualClock, kind: str = "ovs") -> None:
        super().__init__(TargetId(kind, host), vtep, (host,), clock)
        self.learnt: dict[int, dict[tuple[Vid, str], Learnt]] = {}
        self._sorted: dict[tuple[Bridge, int], list[Flow]] = {}
        self._sorted_from: dict[NveKey, NveEntry] = {}

    def restart(self) -> None:
        """ovs-vswitchd starts empty: computed and learnt flows are gone."""
        super().restart()
        self.learnt.clear()

    def _make(self, change: Change) -> None:
        super()._make(change)
        if isinstance(change.action, Forget):
            gone = {entry.vni for entry in change.action.entries if isinstance(entry, Flow) and entry.vni is not None}
            self.learnt = {
                table: {key: learnt for key, learnt in entries.items() if learnt.vni not in gone}
                for table, entries in self.learnt.items()
            }

    def from_host(self, host: HostId, frame: Frame) -> Sequence[Exit]:
        """In from the trunk NIC."""
        return list(self._lookup(_Packet(frame, Bridge.INT, FlowPort.TRUNK), 0)) if self.ready else []

    def from_underlay(self, vni: int, vtep: str, frame: Frame) -> Sequence[Exit]:
        """In from the tunnel port."""
        packet = _Packet(frame, Bridge.TUN, FlowPort.VXLAN, tun_id=vni, tun_src=vtep)
        return list(self._lookup(packet, 0)) if self.ready else []

    def _lookup(self, packet: _Packet, table: int) -> Iterator[Exit]:
        packet.lookups += 1
        if packet.lookups > DEPTH:
            raise AssertionError(f"{self.id}: the flows loop in table {table} for {packet.frame}")
        yield from self._obey(packet, self._actions(packet, table))

    def _actions(self, packet: _Packet, table: int) -> tuple[FlowAction, ...]:
        found: Flow | None = None
        for flow in self._tables().get((packet.bridge, table), ()):
            if _matches(flow.match, packet):
                found = flow
                break
        learnt = self._learnt(packet, table)
        if learnt and (found is None or found.priority < LEARNT_PRIORITY):
            return (PopVid(), Tunnel(learnt.vni, learnt.vtep), Output(FlowPort.VXLAN))
        return found.actions if found else ()

    def _tables(self) -> dict[tuple[Bridge, int], list[Flow]]:
        """The flows of each table, the highest priority first; sorted anew only when they have changed."""
        if self._sorted_from != self.entries:
            self._sorted_from = dict(self.entries)
            self._sorted = {}
            for flow in sorted((f for f in self.entries.values() if isinstance(f, Flow)), key=lambda f: -f.priority):
                self._sorted.setdefault((flow.bridge, flow.table), []).append(flow)
        return self._sorted

    def _learnt(self, packet: _Packet, table: int) -> Learnt | None:
        if packet.bridge is not Bridge.TUN or packet.frame.vid is None:
            return None
        entry = self.learnt.get(table, {}).get((packet.frame.vid, packet.frame.dst))
        return entry if entry and entry.until > self.clock.now else None

    def _obey(self, packet: _Packet, actions: Sequence[FlowAction]) -> Iterator[Exit]:
        for action in actions:
            match action:
                case Goto(table) | Resubmit(table):
                    yield from self._lookup(packet, table)
                case SetVid(vid):
                    assert packet.frame.vid is not None, "only a tagged frame can be retagged"
                    packet.frame = replace(packet.frame, vid=vid)
                case PushVid(vid):
                    assert packet.frame.vid is None, "the frame wears a tag already"
                    packet.frame = replace(packet.frame, vid=vid)
                case PopVid():
                    packet.frame = replace(packet.frame, vid=None)
                case Tunnel():
                    packet.tunnel = action
                case ArpReply(mac, address):
                    arp = packet.frame.arp
                    assert arp is not None, "an answer needs a question"
                    answer = replace(packet.frame, src=mac, dst=packet.frame.src, arp=(2, address, arp[1]))
                    yield from self._output(replace_frame(packet, answer), Output(packet.in_port, back=True))
                case LearnVtep(table, vid, vni, seconds):
                    entry = Learnt(vid, packet.frame.src, vni, packet.tun_src, self.clock.now + seconds)
                    self.learnt.setdefault(table, {})[vid, packet.frame.src] = entry
                case Output():
                    yield from self._output(packet, action)

    def _output(self, packet: _Packet, output: Output) -> Iterator[Exit]:
        if output.port is packet.in_port and not output.back:
            return
        match output.port:
            case FlowPort.TRUNK:
                yield ToHost(self.hosts[0], packet.frame)
            case FlowPort.PATCH:
                other = Bridge.TUN if packet.bridge is Bridge.INT else Bridge.INT
                through = _Packet(packet.frame, other, FlowPort.PATCH, lookups=packet.lookups)
                yield from self._lookup(through, 0)
            case FlowPort.VXLAN:
                assert packet.tunnel is not None, "a tunnel output without VNI and VTEP"
                yield ToVtep(packet.tunnel.vtep, packet.tunnel.vni, packet.frame)


def replace_frame(packet: _Packet, frame: Frame) -> _Packet:
    """The same packet with another frame."""
    return replace(packet, frame=frame)


def _matches(match: Match, packet: _Packet) -> bool:
    frame = packet.frame
    operation, _, target = frame.arp or (None, None, None)
    return not match.raw and (
        match.in_port in (None, packet.in_port)
        and match.vid in (None, frame.vid)
        and match.tun_id in (None, packet.tun_id)
        and match.src in (None, frame.src)
        and _matches_destination(match.dst, frame)
        and match.eth_type in (None, frame.eth_type)
        and (match.arp_op is None or (frame.eth_type == ETH_ARP and match.arp_op == operation))
        and (match.arp_target is None or (frame.eth_type == ETH_ARP and match.arp_target == target))
        and (match.source is None or _is_from(match.source, frame))
    )


def _is_from(wanted: str, frame: Frame) -> bool:
    """It is within an address or a prefix, whatever protocol says so."""
    said = frame.arp[1] if frame.arp is not None else frame.source
    return bool(said) and ip_address(said) in ip_network(wanted)


def _matches_destination(wanted: str | None, frame: Frame) -> bool:
    return wanted is None or (frame.is_group if wanted == MULTICAST else wanted == frame.dst)
