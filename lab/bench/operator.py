"""Somebody who makes, moves, renames and deletes VMs while others are measured."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from lab.vcenter import Simulator

PORTS = vim.dvs.DistributedVirtualPortgroup


class Operator:
    """One session.  Objects are looked up once; a task that fails raises its fault."""

    def __init__(self, simulator: Simulator) -> None:
        host, port = simulator.address
        context = ssl.create_default_context(cafile=str(simulator.ca_file))
        self._si: Any = SmartConnect(
            host=host, port=port, user=simulator.user, pwd=simulator.password, sslContext=context
        )
        self.content = self._si.RetrieveContent()
        self.hosts = {host.name: host for host in self._all(vim.HostSystem)}
        self._folder = self._all(vim.Datacenter)[0].vmFolder
        self._groups = {group.name: group for group in self._all(PORTS)}
        self._pool = self._all(vim.ClusterComputeResource)[0].resourcePool
        self._uuid = self._all(vim.DistributedVirtualSwitch)[0].uuid

    @property
    def stub(self) -> Any:
        """pyVmomi's end of the connection."""
        return self._si._stub

    def close(self) -> None:
        """Log out."""
        Disconnect(self._si)

    def _all(self, kind: Any) -> list[Any]:
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], True)
        try:
            return list(view.view)
        finally:
            view.DestroyView()

    def vms(self, count: int) -> list[Any]:
        """Some VMs."""
        return self._all(vim.VirtualMachine)[:count]

    def create(self, name: str, host: str, network: str) -> Any:
        """A VM with one NIC, switched off."""
        connection = vim.dvs.PortConnection(switchUuid=self._uuid, portgroupKey=self._groups[network].key)
        backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
        card = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing)
        spec = vim.vm.ConfigSpec(name=name, memoryMB=32, numCPUs=1, files=vim.vm.FileInfo(vmPathName="[datastore1]"))
        spec.deviceChange = [vim.vm.device.VirtualDeviceSpec(operation="add", device=card)]
        return finished(self._folder.CreateVM_Task(spec, self._pool, self.hosts[host]))

    def move(self, vm: Any, host: str) -> Any:
        """Begin a vMotion."""
        return vm.MigrateVM_Task(host=self.hosts[host], priority=vim.VirtualMachine.MovePriority.highPriority)

    def events(self, kinds: Sequence[Any]) -> Any:
        """A collector of what happens from now on."""
        names = [kind.__name__.rpartition(".")[2] for kind in kinds]
        spec = vim.event.EventFilterSpec(eventTypeId=names)
        collector = self.content.eventManager.CreateCollectorForEvents(spec)
        collector.ResetCollector()
        drained(collector)
        return collector


def drained(collector: Any) -> list[Any]:
    """All events since the last call."""
    found: list[Any] = []
    while events := collector.ReadNextEvents(1000):
        found += events
    return found


def port_key(vm: Any) -> str:
    """The DV port of a VM's only NIC."""
    [card] = [d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    backing: Any = card.backing
    return str(backing.port.portKey)


def finished(task: Any, seconds: float = 60.0) -> Any:
    """The task's result, or its fault raised."""
    end = time.monotonic() + seconds
    while True:
        info = task.info
        if info.state == "success":
            return info.result
        if info.state == "error":
            raise info.error
        if time.monotonic() > end:
            raise TimeoutError(f"a task is still {info.state}")
        time.sleep(0.005)


def all_finished(tasks: Iterable[Any]) -> None:
    """All of them have succeeded."""
    for task in list(tasks):
        finished(task)
