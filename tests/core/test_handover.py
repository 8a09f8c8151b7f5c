"""What stands ready in a scope is said as it is seen now; of what cannot be read nothing is promised, nor gone."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from isthmus.core.design import OVSVAPP, VDS_LEAF, VDS_STATIC
from isthmus.core.handover import handover, overlaid
from isthmus.model.change import Plan, Reconciled
from isthmus.model.handover import Handover, Member
from isthmus.model.names import NetworkId, PortId
from isthmus.model.nve import LeafBinding, LeafFlood
from isthmus.model.observed import Access, Observed, SwitchMirror, TargetId, Unknown
from isthmus.model.shard import World
from isthmus.model.tags import Vid, Vni
from lab.wire.leaf import WireLeaf
from lab.wire.vsphere import DistributedSwitch, Port, PortGroup
from lab.wire.world import HostSpec, Lab, two_racks

RED = NetworkId("red")


@pytest.fixture
def rack() -> Lab:
    return Lab(VDS_LEAF, [HostSpec("esx1"), HostSpec("esx2")]).network("red").vms("a@esx1")


def seen(rack: Lab, unreadable: str = "", since: float = inf, leaf: str = "") -> Handover:
    """By its first shard, whose VTEPs are all, or those at a leaf."""
    loop = next(iter(rack.loops.values()))
    mirrors = {t: target.observe() for each in rack.loops.values() for t, target in each.targets.items()}
    targets = {t: Unknown("no answer", mirror) if t.kind == unreadable else mirror for t, mirror in mirrors.items()}
    world = World(loop.shard, rack.intent.read(), rack.inventory.read())
    look = overlaid if rack.design.nve.on_each_host else handover
    hosts = rack.vcenter.hosts.values()
    vteps = frozenset(host.vtep for host in hosts if host.vtep and leaf in ("", host.leaf))
    found = look(world, Observed(targets, since), Reconciled(Plan()), 7.0, vteps)
    assert found is not None
    return found


def test_a_port_group_stands_with_its_vid_and_the_leaf_that_maps_it(rack: Lab) -> None:
    found = seen(rack)
    (group,) = found.groups.values()
    assert (group.network, group.mapped_at) == (RED, frozenset(str(place) for place in nves(rack)))
    assert group.vid in found.vids
    assert (found.whole, found.at) == (True, 7.0)
    assert seen(rack, since=3.0).at == 3.0, "as old as the oldest reading in it"
    vni = rack.intent.networks[RED].vni
    assert found.wears(vni)
    assert not found.is_free(int(group.vid or 0))
    (nic,) = rack.vm("a").nics.values()
    (host,) = {host.vtep for host in rack.vcenter.hosts.values()}
    assert found.members == {Member(RED, nic.mac, str(host), ())}


def test_a_mapping_that_a_port_lacks_is_promised_to_nobody(rack: Lab) -> None:
    (leaf,) = rack.nves.values()
    leaf.entries = {k: replace(e, whole=False) if isinstance(e, LeafBinding) else e for k, e in leaf.entries.items()}
    found = seen(rack)
    (group,) = found.groups.values()
    assert group.mapped_at == frozenset()
    assert not found.is_free(int(group.vid or 0))


def nves(rack: Lab) -> list[str]:
    (loop,) = rack.loops.values()
    return list(loop.shard.nves)


def test_of_a_leaf_that_cannot_be_read_no_mapping_is_promised_and_nothing_is_gone(rack: Lab) -> None:
    found = seen(rack, "leaf")
    (group,) = found.groups.values()
    assert group.mapped_at == frozenset()
    assert not found.whole
    assert found.wears(rack.intent.networks[RED].vni)
    assert not found.is_free(4000)


def test_of_a_switch_that_cannot_be_read_no_port_group_is_promised_and_nothing_is_gone(rack: Lab) -> None:
    found = seen(rack, "dvs")
    assert found.groups == {}
    assert not found.whole
    assert not found.is_free(4000)


def test_what_a_leaf_still_holds_of_a_network_is_worn(rack: Lab) -> None:
    """A flood list alone, say: the network is not gone from there."""
    (loop,) = rack.loops.values()
    vni = rack.intent.networks[RED].vni
    (leaf,) = rack.nves.values()
    rack.intent.networks.clear()
    flood = LeafFlood(vni, frozenset())
    leaf.entries = {flood.key: flood}
    (switch,) = (m for t in loop.targets.values() if isinstance(m := t.observe(), SwitchMirror))
    targets = {TargetId("dvs", switch.dvs): replace(switch, port_groups={}, ports={}), leaf.id: leaf.observe()}
    world = World(loop.shard, rack.intent.read(), rack.inventory.read())
    found = handover(world, Observed(targets), Reconciled(Plan()), 7.0)
    assert found is not None
    assert (found.whole, found.wears(vni)) == (True, True)


def test_a_vid_that_a_stranger_wears_is_not_free(rack: Lab) -> None:
    (leaf,) = rack.nves.values()
    leaf.foreign[199] = 9  # type: ignore[attr-defined]
    assert not seen(rack).is_free(199)
    assert seen(rack).is_free(198)


def test_a_vid_that_a_leaf_would_not_take_is_free_and_yet_not_to_be_given_to_a_network(rack: Lab) -> None:
    (leaf,) = rack.nves.values()
    leaf.fellows, leaf.unfit = [leaf], {199}  # type: ignore[attr-defined]
    assert (seen(rack).is_free(199), seen(rack).is_fit(199)) == (True, False)
    assert seen(rack).unfit == {199: str(leaf.id)}
    assert seen(rack).is_fit(198)
    (vid,) = seen(rack).vids
    assert not seen(rack).is_fit(vid)


def test_a_vid_that_any_leaf_would_not_take_is_not_to_be_given_to_a_network() -> None:
    lab = two_racks(VDS_STATIC)
    found = [nve for nve in lab.nves.values() if isinstance(nve, WireLeaf)]
    for vid, leaf in enumerate(found, 190):
        leaf.fellows, leaf.unfit = found, {Vid(vid)}
    assert [seen(lab).is_fit(vid) for vid in (190, 191, 192)] == [False, False, True]


def test_a_vid_that_a_port_wears_though_its_port_group_does_not_is_not_free(rack: Lab) -> None:
    """Somebody's override, say."""
    (port,) = switch_of(rack).ports.values()
    port.vlan = Access(Vid(177))
    assert not seen(rack).is_free(177)
    assert seen(rack).is_free(178)


