"""A read is the whole truth or an exception: an expired session whose answers lack everything deletes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter import reading
from isthmus.adapters.vcenter.moves import Moves
from isthmus.adapters.vcenter.reading import gone, properties, properties_with
from isthmus.model.faults import Refused, Retry

Collector = vmodl.query.PropertyCollector
VM = vim.VirtualMachine("vm-1", None)


def missing(fault: Any, path: str = "name") -> list[Any]:
    return [Collector.MissingProperty(path=path, fault=fault)]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (vim.fault.NotAuthenticated(), vim.fault.NotAuthenticated),
        (vim.fault.NoPermission(privilegeId="System.Read"), Refused),
        (vmodl.fault.SystemError(), Retry),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_could_not_be_read_is_not_taken_for_absent(fault: Any, raised: Any) -> None:
    with pytest.raises(raised):
        gone(VM, missing(fault))


def test_only_an_object_that_vcenter_calls_gone_is_gone() -> None:
    assert gone(VM, missing(vmodl.fault.ManagedObjectNotFound()))
    assert not gone(VM, [])


class Answering:
    """A property collector that gives out prepared pages."""

    def __init__(self, *pages: list[Any]) -> None:
        self.pages = list(pages)
        self.propertyCollector = self.viewManager = self
        self.rootFolder = None

    def RetrievePropertiesEx(self, specs: Any, options: Any) -> Any:  # noqa: N802
        return self.ContinueRetrievePropertiesEx("")

    def ContinueRetrievePropertiesEx(self, token: str) -> Any:  # noqa: N802
        objects = self.pages.pop(0)
        page: Any = Collector.RetrieveResult(token="more" if self.pages else None)
        if objects:
            page.objects = objects
        return page


def content(moref: str, missing_set: Any = ()) -> Any:
    change = vmodl.DynamicProperty(name="name", val=moref)
    return Collector.ObjectContent(obj=vim.VirtualMachine(moref, None), propSet=[change], missingSet=list(missing_set))


def test_every_page_is_read() -> None:
    server: Any = Answering([content("vm-1"), content("vm-2")], [content("vm-3")], [])
    read = properties(server, [VM], {vim.VirtualMachine: ["name"]})
    assert {found["name"] for found in read.values()} == {"vm-1", "vm-2", "vm-3"}


def test_a_page_that_cannot_be_believed_spoils_the_whole() -> None:
    lost = missing(vim.fault.NotAuthenticated())
    server: Any = Answering([content("vm-1")], [content("vm-2", lost)])
    with pytest.raises(vim.fault.NotAuthenticated):
        properties(server, [VM], {vim.VirtualMachine: ["name"]})


def test_a_list_whose_owner_does_not_answer_is_unknown_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    server: Any = Answering([])
    monkeypatch.setattr(reading, "retrieve_properties", Answering.RetrievePropertiesEx)
    with pytest.raises(Retry):
        properties_with(server, VM, "network", {vim.VirtualMachine: ["name"]})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def event(kind: Any, vm: str = "vm-1", to: str | None = None) -> Any:
    made = kind(vm=vim.event.VmEventArgument(vm=vim.VirtualMachine(vm, None), name="x"))
    if to:
        made.destHost = vim.event.HostEventArgument(host=vim.HostSystem(to, None), name="y")
    return made


def test_a_move_lasts_from_its_announcement_to_its_end_or_deadline() -> None:
    clock = Clock()
    moves = Moves(60.0, clock)
    assert moves.take(event(vim.event.VmBeingHotMigratedEvent, to="host-2")) == {"host-2"}
    clock.now = 5.0
    moves.take(event(vim.event.VmBeingHotMigratedEvent, to="host-2"))
    assert moves.pending() == {"vm-1": ("host-2", 0.0)}, "heard twice, announced once"
    moves.take(event(vim.event.VmBeingMigratedEvent, vm="vm-2", to="host-3"))
    assert moves.take(event(vim.event.DrsVmMigratedEvent)) == {"host-2"}
    assert moves.pending() == {"vm-2": ("host-3", 5.0)}
    clock.now = 66.0
    assert moves.pending() == {}


@pytest.mark.parametrize("end", [vim.event.VmMigratedEvent, vim.event.VmFailedMigrateEvent, vim.event.VmRelocatedEvent])
def test_an_end_that_was_never_announced_is_harmless(end: Any) -> None:
    moves = Moves(60.0, Clock())
    assert moves.take(event(end)) == set()
    assert moves.pending() == {}


def test_an_event_without_a_vm_is_no_move() -> None:
    assert Moves(60.0, Clock()).take(vim.event.DvsPortConnectedEvent()) == set()
