"""An api-server that tells of changes late: nothing is taken away because it was not told of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from lab.netns.admin import Admin
from tests.app.contrail_site import A, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path) as made:
        until(lambda: mirror(made).is_whole)
        yield made


def mirror(site: Site) -> Any:
    return site.processes[0].wiring.contrail.intent._mirror  # type: ignore[union-attr]


def fall_silent(site: Site) -> None:
    """Streams live on and tell of nothing more, as with a frozen RabbitMQ behind them."""
    site.server.objects.listeners.remove(site.server.watchers._hear)


def port_group_by_another_process(admin: Admin, name: str, network: str, vni: int) -> str:
    """As isthmus makes it.  Its key."""
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=name, type="earlyBinding", numPorts=8)
    spec.description = f"isthmus/1 owner=isthmus network={network} vni={vni}"
    spec.policy = vim.dvs.VmwareDistributedVirtualSwitch.VMwarePortgroupPolicy(
        vlanOverrideAllowed=True, blockOverrideAllowed=True, portConfigResetAtDisconnect=True
    )
    spec.defaultPortConfig = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(
        blocked=vim.BoolPolicy(inherited=False, value=True)
    )
    admin.wait(admin.switch("tenants").AddDVPortgroup_Task([spec]))
    return str(admin.port_group(name).key)


def test_a_network_that_another_process_heard_of_first_keeps_its_port_group(site: Site) -> None:
    fall_silent(site)
    blue = site.client.network("blue", "10.2.0.0")
    vni = site.client.read("virtual-network", blue)["virtual_network_network_id"]
    key = port_group_by_another_process(site.admin, "blue", blue, vni)
    until(lambda: blue in {fields["uuid"] for fields in mirror(site).listed("virtual-network") or ()}, 60)
    assert site.admin.port_group("blue").key == key


def test_what_isthmus_wrote_itself_counts_though_it_is_told_late(site: Site) -> None:
    fall_silent(site)
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.admin.power_off("a")
    until(lambda: site.vids("esx1.lab") == {})
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.admin.destroy("a")
    until(lambda: site.there("virtual-machine") == set())


def test_a_network_that_is_gone_loses_its_port_group_after_the_server_was_asked(site: Site) -> None:
    blue = site.client.network("blue", "10.2.0.0")
    until(lambda: "blue" in site.admin.port_group_names())
    site.server.calls.forget()
    site.client.ask("DELETE", f"/virtual-network/{blue}")
    until(lambda: "blue" not in site.admin.port_group_names())
    assert site.server.calls.so_far()["POST", "list-bulk-collection"] >= 1
    assert "red" in site.admin.port_group_names()
