"""A per-port NVE in memory: a vRouter agent, or an appliance that runs the stock Neutron OVS agent.

Law: a trunk VID is a port, and the port's own MAC is the only source it accepts; where other ports are is the SDN's
own business, so all per-port NVEs of a world share one directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from isthmus.model.change import Change, Forget, Learn
from isthmus.model.faults import Retry
from isthmus.model.names import HostId
from isthmus.model.nve import NveEntry, Plug, Workload, WorkloadKey
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import Vid
from lab.wire.clock import VirtualClock
from lab.wire.frames import Exit, Frame, ToHost, ToVtep
from lab.wire.nve import WireNve, tagged


class Directory:
    """Which per-port NVE has which ports: the SDN's control plane, always up to date."""

    def __init__(self) -> None:
        self.nves: list[WireVrouter] = []
        self.peers: Callable[[], Iterable[tuple[int, str, str | None]]] = tuple
        """Asked for members elsewhere: VNI, VTEP, MAC."""
        self.workloads: dict[WorkloadKey, tuple[Workload, HostId | None]] = {}
        """What is known of ports, and the host that keeps it; None: nobody does, and it goes with the last plug."""

    def tell(self, workload: Workload, host: HostId) -> None:
        """A host says what it is, whoever said it before."""
        self.workloads[workload.key] = workload, host

    def drop(self, workload: Workload, host: HostId) -> None:
        """A host gives up what it keeps."""
        if self.workloads.get(workload.key, (workload, None))[1] == host:
            self.workloads[workload.key] = workload, None

    def sweep(self) -> None:
        """What nobody keeps is gone as soon as it is plugged in nowhere."""
        plugged = {key for nve in self.nves for key in nve.entries}
        gone = [key for key, (_, host) in self.workloads.items() if host is None and key.port not in plugged]
        for key in gone:
            del self.workloads[key]

    def others(self, asking: WireVrouter, vni: int, mac: str | None) -> Iterator[str]:
        """The VTEPs where a MAC of a network is (None: where any member is), the asking one excepted."""
        for nve in self.nves:
            if nve is not asking and any(mac in (None, plug.mac) for plug in nve.plugs(vni)):
                yield nve.vtep
        yield from sorted({vtep for at, vtep, peer in self.peers() if at == vni and mac in (None, peer)})


class WireVrouter(WireNve):
    """One host's vRouter, or stock OVS agent: it holds plugs."""

    def __init__(
        self, host: HostId, vtep: str, clock: VirtualClock, directory: Directory, kind: str = "vrouter"
    ) -> None:
        super().__init__(TargetId(kind, host), vtep, (host,), clock)
        self.ready = True
        self.agent_away = False
        """The agent beside the plugs wires and filters none, and those it has go on."""
        self.directory = directory
        directory.nves.append(self)

    def observe(self) -> NveMirror:
        """Its plugs, and what the SDN was last told of from here."""
        mirror = super().observe()
        entries = dict(mirror.entries)
        entries.update((key, told) for key, (told, host) in self.directory.workloads.items() if host == self.hosts[0])
        return replace(mirror, entries=entries)

    def restart(self) -> None:
        """The agent starts anew: a vRouter reloads its ports from its own files, a stock appliance is empty."""
        if self.id.kind != "vrouter":
            super().restart()

    def _make(self, change: Change) -> None:
        """A port is held when its agent has wired it; the SDN knows of it before, and until it is unplugged."""
        match change.action:
            case Learn(entries):
                plugs, workloads = _parted(entries)
                for workload in workloads:
                    self.directory.tell(workload, self.hosts[0])
                super()._make(replace(change, action=Learn(plugs)))
                self._wire(plugs)
            case Forget(entries):
                plugs, workloads = _parted(entries)
                super()._make(replace(change, action=Forget(plugs)))
                for workload in workloads:
                    self.directory.drop(workload, self.hosts[0])
                self.directory.sweep()
            case _:
                super()._make(change)

    def _wire(self, told: Sequence[Plug]) -> None:
        if self.agent_away and told:
            self.entries |= {plug.key: replace(plug, wired=False) for plug in told}
            raise Retry("the agent has not wired it")

    def plugs(self, vni: int | None = None) -> list[Plug]:
        """The enabled ports, of one network or of all."""
        plugs = (entry for entry in self.entries.values() if isinstance(entry, Plug))
        return [p for p in plugs if p.enabled and p.wired and not p.dead and vni in (None, p.vni)]

    def from_host(self, host: HostId, frame: Frame) -> Sequence[Exit]:
        """In from the trunk: the VID says which port speaks; if two ports share it, either of them."""
        exits: list[Exit] = []
        for speaker in self.plugs():
            if speaker.vid == frame.vid and speaker.mac == frame.src:
                exits += self._switched(speaker, frame)
        return exits

    def from_underlay(self, vni: int, vtep: str, frame: Frame) -> Sequence[Exit]:
        """In from another VTEP."""
        return list(self._to_ports(vni, frame, except_vid=None))

    def _switched(self, speaker: Plug, frame: Frame) -> Iterator[Exit]:
        yield from self._to_ports(speaker.vni, frame, except_vid=speaker.vid)
        here = any(plug.mac == frame.dst for plug in self.plugs(speaker.vni))
        if frame.is_group or not here:
            for vtep in self.directory.others(self, speaker.vni, None if frame.is_group else frame.dst):
                yield ToVtep(vtep, speaker.vni, tagged(frame, None))

    def _to_ports(self, vni: int, frame: Frame, except_vid: Vid | None) -> Iterator[Exit]:
        for plug in self.plugs(vni):
            if plug.vid != except_vid and (frame.is_group or plug.mac == frame.dst):
                yield ToHost(self.hosts[0], tagged(frame, plug.vid))


def _parted(entries: Iterable[NveEntry]) -> tuple[tuple[Plug, ...], list[Workload]]:
    items = tuple(entries)
    plugs = tuple(entry for entry in items if isinstance(entry, Plug))
    return plugs, [entry for entry in items if isinstance(entry, Workload)]
