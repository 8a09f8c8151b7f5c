"""What goes wrong on one side is shown, holds up nobody else, and is repaired by itself when its cause is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus.adapters.neutron import errands
from isthmus.app.check import check
from isthmus.model.change import Change, Forget, Result
from isthmus.model.faults import Retry
from isthmus.model.observed import NveMirror
from isthmus.model.tags import Vid, Vni
from tests.app.leaf_site import MemoryLeaf, host_table, leaf_table, until
from tests.openstack.site import Site, site
from tests.openstack.test_vds import HOSTS, per_leaf, pg_of, vni_of

pytestmark = [pytest.mark.openstack, pytest.mark.sim]


@contextmanager
def narrow_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Two racks, of which the first has a single VLAN."""
    ranges = {"rack1": "101:101", "rack2": "201:249"}
    with site(tmp_path, monkeypatch, per_leaf(("101", "201-249")), ranges=ranges) as made:
        made.has_hosts(*HOSTS)
        yield made


@contextmanager
def static_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """One fabric with one map of VLANs for two racks."""
    with site(tmp_path, monkeypatch, STATIC, static=["fabric"], ranges={"fabric": "301:399"}) as made:
        made.has_hosts("compute-1", "compute-2")
        yield made


def is_failed(made: Site, port: str) -> bool:
    return bool(made.neutron.port(port)["binding:vif_type"] == "binding_failed")


def test_while_vcenter_is_away_ports_fail_in_time_and_are_bound_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S20"""
    with site(tmp_path, monkeypatch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        net = made.neutron.network_named("red")
        old = made.neutron.port_on(net, "compute-1")
        until(lambda: made.is_active(old))
        vni = vni_of(made, net)
        made.vcenter.leave()
        began = time.monotonic()
        blue = made.neutron.network_named("blue")
        port = made.neutron.port_on(blue, "compute-1")
        assert time.monotonic() - began < 15
        assert is_failed(made, port)
        gone = made.neutron.network_named("gone soon")
        made.neutron.delete("networks", gone)
        made.neutron.delete("ports", old)
        made.rounds(1)
        assert vni in made.at_leaf("leaf1").values(), "nothing is freed while its port group cannot be seen"
        assert not made.is_free("rack1", made.neutron.vlans(net)["rack1"])
        assert any(port in condition["about"] for condition in made.conditions())
        made.vcenter.come_back()
        until(lambda: made.is_active(port), 60)
        until(lambda: made.neutron.vlans(net) == {} and vni not in made.at_leaf("leaf1").values(), 60)
        until(lambda: not any(port in condition["about"] for condition in made.conditions()))


def test_a_network_nodes_port_that_found_no_vlan_is_shown_and_bound_when_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S17, below a leaf"""
    with narrow_site(tmp_path, monkeypatch) as made:
        bridges = {"bridge_mappings": {"rack1": "br-ex"}}
        made.neutron.agent("net-1", "Open vSwitch agent", "neutron-openvswitch-agent", bridges)
        red, blue = made.neutron.network_named("red"), made.neutron.network_named("blue")
        first = made.neutron.port_on(red, "compute-1")
        until(lambda: made.is_active(first))
        dhcp = made.neutron.port_on(blue, "net-1", owner="network:dhcp")
        assert is_failed(made, dhcp)
        made.rounds(1)
        assert any(dhcp in condition["about"] for condition in made.conditions())
        made.neutron.delete("ports", first)
        until(lambda: not is_failed(made, dhcp), 60)
        until(lambda: not any(dhcp in condition["about"] for condition in made.conditions()))


