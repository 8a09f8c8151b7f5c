"""A port that an agent must wire first is opened when it has, and its VID is nobody else's while the plug is there."""

from __future__ import annotations

from dataclasses import replace

from isthmus.core.design import OVSVAPP_PORT
from isthmus.core.explain import PortReport, Side, explain
from isthmus.model.names import HostId, PortId
from isthmus.model.nve import Plug
from isthmus.model.observed import DvPortState, Observed
from isthmus.model.shard import VidPool, World
from isthmus.model.tags import VidSet
from lab.wire.vrouter import WireVrouter
from lab.wire.world import Lab, two_hosts


def appliance(lab: Lab, host: str) -> WireVrouter:
    nve = lab.nve(host)
    assert isinstance(nve, WireVrouter)
    return nve


def plugs(lab: Lab, host: str) -> list[Plug]:
    return [entry for entry in lab.nve(host).entries.values() if isinstance(entry, Plug)]


def is_open(lab: Lab, vm: str) -> bool:
    ports = (port for switch in lab.vcenter.switches.values() for port in switch.ports.values())
    return any(port.nic == lab.nic(vm).id and not port.blocked for port in ports)


def ports_of(lab: Lab) -> list[DvPortState]:
    """Their versions count the writes."""
    return [port for switch in lab.vcenter.switches.values() for port in switch.ports.values()]


def some_rounds(lab: Lab) -> None:
    """While something cannot be had the loop comes to no rest."""
    for _ in range(4):
        lab.round()


def test_a_port_is_closed_until_the_agent_has_wired_it() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red").vms("b@esx2").settle()
    appliance(lab, "esx1").agent_away = True
    lab.boot("a", "esx1", "red")
    some_rounds(lab)
    assert not is_open(lab, "a")
    assert [plug.wired for plug in plugs(lab, "esx1")] == [False]
    appliance(lab, "esx1").agent_away = False
    lab.settle()
    assert is_open(lab, "a")
    assert lab.hears("b", frame_from="a")


def test_what_is_open_stays_open_when_the_agent_dies() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red").vms("a@esx1", "b@esx2").settle()
    nve = appliance(lab, "esx1")
    nve.agent_away = True
    nve.entries = {plug.key: replace(plug, wired=False) for plug in plugs(lab, "esx1")}
    some_rounds(lab)
    assert is_open(lab, "a")
    nve.agent_away = False
    lab.settle()
    assert lab.hears("b", frame_from="a")


def test_the_vid_of_a_plug_that_was_never_wired_is_nobody_elses_until_it_is_forgotten() -> None:
    lab = two_hosts(OVSVAPP_PORT, VidPool(VidSet.of("11"))).network("red")
    nve = appliance(lab, "esx1")
    nve.agent_away = True
    lab.boot("a", "esx1", "red")
    some_rounds(lab)
    lab.vcenter.destroy(lab.vm("a").id)
    nve.agent_away = False
    lab.boot("x", "esx1", "red")
    lab.settle()
    assert [(plug.nic, plug.wired) for plug in plugs(lab, "esx1")] == [(lab.nic("x").id, True)]
    assert is_open(lab, "x")
    assert not lab.leaks()


def test_a_vm_that_moves_to_where_the_agent_is_dead_is_cut_off_and_explain_and_conditions_say_so() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red").vms("a@esx1", "b@esx2", "c@esx1").settle()
    appliance(lab, "esx2").agent_away = True
    lab.vcenter.move(lab.vm("a").id, lab.host("esx2"))
    some_rounds(lab)
    assert not lab.hears("c", frame_from="a")
    (why,) = (report for report in reports_at(lab, "esx2") if report.nic == lab.nic("a").id)
    assert (why.wired, why.behind) == (False, Side.NVE)
    assert "has not reported it up" in why.why
    assert any("not reported it up" in unmet.reason for loop in lab.loops.values() for unmet in loop.last.unmet)
    appliance(lab, "esx2").agent_away = False
    lab.settle()
    assert lab.hears("c", frame_from="a")


def reports_at(lab: Lab, host: str) -> list[PortReport]:
    """What `explain` says of the ports of a host."""
    loop = next(loop for loop in lab.loops.values() if lab.host(host) in map(HostId, loop.shard.nves))
    seen = Observed({target.id: target.observe() for target in loop.targets.values()})
    world = World(loop.shard, lab.intent.read(), lab.inventory.read())
    return list(explain(lab.design, world, seen, lab.pool, lab.clock.now)[0])


def test_a_port_is_closed_until_neutron_hears_that_its_agent_has_filtered_it_and_stays_open_then() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    lab.boot("b", "esx2", "red")
    lab.boot("a", "esx1", "red")
    listed = lab.intent.ports[PortId("port-a")]
    lab.intent.ports[listed.id] = replace(listed, wired=False)
    lab.settle()
    assert not is_open(lab, "a")
    assert [plug.port for plug in plugs(lab, "esx1")] == ["port-a"], "the agent is to have it by then"
    assert any("not reported it up" in unmet.reason for loop in lab.loops.values() for unmet in loop.last.unmet)
    lab.intent.ports[listed.id] = listed
    lab.settle()
    assert is_open(lab, "a")
    lab.intent.ports[listed.id] = replace(listed, wired=False)
    lab.settle()
    assert is_open(lab, "a"), "an agent that starts anew closes nothing"
    assert lab.hears("b", frame_from="a")


