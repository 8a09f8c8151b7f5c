"""A port that a host made in conflict with another belongs to nobody who writes: it is left as it is, and shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.core.design import OVSVAPP, VDS_STATIC
from isthmus.core.explain import Side, explain
from isthmus.model.names import NetworkId
from isthmus.model.shard import Duty, VidPool
from isthmus.model.tags import VidSet
from lab.wire.world import two_hosts
from tests.core.town import Town, gates


def town() -> Town:
    """Two VMs of one network, one of them on a conflict port."""
    found = Town(duties=Duty.TAGS | Duty.PORT_GROUPS).network("red").vm("a", "red").vm("torn", "red")
    found.settle()
    found.tag("torn", None, blocked=True)
    found.ports["torn"] = replace(found.ports["torn"], blocked_own=False, conflict=True)
    return found


def test_a_nic_on_a_conflict_port_is_not_opened_and_it_is_said_what_to_do_while_its_neighbour_is_served() -> None:
    torn = town()
    torn.settle()
    assert torn.open_with("a") is not None
    assert torn.open_with("torn") is None
    [unmet] = torn.think().unmet
    assert (unmet.about, "power the VM off and on" in unmet.reason) == ("port torn", True)
    reports, _ = explain(OVSVAPP, *torn.seen())
    assert {r.attachment.nic.vm_name: (r.wired, r.behind) for r in reports} == {
        "a": (True, Side.NOBODY),
        "torn": (False, Side.VCENTER),
    }
    torn.nic("torn", powered_on=False)
    assert not torn.think().unmet, "nobody misses it"
    torn.nic("torn", powered_on=True)
    torn.ports["torn"] = replace(torn.ports["torn"], conflict=False)
    torn.settle()
    assert torn.open_with("torn") == torn.open_with("a")


@pytest.mark.parametrize("connected", [True, False])
def test_a_conflict_port_is_never_written_whatever_it_wears_and_whoever_wants_it(connected: bool) -> None:
    torn = town()
    torn.tag("torn", torn.open_with("a"), blocked=False)
    torn.ports["torn"] = replace(torn.ports["torn"], connected=connected)
    assert gates(torn.think()) == []
    torn.nic("torn", powered_on=False)
    assert gates(torn.think()) == []
    del torn.networks[NetworkId("red")]
    assert {port for port, _ in gates(torn.think())} == {"a"}
    torn.ports["torn"] = replace(torn.ports["torn"], nic=None)
    assert {port for port, _ in gates(torn.think())} == {"a"}


def test_a_conflict_port_takes_no_vid_from_those_who_can_wear_it() -> None:
    torn = Town(pool=VidPool(VidSet.of("100"))).network("red").network("blue").vm("torn", "red").vm("b", "blue")
    torn.ports["torn"] = replace(torn.ports["torn"], conflict=True)
    torn.settle()
    assert torn.open_with("b") == 100


def test_where_port_groups_are_tagged_a_conflict_port_is_left_alone_too() -> None:
    world = two_hosts(VDS_STATIC).network("red").vms("a@esx1", "b@esx1")
    world.vcenter.conflict(world.nic("a").id)
    (switch,) = world.vcenter.switches.values()
    [port] = [port for port in switch.ports.values() if port.conflict]
    port.blocked = False
    world.settle()
    assert world.hears("a", frame_from="b"), "the port group's VLAN holds for it"
    assert port.version == 1
