"""What vCenter did not tell, since it folds like events into one, is found in time all the same."""

from __future__ import annotations

from dataclasses import replace

from isthmus.core.design import OVSVAPP
from isthmus.model.change import Change, Gate, SetDvPort
from isthmus.model.names import NetworkId
from isthmus.model.observed import Access
from isthmus.model.scope import HostScope
from isthmus.model.shard import VidPool
from isthmus.model.tags import Vid, VidSet
from tests.core.properties.setting import HOSTS, NETWORKS
from tests.faults.trial import Trial, with_many_seeds

ONE = VidPool(VidSet.of("100"))


def rivals(seed: int, pool: VidPool) -> Trial:
    """A process for each shard, with the networks red and blue."""
    trial = Trial(seed, OVSVAPP, pool, distributed=True)
    trial.processes = [trial.start(name) for name in trial.lab.loops]
    for name in ("red", "blue"):
        trial.lab.intent.add_network(name, vni=NETWORKS[name])
    trial.run(5)
    return trial


def others_look(trial: Trial, host: str) -> None:
    """All but the process of a host look now."""
    for loop in trial.processes:
        if host not in loop.seats:
            loop.wake()
            loop.step()


def first_with_a_choice(trial: Trial, here: str) -> None:
    """A VM of red has the only tag there was, and now there are two."""
    trial.boot("first", here, "red")
    trial.run(70)
    trial.lab.pool = VidPool(VidSet.of("100-101"))


def assign(trial: Trial, here: str, vid: int) -> None:
    """The SDN wants red to wear another tag on a host, and the process there hears of it."""
    (switch,) = trial.lab.vcenter.switches
    red = trial.lab.intent.networks[NetworkId("red")]
    scope = HostScope(trial.lab.host(here), switch)
    trial.lab.intent.networks[red.id] = replace(red, assigned={scope: Vid(vid)})
    trial.lab.vcenter.changed(trial.lab.host(here))


@with_many_seeds
def test_a_rival_whose_tag_nobody_told_of_is_seen_before_a_port_opens(seed: int) -> None:
    trial = rivals(seed, ONE)
    here, there = trial.dice.sample(HOSTS, 2)
    trial.boot("first", here, "red")
    others_look(trial, here)  # and see it without a tag
    trial.run(5)
    assert trial.is_open("first")
    trial.boot("second", there, "blue")
    trial.run(300)
    assert trial.is_open("first")
    assert not trial.is_open("second"), "there is one tag for the two"
    trial.rest()
    trial.end()


@with_many_seeds
def test_a_rival_that_is_quicker_than_our_claim_is_seen_before_we_open_though_we_just_looked(seed: int) -> None:
    trial = rivals(seed, ONE)
    here, there = trial.dice.sample(HOSTS, 2)
    (ours,), (rival,) = ([loop for loop in trial.processes if host in loop.seats] for host in (here, there))

    def meanwhile(change: Change) -> None:
        if isinstance(change.action, SetDvPort) and change.action.gate is Gate.CLAIM:
            trial.before_write = lambda change: None
            rival.step()
            assert trial.is_open("second")

    trial.boot("second", there, "blue")  # we see it without a tag
    trial.boot("first", here, "red")
    trial.before_write = meanwhile
    ours.look_at_everything()
    ours.step()
    trial.run(300)
    assert trial.is_open("second")
    assert not trial.is_open("first"), "there is one tag for the two"
    trial.rest()
    trial.end()


@with_many_seeds
def test_an_open_port_takes_no_other_tag_that_a_rival_wears_untold(seed: int) -> None:
    trial = rivals(seed, ONE)
    here, there = trial.dice.sample(HOSTS, 2)
    first_with_a_choice(trial, here)
    trial.boot("second", there, "blue")
    others_look(trial, there)
    trial.run(5)
    assert trial.port("second").vlan == Access(Vid(101))
    assign(trial, here, 101)
    trial.run(300)
    assert trial.port("second").vlan == Access(Vid(101))
    assert trial.port("first").vlan != Access(Vid(101))
    trial.end()


@with_many_seeds
def test_the_claim_of_a_process_that_is_gone_is_no_reason_to_open(seed: int) -> None:
    trial = rivals(seed, ONE)
    here, there, away = trial.dice.sample(HOSTS, 3)
    dead = next(loop for loop in trial.processes if here in loop.seats)
    trial.boot("first", there, "blue")
    others_look(trial, there)  # and see it without a tag
    trial.run(2)
    assert trial.is_open("first")

    def die_after_the_claim(change: Change) -> None:
        if isinstance(change.action, SetDvPort) and change.action.gate is Gate.CLAIM:
            dead.stop()  # this write goes out, and nothing after it

    trial.before_write = die_after_the_claim
    trial.boot("second", here, "red")
    dead.step()
    trial.before_write = lambda change: None
    trial.processes.remove(dead)
    assert trial.port("second").vlan == trial.port("first").vlan, "claimed by whom nobody told that it is worn"
    trial.lab.vcenter.move(trial.lab.vm("second").id, trial.lab.host(away))
    trial.run(300)
    assert trial.is_open("first")
    assert not trial.is_open("second")
    trial.end()


@with_many_seeds
def test_a_rival_that_opens_while_a_tag_is_given_without_a_claim_parts_from_it_for_good(seed: int) -> None:
    trial = rivals(seed, ONE)
    here, there = trial.dice.sample(HOSTS, 2)
    first_with_a_choice(trial, here)
    key, rival = trial.port("first").key, next(loop for loop in trial.processes if there in loop.seats)

    def meanwhile(change: Change) -> None:
        if isinstance(change.action, SetDvPort) and (change.action.key, change.action.vid) == (key, 101):
            trial.before_write = lambda change: None
            with trial.unwatched():
                trial.boot("second", there, "blue")
                for _ in range(3):
                    rival.step()
                    trial.lab.clock.advance(0.1)

    trial.before_write = meanwhile
    with trial.unwatched():
        assign(trial, here, 101)
        trial.run(150)
    assert trial.port("first").vlan != trial.port("second").vlan
    trial.end()


@with_many_seeds
def test_a_tag_that_a_hand_changed_and_nobody_told_of_is_put_right_by_the_next_look_at_everything(seed: int) -> None:
    trial = Trial(seed)
    names = trial.furnish("red", "blue", vms=6)  # by turns
    victim = trial.dice.choice(names)
    tag = trial.port(victim).vlan
    with trial.unwatched():
        trial.port(victim).vlan = trial.port(names[names.index(victim) - 1]).vlan
        trial.port(victim).version += 1
        trial.run(75)
    assert trial.port(victim).vlan == tag
    trial.rest()
    trial.end()
