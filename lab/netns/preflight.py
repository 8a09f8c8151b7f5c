"""What a world needs of the machine, and for each thing that is missing, what to do about it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.netns.ovs import SCHEMA

TUN = Path("/dev/net/tun")
_TOOLS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ethtool": "ethtool",
    "sysctl": "procps",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-ofctl": "openvswitch-switch",
}


def missing() -> list[str]:
    """One line of advice for each missing piece; none means that a world can come up."""
    if os.geteuid() != 0:
        return [
            "not root: network namespaces need it.  Run this again with sudo, or as root in a container of its own."
        ]
    advice = []
    packages = {package for tool, package in _TOOLS.items() if _which(tool) is None}
    if not SCHEMA.exists():
        packages.add("openvswitch-switch")
    if packages:
        advice.append(f"missing tools: run `make apt`, or apt-get install {' '.join(sorted(packages))}")
    if not TUN.exists():
        advice.append(
            "no /dev/net/tun: Open vSwitch's userspace bridges need it.  Load it with `modprobe tun`; in a container, "
            "start it with --device /dev/net/tun and --cap-add NET_ADMIN (docker, podman)."
        )
    if not _can_make_namespaces():
        advice.append(
            "cannot make network namespaces: in a container this takes --privileged, or at least "
            "--cap-add SYS_ADMIN --cap-add NET_ADMIN and a writable /run/netns."
        )
    return advice


def _can_make_namespaces() -> bool:
    # CAP_SYS_ADMIN is bit 21, CAP_NET_ADMIN bit 12 of the effective set.
    status = Path("/proc/self/status").read_text()
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1], 16)
    return bool(effective >> 21 & 1) and bool(effective >> 12 & 1)


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
