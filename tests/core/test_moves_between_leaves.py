"""A leaf takes one VTEP per MAC, so while a VM moves it is sent to where it still runs, not to where it will."""

from __future__ import annotations

from isthmus.core.design import VDS_STATIC
from lab.wire.world import Lab, two_racks


def world() -> Lab:
    return two_racks(VDS_STATIC).network("red").vms("a@esx1", "b@esx2", "c@esx3")


def test_a_vm_announced_for_another_leaf_is_heard_where_it_is_until_it_arrives() -> None:
    lab = world()
    lab.vcenter.announce(lab.vm("a").id, lab.host("esx3"))
    lab.settle()
    assert lab.hears("a", frame_from="b")
    assert lab.hears("a", frame_from="c")
    lab.vcenter.complete(lab.vm("a").id)
    lab.settle()
    assert lab.hears("a", frame_from="b")
    assert lab.hears("a", frame_from="c")


def test_a_vm_announced_for_this_leaf_is_heard_where_it_is_until_it_arrives() -> None:
    lab = world()
    lab.vcenter.announce(lab.vm("c").id, lab.host("esx1"))
    lab.settle()
    assert lab.hears("c", frame_from="a")
    lab.vcenter.fail_move(lab.vm("c").id)
    lab.settle()
    assert lab.hears("c", frame_from="a")
