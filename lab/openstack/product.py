"""isthmus as a site runs it: its configuration written as an operator would, one process started, killed, asked.

The only module of lab/openstack that knows the product, and that only by its files, its command line and its names.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.netns.appliance import TRUNK, Appliance
from lab.netns.leaf import Leaf
from lab.netns.state import WorldState
from lab.netns.vcenter import Login
from lab.openstack.racks import MTU, NIC, Rack

CLI = "isthmus.app.cli"
AGENT_TYPE = "isthmus fabric"
"""What its hosts are among Neutron's agents."""
APPLIANCE_TYPE = "isthmus OVSvApp agent"
"""What ESXi hosts with appliances are."""


@dataclass(slots=True)
class Isthmus:
    """One process for all racks of a site, or one of several, each by a name of its own."""

    state: WorldState
    module: str = CLI
    """What is run: the product's command line, or something around it."""
    name: str = "isthmus"
    resync: int = 60
    """Seconds, as the product has it: a shorter one would hide what nobody is woken by."""
    _running: subprocess.Popen[bytes] | None = None

    def configure(self, login: Login, bus: str, deployments: str) -> None:
        """Write its files.  `deployments`: their tables."""
        url = self.state.directory / "bus.url"
        url.write_text(bus)
        url.chmod(0o600)
        text = (
            f'[vcenter.lab]\nurl = "{login.url}"\nuser = "{login.user}"\n'
            f'password_file = "password"\nca_file = "{login.ca_file}"\n'
            '[intent.neutron]\nurl_file = "bus.url"\ntimeout = 5\n[status]\n'
            f'socket = "{self.name}.sock"\nstate = "{self.name}.state"\n'
            f"[loop]\nresync = {self.resync}\nbackoff_first = 0.5\nbackoff_longest = 4\n"
        )
        self._file.write_text(text + deployments)

    def prepare(self) -> str:
        """Have the racks' distributed switches made; what it said."""
        told = self.ask("prepare", "--write")
        if told.returncode != 0:
            raise RuntimeError(f"isthmus prepare --write: {told.stdout}{told.stderr}")
        return told.stdout

    def start(self) -> None:
        log = self.state.directory / f"{self.name}.log"
        self._running = self.state.processes.start(
            self.name, self._command("run", module=self.module), log, is_vital=False
        )

    def kill(self) -> None:
        """SIGKILL: no time for a last word."""
        assert self._running is not None
        self._running.send_signal(signal.SIGKILL)
        self._running.wait()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """As if it were not there, for the duration of a block."""
        assert self._running is not None
        self._running.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._running.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of isthmus."""
        return subprocess.run(self._command(*words), capture_output=True, text=True, timeout=60, check=False)

    @property
    def is_settled(self) -> bool:
        """Its process answers, and says that it has nothing to do."""
        told = self.ask("show", "--json")
        status: dict[str, Any] = json.loads(told.stdout) if told.returncode == 0 else {"daemon": False}
        # Without a daemon the command looks for itself, and says so.
        return bool(status.get("daemon", True)) and all(shard["state"] == "settled" for shard in status["shards"])

    def _command(self, *words: str, module: str = CLI) -> list[str]:
        return [sys.executable, "-m", module, *words, "--config", str(self._file)]

    @property
    def _file(self) -> Path:
        return self.state.directory / f"{self.name}.toml"


def vnis_at(leaf: Leaf) -> set[int]:
    """The VNIs of the logical switches that isthmus has at a leaf."""
    names = [name for name in leaf.ctl("list-ls").split() if name.startswith("isthmus-")]
    return {int(name.rpartition("-")[2]) for name in names}


def below_leaves(racks: Sequence[Rack], leaves: Mapping[str, Leaf]) -> str:
    """A deployment for each rack."""
    return "".join(_deployment(rack, leaves[rack.leaf]) for rack in racks)


def with_appliances(racks: Sequence[Rack], appliances: Sequence[Appliance], more: str = "") -> str:
    """One deployment, on hosts with an appliance each; a rack is a cluster of them; `more` of the deployment."""
    name, vids = racks[0].name, racks[0].vids
    head = (
        f'[deployment.{name}]\ndesign = "ovsvapp"\ndvs = "{name}"\nmtu = {MTU}\nvids = "{vids[0]}-{vids[1]}"\n{more}'
        f'[deployment.{name}.appliance]\ntrunk = "{TRUNK}"\ndatapath_type = "netdev"\n'
    )
    clusters = "".join(f'[deployment.{name}.compute."{rack.compute}"]\n' for rack in racks)
    return (
        head
        + clusters
        + "".join(
            f'[deployment.{name}.host."{found.host}"]\nvtep = "{found.vtep.ip}"\novsdb = "{found.ovs.db}"\n'
            f'rundir = "{found.ovs.rundir}"\n'
            for found in appliances
        )
    )


def with_agents(racks: Sequence[Rack], appliances: Sequence[Appliance], more: str = "") -> str:
    """The same where each appliance runs Neutron's own agent; a rack is one of the hosts."""
    name, vids = racks[0].name, racks[0].vids
    head = (
        f'[deployment.{name}]\ndesign = "ovsvapp-port"\ndvs = "{name}"\nmtu = {MTU}\nvids = "{vids[0]}-{vids[1]}"\n'
        f'{more}[deployment.{name}.appliance]\ntrunk = "{TRUNK}"\ndatapath_type = "netdev"\n'
    )
    return head + "".join(
        f'[deployment.{name}.compute."{rack.compute}"]\nhost = "{found.host}"\n'
        f'[deployment.{name}.host."{found.host}"]\nvtep = "{found.vtep.ip}"\novsdb = "{found.ovs.db}"\n'
        f'rundir = "{found.ovs.rundir}"\n'
        for rack, found in zip(racks, appliances, strict=True)
    )


def _deployment(rack: Rack, leaf: Leaf) -> str:
    head = (
        f'[deployment.{rack.name}]\ndesign = "vds-leaf"\ndvs = "{rack.name}"\nmtu = {MTU}\n'
        f'vids = "{rack.vids[0]}-{rack.vids[1]}"\n'
        f'[deployment.{rack.name}.leaf.{leaf.name}]\ndriver = "hwvtep"\ntarget = "{leaf.db}"\n'
        f'vtep = "{leaf.vtep.ip}"\ntimeout = 2\n'
        f'[deployment.{rack.name}.compute."{rack.compute}"]\n'
    )
    below = [("host", host, f'nics = "{NIC}"\n') for host in rack.hosts] + [("attached", m, "") for m in rack.attached]
    return head + "".join(
        f'[deployment.{rack.name}.{kind}."{name}"]\nleaf = "{leaf.name}"\nports = ["{rack.port(name)}"]\n{more}'
        for kind, name, more in below
    )
