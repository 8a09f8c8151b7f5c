"""A site with a leaf above each rack: a simulated vCenter, leaves in memory, and the tables that configure them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.adapters.leaf.hwvtep import HwvtepSettings
from isthmus.model.boundary import Wake
from isthmus.model.change import Change
from isthmus.model.faults import Retry
from isthmus.model.names import HostId, LeafId
from isthmus.model.nve import NveEntry, NveKey
from isthmus.model.observed import NveMirror
from lab.vcenter import Cluster, Datacenter, Dvs, Host, Member, Topology
from lab.wire.clock import VirtualClock
from lab.wire.leaf import WireLeaf

CANARY = "canary-Pa55"
VTEPS = {"leaf1": "192.0.2.1", "leaf2": "192.0.2.2"}


class MemoryLeaf(WireLeaf):
    """A leaf in memory in the place of a HwvtepTarget."""

    warnings: tuple[str, ...] = ()

    made: dict[str, MemoryLeaf] = {}  # noqa: RUF012 - anew for each test
    held: dict[str, dict[NveKey, NveEntry]] = {}  # noqa: RUF012
    misfits: dict[str, str] = {}  # noqa: RUF012

    def __init__(
        self, leaf: LeafId, settings: HwvtepSettings, hosts: frozenset[HostId] | None = None, *, keeps: bool = False
    ) -> None:
        super().__init__(leaf, settings.vtep, hosts or (), VirtualClock())
        self.settings = settings
        self.entries = self.held.get(settings.target, {})
        self.made[settings.target] = self

    def observe(self) -> NveMirror:
        if self.settings.target in self.misfits:
            raise Retry(self.misfits[self.settings.target])
        return replace(super().observe(), warnings=self.warnings)

    def findings(self) -> Sequence[LeafFinding]:
        self.observe()
        return ()

    def words(self, change: Change) -> Sequence[str]:
        return (f"vtep-ctl something for {self.settings.target}",)

    def watch(self, wake: Wake) -> None:
        """Nobody else touches it."""

    def close(self) -> None:
        """Nothing to let go of."""


def until(so: Callable[[], bool], patience: float = 20.0) -> None:
    end = time.monotonic() + patience
    while not so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.1)


def leaf_table(deployment: str, name: str, targets: Sequence[str] = ()) -> str:
    named = [f"unix:/nowhere/{target}" for target in targets or [name]]
    return (
        f'[deployment.{deployment}.leaf.{name}]\ndriver = "hwvtep"\n'
        f'target = {json.dumps(named)}\nvtep = "{VTEPS[name]}"\n'
    )


def host_table(deployment: str, host: str, leaf: str) -> str:
    return f'[deployment.{deployment}.host."{host}"]\nleaf = "{leaf}"\nports = ["swp1"]\n'


def topology(uplink_vlans: tuple[int, int], strangers: Sequence[str]) -> Topology:
    """A cluster with a switch of its own in each rack; the strangers are in rack 1."""
    racks = [("esx1.lab", *strangers), ("esx2.lab",)]
    clusters = tuple(Cluster(f"rack{n}", tuple(map(Host, hosts))) for n, hosts in enumerate(racks, 1))
    switches = tuple(
        Dvs(
            f"rack{n}",
            mtu=1600,
            uplinks=("uplink1",),
            uplink_vlans=(uplink_vlans,),
            members=tuple(Member(host, ("vmnic1",)) for host in hosts),
        )
        for n, hosts in enumerate(racks, 1)
    )
    return Topology((Datacenter("dc1", clusters, switches),))
