"""A client of the vSphere API made of strings: the fewest calls for the same facts or the same effect.

It checks nothing and survives nothing; it is a floor, not an example.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterable, Iterator
from http.client import HTTPResponse, HTTPSConnection
from xml.sax.saxutils import escape

from lab.bench.extract import OBJECT, PORT, Texts, texts
from lab.vcenter import Simulator

CHUNK = 1 << 16
ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
    '<soapenv:Body><{method} xmlns="urn:vim25"><_this type="{kind}">{moref}</_this>{arguments}</{method}>'
    "</soapenv:Body></soapenv:Envelope>"
)
SWITCH_TYPE = "VmwareDistributedVirtualSwitch"
VM_PATHS = ("config.instanceUuid", "config.uuid", "config.template", "name", "runtime.host", "runtime.powerState",
            "config.hardware.device")  # fmt: skip
PATHS = {
    "VirtualMachine": VM_PATHS,
    "HostSystem": ("name", "parent", "runtime.connectionState"),
    "ClusterComputeResource": ("name",),
    "DistributedVirtualSwitch": ("uuid", "name", "config"),
    "DistributedVirtualPortgroup": ("key", "name", "config"),
}


class Raw:
    """One session on one connection."""

    def __init__(self, simulator: Simulator) -> None:
        host, port = simulator.address
        context = ssl.create_default_context(cafile=str(simulator.ca_file))
        self._connection = HTTPSConnection(host, port, context=context, timeout=120)
        self._cookie = ""
        self.calls = 0
        content = self.text("RetrieveServiceContent", "ServiceInstance", "ServiceInstance")
        self.root = _one(content, "rootFolder")
        self.collector, self.views = _one(content, "propertyCollector"), _one(content, "viewManager")
        login = f"<userName>{escape(simulator.user)}</userName><password>{escape(simulator.password)}</password>"
        self.text("Login", "SessionManager", _one(content, "sessionManager"), login)

    def close(self) -> None:
        """Hang up; the session expires."""
        self._connection.close()

    def call(self, method: str, kind: str, moref: str, arguments: str = "") -> Iterator[bytes]:
        """The answer in pieces.  Whatever is not HTTP 200 raises."""
        body = ENVELOPE.format(method=method, kind=kind, moref=moref, arguments=arguments).encode()
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": "urn:vim25/8.0.3.0"}
        if self._cookie:
            headers["Cookie"] = self._cookie
        self._connection.request("POST", "/sdk", body, headers)
        self.calls += 1
        answer: HTTPResponse = self._connection.getresponse()
        self._cookie = (answer.getheader("Set-Cookie") or self._cookie).partition(";")[0]
        if answer.status != 200:
            raise RuntimeError(f"{method}: {answer.status} {answer.read()[:500]!r}")
        while chunk := answer.read(CHUNK):
            yield chunk

    def text(self, method: str, kind: str, moref: str, arguments: str = "") -> str:
        """A small answer."""
        return b"".join(self.call(method, kind, moref, arguments)).decode()

    def view(self, *kinds: str) -> str:
        """A view of all objects of these types."""
        types = "".join(f"<type>{kind}</type>" for kind in kinds)
        arguments = f'<container type="Folder">{self.root}</container>{types}<recursive>true</recursive>'
        return _one(self.text("CreateContainerView", "ViewManager", self.views, arguments), "returnval")

    def spec(self, view: str, kinds: Iterable[str]) -> str:
        """What is wanted of the objects in a view."""
        properties = "".join(
            f"<propSet><type>{kind}</type>{''.join(f'<pathSet>{path}</pathSet>' for path in PATHS[kind])}</propSet>"
            for kind in kinds
        )
        walk = '<selectSet xsi:type="TraversalSpec"><type>ContainerView</type><path>view</path></selectSet>'
        return f'{properties}<objectSet><obj type="ContainerView">{view}</obj><skip>true</skip>{walk}</objectSet>'

    def inventory(self) -> list[Texts]:
        """Everything about VMs, hosts, clusters, switches and port groups."""
        spec = f"<specSet>{self.spec(self.view(*PATHS), PATHS)}</specSet><options></options>"
        found = texts(self.call("RetrievePropertiesEx", "PropertyCollector", self.collector, spec), OBJECT, "objects")
        while token := next((text for name, text in found[0] + found[-1] if name == "token"), ""):
            answer = self.call(
                "ContinueRetrievePropertiesEx", "PropertyCollector", self.collector, f"<token>{token}</token>"
            )
            more = texts(answer, OBJECT, "objects")
            found = [[], *found[1:], *more[1:]]
            found[0] = [pair for pair in more[0] + more[-1] if pair[0] == "token"]
            if not found[0]:
                break
        return found[1:]

    def ports(self, switch: str) -> list[Texts]:
        """All DV ports of a switch."""
        arguments = "<criteria><nsxPort>false</nsxPort></criteria>"
        return texts(self.call("FetchDVPorts", SWITCH_TYPE, switch, arguments), PORT, "returnval")[1:]

    def write(self, switch: str, ports: Iterable[tuple[str, int]]) -> str:
        """Open these ports with these VIDs.  Returns the task."""
        specs = "".join(
            f'<port><operation>edit</operation><key>{key}</key><setting xsi:type="VMwareDVSPortSetting">'
            "<blocked><inherited>false</inherited><value>false</value></blocked>"
            '<vlan xsi:type="VmwareDistributedVirtualSwitchVlanIdSpec"><inherited>false</inherited>'
            f"<vlanId>{vid}</vlanId></vlan></setting></port>"
            for key, vid in ports
        )
        return _one(self.text("ReconfigureDVPort_Task", SWITCH_TYPE, switch, specs), "returnval")

    def finish(self, task: str) -> None:
        """Wait until a task has succeeded."""
        spec = (
            "<specSet><propSet><type>Task</type><pathSet>info.state</pathSet></propSet>"
            f'<objectSet><obj type="Task">{task}</obj></objectSet></specSet><options></options>'
        )
        while "success<" not in (told := self.text("RetrievePropertiesEx", "PropertyCollector", self.collector, spec)):
            if ">error<" in told:
                raise RuntimeError(f"{task} failed")
            time.sleep(0.02)

    def watch(self) -> None:
        """Let `updates` tell of VMs from now on."""
        spec = f"<spec>{self.spec(self.view('VirtualMachine'), ['VirtualMachine'])}</spec>"
        arguments = f"{spec}<partialUpdates>false</partialUpdates>"
        self.text("CreateFilter", "PropertyCollector", self.collector, arguments)

    def updates(self, version: str, seconds: int) -> tuple[str, bool, list[Texts]]:
        """The next version, whether there is more, and what changed; the same version if nothing did."""
        arguments = f"<version>{version}</version><options><maxWaitSeconds>{seconds}</maxWaitSeconds></options>"
        answer = self.call("WaitForUpdatesEx", "PropertyCollector", self.collector, arguments)
        found = texts(answer, OBJECT, "objectSet")
        about = dict(pair for pair in found[0] + found[-1] if pair[0] in ("version", "truncated"))
        return about.get("version", version), about.get("truncated") == "true", found[1:]


def values(record: Texts) -> dict[str, str]:
    """The plain properties of an object, and what its network adapters say, by name."""
    found: dict[str, str] = {}
    path = ""
    for name, text in record:
        if name == "name":
            path = text
        elif name == "val":
            found[path] = text
        else:
            found[name] = text
    return found


def switch_in(objects: list[Texts]) -> str:
    """The moref of the only switch."""
    [moref] = [record[0][1] for record in objects if record and record[0][1].startswith("dvs-")]
    return moref


def _one(text: str, name: str) -> str:
    found = re.search(rf"<{name}[^>]*>([^<]*)</{name}>", text)
    if found is None:
        raise RuntimeError(f"no {name} in {text[:500]}")
    return found[1]
