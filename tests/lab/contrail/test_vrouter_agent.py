"""The stand-in keeps the rules of a vRouter agent's port API, one by one, as OpenSDN's source has them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from lab.contrail.port_table import NIL
from lab.contrail.vrouter_agent import CUT_WHEN_DONE, HALF_JSON, HANG, HANG_WHEN_DONE, HTML, UNAVAILABLE, slow
from lab.contrail.vrouter_agent import VrouterAgentStandIn as StandIn

VMI = "0e5f8a52-7a30-4a3b-9cf1-1d0f6a2b3c4d"
OTHER = "1e5f8a52-7a30-4a3b-9cf1-1d0f6a2b3c4d"
VM, VM2 = "5011aabb-0000-4000-8000-000000000001", "5011aabb-0000-4000-8000-000000000002"
VN = "7011aabb-0000-4000-8000-000000000001"
PROJECT = "9011aabb-0000-4000-8000-000000000001"
PORT: dict[str, Any] = {
    "id": VMI, "instance-id": VM, "vn-id": VN, "vm-project-id": PROJECT, "display-name": "web  1",
    "ip-address": "10.0.0.5", "ip6-address": "", "system-name": "dv-137", "mac-address": "00:50:56:00:00:05",
    "type": 2, "rx-vlan-id": 101, "tx-vlan-id": 101,
}  # fmt: skip


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agent(tmp_path: Path, clock: Clock) -> Iterator[StandIn]:
    with StandIn(tmp_path / "ports", clock=clock) as agent:
        yield agent


def called(agent: StandIn, method: str, path: str, body: Any = None, timeout: float = 20.0) -> tuple[int, Any]:
    """Status and document of one call over a connection of its own."""
    line = HTTPConnection("127.0.0.1", agent.port, timeout=timeout)
    try:
        line.request(method, path, body if isinstance(body, str | None) else json.dumps(body))
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


def asked(line: HTTPConnection) -> None:
    """One call over a connection that is kept."""
    line.request("GET", f"/port/{VMI}")
    line.getresponse().read()


def plugged(agent: StandIn, **changed: Any) -> tuple[int, Any]:
    return called(agent, "POST", "/port", PORT | {key.replace("_", "-"): value for key, value in changed.items()})


def kept(agent: StandIn, vmi: str = VMI) -> dict[str, Any]:
    """The port's file."""
    return dict(json.loads((agent.table.folder / vmi).read_text()))


def test_a_port_is_held_as_it_was_told_and_down(agent: StandIn) -> None:
    assert plugged(agent) == (200, {})
    (port,) = agent.ports.values()
    assert (port.vmi, port.vm, port.vn, port.vid, port.enabled) == (VMI, VM, VN, 101, False)
    assert (port.mac, port.address) == ("00:50:56:00:00:05", "10.0.0.5")
    assert agent.told(VMI) == ["plug"]


@pytest.mark.parametrize("field", sorted(PORT))
def test_every_field_is_required(agent: StandIn, field: str) -> None:
    status, said = called(agent, "POST", "/port", {key: value for key, value in PORT.items() if key != field})
    word = "data" if field in ("id", "instance-id", "vn-id", "vm-project-id") else "field"
    assert (status, said) == (500, {"error": f"{{ Invalid or missing {word} for <{field}> }}"})
    assert agent.ports == {}
    assert list(agent.table.folder.iterdir()) == []


@pytest.mark.parametrize("field", sorted(PORT))
@pytest.mark.parametrize("value", [None, True, 1.5, ["x"]])
def test_every_field_has_its_type(agent: StandIn, field: str, value: Any) -> None:
    status, said = called(agent, "POST", "/port", PORT | {field: value})
    assert status == 500
    assert f"for <{field}>" in said["error"]


def test_a_number_is_no_string_and_a_string_no_number(agent: StandIn) -> None:
    assert plugged(agent, display_name=5)[0] == 500
    assert plugged(agent, tx_vlan_id="101")[0] == 500
    assert plugged(agent, rx_vlan_id=2**31)[0] == 500


@pytest.mark.parametrize("body", ["", "{", "7", '"x"', "null"])
def test_what_is_neither_object_nor_array_is_refused(agent: StandIn, body: str) -> None:
    status, said = called(agent, "POST", "/port", body)
    assert status == 500
    assert said["error"].startswith(("{ Invalid Json string ==> ", "{ Unexpected Json string ==> "))


