"""A DV port out of the XML of FetchDVPorts: the few fields that we use, then in our words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Any
from xml.etree.ElementTree import Element

from pyVmomi import vim

from isthmus.adapters.vcenter.stream import VIM, Streamed, flag, inside, local, said
from isthmus.adapters.vcenter.vlans import vlan_in
from isthmus.model.names import HostId, NicId
from isthmus.model.observed import DvPortState, VlanSpec

NicOf = Callable[[str, int], NicId | None]
"""The NIC with this device key of the VM with this moref; None while the VM is not known."""
HostOf = Callable[[str], HostId]
"""The HostId of a host's moref."""
VmHostOf = Callable[[str], HostId | None]
"""Where the VM with this moref runs; None while it is not known."""


@dataclass(frozen=True, slots=True)
class FetchedPort:
    """A DV port as vCenter tells it, which knows VMs and hosts by moref."""

    key: str
    port_group: str
    version: str
    vlan: VlanSpec
    vlan_own: bool
    blocked: bool
    blocked_own: bool
    connected: bool
    nic: tuple[str, int] | None
    """VM and device key of the NIC that it is connected to."""
    host: str | None
    cookie: int | None
    """What tells this association of the port from the last one; None for a free port."""
    conflict: bool = False
    """A host made it in another port's place while it could not ask vCenter."""


def fetched_port(port: Element) -> FetchedPort:
    """A `returnval` of FetchDVPorts.  vSphere API: what is at its default may be left out."""
    config = port.find(VIM + "config")
    setting = inside(config, "setting")
    vlan, blocked, connectee = inside(setting, "vlan"), inside(setting, "blocked"), port.find(VIM + "connectee")
    key = said(port, "key")
    if not key:
        raise ValueError("a DV port without a key")
    return FetchedPort(
        key=key,
        port_group=said(port, "portgroupKey"),
        version=said(config, "configVersion"),
        vlan=vlan_in(vlan),
        vlan_own=_own(vlan),
        blocked=flag(blocked, "value"),
        blocked_own=_own(blocked),
        connected=connectee is not None,
        nic=_nic(connectee),
        host=said(port, "proxyHost") or None,
        cookie=int(said(port, "connectionCookie") or 0) or None,
        conflict=flag(port, "conflict"),
    )


_switch: Any = vim.DistributedVirtualSwitch
FETCH_DV_PORTS = Streamed(_switch.FetchDVPorts.info, fetched_port)


def each_dv_port(dvs: Any, criteria: Any, take: Callable[[FetchedPort], None]) -> None:
    """Give `take` the ports one by one as they arrive.  What it was given counts only when this has ended well."""
    Streamed(FETCH_DV_PORTS.info, lambda port: take(fetched_port(port))).ask(dvs, criteria)


def dv_port(port: FetchedPort, nic_of: NicOf, host_of: HostOf, vm_host_of: VmHostOf | None = None) -> DvPortState:
    """A fetched port in our words."""
    host = host_of(port.host) if port.host else None
    if host is None and port.nic and vm_host_of is not None:
        host = vm_host_of(port.nic[0])
    return DvPortState(
        key=intern(port.key),
        port_group=intern(port.port_group),
        version=intern(port.version),
        vlan=port.vlan,
        blocked=port.blocked,
        vlan_own=port.vlan_own,
        blocked_own=port.blocked_own,
        nic=nic_of(*port.nic) if port.nic else None,
        host=host,
        cookie=port.cookie,
        connected=port.connected,
        conflict=port.conflict,
    )


def _nic(connectee: Element | None) -> tuple[str, int] | None:
    entity, device = inside(connectee, "connectedEntity"), said(connectee, "nicKey")
    if entity is None or not device or local(entity.get("type")) != "VirtualMachine":
        return None
    return entity.text or "", int(device)


def _own(policy: Element | None) -> bool:
    return policy is not None and not flag(policy, "inherited")
