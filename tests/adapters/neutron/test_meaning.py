"""What Neutron says becomes the intent; what makes no sense is left out and named, and the rest stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from isthmus.adapters.neutron.facts import facts_of
from isthmus.adapters.neutron.meaning import NOTHING_SAID, Places, Reasons, intent_of
from isthmus.model.faults import Retry
from isthmus.model.intent import Intent, Peer
from isthmus.model.names import LeafId, Mac, NetworkId, PortId
from isthmus.model.scope import LeafScope
from isthmus.model.tags import Vid, VidSet

RACK1 = LeafScope(LeafId("leaf1"))
PLACES = Places(
    {"rack1": RACK1}, {"compute-1": "rack1", "net-1": "rack1"}, {"net-1": "192.0.2.1"}, {"rack1": VidSet.of("101-4094")}
)


def network(name: str, vni: int, *segments: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "name": name, "mtu": 1450, "vni": vni, "overlay": "vxlan", "segments": list(segments)}


def segment(vid: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"s{vid}",
        "physical_network": "rack1",
        "vid": vid,
        "dynamic": True,
        "mark": "",
        "used": False,
        **more,
    }


def port(name: str, net: str, *bindings: dict[str, Any], **more: Any) -> dict[str, Any]:
    plain = {"mac": "fa:16:3e:00:00:01", "device": "vm", "owner": "compute:nova", "admin_up": True, "status": "BUILD"}
    return {
        "id": name,
        "network": net,
        **plain,
        "addresses": ["10.0.0.5"],
        "pairs": [],
        "secured": True,
        "awaits_others": False,
        "bindings": list(bindings),
        **more,
    }


def binding(host: str, *segments: str, **more: Any) -> dict[str, Any]:
    plain = {"active": True, "failed": False, "ours": False, "unbound": False, "dvs_id": None, "pg_id": None}
    return {"host": host, "segments": list(segments), **plain, **more}


def meant(
    networks: list[dict[str, Any]],
    *ports: dict[str, Any],
    domains: tuple[str, ...] = ("rack1",),
    places: Places = PLACES,
    kvm_vtep: str = "192.0.2.9",
) -> Intent:
    agents = [{"host": "kvm", "vtep": kvm_vtep, "started_at": "1"}]
    answer = {
        "networks": networks,
        "ports": list(ports),
        "agents": agents,
        "domains": {domain: ["101-149", "201-249"] for domain in domains},
        "held": [],
        "fabric": True,
        "kept": [],
        "beside": [],
        "static": [],
    }
    return intent_of(facts_of(answer), places)


def test_a_network_has_a_place_where_neutron_gives_it_a_vlan_and_nowhere_else() -> None:
    intent = meant([network("red", 70001, segment(101)), network("blue", 70002)])
    assert intent.networks[NetworkId("red")].assigned == {RACK1: Vid(101)}
    assert set(intent.within(RACK1).networks) == {"red"}
    assert set(intent.within(LeafScope(LeafId("leaf2"))).networks) == set()
    assert set(intent.networks) == {"red", "blue"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (port("bad", "red", mac="nonsense"), "port bad"),
        (port("bad", "red", pairs=[["zz", "10.0.0.9"]]), "port bad"),
    ],
)
def test_a_port_that_makes_no_sense_is_named_and_the_others_stand(wrong: dict[str, Any], named: str) -> None:
    intent = meant([network("red", 70001)], wrong, port("good", "red"))
    assert set(intent.ports) == {PortId("good")}
    assert [doubt.about for doubt in intent.doubts] == [named]


@pytest.mark.parametrize("vni", [0, 2**24, -1])
def test_a_network_whose_vni_is_none_is_named_and_the_others_stand(vni: int) -> None:
    intent = meant([network("bad", vni, segment(101)), network("good", 70001, segment(102))])
    assert set(intent.networks) == {"good"}
    assert [doubt.about for doubt in intent.doubts] == ["network bad"]


@pytest.mark.parametrize("vid", [0, 4095, 70000])
def test_a_vlan_that_is_none_gives_no_place(vid: int) -> None:
    intent = meant([network("red", 70001, segment(vid))])
    assert intent.networks[NetworkId("red")].assigned == {}
    assert [(doubt.about, doubt.scope) for doubt in intent.doubts] == [("network red", RACK1)]


def test_members_outside_vsphere_are_behind_their_own_vtep_or_their_leafs() -> None:
    intent = meant(
        [network("red", 70001, segment(101))],
        port("kvm", "red", binding("kvm", "vxlan"), mac="fa:16:3e:00:00:0a"),
        port("dhcp", "red", binding("net-1", "vxlan", "s101"), mac="fa:16:3e:00:00:0b", owner="network:dhcp"),
        port("ours", "red", binding("compute-1", "vxlan", "s101", ours=True)),
        port("migrating", "red", binding("kvm", "vxlan", active=False)),
        port("elsewhere", "red", binding("who", "vxlan")),
        port("failed", "red", binding("kvm", "vxlan", failed=True)),
    )
    red = NetworkId("red")
    assert intent.peers == (
        Peer(red, "192.0.2.9", Mac("fa:16:3e:00:00:0a"), ("10.0.0.5",)),
        Peer(red, "192.0.2.1", Mac("fa:16:3e:00:00:0b"), ("10.0.0.5",)),
    )


def test_a_kvm_hosts_port_on_a_provider_vlan_of_the_network_is_behind_no_vtep() -> None:
    """The network has a VLAN of the provider's, too, and the port is there: nobody finds it in the overlay."""
    intent = meant(
        [network("red", 70001, segment(300, physical_network="provider", dynamic=False))],
        port("kvm", "red", binding("kvm", "s300")),
    )
    assert intent.peers == ()


