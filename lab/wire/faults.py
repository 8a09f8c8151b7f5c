"""What goes wrong with a far side, on demand: unreachable, slow, a call that fails, or that works and never answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from isthmus.model.faults import Refused, Retry, Unreachable
from lab.wire.clock import VirtualClock

ALWAYS = -1


@dataclass(slots=True)
class Fault:
    """A fault in wait.  `spare` calls pass first (a partial batch); `after_work`: done, but the answer is lost."""

    kind: str
    times: int = 1
    spare: int = 0
    after_work: bool = False
    refused: bool = False
    detail: str = "the call failed"

    def error(self) -> Exception:
        return Refused(self.detail) if self.refused else Retry(self.detail)


@dataclass(slots=True)
class Faults:
    """The faults of one far side, and how long its calls take."""

    name: str
    clock: VirtualClock
    down: bool = False
    latency: dict[str, float] = field(default_factory=dict)
    """Seconds per kind of call ("observe", "read", or the name of an action class); "" is for all others."""
    waiting: list[Fault] = field(default_factory=list)
    calls: int = 0
    unanswered: int = 0
    """How many calls found it unreachable."""

    def fail(
        self,
        kind: str,
        *,
        times: int = 1,
        spare: int = 0,
        after_work: bool = False,
        refused: bool = False,
        detail: str = "the call failed",
    ) -> None:
        """Let the next `times` calls of `kind` fail ("*" is any kind, ALWAYS is for ever)."""
        self.waiting.append(Fault(kind, times, spare, after_work, refused, f"{self.name}: {kind}: {detail}"))

    def heal(self) -> None:
        """Reachable again, and no fault in wait."""
        self.down = False
        self.waiting.clear()

    @contextmanager
    def call(self, kind: str) -> Iterator[None]:
        """One call to the far side: takes its time, and fails if it is to."""
        self.calls += 1
        self.clock.advance(self.latency.get(kind, self.latency.get("", 0.0)))
        if self.down:
            self.unanswered += 1
            raise Unreachable(f"{self.name} is unreachable")
        fault = self._strike(kind)
        if fault and not fault.after_work:
            raise fault.error()
        yield
        if fault:
            raise fault.error()

    def _strike(self, kind: str) -> Fault | None:
        for fault in self.waiting:
            if fault.kind not in (kind, "*"):
                continue
            if fault.spare:
                fault.spare -= 1
                return None
            if fault.times != ALWAYS:
                fault.times -= 1
                if not fault.times:
                    self.waiting.remove(fault)
            return fault
        return None
