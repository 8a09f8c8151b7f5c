"""What an operator does to a vCenter, in a line each: over TLS, through pyVmomi, as any client would."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

from lab.vcenter import Simulator

Edit = vim.dvs.VmwareDistributedVirtualSwitch


class Client:
    """One session."""

    def __init__(self, vcenter: Simulator) -> None:
        host, port = vcenter.address
        context = ssl.create_default_context(cafile=str(vcenter.ca_file))
        self.si = SmartConnect(host=host, port=port, user=vcenter.user, pwd=vcenter.password, sslContext=context)
        self.content = self.si.RetrieveContent()

    def close(self) -> None:
        Disconnect(self.si)

    def all(self, kind: Any) -> list[Any]:
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], True)
        try:
            return list(view.view)
        finally:
            view.Destroy()

    def named(self, kind: Any, name: str) -> Any:
        found = [obj for obj in self.all(kind) if obj.name == name]
        assert len(found) == 1, f"{len(found)} objects named {name}"
        return found[0]

    def vm(self, name: str) -> Any:
        return self.named(vim.VirtualMachine, name)

    def host(self, name: str) -> Any:
        return self.named(vim.HostSystem, name)

    def dvs(self, name: str) -> Any:
        return self.named(vim.DistributedVirtualSwitch, name)

    def port_group(self, name: str) -> Any:
        return self.named(vim.dvs.DistributedVirtualPortgroup, name)

    # Ports

    def port(self, dvs: Any, key: str) -> Any:
        (port,) = dvs.FetchDVPorts(vim.dvs.PortCriteria(portKey=[key]))
        return port

    def port_of(self, vm: Any, index: int = 0) -> Any:
        backing = nics(vm)[index].backing.port
        switch = self.content.dvSwitchManager.QueryDvsByUuid(backing.switchUuid)
        return self.port(switch, backing.portKey)

    def connected(self, dvs: Any) -> dict[str, Any]:
        return {p.key: p for p in dvs.FetchDVPorts(vim.dvs.PortCriteria(connected=True, uplinkPort=False))}

    # Work

    def make_port_group(self, dvs: Any, name: str, **settings: Any) -> Any:
        wait(dvs.AddDVPortgroup_Task([port_group_spec(name, **settings)]))
        return self.port_group(escaped(name))

    def make_vm(self, name: str, *groups: Any, host: str = "esx1.lab", power_on: bool = False) -> Any:
        esx = self.host(host)
        spec = vim.vm.ConfigSpec(name=name, memoryMB=32, numCPUs=1, files=vim.vm.FileInfo(vmPathName="[datastore1]"))
        spec.deviceChange = [add_nic(group, key=-1 - i) for i, group in enumerate(groups)]
        folder = self.all(vim.Datacenter)[0].vmFolder
        vm = wait(folder.CreateVM_Task(spec, esx.parent.resourcePool, esx))
        if power_on:
            wait(vm.PowerOnVM_Task())
        return vm

    def events(self, *types: Any) -> EventReader:
        return EventReader(self, types)


class EventReader:
    """The events after the reader was made."""

    def __init__(self, client: Client, types: Sequence[Any]) -> None:
        spec = vim.event.EventFilterSpec(eventTypeId=[t.__name__.rpartition(".")[2] for t in types])
        self.collector = client.content.eventManager.CreateCollectorForEvents(spec)
        self.collector.ResetCollector()

    def read(self) -> list[Any]:
        return list(self.collector.ReadNextEvents(1000))


def wait(task: Any, seconds: float = 20.0) -> Any:
    """The task's result, or its fault raised."""
    deadline = time.monotonic() + seconds
    while True:
        info = task.info
        if info.state == "success":
            return info.result
        if info.state == "error":
            raise info.error
        assert time.monotonic() < deadline, f"task {info.descriptionId} is still {info.state}"
        time.sleep(0.005)


