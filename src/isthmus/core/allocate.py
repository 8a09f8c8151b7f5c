"""Give each claim a VID.  A VID is free when nobody in its domain is seen wearing it.

Precedence for a claim: the VID assigned by the SDN, then what its place wears already, then what its subject wears in
the scope, then what its subject wears elsewhere in the domain, then a search that starts at a hash of the subject.
A preference never moves a worn tag.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from isthmus.model.change import Unmet
from isthmus.model.place import Place
from isthmus.model.scope import Domain, ForeignSubject, Scope, Subject
from isthmus.model.shard import VidPool
from isthmus.model.tags import Vid, VidSet


class Hold(IntEnum):
    """How firmly a VID is held: a closed claim yields to anything, traffic yields to nothing."""

    CLAIMED = 1  # a closed place wears it
    KNOWN = 2  # an NVE maps it, or has it for somebody else
    OPEN = 3  # an open place wears it


class Worn(NamedTuple):  # tens of thousands in a round
    """Somebody is seen wearing `vid`: a place, or an NVE that still maps it (place None).

    A port group as the place of DV ports stands for `times` ports of it that nothing more needs to be known of.
    """

    domain: Domain
    scope: Scope | None
    vid: Vid
    subject: Subject
    hold: Hold
    place: Place | None = None
    times: int = 1


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
    but_for_nves: Owners
    """Who would own a VID that is somebody else's at an NVE alone: nobody but he wears it anywhere else."""
    contested: frozenset[tuple[Domain, Vid]] = frozenset()
    """VIDs that places of several subjects are seen wearing: nobody opens a closed place there."""
    warnings: tuple[str, ...] = ()


CIRCLE = 4096  # all VIDs lie on a circle, scattered, so that those of a small pool do not lie side by side
SCATTER = 2531  # odd, so that no two VIDs meet
GATHER = pow(SCATTER, -1, CIRCLE)
CONTESTED = ForeignSubject("several subjects at once")
Owners: TypeAlias = Mapping[tuple[Domain, Vid], Subject]


def _by_tag(worn: Iterable[Worn]) -> dict[tuple[Domain, Vid], list[Worn]]:
    """Who is seen wearing each VID in each domain."""
    found: defaultdict[tuple[Domain, Vid], list[Worn]] = defaultdict(list)
    for wear in worn:
        found[wear.domain, wear.vid].append(wear)
    return found


def _owner(wears: Sequence[Worn], *, shared: bool) -> Subject:
    """Who a VID belongs to in a domain, of those who are seen wearing it there.

    Where two subjects are seen wearing one VID the firmer hold keeps it; closed claims that meet yield both, since two
    writers that each see only the other's claim could not agree on a winner.  Of two that are open all writers must
    choose the same one: where there are others (`shared`), what our NVEs know does not count, which only we see, but
    how soon each would have come to this VID in its own search: a VID that a hand wrote lies anywhere.
    """
    if _agree(wears):
        return wears[0].subject
    foreign = [wear.subject for wear in wears if isinstance(wear.subject, ForeignSubject)]
    if foreign:
        return foreign[0]
    firmest = max(wear.hold for wear in wears)
    if firmest == Hold.CLAIMED:
        return CONTESTED
    known = {wear.subject for wear in wears if wear.hold == Hold.KNOWN and not shared}
    many: Counter[Subject] = Counter()
    for wear in wears:
        many[wear.subject] += wear.times if wear.hold != Hold.KNOWN or not shared else 0
    contenders = {wear.subject for wear in wears if wear.hold == firmest}
    vid = wears[0].vid
    return min(contenders, key=lambda s: (s not in known, -many[s], _steps(s, vid) if shared else 0, str(s)))


def _steps(subject: Subject, vid: Vid) -> int:
    """After how many others a subject that looks for a VID comes to this one, whatever the pool."""
    return (vid * SCATTER - _start(subject)) % CIRCLE


def _search(subject: Subject) -> Iterator[int]:
    """All numbers of 12 bits in the order in which a subject looks for a VID."""
    start = _start(subject)
    return ((start + step) * GATHER % CIRCLE for step in range(CIRCLE))


def _start(subject: Subject) -> int:
    """Where a subject begins to look: elsewhere than others, so that they seldom meet."""
    return zlib.crc32(str(subject).encode()) * 2654435761 % 2**32 % CIRCLE


def _is_contested(wears: Sequence[Worn]) -> bool:
    """Places of more than one subject wear the VID."""
    return not _agree(wears) and not _agree([wear for wear in wears if wear.place is not None])


def _but_for_nves(wears: Sequence[Worn]) -> Subject | None:
    """The one subject of all that is worn, if nothing foreign is but what NVEs have."""
    rest = [wear for wear in wears if wear.hold != Hold.KNOWN or not isinstance(wear.subject, ForeignSubject)]
    return rest[0].subject if 0 < len(rest) < len(wears) and _agree(rest) else None


def _agree(wears: Sequence[Worn]) -> bool:
    return all(wear.subject == wears[0].subject for wear in wears)


