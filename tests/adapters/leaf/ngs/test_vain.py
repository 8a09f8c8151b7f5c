"""What a fabric does while one of its leaves, a real switch's driver over a switch in memory, does not make VLANs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from isthmus.adapters.leaf.ngs import NgsTarget
from isthmus.core.design import VDS_STATIC
from isthmus.model.change import Change, Result
from isthmus.model.names import LeafId, NetworkId
from isthmus.model.nve import LeafBinding
from isthmus.model.observed import NveMirror
from isthmus.model.tags import VidSet
from lab.wire.leaf import WireLeaf
from lab.wire.nvue import fresh
from lab.wire.world import Lab, Unsettled
from tests.adapters.leaf.ngs.nvue_switch import NvueTestSwitch, nvue, nvue_settings
from tests.adapters.leaf.ngs.switch import EosTestSwitch, eos
from tests.core.test_learning_leaves import bound, learning, leaves, worn


class Driven:
    """A leaf of the fabric through its driver: frames go as its switch was told."""

    def __init__(self, wire: WireLeaf, target: NgsTarget) -> None:
        self.id = wire.id
        self._wire, self._target = wire, target

    def observe(self) -> NveMirror:
        mirror = self._target.observe()
        self._wire.entries = dict(mirror.entries)
        return mirror

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        results = self._target.apply(changes)
        self.observe()
        return results


class World:
    """Two racks, the first below an EOS switch."""

    def __init__(self, switch: EosTestSwitch) -> None:
        self.switch, self.now = switch, 0.0
        self.lab = learning(VDS_STATIC)
        self.leaf, self.other = leaves(self.lab)
        settings = replace(switch.settings(), vids=VidSet.of("100-199"))
        self.target = NgsTarget(LeafId(self.leaf.id.name), settings, lambda: self.now)
        [self.loop] = self.lab.loops.values()
        self.loop.targets = {**self.loop.targets, self.leaf.id: Driven(self.leaf, self.target)}

    def replaced(self) -> None:
        """By one that has our ports, and nothing else yet."""
        cli = self.switch.cli
        for held in (cli.vlans, cli.maps, cli.told):
            held.clear()
        for name in self.switch.ports:
            cli.ports[name].allowed = frozenset()

    def stuck(self) -> list[str]:
        """What is still to be done, and why it is not."""
        with pytest.raises(Unsettled):
            self.lab.settle()
        return [result.detail for result in self.loop.run_once().results.values()]


@pytest.fixture
def world() -> Iterator[World]:
    with eos() as switch:
        yield World(switch)


REFUSALS = {
    "authorization": "% Authorization denied for command 'vlan {vid}'",
    "number": "% Failed to create VLANs: {vid} (VLAN is internal)",
    "any": "% Not now",
}


@pytest.mark.parametrize("says", REFUSALS.values(), ids=REFUSALS)
def test_networks_keep_their_vids_and_work_elsewhere_while_a_leaf_that_was_replaced_does_not_make_them(
    world: World, says: str
) -> None:
    lab = world.lab.network("red").vms("a@esx1", "c@esx3", "d@esx3").network("blue").vms("b@esx2", "e@esx3")
    groups, before = worn(lab), bound(world.other)
    world.replaced()
    cli = world.switch.cli
    make = cli.run

    class Refusing:
        def __getattr__(self, name: str) -> object:
            return getattr(cli, name)

        def run(self, line: str) -> str:
            made = line.removeprefix("vlan ")
            return says.format(vid=made) if line.startswith("vlan ") and made.isdecimal() else make(line)

    world.switch.cli = Refusing()  # type: ignore[assignment]
    for world.now in (1.0, 601.0):
        why = world.stuck()
        assert (worn(lab), bound(world.leaf), bound(world.other)) == (groups, set(), before)
        assert lab.hears("d", frame_from="c")
        assert not lab.hears("e", frame_from="c")
        for vid in groups.values():
            assert any(says.format(vid=vid) in reason for reason in why)
        warned = [told for told in world.target.observe().warnings if "in vain" in told]
        assert len(warned) == (2 if "Failed" in says else 0)
    world.switch.cli, world.now = cli, 1202.0
    lab.settle()
    assert (worn(lab), bound(world.leaf)) == (groups, before)
    assert lab.hears("c", frame_from="a")
    assert not lab.hears("e", frame_from="a")


def test_a_vid_that_a_leaf_did_not_take_is_given_to_no_other_network_for_a_while(world: World) -> None:
    lab = world.lab.network("red")
    vid, red = worn(lab)["red"], lab.intent.networks[NetworkId("red")].vni
    world.replaced()
    world.switch.refuses, world.switch.no = f"vlan {vid}", f"% Failed to create VLANs: {vid} (VLAN is internal)"
    world.stuck()
    lab.intent.remove_network("red")
    lab.settle()
    assert worn(lab) == {}
    lab.network("green", vni=red).vms("a@esx1", "c@esx3")
    assert worn(lab)["green"] != vid
    assert lab.hears("c", frame_from="a")


STRANGERS = {
    "a trunk for all": ("interface Ethernet7\n   switchport mode trunk", "it would be on Ethernet7"),
    "a statement about the range": ("unheard-of vlan 100-199", "unheard-of vlan 100-199"),
    "a VLAN's own interface": ("\n".join(f"interface Vlan{vid}" for vid in range(100, 200)), "interface Vlan"),
}


@pytest.mark.parametrize(("more", "said"), STRANGERS.values(), ids=STRANGERS)
def test_networks_keep_their_vids_and_work_elsewhere_while_a_leaf_that_was_replaced_has_a_stranger_for_all_of_them(
    world: World, more: str, said: str
) -> None:
    """He would be in each VLAN at once, and is in none, since there is none."""
    lab = world.lab.network("red").vms("a@esx1", "c@esx3", "d@esx3").network("blue").vms("b@esx2", "e@esx3")
    groups, before = worn(lab), bound(world.other)
    world.replaced()
    world.switch.cli.more, usual = more, world.switch.cli.more
    why = world.stuck()
    assert (worn(lab), bound(world.leaf), bound(world.other)) == (groups, set(), before)
    assert lab.hears("d", frame_from="c")
    assert not lab.hears("e", frame_from="c")
    for vid in groups.values():
        not_made = f"VLAN {vid} is not made: there is none yet, and it would not be ours alone: {said}"
        assert any(not_made in reason for reason in why), why
    assert not set(groups.values()) & set(world.switch.cli.vlans)
    world.switch.cli.more = usual
    lab.settle()
    assert (worn(lab), bound(world.leaf)) == (groups, before)
    assert lab.hears("c", frame_from="a")


def test_networks_work_elsewhere_while_a_leaf_that_lost_their_vnis_has_a_strangers_trunk_in_every_vlan(
    world: World,
) -> None:
    """Then its VLANs are somebody's, and those that it has not would be at once: there is none to go to."""
    lab = world.lab.network("red").vms("a@esx1", "c@esx3", "d@esx3").network("blue").vms("b@esx2", "e@esx3")
    groups, before, maps = worn(lab), bound(world.other), dict(world.switch.cli.maps)
    world.switch.cli.ports["Ethernet48"].allowed = None
    lab.settle()
    assert bound(world.leaf) == before
    world.switch.cli.maps.clear()
    for _ in range(3):
        lab.round()
    assert (worn(lab), bound(world.leaf), bound(world.other)) == (groups, set(), before)
    assert lab.hears("d", frame_from="c")
    assert not lab.hears("e", frame_from="c")
    assert {told.reason.split(":")[0] for told in world.loop.last.unmet} == {"no VID left of 100 (100-199)"}
    world.switch.cli.maps.update(maps)
    lab.settle()
    assert (worn(lab), bound(world.leaf), world.loop.last.unmet) == (groups, before, ())
    assert lab.hears("c", frame_from="a")


