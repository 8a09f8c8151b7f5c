"""Several operators at once: whatever they did, the VMs' NICs and the port table tell the same story afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter import ControlError, Fault, Simulator
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, Watch, wait

pytestmark = pytest.mark.sim

OPERATORS = 6
SECONDS, LONGER = 6.0, 20.0
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
WRECKED = (
    vim.fault.DvsOperationBulkFault,
    vim.fault.InvalidState,
    vim.fault.MigrationFault,
    vmodl.fault.HostNotConnected,
    vim.fault.PlatformConfigFault,
)


class Operator(threading.Thread):
    """Creates, moves, edits, overrides, switches and destroys its own VMs, on port groups it shares with others."""

    def __init__(
        self, vcenter: Simulator, number: int, groups: list[str], until: float, expected: tuple[Any, ...] = EXPECTED
    ) -> None:
        super().__init__(name=f"operator-{number}")
        self.expected = expected
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
                except self.expected:
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
    done = run_all([Operator(vcenter, n, groups, until) for n in range(OPERATORS)])
    assert min(done[a] for a in ("create", "move", "rewire", "override", "power", "destroy")) > 0, done
    homes = tell_one_story(client, tenant)
    for update in watch.updates(seconds=1):  # the watcher that slept through it all
        match update.kind:
            case "enter":
                assert update.obj._moId not in alive
                alive.add(update.obj._moId)
            case "leave":
                alive.remove(update.obj._moId)
    assert alive == set(homes)


@pytest.mark.timeout(90)
def test_nics_and_ports_agree_after_hosts_failed_in_the_storm(vcenter: Simulator, client: Client) -> None:
    tenant = client.dvs("tenant")
    policy = c.override_policy(**c.OPEN_POLICY)
    groups = [client.make_port_group(tenant, f"wreck-{i}", policy=policy, numPorts=4)._moId for i in range(3)]
    until = time.monotonic() + SECONDS
    for method in ("PowerOnVM_Task", "ReconfigVM_Task", "MigrateVM_Task", "applyDVPort"):
        vcenter.faults.add(Fault("PlatformConfigFault"), method=method, in_task=True, probability=0.05)
    usual = (*EXPECTED, *WRECKED)
    operators = [Operator(vcenter, n + 10, groups, until, usual) for n in range(OPERATORS - 2)]
    done = run_all([*operators, Wrecker(vcenter, client, until)])
    vcenter.faults.clear()
    assert min(done[a] for a in ("lose", "die", "drs", "appear", "conflict", "create", "override")) > 0, done
    for host in client.all(vim.HostSystem):
        assert host.runtime.connectionState == "connected"
    tell_one_story(client, tenant)


class Wrecker(threading.Thread):
    """Loses and kills one host at a time, and moves VMs behind everybody's back."""

    def __init__(self, vcenter: Simulator, client: Client, until: float) -> None:
        super().__init__(name="wrecker")
        self.vcenter, self.client, self.until = vcenter, client, until
        self.dice = random.Random(99)
        self.hosts = [host.name for host in client.all(vim.HostSystem)]
        self.done: Counter[str] = Counter()
        self.broken: BaseException | None = None

    def run(self) -> None:
        try:
            acts = [self.lose, self.die, self.drs, self.appear, self.conflict]
            # On a busy machine little is done in that time, and some of it in vain: the VM is gone by then.
            while time.monotonic() < self.until or (
                not all(self.done[act.__name__] for act in acts) and time.monotonic() < self.until + LONGER
            ):
                act = self.dice.choice(acts)
                try:
                    act()
                    self.done[act.__name__] += 1
                except ControlError:  # the VM is gone, or moves already
                    pass
                time.sleep(0.05)
        except BaseException as error:
            self.broken = error

    def lose(self) -> None:
        host = self.dice.choice(self.hosts)
        self.vcenter.hosts.lose(host)
        time.sleep(0.2)
        self.vcenter.hosts.find(host)

    def die(self) -> None:
        host = self.dice.choice(self.hosts)
        try:
            self.vcenter.hosts.die(host)
        finally:
            self.vcenter.hosts.find(host)

    def drs(self) -> None:
        self.vcenter.vms.drs(self._vm(), to=self.dice.choice(self.hosts))

    def appear(self) -> None:
        self.vcenter.vms.appear(self._vm(), on=self.dice.choice(self.hosts))

    def conflict(self) -> None:
        self.vcenter.vms.conflict(self._vm())

    def _vm(self) -> str:
        # By reference: whoever is asked for a name may be gone by then.
        return str(self.dice.choice(self.client.all(vim.VirtualMachine))._moId)


def run_all(threads: Sequence[Operator | Wrecker]) -> Counter[str]:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive(), f"{thread.name} hangs"
        if thread.broken is not None:
            raise thread.broken
    return sum((thread.done for thread in threads), Counter())


def tell_one_story(client: Client, tenant: Any) -> dict[str, str]:
    """The VMs' NICs, the port table, the lists of groups and of hosts agree; returns where each VM is."""
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
    return homes