def allocate(
    claims: Iterable[Claim],
    worn: Iterable[Worn],
    pool: VidPool,
    unseen: Mapping[Domain, str] = MappingProxyType({}),
    shared: Set[Domain] = frozenset(),
    unfit: Mapping[Domain, Mapping[str, VidSet]] = MappingProxyType({}),
) -> Allocation:
    """Meet each claim that can be met; a claim that cannot leaves all others as they are.

    `unseen` names, by domain, an NVE that was never read: any VID that nobody is seen wearing may be known there.
    `shared` are the domains in which others allocate, too.  No search finds what is `unfit`, by domain and NVE; who has
    it keeps it.
    """
    worn = tuple(worn)
    by_tag = _by_tag(worn)
    owners = {tag: _owner(wears, shared=tag[0] in shared) for tag, wears in by_tag.items()}
    state = _State(pool, owners, worn, unseen, unfit)
    bindings: dict[Place, Vid] = {}
    unmet: list[Unmet] = []
    # Places that wear something valid go first, so that no newcomer can take what is worn.
    kept: list[tuple[Claim, Vid]] = []
    pending: list[Claim] = []
    for claim in claims:
        vid = state.kept(claim)
        if vid is None:
            pending.append(claim)
        else:
            kept.append((claim, vid))
            bindings[claim.place] = vid
            state.give(claim, vid)
    siblings = _Siblings.of(worn, kept) if pending else _Siblings()
    for claim in sorted(pending, key=lambda c: (str(c.subject), str(c.scope), str(c.place))):
        found = state.found(claim, siblings)
        if isinstance(found, str):
            unmet.append(Unmet(str(claim.place), found))
        else:
            bindings[claim.place] = found
            state.give(claim, found)
            siblings.note(claim, found)
    contested = frozenset(tag for tag, wears in by_tag.items() if _is_contested(wears))
    but_for = {tag: subject for tag, wears in by_tag.items() if (subject := _but_for_nves(wears)) is not None}
    return Allocation(bindings, tuple(unmet), state.owners, but_for, contested, tuple(state.warnings()))


@dataclass(slots=True)
class _Siblings:
    """The VIDs that each subject has, by scope and by domain: what a place without one takes first."""

    in_scope: defaultdict[tuple[Scope, Subject], set[Vid]] = field(default_factory=lambda: defaultdict(set))
    in_domain: defaultdict[tuple[Domain, Subject], set[Vid]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, worn: Iterable[Worn], kept: Iterable[tuple[Claim, Vid]]) -> _Siblings:
        """What is seen worn, and what was kept."""
        siblings = cls()
        for wear in worn:
            if wear.scope is not None:
                siblings.in_scope[wear.scope, wear.subject].add(wear.vid)
            siblings.in_domain[wear.domain, wear.subject].add(wear.vid)
        for claim, vid in kept:
            siblings.note(claim, vid)
        return siblings

    def note(self, claim: Claim, vid: Vid) -> None:
        """The claim has `vid` now."""
        self.in_scope[claim.scope, claim.subject].add(vid)
        for domain in claim.domains:
            self.in_domain[domain, claim.subject].add(vid)

    def near(self, claim: Claim) -> Iterable[Vid]:
        """Those in the claim's scope, then those elsewhere in its domains."""
        yield from sorted(self.in_scope.get((claim.scope, claim.subject), ()))
        yield from sorted({vid for d in claim.domains for vid in self.in_domain.get((d, claim.subject), ())})


@dataclass(slots=True)
class _State:
    """The allocation under way: who owns what, and what each place wears."""

    pool: VidPool
    owners: dict[tuple[Domain, Vid], Subject]
    worn: tuple[Worn, ...]
    unseen: Mapping[Domain, str]
    unfit: Mapping[Domain, Mapping[str, VidSet]]
    at_place: dict[Place, Vid] = field(default_factory=dict)
    known: set[tuple[Scope | None, Vid, Subject]] = field(default_factory=set)
    taken: Counter[Domain] = field(default_factory=Counter)
    domains: set[Domain] = field(default_factory=set)

    def __post_init__(self) -> None:
        for wear in self.worn:
            if wear.place is not None:
                self.at_place[wear.place] = wear.vid
            if wear.hold is Hold.KNOWN:
                self.known.add((wear.scope, wear.vid, wear.subject))
        for domain, vid in self.owners:
            if vid in self.pool.ranges:
                self.taken[domain] += 1

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

    def found(self, claim: Claim, siblings: _Siblings) -> Vid | str:
        """A VID for the claim, or the reason why there is none."""
        if claim.assigned is not None:
            if self._mine(claim, claim.assigned):
                return self._doubt(claim, claim.assigned) or claim.assigned
            return f"VID {int(claim.assigned)} is assigned to it but still worn by {self._owner(claim, claim.assigned)}"
        for vid in siblings.near(claim):
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
        refused = {who: vids for d in claim.domains for who, vids in self.unfit.get(d, {}).items()}
        unfit = VidSet.joined(piece for vids in refused.values() for piece in vids.ranges)
        if size and all(self.taken[domain] < size for domain in claim.domains):
            for number in _search(claim.subject):
                offered = number not in unfit and self.pool.offers(claim.scope, number)
                if offered and all((domain, number) not in self.owners for domain in claim.domains):
                    return Vid(number)
        free = " and ".join(f"{self.taken[domain]} worn in {domain}" for domain in claim.domains)
        refusals = (f"not taken now by {who} ({vids})" for who, vids in refused.items())
        rest = ", or ".join(("reserved", *refusals))
        return f"no VID left of {size} ({self.pool.ranges}): {free}, the others are {rest}"

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

    def warnings(self) -> Iterable[str]:
        """One line per domain of which 80 % or more is taken."""
        size = len(self.pool.ranges)
        for domain in sorted(self.domains, key=str):
            if size and self.taken[domain] * 5 >= size * 4:
                yield f"{domain}: {self.taken[domain]} of {size} VIDs ({self.pool.ranges}) are worn"
