"""Starts: of a process after things happened without it, of a host that was not there, of a VM that takes its time."""

from __future__ import annotations

from isthmus.core.design import Design
from isthmus.model.names import mac as as_mac
from isthmus.model.observed import Access
from isthmus.model.tags import Vid
from lab.wire.carry import peer_nic
from lab.wire.frames import broadcast
from tests.core.properties.laws import known_tags
from tests.core.properties.setting import HOSTS
from tests.faults.trial import Trial, in_every_design, where_ports_are_tagged, with_many_seeds


@in_every_design
@with_many_seeds
def test_a_process_that_starts_while_vcenter_is_away_asks_little_and_serves_when_it_is_back(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue")
    trial.lab.vcenter.faults.down = True
    trial.restart()
    before = trial.lab.vcenter.faults.unanswered
    trial.lab.vcenter.move(trial.lab.vm(names[0]).id, trial.elsewhere(names[0]))
    trial.run(trial.dice.choice((300, 3600)))
    readers = 1 + sum(target.kind in ("dvs", "vss") for target in trial.lab.targets)
    assert trial.lab.vcenter.faults.unanswered - before < readers * (3600 / 60 + 10)
    trial.lab.vcenter.faults.down = False
    trial.run(100)
    trial.laws.neighbours_hear_each_other()
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_vids_that_hands_wrote_while_nobody_ran_are_put_right_at_the_start(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue", vms=6)
    free = next(vid for vid in range(100, 150) if vid not in {*map(int, trial.laws.worn())})
    joined, lost, bare = trial.dice.sample(names[::2], 3)
    with trial.unwatched():  # until the first write it is the hands' doing
        trial.port(joined).vlan = trial.port(names[1]).vlan
        trial.port(lost).vlan = Access(Vid(4000 if trial.dice.random() < 0.5 else free))
        trial.port(bare).vlan = trial.port(bare).blocked = None
        for name in (joined, lost, bare):
            trial.port(name).version += 1
        for group in trial.lab.groups_of_ours():
            if group.name == "blue":
                group.vlan, group.blocked = Access(Vid(free)), False
                group.version += 1
        trial.restart()
        trial.run(5)
    assert not trial.lab.leaks()
    trial.laws.neighbours_hear_each_other()
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_tag_of_vms_that_were_deleted_while_a_process_was_down_means_nothing_once_it_is_back(
    design: Design, seed: int
) -> None:
    """And a network that comes then has a tag of its own, on every host."""
    trial = Trial(seed, design, distributed=True)
    names = trial.furnish("red", "blue", vms=6)
    parts = trial.part()
    trial.run(5)
    down = trial.dice.choice(HOSTS)
    trial.processes = [process for name, process in parts.items() if name != down]
    for name in names:
        trial.lab.vcenter.destroy(trial.lab.vm(name).id)
    trial.run(trial.dice.choice((5, 200)))
    trial.processes.append(trial.start(down))
    trial.run(5)
    assert not [tag for nve in trial.lab.nves.values() for tag in known_tags(nve.entries.values())]
    trial.lab.intent.add_network("green", vni=5014)
    trial.run(5)
    for host in HOSTS:
        trial.boot(f"green-{host}", host, "green")
    trial.run(10)
    worn = {port.vlan for switch in trial.lab.vcenter.switches.values() for port in switch.ports.values() if port.vlan}
    known = {vid for nve in trial.lab.nves.values() for vid, _ in known_tags(nve.entries.values())}
    assert {Access(vid) for vid in known} == worn
    trial.rest()
    trial.end()


@in_every_design
@with_many_seeds
def test_an_empty_port_group_stays_as_long_as_its_network_is_wanted(design: Design, seed: int) -> None:
    """A VM that takes an hour to boot finds the port group that it was promised."""
    trial = Trial(seed, design)
    trial.furnish("red", "blue")
    trial.lab.intent.add_network("green", vni=5014)
    trial.run(5)
    here = trial.lab.host("esx2")
    promised = trial.lab.socket("green", here)
    for _ in range(4):
        trial.run(10)
        assert trial.lab.socket("green", here) == promised
        trial.run(trial.dice.choice((30, 1000)))
        if trial.dice.random() < 0.5:
            trial.restart()
    trial.run(5)
    assert trial.lab.socket("green", here) == promised
    vm = trial.lab.vcenter.create_vm("slow", here, promised, powered_on=False)
    trial.run(trial.dice.choice((30, 3600)))
    trial.lab.vcenter.power(vm.id, True)
    trial.boot("other", "esx3", "green")
    trial.run(5)
    trial.laws.neighbours_hear_each_other()
    trial.lab.vcenter.destroy(vm.id)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_host_that_joins_knows_whom_its_vms_talk_to_before_the_first_of_them_arrives(
    design: Design, seed: int
) -> None:
    """Members on other hosts and outside vSphere, all of them older than the host."""
    trial = Trial(seed, design, distributed=True)
    parts = trial.part()
    trial.processes = [process for name, process in parts.items() if name != "esx3"]
    (switch,) = trial.lab.vcenter.switches.values()
    here = trial.lab.host("esx3")
    switch.hosts.remove(here)
    trial.lab.nves[here].faults.down = True
    outside = trial.lab.intent.add_peer("red", "203.0.113.9", as_mac("fa:16:3e:00:00:09"), "10.0.0.2")
    for name, vni in (("red", 5003), ("blue", 5006)):
        trial.lab.intent.add_network(name, vni=vni)
    trial.run(5)
    for number in range(6):
        trial.boot(f"vm{number}", HOSTS[number % 2], ("red", "blue")[number // 3])
    trial.run(10)
    trial.lab.nves[here].faults.down = False
    switch.hosts.add(here)
    trial.lab.vcenter.changed(None)
    trial.processes = list(parts.values())
    trial.run(trial.dice.choice((5, 70)))
    first = trial.lab.vm("vm0").id
    trial.lab.vcenter.announce(first, here)
    trial.lab.vcenter.changed(None)  # vCenter's news wakes every host with a NIC in the network
    trial.run(2)
    trial.lab.vcenter.complete(first)
    if design.nve.knows_ports:  # told of a port only where it is
        trial.run(2)
    assert trial.lab.vm("vm0").host == here
    trial.laws.neighbours_hear_each_other()
    nic = trial.lab.nic("vm0")
    heard = [one.nic for one in trial.lab.wires.send(nic.id, broadcast(nic.mac))]
    assert heard.count(peer_nic(outside)) == 1
    trial.boot("born-there", "esx3", "blue")
    trial.lab.vcenter.changed(None)
    trial.run(5)
    trial.laws.neighbours_hear_each_other()
    trial.rest()
    trial.end()
