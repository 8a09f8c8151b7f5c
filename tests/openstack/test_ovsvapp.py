"""Clusters whose hosts have appliances: Neutron's ports are wired where their VMs are, and Neutron is told when.

Neutron knows a cluster; on which ESXi host a VM is, only vCenter knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from isthmus.adapters.neutron.protocol import APPLIANCE_TYPE
from isthmus.app.check import check
from isthmus.core.flows import FLOOD
from isthmus.model.flow import ETH_IPV4, Flow
from isthmus.model.names import Mac
from lab.vcenter import Cluster, Datacenter, Dvs, Host, Topology
from tests.app.leaf_site import until
from tests.app.ovs_site import MemoryOvs
from tests.openstack.ovs_agent import EVERYBODY, OvsAgent
from tests.openstack.site import Site, site

pytestmark = [pytest.mark.openstack, pytest.mark.sim]

DRIVERS = ("isthmus_ovsvapp", "openvswitch", "l2population")
VTEPS = {"esx1.lab": "192.0.2.1", "esx2.lab": "192.0.2.2"}
KVM = "192.0.2.21"
CLOUD = (
    '[deployment.cloud]\ndesign = "ovsvapp"\ndvs = "tenants"\nvids = "101-199"\n'
    '[deployment.cloud.appliance]\ntrunk = "trunk0"\n[deployment.cloud.compute."compute-1"]\n'
    + "".join(
        f'[deployment.cloud.host."{host}"]\nvtep = "{vtep}"\novsdb = "unix:/nowhere/{host}/db.sock"\n'
        f'rundir = "/nowhere/{host}"\n'
        for host, vtep in VTEPS.items()
    )
)
THERE = Topology((Datacenter("dc1", (Cluster("c1", tuple(map(Host, VTEPS))),), (Dvs("tenants", mtu=1600),)),))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One world for the whole page: each test has networks of its own."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch, site(folder, patch, CLOUD, drivers=DRIVERS, there=THERE) as made:
        made.has_hosts("compute-1", *VTEPS)
        made.neutron.agent(
            "kvm",
            "Open vSwitch agent",
            "neutron-openvswitch-agent",
            {"tunneling_ip": KVM, "tunnel_types": ["vxlan"], "bridge_mappings": {}},
        )
        yield made


@pytest.fixture
def red(made: Site, request: pytest.FixtureRequest) -> str:
    """A network, named after the test."""
    return made.neutron.network_named(name(request))


def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:60]


def mac_of(made: Site, port: str) -> Mac:
    return Mac(made.neutron.port(port)["mac_address"])


def speaks_at(host: str, mac: Mac) -> bool:
    """The host's appliance lets this MAC in from its trunk."""
    flows = [entry for entry in MemoryOvs.made[VTEPS[host]].entries.values() if isinstance(entry, Flow)]
    return any(flow.match.src == mac for flow in flows)


def sends_to(host: str, mac: Mac) -> set[str]:
    """The VTEPs behind which the host's appliance knows a MAC."""
    flows = [entry for entry in MemoryOvs.made[VTEPS[host]].entries.values() if isinstance(entry, Flow)]
    return {vtep for flow in flows if flow.match.dst == mac for a in flow.actions if (vtep := getattr(a, "vtep", None))}


def test_a_port_is_bound_to_a_port_group_without_a_vid_and_active_when_its_vm_is_wired(
    made: Site, red: str, request: pytest.FixtureRequest
) -> None:
    port = made.neutron.port_on(red, "compute-1")
    shown = made.neutron.port(port)
    assert (shown["binding:vif_type"], shown["status"]) == ("dvs", "BUILD")
    assert shown["binding:vif_details"]["pg_id"] == made.key_of(name(request))
    assert made.vids(name(request)) == {name(request): 0}
    assert made.admin.port_group(name(request)).config.defaultPortConfig.blocked.value
    assert not made.is_active(port)
    vm = made.boot(port, "esx1.lab")
    until(lambda: made.is_active(port))
    assert speaks_at("esx1.lab", mac_of(made, port))
    made.admin.power_off(vm)
    until(lambda: made.neutron.port(port)["status"] == "DOWN")
    until(lambda: not speaks_at("esx1.lab", mac_of(made, port)))
    made.admin.power_on(vm)
    until(lambda: made.is_active(port))