def reports(lab: Lab, port: str, *, up: bool) -> None:
    listed = lab.intent.ports[PortId(port)]
    lab.intent.ports[listed.id] = replace(listed, wired=up)


def a_filtered_port(lab: Lab) -> None:
    lab.boot("b", "esx2", "red")
    lab.boot("a", "esx1", "red")
    lab.settle()
    for port in ("port-a", "port-b"):
        reports(lab, port, up=True)
    lab.settle()
    assert is_open(lab, "a")


def test_a_vm_off_and_on_is_not_opened_on_what_its_agent_said_of_the_plug_before() -> None:
    """Neutron goes on saying ACTIVE while the agent is down, and after it, as the agent asks for nothing."""
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    a_filtered_port(lab)
    vm, agent = lab.vm("a"), appliance(lab, "esx1")
    agent.agent_away = True
    lab.vcenter.power(vm.id, on=False)
    some_rounds(lab)
    assert not plugs(lab, "esx1")
    lab.vcenter.power(vm.id, on=True)
    for _ in range(6):
        lab.round()
        assert not is_open(lab, "a")
    assert [plug.port for plug in plugs(lab, "esx1")] == ["port-a"]
    agent.agent_away = False
    lab.settle()
    assert is_open(lab, "a")
    assert lab.hears("b", frame_from="a")


def test_a_port_of_which_neutron_said_nothing_before_it_fell_silent_is_not_opened() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    lab.boot("a", "esx1", "red")
    reports(lab, "port-a", up=False)
    lab.settle()
    lab.intent.faults.down = True
    some_rounds(lab)
    assert not is_open(lab, "a")


def test_a_plug_made_anew_for_an_open_port_stays_dead_until_it_is_filtered_and_vcenter_is_told_nothing() -> None:
    """Whatever Neutron says: that may be of the plug before."""
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    a_filtered_port(lab)
    before, agent = ports_of(lab), appliance(lab, "esx1")
    agent.agent_away = True
    agent.restart()
    for _ in range(6):
        lab.round()
        assert not lab.hears("b", frame_from="a")
    assert [plug.dead for plug in plugs(lab, "esx1")] == [True]
    assert [plug.dead for plug in plugs(lab, "esx2")] == [False], "the other appliance lost nothing"
    assert any("not reported it up" in unmet.reason for loop in lab.loops.values() for unmet in loop.last.unmet)
    agent.agent_away = False
    lab.settle()
    assert lab.hears("b", frame_from="a")
    assert ports_of(lab) == before


def test_an_appliance_that_lost_its_plugs_while_vcenter_is_away_gets_them_and_each_passes_when_it_is_filtered() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    a_filtered_port(lab)
    lab.vcenter.faults.down = True
    agent = appliance(lab, "esx1")
    agent.agent_away = True
    agent.restart()
    some_rounds(lab)
    assert not lab.hears("b", frame_from="a")
    agent.agent_away = False
    some_rounds(lab)
    assert lab.hears("b", frame_from="a")


def test_who_is_announced_is_plugged_in_alive_and_passes_when_he_arrives() -> None:
    """A live move: his DV port is open and comes along, and a dead plug would cost a round more."""
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    a_filtered_port(lab)
    for agent_away in (True, False):
        appliance(lab, "esx2").agent_away = agent_away
        lab.vcenter.announce(lab.vm("a").id, lab.host("esx2"))
        some_rounds(lab)
        assert [(plug.enabled, plug.dead) for plug in plugs(lab, "esx2") if plug.port == "port-a"] == [(False, False)]


def test_a_plug_that_passes_goes_on_when_its_agent_starts_anew() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    a_filtered_port(lab)
    nve = appliance(lab, "esx1")
    nve.entries = {plug.key: replace(plug, wired=False) for plug in plugs(lab, "esx1")}
    reports(lab, "port-a", up=False)
    nve.agent_away = True
    some_rounds(lab)
    assert [plug.dead for plug in plugs(lab, "esx1")] == [False]
    assert is_open(lab, "a")


def test_an_open_port_whose_appliance_cannot_be_seen_is_left_open() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    a_filtered_port(lab)
    for host in ("esx1", "esx2"):
        appliance(lab, host).faults.down = True
    some_rounds(lab)
    assert is_open(lab, "a")
    lab.vcenter.move(lab.vm("a").id, lab.host("esx2"))
    some_rounds(lab)
    assert is_open(lab, "a"), "whether it is plugged in there nobody knows"


def test_isthmus_that_starts_anew_closes_no_open_port_and_opens_none_early() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red", ports_listed=True)
    a_filtered_port(lab)
    lab.boot("c", "esx1", "red")
    reports(lab, "port-c", up=False)
    lab.settle()
    assert not is_open(lab, "c")
    reports(lab, "port-a", up=False)
    for loop in lab.loops.values():
        loop.restart()
    some_rounds(lab)
    assert (is_open(lab, "a"), is_open(lab, "c")) == (True, False)
    reports(lab, "port-c", up=True)
    lab.settle()
    assert is_open(lab, "c")
