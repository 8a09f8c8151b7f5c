"""A history of one world: anything that people, VMs, far sides and loops may do, in any order, with the laws checked.

Each shard's plan may lie half done while others think and act and VMs move; it may also be dropped where it stands,
which is a crash.  Law: however the history goes, nobody hears a frame of another network, and nothing foreign changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from types import MappingProxyType

from isthmus.core.design import Design
from isthmus.model.change import (
    Forget,
    RemoveHostPortGroup,
    RemovePortGroup,
)
from isthmus.model.flow import Flow, Match
from isthmus.model.names import DvsId, HostId, NetworkId, NicId, VmId
from isthmus.model.names import mac as as_mac
from isthmus.model.nve import LeafBinding, NveEntry, Plug
from isthmus.model.observed import Access, NoVlan, OwnerMark, Trunk
from isthmus.model.place import PlaceKind
from isthmus.model.shard import VidPool
from isthmus.model.tags import Vid, VidSet, Vni
from lab.wire.layout import TENANT
from lab.wire.loop import Errand
from lab.wire.vcenter import CannotMove
from lab.wire.vsphere import DvBacking, NameBacking, PortGroup, StandardPortGroup, Vm, VmNic
from lab.wire.world import two_racks

NETWORKS = MappingProxyType({"red": 5001, "blue": 5002, "green": 5003})
HOSTS = ("esx1", "esx2", "esx3")
OTHER = "vSwitch0"
VMS = ("a", "b", "c", "d", "e")


@dataclass(frozen=True)
class Setting:
    """What a history is about."""

    design: Design
    pool: VidPool = field(default_factory=lambda: VidPool(VidSet.of("11-16")))
    distributed: bool = False
    meddling: bool = False

    @property
    def dv_ports(self) -> bool:
        """Tags are worn by DV ports."""
        return self.design.place is PlaceKind.DV_PORT

    @property
    def standard(self) -> bool:
        """Tags are worn by port groups of standard switches."""
        return self.design.place is PlaceKind.HOST_PORT_GROUP


class History:
    """The world and the plans under way.  Every deed gives False where it cannot be done."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.lab = two_racks(setting.design, setting.pool, distributed=setting.distributed)
        self.errands: dict[str, Errand] = {}
        self.tainted = False
        """Somebody has put a wrong tag on by hand: what the wearer hears until it is mended is his doing."""
        self.prepared: set[str] = set()
        """VMs whose announced move has been prepared for by every shard."""
        self.count = 0
        self.foreign = self._foreign()

    # people and SDNs

    def add_network(self, name: str, *, ports_listed: bool = False) -> bool:
        if NetworkId(name) in self.lab.intent.networks:
            return False
        self.lab.intent.add_network(name, vni=NETWORKS[name], ports_listed=ports_listed)
        number = sorted(NETWORKS).index(name)
        self.lab.intent.add_peer(name, f"198.51.100.{number}", as_mac(f"52:54:00:00:00:{number:02x}"))
        return True

    def remove_network(self, name: str) -> bool:
        if NetworkId(name) not in self.lab.intent.networks:
            return False
        self.lab.intent.remove_network(name)
        return True

    def boot(self, name: str, host: str, network: str, *, powered_on: bool = True) -> bool:
        if VmId(f"vm-{name}") in self.lab.vcenter.vms or NetworkId(network) not in self.lab.intent.networks:
            return False
        if not self._offered(network, host):
            return False
        self.lab.boot(name, host, network, powered_on=powered_on)
        return True

    def destroy(self, name: str) -> bool:
        vm = self._vm(name)
        if vm is None:
            return False
        self.lab.vcenter.destroy(vm.id)
        self._host_notices(vm.host)
        for port in [port for port in self.lab.intent.ports.values() if port.vm == vm.id]:
            self.lab.intent.remove_port(port.id)
        return True

    def power(self, name: str, on: bool) -> bool:
        vm = self._vm(name)
        if vm is None or vm.powered_on == on:
            return False
        self.lab.vcenter.power(vm.id, on)
        return True

    def connect(self, name: str, connected: bool) -> bool:
        vm = self._vm(name)
        if vm is None:
            return False
        self.lab.vcenter.set_connected(_nic(vm).id, connected)
        return True

    def admin(self, name: str, up: bool) -> bool:
        if f"port-{name}" not in self.lab.intent.ports:
            return False
        self.lab.intent.set_admin_up(f"port-{name}", up)
        return True

    def replug(self, name: str, network: str) -> bool:
        vm = self._vm(name)
        if vm is None or NetworkId(network) not in self.lab.intent.networks or vm.moving_to is not None:
            return False
        host = self.lab.vcenter.hosts[vm.host].name
        if not self._offered(network, host):
            return False
        self.lab.vcenter.replug(_nic(vm).id, self.lab.socket(network, vm.host))
        self._host_notices(vm.host)
        return True

    def _host_notices(self, host: HostId) -> None:
        """Under `distributed`, the host's loop runs before anyone else sees that a tag is gone from a port.

        vCenter takes an override off when a NIC goes; the other hosts' shards do not see that this host's NVE still
        knows it.  Isolation then hangs on this host's loop being awake: known, and shown in test_distributed.py.
        """
        if not (self.setting.distributed and self.setting.dv_ports):
            return
        self.heal()
        name = self.lab.vcenter.hosts[host].name
        errand = self.errands.pop(name, None)
        while errand is not None and errand.open:
            self.lab.loops[name].do(errand, errand.next()[0])
        for _ in range(3):
            self.lab.loops[name].run_once()

    def clone(self, name: str, copy: str, *, same_mac: bool) -> bool:
        vm = self._vm(name)
        if vm is None or self._vm(copy) is not None:
            return False
        if isinstance(backing := _nic(vm).backing, DvBacking) and not self._group_exists(backing):
            return False
        self.lab.vcenter.clone(vm.id, copy, same_mac=same_mac)
        return True

    # moves

    def move(self, name: str, to: str) -> bool:
        """Unannounced: a lost event, or HA."""
        vm = self._vm(name)
        if vm is None or vm.host == self.lab.host(to) or self.setting.pool.reuse:
            return False
        try:
            self.lab.vcenter.restart_by_ha(vm.id, self.lab.host(to))
        except CannotMove:
            return False
        return True

    def announce(self, name: str, to: str) -> bool:
        vm = self._vm(name)
        if vm is None or vm.moving_to is not None or vm.host == self.lab.host(to):
            return False
        try:
            self.lab.vcenter.announce(vm.id, self.lab.host(to))
        except CannotMove:
            return False
        self.prepared.discard(name)
        return True

    def end_move(self, name: str, *, well: bool) -> bool:
        vm = self._vm(name)
        if vm is None or vm.moving_to is None:
            return False
        if not well:
            self.lab.vcenter.fail_move(vm.id)
            return True
        if self.setting.pool.reuse and name not in self.prepared:
            return False
        try:
            self.lab.vcenter.complete(vm.id)
        except CannotMove:
            self.lab.vcenter.fail_move(vm.id)
        return True

    # others

    def add_foreign(self, vid: int, host: str, *, with_vm: bool) -> bool:
        """Somebody makes a port group of his own with a VID that he sees nobody wearing."""
        if self.errands or vid in self._worn() or self.count > 3:
            return False
        self.count += 1
        name = f"hand-made-{self.count}"
        at = self.lab.host(host)
        if self.setting.standard:
            for each in self.lab.vcenter.hosts.values():  # TENANT is ours as a whole, so on another switch
                if OTHER not in each.standard:
                    self.lab.vcenter.add_standard_switch(each.id, OTHER)
                each.standard[OTHER].port_groups[name] = StandardPortGroup(name, Access(Vid(vid)))
            socket: str | tuple[DvsId, str] = name
        else:
            for switch in self.lab.vcenter.switches.values():
                if at in switch.hosts:
                    group = self.lab.vcenter.add_port_group(switch.id, name, Access(Vid(vid)))
                    if self.count % 2:
                        group.mark = OwnerMark("another installation", NetworkId("theirs"), Vni(9000 + self.count))
                    socket = (switch.id, group.key)
        if with_vm:
            self.lab.vcenter.create_vm(f"stranger-{self.count}", at, socket)
        self.foreign = self._foreign()
        return True

    def retag_by_hand(self, index: int, vid: int, *, opened: bool) -> bool:
        """Somebody writes a VID onto a place of ours."""
        places = self._places()
        if not self.setting.meddling or not places:
            return False
        self.tainted = True
        places[index % len(places)](Vid(vid), opened)
        return True

    def lose_nve(self, index: int) -> bool:
        nves = list(self.lab.nves.values())
        nves[index % len(nves)].restart()
        return True

    # far sides

    def break_far_side(self, which: int, kind: str) -> bool:
        far = [self.lab.vcenter.faults, self.lab.intent.faults, *(t.faults for t in self.lab.targets.values())]
        faults = far[which % len(far)]
        match kind:
            case "down":
                faults.down = True
            case "lost answer":
                faults.fail("*", after_work=True)
            case _:
                faults.fail("*", spare=which % 3)
        return True

    def heal(self) -> bool:
        self.lab.vcenter.faults.heal()
        self.lab.intent.faults.heal()
        self.lab.inventory.catch_up()
        for target in self.lab.targets.values():
            target.faults.heal()
        return True

    def lag(self) -> bool:
        if self.setting.pool.reuse:
            return False  # under reuse isolation hangs on seeing announcements
        self.lab.inventory.lag()
        return True

    # loops

    def think(self, index: int) -> bool:
        name = self._loop_name(index)
        if name in self.errands:
            return False
        loop = self.lab.loops[name]
        stale = self.lab.intent.faults.down
        errand = Errand(loop.think().plan)
        for change in errand.plan.changes:
            assert not self.lab.targets[change.target].faults.down, f"a change for an unknown target: {change}"
            if stale:
                assert not isinstance(change.action, RemovePortGroup | RemoveHostPortGroup | Forget), (
                    f"a removal on the word of a source that failed: {change}"
                )
        if errand.open:
            self.errands[name] = errand
        return True

    def act(self, index: int, choice: int) -> bool:
        """The next change of a plan, any that may be next."""
        if not self.errands:
            return False
        name = sorted(self.errands)[index % len(self.errands)]
        errand = self.errands[name]
        ready = errand.next()
        self.lab.loops[name].do(errand, ready[choice % len(ready)])
        if not errand.open:
            del self.errands[name]
        return True

    def crash(self, index: int) -> bool:
        """A process dies with its plan half done, and starts anew."""
        name = self._loop_name(index)
        self.errands.pop(name, None)
        self.lab.loops[name].restart()
        return True

    def settle(self) -> None:
        """Everything works again and every loop goes round until it rests."""
        self.heal()
        while self.errands:
            self.act(0, 0)
            self.check()
        self.lab.settle()
        self.tainted = False
        self.prepared |= {vm.name for vm in self.lab.vcenter.vms.values() if vm.moving_to is not None}
        self.check()

    # laws

    def check(self) -> None:
        """Isolation, and foreign things untouched: at every instant."""
        if not self.tainted:
            leaks = self.lab.leaks()
            assert not leaks, "; ".join(map(str, leaks[:3]))
            self._check_names()
        assert self._foreign() == self.foreign, "something foreign was written"

    def _check_names(self) -> None:
        """In its domain a VID that traffic can wear, or an NVE knows, names one subject."""
        subjects: dict[tuple[object, int], set[str]] = {}
        for domain, vid, subject in self._names():
            subjects.setdefault((domain, int(vid)), set()).add(subject)
        for (domain, vid), found in subjects.items():
            assert len(found) < 2, f"VID {vid} means {' and '.join(sorted(found))} in {domain}"

    def _names(self) -> Iterator[tuple[object, Vid, str]]:
        for switch in self.lab.vcenter.switches.values():
            for group in switch.port_groups.values():
                if isinstance(group.vlan, Access):
                    for domain in self._domains(switch.id, None):
                        yield domain, group.vlan.vid, self._subject(group)
            for port in switch.ports.values():
                vm = self.lab.vcenter.vms.get(port.nic.vm) if port.nic else None
                if isinstance(port.vlan, Access) and vm is not None and not switch.is_blocked(port):
                    for domain in self._domains(switch.id, vm.host):
                        yield domain, port.vlan.vid, self._subject(switch.port_groups[port.port_group], port.nic)
        for esx in self.lab.vcenter.hosts.values():
            for named in esx.standard[TENANT].port_groups.values() if TENANT in esx.standard else ():
                if isinstance(named.vlan, Access):
                    network = NETWORKS.get(named.name)
                    yield esx.id, named.vlan.vid, f"VNI {network}" if network else named.name
        for place, nve in self.lab.nves.items():
            for vid, subject in known_tags(nve.entries.values()):
                for domain in self._nve_domains(place):
                    yield domain, vid, subject

    def _domains(self, dvs: DvsId, host: HostId | None) -> list[object]:
        if not (self.setting.dv_ports and self.setting.pool.reuse):
            return [dvs]
        return [(dvs, each) for each in ([host] if host else sorted(self.lab.vcenter.hosts))]

    def _nve_domains(self, place: str) -> list[object]:
        if self.setting.standard:
            return [place]
        hosts = {place} if place in self.lab.vcenter.hosts else set(self.lab.nves[place].hosts)
        switches = [switch.id for switch in self.lab.vcenter.switches.values() if switch.hosts & hosts]
        return [domain for dvs in switches for domain in self._domains(dvs, HostId(place))]

    def _subject(self, group: PortGroup, nic: NicId | None = None) -> str:
        if group.mark is None or group.mark.owner != "isthmus":
            return group.name
        return f"NIC {nic}" if self.setting.design.nve.knows_ports else f"VNI {int(group.mark.vni)}"

    def check_at_rest(self) -> None:
        """What must hold once nothing more is to do: neighbours hear each other, and a second look changes nothing."""
        again = {name: loop.think().plan for name, loop in self.lab.loops.items()}
        assert not any(again.values()), f"no rest: {again}"
        vms = [(vm, nic) for vm, nic in self.lab.guests() if vm.powered_on and nic.connected]
        macs = [nic.mac for _, nic in vms]
        for vm, nic in vms:
            on = self._wanted_network(vm, nic)
            if on is None:
                continue
            if not self._open(nic):
                assert self._exhausted(vm, nic), f"{vm.name} is closed although a VID is free"
                continue
            for other, peer in vms:
                same = other is not vm and self._wanted_network(other, peer) == on and self._open(peer)
                if same and macs.count(nic.mac) == macs.count(peer.mac) == 1:
                    assert self.lab.hears(other.name, frame_from=vm.name), f"{other.name} does not hear {vm.name}"

    def end(self) -> None:
        """Everybody leaves: nothing of ours may be left."""
        self.settle()
        self.check_at_rest()
        for name in VMS:
            self.destroy(name)
        for network in list(self.lab.intent.networks):
            self.remove_network(network)
        self.settle()
        assert not self.lab.groups_of_ours(), [group.name for group in self.lab.groups_of_ours()]
        for nve in self.lab.nves.values():
            left = [e for e in nve.entries.values() if not (isinstance(e, Flow) and e.vni is None)]
            assert not left, f"{nve.id} still holds {left}"
        if self.setting.standard:
            for host in HOSTS:
                assert not self.lab.tenant_groups(host)

    # looking

    def _loop_name(self, index: int) -> str:
        return sorted(self.lab.loops)[index % len(self.lab.loops)]

    def _vm(self, name: str) -> Vm | None:
        return self.lab.vcenter.vms.get(VmId(f"vm-{name}"))

    def _offered(self, network: str, host: str) -> bool:
        if self.setting.standard:
            return self.lab.vcenter.standard_group(self.lab.host(host), network) is not None
        try:
            self.lab.socket(network, self.lab.host(host))
        except AssertionError:
            return False
        return True

    def _group_exists(self, backing: DvBacking) -> bool:
        return backing.port_group in self.lab.vcenter.switches[backing.dvs].port_groups

    def _wanted_network(self, vm: Vm, nic: VmNic) -> str | None:
        """The network that a NIC should speak on now, None if none."""
        name: str | None = None
        match nic.backing:
            case DvBacking(dvs, group):
                mark = self.lab.vcenter.switches[dvs].port_groups[group].mark
                name = mark.network if mark is not None and mark.owner == "isthmus" else None
            case NameBacking(given) if self.lab.vcenter.standard_group(vm.host, given) is not None:
                name = given
        network = self.lab.intent.networks.get(NetworkId(name)) if name else None
        if network is None:
            return None
        if not network.ports_listed:
            return network.id
        ports = self.lab.intent.ports.values()
        held = [p for p in ports if (p.vm, p.mac, p.network) == (vm.id, nic.mac, network.id)]
        return network.id if held and held[0].admin_up else None

    def _open(self, nic: VmNic) -> bool:
        if not isinstance(nic.backing, DvBacking):
            return True
        switch = self.lab.vcenter.switches[nic.backing.dvs]
        return not switch.is_blocked(switch.ports[nic.backing.port_key])

    def _exhausted(self, vm: Vm, nic: VmNic) -> bool:
        worn = self._worn(vm.host if self.setting.pool.reuse else None)
        return all(vid in worn or self.setting.pool.reserves(None, vid) for vid in self.setting.pool.ranges)

    def _worn(self, host: HostId | None = None) -> set[int]:
        """Every VID that is seen somewhere (on one host): on places, foreign or not, and in NVEs."""
        vids: set[int] = set()
        for switch in self.lab.vcenter.switches.values():
            vids |= {g.vlan.vid for g in switch.port_groups.values() if isinstance(g.vlan, Access)}
            for port in switch.ports.values():
                vm = self.lab.vcenter.vms.get(port.nic.vm) if port.nic else None
                elsewhere = host is not None and vm is not None and host not in (vm.host, vm.moving_to)
                if isinstance(port.vlan, Access) and not elsewhere:
                    vids.add(port.vlan.vid)
        for esx in self.lab.vcenter.hosts.values():
            for standard in esx.standard.values():
                vids |= {g.vlan.vid for g in standard.port_groups.values() if isinstance(g.vlan, Access)}
        for nve in self.lab.nves.values():
            if host in (None, *nve.hosts):
                vids |= {vid for vid, _ in known_tags(nve.entries.values())}
        return vids

    def _places(self) -> list:
        """The places of ours that a hand may reach."""
        found: list = []
        for switch in self.lab.vcenter.switches.values():
            for group in switch.port_groups.values():
                if group.mark is None or group.mark.owner != "isthmus":
                    continue
                if not self.setting.dv_ports and group.mark.network not in self.lab.intent.networks:
                    continue  # nobody knows which VID it should have, so what a hand gives it stays
                found.append(lambda vid, opened, group=group: _edit_group(group, vid, opened))
                for port in switch.ports.values():
                    if port.port_group == group.key:
                        found.append(lambda vid, opened, port=port: _edit_port(port, vid, opened))
        for esx in self.lab.vcenter.hosts.values():
            for standard in esx.standard.values():
                for named in standard.port_groups.values():
                    if standard.name != OTHER and NetworkId(named.name) in self.lab.intent.networks:
                        found.append(lambda vid, opened, named=named: setattr(named, "vlan", Access(vid)))
        return found

    def _foreign(self) -> object:
        """A deep copy of all that is not ours."""
        groups, ports = {}, {}
        for switch in self.lab.vcenter.switches.values():
            ours = {k for k, g in switch.port_groups.items() if g.mark is not None and g.mark.owner == "isthmus"}
            groups |= {(switch.id, k): deepcopy(g) for k, g in switch.port_groups.items() if k not in ours}
            ports |= {
                (switch.id, k): (p.version, p.vlan, p.blocked)
                for k, p in switch.ports.items()
                if p.port_group not in ours
            }
        named = {
            (esx.id, group.name): deepcopy(group)
            for esx in self.lab.vcenter.hosts.values()
            for standard in esx.standard.values()
            for group in standard.port_groups.values()
            if standard.name == OTHER or isinstance(group.vlan, Trunk)
        }
        return groups, ports, named


def known_tags(entries: Iterable[NveEntry]) -> Iterator[tuple[Vid, str]]:
    """Which VIDs an NVE knows, and what they mean there."""
    for entry in entries:
        match entry:
            case Flow(vni=Vni() as vni, match=Match(vid=Vid() as vid)):
                yield vid, f"VNI {int(vni)}"
            case LeafBinding(vid, vni):
                yield vid, f"VNI {int(vni)}"
            case Plug():
                yield entry.vid, f"NIC {entry.nic}"


def _nic(vm: Vm) -> VmNic:
    return next(iter(vm.nics.values()))


def _edit_group(group, vid: Vid, opened: bool) -> None:
    group.vlan = Access(vid) if not opened else NoVlan()
    group.blocked = not opened
    group.version += 1


def _edit_port(port, vid: Vid, opened: bool) -> None:
    port.vlan = Access(vid)
    port.blocked = not opened
    port.version += 1
