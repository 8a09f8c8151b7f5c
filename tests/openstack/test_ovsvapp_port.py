"""Appliances with Neutron's own agent: a port is bound for Nova, wired by the agent, and opened when that says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from neutron.plugins.ml2.rpc import RpcCallbacks

from isthmus.adapters.neutron.desk import Desk
from isthmus.adapters.neutron.protocol import APPLIANCE_TYPE
from isthmus.model.nve import Plug
from lab.vcenter import Cluster, Datacenter, Dvs, Host, Topology
from tests.app.leaf_site import until
from tests.app.ovs_site import MemoryPlugger
from tests.openstack.ovs_agent import EVERYBODY, OvsAgent
from tests.openstack.site import Site, site

pytestmark = [pytest.mark.openstack, pytest.mark.sim]

DRIVERS = ("isthmus_ovsvapp", "openvswitch", "l2population")
VTEPS = {"esx1.lab": "192.0.2.1", "esx2.lab": "192.0.2.2"}
COMPUTES = {"esx1.lab": "compute-1", "esx2.lab": "compute-2"}
CLOUD = (
    '[deployment.cloud]\ndesign = "ovsvapp-port"\ndvs = "tenants"\nvids = "101-199"\n'
    '[deployment.cloud.appliance]\ntrunk = "trunk0"\n'
    + "".join(
        f'[deployment.cloud.compute."{COMPUTES[host]}"]\nhost = "{host}"\n'
        f'[deployment.cloud.host."{host}"]\nvtep = "{vtep}"\novsdb = "unix:/nowhere/{host}/db.sock"\n'
        for host, vtep in VTEPS.items()
    )
)
CLUSTERS = tuple(Cluster(f"c-{host}", (Host(host),)) for host in VTEPS)
THERE = Topology((Datacenter("dc1", CLUSTERS, (Dvs("tenants", mtu=1600),)),))


class Agent:
    """What Neutron's Open vSwitch agent of a host says to neutron-rpc-server, which answers with its own code."""

    def __init__(self, made: Site, host: str, vtep: str) -> None:
        self._neutron, self.host = made.neutron, host
        self._server = RpcCallbacks(made.neutron.plugin.notifier, made.neutron.plugin.type_manager)
        told = {"tunneling_ip": vtep, "tunnel_types": ["vxlan"], "bridge_mappings": {}}
        made.neutron.agent(host, "Open vSwitch agent", "neutron-openvswitch-agent", told)

    def asks(self, port: str) -> dict[str, Any]:
        """What a port is to be."""
        context = self._neutron.context
        answer = self._server.get_devices_details_list_and_failed_devices(
            context, devices=[port], agent_id=f"ovs-{self.host}", host=self.host
        )
        return dict(answer["devices"][0])

    def reports(self, *, up: tuple[str, ...] = (), down: tuple[str, ...] = ()) -> None:
        """These are wired; these are gone."""
        who = {"agent_id": f"ovs-{self.host}", "host": self.host}
        self._server.update_device_list(self._neutron.context, devices_up=up, devices_down=down, **who)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One world for the whole page: each test has networks of its own."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch, site(folder, patch, CLOUD, drivers=DRIVERS, there=THERE) as made:
        made.has_hosts(*COMPUTES.values())
        yield made


@pytest.fixture
def agent(made: Site) -> Agent:
    """That of compute-1."""
    return Agent(made, "compute-1", VTEPS["esx1.lab"])


@pytest.fixture
def red(made: Site, request: pytest.FixtureRequest) -> str:
    """A network, named after the test."""
    return made.neutron.network_named(str(request.node.name)[:60])


def plugs(host: str, port: str) -> list[Plug]:
    entries = MemoryPlugger.made[VTEPS[host]].entries.values() if VTEPS[host] in MemoryPlugger.made else ()
    return [entry for entry in entries if isinstance(entry, Plug) and entry.port == port]


def is_open(made: Site, vm: str) -> bool:
    """The VM's DV port lets frames through, with a VID of its own."""
    setting = made.admin.dv_port(vm)[1].config.setting
    return not setting.blocked.value and made.admin.vid_of(vm) in range(101, 200)