def test_a_machines_port_in_a_vlan_that_is_not_its_leafs_is_below_no_leaf() -> None:
    """Its domain was full, say, and its stock driver bound the provider's VLAN."""
    provider = segment(300, physical_network="provider", dynamic=False)
    intent = meant(
        [network("red", 70001, segment(101), provider)],
        port("beside", "red", binding("net-1", "s300"), mac="fa:16:3e:00:00:0a"),
        port("elsewhere", "red", binding("net-1", "vxlan", "s300"), mac="fa:16:3e:00:00:0b"),
        port("below", "red", binding("net-1", "vxlan", "s101"), mac="fa:16:3e:00:00:0c"),
    )
    assert [peer.mac for peer in intent.peers] == ["fa:16:3e:00:00:0c"]


def test_a_network_node_stays_where_it_is_while_neutron_does_not_name_its_domain() -> None:
    """The operator mistyped 'domain', say: nothing is taken away meanwhile, at other leaves or at KVM hosts."""
    mistyped = replace(PLACES, homes={"net-1": "rack-one"}, scopes={"rack-one": RACK1})
    below = port("p", "red", binding("net-1", "vxlan", "s101"), mac="fa:16:3e:00:00:0c")
    intent = meant([network("red", 70001, segment(101))], below, places=mistyped)
    assert [(peer.vtep, peer.mac) for peer in intent.peers] == [("192.0.2.1", "fa:16:3e:00:00:0c")]
    assert intent.unsure == {RACK1}


def test_a_member_outside_vsphere_may_have_macs_that_others_share() -> None:
    pairs = [["00:00:5e:00:01:01", "10.0.0.100"], ["fa:16:3e:00:00:0a", "10.0.0.101"]]
    intent = meant(
        [network("red", 70001)], port("kvm", "red", binding("kvm", "vxlan"), mac="fa:16:3e:00:00:0a", pairs=pairs)
    )
    assert [peer.pairs for peer in intent.peers] == [(Mac("00:00:5e:00:01:01"),)]


@pytest.mark.parametrize("address", ["nonsense", "2001:db8::9", "0.0.0.0", "127.0.0.1"])
def test_an_agent_whose_tunnel_address_is_no_vteps_is_named_and_no_leaf_is_told_of_it(address: str) -> None:
    intent = meant([network("red", 70001, segment(101))], port("kvm", "red", binding("kvm", "vxlan")), kvm_vtep=address)
    assert intent.peers == ()
    assert [doubt.about for doubt in intent.doubts] == ["neutron agent on host kvm"]
    assert address in intent.doubts[0].reason


def test_an_agent_with_the_vtep_of_an_appliance_of_ours_is_named_and_nobody_is_told_of_it() -> None:
    """An appliance sends nothing to itself, and no other one sends there what is not there."""
    own = replace(PLACES, appliances={"192.0.2.9": "esx1"})
    intent = meant([network("red", 70001)], port("kvm", "red", binding("kvm", "vxlan")), places=own)
    assert intent.peers == ()
    (doubt,) = intent.doubts
    assert doubt.about == "neutron agent on host kvm"
    assert "192.0.2.9 is the VTEP of the appliance on esx1" in doubt.reason


