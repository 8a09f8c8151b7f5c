"""An appliance that is moved off its host: it falls silent, and comes back by itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from lab.netns.appliance import TRUNK
from lab.netns.frames import BROADCAST, mark_of, marked
from lab.netns.stage import Stage, until
from lab.netns.world import world
from tests.live.company import ALL, BLUE, ESX1, ESX2, RED, OneProcess, company, furnished, settled

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
PLACES = {"a": (ESX1, RED, 1), "c": (ESX2, RED, 3), "d": (ESX2, RED, 4), "x": (ESX1, BLUE, 1), "y": (ESX2, BLUE, 3)}


@pytest.fixture(scope="module")
def stage(machine: None) -> Iterator[Stage]:
    with world(f"sae{os.getpid()}") as made:
        set_up = Stage(made, OneProcess(made))
        furnished(set_up, PLACES)
        try:
            yield set_up
        finally:
            print(set_up.isthmus.log(ALL)[-6000:])


def trunk_is_on(stage: Stage, host: str) -> bool:
    return TRUNK in stage.world.appliance(host).ovs.vsctl("list-ports", "br-int").split()


def times_heard(stage: Stage, listener: str, speaker: str, what: str) -> int:
    """How often one broadcast of the speaker comes to the listener."""
    with stage.guest(listener).listen() as heard:
        sender = stage.guest(speaker)
        sender.send(marked(sender.mac, BROADCAST, what))
        heard.hears(lambda frame: False, within_seconds=1.0)
        return sum(mark_of(frame) == what for frame in heard.frames())


def test_an_appliance_on_anothers_host_carries_no_frame_until_it_is_back(stage: Stage) -> None:
    assert stage.guest("a").reaches("10.0.0.3", 15)
    own = stage.world.appliance(ESX1)
    with company(stage, {"c": RED, "d": RED, "y": BLUE}):
        stage.world.admin.migrate(own.vm, ESX2)
        assert until(lambda: not trunk_is_on(stage, ESX1), 10) is not None
        assert times_heard(stage, "d", "c", f"{RED.name}:once, though two appliances stand there") == 1
        assert trunk_is_on(stage, ESX2)
    assert not stage.guest("a").reaches("10.0.0.3", 1)
    rows = json.loads(stage.isthmus.ask(ALL, "show", "hosts", "--json").stdout)["rows"]
    (told,) = [row["nve"] for row in rows if row["host"] == ESX1]
    assert f"the appliance {own.vm} is on host {ESX2} and serves {ESX1}" in told
    checked = stage.isthmus.ask(ALL, "check")
    assert checked.returncode == 1
    assert f"the appliance {own.vm} is on host {ESX2}" in checked.stdout

    stage.world.admin.migrate(own.vm, ESX1)
    assert stage.guest("a").reaches("10.0.0.3", 30)
    assert settled(stage)
    assert times_heard(stage, "a", "c", f"{RED.name}:as before") == 1