def switch_of(rack: Lab) -> DistributedSwitch:
    (switch,) = rack.vcenter.switches.values()
    return switch


def group_of(rack: Lab) -> PortGroup:
    (group,) = (group for group in switch_of(rack).port_groups.values() if group.mark is not None)
    return group


def test_a_vni_that_a_network_gave_up_is_worn_as_long_as_its_mark_says_so(rack: Lab) -> None:
    """A leaf that could not be told may use it still."""
    group, former = group_of(rack), Vni(70999)
    assert group.mark is not None
    assert not seen(rack).wears(former)
    group.mark = replace(group.mark, was=(former,))
    assert seen(rack).wears(former)


@pytest.mark.parametrize("key", ["a-read-first", "z-read-last"])
def test_of_two_port_groups_of_a_network_the_one_that_its_leaf_maps_stands(rack: Lab, key: str) -> None:
    """A copy made by hand, mark and all, with a VID that means nothing: a VM that was put there would hear nobody."""
    mapped = group_of(rack)
    copy = PortGroup(key, "red, too", Access(Vid(178)), mark=mapped.mark)
    switch_of(rack).port_groups[key] = copy
    (group,) = seen(rack).groups.values()
    assert (group.key, group.mapped_at) == (mapped.key, frozenset(nves(rack)))


