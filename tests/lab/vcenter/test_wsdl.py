"""A client that learns the API from its vCenter, as OpenStack's does, learns all of it."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from xml.etree import ElementTree

import pytest
from pyVmomi import vim

from lab.vcenter import NotBuilt, Simulator
from lab.vcenter.wsdl import wsdl
from tests.lab.vcenter.client import Client

XSD = "{http://www.w3.org/2001/XMLSchema}"
WSDL = "{http://schemas.xmlsoap.org/wsdl/}"


@pytest.fixture(scope="module")
def document() -> ElementTree.Element:
    return ElementTree.fromstring(wsdl())


def fields(document: ElementTree.Element, type_: str) -> dict[str | None, dict[str, str]]:
    (found,) = (each for each in document.iter(f"{XSD}complexType") if each.get("name") == type_)
    return {element.get("name"): dict(element.attrib) for element in found.iter(f"{XSD}element")}


def test_every_type_and_message_that_it_speaks_of_is_in_it_once(document: ElementTree.Element) -> None:
    kinds = (f"{XSD}complexType", f"{XSD}simpleType")
    types = [element.get("name") for kind in kinds for element in document.iter(kind) if element.get("name")]
    assert len(types) == len(set(types))
    told = {e.get(a) for e in document.iter() if e.tag.startswith(XSD) for a in ("type", "base")} - {None}
    assert {name.removeprefix("vim:") for name in told if name and name.startswith("vim:")} <= set(types)
    messages = {f"vim:{message.get('name')}" for message in document.iter(f"{WSDL}message")}
    (port_type,) = document.iter(f"{WSDL}portType")
    assert messages == {part.get("message") for operation in port_type for part in operation}


def test_a_field_is_as_the_api_has_it(document: ElementTree.Element) -> None:
    plug = fields(document, "DistributedVirtualSwitchPortConnection")
    assert (plug["switchUuid"]["minOccurs"], plug["portKey"]["minOccurs"]) == ("1", "0")
    spec = fields(document, "VirtualMachineRelocateSpec")
    assert spec["host"]["type"] == "vim:ManagedObjectReference"
    assert spec["deviceChange"] == {
        "name": "deviceChange", "type": "vim:VirtualDeviceConfigSpec", "minOccurs": "0", "maxOccurs": "unbounded"
    }  # fmt: skip


def test_a_fault_that_is_a_field_is_wrapped(document: ElementTree.Element) -> None:
    assert fields(document, "TaskInfo")["error"]["type"] == "vim:LocalizedMethodFault"
    assert fields(document, "LocalizedMethodFault")["fault"]["type"] == "vim:MethodFault"


def test_a_task_is_what_a_method_answers_that_starts_one(document: ElementTree.Element) -> None:
    (answer,) = (e for e in document.iter(f"{XSD}element") if e.get("name") == "PowerOnVM_TaskResponse")
    _, returned = answer.iter(f"{XSD}element")
    assert returned.get("type") == "vim:ManagedObjectReference"


@pytest.mark.sim
def test_the_simulator_serves_it_when_asked_to() -> None:
    assert fetched(wsdl_served=True) == wsdl()
    with pytest.raises(urllib.error.HTTPError):
        fetched(wsdl_served=False)


def fetched(*, wsdl_served: bool) -> str:
    try:
        vcenter = Simulator(hosts=1, wsdl=wsdl_served).start()
    except NotBuilt as missing:
        pytest.skip(str(missing))
    try:
        trusted = ssl.create_default_context(cafile=str(vcenter.ca_file))
        with urllib.request.urlopen(f"{vcenter.url}/vimService.wsdl", context=trusted) as answer:
            return str(answer.read().decode())
    finally:
        vcenter.stop()


@pytest.mark.sim
def test_a_datastore_that_all_hosts_share_is_vmfs(client: Client) -> None:
    assert {store.summary.type for store in client.all(vim.Datastore)} == {"VMFS"}
