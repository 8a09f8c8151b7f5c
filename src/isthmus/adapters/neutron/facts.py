"""What Neutron has, in its own words, as one answer of the drivers told it: networks, segments, ports, bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.adapters.neutron.packing import unpacked
from isthmus.adapters.neutron.protocol import RETIRING
from isthmus.model.faults import Retry
from isthmus.model.names import NetworkId
from isthmus.model.tags import VidSet


@dataclass(frozen=True, slots=True)
class Segment:
    """A VLAN of a network in a mapping domain (physical network)."""

    id: str
    network: NetworkId
    domain: str
    vid: int
    dynamic: bool
    mark: str
    """What our drivers wrote on it: another at each reservation and each retirement."""
    used: bool
    """A level of some binding, active or not, refers to it."""

    @property
    def retiring(self) -> bool:
        """Its port group and mapping are to go, and then itself."""
        return self.mark.startswith(RETIRING)

    @property
    def wanted(self) -> bool:
        """It should have its port group and mapping."""
        return self.used or not self.retiring


@dataclass(frozen=True, slots=True)
class Binding:
    """A port on a host: active, or prepared for a live migration."""

    host: str
    active: bool
    failed: bool
    segments: tuple[str, ...]
    """Of each level, outermost first."""
    ours: bool
    """The bottom level is one of our drivers': a port group."""
    dvs_id: str | None = None
    pg_id: str | None = None
    unbound: bool = False
    """It has a host, and nobody has bound it there yet: it is being bound, or who began it died."""


@dataclass(frozen=True, slots=True)
class NeutronPort:
    """A port.  `pairs` are the MAC and IP addresses that it may send from besides its own; one that is not `secured`
    may send from any."""

    id: str
    network: NetworkId
    mac: str
    device: str
    owner: str
    admin_up: bool
    status: str
    addresses: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    bindings: tuple[Binding, ...]
    secured: bool = True
    awaits_others: bool = False
    """It is not ACTIVE yet because of others (Neutron's DHCP agent): ours is done."""

    @property
    def is_vm(self) -> bool:
        """Nova's."""
        return self.owner.startswith("compute:")


@dataclass(frozen=True, slots=True)
class NeutronNetwork:
    """A network with a VNI."""

    id: NetworkId
    name: str
    mtu: int
    vni: int
    overlay: str
    """The VXLAN segment that has it."""


@dataclass(frozen=True, slots=True)
class Tunnelling:
    """A Neutron agent with a VTEP of its own, by its host.  The address is as the agent gave it: it may be nonsense."""

    host: str
    vtep: str
    started_at: str


@dataclass(frozen=True, slots=True)
class Beside:
    """A port of a network without a VNI that should have a port group on a host."""

    id: str
    host: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it."""

    networks: Mapping[NetworkId, NeutronNetwork]
    segments: tuple[Segment, ...]
    ports: tuple[NeutronPort, ...]
    tunnelling: tuple[Tunnelling, ...]
    domains: Mapping[str, VidSet]
    """The mapping domains that Neutron's configuration names, and the VLANs that it gives out there."""
    held: tuple[tuple[str, int], ...]
    """VLANs (mapping domain, VID) of networks that were deleted: nobody gets them before we say so."""
    fabric: bool
    """Dynamic segments are isthmus_fabric's to make and to release."""
    static: frozenset[str] = frozenset()
    """The mapping domains in which, by Neutron's configuration, every network has a VLAN."""
    kept: frozenset[str] = frozenset()
    """The hosts that a living `isthmus run` keeps."""
    beside: tuple[Beside, ...] = ()

    def tunnelled(self, port: NeutronPort, binding: Binding) -> bool:
        """The port is in its network's overlay itself there: bound to the VXLAN segment, and to nothing below."""
        network = self.networks.get(port.network)
        return network is not None and binding.segments == (network.overlay,)


@dataclass(frozen=True, slots=True)
class Heard:
    """What Neutron knows of who reports a VTEP: whether he lives, and when he was heard of last (UTC)."""

    alive: bool
    at: str


