"""How long each NIC waited closed, from when it was first seen wanted to the write that opened it."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.app.keeper import Round
from isthmus.model.change import Action, Gate, Outcome, SetDvPort
from isthmus.model.names import NicId
from isthmus.model.observed import SwitchMirror
from isthmus.model.shard import Duty

MOST = 10_000
"""NICs remembered; the oldest are forgotten first."""


class Openings:
    """Seconds to open, by NIC."""

    def __init__(self) -> None:
        self.seconds: dict[NicId, float] = {}
        self._waiting: dict[NicId, float] = {}

    def note(self, done: Round, woken_at: float, made_at: Mapping[Action, float]) -> None:
        """Take in a round that was woken at `woken_at` and whose changes were made at `made_at`."""
        last = done.last
        if last is None or Duty.TAGS not in last.world.shard.duties:
            return
        holders = {
            (mirror.dvs, port.key): port.nic
            for mirror in last.observed.targets.values()
            if isinstance(mirror, SwitchMirror)
            for port in mirror.ports.values()
            if port.nic is not None
        }
        for result in done.results:
            act = result.change.action
            if not isinstance(act, SetDvPort) or act.gate not in (Gate.CLAIM, Gate.OPEN):
                continue
            nic = holders.get((act.dvs, act.key))
            if nic is None:
                continue
            since = self._waiting.setdefault(nic, woken_at)
            if act.gate is Gate.OPEN and result.outcome is Outcome.DONE and act in made_at:
                self.seconds.pop(nic, None)
                self.seconds[nic] = made_at[act] - since
                del self._waiting[nic]
        self._forget()

    def _forget(self) -> None:
        for memory in (self.seconds, self._waiting):
            while len(memory) > MOST:
                del memory[next(iter(memory))]
