"""isthmus as the lab runs it: configuration and intent written, one process per appliance started, stopped, killed.

The only module of the lab's world that knows the product, and that only by its files and its command line.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.netns.appliance import TRUNK
from lab.netns.layout import TENANT
from lab.netns.world import World

VIDS = "100-199"
DEPLOYMENT = "lab"
STOP_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Network:
    name: str
    vni: int
    mtu: int = 1450


@dataclass(slots=True)
class Isthmus:
    """The processes of one world, by the host whose appliance each serves."""

    world: World
    label: str = "isthmus"
    networks: dict[str, Network] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # --- intent

    def want(self, *networks: Network, ports: Sequence[Mapping[str, str]] = ()) -> None:
        """From now on these networks, and no others.  One that `ports` names has only the NICs that are named there."""
        self.networks = {network.name: network for network in networks}
        # JSON is YAML too.
        entries = [{"name": n.name, "vni": n.vni, "mtu": n.mtu} for n in networks]
        fresh = self.intent.with_suffix(".new")
        fresh.write_text(json.dumps({"networks": entries, "ports": list(ports)}, indent=2))
        fresh.rename(self.intent)  # a reader finds the old file or the new one, never half of one

    @property
    def intent(self) -> Path:
        return self.world.state.directory / "intent.yaml"

    # --- processes

    def start(self, host: str, reserved: str = "") -> None:
        """One process for the appliance of a host."""
        self.configure(host, self._config(host, reserved))
        self.restart(host)

    def configure(self, host: str, config: Mapping[str, Any]) -> None:
        """Write the configuration of a process."""
        self._path(host, "toml").write_text(as_toml(config))

    def restart(self, host: str) -> None:
        """With the configuration it had."""
        command = [*_command(), "run", "--config", str(self._path(host, "toml"))]
        log = self._path(host, "log")
        processes = self.world.state.processes
        self._running[host] = processes.start(f"isthmus of {host}", command, log, is_vital=False)

    def kill(self, host: str) -> None:
        """SIGKILL: no time for a last word."""
        os.kill(self._running[host].pid, signal.SIGKILL)
        self._running.pop(host).wait()

    def stop(self, host: str) -> float:
        """SIGTERM; returns the seconds it took."""
        process, began = self._running.pop(host), time.monotonic()
        process.terminate()
        process.wait(STOP_PATIENCE)
        return time.monotonic() - began

    def forget_state(self, host: str) -> None:
        """Take away what it keeps on disk between two runs."""
        shutil.rmtree(self._path(host, "state"), ignore_errors=True)

    def is_running(self, host: str) -> bool:
        return host in self._running and self._running[host].poll() is None

    def pid(self, host: str) -> int:
        """The number of its process."""
        return self._running[host].pid

    def is_settled(self, host: str) -> bool:
        """Its process answers, and says that it has nothing to do."""
        if not self.is_running(host) or not self._path(host, "sock").exists():
            return False
        told = self.ask(host, "show", "--json")
        if told.returncode != 0:
            return False
        status = json.loads(told.stdout)
        # Without a daemon the command looks for itself, and says so.
        return status.get("daemon", True) and all(shard["state"] == "settled" for shard in status["shards"])

    def ask(self, host: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of isthmus, with the configuration of a host's process."""
        command = [*_command(), *words, "--config", str(self._path(host, "toml"))]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def log(self, host: str) -> str:
        path = self._path(host, "log")
        return path.read_text(errors="replace") if path.exists() else ""

    def _path(self, host: str, kind: str) -> Path:
        return self.world.state.directory / f"{self.label}-{host.split('.')[0]}.{kind}"

    # --- configuration

    def _config(self, host: str, reserved: str) -> Mapping[str, Any]:
        login, directory = self.world.login, self.world.state.directory
        hosts = {
            appliance.host: {
                "vtep": str(appliance.vtep.ip),
                "bios_uuid": self.world.admin.vm(appliance.vm).config.uuid,
                "ovsdb": appliance.ovs.db,
                "rundir": str(appliance.ovs.rundir),
                **({"reserved": reserved} if reserved and appliance.host == host else {}),
            }
            for appliance in self.world.appliances
        }
        return {
            "installation": "isthmus-lab",
            "vcenter": {
                "lab": {
                    "url": login.url,
                    "user": login.user,
                    "password_file": str(directory / "password"),
                    "ca_file": login.ca_file,
                }
            },
            "intent": {"file": str(self.intent)},
            "deployment": {
                DEPLOYMENT: {
                    "design": "ovsvapp",
                    "dvs": TENANT,
                    "serve": [host],
                    "vids": VIDS,
                    "appliance": {"trunk": TRUNK, "datapath_type": "netdev"},
                    "host": hosts,
                }
            },
            "status": {
                "socket": str(self._path(host, "sock")),
                "state": str(self._path(host, "state")),
            },
        }


def _command() -> list[str]:
    return [str(Path(sys.executable).parent / "isthmus")]


def as_toml(table: Mapping[str, Any]) -> str:
    """TOML of tables, strings, numbers, booleans and lists of them; the standard library only reads it."""
    return "\n".join(_lines(table, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    # JSON's strings, numbers, booleans and lists are TOML's too.
    own = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    heading = [f"[{'.'.join(json.dumps(part) for part in path)}]"] if path and own else []
    nested = [
        line for key, value in table.items() if isinstance(value, Mapping) for line in _lines(value, (*path, key))
    ]
    return heading + own + nested
