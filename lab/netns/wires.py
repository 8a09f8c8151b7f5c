"""The machines of the world and their cables: a namespace per VM, a veth per NIC, its other end for a switch to take.

The far ends wait in the namespace of the switches; which switch has them in is `switches.py`'s business.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lab.netns import namespace
from lab.netns.inventory import Inventory, Nic, NicId, Vm
from lab.netns.switches import far_end

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,31}")
# Larger than any switch's MTU, which the switch itself enforces.
CABLE_MTU = 9216


@dataclass(frozen=True, slots=True)
class Cable:
    """One NIC's wire.  `number` names it on every switch it is ever plugged into."""

    nic: NicId
    number: int
    namespace: str
    interface: str
    mac: str


@dataclass(slots=True)
class Wires:
    """`named` says which VMs have other interface names than eth0, eth1, ...; `first` is the lowest free number."""

    prefix: str
    switches_namespace: str
    named: Mapping[str, tuple[str, ...]]
    machines: dict[str, str] = field(default_factory=dict)  # VM -> namespace
    cables: dict[NicId, Cable] = field(default_factory=dict)
    first: int = 100
    _interfaces_given: dict[str, int] = field(default_factory=dict)

    def make(self, inventory: Inventory) -> None:
        """Machines for the VMs that run, cables for their NICs.  They stay while the VM exists, running or not."""
        for vm in inventory.vms.values():
            if vm.powered_on:
                self._machine(vm)
                for nic in sorted(vm.nics, key=lambda nic: nic.id):
                    if nic.mac:
                        self._cable(vm, nic)

    def outdated(self, inventory: Inventory) -> list[Cable]:
        """Cables of NICs that are gone or have another MAC now."""
        wanted = {nic.id: nic.mac for vm in inventory.vms.values() for nic in vm.nics}
        return [cable for cable in self.cables.values() if wanted.get(cable.nic) != cable.mac]

    def remove(self, cables: Iterable[Cable]) -> None:
        """To be called when no switch has them in any more."""
        for cable in cables:
            namespace.ip(self.switches_namespace, [f"link delete {far_end(cable.number)}"])
            del self.cables[cable.nic]

    def remove_machines(self, inventory: Inventory) -> list[str]:
        """Namespaces of VMs that no longer exist."""
        gone = [vm for vm in self.machines if vm not in inventory.vms]
        for vm in gone:
            namespace.delete(self.machines.pop(vm))
            self._interfaces_given.pop(vm, None)
        return gone

    def _machine(self, vm: Vm) -> None:
        if vm.id in self.machines:
            return
        # Names belong to the VMs' owners: only a harmless one that is still free is used, else the identity.
        plain = f"{self.prefix}{vm.name}"
        taken = plain in self.machines.values()
        name = plain if _PLAIN_NAME.fullmatch(vm.name) and not taken else f"{self.prefix}{vm.id}"
        namespace.add(name)
        self.machines[vm.id] = name

    def _cable(self, vm: Vm, nic: Nic) -> None:
        if nic.id in self.cables:
            return
        inside = self.machines[vm.id]
        cable = Cable(nic.id, self._next_number(), inside, self._interface(vm), nic.mac)
        near = f"name {cable.interface} netns {inside} address {cable.mac} mtu 1500"
        namespace.ip(
            self.switches_namespace,
            [f"link add {far_end(cable.number)} mtu {CABLE_MTU} type veth peer {near}"],
        )
        namespace.ip(inside, [f"link set {cable.interface} up"])
        namespace.plain_frames_only(self.switches_namespace, far_end(cable.number))
        namespace.plain_frames_only(inside, cable.interface)
        self.cables[nic.id] = cable

    def _interface(self, vm: Vm) -> str:
        given = self._interfaces_given.get(vm.id, 0)
        self._interfaces_given[vm.id] = given + 1
        names = self.named.get(vm.name, ())
        return names[given] if given < len(names) else f"eth{given}"

    def _next_number(self) -> int:
        number = self.first
        self.first += 1
        return number

    def dismantle(self) -> None:
        for name in self.machines.values():
            with contextlib.suppress(namespace.CommandFailed):
                namespace.delete(name)
