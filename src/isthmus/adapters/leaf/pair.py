"""Two switches that act as one VTEP (MLAG), each told by itself: one target, whose members are told alike.

Law: the pair holds only what both members hold alike.  What they do not reads as something that nobody wants, so that
it is mended where it is wanted, and forgotten where it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.model.boundary import Target, Wake
from isthmus.model.change import Change, Outcome, Result
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry, NveKey
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import VidSet

DIFFERS = "the members differ"
"""In the place of a VTEP: no VTEP is called so."""


class Leaf(Target, Protocol):
    """One switch of the pair: what every leaf is, also one that stands alone."""

    def observe(self) -> NveMirror:
        """All it holds."""
        ...

    def findings(self) -> Sequence[LeafFinding]:
        """What is not as configured, or not well."""
        ...

    def words(self, change: Change) -> Sequence[str]:
        """A change in its own words."""
        ...

    def watch(self, wake: Wake) -> None:
        """Call `wake` when it is altered."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """One that may refuse what the other takes, since strangers may be in its VLANs."""

    def foreseen(self, changes: Sequence[Change]) -> Sequence[Result]:
        """The changes that it could not make as it is now.  Makes none."""
        ...


class LeafPair:
    """Both members behind one Target, by the names that their operator gave them."""

    def __init__(self, members: Sequence[tuple[str, Leaf]]) -> None:
        self._members = tuple(members)

    @property
    def id(self) -> TargetId:
        """Which far side this is."""
        return self._members[0][1].id

    def observe(self) -> NveMirror:
        """What both hold.  Raises Retry unless both can be read: with one alone nothing may be freed."""
        return joined([member.observe() for _, member in self._members])

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """Make each change at both.  What one of them can say beforehand that it cannot do neither is asked for."""
        results = {change.id: Result(change, Outcome.DONE) for change in changes}
        _, *others = self._members  # what the first cannot do it says when it is asked
        asking = [(name, member.foreseen) for name, member in others if isinstance(member, Foreseeing)]
        for name, ask in (*asking, *((name, member.apply) for name, member in self._members)):
            asked = [result.change for result in results.values() if result.outcome is Outcome.DONE]
            for result in ask(asked) if asked else ():
                said = f"{name}: {result.detail}" if result.detail else ""
                results[result.change.id] = replace(result, detail=said)
        return list(results.values())

    def findings(self) -> Sequence[LeafFinding]:
        """Of both."""
        return [finding for _, member in self._members for finding in member.findings()]

    def words(self, change: Change) -> Sequence[str]:
        """A change in each switch's own words, under a comment that names the switch."""
        told = ((name, member.words(change)) for name, member in self._members)
        return [line for name, words in told if words for line in (f"# {name}", *words)]

    def watch(self, wake: Wake) -> None:
        """Call `wake` when either is altered."""
        for _, member in self._members:
            member.watch(wake)

    def close(self) -> None:
        """Let go of both."""
        for _, member in self._members:
            member.close()


def joined(mirrors: Sequence[NveMirror]) -> NveMirror:
    """What several members hold as one: alike, or as nobody wants it."""
    keys = dict.fromkeys(key for mirror in mirrors for key in mirror.entries)
    entries: dict[NveKey, NveEntry] = {}
    for key in keys:
        found = [mirror.entries.get(key) for mirror in mirrors]
        known = next(entry for entry in found if entry is not None)
        entries[key] = known if found == [known] * len(found) else _unwanted(known)
    marked = all(mirror.marked for mirror in mirrors)
    return NveMirror(
        mirrors[0].target,
        entries,
        ready=all(mirror.ready for mirror in mirrors),
        foreign_vids=VidSet.joined(piece for mirror in mirrors for piece in mirror.foreign_vids.ranges),
        unfit=VidSet.joined(piece for mirror in mirrors for piece in mirror.unfit.ranges),
        warnings=tuple(warning for mirror in mirrors for warning in mirror.warnings),
        learns=all(mirror.learns for mirror in mirrors),
        marked=marked,
        rivals=() if marked else tuple(_rivals(mirrors, entries)),
    )


def _rivals(mirrors: Sequence[NveMirror], shown: Mapping[NveKey, NveEntry]) -> Iterator[NveEntry]:
    """What a member has in the place of what is shown, in another network: it may be a stranger's."""
    for mirror in mirrors:
        for key, entry in mirror.entries.items():
            if entry.vni != shown[key].vni:
                yield _unwanted(entry)


def _unwanted(entry: NveEntry) -> NveEntry:
    match entry:
        case LeafBinding():
            return replace(entry, whole=False)
        case LeafFlood():
            return replace(entry, vteps=frozenset({DIFFERS}))
        case LeafUnicast():
            return replace(entry, vtep=DIFFERS)
    raise TypeError(f"a leaf holds no {type(entry).__name__}")
