"""pyVmomi can read every property of every object, whole and one by one."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import VmomiSupport, vim, vmodl

from tests.lab.vcenter.client import Client

pytestmark = pytest.mark.sim

KINDS = [
    vim.Folder,
    vim.Datacenter,
    vim.ClusterComputeResource,
    vim.ComputeResource,
    vim.HostSystem,
    vim.ResourcePool,
    vim.VirtualMachine,
    vim.Datastore,
    vim.Network,
    vim.dvs.DistributedVirtualPortgroup,
    vim.DistributedVirtualSwitch,
    vim.dvs.VmwareDistributedVirtualSwitch,
]


def read(client: Client, obj: Any, **what: Any) -> Any:
    collect = vmodl.query.PropertyCollector
    spec = collect.FilterSpec(
        objectSet=[collect.ObjectSpec(obj=obj)], propSet=[collect.PropertySpec(type=type(obj), **what)]
    )
    answer = client.content.propertyCollector.RetrievePropertiesEx([spec], collect.RetrieveOptions())
    (content,) = answer.objects
    return content


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.rpartition(".")[2])
def test_every_property_of_an_inventory_object_can_be_read(client: Client, kind: Any) -> None:
    objects = client.all(kind)
    assert objects
    for obj in objects[:4]:
        content = read(client, obj, all=True)
        assert not content.missingSet
        assert content.propSet


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.rpartition(".")[2])
def test_every_attribute_of_an_inventory_object_can_be_read_one_by_one(client: Client, kind: Any) -> None:
    for obj in client.all(kind)[:2]:
        for info in type(obj)._GetPropertyList():
            if VmomiSupport.IsChildVersion(obj._stub.version, info.version):  # else newer than the API version spoken
                getattr(obj, info.name)


def test_every_service_object_can_be_read(client: Client) -> None:
    for info in type(client.content)._GetPropertyList():
        obj = getattr(client.content, info.name)
        if isinstance(obj, VmomiSupport.ManagedObject):
            content = read(client, obj, all=True)
            assert not content.missingSet, info.name


def test_what_a_host_manages_can_be_read(client: Client) -> None:
    manager = client.host("esx1.lab").configManager
    for info in type(manager)._GetPropertyList():
        obj = getattr(manager, info.name)
        if isinstance(obj, VmomiSupport.ManagedObject):
            assert read(client, obj, all=True).missingSet == []


def test_every_event_can_be_read(client: Client) -> None:
    collector = client.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
    assert collector.ReadNextEvents(1000)
    assert collector.latestPage
    assert client.content.eventManager.QueryEvents(vim.event.EventFilterSpec())


def test_an_unset_property_reads_as_none(client: Client) -> None:
    assert client.content.rootFolder.parent is None
    assert client.vm("resident").snapshot is None


def test_a_property_that_does_not_exist_is_refused_by_its_name(client: Client) -> None:
    with pytest.raises(vmodl.query.InvalidProperty) as refused:
        read(client, client.vm("resident"), pathSet=["nonsense"])
    assert refused.value.name == "nonsense"


def test_a_large_answer_comes_in_pages(client: Client) -> None:
    collect = vmodl.query.PropertyCollector
    view = client.content.viewManager.CreateContainerView(client.content.rootFolder, [vim.ManagedEntity], True)
    traversal = collect.TraversalSpec(path="view", skip=False, type=vim.view.ContainerView)
    spec = collect.FilterSpec(
        objectSet=[collect.ObjectSpec(obj=view, skip=True, selectSet=[traversal])],
        propSet=[collect.PropertySpec(type=vim.ManagedEntity, pathSet=["name"])],
    )
    collector = client.content.propertyCollector
    page = collector.RetrievePropertiesEx([spec], collect.RetrieveOptions(maxObjects=5))
    seen = list(page.objects)
    while page.token:
        page = collector.ContinueRetrievePropertiesEx(page.token)
        assert len(page.objects) <= 5
        seen += page.objects
    assert {o.obj for o in seen} == set(view.view)
    assert len(seen) == len(set(view.view)) > 5
