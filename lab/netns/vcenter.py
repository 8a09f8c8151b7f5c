"""What the simulated vCenter holds, read over SOAP for the lab's own use.

This shares nothing with the product's adapter on purpose: two readers that err in the same way would agree.
Law: a read is whole or it raises; what could not be read is never taken for absent.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import SoapAdapter, vim, vmodl

from lab.netns.dvs import Access, MacLearning, Policy, Trunk, Vlan
from lab.netns.inventory import DvPort, Inventory, Nic, NicId, Switch, Vm

TIMEOUT = 30.0
_FETCH_DV_PORTS: Any = vim.DistributedVirtualSwitch.FetchPorts


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach a vCenter."""

    url: str
    user: str
    password: str
    ca_file: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 443

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def connect(self) -> Any:
        """A session of its own (pyVmomi objects belong to the session they were read in)."""
        return SmartConnect(
            host=self.host, port=self.port, user=self.user, pwd=self.password,
            sslContext=self.tls(), httpConnectionTimeout=TIMEOUT,
        )  # fmt: skip


@dataclass(slots=True)
class Reader:
    """One session that reads the world whole, and the DV ports again and again at little cost."""

    login: Login
    _si: Any = field(init=False)
    _http: http.client.HTTPSConnection = field(init=False)
    _asked: dict[str, bytes] = field(default_factory=dict)
    _answers: dict[str, bytes] = field(default_factory=dict)
    _ports: dict[str, list[DvPort]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._si = self.login.connect()
        self._http = http.client.HTTPSConnection(
            self.login.host, self.login.port, timeout=TIMEOUT, context=self.login.tls()
        )

    def close(self) -> None:
        self._http.close()
        Disconnect(self._si)

    def inventory(self) -> Inventory:
        """Everything, DV ports too."""
        found = self._properties(
            {
                vim.VirtualMachine: ["name", "runtime.host", "runtime.powerState", "config.hardware.device"],
                vim.HostSystem: ["name"],
                vim.DistributedVirtualSwitch: ["uuid", "name", "config"],
            }
        )
        hosts = {ref._moId: read["name"] for ref, read in found if isinstance(ref, vim.HostSystem)}
        switches = {
            read["uuid"]: Switch(read["uuid"], read["name"], read["config"].maxMtu or 1500)
            for ref, read in found
            if isinstance(ref, vim.DistributedVirtualSwitch)
        }
        vms = {ref._moId: _vm(ref._moId, read) for ref, read in found if isinstance(ref, vim.VirtualMachine)}
        self._asked = {
            read["uuid"]: self._question(ref) for ref, read in found if isinstance(ref, vim.DistributedVirtualSwitch)
        }
        self._answers.clear()
        self._ports.clear()
        self.ports_changed()
        return Inventory(hosts, switches, vms, self.ports())

    def ports(self) -> dict[tuple[str, str], DvPort]:
        """As of the last read."""
        return {(switch, port.key): port for switch, ports in self._ports.items() for port in ports}

    def ports_changed(self) -> bool:
        """Read the DV ports of every switch; parse only an answer that differs from the one before."""
        changed = False
        for switch, question in self._asked.items():
            answer = self._post(question)
            if answer != self._answers.get(switch):
                self._ports[switch] = [_dv_port(switch, port) for port in self._parsed(answer)]
                self._answers[switch] = answer
                changed = True
        return changed

    def _question(self, switch: Any) -> bytes:
        criteria = vim.dvs.PortCriteria(connected=True)
        method = _FETCH_DV_PORTS.info
        text: bytes = self._si._stub.SerializeRequest(switch, method, [criteria])
        return text

    def _post(self, question: bytes) -> bytes:
        stub = self._si._stub
        headers = {"Cookie": stub.cookie, "SOAPAction": "urn:vim25", "Content-Type": "text/xml; charset=UTF-8"}
        try:
            self._http.request("POST", "/sdk", question, headers)
            answer = self._http.getresponse()
            body = answer.read()
        except (http.client.HTTPException, OSError):
            self._http.close()  # the next request dials again
            raise
        if answer.status != 200:
            raise ConnectionError(f"FetchDVPorts answered {answer.status}: {body[:300]!r}")
        return body

    def _parsed(self, answer: bytes) -> Any:
        method = _FETCH_DV_PORTS.info
        deserializer = SoapAdapter.SoapResponseDeserializer(self._si._stub)
        return deserializer.Deserialize(answer, method.result) or []

    def _properties(self, wanted: Mapping[type, list[str]]) -> list[tuple[Any, dict[str, Any]]]:
        content = self._si.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, list(wanted), True)
        try:
            walk = vmodl.query.PropertyCollector.TraversalSpec(type=vim.view.ContainerView, path="view")
            start = vmodl.query.PropertyCollector.ObjectSpec(obj=view, skip=True, selectSet=[walk])
            sets = [
                vmodl.query.PropertyCollector.PropertySpec(type=type_, pathSet=paths, all=False)
                for type_, paths in wanted.items()
            ]
            spec = vmodl.query.PropertyCollector.FilterSpec(objectSet=[start], propSet=sets)
            collector = content.propertyCollector
            page = collector.RetrievePropertiesEx([spec], vmodl.query.PropertyCollector.RetrieveOptions())
            objects = []
            while page is not None:
                objects += page.objects
                page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None
        finally:
            view.DestroyView()
        return [(found.obj, {prop.name: prop.val for prop in found.propSet}) for found in objects]


