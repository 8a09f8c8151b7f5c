"""A port on a vSphere cluster is bound in two levels, and only when its port group is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from neutron.db import provisioning_blocks
from neutron_lib.plugins import directory

from isthmus.adapters.neutron.ml2.notices import Notices
from tests.openstack import recorded
from tests.openstack.cloud import COMPUTE, Cloud, cloud

pytestmark = pytest.mark.openstack
FABRIC = ("isthmus_fabric", "vxlan", None)


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def neutron(shared: Cloud) -> Cloud:
    """One Neutron for the whole page: each test has networks of its own."""
    shared.in_domain("rack1", "compute-1", "compute-2")
    shared.in_domain("rack2", "compute-3")
    shared.in_domain("rack1", "net-1", kind="attached")
    shared.keeper.default = {"dvs_id": "dvs-uuid", "pg_id": "dvportgroup-7"}
    shared.keeper.asked.clear()
    return shared


def test_a_port_of_a_cluster_is_bound_to_its_vxlan_network_and_a_vlan_of_its_domain(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    port = neutron.port(neutron.port_on(red, "compute-1"))
    shown = {key: said for key, said in port.items() if key.startswith("binding:")}
    assert shown == recorded.binding(), "what tests/nova gives to Nova"
    assert neutron.levels(port["id"]) == [FABRIC, ("isthmus_vds", "vlan", "rack1")]
    assert neutron.vlans(red)["rack1"] in range(101, 200)


def test_a_port_becomes_active_when_port_group_and_leaf_are_in_place_and_not_before(neutron: Cloud) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    assert neutron.port(port)["status"] == "BUILD"
    assert neutron.change(port, name="renamed meanwhile")["status"] == "BUILD"
    neutron.in_place(port, "00000000-0000-0000-0000-000000000000")
    assert neutron.port(port)["status"] == "ACTIVE"


def test_a_port_waits_for_us_though_others_are_done_with_it(neutron: Cloud) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    provisioning_blocks.provisioning_complete(neutron.context, port, "port", provisioning_blocks.DHCP_ENTITY)
    assert neutron.port(port)["status"] == "BUILD"


def test_a_port_that_went_elsewhere_waits_for_us_no_longer(neutron: Cloud) -> None:
    told = {"tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.9", "bridge_mappings": {}}
    neutron.agent("kvm-9", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    neutron.host_of(port, "kvm-9")
    assert neutron.levels(port) == [("openvswitch", "vxlan", None)]
    provisioning_blocks.provisioning_complete(neutron.context, port, "port", provisioning_blocks.L2_AGENT_ENTITY)
    assert neutron.port(port)["status"] == "ACTIVE"


def test_a_port_below_another_leaf_gets_a_vlan_of_that_leaf_though_the_first_ones_is_there(neutron: Cloud) -> None:
    """S1, S3: at level 0 the first leaf's VLAN stands among the segments, and must not be taken."""
    red = neutron.network_named("red")
    first, second = neutron.port_on(red, "compute-1"), neutron.port_on(red, "compute-3")
    assert neutron.levels(first) == [FABRIC, ("isthmus_vds", "vlan", "rack1")]
    assert neutron.levels(second) == [FABRIC, ("isthmus_vds", "vlan", "rack2")]
    assert set(neutron.vlans(red)) == {"rack1", "rack2"}


