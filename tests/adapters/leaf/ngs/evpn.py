"""Leaves that learn by EVPN, for real, each behind a target of isthmus's."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from isthmus.adapters.leaf.ngs import NgsSettings, NgsTarget
from isthmus.model.names import LeafId
from isthmus.model.tags import VidSet
from lab.netns.evpn_leaf import EvpnLeaf, evpn_fabric, missing
from lab.netns.fabric import Fabric
from lab.netns.state import WorldState

ADDRESS = "127.0.0.1"


@dataclass(slots=True)
class TestFabric:
    __test__ = False

    state: WorldState
    fabric: Fabric[EvpnLeaf]
    targets: list[NgsTarget] = field(default_factory=list)

    def leaf(self, name: str) -> EvpnLeaf:
        return self.fabric.leaves[name]

    def target(self, name: str, options: Mapping[str, str] | None = None) -> NgsTarget:
        leaf = self.leaf(name)
        given = {**leaf.options, **(options or {})}
        settings = NgsSettings("netmiko_sonic", ADDRESS, leaf.ports, VidSet.of("1-299"), given)
        self.targets.append(NgsTarget(LeafId(name), settings))
        return self.targets[-1]


@contextmanager
def evpn(**leaves: tuple[str, ...]) -> Iterator[TestFabric]:
    pytest.importorskip("networking_generic_switch")
    if advice := missing():
        pytest.skip(advice)
    state = WorldState(f"e{secrets.token_hex(4)}")
    state.claim(keep=False)
    try:
        made = TestFabric(state, evpn_fabric(state, leaves))
        yield made
        for target in made.targets:
            target.close()
    finally:
        state.take_down()
