"""Users with roles: what a role lets through and hides, and that the documented one is exactly enough for isthmus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from isthmus.adapters.vcenter import Vcenter, VcenterSettings
from isthmus.adapters.vcenter.switch import Switch
from isthmus.core.prepare import prepare
from isthmus.model.change import (
    Action,
    AlterPortGroup,
    Change,
    CreatePortGroup,
    DisownPortGroup,
    Gate,
    Outcome,
    PortGroupSpec,
    RemovePortGroup,
    Result,
    SetDvPort,
)
from isthmus.model.ground import MakerMark, Preparation, SwitchWanted
from isthmus.model.names import DvsId, NetworkId
from isthmus.model.observed import OwnerMark
from isthmus.model.tags import Vid, VidSet, Vni
from lab.vcenter import READ_ONLY, Grant, Simulator
from lab.vcenter.users import privileges_of_the_api
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, Watch, wait
from tests.lab.vcenter.conftest import TOPOLOGY
from tests.lab.vcenter.test_sessions import context

pytestmark = pytest.mark.sim

USER, PASSWORD = "isthmus@vsphere.local", "s3cret"
CONFIGURATION = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
WRITES = frozenset(
    {"DVSwitch.PortConfig", "DVPortgroup.Create", "DVPortgroup.Modify", "DVPortgroup.PolicyOp", "DVPortgroup.Delete"}
)


def documented(heading: str = "### Privileges\n") -> frozenset[str]:
    section = CONFIGURATION.read_text().partition(heading)[2].partition("\n##")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return frozenset(re.findall(r"`(\w+(?:\.\w+)+)`", "".join(row.split("|")[1] for row in rows)))


@contextmanager
def logged_in(vcenter: Simulator, *grants: Grant) -> Iterator[Client]:
    vcenter.users.add(USER, PASSWORD, grants)
    host, port = vcenter.address
    session = Client.__new__(Client)
    session.si = SmartConnect(host=host, port=port, user=USER, pwd=PASSWORD, sslContext=context(vcenter))
    session.content = session.si.RetrieveContent()
    try:
        yield session
    finally:
        Disconnect(session.si)


# What roles let through


def test_the_api_s_own_privileges_are_known() -> None:
    known = privileges_of_the_api()
    assert known["methods"]["ReconfigureDVPort_Task"] == "DVSwitch.PortConfig"
    assert known["methods"]["FetchDVPorts"] == "System.Read"
    assert known["parameters"]["CreateVM_Task"]["pool"] == "Resource.AssignVMToPool"


def test_a_reader_reads_everything_and_writes_nothing(vcenter: Simulator) -> None:
    with logged_in(vcenter, Grant(READ_ONLY)) as reader:
        vm, red, tenant = reader.vm("resident"), reader.port_group("red"), reader.dvs("tenant")
        assert vm.runtime.host.name == "esx1.lab"
        assert len(tenant.FetchDVPorts(None)) == 16
        port = reader.port_of(vm)
        assert reader.content.eventManager.QueryEvents(vim.event.EventFilterSpec())
        attempts: dict[str, Any] = {
            "DVSwitch.PortConfig": lambda: tenant.ReconfigureDVPort_Task([c.port_spec(port, vlan=c.vlan(9))]),
            "DVPortgroup.Create": lambda: tenant.CreateDVPortgroup_Task(c.port_group_spec("x")),
            "DVPortgroup.Modify": lambda: red.ReconfigureDVPortgroup_Task(c.port_group_spec("x", configVersion="0")),
            "DVPortgroup.Delete": lambda: red.Destroy_Task(),
            "VirtualMachine.Inventory.Delete": lambda: vm.Destroy_Task(),
            "VirtualMachine.Interact.PowerOff": lambda: vm.PowerOffVM_Task(),
            "Host.Config.Maintenance": lambda: vm.runtime.host.EnterMaintenanceMode_Task(0),
            "Sessions.ValidateSession": lambda: reader.content.sessionManager.SessionIsActive("x", "y"),
        }
        for privilege, attempt in attempts.items():
            with pytest.raises(vim.fault.NoPermission) as refused:
                attempt()
            assert refused.value.privilegeId == privilege
        assert red.name == "red"


def test_the_arguments_of_a_call_need_their_own_privileges(vcenter: Simulator) -> None:
    with logged_in(vcenter, Grant(READ_ONLY | {"VirtualMachine.Inventory.Create"})) as user:
        pool = user.host("esx1.lab").parent.resourcePool
        with pytest.raises(vim.fault.NoPermission) as refused:
            user.make_vm("argued")
        assert (refused.value.privilegeId, refused.value.object) == ("Resource.AssignVMToPool", pool)


def test_what_a_call_needs_must_be_known_or_it_is_the_administrator_s(vcenter: Simulator, client: Client) -> None:
    everything = frozenset().union(*([p] for p in privileges_of_the_api()["methods"].values()))
    with logged_in(vcenter, Grant(READ_ONLY | everything)) as user:
        vm, red, tenant = user.vm("resident"), user.port_group("red"), user.dvs("tenant")
        network = vm.runtime.host.configManager.networkSystem
        config = vim.host.NetworkConfig()
        backup = vim.dvs.EntityBackup.Config(entityType="distributedVirtualSwitch", configBlob=b"x")
        attempts: dict[str, Any] = {
            "MoveIntoFolder_Task": lambda: vm.parent.MoveIntoFolder_Task([vm]),
            "MoveIntoResourcePool": lambda: vm.resourcePool.MoveIntoResourcePool([vm]),
            "DVSRollback_Task": lambda: tenant.DVSRollback_Task(None),
            "DVPortgroupRollback_Task": lambda: red.DVPortgroupRollback_Task(None),
            "DVSManagerImportEntity_Task": lambda: user.content.dvSwitchManager.DVSManagerImportEntity_Task(
                [backup], "x"
            ),
            "UpdateNetworkConfig": lambda: network.UpdateNetworkConfig(config, "modify"),
        }
        for method, attempt in attempts.items():
            with pytest.raises(vim.fault.NoPermission) as refused:
                attempt()
            assert refused.value.privilegeId == f"unknown to the simulator: {method}"
            assert refused.value.privilegeId in vcenter.users.needed(USER)
        reader = user.events()  # what concerns nobody else takes nothing
        reader.collector.SetCollectorPageSize(10)
        assert reader.read() == []
        reader.collector.DestroyCollector()
        Watch(user, vim.VirtualMachine, ["name"]).filter.Destroy()
    vm = client.make_vm("moved")
    folder = vm.parent.CreateFolder("inner")
    wait(folder.MoveIntoFolder_Task([vm]))
    assert vm.parent == folder
    wait(vm.Destroy_Task())
    wait(folder.Destroy_Task())


def test_a_grant_that_does_not_propagate_ends_where_it_is(vcenter: Simulator) -> None:
    with logged_in(vcenter, Grant(READ_ONLY, propagate=False)) as blind:
        assert blind.all(vim.VirtualMachine) == []


def test_the_nearest_grant_decides(vcenter: Simulator) -> None:
    grants = (Grant(READ_ONLY | WRITES), Grant(READ_ONLY, on="blue"))
    with logged_in(vcenter, *grants) as user:
        red, blue = user.port_group("red"), user.port_group("blue")
        wait(red.Rename_Task("red"))
        with pytest.raises(vim.fault.NoPermission) as refused:
            blue.Rename_Task("blue")
        assert (refused.value.privilegeId, refused.value.object) == ("DVPortgroup.Modify", blue)


def test_what_may_be_seen_but_not_read_is_missing_with_its_privilege(vcenter: Simulator) -> None:
    seen = frozenset({"System.Anonymous", "System.View"})
    with logged_in(vcenter, Grant(READ_ONLY), Grant(seen, on="resident")) as user:
        watch = Watch(user, vim.VirtualMachine, ["name", "runtime.host"])
        (update,) = [u for u in watch.drain() if u.obj.name == "resident"]
        assert [ch.name for ch in update.changeSet] == ["name"]
        (missing,) = update.missingSet
        assert (missing.path, missing.fault.privilegeId) == ("runtime.host", "System.Read")
        with pytest.raises(vim.fault.NoPermission):
            update.obj.runtime  # noqa: B018


def test_what_an_enter_withheld_no_later_update_tells(vcenter: Simulator, client: Client) -> None:
    seen = frozenset({"System.Anonymous", "System.View"})
    vm = client.make_vm("withheld", client.port_group("red"))
    with logged_in(vcenter, Grant(READ_ONLY), Grant(seen, on="withheld")) as user:
        watch = Watch(user, vim.VirtualMachine, ["name", "config.annotation"])
        watch.drain()
        wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="secret")))
        wait(vm.Rename_Task("withheld, still"))
        (update,) = watch.drain()
        assert [ch.name for ch in update.changeSet] == ["name"]
    wait(vm.Destroy_Task())


def test_an_object_that_may_not_be_seen_is_in_no_view(vcenter: Simulator) -> None:
    with logged_in(vcenter, Grant(READ_ONLY), Grant(frozenset(), on="resident")) as user:
        assert "resident" not in [vm.name for vm in user.all(vim.VirtualMachine)]


def test_a_user_is_told_what_a_user_may_do(vcenter: Simulator) -> None:
    with logged_in(vcenter, Grant(READ_ONLY | {"DVPortgroup.Create"})) as user:
        here = user.content.sessionManager.currentSession.key
        manager = user.content.authorizationManager
        asked = ["System.Read", "DVPortgroup.Create", "DVPortgroup.Delete"]
        assert list(manager.HasPrivilegeOnEntity(user.dvs("tenant"), here, asked)) == [True, True, False]


def test_a_reader_stands_still_before_a_long_gap_of_unreadable_events(vcenter: Simulator, client: Client) -> None:
    hidden, shown = client.vm("resident"), client.make_vm("shown", client.port_group("red"))
    with logged_in(vcenter, Grant(READ_ONLY), Grant(frozenset(), on="resident")) as user:
        reader = user.events(vim.event.VmRenamedEvent)
        for _ in range(500):
            wait(hidden.Rename_Task("hidden"))
            wait(hidden.Rename_Task("resident"))
        wait(shown.Rename_Task("seen"))
        assert [e.newName for e in reader.read()] == ["seen"]  # a gap of a page is passed
        for _ in range(501):
            wait(hidden.Rename_Task("hidden"))
            wait(hidden.Rename_Task("resident"))
        wait(shown.Rename_Task("shown"))
        assert reader.read() == reader.read() == []
    wait(shown.Destroy_Task())


# What isthmus needs


def settings(simulator: Simulator) -> VcenterSettings:
    return VcenterSettings(
        url=simulator.url, user=USER, password=lambda: PASSWORD, ca_file=str(simulator.ca_file), timeout=10.0, wait=2.0
    )


def spec(vid: int | None = None, network: str = "net") -> PortGroupSpec:
    return PortGroupSpec(
        f"isthmus-{network}", OwnerMark("isthmus", NetworkId(network), Vni(5001)), Vid(vid) if vid else None
    )


def apply(switch: Switch, action: Action) -> Result:
    (result,) = switch.apply([Change(1, switch.id, action, "test")])
    return result


def everything(vcenter: Vcenter, operator: Client) -> dict[str, Result]:
    """All that isthmus does to a vCenter; the operator plugs a VM in and out."""
    results: dict[str, Result] = {}
    vcenter.preflight("tenant", vids=VidSet.of([Vid(100)]))
    hosts = vcenter.inventory.read().hosts
    assert vcenter.neighbours((host, "vmnic1") for host in hosts).keys() == hosts.keys()
    switch = vcenter.switch("tenant")
    dvs = DvsId(switch.id.name)
    for network in ("kept", "gone"):
        results["create"] = apply(switch, CreatePortGroup(dvs, spec(network=network)))
        if results["create"].outcome is not Outcome.DONE:
            return results
    groups = {g.mark.network: g for g in switch.observe().port_groups.values() if g.mark}
    kept, gone = groups[NetworkId("kept")], groups[NetworkId("gone")]
    vm = operator.make_vm("guest", operator.port_group(kept.name), power_on=True)
    port = next(p for p in switch.observe().ports.values() if p.key == c.nics(vm)[0].backing.port.portKey)
    write = SetDvPort(dvs, port.key, port.cookie, port.version, Gate.OPEN, Vid(100), host=None)
    results["port"] = apply(switch, write)
    results["alter"] = apply(switch, AlterPortGroup(dvs, kept.key, kept.version, spec(120, "kept")))
    assert kept.mark is not None
    assert gone.mark is not None
    results["disown"] = apply(switch, DisownPortGroup(dvs, kept.key, kept.mark))
    results["remove"] = apply(switch, RemovePortGroup(dvs, gone.key, gone.mark))
    return results


@pytest.fixture
def fresh() -> Iterator[Simulator]:
    with Simulator(TOPOLOGY, migrate_ms=50) as simulator:
        yield simulator


def run_as(simulator: Simulator, privileges: frozenset[str]) -> dict[str, Result]:
    simulator.users.add(USER, PASSWORD, [Grant(privileges)])
    operator, vcenter = Client(simulator), Vcenter(settings(simulator))
    try:
        return everything(vcenter, operator)
    finally:
        vcenter.close()
        operator.close()


def test_the_documented_role_is_enough_and_nothing_in_it_is_idle(fresh: Simulator) -> None:
    results = run_as(fresh, documented())
    assert {name: r.outcome for name, r in results.items()} == dict.fromkeys(
        ("create", "port", "alter", "disown", "remove"), Outcome.DONE
    ), results
    assert set(fresh.users.needed(USER)) == documented()


def test_the_document_names_what_check_looks_for() -> None:
    assert documented() == READ_ONLY | WRITES


def test_the_documented_role_is_enough_to_prepare_and_nothing_in_it_is_idle(fresh: Simulator) -> None:
    more = documented("### Privileges of `isthmus prepare --write`\n")
    fresh.users.add(USER, PASSWORD, [Grant(READ_ONLY | more)])
    vcenter = Vcenter(settings(fresh))
    vids, mark = VidSet.of("100-199"), MakerMark("isthmus", "rack1")
    wired = SwitchWanted("rack1", mark, 1600, vids, True, {"esx1.lab": ("vmnic2",)})
    tenant = SwitchWanted("alone", mark, 1500, vids, False, {"esx1.lab": ()})
    try:
        for wanted in (wired, tenant, replace(wired, mtu=9000)):
            for step in prepare(wanted, vcenter.ground({"esx1.lab"}, {wanted.name})).steps:
                vcenter.prepare(step)
        assert prepare(replace(wired, mtu=9000), vcenter.ground({"esx1.lab"}, {"rack1"})) == Preparation()
    finally:
        vcenter.close()
    assert set(fresh.users.needed(USER)) == READ_ONLY | more


@pytest.mark.parametrize("lacking", sorted(WRITES))
def test_without_one_of_them_the_refusal_names_it(fresh: Simulator, lacking: str) -> None:
    results = run_as(fresh, documented() - {lacking})
    refused = [r for r in results.values() if r.outcome is not Outcome.DONE]
    assert refused
    assert all(r.outcome is Outcome.REFUSED and lacking in (r.detail or "") for r in refused), refused


def test_without_reading_nothing_is_taken_for_empty(fresh: Simulator) -> None:
    from isthmus.model.faults import Refused

    with pytest.raises(Refused, match="read"):
        run_as(fresh, documented() - {"System.Read"})