def test_a_port_that_comes_while_its_port_group_is_being_removed_gets_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rack1's leaf takes three seconds to forget; rack2's shard hears meanwhile that the VLAN was taken up again."""
    with site(tmp_path, monkeypatch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        begun, apply = threading.Event(), MemoryLeaf.apply

        def slow(leaf: MemoryLeaf, changes: Sequence[Change]) -> Sequence[Result]:
            if leaf is made.leaf("leaf1") and any(isinstance(change.action, Forget) for change in changes):
                begun.set()
                time.sleep(3.0)
            return apply(leaf, changes)

        monkeypatch.setattr(MemoryLeaf, "apply", slow)
        red = made.neutron.network_named("red")
        first = made.neutron.port_on(red, "compute-1")
        until(lambda: made.is_active(first))
        made.neutron.delete("ports", first)
        assert begun.wait(30)
        second = made.neutron.port_on(red, "compute-1")
        told = set()
        until(lambda: told.add(pg_of(made, second)) or made.is_active(second), 60)  # type: ignore[func-returns-value]
        made.rounds(2)
        assert told - {""} == {made.key_of(group) for group in made.vids("red")}


def test_while_isthmus_is_down_ports_fail_and_are_bound_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(tmp_path, monkeypatch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        made.stop()
        net = made.neutron.network_named("red")
        port = made.neutron.port_on(net, "compute-1")
        assert is_failed(made, port)
        made.start()
        until(lambda: made.is_active(port), 40)


def test_a_leaf_that_does_not_answer_holds_up_its_own_ports_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(tmp_path, monkeypatch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        net = made.neutron.network_named("red")
        first = made.neutron.port_on(net, "compute-1")
        until(lambda: made.is_active(first))
        MemoryLeaf.misfits["unix:/nowhere/leaf1"] = "leaf1 is on fire"
        made.rounds(1)
        blue = made.neutron.network_named("blue")
        here, there = made.neutron.port_on(blue, "compute-1"), made.neutron.port_on(blue, "compute-2")
        until(lambda: made.is_active(there))
        assert not made.is_active(here)
        assert any("on fire" in condition["reason"] for condition in made.conditions())
        MemoryLeaf.misfits.clear()
        until(lambda: made.is_active(here), 40)


def test_a_full_domain_is_shown_and_the_port_that_waits_gets_the_first_vlan_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9, S17: the VLAN changes its owner only when the leaf has forgotten the first."""
    with narrow_site(tmp_path, monkeypatch) as made:
        red, blue = made.neutron.network_named("red"), made.neutron.network_named("blue")
        first = made.neutron.port_on(red, "compute-1")
        until(lambda: made.is_active(first))
        second, elsewhere = made.neutron.port_on(blue, "compute-1"), made.neutron.port_on(blue, "compute-2")
        assert is_failed(made, second)
        until(lambda: made.is_active(elsewhere))
        until(lambda: "no VLAN is left in mapping domain rack1: all of 101 are taken" in why_not(made, second))
        direct = made.neutron.port_on(blue, "compute-2", **{"binding:vnic_type": "direct"})
        until(lambda: "its vnic_type is direct" in why_not(made, direct))
        made.neutron.delete("ports", direct)
        assert made.at_leaf("leaf1") == {101: vni_of(made, red)}
        made.neutron.delete("ports", first)
        until(lambda: made.is_active(second), 60)
        assert made.at_leaf("leaf1") == {101: vni_of(made, blue)}
        assert set(made.vids("blue").values()) == {101, made.neutron.vlans(blue)["rack2"]}


def test_a_vlan_that_something_foreign_wears_at_the_leaf_is_not_given_to_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with narrow_site(tmp_path, monkeypatch) as made:
        made.leaf("leaf1").foreign[Vid(101)] = Vni(9)
        net = made.neutron.network_named("red")
        port = made.neutron.port_on(net, "compute-1")
        assert is_failed(made, port)
        assert made.vids("red") == {}
        until(lambda: any(port in condition["about"] for condition in made.conditions()))
        # Neutron may have given the network this VLAN before it heard of who wears it, or else has none left.
        reasons = ("VID 101 is assigned to it but still worn by leaf:leaf1", "1 of them held until nothing wears them")
        until(lambda: any(reason in made.explained(port) for reason in reasons))
        assert not made.is_active(port)
        made.leaf("leaf1").foreign.clear()
        made.read_anew()
        until(lambda: made.is_active(port), 60)


