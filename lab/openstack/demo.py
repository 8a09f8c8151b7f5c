"""`make demo-vds`: Neutron, leaves and isthmus at work, one line for each thing shown, with what was observed."""

from __future__ import annotations

from collections.abc import Iterator

from lab.netns.process import ProcessId
from lab.netns.showing import Shown, Step, broken, nothing_left, play, tell
from lab.netns.state import AlreadyThere, WorldState
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
from lab.openstack.site import site
from lab.vcenter import BuildFailed, NotBuilt

STEPS: tuple[Step[Scene], ...] = (
    reports, first_network, across_leaves, isolation, kvm, network_node, control_run, vmotion, killed, cold_move,
    live_move, agent_anew, meddling, left_racks, deletion,
)  # fmt: skip


def demo(name: str) -> int:
    """Exit status 0 if everything was as it should be."""
    return tell("demo-vds", _all(WorldState(name)))


def _all(state: WorldState) -> Iterator[Shown]:
    print(
        "-- bringing up Neutron with MariaDB and RabbitMQ, a KVM host and a network node with its stock agents,",
        flush=True,
    )
    print(
        "   a vCenter, four ESXi hosts in three racks, a leaf switch in each, and isthmus (half a minute)", flush=True
    )
    processes: list[ProcessId] = []
    try:
        with site(state.name) as made:
            try:
                yield from play(STEPS, Scene(made), made.logs)
            finally:
                processes = made.state.processes.all()
    except (AlreadyThere, BuildFailed, NotBuilt):
        raise
    except Exception as error:
        yield broken(error)
    yield nothing_left(state, processes)
