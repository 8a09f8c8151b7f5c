"""Port groups: made, changed in part, renamed, removed; refused where vCenter refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, wait

pytestmark = pytest.mark.sim

ConfigSpec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec


@pytest.fixture
def tenant(client: Client) -> Any:
    return client.dvs("tenant")


def edit(group: Any, **fields: Any) -> None:
    wait(group.ReconfigureDVPortgroup_Task(ConfigSpec(configVersion=group.config.configVersion, **fields)))


def test_a_new_group_is_as_it_was_asked_for(client: Client, tenant: Any) -> None:
    wanted = c.port_group_spec(
        "groups-new",
        numPorts=4,
        autoExpand=False,
        description="isthmus v1 owner",
        defaultPortConfig=c.setting(blocked=c.flag(True), vlan=c.vlan(0)),
        policy=c.override_policy(**c.OPEN_POLICY),
    )
    group = wait(tenant.CreateDVPortgroup_Task(wanted))
    config = group.config
    assert (group.name, config.name, config.numPorts, config.autoExpand) == ("groups-new", "groups-new", 4, False)
    assert config.description == "isthmus v1 owner"
    assert config.defaultPortConfig.blocked.value
    assert not config.defaultPortConfig.blocked.inherited
    assert config.defaultPortConfig.securityPolicy.inherited
    assert config.policy.vlanOverrideAllowed
    assert config.policy.portConfigResetAtDisconnect
    assert not config.policy.shapingOverrideAllowed
    assert config.distributedVirtualSwitch == tenant
    assert group.key == config.key == group._moId
    assert len(group.portKeys) == 4
    assert group in tenant.portgroup
    assert "groups-new" in tenant.summary.portgroupName
    assert set(group.host) == set(client.all(vim.HostSystem))
    assert tenant.LookupDvPortGroup(group.key) == group


def test_a_name_is_given_once(client: Client, tenant: Any) -> None:
    first = client.make_port_group(tenant, "groups-once")
    with pytest.raises(vim.fault.DuplicateName) as refused:
        client.make_port_group(tenant, "groups-once")
    assert refused.value.object == first
    other = client.make_port_group(tenant, "groups-other")
    with pytest.raises(vim.fault.DuplicateName):
        wait(other.Rename_Task("groups-once"))
    with pytest.raises(vim.fault.DuplicateName):
        edit(other, name="groups-once")
    assert other.name == "groups-other"


def test_what_a_reconfiguration_does_not_mention_stays(client: Client, tenant: Any) -> None:
    group = client.make_port_group(
        tenant,
        "groups-partial",
        description="mine",
        defaultPortConfig=c.setting(vlan=c.vlan(30), blocked=c.flag(True)),
        policy=c.override_policy(**c.OPEN_POLICY),
    )
    edit(group, defaultPortConfig=c.setting(vlan=c.vlan(31)))
    assert group.config.defaultPortConfig.vlan.vlanId == 31
    assert group.config.defaultPortConfig.blocked.value
    assert group.config.description == "mine"
    assert group.config.policy.vlanOverrideAllowed
    assert group.config.numPorts == 8
    edit(group, description="still mine")
    assert group.config.defaultPortConfig.vlan.vlanId == 31
    assert group.config.type == "earlyBinding"


def test_a_stale_configuration_is_refused(client: Client, tenant: Any) -> None:
    group = client.make_port_group(tenant, "groups-stale")
    version = group.config.configVersion
    edit(group, description="first")
    assert group.config.configVersion != version
    with pytest.raises(vim.fault.ConcurrentAccess):
        wait(group.ReconfigureDVPortgroup_Task(ConfigSpec(configVersion=version, description="second")))
    with pytest.raises(vmodl.fault.InvalidArgument):
        wait(group.ReconfigureDVPortgroup_Task(ConfigSpec(description="no version")))
    assert group.config.description == "first"


def test_a_group_in_use_stays(client: Client, tenant: Any) -> None:
    group = client.make_port_group(tenant, "groups-used", numPorts=4)
    vm = client.make_vm("groups-used", group, group)
    with pytest.raises(vim.fault.ResourceInUse):
        wait(group.Destroy_Task())
    with pytest.raises(vim.fault.ResourceInUse):
        edit(group, numPorts=1)
    edit(group, numPorts=2)
    assert group.config.numPorts == len(group.portKeys) == 2
    wait(vm.Destroy_Task())
    key, host = group.key, client.host("esx1.lab")
    wait(group.Destroy_Task())
    assert key not in [g.key for g in tenant.portgroup]
    assert "groups-used" not in tenant.summary.portgroupName
    assert key not in [n._moId for n in host.network]
    with pytest.raises(vim.fault.NotFound):
        tenant.LookupDvPortGroup(key)


def test_a_rename_reaches_every_place_where_the_name_stands(client: Client, tenant: Any) -> None:
    group = client.make_port_group(tenant, "groups-before")
    reader = client.events(vim.event.DVPortgroupRenamedEvent)
    wait(group.Rename_Task("groups-after"))
    assert group.name == group.config.name == group.summary.name == "groups-after"
    assert [(e.oldName, e.newName) for e in reader.read()] == [("groups-before", "groups-after")]
    edit(group, name="groups-last")
    assert group.name == group.config.name == "groups-last"
    client.make_port_group(tenant, "groups-before")


def test_slash_backslash_and_percent_are_escaped(client: Client, tenant: Any) -> None:
    group = client.make_port_group(tenant, "a/b\\c 100%")
    assert group.name == group.config.name == "a%2fb%5cc 100%25"
    with pytest.raises(vim.fault.DuplicateName):
        wait(tenant.AddDVPortgroup_Task([c.port_group_spec("a%2fb%5cc 100%25")]))
    wait(group.Rename_Task("x/y"))
    assert group.name == "x%2fy"


def test_a_name_has_at_most_eighty_characters(client: Client, tenant: Any) -> None:
    client.make_port_group(tenant, "n" * 80)
    client.make_port_group(tenant, "/" * 80)  # as the client writes them: each of these is kept as three
    for bad in ("n" * 81, "n" * 10_000):
        with pytest.raises(vim.fault.InvalidName):
            wait(tenant.AddDVPortgroup_Task([c.port_group_spec(bad)]))
        with pytest.raises(vim.fault.InvalidName):
            wait(client.vm("resident").Rename_Task(bad))


def test_names_that_differ_in_case_are_two_names(client: Client, tenant: Any) -> None:
    small, large = (client.make_port_group(tenant, name) for name in ("case-x1", "case-X1"))
    assert small != large
    vms = [client.make_vm(name, small) for name in ("case-x1", "case-X1")]
    assert [vm.name for vm in vms] == ["case-x1", "case-X1"]
    with pytest.raises(vim.fault.DuplicateName):
        wait(vms[0].Rename_Task("case-X1"))


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        (c.vlan(0), (0, 0)),
        (c.vlan(4094), (4094, 4094)),
        (c.trunk((0, 4094)), (0, 4094)),
        (c.Edit.PvlanSpec(pvlanId=77, inherited=False), (77, 77)),
    ],
    ids=["none", "vid", "trunk", "pvlan"],
)
def test_every_kind_of_vlan(
    client: Client, tenant: Any, spec: Any, shown: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    group = client.make_port_group(tenant, request.node.name, defaultPortConfig=c.setting(vlan=spec))
    assert type(group.config.defaultPortConfig.vlan) is type(spec)
    port = client.port(tenant, group.portKeys[0])
    assert [(r.start, r.end) for r in port.state.runtimeInfo.vlanIds] == [shown]


def test_a_trunk_for_an_appliance_learns_and_forges(client: Client, tenant: Any) -> None:
    learning = c.Edit.MacLearningPolicy(
        inherited=False, enabled=True, limit=4096, limitPolicy="ALLOW", allowUnicastFlooding=True
    )
    mac = c.Edit.MacManagementPolicy(
        inherited=False, allowPromiscuous=False, forgedTransmits=True, macChanges=True, macLearningPolicy=learning
    )
    group = client.make_port_group(
        tenant, "groups-appliance", defaultPortConfig=c.setting(vlan=c.trunk((0, 4094)), macManagementPolicy=mac)
    )
    config = group.config.defaultPortConfig
    assert config.macManagementPolicy.macLearningPolicy.enabled
    assert config.macManagementPolicy.macLearningPolicy.limitPolicy == "ALLOW"
    assert config.macManagementPolicy.forgedTransmits
    assert config.securityPolicy.forgedTransmits.value  # the older place of the same flag


def test_nonsense_is_refused(client: Client, tenant: Any) -> None:
    for fields in (
        {"type": "sometimes"},
        {"numPorts": -1},
        {"defaultPortConfig": c.setting(vlan=c.vlan(4095))},
        {"defaultPortConfig": c.setting(vlan=c.trunk((10, 5)))},
    ):
        with pytest.raises(vmodl.fault.InvalidArgument):
            wait(tenant.AddDVPortgroup_Task([c.port_group_spec("groups-nonsense", **fields)]))
    client.make_port_group(tenant, "groups-nonsense")


def test_uplinks_and_mtu_are_told_by_the_switch(client: Client, tenant: Any) -> None:
    uplink = client.dvs("uplink")
    (group,) = uplink.config.uplinkPortgroup
    assert group.config.uplink
    assert uplink.config.maxMtu == 9000
    assert len(uplink.config.host) == 3
    for member in uplink.config.host:
        (pnic,) = member.config.backing.pnicSpec
        assert pnic.pnicDevice == "vmnic1"
        assert pnic.uplinkPortKey in member.uplinkPortKey
    assert tenant.config.uplinkPortgroup == []
    assert tenant.config.maxMtu == 1500
    proxies = client.host("esx1.lab").config.network.proxySwitch
    assert {p.dvsUuid for p in proxies} == {uplink.uuid, tenant.uuid}
    with pytest.raises(vim.fault.ResourceInUse):
        wait(group.Destroy_Task())


def test_a_switch_can_be_made_joined_and_removed(client: Client) -> None:
    folder = client.all(vim.Datacenter)[0].networkFolder
    host = client.host("esx1.lab")
    member = vim.dvs.HostMember.ConfigSpec(
        operation="add",
        host=host,
        backing=vim.dvs.HostMember.PnicBacking(pnicSpec=[vim.dvs.HostMember.PnicSpec(pnicDevice="vmnic2")]),
    )
    spec = c.Edit.ConfigSpec(name="made", maxMtu=1600, host=[member])
    dvs = wait(folder.CreateDVS_Task(vim.DistributedVirtualSwitch.CreateSpec(configSpec=spec)))
    assert dvs.config.maxMtu == 1600
    assert [m.config.host for m in dvs.config.host] == [host]
    with pytest.raises(vim.fault.AlreadyExists):
        wait(dvs.ReconfigureDvs_Task(c.Edit.ConfigSpec(configVersion=dvs.config.configVersion, host=[member])))
    with pytest.raises(vim.fault.ConcurrentAccess):
        wait(dvs.ReconfigureDvs_Task(c.Edit.ConfigSpec(configVersion="99", maxMtu=9000)))
    with pytest.raises(vmodl.fault.InvalidArgument):
        wait(dvs.ReconfigureDvs_Task(c.Edit.ConfigSpec(maxMtu=9000)))
    member.operation = "remove"
    wait(dvs.ReconfigureDvs_Task(c.Edit.ConfigSpec(configVersion=dvs.config.configVersion, host=[member])))
    assert dvs.config.host == []
    wait(dvs.Destroy_Task())
    assert "made" not in [d.name for d in client.all(vim.DistributedVirtualSwitch)]


def test_a_host_whose_vms_use_the_switch_cannot_leave_it(client: Client, tenant: Any) -> None:
    vm = client.make_vm("groups-staying", client.make_port_group(tenant, "groups-staying"), host="esx3.lab")
    leaving = vim.dvs.HostMember.ConfigSpec(operation="remove", host=vm.runtime.host)
    with pytest.raises(vim.fault.ResourceInUse):
        wait(tenant.ReconfigureDvs_Task(c.Edit.ConfigSpec(configVersion=tenant.config.configVersion, host=[leaving])))
    assert vm.runtime.host in tenant.summary.hostMember
    wait(vm.Destroy_Task())
