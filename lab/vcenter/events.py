"""What happens to a simulated vCenter's events on their way to their readers."""

from __future__ import annotations

from lab.vcenter.control import Control


class Events:
    """The event log of one simulator.  `kind` is a type of the API; a base type selects what derives from it."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def lose(self, kind: str = "", *, probability: float = 1.0, count: int = 0) -> None:
        """Events are never told."""
        self._control.do("events.spoil", act="lose", type=kind, probability=probability, count=count)

    def double(self, kind: str = "", *, probability: float = 1.0, count: int = 0) -> None:
        """Events are told twice, with two keys."""
        self._control.do("events.spoil", act="double", type=kind, probability=probability, count=count)

    def delay(self, kind: str = "", *, by: int = 1, probability: float = 1.0, count: int = 0) -> None:
        """Events are told after so many that happened later."""
        self._control.do("events.spoil", act="late", type=kind, by=by, probability=probability, count=count)

    def clear(self) -> None:
        """Takes out all of the above; what was held back is told now."""
        self._control.do("events.clear")

    def burst_filter(self, limit: int = 30, seconds: int = 30) -> None:
        """Folds more than `limit` events of one type, object and user within so many seconds; 0 turns it off."""
        self._control.do("events.burst", limit=limit, seconds=seconds)

    def stall(self) -> None:
        """No event is told until `resume`; none is lost."""
        self._control.do("events.stall")

    def resume(self) -> None:
        """Tells what happened since `stall`."""
        self._control.do("events.resume")
