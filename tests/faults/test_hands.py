"""What other hands do to our objects: put right, shown, or left alone, as configured; ended at once where it leaks."""

from __future__ import annotations

import pytest

from isthmus.app.hands import Policy
from isthmus.core.design import Design
from isthmus.model.intent import Network
from isthmus.model.names import NetworkId
from isthmus.model.observed import Access
from isthmus.model.tags import Vid, Vni
from tests.core.properties.setting import HOSTS
from tests.faults.trial import Trial, where_ports_are_tagged, with_many_seeds


def close(trial: Trial, name: str) -> None:
    trial.port(name).blocked = True
    trial.touch(trial.port(name))


@with_many_seeds
def test_a_port_closed_by_hand_is_opened_again(seed: int) -> None:
    trial = Trial(seed)
    victim = trial.dice.choice(trial.furnish("red", "blue"))
    close(trial, victim)
    trial.run(3)
    assert trial.is_open(victim)
    trial.rest()
    trial.end()


def test_a_port_closed_again_and_again_is_left_closed_for_longer_and_longer_and_shown() -> None:
    trial = Trial()
    victim = trial.furnish("red", "blue")[0]
    written = trial.written
    for _ in range(60):
        close(trial, victim)
        trial.run(60)
    assert 3 <= trial.written - written <= 9
    assert "another hand has undone this" in trial.conditions("by hand")[0]
    trial.process.agree()
    trial.rest()
    assert trial.is_open(victim)
    trial.end()


@with_many_seeds
def test_power_cycles_moves_and_reconnected_nics_are_no_hands(seed: int) -> None:
    trial = Trial(seed)
    names = trial.furnish("red", "blue", vms=5)
    for _ in range(40):
        name = trial.dice.choice(names[:2])
        match trial.dice.choice(("power", "move", "connect")):
            case "power":
                trial.lab.vcenter.power(trial.lab.vm(name).id, not trial.lab.vm(name).powered_on)
            case "move":
                trial.lab.vcenter.move(trial.lab.vm(name).id, trial.elsewhere(name))
            case "connect":
                trial.lab.vcenter.set_connected(trial.lab.nic(name).id, not trial.lab.nic(name).connected)
        trial.run(trial.dice.choice((0.2, 2)))
        assert not trial.conditions("by hand")
    for name in names:
        trial.lab.vcenter.power(trial.lab.vm(name).id, True)
        trial.lab.vcenter.set_connected(trial.lab.nic(name).id, True)
    trial.rest()
    assert all(trial.is_open(name) for name in names)
    trial.end()


def drift(trial: Trial) -> None:
    """Somebody has let the ports of the red port group keep their settings when they are disconnected."""
    (group,) = [group for group in trial.lab.groups_of_ours() if group.name == "red"]
    group.reset_at_disconnect = False
    group.version += 1
    trial.lab.vcenter.changed(None)


@pytest.mark.parametrize("policy", Policy)
def test_settings_of_a_port_group_are_put_right_or_left_as_configured(policy: Policy) -> None:
    trial = Trial(by_hand=policy)
    trial.furnish("red", "blue")
    drift(trial)
    trial.run(100)
    (group,) = [group for group in trial.lab.groups_of_ours() if group.name == "red"]
    assert group.reset_at_disconnect == (policy is Policy.ENFORCE)
    assert bool(trial.conditions("by hand")) == (policy is Policy.REPORT)
    trial.process.agree()
    trial.rest()
    trial.end()


@pytest.mark.parametrize("policy", Policy)
def test_a_permission_without_which_no_port_can_be_closed_is_given_back_at_once_every_time(policy: Policy) -> None:
    trial = Trial(by_hand=policy)
    victim = trial.furnish("red", "blue")[0]
    for _ in range(6):
        (group,) = [group for group in trial.lab.groups_of_ours() if group.name == "red"]
        group.block_override = group.vlan_override = False
        group.version += 1
        trial.lab.vcenter.power(trial.lab.vm(victim).id, False)
        trial.run(5)
        assert group.block_override
        assert group.vlan_override
        assert not trial.is_open(victim)
        trial.lab.vcenter.power(trial.lab.vm(victim).id, True)
        trial.run(5)
    trial.rest()
    trial.end()


def test_what_is_undone_again_and_again_is_left_alone_for_longer_and_longer_and_shown() -> None:
    trial = Trial()
    trial.furnish("red", "blue")
    written = trial.written
    for _ in range(60):  # a script, once a minute
        drift(trial)
        trial.run(60)
    assert 3 <= trial.written - written <= 9, f"{trial.written - written} writes against another hand in an hour"
    assert "another hand has undone this" in trial.conditions("by hand")[0]
    written = trial.written
    trial.process.agree()
    trial.run(3)
    assert trial.written == written + 1
    trial.rest()
    trial.end()


def test_a_port_group_that_is_deleted_again_and_again_is_made_again_ever_more_seldom() -> None:
    trial = Trial()
    trial.furnish("red", vms=0)
    written = trial.written
    for _ in range(120):
        for group in trial.lab.groups_of_ours():
            (switch,) = trial.lab.vcenter.switches.values()
            del switch.port_groups[group.key]
        trial.lab.vcenter.changed(None)
        trial.run(30)
    assert 3 <= trial.written - written <= 9
    trial.rest(4000)
    trial.end()


