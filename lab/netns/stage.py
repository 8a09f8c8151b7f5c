"""The stage of `make demo`: the world, isthmus, the networks, and how the steps act and look."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.netns.control import Stunned
from lab.netns.guest import Guest
from lab.netns.ping import PingResult
from lab.netns.product import Isthmus, Network
from lab.netns.world import World

ESX1, ESX2, ESX3 = "esx1.lab", "esx2.lab", "esx3.lab"
RED_WEB, RED_DB = Network("red-web", 5001), Network("red-db", 5002)
BLUE_WEB, BLUE_DB = Network("blue-web", 6001), Network("blue-db", 6002)
CONTROL_VNI = 9000
QUIET = 0.3
"""Seconds after which a frame that was not heard will not come."""


@dataclass(slots=True)
class Stage:
    world: World
    isthmus: Isthmus
    control: list[int] = field(default_factory=list)
    """Pings lost beyond the stun with fixed flows, one figure for each peer of each move."""

    def guest(self, name: str) -> Guest:
        return self.world.guest(name)

    def boot(self, name: str, host: str, network: Network, number: int) -> Guest:
        addresses = [f"10.0.0.{number}/24", f"fd00::{number}/64"]
        guest = self.world.boot(name, host, network.name, addresses)
        guest.set_mtu(network.mtu)
        return guest


def until(condition: Callable[[], bool], patience: float = 20.0) -> float | None:
    """Seconds until it is so; None if it is not in that time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + patience:
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def took(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds * 1000:.0f} ms"


def move_under_ping(
    stage: Stage, name: str, to: str, address: str, peers: tuple[str, ...]
) -> tuple[Stunned, list[PingResult]]:
    running = [stage.guest(peer).keep_pinging(address, interval=0.01) for peer in peers]
    time.sleep(0.2)
    stun = stage.world.migrate(name, to)
    time.sleep(0.7)
    return stun, [ping.stop() for ping in running]


def told_lost(stun: Stunned, results: list[PingResult]) -> str:
    beyond = " and ".join(str(result.lost_beyond([stun])) for result in results)
    lost = " and ".join(str(result.lost) for result in results)
    stunned = f"stunned for {stun.seconds * 1000:.0f} ms"
    return f"{stunned}; a local and a remote peer lost {lost} pings, {beyond} beyond the stun"


def is_open(stage: Stage, name: str) -> bool:
    setting = stage.world.admin.dv_port(name)[1].config.setting
    return not setting.blocked.value and bool(stage.world.admin.vid_of(name))


def listed(values: set[str] | set[int] | set[int | None]) -> str:
    return ", ".join("none" if value is None else str(value) for value in sorted(values, key=str)) or "none"
