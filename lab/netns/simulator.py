"""The world's vCenter: the simulator's binary, started so that it may outlive the process that started it."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.netns.state import WorldState
from lab.netns.vcenter import Login
from lab.vcenter import Topology, binary
from lab.vcenter.control import Control
from lab.vcenter.events import Events
from lab.vcenter.faults import Faults
from lab.vcenter.hosts import Hosts, Vms
from lab.vcenter.sessions import Sessions

USER = "administrator@vsphere.local"
PATIENCE = 60.0


def start_simulator(state: WorldState, wanted: Topology, migration_ms: int) -> Login:
    """On a free port of the loopback, with a CA of its own; the login is kept with the world."""
    directory = state.directory
    password, ca_file = secrets.token_urlsafe(12), directory / "ca.pem"
    topology = state.write("topology", wanted.render())
    ready_file, log = directory / "vcenter.ready", directory / "vcenter.log"
    command = [str(binary()), f"-topology={topology}", f"-user={USER}", f"-ca-file={ca_file}"]
    command += [f"-scratch={directory}", f"-migrate-ms={migration_ms}", f"-control={controls_of(state)}"]
    secret = {"ISTHMUS_VCENTER_PASSWORD": password}
    # Its first line on standard output says where it serves.
    started = state.processes.start("vcenter", command, log, secret, answers=ready_file)
    deadline = time.monotonic() + PATIENCE
    while (ready := _ready_line(ready_file)) is None:
        if started.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the vCenter simulator did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.01)
    login = Login(ready["url"], USER, password, str(ca_file))
    state.write("login", asdict(login))
    (directory / "password").write_text(password)
    return login


def controls_of(state: WorldState) -> Path:
    """The socket on which the simulator lets itself be spoilt."""
    return state.directory / "vcenter.sock"


class Meddling:
    """What is done to the vCenter behind its clients' backs."""

    def __init__(self, state: WorldState) -> None:
        self._control = Control(controls_of(state))
        self.faults = Faults(self._control)
        self.sessions = Sessions(self._control)
        self.events = Events(self._control)
        self.hosts, self.vms = Hosts(self._control), Vms(self._control)

    def leave(self) -> None:
        """The vCenter goes away while its hosts go on."""
        self._control.do("vcenter.leave", proxied=False, retryAfter=0)

    def come_back(self) -> None:
        """It serves again; sessions and collectors are gone."""
        self._control.do("vcenter.return")


def _ready_line(path: Path) -> dict[str, Any] | None:
    if not path.exists() or not (line := path.read_text()).endswith("\n"):
        return None
    told: dict[str, Any] = json.loads(line)
    return told
