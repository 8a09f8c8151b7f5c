"""Moves: many at once, failed, unannounced, while vCenter is away."""

from __future__ import annotations

from dataclasses import replace

from isthmus.core.design import OVSVAPP, Design
from isthmus.model.change import Change, SetDvPort
from isthmus.model.names import HostId
from isthmus.model.names import mac as as_mac
from isthmus.model.shard import VidPool
from isthmus.model.tags import VidSet
from lab.wire.carry import peer_nic
from lab.wire.frames import broadcast
from lab.wire.world import HostSpec, Lab
from tests.core.properties.laws import known_tags
from tests.core.properties.setting import HOSTS
from tests.faults.trial import UNGUARDED, Trial, in_every_design, where_ports_are_tagged, with_many_seeds

WIDE = VidPool(VidSet.of("100-999"))


@with_many_seeds
def test_256_moves_at_once_are_prepared_before_they_end_without_a_write_to_vcenter(seed: int) -> None:
    hosts = [f"esx{number}" for number in range(8)]
    trial = Trial(seed, pool=WIDE, lab=Lab(OVSVAPP, [HostSpec(host) for host in hosts], WIDE, distributed=True))
    trial.heed = False  # 256 VMs that all speak to each other would take all day; pairs are heard below
    networks = [f"n{number}" for number in range(16)]
    for number, network in enumerate(networks):
        trial.lab.intent.add_network(network, vni=6000 + number)
    trial.run(5)
    names = [f"vm{number}" for number in range(256)]
    for number, name in enumerate(names):
        trial.boot(name, trial.dice.choice(hosts), networks[number % 16])
    trial.run(10)
    writes: list[object] = []
    trial.before_write = lambda change: writes.append(change.action) if isinstance(change.action, SetDvPort) else None
    for name in names:
        trial.lab.vcenter.announce(trial.lab.vm(name).id, trial.elsewhere(name))
    trial.run(1)
    for name in names:
        trial.lab.vcenter.complete(trial.lab.vm(name).id)
    for name in names:  # nothing has been done since they arrived
        assert served(trial, name, trial.lab.vm(name).host), f"{name} arrived before its network"
    for number in range(0, 256, 16):
        pair = names[number], names[(number + 16) % 256]
        assert trial.lab.hears(pair[1], frame_from=pair[0])
    trial.run(5)
    assert writes == []
    at_home = {(vm.host, nic.mac) for vm, nic in trial.lab.guests()}
    admitted = {(host, mac) for host, nve in trial.lab.nves.items() for mac in _admitted(nve.entries.values())}
    assert admitted == at_home, "a source forgot too little, or a destination too much"
    trial.end()


def _admitted(entries: object) -> set[object]:
    """The MACs that an appliance takes frames from on its trunk."""
    return {entry.match.src for entry in entries if entry.match.vid is not None and entry.match.src is not None}  # type: ignore[attr-defined]


def served(trial: Trial, name: str, host: HostId) -> bool:
    """Whether the NVE of a host knows what a VM's tag means."""
    port = trial.port(name)
    return port.vlan is not None and any(
        vid == port.vlan.vid  # type: ignore[union-attr]
        for vid, _ in known_tags(trial.lab.nves[host].entries.values())
    )


