"""Several operators at once: whatever they did, the VMs' NICs and the port table tell the same story afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter import Simulator
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, Watch, wait

pytestmark = pytest.mark.sim

OPERATORS = 6
SECONDS = 6.0
EXPECTED = (
    vim.fault.ConcurrentAccess,
    vim.fault.ResourceInUse,
    vim.fault.ResourceNotAvailable,
    vim.fault.NotFound,
    vim.fault.TaskInProgress,
    vim.fault.InvalidPowerState,
    vmodl.fault.InvalidArgument,
    vmodl.fault.ManagedObjectNotFound,
)


class Operator(threading.Thread):
    """Creates, moves, edits, overrides, switches and destroys its own VMs, on port groups it shares with others."""

    def __init__(self, vcenter: Simulator, number: int, groups: list[str], until: float) -> None:
        super().__init__(name=f"operator-{number}")
        self.client = Client(vcenter)
        self.dice = random.Random(number)
        self.groups = [vim.dvs.DistributedVirtualPortgroup(g, self.client.si._stub) for g in groups]
        self.hosts = self.client.all(vim.HostSystem)
        self.tenant = self.client.dvs("tenant")
        self.vms: list[Any] = []
        self.until = until
        self.made = 0
        self.done: Counter[str] = Counter()
        self.broken: BaseException | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                action = self.dice.choice(
                    [self.create, self.move, self.rewire, self.override, self.power, self.destroy]
                )
                try:
                    action()
                    self.done[action.__name__] += 1
                except EXPECTED:
                    pass
        except BaseException as error:
            self.broken = error
        finally:
            self.client.close()

    def any_vm(self) -> Any:
        if not self.vms:
            self.create()
        return self.dice.choice(self.vms)

    def create(self) -> None:
        self.made += 1
        groups = self.dice.choices(self.groups, k=self.dice.randint(1, 3))
        host = self.dice.choice(self.hosts).name
        name = f"{self.name}-{self.made}"
        self.vms.append(self.client.make_vm(name, *groups, host=host, power_on=self.dice.random() < 0.7))

    def move(self) -> None:
        high = vim.VirtualMachine.MovePriority.highPriority
        wait(self.any_vm().MigrateVM_Task(host=self.dice.choice(self.hosts), priority=high))

    def rewire(self) -> None:
        vm = self.any_vm()
        cards = c.nics(vm)
        if cards and self.dice.random() < 0.4:
            c.change_devices(vm, c.remove_nic(self.dice.choice(cards)))
        elif cards and self.dice.random() < 0.6:
            c.change_devices(vm, c.edit_nic(self.dice.choice(cards), self.dice.choice(self.groups)))
        else:
            c.change_devices(vm, c.add_nic(self.dice.choice(self.groups)))

    def override(self) -> None:
        ports = self.tenant.FetchDVPorts(vim.dvs.PortCriteria(connected=True, uplinkPort=False))
        chosen = self.dice.sample(ports, k=min(3, len(ports)))
        if chosen:
            vid = c.vlan(self.dice.randint(1, 4094))
            wait(self.tenant.ReconfigureDVPort_Task([c.port_spec(p, vlan=vid) for p in chosen]))

    def power(self) -> None:
        vm = self.any_vm()
        on = vm.runtime.powerState == "poweredOn"
        wait(vm.PowerOffVM_Task() if on else vm.PowerOnVM_Task())

    def destroy(self) -> None:
        vm = self.any_vm()
        if vm.runtime.powerState == "poweredOn":
            wait(vm.PowerOffVM_Task())
        wait(vm.Destroy_Task())
        self.vms.remove(vm)


@pytest.mark.timeout(60)
def test_nics_and_ports_agree_after_a_storm(vcenter: Simulator, client: Client) -> None:
    tenant = client.dvs("tenant")
    policy = c.override_policy(**c.OPEN_POLICY)
    groups = [client.make_port_group(tenant, f"storm-{i}", policy=policy, numPorts=4)._moId for i in range(3)]
    watch = Watch(client, vim.VirtualMachine, ["name", "runtime.host"])
    alive = {u.obj._moId for u in watch.drain()}
    until = time.monotonic() + SECONDS
    operators = [Operator(vcenter, n, groups, until) for n in range(OPERATORS)]
    for operator in operators:
        operator.start()
    for operator in operators:
        operator.join(timeout=30)
        assert not operator.is_alive(), "an operator hangs"
        if operator.broken is not None:
            raise operator.broken
    done = sum((operator.done for operator in operators), Counter())
    assert min(done[a] for a in ("create", "move", "rewire", "override", "power", "destroy")) > 0, done

    nics: dict[tuple[str, str], tuple[str, str, int]] = {}
    homes: dict[str, str] = {}
    for vm in client.all(vim.VirtualMachine):
        homes[vm._moId] = vm.runtime.host._moId
        for card in c.nics(vm):
            port = card.backing.port
            nics[vm._moId, str(card.key)] = (port.portgroupKey, port.portKey, port.connectionCookie)
    ports: dict[tuple[str, str], tuple[str, str, int]] = {}
    for port in tenant.FetchDVPorts(vim.dvs.PortCriteria(connected=True)):
        owner = port.connectee.connectedEntity._moId
        ports[owner, port.connectee.nicKey] = (port.portgroupKey, port.key, port.connectionCookie)
        assert port.proxyHost._moId == homes[owner]
    assert nics == ports
    for group in tenant.portgroup:
        assert {vm._moId for vm in group.vm} == {vm for (vm, _), (key, _, _) in nics.items() if key == group.key}
    for host in client.all(vim.HostSystem):
        assert sorted(vm._moId for vm in host.vm) == sorted(vm for vm, home in homes.items() if home == host._moId)

    for update in watch.updates(seconds=1):  # the watcher that slept through it all
        match update.kind:
            case "enter":
                assert update.obj._moId not in alive
                alive.add(update.obj._moId)
            case "leave":
                alive.remove(update.obj._moId)
    assert alive == set(homes)