@pytest.mark.parametrize("mac", ["", "00:00:00:00:00:00", "00-50-56-00-00-05", "00:50:56:00:00", "00:50:56:00:00:xx"])
def test_a_mac_has_five_colons_and_is_not_zero(agent: StandIn, mac: str) -> None:
    status, said = plugged(agent, mac_address=mac)
    assert (status, said) == (500, {"error": "{ Invalid MAC, Use xx:xx:xx:xx:xx:xx format }"})


def test_a_uuid_that_is_none_becomes_the_nil_uuid(agent: StandIn) -> None:
    assert plugged(agent, instance_id="vm-5", vm_project_id=PROJECT.replace("-", ""))[0] == 200
    entry = agent.table.entries()[VMI]
    assert (entry.vm, entry.project) == (NIL, NIL)
    assert plugged(agent, id=OTHER.upper())[0] == 200
    assert set(agent.ports) == {VMI, OTHER}, "upper case is read, and kept in lower case"


def test_an_address_that_is_none_is_no_address(agent: StandIn) -> None:
    plugged(agent, ip_address="None", ip6_address="10.0.0.5")
    entry = agent.table.entries()[VMI]
    assert (entry.address, entry.address6) == ("0.0.0.0", "::")


def test_a_port_of_nova_needs_a_network_and_is_up(agent: StandIn) -> None:
    assert plugged(agent, type=0, vn_id="red") == (500, {"error": "{ Invalid VN uuid }"})
    assert plugged(agent, type=0)[0] == 200
    assert agent.ports[VMI].enabled


def test_minus_one_is_no_vlan(agent: StandIn) -> None:
    plugged(agent, tx_vlan_id=-1, rx_vlan_id=-1)
    assert agent.ports[VMI].vid is None


def test_vlans_are_used_only_with_the_hypervisor_type_vmware(tmp_path: Path) -> None:
    with StandIn(tmp_path, hypervisor_type="kvm") as agent:
        plugged(agent)
        assert agent.ports[VMI].vid is None
        assert called(agent, "GET", f"/port/{VMI}")[1]["tx-vlan-id"] == 0xFFFF


def test_of_an_array_all_are_plugged_or_none_and_it_is_never_an_error(agent: StandIn) -> None:
    bad = PORT | {"id": OTHER, "type": "2"}
    for body in ([PORT, bad], [PORT, 7], []):
        assert called(agent, "POST", "/port", body) == (200, {})
        assert agent.ports == {}
    assert called(agent, "POST", "/port", [PORT, PORT | {"id": OTHER}]) == (200, {})
    assert set(agent.ports) == {VMI, OTHER}


def test_what_is_told_anew_of_a_port_is_answered_and_ignored(agent: StandIn) -> None:
    plugged(agent)
    before = agent.ports, kept(agent)
    assert plugged(agent, tx_vlan_id=202, rx_vlan_id=202, ip_address="10.0.0.9", mac_address="00:50:56:00:00:09",
                   vn_id=VM2, display_name="new", link_state=1) == (200, {})  # fmt: skip
    assert (agent.ports, kept(agent)) == before
    assert agent.told(VMI) == ["plug", "plug again"]


def test_a_change_needs_an_unplug_and_a_plug(agent: StandIn) -> None:
    plugged(agent)
    called(agent, "DELETE", f"/port/{VMI}")
    plugged(agent, tx_vlan_id=202, rx_vlan_id=202)
    assert agent.ports[VMI].vid == 202
    assert kept(agent)["tx-vlan-id"] == 202


def test_another_vm_takes_the_port_over_but_not_its_file(agent: StandIn) -> None:
    plugged(agent)
    plugged(agent, instance_id=VM2, tx_vlan_id=202, rx_vlan_id=202)
    assert (agent.ports[VMI].vm, agent.ports[VMI].vid) == (VM2, 202)
    assert agent.told(VMI) == ["plug", "unplug", "plug"]
    agent.stop()
    agent.start()
    assert (agent.ports[VMI].vm, agent.ports[VMI].vid) == (VM, 101), "which the agent finds when it starts again"


