"""What is known of one target: its last good mirror, what we wrote there since, and since when it is missed.

Law: a mirror and the moment at which it was asked for are taken together.  What was begun to be written since may be
there, and with a mirror that is not of now goes what may have come to the target.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, auto
from math import inf

from isthmus.app.asking import PATIENCE, Asking, no_answer
from isthmus.model.change import Change, Learn
from isthmus.model.faults import Refused, Retry
from isthmus.model.nve import NveEntry
from isthmus.model.observed import Mirror, Unknown

BRIEFLY = 1.0
"""Seconds that a far side which stands apart is waited for, unless it is known to take longer."""
WRITE_PATIENCE = 10.0
"""Seconds after which a write that was left to itself is taken for one that hangs, if none took longer before."""
LONGEST = 120.0
"""Seconds for which a far side may be spoken for by an old answer, at the most."""
PATIENT = 600.0
"""Seconds for which one that is known to be as slow may be left out without a word, at the most."""

NOT_ANSWERED = "what was written there last has not been answered yet"


class Extent(IntEnum):
    """How much a reading read anew."""

    WHAT_WAS_TOLD = auto()
    EVERY_PORT = auto()
    EVERYTHING = auto()


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one target, and when its reading began (seconds; inf: it is not known; -inf: nor waited for).

    `begun`: the tick at which that was; -1: it is not known.
    """

    mirror: Mirror | Unknown[Mirror]
    began_at: float = inf
    begun: int = -1


@dataclass(slots=True)
class Writes:
    """What we write to one target."""

    coming: tuple[NveEntry, ...] = ()
    """What it was told to learn since the last reading began that no write disturbed."""
    began_at: float | None = None
    """Since when one is under way."""
    left_at: float | None = None
    """Since when one is under way that nobody waits for."""
    took: float = 0.0
    """How long the last one took."""

    def begin(self, changes: Iterable[Change], now: float) -> None:
        """These are written, or will be after what is being written."""
        learns = (change.action for change in changes if isinstance(change.action, Learn))
        self.coming = (*self.coming, *(entry for learn in learns for entry in learn.entries))
        self.began_at = now if self.began_at is None else self.began_at

    @property
    def under_way(self) -> bool:
        """Something is being written."""
        return self.began_at is not None

    def leave(self, since: float) -> None:
        """What has been written since then is waited for no longer."""
        self.left_at = since
        self.began_at = since if self.began_at is None else self.began_at

    def end(self, now: float) -> bool:
        """All of it was written, or will not be.  Whether nobody waited for that."""
        began_at, self.began_at = self.began_at, None
        left_at, self.left_at = self.left_at, None
        self.took = 0.0 if began_at is None else now - began_at
        return left_at is not None

    def usually(self) -> float:
        """Seconds within which what nobody waits for ends, to judge by the last time."""
        return min(PATIENT, max(WRITE_PATIENCE, 2 * self.took))


@dataclass(slots=True)
class Seen:
    """One target.  Whoever uses it holds its lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    mirror: Mirror | None = None
    begun: int = -1
    all_begun: int = -1
    """When the last reading of everything began; -1 if the last reading of any kind failed."""
    ports_begun: int = -1
    """The same of the last reading of all ports, of everything or not."""
    wanted: int = -1
    """The latest tick from which on somebody needed it."""
    stale: bool = True
    """Something was written there since the last reading began."""
    outlived: bool = False
    """Something was written there since the reading of this mirror began."""
    seen_at: float | None = None
    began_at: float = 0.0
    """When the reading of this mirror began."""
    reason: str = ""
    refused: bool = False
    """It was not that it could not answer now: an operator must decide."""
    took: float = 0.0
    asked_at: float = 0.0
    """When the last reading began."""
    bug: BaseException | None = None
    """What a reading ended with that nobody waited for any more, and nobody foresaw."""
    reading: Asking[Mirror] | None = None
    """The one read under way."""
    writes: Writes = field(default_factory=Writes)
    missing_since: float | None = None
    """Since when looks go without it."""
    quiet_until: float | None = None
    """Until when who missed it last takes it for one that only takes its time; None: nobody does."""

    def answered(self, mirror: Mirror, begun: int, now: float, extent: Extent) -> None:
        """The reading that began last, at the tick `begun`, has ended well."""
        self.mirror, self.begun, self.began_at, self.outlived = mirror, begun, self.asked_at, self.stale
        self.seen_at, self.took = now, now - self.asked_at
        self.reason, self.refused = "", False
        if extent >= Extent.EVERY_PORT:
            self.ports_begun = begun
        if extent is Extent.EVERYTHING:
            self.all_begun = begun
        if not (self.stale or self.writes.under_way):
            self.writes.coming = ()

    def failed(self, fault: Retry | Refused) -> None:
        """It has not."""
        self.reason = str(fault) or type(fault).__name__
        self.refused = isinstance(fault, Refused)
        self.all_begun = -1

    def written(self, now: float) -> bool:
        """A write ended: no reading that began before is a look.  Whether nobody waited for that."""
        self.stale = self.outlived = True
        return self.writes.end(now)

    @property
    def good(self) -> Mirror | None:
        """The last mirror, if it was good and nothing was written since its reading began."""
        return None if self.outlived or self.reason else self.mirror

    def usually(self) -> float:
        """Seconds within which it answers when it is asked, to judge by the last time."""
        return min(PATIENT, max(PATIENCE, 2 * self.took))

    def served(self, mirror: Mirror) -> Look:
        """Its last mirror, and how old that is."""
        self.missing_since = self.quiet_until = None
        return Look(mirror, self.began_at, self.begun)

    def unknown(self, reason: str, *, passing: bool = False) -> Unknown[Mirror]:
        """It cannot be seen now: its last good mirror, and what may be there besides."""
        return Unknown(reason, self.mirror, passing, self.writes.coming)

    def missed(self, now: float) -> Look:
        """A look goes without it, as it is being asked or told: silent once that takes longer than it ever should."""
        if self.missing_since is None:
            self.missing_since = now
        self.quiet_until = self._quiet_until(self.missing_since)
        if self.quiet_until is not None and now < self.quiet_until:
            return Look(self.unknown("it is being asked or told, and takes its time", passing=True), -inf)
        self.quiet_until = None
        if self.writes.left_at is not None:
            return Look(self.unknown(NOT_ANSWERED), -inf)
        if not self.reason and now >= self.asked_at + self.usually():
            self.reason = no_answer(round(self.usually()))
        return Look(self.unknown(self.reason or f"nothing newer than {LONGEST:g} s is known of it"), -inf)

    def _quiet_until(self, missing_since: float) -> float | None:
        """Until when it may be that it only takes its time; None: it is known what is wrong."""
        at_most = missing_since + max(LONGEST, self.usually(), self.writes.usually())
        if self.writes.left_at is not None:
            return min(at_most, self.writes.left_at + self.writes.usually())
        return None if self.reason else min(at_most, self.asked_at + self.usually())
