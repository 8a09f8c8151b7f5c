"""Switches on which what is said is staged first: a stage is committed at once, or as much of it as is not refused.

Law: what is refused for one VLAN keeps back no other for ever, and nothing is committed twice to find that out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.adapters.leaf.ngs.kind import Words


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the switch does not take, and may take in part."""

    complaints: list[str]
    reasons: frozenset[str]
    """In its own words, without what differs from one commit to the next."""


class InTheWay(Exception):
    """What keeps anything from being committed for now."""


def committed(
    commit: Callable[[Sequence[Words]], Refusal | None], vlan: Callable[[Words], str], steps: Sequence[Words]
) -> list[str]:
    """Commit these steps of a stage, each of which is about one VLAN.  Returns what the switch complained of."""
    spoken = [words for words in steps if words]
    enough_to_find_two = 2 * len({vlan(words) for words in spoken}).bit_length() + 6
    try:
        return _Commits(commit, vlan, enough_to_find_two).make(spoken)
    except InTheWay as why:
        return [str(why)]


@dataclass(slots=True)
class _Commits:
    """The commits of one stage."""

    commit: Callable[[Sequence[Words]], Refusal | None]
    vlan: Callable[[Words], str]
    left: int

    def make(self, steps: Sequence[Words]) -> list[str]:
        """Commit them all at once; if the switch refuses that, by halves.  Returns what it complained of."""
        if not steps:
            return []
        refusal = self._commit(steps)
        return [] if refusal is None else self._by_halves(_begun_anywhere(steps), refusal)

    def _by_halves(self, steps: Sequence[Words], refusal: Refusal) -> list[str]:
        """Commit what can be, of steps that were refused as a whole, until it is known which are refused."""
        vlans = list(dict.fromkeys(map(self.vlan, steps)))
        if len(vlans) < 2:
            return refusal.complaints
        first = set(vlans[: len(vlans) // 2])
        halves = [[w for w in steps if self.vlan(w) in first], [w for w in steps if self.vlan(w) not in first]]
        heard: list[str] = []
        try:
            refusals = [self._commit(half) for half in halves]
            if all(found is not None and found.reasons == refusal.reasons for found in refusals):
                return refusal.complaints  # it is no VLAN that it refuses
            for half, found in zip(halves, refusals, strict=True):
                heard += [] if found is None else self._by_halves(half, found)
        except InTheWay as why:
            raise InTheWay("; ".join([*heard, str(why)])) from why
        return heard

    def _commit(self, steps: Sequence[Words]) -> Refusal | None:
        if not self.left:
            raise InTheWay("it refuses too many of these to find which at one time: the others are tried again")
        self.left -= 1
        return self.commit(steps)


def _begun_anywhere(steps: Sequence[Words]) -> list[Words]:
    """In turn, from any, so that those that are refused do not keep the same others back in every round."""
    at = random.randrange(len(steps))
    return [*steps[at:], *steps[:at]]
