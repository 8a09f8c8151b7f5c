"""A simulator, our adapter on it, and a person beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from isthmus.adapters.vcenter import Vcenter, VcenterSettings
from lab.vcenter import NotBuilt, Simulator, Topology
from tests.adapters.vcenter.operator import Operator


@dataclass(slots=True)
class Bench:
    """All of it, running."""

    simulator: Simulator
    vcenter: Vcenter
    operator: Operator

    def again(self, **settings: Any) -> Vcenter:
        """A second Vcenter; the caller closes it."""
        return Vcenter(settings_of(self.simulator, **settings))


def settings_of(simulator: Simulator, **settings: Any) -> VcenterSettings:
    """What a user would configure; short waits, so that a lost session is noticed within a test."""
    usual: dict[str, Any] = {
        "url": simulator.url,
        "user": simulator.user,
        "password": lambda: simulator.password,
        "ca_file": str(simulator.ca_file),
        "timeout": 10.0,
        "wait": 3.0,
    }
    return VcenterSettings(**{**usual, **settings})


@contextmanager
def running(topology: Topology, **options: Any) -> Iterator[Bench]:
    """A simulator with this topology for the time of a test."""
    try:
        simulator = Simulator(topology, **options).start()
    except NotBuilt as missing:
        pytest.skip(str(missing))
    vcenter = Vcenter(settings_of(simulator))
    operator = Operator(simulator)
    try:
        yield Bench(simulator, vcenter, operator)
    except BaseException as error:
        if not simulator.alive:
            error.add_note(f"the simulator died:\n{simulator.log()}")
        raise
    finally:
        vcenter.close()
        operator.close()
        simulator.stop()


def eventually(true: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `true` gives once it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"not true after {seconds} s"
        time.sleep(0.02)
    return found
