"""Neutron's networks and ports become port groups and mappings at the leaves, and Neutron is told when they are."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from isthmus.model.nve import LeafFlood, LeafUnicast
from tests.app.leaf_site import VTEPS, host_table, leaf_table, until
from tests.openstack.ovs_agent import OvsAgent
from tests.openstack.site import Site, site

pytestmark = [pytest.mark.openstack, pytest.mark.sim]


def per_leaf(vids: tuple[str, str] = ("101-149", "201-249")) -> str:
    return "".join(
        f'[deployment.rack{n}]\ndesign = "vds-leaf"\ndvs = "rack{n}"\nvids = "{own}"\n'
        + leaf_table(f"rack{n}", f"leaf{n}")
        + host_table(f"rack{n}", f"esx{n}.lab", f"leaf{n}")
        + f'[deployment.rack{n}.compute."compute-{n}"]\n[deployment.rack{n}.compute."other-{n}"]\n'
        + f'[deployment.rack{n}.attached."net-{n}"]\nleaf = "leaf{n}"\nports = ["swp8"]\n'
        for n, own in enumerate(vids, 1)
    )


HOSTS = ("compute-1", "compute-2", "other-1", "net-1", "net-2")


@pytest.fixture(scope="module")
def racks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One world for the whole page: each test has networks of its own."""
    with pytest.MonkeyPatch.context() as patch, site(tmp_path_factory.mktemp("site"), patch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        yield made


def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:60]


@pytest.fixture
def red(racks: Site, request: pytest.FixtureRequest) -> str:
    """A network, named after the test."""
    return racks.neutron.network_named(name(request))


def vni_of(racks: Site, network: str) -> int:
    (row,) = racks.neutron.read(network)
    return int(row["vni"])


def test_a_port_is_bound_to_its_own_port_group_and_active_when_its_leaf_knows_it(
    racks: Site, red: str, request: pytest.FixtureRequest
) -> None:
    port = racks.neutron.port_on(red, "compute-1")
    shown = racks.neutron.port(port)
    assert shown["binding:vif_type"] == "dvs"
    vid = racks.neutron.vlans(red)["rack1"]
    group = f"{name(request)} (rack1)"
    assert racks.vids(name(request)) == {group: vid}
    assert shown["binding:vif_details"]["pg_id"] == racks.key_of(group)
    assert shown["binding:vif_details"]["dvs_id"] == racks.admin.switch("rack1").uuid
    until(lambda: racks.is_active(port))
    assert racks.at_leaf("leaf1")[vid] == vni_of(racks, red)
    assert vni_of(racks, red) not in racks.at_leaf("leaf2").values()


def test_the_second_port_of_a_network_on_a_switch_writes_nothing_anywhere(racks: Site, red: str) -> None:
    first = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(first))
    before = racks.writes()
    second = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(second))
    assert racks.writes() == before


