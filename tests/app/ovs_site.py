"""Appliances in memory in the place of real ones: what they hold can be looked at, and they can fall silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isthmus.adapters.ovs.findings import OvsFinding
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.model.boundary import Wake
from isthmus.model.faults import Retry
from isthmus.model.names import HostId
from isthmus.model.observed import NveMirror
from lab.wire.clock import VirtualClock
from lab.wire.ovs import WireOvs
from lab.wire.vrouter import Directory, WireVrouter


class MemoryOvs(WireOvs):
    """An appliance in memory in the place of an OvsTarget."""

    made: dict[str, MemoryOvs] = {}  # noqa: RUF012 - by VTEP, anew for each test
    silent: set[str] = set()  # noqa: RUF012

    def __init__(
        self, host: HostId, settings: OvsSettings, *, keeps: bool = False, astray: Callable[[], str] = str
    ) -> None:
        self.astray = astray
        super().__init__(host, settings.vtep, VirtualClock())
        self.settings = settings
        self.made[settings.vtep] = self

    def observe(self) -> NveMirror:
        if self.settings.vtep in self.silent:
            raise Retry("it does not answer")
        return super().observe()

    def findings(self) -> Sequence[OvsFinding]:
        return ()

    def watch(self, wake: Wake) -> None:
        """Nobody else touches it."""

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryPlugger(WireVrouter):
    """An appliance in memory in the place of a PluggerTarget, whose agent wires at once."""

    made: dict[str, MemoryPlugger] = {}  # noqa: RUF012 - by VTEP, anew for each test

    def __init__(
        self, host: HostId, settings: OvsSettings, *, keeps: bool = False, astray: Callable[[], str] = str
    ) -> None:
        self.astray = astray
        super().__init__(host, settings.vtep, VirtualClock(), Directory(), "stock-ovs")
        self.made[settings.vtep] = self

    def findings(self) -> Sequence[OvsFinding]:
        return ()

    def watch(self, wake: Wake) -> None:
        """Nobody else touches it."""

    def close(self) -> None:
        """Nothing to let go of."""
