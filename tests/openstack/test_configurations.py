"""What Neutron's configuration may be: orders of drivers, ranges, domains, and what is refused at the start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from neutron.db.models.plugins.ml2 import vlanallocation
from neutron.plugins.ml2.drivers.type_vlan import VlanTypeDriver
from neutron_lib.db import api as db_api

from isthmus.adapters.neutron.ml2 import options
from tests.openstack.cloud import cloud

pytestmark = pytest.mark.openstack
FABRIC = ("isthmus_fabric", "vxlan", None)


def test_binding_works_with_the_drivers_in_the_other_order() -> None:
    """S2"""
    with cloud(("openvswitch", "isthmus_vds", "l2population"), {"rack1": "101:199"}) as neutron:
        neutron.in_domain("rack1", "compute-1")
        port = neutron.port_on(neutron.network_named("red"), "compute-1")
        assert neutron.port(port)["binding:vif_type"] == "binding_failed", "nobody bound level 0"
    with cloud(("isthmus_vds", "isthmus_fabric", "openvswitch"), {"rack1": "101:199"}) as neutron:
        neutron.in_domain("rack1", "compute-1")
        port = neutron.port_on(neutron.network_named("red"), "compute-1")
        assert neutron.levels(port) == [FABRIC, ("isthmus_vds", "vlan", "rack1")]


def test_a_full_domain_fails_its_own_ports_only_and_a_freed_vlan_lets_them_in() -> None:
    """S17"""
    with cloud(ranges={"small": "101:101", "rack2": "201:299"}) as neutron:
        neutron.in_domain("small", "compute-1")
        neutron.in_domain("rack2", "compute-3")
        red, blue = neutron.network_named("red"), neutron.network_named("blue")
        first, second = neutron.port_on(red, "compute-1"), neutron.port_on(blue, "compute-1")
        elsewhere = neutron.port_on(blue, "compute-3")
        kinds = [neutron.port(port)["binding:vif_type"] for port in (first, second, elsewhere)]
        assert kinds == ["dvs", "binding_failed", "dvs"]
        assert "no VLAN is left" in neutron.ask("allocate", network=blue, domain="small")
        neutron.delete("ports", first)
        assert neutron.retire(*neutron.segment_ids(red))
        assert neutron.release(*neutron.segment_ids(red))
        neutron.ask("rebind", ports=[second])
        assert neutron.levels(second) == [FABRIC, ("isthmus_vds", "vlan", "small")]


def test_a_domain_that_neutron_forgot_and_is_named_again_gives_no_network_the_vlan_of_another() -> None:
    """S35: it starts with no range for the domain, and forgets which of its VLANs are taken."""
    ranges = {"rack1": "101:104", "rack2": "201:299"}
    with cloud(ranges=ranges) as neutron:
        neutron.in_domain("rack1", "compute-1")
        networks = [neutron.network_named(name) for name in ("red", "blue", "green")]
        for network in networks[:2]:
            neutron.port_on(network, "compute-1")
        before = [neutron.vlans(network)["rack1"] for network in networks[:2]]
        neutron.starts_anew({"rack2": "201:299"})
        assert neutron.allocated("rack1") == set()
        neutron.starts_anew(ranges)
        assert neutron.allocated("rack1") == set(before), "an operator's own VLAN network gets none of them, either"
        neutron.port_on(networks[2], "compute-1")
        given = [neutron.vlans(network)["rack1"] for network in networks]
        assert given[:2] == before
        assert len(set(given)) == 3
        assert neutron.allocated("rack1") == set(given)


def test_a_vlan_that_another_neutron_counted_as_free_meanwhile_is_given_to_no_second_network() -> None:
    """It was started with another file than this one, which runs on."""
    with cloud(ranges={"rack1": "101:101", "rack2": "201:299"}) as neutron:
        neutron.in_domain("rack1", "compute-1")
        red, blue = neutron.network_named("red"), neutron.network_named("blue")
        neutron.port_on(red, "compute-1")
        with db_api.CONTEXT_WRITER.using(neutron.context):
            rows = neutron.context.session.query(vlanallocation.VlanAllocation)
            rows.filter_by(physical_network="rack1", vlan_id=101).update({"allocated": False})
        neutron.port_on(blue, "compute-1")
        assert (neutron.vlans(red), neutron.vlans(blue)) == ({"rack1": 101}, {})
        assert neutron.allocated("rack1") == {101}


def test_a_vlan_that_is_in_no_range_any_more_is_freed_for_nobody() -> None:
    """It was held when the operator made the range smaller: whoever he gave it to must not meet a network in it."""
    with cloud(ranges={"rack1": "101:101", "rack2": "201:299"}) as neutron:
        neutron.in_domain("rack1", "compute-1")
        neutron.port_on(neutron.network_named("red"), "compute-1")
        with db_api.CONTEXT_WRITER.using(neutron.context):
            old = vlanallocation.VlanAllocation(physical_network="rack1", vlan_id=500, allocated=True)
            neutron.context.session.add(old)
        neutron.ask("free", vlans=[("rack1", 500)])
        blue = neutron.network_named("blue")
        assert neutron.port(neutron.port_on(blue, "compute-1"))["binding:vif_type"] == "binding_failed"
        assert neutron.vlans(blue) == {}


def test_a_vlan_that_a_deleted_network_had_elsewhere_than_in_our_domains_is_free_at_once() -> None:
    """Nobody of ours would see when nothing wears it any more."""
    with cloud(ranges={"rack1": "101:199", "office": "301:399"}, domains=["rack1"]) as neutron:
        parts = [
            {"provider:network_type": "vxlan", "provider:segmentation_id": 80902},
            *(
                {"provider:network_type": "vlan", "provider:physical_network": where, "provider:segmentation_id": vid}
                for where, vid in (("office", 350), ("rack1", 150))
            ),
        ]
        net = neutron.network_named("multi", arg_list=("segments",), segments=parts)
        neutron.delete("networks", net)
        assert neutron.allocated("office") == set()
        assert neutron.allocated("rack1") == {150}


def test_a_domain_that_is_named_no_more_keeps_what_it_has_and_gets_nothing_new(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """S35: taken out of [ml2_isthmus] domains while in use."""
    with cloud() as neutron:
        neutron.in_domain("rack1", "compute-1")
        neutron.in_domain("rack2", "compute-3")
        red, blue = neutron.network_named("red"), neutron.network_named("blue")
        here, there = neutron.port_on(red, "compute-1"), neutron.port_on(red, "compute-3")
        neutron.in_place(here, there)
        vlans, levels = neutron.vlans(red), neutron.levels(here)
        neutron.domains("rack2")
        late = neutron.port_on(blue, "compute-1")
        assert neutron.port(late)["binding:vif_type"] == "binding_failed"
        assert any("rack1, which [ml2_isthmus] domains does not name" in said for said in caplog.messages)
        assert neutron.vlans(blue) == {}, "none of its VLANs is given out"
        assert neutron.ask("allocate", network=blue, domain="rack1")
        assert neutron.vlans(blue) == {}
        assert (neutron.port(here)["status"], neutron.levels(here), neutron.vlans(red)) == ("ACTIVE", levels, vlans)
        assert set(neutron.ask("read")["domains"]) == {"rack2"}
        assert neutron.levels(neutron.port_on(blue, "compute-3")) == [FABRIC, ("isthmus_vds", "vlan", "rack2")]
        neutron.domains("rack1", "rack2")
        neutron.ask("rebind", ports=[late])
        assert neutron.levels(late) == [FABRIC, ("isthmus_vds", "vlan", "rack1")]
        assert neutron.vlans(blue)["rack1"] != vlans["rack1"]


@pytest.mark.parametrize("retiring", [False, True])
def test_a_vlan_of_a_network_that_goes_while_its_domain_is_named_no_more_is_held_till_nothing_wears_it(
    *, retiring: bool
) -> None:
    """S35: port group and mapping are there all the same, and the domain may be named again."""
    with cloud(ranges={"rack1": "101:199", "rack2": "201:299"}) as neutron:
        neutron.in_domain("rack1", "compute-1")
        red = neutron.network_named("red")
        port = neutron.port_on(red, "compute-1")
        vid = neutron.vlans(red)["rack1"]
        neutron.delete("ports", port)
        if retiring:
            assert neutron.retire(*neutron.segment_ids(red))
        neutron.domains("rack2")
        neutron.delete("networks", red)
        assert neutron.allocated("rack1") == {vid}
        assert ["rack1", vid] in [list(vlan) for vlan in neutron.ask("read")["held"]]
        neutron.ask("free", vlans=[("rack1", vid)])
        assert neutron.allocated("rack1") == set()


@pytest.mark.parametrize("status", ["ACTIVE", "DOWN"])
def test_the_first_status_is_as_configured(status: str) -> None:
    with cloud(status=status) as neutron:
        neutron.in_domain("rack1", "compute-1")
        port = neutron.port_on(neutron.network_named("red"), "compute-1")
        assert neutron.port(port)["status"] == status


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ranges": {"rack1": "101:199"}, "domains": ["rack1", "rack9"]}, "no range for rack9"),
        ({"ranges": {"rack1": ""}, "domains": ["rack1"]}, "no range for rack1"),
        ({"domains": []}, "domains is empty"),
        ({"drivers": ("openvswitch", "isthmus_fabric", "isthmus_vds")}, "openvswitch before isthmus_fabric"),
        ({"drivers": ("isthmus_fabric", "openvswitch")}, "not isthmus_vds"),
    ],
)
def test_neutron_does_not_start_with_what_cannot_work_and_forgets_no_vlan(
    wrong: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2, S35: refused before the VLAN type driver deletes the allocations of a forgotten domain."""
    initialised: list[object] = []
    monkeypatch.setattr(VlanTypeDriver, "initialize", initialised.append)
    with pytest.raises(SystemExit, match=re.escape(said)), cloud(**wrong):
        pass
    assert initialised == []


def test_every_option_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "neutron.md").read_text()
    assert [option.name for option in options.OPTIONS if f"`{option.name}`" not in page] == []
    assert options.list_opts() == [("ml2_isthmus", options.OPTIONS)]
