"""Who is behind our leaves, told to Neutron's Open vSwitch agents in the words of its l2population driver.

That driver speaks only of hosts whose Neutron agent has a tunnel address, and our leaves have none: a VM's leaf is
known when vCenter says where the VM is.  So KVM hosts and network nodes are told from here.

Law: an agent that starts knows nothing, and one that has no port in a network leaves aside what it hears of it.  Nobody
confirms anything.  So it is all said again, more and more seldom, and from the beginning to whoever starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    _told: dict[tuple[str, NetworkId], _Told] = field(default_factory=dict)

    def announce(self, facts: Facts, members: Iterable[Member], now: float) -> None:
        """Say what is new, what is no longer so, and what it is time to say again."""
        entries = _by_network(members)
        started = {agent.host: agent.started_at for agent in facts.tunnelling}
        wanted = {key: entries[key[1]] for key in _listeners(facts, started) if key[1] in entries}
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
        return min((told.again_at for told in self._told.values()), default=None)

    def _say_less(self, facts: Facts, host: str, network: NetworkId, left: Entries) -> None:
        """What is no longer so.  A MAC that is elsewhere now is not taken back: to an agent a MAC is in one place."""
        told = self._told[host, network]
        kept = {mac for _, mac, _ in left if mac != FLOOD[0]}
        gone = frozenset(entry for entry in told.entries - left if entry[1] not in kept)
        if gone and network in facts.networks:
            self.cast(host, "remove_fdb_entries", _message(facts, network, gone))
        told.entries -= told.entries - left


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
        if binding.active and len(binding.segments) == 1 and binding.host in started
    }


def _message(facts: Facts, network: NetworkId, entries: Entries) -> dict[str, Any]:
    ports: dict[str, list[list[str]]] = {}
    for vtep, mac, address in sorted(entries):
        ports.setdefault(vtep, []).append([mac, address])
    return {
        network: {"segment_id": facts.networks[network].vni, "network_type": "vxlan", "ports": ports},
    }