def _vm(id: str, read: Mapping[str, Any]) -> Vm:
    cards = [card for card in read.get("config.hardware.device", ()) if isinstance(card, _CARD)]
    powered_on = read.get("runtime.powerState") == vim.VirtualMachine.PowerState.poweredOn
    host = read.get("runtime.host")
    nics = tuple(_nic(id, card) for card in cards)
    return Vm(id, read.get("name", ""), host._moId if host is not None else "", powered_on, nics)


_CARD = vim.vm.device.VirtualEthernetCard
_ON_DVS = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo


def _nic(vm: str, card: Any) -> Nic:
    connected = card.connectable is None or card.connectable.connected
    on_dvs = isinstance(card.backing, _ON_DVS)
    switch, port = (card.backing.port.switchUuid, card.backing.port.portKey) if on_dvs else ("", "")
    return Nic(NicId(vm, card.key), (card.macAddress or "").lower(), bool(connected), switch, port or "")


def _dv_port(switch: str, port: Any) -> DvPort:
    end = port.connectee
    connectee = None
    # An uplink's connectee is a host, and its nicKey names a physical NIC.
    if end is not None and isinstance(end.connectedEntity, vim.VirtualMachine):
        connectee = NicId(end.connectedEntity._moId, int(end.nicKey))
    is_uplink = end is not None and isinstance(end.connectedEntity, vim.HostSystem)
    host = end.connectedEntity._moId if is_uplink else ""
    return DvPort(switch, port.key, connectee, _policy(port.config.setting), host)


def _policy(setting: Any) -> Policy | None:
    """The port's effective setting; what it does not say is as vSphere has it by default."""
    vlan = _vlan(setting.vlan)
    if vlan is None:
        return None
    macs, security = setting.macManagementPolicy, setting.securityPolicy
    return Policy(
        vlan,
        blocked=_says(setting.blocked),
        promiscuous=_allows(macs, "allowPromiscuous", security),
        forged_transmits=_allows(macs, "forgedTransmits", security),
        mac_learning=_learning(macs.macLearningPolicy if macs is not None else None),
    )


def _vlan(spec: Any) -> Vlan | None:
    dvs = vim.dvs.VmwareDistributedVirtualSwitch
    match spec:
        case None:
            return Access(0)
        case dvs.TrunkVlanSpec():
            return Trunk(tuple((vids.start, vids.end) for vids in _listed(spec.vlanId)))
        case dvs.VlanIdSpec():
            return Access(int(spec.vlanId))
    return None


def _learning(policy: Any) -> MacLearning | None:
    if policy is None or not policy.enabled:
        return None
    # API reference, DVSMacLearningPolicy: limit 4096, limitPolicy "drop", allowUnicastFlooding as set.
    limit = 4096 if policy.limit is None else int(policy.limit)
    floods = policy.allowUnicastFlooding is None or bool(policy.allowUnicastFlooding)
    return MacLearning(floods, limit, drop_over_limit=(policy.limitPolicy or "DROP").upper() == "DROP")


def _allows(macs: Any, name: str, security: Any) -> bool:
    """From the MAC management policy, which since 6.7 stands before the older security policy."""
    if macs is not None and getattr(macs, name) is not None:
        return bool(getattr(macs, name))
    return security is not None and _says(getattr(security, name))


def _says(policy: Any) -> bool:
    return policy is not None and bool(policy.value)


def _listed(value: Any) -> Iterable[Any]:
    return value or ()
