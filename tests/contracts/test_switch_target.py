"""Every distributed switch behind the Target boundary keeps these promises, in memory and over SOAP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from isthmus.model.change import (
    Action,
    AlterPortGroup,
    Change,
    CreatePortGroup,
    DisownPortGroup,
    Gate,
    Outcome,
    PortGroupSpec,
    RemovePortGroup,
    SetDvPort,
)
from isthmus.model.names import NetworkId, NicId
from isthmus.model.observed import Access, DvPortState, NoVlan, OwnerMark, PortGroupState, Security, SwitchMirror
from isthmus.model.tags import Vid, Vni
from tests.contracts.switch_world import SwitchWorld, simulated, wire

WORLDS = {"wire": wire, "simulator": simulated}
SIM = {"simulator"}
RED = PortGroupSpec("red", OwnerMark("isthmus", NetworkId("net-red"), Vni(7001)))
BLUE = PortGroupSpec("blue", OwnerMark("isthmus", NetworkId("net-blue"), Vni(7002)), Vid(200))


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.sim] if name in SIM else []) for name in WORLDS])
def world(request: pytest.FixtureRequest) -> Iterator[SwitchWorld]:
    with WORLDS[request.param]() as made:
        yield made


def outcomes(world: SwitchWorld, *actions: Action) -> list[Outcome]:
    asked = [Change(number, world.target.id, action, "contract") for number, action in enumerate(actions)]
    results = world.target.apply(asked)
    assert [result.change for result in results] == asked, "a result for each change, in their order"
    assert all(result.detail for result in results if result.outcome is not Outcome.DONE), "a reason for each failure"
    return [result.outcome for result in results]


def do(world: SwitchWorld, *actions: Action) -> None:
    asked = [Change(number, world.target.id, action, "contract") for number, action in enumerate(actions)]
    failed = [result for result in world.target.apply(asked) if result.outcome is not Outcome.DONE]
    assert not failed, failed


def seen(world: SwitchWorld) -> SwitchMirror:
    mirror = world.target.observe()
    assert isinstance(mirror, SwitchMirror)
    assert mirror.dvs == world.dvs
    assert all(key == group.key for key, group in mirror.port_groups.items())
    assert all(key == port.key and port.port_group in mirror.port_groups for key, port in mirror.ports.items())
    return mirror


def group(world: SwitchWorld, name: str) -> PortGroupState:
    return next(group for group in seen(world).port_groups.values() if group.name == name)


def port(world: SwitchWorld, nic: NicId) -> DvPortState:
    return next(port for port in seen(world).ports.values() if port.nic == nic)


def made(world: SwitchWorld, spec: PortGroupSpec) -> PortGroupState:
    do(world, CreatePortGroup(world.dvs, spec))
    return group(world, spec.name)


def write(world: SwitchWorld, port: DvPortState, gate: Gate, vid: int | None = None) -> SetDvPort:
    return SetDvPort(world.dvs, port.key, port.cookie, port.version, gate, Vid(vid) if vid else None, port.host)


# -- port groups


def test_a_gated_port_group_is_born_closed_untagged_and_marked(world: SwitchWorld) -> None:
    red = made(world, RED)
    assert (red.vlan, red.blocked, red.mark) == (NoVlan(), True, RED.mark)
    assert red.vlan_override
    assert red.block_override
    assert red.reset_at_disconnect
    assert red.early_binding
    assert not red.is_uplink


def test_a_tagged_port_group_is_born_open(world: SwitchWorld) -> None:
    blue = made(world, BLUE)
    assert (blue.vlan, blue.blocked, blue.mark) == (Access(Vid(200)), False, BLUE.mark)


def test_making_it_twice_makes_one(world: SwitchWorld) -> None:
    red = made(world, RED)
    do(world, CreatePortGroup(world.dvs, RED))
    assert list(seen(world).port_groups) == [red.key]


def test_two_made_at_once_are_both_there(world: SwitchWorld) -> None:
    do(world, CreatePortGroup(world.dvs, RED), CreatePortGroup(world.dvs, BLUE))
    assert {group.name for group in seen(world).port_groups.values()} == {"red", "blue"}


def test_a_name_that_somebody_else_uses_is_refused_and_theirs_is_untouched(world: SwitchWorld) -> None:
    world.foreign_port_group("red", 99)
    before = seen(world)
    assert outcomes(world, CreatePortGroup(world.dvs, RED)) == [Outcome.REFUSED]
    assert seen(world) == before


def test_a_name_that_another_network_of_ours_uses_is_refused(world: SwitchWorld) -> None:
    made(world, RED)
    before = seen(world)
    other = replace(RED, mark=replace(RED.mark, network=NetworkId("net-other")))
    another_owner = replace(RED, mark=replace(RED.mark, owner="elsewhere"))
    assert outcomes(world, CreatePortGroup(world.dvs, other)) == [Outcome.REFUSED]
    assert outcomes(world, CreatePortGroup(world.dvs, another_owner)) == [Outcome.REFUSED]
    assert seen(world) == before


def test_a_name_that_this_network_uses_with_another_vni_is_refused_naming_it_until_its_mark_is_corrected(
    world: SwitchWorld,
) -> None:
    red = made(world, RED)
    before = seen(world)
    renumbered = replace(RED, mark=replace(RED.mark, vni=Vni(8000)))
    [result] = world.target.apply([Change(1, world.target.id, CreatePortGroup(world.dvs, renumbered), "contract")])
    assert result.outcome is Outcome.REFUSED
    assert "7001" in result.detail
    assert seen(world) == before
    do(world, AlterPortGroup(world.dvs, red.key, red.version, renumbered))
    do(world, CreatePortGroup(world.dvs, renumbered))
    assert [group.mark for group in seen(world).port_groups.values()] == [renumbered.mark]


def test_a_renamed_port_group_is_still_ours(world: SwitchWorld) -> None:
    red = made(world, RED)
    world.rename_port_group(red.key, "crimson")
    assert seen(world).port_groups[red.key].mark == RED.mark
    assert seen(world).port_groups[red.key].name == "crimson"
    do(world, RemovePortGroup(world.dvs, red.key, RED.mark))


def test_drift_is_brought_back(world: SwitchWorld) -> None:
    red = made(world, RED)
    do(world, AlterPortGroup(world.dvs, red.key, red.version, replace(RED, vid=Vid(77))))
    tagged = seen(world).port_groups[red.key]
    assert (tagged.vlan, tagged.blocked) == (Access(Vid(77)), False)
    do(world, AlterPortGroup(world.dvs, red.key, tagged.version, RED))
    back = seen(world).port_groups[red.key]
    assert replace(back, version=red.version) == red


def test_a_port_group_lets_its_vms_do_what_is_said_and_nothing_else_of_it_is_touched(world: SwitchWorld) -> None:
    red = made(world, RED)
    assert (red.forged_transmits, red.promiscuous, red.mac_changes) == (False, False, False)
    asked = replace(RED, security=Security(forged_transmits=True))
    do(world, AlterPortGroup(world.dvs, red.key, red.version, asked))
    loose = seen(world).port_groups[red.key]
    assert replace(loose, version=red.version) == replace(red, forged_transmits=True)
    both = replace(RED, security=Security(promiscuous=True, mac_changes=True))
    do(world, AlterPortGroup(world.dvs, red.key, loose.version, both))
    open_to_all = seen(world).port_groups[red.key]
    assert (open_to_all.forged_transmits, open_to_all.promiscuous, open_to_all.mac_changes) == (True, True, True)
    do(world, AlterPortGroup(world.dvs, red.key, open_to_all.version, RED))
    assert seen(world).port_groups[red.key].forged_transmits, "what is not said stays as it is"


def test_a_port_group_is_born_with_what_it_lets_its_vms_do(world: SwitchWorld) -> None:
    blue = made(world, replace(BLUE, security=Security(True, False, True)))
    assert (blue.forged_transmits, blue.promiscuous, blue.mac_changes) == (True, False, True)


def test_a_wrong_vni_in_the_mark_is_corrected(world: SwitchWorld) -> None:
    red = made(world, RED)
    mended = replace(RED, mark=replace(RED.mark, vni=Vni(8000)))
    do(world, AlterPortGroup(world.dvs, red.key, red.version, mended))
    assert seen(world).port_groups[red.key].mark == mended.mark


def test_a_stale_alteration_changes_nothing(world: SwitchWorld) -> None:
    red = made(world, RED)
    do(world, AlterPortGroup(world.dvs, red.key, red.version, replace(RED, vid=Vid(77))))
    assert outcomes(world, AlterPortGroup(world.dvs, red.key, red.version, replace(RED, vid=Vid(88)))) == [
        Outcome.RETRY
    ]
    assert seen(world).port_groups[red.key].vlan == Access(Vid(77))


def test_an_empty_port_group_of_ours_goes(world: SwitchWorld) -> None:
    red = made(world, RED)
    do(world, RemovePortGroup(world.dvs, red.key, RED.mark))
    assert red.key not in seen(world).port_groups


def test_a_port_group_in_use_stays_until_it_is_empty(world: SwitchWorld) -> None:
    red = made(world, RED)
    nic = world.vm("a", "esx1", red.key)
    assert outcomes(world, RemovePortGroup(world.dvs, red.key, RED.mark)) == [Outcome.RETRY]
    assert red.key in seen(world).port_groups
    world.remove_vm(nic)
    do(world, RemovePortGroup(world.dvs, red.key, RED.mark))


def test_a_disowned_port_group_loses_its_mark_and_nothing_else_and_is_not_ours_to_write_any_more(
    world: SwitchWorld,
) -> None:
    red = made(world, RED)
    do(world, DisownPortGroup(world.dvs, red.key, RED.mark))
    theirs = seen(world).port_groups[red.key]
    assert replace(theirs, mark=RED.mark, handed_back=None, version=red.version) == red
    assert theirs.handed_back == RED.mark
    assert theirs.mark is None
    assert outcomes(world, RemovePortGroup(world.dvs, red.key, RED.mark)) == [Outcome.REFUSED]
    assert outcomes(world, DisownPortGroup(world.dvs, red.key, RED.mark)) == [Outcome.REFUSED]


def test_a_port_group_that_was_handed_back_is_taken_up_again_as_it_is_by_its_owner_alone(world: SwitchWorld) -> None:
    red = made(world, RED)
    do(world, DisownPortGroup(world.dvs, red.key, RED.mark))
    stranger = replace(RED, mark=replace(RED.mark, owner="somebody else"))
    assert outcomes(world, CreatePortGroup(world.dvs, stranger)) == [Outcome.REFUSED]
    renumbered = replace(RED, mark=replace(RED.mark, vni=Vni(8000)))
    do(world, CreatePortGroup(world.dvs, renumbered))
    assert replace(group(world, "red"), version=red.version) == red, "its VNI is corrected later, as that of any other"
    do(world, RemovePortGroup(world.dvs, red.key, RED.mark))


def test_a_port_group_that_was_handed_back_is_taken_up_again_by_its_key_whatever_it_is_called(
    world: SwitchWorld,
) -> None:
    red = made(world, RED)
    do(world, DisownPortGroup(world.dvs, red.key, RED.mark))
    held = seen(world).port_groups[red.key]
    stranger = replace(RED, mark=replace(RED.mark, owner="somebody else"))
    another = replace(RED, mark=replace(RED.mark, network=NetworkId("another")))
    for wrong in (stranger, another):
        assert outcomes(world, AlterPortGroup(world.dvs, red.key, held.version, wrong)) == [Outcome.REFUSED]
    do(world, AlterPortGroup(world.dvs, red.key, held.version, RED))
    assert replace(group(world, "red"), version=red.version) == red


def test_what_is_not_ours_is_neither_altered_nor_removed(world: SwitchWorld) -> None:
    key = world.foreign_port_group("theirs", 99)
    before = seen(world)
    assert before.port_groups[key].mark is None
    theirs = before.port_groups[key]
    assert outcomes(world, AlterPortGroup(world.dvs, key, theirs.version, RED)) == [Outcome.REFUSED]
    assert outcomes(world, RemovePortGroup(world.dvs, key, RED.mark)) == [Outcome.REFUSED]
    assert seen(world) == before


# -- DV ports


def test_a_new_vm_is_closed_and_wears_nothing(world: SwitchWorld) -> None:
    red = made(world, RED)
    nic = world.vm("a", "esx1", red.key)
    found = port(world, nic)
    assert (found.vlan, found.blocked, found.vlan_own, found.blocked_own) == (NoVlan(), True, False, False)
    assert (found.port_group, found.host, found.connected) == (red.key, world.host("esx1"), True)
    assert found.cookie is not None


def test_a_port_is_claimed_opened_closed_and_bared(world: SwitchWorld) -> None:
    nic = world.vm("a", "esx1", made(world, RED).key)
    expected = {
        Gate.CLAIM: (Access(Vid(101)), True, True, True),
        Gate.OPEN: (Access(Vid(101)), False, True, True),
        Gate.CLOSE: (Access(Vid(101)), True, True, True),
        Gate.BARE: (NoVlan(), True, False, False),
    }
    for gate, state in expected.items():
        do(world, write(world, port(world, nic), gate, None if gate is Gate.BARE else 101))
        found = port(world, nic)
        assert (found.vlan, found.blocked, found.vlan_own, found.blocked_own) == state, gate


def test_every_port_of_a_batch_is_written(world: SwitchWorld) -> None:
    red = made(world, RED).key
    nics = [world.vm(f"vm{number}", f"esx{1 + number % 2}", red) for number in range(6)]
    do(world, *(write(world, port(world, nic), Gate.OPEN, 100 + number) for number, nic in enumerate(nics)))
    assert [port(world, nic).vlan for nic in nics] == [Access(Vid(100 + number)) for number in range(6)]


def test_a_stale_write_does_not_overwrite_what_somebody_did_meanwhile(world: SwitchWorld) -> None:
    nic = world.vm("a", "esx1", made(world, RED).key)
    before = port(world, nic)
    world.touch_port(before.key, 333)
    assert outcomes(world, write(world, before, Gate.OPEN, 101)) == [Outcome.RETRY]
    after = port(world, nic)
    assert (after.vlan, after.blocked) == (Access(Vid(333)), True)
    do(world, write(world, after, Gate.OPEN, 101))


def test_a_port_that_another_nic_took_over_is_left_alone_while_the_others_are_written(world: SwitchWorld) -> None:
    red = made(world, RED).key
    leaving, staying = world.vm("a", "esx1", red), world.vm("b", "esx1", red)
    old, other = port(world, leaving), port(world, staying)
    world.remove_vm(leaving)
    newcomer = world.vm("c", "esx1", red)
    assert outcomes(world, write(world, old, Gate.OPEN, 101), write(world, other, Gate.OPEN, 102)) == [
        Outcome.RETRY,
        Outcome.DONE,
    ]
    assert (port(world, newcomer).vlan, port(world, newcomer).blocked) == (NoVlan(), True)
    assert (port(world, staying).vlan, port(world, staying).blocked) == (Access(Vid(102)), False)


@pytest.mark.parametrize("gate", [Gate.CLOSE, Gate.BARE])
def test_a_port_that_another_nic_took_over_is_not_closed_for_the_one_before(world: SwitchWorld, gate: Gate) -> None:
    red = made(world, RED).key
    leaving = world.vm("a", "esx1", red)
    do(world, write(world, port(world, leaving), Gate.OPEN, 101))
    old = port(world, leaving)
    world.remove_vm(leaving)
    newcomer = world.vm("c", "esx1", red)
    assert outcomes(world, write(world, old, gate, None if gate is Gate.BARE else 101)) == [Outcome.RETRY]
    do(world, write(world, port(world, newcomer), Gate.OPEN, 102))
    assert outcomes(world, write(world, old, gate, None if gate is Gate.BARE else 101)) == [Outcome.RETRY]
    found = port(world, newcomer)
    assert (found.key, found.vlan, found.blocked) == (old.key, Access(Vid(102)), False)


def test_an_unknown_port_is_retried_and_harms_no_other(world: SwitchWorld) -> None:
    nic = world.vm("a", "esx1", made(world, RED).key)
    good = port(world, nic)
    unknown = replace(good, key="987654")
    assert outcomes(world, write(world, unknown, Gate.OPEN, 101), write(world, good, Gate.OPEN, 102)) == [
        Outcome.RETRY,
        Outcome.DONE,
    ]


def test_a_move_keeps_port_tag_and_gate(world: SwitchWorld) -> None:
    nic = world.vm("a", "esx1", made(world, RED).key)
    do(world, write(world, port(world, nic), Gate.OPEN, 101))
    before = port(world, nic)
    world.move(nic, "esx2")
    after = port(world, nic)
    assert after.host == world.host("esx2")
    assert (after.key, after.cookie, after.vlan, after.blocked) == (before.key, before.cookie, before.vlan, False)


def test_a_disconnected_port_forgets_its_override(world: SwitchWorld) -> None:
    nic = world.vm("a", "esx1", made(world, RED).key)
    do(world, write(world, port(world, nic), Gate.OPEN, 101))
    world.remove_vm(nic)
    assert seen(world).ports == {}


def test_a_quiet_switch_reads_the_same_twice(world: SwitchWorld) -> None:
    nic = world.vm("a", "esx1", made(world, RED).key)
    world.foreign_port_group("theirs", 99)
    do(world, write(world, port(world, nic), Gate.OPEN, 101))
    assert seen(world) == seen(world)
