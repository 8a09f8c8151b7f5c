"""NICs, each by itself: several of one VM, some that come and go, some that are nobody's of ours."""

from __future__ import annotations

from isthmus.core.design import Design
from isthmus.model.flow import Flow
from isthmus.model.names import HostId, VmId
from isthmus.model.names import mac as as_mac
from isthmus.model.nve import NveEntry, Plug
from isthmus.model.observed import Access
from isthmus.model.tags import Vid
from lab.wire.vsphere import VmNic
from tests.faults.trial import Trial, where_ports_are_tagged, with_many_seeds


def lets_in(trial: Trial, host: HostId, nic: VmNic) -> bool:
    """Whether a host's NVE takes frames from a NIC there."""
    return any(_speaks(entry, nic) for entry in trial.lab.nves[host].entries.values())


def _speaks(entry: NveEntry, nic: VmNic) -> bool:
    match entry:
        case Flow(match=match):
            return match.vid is not None and match.src == nic.mac
        case Plug():
            return entry.nic == nic.id
    return False


def second_nic(trial: Trial, name: str, network: str) -> VmNic:
    """A VM gets a further NIC, in another network than its first."""
    vm = trial.lab.vm(name)
    return trial.lab.vcenter.add_nic(vm.id, trial.lab.socket(network, vm.host))


@where_ports_are_tagged
@with_many_seeds
def test_each_nic_of_a_vm_is_in_its_own_network_as_nics_come_and_go(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    first, stays, other_red, other_blue = trial.furnish("red", "blue")
    in_red = trial.lab.nic(first)
    in_blue = second_nic(trial, first, "blue")
    trial.run(trial.dice.choice((2, 70)))
    for nic, neighbour, stranger in ((in_red, other_red, other_blue), (in_blue, other_blue, other_red)):
        assert trial.lab.are_joined(nic, trial.lab.nic(neighbour))
        assert trial.lab.are_joined(trial.lab.nic(neighbour), nic)
        assert not trial.lab.are_joined(nic, trial.lab.nic(stranger))
    trial.lab.vcenter.remove_nic(in_red.id)
    trial.run(trial.dice.choice((2, 70)))
    assert not any(lets_in(trial, host, in_red) for host in trial.lab.vcenter.hosts)
    assert trial.lab.are_joined(trial.lab.nic(stays), in_blue)
    assert lets_in(trial, trial.lab.vm(first).host, in_blue)
    again = second_nic(trial, first, "red")
    trial.run(trial.dice.choice((2, 70)))
    assert trial.lab.are_joined(trial.lab.nic(other_red), again)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_vm_with_two_nics_that_moves_is_heard_by_both_where_it_arrives(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    first, blue, red, _ = trial.furnish("red", "blue")
    nics = {trial.lab.nic(first).id: red, second_nic(trial, first, "blue").id: blue}
    trial.run(5)
    for _ in range(3):
        source = trial.lab.vm(first).host
        trial.lab.vcenter.announce(trial.lab.vm(first).id, trial.elsewhere(first))
        trial.run(2)
        trial.lab.vcenter.complete(trial.lab.vm(first).id)
        if design.nve.knows_ports:  # told of a port only where it is
            trial.run(2)
        for nic, neighbour in nics.items():
            mine = trial.lab.vcenter.nic(nic)
            assert trial.lab.are_joined(mine, trial.lab.nic(neighbour))
            assert trial.lab.are_joined(trial.lab.nic(neighbour), mine)
        trial.run(5)
        assert not any(lets_in(trial, source, trial.lab.vcenter.nic(nic)) for nic in nics)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_nic_that_gets_another_port_or_its_own_anew_is_served_there(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    name, *_ = trial.furnish("red", "blue")
    nic, socket = trial.lab.nic(name), trial.lab.socket("red", trial.lab.vm(name).host)
    for number in range(4):
        before = trial.port(name)
        key, cookie = before.key, before.cookie
        trial.lab.vcenter.replug(nic.id, None)
        if taken := trial.dice.random() < 0.5:  # by the next NIC, so that ours gets another
            trial.boot(f"next{number}", trial.dice.choice(("esx1", "esx2", "esx3")), "red")
        trial.run(trial.dice.choice((0, 0.5, 5)))
        trial.lab.vcenter.replug(nic.id, socket)
        assert (trial.port(name).key != key) == taken
        assert trial.port(name).cookie != cookie
        assert not trial.is_open(name)
        trial.run(3)
        assert trial.is_open(name)
        trial.laws.neighbours_hear_each_other()
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_nics_of_others_are_left_alone_without_a_word(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    trial.furnish("red", "blue")
    vcenter, here = trial.lab.vcenter, trial.lab.host("esx1")
    (ours,) = vcenter.switches
    theirs = vcenter.add_switch("theirs", set(vcenter.hosts))
    group = vcenter.add_port_group(theirs.id, "production", Access(Vid(7)))
    beside = vcenter.add_port_group(ours, "beside ours", Access(Vid(8)))
    trial.run(70)
    written, said = trial.written, shown(trial)
    vm = vcenter.create_vm("other", here, (theirs.id, group.key), (ours, beside.key), None)
    for _ in range(8):
        match trial.dice.choice(("power", "move", "wait")):
            case "power":
                vcenter.power(vm.id, not vm.powered_on)
            case "move":
                vcenter.move(vm.id, trial.elsewhere("other"))
            case "wait":
                trial.run(70)
        trial.run(2)
        assert shown(trial) == said
    assert trial.written == written
    assert not any(lets_in(trial, host, nic) for host in vcenter.hosts for nic in vm.nics.values())
    vcenter.destroy(vm.id)
    trial.run(5)
    assert trial.written == written
    trial.rest()
    trial.end()


def shown(trial: Trial) -> set[str]:
    """All that is shown of anything."""
    seats = [seat for process in trial.processes for seat in process.seats.values()]
    return {f"{c.kind} {c.about}: {c.reason}" for seat in seats for c in seat.conditions}


@where_ports_are_tagged
@with_many_seeds
def test_a_port_of_the_intent_that_no_vm_has_is_waited_for_and_costs_nothing(design: Design, seed: int) -> None:
    """Told before its VM is there, or long after it went."""
    trial = Trial(seed, design)
    trial.lab.intent.add_network("green", vni=5014, ports_listed=True)
    trial.furnish("red", "blue")
    written, asked = trial.written, trial.lab.vcenter.faults.calls
    address = as_mac("00:50:56:aa:00:01")
    for _ in range(3):
        trial.lab.intent.add_port("port-late", "green", VmId("vm-late"), address, "10.0.0.9")
        trial.run(trial.dice.choice((1, 200)))
        trial.lab.intent.remove_port("port-late")
        trial.run(trial.dice.choice((1, 200)))
    assert trial.written == written
    assert not trial.conditions("failed")
    trial.lab.intent.add_port("port-late", "green", VmId("vm-late"), address, "10.0.0.9")
    trial.run(5)
    asked = trial.lab.vcenter.faults.calls
    trial.run(600)
    assert trial.lab.vcenter.faults.calls - asked <= 600 / 40 * 4, "it is looked for again and again"
    trial.lab.vcenter.create_vm(
        "late", trial.lab.host("esx2"), trial.lab.socket("green", trial.lab.host("esx2")), macs=(address,)
    )
    trial.run(3)
    assert trial.is_open("late")
    trial.rest()
    trial.end()