def test_a_network_has_a_port_group_only_while_a_port_needs_one(
    made: Site, red: str, request: pytest.FixtureRequest
) -> None:
    made.rounds(2)
    assert made.vids(name(request)) == {}
    port = made.neutron.port_on(red, "compute-1")
    assert list(made.vids(name(request))) == [name(request)]
    made.neutron.delete("ports", port)
    until(lambda: made.vids(name(request)) == {})


def test_a_port_group_whose_last_port_went_is_given_to_the_next_only_if_it_stays(
    made: Site, red: str, request: pytest.FixtureRequest
) -> None:
    for _ in range(8):
        port = made.neutron.port_on(red, "compute-1")
        shown = made.neutron.port(port)
        made.rounds(1)
        assert shown["binding:vif_details"]["pg_id"] == made.key_of(name(request))
        made.neutron.delete("ports", port)


NO_VNI: tuple[dict[str, Any], ...] = (
    {"network_type": "vlan", "physical_network": "rack1", "segmentation_id": 1191},
    {"network_type": "flat", "physical_network": "rack1", "segmentation_id": None},
    {"network_type": "gre", "segmentation_id": 5191},
    {"network_type": "geneve", "segmentation_id": 5191},
    {"network_type": "vxlan", "segmentation_id": None},
)


def test_a_port_of_a_network_without_a_vni_is_not_bound_and_named_with_the_reason(
    made: Site, red: str, request: pytest.FixtureRequest
) -> None:
    theirs = made.neutron.port_on(red, "compute-1")
    made.boot(theirs, "esx1.lab")
    until(lambda: made.is_active(theirs))
    ports = []
    for segment in NO_VNI:
        net = made.neutron.network_named(f"none {name(request)}")
        made.neutron.resegment(net, **segment)
        ports.append(made.neutron.port_on(net, "compute-1"))
        assert made.neutron.port(ports[-1])["binding:vif_type"] == "binding_failed"
    for port in ports:
        until(lambda port=port: made.is_named(f"port {port}", "compute-1", "no VXLAN segment with a VNI"))
    assert made.stirs() == []
    assert made.vids(f"none {name(request)}") == {}
    assert {made.neutron.port(port)["binding:vif_type"] for port in ports} == {"binding_failed"}
    assert made.is_active(theirs)
    assert speaks_at("esx1.lab", mac_of(made, theirs))
    for port in ports:
        made.neutron.delete("ports", port)
    made.read_anew()
    until(lambda: not any(made.is_named(f"port {port}") for port in ports))


def test_a_network_that_loses_its_vni_is_closed_and_named_and_no_other_is(
    made: Site, red: str, request: pytest.FixtureRequest
) -> None:
    blue = made.neutron.network_named(f"blue {name(request)}")
    mine, theirs = (made.neutron.port_on(net, "compute-1") for net in (red, blue))
    for port in (mine, theirs):
        made.boot(port, "esx1.lab")
    until(lambda: made.is_active(mine) and made.is_active(theirs))
    (was,) = [row["vni"] for row in made.neutron.read(red)]
    made.neutron.resegment(red, segmentation_id=None)
    made.read_anew()
    until(lambda: made.is_named(f"port {mine}", "no VXLAN segment with a VNI"))
    until(lambda: not speaks_at("esx1.lab", mac_of(made, mine)))
    assert made.stirs() == []
    assert speaks_at("esx1.lab", mac_of(made, theirs))
    made.neutron.resegment(red, segmentation_id=was)
    made.read_anew()
    until(lambda: speaks_at("esx1.lab", mac_of(made, mine)) and not made.is_named(f"port {mine}"))


