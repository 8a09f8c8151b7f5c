"""What is noted on a VMI is read back as it was meant, and only by the installation that noted it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.contrail.notes import (
    HOME,
    WORKLOAD,
    Record,
    as_annotations,
    instance_ip_uuid,
    plug_key,
    plug_note,
    record_in,
    vmi_uuid,
    workload_note,
)
from isthmus.model.names import HostId, Mac, NetworkId, NicId, PortId, VmId
from isthmus.model.nve import Plug, Workload
from isthmus.model.tags import Vid, Vni

VM, NET = "50001111-2222-3333-4444-555566667777", "aaaa1111-2222-3333-4444-555566667777"
NIC = NicId(VmId(VM), 4000)
PORT = PortId(f"{NIC}@{NET}")
MAC = Mac("00:50:56:00:00:01")
WORK = Workload(PORT, NetworkId(NET), Vni(5), NIC, MAC, "web-1")
PLUG = Plug(PORT, Vid(101), NetworkId(NET), Vni(5), NIC, MAC)
ESX1, ESX2 = HostId("vc/host-1"), HostId("vc/host-2")


def vmi(notes: dict[str, str]) -> dict[str, Any]:
    refs = {"virtual_machine_refs": [{"uuid": VM}], "virtual_network_refs": [{"uuid": NET}]}
    return {"uuid": vmi_uuid(PORT), **refs, "annotations": as_annotations(notes)}


def noted(owner: str = "isthmus") -> dict[str, str]:
    work = workload_note(WORK, owner, vm_is_ours=True)
    return {WORKLOAD: work, HOME: ESX1, plug_key(ESX1): plug_note(PLUG, owner)}


def test_what_was_noted_is_read_back() -> None:
    read = record_in(vmi(noted()), "isthmus", ("10.0.0.3",))
    assert read == Record(vmi_uuid(PORT), WORK, ESX1, {ESX1: PLUG}, ("10.0.0.3",), vm_is_ours=True)


def test_two_hosts_note_their_plugs_beside_each_other() -> None:
    both = noted() | {plug_key(ESX2): plug_note(PLUG, "isthmus")}
    assert set(record_in(vmi(both), "isthmus").plugs) == {ESX1, ESX2}


def test_what_another_installation_noted_is_nothing_to_us() -> None:
    assert record_in(vmi(noted("other")), "isthmus") == Record(vmi_uuid(PORT))


def test_a_note_of_a_newer_schema_is_not_judged() -> None:
    newer = {key: text.replace('"schema": 1', '"schema": 2') for key, text in noted().items()}
    assert record_in(vmi(newer), "isthmus") == Record(vmi_uuid(PORT))


@pytest.mark.parametrize("text", ["", "null", "{", "[]", "7", '{"schema": 1, "owner": "isthmus"}'])
def test_a_note_that_a_hand_has_spoilt_says_nothing(text: str) -> None:
    spoilt = {WORKLOAD: text, HOME: ESX1, plug_key(ESX1): text}
    assert record_in(vmi(spoilt), "isthmus") == Record(vmi_uuid(PORT))


@pytest.mark.parametrize("vid", [0, 4095, -1, "x", None])
def test_a_vid_that_no_frame_can_wear_is_no_plug(vid: object) -> None:
    said = json.loads(plug_note(PLUG, "isthmus")) | {"vid": vid}
    assert record_in(vmi({plug_key(ESX1): json.dumps(said)}), "isthmus").plugs == {}


@pytest.mark.parametrize("held", [None, {}, {"key_value_pair": None}, {"key_value_pair": [7, {"key": 1}]}, "text"])
def test_a_vmi_of_which_nobody_noted_anything_is_nobodys(held: object) -> None:
    assert record_in({**vmi({}), "annotations": held}, "isthmus") == Record(vmi_uuid(PORT))


def test_a_listed_port_is_its_own_vmi() -> None:
    assert vmi_uuid(PortId(NET.upper())) == NET


@given(st.lists(st.tuples(st.uuids(), st.integers(4000, 4009), st.uuids()), min_size=2, unique=True))
def test_no_two_nics_or_networks_have_one_vmi_or_one_address(ports: list[tuple[Any, int, Any]]) -> None:
    ids = [PortId(f"{NicId(VmId(str(vm)), key)}@{net}") for vm, key, net in ports]
    uuids = [of(port) for port in ids for of in (vmi_uuid, instance_ip_uuid)]
    assert len(set(uuids)) == len(uuids)


def test_the_uuids_are_the_same_after_every_restart() -> None:
    """Fixed here: another convention would make every VMI anew, with another address."""
    assert (vmi_uuid(PortId("vm/4000@net")), instance_ip_uuid(PortId("vm/4000@net"))) == (
        "7d615593-62f1-5743-be7a-3cd4e4203d09",
        "11367667-5b56-582e-931f-f52486226d33",
    )
