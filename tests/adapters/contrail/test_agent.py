"""A vRouter agent is told of ports, and asked for them, over real HTTP: what comes of it, and what each fault says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.adapters.contrail.agent import AgentPort, HeldPort, VrouterAgent
from isthmus.adapters.contrail.http import MaybeDone, NotSent
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.names import NetworkId, PortId, VmId, mac
from isthmus.model.tags import Vid
from lab.contrail import port_table
from lab.contrail.vrouter_agent import (
    CUT_JSON,
    CUT_WHEN_DONE,
    HALF_JSON,
    HANG,
    HTML,
    NOT_READY,
    UNAVAILABLE,
    Trouble,
    slow,
)
from lab.contrail.vrouter_agent import VrouterAgentStandIn as StandIn

VMI = PortId("0e5f8a52-7a30-4a3b-9cf1-1d0f6a2b3c4d")
PORT = AgentPort(
    port=VMI,
    vm=VmId("5011aabb-0000-4000-8000-000000000001"),
    network=NetworkId("7011aabb-0000-4000-8000-000000000001"),
    project="9011aabb-0000-4000-8000-000000000001",
    name="web  1 ",
    mac=mac("00:50:56:00:00:05"),
    vid=Vid(101),
    address="10.0.0.5",
    address6="2001:db8::5",
    system_name="dv-137",
)
Calls = dict[str, Callable[[VrouterAgent], object]]
WRITES: Calls = {
    "plug": lambda agent: agent.plug(PORT),
    "unplug": lambda agent: agent.unplug(VMI),
    "enable": lambda agent: agent.enable(VMI),
    "disable": lambda agent: agent.disable(VMI),
    "sync": lambda agent: agent.sync(),
    "change": lambda agent: agent.change(PORT),
}
CALLS: Calls = WRITES | {"held": lambda agent: agent.held(VMI)}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_write = pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(tmp_path / "ports") as far:
        yield far


@pytest.fixture
def agent(far: StandIn) -> Iterator[VrouterAgent]:
    agent = VrouterAgent(far.address, 20.0, host="esx1")
    yield agent
    agent.close()


def hasty(far: StandIn) -> VrouterAgent:
    return VrouterAgent(far.address, 0.3, host="esx1")


# --- ports


def test_a_plugged_port_is_held_and_down(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(PORT)
    (port,) = far.ports.values()
    assert (port.vmi, port.vm, port.vn, port.mac, port.address, port.vid, port.enabled) == (
        PORT.port, PORT.vm, PORT.network, PORT.mac, PORT.address, 101, False,
    )  # fmt: skip
    entry = far.table.entries()[VMI]
    assert (entry.project, entry.address6, entry.system_name, entry.type) == (PORT.project, "2001:db8::5", "dv-137", 2)
    assert (entry.tx, entry.rx) == (101, 101)


def test_the_blanks_and_letters_of_a_name_stay(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(replace(PORT, name="  web  é \t\U0001f600"))
    assert far.table.entries()[VMI].name == "  web  é \t\U0001f600"


def test_a_port_is_plugged_enabled_in_one_call(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(replace(PORT, enabled=True))
    assert far.ports[VMI].enabled
    assert far.calls == {"POST /port": 1}


def test_a_port_without_an_address_or_a_system_name_is_plugged(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(replace(PORT, address="", address6="", system_name=""))
    entry = far.table.entries()[VMI]
    assert (entry.address, entry.address6) == ("0.0.0.0", "::")
    assert json.loads((far.table.folder / VMI).read_text())["ip-address"] == "0.0.0.0"


def test_enabling_and_disabling_moves_the_link(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(PORT)
    agent.enable(VMI)
    assert far.ports[VMI].enabled
    agent.disable(VMI)
    assert not far.ports[VMI].enabled


def test_unplugging_may_be_repeated(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(PORT)
    agent.unplug(VMI)
    agent.unplug(VMI)
    assert far.ports == {}


def test_a_plug_does_not_change_a_port_and_a_change_does(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(PORT)
    moved = replace(PORT, vid=Vid(202), address="10.0.0.9", enabled=True)
    agent.plug(moved)
    assert (far.ports[VMI].vid, far.ports[VMI].address) == (101, "10.0.0.5")
    agent.change(moved)
    assert (far.ports[VMI].vid, far.ports[VMI].address, far.ports[VMI].enabled) == (202, "10.0.0.9", True)
    far.stop()
    far.start()
    assert far.ports[VMI].vid == 202, "also when the agent starts again"


def test_a_port_of_another_vm_outlives_a_restart_only_if_it_was_changed(far: StandIn, agent: VrouterAgent) -> None:
    """A plug for another VM is taken, but the agent keeps the file of the former."""
    other = replace(PORT, vm=VmId("5011aabb-0000-4000-8000-000000000002"))
    for call, after in ((agent.plug, PORT.vm), (agent.change, other.vm)):
        agent.change(PORT)
        call(other)
        assert far.ports[VMI].vm == other.vm
        far.stop()
        far.start()
        assert far.ports[VMI].vm == after


def test_after_a_sync_ports_that_are_not_plugged_again_go(tmp_path: Path) -> None:
    now = [0.0]
    with StandIn(tmp_path, clock=lambda: now[0]) as far:
        agent = VrouterAgent(far.address)
        other = PortId(VMI.replace("0e", "1e"))
        agent.plug(PORT)
        agent.plug(replace(PORT, port=other))
        agent.sync()
        agent.plug(PORT)
        now[0] = 60.0
        assert set(far.ports) == {VMI}


def test_what_is_held_is_shown_once_it_is_configured(far: StandIn, agent: VrouterAgent) -> None:
    assert agent.held(VMI) is None
    far.known = arrived = set[str]()
    agent.plug(PORT)
    assert agent.held(VMI) is None, "which does not mean that it is unplugged"
    arrived.add(VMI)
    assert agent.held(VMI) == HeldPort(
        PORT.port, PORT.vm, PORT.network, PORT.project, PORT.mac, Vid(101), "10.0.0.5", "2001:db8::5", "dv-137"
    )


def test_a_port_without_an_address_is_never_shown(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(replace(PORT, address="", address6=""))
    assert agent.held(VMI) is None
    assert VMI in far.ports


def test_an_agent_that_uses_no_vlan_shows_none(tmp_path: Path) -> None:
    with StandIn(tmp_path, hypervisor_type="kvm") as far:
        agent = VrouterAgent(far.address)
        agent.plug(PORT)
        held = agent.held(VMI)
        assert held is not None
        assert held.vid is None


def test_threads_may_plug_at_once_over_few_connections(far: StandIn, agent: VrouterAgent) -> None:
    ports = [replace(PORT, port=PortId(f"{n:08x}{VMI[8:]}"), vid=Vid(n)) for n in range(1, 201)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(agent.plug, ports))
    assert {vmi: port.vid for vmi, port in far.ports.items()} == {p.port: p.vid for p in ports}


# --- what an agent would misread never reaches it


NO_UUIDS = ["", "vm-5", VMI.upper(), VMI.replace("-", ""), f"{{{VMI}}}", "00000000-0000-0000-0000-000000000000"]


@pytest.mark.parametrize("field", ["port", "vm", "network", "project"])
@pytest.mark.parametrize("wrong", NO_UUIDS)
def test_an_id_is_a_uuid_in_lower_case_with_dashes(field: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"UUID|uuid"):
        replace(PORT, **{field: wrong})


@pytest.mark.parametrize(
    "wrong", [{"address": "None"}, {"address": "2001:db8::5"}, {"address6": "10.0.0.5"}, {"mac": "00-50-56-00-00-05"},
              {"mac": "00:50:56:00:00:AA"}, {"mac": "00:00:00:00:00:00"}, {"mac": ""}]
)  # fmt: skip
def test_addresses_are_addresses(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        replace(PORT, **wrong)


@pytest.mark.parametrize("port", ["x/../../syncports", VMI.upper(), ""])
def test_no_other_path_is_asked_for(far: StandIn, agent: VrouterAgent, port: str) -> None:
    for call in (agent.unplug, agent.enable, agent.disable, agent.held):
        with pytest.raises(ValueError, match=r"UUID|uuid"):
            call(PortId(port))
    assert not far.calls


# --- faults


@every_call
def test_an_agent_that_is_not_there_is_unreachable_and_was_told_nothing(
    far: StandIn, agent: VrouterAgent, call: Callable[[VrouterAgent], object]
) -> None:
    far.stop()
    with pytest.raises(NotSent) as fault:
        call(agent)
    assert str(fault.value) == (
        f"esx1's vRouter agent at {far.address} does not answer: Connection refused; "
        "check that it runs, and its address"
    )


@every_call
def test_an_agent_that_comes_back_is_spoken_to_again(
    far: StandIn, agent: VrouterAgent, call: Callable[[VrouterAgent], object]
) -> None:
    agent.plug(PORT)
    far.stop()
    with pytest.raises(Unreachable):
        call(agent)
    far.start()
    call(agent)


@every_write
def test_a_write_to_an_agent_that_hangs_may_be_done(far: StandIn, call: Callable[[VrouterAgent], object]) -> None:
    VrouterAgent(far.address).plug(PORT)
    far.trouble = HANG
    with pytest.raises(MaybeDone, match=r"^esx1's vRouter agent at .* was sent and has no answer within 0.3 s"):
        call(hasty(far))
    far.trouble = None


def test_a_read_from_an_agent_that_hangs_is_no_write(far: StandIn) -> None:
    far.trouble = HANG
    with pytest.raises(Unreachable) as fault:
        hasty(far).held(VMI)
    assert not isinstance(fault.value, MaybeDone)


def test_what_was_done_without_an_answer_is_done_again_without_harm(far: StandIn, agent: VrouterAgent) -> None:
    for call in (lambda: agent.plug(PORT), lambda: agent.unplug(VMI)):
        far.trouble = CUT_WHEN_DONE
        with pytest.raises(MaybeDone):
            call()
        after, far.trouble = far.ports, None
        call()
        assert far.ports == after
    assert far.told(VMI) == ["plug", "plug again", "unplug", "unplug of none"]


def test_a_change_that_fails_in_between_is_mended_by_doing_it_again(far: StandIn, agent: VrouterAgent) -> None:
    agent.plug(PORT)
    moved = replace(PORT, vid=Vid(202))
    far.trouble = CUT_WHEN_DONE
    with pytest.raises(MaybeDone, match="DELETE"):
        agent.change(moved)
    far.trouble = None
    agent.change(moved)
    assert far.ports[VMI].vid == 202


def test_an_agent_that_is_slow_is_waited_for(far: StandIn, agent: VrouterAgent) -> None:
    far.trouble = slow(0.05)
    agent.plug(PORT)
    assert VMI in far.ports


STRANGERS = [
    HTML,
    HALF_JSON,
    UNAVAILABLE,
    replace(HTML, status=404),
    replace(HTML, status=500),
    Trouble(body=b'{"error": {"code": 401}}', status=401),
    Trouble(body=b'{"error": "busy"}', status=503),
    Trouble(body=b"", status=302),
    Trouble(body=b"[]"),
]


@every_call
@pytest.mark.parametrize("trouble", STRANGERS)
def test_something_else_at_its_address_is_no_agent(
    far: StandIn, agent: VrouterAgent, trouble: Trouble, call: Callable[[VrouterAgent], object]
) -> None:
    far.trouble = trouble
    with pytest.raises(Unreachable) as fault:
        call(agent)
    said = str(fault.value)
    assert f"esx1's vRouter agent at {far.address} answers like something else than a vRouter agent" in said
    assert "is the address right?" in said
    assert f"HTTP {trouble.status}" in said


@every_call
def test_an_answer_that_breaks_off_is_none(
    far: StandIn, agent: VrouterAgent, call: Callable[[VrouterAgent], object]
) -> None:
    far.trouble = CUT_JSON
    with pytest.raises(Unreachable, match="the connection was cut in the middle of an answer"):
        call(agent)


OF_NO_PORT = [
    {"id": VMI.replace("0e", "1e")},
    {"tx-vlan-id": None},
    {"rx-vlan-id": "untagged"},
    {"instance-id": 5},
    {"mac-address": 5},
    {"system-name": None},
]


@pytest.mark.parametrize("wrong", OF_NO_PORT)
def test_what_no_agent_shows_of_a_port_is_no_answer(
    far: StandIn, agent: VrouterAgent, wrong: dict[str, object]
) -> None:
    agent.plug(PORT)
    shown = far.table.shown(VMI, uses_vlans=True)
    assert shown is not None
    lacking = {key: value for key, value in shown.items() if key not in wrong}
    for body in (shown | wrong, lacking, {}, []):
        far.trouble = Trouble(body=json.dumps(body).encode())
        with pytest.raises(Unreachable, match="something else than a vRouter agent"):
            agent.held(VMI)


def test_a_field_that_the_agent_does_not_take_is_refused(
    far: StandIn, agent: VrouterAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_table, "MAC", re.compile("none"))  # an agent of another mind than we
    with pytest.raises(Refused) as fault:
        agent.plug(PORT)
    assert str(fault.value) == (
        f"esx1's vRouter agent at {far.address} refuses POST /port: Invalid MAC, Use xx:xx:xx:xx:xx:xx format"
    )


@pytest.mark.parametrize("what", ["enable", "disable"])
def test_a_link_of_a_port_that_the_agent_does_not_have_waits_for_its_plug(
    far: StandIn, agent: VrouterAgent, what: str
) -> None:
    with pytest.raises(Retry, match=rf"refuses PUT /{what}-port/{VMI}: Port Not found {VMI}; it is to be plugged anew"):
        CALLS[what](agent)
    agent.plug(PORT)
    CALLS[what](agent)


@every_call
def test_an_agent_that_is_not_ready_is_asked_again(
    far: StandIn, agent: VrouterAgent, call: Callable[[VrouterAgent], object]
) -> None:
    far.trouble = NOT_READY
    with pytest.raises(Retry, match="is not ready: Operation Not Supported"):
        call(agent)


def test_a_call_that_an_agent_does_not_know_is_refused(far: StandIn, agent: VrouterAgent) -> None:
    far.trouble = Trouble(body=b'{"error":"Unknown Request"}', status=404)
    with pytest.raises(Refused, match="does not know the call POST /syncports: Unknown Request; is it of an old"):
        agent.sync()


def test_one_hung_agent_holds_up_no_other(far: StandIn, tmp_path: Path) -> None:
    far.trouble = HANG
    with StandIn(tmp_path / "other") as other, ThreadPoolExecutor(1) as threads:
        hung = threads.submit(VrouterAgent(far.address, 20.0).plug, PORT)
        VrouterAgent(other.address, 20.0).plug(PORT)
        assert VMI in other.ports
        assert not hung.done()
        far.trouble = None
        hung.result()


def test_an_agent_without_a_host_is_still_named(far: StandIn) -> None:
    far.stop()
    with pytest.raises(Unreachable, match=f"^the vRouter agent at {far.address} does not answer"):
        VrouterAgent(far.address).sync()