def test_of_a_network_with_a_vlan_of_the_provider_too_the_vxlan_is_what_its_vms_speak_in(
    made: Site, request: pytest.FixtureRequest
) -> None:
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "rack1", "provider:segmentation_id": 145}
    vxlan = {"provider:network_type": "vxlan", "provider:segmentation_id": 5145}
    net = made.neutron.network_named(name(request), arg_list=("segments",), segments=[vlan, vxlan])
    port = made.neutron.port_on(net, "compute-1")
    made.boot(port, "esx1.lab")
    until(lambda: made.is_active(port))
    flows = [entry for entry in MemoryOvs.made[VTEPS["esx1.lab"]].entries.values() if isinstance(entry, Flow)]
    mac = mac_of(made, port)
    assert {int(flow.vni) for flow in flows if flow.match.src == mac and flow.vni is not None} == {5145}
    assert 145 not in {flow.match.vid for flow in flows if flow.match.src == mac}
    made.unplug(f"vm-{port[:8]}")
    made.neutron.delete("ports", port)
    until(lambda: made.vids(name(request)) == {})


@pytest.fixture
def kvm(made: Site, red: str) -> Iterator[OvsAgent]:
    """The KVM host, with a port in the network."""
    agent = OvsAgent()
    made.neutron.subnet_of(red, "10.7.0.0/24")
    with made.neutron.listening("q-agent-notifier-l2population-update", "kvm", agent):
        port = made.neutron.port_on(red, "kvm")
        made.neutron.plugin.update_port_status(made.neutron.context, port, "ACTIVE", "kvm")
        yield agent


def test_a_kvm_host_is_told_where_a_vm_is_and_the_appliances_where_the_kvm_host_is(
    made: Site, red: str, kvm: OvsAgent
) -> None:
    port = made.neutron.port_on(red, "compute-1")
    mac = mac_of(made, port)
    vm = made.boot(port, "esx1.lab")
    until(lambda: kvm.vteps_of(mac) == {VTEPS["esx1.lab"]})
    (theirs,) = [p["mac_address"] for p in made.neutron.ports(red) if p["binding:host_id"] == "kvm"]
    until(lambda: sends_to("esx1.lab", theirs) == {KVM})
    made.admin.migrate(vm, "esx2.lab")
    until(lambda: VTEPS["esx2.lab"] in kvm.vteps_of(mac))
    until(lambda: speaks_at("esx2.lab", mac) and not speaks_at("esx1.lab", mac))
    until(lambda: kvm.vteps_of(EVERYBODY) & set(VTEPS.values()) == {VTEPS["esx2.lab"]})
    assert made.is_active(port), "of a move inside its cluster Neutron hears nothing"
    made.unplug(vm)
    until(lambda: VTEPS["esx2.lab"] not in kvm.vteps_of(mac))


def test_an_appliance_that_answers_is_a_neutron_agent_with_its_vtep_and_a_silent_one_is_not_reported(
    made: Site,
) -> None:
    agents = {a["host"]: a for a in made.neutron.plugin.get_agents(made.neutron.context)}
    for host, vtep in VTEPS.items():
        assert agents[host]["agent_type"] == APPLIANCE_TYPE
        assert agents[host]["configurations"]["tunneling_ip"] == vtep
    assert "tunneling_ip" not in agents["compute-1"]["configurations"]
    assert made.wiring.neutron is not None
    reported = made.wiring.neutron._desk._board.appliances
    MemoryOvs.silent.add(VTEPS["esx2.lab"])
    try:
        made.daemon.loop.look_at_everything()
        until(lambda: set(reported) == {"esx1.lab"})
    finally:
        MemoryOvs.silent.clear()
    made.daemon.loop.look_at_everything()
    until(lambda: set(reported) == set(VTEPS))


