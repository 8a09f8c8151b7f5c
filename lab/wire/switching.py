"""How a virtual switch of one host treats a frame: by its ports' VLANs, blocks and security policies, as ESXi does.

Law: a port hears a frame if it is for its own MAC, or for a group, or if its port group lets it hear more; and always
only in its own VLAN.  The switch needs no NVE to join two ports that wear one VID.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from isthmus.model.names import DvsId, HostId, NicId
from isthmus.model.observed import Access, NoVlan, PrivateVlan, Trunk, VlanSpec
from lab.wire.frames import Frame
from lab.wire.vcenter import VCenter
from lab.wire.vsphere import DvBacking, NameBacking, Vm, VmNic

UNTAGGED = 0


@dataclass(frozen=True, slots=True)
class SwitchId:
    """One host's part of a distributed switch, or a standard switch."""

    host: HostId
    name: str
    dvs: DvsId | None = None


@dataclass(frozen=True, slots=True)
class SwitchPort:
    """A NIC's port on a switch, with what is in effect there."""

    nic: NicId
    mac: str
    vlan: VlanSpec
    blocked: bool
    forged: bool
    promiscuous: bool
    mac_learning: bool

    def carries(self, segment: int) -> bool:
        """Whether frames of this VID (0: untagged) pass the port."""
        match self.vlan:
            case NoVlan():
                return segment == UNTAGGED
            case Access(vid) | PrivateVlan(vid):
                return segment == vid
            case Trunk(vids):
                return segment in vids

    def segment_of(self, frame: Frame) -> int | None:
        """On which VID of the switch a frame from this port's NIC travels; None if the port drops it."""
        if self.blocked or (frame.src != self.mac and not self.forged):
            return None
        segment = frame.vid or UNTAGGED
        match self.vlan:
            case Trunk(vids):
                return segment if segment in vids else None
            case Access(vid) | PrivateVlan(vid):
                return int(vid) if segment == UNTAGGED else None
            case NoVlan():
                return UNTAGGED if segment == UNTAGGED else None

    def as_delivered(self, frame: Frame, segment: int) -> Frame:
        """The frame as the NIC gets it: only a trunk port leaves the tag on."""
        keeps = isinstance(self.vlan, Trunk) and segment != UNTAGGED
        return frame if keeps else replace(frame, vid=None)


def switch_of(vcenter: VCenter, vm: Vm, nic: VmNic) -> SwitchId | None:
    """The switch that a NIC is on; None if it is plugged into nothing."""
    match nic.backing:
        case DvBacking(dvs):
            return SwitchId(vm.host, vcenter.switches[dvs].name, dvs)
        case NameBacking(name):
            found = vcenter.standard_group(vm.host, name)
            return SwitchId(vm.host, found[0].name) if found else None
        case None:
            return None


def ports_of(vcenter: VCenter, switch: SwitchId) -> Iterator[SwitchPort]:
    """The ports of running VMs' connected NICs on a switch."""
    for vm, nic in vcenter.nics():
        if vm.host != switch.host or not vm.powered_on or not nic.connected:
            continue
        if switch_of(vcenter, vm, nic) == switch:
            yield port_of(vcenter, vm, nic)


def port_of(vcenter: VCenter, vm: Vm, nic: VmNic) -> SwitchPort:
    """The port that a plugged NIC is on."""
    match nic.backing:
        case DvBacking(dvs, group_key, port_key):
            held = vcenter.switches[dvs]
            port, group = held.ports[port_key], held.port_groups[group_key]
            vlan, blocked = held.vlan_of(port), held.is_blocked(port)
            return SwitchPort(
                nic.id, nic.mac, vlan, blocked, group.forged_transmits, group.promiscuous, group.mac_learning
            )
        case NameBacking(name):
            found = vcenter.standard_group(vm.host, name)
            assert found is not None
            named = found[1]
            return SwitchPort(nic.id, nic.mac, named.vlan, False, named.forged_transmits, named.promiscuous, False)
        case None:
            raise AssertionError(f"{nic.id} is plugged into nothing")


def hearers(ports: list[SwitchPort], segment: int, frame: Frame, source: NicId | None) -> Iterator[SwitchPort]:
    """The ports that hear a frame on a switch; `source` is the NIC it came from, None for an uplink."""
    local = any(port.mac == frame.dst and port.carries(segment) and not port.blocked for port in ports)
    for port in ports:
        if port.nic == source or port.blocked or not port.carries(segment):
            continue
        # MAC learning floods what no port is known to have; a promiscuous port gets a copy of everything.
        if frame.is_group or port.mac == frame.dst or port.promiscuous or (port.mac_learning and not local):
            yield port


def has_uplink_for(vcenter: VCenter, switch: SwitchId, segment: int) -> bool:
    """Whether the switch's uplinks carry a VID; untagged frames pass any uplink."""
    if switch.dvs is None:
        return vcenter.hosts[switch.host].standard[switch.name].has_uplinks
    carried = vcenter.switches[switch.dvs].uplink_vids
    return carried is not None and (segment == UNTAGGED or segment in carried)
