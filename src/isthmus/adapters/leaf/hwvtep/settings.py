"""How one leaf switch is reached, and which of it is ours to use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from isthmus.adapters.tls import TlsFiles
from isthmus.model.tags import Vni

_DIALLED = re.compile(r"(tcp|ssl):(\[[0-9a-fA-F:]+\]|[^\s:\[\]]+):(\d{1,5})")
_AWAITED = re.compile(r"(ptcp|pssl):(\d{1,5})(?::(\[[0-9a-fA-F:]+\]|[^\s:\[\]]+))?")
_OWNER = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the connection to a switch is made: `waits` says that the switch dials in there."""

    kind: str
    address: str
    port: int = 0

    @property
    def waits(self) -> bool:
        """The switch comes to us."""
        return self.kind in ("ptcp", "pssl")

    @property
    def secured(self) -> bool:
        """By TLS."""
        return self.kind in ("ssl", "pssl")


@dataclass(frozen=True, slots=True)
class HwvtepSettings:
    """One leaf switch.  Raises ValueError, naming the setting and the remedy, for what cannot work.

    The two switches of an MLAG pair are two of these, alike in `vtep`, `ports` and `owner`: what is written to one is
    written to the other, and a binding counts only where every port named here has it.
    """

    target: str
    """``tcp:host:port``, ``ssl:host:port`` or ``unix:/path``; or ``ptcp:port``, ``pssl:port``, where the switch dials
    in (``:address`` behind the port listens there only), one port for each switch."""
    vtep: str
    """The address that the other VTEPs send this leaf's frames to: one of the switch's own tunnel_ips."""
    ports: tuple[str, ...]
    """The host-facing ports: all of them carry all VIDs of ours."""
    owner: str
    """The installation's name, part of the names of all we make."""
    switch: str = ""
    """Which Physical_Switch of the database, where it has several."""
    tls: TlsFiles | None = None
    timeout: float = 10.0

    def __post_init__(self) -> None:
        try:
            IPv4Address(self.vtep)
        except AddressValueError:
            raise ValueError(f"vtep {self.vtep!r} is not an IPv4 address such as 192.0.2.1") from None
        if not self.ports or not all(self.ports):
            raise ValueError("ports is empty: name the switch ports that hosts are connected to, such as swp1")
        if len(set(self.ports)) < len(self.ports):
            raise ValueError(f"ports {', '.join(self.ports)} names a port twice")
        if not _OWNER.fullmatch(self.owner):
            raise ValueError(f"owner {self.owner!r} must be up to 64 of A-Z, a-z, 0-9, '_', '.' and '-'")
        if self.place.secured and self.tls is None:
            raise ValueError(f"target {self.target} needs tls: a private key, a certificate and the CA's certificate")

    @property
    def place(self) -> Place:
        """Where the connection is made."""
        if found := _DIALLED.fullmatch(self.target):
            return Place(found[1], found[2].strip("[]"), _port(self.target, found[3]))
        if found := _AWAITED.fullmatch(self.target):
            return Place(found[1], (found[3] or "").strip("[]"), _port(self.target, found[2]))
        if re.fullmatch(r"unix:/.+", self.target):
            return Place("unix", self.target.removeprefix("unix:"))
        raise ValueError(
            f"target {self.target!r} is none of tcp:host:port, ssl:host:port, unix:/absolute/path, ptcp:port, pssl:port"
        )

    def name_of(self, vni: Vni) -> str:
        """The name of our logical switch for a VNI; names are unique in a database."""
        return f"isthmus-{self.owner}-{int(vni)}"

    @property
    def mark(self) -> str:
        """The description of every logical switch of ours, with the schema of the mark."""
        return f"isthmus owner={self.owner} schema=1"


def _port(target: str, text: str) -> int:
    if not 0 < int(text) < 2**16:
        raise ValueError(f"target {target!r}: port {text} is not in 1..65535")
    return int(text)