def test_an_appliance_that_another_process_serves_is_shown_alive_and_dead_when_nothing_is_heard_of_it(
    made: Site,
) -> None:
    def only_looks_at_the_switch(text: str) -> str:
        return text.replace("[deployment.cloud]", "[deployment.cloud]\nserve = []\nobserve_only = true")

    with made.beside("looker", only_looks_at_the_switch) as other:

        def shown() -> dict[str, str]:
            return {row["host"]: row["nve"] for row in other.answer({"do": "show", "what": "hosts"})["rows"]}

        alive = "served elsewhere: alive"
        until(lambda: shown() == dict.fromkeys(VTEPS, alive))
        MemoryOvs.silent.add(VTEPS["esx2.lab"])
        try:
            made.daemon.loop.look_at_everything()
            assert made.wiring.neutron is not None
            reported = made.wiring.neutron._desk._board.appliances
            until(lambda: set(reported) == {"esx1.lab"})
            made.neutron.agent_is_dead("esx2.lab", APPLIANCE_TYPE)
            until(lambda: shown()["esx2.lab"] == "served elsewhere: dead since 2020-01-01 00:00:00 UTC")
            assert shown()["esx1.lab"] == alive
        finally:
            MemoryOvs.silent.clear()
        made.daemon.loop.look_at_everything()
        # One that was silent for less than a second was not missed, and is reported in its turn, each 30 s.
        until(lambda: shown() == dict.fromkeys(VTEPS, alive), patience=60)


def test_a_vm_with_the_identity_of_no_port_is_wired_nowhere(
    made: Site, red: str, request: pytest.FixtureRequest
) -> None:
    """By MAC alone nobody is known."""
    port = made.neutron.port_on(red, "compute-1")
    mac = mac_of(made, port)
    made.admin.create_vm("thief", "esx1.lab", [name(request)], [mac])
    made.admin.power_on("thief")
    until(lambda: any(str(mac) in c["reason"] for c in made.conditions()))
    assert made.stirs() == []
    assert not speaks_at("esx1.lab", mac)
    assert not made.is_active(port)
    made.admin.destroy("thief")


def announced(made: Site, mac: Mac) -> set[str]:
    """The VTEPs of ours behind which stock agents are told that a MAC is."""
    assert made.wiring.neutron is not None
    told = made.wiring.neutron._desk._announcer._told.values()
    return {vtep for of in told for vtep, known, _ in of.entries if known == mac}


def test_a_port_that_was_bound_to_a_kvm_host_while_its_old_vm_runs_is_there_alone_until_it_is_back(
    made: Site, red: str, kvm: OvsAgent
) -> None:
    keep, port = (made.neutron.port_on(red, "compute-1") for _ in range(2))
    mac = mac_of(made, port)
    vm, other = made.boot(port, "esx1.lab"), made.boot(keep, "esx2.lab")
    until(lambda: made.is_active(port) and kvm.vteps_of(mac) == {VTEPS["esx1.lab"]})
    until(lambda: sends_to("esx2.lab", mac) == {VTEPS["esx1.lab"]})
    made.neutron.host_of(port, "kvm")
    there(made, port, "kvm")
    until(lambda: not speaks_at("esx1.lab", mac))
    until(lambda: made.is_named(f"port {port} is bound on host kvm, not here"))
    until(lambda: announced(made, mac) == set())
    kvm.known.clear()
    until(lambda: sends_to("esx2.lab", mac) == {KVM})
    made.rounds(2)
    for asked in (port, vm, str(mac)):
        assert "is bound on host kvm, not here" in made.explained(asked)
    assert made.stirs() == []
    assert kvm.vteps_of(mac) <= {KVM}, "Neutron's own driver alone speaks of it now"
    made.neutron.host_of(port, "compute-1")
    until(lambda: speaks_at("esx1.lab", mac) and made.is_active(port))
    until(lambda: VTEPS["esx1.lab"] in kvm.vteps_of(mac))
    assert not made.is_named(f"port {port}")
    for gone in (vm, other):
        made.unplug(gone)
    for gone in (port, keep):
        made.neutron.delete("ports", gone)


def test_a_vm_with_the_identity_of_a_port_that_no_compute_host_of_ours_has_is_wired_nowhere(
    made: Site, red: str, request: pytest.FixtureRequest
) -> None:
    keep = made.neutron.port_on(red, "compute-1")
    for host, why in (("kvm", "is bound on host kvm, not here"), (None, "is bound on no host")):
        port = made.neutron.port_on(red, host)
        mac, device = mac_of(made, port), made.neutron.port(port)["device_id"]
        made.admin.create_vm(f"ghost-{host}", "esx1.lab", [name(request)], [mac], uuid=device)
        made.admin.power_on(f"ghost-{host}")
        until(lambda port=port, why=why: made.is_named(f"port {port} {why}"))
        assert made.stirs() == []
        assert not speaks_at("esx1.lab", mac)
        made.unplug(f"ghost-{host}")
        made.neutron.delete("ports", port)
    made.neutron.delete("ports", keep)


