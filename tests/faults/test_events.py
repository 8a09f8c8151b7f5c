"""Events that are lost, doubled, late or out of order, and mirrors that lag: the end is the same."""

from __future__ import annotations

from collections.abc import Callable

from isthmus.core.design import Design
from tests.core.properties.setting import HOSTS
from tests.faults.trial import Trial, in_every_design, where_ports_are_tagged, with_many_seeds


def unreliable(trial: Trial) -> Callable[[Callable[[], None]], None]:
    """A third of the events is lost, a third comes late, some come twice."""

    def heard(wake: Callable[[], None]) -> None:
        match trial.dice.randrange(6):
            case 0 | 1:
                pass
            case 2 | 3:
                trial.lab.clock.after(trial.dice.uniform(0, 90), wake)
            case 4:
                wake()
                wake()
            case _:
                wake()

    return heard


@in_every_design
@with_many_seeds
def test_lost_doubled_late_and_reordered_events_end_where_good_ones_do(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    trial.furnish("red", "blue", vms=5)
    trial.wake_heard = unreliable(trial)
    for number in range(12):
        something_happens(trial, number)
        trial.run(trial.dice.choice((0, 0, 0.5, 20)))
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_an_inventory_that_stands_still_while_the_world_goes_on_opens_nobody_to_strangers(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    trial.furnish("red", "blue", vms=5)
    for number in range(12):
        if number % 3 == 0:
            trial.lab.inventory.lag()
        something_happens(trial, number)
        trial.run(trial.dice.choice((0, 1, 70)))
        if number % 3 == 2:
            trial.lab.inventory.catch_up()
            trial.lab.vcenter.changed(None)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_port_that_goes_to_another_vm_between_thought_and_deed_is_not_opened_for_it(
    design: Design, seed: int
) -> None:
    """The first VM is destroyed and its port key given to the next, in the same port group, before our write."""
    trial = Trial(seed, design)
    trial.furnish("red", vms=2)
    trial.lab.intent.add_network("green", vni=5014, ports_listed=True)
    trial.run(5)
    for host in HOSTS:  # so that a further port opens in one write, against which only its holder's cookie speaks
        trial.boot(f"resident-{host}", host, "green")
    trial.run(5)
    for number in range(4):
        first = trial.boot(f"first{number}", trial.dice.choice(HOSTS), "green")
        key = trial.port(first.name).key

        def swap(change: object, number: int = number, key: str = key) -> None:
            trial.before_write = lambda change: None
            trial.lab.vcenter.destroy(trial.lab.vm(f"first{number}").id)
            here = trial.lab.host(trial.dice.choice(HOSTS))
            trial.lab.vcenter.create_vm(f"second{number}", here, trial.lab.socket("green", here))
            assert trial.port(f"second{number}").key == key

        trial.before_write = swap
        trial.run(10)
        assert trial.lab.vm(f"second{number}").id not in trial.opened, "it had the port of the VM before"
    trial.rest()
    trial.end()


def something_happens(trial: Trial, number: int) -> None:
    """One of the things that happen to VMs."""
    guests = sorted({vm.name for vm, _ in trial.lab.guests()})
    name = trial.dice.choice(guests)
    vm = trial.lab.vm(name).id
    match trial.dice.choice(("move", "move", "announce", "power", "power", "destroy", "boot")):
        case "move":
            trial.lab.vcenter.move(vm, trial.elsewhere(name))
        case "announce":
            to = trial.elsewhere(name)
            trial.lab.vcenter.announce(vm, to)
            trial.run(trial.dice.choice((0, 2)))
            trial.dice.choice((trial.lab.vcenter.complete, trial.lab.vcenter.fail_move))(vm)
        case "power":
            trial.lab.vcenter.power(vm, not trial.lab.vm(name).powered_on)
        case "destroy" if len(guests) > 3:
            trial.lab.vcenter.destroy(vm)
        case "boot":
            network = trial.dice.choice(("red", "blue"))
            host = trial.dice.choice(HOSTS)
            if trial.lab.is_offered(network, trial.lab.host(host)):
                trial.boot(f"new{number}", host, network)
