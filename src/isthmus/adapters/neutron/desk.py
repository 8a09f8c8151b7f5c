"""Where Neutron and the loop meet: port groups are asked for here, and what is done is told to Neutron from here.

Law: nothing here writes to vCenter or a leaf, and the loop waits for nobody here.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import oslo_messaging

from isthmus.adapters.neutron.bus import Bus
from isthmus.adapters.neutron.delivery import Delivery
from isthmus.adapters.neutron.errands import Cluster, Errands, Memory, errands
from isthmus.adapters.neutron.facts import Facts
from isthmus.adapters.neutron.fdb import Announcer
from isthmus.adapters.neutron.intent import NeutronIntent
from isthmus.adapters.neutron.presence import Appliance, Presence
from isthmus.adapters.neutron.protocol import (
    ATTACHED,
    CLUSTER,
    KEPT,
    L2POP_TOPIC,
    OBSERVED,
    OVERLAID,
    PAUSED,
    PLUGGED,
    PLUGIN_TOPIC,
    REPORTS_TOPIC,
    VERSION,
    domain_topic,
)
from isthmus.adapters.neutron.tenure import Leaving
from isthmus.model.boundary import Wake
from isthmus.model.faults import Refused, Retry
from isthmus.model.handover import Handover, StandingGroup
from isthmus.model.names import Mac, NetworkId

log = logging.getLogger("isthmus")
REPORT_EVERY = 30.0
"""Seconds between two reports of a host: Neutron takes it for dead after 75."""
SOON = 0.1
"""Seconds between two thoughts of what to ask of Neutron: looks are gathered meanwhile."""
LONGEST_WAIT = 20.0
"""Seconds: the longest `port_group_wait`."""
AFTER_A_FAULT = 2.0
"""Seconds until Neutron is spoken to again when it could not be."""
Work: TypeAlias = Callable[[Facts, Mapping[str, Handover]], None]


@dataclass(slots=True)
class _Board:
    """What was last seen in each domain, and who waits for it."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    seen: dict[str, Handover] = field(default_factory=dict)
    clusters: dict[str, Mapping[str, Cluster]] = field(default_factory=dict)
    handed_back: set[str] = field(default_factory=set)
    """Domains that are not looked at any more: what was seen there last goes on, and nothing is added to it."""
    refused: dict[str, str] = field(default_factory=dict)
    """Domains that cannot be looked at before an operator has decided something, and why: the same holds for them."""
    appliances: dict[str, tuple[Appliance, Callable[[], bool]]] = field(default_factory=dict)
    """Those that answered when they were looked at last, by host, and whether anybody looks at them still."""
    looks: int = 0

    unkept: Callable[[str], str] = lambda domain: ""
    """Why nobody keeps a domain that should be kept; empty if somebody does."""

    def why_unlooked(self, domain: str) -> str:
        """Why a domain is not looked at; empty if it is."""
        if domain in self.handed_back:
            return "was handed back ('isthmus release'), until 'isthmus resume'"
        why = self.refused.get(domain) or self.unkept(domain)
        return f"cannot be looked at: {why}" if why else ""

    def looks_again(self, domain: str) -> None:
        """A domain is looked at."""
        self.handed_back.discard(domain)
        self.refused.pop(domain, None)


