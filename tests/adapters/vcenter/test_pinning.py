"""Whether a VM stays on its host: what DRS and HA may do with it, as a cluster's settings and rules have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim

from isthmus.adapters.vcenter import Vcenter
from isthmus.adapters.vcenter.pinning import movers_in
from lab.vcenter import Topology, Vm
from tests.adapters.vcenter.bench import Bench, running, settings_of

pytestmark = pytest.mark.sim
APPLIANCE = "42000000-0000-0000-0000-000000000001"
DRS, HA = "DRS may move it to another host", "HA may start it on another host"
Cluster = vim.cluster


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A cluster in which everything may go anywhere."""
    vms = [Vm("va1", "esx1", uuid=APPLIANCE), Vm("another", "esx2")]
    with running(Topology.single(["esx1", "esx2"], vms=vms)) as made:
        changed(
            made,
            drsConfig=Cluster.DrsConfigInfo(
                enabled=True, defaultVmBehavior="fullyAutomated", enableVmBehaviorOverrides=True
            ),
            dasConfig=Cluster.DasConfigInfo(
                enabled=True, defaultVmSettings=Cluster.DasVmSettings(restartPriority="medium")
            ),
        )
        yield made


def the_cluster(bench: Bench) -> Any:
    return bench.operator.all(vim.ClusterComputeResource)[0]


def changed(bench: Bench, **spec: Any) -> None:
    task = the_cluster(bench).ReconfigureComputeResource_Task(Cluster.ConfigSpecEx(**spec), True)
    WaitForTask(task, si=bench.operator.service)


def movers(bench: Bench, uuid: str = APPLIANCE) -> tuple[str, ...]:
    vcenter = Vcenter(settings_of(bench.simulator), machines=frozenset({uuid}))
    try:
        vcenter.inventory.read()
        return vcenter.movers(uuid)
    finally:
        vcenter.close()


def appliance(bench: Bench) -> Any:
    return bench.operator.named(vim.VirtualMachine, "va1")


def rule(bench: Bench, hosts: tuple[str, ...] = ("esx1",), **how: bool) -> None:
    """The appliance runs on these hosts."""
    members = [bench.operator.named(vim.HostSystem, host) for host in hosts]
    what = {"enabled": True, "mandatory": True, **how}
    changed(
        bench,
        groupSpec=[
            Cluster.GroupSpec(operation="add", info=Cluster.VmGroup(name="appliance", vm=[appliance(bench)])),
            Cluster.GroupSpec(operation="add", info=Cluster.HostGroup(name="home", host=members)),
        ],
        rulesSpec=[
            Cluster.RuleSpec(
                operation="add",
                info=Cluster.VmHostRuleInfo(name="stays", vmGroupName="appliance", affineHostGroupName="home", **what),
            )
        ],
    )


def drs(bench: Bench, **how: Any) -> None:
    """A setting for this VM alone."""
    info = Cluster.DrsVmConfigInfo(key=appliance(bench), **how)
    changed(bench, drsVmConfigSpec=[Cluster.DrsVmConfigSpec(operation="add", info=info)])


def ha(bench: Bench, priority: str) -> None:
    info = Cluster.DasVmConfigInfo(key=appliance(bench), dasSettings=Cluster.DasVmSettings(restartPriority=priority))
    changed(bench, dasVmConfigSpec=[Cluster.DasVmConfigSpec(operation="add", info=info)])


def test_without_rules_both_may_move_it(bench: Bench) -> None:
    assert movers(bench) == (DRS, HA)


def test_a_rule_that_it_must_run_on_its_host_alone_keeps_it(bench: Bench) -> None:
    rule(bench)
    assert movers(bench) == ()


@pytest.mark.parametrize(
    "how", [{"mandatory": False}, {"enabled": False}, {"hosts": ("esx1", "esx2")}, {"hosts": ("esx2",)}], ids=str
)
def test_a_rule_that_should_be_kept_or_is_off_or_names_another_host_keeps_nothing(
    bench: Bench, how: dict[str, Any]
) -> None:
    rule(bench, **how)
    assert movers(bench) == (DRS, HA)


@pytest.mark.parametrize(
    ("set_up", "left"),
    [
        (lambda bench: drs(bench, enabled=False), (HA,)),
        (lambda bench: drs(bench, enabled=True, behavior="manual"), (HA,)),
        (lambda bench: drs(bench, enabled=True, behavior="partiallyAutomated"), (DRS, HA)),
        (lambda bench: ha(bench, "disabled"), (DRS,)),
        (lambda bench: ha(bench, "clusterRestartPriority"), (DRS, HA)),
    ],
    ids=["DRS off for it", "DRS only advises", "DRS chooses where it starts", "HA off for it", "HA as the cluster's"],
)
def test_what_the_vms_own_settings_switch_off_does_not_move_it(
    bench: Bench, set_up: Callable[[Bench], None], left: tuple[str, ...]
) -> None:
    set_up(bench)
    assert movers(bench) == left


def in_cluster(drs: Any, das: Any, **overrides: Any) -> tuple[str, ...]:
    """By a configuration that the simulator does not take up whole."""
    return tuple(movers_in(Cluster.ConfigInfoEx(drsConfig=drs, dasConfig=das, **overrides), "vm-1", "host-1"))


def test_settings_of_vms_count_for_nothing_where_the_cluster_allows_none() -> None:
    off = Cluster.DasConfigInfo(enabled=False)
    own = [Cluster.DrsVmConfigInfo(key=vim.VirtualMachine("vm-1", None), enabled=False)]
    automatic = Cluster.DrsConfigInfo(enabled=True, defaultVmBehavior="fullyAutomated", enableVmBehaviorOverrides=False)
    assert in_cluster(automatic, off, drsVmConfig=own) == (DRS,)
    automatic.enableVmBehaviorOverrides = True
    assert in_cluster(automatic, off, drsVmConfig=own) == ()


def test_a_cluster_that_only_advises_and_restarts_nothing_moves_nothing() -> None:
    advises = Cluster.DrsConfigInfo(enabled=True, defaultVmBehavior="manual")
    restarts_nothing = Cluster.DasVmSettings(restartPriority="disabled")
    assert in_cluster(advises, Cluster.DasConfigInfo(enabled=True, defaultVmSettings=restarts_nothing)) == ()
    assert in_cluster(advises, Cluster.DasConfigInfo(enabled=True)) == (HA,)
    off = Cluster.DrsConfigInfo(enabled=False, defaultVmBehavior="fullyAutomated")
    assert in_cluster(off, Cluster.DasConfigInfo(enabled=False)) == ()


def test_of_a_vm_that_is_not_there_nothing_is_said(bench: Bench) -> None:
    assert movers(bench, "42000000-0000-0000-0000-00000000000f") == ()
