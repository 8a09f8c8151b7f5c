"""The wire lab as a stage for scenarios."""

from __future__ import annotations

from dataclasses import replace

from isthmus.model.flow import Flow
from isthmus.model.names import NetworkId, VmId
from isthmus.model.observed import Access, VlanSpec
from isthmus.model.tags import VidSet
from lab.wire.frames import rarp
from lab.wire.layout import TENANT, TRUNK
from lab.wire.loop import Errand
from lab.wire.vsphere import DvBacking, Port, PortGroup, StandardPortGroup
from lab.wire.world import Lab


class WireStage:
    """Scenarios, told in memory."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @property
    def moves_are_seamless(self) -> bool:
        """NVEs that take networks are ready; those that take ports enable one at its host only."""
        return not self.lab.design.nve.knows_ports

    @property
    def new_plugs_need_the_sdn(self) -> bool:
        """Of an agent that filters it is not known, until the SDN says so, whether it does."""
        return self.lab.design.nve.filters_late

    def network(self, name: str, *, listed: bool = False) -> None:
        """Create a network and let it be offered."""
        self.lab.network(name, ports_listed=listed)

    def delete_network(self, name: str) -> None:
        """Delete a network from the intent."""
        self.lab.intent.remove_network(name)

    def renumber(self, name: str, like: str | None = None) -> None:
        """Give a network another VNI: one of its own, or that of another network, which leaves the intent."""
        vni = None if like is None else self.lab.intent.networks[NetworkId(like)].vni
        if like is not None:
            self.lab.intent.remove_network(like)
        self.lab.intent.renumber(name, vni)

    def delete_port(self, name: str) -> None:
        """Delete a VM's port from the intent."""
        self.lab.intent.remove_port(f"port-{name}")

    def boot(self, name: str, host: str, network: str) -> None:
        """Create a VM on a network and switch it on."""
        self.lab.boot(name, host, network)

    def boot_if_offered(self, name: str, host: str, network: str) -> None:
        """The same, if the network can be had there and the VM is not there yet."""
        here = VmId(f"vm-{name}") in self.lab.vcenter.vms
        if not here and self.lab.is_offered(network, self.lab.host(host)):
            self.boot(name, host, network)

    def power(self, name: str, on: bool) -> None:
        """Power a VM on or off."""
        self.lab.vcenter.power(self.lab.vm(name).id, on)

    def destroy(self, name: str) -> None:
        """Destroy a VM."""
        vm = self.lab.vm(name).id
        self.lab.vcenter.destroy(vm)
        for port in [port for port in self.lab.intent.ports.values() if port.vm == vm]:
            self.lab.intent.remove_port(port.id)

    def announce(self, name: str, to: str) -> None:
        """A vMotion begins."""
        self.lab.vcenter.announce(self.lab.vm(name).id, self.lab.host(to))

    def arrive(self, name: str) -> None:
        """The vMotion ends well, and ESXi speaks for the VM at its new host."""
        self.lab.vcenter.complete(self.lab.vm(name).id)
        self._speak(name)

    def stay(self, name: str) -> None:
        """The vMotion fails."""
        self.lab.vcenter.fail_move(self.lab.vm(name).id)

    def jump(self, name: str, to: str) -> None:
        """The VM runs elsewhere, unannounced."""
        self.lab.vcenter.restart_by_ha(self.lab.vm(name).id, self.lab.host(to))
        self._speak(name)

    def _speak(self, name: str) -> None:
        nic = self.lab.nic(name)
        self.lab.wires.send(nic.id, rarp(nic.mac))

    def settle(self) -> None:
        """Let all loops rest."""
        self.lab.settle()

    def rounds(self, count: int) -> None:
        """Let all loops go round."""
        for _ in range(count):
            self.lab.round()

    def act(self, changes: int) -> bool:
        """Every loop plans, does so many changes, and dies."""
        reached = False
        for loop in self.lab.loops.values():
            errand = Errand(loop.think().plan)
            done = 0
            while done < changes and (ready := errand.next()):
                loop.do(errand, ready[-1])
                done += 1
                assert self.strangers_are_silent(), f"after {done} changes of {errand.plan}"
            reached = reached or (done == changes and errand.open)
            loop.restart()
        return reached

    def restart_loops(self) -> None:
        """The processes start anew."""
        for loop in self.lab.loops.values():
            loop.restart()

    def lose_nve(self, host: str) -> None:
        """The NVE of a host starts empty."""
        self.lab.nve(host).restart()

    def cut(self, far_side: str) -> None:
        """A far side cannot be reached."""
        match far_side:
            case "vcenter":
                self.lab.vcenter.faults.down = True
            case "intent":
                self.lab.intent.faults.down = True
            case host:
                self.lab.nve(host).faults.down = True

    def heal(self) -> None:
        """All far sides can be reached."""
        self.lab.vcenter.faults.heal()
        self.lab.intent.faults.heal()
        for target in self.lab.nves.values():
            target.faults.heal()

    def retag_by_hand(self, name: str, like: str) -> None:
        """Give one VM's place the tag of another's."""
        place, vlan = self._place(name), self._place(like).vlan
        assert vlan is not None
        place.vlan = vlan
        if not isinstance(place, StandardPortGroup):
            place.version += 1

    def hears(self, name: str, *, frame_from: str) -> bool:
        """Whether a VM hears another."""
        return self.lab.hears(name, frame_from=frame_from)

    def strangers_are_silent(self) -> bool:
        """No frame of one network is heard in another."""
        return not self.lab.leaks()

    def names_of_ours(self) -> list[str]:
        """The names of all port groups of ours, without the names of their switches."""
        hosts = self.lab.vcenter.hosts.values()
        standard = {name for host in hosts if TENANT in host.standard for name in host.standard[TENANT].port_groups}
        ours = {group.name.partition(" (")[0] for group in self.lab.groups_of_ours()}
        return sorted(ours | standard - {TRUNK})

    def tags(self) -> dict[str, int | None]:
        """The VID that each running VM's place wears."""
        return {vm.name: _vid(self._place(vm.name).vlan) for vm, _ in self.lab.guests() if vm.powered_on}

    def known(self) -> int:
        """How many entries the NVEs hold, fixed frames left out."""
        entries = [entry for nve in self.lab.nves.values() for entry in nve.entries.values()]
        return sum(not (isinstance(entry, Flow) and entry.vni is None) for entry in entries)

    def complaints(self) -> list[str]:
        """What the loops say cannot be had."""
        return [f"{unmet.about}: {unmet.reason}" for loop in self.lab.loops.values() for unmet in loop.last.unmet]

    def limit_vids(self, count: int) -> None:
        """From now on the pool has so many VIDs."""
        self.lab.pool = replace(self.lab.pool, ranges=VidSet.of(range(101, 101 + count)))

    def _place(self, name: str) -> Port | PortGroup | StandardPortGroup:
        """Where a VM's tag is worn."""
        vm, nic = self.lab.vm(name), self.lab.nic(name)
        if isinstance(nic.backing, DvBacking):
            switch = self.lab.vcenter.switches[nic.backing.dvs]
            group = switch.port_groups[nic.backing.port_group]
            return switch.ports[nic.backing.port_key] if group.blocked else group
        assert nic.backing is not None
        found = self.lab.vcenter.standard_group(vm.host, nic.backing.name)
        assert found is not None, f"{name} is on no port group"
        return found[1]


def _vid(vlan: VlanSpec | None) -> int | None:
    return int(vlan.vid) if isinstance(vlan, Access) else None
