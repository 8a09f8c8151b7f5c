"""What a vSphere administrator does, through the vCenter API: VMs made, powered, moved; port groups and ports set."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyVim.connect import Disconnect
from pyVmomi import vim, vmodl

from lab.netns.dvs import Access, MacLearning, Policy, Trunk, Vlan
from lab.netns.state import NotThere
from lab.netns.vcenter import Login

TASK_PATIENCE = 60.0
_DVS = vim.dvs.VmwareDistributedVirtualSwitch


@dataclass(slots=True)
class Admin:
    """One session.  A task that fails raises vCenter's own fault."""

    login: Login
    _si: Any = field(init=False)

    def __post_init__(self) -> None:
        self._si = self.login.connect()

    def close(self) -> None:
        Disconnect(self._si)

    def log_in_again(self) -> None:
        """After vCenter was away."""
        self._si = self.login.connect()

    def end_other_sessions(self) -> None:
        """Everybody else is logged out, as after an operator's "terminate session"."""
        manager = self._si.RetrieveContent().sessionManager
        others = [session.key for session in manager.sessionList if session.key != manager.currentSession.key]
        manager.TerminateSession(others)

    # --- finding

    def find(self, kind: type, name: str) -> Any:
        found = [thing for thing, its_name in self._named(kind) if its_name == name]
        if len(found) != 1:
            raise NotThere(f"{len(found)} objects of type {kind.__name__} are named {name!r}")
        return found[0]

    def all(self, kind: type) -> list[Any]:
        content = self._si.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
        try:
            return list(view.view)
        finally:
            view.DestroyView()

    def _named(self, kind: type) -> Iterator[tuple[Any, str]]:
        """All of a kind with their names, in one answer.  What is deleted meanwhile is not there."""
        content, collector = self._si.RetrieveContent(), vmodl.query.PropertyCollector
        view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
        through = collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
        what = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[through])],
            propSet=[collector.PropertySpec(type=kind, pathSet=["name"])],
        )
        try:
            for found in content.propertyCollector.RetrieveContents([what]):
                yield from ((found.obj, its.val) for its in found.propSet)
        finally:
            view.DestroyView()

    def vm(self, name: str) -> Any:
        return self.find(vim.VirtualMachine, name)

    def host(self, name: str) -> Any:
        return self.find(vim.HostSystem, name)

    def port_group(self, name: str) -> Any:
        return self.find(vim.dvs.DistributedVirtualPortgroup, name)

    def port_group_names(self) -> set[str]:
        return {name for _, name in self._named(vim.dvs.DistributedVirtualPortgroup)}

    def switch(self, name: str) -> Any:
        return self.find(vim.DistributedVirtualSwitch, name)

    # --- virtual machines

    def create_vm(
        self, name: str, host: str, port_groups: Iterable[str], macs: Sequence[str] = (), uuid: str | None = None
    ) -> Any:
        """A VM on that host with a NIC in each of the port groups, powered off.  `uuid`: what its SDN knows it by."""
        where = self.host(host)
        groups = [self.port_group(group) for group in port_groups]
        cards = [_card(index, group, macs[index] if macs else None) for index, group in enumerate(groups)]
        spec = vim.vm.ConfigSpec(
            name=name, numCPUs=1, memoryMB=64, guestId="otherLinux64Guest", deviceChange=cards,
            files=vim.vm.FileInfo(vmPathName=f"[{where.datastore[0].name}]"), instanceUuid=uuid,
        )  # fmt: skip
        folder = self._datacenter_of(where).vmFolder
        return self.wait(folder.CreateVM_Task(config=spec, pool=where.parent.resourcePool, host=where))

    def power_on(self, name: str) -> None:
        self.wait(self.vm(name).PowerOnVM_Task())

    def power_off(self, name: str) -> None:
        self.wait(self.vm(name).PowerOffVM_Task())

    def destroy(self, name: str) -> None:
        vm = self.vm(name)
        if vm.runtime.powerState != vim.VirtualMachine.PowerState.poweredOff:
            self.wait(vm.PowerOffVM_Task())
        self.wait(vm.Destroy_Task())

    def migrate(self, name: str, host: str) -> None:
        """vMotion; returns when vCenter says it is done."""
        priority = vim.VirtualMachine.MovePriority.defaultPriority
        self.wait(self.vm(name).MigrateVM_Task(host=self.host(host), priority=priority))

    def relocate(self, name: str, host: str, port_group: str) -> None:
        """vMotion to a host of another cluster, on another switch: the first NIC goes into a port group there."""
        machine, where = self.vm(name), self.host(host)
        edit = self._replugged(machine, port_group, 0)
        spec = vim.vm.RelocateSpec(host=where, pool=where.parent.resourcePool, deviceChange=[edit])
        self.wait(machine.RelocateVM_Task(spec))

    def connect_nic(self, vm: str, port_group: str, nic: int = 0) -> None:
        """Put a NIC of an existing VM into another port group."""
        machine = self.vm(vm)
        edit = self._replugged(machine, port_group, nic)
        self.wait(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[edit])))

    def _replugged(self, machine: Any, port_group: str, nic: int) -> Any:
        card = _cards(machine)[nic]
        card.backing = _backing(self.port_group(port_group))
        return vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)

    # --- port groups and ports

    def create_port_group(self, switch: str, name: str, policy: Policy, ports: int = 8) -> Any:
        """As made by hand: static binding, no owner mark.  The policy's settings may be overridden on ports."""
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name=name,
            type="earlyBinding",
            numPorts=ports,
            autoExpand=True,
            defaultPortConfig=_setting(policy),
            policy=_DVS.VMwarePortgroupPolicy(
                blockOverrideAllowed=True,
                vlanOverrideAllowed=True,
                macManagementOverrideAllowed=True,
                securityPolicyOverrideAllowed=True,
                portConfigResetAtDisconnect=True,
            ),
        )
        self.wait(self.switch(switch).AddDVPortgroup_Task([spec]))

    def dv_port(self, vm: str, nic: int = 0) -> Any:
        """The port behind a VM's NIC, as FetchDVPorts tells it."""
        end = _cards(self.vm(vm))[nic].backing.port
        switch = next(dvs for dvs in self.all(vim.DistributedVirtualSwitch) if dvs.uuid == end.switchUuid)
        criteria = vim.dvs.PortCriteria(portKey=[end.portKey])
        return switch, switch.FetchDVPorts(criteria)[0]

    def vid_of(self, vm: str, nic: int = 0) -> int | None:
        """The VID the VM's port wears; None for a trunk."""
        spec = self.dv_port(vm, nic)[1].config.setting.vlan
        return int(spec.vlanId) if isinstance(spec, _DVS.VlanIdSpec) else None

    def worn_vids(self, switch: str) -> set[int]:
        """Every VID that any port of the switch wears, plugged in or not."""
        specs = (port.config.setting.vlan for port in self.switch(switch).FetchDVPorts(vim.dvs.PortCriteria()))
        return {int(spec.vlanId) for spec in specs if isinstance(spec, _DVS.VlanIdSpec)} - {0}

    def set_port(self, vm: str, vlan: Vlan | None = None, blocked: bool | None = None, nic: int = 0) -> None:
        """Override settings of one port, by hand."""
        setting = _DVS.VmwarePortConfigPolicy()
        if vlan is not None:
            setting.vlan = _vlan(vlan)
        if blocked is not None:
            setting.blocked = vim.BoolPolicy(inherited=False, value=blocked)
        switch, port = self.dv_port(vm, nic)
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(
            operation="edit", key=port.key, configVersion=port.config.configVersion, setting=setting
        )
        self.wait(switch.ReconfigureDVPort_Task([spec]))

    def set_port_group(self, name: str, policy: Policy) -> None:
        group = self.port_group(name)
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            configVersion=group.config.configVersion, defaultPortConfig=_setting(policy)
        )
        self.wait(group.ReconfigureDVPortgroup_Task(spec))

    def wait(self, task: Any) -> Any:
        deadline = time.monotonic() + TASK_PATIENCE
        state = vim.TaskInfo.State
        while (info := task.info).state not in (state.success, state.error):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{info.descriptionId} is not done after {TASK_PATIENCE:.0f} s")
            time.sleep(0.005)
        if info.state == state.error:
            raise info.error
        return info.result

    def _datacenter_of(self, thing: Any) -> Any:
        while not isinstance(thing, vim.Datacenter):
            thing = thing.parent
        return thing