def test_a_port_is_bound_for_nova_and_filtered_by_the_agent(made: Site, red: str, agent: Agent) -> None:
    port = made.neutron.port_on(red, "compute-1")
    shown = made.neutron.port(port)
    assert (shown["binding:vif_type"], shown["status"]) == ("dvs", "BUILD")
    assert shown["binding:vif_details"]["pg_id"]
    assert shown["binding:vif_details"]["port_filter"] is True
    told = agent.asks(port)
    assert (told["network_type"], told["mac_address"]) == ("vxlan", shown["mac_address"])
    assert "no_active_binding" in Agent(made, "compute-2", VTEPS["esx2.lab"]).asks(port)


def test_a_port_is_opened_when_the_agent_reports_it_up_and_not_before(made: Site, red: str, agent: Agent) -> None:
    port = made.neutron.port_on(red, "compute-1")
    vm = made.boot(port, "esx1.lab")
    for _ in range(2):
        until(lambda: plugs("esx1.lab", port))
        agent.asks(port)
        until(lambda: "not reported it up" in made.explained(port) or "not reported" in str(made.conditions()))
        made.rounds(2)
        assert not is_open(made, vm)
        assert not made.is_active(port)
        agent.reports(up=(port,))
        assert made.is_active(port)
        began = time.monotonic()
        until(lambda: is_open(made, vm))
        assert time.monotonic() - began < 4, "a round that nothing woke"
        made.admin.power_off(vm)
        until(lambda: not plugs("esx1.lab", port))
        assert not is_open(made, vm)
        agent.reports(down=(port,))
        assert made.neutron.port(port)["status"] == "DOWN"
        made.admin.power_on(vm)