def test_ports_of_one_network_in_one_domain_share_one_vlan(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    for host in ("compute-1", "compute-2", "compute-1"):
        neutron.port_on(red, host)
    assert len(neutron.segment_ids(red)) == 1
    assert {question["vid"] for question in neutron.keeper.asked} == {neutron.vlans(red)["rack1"]}


def test_networks_of_several_projects_have_vlans_of_their_own(neutron: Cloud) -> None:
    networks = [neutron.network_named(name) for name in ("red", "blue", "green")]
    for network in networks:
        neutron.port_on(network, "compute-1")
    assert len({neutron.vlans(network)["rack1"] for network in networks}) == 3


def test_a_port_on_a_host_that_is_not_ours_is_left_alone_and_nobody_is_asked(neutron: Cloud) -> None:
    """S18"""
    red = neutron.network_named("red")
    port = neutron.port(neutron.port_on(red, "kvm-1"))
    assert port["binding:vif_type"] == "binding_failed"
    assert neutron.vlans(red) == {}
    assert neutron.keeper.asked == []


@pytest.mark.parametrize("host", ["compute-10", "compute-", "COMPUTE-1", "ompute-1"])
def test_a_host_is_known_by_its_whole_name(neutron: Cloud, host: str) -> None:
    """S19"""
    port = neutron.port_on(neutron.network_named("red"), host)
    assert neutron.port(port)["binding:vif_type"] == "binding_failed"


def test_a_port_whose_port_group_is_not_there_is_not_bound_and_is_bound_when_it_is(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    neutron.keeper.default = None
    port = neutron.port_on(red, "compute-1")
    assert neutron.port(port)["binding:vif_type"] == "binding_failed"
    assert neutron.levels(port) == []
    neutron.keeper.default = {"dvs_id": "dvs-uuid", "pg_id": "dvportgroup-8"}
    neutron.ask("rebind", ports=[port, "00000000-0000-0000-0000-000000000000"])
    bound = neutron.port(port)
    assert bound["binding:vif_type"] == "dvs"
    assert bound["binding:vif_details"]["pg_id"] == "dvportgroup-8"


@pytest.mark.parametrize("strange", [7, "dvportgroup-7", [["pg_id"]], {"pg_id": "dvportgroup-7"}, {"a": 1}])
def test_an_answer_that_makes_no_sense_binds_nothing_and_is_named(
    neutron: Cloud, strange: Any, caplog: pytest.LogCaptureFixture
) -> None:
    neutron.keeper.default = strange
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    assert neutron.port(port)["binding:vif_type"] == "binding_failed"
    said = [record.getMessage() for record in caplog.records]
    assert any(port in text and "answered something else than expected" in text for text in said)
    neutron.keeper.default = {"dvs_id": "dvs-uuid", "pg_id": "dvportgroup-8"}
    neutron.ask("rebind", ports=[port])
    assert neutron.port(port)["binding:vif_type"] == "dvs"


def test_while_isthmus_is_down_a_port_fails_soon_and_not_ten_times(neutron: Cloud) -> None:
    neutron.agent_is_dead("compute-2")
    began = time.monotonic()
    port = neutron.port_on(neutron.network_named("red"), "compute-2")
    assert neutron.port(port)["binding:vif_type"] == "binding_failed"
    assert time.monotonic() - began < 15
    assert neutron.keeper.asked == []


def test_while_nobody_answers_though_hosts_are_reported_a_port_fails_soon_and_not_ten_times(neutron: Cloud) -> None:
    """isthmus died just now."""
    red = neutron.network_named("red")
    neutron.silence()
    try:
        began = time.monotonic()
        port = neutron.port_on(red, "compute-1")
        assert neutron.port(port)["binding:vif_type"] == "binding_failed"
        assert time.monotonic() - began < 10
    finally:
        neutron.speak()


def test_ten_tries_of_neutron_wait_no_longer_than_one(neutron: Cloud) -> None:
    neutron.keeper.default = None
    neutron.port_on(neutron.network_named("red"), "compute-1")
    waits = [question["seconds"] for question in neutron.keeper.asked]
    assert len(waits) > 1
    assert waits == sorted(waits, reverse=True)
    assert waits[0] <= 1


def test_a_network_nodes_port_gets_its_vlan_and_is_bound_by_the_stock_driver(neutron: Cloud) -> None:
    """S7's other half: DHCP and router ports are below a leaf, too."""
    neutron.agent("net-1", "Open vSwitch agent", "neutron-openvswitch-agent", {"bridge_mappings": {"rack1": "br-ex"}})
    red = neutron.network_named("red")
    port = neutron.port_on(red, "net-1", owner="network:dhcp")
    assert neutron.levels(port) == [FABRIC, ("openvswitch", "vlan", "rack1")]
    assert neutron.keeper.asked == []


def test_a_kvm_host_with_tunnels_goes_on_as_before(neutron: Cloud) -> None:
    told = {"tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.9", "bridge_mappings": {}}
    neutron.agent("kvm-9", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    red = neutron.network_named("red")
    neutron.port_on(red, "compute-1")  # so that a VLAN stands among the segments
    port = neutron.port_on(red, "kvm-9")
    assert neutron.levels(port) == [("openvswitch", "vxlan", None)]


OTHER_PLACES = [
    {"dvs_id": "another-uuid", "pg_id": "dvportgroup-9"},
    {"dvs_id": "dvs-uuid", "pg_id": "dvportgroup-9"},
    {"dvs_id": "another-uuid", "pg_id": "dvportgroup-7"},
]


@pytest.mark.parametrize("other", OTHER_PLACES)
def test_a_live_migration_to_another_port_group_is_refused_before_it_begins(
    neutron: Cloud, other: dict[str, str]
) -> None:
    """Nova moves a VM with the port group of the binding that it has."""
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    levels = neutron.levels(port)
    neutron.keeper.default = other
    assert neutron.cannot_be_bound_elsewhere(port, "compute-3")
    assert neutron.levels(port) == levels
    assert neutron.port(port)["binding:vif_details"]["pg_id"] == "dvportgroup-7"


def test_a_live_migration_within_a_port_group_is_not_refused(neutron: Cloud) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    assert neutron.bind_elsewhere(port, "compute-2")["vif_type"] == "dvs"


def test_a_live_migration_from_a_host_that_is_not_ours_is_nothing_to_us(neutron: Cloud) -> None:
    port = neutron.port_on(neutron.network_named("red"), "kvm-1")
    assert neutron.bind_elsewhere(port, "compute-1")["vif_type"] == "dvs"


def test_a_port_that_goes_to_another_port_group_while_its_vm_is_off_is_bound_there(neutron: Cloud) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    neutron.keeper.default = OTHER_PLACES[0]
    assert neutron.host_of(port, "compute-3")["binding:vif_details"]["pg_id"] == "dvportgroup-9"


def test_while_a_vm_is_being_moved_its_port_keeps_vlan_and_port_group_and_becomes_active_anew(neutron: Cloud) -> None:
    """Nova writes `migrating_to` into the binding's profile, at which Neutron binds the port anew where it is.

    Nova waits until the port is ACTIVE again (Neutron's notifier says network-vif-plugged), and only then moves the VM.
    """
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    neutron.in_place(port)
    vlans, bound = neutron.vlans(red), neutron.levels(port)
    neutron.bind_elsewhere(port, "compute-2")
    moving = neutron.will_move(port, "compute-2")
    assert moving["status"] == "BUILD"
    assert moving["binding:vif_details"]["pg_id"] == "dvportgroup-7"
    neutron.told_nova.clear()
    neutron.in_place(port)
    assert neutron.port(port)["status"] == "ACTIVE"
    assert ("network-vif-plugged", port) in neutron.told_nova, "for which Nova waits"
    assert neutron.vlans(red) == vlans
    assert neutron.levels(port) == bound + bound  # where it is, and where it goes


@pytest.mark.parametrize(
    ("owner", "more", "why"),
    [
        (COMPUTE, {"binding:vnic_type": "direct"}, "its vnic_type is direct"),
        ("network:dhcp", {}, "its owner is network:dhcp"),
    ],
)
def test_what_no_port_group_can_carry_is_not_bound_and_neutrons_log_says_why(
    neutron: Cloud, owner: str, more: dict[str, str], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1", owner=owner, **more)
    assert neutron.port(port)["binding:vif_type"] == "binding_failed"
    reasons = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any(f"port {port} is not bound on host compute-1" in said and why in said for said in reasons)
    assert neutron.keeper.asked == []


def test_of_two_who_say_that_a_vm_has_arrived_one_is_believed(neutron: Cloud) -> None:
    """S14: Nova's conductor asks again what it got no answer to."""
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    neutron.bind_elsewhere(port, "compute-2")
    assert [neutron.activated(port, "compute-2") for _ in range(2)] == [200, 409]
    assert neutron.bindings(port) == {"compute-1": False, "compute-2": True}
    neutron.in_place(port)
    neutron.give_up(port, "compute-1")
    assert neutron.levels(port) == [FABRIC, ("isthmus_vds", "vlan", "rack1")]
    assert neutron.port(port)["status"] == "ACTIVE"


def test_a_port_deleted_while_it_is_being_bound_leaves_nothing_bound(neutron: Cloud) -> None:
    """S14"""
    red = neutron.network_named("red")
    port = neutron.port_on(red, None)
    directory.get_plugin()
    neutron.keeper.before_answer = lambda: neutron.delete("ports", port)
    neutron.host_of(port, "compute-1")
    assert neutron.levels(port) == []
    assert neutron.retire(*neutron.segment_ids(red)) == neutron.segment_ids(red)


def test_a_plain_change_of_a_port_changes_no_binding(neutron: Cloud) -> None:
    """S15"""
    red = neutron.network_named("red")
    unbound, bound = neutron.port_on(red, None), neutron.port_on(red, "compute-1")
    levels = neutron.levels(bound)
    for port in (unbound, bound):
        neutron.change(port, name="other", admin_state_up=False)
    assert neutron.levels(bound) == levels
    assert neutron.levels(unbound) == []


def test_a_vlan_that_an_operator_gave_the_network_in_the_domain_is_used_as_it_is(neutron: Cloud) -> None:
    """S34"""
    parts = [
        {"provider:network_type": "vxlan", "provider:segmentation_id": 80900},
        {"provider:network_type": "vlan", "provider:physical_network": "rack1", "provider:segmentation_id": 1190},
    ]
    net = neutron.network_named("multi", arg_list=("segments",), segments=parts)
    port = neutron.port_on(net, "compute-1")
    assert neutron.levels(port) == [FABRIC, ("isthmus_vds", "vlan", "rack1")]
    assert neutron.keeper.asked[-1]["vid"] == 1190
    assert neutron.vlans(net) == {}


def test_a_plain_vlan_network_is_nobodys_business(neutron: Cloud) -> None:
    plain = {"provider:network_type": "vlan", "provider:physical_network": "rack1", "provider:segmentation_id": 1191}
    net = neutron.network_named("plain", arg_list=tuple(plain), **plain)
    assert neutron.port(neutron.port_on(net, "compute-1"))["binding:vif_type"] == "binding_failed"


def test_whatever_happens_to_a_network_wakes_isthmus(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    assert neutron.keeper.heard_of(red, times=1)
    first, second = neutron.port_on(red, "compute-1"), neutron.port_on(red, "kvm-1")
    assert neutron.keeper.heard_of(red, times=3)
    neutron.host_of(first, "")
    assert neutron.keeper.heard_of(red, times=4)
    neutron.delete("ports", second)
    assert neutron.keeper.heard_of(red, times=5)
    neutron.delete("ports", first)
    neutron.delete("networks", red)
    assert neutron.keeper.heard_of(red, times=6)


PAIR = {"mac_address": "00:00:5e:00:01:01", "ip_address": "10.8.0.9"}
ALONE = [
    ("kvm-1", {"mac_address": "00:50:56:00:08:01"}),  # of a port that is bound Neutron lets nobody change it
    ("compute-1", {"fixed_ips": [{"ip_address": "10.8.0.8"}]}),
    ("compute-1", {"fixed_ips": []}),
    ("compute-1", {"allowed_address_pairs": [PAIR]}),
    ("compute-1", {"admin_state_up": False}),
    ("compute-1", {"port_security_enabled": False, "security_groups": []}),
]


@pytest.mark.parametrize(("host", "change"), ALONE)
def test_a_change_of_nothing_but_what_leaves_are_told_wakes_isthmus(
    neutron: Cloud, host: str, change: dict[str, object]
) -> None:
    red = neutron.network_named("red")
    net = {"network": {"id": red, "project_id": neutron._project_id}}
    neutron._make_subnet(neutron.fmt, net, "10.8.0.1", "10.8.0.0/24", as_admin=True)
    port = neutron.port_on(red, host)
    assert neutron.keeper.heard_of(red, times=2)
    neutron.change(port, name="whatever")
    neutron.change(port, **change)
    assert neutron.keeper.heard_of(red, times=3)
    neutron.change(port, **change)
    assert not neutron.keeper.heard_of(red, times=4, within=0.2), "neither its name, nor what it was already"


def test_a_hook_that_cannot_say_anything_undoes_nothing(neutron: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*told: object, **more: object) -> None:
        raise RuntimeError("the bus is on fire")

    monkeypatch.setattr(Notices, "_prepared", broken)
    red = neutron.network_named("red")
    port = neutron.port_on(red, "kvm-1")
    assert neutron.port(port)["network_id"] == red
    neutron.delete("ports", port)
