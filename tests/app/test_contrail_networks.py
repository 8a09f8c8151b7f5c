"""How a virtual network goes in the contrail design, and what keeps it from going."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from isthmus.app import cli
from tests.app.contrail_site import VMI, A, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path) as made:
        yield made


def deleted(site: Site, network: str) -> int:
    return site.client.ask("DELETE", f"/virtual-network/{network}")[0]


def explained(site: Site, wanted: str) -> list[dict[str, Any]]:
    return list(site.processes[0].daemon.answer({"do": "explain", "port": wanted})["rows"])


def test_ports_of_vms_that_are_gone_never_keep_a_network(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    assert deleted(site, site.red) == 409
    site.admin.destroy("a")
    until(lambda: deleted(site, site.red) == 200, 60)
    until(lambda: "red" not in site.admin.port_group_names(), 60)
    assert site.there(VMI) == set()


def test_ports_of_vms_that_went_while_isthmus_was_away_keep_no_network_either(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.stop()
    site.admin.destroy("a")
    site.start()
    until(lambda: deleted(site, site.red) == 200, 60)
    until(lambda: "red" not in site.admin.port_group_names(), 60)


def test_a_thousand_networks_at_once_are_port_groups_and_a_vm_that_boots_meanwhile_is_served(site: Site) -> None:
    names = {f"n{number}" for number in range(1000)}
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(site.client.network, sorted(names))
        site.boot("a", A, "esx1.lab")
        list(made)
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)
    until(lambda: names <= site.admin.port_group_names(), 120)
    until(lambda: not site.conditions(), 60)


def test_a_vm_that_is_off_keeps_its_network_for_its_address_is_in_it(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.admin.power_off("a")
    until(lambda: site.vids("esx1.lab") == {})
    assert deleted(site, site.red) == 409
    site.admin.destroy("a")
    until(lambda: deleted(site, site.red) == 200, 60)


def test_a_network_that_goes_while_a_vm_is_in_it_leaves_its_port_group_till_the_vm_has_left(site: Site) -> None:
    blue = site.client.network("blue", "10.2.0.0")
    until(lambda: "blue" in site.admin.port_group_names(), 60)
    site.boot("a", A, "esx1.lab", "blue")
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)
    (port,) = site.there(VMI)
    (address,) = site.there("instance-ip")
    # Somebody takes from it what held it.
    assert site.client.ask("DELETE", f"/instance-ip/{address}")[0] == 200
    assert site.client.ask("DELETE", f"/virtual-machine-interface/{port}")[0] == 200
    assert deleted(site, blue) == 200
    until(lambda: "NICs are plugged in: VM a" in site.conditions(), 60)
    until(lambda: bool(site.admin.dv_port("a")[1].config.setting.blocked.value), 60)
    assert "blue" in site.admin.port_group_names()
    (row,) = explained(site, blue)
    assert row["wanted"].startswith("no")
    assert row["port_groups"] == ["blue"]
    assert [held.startswith("NIC") and "VM a, on esx1.lab" in held for held in row["held_by"]] == [True]
    site.admin.destroy("a")
    until(lambda: "blue" not in site.admin.port_group_names(), 60)
    until(lambda: explained(site, blue) == [], 60)


def test_what_holds_a_network_is_told_by_its_name_ours_and_others(site: Site) -> None:
    theirs = site.client.port("theirs", id_perms={"creator": "vcenter-plugin", "enable": True})
    alone = site.client.address("alone")[1]["instance-ip"]["uuid"]
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)
    (row,) = explained(site, "red")
    (ours,) = site.there(VMI) - {theirs}
    held = "; ".join(row["held_by"])
    assert (row["network"], row["network_id"], row["wanted"], row["port_groups"]) == ("red", site.red, "yes", ["red"])
    assert f"port {ours} of VM a, kept by esx1.lab, in the vRouter agent of esx1.lab" in held
    assert "another's port default-domain:vCenter:theirs, made by vcenter-plugin" in held
    assert "VM a, on esx1.lab" in held
    assert f"({alone})" in held
    assert len(row["held_by"]) == 4


def test_a_command_without_a_daemon_says_what_holds_a_network(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.client.port("theirs")
    site.stop()
    assert cli.main(["explain", "red", "--config", str(site.processes[0].file)]) == 0
    said = capsys.readouterr().out
    assert "held by          another's port default-domain:vCenter:theirs" in said
    assert cli.main(["explain", "green", "--config", str(site.processes[0].file)]) == 1
    site.start()
