"""A NIC that is plugged into another network is another port: what an NVE still knows of the old one is not its own."""

from __future__ import annotations

import pytest

from isthmus.core.design import CONTRAIL, OVSVAPP_PORT, Design
from lab.wire.world import two_racks


@pytest.mark.parametrize("design", [CONTRAIL, OVSVAPP_PORT], ids=lambda design: design.name)
def test_a_nic_replugged_while_an_nve_is_unreachable_does_not_hear_its_old_network_there(design: Design) -> None:
    world = two_racks(design).network("blue").vms("a@esx3", "b@esx1").network("white")
    world.nve("esx3").faults.down = True
    world.vcenter.move(world.vm("a").id, world.host("esx1"))
    world.settle()
    world.vcenter.replug(world.nic("a").id, world.socket("white", world.host("esx1")))
    world.settle()
    assert not world.leaks()
    world.vcenter.move(world.vm("a").id, world.host("esx3"))
    assert not world.leaks()
