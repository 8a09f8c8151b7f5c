"""One Open vSwitch of the world: two daemons in a namespace, the userspace datapath, everything by unix sockets."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.netns.namespace import CommandFailed, inside, run
from lab.netns.process import Processes

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class OpenVswitch:
    """Where it runs and where its sockets are; every command names them, so any number run side by side."""

    namespace: str
    rundir: Path
    beside: Mapping[str, Path] = field(default_factory=dict, hash=False)
    """Further databases that its ovsdb-server keeps: file and schema."""
    remotes: tuple[str, ...] = ()
    """Further places where its ovsdb-server speaks, beside its socket."""

    @property
    def db(self) -> str:
        return f"unix:{self.rundir}/db.sock"

    def start(self, processes: Processes) -> None:
        self.rundir.mkdir(parents=True, exist_ok=True)
        self.start_ovsdb(processes)
        run("ovs-vsctl", f"--db={self.db}", "--no-wait", "init")
        self.start_vswitchd(processes)

    def start_ovsdb(self, processes: Processes) -> subprocess.Popen[bytes]:
        databases = {"conf.db": SCHEMA, **self.beside}
        for file, schema in databases.items():
            if not (self.rundir / file).exists():
                run("ovsdb-tool", "create", self.rundir / file, schema)
        remotes = [f"--remote={remote}" for remote in (f"punix:{self.rundir}/db.sock", *self.remotes)]
        command = [
            *inside(self.namespace), "ovsdb-server", *(str(self.rundir / file) for file in databases), *remotes,
            f"--unixctl={self.rundir}/ovsdb-server.ctl", "-vconsole:warn",
        ]  # fmt: skip
        env = {"OVS_RUNDIR": str(self.rundir)}
        what = f"ovsdb-server of {self.namespace}"
        started = processes.start(what, command, self.rundir / "ovs.log", env, stands_for_hardware=True)
        self._until_answers("ovsdb-server")
        return started

    def start_vswitchd(self, processes: Processes) -> subprocess.Popen[bytes]:
        # The kernel datapath would be shared by all namespaces' switches; --disable-system keeps out of it.
        command = [
            *inside(self.namespace), "ovs-vswitchd", self.db, "--disable-system", "-vconsole:warn",
            f"--unixctl={self.rundir}/ovs-vswitchd.ctl", f"--pidfile={self.rundir}/ovs-vswitchd.pid",
        ]  # fmt: skip
        env = {"OVS_RUNDIR": str(self.rundir)}
        log = self.rundir / "ovs.log"
        what = f"ovs-vswitchd of {self.namespace}"
        started = processes.start(what, command, log, env, stands_for_hardware=True)
        self._until_answers("ovs-vswitchd")
        return started

    def vsctl(self, *words: str) -> str:
        """One transaction (several commands parted by "--"); returns when ovs-vswitchd has carried it out."""
        return run("ovs-vsctl", f"--db={self.db}", "--timeout=20", *words)

    def appctl(self, *words: str) -> str:
        return run("ovs-appctl", f"--target={self.rundir}/ovs-vswitchd.ctl", *words)

    def bundle(self, bridge: str, lines: Iterable[str]) -> None:
        """Change flows ("add ...", "delete_strict ..."), all or none.

        A packet meets the flows of before or those of after, never a mixture.
        """
        self._ofctl("--bundle", "add-flows", self._management(bridge), "-", stdin=_text(lines))

    def mixed_bundle(self, bridge: str, lines: Iterable[str]) -> None:
        """As a bundle, of "flow add ..." and also of "packet-out ...": such a frame meets the flows of after."""
        self._ofctl("bundle", self._management(bridge), "-", stdin=_text(lines))

    def replace_flows(self, bridge: str, flows: Iterable[str]) -> None:
        self._ofctl("--bundle", "replace-flows", self._management(bridge), "-", stdin=_text(flows))

    def dump_flows(self, bridge: str) -> list[str]:
        dumped = self._ofctl("--no-stats", "dump-flows", self._management(bridge))
        return [line.strip() for line in dumped.splitlines() if "actions=" in line]

    def bridges(self) -> list[str]:
        return self.vsctl("list-br").split()

    def _management(self, bridge: str) -> str:
        return f"unix:{self.rundir}/{bridge}.mgmt"

    def _ofctl(self, *words: str, stdin: str | None = None) -> str:
        return run("ovs-ofctl", "-OOpenFlow14", *words, stdin=stdin)

    def _until_answers(self, daemon: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                run("ovs-appctl", f"--target={self.rundir}/{daemon}.ctl", "version")
                return
            except CommandFailed:
                if time.monotonic() > deadline:
                    log = (self.rundir / "ovs.log").read_text()[-2000:]
                    raise CommandFailed(f"{daemon} in {self.namespace} did not start:\n{log}") from None
            time.sleep(0.02)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def packet_out(in_port: int, frame: bytes) -> str:
    """The line of a bundle that puts a frame into the switch as if it had come in at `in_port`."""
    return f"packet-out in_port={in_port}, packet={frame.hex()}, actions=table"


def in_order(commands: Iterable[Iterable[str]]) -> list[str]:
    """Several ovs-vsctl commands as the words of one transaction."""
    return [word for command in commands for word in ("--", *command)]
