"""One object that cannot be written: everything else goes on as if it were not there, and it is shown all the time."""

from __future__ import annotations

from isthmus.app import report
from isthmus.app.status import seen_by, status
from isthmus.core.design import OVSVAPP, OVSVAPP_CLUSTER, Design
from isthmus.model.change import Change, RemovePortGroup, SetDvPort
from isthmus.model.faults import Retry
from isthmus.model.observed import Access
from lab.wire.faults import ALWAYS
from tests.core.properties.setting import HOSTS
from tests.faults.trial import Trial, where_ports_are_tagged, with_many_seeds


def with_a_stuck_port(design: Design, seed: int) -> Trial:
    """On esx2 a red VM's port refuses every write, and has for long."""
    trial = Trial(seed, design)
    trial.furnish("red", "blue", vms=3)
    trial.boot("k", "esx2", "red")
    trial.boot("y", "esx2", "blue")
    trial.run(10)
    trial.boot("s", "esx2", "red")
    stuck = trial.port("s").key

    def refuse(change: Change) -> None:
        if isinstance(change.action, SetDvPort) and change.action.key == stuck:
            raise Retry("InvalidState")

    trial.before_write = refuse
    trial.run(400)
    assert not trial.is_open("s")
    return trial


@where_ports_are_tagged
@with_many_seeds
def test_a_port_that_cannot_be_written_delays_no_other_vm_of_its_host(design: Design, seed: int) -> None:
    trial = with_a_stuck_port(design, seed)
    trial.boot("n", "esx2", "red")
    trial.run(2)
    assert trial.is_open("n")
    trial.before_write = lambda change: None
    trial.rest()
    assert trial.is_open("s")
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_while_a_port_is_stuck_a_hand_that_joins_two_networks_is_undone_at_once(design: Design, seed: int) -> None:
    trial = with_a_stuck_port(design, seed)
    joined = trial.port("k")
    with trial.unwatched():  # the hand's doing
        joined.vlan = trial.port("y").vlan
        assert isinstance(joined.vlan, Access)
        trial.touch(joined)
        trial.run(1)
    trial.laws.nobody_hears_strangers()
    trial.run(3)
    assert trial.is_open("k")
    trial.before_write = lambda change: None
    trial.rest()
    trial.end()


def test_a_stuck_port_is_shown_between_attempts_too_until_it_is_open() -> None:
    trial = with_a_stuck_port(OVSVAPP, 0)
    for _ in range(130):  # more than the longest wait
        trial.run(1)
        assert any("InvalidState" in text for text in trial.conditions("failed"))
    trial.before_write = lambda change: None
    trial.run(61)
    assert trial.is_open("s")
    assert trial.conditions("failed") == []
    trial.rest()
    trial.end()


def test_the_operator_is_told_what_keeps_a_vm_out_of_its_network_and_when_it_is_tried_again() -> None:
    trial = with_a_stuck_port(OVSVAPP, 0)
    trial.run(1)
    [row] = [row for row in report.ports(seen_by(trial.process)) if row["vm"] == "s"]
    assert not row["wired"]
    assert "failed and is tried again" in row["why"]
    assert "InvalidState" in row["why"]
    told = status(trial.process, trial.process._sight, (), trial.process._clock)
    pending = [text for shard in told["shards"] for text in shard["pending"]]
    assert any("InvalidState, tried again in " in text for text in pending)


def test_a_port_that_waits_for_what_its_nve_cannot_learn_is_pending_and_says_so() -> None:
    trial = Trial(0, OVSVAPP)
    trial.furnish("red", vms=1)
    for nve in trial.lab.nves.values():
        nve.faults.fail("Learn", times=ALWAYS)
    trial.boot("n", next(host for host in HOSTS if trial.lab.host(host) != trial.lab.vm("vm0").host), "red")
    trial.run(30)
    told = status(trial.process, trial.process._sight, (), trial.process._clock)
    pending = [text for shard in told["shards"] for text in shard["pending"]]
    assert any("tried again in" in text for text in pending)
    assert any("waits for another" in text for text in pending)
    trial.rest()
    assert trial.is_open("n")
    trial.end()


def test_a_port_that_must_close_and_cannot_is_tried_again_within_seconds_however_often_it_failed() -> None:
    trial = Trial(0, OVSVAPP)
    trial.furnish("red", "blue", vms=3)
    trial.boot("k", "esx2", "red")
    trial.boot("y", "esx2", "blue")
    trial.run(10)
    joined = trial.port("k")

    def refuse(change: Change) -> None:
        if isinstance(change.action, SetDvPort) and change.action.key == joined.key:
            raise Retry("ConcurrentAccess")

    trial.before_write = refuse
    with trial.unwatched():
        joined.vlan = trial.port("y").vlan
        trial.touch(joined)
        trial.run(100)
        trial.before_write = lambda change: None
        trial.run(5)
    trial.laws.nobody_hears_strangers()
    trial.rest()
    trial.end()


def test_a_port_group_that_cannot_be_removed_delays_no_other_network() -> None:
    for design in (OVSVAPP, OVSVAPP_CLUSTER):
        trial = Trial(0, design)
        trial.lab.intent.add_network("red", vni=5001)
        trial.run(5)

        def refuse(change: Change) -> None:
            if isinstance(change.action, RemovePortGroup):
                raise Retry("ResourceInUse")

        trial.before_write = refuse
        trial.lab.intent.remove_network("red")
        trial.run(200)
        trial.lab.intent.add_network("blue", vni=5002)
        trial.run(1)
        switches = trial.lab.vcenter.switches.values()
        names = {group.name.split()[0] for switch in switches for group in switch.port_groups.values()}
        assert names >= {"red", "blue"}
        trial.before_write = lambda change: None
        trial.rest()
        trial.end()
