"""The laws that every instant and every rest must keep, read off the far sides alone.

Law: nothing here asks the core.  Whom a tag names follows from the port group it is worn in and from what NVEs hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy

from isthmus.model.flow import Flow, Match
from isthmus.model.names import DvsId, HostId, NetworkId, NicId
from isthmus.model.nve import LeafBinding, NveEntry, Plug, WorkloadKey
from isthmus.model.observed import Access, Trunk
from isthmus.model.tags import Vid, Vni
from lab.wire.audit import OWNER
from lab.wire.layout import TENANT
from lab.wire.vrouter import WireVrouter
from lab.wire.vsphere import DvBacking, NameBacking, PortGroup, Vm, VmNic
from lab.wire.world import Lab
from tests.core.properties.setting import NETWORKS, OTHER, Setting


class Laws:
    """The laws of one world."""

    def __init__(self, setting: Setting, lab: Lab) -> None:
        self.setting = setting
        self.lab = lab
        self.same: dict[str, str] = {}
        """Subjects that are one: the new VNI of a network and its old one, which it has here and there for a while."""

    # at every instant

    def nobody_hears_strangers(self) -> None:
        leaks = self.lab.leaks()
        assert not leaks, "; ".join(map(str, leaks[:3]))

    def a_vid_names_one_subject(self) -> None:
        """In its domain, as far as traffic can wear it or an NVE knows it."""
        subjects: dict[tuple[object, int], set[str]] = {}
        for domain, vid, subject in self._names():
            subjects.setdefault((domain, int(vid)), set()).add(self.same.get(subject, subject))
        for (domain, vid), found in subjects.items():
            assert len(found) < 2, f"VID {vid} means {' and '.join(sorted(found))} in {domain}"

    def an_opened_port_is_known(self, dvs: DvsId, key: str) -> None:
        """When a DV port opens, its host's NVE knows what its tag means."""
        switch = self.lab.vcenter.switches[dvs]
        port = switch.ports[key]
        assert port.nic is not None
        nve = self.lab.nves[self.lab.vcenter.vms[port.nic.vm].host]
        vlan = switch.vlan_of(port)
        assert isinstance(vlan, Access)
        wanted = (vlan.vid, self._subject(switch.port_groups[port.port_group], port.nic))
        assert wanted in set(known_tags(nve.entries.values())), f"{nve.id} does not know {wanted}, but port {key} opens"

    def what_is_plugged_in_is_told_of(self) -> None:
        """The SDN's own database knows each port as long as its NVE has it, unless the port is the SDN's own."""
        for nve in self._vrouters():
            told = nve.directory.workloads
            ours = [plug.port for plug in nve.plugs() if str(plug.nic) in plug.port]
            strangers = [port for port in ours if WorkloadKey(port) not in told]
            assert not strangers, f"{nve.id} has {strangers}, of which nobody told"

    # at rest

    def what_is_in_a_network_is_told_of(self) -> None:
        """Every NIC in a network, running or not, and nothing else; what runs may wait for a VID."""
        told = {(w.nic, w.network) for nve in self._vrouters() for w, _ in nve.directory.workloads.values()}
        nics = [(vm, nic, on) for vm, nic in self.lab.guests() if (on := self._unlisted_network(vm, nic)) is not None]
        there = {(nic.id, on) for _, nic, on in nics}
        assert told <= there, f"told of, and not there: {told - there}"
        silent = {(nic.id, on) for vm, nic, on in nics if not vm.powered_on or self._open(nic)} - told
        assert not silent or not self._vrouters(), f"there, and nobody told of: {silent}"

    def nothing_more_to_do(self) -> None:
        again = {name: loop.think().plan.changes for name, loop in self.lab.loops.items()}
        assert not any(again.values()), f"no rest: {again}"

    def neighbours_hear_each_other(self) -> None:
        """All that are on one network, unless closed; and closed only where no VID is left."""
        vms = [(vm, nic) for vm, nic in self.lab.guests() if vm.powered_on and nic.connected]
        macs = [nic.mac for _, nic in vms]
        for vm, nic in vms:
            on = self._wanted_network(vm, nic)
            if on is None:
                continue
            if not self._open(nic):
                assert self._exhausted(vm.host), f"{vm.name} is closed although a VID is free"
                continue
            for other, peer in vms:
                same = other is not vm and self._wanted_network(other, peer) == on and self._open(peer)
                if same and macs.count(nic.mac) == macs.count(peer.mac) == 1:
                    assert self.lab.are_joined(nic, peer), f"{other.name} does not hear {vm.name}"

    def the_disabled_are_closed(self) -> None:
        """Where a port can be."""
        for vm, nic in self.lab.guests():
            on = self._network_of(nic)
            ports = self.lab.intent.ports.values() if on in self.lab.intent.networks else ()
            if any((p.vm, p.mac, p.network) == (vm.id, nic.mac, on) and not p.admin_up for p in ports):
                assert not (isinstance(nic.backing, DvBacking) and self._open(nic)), f"{vm.name} is disabled, but open"

    def nothing_of_ours_is_left(self) -> None:
        assert not self.lab.groups_of_ours(), [group.name for group in self.lab.groups_of_ours()]
        for nve in self.lab.nves.values():
            left = [e for e in nve.entries.values() if not (isinstance(e, Flow) and e.vni is None)]
            assert not left, f"{nve.id} still holds {left}"
        assert not [workload for nve in self._vrouters() for workload in nve.directory.workloads]
        if self.setting.standard:
            for host in self.lab.vcenter.hosts.values():
                assert not self.lab.tenant_groups(host.name)

    def _vrouters(self) -> list[WireVrouter]:
        nves = self.lab.nves.values()
        return [nve for nve in nves if isinstance(nve, WireVrouter) and self.lab.design.nve.keeps_workloads]

    # what is worn, and by whom

    def worn(self, host: HostId | None = None) -> set[int]:
        """Every VID that is seen somewhere (or: that counts on one host), on places, foreign or not, and in NVEs."""
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
                if host in (None, esx.id):
                    vids |= {g.vlan.vid for g in standard.port_groups.values() if isinstance(g.vlan, Access)}
        for nve in self.lab.nves.values():
            if host in (None, *nve.hosts):
                vids |= {vid for vid, _ in known_tags(nve.entries.values())}
        return vids

    def foreign(self) -> object:
        """A copy of all that is not ours."""
        groups: dict[object, object] = {}
        ports: dict[object, object] = {}
        for switch in self.lab.vcenter.switches.values():
            theirs = {k: g for k, g in switch.port_groups.items() if g.mark is None or g.mark.owner != OWNER}
            groups |= {(switch.id, k): deepcopy(g) for k, g in theirs.items()}
            ports |= {
                (switch.id, k): (p.version, p.vlan, p.blocked)
                for k, p in switch.ports.items()
                if p.port_group in theirs
            }
        named = {
            (esx.id, group.name): deepcopy(group)
            for esx in self.lab.vcenter.hosts.values()
            for standard in esx.standard.values()
            for group in standard.port_groups.values()
            if standard.name == OTHER or isinstance(group.vlan, Trunk)
        }
        return groups, ports, named

    def _exhausted(self, host: HostId) -> bool:
        worn = self.worn(host if self.setting.pool.reuse or self.setting.standard else None)
        return all(vid in worn for vid in self.setting.pool.ranges)

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
                    yield esx.id, named.vlan.vid, f"VNI {NETWORKS.get(named.name, named.name)}"
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
        hosts = set(self.lab.nves[place].hosts)
        switches = [switch.id for switch in self.lab.vcenter.switches.values() if switch.hosts & hosts]
        return [domain for dvs in switches for domain in self._domains(dvs, HostId(place))]

    def _subject(self, group: PortGroup, nic: NicId | None = None) -> str:
        mark = group.mark or group.handed_back or group.lost
        if mark is None or mark.owner != OWNER:
            return group.name
        return f"NIC {nic}" if self.setting.design.nve.knows_ports else f"VNI {int(mark.vni)}"

    def _network_of(self, nic: VmNic) -> NetworkId | None:
        """The network whose mark the port group of a NIC carries."""
        if not isinstance(nic.backing, DvBacking):
            return None
        mark = self.lab.vcenter.switches[nic.backing.dvs].port_groups[nic.backing.port_group].mark
        return mark.network if mark is not None and mark.owner == OWNER else None

    def _wanted_network(self, vm: Vm, nic: VmNic) -> str | None:
        """The network that a NIC should speak on now, None if none."""
        name: str | None = self._network_of(nic)
        if isinstance(nic.backing, NameBacking):
            name = nic.backing.name if self.lab.vcenter.standard_group(vm.host, nic.backing.name) else None
        network = self.lab.intent.networks.get(NetworkId(name)) if name else None
        if network is None or not network.ports_listed:
            return None if network is None else network.id
        ports = self.lab.intent.ports.values()
        held = [p for p in ports if (p.vm, p.mac, p.network) == (vm.id, nic.mac, network.id)]
        return network.id if held and held[0].admin_up else None

    def _unlisted_network(self, vm: Vm, nic: VmNic) -> str | None:
        """The wanted network that a NIC is plugged into, unless the source has it as a port."""
        on = self._network_of(nic)
        listed = ((p.vm, p.mac, p.network) for p in self.lab.intent.ports.values())
        return None if on not in self.lab.intent.networks or (vm.id, nic.mac, on) in listed else on

    def _open(self, nic: VmNic) -> bool:
        if not isinstance(nic.backing, DvBacking):
            return True
        switch = self.lab.vcenter.switches[nic.backing.dvs]
        return not switch.is_blocked(switch.ports[nic.backing.port_key])


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
