"""Far sides that are gone or refuse, processes that die or meet another: traffic goes on, and all comes right."""

from __future__ import annotations

from isthmus.core.design import Design
from isthmus.model.change import Change, SetDvPort
from isthmus.model.faults import Retry, Unreachable
from isthmus.model.names import NetworkId
from lab.wire.faults import ALWAYS
from tests.faults.trial import Killed, Trial, in_every_design, where_ports_are_tagged, with_many_seeds


@in_every_design
@with_many_seeds
def test_killed_at_any_write_and_started_anew_it_ends_where_it_would_have(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    spare = 0

    def kill(change: Change) -> None:
        nonlocal spare
        if spare == 0:
            raise Killed
        spare -= 1

    names = trial.furnish("red", "blue")
    deeds = [
        lambda: trial.lab.vcenter.move(trial.lab.vm(names[0]).id, trial.elsewhere(names[0])),
        lambda: trial.lab.vcenter.power(trial.lab.vm(names[1]).id, False),
        lambda: trial.lab.vcenter.destroy(trial.lab.vm(names[2]).id),
        lambda: trial.renumber("red"),
        lambda: trial.lab.vcenter.power(trial.lab.vm(names[1]).id, True),
        lambda: trial.lab.intent.remove_network("blue"),
    ]
    trial.dice.shuffle(deeds)
    for deed in deeds:
        deed()
        trial.before_write = kill
        for boundary in range(4):
            spare = boundary
            try:
                trial.run(5)
            except Killed:
                trial.restart()
        trial.before_write = lambda change: None
    trial.rest()
    trial.end()


@in_every_design
@with_many_seeds
def test_while_vcenter_is_away_longer_than_every_timer_nothing_is_taken_away_and_little_is_asked(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue")
    groups = len(trial.lab.groups_of_ours())
    trial.lab.vcenter.announce(trial.lab.vm(names[0]).id, trial.elsewhere(names[0]))
    trial.run(2)
    trial.lab.vcenter.faults.down = True
    trial.lab.intent.remove_network("blue")
    trial.run(1800)
    lost = trial.dice.choice(sorted(trial.lab.nves))
    trial.lab.nves[lost].restart()
    trial.run(1800)
    assert len(trial.lab.groups_of_ours()) == groups
    red = [name for number, name in enumerate(names) if number % 2 == 0]
    assert all(trial.lab.hears(other, frame_from=name) for name in red for other in red if other != name)
    readers = 1 + sum(target.kind in ("dvs", "vss") for target in trial.lab.targets)
    assert trial.lab.vcenter.faults.unanswered < readers * (3600 / 60 + 10), "it keeps asking a vCenter that is away"
    trial.lab.vcenter.complete(trial.lab.vm(names[0]).id)
    for name in names[1::2]:
        trial.lab.vcenter.destroy(trial.lab.vm(name).id)
    trial.rest()
    assert {group.name.split()[0] for group in trial.lab.groups_of_ours()} <= {"red"}
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_two_processes_that_keep_the_same_shards_do_no_harm_and_agree(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    trial.processes.append(trial.start())
    names = trial.furnish("red", "blue")
    for _ in range(6):
        name = trial.dice.choice(names)
        trial.lab.vcenter.move(trial.lab.vm(name).id, trial.elsewhere(name))
        trial.lab.vcenter.power(trial.lab.vm(trial.dice.choice(names)).id, trial.dice.random() < 0.6)
        trial.run(trial.dice.choice((0.5, 3, 70)))
    trial.rest()
    written = trial.written
    trial.run(600)
    assert trial.written == written, "two processes at rest keep writing"
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_process_that_was_stopped_between_thought_and_deed_harms_nobody_when_it_goes_on(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue", vms=6)
    stale, other = trial.process, trial.start()

    def meanwhile(change: Change) -> None:
        """Another process takes over, and the world goes on, before the first change of a plan is made."""
        trial.before_write = lambda change: None
        name = trial.dice.choice(names)
        trial.lab.vcenter.move(trial.lab.vm(name).id, trial.elsewhere(name))
        trial.lab.vcenter.power(trial.lab.vm(trial.dice.choice(names)).id, False)
        trial.processes = [other]
        trial.run(120)
        trial.processes = [stale, other]

    for _ in range(3):
        trial.before_write = meanwhile
        victim = trial.dice.choice(names)
        trial.lab.vcenter.power(trial.lab.vm(victim).id, not trial.lab.vm(victim).powered_on)
        trial.run(5)
        trial.processes = [stale]
    trial.processes = [stale, other]
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_host_whose_ports_cannot_be_written_delays_no_other(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    trial.furnish("red", "blue", vms=3)
    sick = trial.lab.host("esx2")

    def refuse(change: Change) -> None:
        action = change.action
        if isinstance(action, SetDvPort) and action.host == sick:
            raise Retry("host esx2: not connected")

    trial.before_write = refuse
    trial.boot("s", "esx2", "red")
    trial.boot("a", "esx1", "red")
    trial.boot("b", "esx3", "blue")
    trial.run(5)
    assert (trial.is_open("a"), trial.is_open("b"), trial.is_open("s")) == (True, True, False)
    trial.boot("c", "esx3", "red")
    trial.run(65)
    assert trial.is_open("c")
    trial.before_write = lambda change: None
    trial.rest()
    assert trial.is_open("s")
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_vcenter_that_throttles_is_asked_ever_more_seldom_whatever_happens_meanwhile(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue")
    refused: list[float] = []

    def throttle(change: Change) -> None:
        if change.target.kind == "dvs":
            refused.append(trial.lab.clock.now)
            raise Unreachable("503 Service Unavailable")

    trial.before_write = throttle
    trial.lab.vcenter.power(trial.lab.vm(names[0]).id, False)  # to be closed, all the time
    for _ in range(240):
        name = trial.dice.choice(names[1:])
        trial.lab.vcenter.power(trial.lab.vm(name).id, not trial.lab.vm(name).powered_on)
        trial.run(0.5)
    moments = sorted(set(refused))
    assert 3 <= len(moments) <= 9, f"asked at {moments}"
    trial.before_write = lambda change: None
    trial.rest()
    trial.end()


def calls_of_a_busy_hour(seed: int, design: Design, seconds: float) -> int:
    """How often vCenter is called in an hour with something happening every minute, at so many seconds a call."""
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue", vms=6)
    before = trial.lab.vcenter.faults.calls
    trial.lab.vcenter.faults.latency = {"": seconds, "inventory": 0.0}  # the inventory is a mirror that is told
    for _ in range(60):
        name = trial.dice.choice(names)
        if trial.dice.random() < 0.5:
            trial.lab.vcenter.move(trial.lab.vm(name).id, trial.elsewhere(name))
        else:
            trial.lab.vcenter.power(trial.lab.vm(name).id, not trial.lab.vm(name).powered_on)
        trial.run(60)
        assert not trial.conditions("failed")
    calls = trial.lab.vcenter.faults.calls - before
    for name in names:
        trial.lab.vcenter.power(trial.lab.vm(name).id, True)
    trial.rest()
    assert all(trial.is_open(name) for name in names)
    trial.end()
    return calls


@where_ports_are_tagged
@with_many_seeds
def test_a_vcenter_ten_times_as_slow_is_followed_and_not_asked_more_often(design: Design, seed: int) -> None:
    assert calls_of_a_busy_hour(seed, design, 5.0) <= 1.1 * calls_of_a_busy_hour(seed, design, 0.5)


@in_every_design
@with_many_seeds
def test_while_one_source_fails_moves_are_followed_and_nothing_is_deleted(design: Design, seed: int) -> None:
    for source in ("intent", "inventory"):
        trial = Trial(seed, design)
        names = trial.furnish("red", "blue")
        groups = trial.lab.is_offered("blue", trial.lab.host("esx1"))
        if source == "intent":
            trial.lab.intent.faults.down = True
            trial.lab.vcenter.move(trial.lab.vm(names[0]).id, trial.elsewhere(names[0]))
        else:
            trial.lab.vcenter.faults.fail("inventory", times=ALWAYS)
        for name in names[1::2]:
            trial.lab.vcenter.destroy(trial.lab.vm(name).id)
        trial.lab.intent.remove_network("blue")
        trial.run(trial.dice.choice((5, 300)))
        assert trial.lab.is_offered("blue", trial.lab.host("esx1")) == groups, f"deleted without the {source}"
        assert all(trial.lab.hears(a, frame_from=b) for a in names[::2] for b in names[::2] if a != b)
        trial.rest()
        assert not trial.lab.is_offered("blue", trial.lab.host("esx1"))
        trial.end()


@in_every_design
@with_many_seeds
def test_while_switches_cannot_be_read_nothing_is_taken_away_and_who_stays_goes_on(design: Design, seed: int) -> None:
    """The inventory is read all the while, and says who is gone: what it means for ports and NVEs has to wait."""
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue", vms=6)
    red = names[::2]
    for target in trial.lab.targets.values():
        if target.id.kind in ("dvs", "vss"):
            target.faults.fail("observe", times=ALWAYS)  # type: ignore[attr-defined]
    before = {place: dict(nve.entries) for place, nve in trial.lab.nves.items()}
    trial.lab.vcenter.power(trial.lab.vm(names[1]).id, False)
    trial.lab.vcenter.destroy(trial.lab.vm(names[3]).id)
    trial.lab.vcenter.move(trial.lab.vm(red[0]).id, trial.elsewhere(red[0]))
    trial.lab.intent.remove_network("blue")
    trial.run(trial.dice.choice((5, 700)))
    assert all(before[place].keys() <= nve.entries.keys() for place, nve in trial.lab.nves.items())
    assert all(trial.lab.hears(a, frame_from=b) for a in red[1:] for b in red[1:] if a != b)
    assert trial.conditions("unknown")
    for name in (names[1], names[5]):
        trial.lab.vcenter.destroy(trial.lab.vm(name).id)
    trial.rest()
    assert not all(before[place].keys() <= nve.entries.keys() for place, nve in trial.lab.nves.items())
    trial.end()


@in_every_design
@with_many_seeds
def test_an_appliance_that_reboots_forgets_everything_and_is_told_again(design: Design, seed: int) -> None:
    trial = Trial(seed, design)
    names = trial.furnish("red", "blue", vms=6)
    for _ in range(4):
        lost = trial.lab.nves[trial.dice.choice(sorted(trial.lab.nves))]
        lost.faults.down = True
        lost.restart()
        name = trial.dice.choice(names)
        trial.lab.vcenter.move(trial.lab.vm(name).id, trial.elsewhere(name))
        for vm, _ in trial.lab.guests():
            if vm.host in lost.hosts:
                trial.lab.vcenter.power(vm.id, trial.dice.random() < 0.5)
        trial.run(trial.dice.choice((1, 30, 300)))
        lost.faults.down = False
        trial.run(trial.dice.choice((1, 70)))
    for name in names:
        trial.lab.vcenter.power(trial.lab.vm(name).id, True)
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_vni_that_one_network_gave_up_joins_nobody_to_the_next_though_an_appliance_does_not_know(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design, distributed=bool(seed % 2))
    trial.furnish("red", "blue", vms=6)
    blind = trial.lab.nves[trial.dice.choice(sorted(trial.lab.nves))]
    blind.faults.down = True
    given_up = trial.lab.intent.networks[NetworkId("blue")].vni
    trial.renumber("blue")
    trial.run(trial.dice.choice((5, 100)))
    trial.lab.intent.renumber("red", int(given_up))
    trial.run(trial.dice.choice((5, 700)))
    assert not trial.lab.leaks()
    assert any("was that of network blue" in line for line in trial.conditions("unmet"))
    trial.rest()
    trial.laws.same = {f"VNI {int(given_up)}": "VNI 5003"}  # from now on it is red's, as its old one
    trial.process.agree()  # now that every appliance has been told
    trial.rest()
    assert not trial.conditions("unmet")
    assert {group.mark.network: group.mark.vni for group in trial.lab.groups_of_ours() if group.mark}["red"] == given_up
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_word_given_in_the_moment_the_intent_changes_gives_no_vni_away(design: Design, seed: int) -> None:
    trial = Trial(seed, design, distributed=True)
    trial.furnish("red", "blue", vms=6)
    parts = trial.part()
    trial.run(5)
    trial.processes = [process for name, process in parts.items() if name != "esx1"]
    given_up = trial.lab.intent.networks[NetworkId("red")].vni
    trial.renumber("red")
    trial.lab.intent.renumber("blue", int(given_up))
    parts["port groups"].agree()  # to what was shown a moment ago
    trial.run(trial.dice.choice((5, 70)))
    assert not trial.lab.leaks()
    assert any("another network waits for VNI 5003, which network red had" in line for line in trial.conditions("held"))
    trial.processes = list(parts.values())
    trial.run(70)
    trial.laws.same = {}
    parts["port groups"].agree()  # now that it was shown, and every appliance has been told
    with trial.unwatched():  # blue is known by its old VNI here and by its new one there for a moment
        trial.run(70)
    assert {group.mark.network: group.mark.vni for group in trial.lab.groups_of_ours() if group.mark}[
        "blue"
    ] == given_up
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_a_vni_given_up_joins_nobody_to_the_next_though_the_last_vm_left_while_an_appliance_did_not_know(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design, distributed=True)
    trial.laws.a_vid_names_one_subject = lambda: None  # type: ignore[method-assign]  # frames judge: see decision 0007
    trial.lab.intent.add_network("red", vni=5003)
    trial.run(5)
    for name, host in (("a", "esx1"), ("b", "esx2")):
        trial.boot(name, host, "red")
    trial.run(10)
    parts = trial.part()
    trial.run(5)
    trial.processes = [process for name, process in parts.items() if name != "esx1"]
    trial.renumber("red")
    trial.run(5)
    trial.lab.intent.add_network("green", vni=5003)
    trial.run(trial.dice.choice((0, 5)))
    for name in "ab":
        trial.lab.vcenter.destroy(trial.lab.vm(name).id)
    trial.run(70)
    assert not trial.lab.is_offered("green", trial.lab.host("esx2"))
    for name in ("c", "c2"):
        trial.boot(name, "esx2", "red")
    trial.run(5)
    trial.lab.vcenter.move(trial.lab.vm("c").id, trial.lab.host("esx1"))
    trial.run(5)
    assert not trial.lab.leaks()
    trial.processes = list(parts.values())
    trial.run(70)
    parts["port groups"].agree()
    trial.run(70)
    trial.boot("g", "esx2", "green")
    trial.rest()
    trial.end()


@where_ports_are_tagged
@with_many_seeds
def test_networks_swap_their_vnis_over_a_third_one_and_never_meet(design: Design, seed: int) -> None:
    trial = Trial(seed, design, distributed=bool(seed % 2))
    trial.furnish("red", "blue", vms=6)
    trial.laws.a_vid_names_one_subject = lambda: None  # type: ignore[method-assign]
    intent = trial.lab.intent
    red, blue = (int(intent.networks[NetworkId(name)].vni) for name in ("red", "blue"))
    intent.renumber("red", blue)
    intent.renumber("blue", red)
    trial.run(70)
    assert len([line for line in trial.conditions("unmet") if "give one of them a third VNI" in line]) == 2
    assert not trial.conditions("held")
    intent.renumber("red", 7001)
    for _ in range(2):
        trial.run(70)
        assert len(trial.conditions("held")) == 1
        trial.process.agree()
        trial.run(70)
        intent.renumber("red", blue)
    trial.rest()
    marks = {group.mark.network: int(group.mark.vni) for group in trial.lab.groups_of_ours() if group.mark}
    assert marks == {"red": blue, "blue": red}
    trial.end()
