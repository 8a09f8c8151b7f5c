"""A history of one world: anything that people, VMs, far sides and loops may do, in any order.

Each shard's plan may lie half done while others think and act and VMs move; it may also be dropped where it stands,
which is a crash.  A deed that cannot be done in the present state does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.core.flows import LEARNT_SECONDS
from isthmus.model.change import Change, Forget, Gate, Outcome, RemoveHostPortGroup, RemovePortGroup, SetDvPort
from isthmus.model.names import DvsId, HostId, NetworkId, VmId
from isthmus.model.names import mac as as_mac
from isthmus.model.observed import Access, NoVlan, OwnerMark, Trunk
from isthmus.model.tags import Vid, Vni
from lab.wire.audit import OWNER
from lab.wire.frames import rarp
from lab.wire.layout import TENANT
from lab.wire.loop import Errand
from lab.wire.vcenter import CannotMove
from lab.wire.vsphere import Port, PortGroup, StandardPortGroup, Vm, VmNic
from lab.wire.world import Lab, two_racks
from tests.core.properties.laws import Laws
from tests.core.properties.setting import HOSTS, NETWORKS, OTHER, VMS, Setting


@dataclass
class Thought:
    """A plan under way, and how much had happened when it was made."""

    errand: Errand
    deeds: int


class History:
    """The world, and the plans under way."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.lab: Lab = two_racks(setting.design, setting.pool, distributed=setting.distributed)
        self.laws = Laws(setting, self.lab)
        self.thoughts: dict[str, Thought] = {}
        self.tainted = False
        """Somebody has put a wrong tag on by hand: what is heard until it is mended is his doing."""
        self.prepared: set[VmId] = set()
        """VMs whose announced move every shard has prepared for."""
        self.deeds = 0
        self.hand_made = 0
        self._foreign = self.laws.foreign()
        self._checked = -1
        self._touched: HostId | None = None
        self._written = 0

    # people, VMs, SDNs

    def live(self, deed: str, who: int, which: int, *, yes: bool) -> None:
        """Something happens to a VM, a network, a host: `who` and `which` choose among those there are."""
        self.deeds += 1
        vms = [vm for vm in self.lab.vcenter.vms.values() if vm.name in VMS]
        vm = vms[who % len(vms)] if vms else None
        host = HOSTS[which % len(HOSTS)]
        self._touched = self.lab.host(HOSTS[who % len(HOSTS)]) if vm is None or deed == "boot" else vm.host
        match deed:
            case "boot":
                self.boot(HOSTS[who % len(HOSTS)], which, powered_on=yes or which > 2)
            case "add_network":
                self.add_network(sorted(NETWORKS)[which % len(NETWORKS)], ports_listed=yes)
            case "remove_network":
                self.remove_network(sorted(NETWORKS)[which % len(NETWORKS)])
            case "add_foreign":
                self.add_foreign(11 + which % 3, HOSTS[who % len(HOSTS)], with_vm=yes)
            case "retag_by_hand":
                self.retag_by_hand(who, 10 + which % 5, opened=yes)
            case _ if vm is None:
                pass
            case "destroy":
                self.destroy(vm)
            case "power":
                self.lab.vcenter.power(vm.id, yes)
            case "connect":
                self.lab.vcenter.set_connected(_nic(vm).id, yes)
            case "admin":
                if f"port-{vm.name}" in self.lab.intent.ports:
                    self.lab.intent.set_admin_up(f"port-{vm.name}", yes)
            case "replug":
                self.replug(vm, which)
            case "clone":
                self.clone(vm, same_mac=yes)
            case "move":
                self.move(vm, host)
            case "announce":
                self.announce(vm, host)
            case "end_move":
                self.end_move(vm, well=yes or which > 3)

    def add_network(self, name: str, *, ports_listed: bool = False) -> None:
        if NetworkId(name) in self.lab.intent.networks:
            return
        self.lab.intent.add_network(name, vni=NETWORKS[name], ports_listed=ports_listed)
        number = sorted(NETWORKS).index(name)
        self.lab.intent.add_peer(name, f"198.51.100.{number}", as_mac(f"52:54:00:00:00:{number:02x}"))

    def remove_network(self, name: str) -> None:
        if NetworkId(name) in self.lab.intent.networks:
            self.lab.intent.remove_network(name)

    def boot(self, host: str, which: int, *, powered_on: bool = True) -> None:
        free = [name for name in VMS if VmId(f"vm-{name}") not in self.lab.vcenter.vms]
        offered = self._offered(self.lab.host(host))
        if free and offered:
            self.lab.boot(free[0], host, offered[which % len(offered)], powered_on=powered_on)

    def destroy(self, vm: Vm) -> None:
        self.lab.vcenter.destroy(vm.id)
        self._hosts_notice()
        for port in [port for port in self.lab.intent.ports.values() if port.vm == vm.id]:
            self.lab.intent.remove_port(port.id)

    def replug(self, vm: Vm, which: int) -> None:
        offered = self._offered(vm.host)
        if vm.moving_to is None and offered:
            socket = self.lab.socket(offered[which % len(offered)], vm.host)
            self.lab.vcenter.replug(_nic(vm).id, socket)
            self._hosts_notice()

    def clone(self, vm: Vm, *, same_mac: bool) -> None:
        free = [name for name in VMS if VmId(f"vm-{name}") not in self.lab.vcenter.vms]
        if free:
            self.lab.vcenter.clone(vm.id, free[0], same_mac=same_mac)

    def move(self, vm: Vm, to: str) -> None:
        """Unannounced: a lost event, or HA.  Under reuse isolation hangs on announcements."""
        if not self.setting.pool.reuse and vm.host != self.lab.host(to):
            try:
                self.lab.vcenter.restart_by_ha(vm.id, self.lab.host(to))
            except CannotMove:
                return
            self._speak(vm)

    def announce(self, vm: Vm, to: str) -> None:
        if vm.moving_to is None and vm.host != self.lab.host(to):
            try:
                self.lab.vcenter.announce(vm.id, self.lab.host(to))
            except CannotMove:
                return
            self.prepared.discard(vm.id)

    def end_move(self, vm: Vm, *, well: bool) -> None:
        if vm.moving_to is None:
            return
        if well and (vm.id in self.prepared or not self.setting.pool.reuse):
            try:
                self.lab.vcenter.complete(vm.id)
            except CannotMove:
                self.lab.vcenter.fail_move(vm.id)
            else:
                self._speak(vm)
        elif not well:
            self.lab.vcenter.fail_move(vm.id)

    def _speak(self, vm: Vm) -> None:
        """ESXi announces a VM that has resumed on a host; whoever hears it may learn where the VM is."""
        self.lab.wires.send(_nic(vm).id, rarp(_nic(vm).mac))

    def add_foreign(self, vid: int, host: str, *, with_vm: bool) -> None:
        """Somebody makes a port group of his own with a VID that he sees nobody wearing."""
        for index in range(len(self.lab.loops)):  # what is planned but not yet to be seen cannot be avoided
            self.finish(index)
        if vid in self.laws.worn() or self.hand_made > 1:
            return
        self.hand_made += 1
        name = f"hand-made-{self.hand_made}"
        socket: str | tuple[DvsId, str] = name
        if self.setting.standard:  # TENANT is ours as a whole
            for each in self.lab.vcenter.hosts.values():
                switch = each.standard.get(OTHER) or self.lab.vcenter.add_standard_switch(each.id, OTHER)
                switch.port_groups[name] = StandardPortGroup(name, Access(Vid(vid)))
        else:
            dvs = next(s.id for s in self.lab.vcenter.switches.values() if self.lab.host(host) in s.hosts)
            group = self.lab.vcenter.add_port_group(dvs, name, Access(Vid(vid)), override=True)
            if with_vm:
                group.mark = OwnerMark("another installation", NetworkId("theirs"), Vni(9000))
            socket = (dvs, group.key)
        if with_vm:
            self.lab.vcenter.create_vm(f"stranger-{self.hand_made}", self.lab.host(host), socket)
        self._foreign = self.laws.foreign()

    def retag_by_hand(self, index: int, vid: int, *, opened: bool) -> None:
        """Somebody writes a VID onto a place of ours, or opens it."""
        places = self._places()
        if self.setting.meddling and places:
            self.tainted = True
            _edit(places[index % len(places)], Vid(vid), opened=opened)

    # far sides and processes

    def suffer(self, trouble: str, which: int) -> None:
        """Something breaks, or works again."""
        self.deeds += 1
        far = [self.lab.vcenter.faults, self.lab.intent.faults, *(t.faults for t in self.lab.targets.values())]
        faults = far[which % len(far)]
        match trouble:
            case "down":
                faults.down = True
            case "lost answer":
                faults.fail("*", after_work=True)
            case "partial":
                faults.fail("*", spare=which % 3)
            case "heal":
                self.heal()
            case "lag" if not self.setting.pool.reuse:
                self.lab.inventory.lag()
            case "lose_nve":
                nves = list(self.lab.nves.values())
                nves[which % len(nves)].restart()
            case "crash":
                name = self._loop_name(which)
                self.thoughts.pop(name, None)
                self.lab.loops[name].restart()

    def heal(self) -> None:
        """Everything can be reached again."""
        self.lab.inventory.catch_up()
        for faults in (self.lab.vcenter.faults, self.lab.intent.faults):
            faults.heal()
        for target in self.lab.targets.values():
            target.faults.heal()

    # loops

    def think(self, index: int) -> None:
        """A shard makes a plan, if it has none under way."""
        name = self._loop_name(index)
        if name in self.thoughts:
            return
        errand = Errand(self.lab.loops[name].think().plan)
        for change in errand.plan.changes:
            assert not self.lab.targets[change.target].faults.down, f"a change for an unknown target: {change}"
            if self.lab.intent.faults.down:
                assert not self._removes_unwanted(name, change), f"removed on the word of a failed source: {change}"
        if errand.open:
            self.thoughts[name] = Thought(errand, self.deeds)

    def _removes_unwanted(self, name: str, change: Change) -> bool:
        """A change that takes away something of a network which the source's last good answer does not have."""
        intent = self.lab.loops[name].remembered
        assert intent is not None
        wanted = {int(network.vni) for network in intent.networks.values()}
        match change.action:
            case RemovePortGroup() | RemoveHostPortGroup():
                return True
            case Forget(entries):
                vnis = {int(vni) for entry in entries if (vni := getattr(entry, "vni", None)) is not None}
                return not vnis <= wanted
            case _:
                return False

    def wake(self) -> None:
        """What happened last wakes the loops of its host, which think at once and act when they come to it."""
        host = self._touched
        for index, name in enumerate(sorted(self.lab.loops)):
            if host is not None and host in self.lab.loops[name].shard.hosts:
                self.think(index)

    def act(self, index: int, choice: int) -> None:
        """The next change of a plan under way, any that may be next."""
        if self.thoughts:
            name = sorted(self.thoughts)[index % len(self.thoughts)]
            ready = self.thoughts[name].errand.next()
            self._do(name, ready[choice % len(ready)])

    def finish(self, index: int) -> None:
        """All the rest of a shard's plan, each change followed by a look."""
        name = self._loop_name(index)
        while name in self.thoughts:
            self._do(name, self.thoughts[name].errand.next()[0])
            self.check()

    def _do(self, name: str, change: Change) -> None:
        thought = self.thoughts[name]
        result = self.lab.loops[name].do(thought.errand, change)
        self._written += 1
        match change.action:
            case SetDvPort(dvs, key, gate=Gate.OPEN) if result.outcome is Outcome.DONE and thought.deeds == self.deeds:
                self.laws.an_opened_port_is_known(dvs, key)
        if not thought.errand.open:
            del self.thoughts[name]

    def settle(self) -> None:
        """Everything works again and every loop goes round until it rests."""
        self.deeds += 1
        self.heal()
        for index in range(len(self.lab.loops)):
            self.finish(index)
        self.lab.settle()
        self.tainted = False
        self.prepared |= {vm.id for vm in self.lab.vcenter.vms.values() if vm.moving_to is not None}
        self.check()

    # laws

    def check(self) -> None:
        """The laws of every instant, if anything has happened since the last look."""
        if self._checked == self.deeds + self._written:
            return
        self._checked = self.deeds + self._written
        if not self.tainted:
            self.laws.nobody_hears_strangers()
            self.laws.a_vid_names_one_subject()
        self.laws.what_is_plugged_in_is_told_of()
        assert self.laws.foreign() == self._foreign, "something foreign was written"

    def check_at_rest(self) -> None:
        """The laws of rest, once what the data path learnt by itself has expired."""
        self.lab.clock.advance(LEARNT_SECONDS + 1)
        self.laws.nothing_more_to_do()
        self.laws.neighbours_hear_each_other()
        self.laws.the_disabled_are_closed()
        self.laws.what_is_in_a_network_is_told_of()

    def end(self) -> None:
        """All come to rest, then everybody leaves."""
        self.settle()
        self.check_at_rest()
        for vm in [vm for vm in self.lab.vcenter.vms.values() if vm.name in VMS]:
            self.destroy(vm)
        for network in list(self.lab.intent.networks):
            self.lab.intent.remove_network(network)
        self.settle()
        self.laws.nothing_of_ours_is_left()

    # looking

    def _loop_name(self, index: int) -> str:
        return sorted(self.lab.loops)[index % len(self.lab.loops)]

    def _offered(self, host: HostId) -> list[str]:
        """The networks that a NIC on a host can be plugged into."""
        if self.setting.standard:
            return [n for n in sorted(self.lab.intent.networks) if self.lab.vcenter.standard_group(host, n)]
        marks = [
            group.mark
            for switch in self.lab.vcenter.switches.values()
            for group in switch.port_groups.values()
            if host in switch.hosts and group.mark is not None and group.mark.owner == OWNER
        ]
        return sorted({mark.network for mark in marks} & set(self.lab.intent.networks))

    def _hosts_notice(self) -> None:
        """Under `distributed`, every host's loop runs before a newcomer sees that a tag is gone from a port.

        vCenter takes an override off when a NIC goes; other hosts' shards do not see which NVEs still know it.
        Isolation then hangs on all loops being awake: see test_distributed.py.
        """
        if not (self.setting.distributed and self.setting.dv_ports):
            return
        self.heal()
        names = sorted(self.lab.loops)
        for name in names:
            while name in self.thoughts:
                self._do(name, self.thoughts[name].errand.next()[0])
        for name in names:
            self.lab.loops[name].run_once()

    def _places(self) -> list[PortGroup | Port | StandardPortGroup]:
        """The places of ours that a hand may reach."""
        found: list[PortGroup | Port | StandardPortGroup] = []
        for switch in self.lab.vcenter.switches.values():
            for group in switch.port_groups.values():
                if group.mark is None or group.mark.owner != OWNER:
                    continue
                if not self.setting.dv_ports and group.mark.network not in self.lab.intent.networks:
                    continue  # nobody knows which VID it should have, so what a hand gives it stays
                found += [group, *(port for port in switch.ports.values() if port.port_group == group.key)]
        for esx in self.lab.vcenter.hosts.values():
            for named in esx.standard[TENANT].port_groups.values() if TENANT in esx.standard else ():
                if not isinstance(named.vlan, Trunk) and NetworkId(named.name) in self.lab.intent.networks:
                    found.append(named)
        return found


def _nic(vm: Vm) -> VmNic:
    return next(iter(vm.nics.values()))


def _edit(place: PortGroup | Port | StandardPortGroup, vid: Vid, *, opened: bool) -> None:
    match place:
        case PortGroup():
            place.vlan, place.blocked = NoVlan() if opened else Access(vid), not opened
            place.version += 1
        case Port():
            place.vlan, place.blocked = Access(vid), not opened
            place.version += 1
        case StandardPortGroup():
            place.vlan = Access(vid)
