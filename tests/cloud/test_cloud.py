"""A whole Neutron, its stock agents, real leaves and `isthmus run` as processes of their own: who talks with whom."""

from __future__ import annotations

import pytest

from lab.netns.stage import until
from lab.openstack.site import Site

pytestmark = [pytest.mark.openstack, pytest.mark.live, pytest.mark.timeout(300)]


def test_a_port_is_bound_and_active_when_port_group_and_leaf_are_in_place(cloud: Site) -> None:
    network = cloud.network("first")
    port = cloud.rest.port(network, "compute-1")
    shown = cloud.rest.show("ports", port)
    assert shown["binding:vif_type"] == "dvs"
    assert cloud.group_of(shown) == "first (rack1)"
    assert until(lambda: cloud.rest.is_active(port), 30) is not None
    assert cloud.vni_of(network) in cloud.vnis_at("leaf1")
