"""What vCenter said it runs, object by object, and the Inventory that this amounts to.

Law: what is half known (no host yet, no MAC yet, no instance UUID, a template) is left out until it is whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from isthmus.adapters.vcenter.facts import Switch, Vm, changed_switch, changed_vm
from isthmus.adapters.vcenter.naming import plain
from isthmus.adapters.vcenter.told import Told
from isthmus.adapters.vcenter.vlans import vlan_spec, worn
from isthmus.model.inventory import Dvs, Host, LeftOut, Machine, Nic
from isthmus.model.names import ClusterId, DvsId, HostId, NicId, VmId
from isthmus.model.tags import NO_VIDS, VidSet

log = logging.getLogger(__name__)
Touched = set[str]
"""Morefs of hosts that a change concerns."""


class Mirror:
    """Not thread-safe: its owner holds a lock."""

    def __init__(
        self, instance: str, only: frozenset[str] | None = None, machines: frozenset[str] = frozenset()
    ) -> None:
        self.instance = instance
        self.generation = 0
        self.told = Told()
        self.vms: dict[str, Vm] = {}
        self._only = only  # the names of the hosts whose NICs are wanted with their names; None: all
        self._wanted_machines = machines  # by BIOS UUID
        self._machines: set[str] = set()
        self._nics: dict[NicId, Nic] = {}
        self._lent = False  # somebody holds these NICs as they are: the next change makes others
        self.switches: dict[str, Switch] = {}
        self.clusters: dict[str, str] = {}
        self.uplink_vids: dict[str, VidSet] = {}
        self._hosts: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, HostId] = {}
        self._owners: dict[str, str] = {}  # instance UUID -> VM
        self._doubles: dict[str, set[str]] = {}  # instance UUID -> younger VMs that have it, too: they are not wired

    def host_id(self, moref: str) -> HostId:
        """The id of a host."""
        if moref not in self._ids:
            self._ids[moref] = HostId(f"{self.instance}/{moref}")
        return self._ids[moref]

    # -- changes -------------------------------------------------------------------------------------------------

    def change_vm(self, moref: str, changes: Iterable[Any] | None) -> tuple[Touched, set[str]]:
        """Apply property changes of a VM (None: it is gone); the hosts and port groups that this concerns."""
        before = self.vms.get(moref, Vm())
        after = Vm() if changes is None else changed_vm(before, changes)
        if after == before:
            return set(), set()
        self._take_nics(moref)
        if (before.uuid if before.whole else None) != (after.uuid if after.whole else None):
            self._lose_uuid(moref, before)
        if changes is None:
            self.vms.pop(moref, None)
        else:
            self.vms[moref] = after
        self._gain_uuid(moref, after)
        self._give_nics(moref)
        if after.bios_uuid in self._wanted_machines:
            self._machines.add(moref)
        else:
            self._machines.discard(moref)
        self.generation += 1
        if replace(after, name=before.name, guest=before.guest) == before:  # neither is news to a switch
            return {after.host} if after.guest != before.guest and after.host else set(), set()
        self.told.ports(before.ports | after.ports)
        if not (before.whole or after.whole):
            return set(), set()  # nor is what cannot be wired yet
        return {host for host in (before.host, after.host) if host}, before.groups | after.groups

    def change_host(self, moref: str, changes: Iterable[Any] | None) -> Touched:
        """Apply property changes of a host."""
        before = self._hosts.get(moref)
        if changes is None:
            self._hosts.pop(moref, None)
        else:
            self._hosts[moref] = {**(before or {}), **{change.name: change.val for change in changes}}
        if self._hosts.get(moref) == before:
            return set()
        if self._only is not None and not self._only.isdisjoint({_name(before), _name(self._hosts.get(moref))}):
            for vm in [vm for vm, known in self.vms.items() if known.host == moref]:
                self._give_nics(vm)
        self.generation += 1
        return {moref}

    def change_switch(self, moref: str, changes: Iterable[Any] | None) -> bool:
        """Apply property changes of a distributed switch; True if they matter."""
        before = self.switches.get(moref)
        if changes is None:
            self.switches.pop(moref, None)
        else:
            self.switches[moref] = changed_switch(before, changes)
        if self.switches.get(moref) == before:
            return False
        self.generation += 1
        self.told.everything()
        return True

    def learn_uplinks(self, settings: Mapping[str, Any]) -> bool:
        """Take the default port settings of the uplink port groups, whose VLAN says what the uplinks carry."""
        vids = {moref: _carried(setting) for moref, setting in settings.items()}
        changed = vids != self.uplink_vids
        self.uplink_vids = vids
        self.generation += changed
        return changed

    # -- answers -------------------------------------------------------------------------------------------------

    def hosts(self) -> dict[HostId, Host]:
        """All hosts."""
        return {
            self.host_id(moref): Host(
                id=self.host_id(moref),
                name=plain(known.get("name")),
                cluster=self._cluster(known.get("parent")),
                connected=known.get("runtime.connectionState") == "connected",
            )
            for moref, known in self._hosts.items()
        }

    def dvses(self) -> dict[DvsId, Dvs]:
        """All distributed switches."""
        return {DvsId(switch.uuid): self._dvs(switch) for switch in self.switches.values() if switch.uuid}

    def nics(self) -> Mapping[NicId, Nic]:
        """The NICs of all VMs that are whole and own their instance UUID, as they are now."""
        self._lent = True
        return self._nics

    def left_out(self) -> tuple[LeftOut, ...]:
        """The NICs of VMs that are whole and have an instance UUID which is another's."""
        return tuple(
            LeftOut(
                nic,
                f"its instance UUID {uuid} is that of VM {plain(self.vms[self._owners[uuid]].name)}, too, "
                "which is older: give it one of its own",
            )
            for uuid, morefs in sorted(self._doubles.items())
            for moref in sorted(morefs, key=_age)
            for nic in self._nics_of(VmId(uuid), self.vms[moref])
        )

    def machines(self) -> tuple[Machine, ...]:
        """The VMs with the BIOS UUIDs that were asked for: several where one is a copy of another."""
        found = ((vm.bios_uuid, vm) for vm in (self.vms[moref] for moref in sorted(self._machines, key=_age)))
        return tuple(
            Machine(
                bios,
                plain(vm.name),
                self.host_id(vm.host) if vm.host else None,
                vm.powered_on,
                tuple(self._nics_of(VmId(vm.uuid or ""), vm)),
            )
            for bios, vm in found
            if bios is not None and not vm.template
        )

    def machine_places(self) -> dict[str, dict[str, str]]:
        """Of the same by BIOS UUID: the morefs of the VMs, each with that of its host."""
        found: dict[str, dict[str, str]] = {}
        for moref in self._machines:
            vm = self.vms[moref]
            if vm.bios_uuid is not None and vm.host is not None:
                found.setdefault(vm.bios_uuid, {})[moref] = vm.host
        return found

    def nic_of(self, moref: str, key: int) -> NicId | None:
        """The NIC with this device key of the VM with this moref."""
        if (vm := self.vm_id(moref)) is None:
            return None
        known = self._nics.get(nic := NicId(vm, key))
        return nic if known is None else known.id

    def vm_id(self, moref: str) -> VmId | None:
        """The instance UUID of a VM, if it is whole and owns it."""
        vm = self.vms.get(moref)
        return VmId(vm.uuid) if vm and vm.uuid and self._owners.get(vm.uuid) == moref else None

    def groups_of(self, vm: str) -> Touched:
        """The port groups that a VM is plugged into."""
        known = self.vms.get(vm)
        return set(known.groups) if known else set()

    def hosts_in(self, groups: set[str]) -> Touched:
        """Hosts with a NIC in one of these port groups: a change there concerns their reachability."""
        if not groups:
            return set()
        return {vm.host for vm in self.vms.values() for one in vm.cards if vm.host and one.port_group in groups}

    def change_ports(self, switch: str, keys: set[str]) -> Touched:
        """Ports of the switch with this moref changed; the hosts of the NICs that hold them."""
        known = self.switches.get(switch)
        if known is not None:
            self.told.ports((known.uuid, key) for key in keys)
        return {
            vm.host
            for vm in self.vms.values()
            for one in vm.cards
            if vm.host and known and one.dvs == known.uuid and one.port_key in keys
        }

    # -- whose an instance UUID is: of several VMs that have one the oldest owns it, the others are not wired --------

    def _gain_uuid(self, moref: str, vm: Vm) -> None:
        if not vm.whole or vm.uuid is None:
            return
        holder = self._owners.setdefault(vm.uuid, moref)
        if holder == moref or moref in self._doubles.get(vm.uuid, ()):
            return
        older, younger = sorted((holder, moref), key=_age)
        text = "%s: VM left unwired until it has an instance UUID of its own: %s (instance UUID %s is %s's)"
        log.warning(text, self.instance, younger, vm.uuid, older)
        self._take_nics(holder)
        self._doubles.setdefault(vm.uuid, set()).add(younger)
        self._hand_uuid(vm.uuid, older)

    def _lose_uuid(self, moref: str, vm: Vm) -> None:
        if not vm.whole or vm.uuid is None:
            return
        doubles = self._doubles.get(vm.uuid, set())
        if moref in doubles:
            doubles.discard(moref)
        elif doubles:
            heir = min(doubles, key=_age)
            doubles.discard(heir)
            self._hand_uuid(vm.uuid, heir)
        else:
            self._owners.pop(vm.uuid, None)
        if not doubles:
            self._doubles.pop(vm.uuid, None)

    def _hand_uuid(self, uuid: str, moref: str) -> None:
        self._owners[uuid] = moref
        self._give_nics(moref)
        self.told.everything()  # a port may be another VM's NIC's now

    # -- what is served: NICs change one by one, and never under who holds them --------------------------------------

    def _take_nics(self, moref: str) -> None:
        """Forget what is served of a VM."""
        if (vm := self.vm_id(moref)) is not None:
            for one in self.vms[moref].cards:
                self._own_nics().pop(NicId(vm, one.key), None)

    def _give_nics(self, moref: str) -> None:
        """Serve a VM's NICs as they are now."""
        if (owner := self.vm_id(moref)) is None:
            return
        for nic in self._nics_of(owner, self.vms[moref]):
            self._own_nics()[nic.id] = nic

    def _nics_of(self, owner: VmId, vm: Vm) -> Iterator[Nic]:
        guest = dict(vm.guest)
        named = self._only is None or _name(self._hosts.get(vm.host or "")) in self._only
        for one in vm.cards:
            if one.mac is not None and vm.host is not None:
                yield Nic(
                    id=NicId(owner, one.key),
                    mac=one.mac,
                    host=self.host_id(vm.host),
                    powered_on=vm.powered_on,
                    dvs=DvsId(one.dvs) if one.dvs else None,
                    port_group=one.port_group,
                    port_key=one.port_key,
                    cookie=one.cookie,
                    connected=one.connected,
                    network_name=one.network_name,
                    vm_name=plain(vm.name) if named else "",
                    label=one.label if named else "",
                    guest_addresses=guest.get(one.key, ()),
                )

    def _own_nics(self) -> dict[NicId, Nic]:
        if self._lent:
            self._nics, self._lent = dict(self._nics), False
        return self._nics

    def _cluster(self, parent: Any) -> ClusterId | None:
        moref = parent._GetMoId() if parent is not None else None
        return ClusterId(f"{self.instance}/{moref}") if moref in self.clusters else None

    def _dvs(self, switch: Switch) -> Dvs:
        carried = None
        if switch.uplinks:
            carried = NO_VIDS
            for group in switch.uplinks:
                carried = carried | self.uplink_vids.get(group, NO_VIDS)
        hosts = frozenset(self.host_id(host) for host in switch.hosts)
        nics = frozenset((self.host_id(host), nic) for host, nic in switch.nics)
        return Dvs(DvsId(switch.uuid), plain(switch.name), switch.mtu, hosts, carried, nics, switch.folder)


def _carried(setting: Any) -> VidSet:
    return worn(vlan_spec(getattr(setting, "vlan", None)))


def _name(host: Mapping[str, Any] | None) -> str:
    return plain(host.get("name")) if host else ""


def _age(moref: str) -> tuple[int, str]:
    digits = "".join(c for c in moref if c.isdigit())
    return int(digits or 0), moref
