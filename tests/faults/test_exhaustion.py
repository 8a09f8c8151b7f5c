"""VIDs run out: nobody who has one loses it; who has none is told, and gets the next that is freed."""

from __future__ import annotations

from isthmus.core.design import OVSVAPP
from isthmus.model.shard import VidPool
from isthmus.model.tags import VidSet
from tests.core.properties.setting import HOSTS
from tests.faults.trial import Trial, with_many_seeds

TWO = VidPool(VidSet.of("100-101"))


@with_many_seeds
def test_who_waits_for_a_vid_is_told_why_and_gets_the_next_that_is_freed(seed: int) -> None:
    trial = Trial(seed, OVSVAPP, TWO, distributed=bool(seed % 2))
    trial.furnish("red", "blue", vms=4)
    assert any("2 of 2 VIDs" in line for line in trial.conditions("warning"))
    trial.lab.intent.add_network("green", vni=5014)
    trial.run(5)
    for number in range(3):
        trial.boot(f"waiting{number}", trial.dice.choice(HOSTS), "green")
    tags = {name: trial.port(name).vlan for name in ("vm0", "vm1", "vm2", "vm3")}
    trial.run(trial.dice.choice((5, 700)))
    assert sum("no VID left" in line for line in trial.conditions("unmet")) == 3
    assert not any(trial.is_open(f"waiting{number}") for number in range(3))
    assert {name: trial.port(name).vlan for name in tags} == tags
    trial.lab.vcenter.destroy(trial.lab.vm("vm0").id)
    trial.run(10)
    assert not trial.is_open("waiting0"), "another VM still wears the tag"
    trial.lab.vcenter.destroy(trial.lab.vm("vm2").id)
    trial.run(75)  # a process that serves another host hears of it with its next resync
    assert all(trial.is_open(f"waiting{number}") for number in range(3))
    assert not trial.conditions("unmet")
    trial.rest()
    trial.end()
