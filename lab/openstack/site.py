"""A whole site: vCenter, racks with real leaves, Neutron with a KVM host and a network node, and isthmus beside them.

Law: whatever is made is on record in the site's directory first, so it comes down again however the site ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pyVmomi import vmodl

from lab.netns import hosts
from lab.netns.admin import Admin
from lab.netns.control import Stunned
from lab.netns.guest import Guest
from lab.netns.leaf import Leaf
from lab.netns.namespace import run
from lab.netns.simulator import start_simulator
from lab.netns.stage import until
from lab.netns.state import NotThere, WorldState
from lab.netns.vcenter import Login
from lab.openstack import racks
from lab.openstack.broker import Broker, free_port
from lab.openstack.database import Database
from lab.openstack.machines import DHCP_AGENT, KINDS, L3_AGENT, OVS_AGENT, Machine
from lab.openstack.neutron import Neutron
from lab.openstack.nova import Nova
from lab.openstack.product import AGENT_TYPE, CLI, Isthmus, below_leaves, vnis_at
from lab.openstack.racks import MIGRATION_MS, RACKS, Rack
from lab.openstack.rest import Rest

PATIENCE = 90.0
KVM, NETWORK_NODE = "kvm-1", "net-1"
VTEPS = {KVM: "192.0.2.21", NETWORK_NODE: "192.0.2.31"}
BELOW_A_LEAF = "net-2"
"""A network node without a VTEP.  Its agents run when somebody starts them."""
AGENTS = {NETWORK_NODE: (OVS_AGENT, DHCP_AGENT, L3_AGENT), BELOW_A_LEAF: (OVS_AGENT, DHCP_AGENT)}
"""Those of network nodes.  A host of VMs has the Open vSwitch agent alone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a site is made of.  `forwarding`: leaves are switches, not only their databases; `isthmus`: the module that
    is run, of the product or around it."""

    racks: Sequence[Rack] = RACKS
    forwarding: bool = True
    isthmus: str = CLI


DEMO = Plan()


@dataclass(frozen=True, slots=True)
class Vm:
    """`port` is its port in Neutron, `address` what Neutron gave it."""

    guest: Guest
    port: str
    address: str


@dataclass(slots=True)
class Site:
    """The handle of a site that is up."""

    state: WorldState
    login: Login
    leaves: Mapping[str, Leaf]
    database: Database
    broker: Broker
    neutron: Neutron
    nova: Nova
    machines: Mapping[str, Machine]
    isthmus: Isthmus
    prepared: str
    """What `isthmus prepare --write` said of the switches that it made."""
    racks: Sequence[Rack] = RACKS
    admin: Admin = field(init=False)

    def __post_init__(self) -> None:
        self.admin = Admin(self.login)

    @property
    def rest(self) -> Rest:
        return self.neutron.rest

    # --- networks

    def network(self, name: str, cidr: str | None = None) -> str:
        """A network's id; with a subnet if a prefix is given."""
        return self.rest.network(name, cidr)

    def vni_of(self, network: str) -> int:
        return int(self.rest.show("networks", network)["provider:segmentation_id"])

    def vids_of(self, network: str) -> dict[str, int]:
        """The VID of each of its port groups, by the rack whose switch it is on."""
        name = self.rest.show("networks", network)["name"]
        names = {f"{name} ({rack.name})": rack.name for rack in self.racks}
        found: dict[str, int] = {}
        for its_name in self.admin.port_group_names() & names.keys():
            # What is deleted between the list and the look at it is not there.
            with contextlib.suppress(NotThere, vmodl.fault.ManagedObjectNotFound):
                config = self.admin.port_group(its_name).config
                found[names[its_name]] = int(config.defaultPortConfig.vlan.vlanId)
        return found

    def vnis_at(self, leaf: str) -> set[int]:
        """The VNIs that isthmus has at a leaf."""
        return vnis_at(self.leaves[leaf])

    def maps(self, rack: Rack, vid: int) -> bool:
        """Whether a rack's leaf maps a VID, at any of its ports."""
        leaf = self.leaves[rack.leaf]
        return any(f"{vid:04d} " in leaf.ctl("list-bindings", leaf.name, port) for port in leaf.ports)

    def sends_to(self, leaf: str, vni: int, mac: str) -> set[str]:
        """The VTEPs behind which a leaf was told that a MAC of a network is."""
        switch = self.leaves[leaf]
        names = [name for name in switch.ctl("list-ls").split() if name.endswith(f"-{vni}")]
        lines = [line for name in names for line in switch.ctl("list-remote-macs", name).splitlines()]
        return {line.rpartition("/")[2] for line in lines if mac in line}

    def taken_vlans(self, rack: Rack) -> set[int]:
        """The VLANs of a rack's domain that Neutron gives to no other network."""
        return self.database.taken_vlans(rack.name)

    def told(self, leaf: str) -> str:
        """All that a leaf has been told: logical switches, bindings, who is behind other VTEPs."""
        tables = ("Logical_Switch", "Physical_Port", "Ucast_Macs_Remote", "Mcast_Macs_Remote", "Physical_Locator")
        database = self.leaves[leaf].db
        return "".join(run("ovsdb-client", "dump", database, "hardware_vtep", table) for table in tables)

    # --- VMs

    def vm(self, name: str, network: str, host: str, *, by_dhcp: bool = False, **more: Any) -> Vm:
        """A VM on an ESXi host, or on the KVM host, with a port of its own, as Nova makes it."""
        port = self.rest.port(network, self.neutron_host(host), **more)
        shown = self.rest.show("ports", port)
        guest = self.machines[KVM].plug(name, shown) if host == KVM else self._boot(name, host, shown)
        address = str(shown["fixed_ips"][0]["ip_address"])
        if not by_dhcp:
            guest.set_addresses(f"{address}/24")
        return Vm(guest, port, address)

    def move_cold(self, vm: Vm, host: str) -> Vm:
        """Off, to another host, perhaps below another leaf, and on again there: what remains of it is its port."""
        self.admin.destroy(vm.guest.name)
        self.rest.move(vm.port, self.neutron_host(host))
        guest = self._boot(vm.guest.name, host, self.rest.show("ports", vm.port))
        guest.set_addresses(f"{vm.address}/24")
        return Vm(guest, vm.port, vm.address)

    def delete(self, vm: Vm) -> None:
        """A VM of vCenter, and its port."""
        self.admin.destroy(vm.guest.name)
        self.rest.delete("ports", vm.port)

    def are_active(self, *vms: Vm) -> bool:
        return all(self.rest.is_active(vm.port) for vm in vms)

    def _boot(self, name: str, host: str, port: Mapping[str, Any]) -> Guest:
        """As Nova's driver for vSphere does: the port's MAC, in the port group that the binding names."""
        group = self.group_of(port)
        self.admin.create_vm(name, host, [group], [port["mac_address"]], uuid=port["device_id"])
        self.admin.power_on(name)
        return hosts.guest(self.state, name)

    def neutron_host(self, host: str) -> str:
        """What Neutron knows a host as: an ESXi host is its cluster's nova-compute."""
        return next((rack.compute for rack in self.racks if host in rack.hosts), host)

    def migrate(self, name: str, to: str) -> Stunned:
        """vMotion, of which Neutron hears nothing; tells when the VM was off the wire."""
        return hosts.migrate(self.state, self.admin, name, to)

    def relocate(self, name: str, to: str, group: str) -> Stunned:
        """The same to a host of another rack, into a port group there."""
        return hosts.relocate(self.state, self.admin, name, to, group)

    def rack_of(self, host: str) -> Rack:
        """The rack that an ESXi host is in."""
        return next(rack for rack in self.racks if host in rack.hosts)

    def group_of(self, port: Mapping[str, Any]) -> str:
        """The name of the port group that a port is bound to."""
        key = port["binding:vif_details"]["pg_id"]
        (name,) = [n for n in self.admin.port_group_names() if self.admin.port_group(n).key == key]
        return str(name)

    # --- as a whole

    def start_agents(self, *machines: str) -> None:
        """Neutron's stock agents on these machines; returns when they report."""
        for name in machines:
            for agent in agents_of(name):
                self.machines[name].start(agent)
        self.await_agents({(name, KINDS[agent]) for name in machines for agent in agents_of(name)})

    def await_agents(self, awaited: Set[tuple[str, str]]) -> None:
        """Returns when all of these report to Neutron: host and type."""
        if until(lambda: awaited <= self.rest.agents(), PATIENCE) is None:
            raise TimeoutError(f"{awaited - self.rest.agents()} do not report to Neutron\n{self.logs()}")

    def logs(self, size: int = 3000) -> str:
        """The ends of what everybody said."""
        told = {"hostd": self.state.tail("hostd.log", size), "isthmus": self.state.tail("isthmus.log", size)}
        told |= {path.stem: path.read_text(errors="replace")[-size:] for path in self.neutron.directory.glob("*.log")}
        for machine in self.machines.values():
            told |= {f"{agent} on {machine.name}": machine.log(agent)[-size:] for agent in agents_of(machine.name)}
        return "".join(f"---- {who}\n{said}\n" for who, said in told.items() if said)

    def close(self) -> None:
        """Give the handle back; the site stays."""
        self.admin.close()
        self.nova.stop()