def test_a_port_that_is_down_by_will_speaks_nowhere(made: Site, red: str) -> None:
    port = made.neutron.port_on(red, "compute-1")
    made.boot(port, "esx1.lab")
    until(lambda: made.is_active(port))
    made.neutron.change(port, admin_state_up=False)
    until(lambda: not speaks_at("esx1.lab", mac_of(made, port)))
    made.neutron.change(port, admin_state_up=True)
    until(lambda: speaks_at("esx1.lab", mac_of(made, port)) and made.is_active(port))


def senders(host: str, mac: Mac) -> set[str | None]:
    """The IPv4 addresses from which the host's appliance lets a MAC in; None: any."""
    flows = [entry for entry in MemoryOvs.made[VTEPS[host]].entries.values() if isinstance(entry, Flow)]
    return {flow.match.source for flow in flows if flow.match.src == mac and flow.match.eth_type in (None, ETH_IPV4)}


def test_a_port_is_let_in_from_its_own_addresses_and_pairs_unless_its_security_is_off(made: Site, red: str) -> None:
    made.neutron.subnet_of(red, "10.7.0.0/24")
    port = made.neutron.port_on(red, "compute-1")
    mac, (own,) = mac_of(made, port), [ip["ip_address"] for ip in made.neutron.port(port)["fixed_ips"]]
    made.boot(port, "esx1.lab")
    until(lambda: senders("esx1.lab", mac) == {own, "0.0.0.0"})
    made.neutron.change(port, allowed_address_pairs=[{"ip_address": "10.9.0.7/16"}])
    until(lambda: senders("esx1.lab", mac) == {own, "0.0.0.0", "10.9.0.0/16"})
    said = [found.what for found in check(made.wiring)]
    assert any("secured ports" in what and "never leave the switch" in what for what in said)
    made.neutron.change(port, allowed_address_pairs=[])
    made.neutron.change(port, port_security_enabled=False, security_groups=[])
    until(lambda: senders("esx1.lab", mac) == {None})


def floods(host: str, vni: int) -> set[str]:
    """The VTEPs to which the host's appliance sends what is for all of a network."""
    flows = [entry for entry in MemoryOvs.made[VTEPS[host]].entries.values() if isinstance(entry, Flow)]
    to_all = (flow for flow in flows if flow.vni == vni and flow.table == FLOOD)
    return {vtep for flow in to_all for action in flow.actions if (vtep := getattr(action, "vtep", None))}


def vni_of(made: Site, network: str) -> int:
    (row,) = made.neutron.read(network)
    return int(row["vni"])


def there(made: Site, port: str, host: str) -> None:
    """The port is wired by a stock agent on that host."""
    made.neutron.plugin.update_port_status(made.neutron.context, port, "ACTIVE", host)


def test_a_port_without_an_address_is_wired_and_found_by_flooding(made: Site, red: str, kvm: OvsAgent) -> None:
    port, theirs = (made.neutron.port_on(red, host, fixed_ips=[]) for host in ("compute-1", "kvm"))
    there(made, theirs, "kvm")
    mac = mac_of(made, port)
    made.boot(port, "esx1.lab")
    until(lambda: made.is_active(port) and VTEPS["esx1.lab"] in kvm.vteps_of(EVERYBODY))
    until(lambda: sends_to("esx1.lab", mac_of(made, theirs)) == {KVM})
    assert senders("esx1.lab", mac) == {"0.0.0.0"}, "it may ask for an address, and no more"
    assert made.stirs() == []
    assert kvm.vteps_of(mac) == set()
    subnet = made.neutron.port(theirs)["fixed_ips"] or made.neutron.ports(red)[0]["fixed_ips"]
    made.neutron.change(port, fixed_ips=[{"subnet_id": subnet[0]["subnet_id"], "ip_address": "10.7.0.77"}])
    until(lambda: kvm.vteps_of(mac) == {VTEPS["esx1.lab"]})
    until(lambda: senders("esx1.lab", mac) == {"0.0.0.0", "10.7.0.77"})