def test_a_port_with_the_mac_of_many_is_left_out_and_named() -> None:
    intent = meant([network("red", 70001)], port("p", "red", binding("kvm", "vxlan"), mac="33:33:00:00:00:01"))
    assert (intent.ports, intent.peers) == ({}, ())
    assert [doubt.about for doubt in intent.doubts] == ["port p"]


def test_a_machine_is_where_each_of_its_ports_was_bound_at_its_own_vtep_or_below_its_leaf() -> None:
    """Two levels: there is a VLAN, so it is below the leaf, though the machine has tunnels for other networks."""
    both = replace(PLACES, attached={**PLACES.attached, "kvm": "192.0.2.2"}, homes={**PLACES.homes, "kvm": "rack1"})
    intent = meant(
        [network("red", 70001, segment(101))],
        port("tunnelled", "red", binding("kvm", "vxlan"), mac="fa:16:3e:00:00:0a"),
        port("below", "red", binding("kvm", "vxlan", "s101"), mac="fa:16:3e:00:00:0b"),
        port("no vlan", "red", binding("net-1", "vxlan"), mac="fa:16:3e:00:00:0c"),
        places=both,
    )
    behind = {peer.mac: peer.vtep for peer in intent.peers}
    assert behind == {"fa:16:3e:00:00:0a": "192.0.2.9", "fa:16:3e:00:00:0b": "192.0.2.2"}


def test_a_doubt_is_shown_in_its_own_scope_and_one_of_none_in_every_scope() -> None:
    elsewhere = LeafScope(LeafId("leaf2"))
    intent = meant(
        [network("red", 70001, segment(101)), network("bad", 0)], port("p", "red", binding("compute-1", failed=True))
    )
    assert [doubt.about for doubt in intent.within(RACK1).doubts] == ["port p", "network bad"]
    assert [doubt.about for doubt in intent.within(elsewhere).doubts] == ["network bad"]
    assert [doubt.about for doubt in intent.within(None).doubts] == ["network bad"]


@pytest.mark.parametrize("owner", ["compute:nova", "network:dhcp"])
@pytest.mark.parametrize("host", ["compute-1", "net-1"])
def test_a_port_that_could_not_be_bound_is_named_whoever_binds_there(host: str, owner: str) -> None:
    failed = port("p", "red", binding(host, failed=True), owner=owner)
    (doubt,) = meant([network("red", 70001)], failed).doubts
    assert (doubt.about, doubt.scope) == ("port p", RACK1)


@pytest.mark.parametrize(
    ("segments", "reasons", "why"),
    [
        ((), NOTHING_SAID, "neutron's log says why"),
        ((), Reasons({(NetworkId("blue"), "compute-1"): "not there"}), "not there"),
        ((), Reasons({(NetworkId("blue"), "compute-1"): "not there"}, {("p", "compute-1"): "its kind"}), "its kind"),
        ((), Reasons({}, {("p", "compute-2"): "its kind", ("q", "compute-1"): "its kind"}), "neutron's log says why"),
        ((101, 102), NOTHING_SAID, "no VLAN is left in mapping domain rack1: all of 101-103 are taken, 1 of them held"),
    ],
)
def test_why_a_port_is_not_bound_is_said_as_exactly_as_it_is_known(
    segments: tuple[int, ...], reasons: Reasons, why: str
) -> None:
    answer = {
        "networks": [network("red", 70001, *map(segment, segments)), network("blue", 70002)],
        "ports": [port("p", "blue", binding("compute-1", failed=True))],
        "agents": [],
        "domains": {"rack1": ["101-103"]},
        "held": [("rack1", 103)],
        "fabric": True,
        "kept": [],
        "beside": [],
        "static": [],
    }
    (doubt,) = intent_of(facts_of(answer), PLACES, reasons).doubts
    assert why in doubt.reason


def test_a_domain_that_neutron_does_not_know_is_said_where_it_matters() -> None:
    (doubt,) = meant([], domains=()).doubts
    assert (doubt.about, doubt.scope) == ("mapping domain rack1", RACK1)