def test_a_port_that_neutrons_dhcp_agent_does_not_have_yet_is_not_told_of_in_every_round(
    racks: Site, red: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = racks.neutron.port_on(red, None)
    racks.neutron.await_dhcp(port)
    with caplog.at_level("INFO", "isthmus"):
        racks.neutron.host_of(port, "compute-1")
        until(lambda: f"neutron: ready: {port}" in caplog.messages)
        racks.rounds(6)
        # Twice if the other rack was looked at before Neutron was read again.
        assert caplog.messages.count(f"neutron: ready: {port}") <= 2
    assert not racks.is_active(port)
    racks.neutron.dhcp_is_ready(port)
    until(lambda: racks.is_active(port))


def test_vms_below_two_leaves_are_joined_by_the_vni_and_each_leaf_knows_the_others(racks: Site, red: str) -> None:
    ports = [racks.neutron.port_on(red, f"compute-{n}") for n in (1, 2)]
    for n, port in enumerate(ports, 1):
        racks.boot(port, f"esx{n}.lab")
    vids, vni = racks.neutron.vlans(red), vni_of(racks, red)
    until(lambda: racks.at_leaf("leaf1").get(vids["rack1"]) == vni and racks.at_leaf("leaf2").get(vids["rack2"]) == vni)
    macs = [racks.neutron.port(port)["mac_address"] for port in ports]
    until(lambda: LeafUnicast(vni, macs[1], VTEPS["leaf2"]) in racks.leaf("leaf1").entries.values())  # type: ignore[arg-type]
    until(lambda: LeafUnicast(vni, macs[0], VTEPS["leaf1"]) in racks.leaf("leaf2").entries.values())  # type: ignore[arg-type]


VRRP = "00:00:5e:00:01:01"


def test_the_other_leaf_knows_where_a_mac_is_that_a_vm_may_send_from_besides_its_own(racks: Site, red: str) -> None:
    """S40: an allowed address pair, given when the VM runs already, and taken away."""
    port = racks.neutron.port_on(red, "compute-1")
    racks.neutron.port_on(red, "compute-2")
    racks.boot(port, "esx1.lab")
    vni, own = vni_of(racks, red), racks.neutron.port(port)["mac_address"]
    assert known_at_leaf2(racks, vni, {own})
    racks.neutron.change(port, allowed_address_pairs=[{"mac_address": VRRP, "ip_address": "10.7.0.9"}])
    assert known_at_leaf2(racks, vni, {own, VRRP})
    racks.neutron.change(port, allowed_address_pairs=[])
    assert known_at_leaf2(racks, vni, {own})


def known_at_leaf2(racks: Site, vni: int, macs: set[str]) -> bool:
    """It comes to know these, and no others, behind leaf1."""
    wanted = {LeafUnicast(vni, mac, VTEPS["leaf1"]) for mac in macs}  # type: ignore[arg-type]
    until(lambda: {e for e in everything(racks, "leaf2") if isinstance(e, LeafUnicast) and e.vni == vni} == wanted)
    return True


def test_a_vm_that_neutron_does_not_know_is_announced_to_no_leaf(racks: Site, red: str) -> None:
    port = racks.neutron.port_on(red, "compute-1")
    (group,) = [n for n in racks.admin.port_group_names() if racks.key_of(n) == pg_of(racks, port)]
    racks.admin.create_vm("stranger", "esx1.lab", [group], ["00:50:56:66:66:66"])
    racks.admin.power_on("stranger")
    racks.neutron.port_on(red, "compute-2")
    until(lambda: any("00:50:56:66:66:66" in c["reason"] or "stranger" in c["about"] for c in racks.conditions()))
    assert not any(isinstance(e, LeafUnicast) and e.mac == "00:50:56:66:66:66" for e in everything(racks))
    racks.unplug("stranger")


def pg_of(racks: Site, port: str) -> str:
    return str(racks.neutron.port(port)["binding:vif_details"].get("pg_id", ""))


def everything(racks: Site, *leaves: str) -> list[object]:
    return [entry for leaf in leaves or VTEPS for entry in racks.leaf(leaf).entries.values()]


def test_the_last_port_takes_port_group_mapping_and_vlan_along(
    racks: Site, red: str, request: pytest.FixtureRequest
) -> None:
    """S5"""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vid, vni = racks.neutron.vlans(red)["rack1"], vni_of(racks, red)
    racks.neutron.delete("ports", port)
    until(lambda: racks.is_free("rack1", vid))
    assert racks.vids(name(request)) == {}
    assert vni not in racks.at_leaf("leaf1").values()


def test_a_port_that_is_unbound_and_bound_again_gets_port_group_and_mapping_anew(racks: Site, red: str) -> None:
    """S6, S8: the VLAN may be another one."""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vid = racks.neutron.vlans(red)["rack1"]
    racks.neutron.host_of(port, "")
    until(lambda: racks.is_free("rack1", vid))
    racks.neutron.host_of(port, "compute-1")
    until(lambda: racks.is_active(port))
    assert racks.at_leaf("leaf1")[racks.neutron.vlans(red)["rack1"]] == vni_of(racks, red)


def test_a_vlan_that_a_vm_still_wears_is_given_to_nobody(racks: Site, red: str, request: pytest.FixtureRequest) -> None:
    """Contract 13: deleted in Neutron while the NIC is plugged in."""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vm, vid = racks.boot(port, "esx1.lab"), racks.neutron.vlans(red)["rack1"]
    segment = racks.neutron.segment_ids(red)
    racks.neutron.delete("ports", port)
    until(lambda: racks.is_retiring(red))
    racks.rounds(2)
    assert not racks.is_free("rack1", vid)
    assert racks.neutron.segment_ids(red) == segment
    assert len(racks.vids(name(request))) == 1
    racks.unplug(vm)
    until(lambda: racks.is_free("rack1", vid))
    assert racks.vids(name(request)) == {}


@pytest.mark.parametrize("attempt", range(4))
def test_a_port_is_not_given_a_port_group_about_to_go(
    racks: Site, red: str, request: pytest.FixtureRequest, attempt: int
) -> None:
    """Nova reads the binding once, and would look for a port group that is gone for five minutes."""
    first = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(first))
    racks.neutron.delete("ports", first)
    until(lambda: racks.is_retiring(red))
    second = racks.neutron.port_on(red, "compute-1")
    told = pg_of(racks, second)
    racks.rounds(3)
    assert [racks.key_of(group) for group in racks.vids(name(request))] == [told]
    until(lambda: racks.is_active(second))


