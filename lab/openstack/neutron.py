"""Neutron's server as it is deployed: API behind WSGI, neutron-rpc-server, neutron-periodic-workers; no Keystone.

Law: nothing here knows isthmus but by what its documentation says of neutron.conf.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from dataclasses import dataclass, field
from pathlib import Path

from lab.netns.namespace import CommandFailed
from lab.netns.process import Processes, end
from lab.netns.stage import until
from lab.openstack.rest import Rest

PATIENCE = 120.0
BIN = Path(sys.executable).parent
CHAIN = "isthmus_fabric,isthmus_vds,openvswitch,l2population"
VNIS = (70001, 79999)


@dataclass(slots=True)
class Neutron:
    """`apis` are the ports of its API processes, `nova` is the URL of Nova."""

    directory: Path
    processes: Processes
    database: str
    bus: str
    vlans: Mapping[str, tuple[int, int]]
    apis: Sequence[int]
    nova: str
    chain: str = CHAIN
    """[ml2] mechanism_drivers."""
    moves_between_switches: bool = False
    """[ml2_isthmus] live_migration_between_switches."""
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def rest(self) -> Rest:
        return Rest(tuple(f"http://127.0.0.1:{port}" for port in self.apis))

    def configure(self) -> None:
        """Write neutron.conf, and make the tables."""
        self.directory.mkdir()
        write(self._file, self._options())
        manage = [str(BIN / "neutron-db-manage"), "--config-file", str(self._file)]
        # Other projects of OpenStack that are installed here have tables of their own.
        command = [*manage, "--subproject", "neutron", "upgrade", "heads"]
        with (self.directory / "db-manage.log").open("wb") as log:
            done = subprocess.run(command, stdout=log, stderr=log, check=False, timeout=PATIENCE)
        if done.returncode != 0:
            raise CommandFailed(f"neutron-db-manage:\n{self.log('db-manage')[-2000:]}")

    def start(self) -> None:
        """All processes; returns at once."""
        self._start_apis()
        self.start_rpc_server()
        self._start("periodic-workers", [str(BIN / "neutron-periodic-workers"), "--config-file", str(self._file)])

    def _start_apis(self) -> None:
        for port in self.apis:
            where = {"OS_NEUTRON_CONFIG_DIR": str(self.directory), "OS_NEUTRON_CONFIG_FILES": self._file.name}
            self._start(f"api-{port}", [sys.executable, "-m", "lab.openstack.api", str(port)], where)

    def move_between_switches(self, allowed: bool) -> None:
        """Write the option, and start the API anew, which binds ports; returns when it answers."""
        self.moves_between_switches = allowed
        write(self._file, self._options())
        for port in self.apis:
            self._kill(f"api-{port}")
        self._start_apis()
        self.await_answer()

    def start_rpc_server(self) -> None:
        self._start("rpc-server", [str(BIN / "neutron-rpc-server"), "--config-file", str(self._file)])

    def kill_rpc_server(self) -> None:
        """With its workers, and no time for a last word."""
        self._kill("rpc-server")

    def kill(self) -> None:
        """All of its processes."""
        for name in list(self._running):
            self._kill(name)

    def await_answer(self) -> None:
        """Returns when every API process and neutron-rpc-server answer."""
        if until(self._answers, PATIENCE) is None:
            raise RuntimeError(f"Neutron did not start; see {self.directory}")

    def _answers(self) -> bool:
        ended = [name for name, process in self._running.items() if process.poll() is not None]
        if ended:
            raise RuntimeError("".join(f"{name} ended:\n{self.log(name)[-3000:]}" for name in ended))
        return self.rest.answers()

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def said(self, what: str) -> str:
        """The last that any API process said of something; empty if it said nothing."""
        lines = [line for port in self.apis for line in self.log(f"api-{port}").splitlines() if what in line]
        return f"{what}{lines[-1].partition(what)[2]}" if lines else ""

    def _kill(self, name: str) -> None:
        gone = self._running.pop(name)
        end([process for process in self.processes.alive() if process.pid == gone.pid])

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        log = self.directory / f"{name}.log"
        self._running[name] = self.processes.start(f"neutron {name}", command, log, environment, has_family=True)

    @property
    def _file(self) -> Path:
        return self.directory / "neutron.conf"

    def _options(self) -> Mapping[str, Mapping[str, object]]:
        paste = BIN.parent / "etc" / "neutron" / "api-paste.ini"
        ranges = ",".join(f"{domain}:{low}:{high}" for domain, (low, high) in self.vlans.items())
        return {
            "DEFAULT": {
                "core_plugin": "ml2",
                "service_plugins": "router",
                "auth_strategy": "noauth",
                "api_paste_config": paste,
                "state_path": self.directory,
                "transport_url": self.bus,
                "rpc_workers": 1,
                "rpc_state_report_workers": 1,
                "global_physnet_mtu": 1600,
            },
            "nova": {"auth_type": "none", "endpoint": self.nova},
            "quotas": {"quota_port": -1},
            "oslo_concurrency": {"lock_path": self.directory / "lock"},
            "database": {"connection": self.database},
            "ml2": {
                "type_drivers": "vxlan,vlan,flat",
                "project_network_types": "vxlan",
                "mechanism_drivers": self.chain,
                "extension_drivers": "port_security",
                "path_mtu": 1600,
            },
            "ml2_type_vxlan": {"vni_ranges": f"{VNIS[0]}:{VNIS[1]}"},
            "ml2_type_vlan": {"network_vlan_ranges": ranges},
            "ml2_isthmus": {
                "domains": ",".join(self.vlans),
                "live_migration_between_switches": self.moves_between_switches,
            },
        }


def write(path: Path, options: Mapping[str, Mapping[str, object]]) -> None:
    """A file for oslo.config."""
    parser = RawConfigParser(default_section="")
    for section, values in options.items():
        parser[section] = {key: str(value) for key, value in values.items()}
    with path.open("w") as file:
        parser.write(file)


def environment() -> Mapping[str, str]:
    """So that what Neutron's agents start finds its own programs."""
    return {"PATH": f"{BIN}:{os.environ['PATH']}"}
