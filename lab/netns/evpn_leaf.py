"""A leaf that learns by BGP EVPN: FRR and the kernel's VXLAN in a namespace, told at a command line like SONiC's.

    hosts === Ethernet4, ... [bridge NAME] -- a port per VLAN -- a bridge per VLAN -- VXLAN === fabric0 [VTEP]

The control plane is real.  The command line is not: `sonic_shim` plays as much of SONiC's as is asked of it, behind a
real ssh server on loopback, and the data plane has nothing of a switch's silicon.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab.netns import namespace
from lab.netns.fabric import Fabric
from lab.netns.leaf import UPLINK
from lab.netns.namespace import CommandFailed, inside, run
from lab.netns.ovs import PATIENCE, OpenVswitch, in_order
from lab.netns.process import Processes
from lab.netns.sonic_shim import NO_VLAN, Shim
from lab.netns.state import WorldState

FRR = Path("/usr/lib/frr")
SSHD = Path("/usr/sbin/sshd")
ASN = 65000
TREE = Path(__file__).parents[2]
USER = "root"
"""Who logs in: the lab runs as root, and ssh lets nobody be anybody else."""


@dataclass(frozen=True, slots=True)
class EvpnLeaf:
    """One switch.  `ports` are the host-facing ones, interfaces that are in its namespace by the time it boots."""

    name: str
    vtep: IPv4Interface
    ports: tuple[str, ...]
    ovs: OpenVswitch
    ssh_port: int

    @classmethod
    def at(cls, name: str, vtep: str, ports: Sequence[str], where: str, rundir: Path) -> EvpnLeaf:
        """A leaf in the namespace `where`."""
        return cls(name, IPv4Interface(vtep), tuple(ports), OpenVswitch(where, rundir), _free_port())

    @property
    def directory(self) -> Path:
        """Where all of it is kept."""
        return self.ovs.rundir

    @property
    def options(self) -> Mapping[str, str]:
        """What networking-generic-switch must be told to reach it, beside its address, which is loopback."""
        return {
            "port": str(self.ssh_port),
            "username": USER,
            "key_file": str(self.directory / "key"),
            "alt_host_keys": "true",
            "alt_key_file": str(self.directory / "known_hosts"),
            "system_host_keys": "false",
            "ngs_vtep_name": "vtep",
            "ngs_bgp_asn": str(ASN),
        }

    def boot(self, processes: Processes) -> None:
        """The whole switch, with what its operator has written there: no VLAN, and no neighbour yet."""
        self.ovs.start(processes)
        self.ovs.vsctl(*in_order([
            ["add-br", self.name], ["set", "bridge", self.name, "datapath_type=netdev"],
            *(["add-port", self.name, port] for port in self.ports),
            *(["set", "port", port, "vlan_mode=trunk", f"trunks={NO_VLAN}"] for port in self.ports),
        ]))  # fmt: skip
        namespace.ip(self.ovs.namespace, [f"addr add {self.vtep} dev {UPLINK}"])
        Shim.new(self.directory, self.ovs.namespace, self.name, str(self.vtep.ip), self.ports)
        self._start_frr(processes)
        self._prepare_ssh()
        self.start_ssh(processes)

    def peer_with(self, vteps: Iterable[str]) -> None:
        """Tell BGP of the other leaves."""
        lines = [line for vtep in vteps for line in (
            f"neighbor {vtep} remote-as {ASN}", f"neighbor {vtep} timers connect 1",
            "address-family l2vpn evpn", f"neighbor {vtep} activate", "exit-address-family",
        )]  # fmt: skip
        self.vtysh("configure terminal", f"router bgp {ASN}", *lines)

    def stop_ssh(self, processes: Processes) -> None:
        """Nobody gets in, and who is in is thrown out.  What the switch forwards it goes on forwarding."""
        for server in (process for process in processes.alive() if process.what == f"sshd of {self.name}"):
            sessions = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            for pid in (server.pid, *map(int, sessions)):
                os.kill(pid, signal.SIGKILL)

    def replace(self) -> None:
        """Another switch in its place, without any VLAN."""
        Shim.at(self.directory).empty()

    def slow_down(self, seconds: float) -> None:
        """Every command but those that look takes so long from now on."""
        (self.directory / "pace").write_text(str(seconds))

    def cli(self, line: str) -> str:
        """A command, by its operator's hand."""
        return run(self.directory / "bin" / "operator", line)

    def vtysh(self, *lines: str) -> str:
        """What FRR says to these."""
        return Shim.at(self.directory).vtysh([word for line in lines for word in ("-c", line)])

    def _start_frr(self, processes: Processes) -> None:
        # FRR gives up being root, and must still get to its sockets.
        self.directory.parent.chmod(0o711)
        self.directory.chmod(0o755)
        frr = self.directory / "frr"
        frr.mkdir()
        configuration = [
            f"hostname {self.name}", f"router bgp {ASN}", f"bgp router-id {self.vtep.ip}",
            "no bgp default ipv4-unicast", "address-family l2vpn evpn", "advertise-all-vni", "exit-address-family",
        ]  # fmt: skip
        (frr / "zebra.conf").write_text(f"hostname {self.name}\n")
        (frr / "bgpd.conf").write_text("\n".join(configuration) + "\n")
        for path in (frr, *frr.iterdir()):
            shutil.chown(path, "frr", "frr")
        common = ["-u", "frr", "-g", "frr", "-z", f"{frr}/zserv.api", "--vty_socket", str(frr), "-P", "0"]
        for daemon in ("zebra", "bgpd"):
            own = ["-i", f"{frr}/{daemon}.pid", "-f", f"{frr}/{daemon}.conf"]
            command = [*inside(self.ovs.namespace), str(FRR / daemon), *common, *own]
            what = f"{daemon} of {self.name}"
            processes.start(what, command, self.directory / "frr.log", stands_for_hardware=True)
            self._until_there(frr / f"{daemon}.vty", daemon)

    def _prepare_ssh(self) -> None:
        here = self.directory
        for name in ("key", "host_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", here / name)
        (here / "authorized_keys").write_text((here / "key.pub").read_text())
        (here / "known_hosts").write_text(f"[127.0.0.1]:{self.ssh_port} {(here / 'host_key.pub').read_text()}")
        self._write_commands()
        (here / "sshd.conf").write_text(
            f"Port {self.ssh_port}\nListenAddress 127.0.0.1\nHostKey {here}/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {here}/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"PermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\nPrintMotd no\nPrintLastLog no\n"
            f"ForceCommand {here}/shell\n"
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd will not start without, and Debian's service makes it

    def start_ssh(self, processes: Processes) -> None:
        """Let who has the key log in."""
        log = self.directory / "sshd.log"
        command = [str(SSHD), "-D", "-e", "-f", str(self.directory / "sshd.conf")]
        processes.start(f"sshd of {self.name}", command, log)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ssh_port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise CommandFailed(f"sshd of {self.name} did not start:\n{log.read_text()[-2000:]}") from None
                time.sleep(0.02)

    def _write_commands(self) -> None:
        """What is there for who logs in: a shell, and SONiC's commands."""
        commands = self.directory / "bin"
        commands.mkdir()
        shim = f"exec env PYTHONPATH={TREE} {sys.executable} -m lab.netns.sonic_shim {self.directory}"
        (self.directory / "pace").write_text("0")
        for name in ("config", "show", "vtysh"):
            pace = "" if name == "show" else f'sleep "$(cat {self.directory}/pace)"; '
            _script(commands / name, f'{pace}{shim} {name} "$@"')
        _script(commands / "operator", f'PATH={commands}:$PATH; eval "$1"')
        enter = " ".join(inside(self.ovs.namespace))
        path = f"{commands}:/usr/sbin:/usr/bin:/sbin:/bin"
        # An interactive shell would read files that set PATH anew.
        shell = f"exec env PATH={path} PS1='{USER}@{self.name}:~# ' TERM=dumb {enter} bash --norc --noprofile -i"
        _script(self.directory / "shell", shell)

    def _until_there(self, path: Path, daemon: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            if time.monotonic() > deadline:
                log = (self.directory / "frr.log").read_text()[-2000:]
                raise CommandFailed(f"{daemon} of {self.name} did not start:\n{log}")
            time.sleep(0.02)


def missing() -> str:
    """What to do about what such leaves need of the machine, beyond what every world does; empty: nothing."""
    tools = {"frr": FRR / "bgpd", "openssh-server": SSHD}
    packages = [package for package, tool in tools.items() if not tool.exists()]
    return f"missing tools: run `make apt`, or apt-get install {' '.join(packages)}" if packages else ""


def evpn_fabric(state: WorldState, leaves: Mapping[str, Sequence[str]]) -> Fabric[EvpnLeaf]:
    """Such leaves around a spine, each a neighbour of all others."""
    fabric = Fabric.up(state, leaves, EvpnLeaf.at)
    for leaf in fabric.leaves.values():
        leaf.peer_with(str(other.vtep.ip) for other in fabric.leaves.values() if other is not leaf)
    return fabric


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
