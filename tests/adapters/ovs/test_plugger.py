"""PluggerTarget against ovsdb-server and ovs-vswitchd: whom a plug joins, when it is held, and others' things."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from isthmus.adapters.ovs.plugger import AGENT_AWAY, NO_FIREWALL, NOT_FILTERED, NOT_WIRED, PluggerTarget
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import NetworkId, NicId, PortId, VmId, mac
from isthmus.model.nve import NveEntry, Plug
from isthmus.model.tags import Vid, Vni
from lab.netns import namespace
from lab.netns.appliance import unplug_at_boot
from lab.netns.capture import Capture, send
from lab.netns.frames import BROADCAST, marked
from tests.adapters.ovs.appliance import DVS_END, TRUNK, eventually
from tests.adapters.ovs.stock_agent import PluggedAppliance, plugged_appliance

pytestmark = pytest.mark.live

UNHEARD = 0.6
"""Seconds after which a frame that was not heard is not coming."""


def plug(number: int, vid: int | None = None) -> Plug:
    port = PortId(f"9f3c000{number}-0000-4000-8000-000000000001")
    nic, address = NicId(VmId(f"vm-{number}"), 4000), mac(f"00:50:56:00:00:0{number}")
    return Plug(port, Vid(vid or 10 + number), NetworkId("red"), Vni(5000), nic, address, (f"10.0.0.{number}",))


A, B = plug(1), plug(2)


@pytest.fixture
def plugged() -> Iterator[PluggedAppliance]:
    with plugged_appliance() as made:
        yield made


@pytest.fixture
def target(plugged: PluggedAppliance) -> Iterator[PluggerTarget]:
    """Built; the agent's br-int switches whatever the agent has wired."""
    made = plugged.target()
    plugged.appliance.meddle("br-int", "actions=NORMAL")
    done(made, BuildNve())
    yield made
    made.close()


def apply(target: PluggerTarget, *actions: BuildNve | Learn | Forget) -> list[Result]:
    return list(target.apply([Change(number, target.id, action, "test") for number, action in enumerate(actions)]))


def done(target: PluggerTarget, *actions: BuildNve | Learn | Forget) -> None:
    results = apply(target, *actions)
    assert [result.outcome for result in results] == [Outcome.DONE] * len(actions), results


def held(target: PluggerTarget) -> set[NveEntry]:
    return set(target.observe().entries.values())


def heard(plugged: PluggedAppliance, vid: int | None, words: str = "hello") -> set[int | None]:
    """The VIDs in which a broadcast that the trunk brings in with one comes back by the trunk."""
    outside = plugged.appliance.outside
    with Capture(outside, DVS_END) as ear:
        send(outside, DVS_END, marked(A.mac, BROADCAST, words, vid=vid))
        ear.hears(lambda frame: frame.src == A.mac and frame.vid not in (None, vid), UNHEARD)
        return {frame.vid for frame in ear.frames(lambda frame: frame.src == A.mac)} - {vid}


