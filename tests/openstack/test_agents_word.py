"""`isthmus run` hears at once what Neutron's own agent says of a port behind an appliance, and binds it in its name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from neutron.db import provisioning_blocks

from isthmus.adapters.neutron.protocol import PLUGGED
from tests.openstack.cloud import Cloud, cloud

pytestmark = pytest.mark.openstack

AGENT = "Open vSwitch agent"
TOLD = {"tunneling_ip": "192.0.2.1", "tunnel_types": ["vxlan"], "bridge_mappings": {}}


@pytest.fixture
def neutron() -> Iterator[Cloud]:
    with cloud(("isthmus_ovsvapp", "openvswitch", "l2population")) as made:
        made.in_domain("rack1", "compute-1", kind=PLUGGED)
        made.agent("compute-1", AGENT, "neutron-openvswitch-agent", TOLD)
        yield made


def test_each_word_of_the_agent_wakes_isthmus(neutron: Cloud) -> None:
    network = neutron.network_named("red")
    port = neutron.port_on(network, "compute-1")
    assert neutron.port(port)["binding:vif_type"] == "dvs"
    for status in ("ACTIVE", "DOWN", "BUILD"):
        assert neutron.keeper.heard_of(network, 1)
        before = neutron.keeper.changes.count(network)
        neutron.plugin.update_port_status(neutron.context, port, status, "compute-1")
        assert neutron.keeper.heard_of(network, before + 1), status


def test_a_port_that_others_are_done_with_waits_for_the_agent(neutron: Cloud) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    for entity in (provisioning_blocks.DHCP_ENTITY, "ISTHMUS"):
        provisioning_blocks.provisioning_complete(neutron.context, port, "port", entity)
        assert neutron.port(port)["status"] == "BUILD"
    provisioning_blocks.provisioning_complete(neutron.context, port, "port", provisioning_blocks.L2_AGENT_ENTITY)
    assert neutron.port(port)["status"] == "ACTIVE"
