"""`make demo-vds` and `make demo-ovsvapp`: Neutron and isthmus at work, one line for each thing shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from lab.netns.process import ProcessId
from lab.netns.showing import Shown, Step, broken, nothing_left, play, tell
from lab.netns.state import AlreadyThere, WorldState
from lab.openstack import show_overlay as overlay
from lab.openstack.overlaid import overlaid_site
from lab.openstack.scene import Scene
from lab.openstack.show_changes import (
    agent_anew,
    cold_move,
    control_run,
    deletion,
    killed,
    left_racks,
    live_move,
    meddling,
    vmotion,
)
from lab.openstack.show_networks import across_leaves, first_network, isolation, kvm, network_node, reports
from lab.openstack.site import Site, site
from lab.vcenter import BuildFailed, NotBuilt

STEPS: tuple[Step[Scene], ...] = (
    reports, first_network, across_leaves, isolation, kvm, network_node, control_run, vmotion, killed, cold_move,
    live_move, agent_anew, meddling, left_racks, deletion,
)  # fmt: skip


APPLIANCE_STEPS: tuple[Step[Scene], ...] = (
    overlay.reports, overlay.first_network, overlay.across_hosts, isolation, overlay.security, overlay.kvm,
    overlay.network_node, overlay.vmotion, overlay.agents_anew, overlay.killed, overlay.powered_off, overlay.deletion,
)  # fmt: skip
NEUTRON = "-- bringing up Neutron with MariaDB and RabbitMQ, a KVM host and a network node with its stock agents,"


def demo(name: str) -> int:
    """Exit status 0 if everything was as it should be."""
    rest = "   a vCenter, four ESXi hosts in three racks, a leaf switch in each, and isthmus (half a minute)"
    return tell("demo-vds", _all(WorldState(name), site, STEPS, rest))


def demo_ovsvapp(name: str) -> int:
    """The same with appliances."""
    rest = "   a vCenter, three ESXi hosts with an appliance each, and isthmus (half a minute)"
    return tell("demo-ovsvapp", _all(WorldState(name), overlaid_site, APPLIANCE_STEPS, rest))


def _all(
    state: WorldState, made: Callable[[str], AbstractContextManager[Site]], steps: Sequence[Step[Scene]], rest: str
) -> Iterator[Shown]:
    print(f"{NEUTRON}\n{rest}", flush=True)
    processes: list[ProcessId] = []
    began = time.monotonic()
    try:
        with made(state.name) as there:
            print(f"-- up in {time.monotonic() - began:.0f} s", flush=True)
            try:
                yield from play(steps, Scene(there), there.logs)
            finally:
                processes = there.state.processes.all()
    except (AlreadyThere, BuildFailed, NotBuilt):
        raise
    except Exception as error:
        yield broken(error)
    yield nothing_left(state, processes)
