"""Who may hear whom, and who does: every VM that can send says something to everyone, and nobody strange hears it.

Law: what network a NIC is on is read off the port group it is plugged into, whatever tags are worn, so that the audit
shares no thought with what it audits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from isthmus.model.names import NicId
from lab.wire.carry import Wires
from lab.wire.frames import Frame, Heard, arp_request, broadcast, rarp, unicast
from lab.wire.switching import switch_of
from lab.wire.vcenter import VCenter
from lab.wire.vsphere import DvBacking, NameBacking, Vm, VmNic

FOREIGN = "foreign"
OWNER = "isthmus"


@dataclass(frozen=True, slots=True)
class Leak:
    """A frame of one network heard in another."""

    sender: str
    sender_is_on: str
    hearer: str
    hearer_is_on: str
    heard: Heard

    def __str__(self) -> str:
        way = f"VIDs {self.heard.vids}, VNIs {self.heard.vnis}"
        return f"{self.hearer} ({self.hearer_is_on}) hears {self.sender} ({self.sender_is_on}) by {way}"


def network_of(vcenter: VCenter, vm: Vm, nic: VmNic) -> str | None:
    """The network a NIC is on by where it is plugged in; FOREIGN and a name for what is not ours; None for nowhere."""
    match nic.backing:
        case DvBacking(dvs, group):
            found = vcenter.switches[dvs].port_groups[group]
            mark = found.mark or found.handed_back or found.lost
            if mark is None:
                return f"{FOREIGN} {found.name}"
            return mark.network if mark.owner == OWNER else f"{FOREIGN} {mark.owner}'s {found.name}"
        case NameBacking(name):
            switch = switch_of(vcenter, vm, nic)
            return None if switch is None else name
        case None:
            return None


@dataclass(frozen=True, slots=True)
class Outsider:
    """A member of a network elsewhere, as the audit knows it."""

    nic: NicId
    network: str
    vtep: str
    vni: int
    mac: str


def audit(
    vcenter: VCenter, wires: Wires, appliances: Iterable[NicId], outsiders: Iterable[Outsider] = ()
) -> list[Leak]:
    """All leaks there are now."""
    peers = {outsider.nic: outsider for outsider in outsiders}
    ignored = set(appliances)
    nics = {nic.id: (vm, nic) for vm, nic in vcenter.nics() if nic.id not in ignored}
    on = {key: network_of(vcenter, vm, nic) for key, (vm, nic) in nics.items()}
    macs = sorted({nic.mac for _, nic in nics.values()})
    on |= {key: outsider.network for key, outsider in peers.items()}
    said = [
        (key, heard)
        for key, (_, nic) in nics.items()
        for frame in _speech(nic.mac, macs)
        for heard in wires.send(key, frame)
    ]
    said += [
        (key, heard)
        for key, outsider in peers.items()
        for frame in (broadcast(outsider.mac), *(unicast(outsider.mac, mac) for mac in macs))
        for heard in wires.send_from_vtep(outsider.vtep, outsider.vni, frame)
    ]
    found = (_leak(key, on[key], heard, on.get(heard.nic)) for key, heard in said)
    return [leak for leak in found if leak is not None]


def _speech(mac: str, macs: Iterable[str]) -> Iterator[Frame]:
    yield broadcast(mac)
    yield rarp(mac)
    yield arp_request(mac, "", "198.51.100.1")
    for other in macs:
        if other != mac:
            yield unicast(mac, other)


def _leak(sender: NicId, sender_on: str | None, heard: Heard, hearer_on: str | None) -> Leak | None:
    here, there = sender_on or "nowhere", hearer_on or "nowhere"
    if here == there or (here.startswith(FOREIGN) and there.startswith(FOREIGN)):
        return None
    return Leak(str(sender), here, str(heard.nic), there, heard)
