"""Ports that are not handed out once for all: made by a host without vCenter, or there only while their VM runs."""

from __future__ import annotations

from isthmus.core.design import Design
from isthmus.model.change import Change, SetDvPort
from tests.core.properties.laws import known_tags
from tests.faults.trial import Trial, where_ports_are_tagged, with_many_seeds


@where_ports_are_tagged
@with_many_seeds
def test_a_vm_that_its_host_gave_a_conflict_port_is_cut_off_and_shown_until_it_is_restarted(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue", vms=6)
    tried: list[str] = []

    def note(change: Change) -> None:
        if isinstance(change.action, SetDvPort):
            tried.append(change.action.key)

    trial.before_write = note
    torn, red = names[0], names[2::2]
    trial.lab.vcenter.faults.down = True
    trial.lab.vcenter.restart_by_ha(trial.lab.vm(torn).id, trial.elsewhere(torn))
    trial.lab.vcenter.conflict(trial.lab.nic(torn).id)
    trial.run(trial.dice.choice((5, 300)))
    trial.lab.vcenter.faults.down = False
    trial.lab.vcenter.changed(None)
    trial.run(200)
    key = trial.port(torn).key
    assert not trial.is_open(torn)
    assert any(
        line.startswith(f"port {key}: ") and "power the VM off and on" in line for line in trial.conditions("unmet")
    )
    assert all(trial.lab.hears(a, frame_from=b) for a in red for b in red if a != b)
    for on in (False, True):
        trial.lab.vcenter.power(trial.lab.vm(torn).id, on)
        trial.run(trial.dice.choice((0, 5)))
    trial.rest()
    assert trial.is_open(torn)
    assert key not in tried
    assert not trial.conditions("unmet")
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_ephemeral_ports_are_served_like_others_and_leave_nothing_behind_when_they_vanish(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    trial.furnish("red", "blue", vms=0)
    for group in trial.lab.groups_of_ours():
        group.early_binding = False
        group.version += 1
    names = [f"vm{number}" for number in range(6)]
    for number, name in enumerate(names):
        trial.boot(
            name,
            trial.dice.choice(sorted(host.name for host in trial.lab.vcenter.hosts.values())),
            ("red", "blue")[number % 2],
        )
    trial.run(10)
    trial.laws.neighbours_hear_each_other()
    for _ in range(6):
        name = trial.dice.choice(names)
        trial.lab.vcenter.power(trial.lab.vm(name).id, False)
        trial.run(trial.dice.choice((0, 0.5, 5)))
        if trial.dice.random() < 0.5:
            trial.lab.vcenter.move(trial.lab.vm(name).id, trial.elsewhere(name))
        trial.lab.vcenter.power(trial.lab.vm(name).id, True)
        trial.run(trial.dice.choice((0, 0.5, 5)))
    for name in names:
        trial.lab.vcenter.power(trial.lab.vm(name).id, False)
    trial.rest()
    assert not [port for switch in trial.lab.vcenter.switches.values() for port in switch.ports.values() if port.vlan]
    assert not [tag for nve in trial.lab.nves.values() for tag in known_tags(nve.entries.values())]
    for name in names:
        trial.lab.vcenter.power(trial.lab.vm(name).id, True)
    trial.rest()
    assert all(trial.is_open(name) for name in names)
    trial.end()
