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
from isthmus.model.names import DvsId, HostId, NetworkId, PortId
from isthmus.model.tags import Vni

LINGER = 45.0
"""Seconds that a segment is unused before it is retired, or a port unbound before it is bound: twice the longest
`port_group_wait`, so longer than binding takes."""
WORN = "something that is no network of Neutron's wears it"
FIRST_AGAIN, LONGEST_AGAIN = 5.0, 300.0
"""Seconds until something that failed in Neutron is tried again: at first, and after many times."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A nova-compute host: its mapping domain, its switch, and the NVEs and ESXi hosts that its VMs may be on.

    `overlaid`: those have VTEPs of their own, and `domain` is the deployment.  `plugged`: Neutron's own agent says when
    a port of it is wired, and when not.
    """

    domain: str
    dvs: DvsId
    nves: frozenset[str]
    hosts: frozenset[HostId] = frozenset()
    overlaid: bool = False
    plugged: bool = False


@dataclass(frozen=True, slots=True)
class Errands:
    """What to ask of Neutron's drivers; nothing in it depends on anything else in it."""

    ready: tuple[Mapping[str, str], ...] = ()
    down: tuple[Mapping[str, str], ...] = ()
    rebind: tuple[str, ...] = ()
    correct: tuple[Mapping[str, str], ...] = ()
    allocate: tuple[tuple[NetworkId, str], ...] = ()
    retire: tuple[tuple[str, str], ...] = ()
    release: tuple[tuple[str, str], ...] = ()
    """Both: segments, each with the mark that it was seen to have."""
    hold: tuple[tuple[str, int, str], ...] = ()
    """VLANs, each with the reason."""
    free: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class Memory:
    """Since when things are as they are, and when what failed is tried again; of what is gone nothing is kept."""

    unused_since: dict[tuple[str, str], float] = field(default_factory=dict)
    retiring_since: dict[tuple[str, str], float] = field(default_factory=dict)
    unbound_since: dict[str, float] = field(default_factory=dict)
    held_since: dict[tuple[str, int], float] = field(default_factory=dict)
    again_at: dict[str, float] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    tried_at: dict[str, float] = field(default_factory=dict)
    """When what failed was tried last."""
    failed_alone: set[str] = field(default_factory=set)
    """What failed when nothing else was asked for with it."""
    left_over: set[str] = field(default_factory=set)
    """What was not had when it was asked for, or there was no time for: due again without any news."""

    def due(self, what: str, now: float) -> bool:
        """Whether it is time to try; if so, the next time is later."""
        if kind_of(what) in self.busy or now < self.again_at.get(what, 0.0):
            return False
        wait = self.waits[what] = min(LONGEST_AGAIN, 2 * self.waits.get(what, FIRST_AGAIN / 2))
        self.again_at[what] = now + wait
        self.left_over.discard(what)
        return True

    def begun(self, kind: str) -> None:
        """Some of a kind are under way, which takes long: until they ended nothing of that kind is due."""
        self.busy.add(kind)

    def ended(self, kind: str, items: Iterable[object], now: float, *, tried: bool = True) -> None:
        """They did.  What it was not enough for waits from now on; what could not be tried waits as if never tried."""
        self.busy.discard(kind)
        for what in (key_of(kind, item) for item in items):
            if not tried:
                self.waits.pop(what, None)
            else:
                self.tried_at[what] = now
            self.again_at[what] = now + self.waits.setdefault(what, FIRST_AGAIN)
            self.left_over.add(what)

    def answered(self, kind: str, items: Iterable[object]) -> None:
        """They were had: if they are wanted again it is as if they had never failed."""
        for what in (key_of(kind, item) for item in items):
            self.tried_at.pop(what, None)
            self.failed_alone.discard(what)

    def postponed(self, kind: str, items: Iterable[object], until: float) -> None:
        """There was no time for them: they are due then, and wait no longer after their next try for that."""
        for what in (key_of(kind, item) for item in items):
            if self.waits.get(what, 0.0) > FIRST_AGAIN:
                self.waits[what] /= 2
            else:
                self.waits.pop(what, None)
            self.again_at[what] = until
            self.left_over.add(what)

    def next_at(self, now: float) -> float | None:
        """When there may be something to do without any news; `now` for what there was no time for till then.

        Of the rest, what is past was done, and waits for news.
        """
        lingering = (since + LINGER for since in (*self.unused_since.values(), *self.unbound_since.values()))
        known = (at for what, at in self.again_at.items() if what not in self.left_over)
        left = [self.again_at[what] for what in self.left_over & self.again_at.keys() if kind_of(what) not in self.busy]
        return min((*(max(at, now) for at in left), *(at for at in (*known, *lingering) if at > now)), default=None)

    def forget_tries(self) -> None:
        """Nothing could be tried: all of it is due."""
        self.again_at.clear()
        self.waits.clear()
        self.tried_at.clear()
        self.failed_alone.clear()
        self.left_over.clear()

    def keep_only(
        self,
        tried: set[str],
        unused: set[tuple[str, str]],
        retiring: set[tuple[str, str]],
        unbound: set[str],
        held: set[tuple[str, int]],
    ) -> None:
        """Forget what succeeded or is gone.  Of what is under way nobody knows yet."""
        self.again_at = {key: at for key, at in self.again_at.items() if key in tried or kind_of(key) in self.busy}
        self.waits = {key: wait for key, wait in self.waits.items() if key in self.again_at}
        self.tried_at = {key: at for key, at in self.tried_at.items() if key in self.again_at}
        self.failed_alone &= self.again_at.keys()
        self.left_over &= self.again_at.keys()
        self.unused_since = {key: since for key, since in self.unused_since.items() if key in unused}
        self.retiring_since = {key: since for key, since in self.retiring_since.items() if key in retiring}
        self.unbound_since = {key: since for key, since in self.unbound_since.items() if key in unbound}
        self.held_since = {key: since for key, since in self.held_since.items() if key in held}


