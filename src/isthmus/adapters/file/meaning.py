"""What an intent file means: entries that fit together become an Intent; every flaw is found in one reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from isthmus.adapters.file.document import Document, Flaw, Path
from isthmus.adapters.file.schema import SECTIONS, Entry, NetworkEntry, PeerEntry, PortEntry
from isthmus.model.intent import AllowedPair, Intent, Network, Peer, Port
from isthmus.model.names import Mac, NetworkId, PortId, VmId
from isthmus.model.tags import Vni

E = TypeVar("E", bound=Entry)


@dataclass(slots=True)
class _Reading:
    """The entries that are well formed, each with its index, and all flaws so far."""

    document: Document
    flaws: list[Flaw]
    entries: dict[str, list[tuple[int, Entry]]] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    """Every id a network has or means to have: one broken network must not make its ports look wrong too."""

    def each(self, section: str, kind: type[E]) -> Iterator[tuple[int, E]]:
        for index, entry in self.entries.get(section, ()):
            assert isinstance(entry, kind)
            yield index, entry


def intent_of(document: Document) -> tuple[Intent | None, list[Flaw]]:
    """The intent of a document, or every flaw that it has."""
    reading = _Reading(document, list(document.flaws))
    _read_entries(reading)
    _check_networks(reading)
    _check_members(reading)
    if reading.flaws:
        return None, sorted(reading.flaws, key=lambda flaw: flaw.line or 0)
    return _intent(reading), []


def _read_entries(reading: _Reading) -> None:
    top = reading.document.value
    if not isinstance(top, dict):
        if not reading.flaws:
            # An empty file is a lost one more often than a wish to remove every network.
            reading.flaws.append(
                Flaw(None, "", "must be a mapping with a 'networks' list; write 'networks: []' for none")
            )
        return
    for key in top:
        if key not in SECTIONS:
            reading.flaws.append(reading.document.flaw((key,), f"unknown key; there are: {', '.join(SECTIONS)}"))
    if "networks" not in top:
        reading.flaws.append(reading.document.flaw((), "'networks' is missing; write 'networks: []' for none"))
    for section, kind in SECTIONS.items():
        if section in top:
            _read_section(reading, section, kind, top[section])


def _read_section(reading: _Reading, section: str, kind: type[Entry], items: Any) -> None:
    if not isinstance(items, list):
        reading.flaws.append(reading.document.flaw((section,), "must be a list; write [] for none"))
        return
    good = reading.entries.setdefault(section, [])
    for index, item in enumerate(items):
        if section == "networks" and isinstance(item, dict):
            reading.declared |= {name for name in (item.get("id") or item.get("name"),) if isinstance(name, str)}
        try:
            good.append((index, kind.model_validate(item)))
        except ValidationError as wrong:
            reading.flaws.extend(_flaws(reading.document, (section, index), wrong, kind))
            good.extend((index, entry) for entry in _salvaged(kind, item, wrong))


def _salvaged(kind: type[Entry], item: Any, wrong: ValidationError) -> Iterator[Entry]:
    """The entry less what is wrong in it, so that what it says rightly is still compared with the others."""
    if isinstance(item, dict):
        flawed = {error["loc"][0] for error in wrong.errors(include_url=False) if error["loc"]}
        with suppress(ValidationError):
            yield kind.model_validate({key: value for key, value in item.items() if key not in flawed})


def _flaws(document: Document, at: Path, wrong: ValidationError, kind: type[Entry]) -> Iterator[Flaw]:
    for error in wrong.errors(include_url=False):
        path = (*at, *error["loc"])
        match error["type"]:
            case "extra_forbidden":
                yield document.flaw(path, f"unknown key; there are: {', '.join(kind.model_fields)}")
            case "model_type":
                yield document.flaw(path, "must be a mapping")
            case "missing":
                yield document.flaw(path, "is missing")
            case "value_error":
                yield document.flaw(path, str(error["ctx"]["error"]))
            case _:
                yield document.flaw(path, error["msg"].lower().replace("input ", ""))


class _Unique:
    """Remembers who had a value first, so that the second can be told."""

    def __init__(self, reading: _Reading) -> None:
        self._reading = reading
        self._first: dict[object, tuple[str, int | None]] = {}

    def claim(self, key: object, path: Path, what: str, who: str) -> None:
        """Give `key` to `who`, or note that somebody has it."""
        line = self._reading.document.line(path)
        if key not in self._first:
            self._first[key] = (who, line)
            return
        holder, where = self._first[key]
        self._reading.flaws.append(
            self._reading.document.flaw(path, f"{what} is already used by {holder} (line {where})")
        )


def _check_networks(reading: _Reading) -> None:
    unique = _Unique(reading)
    for index, entry in reading.each("networks", NetworkEntry):
        at: Path = ("networks", index)
        who = f"network {entry.identity!r}"
        unique.claim(("vni", entry.vni), (*at, "vni"), str(entry.vni), who)
        unique.claim(("id", entry.identity), (*at, "id" if entry.id else "name"), repr(entry.identity), who)


def _check_members(reading: _Reading) -> None:
    unique = _Unique(reading)
    for index, port in reading.each("ports", PortEntry):
        at: Path = ("ports", index)
        who = f"port {port.identity!r}"
        unique.claim(("id", port.identity), (*at, "id") if port.id else at, f"id {port.identity!r}", who)
        _check_member(reading, unique, at, who, port)
    for index, peer in reading.each("peers", PeerEntry):
        _check_member(reading, unique, ("peers", index), f"peer {peer.mac or peer.vtep}", peer)


def _check_member(reading: _Reading, unique: _Unique, at: Path, who: str, member: PortEntry | PeerEntry) -> None:
    # Two members with one MAC or one address in a network would make the answers to ARP a matter of luck.
    if member.network not in reading.declared:
        reading.flaws.append(reading.document.flaw((*at, "network"), f"there is no network {member.network!r}"))
    if member.mac is not None:
        unique.claim(("mac", member.network, member.mac), (*at, "mac"), f"{member.mac} in this network", who)
    for nth, address in enumerate(member.addresses):
        path = (*at, "addresses", nth)
        unique.claim(("address", member.network, address), path, f"{address} in this network", who)


def _intent(reading: _Reading) -> Intent:
    ports = [_port(entry) for _, entry in reading.each("ports", PortEntry)]
    listed = {port.network for port in ports}
    networks = [_network(entry, listed) for _, entry in reading.each("networks", NetworkEntry)]
    return Intent(
        networks={network.id: network for network in networks},
        ports={port.id: port for port in ports},
        peers=tuple(_peer(entry) for _, entry in reading.each("peers", PeerEntry)),
    )


def _network(entry: NetworkEntry, listed: set[NetworkId]) -> Network:
    identity = NetworkId(entry.identity)
    return Network(
        id=identity,
        vni=Vni(entry.vni),
        name=entry.name,
        mtu=entry.mtu,
        ports_listed=entry.ports == "listed" or identity in listed,
    )


def _port(entry: PortEntry) -> Port:
    own = Mac(entry.mac)
    return Port(
        id=PortId(entry.identity),
        network=NetworkId(entry.network),
        vm=VmId(entry.vm),
        mac=own,
        addresses=entry.addresses,
        admin_up=entry.admin_up,
        allowed_pairs=tuple(
            AllowedPair(Mac(pair.mac) if pair.mac else own, pair.address) for pair in entry.allowed_pairs
        ),
    )


def _peer(entry: PeerEntry) -> Peer:
    return Peer(NetworkId(entry.network), entry.vtep, Mac(entry.mac) if entry.mac else None, entry.addresses)
