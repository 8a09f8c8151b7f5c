"""A VM that an older Contrail program served is served by isthmus, and keeps its address: the whole way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.contrail.client import PROJECT
from tests.app.contrail_site import VMI, A, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim
MAC = "00:50:56:00:00:41"
THEIRS = {"creator": "vcenter-manager", "enable": True}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path, intent="adopt = true") as made:
        yield made


def older_port(site: Site) -> str:
    refs = {
        "virtual_machine_refs": [{"to": [A]}],
        "virtual_machine_interface_mac_addresses": {"mac_address": [MAC]},
    }
    site.client.make("virtual-machine", [A], uuid=A, id_perms=THEIRS, display_name="192.0.2.1")
    port = site.client.port("old", id_perms=THEIRS, **refs)
    to = [{"to": [*PROJECT, "old"]}]
    given = {"instance_ip_address": "10.1.0.77", "virtual_machine_interface_refs": to}
    assert site.client.address("old-ip", id_perms=THEIRS, **given)[0] == 200
    return port


def test_a_vm_of_an_older_program_keeps_its_address_and_nothing_else_of_it_stays(site: Site) -> None:
    older = older_port(site)
    site.admin.create_vm("a", "esx1.lab", ["red"], uuid=A, macs=[MAC])
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)
    (port,) = site.there(VMI)
    assert port != older
    assert site.agents["esx1.lab"].ports[port].address == "10.1.0.77"
    site.admin.destroy("a")
    until(lambda: site.there("virtual-machine") == set(), 60)
    assert (site.there(VMI), site.there("instance-ip")) == (set(), set())
