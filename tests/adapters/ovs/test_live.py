"""OvsTarget against ovsdb-server and ovs-vswitchd: its promises about frames, restarts, others' things, and load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from isthmus.adapters.ovs.numbers import PORT_NUMBERS
from isthmus.adapters.ovs.settings import PATCH_TUN, VXLAN
from isthmus.adapters.ovs.target import OvsTarget
from isthmus.adapters.ovs.watch import Watch
from isthmus.core import flows as core
from isthmus.core.segments import Segment
from isthmus.model.change import BuildNve, Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.flow import (
    Bridge,
    Flow,
    FlowPort,
    Goto,
    LearnVtep,
    Match,
    Output,
    PopVid,
    PushVid,
    Raw,
    SetVid,
    Tunnel,
)
from isthmus.model.intent import Network
from isthmus.model.names import NetworkId, mac
from isthmus.model.tags import Vid, Vni
from lab.netns import namespace
from lab.netns.capture import Capture, send
from lab.netns.frames import ETH_LAB, Frame
from tests.adapters.ovs.appliance import (
    DVS_END,
    HOST,
    TRUNK,
    TestAppliance,
    appliance,
    apply,
    built,
    done,
    eventually,
    held,
)
from tests.adapters.ovs.vocabulary import acceptable_flows

pytestmark = pytest.mark.live

RED, BLUE = Vni(5000), Vni(6000)
ECHO = Flow(
    Bridge.INT,
    0,
    100,
    Match(in_port=FlowPort.TRUNK, vid=Vid(11)),
    (SetVid(Vid(12)), Output(FlowPort.TRUNK, back=True)),
    RED,
)
"""A frame that comes by the trunk in VID 11 goes back in VID 12: a data path that a test can hear."""


@pytest.fixture(scope="module")
def shared() -> Iterator[TestAppliance]:
    with appliance() as made:
        yield made


@pytest.fixture
def own() -> Iterator[TestAppliance]:
    """For a test that stops things."""
    with appliance() as made:
        yield made


@pytest.fixture
def target(shared: TestAppliance) -> Iterator[OvsTarget]:
    """Built, and without flows."""
    made = built(shared)
    done(made, Forget(tuple(made.observe().entries.values())))
    yield made
    made.close()


def unicast(number: int) -> Flow:
    address = f"00:50:56:00:{number >> 8:02x}:{number & 255:02x}"
    actions = (PopVid(), Tunnel(RED, "192.0.2.9"), Output(FlowPort.VXLAN))
    return Flow(Bridge.TUN, 20, 40, Match(vid=Vid(11), dst=address), actions, RED)


def numbered(number: int) -> Frame:
    return Frame("00:50:56:00:00:02", "00:50:56:00:00:01", ETH_LAB, number.to_bytes(4, "big") + bytes(42), vid=11)


def numbers(heard: Capture) -> set[int]:
    return {int.from_bytes(frame.payload[:4], "big") for frame in heard.frames(lambda frame: frame.vid == 12)}


# --- flows


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], phases=[Phase.generate]
)
@given(st.lists(acceptable_flows(), min_size=1, max_size=60, unique_by=lambda flow: flow.key))
def test_what_is_loaded_is_what_is_read(target: OvsTarget, flows: list[Flow]) -> None:
    done(target, Learn(tuple(flows)))
    assert held(target) == set(flows)
    done(target, Forget(tuple(flows)))
    assert held(target) == set()


def test_an_unchanged_flow_keeps_its_counters_while_others_come_and_go(
    shared: TestAppliance, target: OvsTarget
) -> None:
    done(target, Learn((ECHO, unicast(1))))
    with Capture(shared.outside, DVS_END) as heard:
        send(shared.outside, DVS_END, numbered(1))
        assert heard.hears(lambda frame: frame.vid == 12, 2.0)
    time.sleep(1.1)  # the switch counts what its fast path forwarded within a second
    before = shared.matched(ECHO)
    assert before[1] >= 1
    done(target, Learn((unicast(2),)), Forget((unicast(1),)))
    done(target, Learn((replace(unicast(2), actions=()),)))
    after = shared.matched(ECHO)
    assert after[0] > before[0]
    assert after[1] >= before[1]
    assert held(target) == {ECHO, replace(unicast(2), actions=())}


def test_no_frame_is_lost_while_an_appliance_at_rest_is_reconciled(shared: TestAppliance, target: OvsTarget) -> None:
    """The frames go on through building again, reading, changes to other flows, and another process taking over."""
    done(target, Learn((ECHO,)))
    count, stop = 0, threading.Event()

    def talk() -> None:
        nonlocal count
        with namespace.packet_socket(shared.outside, DVS_END, 0) as wire:
            while not stop.wait(0.001):
                wire.send(numbered(count).to_bytes())
                count += 1

    with Capture(shared.outside, DVS_END) as heard:
        talker = threading.Thread(target=talk)
        talker.start()
        for round_ in range(10):
            done(target, BuildNve(), Learn((unicast(round_), ECHO)))
            done(target, Forget((unicast(round_),)))
            assert held(target) == {ECHO}
        target.close()
        successor = built(shared)
        assert held(successor) == {ECHO}
        successor.close()
        stop.set()
        talker.join()
        assert heard.hears(lambda frame: frame.vid == 12 and frame.payload == numbered(count - 1).payload, 2.0)
        assert count > 100
        assert numbers(heard) == set(range(count))


def test_foreign_and_older_flows_in_our_bridges_are_seen_and_removed_exactly(
    shared: TestAppliance, target: OvsTarget
) -> None:
    done(target, Learn((ECHO,)))
    strays = [
        "table=3,priority=7,tcp,ct_state=+trk,actions=NORMAL",
        "table=3,priority=7,tun_id=0x1388/0xffff00,idle_timeout=600,actions=drop",
        "table=0,priority=100,in_port=2,dl_vlan=11,actions=NORMAL",
        "cookie=0x157a000000001388,table=0,priority=99,in_port=1,dl_vlan=11,actions=drop",
    ]
    shared.meddle("br-int", *strays)
    found = {entry for entry in held(target) if entry != ECHO}
    assert len(found) == len(strays)
    assert all(isinstance(entry, Flow) and isinstance(entry.actions[0], Raw) for entry in found)
    done(target, Forget(tuple(found)))
    assert held(target) == {ECHO}


def test_a_flow_altered_by_hand_is_seen_and_put_right(shared: TestAppliance, target: OvsTarget) -> None:
    done(target, Learn((ECHO,)))
    shared.meddle("br-int", "modify_strict table=0,priority=100,in_port=1,dl_vlan=11,actions=NORMAL")
    assert held(target) != {ECHO}
    assert set(target.observe().entries) == {ECHO.key}
    done(target, Learn((ECHO,)))
    assert held(target) == {ECHO}


def test_a_flow_that_the_switch_rejects_stands_alone(target: OvsTarget) -> None:
    """Open vSwitch takes no retagging of a frame that may have no tag."""
    unsound = Flow(Bridge.INT, 1, 5, Match(), (SetVid(Vid(5)),), RED)
    flows = [unicast(1), unicast(2), unsound, unicast(3), ECHO]
    results = apply(target, *(Learn((flow,)) for flow in flows))
    assert [result.outcome for result in results] == [
        Outcome.REFUSED if flow is unsound else Outcome.DONE for flow in flows
    ]
    assert held(target) == set(flows) - {unsound}


def test_a_change_is_made_whole_or_not_at_all(shared: TestAppliance, target: OvsTarget) -> None:
    """The switch itself rejects the last flow, for want of room in its table."""
    full = Match(in_port=FlowPort.TRUNK, vid=Vid(1))
    flows = (ECHO, *(Flow(Bridge.INT, 1, priority, full, (), RED) for priority in (1, 2)))
    shared.ovs.vsctl(
        "--", "--id=@small", "create", "flow_table", "flow_limit=1",
        "--", "set", "bridge", "br-int", "flow_tables:1=@small",
    )  # fmt: skip
    try:
        [result] = apply(target, Learn(flows))
        assert result.outcome is Outcome.REFUSED
        assert "OFPFMFC_TABLE_FULL" in result.detail
        assert held(target) == set()
    finally:
        shared.ovs.vsctl("clear", "bridge", "br-int", "flow_tables")
    done(target, Learn(flows))


def test_a_flow_learnt_from_a_moved_vm_pre_empts_the_computed_one_and_is_nobodys(
    shared: TestAppliance, target: OvsTarget
) -> None:
    moved, computed = "00:50:56:00:00:07", "192.0.2.9"
    to_patch = (PushVid(Vid(11)), Output(FlowPort.PATCH))
    flows = (
        Flow(
            Bridge.TUN,
            0,
            90,
            Match(in_port=FlowPort.VXLAN, tun_id=RED),
            (LearnVtep(19, Vid(11), RED, 30), *to_patch),
            RED,
        ),
        Flow(Bridge.TUN, 0, 90, Match(in_port=FlowPort.PATCH), (Goto(19),)),
        Flow(Bridge.TUN, 19, 0, Match(), (Goto(20),)),
        Flow(
            Bridge.TUN,
            20,
            40,
            Match(vid=Vid(11), dst=moved),
            (PopVid(), Tunnel(RED, computed), Output(FlowPort.VXLAN)),
        ),
    )
    done(target, Learn(flows))
    from_vm = f"in_port={PORT_NUMBERS[FlowPort.PATCH]},dl_vlan=11,dl_vlan_pcp=3,dl_dst={moved},dl_type=0x88b5"
    assert destinations(shared, from_vm) == {computed}

    rarp = f"in_port={PORT_NUMBERS[FlowPort.VXLAN]},tun_id=5000,tun_src=192.0.2.7,tun_dst=192.0.2.1,dl_src={moved}"
    shared.ovs.appctl("ofproto/trace", "br-tun", f"{rarp},dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x8035", "-generate")
    assert destinations(shared, from_vm) == {"192.0.2.7"}
    assert destinations(shared, from_vm.replace("dl_vlan=11", "dl_vlan=12")) == set(), "learnt for this VID only"
    assert held(target) == set(flows), "the learnt flow is not read"

    done(target, Learn((replace(flows[3], actions=()),)))
    assert destinations(shared, from_vm) == {"192.0.2.7"}, "nor removed"
    other = replace(flows[0], match=flows[0].match._replace(tun_id=BLUE), actions=(), vni=BLUE)
    done(target, Learn((other,)))
    done(target, Forget((other,)))
    assert destinations(shared, from_vm) == {"192.0.2.7"}, "nor when another network forgets"
    done(target, Forget((flows[0],)))
    assert destinations(shared, from_vm) == set(), "but it goes with what its own network forgets"


def destinations(shared: TestAppliance, frame: str) -> set[str]:
    """The VTEPs to which br-tun sends a frame, untagged and with its VNI."""
    told = shared.ovs.appctl("ofproto/trace", "br-tun", frame)
    if "output to native tunnel" not in told:
        return set()
    final = next(line for line in told.splitlines() if line.startswith("Final flow:"))
    assert told.count("output to native tunnel") == 1
    assert "dl_vlan=" not in final
    return {final.partition("tun_dst=")[2].partition(",")[0]}


def test_ten_thousand_flows_load_and_are_read_in_seconds(target: OvsTarget) -> None:
    flows = tuple(unicast(number) for number in range(10_000))
    began = time.monotonic()
    done(target, Learn(flows))
    assert held(target) == set(flows)
    assert time.monotonic() - began < 20  # 0.7 s on an idle machine


# --- bridges


def test_the_ports_have_the_numbers_that_the_flows_name(shared: TestAppliance, target: OvsTarget) -> None:
    names = {TRUNK: FlowPort.TRUNK, PATCH_TUN: FlowPort.PATCH, VXLAN: FlowPort.VXLAN}
    for name, port in names.items():
        assert int(shared.ovs.vsctl("get", "interface", name, "ofport")) == PORT_NUMBERS[port]
    shared.ovs.vsctl("set", "interface", VXLAN, "ofport_request=9")
    eventually(lambda: not target.observe().ready)
    done(target, BuildNve())
    assert target.observe().ready
    assert int(shared.ovs.vsctl("get", "interface", VXLAN, "ofport")) == PORT_NUMBERS[FlowPort.VXLAN]


def test_two_ports_that_swapped_their_numbers_get_them_back(shared: TestAppliance, target: OvsTarget) -> None:
    shared.ovs.vsctl(
        "set", "interface", VXLAN, "ofport_request=2", "--", "set", "interface", "patch-int", "ofport_request=3"
    )
    for _ in range(3):
        if not target.observe().ready:
            apply(target, BuildNve())
    assert target.observe().ready


@pytest.mark.parametrize(
    "damage",
    [
        ("del-port", PATCH_TUN),
        ("del-port", VXLAN),
        ("del-port", TRUNK),
        ("del-br", "br-tun"),
        ("set", "interface", VXLAN, "options:local_ip=192.0.2.99"),
        ("set", "bridge", "br-int", "fail_mode=standalone"),
    ],
    ids=" ".join,
)
def test_a_frame_damaged_by_hand_is_rebuilt(shared: TestAppliance, target: OvsTarget, damage: tuple[str, ...]) -> None:
    shared.ovs.vsctl(*damage)
    eventually(lambda: not target.observe().ready)
    done(target, BuildNve())
    assert target.observe().ready


def test_building_what_stands_writes_nothing(shared: TestAppliance, target: OvsTarget) -> None:
    written = shared.ovs.vsctl("get", "open_vswitch", ".", "next_cfg")
    done(target, BuildNve())
    assert shared.ovs.vsctl("get", "open_vswitch", ".", "next_cfg") == written


def test_a_foreign_bridge_is_never_touched(own: TestAppliance) -> None:
    own.ovs.vsctl("add-port", "br-phy", "tap", "--", "set", "interface", "tap", "type=internal")
    own.meddle("br-phy", "add cookie=0x77,table=4,priority=9,dl_vlan=11,actions=drop")
    before = own.ovs.vsctl("list", "bridge", "br-phy"), own.ovs.dump_flows("br-phy")
    target = built(own)
    done(target, Learn((ECHO,)))
    own.restart_vswitchd()
    assert own.ovs.vsctl("list", "bridge", "br-phy") == before[0]
    own.meddle("br-phy", "add cookie=0x77,table=4,priority=9,dl_vlan=11,actions=drop")
    done(target, BuildNve(), Learn((ECHO,)))
    done(target, Forget((ECHO,)))
    assert own.ovs.dump_flows("br-phy") == before[1]
    target.close()


def test_a_bridge_of_somebody_elses_in_our_name_is_refused_and_left_alone(own: TestAppliance) -> None:
    own.ovs.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    own.ovs.vsctl("add-port", "br-int", "tap", "--", "set", "interface", "tap", "type=internal")
    before = own.ovs.vsctl("show")
    target = own.target()
    assert not target.observe().ready
    assert held(target) == set()
    [result] = apply(target, BuildNve())
    assert result.outcome is Outcome.REFUSED
    assert "br-int exists, is not ours, and holds tap" in result.detail
    assert apply(target, Learn((ECHO,)))[0].outcome is Outcome.RETRY
    assert own.ovs.vsctl("show") == before
    assert len(own.ovs.dump_flows("br-int")) == 1
    target.close()


def test_a_trunk_nic_that_is_missing_is_named_and_taken_when_it_comes(own: TestAppliance) -> None:
    target = own.target(trunk="trunk9")
    [result] = apply(target, BuildNve())
    assert result.outcome is Outcome.RETRY
    assert "trunk interface trunk9 of br-int" in result.detail
    assert not target.observe().ready
    namespace.ip(own.ovs.namespace, ["link add trunk9 type veth peer name trunk9p"])
    eventually(lambda: target.observe().ready)
    target.close()


def test_a_trunk_that_does_not_exist_takes_nothing_from_the_one_that_works(own: TestAppliance) -> None:
    working = built(own)
    done(working, Learn((ECHO,)))
    before, flows = own.ovs.vsctl("show"), held(working)
    working.close()
    target = own.target(trunk="trunk9")
    for _ in range(2):
        [result] = apply(target, BuildNve())
        assert result.outcome is Outcome.RETRY
        assert "trunk interface trunk9 of br-int" in result.detail
        assert f"{TRUNK} stays in its place" in result.detail
        assert own.ovs.vsctl("show") == before
        assert held(target) == flows
    with Capture(own.outside, DVS_END) as heard:
        send(own.outside, DVS_END, numbered(1))
        assert heard.hears(lambda frame: frame.vid == 12, 2.0)
    namespace.ip(own.ovs.namespace, ["link add trunk9 type veth peer name trunk9p"])
    done(target, BuildNve())
    assert target.observe().ready
    target.close()


def test_a_trunk_renamed_in_the_configuration_moves_and_leaves_no_loop(own: TestAppliance) -> None:
    built(own).close()
    namespace.ip(own.ovs.namespace, ["link add trunk9 type veth peer name trunk9p"])
    target = own.target(trunk="trunk9")
    done(target, BuildNve())
    assert target.observe().ready
    assert set(own.ovs.vsctl("list-ports", "br-int").split()) == {"trunk9", PATCH_TUN}
    target.close()


# --- findings


def test_what_is_wrong_or_pending_is_told_and_nothing_is_written(own: TestAppliance) -> None:
    def told(target: OvsTarget) -> list[tuple[bool, str]]:
        found = [(finding.is_problem, finding.what) for finding in target.findings()]
        target.close()
        return found

    assert told(own.target()) == [], "it is new"
    assert told(own.target(trunk="trunk9")) == [(True, "the appliance has no interface trunk9, which 'trunk' names")]
    keeper = built(own)
    before = own.ovs.vsctl("show"), own.ovs.vsctl("get", "open_vswitch", ".", "next_cfg")
    assert told(own.target()) == []
    assert told(own.target(trunk="trunk9")) == [(True, "the appliance has no interface trunk9, which 'trunk' names")]
    [(is_problem, what)] = told(own.target(owner="west"))
    assert is_problem
    assert "br-int belongs to the isthmus installation 'test', not to 'west'" in what
    assert told(OvsTarget(HOST, replace(own.settings(), vtep="192.0.2.9"))) == [
        (False, "br-tun's tunnel sends from 192.0.2.1, configured is 192.0.2.9: apply changes it")
    ]
    assert (own.ovs.vsctl("show"), own.ovs.vsctl("get", "open_vswitch", ".", "next_cfg")) == before
    keeper.close()


# --- processes


def test_flows_lost_with_ovs_vswitchd_are_noticed_and_come_back(own: TestAppliance) -> None:
    target, woken = built(own), threading.Event()
    done(target, Learn((ECHO, unicast(1))))
    watch = Watch(own.settings(), woken.set, interval=0.05)
    watch.start()
    time.sleep(0.3)
    assert not woken.is_set(), "nothing happened"
    own.restart_vswitchd()
    assert woken.wait(5)
    assert held(target) == set()
    done(target, BuildNve(), Learn((ECHO, unicast(1))))
    assert held(target) == {ECHO, unicast(1)}
    watch.close()
    target.close()


def test_a_bridge_taken_away_by_hand_is_noticed(own: TestAppliance) -> None:
    target, woken = built(own), list[object]()
    target.watch(woken.append)
    time.sleep(0.2)
    own.ovs.vsctl("del-port", "br-int", PATCH_TUN)
    eventually(lambda: woken == [frozenset({HOST})])
    target.close()


def test_a_second_process_is_refused_until_the_first_lets_go(shared: TestAppliance, target: OvsTarget) -> None:
    second = shared.target()
    assert second.observe().ready, "reading needs no lock"
    for action in (BuildNve(), Learn((ECHO,))):
        [result] = apply(second, action)
        assert result.outcome is Outcome.REFUSED
        assert "another isthmus process" in result.detail
    assert held(target) == set()
    target.close()
    eventually(lambda: apply(second, Learn((ECHO,)))[0].outcome is Outcome.DONE)
    second.close()


def test_closing_leaves_the_flows(shared: TestAppliance, target: OvsTarget) -> None:
    done(target, Learn((ECHO,)))
    target.close()
    target.close()
    successor = shared.target()
    assert held(successor) == {ECHO}
    successor.close()


def test_an_ovs_vswitchd_that_hangs_holds_nobody_up_for_long(own: TestAppliance) -> None:
    target = OvsTarget(HOST, own.settings(timeout=0.5))
    done(target, BuildNve())
    done(target, Learn((ECHO,)))
    own.freeze_vswitchd()
    began = time.monotonic()
    with pytest.raises(Retry, match="no answer within"):
        target.observe()
    assert apply(target, Learn((unicast(1),)))[0].outcome is Outcome.RETRY
    assert time.monotonic() - began < 5
    own.thaw_vswitchd()
    eventually(lambda: apply(target, Learn((unicast(1),)))[0].outcome is Outcome.DONE)
    assert held(target) == {ECHO, unicast(1)}
    target.close()


def test_an_appliance_whose_ovs_vswitchd_never_ran_is_not_called_built(own: TestAppliance) -> None:
    own.stop_vswitchd()
    target = OvsTarget(HOST, own.settings(timeout=0.5))
    [result] = apply(target, BuildNve())
    assert result.outcome is Outcome.RETRY
    assert "ovs-vswitchd" in result.detail
    own.start_vswitchd()
    eventually(lambda: apply(target, BuildNve())[0].outcome is Outcome.DONE)
    target.close()


def test_without_ovsdb_nothing_is_known_and_the_socket_is_named(own: TestAppliance) -> None:
    target = built(own)
    done(target, Learn((ECHO,)))
    lost = own.target()
    for process in own.processes.alive():
        if "ovsdb-server" in process.what:
            own.end(process)
    socket = own.ovs.rundir / "db.sock"
    with pytest.raises(Retry, match=str(socket)):
        lost.observe()
    with pytest.raises(Retry, match=str(own.ovs.rundir)):  # it may not have noticed yet, and miss the flows first
        target.observe()
    assert apply(target, Learn((unicast(1),)))[0].outcome is Outcome.RETRY
    socket.unlink(missing_ok=True)
    with pytest.raises(Retry, match=f"no OVSDB socket at {socket}: is Open vSwitch running"):
        lost.observe()
    target.close()


# --- with the core's own flows


def computed(vteps: int) -> set[Flow]:
    """Two VIDs of one network here, neighbours here, there and on the move, known addresses, and a second network."""
    peers = tuple(f"198.51.{number >> 8}.{number & 255}" for number in range(vteps))
    local = {mac("00:50:56:00:00:01"): Vid(11), mac("00:50:56:00:00:02"): Vid(12)}
    remote = {mac("00:50:56:00:01:01"): peers[2:3], mac("00:50:56:00:00:02"): peers[3:5]}
    addresses = {"10.0.0.9": mac("00:50:56:00:01:01"), "fd00::9": mac("00:50:56:00:01:01")}
    red = Segment(Network(NetworkId("red"), RED), (Vid(11), Vid(12)), local, remote, peers, addresses)
    blue = Segment(Network(NetworkId("blue"), Vni(5001)), (Vid(20),), {mac("00:50:56:00:00:03"): Vid(20)})
    return set(core.flows([red, blue]))


@pytest.mark.parametrize("vteps", [8, 1000])
def test_every_flow_that_the_core_computes_is_taken_and_read_back(target: OvsTarget, vteps: int) -> None:
    wanted = computed(vteps)
    done(target, Learn(tuple(wanted)))
    assert held(target) == wanted


def test_two_appliances_are_two_worlds(shared: TestAppliance, target: OvsTarget, own: TestAppliance) -> None:
    other = built(own)
    done(target, Learn((ECHO,)))
    done(other, Learn((unicast(1),)))
    assert held(target) == {ECHO}
    assert held(other) == {unicast(1)}
    own.ovs.vsctl("del-port", "br-int", PATCH_TUN)
    eventually(lambda: not other.observe().ready)
    assert target.observe().ready
    other.close()
    done(target, BuildNve(), Learn((unicast(2),)))