def macs_of(vm: Any) -> list[str]:
    return [card.macAddress.lower() for card in _cards(vm)]


def _cards(vm: Any) -> list[Any]:
    kind = vim.vm.device.VirtualEthernetCard
    return sorted((card for card in vm.config.hardware.device if isinstance(card, kind)), key=lambda card: card.key)


def _card(index: int, group: Any, mac: str | None) -> Any:
    card = vim.vm.device.VirtualVmxnet3(
        key=-1 - index,
        backing=_backing(group),
        addressType="manual" if mac else "generated",
        macAddress=mac,
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, connected=True, allowGuestControl=True
        ),
    )
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=card)


def _backing(group: Any) -> Any:
    port = vim.dvs.PortConnection(portgroupKey=group.key, switchUuid=group.config.distributedVirtualSwitch.uuid)
    return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)


def _setting(policy: Policy) -> Any:
    macs = _DVS.MacManagementPolicy(
        inherited=False,
        allowPromiscuous=policy.promiscuous,
        macChanges=policy.forged_transmits,
        forgedTransmits=policy.forged_transmits,
        macLearningPolicy=_learning(policy.mac_learning),
    )
    blocked = vim.BoolPolicy(inherited=False, value=policy.blocked)
    return _DVS.VmwarePortConfigPolicy(vlan=_vlan(policy.vlan), blocked=blocked, macManagementPolicy=macs)


def _vlan(vlan: Vlan) -> Any:
    match vlan:
        case Access(vid):
            return _DVS.VlanIdSpec(inherited=False, vlanId=vid)
        case Trunk(ranges):
            listed = [vim.NumericRange(start=low, end=high) for low, high in ranges]
            return _DVS.TrunkVlanSpec(inherited=False, vlanId=listed)


def _learning(learning: MacLearning | None) -> Any:
    if learning is None:
        return _DVS.MacLearningPolicy(inherited=False, enabled=False)
    return _DVS.MacLearningPolicy(
        inherited=False,
        enabled=True,
        allowUnicastFlooding=learning.unicast_flooding,
        limit=learning.limit,
        limitPolicy="DROP" if learning.drop_over_limit else "ALLOW",
    )
