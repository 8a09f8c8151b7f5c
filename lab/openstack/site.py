"""A whole site: vCenter, racks with real leaves, Neutron with a KVM host and a network node, and isthmus beside them.

Law: whatever is made is on record in the site's directory first, so it comes down again however the site ends.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.netns import hosts
from lab.netns.admin import Admin
from lab.netns.control import Stunned
from lab.netns.guest import Guest
from lab.netns.leaf import Leaf
from lab.netns.namespace import run
from lab.netns.process import end
from lab.netns.simulator import start_simulator
from lab.netns.stage import until
from lab.netns.state import WorldState
from lab.netns.vcenter import Login
from lab.openstack import racks
from lab.openstack.broker import Broker, free_port
from lab.openstack.database import Database
from lab.openstack.machines import DHCP_AGENT, KINDS, L3_AGENT, OVS_AGENT, Machine
from lab.openstack.neutron import Neutron
from lab.openstack.racks import MIGRATION_MS, RACKS, Rack
from lab.openstack.rest import Rest

PATIENCE = 90.0
AGENT_TYPE = "isthmus fabric"
KVM, NETWORK_NODE = "kvm-1", "net-1"
VTEPS = {KVM: "192.0.2.21", NETWORK_NODE: "192.0.2.31"}
BELOW_A_LEAF = "net-2"
"""A network node without a VTEP.  Its agents run when somebody starts them."""
AGENTS = {KVM: (OVS_AGENT,), NETWORK_NODE: (OVS_AGENT, DHCP_AGENT, L3_AGENT), BELOW_A_LEAF: (OVS_AGENT, DHCP_AGENT)}


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
    broker: Broker
    neutron: Neutron
    machines: Mapping[str, Machine]
    admin: Admin = field(init=False)
    _isthmus: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.admin = Admin(self.login)

    @property
    def rest(self) -> Rest:
        return self.neutron.rest

    # --- networks

    def network(self, name: str, cidr: str | None = None) -> str:
        """A network's id; with a subnet if a prefix is given."""
        made = self.rest.network(name, cidr)
        self.state.adopt_namespace(f"qdhcp-{made}")  # which Neutron's DHCP agent makes
        return made

    def router(self, name: str, *networks: str) -> str:
        """A router's id, with a leg in each of the networks."""
        made = self.rest.router(name, *networks)
        self.state.adopt_namespace(f"qrouter-{made}")  # which Neutron's L3 agent makes
        return made

    def vni_of(self, network: str) -> int:
        return int(self.rest.show("networks", network)["provider:segmentation_id"])

    def vids_of(self, network: str) -> dict[str, int]:
        """The VID of each of its port groups, by the rack whose switch it is on."""
        name = self.rest.show("networks", network)["name"]
        names = {f"{name} ({rack.name})": rack.name for rack in RACKS}
        found = {n: self.admin.port_group(n) for n in self.admin.port_group_names() & names.keys()}
        return {names[n]: int(group.config.defaultPortConfig.vlan.vlanId) for n, group in found.items()}

    def vnis_at(self, leaf: str) -> set[int]:
        """The VNIs of the logical switches that isthmus has at a leaf."""
        listed = self.leaves[leaf].ctl("list-ls").split()
        return {int(name.rpartition("-")[2]) for name in listed if name.startswith("isthmus-")}

    def told(self, leaf: str) -> str:
        """All that a leaf has been told: logical switches, bindings, who is behind other VTEPs."""
        tables = ("Logical_Switch", "Physical_Port", "Ucast_Macs_Remote", "Mcast_Macs_Remote", "Physical_Locator")
        database = self.leaves[leaf].db
        return "".join(run("ovsdb-client", "dump", database, "hardware_vtep", table) for table in tables)

    # --- VMs

    def vm(self, name: str, network: str, host: str, *, by_dhcp: bool = False) -> Vm:
        """A VM on an ESXi host, or on the KVM host, with a port of its own, as Nova makes it."""
        port = self.rest.port(network, neutron_host(host))
        shown = self.rest.show("ports", port)
        guest = self.machines[KVM].plug(name, shown) if host == KVM else self._boot(name, host, shown)
        address = str(shown["fixed_ips"][0]["ip_address"])
        if not by_dhcp:
            guest.set_addresses(f"{address}/24")
        return Vm(guest, port, address)

    def move_cold(self, vm: Vm, host: str) -> Vm:
        """Off, to another host, perhaps below another leaf, and on again there: what remains of it is its port."""
        self.admin.destroy(vm.guest.name)
        self.rest.move(vm.port, neutron_host(host))
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

    def migrate(self, name: str, to: str) -> Stunned:
        """vMotion, of which Neutron hears nothing; tells when the VM was off the wire."""
        return hosts.migrate(self.state, self.admin, name, to)

    def group_of(self, port: Mapping[str, Any]) -> str:
        """The name of the port group that a port is bound to."""
        key = port["binding:vif_details"]["pg_id"]
        (name,) = [n for n in self.admin.port_group_names() if self.admin.port_group(n).key == key]
        return str(name)

    # --- isthmus

    def start_isthmus(self) -> None:
        """One process for all racks."""
        log = self.state.directory / "isthmus.log"
        self._isthmus = self.state.processes.start("isthmus", self._command("run"), log, is_vital=False)

    def kill_isthmus(self) -> None:
        """SIGKILL: no time for a last word."""
        assert self._isthmus is not None
        self._isthmus.send_signal(signal.SIGKILL)
        self._isthmus.wait()

    def stop_isthmus(self) -> None:
        """SIGTERM."""
        assert self._isthmus is not None
        end([process for process in self.state.processes.alive() if process.pid == self._isthmus.pid])

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of isthmus."""
        return subprocess.run(self._command(*words), capture_output=True, text=True, timeout=60, check=False)

    @property
    def is_settled(self) -> bool:
        """The daemon answers, and says that it has nothing to do."""
        told = self.ask("show", "--json")
        status: dict[str, Any] = json.loads(told.stdout) if told.returncode == 0 else {"daemon": False}
        return bool(status.get("daemon", True)) and all(shard["state"] == "settled" for shard in status["shards"])

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "isthmus.app.cli", *words, "--config", str(self._file)]

    @property
    def _file(self) -> Path:
        return self.state.directory / "isthmus.toml"

    def configure_isthmus(self, racks: Sequence[Rack]) -> None:
        """As its operator would write it."""
        bus = self.state.directory / "bus.url"
        bus.write_text(self.broker.url)
        bus.chmod(0o600)
        text = (
            f'[vcenter.lab]\nurl = "{self.login.url}"\nuser = "{self.login.user}"\n'
            f'password_file = "password"\nca_file = "{self.login.ca_file}"\n'
            '[intent.neutron]\nurl_file = "bus.url"\ntimeout = 5\n[status]\nsocket = "sock"\nstate = "state"\n'
            "[loop]\nresync = 10\nbackoff_first = 0.5\nbackoff_longest = 4\n"
        )
        self._file.write_text(text + "".join(self._deployment(rack) for rack in racks))

    def _deployment(self, rack: Rack) -> str:
        leaf = self.leaves[rack.leaf]
        return (
            f'[deployment.{rack.name}]\ndesign = "vds-leaf"\ndvs = "{rack.name}"\n'
            f'vids = "{rack.vids[0]}-{rack.vids[1]}"\n'
            f'[deployment.{rack.name}.leaf.{leaf.name}]\ndriver = "hwvtep"\ntarget = "{leaf.db}"\n'
            f'vtep = "{leaf.vtep.ip}"\ntimeout = 2\n'
            f'[deployment.{rack.name}.compute."{rack.compute}"]\n'
            + "".join(
                f'[deployment.{rack.name}.host."{host}"]\nleaf = "{leaf.name}"\nports = ["{rack.port(host)}"]\n'
                for host in rack.hosts
            )
            + "".join(
                f'[deployment.{rack.name}.attached."{machine}"]\n'
                f'leaf = "{leaf.name}"\nports = ["{rack.port(machine)}"]\n'
                for machine in rack.attached
            )
        )

    # --- as a whole

    def start_agents(self, *machines: str) -> None:
        """Neutron's stock agents on these machines; returns when they report."""
        for name in machines:
            for agent in AGENTS[name]:
                self.machines[name].start(agent)
        self.await_agents({(name, KINDS[agent]) for name in machines for agent in AGENTS[name]})

    def await_agents(self, awaited: Set[tuple[str, str]]) -> None:
        """Returns when all of these report to Neutron: host and type."""
        if until(lambda: awaited <= self.rest.agents(), PATIENCE) is None:
            raise TimeoutError(f"{awaited - self.rest.agents()} do not report to Neutron\n{self.logs()}")

    def logs(self, size: int = 3000) -> str:
        """The ends of what everybody said."""
        told = {"hostd": self.state.tail("hostd.log", size), "isthmus": self.state.tail("isthmus.log", size)}
        told |= {path.stem: path.read_text(errors="replace")[-size:] for path in self.neutron.directory.glob("*.log")}
        for machine in self.machines.values():
            told |= {f"{agent} on {machine.name}": machine.log(agent)[-size:] for agent in AGENTS[machine.name]}
        return "".join(f"---- {who}\n{said}\n" for who, said in told.items() if said)

    def close(self) -> None:
        """Give the handle back; the site stays."""
        self.admin.close()


