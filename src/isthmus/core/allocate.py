"""Give each claim a VID.  A VID is free when nobody in its domain is seen wearing it.

Precedence for a claim: the VID assigned by the SDN, then what its place wears already, then what its subject wears in
the scope, then what its subject wears elsewhere in the domain, then a search that starts at a hash of the subject.
A preference never moves a worn tag.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TypeAlias

from isthmus.model.change import Unmet
from isthmus.model.place import Place
from isthmus.model.scope import Domain, ForeignSubject, Scope, Subject
from isthmus.model.shard import VidPool
from isthmus.model.tags import Vid


class Hold(IntEnum):
    """How firmly a VID is held: a closed claim yields to anything, traffic yields to nothing."""

    CLAIMED = 1  # a closed place wears it
    KNOWN = 2  # an NVE maps it
    OPEN = 3  # an open place wears it


@dataclass(frozen=True, slots=True)
class Worn:
    """Somebody is seen wearing `vid`: a place, or an NVE that still maps it (place None)."""

    domain: Domain
    scope: Scope | None
    vid: Vid
    subject: Subject
    hold: Hold
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A place needs a VID for `subject`: unique in all `domains`, one of those its pool offers in `scope`."""

    place: Place
    scope: Scope
    subject: Subject
    domains: tuple[Domain, ...]
    assigned: Vid | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    """The VID of each claim that could be met, the claims that could not, and who owns which VID where."""

    bindings: Mapping[Place, Vid]
    unmet: tuple[Unmet, ...]
    owners: Owners
    contested: frozenset[tuple[Domain, Vid]] = frozenset()
    """VIDs that places of several subjects are seen wearing: nobody opens a closed place there."""
    warnings: tuple[str, ...] = ()


CONTESTED = ForeignSubject("several subjects at once")
Owners: TypeAlias = Mapping[tuple[Domain, Vid], Subject]


def owners_of(worn: Iterable[Worn]) -> dict[tuple[Domain, Vid], Subject]:
    """Who a VID belongs to in each domain.

    Where two subjects are seen wearing one VID the firmer hold keeps it; closed claims that meet yield both, since two
    writers that each see only the other's claim could not agree on a winner.
    """
    seen: dict[tuple[Domain, Vid], dict[Subject, list[int]]] = {}
    for wear in worn:
        seen.setdefault((wear.domain, wear.vid), {}).setdefault(wear.subject, []).append(wear.hold)
    return {key: _owner(subjects) for key, subjects in seen.items()}


def _owner(subjects: Mapping[Subject, Sequence[int]]) -> Subject:
    if len(subjects) == 1:
        return next(iter(subjects))
    foreign = [subject for subject in subjects if isinstance(subject, ForeignSubject)]
    if foreign:
        return foreign[0]
    firmest = max(max(holds) for holds in subjects.values())
    if firmest == Hold.CLAIMED:
        return CONTESTED
    contenders = [subject for subject, holds in subjects.items() if max(holds) == firmest]
    return min(contenders, key=lambda s: (Hold.KNOWN not in subjects[s], -len(subjects[s]), str(s)))


def contested(worn: Iterable[Worn]) -> frozenset[tuple[Domain, Vid]]:
    """The VIDs that places of more than one subject wear in a domain."""
    first: dict[tuple[Domain, Vid], Subject] = {}
    return frozenset(
        (wear.domain, wear.vid)
        for wear in worn
        if wear.place is not None and first.setdefault((wear.domain, wear.vid), wear.subject) != wear.subject
    )


def allocate(
    claims: Iterable[Claim], worn: Iterable[Worn], pool: VidPool, unseen: Mapping[Domain, str] = MappingProxyType({})
) -> Allocation:
    """Meet each claim that can be met; a claim that cannot leaves all others as they are.

    `unseen` names, by domain, an NVE that was never read: any VID that nobody is seen wearing may be known there.
    """
    worn = tuple(worn)
    state = _State(pool, dict(owners_of(worn)), worn, unseen)
    bindings: dict[Place, Vid] = {}
    unmet: list[Unmet] = []
    # Places that wear something valid go first, so that no newcomer can take what is worn.
    pending: list[Claim] = []
    for claim in claims:
        kept = state.kept(claim)
        if kept is None:
            pending.append(claim)
        else:
            bindings[claim.place] = kept
            state.give(claim, kept)
    for claim in sorted(pending, key=lambda c: (str(c.subject), str(c.scope), str(c.place))):
        found = state.found(claim)
        if isinstance(found, str):
            unmet.append(Unmet(str(claim.place), found))
        else:
            bindings[claim.place] = found
            state.give(claim, found)
    return Allocation(bindings, tuple(unmet), state.owners, contested(worn), tuple(state.warnings()))


