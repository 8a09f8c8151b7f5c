"""One name for a port that a switch calls by several: Et1 is Ethernet1.  Law: a name that is not understood stays."""

from __future__ import annotations

import re

_NAME = re.compile(r"([A-Za-z][A-Za-z-]*?)\s*(\d[\d/.]*)")
_EOS = ("Ethernet", "Port-Channel", "Vxlan", "Vlan", "Management", "Loopback")
PEER = "Peer"
"""What EOS puts before the name of a port that the other switch of an MLAG pair has."""
_NXOS = ("Ethernet", "port-channel", "nve", "Vlan", "mgmt", "loopback")


def eos(name: str) -> str:
    """As Arista EOS writes it in its configuration, or below `Peer` if it is the other switch's of a pair."""
    here = name.removeprefix(PEER)
    return name[: len(name) - len(here)] + _full(here, _EOS)


def nxos(name: str) -> str:
    """As Cisco NX-OS writes it in its configuration."""
    return _full(name, _NXOS)


def junos(name: str) -> str:
    """As Junos writes it in its configuration, without the unit that a switched port has."""
    return name.strip().removesuffix(".0")


def _full(name: str, words: tuple[str, ...]) -> str:
    found = _NAME.fullmatch(name.strip())
    if not found:
        return name.strip()
    meant = [word for word in words if word.lower().startswith(found[1].lower())]
    return f"{meant[0]}{found[2]}" if len(meant) == 1 else name.strip()


def nxos_list(said: str) -> list[str]:
    """The ports of a list such as Ethernet1/1-4,port-channel10."""
    found: list[str] = []
    for part in filter(None, (part.strip() for part in said.split(","))):
        if run := re.fullmatch(r"(.*?)(\d+)-(\d+)", part):
            found += [nxos(f"{run[1]}{number}") for number in range(int(run[2]), int(run[3]) + 1)]
        else:
            found.append(nxos(part))
    return found