def test_unplugging_what_is_not_there_is_fine(agent: StandIn) -> None:
    plugged(agent)
    for _ in range(2):
        assert called(agent, "DELETE", f"/port/{VMI}") == (200, {})
    assert agent.ports == {}
    assert list(agent.table.folder.iterdir()) == []
    assert agent.told(VMI) == ["plug", "unplug", "unplug of none"]


def test_enabling_and_disabling_moves_the_link_and_is_kept(agent: StandIn) -> None:
    plugged(agent)
    for call, up in (("enable", True), ("enable", True), ("disable", False)):
        assert called(agent, "PUT", f"/{call}-port/{VMI}") == (200, {})
        assert agent.ports[VMI].enabled is up
        assert kept(agent)["link-state"] == int(up)


def test_a_port_may_be_plugged_enabled(agent: StandIn) -> None:
    plugged(agent, link_state=1)
    assert agent.ports[VMI].enabled


@pytest.mark.parametrize("call", ["enable", "disable"])
def test_only_a_port_of_an_esxi_host_that_is_held_is_enabled_or_disabled(agent: StandIn, call: str) -> None:
    path = f"/{call}-port/{VMI}"
    assert called(agent, "PUT", path) == (500, {"error": f"{{Port Not found {VMI}}}"})
    plugged(agent, type=0)
    assert called(agent, "PUT", path) == (500, {"error": f"{{Incorrect Port type for {VMI}}}"})


def test_a_get_tells_what_is_used_and_neither_name_nor_link(agent: StandIn) -> None:
    plugged(agent, ip6_address="2001:db8::5")
    status, told = called(agent, "GET", f"/port/{VMI}")
    assert status == 200
    expected = {
        "id": VMI, "instance-id": VM, "vn-id": VN, "vm-project-id": PROJECT, "system-name": "dv-137",
        "mac-address": "00:50:56:00:00:05", "rx-vlan-id": 101, "tx-vlan-id": 101, "ip-address": "10.0.0.5",
        "v6-ip-address": "2001:db8::5", "plen": 24, "dns-server": "10.0.0.2", "gateway": "10.0.0.1",
    }  # fmt: skip
    assert {key: told[key] for key in expected} == expected
    assert not {"display-name", "type", "link-state", "ip6-address"} & set(told)


def test_a_get_finds_nothing_until_the_configuration_has_arrived(agent: StandIn) -> None:
    arrived: set[str] = set()
    agent.known = arrived
    plugged(agent)
    assert called(agent, "GET", f"/port/{VMI}") == (404, {"error": "{ Not Found }"})
    assert VMI in agent.ports, "although it is plugged"
    arrived.add(VMI)
    assert called(agent, "GET", f"/port/{VMI}")[0] == 200
    agent.known = lambda vmi: vmi != VMI
    assert called(agent, "GET", f"/port/{VMI}")[0] == 404


def test_a_get_finds_no_port_without_an_address(agent: StandIn) -> None:
    plugged(agent, ip_address="")
    assert called(agent, "GET", f"/port/{VMI}") == (404, {"error": "{ Not Found }"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/port"),
        ("GET", "/ports"),
        ("POST", "/port/"),
        ("POST", f"/port/{VMI}"),
        ("GET", f"/port/{VMI.upper()}"),
        ("DELETE", f"/port/{VMI.upper()}"),
        ("PUT", f"/port/{VMI}"),
        ("GET", f"/port/{VMI.replace('-', '')}"),
    ],
)
def test_any_other_request_is_unknown(agent: StandIn, method: str, path: str) -> None:
    plugged(agent)
    assert called(agent, method, path) == (404, {"error": "Unknown Request"})
    assert VMI in agent.ports


def test_after_a_sync_what_was_not_plugged_again_goes_in_time(agent: StandIn, clock: Clock) -> None:
    namespace = "2e5f8a52-7a30-4a3b-9cf1-1d0f6a2b3c4d"
    for vmi, kind in ((VMI, 2), (OTHER, 2), (namespace, 1)):
        plugged(agent, id=vmi, type=kind)
    assert called(agent, "POST", "/syncports") == (200, {})
    plugged(agent, tx_vlan_id=202)
    clock.now += 59
    assert set(agent.ports) == {VMI, OTHER, namespace}
    clock.now += 1
    assert set(agent.ports) == {VMI, namespace}
    assert not (agent.table.folder / OTHER).exists()
    assert agent.told(OTHER) == ["plug", "stale"]


