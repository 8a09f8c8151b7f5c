"""`make demo`, `make demo-contrail`: isthmus at work in a small world, one line for each thing shown, as observed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

from lab.netns import show_contrail
from lab.netns.contrail import CENTRAL, contrail_site
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


def demo_contrail(name: str) -> int:
    """The same, of design `contrail`."""
    return tell("demo-contrail", _all_of_contrail(WorldState(name)))


def _all(state: WorldState) -> Iterator[Shown]:
    print("-- bringing up a vCenter, three ESXi hosts with an OVS appliance each, and an underlay", flush=True)

    @contextmanager
    def site() -> Iterator[Stage]:
        with world(state.name) as made:
            yield Stage(made, Isthmus(made))

    yield from _played(state, site(), STEPS)


def _all_of_contrail(state: WorldState) -> Iterator[Shown]:
    print("-- bringing up a vCenter, an api-server, three ESXi hosts with agent VMs, an underlay", flush=True)
    print("-- api-server and vRouter agents are stand-ins: no packet crosses a vRouter here", flush=True)
    yield from _played(state, contrail_site(state.name), show_contrail.STEPS)


class _OnStage(Protocol):
    @property
    def world(self) -> World: ...

    @property
    def isthmus(self) -> Isthmus: ...


S = TypeVar("S", bound=_OnStage)


def _played(state: WorldState, site: AbstractContextManager[S], steps: Sequence[Step[S]]) -> Iterator[Shown]:
    processes: list[ProcessId] = []
    try:
        with site as stage:
            try:
                yield from play(steps, stage, lambda: _logs(stage.world, stage.isthmus))
            finally:
                processes = stage.world.state.processes.all()
    except (AlreadyThere, BuildFailed, NotBuilt):
        raise
    except Exception as error:
        yield broken(error)
    yield nothing_left(state, processes)


def _logs(made: World, isthmus: Isthmus) -> str:
    told = {"hostd": made.state.tail("hostd.log")}
    told |= {f"isthmus of {host}": isthmus.log(host)[-4000:] for host in (*made.layout.hosts, CENTRAL)}
    return "\n".join(f"---- {who}\n{said}" for who, said in told.items())