@pytest.fixture
def cluster() -> Lab:
    """With appliances; what is a port there the intent lists."""
    return Lab(OVSVAPP, [HostSpec("esx1"), HostSpec("esx2")]).network("red", ports_listed=True).vms("a@esx1", "b@esx2")


@pytest.mark.parametrize("where", ["rack", "cluster"])
def test_a_vm_that_is_off_is_behind_no_vtep(where: str, request: pytest.FixtureRequest) -> None:
    lab = request.getfixturevalue(where)
    (nic,) = lab.vm("a").nics.values()
    for on in (True, False, True):
        lab.vcenter.power(lab.vm("a").id, on)
        assert (nic.mac in {member.mac for member in seen(lab).members}) is on


def test_a_port_is_wired_while_its_nic_is_on_and_its_dv_port_open(cluster: Lab) -> None:
    a, b = PortId("port-a"), PortId("port-b")
    assert seen(cluster).wired == {a, b}
    place = port_of(cluster, "a")
    place.blocked = True
    assert seen(cluster).wired == {b}
    place.blocked = False
    cluster.vcenter.power(cluster.vm("b").id, False)
    assert seen(cluster).wired == {a}


def port_of(lab: Lab, vm: str) -> Port:
    (nic,) = lab.vm(vm).nics.values()
    return next(port for port in switch_of(lab).ports.values() if port.nic == nic.id)


@pytest.mark.parametrize("by", ["leaf", "switch"])
def test_who_is_behind_the_vtep_of_others_or_on_another_switch_is_elsewhere_while_he_is_on(by: str) -> None:
    lab = two_racks(VDS_STATIC) if by == "leaf" else two_racks(VDS_LEAF, switch_per_cluster=True)
    lab.network("red").vms("a@esx1", "b@esx3").settle()
    leaf = "leaf1" if by == "leaf" else ""
    ((a,), (b,)) = (tuple(nic.mac for nic in lab.vm(name).nics.values()) for name in "ab")
    for on in (True, False, True):
        lab.vcenter.power(lab.vm("b").id, on)
        found = seen(lab, leaf=leaf)
        assert {member.mac for member in found.members} == {a}
        assert found.elsewhere == ({(RED, b)} if on else set())
    lab.vcenter.power(lab.vm("a").id, False)
    assert seen(lab, leaf=leaf).elsewhere == {(RED, b)}, "who is off here is nowhere"


def test_who_is_plugged_out_is_not_elsewhere() -> None:
    lab = two_racks(VDS_STATIC).network("red").vms("a@esx1", "b@esx3").settle()
    (nic,) = lab.vm("b").nics.values()
    assert seen(lab, leaf="leaf1").elsewhere == {(RED, nic.mac)}
    lab.vcenter.set_connected(nic.id, False)
    assert not seen(lab, leaf="leaf1").elsewhere


def test_an_appliance_hosts_vm_is_elsewhere_where_only_others_vteps_are(cluster: Lab) -> None:
    (nic,) = cluster.vm("b").nics.values()
    assert seen(cluster).elsewhere == frozenset()
    assert seen(cluster, leaf="none of ours").elsewhere >= {(RED, nic.mac)}


def test_who_is_in_a_port_group_of_another_installation_is_not_elsewhere() -> None:
    lab = two_racks(VDS_LEAF, switch_per_cluster=True).network("red").vms("a@esx1", "b@esx3").settle()
    assert seen(lab).elsewhere
    for switch in lab.vcenter.switches.values():
        for group in switch.port_groups.values():
            if group.mark is not None:
                group.mark, group.handed_back = None, group.mark
    assert seen(lab).elsewhere, "one that was handed back works on"
    for switch in lab.vcenter.switches.values():
        for group in switch.port_groups.values():
            if group.handed_back is not None:
                group.mark = replace(group.handed_back, owner="another")
    assert not seen(lab).elsewhere
