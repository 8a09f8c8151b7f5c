"""DV ports read as they arrive are those that pyVmomi reads; and an answer that is not whole is none."""

from __future__ import annotations

import gzip
import io
import re
import tracemalloc
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.faults import meaning
from isthmus.adapters.vcenter.fetched import FETCH_DV_PORTS, FetchedPort
from isthmus.adapters.vcenter.stream import values
from isthmus.model.faults import Retry
from isthmus.model.observed import Access, NoVlan, PrivateVlan, Trunk
from isthmus.model.tags import Vid, VidSet
from lab.vcenter import Dvs, Fault, Member, Nic, Overrides, PortGroup, Pvlan, PvlanEntry, Topology, Vm
from lab.vcenter import Trunk as TrunkOf
from lab.vcenter.faults import Drop, Unavailable
from tests.adapters.vcenter.answers import (
    METHOD,
    Prepared,
    Wire,
    answer,
    answer_of,
    by_pyvmomi,
    chunked,
    fault_of,
    http,
)
from tests.adapters.vcenter.bench import Bench, running

VmwareSwitch = vim.dvs.VmwareDistributedVirtualSwitch
SWITCH = VmwareSwitch("dvs-1", None)


def port(key: str, vlan: Any = None, **what: Any) -> Any:
    setting = VmwareSwitch.VmwarePortConfigPolicy(blocked=vim.BoolPolicy(inherited=False, value=True), vlan=vlan)
    config = vim.dvs.DistributedVirtualPort.ConfigInfo(name="a <b> & c\n\u202e", configVersion="3", setting=setting)
    return vim.dvs.DistributedVirtualPort(key=key, portgroupKey="dvportgroup-1", dvsUuid="u", config=config, **what)


VM_NIC = vim.dvs.PortConnectee(connectedEntity=vim.VirtualMachine("vm-5", None), nicKey="4001", type="vmVnic")
RANGES = [vim.NumericRange(start=0, end=0), vim.NumericRange(start=100, end=199)]
PORTS = [
    port("1", VmwareSwitch.VlanIdSpec(vlanId=12, inherited=False), connectee=VM_NIC, connectionCookie=7),
    port("2", VmwareSwitch.TrunkVlanSpec(vlanId=RANGES, inherited=True), proxyHost=vim.HostSystem("host-3", None)),
]
SMALL = answer_of(PORTS)
READ = by_pyvmomi(SMALL)


