"""Who is behind our leaves, told to Neutron's Open vSwitch agents in the words of its l2population driver.

That driver speaks only of hosts whose Neutron agent has a tunnel address, and our leaves have none: a VM's leaf is
known when vCenter says where the VM is.  So KVM hosts and network nodes are told from here.

Law: an agent that starts knows nothing, and one that has no port in a network leaves aside what it hears of it.  Nobody
confirms anything.  So it is all said again, more and more seldom, and from the beginning to whoever starts anew.  What
was told is kept over restarts, so that it can be taken back; what is behind a VTEP that was not looked at since then
stays as it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from isthmus.adapters.neutron.facts import Facts
from isthmus.model.handover import Member
from isthmus.model.names import NetworkId

FLOOD = ("00:00:00:00:00:00", "0.0.0.0")
"""Stands for everybody: the VTEP gets what is for all."""
AGAIN = (2.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds until an agent is told the same again; the last one over and over."""

Entries: TypeAlias = frozenset[tuple[str, str, str]]
"""VTEP, MAC and IP address of each."""
NOBODY: Entries = frozenset()
KEEP_EVERY = 5.0
"""Seconds between two times that what was told is kept."""
Cast: TypeAlias = Callable[[str, str, Mapping[str, Any]], None]
"""Says (host, method, entries) to the agent on a host."""


@dataclass(slots=True)
class _Told:
    """What the agent on a host was told of a network, in its present life."""

    started_at: str
    entries: Entries = frozenset()
    times: int = 0
    again_at: float = 0.0


@dataclass(slots=True)
class Announcer:
    """Remembers what was said; of agents and networks that are gone nothing is kept."""

    cast: Cast
    keep: Callable[[list[Any]], None] = lambda rows: None
    """Told what is to be recalled after a restart."""
    _kept_at: float = float("-inf")
    _changed: bool = False
    _told: dict[tuple[str, NetworkId], _Told] = field(default_factory=dict)

    def recall(self, rows: Iterable[Any], ours: Collection[str]) -> None:
        """What was told in an earlier life, of VTEPs that are ours to speak of still.  Nonsense is nothing."""
        try:
            for host, network, started_at, entries in rows:
                known = frozenset((str(vtep), str(mac), str(ip)) for vtep, mac, ip in entries if vtep in ours)
                self._told[str(host), NetworkId(network)] = _Told(str(started_at), known)
        except (TypeError, ValueError):
            self._told.clear()

    def announce(self, facts: Facts, members: Iterable[Member], now: float, unseen: Collection[str] = ()) -> None:
        """Say what is new, what is no longer so, and what it is time to say again.

        `unseen` are the VTEPs behind which nobody has looked yet.
        """
        before = {key: (told.started_at, told.entries) for key, told in self._told.items()}
        self._announce(facts, members, now, unseen)
        self._changed |= before != {key: (told.started_at, told.entries) for key, told in self._told.items()}
        if self._changed and now - self._kept_at >= KEEP_EVERY:
            self._kept_at, self._changed = now, False
            self.keep([[*key, told.started_at, sorted(told.entries)] for key, told in sorted(self._told.items())])

    def _announce(self, facts: Facts, members: Iterable[Member], now: float, unseen: Collection[str]) -> None:
        entries = _by_network(members)
        started = {agent.host: agent.started_at for agent in facts.tunnelling}
        wanted = {key: entries.get(key[1], NOBODY) for key in _listeners(facts, started)}
        if unseen:
            for key in wanted.keys() & self._told.keys():
                wanted[key] |= _not_looked_at(self._told[key].entries, wanted[key], unseen)
        wanted = {key: found for key, found in wanted.items() if found}
        for host, network in list(self._told):
            if (host, network) not in wanted:
                self._say_less(facts, host, network, frozenset())
                del self._told[host, network]
        for (host, network), all_of_it in sorted(wanted.items()):
            told = self._told.get((host, network))
            if told is None or told.started_at != started[host]:
                told = self._told[host, network] = _Told(started[host])
            if told.entries - all_of_it:
                self._say_less(facts, host, network, all_of_it)
            if all_of_it - told.entries or now >= told.again_at:
                told.times = 0 if all_of_it != told.entries else told.times
                self.cast(host, "add_fdb_entries", _message(facts, network, all_of_it))
                told.entries = all_of_it
                told.again_at = now + AGAIN[min(told.times, len(AGAIN) - 1)]
                told.times += 1

    def next_at(self) -> float | None:
        """When somebody is to be told again."""
        keep = [self._kept_at + KEEP_EVERY] if self._changed else []
        return min((*keep, *(told.again_at for told in self._told.values())), default=None)

    def _say_less(self, facts: Facts, host: str, network: NetworkId, left: Entries) -> None:
        """What is no longer so.  A MAC that is elsewhere now is not taken back: to an agent a MAC is in one place."""
        told = self._told[host, network]
        kept = {mac for _, mac, _ in left if mac != FLOOD[0]}
        gone = frozenset(entry for entry in told.entries - left if entry[1] not in kept)
        if gone and network in facts.networks:
            self.cast(host, "remove_fdb_entries", _message(facts, network, gone))
        told.entries -= told.entries - left


def _not_looked_at(told: Entries, seen: Entries, unseen: Collection[str]) -> Entries:
    """What was told of VTEPs that are unseen yet, but of who was seen elsewhere."""
    elsewhere = {mac for _, mac, _ in seen if mac != FLOOD[0]}
    return frozenset(entry for entry in told if entry[0] in unseen and entry[1] not in elsewhere)


def _by_network(members: Iterable[Member]) -> dict[NetworkId, Entries]:
    found: dict[NetworkId, set[tuple[str, str, str]]] = {}
    for member in members:
        entries = found.setdefault(member.network, set())
        entries.add((member.vtep, *FLOOD))
        entries.update((member.vtep, str(member.mac), address) for address in member.addresses)
    return {network: frozenset(entries) for network, entries in found.items()}


def _listeners(facts: Facts, started: Mapping[str, str]) -> set[tuple[str, NetworkId]]:
    """The agents that have tunnels, each with the networks that it has a wired port in."""
    return {
        (binding.host, port.network)
        for port in facts.ports
        if port.status == "ACTIVE"
        for binding in port.bindings
        if binding.active and facts.tunnelled(port, binding) and binding.host in started
    }


def _message(facts: Facts, network: NetworkId, entries: Entries) -> dict[str, Any]:
    ports: dict[str, list[list[str]]] = {}
    for vtep, mac, address in sorted(entries):
        ports.setdefault(vtep, []).append([mac, address])
    return {
        network: {"segment_id": facts.networks[network].vni, "network_type": "vxlan", "ports": ports},
    }
