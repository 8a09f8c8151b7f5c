"""The same site with an appliance on each ESXi host instead of leaves: two clusters, a tenant switch without uplinks.

    VM === [tenant switch of its host] === trunk0 [appliance] phy0 === [underlay] === KVM host, network node

Law: as in `site`: whatever is made is on record in the site's directory first.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

from lab.netns import namespace
from lab.netns.fabric import cable
from lab.netns.layout import TENANT, Layout
from lab.netns.leaf import UPLINK
from lab.netns.state import WorldState
from lab.netns.world import appliance_of, furnish, underlay_of
from lab.openstack.broker import Broker, free_port
from lab.openstack.database import Database
from lab.openstack.machines import Machine
from lab.openstack.neutron import Neutron
from lab.openstack.nova import Nova
from lab.openstack.product import AGENT_TYPE, APPLIANCE_TYPE, Isthmus, with_appliances
from lab.openstack.racks import Rack
from lab.openstack.site import NETWORK_NODE, VTEPS, Site, serve, standing

CLUSTERS = tuple(
    Rack(TENANT, "", "", f"compute-{number}", (101, 149), hosts)
    for number, hosts in enumerate((("esx1.lab", "esx2.lab"), ("esx3.lab",)), start=1)
)
"""Racks without a leaf: Nova's hosts, and the ESXi hosts that each stands for."""
LAYOUT = Layout(clusters=tuple(cluster.hosts for cluster in CLUSTERS))
CHAIN = "isthmus_ovsvapp,openvswitch,l2population"


def overlaid_site(name: str, isthmus: Callable[[WorldState], Isthmus] = Isthmus) -> AbstractContextManager[Site]:
    """A site for the duration of a block.  `isthmus`: what is run as isthmus."""
    return standing(name, partial(_bring_up, runs=isthmus))


def flows_at(state: WorldState, host: str) -> list[str]:
    """All flows of a host's appliance."""
    appliance = appliance_of(state, LAYOUT, host)
    return [line for bridge in appliance.own_bridges for line in appliance.ovs.dump_flows(bridge)]


def _bring_up(state: WorldState, runs: Callable[[WorldState], Isthmus]) -> Site:
    broker = Broker(state.directory / "broker", free_port(), state.processes)
    broker.install()
    database = Database(state.directory / "database")
    apis, nova = (free_port(), free_port()), Nova(free_port())
    nova.start()
    neutron = Neutron(
        state.directory / "neutron", state.processes, database.url, broker.url, {}, apis, nova.url, chain=CHAIN
    )
    with ThreadPoolExecutor() as at_once:
        server = at_once.submit(serve, state, database, broker, neutron)
        world = furnish(state, LAYOUT)
        machines = {
            name: Machine(state, name, vtep, join=join_underlay, leads_out=name == NETWORK_NODE)
            for name, vtep in VTEPS.items()
        }
        server.result()
    isthmus = runs(state)
    isthmus.configure(world.login, broker.url, with_appliances(CLUSTERS, world.appliances))
    prepared = isthmus.prepare()
    isthmus.start()
    made = Site(state, world.login, {}, database, broker, neutron, nova, machines, isthmus, prepared, CLUSTERS)
    for machine in machines.values():
        machine.boot(broker)
    neutron.await_answer()
    clusters = {(cluster.compute, AGENT_TYPE) for cluster in CLUSTERS}
    made.await_agents(clusters | {(host, APPLIANCE_TYPE) for host in LAYOUT.hosts})
    # Not before: what they ask neutron-rpc-server while it is not there they wait for a minute.
    made.start_agents(*VTEPS)
    world.close()
    return made


def join_underlay(state: WorldState, where: str, name: str) -> None:
    """A cable from the uplink in a namespace to the network between the hosts."""
    cable(where, UPLINK, underlay_of(state), name)
    namespace.ip(underlay_of(state), [f"link set {name} master underlay"])
