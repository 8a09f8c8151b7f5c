"""vCenter's properties without an object per element: a page of plain ones, told or asked for, read from its XML.

Law: an answer that holds anything but plain values, whole lists of devices and settings of port groups is read by
pyVmomi, from the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from xml.etree.ElementTree import Element, ParseError, fromstring

from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import SoapResponseDeserializer
from pyVmomi.VmomiSupport import GetWsdlType

from isthmus.adapters.vcenter.groups import group_config_in
from isthmus.adapters.vcenter.nics import Card, card_in
from isthmus.adapters.vcenter.stream import BOOLEANS, CHUNK, VIM, Source, called, flag, local, said, type_of

_collector: Any = vmodl.query.PropertyCollector
WAIT = _collector.WaitForUpdatesEx.info
RETRIEVE = _collector.RetrievePropertiesEx.info
CONTINUE = _collector.ContinueRetrievePropertiesEx.info
TEXTS = {"string", "VirtualMachinePowerState", "HostSystemConnectionState"}


class Rich(Exception):
    """More than this file reads: pyVmomi's turn."""


@dataclass(frozen=True, slots=True)
class Change:
    """One property of an object.  Here and below the names are those of vmodl.query.PropertyCollector."""

    name: str
    op: str
    val: Any


@dataclass(frozen=True, slots=True)
class ObjectUpdate:
    """What happened to one object."""

    obj: Any
    kind: str
    changeSet: list[Change]  # noqa: N815
    missingSet: tuple[()] = ()  # noqa: N815


@dataclass(frozen=True, slots=True)
class FilterUpdate:
    """What one filter saw."""

    objectSet: list[ObjectUpdate]  # noqa: N815


@dataclass(frozen=True, slots=True)
class UpdateSet:
    """A page."""

    version: str
    truncated: bool
    filterSet: list[FilterUpdate]  # noqa: N815


@dataclass(frozen=True, slots=True)
class DynamicProperty:
    """One property that was asked for."""

    name: str
    val: Any


@dataclass(frozen=True, slots=True)
class ObjectContent:
    """What was asked for of one object."""

    obj: Any
    propSet: list[DynamicProperty]  # noqa: N815
    missingSet: tuple[()] = ()  # noqa: N815


@dataclass(frozen=True, slots=True)
class RetrieveResult:
    """A page of answers; `token` asks for the next."""

    token: str | None
    objects: list[ObjectContent]


def retrieve_properties(collector: Any, specs: Any, options: Any) -> Any:
    """RetrievePropertiesEx: the first page, or None if there is nothing.  Faults leave as they came."""
    return called(collector, RETRIEVE, (specs, options), partial(fetched_page, info=RETRIEVE))


def continue_retrieving(collector: Any, token: str) -> Any:
    """ContinueRetrievePropertiesEx: the page after the one with this token."""
    return called(collector, CONTINUE, (token,), partial(fetched_page, info=CONTINUE))


def fetched_page(source: Source, stub: Any, info: Any) -> Any:
    """An answer of either."""
    return _read(source, stub, info=info, told=_retrieved)


def wait_for_updates(collector: Any, version: str, options: Any) -> Any:
    """WaitForUpdatesEx: what changed since `version`, or None.  Faults leave as they came."""
    return called(collector, WAIT, (version, options), updates)


def updates(source: Source, stub: Any) -> Any:
    """An answer of WaitForUpdatesEx."""
    return _read(source, stub, info=WAIT, told=_told)


def _read(source: Source, stub: Any, *, info: Any, told: Callable[[Element, Any], Any]) -> Any:
    data = b"".join(iter(lambda: source.read(CHUNK), b""))
    try:
        page = fromstring(data).find(f"*/{VIM}{info.wsdlName}Response/{VIM}returnval")
        if page is None:
            raise Rich("no page")
        return told(page, stub)
    except (Rich, ParseError, KeyError, ValueError):
        reading: Any = SoapResponseDeserializer(stub)
        return reading.Deserialize(io.BytesIO(data), info.result)


def _retrieved(page: Element, stub: Any) -> RetrieveResult:
    if {part.tag for part in page} - {VIM + "token", VIM + "objects"}:
        raise Rich("more than objects")
    found = [_content(part, stub) for part in page.findall(VIM + "objects")]
    return RetrieveResult(said(page, "token") or None, found)


def _content(content: Element, stub: Any) -> ObjectContent:
    managed: Any = None
    properties: list[DynamicProperty] = []
    for part in content:
        match part.tag.removeprefix(VIM):
            case "obj":
                managed = _managed(part, stub)
            case "propSet":
                properties.append(DynamicProperty(said(part, "name"), _value(part.find(VIM + "val"), stub)))
            case other:  # a missingSet, whose faults pyVmomi knows
                raise Rich(other)
    return ObjectContent(managed, properties)


def _told(page: Element, stub: Any) -> UpdateSet:
    filters = [_filter(found, stub) for found in page.findall(VIM + "filterSet")]
    return UpdateSet(said(page, "version"), flag(page, "truncated"), filters)


def _filter(found: Element, stub: Any) -> FilterUpdate:
    parts = {part.tag.removeprefix(VIM) for part in found}
    if parts - {"filter", "objectSet"}:  # a missingSet
        raise Rich(str(parts))
    return FilterUpdate([_update(update, stub) for update in found.findall(VIM + "objectSet")])


def _update(update: Element, stub: Any) -> ObjectUpdate:
    managed: Any = None
    kind = ""
    changes: list[Change] = []
    for part in update:
        match part.tag.removeprefix(VIM):
            case "obj":
                managed = _managed(part, stub)
            case "kind":
                kind = part.text or ""
            case "changeSet":
                changes.append(Change(said(part, "name"), said(part, "op"), _value(part.find(VIM + "val"), stub)))
            case other:  # a missingSet, whose faults pyVmomi knows
                raise Rich(other)
    return ObjectUpdate(managed, kind, changes)


def _value(value: Element | None, stub: Any) -> Any:
    if value is None:
        return None
    match type_of(value):
        case text if text in TEXTS:
            return value.text or ""
        case "boolean":
            return BOOLEANS[value.text or ""]
        case "ManagedObjectReference":
            return _managed(value, stub)
        case "ArrayOfVirtualDevice":
            return [found for found in map(_card, value) if found is not None]
        case "ArrayOfManagedObjectReference":
            return [_managed(one, stub) for one in value]
        case "DVPortgroupConfigInfo":
            return group_config_in(value)
        case other:
            raise Rich(other)


def _card(device: Element) -> Card | None:
    return card_in(device) if issubclass(_type(type_of(device)), vim.vm.device.VirtualEthernetCard) else None


def _managed(reference: Element, stub: Any) -> Any:
    return _type(local(reference.get("type")))(reference.text or "", stub)


@cache
def _type(name: str) -> Any:
    return GetWsdlType("urn:vim25", name)
