"""A person with a vSphere client: does to a simulated vCenter what people do, through pyVmomi and nothing of ours."""

from __future__ import annotations

import ssl
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from isthmus.model.names import NicId, VmId
from lab.vcenter import Simulator

VmwareSwitch = vim.dvs.VmwareDistributedVirtualSwitch
PortGroup = vim.dvs.DistributedVirtualPortgroup


class Operator:
    """A logged-in client of its own."""

    def __init__(self, simulator: Simulator) -> None:
        host, port = simulator.address
        context = ssl.create_default_context(cafile=str(simulator.ca_file))
        self.service: Any = SmartConnect(
            host=host, port=port, user=simulator.user, pwd=simulator.password, sslContext=context
        )
        self.content: Any = self.service.content

    def close(self) -> None:
        """Log out."""
        Disconnect(self.service)

    def all(self, kind: Any) -> list[Any]:
        """All objects of a kind."""
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], True)
        try:
            return list(view.view)
        finally:
            view.DestroyView()

    def named(self, kind: Any, name: str) -> Any:
        """The object of this kind and name."""
        return next(managed for managed in self.all(kind) if managed.name == name)

    def by_id(self, kind: Any, moref: str) -> Any:
        """The object with this moref."""
        return kind(moref, self.service._stub)

    def switch(self, name: str) -> Any:
        """A distributed switch."""
        return self.named(vim.DistributedVirtualSwitch, name)

    def make_port_group(self, switch: str, name: str, vid: int = 0, description: str = "", **policy: bool) -> str:
        """A hand-made port group: its key."""
        flags = {
            "blockOverrideAllowed": True,
            "shapingOverrideAllowed": False,
            "vendorConfigOverrideAllowed": False,
            "livePortMovingAllowed": False,
            "portConfigResetAtDisconnect": True,
            "vlanOverrideAllowed": True,
            "uplinkTeamingOverrideAllowed": True,
            "securityPolicyOverrideAllowed": False,
        }
        setting = VmwareSwitch.VmwarePortConfigPolicy(vlan=VmwareSwitch.VlanIdSpec(inherited=False, vlanId=vid))
        spec = PortGroup.ConfigSpec(
            name=name,
            type="earlyBinding",
            numPorts=4,
            description=description,
            defaultPortConfig=setting,
            policy=VmwareSwitch.VMwarePortgroupPolicy(**{**flags, **policy}),
        )
        task = self.switch(switch).CreateDVPortgroup_Task(spec)
        WaitForTask(task, si=self.service)
        return str(task.info.result._GetMoId())

    def port_group(self, key: str) -> Any:
        """A port group by key."""
        return self.by_id(PortGroup, key)

    def wait(self, task: Any) -> None:
        """Until a task is done; its fault rises."""
        WaitForTask(task, si=self.service)

    def rename(self, managed: Any, name: str) -> None:
        """Rename anything."""
        WaitForTask(managed.Rename_Task(name), si=self.service)

    def remove(self, managed: Any) -> None:
        """Destroy anything; a VM is powered off first."""
        if isinstance(managed, vim.VirtualMachine):
            self.power(managed, on=False)
        WaitForTask(managed.Destroy_Task(), si=self.service)

    def power(self, vm: Any, *, on: bool) -> None:
        """Power a VM on or off, if it is not."""
        if (vm.runtime.powerState == "poweredOn") is not on:
            WaitForTask(vm.PowerOnVM_Task() if on else vm.PowerOffVM_Task(), si=self.service)

    def make_vm(
        self, name: str, host: str, group: str, *, instance_uuid: str | None = None, mac: str | None = None
    ) -> NicId:
        """A running VM with one NIC in the port group with this key."""
        managed = self.named(vim.HostSystem, host)
        network = self.port_group(group)
        port = vim.dvs.PortConnection(switchUuid=network.config.distributedVirtualSwitch.uuid, portgroupKey=network.key)
        nic = vim.vm.device.VirtualVmxnet3(
            key=-1,
            backing=vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port),
            connectable=vim.vm.device.VirtualDevice.ConnectInfo(
                startConnected=True, connected=True, allowGuestControl=True
            ),
        )
        if mac is not None:
            nic.addressType, nic.macAddress = "manual", mac
        spec = vim.vm.ConfigSpec(
            name=name,
            memoryMB=64,
            numCPUs=1,
            guestId="otherGuest",
            instanceUuid=instance_uuid,
            files=vim.vm.FileInfo(vmPathName=f"[{managed.datastore[0].name}]"),
            deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="add", device=nic)],
        )
        datacenter = self.all(vim.Datacenter)[0]
        task = datacenter.vmFolder.CreateVM_Task(spec, managed.parent.resourcePool, managed)
        WaitForTask(task, si=self.service)
        vm = task.info.result
        self.power(vm, on=True)
        return NicId(VmId(vm.config.instanceUuid), self.nic(vm).key)

    def vm(self, nic: NicId) -> Any:
        """The VM of a NIC."""
        return next(vm for vm in self.all(vim.VirtualMachine) if vm.config.instanceUuid == nic.vm)

    def nic(self, vm: Any) -> Any:
        """The first NIC of a VM."""
        return next(d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard))

    def move(self, vm: Any, host: str) -> None:
        """vMotion, to its end."""
        task = self.begin_move(vm, host)
        WaitForTask(task, si=self.service)

    def begin_move(self, vm: Any, host: str) -> Any:
        """vMotion: the task."""
        to = self.named(vim.HostSystem, host)
        return vm.MigrateVM_Task(host=to, priority="defaultPriority")

    def port(self, switch: Any, key: str) -> Any:
        """A DV port as it is."""
        return switch.FetchDVPorts(vim.dvs.PortCriteria(portKey=[key]))[0]

    def edit_port(self, switch: Any, key: str, *, vid: int | None = None, name: str | None = None) -> None:
        """Override the VLAN of a port, or name it."""
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(
            operation="edit", key=key, configVersion=self.port(switch, key).config.configVersion, name=name
        )
        if vid is not None:
            vlan = VmwareSwitch.VlanIdSpec(inherited=False, vlanId=vid)
            spec.setting = VmwareSwitch.VmwarePortConfigPolicy(vlan=vlan)
        WaitForTask(switch.ReconfigureDVPort_Task([spec]), si=self.service)

    def end_other_sessions(self) -> int:
        """Terminate every session but this one; how many there were."""
        manager = self.content.sessionManager
        others = [session.key for session in manager.sessionList if session.key != manager.currentSession.key]
        if others:
            manager.TerminateSession(others)
        return len(others)
