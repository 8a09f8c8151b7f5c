"""A leaf's binding that some ports lack is mended where it is wanted, and forgotten where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.core.design import VDS_LEAF, VDS_STATIC, Design
from isthmus.model.nve import LeafBinding
from isthmus.model.tags import Vid, Vni
from lab.wire.leaf import WireLeaf
from lab.wire.world import Lab, two_racks


def leaf_of(lab: Lab, host: str) -> WireLeaf:
    leaf = lab.nve(host)
    assert isinstance(leaf, WireLeaf)
    return leaf


def bindings(leaf: WireLeaf) -> list[LeafBinding]:
    return [entry for entry in leaf.entries.values() if isinstance(entry, LeafBinding)]


@pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)
def test_it_is_mended_where_it_is_wanted_and_forgotten_where_not(design: Design) -> None:
    lab = two_racks(design).network("red").vms("a@esx1", "b@esx3")
    lab.settle()
    leaf = leaf_of(lab, "esx1")
    [wanted] = bindings(leaf)
    torn = replace(wanted, whole=False)
    stray = LeafBinding(Vid(3000), Vni(77), whole=False)
    leaf.entries |= {torn.key: torn, stray.key: stray}
    lab.settle()
    assert bindings(leaf) == [wanted]
