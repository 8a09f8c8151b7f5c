"""What vCenter says of VLANs, as pyVmomi's objects or in the XML, in our words; what it leaves out is untagged.

Beside it, what uplinks let through: there untagged frames count, which a trunk has as VID 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any
from xml.etree.ElementTree import Element

from pyVmomi import vim

from isthmus.adapters.vcenter.stream import VIM, said, type_of
from isthmus.model.ground import Carried
from isthmus.model.observed import Access, NoVlan, PrivateVlan, Trunk, VlanSpec
from isthmus.model.tags import ALL_VIDS, MAX_VID, MIN_VID, NO_VIDS, Vid, VidRange, VidSet

POLICY = "VmwareDistributedVirtualSwitch"


def vlan_spec(vlan: Any) -> VlanSpec:
    """What a port setting says of VLANs; no setting means untagged."""
    match vlan:
        case vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec():
            return trunk((piece.start, piece.end) for piece in vlan.vlanId or ())
        case vim.dvs.VmwareDistributedVirtualSwitch.PvlanSpec():
            return PrivateVlan(Vid(vlan.pvlanId))
        case vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec():
            return vlan_id(vlan.vlanId)
        case _:
            return NoVlan()


def vlan_in(vlan: Element | None) -> VlanSpec:
    """A VLAN setting in XML; none means untagged.  Raises ValueError for one of an unknown kind."""
    if vlan is None:
        return NoVlan()
    match type_of(vlan).removeprefix(POLICY):
        case "VlanIdSpec":
            return vlan_id(_number(vlan, "vlanId"))
        case "TrunkVlanSpec":
            return trunk((_number(piece, "start"), _number(piece, "end")) for piece in vlan.findall(VIM + "vlanId"))
        case "PvlanSpec":
            return PrivateVlan(Vid(_number(vlan, "pvlanId")))
        case "VlanSpec" | "" if all(part.tag == VIM + "inherited" for part in vlan):
            return NoVlan()
        case other:  # to take it for untagged would be a guess
            raise ValueError(f"a VLAN setting of unknown type {other!r}")


@cache  # thousands of ports wear the same few
def vlan_id(number: int) -> VlanSpec:
    """What a single VLAN number means."""
    if number == 4095:
        return Trunk(ALL_VIDS)  # as on a standard switch: every VID
    return Access(Vid(number)) if number else NoVlan()


def trunk(ranges: Iterable[tuple[int, int]]) -> Trunk:
    """A trunk of these ranges, first to last: they may overlap and begin at 0, which means untagged frames."""
    within = ((max(MIN_VID, first), min(MAX_VID, last)) for first, last in ranges)
    return Trunk(VidSet.joined(VidRange(Vid(first), Vid(last)) for first, last in within if first <= last))


def worn(vlan: VlanSpec) -> VidSet:
    """The VIDs that frames may wear under this setting."""
    match vlan:
        case Access(vid) | PrivateVlan(vid):
            return VidSet.of([vid])
        case Trunk(vids):
            return vids
        case _:
            return NO_VIDS


def carried(vlan: Any) -> Carried:
    """What passes an uplink with this setting."""
    match vlan:
        case vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec():
            ranges = [(piece.start, piece.end) for piece in vlan.vlanId or ()]
            return Carried(trunk(ranges).vids, any(first <= 0 <= last for first, last in ranges))
        case _:
            spec = vlan_spec(vlan)
            return Carried(worn(spec), isinstance(spec, NoVlan | Trunk))


def trunk_of(carries: Carried) -> Any:
    """The setting that lets this through and nothing else."""
    pieces = [(int(piece.first), int(piece.last)) for piece in carries.vids.ranges]
    if carries.untagged:  # of one piece with VID 1, as an operator would write it
        first = pieces.pop(0)[1] if pieces and pieces[0][0] == MIN_VID else 0
        pieces.insert(0, (0, first))
    ranges = [vim.NumericRange(start=first, end=last) for first, last in pieces]
    return vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec(inherited=False, vlanId=ranges)


def is_trunk(vlan: Any) -> bool:
    """Whether it is a list of ranges, to which others can be added."""
    return isinstance(vlan, vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec)


def _number(element: Element, name: str) -> int:
    return int(said(element, name) or 0)
