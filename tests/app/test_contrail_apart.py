"""The contrail design with a process for each host, as inside its agent VM: together they do what one would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.contrail_site import EACH, VMI, A, B, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path, EACH) as made:
        yield made


def objects(site: Site) -> tuple[set[str], ...]:
    return tuple(site.there(kind) for kind in ("virtual-machine", VMI, "instance-ip"))


def test_each_host_is_served_by_its_own_process_and_no_vid_is_worn_twice_on_the_switch(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    site.boot("b", B, "esx2.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab") and site.is_wired("b", B, "esx2.lab"))
    assert site.admin.vid_of("a") != site.admin.vid_of("b")
    assert [len(kind) for kind in objects(site)] == [2, 2, 2]


def test_a_vmotion_hands_port_and_address_from_one_process_to_the_other(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    before, vid = objects(site), site.admin.vid_of("a")
    site.admin.migrate("a", "esx2.lab")
    until(lambda: site.is_wired("a", A, "esx2.lab") and site.vids("esx1.lab") == {})
    assert (objects(site), site.admin.vid_of("a")) == (before, vid)
    site.admin.migrate("a", "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab") and site.vids("esx2.lab") == {})
    assert (objects(site), site.admin.vid_of("a")) == (before, vid)


def test_a_vm_that_moves_while_the_sources_process_is_down_is_let_go_of_when_it_is_back(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"))
    before = objects(site)
    site.processes[0].stop()
    site.admin.migrate("a", "esx2.lab")
    until(lambda: site.is_wired("a", A, "esx2.lab"))
    assert A in site.vids("esx1.lab")
    site.processes[0].start()
    until(lambda: site.vids("esx1.lab") == {})
    assert site.is_wired("a", A, "esx2.lab")
    assert objects(site) == before


def test_a_vm_deleted_while_its_process_is_down_leaves_nothing_once_it_is_back(site: Site) -> None:
    site.boot("a", A, "esx1.lab")
    site.boot("b", B, "esx2.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab") and site.is_wired("b", B, "esx2.lab"))
    site.processes[0].stop()
    site.admin.destroy("a")
    site.processes[0].start()
    until(lambda: site.there("virtual-machine") == {B})
    assert [len(kind) for kind in objects(site)] == [1, 1, 1]
    assert site.vids("esx1.lab") == {}
    assert site.is_wired("b", B, "esx2.lab")
