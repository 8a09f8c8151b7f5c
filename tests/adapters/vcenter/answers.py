"""Answers to FetchDVPorts as bytes, and what today's pyVmomi makes of them: the measure of our own reading."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from http.client import HTTPResponse
from typing import Any

from pyVmomi import SoapAdapter, VmomiSupport, vim
from pyVmomi.SoapAdapter import SoapStubAdapter

from isthmus.adapters.vcenter import vlans
from isthmus.adapters.vcenter.fetched import FetchedPort

VERSION = "vim.version.v8_0_3_0"
METHOD: Any = vim.DistributedVirtualSwitch.FetchDVPorts.info
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "<soapenv:Body>"
)
TAIL = "</soapenv:Body></soapenv:Envelope>"
NAMESPACES = {"urn:vim25": "", **{uri: prefix for uri, prefix in SoapAdapter.SOAP_NSMAP.items() if prefix != ""}}


def answer(inside: str) -> bytes:
    """A SOAP answer with this in its body."""
    return (HEAD + inside + TAIL).encode()


def answer_of(ports: Sequence[Any]) -> bytes:
    """What a vCenter with these ports says."""
    field = VmomiSupport.Object(name="returnval", type=vim.dvs.DistributedVirtualPort, version=VERSION, flags=0)
    for port in ports:
        port.lastStatusChange = datetime(2026, 1, 1, tzinfo=UTC)  # vSphere API: never left out
    said = (SoapAdapter.Serialize(port, field, VERSION, dict(NAMESPACES)) for port in ports)
    return answer(
        f'<FetchDVPortsResponse xmlns="urn:vim25">{"".join(_text(one) for one in said)}</FetchDVPortsResponse>'
    )


def fault_of(fault: Any) -> bytes:
    """What a vCenter says instead."""
    name = type(fault).__name__.rpartition(".")[2] + "Fault"
    field = VmomiSupport.Object(name=name, type=object, version=VERSION, flags=0)
    detail = _text(SoapAdapter.SerializeFaultDetail(fault, field, VERSION, dict(NAMESPACES)))
    detail = detail.replace(f"<{name}", f'<{name} xmlns="urn:vim25"', 1)
    return answer(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>Not now.</faultstring>"
        f"<detail>{detail}</detail></soapenv:Fault>"
    )


def by_pyvmomi(data: bytes) -> list[FetchedPort]:
    """The ports of an answer, through an object for every element of it."""
    stub = SoapStubAdapter(host="vc", version=VERSION)
    return [_told(port) for port in SoapAdapter.SoapResponseDeserializer(stub).Deserialize(data, METHOD.result)]


def _told(port: Any) -> FetchedPort:
    setting, connectee = port.config.setting, port.connectee
    vlan, blocked = getattr(setting, "vlan", None), setting.blocked if setting else None
    vm: Any = connectee.connectedEntity if connectee else None
    is_vm = isinstance(vm, vim.VirtualMachine) and bool(connectee.nicKey)
    return FetchedPort(
        key=port.key,
        port_group=port.portgroupKey or "",
        version=port.config.configVersion or "",
        vlan=vlans.vlan_spec(vlan),
        vlan_own=vlan is not None and not vlan.inherited,
        blocked=bool(blocked is not None and blocked.value),
        blocked_own=blocked is not None and not blocked.inherited,
        connected=connectee is not None,
        nic=(vm._GetMoId(), int(connectee.nicKey)) if is_vm else None,
        host=port.proxyHost._GetMoId() if port.proxyHost else None,
        cookie=port.connectionCookie or None,
        conflict=port.conflict,
    )


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP answer with this body."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(body: bytes, size: int, *headers: str) -> bytes:
    """An HTTP answer sent in chunks, as by who does not know its length beforehand."""
    lines = ["HTTP/1.1 200 OK", *headers, "Transfer-Encoding: chunked", "", ""]
    pieces = [body[start : start + size] for start in range(0, len(body), size)] + [b""]
    return "\r\n".join(lines).encode() + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


class Prepared(SoapStubAdapter):
    """pyVmomi's stub on a wire that holds one prepared answer."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(host="vc", version=VERSION)
        self.wire = Wire(answer)

    def GetConnection(self) -> Wire:  # noqa: N802
        """The wire."""
        return self.wire


class Wire:
    """A connection that hears nothing and says what it was given, until it ends."""

    def __init__(self, answer: bytes) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.closed = False
        self._answer = answer

    def request(self, *what: Any) -> None:
        """Hear."""
        self.asked.append(what)

    def getresponse(self) -> HTTPResponse:
        """Say."""
        response = HTTPResponse(_Socket(self._answer))  # type: ignore[arg-type]
        response.begin()
        return response

    def close(self) -> None:
        """Hang up."""
        self.closed = True


class _Socket:
    def __init__(self, said: bytes) -> None:
        self._said = said

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._said)


def _text(said: Any) -> str:
    return said if isinstance(said, str) else str(said.decode())
