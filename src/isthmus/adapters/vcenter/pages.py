"""vCenter's properties without an object per element: a page of plain ones, told or asked for, read as it arrives.

Law: an answer that holds anything but plain values, whole lists of devices and settings of port groups is read by
pyVmomi, from the same bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol
from xml.etree.ElementTree import Element

from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import SoapResponseDeserializer
from pyVmomi.VmomiSupport import GetWsdlType

from isthmus.adapters.vcenter.groups import group_config_in
from isthmus.adapters.vcenter.nics import Card, card_in
from isthmus.adapters.vcenter.stream import (
    BOOLEANS,
    CHUNK,
    VIM,
    Malformed,
    Source,
    called,
    flag,
    growing,
    local,
    ripe,
    said,
    type_of,
)

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
    return _read(source, stub, info, _Contents(stub))


def wait_for_updates(collector: Any, version: str, options: Any) -> Any:
    """WaitForUpdatesEx: what changed since `version`, or None.  Faults leave as they came."""
    return called(collector, WAIT, (version, options), updates)


def updates(source: Source, stub: Any) -> Any:
    """An answer of WaitForUpdatesEx."""
    return _read(source, stub, WAIT, _Updates(stub))


class _Page(Protocol):
    """A page while it arrives."""

    def take(self, page: Element, whole: bool) -> None:
        """Read what is ripe of it.  Raises Rich, KeyError or ValueError for what only pyVmomi knows."""
        ...

    def read(self, page: Element) -> Any:
        """What the whole page says."""
        ...


class _Kept:
    """A source whose bytes can be read once more."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chunks: list[bytes] = []

    def read(self, size: int, /) -> bytes:
        chunk = self._source.read(size)
        self._chunks.append(chunk)
        return chunk

    def again(self) -> io.BytesIO:
        """All of it."""
        while self.read(CHUNK):
            pass
        return io.BytesIO(b"".join(self._chunks))


def _read(source: Source, stub: Any, info: Any, reader: _Page) -> Any:
    kept = _Kept(source)
    try:
        for response, whole in growing(kept, info.wsdlName):
            page = response.find(VIM + "returnval")
            if page is not None:
                reader.take(page, whole)
        if page is None:
            raise Rich("no page")
        return reader.read(page)
    except (Rich, Malformed, KeyError, ValueError):
        reading: Any = SoapResponseDeserializer(stub)
        return reading.Deserialize(kept.again(), info.result)


class _Contents:
    """A page of RetrievePropertiesEx."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self._token: str | None = None
        self._objects: list[ObjectContent] = []

    def take(self, page: Element, whole: bool) -> None:
        for part in ripe(page, whole):
            match part.tag.removeprefix(VIM):
                case "token":
                    self._token = part.text or None
                case "objects":
                    self._objects.append(_content(part, self._stub))
                case other:
                    raise Rich(other)

    def read(self, page: Element) -> RetrieveResult:
        return RetrieveResult(self._token, self._objects)


class _Updates:
    """A page of WaitForUpdatesEx."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self._filters: list[FilterUpdate] = []

    def take(self, page: Element, whole: bool) -> None:
        for number, found in enumerate(page.findall(VIM + "filterSet")):
            if number == len(self._filters):
                self._filters.append(FilterUpdate([]))
            for part in ripe(found, whole):
                match part.tag.removeprefix(VIM):
                    case "filter":
                        pass  # which of ours it is does not matter
                    case "objectSet":
                        self._filters[number].objectSet.append(_update(part, self._stub))
                    case other:  # a missingSet
                        raise Rich(other)

    def read(self, page: Element) -> UpdateSet:
        return UpdateSet(said(page, "version"), flag(page, "truncated"), self._filters)


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