def facts_in(message: Any) -> Facts:
    """Of what came over the bus for `read`.  Raises Retry for what is not of the drivers' making."""
    try:
        answer = unpacked(message)
    except ValueError as wrong:
        raise Retry(_strange(wrong)) from wrong
    return facts_of(answer)


def heard_in(message: Any) -> Mapping[str, Heard]:
    """By VTEP, of what came for `heard`; of several who report one, the last.  Raises Retry as `facts_in`."""
    try:
        return {_text(row["vtep"]): Heard(_flag(row["alive"]), _text(row["at"])) for row in _rows(message)}
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise Retry(_strange(wrong)) from wrong


def facts_of(answer: Any) -> Facts:
    """Of an answer to `read`.  Raises Retry for one that is not of the drivers' making."""
    try:
        networks = {row.id: row for row in map(_network, _rows(answer["networks"]))}
        ports = tuple(map(_port, _rows(answer["ports"])))
        if lost := next((port for port in ports if port.network not in networks), None):
            raise ValueError(f"port {lost.id} is in network {lost.network}, which is not among the networks")
        return Facts(
            networks,
            tuple(_segments(answer["networks"])),
            ports,
            tuple(map(_tunnelling, _rows(answer["agents"]))),
            {_text(domain): VidSet.of(",".join(_texts(ranges))) for domain, ranges in answer["domains"].items()},
            tuple((_text(domain), _number(vid)) for domain, vid in _rows(answer["held"])),
            _flag(answer["fabric"]),
            frozenset(_texts(answer["static"])),
            frozenset(_texts(answer["kept"])),
            tuple(Beside(_text(row["id"]), _text(row["host"])) for row in _rows(answer["beside"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise Retry(_strange(wrong)) from wrong


def _strange(wrong: Exception) -> str:
    return (
        f"Neutron's isthmus drivers answered something else than expected ({type(wrong).__name__}: {wrong}): "
        "are they of the same release as this isthmus?"
    )


def _network(row: Mapping[str, Any]) -> NeutronNetwork:
    id_ = NetworkId(_text(row["id"]))
    return NeutronNetwork(id_, _text(row["name"]), _number(row["mtu"]), _number(row["vni"]), _text(row["overlay"]))


def _segments(networks: Iterable[Mapping[str, Any]]) -> Iterable[Segment]:
    for network in networks:
        for row in _rows(network["segments"]):
            yield Segment(
                _text(row["id"]),
                NetworkId(network["id"]),
                _text(row["physical_network"]),
                _number(row["vid"]),
                _flag(row["dynamic"]),
                _text(row["mark"]),
                _flag(row["used"]),
            )


def _port(row: Mapping[str, Any]) -> NeutronPort:
    return NeutronPort(
        _text(row["id"]),
        NetworkId(_text(row["network"])),
        _text(row["mac"]),
        _text(row["device"] or ""),
        _text(row["owner"] or ""),
        _flag(row["admin_up"]),
        _text(row["status"]),
        _texts(row["addresses"]),
        tuple((_text(mac), _text(address)) for mac, address in _rows(row["pairs"])),
        tuple(map(_binding, _rows(row["bindings"]))),
        _flag(row["secured"]),
        _flag(row["awaits_others"]),
    )


def _binding(row: Mapping[str, Any]) -> Binding:
    # Other drivers may mean something else by these two: then they are not ours.
    dvs_id, pg_id = (row[key] if isinstance(row[key], str) else None for key in ("dvs_id", "pg_id"))
    return Binding(
        _text(row["host"]),
        _flag(row["active"]),
        _flag(row["failed"]),
        _texts(row["segments"]),
        _flag(row["ours"]),
        dvs_id,
        pg_id,
        _flag(row["unbound"]),
    )


def _tunnelling(row: Mapping[str, Any]) -> Tunnelling:
    # What an agent said of itself may be nonsense, and not the drivers'.
    return Tunnelling(_text(row["host"]), str(row["vtep"]), _text(row["started_at"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _rows(value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{value!r} is no list")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, _rows(value)))