def test_a_vlan_that_is_gone_and_whose_vni_stands_is_not_made_where_a_stranger_would_be_in_it_at_once(
    world: World,
) -> None:
    lab = world.lab.network("red").vms("a@esx1", "c@esx3", "d@esx3")
    [vid], before = worn(lab).values(), bound(world.other)
    cli = world.switch.cli
    del cli.vlans[vid]
    theirs = cli.ports["Ethernet48"]
    theirs.mode, theirs.allowed, usual = "trunk", None, (theirs.mode, theirs.allowed)
    why = world.stuck()
    assert vid not in cli.vlans
    assert (worn(lab), bound(world.other)) == ({"red": vid}, before)
    assert any(f"VLAN {vid} is not made" in reason and "Ethernet48" in reason for reason in why)
    assert lab.hears("d", frame_from="c")
    theirs.mode, theirs.allowed = usual
    lab.settle()
    assert vid in cli.vlans
    assert lab.hears("c", frame_from="a")


@pytest.mark.parametrize(
    "how", ["a translation", "a part of the port", "a translation by a profile", "frames without a tag"]
)
def test_a_network_leaves_a_vid_that_a_port_of_ours_on_a_replaced_leaf_brings_to_somebody_else(
    world: World, how: str
) -> None:
    """There is no such VLAN, and its VMs' frames would go to him all the same."""
    lab = world.lab.network("red").vms("a@esx1", "c@esx3", "d@esx3").network("blue").vms("b@esx2", "e@esx3")
    before = worn(lab)
    world.replaced()
    cli, ours, vid = world.switch.cli, world.switch.ports[0], before["red"]
    if how == "a translation":
        cli.ports[ours].more.append(f"switchport vlan translation {vid} 250")
    elif how == "frames without a tag":
        cli.ports[ours].more.append(f"switchport trunk native vlan {vid}")
    elif "profile" in how:
        cli.more = f"interface profile HOSTS\n   command switchport vlan translation {vid} 250"
        cli.ports[ours].more.append("profile HOSTS")
    else:
        cli.more = f"interface {ours}.{vid}\n   encapsulation dot1q vlan {vid}\n   vrf theirs"
    lab.settle()
    assert worn(lab)["blue"] == before["blue"]
    assert worn(lab)["red"] not in before.values()
    assert bound(world.leaf) == bound(world.other)
    assert vid not in cli.vlans
    assert lab.hears("c", frame_from="a")
    assert not lab.hears("e", frame_from="a")


