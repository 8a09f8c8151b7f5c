"""What the contract suite of distributed switches needs of a far side, real or in memory, beyond the boundary itself.

A far side joins by a context manager that gives a SwitchWorld, and a line in WORLDS of test_switch_target.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest

from isthmus.model.boundary import Target
from isthmus.model.names import DvsId, HostId, NicId
from isthmus.model.observed import Access
from isthmus.model.tags import Vid
from lab.wire.clock import VirtualClock
from lab.wire.switch import SwitchTarget
from lab.wire.vcenter import VCenter

HOSTS = ("esx1", "esx2")
SWITCH = "tenant"


class SwitchWorld(Protocol):
    """A vCenter with hosts esx1 and esx2 on a distributed switch without uplinks that has no port group of ours."""

    target: Target

    @property
    def dvs(self) -> DvsId:
        """The switch."""
        ...

    def host(self, name: str) -> HostId:
        """The id of a host."""
        ...

    def foreign_port_group(self, name: str, vid: int) -> str:
        """Somebody else makes a port group with a VLAN on the switch: its key."""
        ...

    def rename_port_group(self, key: str, name: str) -> None:
        """Somebody else renames a port group."""
        ...

    def vm(self, name: str, host: str, port_group: str) -> NicId:
        """A running VM with one NIC in the port group with this key."""
        ...

    def remove_vm(self, nic: NicId) -> None:
        """The VM is destroyed."""
        ...

    def move(self, nic: NicId, host: str) -> None:
        """vMotion, finished when this returns."""
        ...

    def touch_port(self, key: str, vid: int) -> None:
        """Somebody else overrides the VLAN of a port."""
        ...


class WireWorld:
    """The in-memory vCenter of the lab."""

    def __init__(self) -> None:
        self.vcenter = VCenter(VirtualClock())
        hosts = {self.vcenter.add_host(name).id for name in HOSTS}
        self.switch = self.vcenter.add_switch(SWITCH, hosts)
        self.target = SwitchTarget(self.vcenter, self.switch.id)

    @property
    def dvs(self) -> DvsId:
        """The switch."""
        return self.switch.id

    def host(self, name: str) -> HostId:
        """By name."""
        return next(host.id for host in self.vcenter.hosts.values() if host.name == name)

    def foreign_port_group(self, name: str, vid: int) -> str:
        """Made by hand."""
        return self.vcenter.add_port_group(self.dvs, name, Access(Vid(vid)), override=True).key

    def rename_port_group(self, key: str, name: str) -> None:
        """By hand."""
        self.switch.port_groups[key].name = name

    def vm(self, name: str, host: str, port_group: str) -> NicId:
        """Created."""
        made = self.vcenter.create_vm(name, self.host(host), (self.dvs, port_group))
        return next(iter(made.nics.values())).id

    def remove_vm(self, nic: NicId) -> None:
        """Destroyed."""
        self.vcenter.destroy(nic.vm)

    def move(self, nic: NicId, host: str) -> None:
        """At once."""
        self.vcenter.move(nic.vm, self.host(host))

    def touch_port(self, key: str, vid: int) -> None:
        """By hand."""
        port = self.switch.ports[key]
        port.vlan = Access(Vid(vid))
        port.version += 1


class SimulatedWorld:
    """The real adapter, over SOAP and TLS, on the vCenter simulator."""

    def __init__(self, vcenter: Any, operator: Any) -> None:
        self.vcenter, self.operator = vcenter, operator
        self.target = vcenter.switch(SWITCH)

    @property
    def dvs(self) -> DvsId:
        """The switch."""
        return DvsId(self.target.id.name)

    def host(self, name: str) -> HostId:
        """By name."""
        return next(host.id for host in self.vcenter.inventory.read().hosts.values() if host.name == name)

    def foreign_port_group(self, name: str, vid: int) -> str:
        """Made by hand."""
        return str(self.operator.make_port_group(SWITCH, name, vid))

    def rename_port_group(self, key: str, name: str) -> None:
        """By hand."""
        self.operator.rename(self.operator.port_group(key), name)

    def vm(self, name: str, host: str, port_group: str) -> NicId:
        """Created and powered on."""
        nic: NicId = self.operator.make_vm(name, host, port_group)
        return nic

    def remove_vm(self, nic: NicId) -> None:
        """Destroyed."""
        self.operator.remove(self.operator.vm(nic))

    def move(self, nic: NicId, host: str) -> None:
        """vMotion."""
        self.operator.move(self.operator.vm(nic), host)

    def touch_port(self, key: str, vid: int) -> None:
        """By hand."""
        self.operator.edit_port(self.operator.switch(SWITCH), key, vid=vid)


@contextmanager
def wire() -> Iterator[SwitchWorld]:
    """In memory."""
    yield WireWorld()


@contextmanager
def simulated() -> Iterator[SwitchWorld]:
    """On a simulator of its own: it starts in a fraction of a second."""
    pytest.importorskip("pyVmomi", reason="isthmus[vcenter] is not installed")
    from lab.vcenter import Dvs, Topology
    from tests.adapters.vcenter.bench import running

    with running(Topology.single(HOSTS, [Dvs(SWITCH)])) as bench:
        yield SimulatedWorld(bench.vcenter, bench.operator)
