"""Leaves as values, for tests that need no switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings
from isthmus.adapters.leaf.hwvtep.snapshot import LogicalSwitch, PhysicalPort, PhysicalSwitch, Snapshot
from isthmus.model.names import Mac
from isthmus.model.tags import Vni

RED, BLUE, THEIRS = Vni(5000), Vni(6000), Vni(7000)
A, B = Mac("00:50:56:00:00:0a"), Mac("00:50:56:00:00:0b")
PEER, OTHER = "192.0.2.2", "192.0.2.3"
SETTINGS = HwvtepSettings("tcp:leaf1:6640", "192.0.2.1", ("swp1", "swp2"), "test")
OUR_RED, OUR_BLUE = SETTINGS.name_of(RED), SETTINGS.name_of(BLUE)


def ours(vni: Vni, key: int | None = None, replication: str = "source_node") -> LogicalSwitch:
    return LogicalSwitch(SETTINGS.name_of(vni), SETTINGS.mark, key or vni, replication)


def theirs(vni: int | None = THEIRS, name: str = "storage", description: str = "by hand") -> LogicalSwitch:
    return LogicalSwitch(name, description, vni)


def leaf(
    *logical: LogicalSwitch,
    bound: Mapping[str, Mapping[int, str]] | None = None,
    unicast: Mapping[tuple[str, Mac], tuple[str, ...]] | None = None,
    flood: Mapping[str, frozenset[str]] | None = None,
    local: frozenset[tuple[str, Mac]] = frozenset(),
) -> Snapshot:
    """A switch with the ports swp1, swp2, which are ours to use, and swp9, which is not."""
    ports = {port: PhysicalPort((bound or {}).get(port, {})) for port in ("swp1", "swp2", "swp9")}
    switch = PhysicalSwitch("leaf1", frozenset({"192.0.2.1"}), ports)
    return Snapshot({"leaf1": switch}, {made.name: made for made in logical}, unicast or {}, flood or {}, local)


def everywhere(*bindings: tuple[int, str]) -> dict[str, dict[int, str]]:
    """These bindings on both ports of ours."""
    return {port: dict(bindings) for port in SETTINGS.ports}


def with_switch(snapshot: Snapshot, **changed: object) -> Snapshot:
    switch = replace(snapshot.physical["leaf1"], **changed)  # type: ignore[arg-type]
    return replace(snapshot, physical={"leaf1": switch})
