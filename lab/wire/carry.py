"""Carries a frame from a VM's NIC to everyone who hears it: VM -> switch -> NVE -> underlay -> NVE -> switch -> VM.

Law: nothing here knows which network anyone is on; who hears what follows from tags, flows and bindings alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from isthmus.model.intent import Peer
from isthmus.model.names import HostId, NicId, VmId
from isthmus.model.tags import Vid
from lab.wire.frames import Exit, Frame, Heard, ToHost, ToVtep, Trail
from lab.wire.nve import WireNve
from lab.wire.switching import UNTAGGED, SwitchId, SwitchPort, has_uplink_for, hearers, port_of, ports_of, switch_of
from lab.wire.vcenter import VCenter

MAX_HOPS = 24
"""More switches and tunnels than any frame may cross: beyond is a loop."""


class FrameLoop(AssertionError):
    """A frame goes round and round."""


@dataclass(frozen=True, slots=True)
class _OnSwitch:
    switch: SwitchId
    segment: int
    frame: Frame
    source: NicId | None
    trail: Trail


class Wires:
    """Everything a frame can meet."""

    def __init__(
        self,
        vcenter: VCenter,
        trunks: Mapping[NicId, WireNve],
        leaves: Mapping[HostId, WireNve],
        nves: Iterable[WireNve],
        peers: Callable[[], Iterable[tuple[int, Peer]]],
    ) -> None:
        self._vcenter = vcenter
        self._trunks = trunks
        self._leaves = leaves
        self._by_vtep = {nve.vtep: nve for nve in nves}
        self._peers = peers

    def send(self, nic: NicId, frame: Frame) -> list[Heard]:
        """A NIC sends a frame; who hears it."""
        vm = self._vcenter.vms[nic.vm]
        sender = self._vcenter.nic(nic)
        switch = switch_of(self._vcenter, vm, sender)
        if switch is None or not vm.powered_on or not sender.connected:
            return []
        segment = port_of(self._vcenter, vm, sender).segment_of(frame)
        if segment is None:
            return []
        return self._carry(deque([_OnSwitch(switch, segment, frame, nic, Trail())]))

    def send_from_vtep(self, vtep: str, vni: int, frame: Frame) -> list[Heard]:
        """A member elsewhere sends a frame to every VTEP; who hears it."""
        heard: list[Heard] = []
        for nve in self._by_vtep.values():
            queue: deque[_OnSwitch] = deque()
            self._leave(nve, nve.from_underlay(vni, vtep, frame), Trail().on_underlay(vni), queue, heard)
            heard += self._carry(queue)
        return heard

    def _carry(self, queue: deque[_OnSwitch]) -> list[Heard]:
        heard: list[Heard] = []
        while queue:
            at = queue.popleft()
            if at.trail.hops > MAX_HOPS:
                raise FrameLoop(f"{at.frame} has worn VIDs {at.trail.vids} and VNIs {at.trail.vnis}")
            trail = at.trail.on_switch(at.segment)
            for port in hearers(list(ports_of(self._vcenter, at.switch)), at.segment, at.frame, at.source):
                self._deliver(port, at, trail, queue, heard)
            if at.source is not None and has_uplink_for(self._vcenter, at.switch, at.segment):
                self._up(at, trail, queue, heard)
        return heard

    def _deliver(
        self, port: SwitchPort, at: _OnSwitch, trail: Trail, queue: deque[_OnSwitch], heard: list[Heard]
    ) -> None:
        frame = port.as_delivered(_worn(at.frame, at.segment), at.segment)
        nve = self._trunks.get(port.nic)
        if nve is None:
            heard.append(Heard(port.nic, frame, trail.vids, trail.vnis))
        else:
            self._leave(nve, nve.from_host(at.switch.host, frame), trail, queue, heard)

    def _up(self, at: _OnSwitch, trail: Trail, queue: deque[_OnSwitch], heard: list[Heard]) -> None:
        """Out of the uplinks: to the host's leaf, or, where there is none, to every other host of the switch."""
        leaf = self._leaves.get(at.switch.host)
        if leaf is not None:
            frame = _worn(at.frame, at.segment)
            self._leave(leaf, leaf.from_host(at.switch.host, frame), trail, queue, heard)
        elif at.switch.dvs is not None:
            for host in sorted(self._vcenter.switches[at.switch.dvs].hosts - {at.switch.host}):
                queue.append(_OnSwitch(replace(at.switch, host=host), at.segment, at.frame, None, trail))

    def _leave(
        self, nve: WireNve, exits: Iterable[Exit], trail: Trail, queue: deque[_OnSwitch], heard: list[Heard]
    ) -> None:
        for way in exits:
            match way:
                case ToHost(host, frame):
                    queue.extend(self._down(nve, host, frame, trail))
                case ToVtep(vtep, vni, frame):
                    onward = trail.on_underlay(vni)
                    heard.extend(self._heard_elsewhere(vtep, vni, frame, onward))
                    remote = self._by_vtep.get(vtep)
                    if remote is not None:
                        self._leave(remote, remote.from_underlay(vni, nve.vtep, frame), onward, queue, heard)

    def _down(self, nve: WireNve, host: HostId, frame: Frame, trail: Trail) -> Iterable[_OnSwitch]:
        """From an NVE onto the switches of a host: by its trunk NIC there, or by the uplinks if it is a leaf."""
        if self._leaves.get(host) is nve:
            for dvs in self._vcenter.switches.values():
                switch = SwitchId(host, dvs.name, dvs.id)
                if host in dvs.hosts and has_uplink_for(self._vcenter, switch, frame.vid or UNTAGGED):
                    yield _OnSwitch(switch, frame.vid or UNTAGGED, frame, None, trail)
            return
        for nic, owner in self._trunks.items():
            vm = self._vcenter.vms[nic.vm]
            trunk = self._vcenter.nic(nic)
            trunk_switch = switch_of(self._vcenter, vm, trunk)
            if owner is nve and vm.host == host and vm.powered_on and trunk_switch is not None:
                segment = port_of(self._vcenter, vm, trunk).segment_of(frame)
                if segment is not None:
                    yield _OnSwitch(trunk_switch, segment, frame, nic, trail)

    def _heard_elsewhere(self, vtep: str, vni: int, frame: Frame, trail: Trail) -> Iterable[Heard]:
        for at, peer in self._peers():
            if peer.vtep == vtep and at == vni and peer.mac is not None and (frame.is_group or frame.dst == peer.mac):
                yield Heard(peer_nic(peer), frame, trail.vids, trail.vnis)


def peer_nic(peer: Peer) -> NicId:
    """The name by which a member elsewhere is known as a hearer."""
    return NicId(VmId(f"peer {peer.network} {peer.vtep} {peer.mac}"), 0)


def _worn(frame: Frame, segment: int) -> Frame:
    return replace(frame, vid=Vid(segment) if segment != UNTAGGED else None)
