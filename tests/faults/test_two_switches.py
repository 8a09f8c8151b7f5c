"""Two deployments on one vCenter, each on a switch of its own: a VNI is one network's on both of them, or nobody's."""

from __future__ import annotations

import pytest

from isthmus.app.loop import Loop
from isthmus.core.design import Design
from isthmus.model.names import NetworkId
from isthmus.model.tags import Vni
from tests.faults.trial import Trial, where_ports_are_tagged, with_many_seeds

RED = 5003


def red_on_the_second_switch(seed: int, design: Design) -> tuple[Trial, dict[str, Loop]]:
    """Red is wanted on both switches, and has VMs on the second one only.  Each shard has a process of its own."""
    trial = Trial(seed, design, switch_per_cluster=True)
    trial.lab.intent.add_network("red", vni=RED)
    trial.run(5)
    trial.boot("r", "esx3", "red")
    trial.run(10)
    parts = trial.part()
    trial.run(5)
    return trial, parts


def holders(trial: Trial, vni: int) -> set[str]:
    """The networks that have a VNI on some switch, or had it."""
    marks = [group.mark for group in trial.lab.groups_of_ours()]
    return {mark.network for mark in marks if mark is not None and Vni(vni) in (mark.vni, *mark.was)}


@pytest.mark.parametrize(
    ("gives_up", "down"),
    [
        ("renumbered", "c2/esx3"),
        ("deleted", "c2/port-groups"),
        pytest.param("renumbered", "c2/port-groups", marks=pytest.mark.slow),
        pytest.param("deleted", "c2/esx3", marks=pytest.mark.slow),
    ],
)
@where_ports_are_tagged
@with_many_seeds
def test_a_vni_that_a_network_still_has_on_another_switch_is_not_given_to_the_next(
    design: Design, seed: int, gives_up: str, down: str
) -> None:
    trial, parts = red_on_the_second_switch(seed, design)
    trial.processes = [process for name, process in parts.items() if name != down]
    if gives_up == "renumbered":
        trial.renumber("red")
    else:
        trial.lab.intent.remove_network("red")
    trial.run(trial.dice.choice((0, 5)))
    trial.lab.intent.add_network("green", vni=RED)
    trial.run(trial.dice.choice((5, 70)))
    assert holders(trial, RED) == {"red"}
    assert not trial.lab.is_offered("green", trial.lab.host("esx1"))
    assert any("network green: waits" in line and "red" in line for line in trial.conditions("unmet"))
    trial.processes = list(parts.values())
    trial.run(100)
    trial.lab.vcenter.destroy(trial.lab.vm("r").id)
    trial.run(100)
    trial.laws.same = {}
    for process in trial.processes:
        process.agree()
    trial.run(100)
    assert holders(trial, RED) == {"green"}
    trial.boot("g1", "esx1", "green")
    trial.boot("g3", "esx3", "green")
    trial.rest()
    assert trial.lab.hears("g1", frame_from="g3")
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_renumbered_network_moves_on_both_switches_and_its_vms_hear_each_other(design: Design, seed: int) -> None:
    trial, _ = red_on_the_second_switch(seed, design)
    trial.boot("r1", "esx1", "red")
    trial.run(5)
    trial.renumber("red")
    trial.rest()
    wanted = trial.lab.intent.networks[NetworkId("red")].vni
    assert {group.mark.vni for group in trial.lab.groups_of_ours() if group.mark} == {wanted}
    assert trial.lab.hears("r1", frame_from="r")
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_networks_that_pass_their_vnis_on_in_a_chain_never_meet_though_their_vms_are_on_one_switch(
    design: Design, seed: int
) -> None:
    trial, _ = red_on_the_second_switch(seed, design)
    trial.lab.intent.add_network("blue", vni=5006)
    trial.run(5)
    trial.boot("b", "esx3", "blue")
    trial.run(10)
    with trial.unwatched():  # VIDs that mean a network by its old VNI here and by its new one there: frames judge
        trial.lab.intent.renumber("red", 5014)
        trial.lab.intent.renumber("blue", RED)
        trial.lab.intent.add_network("white", vni=5006)
        trial.run(5)
        for name, network in (("b1", "blue"), ("w1", "white")):
            if trial.lab.is_offered(network, trial.lab.host("esx1")):
                trial.boot(name, "esx1", network)
            trial.run(70)
            assert not trial.lab.leaks()
        for _ in range(2):  # blue gets red's, then white gets blue's
            for process in trial.processes:
                process.agree()
            trial.run(70)
            assert not trial.lab.leaks()
        trial.boot("w2", "esx3", "white")
        trial.run(10)
    assert holders(trial, RED) == {"blue"}
    assert holders(trial, 5006) == {"white"}
    trial.laws.same = {}
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_network_has_one_port_group_on_each_of_two_switches_and_is_one_network(design: Design, seed: int) -> None:
    """Whatever it is called there; and when it goes, it goes from both."""
    trial = Trial(seed, design, switch_per_cluster=True)
    trial.furnish("red", "blue", vms=6)
    for group in trial.dice.sample(trial.lab.groups_of_ours(), 2):
        group.name = f"as it was called before {group.key}"
        group.version += 1
    trial.lab.vcenter.changed(None)
    for _ in range(3):
        trial.run(70)
        trial.restart()
    trial.run(5)
    for switch in trial.lab.vcenter.switches.values():
        networks = [group.mark.network for group in switch.port_groups.values() if group.mark is not None]
        assert sorted(networks) == ["blue", "red"]
    trial.laws.neighbours_hear_each_other()
    trial.rest()
    trial.end()