def errands(
    facts: Facts,
    seen: Mapping[str, Handover],
    clusters: Mapping[str, Cluster],
    attached: Mapping[str, str],
    static: frozenset[str],
    memory: Memory,
    now: float,
) -> Errands:
    """What is to be done.

    `seen` is what stands ready in each mapping domain that this process keeps and has looked at; `clusters` are the
    nova-compute hosts by name; `attached` gives the domain of each machine below a leaf that is no ESXi host; in the
    domains of `static` every network has a VLAN.
    """
    ports = _Ports(facts, seen, clusters, attached, memory, now)
    ports.look()
    lacking = list(_lacking(facts, seen, static)) if facts.fabric else []
    idle = [s for s in facts.segments if _is_idle(s, seen, static, ports.hoped_for)] if facts.fabric else []
    for segment in idle:
        (memory.retiring_since if segment.retiring else memory.unused_since).setdefault((segment.id, segment.mark), now)
    held = [vlan for vlan in facts.held if vlan[0] in seen] if facts.fabric else []
    for vlan in held:
        memory.held_since.setdefault(vlan, now)
    free = [(d, vid) for d, vid in held if seen[d].at > memory.held_since[d, vid] and seen[d].is_fit(vid)]
    unused = [(s.id, s.mark) for s in idle if not s.retiring]
    retire = [key for key in unused if now - memory.unused_since[key] >= LINGER]
    release = [(s.id, s.mark) for s in idle if s.retiring and _is_gone(s, facts, seen[s.domain], memory)]
    wanted: dict[str, list[Any]] = {
        "ready": ports.ready,
        "down": ports.down,
        "rebind": ports.failed,
        "correct": ports.wrong,
        "allocate": lacking,
        "retire": retire,
        "release": release,
        "hold": list(_not_to_be_had(facts, seen)) if facts.fabric else [],
        "free": free,
    }
    memory.keep_only(
        {key_of(what, item) for what, items in wanted.items() for item in items},
        set(unused),
        {(segment.id, segment.mark) for segment in idle if segment.retiring},
        ports.unbound,
        set(held),
    )
    # What was asked for shows in the facts when they are read anew; till then it is not asked for again.
    return Errands(
        **{what: tuple(item for item in items if memory.due(key_of(what, item), now)) for what, items in wanted.items()}
    )


