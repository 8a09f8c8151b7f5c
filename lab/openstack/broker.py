"""The cloud's message bus: a RabbitMQ of its own on free ports of the loopback, and ways to it from namespaces.

isthmus, Neutron --- 127.0.0.1:port --- RabbitMQ --- amqp.sock --- [namespace] 127.0.0.1:5672 --- Neutron's agents
"""

from __future__ import annotations

import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from lab.netns.namespace import inside
from lab.netns.process import Processes, end
from lab.netns.stage import until

PATIENCE = 90.0
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The script itself: the one in the PATH turns into another user, who may not read the world's directory."""
USUAL_PORT = 5672


@dataclass(slots=True)
class Broker:
    directory: Path
    port: int
    processes: Processes
    _names: int = field(default_factory=lambda: free_port())
    _running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As seen from the machine that it runs on."""
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    def install(self) -> None:
        """What it needs, and begin to start it."""
        self.directory.mkdir()
        (self.directory / "plugins").write_text("[].\n")
        # RabbitMQ would start this by itself where it finds none, and leave it behind.
        registry = ["epmd", "-port", str(self._names), "-address", "127.0.0.1"]
        self.processes.start("epmd", registry, self.directory / "epmd.log", has_family=True)
        until(lambda: is_open(self._names), 10)
        self.start()

    def start(self) -> None:
        """Begin to start it, for the first time or with what it had on its disk."""
        environment = {
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "lab@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.directory),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            # One scheduler that sleeps when there is nothing to do: the machine is shared.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            "RUNNING_UNDER_SYSTEMD": "yes",  # no shell around it
        }
        log = self.directory / "log"
        self._running = self.processes.start("rabbitmq", [SERVER], log, environment, has_family=True)

    def kill(self) -> None:
        """SIGKILL: what it had only in memory is gone."""
        assert self._running is not None
        gone = self._running
        end([process for process in self.processes.alive() if process.pid == gone.pid])

    def await_answer(self) -> None:
        """Returns when it takes connections."""
        if until(lambda: is_open(self.port), PATIENCE) is None:
            raise RuntimeError(f"RabbitMQ did not start:\n{(self.directory / 'log').read_text()[-2000:]}")

    def open_outwards(self) -> None:
        """A socket file, since those are reached from every namespace."""
        ways = [f"UNIX-LISTEN:{self._file},fork", f"TCP:127.0.0.1:{self.port}"]
        self.processes.start("way to the bus", ["socat", *ways], self.directory / "socat.log", has_family=True)

    def open_in(self, namespace: str) -> None:
        """From now on it is at its usual port in a namespace, too."""
        ways = [f"TCP-LISTEN:{USUAL_PORT},bind=127.0.0.1,reuseaddr,fork", f"UNIX-CONNECT:{self._file}"]
        log = self.directory / "socat.log"
        command = [*inside(namespace), "socat", *ways]
        self.processes.start(f"way to the bus from {namespace}", command, log, has_family=True)

    @property
    def _file(self) -> Path:
        return self.directory / "amqp.sock"


def free_port() -> int:
    """A port of the loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether something listens at a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
