"""pyVmomi's objects as our words.  Pure: parses once, at the door, and tolerates what vCenter leaves out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyVmomi import vim

from isthmus.adapters.vcenter.marks import decoded, handed_back, newer_schema
from isthmus.adapters.vcenter.naming import plain
from isthmus.model.observed import Access, NoVlan, PortGroupState, PrivateVlan, Trunk, VlanSpec
from isthmus.model.tags import ALL_VIDS, MAX_VID, MIN_VID, NO_VIDS, Vid, VidRange, VidSet


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


def port_group(config: Any, name: str | None, uplink_keys: frozenset[str] = frozenset()) -> PortGroupState:
    """A port group from its `config`."""
    setting, policy = config.defaultPortConfig, config.policy
    mac = getattr(setting, "macManagementPolicy", None)
    security = getattr(setting, "securityPolicy", None)
    learning = mac.macLearningPolicy if mac else None
    return PortGroupState(
        key=config.key,
        name=plain(name or config.name),
        vlan=vlan_spec(getattr(setting, "vlan", None)),
        blocked=_true(setting.blocked if setting else None),
        version=config.configVersion or "",
        mark=decoded(config.description),
        vlan_override=bool(getattr(policy, "vlanOverrideAllowed", False)),
        block_override=bool(policy and policy.blockOverrideAllowed),
        reset_at_disconnect=bool(policy and policy.portConfigResetAtDisconnect),
        early_binding=config.type == "earlyBinding",
        is_uplink=bool(config.uplink) or config.key in uplink_keys,
        # macManagementPolicy replaced securityPolicy in vSphere 6.7; either may be unset.
        forged_transmits=_either(mac and mac.forgedTransmits, security and security.forgedTransmits),
        promiscuous=_either(mac and mac.allowPromiscuous, security and security.allowPromiscuous),
        mac_learning=bool(learning and learning.enabled),
        handed_back=handed_back(config.description),
        unjudged=newer_schema(config.description) is not None,
    )


def _true(policy: Any) -> bool:
    return bool(policy is not None and policy.value)


def _either(flag: bool | None, policy: Any) -> bool:
    return bool(flag) if flag is not None else _true(policy)
