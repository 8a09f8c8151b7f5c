"""Mode vcenter-as-compute: Nova and Neutron make VM, VMI and instance-ip, and isthmus tags and plugs what is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.contrail.client import PROJECT
from lab.netns.admin import macs_of
from tests.app.contrail_site import VMI, A, B, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path, intent='mode = "vcenter-as-compute"') as made:
        yield made


def neutron_port(site: Site, vm: str, mac: str, network: str = "red") -> str:
    """As Neutron and Nova leave it: a port with an address, and the VM it is for."""
    client = site.client
    if vm not in site.there("virtual-machine"):
        client.make("virtual-machine", [vm], uuid=vm)
    name = f"port-{len(site.there(VMI))}"
    port = client.port(
        name,
        network,
        virtual_machine_refs=[{"to": [vm]}],
        virtual_machine_interface_mac_addresses={"mac_address": [mac]},
    )
    refs = [{"to": [*PROJECT, name]}]
    status, said = client.address(f"ip-{name}", network, virtual_machine_interface_refs=refs)
    assert status == 200, said
    return port


def made(site: Site, name: str, vm: str, host: str, network: str = "red") -> str:
    """The MAC of a VM's NIC, the VM being off."""
    site.admin.create_vm(name, host, [network], uuid=vm)
    return macs_of(site.admin.vm(name))[0]


def test_a_port_of_neutrons_is_tagged_and_plugged_in_with_its_address_and_nothing_is_made(site: Site) -> None:
    port = neutron_port(site, A, made(site, "a", A, "esx1.lab"))
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    assert site.agents["esx1.lab"].ports[port].address == "10.1.0.3"
    assert (site.there("virtual-machine"), site.there(VMI)) == ({A}, {port})


def test_a_vm_that_neutron_does_not_know_stays_closed_and_is_named(site: Site) -> None:
    neutron_port(site, A, made(site, "a", A, "esx1.lab"))
    site.boot("b", B, "esx1.lab")
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    assert site.admin.dv_port("b")[1].config.setting.blocked.value
    assert B not in site.vids("esx1.lab")
    assert site.there("virtual-machine") == {A}
    until(lambda: "b" in site.conditions())


def test_a_vmotion_moves_the_plug_and_leaves_neutrons_objects_as_they_are(site: Site) -> None:
    port = neutron_port(site, A, made(site, "a", A, "esx1.lab"))
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    vid = site.admin.vid_of("a")
    site.admin.migrate("a", "esx2.lab")
    until(lambda: site.is_wired("a", A, "esx2.lab") and site.vids("esx1.lab") == {})
    assert (site.admin.vid_of("a"), site.there(VMI)) == (vid, {port})


def test_a_vm_that_goes_is_unplugged_and_its_port_is_neutrons_to_delete(site: Site) -> None:
    port = neutron_port(site, A, made(site, "a", A, "esx1.lab"))
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.admin.destroy("a")
    until(lambda: site.vids("esx1.lab") == {})
    until(lambda: "isthmus/plug" not in str(site.client.read(VMI, port).get("annotations")))
    assert (site.there("virtual-machine"), site.there(VMI)) == ({A}, {port})


def test_a_port_that_neutron_deletes_is_closed_and_unplugged(site: Site) -> None:
    port = neutron_port(site, A, made(site, "a", A, "esx1.lab"))
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    (address,) = site.there("instance-ip")
    assert site.client.ask("DELETE", f"/instance-ip/{address}")[0] == 200
    assert site.client.ask("DELETE", f"/{VMI}/{port}")[0] == 200
    until(lambda: site.vids("esx1.lab") == {} and site.admin.dv_port("a")[1].config.setting.blocked.value)


def test_isthmus_started_anew_keeps_what_is_plugged_in_as_it_is(site: Site) -> None:
    neutron_port(site, A, made(site, "a", A, "esx1.lab"))
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    before = site.vids("esx1.lab")
    site.stop()
    site.start()
    until(lambda: site.agents["esx1.lab"].calls["POST /syncports"] == 2)
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    assert site.vids("esx1.lab") == before
