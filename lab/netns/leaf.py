"""A leaf switch that is a VTEP: Open vSwitch with the VTEP emulator that comes with it, in a namespace of its own.

    hosts === swp1, swp2 [bridge NAME] --- a bridge per logical switch --- VXLAN --- br-phy [uplink, VTEP]

What it does is told by its hardware_vtep database alone, which anybody may write: isthmus, or `ctl` (vtep-ctl).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab.netns import namespace
from lab.netns.namespace import inside, run
from lab.netns.ovs import OpenVswitch, in_order
from lab.netns.process import Processes

SCHEMA = Path("/usr/share/openvswitch/vtep.ovsschema")
EMULATOR = Path("/usr/share/openvswitch/scripts/ovs-vtep")
VTEP_DB = "vtep.db"
UPLINK = "fabric0"
LAG_MS = 100
"""How long it may go on as before after it has learned that a MAC is at another port: Open vSwitch looks over the flows
it has cached when it pleases, at least this often (it takes no less).  A switch of silicon does not wait."""
MANAGERS = "db:hardware_vtep,Global,managers"
"""Whoever is named as manager in the database is dialled, or may dial in."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One switch.  `ports` are the host-facing ones, interfaces that are in its namespace by the time it boots."""

    name: str
    vtep: IPv4Interface
    ports: tuple[str, ...]
    ovs: OpenVswitch

    @classmethod
    def at(cls, name: str, vtep: str, ports: Sequence[str], where: str, rundir: Path, *remotes: str) -> Leaf:
        """A leaf in the namespace `where`, whose OVSDB also speaks at `remotes`."""
        ovs = OpenVswitch(where, rundir, {VTEP_DB: SCHEMA}, (MANAGERS, *remotes))
        return cls(name, IPv4Interface(vtep), tuple(ports), ovs)

    @property
    def db(self) -> str:
        """Where its OVSDB is reached without a network: sockets are files."""
        return self.ovs.db

    def configure(self, processes: Processes) -> None:
        """Start the database alone, with what its operator has written there: a switch that forwards nothing yet."""
        self.ovs.rundir.mkdir(parents=True, exist_ok=True)
        self.ovs.start_ovsdb(processes)
        self.ctl("--", "--may-exist", "add-ps", self.name, "--", "set", "Physical_Switch", self.name,
                 f"tunnel_ips={self.vtep.ip}")  # fmt: skip
        self.ctl(*in_order(["--may-exist", "add-port", self.name, port] for port in self.ports))

    def boot(self, processes: Processes) -> subprocess.Popen[bytes]:
        """The whole switch.  Returns its VTEP service."""
        self.configure(processes)
        run("ovs-vsctl", f"--db={self.db}", "--no-wait", "init")
        self.ovs.start_vswitchd(processes)
        self.ovs.vsctl("set", "Open_vSwitch", ".", f"other_config:max-revalidator={LAG_MS}")
        self.ovs.vsctl(*in_order([
            ["add-br", "br-phy"], ["set", "bridge", "br-phy", "datapath_type=netdev"], ["add-port", "br-phy", UPLINK],
            ["add-br", self.name], ["set", "bridge", self.name, "datapath_type=netdev"],
            *(["add-port", self.name, port] for port in self.ports),
        ]))  # fmt: skip
        # OVS encapsulates by itself only if the VTEP address is on a bridge of its own that leads to the peers.
        namespace.ip(self.ovs.namespace, [f"addr add {self.vtep} dev br-phy", "link set br-phy up"])
        return self.start_vtep(processes)

    def start_vtep(self, processes: Processes) -> subprocess.Popen[bytes]:
        """The service that makes flows of what the database says, about once a second."""
        rundir = str(self.ovs.rundir)
        env = {f"OVS_{what}": rundir for what in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")}
        # It ends when two logical switches have one VNI (OVS 3.1).
        command: list[str | Path] = [*inside(self.ovs.namespace), EMULATOR, "-vconsole:warn", self.name]
        log = self.ovs.rundir / "ovs-vtep.log"
        return processes.start(f"ovs-vtep of {self.name}", command, log, env, stands_for_hardware=True)

    def outputs(self, mac: str) -> frozenset[str]:
        """What its flows do with frames for a MAC, in whichever network."""
        bridges = self.ovs.vsctl("list-br").split()
        flows = [flow for bridge in bridges for flow in self.ovs.dump_flows(bridge) if f"dl_dst={mac}" in flow]
        return frozenset(flow.partition("actions=")[2] for flow in flows)

    def ctl(self, *words: str) -> str:
        """vtep-ctl: one transaction (several commands parted by "--")."""
        return run("vtep-ctl", f"--db={self.db}", "--timeout=10", *words)
