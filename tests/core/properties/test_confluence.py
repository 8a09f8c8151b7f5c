"""The end depends on what is wanted, not on how it came about: order, splitting and doubling change only VIDs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.core.design import DESIGNS, Design, TagScope
from isthmus.model.flow import Flow
from isthmus.model.shard import VidPool
from isthmus.model.tags import VidSet
from lab.wire.frames import broadcast
from lab.wire.vsphere import DvBacking
from lab.wire.world import Lab, two_racks
from tests.core.properties.machine import PROFILE

ENOUGH = VidPool(VidSet.of("11-20"))
FORMS = [(d, f) for d in DESIGNS.values() for f in (False, True) if not f or d.scope is TagScope.HOST]


@dataclass(frozen=True)
class Event:
    """Something happens to one VM; events of different VMs have nothing to do with each other."""

    vm: str
    kind: str
    where: str


# Each VM's own story, in its own order; the stories may be told in any interleaving.
STORIES = {
    "a": [Event("a", "boot red", "esx1"), Event("a", "jump", "esx2")],
    "b": [Event("b", "boot red", "esx1"), Event("b", "off", ""), Event("b", "on", "")],
    "c": [Event("c", "boot red", "esx3")],
    "x": [Event("x", "boot blue", "esx1"), Event("x", "jump", "esx2"), Event("x", "jump", "esx1")],
    "y": [Event("y", "boot blue", "esx3"), Event("y", "destroy", "")],
    "z": [Event("z", "boot blue", "esx2")],
}


def happen(world: Lab, event: Event) -> None:
    match event.kind.split():
        case ["boot", network]:
            world.boot(event.vm, event.where, network)
        case ["jump"]:
            world.vcenter.restart_by_ha(world.vm(event.vm).id, world.host(event.where))
        case ["off"]:
            world.vcenter.power(world.vm(event.vm).id, False)
        case ["on"]:
            world.vcenter.power(world.vm(event.vm).id, True)
        case ["destroy"]:
            world.vcenter.destroy(world.vm(event.vm).id)


def told(form: tuple[Design, bool], events: list[Event], pauses: list[int]) -> object:
    """The end of a history in which the loops go round `pauses[i]` times after event i."""
    design, distributed = form
    world = two_racks(design, ENOUGH, distributed=distributed).network("red").network("blue")
    for event, pause in zip(events, pauses, strict=True):
        happen(world, event)
        for _ in range(pause):
            world.round()
            assert not world.leaks()
    world.settle()
    return end(world)


def end(world: Lab) -> object:
    """Who hears whom over which VNIs, what is open, what port groups there are, how much each NVE holds: no VIDs."""
    world.clock.advance(60)
    heard = {
        (vm.name, heard.nic.vm, heard.vnis)
        for vm, nic in world.guests()
        for heard in world.wires.send(nic.id, broadcast(nic.mac))
    }
    gates = {
        vm.name: world.vcenter.switches[nic.backing.dvs].is_blocked(
            world.vcenter.switches[nic.backing.dvs].ports[nic.backing.port_key]
        )
        for vm, nic in world.guests()
        if isinstance(nic.backing, DvBacking)
    }
    known = {
        (key, entry.vni)
        for key, nve in world.nves.items()
        for entry in nve.entries.values()
        if not (isinstance(entry, Flow) and entry.vni is None)
        if hasattr(entry, "vni")
    }
    return heard, gates, known, sorted(group.name for group in world.groups_of_ours())


@st.composite
def interleavings(draw: st.DrawFn) -> list[Event]:
    """All stories, each in its own order."""
    turns = draw(st.permutations([vm for vm, story in STORIES.items() for _ in story]))
    rest = {vm: iter(story) for vm, story in STORIES.items()}
    return [next(rest[vm]) for vm in turns]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form[0].name}{'-distributed' if form[1] else ''}")
def test_the_end_does_not_depend_on_order_splitting_or_doubling(form: tuple[Design, bool]) -> None:
    in_order = [event for story in STORIES.values() for event in story]
    expected = told(form, in_order, [4] * len(in_order))

    @settings(
        max_examples={"quick": 5, "fixed": 25, "deep": 500}[PROFILE],
        derandomize=PROFILE != "deep",
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(events=interleavings(), data=st.data())
    def any_telling(events: list[Event], data: st.DataObject) -> None:
        # 0: squashed with the next event; 1: caught half way; 2 to 4: woken again and again.
        pauses = data.draw(st.lists(st.integers(0, 4), min_size=len(events), max_size=len(events)))
        assert told(form, events, pauses) == expected

    any_telling()