def nics(vm: Any) -> list[Any]:
    found = [d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    return sorted(found, key=lambda d: d.key)


def backing(group: Any) -> Any:
    switch = group.config.distributedVirtualSwitch
    connection = vim.dvs.PortConnection(switchUuid=switch.uuid, portgroupKey=group.key)
    return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)


def add_nic(group: Any, key: int = -1, mac: str | None = None) -> Any:
    card = vim.vm.device.VirtualVmxnet3(key=key, backing=backing(group))
    if mac is not None:
        card.macAddress, card.addressType = mac, "manual"
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=card)


def edit_nic(card: Any, group: Any) -> Any:
    card.backing = backing(group)
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)


def remove_nic(card: Any) -> Any:
    return vim.vm.device.VirtualDeviceSpec(operation="remove", device=card)


def change_devices(vm: Any, *changes: Any) -> None:
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=list(changes))))


def vlan(vid: int, *, inherited: bool = False) -> Any:
    return Edit.VlanIdSpec(vlanId=vid, inherited=inherited)


def trunk(*ranges: tuple[int, int]) -> Any:
    return Edit.TrunkVlanSpec(vlanId=[vim.NumericRange(start=a, end=b) for a, b in ranges], inherited=False)


def flag(value: bool, *, inherited: bool = False) -> Any:
    return vim.BoolPolicy(value=value, inherited=inherited)


def setting(**fields: Any) -> Any:
    return Edit.VmwarePortConfigPolicy(**fields)


def port_spec(port: Any, version: str | None = None, **fields: Any) -> Any:
    version = port.config.configVersion if version is None else version
    spec = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=port.key, configVersion=version)
    spec.setting = setting(**fields)
    return spec


def override_policy(**allowed: bool) -> Any:
    flags = dict.fromkeys(
        [
            "blockOverrideAllowed",
            "shapingOverrideAllowed",
            "vendorConfigOverrideAllowed",
            "livePortMovingAllowed",
            "portConfigResetAtDisconnect",
            "vlanOverrideAllowed",
            "uplinkTeamingOverrideAllowed",
            "securityPolicyOverrideAllowed",
        ],
        False,
    )
    return Edit.VMwarePortgroupPolicy(**{**flags, **allowed})


OPEN_POLICY = {"vlanOverrideAllowed": True, "blockOverrideAllowed": True, "portConfigResetAtDisconnect": True}


def port_group_spec(name: str, **settings: Any) -> Any:
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=name, type="earlyBinding", numPorts=8, autoExpand=True)
    for key, value in settings.items():
        setattr(spec, key, value)
    return spec


def escaped(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


class Watch:
    """A property collector with one filter over a container view, as a careful client keeps it."""

    def __init__(self, client: Client, kind: Any, paths: Sequence[str], *, partial: bool = False) -> None:
        self.collector = client.content.propertyCollector.CreatePropertyCollector()
        view = client.content.viewManager.CreateContainerView(client.content.rootFolder, [kind], True)
        collect = vmodl.query.PropertyCollector
        traversal = collect.TraversalSpec(name="members", path="view", skip=False, type=vim.view.ContainerView)
        start = collect.ObjectSpec(obj=view, skip=True, selectSet=[traversal])
        properties = collect.PropertySpec(type=kind, pathSet=list(paths), all=False)
        spec = collect.FilterSpec(objectSet=[start], propSet=[properties])
        self.filter = self.collector.CreateFilter(spec, partial)
        self.version = ""

    def next(self, seconds: int = 5, limit: int | None = None) -> Any:
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=seconds)
        if limit is not None:
            options.maxObjectUpdates = limit
        update = self.collector.WaitForUpdatesEx(self.version, options)
        if update is not None:
            self.version = update.version
        return update

    def updates(self, seconds: int = 5) -> Iterator[Any]:
        """Object updates until none comes for so long."""
        while (update := self.next(seconds)) is not None:
            for filter_update in update.filterSet:
                yield from filter_update.objectSet

    def drain(self) -> list[Any]:
        """Everything there is to tell now."""
        return list(self.updates(seconds=0))
