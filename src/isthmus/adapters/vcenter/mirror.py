"""What vCenter said it runs, object by object, and the Inventory that this amounts to.

Law: what is half known (no host yet, no MAC yet, no instance UUID, a template) is left out until it is whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

from isthmus.adapters.vcenter.decode import vlan_spec, worn
from isthmus.adapters.vcenter.facts import Switch, Vm, changed_switch, changed_vm
from isthmus.adapters.vcenter.naming import plain
from isthmus.adapters.vcenter.told import Told
from isthmus.model.inventory import Dvs, Host, Nic
from isthmus.model.names import ClusterId, DvsId, HostId, NicId, VmId
from isthmus.model.tags import NO_VIDS, VidSet

log = logging.getLogger(__name__)
Touched = set[str]
"""Morefs of hosts that a change concerns."""


class Mirror:
    """Not thread-safe: its owner holds a lock."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.generation = 0
        self.told = Told()
        self.vms: dict[str, Vm] = {}
        self.switches: dict[str, Switch] = {}
        self.clusters: dict[str, str] = {}
        self.uplink_vids: dict[str, VidSet] = {}
        self._hosts: dict[str, dict[str, Any]] = {}
        self._owners: dict[str, str] = {}
        self._owners_at = -1
        self._doubles: frozenset[str] = frozenset()

    def host_id(self, moref: str) -> HostId:
        """The id of a host."""
        return HostId(f"{self.instance}/{moref}")

    # -- changes -------------------------------------------------------------------------------------------------

    def change_vm(self, moref: str, changes: Iterable[Any] | None) -> tuple[Touched, set[str]]:
        """Apply property changes of a VM (None: it is gone); the hosts and port groups that this concerns."""
        before = self.vms.get(moref, Vm())
        after = Vm() if changes is None else changed_vm(before, changes)
        if changes is None:
            self.vms.pop(moref, None)
        else:
            self.vms[moref] = after
        if after == before:
            return set(), set()
        self.generation += 1
        if replace(after, name=before.name) == before:
            return set(), set()  # a new name is no news to the network
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

    def nics(self) -> Iterator[Nic]:
        """The NICs of all VMs that are whole and own their instance UUID."""
        for moref in self._owner_of().values():
            vm = self.vms[moref]
            for one in vm.cards.values():
                if one.mac is not None and vm.host is not None and vm.uuid is not None:
                    yield Nic(
                        id=NicId(VmId(vm.uuid), one.key),
                        mac=one.mac,
                        host=self.host_id(vm.host),
                        powered_on=vm.powered_on,
                        dvs=DvsId(one.dvs) if one.dvs else None,
                        port_group=one.port_group,
                        port_key=one.port_key,
                        cookie=one.cookie,
                        connected=one.connected,
                        network_name=one.network_name,
                        vm_name=plain(vm.name),
                        label=one.label,
                    )

    def nic_of(self, moref: str, key: int) -> NicId | None:
        """The NIC with this device key of the VM with this moref."""
        vm = self.vms.get(moref)
        if vm is None or vm.uuid is None or self._owner_of().get(vm.uuid) != moref:
            return None
        return NicId(VmId(vm.uuid), key)

    def vm_id(self, moref: str) -> VmId | None:
        """The instance UUID of a VM, if it is whole and owns it."""
        vm = self.vms.get(moref)
        return VmId(vm.uuid) if vm and vm.uuid and self._owner_of().get(vm.uuid) == moref else None

    def groups_of(self, vm: str) -> Touched:
        """The port groups that a VM is plugged into."""
        known = self.vms.get(vm)
        return set(known.groups) if known else set()

    def hosts_in(self, groups: set[str]) -> Touched:
        """Hosts with a NIC in one of these port groups: a change there concerns their reachability."""
        return (
            {vm.host for vm in self.vms.values() if vm.host and not groups.isdisjoint(vm.groups)} if groups else set()
        )

    def change_ports(self, switch: str, keys: set[str]) -> Touched:
        """Ports of the switch with this moref changed; the hosts of the NICs that hold them."""
        known = self.switches.get(switch)
        if known is not None:
            self.told.ports((known.uuid, key) for key in keys)
        return {
            vm.host
            for vm in self.vms.values()
            for one in vm.cards.values()
            if vm.host and known and one.dvs == known.uuid and one.port_key in keys
        }

    def changed_ports(self, since: int, switch: str) -> Set[str] | None:
        """What `told` says of a switch's (uuid) ports."""
        self._owner_of()
        return self.told.since(since, switch)

    def _owner_of(self) -> dict[str, str]:
        """Instance UUID -> VM.  Of several VMs with one UUID the oldest owns it; the others are not wired."""
        if self._owners_at != self.generation:
            owners: dict[str, str] = {}
            doubles: set[str] = set()
            for moref in sorted(self.vms, key=_age):
                uuid = self.vms[moref].uuid
                if uuid and self.vms[moref].whole and owners.setdefault(uuid, moref) != moref:
                    doubles.add(f"{moref} (instance UUID {uuid} is {owners[uuid]}'s)")
            for double in sorted(doubles - self._doubles):
                log.warning("%s: VM left unwired until it has an instance UUID of its own: %s", self.instance, double)
            if doubles != self._doubles:  # a port may be another VM's NIC's now
                self.told.everything()
            self._owners, self._doubles, self._owners_at = owners, frozenset(doubles), self.generation
        return self._owners

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
        return Dvs(DvsId(switch.uuid), plain(switch.name), switch.mtu, hosts, carried)


def _carried(setting: Any) -> VidSet:
    return worn(vlan_spec(getattr(setting, "vlan", None)))


def _age(moref: str) -> tuple[int, str]:
    digits = "".join(c for c in moref if c.isdigit())
    return int(digits or 0), moref
