"""A plain Debian 12 in a network namespace that is there already: its own systemd, packages and files.

Its kernel is that of this machine, and so is its hardware but for its NICs and what its firmware says of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lab.netns.namespace import CommandFailed, inside, run
from lab.netns.process import Processes, ProcessId

IMAGE = Path(__file__).parents[2] / "build" / "debian-12.tar"
"""The file system as first installed; what the tests install in it lies downloaded in it, since a world has no way out.

It is of the day on which it was made.
"""
_HAS = "systemd-sysv,dbus,udev,kmod,iproute2,procps,ca-certificates"
_FETCHED = "openvswitch-switch python3-venv"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# By the root of the file system and the UUID in its firmware.
_POWER_ON = """
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"      # read-only: so systemd knows that no udev runs here
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir -p "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
for device in null zero full random urandom tty net/tun; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mkdir -p "$root/run/firmware/dmi/id"
echo "VMware, Inc." > "$root/run/firmware/dmi/id/sys_vendor"
echo "$2" > "$root/run/firmware/dmi/id/product_uuid"
mount -t overlay overlay -o "lowerdir=$root/run/firmware:$root/sys/class" "$root/sys/class"
cd "$root"
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lab TERM=dumb /sbin/init
"""


def advice() -> str:
    """What to do before such a machine can be made here; nothing if it can."""
    if shutil.which("mmdebstrap") is None and not IMAGE.exists():
        return "no mmdebstrap: run `make apt-cloud`"
    return "" if _cgroups() else "no cgroup2 is mounted, which systemd needs"


def image() -> Path:
    """Made by Debian's own tool out of Debian's own packages, some two minutes, if it is not there yet."""
    if IMAGE.exists():
        return IMAGE
    IMAGE.parent.mkdir(exist_ok=True)
    fetch = f'chroot "$1" apt-get install -qq --no-install-recommends --download-only {_FETCHED}'
    with tempfile.TemporaryDirectory(dir=IMAGE.parent) as beside:
        made = Path(beside) / IMAGE.name
        run(
            "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={_HAS}", "--skip=cleanup/apt",
            "--aptopt=APT::Keep-Downloaded-Packages \"true\"", f"--customize-hook={fetch}", "bookworm", made,
        )  # fmt: skip
        made.rename(IMAGE)
    return IMAGE


@dataclass(slots=True)
class Debian:
    name: str
    namespace: str
    root: Path
    bios_uuid: str
    processes: Processes
    _power: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        """Its file system, as first installed."""
        self.root.mkdir(parents=True)
        run("tar", "-xf", image(), "-C", self.root)
        (self.root / "etc/machine-id").write_text("")  # so that it gives itself one
        (self.root / "etc/hostname").write_text(f"{self.name}\n")

    def power_on(self, patience: float = 60.0) -> None:
        """Until its systemd says that all is started."""
        self._cgroup.mkdir()
        separate = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=SIGKILL"]
        joined: list[str | Path] = [
            "sh",
            "-euc",
            'echo $$ > "$1"; shift; exec "$@"',
            "sh",
            self._cgroup / "cgroup.procs",
        ]
        booted: list[str | Path] = ["sh", "-euc", _POWER_ON, "sh", self.root, self.bios_uuid]
        command = [*joined, *inside(self.namespace), *separate, *booted]
        log = self.root.parent / f"{self.name}.log"
        self._power = self.processes.start(self.name, command, log, is_vital=False, has_family=True)
        deadline = time.monotonic() + patience
        while self._state() not in ("running", "degraded"):
            if time.monotonic() > deadline or self._power.poll() is not None:
                raise CommandFailed(f"{self.name} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)

    def power_off(self) -> None:
        """As when its cable is pulled."""
        if self._power is not None:
            for process in [found for found in self.processes.alive() if found.pid == self._power.pid]:
                _end(process)
            self._power.wait()
            self._power = None
        for folder, _, _ in os.walk(self._cgroup, topdown=False):
            _remove(Path(folder))

    def run(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command in it, as root."""
        variables = {"PATH": _PATH, "HOME": "/root", **environment}
        settings = [f"{name}={value}" for name, value in variables.items()]
        command = ["nsenter", "-t", str(self._init()), "-a", "env", "-i", *settings, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def told(self, *words: str) -> str:
        """What a command says that must not fail."""
        done = self.run(*words)
        if done.returncode != 0:
            raise CommandFailed(f"{self.name}: {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    @property
    def _cgroup(self) -> Path:
        found = _cgroups()
        if found is None:
            raise CommandFailed(advice())
        return found / f"lab-{self.namespace}"

    def _init(self) -> int:
        if self._power is None:
            raise CommandFailed(f"{self.name} is off")
        pid = self._power.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _state(self) -> str:
        try:
            return self.run("systemctl", "is-system-running").stdout.strip()
        except (IndexError, OSError):
            return "not yet"


def _cgroups() -> Path | None:
    """The folder of this very process's cgroup, of version 2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    own = [line.partition("::")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"]
    places = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    return places[0] / own[0].lstrip("/") if places and own else None


def _end(process: ProcessId) -> None:
    # Its init is told by the kernel to go with it, and with that everything in its PID namespace.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)


def _remove(cgroup: Path, patience: float = 5.0) -> None:
    deadline = time.monotonic() + patience
    while cgroup.exists():
        try:
            cgroup.rmdir()
        except OSError:  # a process of it has not quite gone
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
