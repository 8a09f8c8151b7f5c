"""A VM's network adapters as the mirror keeps them, and how vCenter's partial updates change them.

Law: an update that is not understood is never skipped; it raises Unclear, and the inventory is read anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from sys import intern
from typing import Any
from xml.etree.ElementTree import Element

from pyVmomi import vim

from isthmus.adapters.vcenter.stream import flag, inside, said, type_of
from isthmus.model.names import Mac, mac

DEVICES = "config.hardware.device"
Backing = vim.vm.device.VirtualEthernetCard
ELEMENT = re.compile(re.escape(DEVICES) + r"\[(?P<key>-?[0-9]+)\](?:\.(?P<part>.+))?$")


class Unclear(Exception):
    """A partial update that does not fit what the mirror holds."""


@dataclass(frozen=True, slots=True)
class Card:
    """One network adapter.  `mac` is None until vCenter has assigned one.  What many share is kept once."""

    key: int
    mac: Mac | None = None
    dvs: str | None = None
    port_group: str | None = None
    port_key: str | None = None
    cookie: int | None = None
    network_name: str | None = None
    connected: bool = True
    label: str = ""


def card(device: Any) -> Card | None:
    """A device as a Card; None if it is not a network adapter."""
    if isinstance(device, Card):  # read from XML
        return device
    if not isinstance(device, vim.vm.device.VirtualEthernetCard):
        return None
    bare = Card(key=device.key, label=device.deviceInfo.label or "" if device.deviceInfo else "")
    with_mac = _set_mac(bare, device.macAddress)
    return _set_backing(_set_connectable(with_mac, device.connectable), device.backing)


def card_in(device: Element) -> Card:
    """A network adapter in XML.  Raises ValueError for a backing that pyVmomi must judge."""
    connectable, backing = inside(device, "connectable"), inside(device, "backing")
    bare = Card(
        key=_key(said(device, "key")),
        connected=connectable is None or flag(connectable, "connected"),
        label=intern(said(inside(device, "deviceInfo"), "label")),
    )
    with_mac = _set_mac(bare, said(device, "macAddress"))
    match type_of(backing) if backing is not None else None:
        case None:
            return with_mac
        case "VirtualEthernetCardDistributedVirtualPortBackingInfo":
            port = inside(backing, "port")
            return replace(
                with_mac,
                dvs=intern(said(port, "switchUuid")) or None,
                port_group=intern(said(port, "portgroupKey")) or None,
                port_key=intern(said(port, "portKey")) or None,
                cookie=int(said(port, "connectionCookie") or 0) or None,
            )
        case "VirtualEthernetCardNetworkBackingInfo":
            return replace(with_mac, network_name=intern(said(backing, "deviceName")) or None)
        case other:
            raise ValueError(other)


@lru_cache(maxsize=256)  # most VMs have the same: 4000 and the next
def _key(text: str) -> int:
    return int(text)


def cards(devices: Any) -> tuple[Card, ...]:
    """The network adapters among devices."""
    return tuple(found for found in map(card, devices or ()) if found is not None)


def updated(held: tuple[Card, ...], path: str, op: str, value: Any) -> tuple[Card, ...]:
    """The adapters after one property change below (or of) the device list."""
    if path == DEVICES:
        return () if op in ("remove", "indirectRemove") else cards(value)
    found = ELEMENT.match(path)
    if found is None:
        raise Unclear(path)
    key, part = int(found["key"]), found["part"]
    if part is None:
        rest = tuple(one for one in held if one.key != key)
        new = None if op in ("remove", "indirectRemove") else card(value)
        return rest if new is None else (*rest, new)
    removed = op in ("remove", "indirectRemove")  # the key may be a disk's or another device's, too
    return tuple(_part(one, part, None if removed else value) if one.key == key else one for one in held)


def _part(held: Card, part: str, value: Any) -> Card:
    setter = PARTS.get(part)
    if setter is not None:
        return setter(held, value)
    if part.startswith(("backing", "macAddress", "connectable.connected")):
        raise Unclear(part)
    return held  # something we do not read


def _set_mac(held: Card, text: str | None) -> Card:
    try:
        return replace(held, mac=mac(text) if text else None)
    except ValueError:  # half made
        return replace(held, mac=None)


def _set_backing(held: Card, backing: Any) -> Card:
    bare = replace(held, dvs=None, port_group=None, port_key=None, cookie=None, network_name=None)
    match backing:
        case Backing.DistributedVirtualPortBackingInfo():
            return _set_port(bare, backing.port)
        case Backing.NetworkBackingInfo():
            return replace(bare, network_name=backing.deviceName or None)
        case _:  # an opaque (NSX) network, or none yet
            return bare


def _set_port(held: Card, port: Any) -> Card:
    if port is None:
        return replace(held, dvs=None, port_group=None, port_key=None, cookie=None)
    return replace(
        held,
        dvs=port.switchUuid or None,
        port_group=port.portgroupKey or None,
        port_key=port.portKey or None,
        cookie=port.connectionCookie or None,
    )


def _set_connectable(held: Card, connectable: Any) -> Card:
    return replace(held, connected=connectable is None or bool(connectable.connected))


PARTS: dict[str, Callable[[Card, Any], Card]] = {
    "macAddress": _set_mac,
    "backing": _set_backing,
    "backing.port": _set_port,
    "backing.port.switchUuid": lambda held, value: replace(held, dvs=value or None),
    "backing.port.portgroupKey": lambda held, value: replace(held, port_group=value or None),
    "backing.port.portKey": lambda held, value: replace(held, port_key=value or None),
    "backing.port.connectionCookie": lambda held, value: replace(held, cookie=value or None),
    "backing.deviceName": lambda held, value: replace(held, network_name=value or None),
    "connectable": _set_connectable,
    "connectable.connected": lambda held, value: replace(held, connected=bool(value)),
    "deviceInfo.label": lambda held, value: replace(held, label=value or ""),
}
