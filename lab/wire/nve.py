"""What every in-memory external NVE has in common: it holds entries by key, learns, forgets, fails and restarts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import HostId
from isthmus.model.nve import NveEntry, NveKey
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import Vid
from lab.wire.clock import VirtualClock
from lab.wire.faults import Faults
from lab.wire.frames import Exit, Frame


class WireNve:
    """An external NVE as a target; how it carries frames is its kind's own."""

    def __init__(self, target: TargetId, vtep: str, hosts: Iterable[HostId], clock: VirtualClock) -> None:
        self.id = target
        self.vtep = vtep
        self.hosts = tuple(hosts)
        self.clock = clock
        self.faults = Faults(str(target), clock)
        self.entries: dict[NveKey, NveEntry] = {}
        self.ready = False
        self.writes = 0

    def observe(self) -> NveMirror:
        """All it holds of ours."""
        with self.faults.call("observe"):
            return NveMirror(self.id, dict(self.entries), self.ready)

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """Make them one by one."""
        return [self._applied(change) for change in changes]

    def _applied(self, change: Change) -> Result:
        kind = type(change.action).__name__
        try:
            with self.faults.call(kind):
                self._make(change)
                self.writes += 1
        except (Retry, Refused) as fault:
            return Result.failed(change, fault)
        return Result(change, Outcome.DONE)

    def _make(self, change: Change) -> None:
        match change.action:
            case BuildNve():
                self.ready = True
            case Learn(entries):
                if not self.ready:
                    raise Retry(f"{self.id} is not built yet")
                self.entries |= {entry.key: entry for entry in entries}
            case Forget(entries):
                for entry in entries:
                    self.entries.pop(entry.key, None)
            case _:
                raise AssertionError(f"not for an NVE: {change.action}")

    def restart(self) -> None:
        """A reboot that loses everything."""
        self.entries.clear()
        self.ready = False

    def from_host(self, host: HostId, frame: Frame) -> Sequence[Exit]:
        """What becomes of a frame that a host's switch hands over."""
        raise NotImplementedError

    def from_underlay(self, vni: int, vtep: str, frame: Frame) -> Sequence[Exit]:
        """What becomes of a frame that comes in a VNI from another VTEP."""
        raise NotImplementedError


def tagged(frame: Frame, vid: Vid | None) -> Frame:
    """The frame with this tag, or without."""
    return replace(frame, vid=vid)
