"""Which VM this machine is: what its firmware says, and how the configuration is read on an appliance."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.app import settings
from isthmus.app.this_machine import bios_uuids
from tests.app.test_settings import GOOD, errors, read

SHOWN = "33221142-5544-7766-8899-aabbccddeeff"
VCENTERS = "42112233-4455-6677-8899-aabbccddeeff"
"""What vCenter shows of a VM whose kernel shows SHOWN."""
FIRST, SECOND = '[deployment.tenant.host."esx1.example"]\n', '[deployment.tenant.host."esx2.example"]\n'
HERE = GOOD.replace('dvs = "tenant"\n', 'dvs = "tenant"\nserve = "here"\n')
"""One file for every appliance."""


def dmi(folder: Path, vendor: str = "VMware, Inc.", uuid: str = SHOWN) -> Path:
    (folder / "sys_vendor").write_text(f"{vendor}\n")
    (folder / "product_uuid").write_text(f"{uuid}\n")
    return folder


def with_uuids(text: str, first: str, second: str) -> str:
    one, two = f'{FIRST}bios_uuid = "{first}"\n', f'{SECOND}bios_uuid = "{second}"\n'
    return text.replace(FIRST, one).replace(SECOND, two)


@pytest.fixture
def on_an_appliance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dmi").mkdir()
    found = bios_uuids(dmi(tmp_path / "dmi"))
    monkeypatch.setattr(settings, "bios_uuids", lambda: found)


OTHERS = "42000000-0000-0000-0000-000000000002"


def test_both_orders_of_the_first_fields_are_told(tmp_path: Path) -> None:
    assert bios_uuids(dmi(tmp_path)) == {SHOWN, VCENTERS}


@pytest.mark.parametrize(("vendor", "uuid"), [("QEMU", SHOWN), ("VMware, Inc.", "Not Settable"), ("VMware, Inc.", "")])
def test_a_machine_that_is_no_vm_of_vspheres_has_none(tmp_path: Path, vendor: str, uuid: str) -> None:
    assert bios_uuids(dmi(tmp_path, vendor, uuid)) == frozenset()


def test_a_machine_without_firmware_tables_has_none(tmp_path: Path) -> None:
    assert bios_uuids(tmp_path / "nowhere") == frozenset()


@pytest.mark.usefixtures("on_an_appliance")
def test_one_file_serves_every_appliance_its_own_host(tmp_path: Path) -> None:
    config = read(tmp_path, with_uuids(HERE, OTHERS, VCENTERS.upper())).config
    assert config.deployment["tenant"].served == ("esx2.example",)


@pytest.mark.usefixtures("on_an_appliance")
def test_an_appliance_that_is_no_hosts_is_told_its_uuid(tmp_path: Path) -> None:
    [told] = errors(tmp_path, with_uuids(HERE, OTHERS, OTHERS[:-1] + "3"))
    assert told.startswith("isthmus.toml:11: deployment.tenant.serve: this machine's BIOS UUID is ")
    assert VCENTERS in told


def test_here_is_refused_where_this_machine_is_no_appliance(tmp_path: Path) -> None:
    [told] = errors(tmp_path, with_uuids(HERE, OTHERS, VCENTERS))
    assert "deployment.tenant.serve: this is no VM of vSphere's, or does not say which: name the host" in told


@pytest.mark.usefixtures("on_an_appliance")
def test_a_copy_of_an_appliance_does_not_take_itself_for_it(tmp_path: Path) -> None:
    copied = with_uuids(GOOD, OTHERS, VCENTERS).replace('dvs = "tenant"\n', 'dvs = "tenant"\nserve = "esx1.example"\n')
    [told] = errors(tmp_path, copied)
    assert 'deployment.tenant.host."esx1.example".bios_uuid: this machine\'s is' in told
    assert "is it a copy of the appliance?" in told


def test_no_two_hosts_have_one_appliance_and_nonsense_is_named(tmp_path: Path) -> None:
    [told] = errors(tmp_path, with_uuids(GOOD, VCENTERS, VCENTERS.upper()))
    assert told.endswith("is the appliance of 'tenant/esx1.example' already: each host has its own")
    [told] = errors(tmp_path, with_uuids(GOOD, "va1", VCENTERS))
    assert "'va1' is not a BIOS UUID such as" in told