def agents_of(machine: str) -> tuple[str, ...]:
    """Neutron's agents on a machine, by its name."""
    return AGENTS.get(machine, (OVS_AGENT,))


def site(name: str, plan: Plan = DEMO) -> AbstractContextManager[Site]:
    """A site for the duration of a block."""
    return standing(name, partial(_bring_up, plan=plan))


@contextmanager
def standing(name: str, bring_up: Callable[[WorldState], Site]) -> Iterator[Site]:
    """A site for the duration of a block, or none: what was made goes again if it cannot be finished."""
    state = WorldState(name)
    state.claim(keep=False)
    try:
        made = bring_up(state)
    except BaseException as error:
        error.add_note(f"the end of hostd.log:\n{state.tail('hostd.log')}")
        state.take_down()
        raise
    try:
        yield made
    finally:
        made.close()
        state.take_down()


def _bring_up(state: WorldState, plan: Plan) -> Site:
    broker = Broker(state.directory / "broker", free_port(), state.processes)
    broker.install()
    database = Database(state.directory / "database")
    vlans = {rack.name: rack.vids for rack in plan.racks}
    apis = (free_port(), free_port())
    nova = Nova(free_port())
    nova.start()
    neutron = Neutron(state.directory / "neutron", state.processes, database.url, broker.url, vlans, apis, nova.url)
    with ThreadPoolExecutor() as at_once:
        server = at_once.submit(serve, state, database, broker, neutron)
        login = start_simulator(state, racks.topology(plan.racks), MIGRATION_MS)
        leaves = racks.bring_up(state, plan.racks, forwarding=plan.forwarding)
        machines = {name: Machine(state, name, vtep) for name, vtep in VTEPS.items()}
        machines |= {name: Machine(state, name, domain=rack.name) for rack in plan.racks for name in rack.attached}
        server.result()
    isthmus = Isthmus(state, plan.isthmus)
    isthmus.configure(login, broker.url, below_leaves(plan.racks, leaves))
    prepared = isthmus.prepare()
    isthmus.start()
    made = Site(state, login, leaves, database, broker, neutron, nova, machines, isthmus, prepared, plan.racks)
    for machine in machines.values():
        machine.boot(broker)
    neutron.await_answer()
    made.await_agents({(host, AGENT_TYPE) for rack in plan.racks for host in (rack.compute, *rack.attached)})
    # Not before: what they ask neutron-rpc-server while it is not there they wait for a minute.
    made.start_agents(*VTEPS)
    return made


def serve(state: WorldState, database: Database, broker: Broker, neutron: Neutron) -> None:
    """Database, message bus and Neutron's processes, which need not answer yet."""
    database.start(state.processes)
    neutron.configure()
    broker.await_answer()
    broker.open_outwards()
    neutron.start()
