"""A leaf switch in memory: it bridges the VIDs bound to a VNI on its host-facing ports, and tunnels to other VTEPs.

Law: what came from a VTEP goes to no other (split horizon); a MAC with a remote entry goes there and nowhere else, even
if the entry is stale.  A network that is there at all reads as one with a flood list, if an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from isthmus.model.change import Change, Forget, Learn
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import HostId, LeafId, Mac
from isthmus.model.nve import LeafBinding, LeafFlood, LeafKey, LeafUnicast, NveEntry, NveKey
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import Vid, VidSet, Vni
from lab.wire.clock import VirtualClock
from lab.wire.frames import Exit, Frame, ToHost, ToVtep
from lab.wire.nve import WireNve, tagged


class WireLeaf(WireNve):
    """One VTEP with the hosts below it."""

    def __init__(self, leaf: LeafId, vtep: str, hosts: Iterable[HostId], clock: VirtualClock) -> None:
        super().__init__(TargetId("leaf", leaf), vtep, hosts, clock)
        self.ready = True
        self.foreign: dict[Vid, Vni] = {}
        """Bindings of somebody else's, by VID: seen, bridged, and not ours to change."""
        self.unfit: set[Vid] = set()
        """VIDs that it would not take now: nobody wears them there."""
        self.fellows: Sequence[WireLeaf] | None = None
        """The leaves that tell it by BGP EVPN who has a network; None: it is told by us.  Such bear no marks."""

    def observe(self) -> NveMirror:
        """Our entries, and which VIDs are somebody else's."""
        mirror = super().observe()
        if self.fellows is not None:
            foreign, unfit = VidSet.of(self.foreign), VidSet.of(self.unfit)
            return replace(mirror, foreign_vids=foreign, unfit=unfit, learns=True, marked=False)
        networks = {e.vni for e in mirror.entries.values() if isinstance(e, LeafBinding | LeafFlood | LeafUnicast)}
        empty: dict[NveKey, NveEntry] = {
            flood.key: flood for flood in (LeafFlood(vni, frozenset()) for vni in networks)
        }
        return replace(mirror, entries={**empty, **mirror.entries}, foreign_vids=VidSet.of(self.foreign))

    def restart(self) -> None:
        """A replaced leaf: its configuration is gone, its frame is not ours to build."""
        super().restart()
        self.ready = True

    def _make(self, change: Change) -> None:
        """As any NVE does it; but what is somebody else's is in the way, and a VID may mean another VNI by now."""
        match change.action:
            case Learn(entries):
                for entry in entries:
                    self._refuse_foreign(entry)
                    self._replace_nothing_unmarked(entry)
                super()._make(change)
            case Forget(entries):
                for entry in entries:
                    held = self.entries.get(entry.key)
                    if not isinstance(entry, LeafBinding) or (isinstance(held, LeafBinding) and held.vni == entry.vni):
                        self.entries.pop(entry.key, None)
            case _:
                super()._make(change)

    def _replace_nothing_unmarked(self, entry: NveEntry) -> None:
        held = self.entries.get(entry.key) if self.fellows is not None else None
        if held is not None and held.vni != entry.vni:
            raise Retry(f"{entry.key} of {self.id} has VNI {held.vni} by now")

    def _refuse_foreign(self, entry: NveEntry) -> None:
        if isinstance(entry, LeafBinding) and entry.vid in self.foreign:
            raise Refused(f"VID {int(entry.vid)} of {self.id} is bound to something that is not ours")
        if isinstance(entry, LeafBinding | LeafFlood | LeafUnicast) and entry.vni in self.foreign.values():
            raise Refused(f"VNI {int(entry.vni)} of {self.id} is taken by something that is not ours")
        if isinstance(entry, LeafBinding) and entry.vid in self.unfit and entry.key not in self.entries:
            raise Refused(f"VID {int(entry.vid)} of {self.id} was not taken a while ago")

    def from_host(self, host: HostId, frame: Frame) -> Sequence[Exit]:
        """In from a host-facing port."""
        vni = None if frame.vid is None else self._vni_of(frame.vid)
        if vni is None:
            return []
        inner = tagged(frame, None)
        unicast = None if frame.is_group else self.entries.get(LeafUnicast(vni, Mac(frame.dst), "").key)
        if isinstance(unicast, LeafUnicast):
            return [ToVtep(unicast.vtep, vni, inner)]
        return [*self._locally(vni, frame, host), *self._flooded(vni, inner)]

    def from_underlay(self, vni: int, vtep: str, frame: Frame) -> Sequence[Exit]:
        """In from another VTEP."""
        return [ToHost(host, tagged(frame, vid)) for vid in self._vids_of(vni) for host in self.hosts]

    def _locally(self, vni: Vni, frame: Frame, source: HostId) -> Iterator[Exit]:
        for vid in self._vids_of(vni):
            for host in self.hosts:
                if (host, vid) != (source, frame.vid):
                    yield ToHost(host, tagged(frame, vid))

    def _flooded(self, vni: Vni, frame: Frame) -> Iterator[Exit]:
        if self.fellows is not None:
            yield from (
                ToVtep(leaf.vtep, vni, frame) for leaf in self.fellows if leaf is not self and leaf._vids_of(vni)
            )
            return
        flood = self.entries.get(LeafFlood(vni, frozenset()).key)
        if isinstance(flood, LeafFlood):
            for vtep in sorted(flood.vteps):
                yield ToVtep(vtep, vni, frame)

    def _vni_of(self, vid: Vid) -> Vni | None:
        binding = self.entries.get(LeafKey("binding", (str(int(vid)),)))
        return binding.vni if isinstance(binding, LeafBinding) else self.foreign.get(vid)

    def _vids_of(self, vni: int) -> list[Vid]:
        ours = [e.vid for e in self.entries.values() if isinstance(e, LeafBinding) and e.vni == vni]
        return sorted([*ours, *(vid for vid, at in self.foreign.items() if at == vni)])