def test_where_neutron_does_not_know_the_domain_its_silence_takes_nothing_away() -> None:
    """It may be misspelt: then none of the networks in use has a VLAN there."""
    there = LeafScope(LeafId("leaf2"))
    intent = meant([], places=replace(PLACES, scopes={"rakc1": RACK1, "rack1": there}))
    assert (intent.within(RACK1).fresh, intent.within(there).fresh) == (False, True)


@pytest.mark.parametrize(("here", "there"), [({"rack1"}, set()), (set(), {"rack1"})])
def test_a_domain_that_is_static_on_one_side_only_is_said_with_its_remedy(here: set[str], there: set[str]) -> None:
    answer = {
        "networks": [],
        "ports": [],
        "agents": [],
        "held": [],
        "kept": [],
        "beside": [],
        "fabric": True,
        "static": sorted(there),
    }
    answer["domains"] = {"rack1": ["101-149"]}
    (doubt,) = intent_of(facts_of(answer), replace(PLACES, static=frozenset(here))).doubts
    assert (doubt.about, doubt.scope) == ("mapping domain rack1", RACK1)
    assert doubt.reason.endswith(f"name it in {'static_domains' if here else 'domains'}")
    assert intent_of(facts_of(answer), replace(PLACES, static=frozenset(there))).doubts == ()


def test_vlans_that_neutron_may_give_out_and_nobody_carries_are_said_before_a_network_has_one() -> None:
    answer = {
        "networks": [],
        "ports": [],
        "agents": [],
        "held": [],
        "kept": [],
        "beside": [],
        "static": [],
        "fabric": True,
        "domains": {"rack1": ["90-149"]},
    }
    (doubt,) = intent_of(facts_of(answer), PLACES).doubts
    assert (doubt.about, doubt.scope) == ("mapping domain rack1", RACK1)
    assert "VLANs 90-100 " in doubt.reason


@pytest.mark.parametrize(
    "nonsense", [{}, {"networks": 3}, {"networks": [{}], "ports": [], "agents": [], "domains": {}, "fabric": 1}]
)
def test_an_answer_of_another_release_is_a_failed_read_and_no_empty_one(nonsense: dict[str, Any]) -> None:
    with pytest.raises(Retry, match="same release"):
        facts_of(nonsense)


OURS = Places(overlaid={"compute-1": "cloud"}, computes=frozenset({"compute-1", "compute-2"}))


@pytest.mark.parametrize(
    ("bindings", "elsewhere"),
    [
        ([binding("compute-1", "vxlan", ours=True)], ""),
        ([binding("compute-1", failed=True)], ""),
        ([binding("compute-1", unbound=True)], ""),
        ([binding("compute-1", "vxlan", ours=True), binding("compute-2", "vxlan", active=False, ours=True)], ""),
        ([binding("kvm", "vxlan"), binding("compute-2", "vxlan", active=False, ours=True)], ""),
        ([binding("kvm", "vxlan"), binding("compute-2", "vxlan", active=False)], ""),  # its driver has yet to bind it
        ([binding("renamed", "vxlan", ours=True)], ""),
        ([binding("kvm", "vxlan")], "is bound on host kvm, not here"),
        ([binding("kvm", "vxlan"), binding("kvm-2", active=False)], "is bound on host kvm, kvm-2, not here"),
        ([binding("kvm", failed=True)], "is bound on host kvm, not here"),
        ([], "is bound on no host"),
    ],
)
def test_a_vms_port_is_here_while_any_of_our_compute_hosts_has_a_binding_of_it(
    bindings: list[dict[str, Any]], elsewhere: str
) -> None:
    intent = meant([network("red", 70001)], port("p", "red", *bindings), places=OURS)
    assert intent.ports[PortId("p")].elsewhere == elsewhere


def test_a_machine_below_a_leaf_is_no_place_for_a_vm_of_vcenter() -> None:
    places = replace(PLACES, computes=frozenset({"compute-1"}))
    below = port("p", "red", binding("net-1", "vxlan", "s101"))
    intent = meant([network("red", 70001, segment(101))], below, places=places)
    assert intent.ports[PortId("p")].elsewhere == "is bound on host net-1, not here"
    assert [peer.vtep for peer in intent.peers] == ["192.0.2.1"]


def test_where_no_compute_host_is_named_any_port_may_be_here() -> None:
    intent = meant([network("red", 70001)], port("p", "red", binding("kvm", "vxlan")), port("q", "red"))
    assert {port.elsewhere for port in intent.ports.values()} == {""}
