"""Machines of the cloud that are no ESXi hosts, with Neutron's stock agents: a KVM host, network nodes.

    VM eth0 === [br-int] --- [br-tun] --- VXLAN --- [br-phy: uplink, VTEP] === [spine]
                [br-int] --- [br-phy: uplink] === swp2 [leaf]                             one that is below a leaf
                [br-int] --- [br-ex: world] === eth0 [the world outside]                  a network node that leads out

br-int and br-tun are the Open vSwitch agent's, which made them; nothing of isthmus runs here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.netns import namespace
from lab.netns.fabric import cable
from lab.netns.frames import ETH_LAB
from lab.netns.guest import Guest
from lab.netns.leaf import UPLINK
from lab.netns.namespace import inside
from lab.netns.ovs import OpenVswitch, in_order
from lab.netns.process import end
from lab.netns.state import WorldState
from lab.openstack.broker import USUAL_PORT, Broker
from lab.openstack.neutron import BIN, environment, write
from lab.openstack.racks import MTU, join_spine

OVS_AGENT, DHCP_AGENT, L3_AGENT = "neutron-openvswitch-agent", "neutron-dhcp-agent", "neutron-l3-agent"
KINDS = {OVS_AGENT: "Open vSwitch agent", DHCP_AGENT: "DHCP agent", L3_AGENT: "L3 agent"}
"""What they are called in Neutron."""
ALONE = (
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("sh", "-c", 'mount --bind "$0" /run/netns && exec "$@"'),
)
"""As on a machine of its own: an L3 agent deletes the namespaces of all routers that it does not know, and what an
agent leaves behind (dnsmasq, qdhcp- and qrouter- namespaces) ends with it, however it ends."""
WORLD, EXTERNAL = "world", "external"
"""The world outside, and what Neutron calls the physical network that leads there."""
OUTSIDE = "203.0.113.1"
"""Where the world outside begins."""
TUNNELS = {"tunnel_types": "vxlan", "l2_population": True, "arp_responder": True}


@dataclass(slots=True)
class Machine:
    """`name` is its host name in Neutron.  It has a VTEP of its own, or VLANs of the mapping domain of a leaf."""

    state: WorldState
    name: str
    vtep: str | None = None
    domain: str | None = None
    join: Callable[[WorldState, str, str], None] = join_spine
    """How its uplink is cabled to the network between the hosts."""
    leads_out: bool = False
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return f"{self.state.prefix}{self.name}"

    @property
    def directory(self) -> Path:
        return self.state.directory / self.name

    @property
    def ovs(self) -> OpenVswitch:
        return OpenVswitch(self.namespace, self.directory)

    def boot(self, broker: Broker) -> None:
        """Open vSwitch with the uplink, the VTEP's address if it has one, and the way to the message bus."""
        if self.vtep is not None:
            namespace.add(self.namespace, speaks_ipv6=False)
            self.join(self.state, self.namespace, self.name)
        self.ovs.start(self.state.processes)
        self.ovs.vsctl(*in_order([
            ["add-br", "br-phy"], ["set", "bridge", "br-phy", "datapath_type=netdev"], ["add-port", "br-phy", UPLINK],
        ]))  # fmt: skip
        if self.vtep is not None:
            # OVS encapsulates by itself only if the VTEP address is on a bridge of its own that leads to the peers.
            namespace.ip(self.namespace, [f"addr add {self.vtep}/24 dev br-phy", "link set br-phy up"])
        if self.leads_out:
            namespace.add(self.outside.namespace, speaks_ipv6=False)
            cable(self.namespace, WORLD, self.outside.namespace, self.outside.interface)
            self.ovs.vsctl(*in_order([
                ["add-br", "br-ex"], ["set", "bridge", "br-ex", "datapath_type=netdev"], ["add-port", "br-ex", WORLD],
            ]))  # fmt: skip
            self.outside.set_addresses(f"{OUTSIDE}/24")
        self.install(broker)

    def install(self, broker: Broker) -> None:
        """The way to the message bus, and the agents' configuration."""
        broker.open_in(self.namespace)
        self.directory.mkdir(exist_ok=True)
        write(self._file, self._options())
        # As another user it could not read what is in the world's directory.
        self._dnsmasq.write_text("user=root\n")

    @property
    def outside(self) -> Guest:
        """Somebody in the world outside."""
        return Guest(WORLD, f"{self.state.prefix}{WORLD}", "eth0", "")

    # --- agents

    def start(self, agent: str) -> None:
        """One of Neutron's agents."""
        namespaces = self.directory / f"namespaces-{agent}"
        namespaces.mkdir(exist_ok=True)
        command: list[str | Path] = [
            *inside(self.namespace),
            *ALONE,
            namespaces,
            BIN / agent,
            "--config-file",
            self._file,
        ]
        env = {**environment(), "OVS_RUNDIR": str(self.ovs.rundir)}
        log = self.directory / f"{agent}.log"
        what = f"{agent} on {self.name}"
        self._running[agent] = self.state.processes.start(what, command, log, env, is_vital=False, has_family=True)

    def kill(self, agent: str) -> None:
        """SIGKILL: no time for a last word."""
        gone = self._running.pop(agent)
        end([process for process in self.state.processes.alive() if process.pid == gone.pid])

    def log(self, agent: str) -> str:
        path = self.directory / f"{agent}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- VMs

    def plug(self, name: str, port: Mapping[str, object]) -> Guest:
        """A VM of this host, plugged in as Nova does it: what the agent is told is in the interface's external_ids."""
        where, tap, mac = f"{self.state.prefix}{name}", f"tap{str(port['id'])[:11]}", str(port["mac_address"])
        namespace.add(where)
        cable(self.namespace, tap, where, "eth0", MTU)
        namespace.ip(where, [f"link set eth0 address {mac} mtu 1500"])
        told = {"iface-id": port["id"], "attached-mac": mac, "iface-status": "active"}
        self.ovs.vsctl(*in_order([
            ["add-port", "br-int", tap],
            ["set", "interface", tap, *(f'external_ids:{key}="{value}"' for key, value in told.items())],
        ]))  # fmt: skip
        return Guest(name, where, "eth0", mac)

    def unplug(self, guest: Guest, port: str) -> None:
        """The VM is gone."""
        self.ovs.vsctl("--if-exists", "del-port", "br-int", f"tap{port[:11]}")
        namespace.delete(guest.namespace)

    @property
    def _file(self) -> Path:
        return self.directory / "agents.conf"

    @property
    def _dnsmasq(self) -> Path:
        return self.directory / "dnsmasq.conf"

    def _options(self) -> Mapping[str, Mapping[str, object]]:
        return {
            "DEFAULT": {
                "host": self.name,
                "transport_url": f"rabbit://guest:guest@127.0.0.1:{USUAL_PORT}/",
                "state_path": self.directory,
                "interface_driver": "openvswitch",
                "enable_isolated_metadata": False,
                "enable_metadata_proxy": False,
                "dnsmasq_config_file": self._dnsmasq,
            },
            "oslo_concurrency": {"lock_path": self.directory / "lock"},
            "agent": {"root_helper": "env"} | (TUNNELS if self.vtep is not None else {}),
            "ovs": {"datapath_type": "netdev", "ovsdb_connection": self.ovs.db}
            | ({"local_ip": self.vtep} if self.vtep is not None else {"bridge_mappings": f"{self.domain}:br-phy"})
            | ({"bridge_mappings": f"{EXTERNAL}:br-ex"} if self.leads_out else {}),
            # The frames that scenarios send are of no protocol that a security group could allow.
            "securitygroup": {"firewall_driver": "openvswitch", "permitted_ethertypes": f"{ETH_LAB:#x}"},
        }