def test_two_ports_of_one_network_meet_in_the_agents_bridge_and_nowhere_before(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    done(target, Learn((A, B)))
    assert heard(plugged, 11) == {12}
    assert heard(plugged, None) == set()
    assert heard(plugged, 13) == set()
    plugged.appliance.meddle("br-int", "priority=40000,actions=drop")
    assert heard(plugged, 11) == set()


def test_the_appliance_itself_hears_nothing_of_the_vms(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    done(target, Learn((A,)))
    inside = plugged.appliance.ovs.namespace
    namespace.ip(inside, ["link set br-vds up"])
    with Capture(inside, "br-vds") as ear:
        for vid in (11, 13, None):
            send(plugged.appliance.outside, DVS_END, marked(A.mac, BROADCAST, "psst", vid=vid))
        assert not ear.hears(lambda frame: frame.src == A.mac, UNHEARD)


def test_a_plug_is_held_when_the_agent_has_wired_it(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    hasty = plugged.target(patience=0.2)
    target.close()
    plugged.agent.refusing = {A.port}
    (told,) = apply(hasty, Learn((A,)))
    assert (told.outcome, told.detail) == (Outcome.RETRY, NOT_WIRED)
    assert held(hasty) == {replace(A, wired=False)}
    assert heard(plugged, 11) == set()
    before = plugged.vsctl("--columns=_uuid,name", "list", "port")
    apply(hasty, Learn((A,)))
    assert plugged.vsctl("--columns=_uuid,name", "list", "port") == before, "it was made anew"
    plugged.agent.refusing = set()
    eventually(lambda: held(hasty) == {A})
    done(hasty, Learn((A,)))
    hasty.close()


def test_two_that_the_agent_has_not_wired_do_not_hear_each_other(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    target.close()
    plugged.agent.refusing = {A.port, B.port}
    hasty = plugged.target(patience=0)
    apply(hasty, Learn((A, B)))
    assert heard(plugged, 11) == set()
    plugged.agent.refusing = set()
    eventually(lambda: held(hasty) == {A, B})
    assert heard(plugged, 11) == {12}
    hasty.close()


def test_a_dead_plug_lets_nothing_pass_though_the_agent_has_wired_it_until_it_is_dead_no_more(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    dead = replace(A, dead=True)
    done(target, Learn((dead, B)))
    assert held(target) == {dead, B}
    assert (heard(plugged, 11), heard(plugged, 12), heard(plugged, 4095)) == (set(), set(), set())
    halves = plugged.vsctl("--columns=_uuid", "list", "interface", "isi-9f3c0001-00", "isv-9f3c0001-00")
    done(target, Learn((A,)))
    assert held(target) == {A, B}
    assert (heard(plugged, 11), heard(plugged, 12)) == ({12}, {11})
    assert plugged.vsctl("--columns=_uuid", "list", "interface", "isi-9f3c0001-00", "isv-9f3c0001-00") == halves
    done(target, Learn((dead,)))
    assert (heard(plugged, 11), heard(plugged, 12)) == (set(), set())


def test_a_plug_that_is_tagged_and_not_filtered_is_held_when_its_filters_are_there(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    """The stock agent tags all ports before it lays the filters of any, and Neutron may say ACTIVE all the time."""
    target.close()
    hasty = plugged.target(patience=0.2)
    plugged.agent.filters = False
    apply(hasty, Learn((A,)))
    eventually(lambda: "tag                 : 7" in plugged.vsctl("list", "port", "isi-9f3c0001-00"))
    assert held(hasty) == {replace(A, wired=False)}
    (told,) = apply(hasty, Learn((A,)))
    assert (told.outcome, told.detail) == (Outcome.RETRY, NOT_FILTERED)
    plugged.agent.filters = True
    eventually(lambda: held(hasty) == {A})
    hasty.close()


def test_what_the_agent_unbinds_is_held_no_longer(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    done(target, Learn((A,)))
    plugged.agent.refusing = {A.port}
    plugged.vsctl("set", "port", "isi-9f3c0001-00", "tag=4095")
    eventually(lambda: held(target) == {replace(A, wired=False)})


def test_a_port_that_is_put_into_the_dead_vlan_by_hand_is_taken_out_of_it_by_the_agent_which_is_asked_once(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    done(target, Learn((A, B)))
    for _ in range(2):
        plugged.vsctl("set", "port", "isi-9f3c0001-00", "tag=4095")
        eventually(lambda: held(target) == {replace(A, wired=False), B})
        done(target, Learn((A,)))
        assert held(target) == {A, B}
        assert heard(plugged, 11) == {12}
    plugged.agent.refusing = {A.port}
    plugged.vsctl("set", "port", "isi-9f3c0001-00", "tag=4095")
    eventually(lambda: held(target) == {replace(A, wired=False), B})
    hasty = plugged.target(patience=0.2)
    target.close()
    assert [told.detail for told in apply(hasty, Learn((A,)))] == [NOT_WIRED]
    before = plugged.vsctl("list", "interface", "isi-9f3c0001-00")
    assert [told.detail for told in apply(hasty, Learn((A,)))] == [NOT_WIRED]
    assert plugged.vsctl("list", "interface", "isi-9f3c0001-00") == before
    hasty.close()


def test_one_that_is_only_expected_waits_for_no_agent(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    plugged.agent.refusing = {A.port}
    coming = replace(A, enabled=False)
    done(target, Learn((coming,)))
    assert held(target) == {coming}


def test_a_dead_agent_is_shown_and_what_it_has_wired_goes_on(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    done(target, Learn((A, B)))
    plugged.agent.stop()
    eventually(lambda: target.observe().warnings == (AGENT_AWAY,), within=15)
    assert target.observe().ready
    assert [found.what for found in target.findings()] == [AGENT_AWAY]
    plugged.appliance.meddle("br-int", "actions=NORMAL")
    assert heard(plugged, 11) == {12}
    (told,) = apply(target, Learn((plug(3),)))
    assert (told.outcome, told.detail) == (Outcome.RETRY, AGENT_AWAY)
    plugged.agent.start()
    eventually(lambda: held(target) == {A, B, plug(3)}, within=15)
    assert not target.observe().warnings


def test_an_agent_that_has_never_filtered_is_shown(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    assert not target.observe().warnings
    plugged.vsctl("set", "bridge", "br-int", "protocols=OpenFlow10,OpenFlow13")
    # br-int begins to speak to its controller anew.
    eventually(lambda: target.observe().warnings == (NO_FIREWALL,))
    assert [found.what for found in target.findings()] == [NO_FIREWALL]
    plugged.vsctl("clear", "bridge", "br-int", "protocols")
    eventually(lambda: not target.observe().warnings)  # it may speak all of them


def test_a_port_gets_another_vid_without_being_plugged_anew(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    done(target, Learn((A, B)))
    pair = plugged.vsctl("--columns=_uuid", "list", "interface", "isi-9f3c0001-00")
    done(target, Learn((replace(A, vid=Vid(21)),)))
    assert plugged.vsctl("--columns=_uuid", "list", "interface", "isi-9f3c0001-00") == pair
    assert (heard(plugged, 11), heard(plugged, 21)) == (set(), {12})


def test_a_vid_goes_to_another_port_when_the_first_has_left_it(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    done(target, Learn((A,)))
    usurper = replace(B, vid=A.vid)
    (told,) = apply(target, Learn((usurper,)))
    assert told.outcome is Outcome.RETRY
    assert held(target) == {A}
    done(target, Learn((usurper,)), Forget((A,)))
    assert held(target) == {usurper}


def test_two_ports_are_not_given_one_vid_at_once(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    first, second = apply(target, Learn((A,)), Learn((replace(B, vid=A.vid),)))
    assert (first.outcome, second.outcome) == (Outcome.DONE, Outcome.RETRY)
    assert held(target) == {A}


def test_what_a_hand_breaks_is_seen_and_mended(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    done(target, Learn((A, B)))
    plugged.vsctl("set", "port", "isv-9f3c0001-00", "tag=99")
    eventually(lambda: held(target) == {replace(A, vid=Vid(99), wired=False), B})
    done(target, Learn((A,)))
    plugged.vsctl("clear", "port", "isv-9f3c0001-00", "tag")
    eventually(lambda: held(target) == {replace(A, wired=False, dead=True), B})
    done(target, Learn((A,)))
    plugged.vsctl("del-port", "isv-9f3c0001-00")
    done(target, Forget((A,)))
    assert held(target) == {B}
    assert "9f3c0001" not in plugged.vsctl("list-ports", "br-int")


def test_a_plug_whose_half_on_br_int_a_hand_took_away_is_gone_and_what_is_left_of_it_goes_too(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    """A new half has no filters yet, so that it is as if there never was a plug."""
    done(target, Learn((A, B)))
    plugged.vsctl("del-port", "isi-9f3c0001-00")
    eventually(lambda: held(target) == {B})
    assert not target.observe().ready
    done(target, BuildNve())
    assert target.observe().ready
    assert "9f3c0001" not in plugged.vsctl("list-ports", "br-vds")
    done(target, Learn((A,)))
    assert held(target) == {A, B}


def test_an_appliance_that_boots_has_no_plug_until_it_is_plugged_in_anew(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    """Open vSwitch kept them, and the agent switches before it filters: systemd takes them out before it starts."""
    plugged.vsctl("add-port", "br-int", "tap9", "--", "set", "interface", "tap9", "type=internal")
    done(target, Learn((A, B)))
    plugged.agent.stop()
    assert heard(plugged, 11) == {12}
    for _ in range(2):
        unplug_at_boot(plugged.appliance.ovs)
        eventually(lambda: held(target) == set())
        assert heard(plugged, 11) == set()
    plugged.agent.start()
    assert target.observe().ready
    assert "tap9" in plugged.vsctl("list-ports", "br-int")
    done(target, Learn((A, B)))
    assert heard(plugged, 11) == {12}


def test_others_ports_are_left_alone(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    strange = ("--", "set", "interface", "dhcp0", "type=internal", f"external_ids:iface-id={A.port}")
    plugged.vsctl("add-port", "br-int", "dhcp0", *strange)
    done(target, BuildNve())
    eventually(lambda: [told.outcome for told in apply(target, Learn((A,)))] == [Outcome.REFUSED])
    (told,) = apply(target, Learn((A,)))
    assert "dhcp0" in told.detail
    done(target, Learn((B,)), Forget((A,)))
    assert held(target) == {B}
    assert "dhcp0" in plugged.vsctl("list-ports", "br-int")


def test_a_bridge_of_somebody_else_is_not_taken(plugged: PluggedAppliance) -> None:
    plugged.vsctl(
        "add-br", "br-vds", "--", "add-port", "br-vds", "tap9", "--", "set", "interface", "tap9", "type=internal"
    )
    target = plugged.target()
    (told,) = apply(target, BuildNve())
    assert told.outcome is Outcome.REFUSED
    assert "tap9" in told.detail
    assert not target.observe().ready
    target.close()


def test_it_waits_for_the_agent_to_make_its_bridge(plugged: PluggedAppliance) -> None:
    plugged.vsctl("del-br", "br-int")
    target = plugged.target()
    (told,) = apply(target, BuildNve())
    assert told.outcome is Outcome.RETRY
    assert "start neutron-openvswitch-agent" in told.detail
    assert not target.observe().ready
    target.close()


def test_a_trunk_that_the_appliance_does_not_have_does_not_take_the_place_of_one_that_works(
    plugged: PluggedAppliance, target: PluggerTarget
) -> None:
    done(target, Learn((A, B)))
    target.close()
    mistaken = plugged.target(trunk="trunk9")
    assert not mistaken.observe().ready
    (told,) = apply(mistaken, BuildNve())
    assert told.outcome is Outcome.RETRY
    assert "trunk9" in told.detail
    mistaken.close()
    assert plugged.target().observe().ready
    assert heard(plugged, 11) == {12}


def test_another_trunk_takes_the_place_of_the_first(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    done(target, Learn((A,)))
    target.close()
    namespace.ip(plugged.appliance.ovs.namespace, ["link add trunk1 type veth peer name other1", "link set trunk1 up"])
    moved = plugged.target(trunk="trunk1")
    done(moved, BuildNve())
    assert moved.observe().ready
    ports = plugged.vsctl("list-ports", "br-vds").split()
    assert "trunk1" in ports
    assert TRUNK not in ports
    assert held(moved) == {A}
    moved.close()


def test_the_trunk_of_an_appliance_on_another_host_is_closed(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    done(target, Learn((A, B)))
    target.close()
    moved = PluggerTarget(target.host, plugged.appliance.settings(), keeps=True, astray=lambda: "it is on esx9")
    with pytest.raises(Retry, match="esx9"):
        moved.observe()
    assert heard(plugged, 11) == set()
    moved.close()


def test_a_second_writer_is_refused(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    second = plugged.target()
    (told,) = apply(second, Learn((A,)))
    assert told.outcome is Outcome.REFUSED
    with pytest.raises(Refused, match="another isthmus process"):
        second.claim()
    assert second.observe().ready
    second.close()


def test_whoever_watches_hears_that_the_agent_has_wired(plugged: PluggedAppliance, target: PluggerTarget) -> None:
    target.close()
    hasty, woken = plugged.target(patience=0), threading.Event()
    plugged.agent.refusing = {A.port}
    apply(hasty, Learn((A,)))
    hasty.watch(lambda hosts: woken.set())
    woken.wait(1.5)
    woken.clear()
    plugged.agent.refusing = set()
    assert woken.wait(5)
    hasty.close()
