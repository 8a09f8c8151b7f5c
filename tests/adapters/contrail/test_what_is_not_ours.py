"""What others put on the api-server: copies of our notes, references to what is ours, and objects of another shape."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.notes import (
    VM_OWNER,
    WORKLOAD,
    as_annotations,
    plug_key,
    plug_note,
    vm_note,
    vmi_uuid,
    workload_note,
)
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import NetworkId, NicId, PortId, VmId
from isthmus.model.nve import Plug, Workload
from isthmus.model.tags import Vid, Vni
from tests.adapters.contrail.test_vrouter import ESX1, MAC, PROJECT, Site, site

__all__ = ["site"]
VMI = "virtual-machine-interface"
THEIRS = "5011aabb-0000-4000-8000-0000000000ff"
SECOND = NicId(VmId("5011aabb-0000-4000-8000-000000000002"), 4000)


def copied(site: Site, name: str, notes: dict[str, str]) -> str:
    """A tenant's VMI that carries notes as isthmus writes them; its uuid."""
    perms = {"creator": "tenant", "enable": True}
    if THEIRS not in site.there("virtual-machine"):
        site.client.make("virtual-machine", [THEIRS], uuid=THEIRS, id_perms=perms)
    return str(
        site.client.port(
            name, id_perms=perms, virtual_machine_refs=[{"to": [THEIRS]}], annotations=as_annotations(notes)
        )
    )


def left_behind(site: Site, workload: Workload) -> None:
    """As by a process that was killed after it had given the workload up."""
    note = {WORKLOAD: workload_note(workload, "isthmus", vm_is_ours=True)}
    uuid = vmi_uuid(workload.port)
    site.client.ask("PUT", f"/{VMI}/{uuid}", {VMI: {"annotations": as_annotations(note)}})


def swept(site: Site) -> None:
    site.start()
    site.at[ESX1]._objects.sweep()


def test_a_vmi_that_carries_a_copy_of_our_note_is_not_removed(site: Site) -> None:
    uuid = copied(site, "copy", {WORKLOAD: workload_note(site.work(), "isthmus", vm_is_ours=False)})
    swept(site)
    assert uuid in site.there(VMI)


def test_a_copied_note_gives_no_plug_another_vid_and_takes_none(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug(101))
    ghost = Plug(PortId("ghost"), Vid(7), NetworkId(site.network), Vni(5), SECOND, MAC)
    for n in range(8):  # of two that say something of one port the last that was listed would count
        copied(site, f"copy-{n}", {plug_key(ESX1): plug_note(site.plug(666), "isthmus")})
    copied(site, "ghost", {plug_key(ESX1): plug_note(ghost, "isthmus")})
    site.start()
    assert {int(held.vid) for held in site.holds(ESX1) if isinstance(held, Plug)} == {101}


def test_one_left_vmi_to_which_another_refers_keeps_no_other_and_no_vm(site: Site) -> None:
    kept, goes = site.work(), site.work(nic=SECOND, vm_name="b")
    for workload in (kept, goes):
        site.learns(ESX1, workload)
        left_behind(site, workload)
    uuid = vmi_uuid(kept.port)
    site.client.address("service", virtual_machine_interface_refs=[{"to": [*PROJECT, uuid], "uuid": uuid}])
    orphan = "5011aabb-0000-4000-8000-0000000000ee"
    perms, notes = {"creator": "isthmus", "enable": True}, as_annotations({VM_OWNER: vm_note("isthmus")})
    site.client.make("virtual-machine", [orphan], uuid=orphan, id_perms=perms, annotations=notes)
    with pytest.raises(Refused, match="still referred"):
        swept(site)
    assert site.there(VMI) == {uuid}
    assert orphan not in site.there("virtual-machine")


def test_a_vm_of_another_shape_costs_no_other_its_writes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ApiServer.listed

    def with_an_odd_one(self: ApiServer, kind: str, *more: Any) -> Any:
        odd = [{"uuid": "x", "fq_name": ["x"], "id_perms": "odd"}] if kind == "virtual-machine" else []
        return [*listed(self, kind, *more), *odd]

    monkeypatch.setattr(ApiServer, "listed", with_an_odd_one)
    site.learns(ESX1, site.work(), site.plug())
    assert vmi_uuid(site.work().port) in site.there(VMI)


def test_a_sweep_that_the_api_server_did_not_answer_is_made_again_within_a_minute(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.learns(ESX1, site.work())
    left_behind(site, site.work())
    site.start()
    objects = site.at[ESX1]._objects
    sweep, away = objects.sweep, [True]

    def sweeps() -> None:
        if away[0]:
            raise Retry("away")
        sweep()

    monkeypatch.setattr(objects, "sweep", sweeps)
    with pytest.raises(Retry):
        objects.sweep_now_and_then(1000.0)
    away[0] = False
    objects.sweep_now_and_then(1061.0)
    assert not site.there(VMI)
