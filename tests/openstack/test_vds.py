"""Neutron's networks and ports become port groups and mappings at the leaves, and Neutron is told when they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.leaf_site import host_table, leaf_table, until
from tests.openstack.site import Site, site

pytestmark = [pytest.mark.openstack, pytest.mark.sim]

PER_LEAF = "".join(
    f'[deployment.rack{n}]\ndesign = "vds-leaf"\ndvs = "rack{n}"\nvids = "{vids}"\n'
    + leaf_table(f"rack{n}", f"leaf{n}")
    + host_table(f"rack{n}", f"esx{n}.lab", f"leaf{n}")
    + f'[deployment.rack{n}.compute."compute-{n}"]\n'
    for n, vids in ((1, "101-149"), (2, "201-249"))
)


@pytest.fixture
def racks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with site(tmp_path, monkeypatch, PER_LEAF) as made:
        made.has_hosts("compute-1", "compute-2")
        yield made


def test_a_port_is_bound_to_its_own_port_group_and_active_when_its_leaf_knows_it(racks: Site) -> None:
    red = racks.neutron.network_named("red")
    port = racks.neutron.port_on(red, "compute-1")
    shown = racks.neutron.port(port)
    assert shown["binding:vif_type"] == "dvs"
    vid = racks.neutron.vlans(red)["rack1"]
    assert racks.vids("red") == {"red (rack1)": vid}
    assert shown["binding:vif_details"]["pg_id"] == racks.key_of("red (rack1)")
    assert shown["binding:vif_details"]["dvs_id"] == racks.admin.switch("rack1").uuid
    until(lambda: racks.is_active(port))
    assert set(racks.at_leaf("leaf1")) == {vid}
    assert racks.at_leaf("leaf2") == {}
