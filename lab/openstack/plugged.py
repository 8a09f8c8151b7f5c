"""The same site with Neutron's own Open vSwitch agent on each ESXi host's appliance, and a nova-compute for each host.

    VM === [tenant switch of its host] === trunk0 [br-vds] == [br-int] -- [br-tun] -- phy0 === [underlay] === KVM host

br-vds is isthmus's; br-int and br-tun are the agent's.  Law: as in `site`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from lab.netns.appliance import Appliance
from lab.netns.layout import TENANT, Layout
from lab.netns.ovs import OpenVswitch
from lab.netns.state import WorldState
from lab.netns.world import furnish
from lab.openstack.broker import Broker, free_port
from lab.openstack.database import Database
from lab.openstack.machines import Machine
from lab.openstack.neutron import Neutron
from lab.openstack.nova import Nova
from lab.openstack.overlaid import CHAIN, join_underlay
from lab.openstack.product import AGENT_TYPE, Isthmus, with_agents
from lab.openstack.racks import Rack
from lab.openstack.site import KVM, VTEPS, Site, serve, standing

LAYOUT = Layout(hosts=("esx1.lab", "esx2.lab"), clusters=(("esx1.lab",), ("esx2.lab",)))
COMPUTES = tuple(
    Rack(TENANT, "", "", f"compute-{number}", (101, 149), (host,)) for number, host in enumerate(LAYOUT.hosts, start=1)
)


@dataclass(slots=True)
class OnAppliance(Machine):
    """An appliance as a Neutron host: by the name of its ESXi host's nova-compute."""

    appliance: Appliance | None = None

    @property
    def namespace(self) -> str:
        """The appliance's."""
        assert self.appliance is not None
        return self.appliance.namespace

    @property
    def ovs(self) -> OpenVswitch:
        """The appliance's."""
        assert self.appliance is not None
        return self.appliance.ovs


def plugged_site(name: str) -> AbstractContextManager[Site]:
    """A site for the duration of a block."""
    return standing(name, _bring_up)


def _bring_up(state: WorldState) -> Site:
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
        machines = {KVM: Machine(state, KVM, VTEPS[KVM], join=join_underlay)}
        server.result()
    isthmus = Isthmus(state)
    isthmus.configure(world.login, broker.url, with_agents(COMPUTES, world.appliances))
    prepared = isthmus.prepare()
    isthmus.start()
    machines[KVM].boot(broker)
    for rack, appliance in zip(COMPUTES, world.appliances, strict=True):
        machines[rack.compute] = agent = OnAppliance(state, rack.compute, str(appliance.vtep.ip), appliance=appliance)
        agent.install(broker)
    made = Site(state, world.login, {}, database, broker, neutron, nova, machines, isthmus, prepared, COMPUTES)
    neutron.await_answer()
    made.await_agents({(rack.compute, AGENT_TYPE) for rack in COMPUTES})
    # Not before: what they ask neutron-rpc-server while it is not there they wait for a minute.
    made.start_agents(*machines)
    world.close()
    return made
