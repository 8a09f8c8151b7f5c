"""What the far sides of the contrail design may say or lack: it is named, and costs the others nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.model.observed import Access
from lab.contrail import faults, vrouter_agent
from lab.contrail.client import PROJECT
from lab.netns.dvs import Policy
from tests.app.contrail_site import A, B, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim
C = "5011aabb-0000-4000-8000-000000000003"
HOSTILE = ("a/b", "50%", "%2f", "<x>&\"'", "é ü 漢", " blank", "x" * 300, "x" * 299 + "y", "back\\slash", "tab\there")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path) as made:
        yield made


def test_a_network_without_a_subnet_is_named_and_the_next_one_is_made(site: Site) -> None:
    site.client.make("virtual-network", [*PROJECT, "bare"], parent_type="project")
    site.client.network("blue", "10.2.0.0")
    until(lambda: "blue" in site.admin.port_group_names())
    until(lambda: "has no subnet" in site.conditions())
    assert "bare" not in site.admin.port_group_names()


def test_hostile_names_are_port_groups_that_can_be_told_apart_and_go_with_their_networks(site: Site) -> None:
    before = site.admin.port_group_names()
    made = [site.client.network(name, f"10.{number}.0.0") for number, name in enumerate(HOSTILE, start=10)]
    until(lambda: len(site.admin.port_group_names() - before) == len(HOSTILE))
    for network in made:
        assert site.client.ask("DELETE", f"/virtual-network/{network}")[0] == 200
    until(lambda: site.admin.port_group_names() == before)


def test_something_else_at_an_agents_address_is_named_and_nothing_opens_there(site: Site) -> None:
    site.agents["esx1.lab"].trouble = vrouter_agent.HTML
    site.boot("a", A, "esx1.lab")
    site.boot("b", B, "esx2.lab")
    until(lambda: site.is_wired("b", B, "esx2.lab"))
    until(lambda: "answers like something else" in site.conditions())
    assert site.admin.dv_port("a")[1].config.setting.blocked.value
    site.agents["esx1.lab"].trouble = None
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)


@pytest.mark.parametrize("nonsense", [faults.HTML, faults.HALF_JSON, faults.BAD_GATEWAY], ids=["html", "half", "502"])
def test_nonsense_of_the_api_server_removes_nothing_and_is_named(site: Site, nonsense: faults.Spoiled) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    site.server.faults.spoiled = nonsense
    site.server.watchers.drop()
    site.boot("b", B, "esx1.lab")
    until(lambda: "api-server" in site.conditions(), 40)
    assert site.is_wired("a", A, "esx1.lab")
    assert "red" in site.admin.port_group_names()
    site.server.faults.spoiled = None
    until(lambda: site.is_wired("b", B, "esx1.lab"), 60)


def test_a_nic_for_which_there_is_no_vid_waits_and_gets_the_next(tmp_path: Path) -> None:
    with contrail_site(tmp_path, {"isthmus": 'reserved = "102-199"'}) as site:
        site.boot("a", A, "esx1.lab")
        site.boot("b", B, "esx1.lab")
        until(lambda: site.is_wired("a", A, "esx1.lab") and site.is_wired("b", B, "esx1.lab"))
        site.boot("c", C, "esx1.lab")
        until(lambda: "VID" in site.conditions())
        assert site.admin.dv_port("c")[1].config.setting.blocked.value
        site.admin.destroy("a")
        until(lambda: site.is_wired("c", C, "esx1.lab"), 60)


def test_a_nic_in_a_port_group_of_somebody_else_is_nobodys_business(site: Site) -> None:
    site.admin.create_port_group("tenants", "theirs", Policy(Access(50)))
    site.boot("a", A, "esx1.lab", "theirs")
    site.boot("b", B, "esx1.lab")
    until(lambda: site.is_wired("b", B, "esx1.lab"))
    assert site.there("virtual-machine") == {B}
    assert site.admin.dv_port("a")[1].config.configVersion == "0", "nobody wrote to its port"
