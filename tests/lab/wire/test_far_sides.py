"""The lab's far sides fail as the real ones do: at the server, at the last moment, and sometimes after the work."""

from __future__ import annotations

import pytest

from isthmus.core.design import CONTRAIL, OVSVAPP
from isthmus.model.change import (
    AlterPortGroup,
    Change,
    CreatePortGroup,
    Gate,
    Learn,
    Outcome,
    PortGroupSpec,
    RemovePortGroup,
    Result,
    SetDvPort,
)
from isthmus.model.faults import Retry
from isthmus.model.names import NetworkId
from isthmus.model.observed import Access, OwnerMark
from isthmus.model.tags import Vid, Vni
from lab.wire.clock import VirtualClock
from lab.wire.faults import ALWAYS
from lab.wire.switch import SwitchTarget
from lab.wire.vsphere import DvBacking
from lab.wire.world import Lab, two_hosts

RED = OwnerMark("isthmus", NetworkId("red"), Vni(5000))


def apply(world: Lab, action: object) -> Result:
    switch = _switch(world)
    (result,) = switch.apply([Change(0, switch.id, action, "test")])  # type: ignore[arg-type]
    return result


def _switch(world: Lab) -> SwitchTarget:
    return next(target for target in world.targets.values() if isinstance(target, SwitchTarget))


def port_write(world: Lab, *, cookie: int | None = None, version: str = "") -> SetDvPort:
    backing = world.nic("a").backing
    assert isinstance(backing, DvBacking)
    state = _switch(world).observe().ports[backing.port_key]
    return SetDvPort(
        backing.dvs, backing.port_key, cookie or state.cookie, version or state.version, Gate.OPEN, Vid(150)
    )


def test_what_is_due_happens_in_order_while_time_passes() -> None:
    clock, seen = VirtualClock(), []
    clock.after(2, lambda: seen.append(("second", clock.now)))
    clock.after(1, lambda: clock.after(0.5, lambda: seen.append(("first", clock.now))))
    clock.advance(3)
    assert (seen, clock.now) == ([("first", 1.5), ("second", 2.0)], 3.0)


@pytest.mark.parametrize("wrong", [{"cookie": 1}, {"version": "999"}])
def test_a_write_by_a_stale_version_or_for_another_holder_changes_nothing(wrong: dict[str, object]) -> None:
    world = two_hosts(OVSVAPP).network("red").vms("a@esx1")
    before = _switch(world).observe()
    assert apply(world, port_write(world, **wrong)).outcome is Outcome.RETRY  # type: ignore[arg-type]
    assert _switch(world).observe() == before
    assert apply(world, port_write(world)).outcome is Outcome.DONE


def test_a_name_that_is_taken_is_adopted_if_ours_and_refused_if_not() -> None:
    world = two_hosts(OVSVAPP).network("red")
    dvs = next(iter(world.vcenter.switches))
    assert apply(world, CreatePortGroup(dvs, PortGroupSpec("red", RED))).outcome is Outcome.DONE
    assert len(world.groups_of_ours()) == 1
    world.vcenter.add_port_group(dvs, "blue", Access(Vid(9)))
    blue = OwnerMark("isthmus", NetworkId("blue"), Vni(6000))
    assert apply(world, CreatePortGroup(dvs, PortGroupSpec("blue", blue))).outcome is Outcome.REFUSED


def test_a_port_group_in_use_stays_and_one_altered_keeps_its_other_settings() -> None:
    world = two_hosts(OVSVAPP).network("red").vms("a@esx1")
    (group,) = world.groups_of_ours()
    group.settings["teaming"] = "explicit"
    group.blocked = False
    dvs = next(iter(world.vcenter.switches))
    assert apply(world, RemovePortGroup(dvs, group.key, RED)).outcome is Outcome.RETRY
    spec = PortGroupSpec("another name", RED)
    assert apply(world, AlterPortGroup(dvs, group.key, "999", spec)).outcome is Outcome.RETRY
    assert apply(world, AlterPortGroup(dvs, group.key, str(group.version), spec)).outcome is Outcome.DONE
    assert (group.blocked, group.name, group.settings["teaming"]) == (True, "red", "explicit")


def test_a_lost_answer_is_a_fault_although_the_work_was_done() -> None:
    world = two_hosts(OVSVAPP).network("red").vms("a@esx1")
    switch = _switch(world)
    switch.faults.fail("SetDvPort", after_work=True)
    assert apply(world, port_write(world)).outcome is Outcome.RETRY
    assert port_write(world).version == str(int(port_write(world).version))
    assert any(port.vlan == Access(Vid(150)) for port in switch.observe().ports.values())


def test_a_partial_batch_does_some_of_it() -> None:
    world = two_hosts(CONTRAIL)
    nve = world.nve("esx1")
    nve.faults.fail("Learn", spare=1, times=ALWAYS)
    changes = [Change(number, nve.id, Learn(()), "test") for number in range(3)]
    assert [r.outcome for r in nve.apply(changes)] == [Outcome.DONE, Outcome.RETRY, Outcome.RETRY]


def test_an_unreachable_far_side_is_a_fault_and_never_empty() -> None:
    world = two_hosts(OVSVAPP).network("red")
    world.vcenter.faults.down = world.intent.faults.down = world.nve("esx1").faults.down = True
    for read in (_switch(world).observe, world.inventory.read, world.intent.read, world.nve("esx1").observe):
        with pytest.raises(Retry):
            read()


def test_a_call_takes_its_time_and_the_world_goes_on_meanwhile() -> None:
    world = two_hosts(OVSVAPP).network("red").vms("a@esx1")
    world.vcenter.faults.latency["SetDvPort"] = 5.0
    stale = port_write(world)
    world.clock.after(1, lambda: world.vcenter.destroy(world.vm("a").id))
    assert apply(world, stale).outcome is Outcome.RETRY


def test_an_appliance_that_restarts_has_forgotten_everything_and_says_that_it_is_not_built() -> None:
    world = two_hosts(OVSVAPP).network("red").vms("a@esx1")
    nve = world.nve("esx1")
    assert nve.observe().ready
    assert nve.observe().entries
    nve.restart()
    assert not nve.observe().ready
    assert not nve.observe().entries
