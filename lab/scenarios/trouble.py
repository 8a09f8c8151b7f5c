"""What goes wrong: crashes, restarts, far sides that fail, hands that meddle, pools that run out."""

from __future__ import annotations

from lab.scenarios.life import all_hear, neighbours
from lab.scenarios.stage import Stage


def restart(world: Stage) -> None:
    """Processes that start anew find everything as it should be and change nothing."""
    neighbours(world)
    tags, known = world.tags(), world.known()
    world.restart_loops()
    world.settle()
    assert (world.tags(), world.known()) == (tags, known)
    all_hear(world, "a", "b", "c", "d")


def crash_anywhere(world: Stage) -> None:
    """Processes die after 1, 2, 3... changes of every plan, and each time start anew; in the end all is well."""
    world.network("red")
    world.network("blue")
    for name, host, network in (
        ("a", "esx1", "red"),
        ("x", "esx1", "blue"),
        ("c", "esx2", "red"),
        ("y", "esx2", "blue"),
    ):
        world.boot(name, host, network)
    changes = 0
    while changes < 4 or world.act(changes):
        changes = changes + 1
        world.act(1)
    world.settle()
    all_hear(world, "a", "c")
    all_hear(world, "x", "y")
    world.jump("a", "esx2")
    world.destroy("x")
    world.destroy("y")
    world.delete_network("blue")
    for changes in (1, 1, 2, 3):
        world.act(changes)
    world.settle()
    all_hear(world, "a", "c")
    assert world.names_of_ours() == ["red"]


def nve_restart(world: Stage) -> None:
    """An NVE that has lost everything is told again; meanwhile nobody strange hears anything."""
    neighbours(world)
    world.lose_nve("esx1")
    assert world.strangers_are_silent()
    world.settle()
    all_hear(world, "a", "b", "c", "d")


def nve_unreachable(world: Stage) -> None:
    """While one NVE cannot be reached the others go on, and nothing it may hold is given to anybody else."""
    neighbours(world)
    world.cut("esx3")
    world.destroy("y")
    world.boot("e", "esx2", "red")
    world.settle()
    all_hear(world, "a", "b", "c", "e")
    world.heal()
    world.settle()
    all_hear(world, "a", "b", "c", "d", "e")


def vcenter_unknown(world: Stage) -> None:
    """While vCenter cannot be reached nothing is taken away, and an NVE that restarts is told again what it knew."""
    neighbours(world)
    world.cut("vcenter")
    world.delete_network("blue")
    world.lose_nve("esx1")
    world.rounds(3)
    all_hear(world, "a", "b", "c", "d")
    assert "blue" in world.names_of_ours()
    world.heal()
    world.settle()
    all_hear(world, "a", "b", "c", "d")


def vcenter_unknown_at_start(world: Stage) -> None:
    """A process that starts while vCenter cannot be reached changes nothing."""
    neighbours(world)
    tags, known = world.tags(), world.known()
    world.restart_loops()
    world.cut("vcenter")
    world.rounds(3)
    assert (world.tags(), world.known()) == (tags, known)
    all_hear(world, "a", "b", "c", "d")


def source_failed(world: Stage) -> None:
    """While the intent cannot be had its last answer holds: moves are followed, nothing is removed."""
    neighbours(world)
    world.cut("intent")
    world.delete_network("blue")
    world.jump("b", "esx2")
    world.rounds(4)
    all_hear(world, "a", "c", "d")
    if not world.new_plugs_need_the_sdn:
        all_hear(world, "a", "b", "c", "d")
    all_hear(world, "x", "y")
    assert "blue" in world.names_of_ours()
    world.restart_loops()
    world.rounds(2)
    all_hear(world, "x", "y")
    world.heal()
    world.settle()
    all_hear(world, "a", "b", "c", "d")


def meddle(world: Stage) -> None:
    """A tag changed by hand to a neighbour network's is mended, and the neighbour keeps its own."""
    neighbours(world)
    tag = world.tags()["x"]
    world.retag_by_hand("a", "x")
    world.settle()
    assert world.tags()["x"] == tag
    all_hear(world, "a", "b", "c", "d")
    all_hear(world, "x", "y")


def exhaust(world: Stage) -> None:
    """With no VID left the newcomer stays out and is told why; everybody else is served; a freed VID lets it in."""
    world.limit_vids(2)
    world.network("red")
    world.network("blue")
    world.boot("a", "esx1", "red")
    world.boot("x", "esx1", "blue")
    world.settle()
    tags = world.tags()
    world.network("green")
    world.boot_if_offered("g", "esx1", "green")
    world.settle()
    assert any("no VID left" in complaint for complaint in world.complaints())
    assert {name: world.tags()[name] for name in tags} == tags
    assert world.strangers_are_silent()
    world.destroy("x")
    world.delete_network("blue")
    world.settle()
    world.boot_if_offered("g", "esx1", "green")
    world.settle()
    assert world.tags()["g"] is not None
    assert not any("no VID left" in complaint for complaint in world.complaints())
