"""The cloud's database: a MariaDB of its own in the world's directory, spoken to by its socket alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.netns.namespace import run
from lab.netns.process import Processes
from lab.netns.stage import until

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Database:
    directory: Path

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return f"mysql+pymysql://root@localhost/neutron?unix_socket={self._socket}&charset=utf8"

    def start(self, processes: Processes) -> None:
        """Make it and start it; returns when there is an empty database in it."""
        self.directory.mkdir()
        mine = ["--no-defaults", "--user=root", f"--datadir={self.directory}/data"]
        run("mariadb-install-db", *mine, "--auth-root-authentication-method=normal", "--skip-test-db")
        # It lives as long as the world: nothing need survive a loss of power.
        fast = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=128M", "--skip-log-bin"]
        socket = ["--skip-networking", f"--socket={self._socket}", f"--pid-file={self.directory}/pid"]
        log = self.directory / "log"
        started = processes.start("mariadbd", ["mariadbd", *mine, *socket, *fast], log, has_family=True)
        if until(lambda: started.poll() is not None or self._socket.exists(), PATIENCE) is None or started.poll():
            raise RuntimeError(f"MariaDB did not start:\n{log.read_text()[-2000:]}")
        self._told("CREATE DATABASE neutron CHARACTER SET utf8")

    def taken_vlans(self, domain: str) -> set[int]:
        """Those that Neutron gives to nobody else."""
        told = self._told(
            f"SELECT vlan_id FROM neutron.ml2_vlan_allocations WHERE allocated AND physical_network = '{domain}'"
        )
        return {int(line) for line in told.split()}

    def _told(self, sql: str) -> str:
        command = ["mariadb", "--no-defaults", "--user=root", f"--socket={self._socket}", "--skip-column-names"]
        return run(*command, "--batch", "-e", sql)

    @property
    def _socket(self) -> Path:
        return self.directory / "socket"