@where_ports_are_tagged
@with_many_seeds
def test_a_move_that_fails_after_its_preparation_leaves_nothing_at_the_destination(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue")
    before = {place: dict(nve.entries) for place, nve in trial.lab.nves.items()}
    for _ in range(4):
        name = trial.dice.choice(names)
        trial.lab.vcenter.announce(trial.lab.vm(name).id, trial.elsewhere(name))
        trial.run(trial.dice.choice((0.5, 5, 90)))
        trial.lab.vcenter.fail_move(trial.lab.vm(name).id)
        trial.laws.neighbours_hear_each_other()
    trial.rest()
    assert {place: dict(nve.entries) for place, nve in trial.lab.nves.items()} == before
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_move_whose_end_is_never_told_is_forgotten_in_time(design: Design, seed: int) -> None:
    trial = Trial(seed, design, habits=replace(UNGUARDED, move_deadline=120))
    names = trial.furnish("red", "blue")
    before = {place: dict(nve.entries) for place, nve in trial.lab.nves.items()}
    name = trial.dice.choice(names)
    trial.lab.vcenter.announce(trial.lab.vm(name).id, trial.elsewhere(name))
    trial.run(100)
    assert {place: dict(nve.entries) for place, nve in trial.lab.nves.items()} != before, "it is still expected"
    trial.run(100)
    assert {place: dict(nve.entries) for place, nve in trial.lab.nves.items()} == before
    trial.lab.vcenter.fail_move(trial.lab.vm(name).id)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_host_in_maintenance_is_left_by_everybody_knows_nothing_any_more_and_is_served_again_after(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design, distributed=True)
    names = trial.furnish("red", "blue", vms=6)
    host = trial.lab.vm(names[0]).host
    nve, shard = trial.lab.nves[host], trial.lab.vcenter.hosts[host].name
    leaving = [name for name in names if trial.lab.vm(name).host == host]
    for name in leaving:
        trial.lab.vcenter.announce(trial.lab.vm(name).id, trial.elsewhere(name))
        trial.run(trial.dice.choice((0, 0.5, 5)))
        trial.lab.vcenter.complete(trial.lab.vm(name).id)
    trial.run(65)  # a process that serves another host hears of a change there with its next resync
    assert not list(known_tags(nve.entries.values()))
    assert trial.process.seats[shard].last.settled  # type: ignore[union-attr]
    trial.laws.neighbours_hear_each_other()
    nve.faults.down = True  # the appliance is switched off with its host
    trial.lab.vcenter.hosts[host].connected = False
    trial.lab.vcenter.changed(host)
    trial.run(trial.dice.choice((5, 700)))
    written = trial.written
    trial.run(100)
    assert trial.written == written, "there is nothing left to do for it"
    trial.laws.neighbours_hear_each_other()
    trial.lab.vcenter.hosts[host].connected = True
    nve.restart()
    nve.faults.down = False
    trial.run(65)
    for name in leaving:
        trial.lab.vcenter.move(trial.lab.vm(name).id, host)
    trial.rest()
    assert trial.process.seats[shard].last.settled  # type: ignore[union-attr]
    trial.end()


@in_every_design
@with_many_seeds
def test_vms_restarted_by_ha_while_vcenter_was_away_are_in_their_own_networks_after(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue", vms=6)
    trial.lab.vcenter.faults.down = True
    dead = trial.dice.choice(sorted(trial.lab.vcenter.hosts))
    for name in names:
        if trial.lab.vm(name).host == dead:
            trial.lab.vcenter.restart_by_ha(trial.lab.vm(name).id, trial.elsewhere(name))
    trial.run(trial.dice.choice((10, 900)))
    assert not trial.lab.leaks()
    trial.lab.vcenter.faults.down = False
    trial.lab.vcenter.changed(None)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_vm_whose_port_is_told_only_while_it_moves_or_after_is_served_where_it_is(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    trial.furnish("red", "blue")
    trial.lab.intent.add_network("green", vni=5014, ports_listed=True)
    trial.run(5)
    for host in HOSTS:
        trial.boot(f"resident-{host}", host, "green")
    trial.run(10)
    written: list[str] = []

    def note(change: Change) -> None:
        if isinstance(change.action, SetDvPort):
            written.append(change.action.key)

    trial.before_write = note
    for number in range(4):
        name, source = f"late{number}", trial.lab.host(trial.dice.choice(HOSTS))
        vm = trial.lab.vcenter.create_vm(name, source, trial.lab.socket("green", source))
        (nic,) = vm.nics.values()
        tell_during = trial.dice.random() < 0.5
        trial.run(trial.dice.choice((0, 2, 70)))
        trial.lab.vcenter.announce(vm.id, trial.elsewhere(name))
        trial.run(trial.dice.choice((0, 2)))
        if tell_during:
            trial.lab.intent.add_port(f"port-{name}", "green", vm.id, nic.mac, f"10.0.0.{100 + number}")
            trial.run(trial.dice.choice((0, 2)))
        else:
            assert not trial.is_open(name), "nobody has said that it is a port"
        trial.lab.vcenter.complete(vm.id)
        if not tell_during:
            trial.run(trial.dice.choice((0, 2, 70)))
            assert not trial.is_open(name)
            trial.lab.intent.add_port(f"port-{name}", "green", vm.id, nic.mac, f"10.0.0.{100 + number}")
        trial.run(3)
        assert trial.is_open(name)
        trial.laws.neighbours_hear_each_other()
        assert written.count(trial.port(name).key) <= 2, "claimed and opened, once"
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_vm_that_is_moved_or_made_anew_while_it_boots_is_heard_where_it_ends(design: Design, seed: int) -> None:
    """Also by a DHCP server outside vSphere, to which it cries before it has an address."""
    trial = Trial(seed, design)
    trial.furnish("red", "blue")
    server = trial.lab.intent.add_peer("red", "203.0.113.9", as_mac("fa:16:3e:00:00:09"), "10.0.0.2")
    for number in range(6):
        name, address = f"new{number}", f"00:50:56:bb:00:{number:02x}"
        trial.lab.boot(name, trial.dice.choice(HOSTS), "red", mac=address)
        for _ in range(trial.dice.choice((1, 2, 3))):
            trial.run(trial.dice.choice((0, 0.1, 0.5, 1)))
            vm = trial.lab.vm(name).id
            match trial.dice.choice(("drs", "jump", "anew")):
                case "drs":
                    trial.lab.vcenter.announce(vm, trial.elsewhere(name))
                    trial.run(trial.dice.choice((0, 0.1, 0.5)))
                    trial.lab.vcenter.complete(vm)
                case "jump":
                    trial.lab.vcenter.restart_by_ha(vm, trial.elsewhere(name))
                case "anew":
                    trial.lab.vcenter.destroy(vm)
                    trial.lab.boot(name, trial.dice.choice(HOSTS), "red", mac=address)
        trial.run(3)
        nic = trial.lab.nic(name)
        heard = [one.nic for one in trial.lab.wires.send(nic.id, broadcast(nic.mac))]
        assert heard.count(peer_nic(server)) == 1
        trial.laws.neighbours_hear_each_other()
    trial.rest()
    trial.end()
