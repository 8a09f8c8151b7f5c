"""The same site with Neutron's own Open vSwitch agent on each ESXi host's appliance, and a nova-compute for each host.

    VM === [tenant switch of its host] === trunk0 [br-vds] == [br-int] -- [br-tun] -- phy0 === [underlay] === KVM host

br-vds is isthmus's; br-int and br-tun are the agent's.  Law: as in `site`.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from lab.netns.appliance import Appliance, unplug_at_boot
from lab.netns.layout import TENANT, Layout
from lab.netns.ovs import OpenVswitch
from lab.netns.state import WorldState
from lab.netns.world import furnish
from lab.openstack.broker import Broker, free_port
from lab.openstack.database import Database
from lab.openstack.machines import OVS_AGENT, Machine
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

    def restart_open_vswitch(self) -> None:
        """Killed and started; the agent lives."""
        self._kill("ovs-vswitchd")
        self.ovs.start_vswitchd(self.state.processes)

    def reboot(self) -> None:
        """All ends at once.  What comes up: Open vSwitch with its database, isthmus-unplug.service, the agent."""
        self._kill("ovs-vswitchd", "ovsdb-server")
        self.kill(OVS_AGENT)
        self.ovs.start_ovsdb(self.state.processes)
        self.ovs.start_vswitchd(self.state.processes)
        unplug_at_boot(self.ovs)
        self.start(OVS_AGENT)

    def _kill(self, *daemons: str) -> None:
        ends = {f"{daemon} of {self.namespace}" for daemon in daemons}
        for process in self.state.processes.alive():
            if process.what in ends:
                os.kill(process.pid, signal.SIGKILL)


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
