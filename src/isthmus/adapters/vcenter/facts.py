"""What is known of a VM or a distributed switch, and how property changes change it.

Law: a property that is unset, not yet told or taken back is unknown; a change that is not understood raises Unclear.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from sys import intern
from typing import Any

from isthmus.adapters.vcenter.nics import DEVICES, Card, Unclear, updated

VM_PATHS = (
    "config.instanceUuid",
    "config.uuid",
    "config.template",
    "name",
    "runtime.host",
    "runtime.powerState",
    DEVICES,
)
GUEST_NICS = "guest.net"
HOST_PATHS = ("name", "parent", "runtime.connectionState")
SWITCH_PATHS = ("uuid", "name", "parent", "config")
GROUP_PATHS = ("key", "name", "config.configVersion")


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM as far as it is known."""

    uuid: str | None = None
    bios_uuid: str | None = None
    template: bool = True  # until vCenter says it is none
    name: str = ""
    host: str | None = None
    powered_on: bool = False
    cards: tuple[Card, ...] = ()
    guest: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """The addresses of each NIC, by its device key, as the guest's tools told them last."""

    @property
    def whole(self) -> bool:
        """Known well enough to be wired."""
        return bool(self.uuid) and self.host is not None and not self.template

    @property
    def groups(self) -> set[str]:
        """The port groups its NICs are in."""
        return {one.port_group for one in self.cards if one.port_group}

    @property
    def ports(self) -> set[tuple[str, str]]:
        """The DV ports its NICs hold: (uuid of the switch, port key)."""
        return {(one.dvs, one.port_key) for one in self.cards if one.dvs and one.port_key}


@dataclass(frozen=True, slots=True)
class Switch:
    """A distributed switch; `uplinks` are the morefs of its uplink port groups, if a host has a physical NIC there.

    `nics` are these physical NICs: (moref of the host, device).  `folder` is the moref of the folder that it is in.
    """

    uuid: str
    name: str
    mtu: int
    hosts: frozenset[str]
    uplinks: frozenset[str]
    nics: frozenset[tuple[str, str]] = frozenset()
    folder: str = ""


def changed_vm(vm: Vm, changes: Iterable[Any]) -> Vm:
    """A VM after property changes."""
    for change in changes:
        path, value = change.name, None if change.op in ("remove", "indirectRemove") else change.val
        match path:
            case "config.instanceUuid":
                vm = replace(vm, uuid=value or None)
            case "config.uuid":
                vm = replace(vm, bios_uuid=value.lower() if value else None)
            case "config.template":
                vm = replace(vm, template=value is not False)
            case "name":
                vm = replace(vm, name=value or "")
            case "runtime.host":
                vm = replace(vm, host=intern(value._GetMoId()) if value is not None else None)
            case "runtime.powerState":
                # A suspended VM sends nothing, but holds its port and comes back to it.
                vm = replace(vm, powered_on=value == "poweredOn")
            case "config" | "config.hardware" if value is None:
                vm = replace(vm, cards=())
                if path == "config":
                    vm = replace(vm, uuid=None, bios_uuid=None, template=True)
            case _ if path == GUEST_NICS:
                vm = replace(vm, guest=_guest(dict(vm.guest), value or ()))
            case _ if path.startswith(DEVICES):
                vm = replace(vm, cards=updated(vm.cards, path, change.op, change.val))
            case _:
                raise Unclear(path)
    return vm


def _guest(known: dict[int, tuple[str, ...]], told: Iterable[Any]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Tools that tell nothing, as while a VM is off or vCenter starts, take back nothing."""
    for nic in told:
        if addresses := tuple(intern(address) for address in nic.ipAddress or ()):
            known[nic.deviceConfigId] = addresses
    return tuple(sorted(known.items()))


def changed_switch(before: Switch | None, changes: Iterable[Any]) -> Switch:
    """A switch after property changes."""
    switch = before or Switch("", "", 0, frozenset(), frozenset())
    for change in changes:
        match change.name:
            case "uuid":
                switch = replace(switch, uuid=change.val or "")
            case "name":
                switch = replace(switch, name=change.val or "")
            case "parent":
                switch = replace(switch, folder=change.val._GetMoId() if change.val is not None else "")
            case "config" if change.val is not None:
                switch = _configured(switch, change.val)
            case _:
                raise Unclear(change.name)
    return switch


def _configured(switch: Switch, config: Any) -> Switch:
    members = [member.config for member in config.host or () if member.config.host is not None]
    nics = frozenset((member.host._GetMoId(), nic) for member in members for nic in pnics_of(member))
    uplinks = frozenset(group._GetMoId() for group in config.uplinkPortgroup or ()) if nics else frozenset()
    hosts = frozenset(member.host._GetMoId() for member in members)
    return replace(switch, mtu=getattr(config, "maxMtu", None) or 1500, hosts=hosts, uplinks=uplinks, nics=nics)


def pnics_of(member: Any) -> tuple[str, ...]:
    """The physical NICs that a member of a switch (its config) brings."""
    return tuple(spec.pnicDevice for spec in getattr(member.backing, "pnicSpec", None) or ())