@dataclass(slots=True)
class _Ports:
    """What Neutron's ports on our hosts need."""

    facts: Facts
    seen: Mapping[str, Handover]
    clusters: Mapping[str, Cluster]
    attached: Mapping[str, str]
    memory: Memory
    now: float
    ready: list[Mapping[str, str]] = field(default_factory=list)
    down: list[Mapping[str, str]] = field(default_factory=list)
    wrong: list[Mapping[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unbound: set[str] = field(default_factory=set)
    hoped_for: set[tuple[NetworkId, str]] = field(default_factory=set)
    """Networks that a port which is not bound is to have, and where."""

    def look(self) -> None:
        segments = {segment.id: segment for segment in self.facts.segments}
        for port in self.facts.ports:
            for binding in port.bindings:
                cluster = self.clusters.get(binding.host)
                domain = self.attached.get(binding.host) if cluster is None else cluster.domain
                if domain not in self.seen or domain is None:
                    continue
                if binding.failed or binding.unbound:
                    self._not_bound(port, binding, cluster, domain)
                elif cluster is not None:
                    self._bound(port, binding, cluster, segments)

    def _not_bound(self, port: NeutronPort, binding: Binding, cluster: Cluster | None, domain: str) -> None:
        if not binding.active or (cluster is not None and not port.is_vm):
            return
        self.hoped_for.add((port.network, domain))
        if binding.unbound:
            self.unbound.add(port.id)
            if self.now - self.memory.unbound_since.setdefault(port.id, self.now) < LINGER:
                return
        # A machine's own port is bound by a stock driver, which waits for no port group.
        if cluster is None or self._may_be_bound(port, cluster):
            self.failed.append(port.id)

    def _may_be_bound(self, port: NeutronPort, cluster: Cluster) -> bool:
        """Neutron would be given a port group now, or has to find a VLAN first."""
        if cluster.overlaid:
            return (port.network, cluster.dvs) in self.seen[cluster.domain].groups
        vids = {
            s.vid for s in self.facts.segments if (s.network, s.domain) == (port.network, cluster.domain) and s.wanted
        }
        group = self.seen[cluster.domain].groups.get((port.network, cluster.dvs))
        return not vids or (group is not None and group.vid in vids)

    def _bound(self, port: NeutronPort, binding: Binding, cluster: Cluster, segments: Mapping[str, Segment]) -> None:
        group = self._group_of(port, binding, cluster, segments)
        if group is None:
            return
        if (binding.dvs_id, binding.pg_id) != (cluster.dvs, group.key):
            right = {"id": port.id, "host": binding.host, "dvs_id": str(cluster.dvs), "pg_id": group.key}
            self.wrong.append(right)
        elif binding.active and (not cluster.plugged or _is_moving(port)):
            # An agent says nothing of a port that is about to be moved away, and Nova waits for a word before it goes.
            wired = self.seen[cluster.domain].wired
            works = PortId(port.id) in wired if wired is not None else cluster.nves <= group.mapped_at
            here = {"id": port.id, "host": binding.host, "segment": binding.segments[-1]}
            if works and _waits_for_us(port):
                self.ready.append(here)
            elif wired is not None and not works and port.status == "ACTIVE" and not cluster.plugged:
                self.down.append(here)

    def _group_of(
        self, port: NeutronPort, binding: Binding, cluster: Cluster, segments: Mapping[str, Segment]
    ) -> StandingGroup | None:
        """The port group that a binding of ours is to: there, and with the VID that Neutron gave, if it gives any."""
        if not binding.ours or not binding.segments:
            return None
        group = self.seen[cluster.domain].groups.get((port.network, cluster.dvs))
        if cluster.overlaid:
            return group
        bottom = segments.get(binding.segments[-1])
        if bottom is None or group is None or bottom.domain != cluster.domain or group.vid != bottom.vid:
            return None
        return group


def _is_moving(port: NeutronPort) -> bool:
    """It is prepared for a live migration, or just migrated."""
    return any(not binding.active for binding in port.bindings)


def _waits_for_us(port: NeutronPort) -> bool:
    return port.status != "ACTIVE" and port.admin_up and not port.awaits_others


def _not_to_be_had(facts: Facts, seen: Mapping[str, Handover]) -> Iterator[tuple[str, int, str]]:
    """VLANs that Neutron might give to a network, worn by what it does not know, or not taken by an NVE, and why."""
    known = {(segment.domain, segment.vid) for segment in facts.segments} | set(facts.held)
    for domain in sorted(seen.keys() & facts.domains.keys()):
        here = seen[domain]
        for vid in sorted(here.vids | here.unfit.keys()):
            if vid in facts.domains[domain] and (domain, vid) not in known:
                refused = f"nothing wears it, and {here.unfit.get(vid)} does not take it now ('isthmus check' says why)"
                yield domain, vid, WORN if vid in here.vids else refused


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
    return gone and seen.at > memory.retiring_since[segment.id, segment.mark]


def key_of(kind: str, item: object) -> str:
    """What an errand is remembered by."""
    return f"{kind} {item}"


def kind_of(key: str) -> str:
    return key.partition(" ")[0]
