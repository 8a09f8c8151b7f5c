"""What a site needs of the machine beyond what every world does, and for each thing that is missing, what to do."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

from lab.netns import preflight
from lab.netns.leaf import EMULATOR
from lab.openstack.broker import SERVER

_TOOLS = {
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "epmd": "rabbitmq-server",
    "socat": "socat",
    "dnsmasq": "dnsmasq-base",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "arping": "iputils-arping",
    "busybox": "busybox",
}


def missing() -> list[str]:
    """One line of advice for each missing piece; none means that a site can come up."""
    advice = preflight.missing()
    if os.geteuid() != 0:
        return advice
    packages = {package for tool, package in _TOOLS.items() if not _has(tool)}
    packages |= set() if SERVER.exists() else {"rabbitmq-server"}
    packages |= set() if EMULATOR.exists() else {"openvswitch-vtep"}
    if packages:
        advice.append(f"missing tools: run `make apt-cloud`, or apt-get install {' '.join(sorted(packages))}")
    if not all(find_spec(module) for module in ("neutron", "waitress", "pymysql")):
        advice.append("no Neutron in this Python environment: run `make openstack`, and this with .venv-openstack")
    return advice


def _has(tool: str) -> bool:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