def test_a_vm_moved_by_nova_to_another_rack_leaves_nothing_behind(
    racks: Site, red: str, request: pytest.FixtureRequest
) -> None:
    """S10: cold migration."""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vid = racks.neutron.vlans(red)["rack1"]
    racks.neutron.host_of(port, "compute-2")
    until(lambda: racks.is_active(port) and racks.is_free("rack1", vid))
    assert set(racks.vids(name(request))) == {f"{name(request)} (rack2)"}
    assert vni_of(racks, red) in racks.at_leaf("leaf2").values()
    assert vni_of(racks, red) not in racks.at_leaf("leaf1").values()


def test_a_vm_moved_to_another_cluster_on_the_same_switch_changes_nothing(racks: Site, red: str) -> None:
    """S11"""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    before, group, vlans = racks.writes(), pg_of(racks, port), racks.neutron.vlans(red)
    racks.neutron.host_of(port, "other-1")
    until(lambda: racks.is_active(port))
    racks.neutron.bind_elsewhere(port, "compute-1")
    racks.neutron.activate(port, "compute-1")
    until(lambda: racks.is_active(port))
    assert (racks.writes(), pg_of(racks, port), racks.neutron.vlans(red)) == (before, group, vlans)


def test_ports_that_are_bound_at_once_share_one_vlan_and_one_port_group(
    racks: Site, red: str, request: pytest.FixtureRequest
) -> None:
    """S4"""
    with ThreadPoolExecutor(6) as pool:
        ports = list(pool.map(lambda _: racks.neutron.port_on(red, "compute-1"), range(6)))
    until(lambda: all(racks.is_active(port) for port in ports))
    assert len({pg_of(racks, port) for port in ports}) == 1
    assert set(racks.vids(name(request))) == {f"{name(request)} (rack1)"}
    assert len(racks.neutron.segment_ids(red)) == 1


def test_a_live_migration_finds_the_other_rack_ready_and_retires_the_first_afterwards(racks: Site, red: str) -> None:
    """S12"""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vids, vni = racks.neutron.vlans(red), vni_of(racks, red)
    binding = racks.neutron.bind_elsewhere(port, "compute-2")
    assert binding["vif_type"] == "dvs"
    until(lambda: vni in racks.at_leaf("leaf2").values())  # before it is activated
    racks.rounds(2)
    assert racks.at_leaf("leaf1")[vids["rack1"]] == vni, "the source stays as long as the VM is there"
    racks.neutron.activate(port, "compute-2")
    until(lambda: racks.is_active(port))
    racks.neutron.give_up(port, "compute-1")
    until(lambda: racks.is_free("rack1", vids["rack1"]))
    assert vni not in racks.at_leaf("leaf1").values()
    assert vni in racks.at_leaf("leaf2").values()


