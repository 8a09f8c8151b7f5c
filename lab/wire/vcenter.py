"""A vCenter in memory: what happens to hosts, port groups, VMs and NICs when people and VMs, not isthmus, act.

Law: a DV port is handed out at connect and freed at disconnect; in between its key stays with the NIC through every
move inside its switch, and so do its overrides, announced or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from isthmus.model.boundary import Wake
from isthmus.model.inventory import Inventory
from isthmus.model.names import ClusterId, DvsId, HostId, LeafId, Mac, NicId, VmId
from isthmus.model.names import mac as as_mac
from isthmus.model.observed import VlanSpec
from isthmus.model.tags import VidSet
from lab.wire.clock import VirtualClock
from lab.wire.faults import Faults
from lab.wire.vsphere import (
    DistributedSwitch,
    DvBacking,
    EsxHost,
    NameBacking,
    Port,
    PortGroup,
    StandardPortGroup,
    StandardSwitch,
    Vm,
    VmNic,
)

Socket = DvBacking | NameBacking | tuple[DvsId, str] | str | None
"""Where a NIC is to be plugged in: a port group by switch and key, a standard one by name, an old backing, nowhere."""
NIC_KEY = 4000  # vSphere: the device keys of a VM's network adapters start here


class CannotMove(Exception):
    """vCenter refuses the move: the destination lacks the switch or the port group."""


class VCenter:
    """The inventory, and everything that a user, DRS or HA may do to it."""

    def __init__(self, clock: VirtualClock, uuid: str = "vc1") -> None:
        self.clock = clock
        self.uuid = uuid
        self.faults = Faults("vcenter", clock)
        self.hosts: dict[HostId, EsxHost] = {}
        self.switches: dict[DvsId, DistributedSwitch] = {}
        self.vms: dict[VmId, Vm] = {}
        self.lagging: Inventory | None = None
        self._wakes: list[Wake] = []
        self._cookies = 1000
        self._macs = 0

    # hosts and switches

    def add_host(
        self, name: str, cluster: str | None = None, vtep: str | None = None, leaf: str | None = None
    ) -> EsxHost:
        """A new ESXi host."""
        host = EsxHost(
            HostId(f"{self.uuid}/{name}"),
            name,
            None if cluster is None else ClusterId(f"{self.uuid}/{cluster}"),
            vtep,
            None if leaf is None else LeafId(leaf),
        )
        self.hosts[host.id] = host
        return host

    def add_switch(
        self, name: str, hosts: Iterator[HostId] | set[HostId], uplink_vids: VidSet | None = None
    ) -> DistributedSwitch:
        """A new distributed switch with these members."""
        switch = DistributedSwitch(DvsId(f"uuid-{name}"), name, set(hosts), uplink_vids=uplink_vids)
        self.switches[switch.id] = switch
        return switch

    def add_standard_switch(self, host: HostId, name: str, *, has_uplinks: bool = False) -> StandardSwitch:
        """A new standard switch on a host."""
        switch = StandardSwitch(host, name, has_uplinks)
        self.hosts[host].standard[name] = switch
        return switch

    def add_port_group(
        self,
        dvs: DvsId,
        name: str,
        vlan: VlanSpec,
        *,
        forged: bool = False,
        promiscuous: bool = False,
        mac_learning: bool = False,
        override: bool = False,
    ) -> PortGroup:
        """A port group made by hand."""
        switch = self.switches[dvs]
        key = f"dvportgroup-{switch.name}-{switch.next_group}"
        switch.next_group += 1
        group = PortGroup(
            key,
            name,
            vlan,
            forged_transmits=forged,
            promiscuous=promiscuous,
            mac_learning=mac_learning,
            vlan_override=override,
            block_override=override,
        )
        switch.port_groups[key] = group
        self.changed(None)
        return group

    # VMs

    def create_vm(
        self, name: str, host: HostId, *backings: Socket, macs: tuple[str, ...] = (), powered_on: bool = True
    ) -> Vm:
        """A new VM with one NIC per backing: (switch, port group key), a standard port group's name, or nothing."""
        vm = Vm(VmId(f"vm-{name}"), name, host, powered_on)
        if vm.id in self.vms:
            raise ValueError(f"a VM {name} exists")
        self.vms[vm.id] = vm
        for index, backing in enumerate(backings):
            self.add_nic(vm.id, backing, macs[index] if index < len(macs) else None)
        self.changed(host)
        return vm

    def add_nic(self, vm: VmId, backing: Socket, mac: str | None = None) -> VmNic:
        """Hot-add a NIC and plug it in."""
        owner = self.vms[vm]
        key = NIC_KEY + max((k - NIC_KEY + 1 for k in owner.nics), default=0)
        nic = VmNic(NicId(vm, key), as_mac(mac) if mac else self._new_mac())
        owner.nics[key] = nic
        self._plug(owner, nic, backing)
        self.changed(owner.host)
        return nic

    def remove_nic(self, nic: NicId) -> None:
        """Hot-remove a NIC."""
        self._unplug(self.nic(nic))
        del self.vms[nic.vm].nics[nic.key]
        self.changed(self.vms[nic.vm].host)

    def replug(self, nic: NicId, backing: Socket) -> None:
        """Plug a NIC in somewhere else."""
        self._unplug(self.nic(nic))
        self._plug(self.vms[nic.vm], self.nic(nic), backing)
        self.changed(self.vms[nic.vm].host)

    def set_connected(self, nic: NicId, connected: bool) -> None:
        """Tick or untick "connected" on a NIC, which keeps its port."""
        self.nic(nic).connected = connected
        self.changed(self.vms[nic.vm].host)

    def power(self, vm: VmId, on: bool) -> None:
        """Power a VM on or off.  Early binding: it keeps its ports."""
        self.vms[vm].powered_on = on
        for nic in self.vms[vm].nics.values():
            if isinstance(nic.backing, DvBacking):
                self._keep_port(nic, nic.backing, on)
        self.changed(self.vms[vm].host)

    def _keep_port(self, nic: VmNic, backing: DvBacking, on: bool) -> None:
        """Ephemeral ports come with the start of a VM and go with its stop; conflict ports only go."""
        switch = self.switches[backing.dvs]
        early = switch.port_groups[backing.port_group].early_binding
        port = switch.ports.get(backing.port_key)
        if port is not None and not on and (port.conflict or not early):
            self._unplug(nic)
            port = None
        if port is None:
            nic.backing = replace(backing, port_key="", cookie=0)
            if on or early:
                nic.backing = self._connect(switch, backing.port_group, nic.id)

    def conflict(self, nic: NicId) -> None:
        """A host that could not ask vCenter has put a NIC on a port of its own making, in place of the NIC's."""
        backing = self.nic(nic).backing
        assert isinstance(backing, DvBacking)
        switch = self.switches[backing.dvs]
        self._unplug(self.nic(nic))
        self._cookies += 1
        port = Port(f"c-{self._cookies}", backing.port_group, nic=nic, cookie=self._cookies, conflict=True)
        switch.ports[port.key] = port
        self.nic(nic).backing = replace(backing, port_key=port.key, cookie=self._cookies)
        self.changed(self.vms[nic.vm].host)

    def destroy(self, vm: VmId) -> None:
        """Destroy a VM; its ports are free for the next NIC."""
        for nic in list(self.vms[vm].nics):
            self.remove_nic(NicId(vm, nic))
        self.changed(self.vms.pop(vm).host)

    def clone(self, vm: VmId, name: str, *, same_mac: bool = False) -> Vm:
        """A copy beside the original, plugged into the same port groups."""
        source = self.vms[vm]
        groups: list[tuple[DvsId, str] | str | None] = []
        for nic in source.nics.values():
            match nic.backing:
                case DvBacking(dvs, group):
                    groups.append((dvs, group))
                case NameBacking(network):
                    groups.append(network)
                case _:
                    groups.append(None)
        macs = tuple(nic.mac for nic in source.nics.values()) if same_mac else ()
        return self.create_vm(name, source.host, *groups, macs=macs)

    # moves

    def announce(self, vm: VmId, to: HostId) -> None:
        """VmBeingHotMigrated: the VM still runs where it was."""
        self._check_move(self.vms[vm], to)
        self.vms[vm].moving_to, self.vms[vm].move_seen = to, self.clock.now
        self.changed(self.vms[vm].host)
        self.changed(to)

    def complete(self, vm: VmId) -> None:
        """The announced move ends well: the VM resumes at its destination."""
        destination = self.vms[vm].moving_to
        assert destination is not None, "no move was announced"
        self.move(vm, destination)

    def fail_move(self, vm: VmId) -> None:
        """VmFailedMigrate: the VM stays."""
        destination, self.vms[vm].moving_to = self.vms[vm].moving_to, None
        self.changed(self.vms[vm].host)
        self.changed(destination)

    def move(self, vm: VmId, to: HostId) -> None:
        """The VM runs at `to` from now on: an unannounced vMotion, or the end of an announced one."""
        moved = self.vms[vm]
        self._check_move(moved, to)
        source, moved.host, moved.moving_to = moved.host, to, None
        self.changed(source)
        self.changed(to)

    def restart_by_ha(self, vm: VmId, to: HostId) -> None:
        """The VM's host died; HA starts it elsewhere.  Its ports and their overrides come along, unasked."""
        self.move(vm, to)
        self.power(vm, True)

    def _check_move(self, vm: Vm, to: HostId) -> None:
        for nic in vm.nics.values():
            match nic.backing:
                case DvBacking(dvs):
                    if to not in self.switches[dvs].hosts:
                        raise CannotMove(f"{vm.name}: host {to} is not on switch {dvs}")
                case NameBacking(name):
                    if self.standard_group(to, name) is None:
                        raise CannotMove(f"{vm.name}: host {to} has no port group {name}")
                case None:
                    pass

    # plugging

    def _plug(self, vm: Vm, nic: VmNic, backing: Socket) -> None:
        match backing:
            case (dvs, group):
                nic.backing = self._connect(self.switches[dvs], group, nic.id)
            case str(name):
                nic.backing = NameBacking(name)
            case _:
                nic.backing = backing

    def _connect(self, switch: DistributedSwitch, group: str, nic: NicId) -> DvBacking:
        assert group in switch.port_groups, f"no port group {group}"
        free = [port for port in switch.ports.values() if port.port_group == group and port.cookie is None]
        if free:
            port = free[0]  # the port that was freed first is handed out again, with a new cookie
        else:
            port = Port(str(switch.next_port), group)
            switch.next_port += 1  # a key is unique on its switch and never means another port
            switch.ports[port.key] = port
        self._cookies += 1
        port.nic, port.cookie = nic, self._cookies
        return DvBacking(switch.id, group, port.key, self._cookies)

    def _unplug(self, nic: VmNic) -> None:
        if isinstance(nic.backing, DvBacking) and nic.backing.port_key:
            switch = self.switches[nic.backing.dvs]
            port = switch.ports[nic.backing.port_key]
            port.nic = port.cookie = None
            if port.conflict or not switch.port_groups[port.port_group].early_binding:
                del switch.ports[port.key]
            elif switch.port_groups[port.port_group].reset_at_disconnect and port.overrides:
                port.vlan = port.blocked = None
                port.version += 1
        nic.backing = None

    def _new_mac(self) -> Mac:
        self._macs += 1
        return Mac(f"00:50:56:00:{self._macs // 256:02x}:{self._macs % 256:02x}")

    # looking

    def nic(self, nic: NicId) -> VmNic:
        """A NIC by its identity."""
        return self.vms[nic.vm].nics[nic.key]

    def nics(self) -> Iterator[tuple[Vm, VmNic]]:
        """All NICs, with their VMs."""
        for vm in self.vms.values():
            for nic in vm.nics.values():
                yield vm, nic

    def standard_group(self, host: HostId, name: str) -> tuple[StandardSwitch, StandardPortGroup] | None:
        """The standard port group of a name on a host (the name is unique on the host)."""
        for switch in self.hosts[host].standard.values():
            if name in switch.port_groups:
                return switch, switch.port_groups[name]
        return None

    # watching

    def watch(self, wake: Wake) -> Callable[[], None]:
        """Call `wake` when something changes; the answer ends it."""
        self._wakes.append(wake)
        return lambda: self._wakes.remove(wake)

    def changed(self, host: HostId | None) -> None:
        """Tell the watchers."""
        for wake in list(self._wakes):
            wake(None if host is None else frozenset({host}))
