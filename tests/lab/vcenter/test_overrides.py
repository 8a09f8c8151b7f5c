"""What a single DV port may be told to do differently from its group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, wait

pytestmark = pytest.mark.sim


@pytest.fixture
def tenant(client: Client) -> Any:
    return client.dvs("tenant")


@pytest.fixture
def group(client: Client, tenant: Any, request: pytest.FixtureRequest) -> Any:
    closed = c.setting(blocked=c.flag(True), vlan=c.vlan(0))
    return client.make_port_group(
        tenant, request.node.name[:60], defaultPortConfig=closed, policy=c.override_policy(**c.OPEN_POLICY)
    )


@pytest.fixture
def write(tenant: Any) -> Callable[..., None]:
    def send(*specs: Any) -> None:
        wait(tenant.ReconfigureDVPort_Task(list(specs)))

    return send


def test_one_write_tags_and_opens_a_port(
    client: Client, tenant: Any, group: Any, write: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    vm = client.make_vm(request.node.name, group, power_on=True)
    closed = client.port_of(vm)
    assert closed.state.runtimeInfo.blocked
    assert closed.config.setting.blocked.inherited
    reader = client.events(vim.event.DvsPortReconfiguredEvent, vim.event.DvsPortUnblockedEvent)
    write(c.port_spec(closed, vlan=c.vlan(101), blocked=c.flag(False)))
    opened = client.port_of(vm)
    assert opened.config.setting.vlan.vlanId == 101
    assert not opened.config.setting.vlan.inherited
    assert not opened.config.setting.blocked.inherited
    assert [(r.start, r.end) for r in opened.state.runtimeInfo.vlanIds] == [(101, 101)]
    assert not opened.state.runtimeInfo.blocked
    assert int(opened.config.configVersion) == int(closed.config.configVersion) + 1
    assert opened.connectionCookie == closed.connectionCookie
    assert [type(e) for e in reader.read()] == [
        vim.event.DvsPortReconfiguredEvent,
        vim.event.DvsPortUnblockedEvent,
    ]


def test_only_what_is_written_changes(client: Client, group: Any, write: Callable[..., None]) -> None:
    vm = client.make_vm("override-partial", group)
    write(c.port_spec(client.port_of(vm), vlan=c.vlan(102)))
    write(c.port_spec(client.port_of(vm), blocked=c.flag(False)))
    setting = client.port_of(vm).config.setting
    assert (setting.vlan.vlanId, setting.blocked.value) == (102, False)


def test_inherited_takes_an_override_back(client: Client, group: Any, write: Callable[..., None]) -> None:
    vm = client.make_vm("override-back", group)
    write(c.port_spec(client.port_of(vm), vlan=c.vlan(103), blocked=c.flag(False)))
    write(c.port_spec(client.port_of(vm), vlan=c.vlan(0, inherited=True)))
    setting = client.port_of(vm).config.setting
    assert setting.vlan.inherited
    assert setting.vlan.vlanId == 0
    assert not setting.blocked.inherited


def test_an_inherited_setting_follows_the_group(client: Client, group: Any, write: Callable[..., None]) -> None:
    vm = client.make_vm("override-follows", group, group)
    write(c.port_spec(client.port_of(vm, 0), vlan=c.vlan(104)))
    spec = c.port_group_spec("", configVersion=group.config.configVersion)
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion=group.config.configVersion, defaultPortConfig=c.setting(vlan=c.vlan(55), blocked=c.flag(False))
    )
    wait(group.ReconfigureDVPortgroup_Task(spec))
    assert client.port_of(vm, 0).config.setting.vlan.vlanId == 104
    assert client.port_of(vm, 1).config.setting.vlan.vlanId == 55
    assert not client.port_of(vm, 0).state.runtimeInfo.blocked


def test_a_stale_writer_is_refused(client: Client, group: Any, write: Callable[..., None]) -> None:
    vm = client.make_vm("override-stale", group)
    port = client.port_of(vm)
    write(c.port_spec(port, vlan=c.vlan(105)))
    with pytest.raises(vim.fault.ConcurrentAccess):
        write(c.port_spec(port, vlan=c.vlan(106)))
    assert client.port_of(vm).config.setting.vlan.vlanId == 105


def test_one_bad_port_refuses_the_whole_batch(
    client: Client, tenant: Any, group: Any, write: Callable[..., None]
) -> None:
    vm = client.make_vm("override-batch", group, group)
    first, second = client.port_of(vm, 0), client.port_of(vm, 1)
    unknown = c.port_spec(second, vlan=c.vlan(107))
    unknown.key = "99999"
    with pytest.raises(vim.fault.NotFound):
        write(c.port_spec(first, vlan=c.vlan(107)), unknown)
    with pytest.raises(vmodl.fault.InvalidArgument):
        write(c.port_spec(first, vlan=c.vlan(107)), c.port_spec(first, blocked=c.flag(False)))
    removal = c.port_spec(second, vlan=c.vlan(107))
    removal.operation = "remove"
    with pytest.raises(vmodl.fault.InvalidArgument):
        write(c.port_spec(first, vlan=c.vlan(107)), removal)
    assert client.port_of(vm, 0).config.setting.vlan.inherited
    write(c.port_spec(first, vlan=c.vlan(107)), c.port_spec(second, vlan=c.vlan(108)))
    assert [client.port_of(vm, i).config.setting.vlan.vlanId for i in (0, 1)] == [107, 108]


def test_the_groups_policy_gates_overrides(client: Client, tenant: Any, write: Callable[..., None]) -> None:
    strict = client.make_port_group(tenant, "override-strict", policy=c.override_policy(blockOverrideAllowed=True))
    vm = client.make_vm("override-strict", strict)
    with pytest.raises(vim.fault.ConflictingConfiguration):
        write(c.port_spec(client.port_of(vm), vlan=c.vlan(109)))
    write(c.port_spec(client.port_of(vm), blocked=c.flag(True), vlan=c.vlan(0, inherited=True)))
    assert client.port_of(vm).state.runtimeInfo.blocked


@pytest.mark.parametrize("vid", [-1, 4095])
def test_a_vid_outside_the_standard_is_refused(
    client: Client, tenant: Any, write: Callable[..., None], vid: int
) -> None:
    vm = client.vm("resident")
    with pytest.raises(vmodl.fault.InvalidArgument):
        write(c.port_spec(client.port_of(vm), vlan=c.vlan(vid)))


def test_a_trunk_shows_its_ranges(client: Client, group: Any, write: Callable[..., None]) -> None:
    vm = client.make_vm("override-trunk", group)
    write(c.port_spec(client.port_of(vm), vlan=c.trunk((0, 99), (200, 4094))))
    status = client.port_of(vm).state.runtimeInfo
    assert status.trunkingMode
    assert [(r.start, r.end) for r in status.vlanIds] == [(0, 99), (200, 4094)]


def test_one_security_flag_of_a_port_leaves_the_others_inherited(
    client: Client, tenant: Any, write: Callable[..., None]
) -> None:
    policy = c.override_policy(securityPolicyOverrideAllowed=True)
    policy.macManagementOverrideAllowed = True
    loose = client.make_port_group(tenant, "override-security", policy=policy)
    vm = client.make_vm("override-security", loose)
    write(
        c.port_spec(
            client.port_of(vm),
            securityPolicy=c.Edit.SecurityPolicy(inherited=False, forgedTransmits=c.flag(True)),
        )
    )
    setting = client.port_of(vm).config.setting
    assert setting.securityPolicy.forgedTransmits.value
    assert not setting.securityPolicy.forgedTransmits.inherited
    assert setting.securityPolicy.allowPromiscuous.inherited
    assert not setting.securityPolicy.allowPromiscuous.value
    assert setting.macManagementPolicy.forgedTransmits
    assert not setting.macManagementPolicy.macLearningPolicy.enabled


def test_a_write_keeps_the_override_when_the_vm_power_cycles(
    client: Client, group: Any, write: Callable[..., None]
) -> None:
    vm = client.make_vm("override-power", group, power_on=True)
    write(c.port_spec(client.port_of(vm), vlan=c.vlan(110)))
    wait(vm.PowerOffVM_Task())
    wait(vm.PowerOnVM_Task())
    assert client.port_of(vm).config.setting.vlan.vlanId == 110
