"""VLANs that were made on a switch in vain: they are not asked for again for a while.

Law: they are nobody's, so nothing that has one loses it.  It ends when something else is seen there, or with time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from isthmus.adapters.leaf.ngs.held import Held, Vlan
from isthmus.model.tags import Vid

AGAIN = 600.0
"""Seconds until it is tried again: what stood in the way may not be shown."""


@dataclass(frozen=True, slots=True)
class _Tried:
    why: str
    seen: Vlan
    until: float


class Vain:
    """Those of one switch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tried: dict[Vid, _Tried] = {}

    def add(self, vid: Vid, why: str, held: Held) -> None:
        """It was tried, and this is what is there since.  What came to be after all is not marked."""
        why = f"it was made a while ago in vain: {why}"
        self._tried = {**self._tried, vid: _Tried(why, held.at(vid), self._clock() + AGAIN)}

    def marked(self, held: Held) -> Held:
        """What the switch holds, with these."""
        now = self._clock()
        self._tried = {
            vid: tried
            for vid, tried in self._tried.items()
            if now < tried.until and not held.exists(vid) and held.at(vid) == tried.seen
        }
        return replace(held, vain={**held.vain, **{vid: tried.why for vid, tried in self._tried.items()}})