@with_many_seeds
def test_a_hand_that_joins_two_networks_is_undone_at_once_every_time(seed: int) -> None:
    trial = Trial(seed, by_hand=Policy.ADOPT)
    names = trial.furnish("red", "blue", vms=6)
    for _ in range(12):
        victim, other = trial.dice.choice(names[::2]), trial.dice.choice(names[1::2])
        taken = trial.port(other).vlan
        assert isinstance(taken, Access)
        trial.port(victim).vlan = taken
        with trial.unwatched():  # until the first write it is the hand's doing
            trial.touch(trial.port(victim))
            trial.run(3)
        assert not trial.lab.leaks()
        assert trial.port(other).vlan == taken, "the rightful wearer lost its tag"
    trial.rest()
    trial.end()


@with_many_seeds
def test_a_port_of_a_stranger_opened_by_hand_is_closed_at_once_every_time(seed: int) -> None:
    trial = Trial(seed, by_hand=Policy.ADOPT)
    trial.furnish("red", "blue")
    trial.lab.intent.add_network("green", vni=5014, ports_listed=True)
    trial.run(5)
    trial.lab.vcenter.create_vm("stranger", trial.lab.host("esx1"), trial.lab.socket("green", trial.lab.host("esx1")))
    trial.run(5)
    for _ in range(6):
        trial.port("stranger").blocked = False
        trial.port("stranger").vlan = Access(Vid(trial.dice.randrange(100, 150)))
        with trial.unwatched():
            trial.touch(trial.port("stranger"))
            trial.run(3)
        assert not trial.is_open("stranger")
    trial.rest()
    trial.end()


@with_many_seeds
def test_a_free_vid_written_by_hand_is_taken_over(seed: int) -> None:
    trial = Trial(seed)
    names = trial.furnish("red", "blue")
    free = next(vid for vid in range(100, 150) if Vid(vid) not in {*map(int, trial.laws.worn())})
    victim = trial.dice.choice(names)
    trial.port(victim).vlan = Access(Vid(free))
    trial.touch(trial.port(victim))
    trial.rest()
    assert trial.port(victim).vlan == Access(Vid(free))
    trial.end()


def lose_mark(trial: Trial, network: str) -> None:
    """Somebody has cleared the description of a network's port group."""
    for group in trial.lab.groups_of_ours():
        if group.mark is not None and group.mark.network == network:
            group.lost, group.mark = group.mark, None
            group.version += 1
    trial.lab.vcenter.changed(None)


@where_ports_are_tagged
@with_many_seeds
def test_vms_whose_port_group_lost_its_mark_go_on_where_they_are_until_it_is_back(design: Design, seed: int) -> None:
    trial = Trial(seed, design, distributed=bool(seed % 2))
    names = trial.furnish("red", "blue", vms=6)
    red, (group,) = names[::2], [group for group in trial.lab.groups_of_ours() if group.name == "red"]
    lose_mark(trial, "red")
    for _ in range(3):
        trial.run(trial.dice.choice((1, 70)))
        assert all(trial.lab.hears(a, frame_from=b) for a in red for b in red if a != b)
        blue = trial.dice.choice(names[1::2])
        trial.lab.vcenter.move(trial.lab.vm(blue).id, trial.elsewhere(blue))
        if trial.dice.random() < 0.3:
            trial.restart()
    group.mark, group.lost = group.lost, None
    group.version += 1
    trial.lab.vcenter.changed(None)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_second_network_of_the_name_cuts_no_vm_off_whose_port_group_lost_its_mark(design: Design, seed: int) -> None:
    trial = Trial(seed, design, distributed=True)
    names = trial.furnish("red", "blue", vms=6)
    red, (group,) = names[::2], [group for group in trial.lab.groups_of_ours() if group.name == "red"]
    lose_mark(trial, "red")
    trial.run(trial.dice.choice((0, 70)))
    trial.lab.intent.networks[NetworkId("z")] = Network(NetworkId("z"), Vni(5777), "red")
    trial.lab.vcenter.changed(None)
    trial.run(70)
    assert all(trial.lab.hears(a, frame_from=b) for a in red for b in red if a != b)
    assert any("put its description back" in line for line in trial.conditions("unmet"))
    if trial.dice.random() < 0.5:
        trial.lab.intent.remove_network("z")
        trial.run(200)
        assert all(trial.lab.hears(a, frame_from=b) for a in red for b in red if a != b)
    group.mark, group.lost = group.lost, None
    group.version += 1
    trial.lab.vcenter.changed(None)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_the_next_network_with_the_vni_of_a_deleted_one_never_meets_its_vms_though_the_mark_was_lost(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue", vms=6)
    lose_mark(trial, "red")
    trial.run(trial.dice.choice((0, 5)))
    vni = trial.lab.intent.networks[NetworkId("red")].vni
    trial.lab.intent.remove_network("red")
    trial.lab.intent.add_network("green", vni=int(vni))
    for number, host in enumerate(HOSTS):
        trial.run(trial.dice.choice((1, 5)))
        trial.boot(f"green{number}", host, "green")
    trial.run(70)
    for name in names[::2]:
        trial.lab.vcenter.destroy(trial.lab.vm(name).id)
    trial.rest()
    (group,) = [
        group for switch in trial.lab.vcenter.switches.values() for group in switch.port_groups.values() if group.lost
    ]
    del trial.lab.vcenter.switches[next(iter(trial.lab.vcenter.switches))].port_groups[group.key]
    trial.end()
