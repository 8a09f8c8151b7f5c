"""What happens to VMs and networks every day: boot, talk, move, power-cycle, leave."""

from __future__ import annotations

from lab.scenarios.stage import Stage


def neighbours(world: Stage) -> None:
    """a and b on esx1, c on esx2, d on esx3 in red; x on esx1 and y on esx3 in blue: all at rest."""
    world.network("red")
    world.network("blue")
    for name, host in (("a", "esx1"), ("b", "esx1"), ("c", "esx2"), ("d", "esx3")):
        world.boot(name, host, "red")
    for name, host in (("x", "esx1"), ("y", "esx3")):
        world.boot(name, host, "blue")
    world.settle()


def all_hear(world: Stage, *names: str) -> None:
    """Each of these hears each other, both ways."""
    for speaker in names:
        for hearer in names:
            assert speaker == hearer or world.hears(hearer, frame_from=speaker), f"{hearer} does not hear {speaker}"
    assert world.strangers_are_silent()


def boot_and_ping(world: Stage) -> None:
    """VMs of one network hear each other, on one host and across hosts; nobody else does."""
    neighbours(world)
    all_hear(world, "a", "b", "c", "d")
    all_hear(world, "x", "y")
    assert not world.hears("x", frame_from="a")


def closed_until_bound(world: Stage) -> None:
    """A VM that nobody has bound yet neither hears nor is heard."""
    world.network("red")
    world.boot("a", "esx1", "red")
    world.boot("b", "esx1", "red")
    assert not world.hears("a", frame_from="b")
    world.settle()
    all_hear(world, "a", "b")


def nobody_without_a_port(world: Stage) -> None:
    """On a network that lists its ports, a VM whose port is deleted is closed."""
    world.network("red", listed=True)
    world.boot("a", "esx1", "red")
    world.boot("b", "esx1", "red")
    world.settle()
    all_hear(world, "a", "b")
    world.delete_port("b")
    world.settle()
    assert not world.hears("a", frame_from="b")


def announced_move(world: Stage) -> None:
    """A VM that migrates keeps talking to its neighbours: during, at the instant of arrival, and after."""
    neighbours(world)
    world.announce("b", "esx2")
    world.settle()
    all_hear(world, "a", "b", "c", "d")
    world.arrive("b")
    if world.moves_are_seamless:
        all_hear(world, "b", "c", "d")
    assert world.strangers_are_silent()
    world.settle()
    all_hear(world, "a", "b", "c", "d")


def unannounced_move(world: Stage) -> None:
    """A VM that HA starts elsewhere brings its tag along: it is in its own network or in none, and soon heard again."""
    neighbours(world)
    world.jump("b", "esx2")
    assert world.strangers_are_silent()
    world.settle()
    all_hear(world, "a", "b", "c", "d")


def failed_move(world: Stage) -> None:
    """A move that fails leaves everything as it was, and nothing at the destination."""
    neighbours(world)
    tags, known = world.tags(), world.known()
    world.announce("x", "esx2")
    world.settle()
    all_hear(world, "x", "y")
    world.stay("x")
    world.settle()
    assert (world.tags(), world.known()) == (tags, known)
    all_hear(world, "x", "y")


def there_and_back(world: Stage) -> None:
    """A VM that moves away and back before anybody looked is where it was."""
    neighbours(world)
    world.jump("b", "esx2")
    world.jump("b", "esx1")
    world.settle()
    all_hear(world, "a", "b", "c", "d")


def power_cycle(world: Stage) -> None:
    """A VM that is off hears nothing, and hears again when it is on."""
    neighbours(world)
    world.power("b", False)
    world.settle()
    assert not world.hears("b", frame_from="a")
    world.power("b", True)
    world.settle()
    all_hear(world, "a", "b", "c", "d")


def delete_vm(world: Stage) -> None:
    """The last VM of a network leaves nothing behind but the offer."""
    world.network("red")
    known = world.known()
    world.boot("a", "esx1", "red")
    world.boot("b", "esx2", "red")
    world.settle()
    world.destroy("a")
    world.destroy("b")
    world.settle()
    assert world.known() == known
    assert world.names_of_ours() == ["red"]


def delete_network(world: Stage) -> None:
    """A network that nobody uses goes without a trace, and its neighbour does not notice."""
    neighbours(world)
    for name in ("x", "y"):
        world.destroy(name)
    world.delete_network("blue")
    world.settle()
    assert world.names_of_ours() == ["red"]
    all_hear(world, "a", "b", "c", "d")


def delete_network_in_use(world: Stage) -> None:
    """A network deleted under running VMs keeps its port groups until they have left; nobody else hears them."""
    neighbours(world)
    world.delete_network("blue")
    world.settle()
    assert "blue" in world.names_of_ours()
    assert world.strangers_are_silent()
    for name in ("x", "y"):
        world.destroy(name)
    world.settle()
    assert world.names_of_ours() == ["red"]


def renumber_network(world: Stage) -> None:
    """A network given another VNI goes on; one given that of a deleted network never hears who is left of that."""
    neighbours(world)
    world.renumber("red")
    world.settle()
    all_hear(world, "a", "b", "c", "d")
    assert world.strangers_are_silent()
    world.renumber("red", like="blue")
    world.settle()
    assert world.strangers_are_silent()
    all_hear(world, "a", "b", "c", "d")
    for name in ("x", "y"):
        world.destroy(name)
    world.settle()
    assert world.names_of_ours() == ["red"]
    all_hear(world, "a", "b", "c", "d")


def everybody_leaves(world: Stage) -> None:
    """When the intent is empty nothing of ours is left."""
    neighbours(world)
    for name in ("a", "b", "c", "d", "x", "y"):
        world.destroy(name)
    world.delete_network("red")
    world.delete_network("blue")
    world.settle()
    assert world.names_of_ours() == []
    assert world.known() == 0
