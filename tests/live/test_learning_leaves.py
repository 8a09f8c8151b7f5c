"""isthmus on the simulator and two leaves that learn by BGP EVPN, told over ssh by networking-generic-switch."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.netns.evpn_leaf import EvpnLeaf, evpn_fabric, missing
from lab.netns.guest import Guest
from lab.netns.stage import until
from tests.live.test_leaves import BLUE, Site, reaches, running

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


class EvpnSite(Site):
    def driver(self, leaf: str) -> str:
        options = self.leaf(leaf).options
        given = {"driver": "ngs", "device_type": "netmiko_sonic", "ip": "127.0.0.1", **options}
        return "".join(f'{key} = "{value}"\n' for key, value in given.items())

    def leaf(self, name: str) -> EvpnLeaf:
        found = self.fabric.leaves[name]
        assert isinstance(found, EvpnLeaf)
        return found

    def vlans(self, leaf: str) -> set[int]:
        """As the switch shows them."""
        words = self.leaf(leaf).cli("show vlan config").split()
        return {int(word.removeprefix("Vlan")) for word in words if word.startswith("Vlan")}


@pytest.fixture(scope="module")
def site(machine: None) -> Iterator[EvpnSite]:
    if advice := missing():
        pytest.skip(advice)
    ports = {"leaf1": ("Ethernet4", "Ethernet8"), "leaf2": ("Ethernet4",)}
    with running(EvpnSite, "n", lambda state: evpn_fabric(state, ports)) as made:
        yield made


@pytest.fixture(scope="module")
def guests(site: EvpnSite) -> dict[str, Guest]:
    """a and b in red below different leaves; x in blue beside a, with an address of the same subnet."""
    return {
        "a": site.boot("a", "red", "leaf1", "Ethernet4", "10.0.0.1/24"),
        "b": site.boot("b", "red", "leaf2", "Ethernet4", "10.0.0.2/24"),
        "x": site.boot("x", "blue", "leaf1", "Ethernet8", "10.0.0.3/24"),
    }


def test_vms_below_different_leaves_talk_and_nobody_hears_another_network(
    site: EvpnSite, guests: dict[str, Guest]
) -> None:
    assert site.vid("red", "leaf1") != site.vid("red", "leaf2")
    assert reaches(guests["a"], "10.0.0.2")
    assert guests["b"].hears(guests["a"])
    for one, other in (("a", "x"), ("b", "x")):
        assert not guests[one].hears(guests[other])
        assert not guests[other].hears(guests[one])
    assert until(site.settled, 30) is not None


def test_what_is_shown_names_leaf_vid_and_vni_and_check_has_nothing_to_say(
    site: EvpnSite, guests: dict[str, Guest]
) -> None:
    rows = {row["leaf"]: row for row in site.rows("leaves")}
    assert {row["state"] for row in rows.values()} == {"ready"}
    assert rows["leaf1"]["vids"] == sorted([site.vid("red", "leaf1"), site.vid("blue", "leaf1")])
    assert "open and wired" in site.ask("explain", "a").stdout
    checked = site.ask("check")
    assert checked.returncode == 0, checked.stdout
    assert (
        "deployment.rack1.leaf.leaf1: answers; it sends from 192.0.2.1, and has Ethernet4, Ethernet8" in checked.stdout
    )


def test_a_vlan_removed_by_hand_is_planned_in_the_switchs_words_and_put_right(
    site: EvpnSite, guests: dict[str, Guest]
) -> None:
    assert site.ask("pause", "rack2").returncode == 0
    vid = site.vid("red", "leaf2")
    for line in (f"vlan member del {vid} Ethernet4", f"vxlan map del vtep {vid} 70001", f"vlan del {vid}"):
        assert site.leaf("leaf2").cli(f"config {line}").strip() == ""
    assert guests["a"].ping("10.0.0.2", patience=0.3).none_answered
    planned = site.ask("plan")
    assert planned.returncode == 2, planned.stderr
    said = [line.strip() for line in planned.stdout.splitlines()]
    assert said.index(f"config vlan add {vid}") < said.index(f"config vxlan map add vtep {vid} 70001")
    assert f"config vlan member add {vid} Ethernet4" in said
    assert site.ask("resume", "rack2").returncode == 0
    assert until(lambda: vid in site.vlans("leaf2"), 40) is not None
    assert reaches(guests["a"], "10.0.0.2")


def test_a_network_of_somebody_elses_in_our_range_is_left_alone_and_shown(
    site: EvpnSite, guests: dict[str, Guest]
) -> None:
    theirs = max(set(range(101, 110)) - site.vlans("leaf1"))
    for line in (f"vlan add {theirs}", f"vxlan map add vtep {theirs} 99999"):
        assert site.leaf("leaf1").cli(f"config {line}").strip() == ""
    assert until(lambda: f"maps VID {theirs} to VNI 99999" in site.ask("show").stdout, 40) is not None
    time.sleep(6)
    [shown] = [row["vids"] for row in site.rows("leaves") if row["leaf"] == "leaf1"]
    assert theirs not in shown, "it is not ours"
    assert f"Vlan{theirs}" in site.leaf("leaf1").cli("show vxlan vlanvnimap")
    assert reaches(guests["a"], "10.0.0.2")


def test_a_deleted_network_goes_from_every_switch(site: EvpnSite, guests: dict[str, Guest]) -> None:
    for name in ("a", "b"):
        site.admin.destroy(name)
    gone = {leaf: site.vid("red", leaf) for leaf in ("leaf1", "leaf2")}
    site.want(BLUE)
    assert until(lambda: all(vid not in site.vlans(leaf) for leaf, vid in gone.items()), 60) is not None
    assert until(lambda: not any(name.startswith("red") for name in site.admin.port_group_names()), 60) is not None
    assert site.vid("blue", "leaf1") in site.vlans("leaf1")
