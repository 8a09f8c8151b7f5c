"""Where an appliance is, as vCenter tells: on its host, on another's, or nobody can say."""

from __future__ import annotations

import pytest

from isthmus.core.appliances import astray
from isthmus.model.faults import Refused
from isthmus.model.inventory import Host, Inventory, Machine
from isthmus.model.names import HostId

ESX1, ESX2 = HostId("vc/host-1"), HostId("vc/host-2")
HOSTS = {ESX1: Host(ESX1, "esx1"), ESX2: Host(ESX2, "esx2")}
OURS, OTHER = "42000000-0000-0000-0000-000000000001", "42000000-0000-0000-0000-000000000002"


def told(*machines: Machine) -> str:
    return astray(Inventory(HOSTS, {}, {}, machines=machines), ESX1, OURS)


def test_an_appliance_on_its_host_is_not_astray_whatever_others_do() -> None:
    assert told(Machine(OURS, "va1", ESX1, True), Machine(OTHER, "va2", ESX1, True)) == ""


def test_an_appliance_on_anothers_host_is_named_with_both() -> None:
    assert told(Machine(OURS, "va1", ESX2, True)).startswith("the appliance va1 is on host esx2 and serves esx1")


def test_a_host_that_is_not_known_by_name_is_named_by_its_id() -> None:
    assert "is on host vc/host-7 and" in told(Machine(OURS, "va1", HostId("vc/host-7"), True))


def test_an_appliance_of_which_no_host_is_known_yet_is_not_astray() -> None:
    assert told(Machine(OURS, "va1", None, True)) == ""


def test_of_several_with_one_bios_uuid_the_one_that_runs_is_the_appliance() -> None:
    assert told(Machine(OURS, "copy", ESX2, False), Machine(OURS, "va1", ESX1, True)) == ""


def test_while_two_with_one_bios_uuid_run_nobody_can_say() -> None:
    with pytest.raises(Refused, match="va1, copy have one BIOS UUID"):
        told(Machine(OURS, "va1", ESX1, True), Machine(OURS, "copy", ESX2, True))


def test_an_appliance_that_vcenter_does_not_show_is_nowhere() -> None:
    with pytest.raises(Refused, match=f"no VM with BIOS UUID {OURS}"):
        told(Machine(OTHER, "va2", ESX1, True))
