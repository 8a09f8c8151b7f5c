"""vMotions under a ping every 10 ms: what is lost beyond the stun, and beyond a control run with fixed flows.

The world of `make demo`: simulator, one OVS for each host and one for each appliance, an isthmus for each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from lab.bench.figures import Figure
from lab.netns import static_nve
from lab.netns.product import Isthmus, Network
from lab.netns.stage import CONTROL_VNI, ESX1, ESX2, ESX3, Stage, is_open, move_under_ping, until
from lab.netns.static_nve import StaticNetwork
from lab.netns.world import world

MOVES, CONTROL_MOVES = 20, 6
RED = Network("red", 5001)
PLACES = {"a": ESX1, "b": ESX1, "c": ESX2}


def figures() -> Iterator[Figure]:
    """One VM to and fro; a peer on its first host and one on a third host ping it."""
    with world(f"bench{os.getpid()}") as made:
        stage = Stage(made, Isthmus(made))
        control = _control(stage) * MOVES / CONTROL_MOVES
        lost, stunned = _kept(stage)
    against = (
        f"{lost} of two peers' pings with isthmus, {control:g} at the rate of a control run of {CONTROL_MOVES}; "
        f"stunned for {stunned / MOVES * 1000:.0f} ms on average"
    )
    yield Figure(f"pings lost in {MOVES} vMotions beyond a control run", max(0, lost - control), "", 0, against)


def _control(stage: Stage) -> int:
    made, group = stage.world, stage.world.layout.foreign_group
    guests = {
        name: made.boot(f"foreign-{name}", host, group, [f"10.9.0.{number}/24"])
        for number, (name, host) in enumerate(PLACES.items(), start=1)
    }
    stations: dict[str, tuple[str, ...]] = {guests[name].mac: (host,) for name, host in PLACES.items()}
    stations[guests["a"].mac] = (ESX1, ESX3)
    vids = dict.fromkeys(made.layout.hosts, made.layout.foreign_vid)
    static_nve.install(made.appliances, [StaticNetwork(CONTROL_VNI, vids, stations)])
    lost, _ = _moved(stage, "foreign-a", "10.9.0.1", ("foreign-b", "foreign-c"), CONTROL_MOVES)
    static_nve.remove(made.appliances)
    return lost


def _kept(stage: Stage) -> tuple[int, float]:
    stage.isthmus.want(RED)
    for host in stage.world.layout.hosts:
        stage.isthmus.start(host)
    _must(until(lambda: RED.name in stage.world.admin.port_group_names()) is not None, "a port group")
    for number, (name, host) in enumerate(PLACES.items(), start=1):
        stage.boot(name, host, RED, number)
    _must(until(lambda: all(is_open(stage, name) for name in PLACES)) is not None, "open ports")
    _must(all(stage.guest(peer).reaches("10.0.0.1") for peer in ("b", "c")), "a first answer")
    return _moved(stage, "a", "10.0.0.1", ("b", "c"), MOVES)


def _moved(stage: Stage, name: str, address: str, peers: tuple[str, ...], moves: int) -> tuple[int, float]:
    lost, stunned = 0, 0.0
    for number in range(moves):
        stun, results = move_under_ping(stage, name, ESX1 if number % 2 else ESX3, address, peers)
        _must(all(result.received for result in results), "answers during a move")
        lost += sum(result.lost_beyond([stun]) for result in results)
        stunned += stun.seconds
    return lost, stunned


def _must(so: bool, what: str) -> None:
    if not so:
        raise RuntimeError(f"there is no measuring without {what}")
