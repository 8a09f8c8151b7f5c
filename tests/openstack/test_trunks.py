"""A trunk's subports are VLANs of a VM's own making, which no port group carries: Neutron says so to who asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from neutron.services.trunk.plugin import TrunkPlugin
from neutron_lib.plugins import directory

from isthmus.adapters.neutron.protocol import OVERLAID
from tests.openstack.cloud import COMPUTE, Cloud, cloud

pytestmark = pytest.mark.openstack
DRIVERS = ("isthmus_fabric", "isthmus_vds", "isthmus_ovsvapp", "openvswitch", "l2population")
TUNNELS = {"tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.9", "bridge_mappings": {}}
CLUSTERS = ["compute-1", "appliances-1"]
"""One below a leaf, one with appliances."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(DRIVERS, trunks=tmp_path_factory.mktemp("neutron")) as made:
        yield made


@pytest.fixture
def neutron(shared: Cloud) -> Cloud:
    """One Neutron for the whole page: each test has networks of its own."""
    shared.in_domain("rack1", "compute-1")
    shared.in_domain("rack2", "appliances-1", kind=OVERLAID)
    shared.agent("kvm-9", "Open vSwitch agent", "neutron-openvswitch-agent", TUNNELS)
    shared.keeper.asked.clear()
    return shared


def unbound(neutron: Cloud, network: str) -> str:
    """A port that nobody uses yet."""
    return neutron.port_on(neutron.network_named(network), None, owner="", device_id="")


def booted(neutron: Cloud, port: str, host: str) -> str:
    """Nova gives the port to a VM there: what the binding is then."""
    return str(neutron.change(port, device_owner=COMPUTE, device_id="vm-1", binding_host_id=host)["binding:vif_type"])


@pytest.mark.parametrize("host", CLUSTERS)
def test_a_parent_with_subports_is_not_bound_on_a_cluster_and_is_bound_when_they_are_gone(
    neutron: Cloud, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    """S33"""
    parent, sub = unbound(neutron, "red"), unbound(neutron, "blue")
    status, said = neutron.trunk_of(parent, **{sub: 150})
    assert status == 201, "Neutron does not know yet where its VM will be"
    assert booted(neutron, parent, host) == "binding_failed"
    assert neutron.keeper.asked == []
    reasons = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any(f"port {parent} is not bound on host {host}: it is a trunk's parent" in line for line in reasons)
    neutron.remove_subports(said["trunk"]["id"], sub)
    neutron.ask("rebind", ports=[parent])
    assert neutron.port(parent)["binding:vif_type"] == "dvs"


@pytest.mark.parametrize("host", CLUSTERS)
def test_a_subport_is_refused_with_the_reason_where_the_parent_is_on_a_cluster(neutron: Cloud, host: str) -> None:
    """S33"""
    parent, sub = unbound(neutron, "red"), unbound(neutron, "blue")
    _, said = neutron.trunk_of(parent)
    assert booted(neutron, parent, host) == "dvs", "a trunk without subports is a port like others"
    status, refused = neutron.add_subports(said["trunk"]["id"], **{sub: 150})
    assert status == 409
    assert f"Port {parent} is on host {host}, a vSphere cluster" in refused["NeutronError"]["message"]
    assert neutron.subports(said["trunk"]["id"]) == set()
    neutron.in_place(parent)
    assert neutron.port(parent)["status"] == "ACTIVE"


def test_a_subport_is_refused_while_the_parent_is_being_bound(neutron: Cloud) -> None:
    parent, sub = unbound(neutron, "red"), unbound(neutron, "blue")
    _, said = neutron.trunk_of(parent)
    answers: list[int] = []
    neutron.keeper.before_answer = lambda: answers.append(neutron.add_subports(said["trunk"]["id"], **{sub: 150})[0])
    assert booted(neutron, parent, "compute-1") == "dvs"
    assert answers == [409]
    assert neutron.subports(said["trunk"]["id"]) == set()


def test_a_trunk_with_subports_is_refused_though_its_parent_went_to_a_cluster_only_just_now(
    neutron: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neutron looks whether the parent has a host, and writes the trunk later."""
    parent, sub = unbound(neutron, "red"), unbound(neutron, "blue")
    looks = TrunkPlugin.validate

    def looks_and_is_overtaken(*asked: object) -> object:
        found = looks(*asked)
        there = {"device_owner": COMPUTE, "device_id": "vm-1", "binding:host_id": "compute-1"}
        directory.get_plugin().update_port(neutron.context, parent, {"port": there})
        return found

    monkeypatch.setattr(TrunkPlugin, "validate", looks_and_is_overtaken)
    status, refused = neutron.trunk_of(parent, **{sub: 150})
    assert status == 409
    assert f"Port {parent} is on host compute-1, a vSphere cluster" in refused["NeutronError"]["message"]
    assert "trunk_details" not in neutron.port(parent)


def test_a_trunk_of_a_port_that_is_on_a_cluster_is_refused_by_neutron_itself(neutron: Cloud) -> None:
    status, refused = neutron.trunk_of(neutron.port_on(neutron.network_named("red"), "compute-1"))
    assert (status, refused["NeutronError"]["type"]) == (409, "ParentPortInUse")


def test_a_parent_with_subports_is_not_moved_to_a_cluster(neutron: Cloud) -> None:
    parent, sub = unbound(neutron, "red"), unbound(neutron, "blue")
    neutron.trunk_of(parent, **{sub: 150})
    booted(neutron, parent, "kvm-9")
    assert neutron.cannot_be_bound_elsewhere(parent, "compute-1")


def test_a_trunk_that_may_move_to_a_cluster_gets_no_subports_meanwhile(neutron: Cloud) -> None:
    parent, sub = unbound(neutron, "red"), unbound(neutron, "blue")
    _, said = neutron.trunk_of(parent)
    booted(neutron, parent, "kvm-9")
    neutron.bind_elsewhere(parent, "compute-1")
    status, _ = neutron.add_subports(said["trunk"]["id"], **{sub: 150})
    assert status == 409


def test_trunks_elsewhere_go_on_as_before(neutron: Cloud) -> None:
    parent, first, second = (unbound(neutron, name) for name in ("red", "blue", "green"))
    _, said = neutron.trunk_of(parent, **{first: 150})
    assert booted(neutron, parent, "kvm-9") == "ovs"
    status, _ = neutron.add_subports(said["trunk"]["id"], **{second: 151})
    assert status == 200
    assert neutron.subports(said["trunk"]["id"]) == {first, second}