def test_of_two_who_activate_the_target_at_once_one_wins_and_nothing_leaks(racks: Site, red: str) -> None:
    """S14"""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vids, vni = racks.neutron.vlans(red), vni_of(racks, red)
    racks.neutron.bind_elsewhere(port, "compute-2")
    until(lambda: vni in racks.at_leaf("leaf2").values())
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: racks.neutron.activated(port, "compute-2"), range(2)))
    assert sorted(answers) == [200, 409]
    assert racks.neutron.bindings(port) == {"compute-1": False, "compute-2": True}
    until(lambda: racks.is_active(port))
    racks.neutron.give_up(port, "compute-1")
    until(lambda: racks.is_free("rack1", vids["rack1"]))
    assert vni not in racks.at_leaf("leaf1").values()
    assert vni in racks.at_leaf("leaf2").values()
    assert set(racks.neutron.vlans(red)) == {"rack2"}
    racks.neutron.delete("ports", port)
    until(lambda: racks.neutron.vlans(red) == {} and vni not in racks.at_leaf("leaf2").values())


def test_a_live_migration_that_is_rolled_back_leaks_nothing(racks: Site, red: str) -> None:
    """S13"""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vni = vni_of(racks, red)
    racks.neutron.bind_elsewhere(port, "compute-2")
    vid = racks.neutron.vlans(red)["rack2"]
    until(lambda: vni in racks.at_leaf("leaf2").values())
    racks.neutron.give_up(port, "compute-2")
    until(lambda: racks.is_free("rack2", vid))
    assert vni not in racks.at_leaf("leaf2").values()
    assert racks.is_active(port)
    assert vni in racks.at_leaf("leaf1").values()


def test_a_deleted_network_goes_from_everywhere(racks: Site, red: str, request: pytest.FixtureRequest) -> None:
    """S16"""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vni, vid = vni_of(racks, red), racks.neutron.vlans(red)["rack1"]
    racks.neutron.delete("ports", port)
    racks.neutron.delete("networks", red)
    until(lambda: racks.is_free("rack1", vid))
    assert racks.vids(name(request)) == {}
    assert vni not in racks.at_leaf("leaf1").values()


def test_a_deleted_networks_vlan_is_nobodys_while_its_vm_still_wears_it(racks: Site, red: str) -> None:
    """Not the next network's, and so not that of its DHCP server below the same leaf, whom no port group protects."""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    vm, vid = racks.boot(port, "esx1.lab"), racks.neutron.vlans(red)["rack1"]
    racks.neutron.delete("ports", port)
    racks.neutron.delete("networks", red)
    racks.rounds(2)
    assert not racks.is_free("rack1", vid)
    racks.unplug(vm)
    until(lambda: racks.is_free("rack1", vid))


def test_a_renamed_network_keeps_its_port_group_and_its_vlan(
    racks: Site, red: str, request: pytest.FixtureRequest
) -> None:
    """S30"""
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    key, vlans = pg_of(racks, port), racks.neutron.vlans(red)
    racks.neutron._update("networks", red, {"network": {"name": "crimson"}}, as_admin=True)
    until(lambda: racks.shown_name(red) == "crimson")
    racks.rounds(1)
    assert racks.key_of(f"{name(request)} (rack1)") == key
    assert racks.neutron.vlans(red) == vlans
    assert racks.is_active(port)


@pytest.mark.parametrize("hostile", ["..", "a/b\\c%2f", "'; DROP", "{}$(id)", "x" * 255, ""])
def test_a_network_with_any_name_works(racks: Site, hostile: str) -> None:
    net = racks.neutron.network_named(hostile)
    port = racks.neutron.port_on(net, "compute-1")
    until(lambda: racks.is_active(port))


