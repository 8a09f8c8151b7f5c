"""VLANs that were made on a switch in vain: they count as somebody's for a while, so that a network gets another.

Law: what was tried in vain is not tried again until something else is seen there, or the time is over.
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
    there: bool
    until: float


class Vain:
    """Those of one switch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tried: dict[Vid, _Tried] = {}

    def add(self, vid: Vid, why: str, held: Held) -> None:
        """It was tried, and this is what is there since."""
        why = f"it was made a while ago in vain: {why}"
        tried = _Tried(why, held.at(vid), held.exists(vid), self._clock() + AGAIN)
        self._tried = {**self._tried, vid: tried}

    def marked(self, held: Held) -> Held:
        """What the switch holds, with these as somebody's."""
        now = self._clock()
        self._tried = {
            vid: tried
            for vid, tried in self._tried.items()
            if now < tried.until and (held.at(vid), held.exists(vid)) == (tried.seen, tried.there)
        }
        marks = {vid: replace(tried.seen, said=tried.seen.said or tried.why) for vid, tried in self._tried.items()}
        absent = (vid for vid, tried in self._tried.items() if not tried.there)
        return replace(held, vlans={**held.vlans, **marks}, absent=held.absent.union(absent))
