"""pyVmomi's objects as our words.  Pure: parses once, at the door, and tolerates what vCenter leaves out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyVmomi import vim

from isthmus.adapters.vcenter.marks import decoded
from isthmus.adapters.vcenter.naming import plain
from isthmus.model.names import HostId, NicId
from isthmus.model.observed import Access, DvPortState, NoVlan, PortGroupState, PrivateVlan, Trunk, VlanSpec
from isthmus.model.tags import ALL_VIDS, MAX_VID, MIN_VID, NO_VIDS, Vid, VidRange, VidSet

NicOf = Callable[[str, int], NicId | None]
"""The NIC with this device key of the VM with this moref; None while the VM is not known."""
HostOf = Callable[[str], HostId]
"""The HostId of a host's moref."""
VmHostOf = Callable[[str], HostId | None]
"""Where the VM with this moref runs; None while it is not known."""


def vlan_spec(vlan: Any) -> VlanSpec:
    """What a port setting says of VLANs; no setting means untagged."""
    match vlan:
        case vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec():
            return Trunk(trunk_vids(vlan))
        case vim.dvs.VmwareDistributedVirtualSwitch.PvlanSpec():
            return PrivateVlan(Vid(vlan.pvlanId))
        case vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec() if vlan.vlanId == 4095:
            return Trunk(ALL_VIDS)  # as on a standard switch: every VID
        case vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec() if vlan.vlanId:
            return Access(Vid(vlan.vlanId))
        case _:
            return NoVlan()


def trunk_vids(vlan: Any) -> VidSet:
    """The VIDs of a trunk: its ranges may overlap and begin at 0, which means untagged frames."""
    return VidSet.joined(
        VidRange(Vid(max(MIN_VID, piece.start)), Vid(min(MAX_VID, piece.end)))
        for piece in vlan.vlanId or ()
        if max(MIN_VID, piece.start) <= min(MAX_VID, piece.end)
    )


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
    )


def dv_port(port: Any, nic_of: NicOf, host_of: HostOf, vm_host_of: VmHostOf | None = None) -> DvPortState:
    """A DV port as FetchDVPorts gives it."""
    config, connectee = port.config, port.connectee
    setting = config.setting
    vlan, blocked = getattr(setting, "vlan", None), setting.blocked if setting else None
    vm: Any = connectee.connectedEntity if connectee else None
    is_vm = isinstance(vm, vim.VirtualMachine) and bool(connectee.nicKey)
    host = host_of(port.proxyHost._GetMoId()) if port.proxyHost else None
    if host is None and is_vm and vm_host_of is not None:
        host = vm_host_of(vm._GetMoId())
    return DvPortState(
        key=port.key,
        port_group=port.portgroupKey or "",
        version=config.configVersion or "",
        vlan=vlan_spec(vlan),
        blocked=_true(blocked),
        vlan_own=_own(vlan),
        blocked_own=_own(blocked),
        nic=nic_of(vm._GetMoId(), int(connectee.nicKey)) if is_vm else None,
        host=host,
        cookie=cookie_of(port),
        connected=connectee is not None,
    )


def cookie_of(port: Any) -> int | None:
    """What tells this association of the port from the last one; None for a free port."""
    return port.connectionCookie or None


def _own(policy: Any) -> bool:
    return policy is not None and not policy.inherited


def _true(policy: Any) -> bool:
    return bool(policy is not None and policy.value)


def _either(flag: bool | None, policy: Any) -> bool:
    return bool(flag) if flag is not None else _true(policy)