def neutron_host(host: str) -> str:
    """What Neutron knows a host as: an ESXi host is its cluster's nova-compute."""
    return next((rack.compute for rack in RACKS if host in rack.hosts), host)


def bring_up(name: str) -> Site:
    """Make a site, or nothing: what was made goes again if it cannot be finished."""
    state = WorldState(name)
    state.claim(keep=False)
    try:
        return _bring_up(state)
    except BaseException as error:
        error.add_note(f"the end of hostd.log:\n{state.tail('hostd.log')}")
        state.take_down()
        raise


@contextmanager
def site(name: str) -> Iterator[Site]:
    """A site for the duration of a block."""
    made = bring_up(name)
    try:
        yield made
    finally:
        made.close()
        made.state.take_down()


def _bring_up(state: WorldState) -> Site:
    broker = Broker(state.directory / "broker", free_port())
    broker.start(state.processes)
    database = Database(state.directory / "database")
    vlans = {rack.name: rack.vids for rack in RACKS}
    apis = (free_port(), free_port())
    neutron = Neutron(state.directory / "neutron", state.processes, database.url, broker.url, vlans, apis)
    with ThreadPoolExecutor() as at_once:
        server = at_once.submit(_serve, state, database, broker, neutron)
        login = start_simulator(state, racks.topology(RACKS), MIGRATION_MS)
        leaves = racks.bring_up(state, RACKS)
        machines = {name: Machine(state, name, vtep) for name, vtep in VTEPS.items()}
        machines |= {name: Machine(state, name, domain=rack.name) for rack in RACKS for name in rack.attached}
        server.result()
    made = Site(state, login, leaves, broker, neutron, machines)
    made.configure_isthmus(RACKS)
    made.start_isthmus()
    for machine in machines.values():
        machine.boot(broker)
    neutron.await_answer()
    made.await_agents({(host, AGENT_TYPE) for rack in RACKS for host in (rack.compute, *rack.attached)})
    # Not before: what they ask neutron-rpc-server while it is not there they wait for a minute.
    made.start_agents(*VTEPS)
    return made


def _serve(state: WorldState, database: Database, broker: Broker, neutron: Neutron) -> None:
    """Database, message bus and Neutron's processes, which need not answer yet."""
    database.start(state.processes)
    neutron.configure()
    broker.await_answer()
    broker.open_outwards(state.processes)
    neutron.start()
