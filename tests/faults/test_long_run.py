"""Days of events, compressed: what a process holds in memory does not grow with what it has seen."""

from __future__ import annotations

import gc
import sys

import pytest

from isthmus.app import openings
from isthmus.core.design import OVSVAPP
from tests.core.properties.setting import HOSTS
from tests.faults.trial import Trial

CHAPTERS = 10


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("events", [40_000, pytest.param(100_000, marks=pytest.mark.live_long)])
def test_many_thousand_events_leave_no_memory_behind(monkeypatch: pytest.MonkeyPatch, events: int) -> None:
    monkeypatch.setattr(openings, "MOST", 100)  # a bounded memory, full from the first chapter on
    trial = Trial(7, OVSVAPP)
    trial.heed = False
    trial.furnish("red", "blue", vms=0)
    blocks = []
    born = 0
    for _ in range(CHAPTERS):
        for _ in range(events // CHAPTERS // 50):
            born = fifty_events(trial, born)
        trial.run(4000)  # an hour of rest, after which only what there is should be left
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert trial.events >= events
    assert trial.written > events / 20
    middle = CHAPTERS // 2  # until then what is bounded fills up
    growth = (blocks[-1] - blocks[middle]) / (events * (CHAPTERS - 1 - middle) / CHAPTERS)
    assert growth < 0.01, f"{growth:.3f} pieces of memory are kept per event: {blocks}"
    trial.heed = True
    trial.rest()
    trial.end()


def fifty_events(trial: Trial, born: int) -> int:
    """VMs come, move, switch off and on, and go: every one of them new.  Gives the next VM's number."""
    until = trial.events + 50
    while trial.events < until:
        name = f"v{born}"
        born += 1
        trial.boot(name, trial.dice.choice(HOSTS), trial.dice.choice(("red", "blue")))
        vm = trial.lab.vm(name).id
        for _ in range(6):
            trial.lab.vcenter.move(vm, trial.elsewhere(name))
            trial.lab.vcenter.announce(vm, trial.elsewhere(name))
            trial.lab.vcenter.fail_move(vm)
        trial.run(1)
        trial.lab.vcenter.power(vm, False)
        trial.lab.vcenter.power(vm, True)
        trial.lab.vcenter.destroy(vm)
        trial.run(1)
    return born
