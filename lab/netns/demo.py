"""`make demo`: isthmus at work in a small world, one line for each thing shown, with what was observed."""

from __future__ import annotations

from collections.abc import Iterator

from lab.netns.process import ProcessId
from lab.netns.product import Isthmus
from lab.netns.show_changes import control_run, deletion, killed, meddling, stopping, vmotion
from lab.netns.show_networks import across_hosts, isolation, same_host, two_tenants, unbound
from lab.netns.showing import Shown, Step, broken, nothing_left, play, tell
from lab.netns.stage import Stage
from lab.netns.state import AlreadyThere, WorldState
from lab.netns.world import World, world
from lab.vcenter import BuildFailed, NotBuilt

STEPS: tuple[Step[Stage], ...] = (
    control_run, two_tenants, unbound, same_host, across_hosts, isolation, vmotion, killed, meddling, deletion,
    stopping,
)  # fmt: skip


def demo(name: str) -> int:
    """Exit status 0 if everything was as it should be."""
    return tell("demo", _all(WorldState(name)))


def _all(state: WorldState) -> Iterator[Shown]:
    print("-- bringing up a vCenter, three ESXi hosts with an OVS appliance each, and an underlay", flush=True)
    processes: list[ProcessId] = []
    try:
        with world(state.name) as made:
            try:
                stage = Stage(made, Isthmus(made))
                yield from play(STEPS, stage, lambda: _logs(made, stage.isthmus))
            finally:
                processes = made.state.processes.all()
    except (AlreadyThere, BuildFailed, NotBuilt):
        raise
    except Exception as error:
        yield broken(error)
    yield nothing_left(state, processes)


def _logs(made: World, isthmus: Isthmus) -> str:
    told = {"hostd": made.state.tail("hostd.log")}
    told |= {f"isthmus of {host}": isthmus.log(host)[-4000:] for host in made.layout.hosts}
    return "\n".join(f"---- {who}\n{said}" for who, said in told.items())