@dataclass(slots=True)
class _State:
    """The allocation under way: who owns what, and what each subject wears where."""

    pool: VidPool
    owners: dict[tuple[Domain, Vid], Subject]
    worn: tuple[Worn, ...]
    unseen: Mapping[Domain, str]
    at_place: dict[Place, Vid] = field(default_factory=dict)
    in_scope: defaultdict[tuple[Scope, Subject], set[Vid]] = field(default_factory=lambda: defaultdict(set))
    in_domain: defaultdict[tuple[Domain, Subject], set[Vid]] = field(default_factory=lambda: defaultdict(set))
    known: set[tuple[Scope | None, Vid, Subject]] = field(default_factory=set)
    taken: Counter[Domain] = field(default_factory=Counter)
    domains: set[Domain] = field(default_factory=set)

    def __post_init__(self) -> None:
        for wear in self.worn:
            if wear.place is not None:
                self.at_place[wear.place] = wear.vid
            if wear.hold is Hold.KNOWN:
                self.known.add((wear.scope, wear.vid, wear.subject))
            self._note(wear.scope, wear.domain, wear.vid, wear.subject)
        for domain, vid in self.owners:
            if vid in self.pool.ranges:
                self.taken[domain] += 1

    def _note(self, scope: Scope | None, domain: Domain, vid: Vid, subject: Subject) -> None:
        if scope is not None:
            self.in_scope[scope, subject].add(vid)
        self.in_domain[domain, subject].add(vid)

    def _mine(self, claim: Claim, vid: Vid) -> bool:
        """Nobody else owns `vid` anywhere the claim must be unique, and it is not reserved in its scope."""
        return not self.pool.reserves(claim.scope, vid) and all(
            self.owners.get((domain, vid), claim.subject) == claim.subject for domain in claim.domains
        )

    def kept(self, claim: Claim) -> Vid | None:
        """What the claim's place wears already, if it may keep it."""
        vid = self.at_place.get(claim.place)
        if vid is None or not self._mine(claim, vid) or claim.assigned not in (None, vid):
            return None
        # A VID outside the ranges stays only if its NVE maps it: then it is older than the ranges, not a hand edit.
        if vid in self.pool.ranges or (claim.scope, vid, claim.subject) in self.known:
            return vid
        return None

    def found(self, claim: Claim) -> Vid | str:
        """A VID for the claim, or the reason why there is none."""
        if claim.assigned is not None:
            if self._mine(claim, claim.assigned):
                return self._doubt(claim, claim.assigned) or claim.assigned
            return f"VID {int(claim.assigned)} is assigned to it but still worn by {self._owner(claim, claim.assigned)}"
        near = sorted(self.in_scope.get((claim.scope, claim.subject), ()))
        far = sorted({v for d in claim.domains for v in self.in_domain.get((d, claim.subject), ())})
        for vid in (*near, *far):
            if self.pool.offers(claim.scope, vid) and self._mine(claim, vid):
                return vid
        return self._doubt(claim) or self._searched(claim)

    def _doubt(self, claim: Claim, vid: Vid | None = None) -> str:
        """Why a VID that nobody is seen wearing must not be taken for free."""
        if vid is not None and any((domain, vid) in self.owners for domain in claim.domains):
            return ""
        blind = sorted(self.unseen[domain] for domain in claim.domains if domain in self.unseen)
        return f"no VID is known to be free: {blind[0]} was never read and may hold any" if blind else ""

    def _searched(self, claim: Claim) -> Vid | str:
        size = len(self.pool.ranges)
        if size and all(self.taken[domain] < size for domain in claim.domains):
            start = zlib.crc32(str(claim.subject).encode()) * 2654435761 % 2**32 % size
            for step in range(size):
                vid = self._nth((start + step) % size)
                if self.pool.offers(claim.scope, vid) and all((d, vid) not in self.owners for d in claim.domains):
                    return vid
        free = " and ".join(f"{self.taken[domain]} worn in {domain}" for domain in claim.domains)
        return f"no VID left of {size} ({self.pool.ranges}): {free}, the others are reserved"

    def _nth(self, index: int) -> Vid:
        for piece in self.pool.ranges.ranges:
            span = piece.last - piece.first + 1
            if index < span:
                return Vid(piece.first + index)
            index -= span
        raise IndexError(index)

    def _owner(self, claim: Claim, vid: Vid) -> str:
        for domain in claim.domains:
            owner = self.owners.get((domain, vid), claim.subject)
            if owner != claim.subject:
                return f"{owner} in {domain}"
        return f"what is reserved in {claim.scope}"

    def give(self, claim: Claim, vid: Vid) -> None:
        """Record that the claim has `vid`, so that later claims in this round see it worn."""
        for domain in claim.domains:
            self.domains.add(domain)
            if (domain, vid) not in self.owners:
                self.owners[domain, vid] = claim.subject
                if vid in self.pool.ranges:
                    self.taken[domain] += 1
            self._note(claim.scope, domain, vid, claim.subject)

    def warnings(self) -> Iterable[str]:
        """One line per domain of which 80 % or more is taken."""
        size = len(self.pool.ranges)
        for domain in sorted(self.domains, key=str):
            if size and self.taken[domain] * 5 >= size * 4:
                yield f"{domain}: {self.taken[domain]} of {size} VIDs ({self.pool.ranges}) are worn"