def test_ports_with_one_mac_in_two_networks_on_one_host_are_two(
    made: Site, red: str, request: pytest.FixtureRequest
) -> None:
    blue = made.neutron.network_named(f"blue {name(request)}")
    ports = [made.neutron.port_on(net, "compute-1", mac_address="fa:16:3e:66:66:66") for net in (red, blue)]
    vms = [made.boot(port, "esx1.lab") for port in ports]
    until(lambda: all(made.is_active(port) for port in ports))

    def spoken_in() -> dict[int, set[int]]:
        """The VNIs in which the host's appliance lets the MAC in, each with the VIDs."""
        found: dict[int, set[int]] = {}
        for flow in MemoryOvs.made[VTEPS["esx1.lab"]].entries.values():
            if isinstance(flow, Flow) and flow.match.src == "fa:16:3e:66:66:66":
                found.setdefault(int(flow.vni or 0), set()).add(int(flow.match.vid or 0))
        return found

    mine, theirs = (vni_of(made, net) for net in (red, blue))
    vids = spoken_in()
    assert vids.keys() == {mine, theirs}
    assert not vids[mine] & vids[theirs]
    assert made.stirs() == []
    made.unplug(vms[0])
    made.neutron.delete("ports", ports[0])
    until(lambda: spoken_in().keys() == {theirs})
    assert spoken_in()[theirs] == vids[theirs]
    assert made.is_active(ports[1])


def test_a_neutron_agent_with_the_vtep_of_an_appliance_is_named_and_nobody_sends_there_for_it(
    made: Site, red: str
) -> None:
    made.neutron.subnet_of(red, "10.7.0.0/24")
    told = {"tunneling_ip": VTEPS["esx1.lab"], "tunnel_types": ["vxlan"], "bridge_mappings": {}}
    made.neutron.agent("liar", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    theirs = made.neutron.port_on(red, "liar")
    there(made, theirs, "liar")
    ports = {host: made.neutron.port_on(red, "compute-1") for host in VTEPS}
    for host, port in ports.items():
        made.boot(port, host)
    until(lambda: all(made.is_active(port) for port in ports.values()))
    until(lambda: made.is_named("neutron agent on host liar", VTEPS["esx1.lab"], "esx1.lab"))
    assert made.stirs() == []
    one, two = VTEPS
    assert (floods(one, vni_of(made, red)), floods(two, vni_of(made, red))) == ({VTEPS[two]}, {VTEPS[one]})
    assert [sends_to(host, mac_of(made, theirs)) for host in VTEPS] == [set(), set()]
    assert sends_to(one, mac_of(made, ports[two])) == {VTEPS[two]}
    made.neutron.agent_is_gone("liar", "Open vSwitch agent")
    made.read_anew()
    until(lambda: not made.is_named("neutron agent on host liar"))


def test_members_behind_a_vtep_that_answers_nobody_cost_the_others_nothing(made: Site, red: str) -> None:
    """Whether it answers, no flow asks: `isthmus check` does."""
    gone = "192.0.2.99"
    told = {"tunneling_ip": gone, "tunnel_types": ["vxlan"], "bridge_mappings": {}}
    made.neutron.agent("kvm-gone", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    theirs = made.neutron.port_on(red, "kvm-gone")
    there(made, theirs, "kvm-gone")
    made.neutron.agent_is_dead("kvm-gone", "Open vSwitch agent")
    ports = {host: made.neutron.port_on(red, "compute-1") for host in VTEPS}
    for host, port in ports.items():
        made.boot(port, host)
    until(lambda: all(made.is_active(port) for port in ports.values()))
    one, two = VTEPS
    until(lambda: floods(one, vni_of(made, red)) == {VTEPS[two], gone})
    assert made.stirs() == []
    assert sends_to(one, mac_of(made, ports[two])) == {VTEPS[two]}
    assert sends_to(one, mac_of(made, theirs)) == {gone}
    made.neutron.delete("ports", theirs)
    until(lambda: floods(one, vni_of(made, red)) == {VTEPS[two]})
