"""Design `contrail` over several distributed switches and datacenters of a vCenter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.vcenter import Cluster, Datacenter, Dvs, Host, Member, Topology
from tests.app.contrail_site import TRUNK, A, B, contrail_site
from tests.app.leaf_site import until

C = "5011aabb-0000-4000-8000-000000000003"
SWITCHES = {"one": ["esx1.lab"], "two": ["esx2.lab"], "far": ["esx3.lab"]}


def datacenter(name: str, *switches: str) -> Datacenter:
    """With a cluster of its own for each of its switches."""
    hosts = {switch: tuple(map(Host, SWITCHES[switch])) for switch in switches}
    return Datacenter(
        name,
        tuple(Cluster(f"cluster {switch}", members) for switch, members in hosts.items()),
        tuple(
            Dvs(switch, (replace(TRUNK, name=f"trunk {switch}"),), members=tuple(Member(host.name) for host in members))
            for switch, members in hosts.items()
        ),
    )


@pytest.mark.sim
def test_a_network_is_a_port_group_on_each_switch_and_called_like_it_where_its_folder_has_one_switch(
    tmp_path: Path,
) -> None:
    topology = Topology((datacenter("near", "one", "two"), datacenter("away", "far")))
    with contrail_site(tmp_path, topology=topology, switches=SWITCHES) as site:
        groups = {"esx1.lab": "red (one)", "esx2.lab": "red (two)", "esx3.lab": "red"}
        until(lambda: set(groups.values()) <= site.admin.port_group_names())
        vms = dict(zip((A, B, C), groups, strict=True))
        for number, (uuid, host) in enumerate(vms.items()):
            site.boot(f"vm{number}", uuid, host, groups[host])
        for number, (uuid, host) in enumerate(vms.items()):
            until(lambda name=f"vm{number}", uuid=uuid, host=host: site.is_wired(name, uuid, host))  # type: ignore[misc]
        assert site.conditions() == ""
