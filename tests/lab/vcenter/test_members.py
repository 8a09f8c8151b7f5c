"""Hosts and their physical NICs on a switch: what a switch takes, and what it refuses, host by host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter import Cluster, Datacenter, Dvs, Host, Member, NotBuilt, Pnic, Simulator, Topology, Vswitch
from tests.lab.vcenter.client import Client, Edit, wait

pytestmark = pytest.mark.sim
PNICS = tuple(Pnic(f"vmnic{number}") for number in range(5))
HOSTS = ("esx1.lab", "esx2.lab")
STORAGE = Vswitch("storage", ("vmnic3",), ("vmk1",))


@pytest.fixture(scope="module")
def vcenter() -> Iterator[Simulator]:
    hosts = tuple(Host(name, pnics=PNICS, vswitches=(STORAGE,)) for name in HOSTS)
    other = Dvs("other", uplinks=("u1",), members=(Member("esx1.lab", ("vmnic1",), ("vmk2",)),))
    here = Datacenter("dc1", (Cluster("cluster1", hosts),), (other,))
    there = Datacenter("dc2", (Cluster("cluster2", (Host("far.lab"),)),))
    try:
        with Simulator(Topology((here, there))) as simulator:
            yield simulator
    except NotBuilt as missing:
        pytest.skip(str(missing))


@pytest.fixture
def client(vcenter: Simulator) -> Iterator[Client]:
    session = Client(vcenter)
    yield session
    session.close()


@pytest.fixture
def dvs(client: Client) -> Iterator[Any]:
    """A switch with two uplinks and no member."""
    uplinks = vim.DistributedVirtualSwitch.NameArrayUplinkPortPolicy(uplinkPortName=["u1", "u2"])
    spec = vim.DistributedVirtualSwitch.CreateSpec(configSpec=Edit.ConfigSpec(name="made", uplinkPortPolicy=uplinks))
    folder = client.named(vim.Datacenter, "dc1").networkFolder
    made = wait(folder.CreateDVS_Task(spec))
    yield made
    wait(made.Destroy_Task())


def change(host: Any, *nics: str, operation: str = "add") -> Any:
    specs = [vim.dvs.HostMember.PnicSpec(pnicDevice=nic) for nic in nics]
    backing = vim.dvs.HostMember.PnicBacking(pnicSpec=specs)
    return vim.dvs.HostMember.ConfigSpec(operation=operation, host=host, backing=backing)


def reconfigure(dvs: Any, *changes: Any) -> None:
    wait(dvs.ReconfigureDvs_Task(Edit.ConfigSpec(configVersion=dvs.config.configVersion, host=list(changes))))


def nics(dvs: Any) -> dict[str, list[str]]:
    return {
        member.config.host.name: [spec.pnicDevice for spec in member.config.backing.pnicSpec or ()]
        for member in dvs.config.host
    }


def faults(dvs: Any, *changes: Any) -> dict[str, Any]:
    """The fault of each host, by its name."""
    with pytest.raises(vim.fault.DvsOperationBulkFault) as refused:
        reconfigure(dvs, *changes)
    return {one.host.name: one.fault for one in refused.value.hostFault}


@pytest.mark.parametrize("nic", ["vmnic0", "vmnic1", "vmnic3"])
def test_a_nic_that_is_another_switchs_uplink_is_in_use(client: Client, dvs: Any, nic: str) -> None:
    found = faults(dvs, change(client.host("esx1.lab"), "vmnic2", nic))
    assert {name: (type(fault), fault.name) for name, fault in found.items()} == {
        "esx1.lab": (vim.fault.ResourceInUse, nic)
    }
    assert nics(dvs) == {}


def test_one_host_that_cannot_join_keeps_no_other_out(client: Client, dvs: Any) -> None:
    esx1, esx2 = (client.host(name) for name in HOSTS)
    wait(esx2.DisconnectHost_Task())
    try:
        found = faults(dvs, change(esx1, "vmnic2"), change(esx2, "vmnic2"))
    finally:
        wait(esx2.ReconnectHost_Task())
    assert {name: type(fault) for name, fault in found.items()} == {"esx2.lab": vmodl.fault.HostNotConnected}
    assert nics(dvs) == {"esx1.lab": ["vmnic2"]}


def test_an_edit_replaces_the_nics_and_is_refused_as_a_whole(client: Client, dvs: Any) -> None:
    esx1 = client.host("esx1.lab")
    reconfigure(dvs, change(esx1, "vmnic2"))
    assert isinstance(
        faults(dvs, change(esx1, "vmnic4", "vmnic0", operation="edit"))["esx1.lab"], vim.fault.ResourceInUse
    )
    assert nics(dvs) == {"esx1.lab": ["vmnic2"]}
    reconfigure(dvs, change(esx1, "vmnic4", operation="edit"))
    assert nics(dvs) == {"esx1.lab": ["vmnic4"]}
    found = faults(dvs, change(client.host("esx2.lab"), "vmnic1", "vmnic2", "vmnic4"))
    assert isinstance(found["esx2.lab"], vim.fault.LimitExceeded)
    assert isinstance(faults(dvs, change(client.host("esx2.lab"), "vmnic9"))["esx2.lab"], vim.fault.NotFound)


def test_a_nic_takes_the_uplink_that_is_named_and_else_the_first_free(client: Client, dvs: Any) -> None:
    esx1 = client.host("esx1.lab")
    reconfigure(dvs, change(esx1, "vmnic2"))
    [member] = dvs.config.host
    first, last = member.uplinkPortKey
    there = change(esx1, "vmnic2", operation="edit")
    there.backing.pnicSpec[0].uplinkPortKey = last
    reconfigure(dvs, there)
    assert uplinks(dvs) == {"vmnic2": last}
    both = change(esx1, "vmnic4", "vmnic2", operation="edit")
    both.backing.pnicSpec[1].uplinkPortKey = last
    reconfigure(dvs, both)
    assert uplinks(dvs) == {"vmnic2": last, "vmnic4": first}
    [proxy] = [one for one in esx1.config.network.proxySwitch if one.dvsUuid == dvs.uuid]
    assert {pair.value: pair.key for pair in proxy.uplinkPort} == uplinks(dvs)
    ports = dvs.FetchDVPorts(vim.dvs.PortCriteria(uplinkPort=True, connected=True))
    assert {port.connectee.nicKey.rpartition("-")[2]: port.key for port in ports} == uplinks(dvs)
    reconfigure(dvs, change(esx1, "vmnic2", operation="edit"))
    assert uplinks(dvs) == {"vmnic2": first}


def uplinks(dvs: Any) -> dict[str, str]:
    """The uplink port of each physical NIC."""
    [member] = dvs.config.host
    return {spec.pnicDevice: spec.uplinkPortKey for spec in member.config.backing.pnicSpec}


def test_a_nic_named_twice_and_a_host_of_another_datacenter_are_no_arguments(client: Client, dvs: Any) -> None:
    for wrong in (change(client.host("esx2.lab"), "vmnic2", "vmnic2"), change(client.host("far.lab"))):
        with pytest.raises(vmodl.fault.InvalidArgument):
            reconfigure(dvs, wrong)
    assert nics(dvs) == {}


def test_a_hosts_own_interfaces_say_which_switch_they_stand_on(client: Client) -> None:
    network = client.host("esx1.lab").config.network
    on = {vnic.device: vnic.spec for vnic in network.vnic}
    groups = {group.spec.name: group.spec.vswitchName for group in network.portgroup}
    assert groups[on["vmk0"].portgroup] == "vSwitch0"
    assert groups[on["vmk1"].portgroup] == "storage"
    assert on["vmk2"].distributedVirtualPort.switchUuid == client.dvs("other").uuid
    assert "vmk2" not in {vnic.device for vnic in client.host("esx2.lab").config.network.vnic}
