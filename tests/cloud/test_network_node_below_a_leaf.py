"""A network node that has no VTEP: its uplink is at a leaf, whose VLANs its stock agents bind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.netns.stage import until
from lab.openstack import dhcp
from lab.openstack.machines import DHCP_AGENT, OVS_AGENT
from lab.openstack.site import BELOW_A_LEAF, Site

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(300)]


@pytest.fixture
def node(cloud: Site) -> Iterator[str]:
    """Its agents run, and afterwards get no network any more."""
    cloud.start_agents(BELOW_A_LEAF)
    yield BELOW_A_LEAF
    for agent in cloud.rest.list("agents", f"host={BELOW_A_LEAF}&binary=neutron-dhcp-agent"):
        cloud.rest.update("agents", agent["id"], {"admin_state_up": False})
    for name in (OVS_AGENT, DHCP_AGENT):
        cloud.machines[BELOW_A_LEAF].kill(name)


def test_its_dhcp_port_has_a_vlan_of_the_rack_and_serves_vms_below_both_leaves(cloud: Site, node: str) -> None:
    network = cloud.network("served")
    cloud.rest.serve_dhcp(network, node)
    cloud.rest.subnet(network, "10.0.3.0/24")
    a = cloud.vm("served-a", network, "esx1.lab", by_dhcp=True)
    b = cloud.vm("served-b", network, "esx3.lab", by_dhcp=True)
    assert until(lambda: cloud.are_active(a, b), 60) is not None
    (port,) = cloud.rest.list("ports", f"network_id={network}&device_owner=network:dhcp")
    assert (port["binding:host_id"], port["binding:vif_type"]) == (node, "ovs")
    assert port["binding:vif_details"]["bound_drivers"] == {"0": "isthmus_fabric", "1": "openvswitch"}
    for vm in (a, b):
        assert until(lambda vm=vm: dhcp.lease(vm.guest, cloud.state.directory) == vm.address, 60) is not None
