"""A third party's driver at level 0: networking-arista as it is published, its controller faked as an HTTP endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from neutron_lib.plugins import directory
from oslo_config import cfg

from tests.openstack.cloud import Cloud, cloud
from tests.openstack.cvx import Cvx, controller

pytestmark = pytest.mark.openstack
ARISTA = ("arista", "vxlan", None)
NEIGHBOURS = {"compute-1": "rack1", "compute-2": "rack1", "compute-3": "rack2"}


@pytest.fixture
def cvx(tmp_path: Path) -> Iterator[Cvx]:
    import networking_arista.common.config  # noqa: F401

    with controller(tmp_path, NEIGHBOURS) as made:
        for option, value in {
            "eapi_host": made.address,
            "eapi_username": "isthmus",
            "eapi_password": "secret",
            "manage_fabric": True,
            "use_fqdn": False,
            "use_fqdn_physnet": False,
            "conn_timeout": 5,
        }.items():
            cfg.CONF.set_override(option, value, "ml2_arista")
        yield made


@pytest.fixture
def neutron(cvx: Cvx) -> Iterator[Cloud]:
    with cloud(("arista", "isthmus_vds", "openvswitch", "l2population")) as made:
        made.in_domain("rack1", "compute-1", "compute-2")
        made.in_domain("rack2", "compute-3")
        yield made


def synchronised(cvx: Cvx) -> Cvx:
    """The controller, told what the driver has queued for it, as the driver's own worker tells it."""
    drivers = directory.get_plugin().mechanism_manager.mech_drivers
    (worker,) = drivers["arista"].obj.get_workers()
    worker.initialize()
    worker.force_full_sync()
    worker.synchronize_resources()
    return cvx


def test_arista_takes_the_vni_and_isthmus_the_vlan_that_it_leaves(neutron: Cloud, cvx: Cvx) -> None:
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    assert neutron.levels(port) == [ARISTA, ("isthmus_vds", "vlan", "rack1")]
    assert neutron.port(port)["binding:vif_details"]["bound_drivers"] == {"0": "arista", "1": "isthmus_vds"}
    assert neutron.keeper.asked[-1]["vid"] == neutron.vlans(red)["rack1"]
    held = synchronised(cvx).held
    told = {segment["segmentationId"] for segment in held["segment"]}
    assert neutron.vlans(red)["rack1"] in told, "the controller knows which VLAN it is below the leaf"
    assert [binding["portId"] for binding in held["portbinding"]] == [port]


def test_a_port_is_told_to_the_controller_while_it_is_still_being_built(neutron: Cloud, cvx: Cvx) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    assert neutron.port(port)["status"] == "BUILD"
    assert synchronised(cvx).held["portbinding"]
    neutron.in_place(port)
    assert neutron.port(port)["status"] == "ACTIVE"


def test_the_second_leaf_gets_a_vlan_of_its_own(neutron: Cloud) -> None:
    """S1"""
    red = neutron.network_named("red")
    ports = [neutron.port_on(red, host) for host in ("compute-1", "compute-3")]
    assert [neutron.levels(port)[1] for port in ports] == [
        ("isthmus_vds", "vlan", "rack1"),
        ("isthmus_vds", "vlan", "rack2"),
    ]


def test_a_vlan_that_the_controller_leaves_for_the_wrong_rack_is_not_bound(neutron: Cloud, cvx: Cvx) -> None:
    """S19: its driver looks for the host's name in longer names, and finds another host's leaf."""
    cvx.neighbours = {"compute-10": "rack2", "compute-1": "rack1"}
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    assert neutron.levels(port) == []
    assert neutron.keeper.asked == []
    cvx.neighbours = {"compute-1": "rack1"}
    neutron.ask("rebind", ports=[port])
    assert neutron.levels(port) == [ARISTA, ("isthmus_vds", "vlan", "rack1")]


def test_vlans_of_another_controller_are_its_own_to_release(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    segment = neutron.segment_ids(red)
    assert neutron.retire(*segment) == []
    assert neutron.ask("read")["fabric"] is False
    neutron.delete("ports", port)
    assert neutron.vlans(red) == {}, "arista released it"


def test_while_the_controller_is_away_ports_are_not_bound_and_others_are(neutron: Cloud, cvx: Cvx) -> None:
    cvx.neighbours = {}
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    assert neutron.port(port)["binding:vif_type"] == "binding_failed"
    told = {"tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.9", "bridge_mappings": {}}
    neutron.agent("kvm-9", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    assert neutron.levels(neutron.port_on(red, "kvm-9")) == [("openvswitch", "vxlan", None)]
