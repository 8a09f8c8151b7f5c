"""`make demo-vds` and `make demo-ovsvapp`: Neutron and isthmus at work, one line for each thing shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path

from lab.netns.process import ProcessId
from lab.netns.showing import Shown, Step, broken, nothing_left, play, tell
from lab.netns.state import AlreadyThere, WorldState
from lab.openstack import show_overlay as overlay
from lab.openstack import show_plugged as plugged
from lab.openstack.overlaid import overlaid_site
from lab.openstack.plugged import plugged_site
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
    overlay.network_node, overlay.vmotion, overlay.between_clusters, overlay.agents_anew, overlay.killed,
    overlay.powered_off, overlay.deletion,
)  # fmt: skip
PLUGGED_STEPS: tuple[Step[Scene], ...] = (
    plugged.reports, plugged.ports, plugged.micro_segmentation, plugged.kvm, plugged.live_move, plugged.agent_dies,
    plugged.reboot,
)  # fmt: skip
NEUTRON = "-- bringing up Neutron with MariaDB and RabbitMQ, and its stock agents on a KVM host"


def demo(name: str) -> int:
    """Exit status 0 if everything was as it should be."""
    rest = " and a network node,\n   a vCenter, four ESXi hosts below three leaf switches, and isthmus (a minute)"
    return tell("demo-vds", _all(WorldState(name), site, STEPS, rest))


def demo_ovsvapp(name: str) -> int:
    """The same with appliances; and then, as another site, with Neutron's own agent on each of them."""
    rest = " and a network node,\n   a vCenter, three ESXi hosts with an appliance each, and isthmus (a minute)"
    again = " and on the appliances,\n   a vCenter, two ESXi hosts with an appliance each, and isthmus (a minute)"
    state = WorldState(name)
    own = _all(state, overlaid_site, APPLIANCE_STEPS, rest)
    return tell("demo-ovsvapp", chain(own, _all(state, plugged_site, PLUGGED_STEPS, again)))


def _all(
    state: WorldState, made: Callable[[str], AbstractContextManager[Site]], steps: Sequence[Step[Scene]], rest: str
) -> Iterator[Shown]:
    print(f"{NEUTRON}{rest}", flush=True)
    processes: list[ProcessId] = []
    began, before = time.monotonic(), _free_memory()
    try:
        with made(state.name) as there:
            taken = (before - _free_memory()) / 1e9
            print(f"-- up in {time.monotonic() - began:.0f} s, with {taken:.1f} GB of memory", flush=True)
            try:
                yield from play(steps, Scene(there), there.logs)
            finally:
                processes = there.state.processes.all()
    except (AlreadyThere, BuildFailed, NotBuilt):
        raise
    except Exception as error:
        yield broken(error)
    yield nothing_left(state, processes)


def _free_memory() -> int:
    """Bytes of this machine's memory that may be had, whoever else takes some."""
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(told["MemAvailable"].split()[0]) * 1024
