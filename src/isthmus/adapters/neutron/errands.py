"""What is to be done in Neutron, given what it has and what stands ready: a thought, remembering only moments.

Law: Neutron is told that something is in place only when it was seen to be, and gets a VLAN back only when everything
that could wear it was seen and nothing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from isthmus.adapters.neutron.facts import Binding, Facts, NeutronPort, Segment
from isthmus.model.handover import Handover, StandingGroup
from isthmus.model.names import DvsId, HostId, NetworkId
from isthmus.model.tags import Vni

LINGER = 45.0
"""Seconds that a segment is unused before it is retired, or a port unbound before it is bound: twice the longest
`port_group_wait`, so longer than binding takes."""
FIRST_AGAIN, LONGEST_AGAIN = 5.0, 300.0
"""Seconds until something that failed in Neutron is tried again: at first, and after many times."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A nova-compute host: its mapping domain, its switch, and the NVEs and ESXi hosts that its VMs may be on."""

    domain: str
    dvs: DvsId
    nves: frozenset[str]
    hosts: frozenset[HostId] = frozenset()


@dataclass(frozen=True, slots=True)
class Errands:
    """What to ask of Neutron's drivers; nothing in it depends on anything else in it."""

    ready: tuple[Mapping[str, str], ...] = ()
    rebind: tuple[str, ...] = ()
    correct: tuple[Mapping[str, str], ...] = ()
    allocate: tuple[tuple[NetworkId, str], ...] = ()
    retire: tuple[str, ...] = ()
    release: tuple[tuple[str, str], ...] = ()
    """Segments, each with the retirement that was looked after."""
    hold: tuple[tuple[str, int], ...] = ()
    free: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class Memory:
    """Since when things are as they are, and when what failed is tried again; of what is gone nothing is kept."""

    unused_since: dict[str, float] = field(default_factory=dict)
    retiring_since: dict[tuple[str, str], float] = field(default_factory=dict)
    unbound_since: dict[str, float] = field(default_factory=dict)
    held_since: dict[tuple[str, int], float] = field(default_factory=dict)
    again_at: dict[str, float] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)

    def due(self, what: str, now: float) -> bool:
        """Whether it is time to try; if so, the next time is later."""
        if now < self.again_at.get(what, 0.0):
            return False
        wait = self.waits[what] = min(LONGEST_AGAIN, 2 * self.waits.get(what, FIRST_AGAIN / 2))
        self.again_at[what] = now + wait
        return True

    def next_at(self, now: float) -> float | None:
        """When there may be something to do without any news.  What is past was tried, or waits for news."""
        lingering = (since + LINGER for since in (*self.unused_since.values(), *self.unbound_since.values()))
        return min((at for at in (*self.again_at.values(), *lingering) if at > now), default=None)

    def keep_only(
        self,
        tried: set[str],
        unused: set[str],
        retiring: set[tuple[str, str]],
        unbound: set[str],
        held: set[tuple[str, int]],
    ) -> None:
        """Forget what succeeded or is gone."""
        self.again_at = {key: at for key, at in self.again_at.items() if key in tried}
        self.waits = {key: wait for key, wait in self.waits.items() if key in tried}
        self.unused_since = {key: since for key, since in self.unused_since.items() if key in unused}
        self.retiring_since = {key: since for key, since in self.retiring_since.items() if key in retiring}
        self.unbound_since = {key: since for key, since in self.unbound_since.items() if key in unbound}
        self.held_since = {key: since for key, since in self.held_since.items() if key in held}