def test_two_networks_of_one_name_have_port_groups_of_their_own(racks: Site) -> None:
    twins = [racks.neutron.network_named("twin") for _ in range(2)]
    ports = [racks.neutron.port_on(net, "compute-1") for net in twins]
    until(lambda: all(racks.is_active(port) for port in ports))
    assert pg_of(racks, ports[0]) != pg_of(racks, ports[1])


def test_a_port_group_deleted_under_us_is_made_again_and_the_binding_names_the_new_one(
    racks: Site, red: str, request: pytest.FixtureRequest
) -> None:
    port = racks.neutron.port_on(red, "compute-1")
    until(lambda: racks.is_active(port))
    before = pg_of(racks, port)
    group = f"{name(request)} (rack1)"
    racks.admin.wait(racks.admin.port_group(group).Destroy_Task())
    until(lambda: pg_of(racks, port) != before)
    assert pg_of(racks, port) == racks.key_of(group)


def test_a_network_nodes_port_has_its_mapping_and_the_other_leaf_knows_where_it_is(racks: Site, red: str) -> None:
    told = {"bridge_mappings": {"rack1": "br-ex"}}
    racks.neutron.agent("net-1", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    dhcp = racks.neutron.port_on(red, "net-1", owner="network:dhcp")
    assert racks.neutron.levels(dhcp)[1][0] == "openvswitch"
    port = racks.neutron.port_on(red, "compute-2")
    racks.boot(port, "esx2.lab")
    vni, mac = vni_of(racks, red), racks.neutron.port(dhcp)["mac_address"]
    until(lambda: racks.at_leaf("leaf1").get(racks.neutron.vlans(red)["rack1"]) == vni)
    assert "swp8" in racks.leaf("leaf1").settings.ports
    until(lambda: LeafUnicast(vni, mac, VTEPS["leaf1"]) in racks.leaf("leaf2").entries.values())  # type: ignore[arg-type]


def test_a_kvm_hosts_stock_agent_hears_behind_which_leaf_a_vm_is_and_that_it_went(racks: Site, red: str) -> None:
    kvm, neutron = OvsAgent(), racks.neutron
    neutron.subnet_of(red, "10.7.0.0/24")
    with neutron.listening("q-agent-notifier-l2population-update", "kvm-8", kvm):
        told = {"tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.78", "bridge_mappings": {}}
        neutron.agent("kvm-8", "Open vSwitch agent", "neutron-openvswitch-agent", told)
        there, here = neutron.port_on(red, "kvm-8"), neutron.port_on(red, "compute-1")
        vm, vni = racks.boot(here, "esx1.lab"), vni_of(racks, red)
        racks.rounds(1)
        assert kvm.behind(VTEPS["leaf1"]) == set(), "its own port is not wired yet"
        neutron.plugin.update_port_status(neutron.context, there, "ACTIVE", "kvm-8")
        shown = neutron.port(here)
        flood = (VTEPS["leaf1"], "00:00:00:00:00:00", "0.0.0.0", vni)
        unicast = (VTEPS["leaf1"], shown["mac_address"], shown["fixed_ips"][0]["ip_address"], vni)
        until(lambda: kvm.behind(VTEPS["leaf1"]) == {flood, unicast})
        racks.unplug(vm)
        until(lambda: kvm.behind(VTEPS["leaf1"]) == set())


def test_a_kvm_host_is_reached_at_its_own_vtep(racks: Site, red: str) -> None:
    told = {"tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.77", "bridge_mappings": {}}
    racks.neutron.agent("kvm-7", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    there, here = racks.neutron.port_on(red, "kvm-7"), racks.neutron.port_on(red, "compute-1")
    racks.boot(here, "esx1.lab")
    vni, mac = vni_of(racks, red), racks.neutron.port(there)["mac_address"]
    until(lambda: LeafUnicast(vni, mac, "192.0.2.77") in racks.leaf("leaf1").entries.values())  # type: ignore[arg-type]
    assert LeafFlood(vni, frozenset({"192.0.2.77"})) in racks.leaf("leaf1").entries.values()  # type: ignore[arg-type]
