"""Port groups of ours: made, brought back to their spec, removed.  Law: written only under our own owner mark."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter import marks, naming
from isthmus.adapters.vcenter.faults import faults_of, ident, one_line
from isthmus.adapters.vcenter.reading import properties
from isthmus.adapters.vcenter.session import Session
from isthmus.adapters.vcenter.tasks import Tasks
from isthmus.model.change import AlterPortGroup, CreatePortGroup, DisownPortGroup, PortGroupSpec, RemovePortGroup
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import AS_IT_IS, OwnerMark, Security

PortGroup = vim.dvs.DistributedVirtualPortgroup
VmwareSwitch = vim.dvs.VmwareDistributedVirtualSwitch
FIRST_PORTS = 8  # the group grows by itself


class PortGroups:
    """Writes the port groups of one distributed switch.  Each method returns a word on what was done."""

    def __init__(self, session: Session, tasks: Tasks, dvs: Any) -> None:
        self._session, self._tasks, self._dvs = session, tasks, dvs
        self.ids: Mapping[str, str] = {}
        """The managed objects of the port groups last read, by key."""

    def create(self, action: CreatePortGroup) -> str:
        """Make it; a port group of that name is adopted if it carries this very mark, or did until handed back."""
        spec = created_spec(action.spec)
        with faults_of(f"port group {spec.name}"), accepted(f"port group {spec.name}"):
            try:
                made = self._tasks.run(lambda _: self._dvs.CreateDVPortgroup_Task(spec), "create port group")
            except vim.fault.DuplicateName as fault:
                return self._adopt(fault, action.spec, spec.name)
        return f"made {made._GetMoId()}"

    def _adopt(self, fault: Any, spec: PortGroupSpec, name: str) -> str:
        holder = fault.object
        held = self._config(holder) if isinstance(holder, PortGroup) else None
        if held is None:
            raise Refused(f"the name {name} belongs to {ident(holder)}; rename that, or name the network otherwise")
        former = marks.handed_back(held.description)
        again = former is not None and same_object(former, spec.mark)
        if not (again or marks.decoded(held.description) == spec.mark) or held.distributedVirtualSwitch != self._dvs:
            raise Refused(
                f"the name {name} belongs to {ident(holder)}, which is {whose(held.description)}; rename or remove it, "
                "name the network otherwise, or, if the mark was lost, begin its description with this line: "
                f"{marks.encoded(spec.mark)}"
            )
        if former is not None and again:  # its VNI is corrected like any other, with its ports in view
            config = PortGroup.ConfigSpec(
                configVersion=held.configVersion, description=marks.described(former, held.description)
            )
            self._tasks.run(lambda _: holder.ReconfigureDVPortgroup_Task(config), "take up port group")
        return f"adopted {held.key}"

    def alter(self, action: AlterPortGroup) -> str:
        """Bring back what we own of it, if it is still what the plan saw.  If handed back, it is taken up again."""
        group, config = self._ours(action.key, action.spec.mark, or_handed_back=True)
        if config is None or config.configVersion != action.version:
            raise Retry(f"port group {action.key} changed since it was read")
        with faults_of(f"port group {action.key}"), accepted(f"port group {action.key}"):
            spec = altered_spec(action.spec, config)
            self._tasks.run(lambda _: group.ReconfigureDVPortgroup_Task(spec), "alter port group")
        return f"altered {action.key}"

    def remove(self, action: RemovePortGroup) -> str:
        """Delete it if it is ours and nothing is plugged in."""
        group, config = self._ours(action.key, action.mark)
        if config is None:
            return f"{action.key} was gone"
        with faults_of(f"port group {action.key}"):
            try:
                self._tasks.run(lambda _: group.Destroy_Task(), "remove port group")
            except vim.fault.ResourceInUse as fault:
                raise Retry(f"port group {action.key} is still in use by {self._users(group)}") from fault
            except vmodl.fault.ManagedObjectNotFound:
                return f"{action.key} was gone"
        return f"removed {action.key}"

    def disown(self, action: DisownPortGroup) -> str:
        """Take our mark off its description."""
        group, config = self._ours(action.key, action.mark)
        if config is None:
            return f"{action.key} was gone"
        spec = PortGroup.ConfigSpec(
            configVersion=config.configVersion, description=marks.undescribed(action.mark, config.description)
        )
        with faults_of(f"port group {action.key}"), accepted(f"port group {action.key}"):
            self._tasks.run(lambda _: group.ReconfigureDVPortgroup_Task(spec), "disown port group")
        return f"disowned {action.key}"

    def _ours(self, key: str, mark: OwnerMark, *, or_handed_back: bool = False) -> tuple[Any, Any]:
        # A port group's key is its managed object's id, unless vCenter was restored from a backup.
        group = self._session.object(PortGroup, self.ids.get(key, key))
        config = self._config(group)
        if config is not None:
            held = marks.decoded(config.description)
            if held is None and or_handed_back:
                held = marks.handed_back(config.description)
            if held is None or not same_object(held, mark):
                raise Refused(f"port group {key} is {whose(config.description)}: it is left alone")
        return group, config

    def _config(self, group: Any) -> Any:
        read = self._session.call(lambda content: properties(content, [group], {PortGroup: ["config"]}))
        return read[group]["config"] if group in read else None

    def _users(self, group: Any) -> str:
        read = self._session.call(lambda content: properties(content, [group], {PortGroup: ["vm"]}))
        users = read.get(group, {}).get("vm") or []
        named = ", ".join(ident(vm) for vm in users[:3])
        return f"{named} and {len(users) - 3} more" if len(users) > 3 else named or "something"


@contextlib.contextmanager
def accepted(place: str) -> Iterator[None]:
    """What vCenter does not take of one port group is shown there, and stops no other change."""
    try:
        yield
    except vmodl.fault.InvalidArgument as fault:
        raise Refused(f"{place}: vCenter does not accept {fault.invalidProperty or 'its settings'}") from fault
    except vmodl.fault.NotSupported as fault:
        raise Refused(f"{place}: vCenter cannot make this change; remove the port group when it is empty") from fault


def same_object(held: OwnerMark, wanted: OwnerMark) -> bool:
    """Two marks of one installation and one network; a VNI may be corrected."""
    return (held.owner, held.network) == (wanted.owner, wanted.network)


def whose(description: str | None) -> str:
    """Whose a port group is, by its description."""
    mark, newer = marks.decoded(description), marks.newer_schema(description)
    if newer is not None:
        return f"marked by a newer isthmus (schema {newer})"
    if mark is None:
        return "not marked as isthmus's"
    return one_line(f"isthmus {mark.owner!r}'s for network {mark.network!r}", 120) + f" with VNI {mark.vni}"


def created_spec(wanted: PortGroupSpec) -> Any:
    """A new port group: closed if gated, overridable, early binding, growing, reset at disconnect, marked."""
    return PortGroup.ConfigSpec(
        name=naming.written(wanted.name, f"{wanted.mark.network} {wanted.name}"),  # which may end in its switch's name
        description=marks.described(wanted.mark),
        type=PortGroup.PortgroupType.earlyBinding,
        numPorts=FIRST_PORTS,
        autoExpand=True,
        defaultPortConfig=_setting(wanted, None),
        policy=_policy(
            VmwareSwitch.VMwarePortgroupPolicy(
                shapingOverrideAllowed=False,
                vendorConfigOverrideAllowed=False,
                livePortMovingAllowed=False,
                uplinkTeamingOverrideAllowed=False,
                securityPolicyOverrideAllowed=False,
            )
        ),
    )


def altered_spec(wanted: PortGroupSpec, config: Any) -> Any:
    """The settings we own; what is not mentioned stays, and the policy is one object, so its rest is copied."""
    spec = PortGroup.ConfigSpec(
        configVersion=config.configVersion,
        defaultPortConfig=_setting(wanted, config.defaultPortConfig),
        policy=_policy(config.policy),
    )
    if marks.decoded(config.description) != wanted.mark:
        spec.description = marks.described(wanted.mark, config.description or "")
    if config.type != PortGroup.PortgroupType.earlyBinding:
        spec.type = PortGroup.PortgroupType.earlyBinding
    return spec


def _setting(wanted: PortGroupSpec, held: Any) -> Any:
    vlan = VmwareSwitch.VlanIdSpec(inherited=False, vlanId=0 if wanted.vid is None else int(wanted.vid))
    setting = VmwareSwitch.VmwarePortConfigPolicy(
        vlan=vlan, blocked=vim.BoolPolicy(inherited=False, value=wanted.gated)
    )
    if wanted.security != AS_IT_IS:
        setting.macManagementPolicy = _macs(wanted.security, getattr(held, "macManagementPolicy", None))
    return setting


def _macs(wanted: Security, held: Any) -> Any:
    """One object for all that concerns MACs, so that what is not ours of it is copied (vSphere 6.7 and later)."""
    macs = held or VmwareSwitch.MacManagementPolicy()
    macs.inherited = False
    for name, flag in (
        ("forgedTransmits", wanted.forged_transmits),
        ("allowPromiscuous", wanted.promiscuous),
        ("macChanges", wanted.mac_changes),
    ):
        if flag is not None:
            setattr(macs, name, flag)
        elif getattr(macs, name) is None:
            setattr(macs, name, False)  # as vSphere has it by default
    return macs


def _policy(policy: Any) -> Any:
    policy.vlanOverrideAllowed = True
    policy.blockOverrideAllowed = True
    policy.portConfigResetAtDisconnect = True
    return policy