class Desk:
    """Answers Neutron's drivers and runs errands to them."""

    def __init__(
        self,
        bus: Bus,
        source: NeutronIntent,
        static: frozenset[str],
        attached: Mapping[str, str],
        clock: Callable[[], float],
        standing: Callable[[str], str] = lambda domain: KEPT,
        vteps: Mapping[str, frozenset[str]] = MappingProxyType({}),
        keep: Callable[[list[Any]], None] = lambda rows: None,
        unkept: Callable[[str], str] = lambda domain: "",
    ) -> None:
        """`static`: the domains in which every network has a VLAN.  `attached`: the domain of each machine that is
        below a leaf and no ESXi host.  `clock` is the loop's.  `standing` says how a domain's deployment stands.
        `vteps` are those of each domain that is kept here; `keep` is told what to `recall` after a restart.
        `unkept` says why nobody keeps a domain that should be kept: then its hosts are not reported."""
        self._bus = bus
        self._source = source
        self._static = static
        self._attached = attached
        self._clock = clock
        self._standing_of = standing
        self._board = _Board(unkept=unkept)
        self._memory = Memory()
        self._vteps = vteps
        self._announcer = Announcer(self._tell, keep)
        self._wake: Wake = lambda hosts: None
        self._stopping = threading.Event()
        self._delivery = Delivery(bus, self._memory, self._show, self._look_again, clock)
        self._confirmed: Leaving = frozenset()

    # --- the loop's side ------------------------------------------------------------------------------------------

    def saw(self, domain: str, handover: Handover, clusters: Mapping[str, Cluster]) -> None:
        """A look at a domain, and at the switches of its nova-compute hosts, by who writes its port groups."""
        with self._board.changed:
            before = self._board.seen.get(domain)
            if before is not None and handover.wired is not None and before.at > handover.at:
                # Somebody looked at the ports since.
                handover = _of_ports(handover, before)
            self._board.seen[domain] = handover
            self._board.clusters[domain] = clusters
            self._board.looks_again(domain)
            self._looked()

    def saw_ports(self, domain: str, handover: Handover) -> None:
        """A look at a switch by who writes its ports only: what it saw of port groups may be about to go."""
        with self._board.changed:
            before = self._board.seen.get(domain)
            if before is not None and handover.at >= before.at:
                self._board.seen[domain] = _of_ports(before, handover)
                self._looked()

    def _looked(self) -> None:
        self._board.looks += 1
        self._board.changed.notify_all()

    def answers(self, host: str, vtep: str, is_kept: Callable[[], bool] = lambda: True) -> None:
        """An ESXi host's appliance was read; it is reported while it `is_kept`."""
        self._board.appliances[host] = Appliance(host, vtep), is_kept

    def is_silent(self, host: str) -> None:
        """An ESXi host's appliance could not be read: it is not reported until it can."""
        self._board.appliances.pop(host, None)

    def hands_back(self, domain: str, clusters: Mapping[str, Cluster]) -> None:
        """A domain is no longer ours to promise anything of, until the next look.  Its hosts go on being reported."""
        with self._board.changed:
            self._board.handed_back.add(domain)
            self._board.clusters[domain] = clusters
            self._board.changed.notify_all()

    def cannot_look(self, domain: str, reason: str) -> None:
        """An operator must decide before a domain is looked at again: what was seen there may be gone."""
        with self._board.changed:
            self._board.refused[domain] = reason
            self._board.changed.notify_all()

    def looks_again(self, domain: str) -> None:
        """A domain can be looked at, though nothing of it could be seen now: what was there before may be gone."""
        with self._board.changed:
            if self._board.why_unlooked(domain):
                self._board.seen.pop(domain, None)
            self._board.looks_again(domain)

    def observes(self, domain: str, clusters: Mapping[str, Cluster]) -> None:
        """A domain is looked at, and nothing is done there."""
        self._board.clusters[domain] = clusters

    def recall(self, rows: Iterable[Any], ours: Collection[str]) -> None:
        """What stock agents were told in an earlier life of this process.  `ours`: the VTEPs of domains still ours."""
        self._announcer.recall(rows, ours)

    @property
    def seen(self) -> Mapping[str, Handover]:
        """What was last seen, by domain."""
        return dict(self._board.seen)

    @property
    def unlooked(self) -> Mapping[str, str]:
        """The domains that are not looked at any more, and why."""
        domains = (*self._board.handed_back, *self._board.refused, *self._board.clusters)
        return {domain: why for domain in domains if (why := self._board.why_unlooked(domain))}

    def open(self, domains: frozenset[str], wake: Wake) -> None:
        """Begin to answer, to report hosts and to run errands, on threads of its own."""
        self._wake = wake
        me = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        for domain in sorted(domains):
            self._bus.serve(domain_topic(domain), me, [_Endpoint(self, domain)])
        works: dict[str, Callable[[], None]] = {
            "reports": self._report,
            "errands": lambda: self._after_each_look(self._run_errands, lambda: self._memory.next_at(self._clock())),
            "announcements": lambda: self._after_each_look(self._announce, self._announcer.next_at),
        }
        for name, work in works.items():
            threading.Thread(target=work, name=f"neutron-{name}", daemon=True).start()

    def close(self) -> None:
        """No more errands."""
        self._stopping.set()
        with self._board.changed:
            self._board.changed.notify_all()

    # --- Neutron's side -------------------------------------------------------------------------------------------

    def port_group(
        self,
        domain: str,
        host: str,
        network: NetworkId,
        vid: int | None,
        seconds: float,
        wait: float | None = None,
    ) -> dict[str, str]:
        """The port group of a network for a host, waited for; or the reason why there is none yet.  `vid`: its VID.

        It is waited for `wait` seconds in all; these `seconds` are what is left of them.
        """
        answer = self._answer(domain, host, network, vid, seconds, seconds if wait is None else wait)
        if "reason" in answer:
            self._source.reasons[network, host] = answer["reason"]
            self._source.changed()
        elif self._source.reasons.pop((network, host), None) is not None:
            self._source.changed()
        return answer

    def _answer(
        self, domain: str, host: str, network: NetworkId, vid: int | None, seconds: float, wait: float
    ) -> dict[str, str]:
        if self._board.why_unlooked(domain):
            return {"reason": self._why(domain, network, wait)}
        end = time.monotonic() + seconds
        self._wait_for_a_look(domain, end)
        cluster = self._clusters().get(host)
        if cluster is None or cluster.domain != domain:
            if domain not in self._board.clusters:
                return {"reason": self._why(domain, network, wait)}
            return {"reason": f"host '{host}' is no cluster of '{domain}' that is found in vCenter"}
        found = self._standing(cluster, network, vid)
        if found is None:
            self._source.changed()
            self._wake(cluster.hosts or None)
        with self._board.changed:
            while (found := self._standing(cluster, network, vid)) is None:
                left = end - time.monotonic()
                if left <= 0 or self._board.why_unlooked(domain) or self._stopping.is_set():
                    return {"reason": self._why(domain, network, wait)}
                self._board.changed.wait(left)
        return found

    def _wait_for_a_look(self, domain: str, end: float) -> None:
        """Neutron may ask as soon as we serve, and before that which clusters there are is not known."""
        with self._board.changed:
            while domain not in self._board.clusters and not self._board.why_unlooked(domain):
                left = end - time.monotonic()
                if left <= 0 or self._stopping.is_set():
                    return
                self._board.changed.wait(left)

    def _clusters(self) -> dict[str, Cluster]:
        return {host: cluster for some in list(self._board.clusters.values()) for host, cluster in some.items()}

    def _standing(self, cluster: Cluster, network: NetworkId, vid: int | None) -> dict[str, str] | None:
        if self._board.why_unlooked(cluster.domain):
            return None
        seen = self._board.seen.get(cluster.domain)
        group = seen.groups.get((network, cluster.dvs)) if seen is not None else None
        if seen is None or group is None or group.vid != vid or not self._stays(cluster.domain, seen, group):
            return None
        return {"dvs_id": str(cluster.dvs), "pg_id": group.key}

    def _stays(self, domain: str, seen: Handover, group: StandingGroup) -> bool:
        """A port group that was seen is not about to go."""
        return self._source.tenure.holds(domain, group.network, group.vid, seen.reading)

    def _staying(self, domain: str, seen: Handover) -> Handover:
        groups = {key: group for key, group in seen.groups.items() if self._stays(domain, seen, group)}
        return replace(seen, groups=groups)

    def _why(self, domain: str, network: NetworkId, seconds: float) -> str:
        if why := self._board.why_unlooked(domain):
            return f"mapping domain '{domain}' {why}"
        seen = self._board.seen.get(domain)
        if seen is None:
            return f"isthmus could not look at mapping domain '{domain}' yet: see 'isthmus show conditions'"
        if why := seen.why(network):
            return why
        paused = ", since its shard is paused, until 'isthmus resume'" if self._standing_of(domain) == PAUSED else ""
        blind = "" if seen.whole else ", and not all of it can be seen: see 'isthmus show conditions'"
        return f"its port group was not there within {seconds:.0f} s{paused}{blind}"

    # --- threads --------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        due: dict[Presence | Appliance, float] = {}
        while not self._stopping.wait(1.0):
            with self._bugs_end_here("reports"):
                self._report_those(due)

    @contextmanager
    def _bugs_end_here(self, what: str) -> Iterator[None]:
        """A bug in one pass is told, and does not end the next ones, which wait a while."""
        try:
            yield
        except Exception as bug:
            log.exception("neutron: %s: a bug: %r", what, bug)
            self._stopping.wait(AFTER_A_FAULT)

    def _report_those(self, due: dict[Presence | Appliance, float]) -> None:
        present = self._presences()
        for gone in due.keys() - set(present):
            del due[gone]
        for presence in present:
            try:
                if self._clock() >= due.get(presence, 0.0):
                    starts = presence not in due
                    self._bus.call(REPORTS_TOPIC, "report_state", **presence.report(start=starts))
                    due[presence] = self._clock() + REPORT_EVERY
                    if starts and isinstance(presence, Appliance):
                        self._bus.call(PLUGIN_TOPIC, "tunnel_sync", **presence.tunnel)
            except (Retry, Refused) as fault:
                log.debug("host %s could not be reported to Neutron: %s", presence.host, fault)
                return

    def _presences(self) -> list[Presence | Appliance]:
        """Who is reported, if he is kept.  A host that we only observe is another's to report, if another keeps it."""
        clusters = sorted(self._clusters().items())
        kinds = [(host, found.domain, _kind(found)) for host, found in clusters]
        kinds += [(host, domain, ATTACHED) for host, domain in sorted(self._attached.items())]
        facts = self._source.facts
        ours = (Presence(host, domain, kind, self._standing_of(domain)) for host, domain, kind in kinds)
        known = (p for p in ours if p.standing != OBSERVED or (facts is not None and p.host not in facts.kept))
        appliances = (found for found, is_kept in self._board.appliances.copy().values() if is_kept())
        return [*(p for p in known if not self._board.unkept(p.domain)), *appliances]

    def _after_each_look(self, work: Work, next_at: Callable[[], float | None]) -> None:
        """Work whenever something was looked at, and when it is time for it."""
        known, thought_at = 0, -SOON
        while not self._stopping.is_set():
            with self._board.changed:
                if self._board.looks == known:
                    self._board.changed.wait(self._until(next_at()))
            # The first look for a while is acted upon at once: somebody waits for his port.
            if self._stopping.wait(max(0.0, thought_at + SOON - time.monotonic())):
                return
            thought_at = time.monotonic()
            with self._board.changed:
                known, seen = self._board.looks, dict(self._board.seen)
            if (facts := self._source.facts) is None:
                continue
            with self._bugs_end_here(work.__name__.strip("_")):
                try:
                    work(facts, seen)
                except (Retry, Refused) as fault:
                    log.debug("Neutron was not told: %s", fault)
                    self._stopping.wait(AFTER_A_FAULT)

    def _run_errands(self, facts: Facts, seen: Mapping[str, Handover]) -> None:
        now = self._clock()
        self._delivery.settle(now)
        ours = seen.keys() - self.unlooked.keys()
        staying = {domain: self._staying(domain, seen[domain]) for domain in ours}
        found = errands(facts, staying, self._clusters(), self._attached, self._static, self._memory, now)
        retiring = self._source.tenure.retiring
        with self._changing() if found != Errands() else nullcontext():
            is_news = self._delivery.deliver(found)
        # What is on its way out is so when Neutron has said it twice.
        if is_news or retiring - self._confirmed:
            self._confirmed = retiring
            self._source.changed()
            self._wake(None)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Neutron is not as it was read, from when it is asked for something: it may do that long before it answers."""
        self._source.changed()
        try:
            yield
        finally:
            self._source.changed()

    def _announce(self, facts: Facts, seen: Mapping[str, Handover]) -> None:
        members = [member for domain in seen.values() for member in domain.members]
        unseen = frozenset(vtep for domain in self._vteps.keys() - seen.keys() for vtep in self._vteps[domain])
        elsewhere: dict[str, frozenset[tuple[NetworkId, Mac]]] = {}
        for domain, found in seen.items():
            for vtep in self._vteps.get(domain, ()):
                elsewhere[vtep] = found.elsewhere & elsewhere[vtep] if vtep in elsewhere else found.elsewhere
        self._announcer.announce(facts, members, self._clock(), unseen, elsewhere)

    def _until(self, moment: float | None) -> float:
        return 60.0 if moment is None else min(60.0, max(SOON, moment - self._clock()))

    def _show(self, troubles: Mapping[str, str]) -> None:
        if troubles != self._source.troubles:
            self._source.troubles = troubles
            self._source.changed()

    def _look_again(self) -> None:
        self._source.changed()
        with self._board.changed:
            self._looked()

    def _tell(self, host: str, method: str, entries: Mapping[str, Any]) -> None:
        self._bus.cast(L2POP_TOPIC, method, server=host, fdb_entries=entries)


class _Endpoint:
    """What the drivers ask of the processes that keep a domain."""

    target = oslo_messaging.Target(version=VERSION)

    def __init__(self, desk: Desk, domain: str) -> None:
        self._desk = desk
        self._domain = domain

    def port_group(
        self, context: object, host: str, network: str, vid: int | None, seconds: float, wait: float
    ) -> dict[str, str]:
        """See `Desk.port_group`.  Nobody waits longer than binding may: he would keep others from being answered."""
        names, numbers = (host, network), (seconds, wait)
        if not (
            all(isinstance(name, str) for name in names)
            and isinstance(vid, int | None)
            and all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)
        ):
            return {"reason": f"isthmus was asked for what makes no sense: network {network!r} for host {host!r}"}
        seconds, wait = (min(max(0.0, number), LONGEST_WAIT) for number in numbers)
        return self._desk.port_group(self._domain, host, NetworkId(network), vid, seconds, wait)


def _of_ports(handover: Handover, looked: Handover) -> Handover:
    """The same, with what another look saw of ports."""
    return replace(handover, at=looked.at, wired=looked.wired, members=looked.members, elsewhere=looked.elsewhere)


def _kind(cluster: Cluster) -> str:
    return PLUGGED if cluster.plugged else OVERLAID if cluster.overlaid else CLUSTER
