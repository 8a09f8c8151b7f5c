"""The preflight names what is wrong with a vCenter, where, and what to do; and changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyVmomi import vim

from isthmus.adapters.vcenter import Finding
from isthmus.adapters.vcenter.preflight import trunk_port_group, wired_switch
from isthmus.model.faults import Refused
from isthmus.model.inventory import Dvs
from isthmus.model.names import DvsId, HostId
from isthmus.model.observed import Access, MacLearning, PortGroupState, SwitchMirror, Trunk
from isthmus.model.tags import Vid, VidSet
from tests.adapters.vcenter.bench import Bench

pytestmark = pytest.mark.sim
POOL = VidSet.of("100-199")
VmwareSwitch = vim.dvs.VmwareDistributedVirtualSwitch


def one(findings: list[Finding], *words: str) -> None:
    found = [finding for finding in findings if all(word in str(finding) for word in words)]
    assert len(found) == 1, (words, findings)
    assert found[0].remedy


def test_a_good_tenant_switch_has_nothing_wrong(bench: Bench) -> None:
    assert bench.vcenter.preflight("tenant", vids=POOL, mtu=1500) == []


def test_a_switch_that_does_not_exist_is_named_with_those_that_do(bench: Bench) -> None:
    findings = bench.vcenter.preflight("tenannt", vids=POOL)
    one(findings, "'tenannt'", "tenant", "uplink")
    with pytest.raises(Refused, match="tenannt"):
        bench.vcenter.switch("tenannt")


def test_a_switch_is_found_by_uuid_too(bench: Bench) -> None:
    uuid = bench.operator.switch("tenant").uuid
    assert bench.vcenter.switch(uuid) is bench.vcenter.switch("tenant")


def test_uplinks_that_carry_the_pool_are_found_with_the_vids(bench: Bench) -> None:
    findings = bench.vcenter.preflight("uplink", vids=VidSet.of("150-250"), mtu=1500)
    one(findings, "uplink", "150-199")
    assert bench.vcenter.preflight("uplink", vids=VidSet.of("200-299"), mtu=1500) == []


def test_uplinks_that_do_not_carry_the_pool_are_found_with_the_vids(bench: Bench) -> None:
    findings = bench.vcenter.preflight("uplink", vids=VidSet.of("150-250"), mtu=1500, wired=True)
    one(findings, "its uplinks do not carry VIDs 200-250")
    assert bench.vcenter.preflight("uplink", vids=VidSet.of("150-199"), mtu=1500, wired=True) == []
    one(bench.vcenter.preflight("tenant", vids=POOL, wired=True), "no uplinks")


def test_of_several_uplink_port_groups_each_must_carry_the_pool() -> None:
    dvs = Dvs(DvsId("d"), "rack1", 1500, frozenset({HostId("esx1")}), uplink_vids=VidSet.of("100-199"))

    def uplinks(name: str, vids: str) -> PortGroupState:
        return PortGroupState(name, name, Trunk(VidSet.of(vids)), blocked=False, version="1", is_uplink=True)

    def judged(*groups: PortGroupState) -> list[Finding]:
        others = PortGroupState("red", "red", Access(Vid(100)), blocked=False, version="1")
        return wired_switch(SwitchMirror(dvs.id, {g.key: g for g in (*groups, others)}, {}), dvs, POOL, mtu=1500)

    one(judged(uplinks("lag", "100-149"), uplinks("old", "100-199")), "in port group 'lag' do not carry VIDs 150-199 ")
    halves = judged(uplinks("lag", "100-149"), uplinks("old", "150-199"))
    one(halves, "'lag' do not carry VIDs 150-199 ")
    one(halves, "'old' do not carry VIDs 100-149 ")
    assert judged(uplinks("lag", "100-199"), uplinks("old", "1-4094")) == []


def test_a_small_mtu_is_found(bench: Bench) -> None:
    one(bench.vcenter.preflight("tenant", vids=POOL, mtu=1600), "tenant", "1500", "1600")


def test_a_trunk_that_is_none_is_found(bench: Bench) -> None:
    one(bench.vcenter.preflight("tenant", vids=POOL, trunk="nowhere"), "nowhere", "make it", "half-trunk")
    findings = bench.vcenter.preflight("tenant", vids=POOL, trunk="red")
    one(findings, "red", "not a trunk")
    one(findings, "red", "blocked")


@pytest.mark.parametrize(
    ("learning", "named"),
    [
        (MacLearning(), []),
        (MacLearning(limit=1, drops=False), []),
        (MacLearning(limit=1), ["drops frames of remote VMs beyond the first 1 MACs; set its limit policy to ALLOW"]),
        (MacLearning(unicast_flooding=False), ["floods no unicast"]),
        (MacLearning(unicast_flooding=False, limit=9), ["floods no unicast", "beyond the first 9 MACs"]),
    ],
    ids=str,
)
def test_a_trunk_that_learns_macs_must_flood_unicast_and_drop_no_remote_vms_frames(
    learning: MacLearning, named: list[str]
) -> None:
    dvs = Dvs(DvsId("d"), "tenant", 1500, frozenset({HostId("esx1")}))
    trunk = PortGroupState(
        "t", "t", Trunk(POOL), blocked=False, version="1", forged_transmits=True, mac_learning=learning
    )

    def judged(group: PortGroupState) -> list[Finding]:
        return trunk_port_group(SwitchMirror(dvs.id, {"t": group}, {}), dvs, "t", POOL)

    found = judged(trunk)
    assert len(found) == len(named)
    for words in named:
        one(found, words)
    assert judged(replace(trunk, promiscuous=True)) == [], "it hears and learns nothing by learning"


def test_every_lack_of_a_trunk_is_found_at_once_and_gone_when_mended(bench: Bench) -> None:
    findings = bench.vcenter.preflight("tenant", vids=POOL, trunk="half-trunk")
    one(findings, "half-trunk", "151-199")
    one(findings, "forged transmits")
    one(findings, "MAC learning")
    group = bench.operator.named(vim.dvs.DistributedVirtualPortgroup, "half-trunk")
    setting = VmwareSwitch.VmwarePortConfigPolicy(
        vlan=VmwareSwitch.TrunkVlanSpec(inherited=False, vlanId=[vim.NumericRange(start=0, end=4094)]),
        macManagementPolicy=VmwareSwitch.MacManagementPolicy(
            inherited=False,
            forgedTransmits=True,
            macLearningPolicy=VmwareSwitch.MacLearningPolicy(inherited=False, enabled=True),
        ),
    )
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion=group.config.configVersion, defaultPortConfig=setting
    )
    bench.operator.wait(group.ReconfigureDVPortgroup_Task(spec))
    assert bench.vcenter.preflight("tenant", vids=POOL, trunk="half-trunk") == []