def test_a_vm_off_and_on_before_its_agent_looks_is_not_opened_on_what_it_said_before(
    made: Site, red: str, agent: Agent
) -> None:
    """An agent that was down meanwhile never says DOWN, and it takes what a port is to be from its own cache."""
    port = made.neutron.port_on(red, "compute-1")
    vm = made.boot(port, "esx1.lab")
    until(lambda: plugs("esx1.lab", port))
    agent.reports(up=(port,))
    until(lambda: is_open(made, vm))
    made.admin.power_off(vm)
    until(lambda: not plugs("esx1.lab", port))
    appliance = MemoryPlugger.made[VTEPS["esx1.lab"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appliance, "agent_away", True)
        made.admin.power_on(vm)
        until(lambda: plugs("esx1.lab", port))
        made.rounds(2)
        assert made.is_active(port), "it has said nothing"
        assert not is_open(made, vm), "its filters are not there yet"
    until(lambda: is_open(made, vm))


def test_what_is_open_stays_open_while_the_agent_starts_anew(made: Site, red: str, agent: Agent) -> None:
    port = made.neutron.port_on(red, "compute-1")
    vm = made.boot(port, "esx1.lab")
    until(lambda: plugs("esx1.lab", port))
    agent.reports(up=(port,))
    until(lambda: is_open(made, vm))
    agent.asks(port)
    assert made.neutron.port(port)["status"] == "BUILD"
    made.rounds(2)
    assert is_open(made, vm)
    agent.reports(up=(port,))
    assert made.is_active(port)


def test_a_vm_on_another_host_than_that_of_its_compute_is_not_opened(made: Site, red: str, agent: Agent) -> None:
    port = made.neutron.port_on(red, "compute-1")
    vm = made.boot(port, "esx2.lab")
    until(lambda: plugs("esx2.lab", port))
    Agent(made, "compute-2", VTEPS["esx2.lab"]).reports(up=(port,))
    made.rounds(2)
    assert not is_open(made, vm)


def test_a_port_is_not_bound_where_no_agent_lives_to_wire_it(made: Site, red: str) -> None:
    made.neutron.agent("compute-2", "Open vSwitch agent", "neutron-openvswitch-agent", {"tunneling_ip": "192.0.2.2"})
    made.neutron.agent_is_dead("compute-2", "Open vSwitch agent")
    port = made.neutron.port_on(red, "compute-2")
    assert made.neutron.port(port)["binding:vif_type"] == "binding_failed"
    until(lambda: any("no living Open vSwitch agent" in condition["reason"] for condition in made.conditions()))
    made.neutron.delete("ports", port)


def test_neutron_itself_tells_who_is_behind_the_agents_and_isthmus_does_not(made: Site, red: str, agent: Agent) -> None:
    ear = OvsAgent()
    made.neutron.subnet_of(red, "10.7.0.0/24")
    told = {"tunneling_ip": "192.0.2.21", "tunnel_types": ["vxlan"], "bridge_mappings": {}}
    made.neutron.agent("kvm", "Open vSwitch agent", "neutron-openvswitch-agent", told)
    with made.neutron.listening("q-agent-notifier-l2population-update", "kvm", ear):
        theirs = made.neutron.port_on(red, "kvm")
        made.neutron.plugin.update_port_status(made.neutron.context, theirs, "ACTIVE", "kvm")
        port = made.neutron.port_on(red, "compute-1")
        mac = made.neutron.port(port)["mac_address"]
        made.boot(port, "esx1.lab")
        until(lambda: plugs("esx1.lab", port))
        made.rounds(2)
        assert ear.vteps_of(mac) == set()
        agent.reports(up=(port,))
        until(lambda: ear.vteps_of(mac) == {VTEPS["esx1.lab"]})
        until(lambda: VTEPS["esx1.lab"] in ear.vteps_of(EVERYBODY))
    kinds = {a["agent_type"] for a in made.neutron.plugin.get_agents(made.neutron.context)}
    assert APPLIANCE_TYPE not in kinds


def test_a_port_whose_port_group_is_not_there_is_not_bound_past_it_by_neutrons_own_driver(
    made: Site, red: str, agent: Agent
) -> None:
    """Its agent is there, so that driver would: with a vif_type that Nova takes for another product's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Desk, "port_group", lambda *of: {"reason": "vCenter is away"})
        port = made.neutron.port_on(red, "compute-1")
        assert made.neutron.port(port)["binding:vif_type"] == "binding_failed"
        until(lambda: made.is_named(f"port {port}", "vCenter is away"))
    until(lambda: made.neutron.port(port)["binding:vif_type"] == "dvs", 20)


@pytest.mark.parametrize(
    "segment",
    [
        {"network_type": "vlan", "physical_network": "rack1", "segmentation_id": 1191},
        {"network_type": "geneve"},
        {"segmentation_id": None},
    ],
    ids=["vlan", "geneve", "no-id"],
)
def test_a_port_of_a_network_without_a_vni_is_not_bound_and_named_with_the_reason(
    made: Site, red: str, agent: Agent, segment: dict[str, Any]
) -> None:
    made.neutron.resegment(red, **segment)
    port = made.neutron.port_on(red, "compute-1")
    assert made.neutron.port(port)["binding:vif_type"] == "binding_failed"
    until(lambda: made.is_named(f"port {port}", "compute-1", "no VXLAN segment with a VNI"))
    assert made.stirs() == []
    made.neutron.delete("ports", port)


def test_a_vm_with_the_identity_of_no_port_is_plugged_in_nowhere_and_named(
    made: Site, red: str, agent: Agent, request: pytest.FixtureRequest
) -> None:
    port = made.neutron.port_on(red, "compute-1")
    mac = made.neutron.port(port)["mac_address"]
    made.admin.create_vm("thief", "esx1.lab", [str(request.node.name)[:60]], [mac])
    made.admin.power_on("thief")
    until(lambda: made.is_named(mac, "no port of network"))
    assert made.stirs() == []
    assert not plugs("esx1.lab", port)
    assert not is_open(made, "thief")
    made.admin.destroy("thief")


def test_ports_with_one_mac_and_no_address_in_two_networks_on_one_host_are_two(
    made: Site, red: str, agent: Agent, request: pytest.FixtureRequest
) -> None:
    blue = made.neutron.network_named(f"blue {request.node.name}"[:60])
    ports = [made.neutron.port_on(net, "compute-1", mac_address="fa:16:3e:66:66:66") for net in (red, blue)]
    assert not any(made.neutron.port(port)["fixed_ips"] for port in ports)
    vms = [made.boot(port, "esx1.lab") for port in ports]
    until(lambda: all(plugs("esx1.lab", port) for port in ports))
    agent.reports(up=(ports[0],))
    until(lambda: is_open(made, vms[0]))
    assert made.stirs() == []
    assert not is_open(made, vms[1]), "what the agent said of one is nothing of the other"
    agent.reports(up=(ports[1],))
    until(lambda: is_open(made, vms[1]))
    assert made.admin.vid_of(vms[0]) != made.admin.vid_of(vms[1])
    made.unplug(vms[0])
    until(lambda: not plugs("esx1.lab", ports[0]))
    assert is_open(made, vms[1])


def test_the_vtep_of_an_appliance_is_its_agents_and_nothing_is_said_of_it(made: Site, red: str, agent: Agent) -> None:
    made.rounds(2)
    assert not made.is_named("neutron agent on host compute-1")
