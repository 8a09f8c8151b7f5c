"""A VLAN of a mapping domain is Neutron's to give out again when nothing refers to it, and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from isthmus.adapters.neutron.facts import facts_of
from isthmus.adapters.neutron.protocol import APPLIANCE_TYPE, BINARY, RETIRING
from tests.openstack.cloud import Cloud, cloud

pytestmark = pytest.mark.openstack


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with cloud(
        ranges={"rack1": "101:199", "rack2": "201:299", "fabric": "301:399"}, static=["fabric"], between=True
    ) as made:
        made.in_domain("rack1", "compute-1", "compute-2")
        made.in_domain("rack2", "compute-3")
        yield made


@pytest.fixture
def neutron(shared: Cloud) -> Cloud:
    shared.keeper.default = {"dvs_id": "dvs-uuid", "pg_id": "dvportgroup-7"}
    return shared


def in_rack1(neutron: Cloud, network: str) -> str:
    (found,) = [s["id"] for s in segments(neutron, network) if s["physical_network"] == "rack1"]
    return str(found)


def segments(neutron: Cloud, network: str) -> list[dict[str, object]]:
    (found,) = neutron.read(network)
    return list(found["segments"])


def unbound(neutron: Cloud, port: str) -> None:
    neutron.host_of(port, "")


def deleted(neutron: Cloud, port: str) -> None:
    neutron.delete("ports", port)


def moved(neutron: Cloud, port: str) -> None:
    neutron.host_of(port, "compute-3")


def migrated(neutron: Cloud, port: str) -> None:
    neutron.bind_elsewhere(port, "compute-3")
    neutron.activate(port, "compute-3")
    neutron.give_up(port, "compute-1")


LEAVING = [unbound, deleted, moved, migrated]


@pytest.mark.parametrize("leaves", LEAVING)
def test_the_vlan_of_the_last_port_is_free_again(neutron: Cloud, leaves: Callable[[Cloud, str], None]) -> None:
    """S5, S6, S7, S10, S12"""
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    vid = neutron.vlans(red)["rack1"]
    segment = in_rack1(neutron, red)
    assert neutron.retire(segment) == []
    leaves(neutron, port)
    assert vid in neutron.allocated("rack1"), "until isthmus says that nothing wears it"
    assert neutron.retire(segment) == [segment]
    assert neutron.release(segment) == [segment]
    assert vid not in neutron.allocated("rack1")
    assert "rack1" not in neutron.vlans(red)


@pytest.mark.parametrize("leaves", LEAVING)
def test_a_vlan_that_another_port_has_stays(neutron: Cloud, leaves: Callable[[Cloud, str], None]) -> None:
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    neutron.port_on(red, "compute-2")
    leaves(neutron, port)
    segment = in_rack1(neutron, red)
    assert neutron.retire(segment) == []
    assert neutron.release(segment) == []
    assert "rack1" in neutron.vlans(red)


def test_a_migration_that_is_rolled_back_leaves_nothing(neutron: Cloud) -> None:
    """S13"""
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    assert neutron.bind_elsewhere(port, "compute-3")["vif_type"] == "dvs"
    target = next(s["id"] for s in segments(neutron, red) if s["physical_network"] == "rack2")
    assert neutron.retire(target) == [], "the inactive binding refers to it"
    neutron.give_up(port, "compute-3")
    assert neutron.retire(target) == [target]
    assert neutron.release(target) == [target]
    assert neutron.levels(port)[1] == ("isthmus_vds", "vlan", "rack1")


def test_a_migration_has_its_vlan_in_the_target_before_it_is_active(neutron: Cloud) -> None:
    """S12: what isthmus reads makes port group and mapping there in time."""
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    neutron.bind_elsewhere(port, "compute-3")
    (row,) = [row for row in neutron.ask("read")["ports"] if row["network"] == red]
    assert {(b["host"], b["active"]) for b in row["bindings"]} == {("compute-1", True), ("compute-3", False)}
    assert all(b["ours"] and b["pg_id"] for b in row["bindings"])
    neutron.activate(port, "compute-3")
    neutron.in_place(port)
    assert neutron.port(port)["status"] == "ACTIVE"
    assert neutron.port(port)["binding:host_id"] == "compute-3"


def test_a_retiring_vlan_is_taken_up_again_by_the_next_port(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    first = neutron.port_on(red, "compute-1")
    vid, segment = neutron.vlans(red)["rack1"], in_rack1(neutron, red)
    unbound(neutron, first)
    neutron.retire(segment)
    assert neutron.marks()[segment].startswith(RETIRING)
    neutron.port_on(red, "compute-2")
    assert not neutron.marks()[segment].startswith(RETIRING)
    assert neutron.release(segment) == []
    assert neutron.vlans(red)["rack1"] == vid


def test_a_vlan_that_was_retired_anew_is_not_released_by_whoever_looked_before(neutron: Cloud) -> None:
    """A message that is late, or a second process: a VM came and went since that look, and may be there still."""
    red = neutron.network_named("red")
    unbound(neutron, neutron.port_on(red, "compute-1"))
    segment = in_rack1(neutron, red)
    neutron.retire(segment)
    before = neutron.marks()[segment]
    unbound(neutron, neutron.port_on(red, "compute-2"))
    neutron.retire(segment)
    assert neutron.ask("release", retiring=[(segment, before)]) == []
    assert "rack1" in neutron.vlans(red)
    assert neutron.release(segment) == [segment]


def test_a_vlan_that_a_port_was_to_be_bound_to_since_somebody_looked_is_not_retired_by_him(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    unbound(neutron, neutron.port_on(red, "compute-1"))
    segment = in_rack1(neutron, red)
    before = neutron.marks()[segment]
    unbound(neutron, neutron.port_on(red, "compute-2"))
    assert neutron.ask("retire", unused=[(segment, before)]) == []
    assert neutron.retire(segment) == [segment]


def test_a_vlan_is_not_released_without_having_been_retired(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    unbound(neutron, neutron.port_on(red, "compute-1"))
    assert neutron.release(in_rack1(neutron, red)) == []
    assert "rack1" in neutron.vlans(red)


def test_a_retiring_vlan_that_a_binding_refers_to_after_all_is_not_released(neutron: Cloud) -> None:
    """A binding that was under way while its segment was retired: the level counts, not the mark."""
    red = neutron.network_named("red")
    segment = ""

    def retire() -> None:
        nonlocal segment
        segment = in_rack1(neutron, red)
        assert neutron.retire(segment) == [segment]

    neutron.keeper.before_answer = retire
    neutron.port_on(red, "compute-1")
    assert neutron.release(segment) == []
    assert "rack1" in neutron.vlans(red)


def test_a_deleted_network_gives_back_all_its_vlans(neutron: Cloud) -> None:
    """S16"""
    red = neutron.network_named("red")
    neutron.delete("ports", neutron.port_on(red, "compute-1"))
    vids = neutron.vlans(red)
    assert set(vids) == {"rack1", "fabric"}
    neutron.delete("networks", red)
    assert neutron.read(red) == []
    held = {tuple(vlan) for vlan in neutron.ask("read")["held"]}
    assert {("rack1", vids["rack1"]), ("fabric", vids["fabric"])} <= held, "port groups and leaves still have them"
    neutron.ask("free", vlans=sorted(held))
    assert vids["rack1"] not in neutron.allocated("rack1")
    assert vids["fabric"] not in neutron.allocated("fabric")


def test_a_vlan_that_a_network_has_is_neither_held_nor_freed(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    neutron.port_on(red, "compute-1")
    vid = neutron.vlans(red)["rack1"]
    neutron.ask("free", vlans=[("rack1", vid)])
    assert vid in neutron.allocated("rack1")
    assert ["rack1", vid] not in neutron.ask("read")["held"]


def test_a_vlan_that_is_held_is_given_to_no_network(neutron: Cloud) -> None:
    everything = [("rack2", vid) for vid in range(201, 300)]
    neutron.ask("hold", vlans=[(*vlan, "leaf1 does not take it") for vlan in everything])
    port = neutron.port_on(neutron.network_named("red"), "compute-3")
    assert neutron.port(port)["binding:vif_type"] == "binding_failed"
    neutron.ask("free", vlans=everything)
    neutron.ask("rebind", ports=["00000000-0000-0000-0000-000000000000", port])
    assert neutron.port(port)["binding:vif_type"] == "dvs"


def test_what_was_ready_where_a_port_was_is_not_where_it_is(neutron: Cloud) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    before = neutron.place_of(port)
    neutron.host_of(port, "compute-3")
    neutron.ask("ready", ports=[before])
    assert neutron.port(port)["status"] == "BUILD"
    neutron.in_place(port)
    assert neutron.port(port)["status"] == "ACTIVE"


def test_what_was_ready_for_a_vlan_that_a_port_had_before_is_not_for_the_one_it_has(neutron: Cloud) -> None:
    """Unbound and bound again on the same host: its leaf knows the first VLAN, and may not know the second."""
    red = neutron.network_named("red")
    port = neutron.port_on(red, "compute-1")
    before, segment = neutron.place_of(port), in_rack1(neutron, red)
    unbound(neutron, port)
    neutron.retire(segment)
    assert neutron.release(segment) == [segment]
    neutron.host_of(port, "compute-1")
    neutron.ask("ready", ports=[before])
    assert neutron.port(port)["status"] == "BUILD"
    neutron.in_place(port)
    assert neutron.port(port)["status"] == "ACTIVE"


def test_what_is_ready_where_a_port_will_be_moved_makes_it_active_nowhere(neutron: Cloud) -> None:
    port = neutron.port_on(neutron.network_named("red"), "compute-1")
    neutron.bind_elsewhere(port, "compute-3")
    (row,) = [row for row in neutron.ask("read")["ports"] if row["id"] == port]
    (target,) = [binding for binding in row["bindings"] if not binding["active"]]
    neutron.ask("ready", ports=[{"id": port, "host": "compute-3", "segment": target["segments"][-1]}])
    assert neutron.port(port)["status"] == "BUILD"
    neutron.in_place(port)
    assert neutron.port(port)["status"] == "ACTIVE"


def test_only_a_binding_of_ours_is_led_to_another_port_group(neutron: Cloud) -> None:
    """Who asked saw it bound to a port group; by now it is bound by others, or not bound."""
    told = {"tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.9", "bridge_mappings": {}}
    neutron.agent("kvm-9", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    red = neutron.network_named("red")
    ours, others = neutron.port_on(red, "compute-1"), neutron.port_on(red, "kvm-9")
    neutron.keeper.default = None
    failed = neutron.port_on(red, "compute-2")
    before = [neutron.port(port)["binding:vif_details"] for port in (others, failed)]
    neutron.ask("correct", ports=[led(ours, "compute-1"), led(others, "kvm-9"), led(failed, "compute-2")])
    assert neutron.port(ours)["binding:vif_details"]["pg_id"] == "dvportgroup-9"
    assert [neutron.port(port)["binding:vif_details"] for port in (others, failed)] == before


def led(port: object, host: str) -> dict[str, object]:
    return {"id": port, "host": host, "dvs_id": "dvs-uuid", "pg_id": "dvportgroup-9"}


def test_a_vlan_that_an_operator_gave_is_neither_retired_nor_released(neutron: Cloud) -> None:
    parts = [
        {"provider:network_type": "vxlan", "provider:segmentation_id": 80901},
        {"provider:network_type": "vlan", "provider:physical_network": "rack1", "provider:segmentation_id": 1192},
    ]
    net = neutron.network_named("multi", arg_list=("segments",), segments=parts)
    segment, before = in_rack1(neutron, net), segments(neutron, net)
    assert neutron.retire(segment) == []
    assert neutron.release(segment) == []
    assert segments(neutron, net) == before


NONSENSE: dict[str, object] = {}
"""What no database takes for an id or a VLAN."""


def test_an_errand_that_cannot_be_run_keeps_no_other_from_it(neutron: Cloud) -> None:
    red, blue = neutron.network_named("red"), neutron.network_named("blue")
    bound, waits, goes = (neutron.port_on(red, "compute-1"), *(neutron.port_on(blue, "compute-3") for _ in range(2)))

    neutron.ask("ready", ports=[{**neutron.place_of(bound), "id": NONSENSE}, neutron.place_of(bound)])
    assert neutron.port(bound)["status"] == "ACTIVE"

    neutron.ask("correct", ports=[led(NONSENSE, "compute-1"), led(bound, "compute-1")])
    assert neutron.port(bound)["binding:vif_details"]["pg_id"] == "dvportgroup-9"

    neutron.keeper.default = None
    neutron.host_of(waits, "compute-1")
    neutron.keeper.default = {"dvs_id": "dvs-uuid", "pg_id": "dvportgroup-7"}
    neutron.ask("rebind", ports=[NONSENSE, waits])
    assert neutron.port(waits)["binding:vif_type"] == "dvs"

    neutron.delete("ports", goes)
    (segment,) = [s["id"] for s in segments(neutron, blue) if s["physical_network"] == "rack2"]
    retired = neutron.ask("retire", unused=[(NONSENSE, ""), (segment, neutron.marks()[segment])])
    assert retired == [segment]
    assert neutron.ask("release", retiring=[(NONSENSE, ""), (segment, neutron.marks()[segment])]) == [segment]

    vacant = min(set(range(201, 300)) - neutron.allocated("rack2"))
    neutron.ask("hold", vlans=[("rack2", NONSENSE, "why"), ("rack2", vacant, "why")])
    assert vacant in neutron.allocated("rack2")
    neutron.ask("free", vlans=[("rack2", NONSENSE), ("rack2", vacant)])
    assert vacant not in neutron.allocated("rack2")


def test_creating_a_network_gives_it_its_vlan_in_a_static_domain(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    assert set(neutron.vlans(red)) == {"fabric"}
    assert [s["dynamic"] for s in segments(neutron, red)] == [True]


def test_a_network_that_is_older_than_the_static_domain_gets_its_vlan_when_asked_for(neutron: Cloud) -> None:
    """What a lost hook leaves behind is repaired by the next round."""
    red = neutron.network_named("red")
    (segment,) = neutron.segment_ids(red)
    assert neutron.retire(segment) == [segment]
    assert neutron.release(segment) == [segment]
    assert neutron.ask("allocate", network=red, domain="fabric") == ""
    assert set(neutron.vlans(red)) == {"fabric"}
    assert "no mapping domain" in neutron.ask("allocate", network=red, domain="elsewhere")


def test_a_renamed_network_keeps_its_vlans(neutron: Cloud) -> None:
    red = neutron.network_named("red")
    neutron.port_on(red, "compute-1")
    before = segments(neutron, red)
    neutron._update("networks", red, {"network": {"name": "crimson"}}, as_admin=True)
    assert segments(neutron, red) == before
    assert neutron.read(red)[0]["name"] == "crimson"


def test_all_that_isthmus_reads_is_in_one_answer(neutron: Cloud) -> None:
    red, blue = neutron.network_named("red"), neutron.network_named("blue")
    neutron.agent("kvm-9", "Open vSwitch agent", "neutron-openvswitch-agent", {"tunneling_ip": "192.0.2.9"})
    neutron.agent("kvm-9", "another agent", "that was there before", {"tunneling_ip": "192.0.2.8"})
    neutron.agent_was_heard_of_last("kvm-9", "Open vSwitch agent")
    port = neutron.port_on(red, "compute-1", mac_address="00:50:56:00:00:01")
    answer = neutron.ask("read")
    assert set(facts_of(answer).networks) == {row["id"] for row in answer["networks"]}
    assert {red, blue} <= {row["id"] for row in answer["networks"]}
    assert all(row["vni"] > 70000 for row in answer["networks"])
    (row,) = [row for row in answer["ports"] if row["id"] == port]
    assert (row["mac"], row["network"], row["status"]) == ("00:50:56:00:00:01", red, "BUILD")
    assert row["device"] == neutron.port(port)["device_id"]
    assert in_rack1(neutron, red) in row["bindings"][0]["segments"]
    assert [agent["vtep"] for agent in answer["agents"]] == ["192.0.2.8", "192.0.2.9"], "the last is who is there now"
    assert answer["domains"] == {"fabric": ["301-399"], "rack1": ["101-199"], "rack2": ["201-299"]}


def test_who_reports_a_vtep_is_alive_or_was_heard_of_last_some_time_ago(neutron: Cloud) -> None:
    for host, vtep in (("kvm-7", "192.0.2.7"), ("kvm-6", "192.0.2.6")):
        neutron.agent(host, "Open vSwitch agent", "neutron-openvswitch-agent", {"tunneling_ip": vtep})
    neutron.agent("provider", "Open vSwitch agent", "neutron-openvswitch-agent", {"tunneling_ip": None})
    neutron.agent("esx1.lab", APPLIANCE_TYPE, BINARY, {"tunneling_ip": "192.0.2.1"})
    neutron.agent_is_dead("kvm-7", "Open vSwitch agent")
    heard = {row["vtep"]: row for row in neutron.ask("heard")}
    assert {"192.0.2.7": False, "192.0.2.6": True, "192.0.2.1": True}.items() <= {
        vtep: row["alive"] for vtep, row in heard.items()
    }.items()
    assert heard["192.0.2.7"]["at"] == "2020-01-01 00:00:00"
    assert None not in heard