def test_ports_plugged_after_a_sync_stay(agent: StandIn, clock: Clock) -> None:
    called(agent, "POST", "/syncports")
    plugged(agent)
    clock.now += 100
    assert VMI in agent.ports


def test_an_agent_that_starts_again_has_its_ports_and_their_links_from_its_files(agent: StandIn, clock: Clock) -> None:
    plugged(agent)
    plugged(agent, id=OTHER)
    called(agent, "PUT", f"/enable-port/{VMI}")
    called(agent, "POST", "/syncports")
    (agent.table.folder / "notes.txt").write_text(json.dumps(PORT | {"id": VM}))
    (agent.table.folder / VM2).write_text("half of a po")
    before = agent.ports
    agent.stop()
    agent.start()
    clock.now += 100
    assert agent.ports == before, "and knows of no clean-up any more"


def test_an_agent_vm_that_is_deployed_anew_has_none(agent: StandIn) -> None:
    plugged(agent)
    agent.stop()
    agent.start(with_files=False)
    assert agent.ports == {}


def test_a_stopped_agent_is_not_there_and_comes_back_at_the_same_address(agent: StandIn) -> None:
    line = HTTPConnection("127.0.0.1", agent.port, timeout=20)
    asked(line)
    where = agent.address
    agent.stop()
    assert line.sock.recv(1) == b"", "a kept connection is cut too"
    with pytest.raises((OSError, HTTPException)):
        asked(line)
    line.close()
    with pytest.raises(ConnectionRefusedError):
        plugged(agent)
    agent.start()
    assert agent.address == where
    assert plugged(agent)[0] == 200
    assert [event.what for event in agent.events if not event.vmi] == ["start", "stop", "start"]


def test_an_agent_that_hangs_does_what_it_was_asked_when_it_wakes(agent: StandIn) -> None:
    agent.trouble = HANG
    with pytest.raises(TimeoutError):
        called(agent, "POST", "/port", PORT, timeout=0.2)
    assert agent.ports == {}
    agent.trouble = None
    wait_until_told(agent, "plug")


def test_an_agent_that_hangs_may_have_done_it(agent: StandIn) -> None:
    agent.trouble = HANG_WHEN_DONE
    with pytest.raises(TimeoutError):
        called(agent, "POST", "/port", PORT, timeout=0.2)
    assert VMI in agent.ports
    agent.trouble = CUT_WHEN_DONE
    with pytest.raises((OSError, HTTPException)):
        called(agent, "DELETE", f"/port/{VMI}")
    assert agent.ports == {}


def test_a_stopped_agent_does_nothing_that_hung(agent: StandIn) -> None:
    agent.trouble = HANG
    with pytest.raises(TimeoutError):
        called(agent, "POST", "/port", PORT, timeout=0.2)
    agent.stop()
    agent.trouble = None
    agent.start()
    assert plugged(agent, id=OTHER)[0] == 200
    assert set(agent.ports) == {OTHER}


def test_an_agent_answers_late_or_like_something_else(agent: StandIn) -> None:
    for trouble in (HTML, HALF_JSON, UNAVAILABLE):
        agent.trouble = trouble
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            plugged(agent)
    assert agent.ports == {}
    agent.trouble = slow(0.05)
    assert plugged(agent) == (200, {})


def test_calls_are_counted_by_kind_whatever_came_of_them(agent: StandIn) -> None:
    plugged(agent)
    plugged(agent, type="2")
    agent.trouble = UNAVAILABLE
    with pytest.raises(ValueError, match="Expecting"):
        plugged(agent)
    agent.trouble = None
    called(agent, "GET", f"/port/{VMI}")
    assert agent.calls == {"POST /port": 3, "GET /port": 1}


def wait_until_told(agent: StandIn, what: str) -> None:
    """A call whose caller is gone is done on its own time."""
    for _ in range(2000):
        if what in agent.told(VMI):
            return
        time.sleep(0.01)
    raise AssertionError(f"no {what}")
