"""Who is behind VTEPs of ours (appliances, leaves), told to Neutron's Open vSwitch agents in the words of l2population.

That driver speaks only of hosts whose Neutron agent has a tunnel address, and what is behind a VTEP of ours is known
when vCenter says where a VM is.  So KVM hosts and network nodes are told from here.

Law: an agent that starts knows nothing, and one that has no port in a network leaves aside what it hears of it.  It may
heed two messages in the wrong order.  Nobody confirms anything.  So what changed is said at once, and soon again; all
of it is said again, more and more seldom, and from the beginning to whoever starts anew.  Nothing is taken back that is
another's by now.  What was told is kept over restarts, so that it can be taken back; what is behind a VTEP that was not
looked at since then stays as it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from isthmus.adapters.neutron.facts import Facts
from isthmus.model.handover import Member
from isthmus.model.names import NetworkId

FLOOD = ("00:00:00:00:00:00", "0.0.0.0")
"""Stands for everybody: the VTEP gets what is for all."""
NO_ADDRESS = "::"
"""Agents answer ARP for IPv4 addresses only: with this one a MAC is taken back, and no address."""
AGAIN = (0.5, 2.0, 5.0, 15.0)
"""Seconds until an agent is told again of an entry that changed: at these times, and no more."""
WHOLE = (2.0, 5.0, 15.0, 30.0, 60.0, 60.0, 60.0, 300.0)
"""Seconds until an agent is told everything again; the last one over and over.  One that starts with many ports takes
minutes until it listens."""

Entry: TypeAlias = tuple[str, str, str]
"""VTEP, MAC and IP address."""
Entries: TypeAlias = frozenset[Entry]
NOBODY: Entries = frozenset()
NEVER = float("inf")
KEEP_EVERY = 5.0
"""Seconds between two times that what was told is kept."""
Cast: TypeAlias = Callable[[str, str, Mapping[str, Any]], None]
"""Says (host, method, entries) to the agent on a host."""
Elsewhere: TypeAlias = Mapping[str, Collection[tuple[NetworkId, str]]]
"""The networks and MACs that were seen behind VTEPs that others tell of, by the VTEP whose look it was."""


@dataclass(slots=True)
class _Told:
    """What the agent on a host was told of a network, in its present life."""

    started_at: str
    entries: Entries = NOBODY
    lately: dict[Entry, tuple[int, float]] = field(default_factory=dict)
    """What came or went lately: how often it was said again, and when it is next."""
    whole_times: int = 0
    whole_at: float = 0.0

    def becomes(self, entries: Entries, now: float) -> tuple[Entries, Entries]:
        """What came, and what went."""
        came, went = entries - self.entries, self.entries - entries
        self.lately.update((entry, (0, now + AGAIN[0])) for entry in came | went)
        self.entries = entries
        return came, went

    def again(self, now: float) -> tuple[Entries, Entries]:
        """What it is time to say again: what came, and what went."""
        due = frozenset(entry for entry, (_, at) in self.lately.items() if now >= at)
        for entry in due:
            times = self.lately.pop(entry)[0] + 1
            if times < len(AGAIN):
                self.lately[entry] = times, now + AGAIN[times]
        return due & self.entries, due - self.entries

    def whole(self, now: float) -> Entries:
        """Everything, for the next time."""
        self.whole_at = now + WHOLE[min(self.whole_times, len(WHOLE) - 1)]
        self.whole_times += 1
        return self.entries

    @property
    def next_at(self) -> float:
        """When something is to be said again."""
        again_at = min((at for _, at in self.lately.values()), default=NEVER)
        return min(again_at, self.whole_at) if self.entries else again_at

    @property
    def is_nothing(self) -> bool:
        """There is nothing to be said any more."""
        return not (self.entries or self.lately)


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

    def announce(
        self,
        facts: Facts,
        members: Iterable[Member],
        now: float,
        unseen: Collection[str] = (),
        elsewhere: Elsewhere = MappingProxyType({}),
    ) -> None:
        """Say what is new, what is no longer so, and what it is time to say again.

        `unseen` are the VTEPs behind which nobody has looked yet.  `elsewhere` is who was seen behind none of ours.
        """
        before = {key: (told.started_at, told.entries) for key, told in self._told.items()}
        self._announce(facts, members, now, unseen, elsewhere)
        self._changed |= before != {key: (told.started_at, told.entries) for key, told in self._told.items()}
        if self._changed and now - self._kept_at >= KEEP_EVERY:
            self._kept_at, self._changed = now, False
            self.keep([[*key, told.started_at, sorted(told.entries)] for key, told in sorted(self._told.items())])

    def _announce(
        self, facts: Facts, members: Iterable[Member], now: float, unseen: Collection[str], elsewhere: Elsewhere
    ) -> None:
        entries = _by_network(members)
        started = {agent.host: agent.started_at for agent in facts.tunnelling}
        listeners = _listeners(facts, started)
        others = _Others(facts, elsewhere)
        for host, network in [key for key in self._told if key not in listeners]:
            self._say(facts, host, network, NOBODY, self._told.pop((host, network)).entries, others)
        for host, network in sorted(listeners):
            wanted, told = entries.get(network, NOBODY), self._told.get((host, network))
            if unseen and told is not None:
                wanted |= _not_looked_at(told.entries, wanted, unseen)
            if told is None or told.started_at != started[host]:
                told = _Told(started[host], wanted)
            came, went = told.becomes(wanted, now)
            more = told.again(now)
            came, went = came | more[0], went | more[1]
            if now >= told.whole_at and not told.is_nothing:
                came = told.whole(now)
            self._told[host, network] = told
            self._say(facts, host, network, came, went, others)
            if told.is_nothing:
                del self._told[host, network]

    def next_at(self) -> float | None:
        """When somebody is to be told again."""
        keep = [self._kept_at + KEEP_EVERY] if self._changed else []
        return min((*keep, *(told.next_at for told in self._told.values())), default=None)

    def _say(self, facts: Facts, host: str, network: NetworkId, came: Entries, went: Entries, others: _Others) -> None:
        """What is no longer so, and what is."""
        if network not in facts.networks:
            return
        told = self._told.get((host, network))
        here = {mac for _, mac, _ in (told.entries if told is not None else NOBODY) if mac != FLOOD[0]}
        gone = others.spared(network, (entry for entry in went if entry[1] not in here))
        for method, entries in (("remove_fdb_entries", gone), ("add_fdb_entries", came)):
            if entries:
                self.cast(host, method, _message(facts, network, entries))


@dataclass(frozen=True, slots=True)
class _Others:
    """What is not to be taken back from an agent, since it is another's by now.

    To an agent a MAC is in one place, and an address is one MAC's: a removal takes what is there, whatever it names.
    """

    facts: Facts
    elsewhere: Elsewhere
    _known: dict[NetworkId, tuple[set[str], dict[str, set[str]]]] = field(default_factory=dict)
    """Of the networks that something went from: there are many ports, and mostly nothing goes."""

    def spared(self, network: NetworkId, went: Iterable[Entry]) -> Entries:
        """What may be said of those that went."""
        gone = [entry for entry in went if (network, entry[1]) not in self.elsewhere.get(entry[0], ())]
        if not gone:
            return NOBODY
        if network not in self._known:
            self._known[network] = _behind_agents(self.facts, network), _owners(self.facts, network)
        behind_agents, owners = self._known[network]
        return frozenset(
            (vtep, mac, NO_ADDRESS if owners.get(address, set()) - {mac} else address)
            for vtep, mac, address in gone
            if mac not in behind_agents
        )


def _not_looked_at(told: Entries, seen: Entries, unseen: Collection[str]) -> Entries:
    """What was told of VTEPs that are unseen yet, but of who was seen elsewhere."""
    elsewhere = {mac for _, mac, _ in seen if mac != FLOOD[0]}
    return frozenset(entry for entry in told if entry[0] in unseen and entry[1] not in elsewhere)


def _behind_agents(facts: Facts, network: NetworkId) -> set[str]:
    """The MACs that Neutron has behind VTEPs of its own agents."""
    vteps = {agent.host for agent in facts.tunnelling}
    return {
        port.mac
        for port in facts.ports
        if port.network == network
        for binding in port.bindings
        if binding.active and binding.host in vteps and facts.tunnelled(port, binding)
    }


def _owners(facts: Facts, network: NetworkId) -> dict[str, set[str]]:
    """The MACs that Neutron gave each address to."""
    found: dict[str, set[str]] = {}
    for port in facts.ports:
        for address in port.addresses if port.network == network else ():
            found.setdefault(address, set()).add(port.mac)
    return found


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
