"""The inventory as vCenter's property collector tells it: whole, or not at all; perhaps a moment behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from isthmus.model.boundary import Wake
from isthmus.model.inventory import Dvs, Host, Inventory, Move, Nic
from lab.wire.vcenter import VCenter
from lab.wire.vsphere import DvBacking, NameBacking, Vm, VmNic


def inventory_of(vcenter: VCenter) -> Inventory:
    """All of it, in the boundary's words.  A move whose end nobody told of is still announced, however old."""
    hosts = {h.id: Host(h.id, h.name, h.cluster, h.vtep, h.leaf, h.connected) for h in vcenter.hosts.values()}
    switches = {s.id: Dvs(s.id, s.name, s.mtu, frozenset(s.hosts), s.uplink_vids) for s in vcenter.switches.values()}
    moves = tuple(Move(vm.id, vm.moving_to, vm.move_seen) for vm in vcenter.vms.values() if vm.moving_to is not None)
    return Inventory(hosts, switches, {nic.id: _seen(vm, nic) for vm, nic in vcenter.nics()}, moves)


class WireInventory:
    """The inventory source: the vCenter's, or its state at the time `lag` was called."""

    def __init__(self, vcenter: VCenter) -> None:
        self._vcenter = vcenter
        self._unwatch: Callable[[], None] | None = None

    def read(self) -> Inventory:
        """The whole inventory; Retry if it cannot be had."""
        with self._vcenter.faults.call("inventory"):
            return self._vcenter.lagging or inventory_of(self._vcenter)

    def lag(self) -> None:
        """From now on the mirror stands still, as a property collector that is behind does."""
        self._vcenter.lagging = inventory_of(self._vcenter)

    def catch_up(self) -> None:
        """The mirror is live again."""
        self._vcenter.lagging = None

    def watch(self, wake: Wake) -> None:
        """Begin to wake."""
        self._unwatch = self._vcenter.watch(wake)

    def close(self) -> None:
        """Stop."""
        if self._unwatch:
            self._unwatch()
            self._unwatch = None


def _seen(vm: Vm, nic: VmNic) -> Nic:
    plain = Nic(
        nic.id,
        nic.mac,
        vm.host,
        vm.powered_on,
        connected=nic.connected,
        vm_name=vm.name,
        label=f"{vm.name}:{nic.id.key}",
    )
    match nic.backing:
        case DvBacking(dvs, group, key, cookie):
            return replace(plain, dvs=dvs, port_group=group, port_key=key or None, cookie=cookie or None)
        case NameBacking(name):
            return replace(plain, network_name=name)
        case None:
            return plain