class Drip:
    """A source that gives little at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = io.BytesIO(data), size

    def read(self, size: int) -> bytes:
        return self._data.read(self._size)


def ask_at(stub: Any, criteria: Any = None) -> list[FetchedPort]:
    return FETCH_DV_PORTS.ask(VmwareSwitch("dvs-1", stub), criteria)


def ask(said: bytes) -> list[FetchedPort]:
    return ask_at(Prepared(said))


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 16])
def test_ports_are_the_same_in_whatever_pieces_they_arrive(size: int) -> None:
    assert values(Drip(SMALL, size), FETCH_DV_PORTS) == READ
    assert [(found.key, found.vlan) for found in READ] == [
        ("1", Access(Vid(12))),
        ("2", Trunk(VidSet.of("100-199"))),
    ]


@pytest.mark.parametrize(
    "vlan",
    [
        None,
        VmwareSwitch.VlanIdSpec(vlanId=0),
        VmwareSwitch.VlanIdSpec(vlanId=4094),
        VmwareSwitch.VlanIdSpec(vlanId=4095),
        VmwareSwitch.PvlanSpec(pvlanId=300),
        VmwareSwitch.TrunkVlanSpec(vlanId=[]),
        VmwareSwitch.TrunkVlanSpec(vlanId=[vim.NumericRange(start=0, end=4094)]),
        VmwareSwitch.VlanSpec(),
    ],
    ids=lambda vlan: type(vlan).__name__.rpartition(".")[2],
)
@pytest.mark.parametrize("inherited", [True, False])
def test_every_kind_of_vlan_reads_as_pyvmomi_reads_it(vlan: Any, inherited: bool) -> None:
    if vlan is not None:
        vlan.inherited = inherited
    data = answer_of([port("1", vlan)])
    [found] = values(Drip(data, 50), FETCH_DV_PORTS)
    assert [found] == by_pyvmomi(data)
    assert found.vlan_own is (vlan is not None and not inherited)


def test_a_vlan_setting_of_a_kind_nobody_knows_is_not_taken_for_untagged() -> None:
    data = SMALL.replace(b"SwitchTrunkVlanSpec", b"SwitchQuantumVlanSpec")
    with pytest.raises(ValueError, match="QuantumVlanSpec"):
        values(Drip(data, 1000), FETCH_DV_PORTS)


def test_a_vlan_setting_without_its_kind_but_with_a_vlan_is_not_taken_for_untagged() -> None:
    data = re.sub(rb'xsi:type="[^"]*TrunkVlanSpec"', b"", SMALL)
    assert data != SMALL
    with pytest.raises(ValueError, match="unknown type"):
        values(Drip(data, 1000), FETCH_DV_PORTS)


def test_values_in_a_foreign_namespace_make_no_shorter_list() -> None:
    data = SMALL.replace(b"<returnval", b'<returnval xmlns="urn:vim26"')
    with pytest.raises(HTTPException, match="foreign namespace"):
        values(Drip(data, 1000), FETCH_DV_PORTS)


def test_elements_that_nobody_knows_change_nothing() -> None:
    strange = b'<novelty a="b"><returnval><key>9</key></returnval><key>9</key><config>9</config></novelty>'
    data = SMALL.replace(b"<key>", strange + b"<key>").replace(
        b"<FetchDVPortsResponse", strange + b"<FetchDVPortsResponse"
    )
    data = data.replace(b"</FetchDVPortsResponse>", strange + b"</FetchDVPortsResponse>")
    for size in (13, 1 << 16):
        assert values(Drip(data, size), FETCH_DV_PORTS) == READ


def test_a_switch_without_ports_has_none() -> None:
    assert values(Drip(answer_of([]), 9), FETCH_DV_PORTS) == []


def test_what_was_read_is_not_kept() -> None:
    begin, end = SMALL.index(b"<returnval"), SMALL.rindex(b"</FetchDVPortsResponse>")
    data = SMALL[:begin] + SMALL[begin:end] * 1_000 + SMALL[end:]
    tracemalloc.start()
    try:
        found = values(io.BytesIO(data), FETCH_DV_PORTS)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == READ * 1_000
    assert peak - kept < len(data), "the elements of one chunk, not of the answer"


@pytest.mark.parametrize("wrong", [b"<", b"&nope;", b"\x00", b"\xff", b"</returnval>"])
def test_an_answer_that_is_spoilt_in_its_middle_is_a_failed_read(wrong: bytes) -> None:
    middle = SMALL.rindex(b"<returnval")
    with pytest.raises(HTTPException):
        values(Drip(SMALL[:middle] + wrong + SMALL[middle:], 200), FETCH_DV_PORTS)


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b" ",
        b"<html><body>Welcome</body></html>",
        answer(""),
        answer('<FetchDVPortKeysResponse xmlns="urn:vim25"><returnval>1</returnval></FetchDVPortKeysResponse>'),
        answer('<FetchDVPortsResponse xmlns="urn:vim99"></FetchDVPortsResponse>'),
        fault_of(vim.fault.NotAuthenticated()),
    ],
)
def test_an_answer_that_is_none_to_what_was_asked_is_no_empty_list(other: bytes) -> None:
    with pytest.raises(HTTPException):
        values(Drip(other, 10), FETCH_DV_PORTS)


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 300))
def test_an_answer_cut_off_anywhere_is_none_in_whatever_pieces(length: int, size: int) -> None:
    with pytest.raises(HTTPException):
        values(Drip(SMALL[:length], size), FETCH_DV_PORTS)


PACKED = gzip.compress(SMALL, mtime=0)
WHOLE = {
    "with its length": (http(SMALL), 0),
    "in chunks": (chunked(SMALL, 500), len("\r\n0\r\n\r\n")),
    "compressed": (http(PACKED, "200 OK", "Content-Encoding: gzip"), 0),
    "compressed, in chunks": (chunked(PACKED, 100, "Content-Encoding: gzip"), len("\r\n0\r\n\r\n")),
}


@pytest.mark.parametrize(("said", "surplus"), WHOLE.values(), ids=WHOLE.keys())
def test_a_connection_lost_at_any_byte_is_a_failed_read(said: bytes, surplus: int) -> None:
    assert ask(said) == READ
    for length in range(len(said)):
        found = attempt(said[:length])
        if length < len(said) - surplus:
            assert isinstance(found, Retry), f"{length} bytes of {len(said)} gave {found}"
        else:
            assert isinstance(found, Retry) or found == READ


def attempt(said: bytes) -> Any:
    """What was read, or what the failure means."""
    return attempt_at(Prepared(said))


def attempt_at(stub: Prepared) -> Any:
    try:
        return ask_at(stub)
    except Exception as fault:
        return meaning(fault, "vc") or fault


@pytest.mark.parametrize("at", [0, 12, 40, len(PACKED) - 6])
def test_a_compressed_answer_with_a_spoilt_byte_is_a_failed_read(at: int) -> None:
    spoilt = PACKED[:at] + bytes([PACKED[at] ^ 0xFF]) + PACKED[at + 1 :]
    with pytest.raises((OSError, HTTPException)) as caught:
        ask(http(spoilt, "200 OK", "Content-Encoding: gzip"))
    assert isinstance(meaning(caught.value, "vc"), Retry)


FAULTS = [
    vim.fault.NotAuthenticated(object=SWITCH, privilegeId="System.Read"),
    vim.fault.NoPermission(object=SWITCH, privilegeId="System.Read"),
    vmodl.fault.ManagedObjectNotFound(obj=SWITCH),
    vmodl.fault.InvalidArgument(invalidProperty="criteria.portKey"),
    vim.fault.NotFound(),
    vmodl.fault.SystemError(reason="x"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_rises_as_pyvmomi_raises_it(fault: Any) -> None:
    said = http(fault_of(fault), "500 Internal Server Error")
    stub = Prepared(said)
    with pytest.raises(type(fault)) as ours:
        ask_at(stub)
    assert not stub.wire.closed, "the connection is as good as before"
    with pytest.raises(type(fault)) as theirs:
        Prepared(said).InvokeMethod(SWITCH, METHOD, [vim.dvs.PortCriteria()])
    assert str(ours.value) == str(theirs.value)
    assert "Not now." in str(ours.value)


@pytest.mark.parametrize(
    ("said", "alive"),
    [
        (http(SMALL), True),
        (http(fault_of(vim.fault.NotFound()), "500 Internal Server Error"), True),
        (http(SMALL)[:-9], False),
        (http(b"busy", "503 Service Unavailable"), False),
    ],
    ids=["answered", "a fault", "cut off", "turned away"],
)
def test_connections_that_idle_beside_a_broken_one_are_not_used_again(said: bytes, alive: bool) -> None:
    stub = Prepared(said)
    beside = Wire(b"")
    stub.ReturnConnection(beside)
    attempt_at(stub)
    assert (not beside.closed, not stub.wire.closed) == (alive, alive)
    assert (beside in [connection for connection, _ in stub.pool]) is alive


def test_a_fault_cut_off_anywhere_is_a_failed_read() -> None:
    said = http(fault_of(vim.fault.NotAuthenticated()), "500 Internal Server Error")
    for length in range(len(said)):
        found = attempt(said[:length])
        assert isinstance(found, Retry), f"{length} bytes of {len(said)} gave {found!r}"
        assert "session was lost" not in str(found), "its end was never heard"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("503 Service Unavailable", b"<html>busy</html>"),
        ("500 Internal Server Error", b"<html>oops</html>"),
        ("500 Internal Server Error", SMALL),
        ("302 Found", b""),
        ("404 Not Found", SMALL),
    ],
)
def test_any_other_answer_is_a_failed_read(status: str, body: bytes) -> None:
    stub = Prepared(http(body, status))
    with pytest.raises(HTTPException) as caught:
        ask_at(stub)
    assert isinstance(meaning(caught.value, "vc"), Retry)
    assert stub.wire.closed


def test_the_request_is_the_one_that_pyvmomi_sends() -> None:
    criteria = vim.dvs.PortCriteria(portKey=["1", "2"], nsxPort=False)
    ours, theirs = Prepared(http(SMALL)), Prepared(http(SMALL))
    ours.cookie = theirs.cookie = 'vmware_soap_session="abc"'
    ask_at(ours, criteria)
    theirs.InvokeMethod(SWITCH, METHOD, [criteria])
    [(*asked, headers)], [(*wanted, given)] = ours.wire.asked, theirs.wire.asked
    assert asked == wanted
    assert {name: headers[name].lower() for name in ("Cookie", "SOAPAction", "Content-Type")} == {
        name: given[name].lower() for name in ("Cookie", "SOAPAction", "Content-Type")
    }


def test_a_cookie_that_the_answer_sets_is_kept_for_the_next_request() -> None:
    stub = Prepared(http(SMALL, "200 OK", 'Set-Cookie: vmware_soap_session="new"'))
    stub.cookie = 'vmware_soap_session="old"'
    ask_at(stub)
    assert (stub.wire.asked[0][-1]["Cookie"], stub.cookie) == ('vmware_soap_session="old"', 'vmware_soap_session="new"')


HOSTS = ("esx1", "esx2")
MANY_KINDS = Topology.single(
    HOSTS,
    [
        Dvs(
            "tenant",
            (
                PortGroup("closed", blocked=True, overrides=Overrides(vlan=True)),
                PortGroup("tagged", vlan=4094),
                PortGroup("trunk", vlan=TrunkOf(((0, 150), (300, 400)))),
                PortGroup("private", vlan=Pvlan(201)),
                PortGroup("brief", binding="ephemeral"),
                PortGroup("empty", num_ports=4),
            ),
            uplinks=("uplink1",),
            uplink_vlans=((100, 199), (300, 300)),
            members=tuple(Member(host, ("vmnic1",)) for host in HOSTS),
            pvlans=(PvlanEntry(200, 200, "promiscuous"), PvlanEntry(200, 201, "isolated")),
        )
    ],
    [
        Vm("own", "esx1", (Nic("closed"), Nic("tagged"))),
        Vm("trunked", "esx2", (Nic("trunk"), Nic("private"))),
        Vm("brief", "esx2", (Nic("brief"),)),
        Vm("torn", "esx1", (Nic("closed"),)),
        Vm("off", "esx2", (Nic("closed"),), powered_on=False),
    ],
)


@pytest.fixture(scope="module")
def kinds() -> Iterator[Bench]:
    with running(MANY_KINDS) as made:
        yield made


@pytest.mark.sim
def test_a_switch_with_every_kind_of_port_reads_as_pyvmomi_reads_it(kinds: Bench) -> None:
    operator, switch = kinds.operator, kinds.operator.switch("tenant")
    names = ["a\nb\r\nc", "%2f <script>&amp; ]]>", "\u202egnp\U0001f600", "x" * 80]
    connected = [found.key for found in switch.FetchDVPorts(vim.dvs.PortCriteria(connected=True, uplinkPort=False))]
    for key, name in zip(connected, names, strict=False):
        operator.edit_port(switch, key, name=name)
    closed = next(
        p for p in switch.FetchDVPorts(vim.dvs.PortCriteria(connected=True)) if p.config.setting.blocked.value
    )
    operator.edit_port(switch, closed.key, vid=101)
    kinds.simulator.vms.conflict("torn")

    data = raw(switch)
    found = values(io.BytesIO(data), FETCH_DV_PORTS)
    assert found == by_pyvmomi(data)
    assert found == values(Drip(data, 1000), FETCH_DV_PORTS)
    assert {type(one.vlan) for one in found} == {NoVlan, Access, Trunk, PrivateVlan}
    assert {(one.vlan_own, one.blocked_own) for one in found} >= {(True, False), (False, False)}
    assert {one.blocked for one in found} == {one.connected for one in found} == {True, False}
    assert {one.nic is None for one in found if one.connected} == {True, False}, "uplinks have no VM"
    assert {one.host is None for one in found} == {one.cookie is None for one in found} == {True, False}
    assert any(one.conflict for one in switch.FetchDVPorts(None))
    assert len({one.key for one in found}) == len(found) > 20


def raw(switch: Any) -> bytes:
    stub = switch._stub
    connection = stub.GetConnection()
    headers = {"Cookie": stub.cookie, "SOAPAction": stub.versionId, "Content-Type": "text/xml; charset=utf-8"}
    connection.request("POST", stub.path, stub.SerializeRequest(switch, METHOD, [None]), headers)
    response = connection.getresponse()
    data: bytes = response.read()
    stub.ReturnConnection(connection)
    return data


@pytest.mark.sim
@pytest.mark.parametrize("spoilt", [Drop(), Unavailable(), Unavailable(3), Fault("HostCommunication")], ids=str)
def test_a_read_that_fails_is_a_retry_and_the_next_one_is_whole(kinds: Bench, spoilt: Any) -> None:
    switch = kinds.vcenter.switch("tenant")
    before = switch.observe()
    sessions = len(kinds.operator.content.sessionManager.sessionList)
    with kinds.simulator.faults.during(spoilt, method="FetchDVPorts") as rule:
        with pytest.raises(Retry):
            switch.observe()
        assert kinds.simulator.faults.struck(rule) == 1
    assert switch.observe() == before
    assert len(kinds.operator.content.sessionManager.sessionList) == sessions, "the same log-in"


@pytest.mark.sim
def test_a_session_lost_at_the_ports_is_renewed(kinds: Bench) -> None:
    switch = kinds.vcenter.switch("tenant")
    before, epoch = switch.observe(), kinds.vcenter.switch("tenant")._session.epoch
    kinds.simulator.faults.add(Fault("NotAuthenticated"), method="FetchDVPorts", count=1)
    assert switch.observe() == before
    assert switch._session.epoch == epoch + 1