def test_neutron_restored_from_an_old_backup_takes_no_vlan_from_a_vm_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S21: it forgot a network, and gives its VLAN to the next."""
    with narrow_site(tmp_path, monkeypatch) as made:
        red = made.neutron.network_named("red")
        port = made.neutron.port_on(red, "compute-1")
        until(lambda: made.is_active(port))
        vm, vni = made.boot(port, "esx1.lab"), vni_of(made, red)
        made.neutron.forgets(red)
        blue = made.neutron.network_named("blue")
        second = made.neutron.port_on(blue, "compute-1")
        assert is_failed(made, second)
        assert made.at_leaf("leaf1") == {101: vni}, "the VM goes on in its own network"
        made.rounds(2)
        assert made.at_leaf("leaf1") == {101: vni}
        made.unplug(vm)
        until(lambda: made.is_active(second), 60)
        assert made.at_leaf("leaf1") == {101: vni_of(made, blue)}


def test_while_a_rack_cannot_be_looked_at_no_port_is_bound_there_and_the_reason_is_the_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its switch has another name, so that nobody knows what became of its port groups."""
    with site(tmp_path, monkeypatch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        red, blue = made.neutron.network_named("red"), made.neutron.network_named("blue")
        first = made.neutron.port_on(red, "compute-1")
        until(lambda: made.is_active(first))
        switch = made.admin.switch("rack1")
        made.admin.wait(switch.Rename_Task("rack1, renamed"))
        until(lambda: "'rack1'" in made.explained(first))
        known, new = made.neutron.port_on(red, "compute-1"), made.neutron.port_on(blue, "compute-1")
        elsewhere = made.neutron.port_on(blue, "compute-2")
        until(lambda: made.is_active(elsewhere))
        for port in (known, new):
            assert is_failed(made, port)
            assert "mapping domain 'rack1' cannot be looked at: " in made.explained(port)
            assert "'rack1'" in made.explained(port)
        made.admin.wait(switch.Rename_Task("rack1"))
        until(lambda: made.is_active(known) and made.is_active(new), 60)


def test_while_a_leaf_is_not_as_configured_ports_wait_for_it_and_are_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A switch that starts has nothing of what the configuration names: its racks are one shard with all others."""
    with static_site(tmp_path, monkeypatch) as made:
        red = made.neutron.network_named("red")
        first = made.neutron.port_on(red, "compute-1")
        until(lambda: made.is_active(first))
        leaf = made.leaf("leaf2")
        read = leaf.observe

        def refuse() -> NveMirror:
            raise Retry("it has not one physical switch")

        monkeypatch.setattr(leaf, "observe", refuse)
        made.neutron.network_named("blue")
        until(lambda: any("not one physical switch" in condition["reason"] for condition in made.conditions()))
        there, other = made.neutron.port_on(red, "compute-2"), made.neutron.port_on(red, "compute-1")
        assert made.neutron.port(there)["binding:vif_type"] == "dvs", "its port group is there"
        until(lambda: made.is_active(other))
        until(lambda: "leaf:leaf2 cannot be seen now: it has not one physical switch" in made.explained(there))
        assert not made.is_active(there)
        monkeypatch.setattr(leaf, "observe", read)
        until(lambda: made.is_active(there), 60)


def test_a_domain_that_neutron_names_no_more_is_shown_and_its_vms_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S35: its VLANs are given to nobody, whoever had them, and other domains hear nothing of it."""
    with narrow_site(tmp_path, monkeypatch) as made:
        red, blue = made.neutron.network_named("red"), made.neutron.network_named("blue")
        port = made.neutron.port_on(red, "compute-1")
        until(lambda: made.is_active(port))
        here = {101: vni_of(made, red)}
        made.neutron.domains("rack2")
        late, other = made.neutron.port_on(blue, "compute-1"), made.neutron.port_on(blue, "compute-2")
        until(lambda: any(condition["about"] == "mapping domain rack1" for condition in made.conditions()))
        until(lambda: made.is_active(other))
        there = made.at_leaf("leaf2")
        assert is_failed(made, late)
        assert (made.at_leaf("leaf1"), set(made.vids("red").values())) == (here, {101}), "Nova was given it"
        vm = made.boot(port, "esx1.lab")
        made.neutron.delete("ports", port)
        made.neutron.delete("networks", red)
        made.rounds(2)
        assert (made.at_leaf("leaf1"), set(made.vids("red").values())) == (here, {101}), "its VM runs"
        made.neutron.domains("rack1", "rack2")
        made.rounds(2)
        assert is_failed(made, late)
        assert (made.at_leaf("leaf1"), made.at_leaf("leaf2")) == (here, there)
        made.unplug(vm)
        until(lambda: made.is_active(late), 60)
        assert made.at_leaf("leaf1") == {101: vni_of(made, blue)}
        assert made.at_leaf("leaf2") == there
        until(lambda: not any(condition["about"] == "mapping domain rack1" for condition in made.conditions()))


def with_network_nodes(made: Site) -> None:
    """Each has a VTEP of its own, and is below a leaf, too."""
    for rack in (1, 2):
        told = {
            "bridge_mappings": {f"rack{rack}": "br-ex"},
            "tunnel_types": ["vxlan"],
            "tunneling_ip": f"192.0.2.7{rack}",
        }
        made.neutron.agent(f"net-{rack}", "Open vSwitch agent", "neutron-openvswitch-agent", told)


def why_not(made: Site, port: str) -> str:
    """What the conditions say of a port."""
    return "; ".join(found["reason"] for found in made.conditions() if port in found["about"])


def test_below_a_leaf_that_is_only_observed_nothing_is_bound_anew_and_is_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would map the VLAN: a network node with tunnels stays with them."""
    observed = per_leaf().replace("[deployment.rack2]\n", "[deployment.rack2]\nobserve_only = true\n")
    with site(tmp_path, monkeypatch, observed) as made:
        made.has_hosts(*HOSTS)
        with_network_nodes(made)
        red = made.neutron.network_named("red")
        dhcp = made.neutron.port_on(red, "net-2", owner="network:dhcp")
        assert [network for _, network, _ in made.neutron.levels(dhcp)] == ["vxlan"]
        vm = made.neutron.port_on(red, "compute-2")
        assert is_failed(made, vm)
        assert made.neutron.vlans(red) == {}
        until(lambda: "only observes" in why_not(made, vm))


def test_what_waits_where_a_deployment_was_handed_back_or_paused_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(tmp_path, monkeypatch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        with_network_nodes(made)
        red, blue = made.neutron.network_named("red"), made.neutron.network_named("blue")
        made.daemon.answer({"do": "pause", "shard": "rack1"})
        vm = made.neutron.port_on(red, "compute-1")
        until(lambda: "within 1 s" in why_not(made, vm) and "paused" in why_not(made, vm))
        dhcp = made.neutron.port_on(red, "net-1", owner="network:dhcp")
        until(lambda: "leaf1 does not map" in made.explained(dhcp) and "rack1 is paused" in made.explained(dhcp))
        made.daemon.answer({"do": "resume", "shard": "rack1"})
        until(lambda: made.is_active(vm), 60)
        until(lambda: "has not wired it" in made.explained(dhcp))
        made.daemon.answer({"do": "release", "shard": "rack1"})
        until(lambda: made.standing("net-1") == "released")
        late = made.neutron.port_on(blue, "compute-1")
        assert is_failed(made, late)
        node = made.neutron.port_on(blue, "net-1", owner="network:dhcp")
        assert [network for _, network, _ in made.neutron.levels(node)] == ["vxlan"]
        until(lambda: "handed back" in why_not(made, late) and "handed back" in made.explained(late))
        assert len(made.neutron.levels(dhcp)) == 2, "what is bound stays"
        made.daemon.answer({"do": "resume", "shard": "rack1"})
        until(lambda: made.is_active(late), 60)
        until(lambda: why_not(made, late) == "")


def test_a_misspelt_domain_takes_nothing_away_and_is_said_by_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(tmp_path, monkeypatch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        net = made.neutron.network_named("red")
        port = made.neutron.port_on(net, "compute-1")
        until(lambda: made.is_active(port))
        before, there = made.at_leaf("leaf1"), made.vids("red")
        made.restart(lambda text: text.replace("[deployment.rack1]\n", '[deployment.rack1]\ndomain = "rakc1"\n'))
        until(lambda: any(condition["about"] == "mapping domain rakc1" for condition in made.conditions()))
        made.rounds(3)
        assert (made.at_leaf("leaf1"), made.vids("red")) == (before, there)
        assert not any(condition["kind"] == "stale" for condition in made.conditions()), "Neutron answers"
        (found,) = [found for found in check(made.wiring) if "rakc1" in found.place]
        assert found.is_error


def test_neutron_that_does_not_answer_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(tmp_path, monkeypatch, per_leaf()) as made:
        made.has_hosts(*HOSTS)
        net = made.neutron.network_named("red")
        port = made.neutron.port_on(net, "compute-1")
        until(lambda: made.is_active(port))
        before = made.at_leaf("leaf1")
        made.neutron.silence()
        made.neutron.delete("ports", port)
        made.neutron.delete("networks", net)
        until(lambda: any(condition["kind"] == "stale" for condition in made.conditions()), 60)
        made.rounds(1)
        assert made.at_leaf("leaf1") == before
        assert len(made.vids("red")) == 1
        made.neutron.speak()
        until(lambda: made.vids("red") == {} and made.at_leaf("leaf1") == {}, 90)


STATIC = (
    '[deployment.fabric]\ndesign = "vds-static"\ndvs = ["rack1", "rack2"]\nvids = "301-399"\n'
    + leaf_table("fabric", "leaf1")
    + leaf_table("fabric", "leaf2")
    + host_table("fabric", "esx1.lab", "leaf1")
    + host_table("fabric", "esx2.lab", "leaf2")
    + '[deployment.fabric.compute."compute-1"]\ndvs = "rack1"\n'
    + '[deployment.fabric.compute."compute-2"]\ndvs = "rack2"\n'
)


def test_in_a_static_fabric_a_network_is_everywhere_as_soon_as_it_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with static_site(tmp_path, monkeypatch) as made:
        red = made.neutron.network_named("red")
        vid, vni = made.neutron.vlans(red)["fabric"], vni_of(made, red)
        assert (vid, vni) != (vni, vid)
        until(lambda: made.vids("red") == {"red (rack1)": vid, "red (rack2)": vid})
        until(lambda: made.at_leaf("leaf1") == made.at_leaf("leaf2") == {vid: vni})
        ports = [made.neutron.port_on(red, f"compute-{n}") for n in (1, 2)]
        until(lambda: all(made.is_active(port) for port in ports))
        groups = [made.neutron.port(port)["binding:vif_details"]["pg_id"] for port in ports]
        assert groups == [made.key_of("red (rack1)"), made.key_of("red (rack2)")]
        for port in ports:
            made.neutron.delete("ports", port)
        made.rounds(2)
        time.sleep(errands.LINGER + 1)
        made.rounds(1)
        assert made.at_leaf("leaf1") == {vid: vni}, "its VLAN is the network's as long as it is there"
        made.neutron.delete("networks", red)
        until(lambda: made.vids("red") == {} and made.at_leaf("leaf1") == made.at_leaf("leaf2") == {})


def test_networks_that_are_older_than_the_static_domain_get_their_vlan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def older(made_site: Site) -> None:
        net = made_site.neutron.network_named("old")
        ids = made_site.neutron.segment_ids(net)
        made_site.neutron.retire(*ids)
        made_site.neutron.release(*ids)
        made.append(net)

    ranges = {"fabric": "301:399"}
    with site(tmp_path, monkeypatch, STATIC, static=["fabric"], ranges=ranges, before=older) as here:
        until(lambda: here.neutron.vlans(made[0]) != {})
        until(lambda: len(here.vids("old")) == 2)
