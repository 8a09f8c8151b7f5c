"""Where the shards of designs with leaves lie: which switches, leaves and hosts, and which hosts keep them waiting."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from isthmus.app.backoff import Backoff
from isthmus.app.keeper import Placed
from isthmus.app.placing import Placing
from isthmus.app.reading import Source
from isthmus.app.settings import load
from isthmus.app.wiring import Wiring, wire
from isthmus.core.design import NveKind
from isthmus.model.faults import Refused
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.names import ClusterId, DvsId, HostId, LeafId
from isthmus.model.observed import TargetId
from isthmus.model.scope import FabricScope, LeafScope
from isthmus.model.shard import Duty
from isthmus.model.tags import ALL_VIDS, VidSet
from tests.app.test_leaf_settings import APPLIANCE, BEFORE, RACK1, RACK2, STATIC


def host(name: str) -> HostId:
    return HostId(f"vc/{name}")


def dvs(name: str, *members: str) -> Dvs:
    return Dvs(DvsId(name), name, 1600, frozenset(map(host, members)), ALL_VIDS)


HOSTS = {host(f"esx{n}"): Host(host(f"esx{n}"), f"esx{n}.example") for n in (1, 2, 3, 9)}
INVENTORY = Inventory(
    HOSTS,
    {
        DvsId("rack1"): dvs("rack1", "esx1"),
        DvsId("rack2"): dvs("rack2", "esx2"),
        DvsId("tenant"): replace(dvs("tenant", "esx9"), uplink_vids=None),
    },
    {},
)


def wired(tmp_path: Path, text: str, inventory: Inventory = INVENTORY) -> Wiring:
    path = tmp_path / "isthmus.toml"
    path.write_text(text)
    wiring = wire(load(path, {"SECRET": "x"}), time.monotonic)
    wiring.inventories["vc1"] = Source("vCenter", lambda: inventory, time.monotonic, Backoff(1, 1))
    for found in inventory.switches:
        wiring._switches[found] = cast(Any, SimpleNamespace(id=TargetId("dvs", found)))
    return wiring


def placing(tmp_path: Path, text: str, name: str) -> Placing:
    return wired(tmp_path, text).placing[name]


def joined(inventory: Inventory, name: str, *members: str) -> Inventory:
    """A switch with other members."""
    changed = replace(inventory.switches[DvsId(name)], hosts=frozenset(map(host, members)))
    return replace(inventory, switches={**inventory.switches, changed.id: changed})


def test_a_static_fabric_is_one_shard_of_all_its_switches_and_leaves(tmp_path: Path) -> None:
    wiring = wired(tmp_path, STATIC)
    (charge,) = wiring.charges
    assert charge.design.nve is NveKind.LEAF
    placed = charge.place(INVENTORY)
    assert placed.shard.name == charge.name == "fabric"
    assert placed.shard.scope == FabricScope("fabric")
    assert placed.shard.switches == (DvsId("rack1"), DvsId("rack2"))
    assert placed.shard.hosts == {host("esx1"), host("esx2")}
    assert placed.shard.nves == {"leaf1": TargetId("leaf", "leaf1"), "leaf2": TargetId("leaf", "leaf2")}
    assert placed.shard.duties == Duty.PORT_GROUPS | Duty.TAGS
    assert placed.pool.ranges == VidSet.of("101-3999")
    assert {target.id for target in charge.targets()} == {
        *placed.shard.nves.values(), TargetId("dvs", "rack1"), TargetId("dvs", "rack2"),
    }  # fmt: skip


def test_of_a_deployment_per_leaf_each_is_a_shard_that_knows_where_the_others_members_are(tmp_path: Path) -> None:
    wiring = wired(tmp_path, BEFORE + RACK1 + RACK2 + APPLIANCE)
    racks = {charge.name: charge for charge in wiring.charges if charge.name.startswith("rack")}
    for number, (name, charge) in enumerate(racks.items(), start=1):
        placed = charge.place(INVENTORY)
        assert placed.shard.name == name
        assert placed.shard.scope == LeafScope(LeafId(f"leaf{number}"))
        assert placed.shard.nves == {f"leaf{number}": TargetId("leaf", f"leaf{number}")}
        assert placed.shard.hosts == {host(f"esx{number}")}
        assert reached(placed) == {
            "esx1.example": ("192.0.2.1", "leaf1"),
            "esx2.example": ("192.0.2.2", "leaf2"),
            "esx3.example": (None, None),
            "esx9.example": ("192.0.2.9", None),
        }
        read = {target.id for target in charge.targets()}
        assert read == {*placed.shard.nves.values(), *(TargetId("dvs", found) for found in INVENTORY.switches)}


def test_a_deployment_of_appliances_knows_the_vteps_of_the_others_hosts_too(tmp_path: Path) -> None:
    placed = placing(tmp_path, BEFORE + RACK1 + APPLIANCE, "ovs").tags("esx9.example", INVENTORY)
    assert reached(placed)["esx1.example"] == ("192.0.2.1", "leaf1")
    assert reached(placed)["esx9.example"] == ("192.0.2.9", None)


def test_nothing_is_written_while_a_member_is_below_no_leaf_of_ours(tmp_path: Path) -> None:
    """Its port groups have the VIDs of the others, and below its own leaf, here that of rack 2, they mean others."""
    rack1 = placing(tmp_path, BEFORE + RACK1 + RACK2, "rack1")
    for stranger in ("esx2", "esx3", "unseen"):
        with pytest.raises(Refused) as refused:
            rack1.fabric(joined(INVENTORY, "rack1", "esx1", stranger))
        name = "vc/unseen" if stranger == "unseen" else f"{stranger}.example"
        assert f"dvs 'rack1' has members below no leaf of deployment 'rack1': {name}" in str(refused.value)
        assert "with leaf and ports, or take it off the switch" in str(refused.value)
    assert rack1.fabric(INVENTORY).shard.hosts == {host("esx1")}


def test_a_configured_host_that_is_not_there_keeps_no_other_waiting(tmp_path: Path) -> None:
    static = placing(tmp_path, STATIC, "fabric")
    alone = replace(INVENTORY, hosts={host("esx1"): HOSTS[host("esx1")]})
    assert static.fabric(joined(alone, "rack2")).shard.hosts == {host("esx1")}


def test_uplinks_that_carry_the_vids_are_what_leaves_are_reached_by(tmp_path: Path) -> None:
    assert INVENTORY.switches[DvsId("rack1")].uplink_vids
    placing(tmp_path, BEFORE + RACK1, "rack1").fabric(INVENTORY)


def test_a_switch_that_is_missing_is_named(tmp_path: Path) -> None:
    text = STATIC.replace('["rack1", "rack2"]', '["rack1", "rack7"]')
    with pytest.raises(Refused, match="dvs 'rack7' does not exist in vCenter 'vc1'; there are: rack1, rack2, tenant"):
        placing(tmp_path, text, "fabric").fabric(INVENTORY)


def test_a_switch_named_by_name_and_by_uuid_is_one(tmp_path: Path) -> None:
    inventory = replace(
        INVENTORY, switches={DvsId("u-1"): replace(INVENTORY.switches[DvsId("rack1")], id=DvsId("u-1"))}
    )
    with pytest.raises(Refused, match="names a dvs twice, by name and by uuid"):
        placing(tmp_path, STATIC.replace('"rack2"', '"u-1"'), "fabric").fabric(inventory)


def reached(placed: Placed) -> dict[str, tuple[str | None, str | None]]:
    return {found.name: (found.vtep, found.leaf) for found in placed.inventory.hosts.values()}


@pytest.mark.parametrize(("clusters", "torn"), [(("c1", "c2"), False), (("c1", "c1"), True), ((None, None), False)])
def test_a_cluster_that_lies_in_two_deployments_is_refused_with_its_hosts(
    tmp_path: Path, clusters: tuple[str | None, str | None], torn: bool
) -> None:
    hosts = dict(HOSTS)
    for number, cluster in enumerate(clusters, 1):
        there = None if cluster is None else ClusterId(cluster)
        hosts[host(f"esx{number}")] = replace(hosts[host(f"esx{number}")], cluster=there)
    racks = placing(tmp_path, BEFORE + RACK1 + RACK2, "rack1")
    if not torn:
        assert racks.fabric(replace(INVENTORY, hosts=hosts)).shard.hosts == {host("esx1")}
        return
    with pytest.raises(Refused, match=r"'esx1.example' and 'esx2.example' are in one cluster"):
        racks.fabric(replace(INVENTORY, hosts=hosts))
