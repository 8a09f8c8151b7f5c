"""The contrail design as its operator sees it: a vCenter over SOAP, an api-server and vRouter agents over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.adapters.contrail.notes import instance_ip_uuid, vmi_uuid
from isthmus.model.names import NicId, PortId, VmId
from isthmus.model.observed import NoVlan
from lab.contrail.client import PROJECT
from lab.netns.dvs import Policy
from tests.app.contrail_site import VMI, A, B, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path) as made:
        yield made


def port_of(site: Site, vm: str, network: str, key: int = 4000) -> str:
    return vmi_uuid(PortId(f"{NicId(VmId(vm), key)}@{network}"))


def test_a_virtual_network_is_a_closed_port_group_of_its_name_and_goes_with_it(site: Site) -> None:
    settings = site.admin.port_group("red").config
    assert settings.defaultPortConfig.blocked.value
    assert settings.policy.vlanOverrideAllowed
    blue = site.client.network("blue", "10.2.0.0")
    until(lambda: "blue" in site.admin.port_group_names())
    assert site.client.ask("DELETE", f"/virtual-network/{blue}")[0] == 200
    until(lambda: "blue" not in site.admin.port_group_names())
    assert {"red", "trunk"} <= site.admin.port_group_names()


def test_port_groups_let_vms_do_what_the_deployment_says_and_are_mended_when_a_hand_forbids_it(tmp_path: Path) -> None:
    with contrail_site(tmp_path, {"isthmus": "security = { forged_transmits = true, promiscuous = true }"}) as site:

        def flags() -> tuple[bool, bool, bool]:
            macs = site.admin.port_group("red").config.defaultPortConfig.macManagementPolicy
            return macs.forgedTransmits, macs.allowPromiscuous, macs.macChanges

        assert flags() == (True, True, False)
        site.admin.set_port_group("red", Policy(NoVlan(), blocked=True))
        until(lambda: flags() == (True, True, False))


def test_a_vm_is_made_known_tagged_plugged_in_and_opened_and_leaves_nothing(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    assert A in site.there("virtual-machine")
    (port,) = site.there("virtual-machine-interface")
    assert site.agents["esx1.lab"].ports[port].address == "10.1.0.3"
    site.admin.destroy("a")
    until(lambda: site.there("virtual-machine") == set())
    assert (site.there("virtual-machine-interface"), site.there("instance-ip")) == (set(), set())
    assert site.vids("esx1.lab") == {}


def test_two_vms_of_one_host_have_two_vids_and_keep_them_over_a_restart_of_isthmus(site: Site) -> None:
    for name, uuid in (("a", A), ("b", B)):
        site.boot(name, uuid, "esx1.lab")
    until(lambda: all(site.is_wired(name, uuid, "esx1.lab") for name, uuid in (("a", A), ("b", B))))
    before = site.vids("esx1.lab")
    assert len(set(before.values())) == 2
    site.stop()
    site.start()
    until(lambda: site.agents["esx1.lab"].calls["POST /syncports"] == 2)
    until(lambda: site.vids("esx1.lab") == before)
    assert all(site.is_wired(name, uuid, "esx1.lab") for name, uuid in (("a", A), ("b", B)))


def test_power_off_unplugs_and_the_address_is_kept_for_the_next_time(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    objects = site.there("virtual-machine-interface"), site.there("instance-ip")
    site.admin.power_off("a")
    until(lambda: site.vids("esx1.lab") == {} and site.admin.vid_of("a") in (None, 0))
    assert (site.there("virtual-machine-interface"), site.there("instance-ip")) == objects
    site.admin.power_on("a")
    until(lambda: site.is_wired("a", A, "esx1.lab"))


def test_a_vmotion_keeps_port_vid_and_address_and_only_the_agent_is_another(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    objects, vid = (site.there("virtual-machine-interface"), site.there("instance-ip")), site.admin.vid_of("a")
    site.admin.migrate("a", "esx2.lab")
    until(lambda: site.is_wired("a", A, "esx2.lab") and site.vids("esx1.lab") == {})
    assert site.admin.vid_of("a") == vid
    assert (site.there("virtual-machine-interface"), site.there("instance-ip")) == objects
    assert site.agents["esx2.lab"].ports[port_of(site, A, site.red)].address == "10.1.0.3"


def test_a_nic_in_another_network_is_another_port_with_another_address(site: Site) -> None:
    blue = site.client.network("blue", "10.2.0.0")
    until(lambda: "blue" in site.admin.port_group_names())
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.admin.connect_nic("a", "blue")
    until(lambda: site.there("virtual-machine-interface") == {port_of(site, A, blue)})
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    assert site.agents["esx1.lab"].ports[port_of(site, A, blue)].address == "10.2.0.3"


def test_while_one_agent_is_away_its_host_waits_and_no_other_does(site: Site) -> None:
    site.agents["esx1.lab"].stop()
    site.boot("a", A, "esx1.lab")
    site.boot("b", B, "esx2.lab")
    until(lambda: site.is_wired("b", B, "esx2.lab"))
    until(lambda: "vRouter agent" in site.conditions())
    assert site.admin.dv_port("a")[1].config.setting.blocked.value
    site.agents["esx1.lab"].start()
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)


def test_while_the_api_server_is_away_what_runs_goes_on_and_nothing_is_removed(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.server.stop()
    site.boot("b", B, "esx1.lab")
    until(lambda: "api-server" in site.conditions())
    assert site.is_wired("a", A, "esx1.lab")
    assert "red" in site.admin.port_group_names()
    site.server.start()
    until(lambda: site.is_wired("b", B, "esx1.lab"), 60)


def test_two_projects_with_a_network_of_one_name_have_two_port_groups(site: Site) -> None:
    other = ["default-domain", "other"]
    site.client.make("project", other, parent_type="domain")
    subnet = {"subnet": {"ip_prefix": "10.3.0.0", "ip_prefix_len": 24}}
    ipam = {"to": ["default-domain", "default-project", "default-network-ipam"], "attr": {"ipam_subnets": [subnet]}}
    second = site.client.make("virtual-network", [*other, "red"], parent_type="project", network_ipam_refs=[ipam])
    until(lambda: any(second in name for name in site.admin.port_group_names()))
    assert len([name for name in site.admin.port_group_names() if name.startswith("red")]) == 2


def test_a_vm_of_another_program_in_the_project_is_left_alone(site: Site) -> None:
    theirs = site.client.port("theirs")
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.admin.destroy("a")
    until(lambda: A not in site.there("virtual-machine"))
    assert theirs in site.there("virtual-machine-interface")
    assert site.client.read("virtual-machine-interface", theirs)["fq_name"] == [*PROJECT, "theirs"]


def test_a_vid_is_no_other_networks_while_an_agent_that_is_away_holds_it_for_a_port_that_somebody_deleted(
    tmp_path: Path,
) -> None:
    with contrail_site(tmp_path, vids="100-100") as site:
        blue = site.client.network("blue", "10.2.0.0")
        until(lambda: "blue" in site.admin.port_group_names())
        site.boot("a", A, "esx1.lab")
        until(lambda: site.is_wired("a", A, "esx1.lab"))
        agent, port = site.agents["esx1.lab"], port_of(site, A, site.red)
        agent.stop()
        site.admin.power_off("a")
        address = instance_ip_uuid(PortId(f"{NicId(VmId(A), 4000)}@{site.red}"))
        for path in (f"/instance-ip/{address}", f"/{VMI}/{port}"):
            assert site.client.ask("DELETE", path)[0] == 200
        until(lambda: port in site.there(VMI), 60)  # it is made again, and nothing notes what the agent has
        site.boot("b", B, "esx1.lab", "blue")
        until(lambda: "no VID left" in site.conditions())
        assert site.admin.dv_port("b")[1].config.setting.blocked.value
        agent.start()
        until(lambda: site.is_wired("b", B, "esx1.lab"), 60)
        theirs = port_of(site, B, blue)
        told = [(event.what, event.vmi) for event in agent.events if event.vmi in (port, theirs)]
        assert told.index(("unplug", port)) < told.index(("plug", theirs))
