"""A guest's DHCP client: asks by broadcast, takes the address and the default route that it is offered."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lab.netns import namespace
from lab.netns.guest import Guest
from lab.netns.namespace import inside

SCRIPT = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr replace "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route replace default via "$router"
"""
PATIENCE = 60.0


def lease(guest: Guest, directory: Path) -> str | None:
    """The address that it got instead of those that it had; None if nobody offered one."""
    namespace.run("ip", "-4", "-netns", guest.namespace, "addr", "flush", "dev", guest.interface)
    script = directory / "dhcp.sh"
    script.write_text(SCRIPT)
    script.chmod(0o700)
    # Ten questions, a second apart.
    client = ["busybox", "udhcpc", "-i", guest.interface, "-f", "-q", "-n", "-t", "10", "-T", "1", "-s", str(script)]
    subprocess.run([*inside(guest.namespace), *client], capture_output=True, check=False, timeout=PATIENCE)
    return address_of(guest)


def address_of(guest: Guest) -> str | None:
    """The IPv4 address of its NIC."""
    told = namespace.run("ip", "-json", "-4", "-netns", guest.namespace, "addr", "show", "dev", guest.interface)
    found = [address["local"] for link in json.loads(told) for address in link.get("addr_info", ())]
    return found[0] if found else None