def test_a_leaf_with_a_port_in_a_mode_that_nobody_knows_keeps_no_network_from_the_others(world: World) -> None:
    """No VLAN is made there while a port of ours would carry it at once, and who says that he would not be in it?"""
    cli = world.switch.cli
    for name in world.switch.ports:
        cli.ports[name].allowed = None
    theirs = cli.ports["Ethernet48"]
    theirs.mode, usual = "phone", theirs.mode
    with pytest.raises(Unsettled):
        world.lab.network("red").vms("c@esx3", "d@esx3")
    world.stuck()
    assert bound(world.leaf) == set()
    assert bound(world.other)
    assert not cli.vlans.get(min(worn(world.lab).values()))
    theirs.mode = usual
    world.lab.settle()
    assert bound(world.leaf) == bound(world.other)


def leaf_of_a_fabric(switch: NvueTestSwitch) -> tuple[Lab, NgsTarget]:
    """Two racks, the first below this switch."""
    lab = learning(VDS_STATIC)
    leaf, _ = leaves(lab)
    target = NgsTarget(LeafId(leaf.id.name), replace(nvue_settings(), vids=VidSet.of("100-199")), lambda: 0.0)
    [loop] = lab.loops.values()
    loop.targets = {**loop.targets, leaf.id: Driven(leaf, target)}
    return lab, target


@pytest.mark.parametrize(
    "line",
    [
        "set interface swp3 bridge domain br_default vlan 100-199",
        "set interface vlan{vid}",
        "set interface vlan100-199",
        "set system global reserved vlan internal range {vid}",
        "set acl theirs rule 1 match mac vlan {vid}",
    ],
)
def test_networks_keep_their_vids_and_work_elsewhere_while_an_nvue_leaf_that_was_replaced_has_a_word_about_all_of_them(
    line: str,
) -> None:
    with nvue() as switch:
        lab, target = leaf_of_a_fabric(switch)
        _, other = leaves(lab)
        lab.network("red").vms("a@esx1", "c@esx3", "d@esx3").network("blue").vms("b@esx2", "e@esx3")
        groups, before = worn(lab), bound(other)
        switch.nvue.applied, switch.nvue.carried = fresh(), fresh()
        line = line.format(vid=groups["red"])
        switch.nvue.by_hand(line)
        for _ in range(3):
            lab.round()
        assert (worn(lab), bound(other)) == (groups, before)
        assert groups["red"] not in {e.vid for e in target.observe().entries.values() if isinstance(e, LeafBinding)}
        assert lab.hears("d", frame_from="c")
        assert not lab.hears("e", frame_from="c")
        switch.nvue.by_hand(f"un{line}")
        lab.settle()
        assert (worn(lab), bound(leaves(lab)[0])) == (groups, before)
        assert lab.hears("c", frame_from="a")