def errands(
    facts: Facts,
    seen: Mapping[str, Handover],
    clusters: Mapping[str, Cluster],
    static: frozenset[str],
    memory: Memory,
    now: float,
) -> Errands:
    """What is to be done.

    `seen` is what stands ready in each mapping domain that this process keeps and has looked at; `clusters` are the
    nova-compute hosts by name; in the domains of `static` every network has a VLAN.
    """
    segments = {segment.id: segment for segment in facts.segments}
    ready: list[Mapping[str, str]] = []
    correct: list[Mapping[str, str]] = []
    failed: list[str] = []
    unbound: set[str] = set()
    hoped_for: set[tuple[NetworkId, str]] = set()
    for port in facts.ports:
        for binding in port.bindings:
            cluster = clusters.get(binding.host)
            if cluster is None or cluster.domain not in seen:
                continue
            if binding.failed or binding.unbound:
                if port.is_vm and binding.active:
                    hoped_for.add((port.network, cluster.domain))
                    if binding.unbound:
                        unbound.add(port.id)
                    waited = not binding.unbound or now - memory.unbound_since.setdefault(port.id, now) >= LINGER
                    if waited and _may_be_bound(port, cluster, seen[cluster.domain], facts.segments):
                        failed.append(port.id)
                continue
            group = _group_of(port, binding, cluster, seen[cluster.domain], segments)
            if group is None:
                continue
            if (binding.dvs_id, binding.pg_id) != (cluster.dvs, group.key):
                found = {"id": port.id, "host": binding.host, "dvs_id": str(cluster.dvs), "pg_id": group.key}
                correct.append(found)
            elif binding.active and _waits_for_us(port) and cluster.nves <= group.mapped_at:
                ready.append({"id": port.id, "host": binding.host, "segment": binding.segments[-1]})
    lacking = list(_lacking(facts, seen, static)) if facts.fabric else []
    idle = [s for s in facts.segments if _is_idle(s, seen, static, hoped_for)] if facts.fabric else []
    for segment in idle:
        if segment.retiring:
            memory.retiring_since.setdefault((segment.id, segment.retiring), now)
        else:
            memory.unused_since.setdefault(segment.id, now)
    held = [vlan for vlan in facts.held if vlan[0] in seen] if facts.fabric else []
    for vlan in held:
        memory.held_since.setdefault(vlan, now)
    free = [(d, vid) for d, vid in held if seen[d].at > memory.held_since[d, vid] and seen[d].is_free(vid)]
    retire = [s.id for s in idle if not s.retiring and now - memory.unused_since.get(s.id, now) >= LINGER]
    release = [(s.id, s.retiring) for s in idle if s.retiring and _is_gone(s, facts, seen[s.domain], memory)]
    wanted: dict[str, list[Any]] = {
        "ready": ready, "rebind": failed, "correct": correct, "allocate": lacking, "retire": retire, "release": release,
        "hold": list(_worn_by_others(facts, seen)) if facts.fabric else [],
        "free": free,
    }  # fmt: skip
    memory.keep_only(
        {_key(what, item) for what, items in wanted.items() for item in items},
        {segment.id for segment in idle if not segment.retiring},
        {(segment.id, segment.retiring) for segment in idle if segment.retiring},
        unbound,
        set(held),
    )
    # What was asked for shows in the facts when they are read anew; till then it is not asked for again.
    return Errands(
        **{what: tuple(item for item in items if memory.due(_key(what, item), now)) for what, items in wanted.items()}
    )


def _may_be_bound(port: NeutronPort, cluster: Cluster, seen: Handover, segments: Iterable[Segment]) -> bool:
    """Neutron would be given a port group now, or has to find a VLAN first."""
    vids = {s.vid for s in segments if s.network == port.network and s.domain == cluster.domain}
    group = seen.groups.get((port.network, cluster.dvs))
    return not vids or (group is not None and group.vid in vids)


def _waits_for_us(port: NeutronPort) -> bool:
    return port.status != "ACTIVE" and port.admin_up and not port.awaits_others


def _group_of(
    port: NeutronPort, binding: Binding, cluster: Cluster, seen: Handover, segments: Mapping[str, Segment]
) -> StandingGroup | None:
    """The port group that a binding of ours is to: there, and with the VID that Neutron gave."""
    bottom = segments.get(binding.segments[-1]) if binding.ours and binding.segments else None
    group = seen.groups.get((port.network, cluster.dvs))
    if bottom is None or group is None or bottom.domain != cluster.domain or group.vid != bottom.vid:
        return None
    return group


def _worn_by_others(facts: Facts, seen: Mapping[str, Handover]) -> Iterator[tuple[str, int]]:
    """VLANs that something wears of which Neutron does not know, and which it might give to a network."""
    known = {(segment.domain, segment.vid) for segment in facts.segments} | set(facts.held)
    for domain in sorted(seen.keys() & facts.domains.keys()):
        yield from ((domain, vid) for vid in sorted(seen[domain].vids) if (domain, vid) not in known)


def _lacking(facts: Facts, seen: Mapping[str, Handover], static: frozenset[str]) -> Iterator[tuple[NetworkId, str]]:
    """Networks without a VLAN in a domain in which every network has one."""
    have = {(segment.network, segment.domain) for segment in facts.segments if segment.wanted}
    for domain in sorted(static & seen.keys() & facts.domains.keys()):
        yield from ((network, domain) for network in sorted(facts.networks) if (network, domain) not in have)


def _is_idle(
    segment: Segment, seen: Mapping[str, Handover], static: frozenset[str], hoped_for: set[tuple[NetworkId, str]]
) -> bool:
    """Nothing refers to it, and no port that could not be bound yet waits for what it stands for."""
    if not segment.dynamic or segment.used or (segment.network, segment.domain) in hoped_for:
        return False
    return segment.domain in seen and segment.domain not in static


def _is_gone(segment: Segment, facts: Facts, seen: Handover, memory: Memory) -> bool:
    """Nothing wears its VLAN any more: seen in a look that is younger than the segment's retirement."""
    if segment.network not in facts.networks:
        return False
    gone = not seen.wears(Vni(facts.networks[segment.network].vni)) and seen.is_free(segment.vid)
    return gone and seen.at > memory.retiring_since[segment.id, segment.retiring]


def _key(what: str, item: object) -> str:
    return f"{what} {item}"
