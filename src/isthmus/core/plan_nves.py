"""Bring NVEs to what they should hold: additions first, removals only after the places were closed.

Changes are cut by network (or port), so that a fault with one holds up no other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from isthmus.core.draft import Draft
from isthmus.core.view import View
from isthmus.model.change import BuildNve, Forget, Learn
from isthmus.model.flow import Flow
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry, NveKey, Plug, Workload
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.scope import NetworkSubject, PortSubject, Subject
from isthmus.model.tags import Vid

About: TypeAlias = Subject | None
"""Whom an entry serves; None is the fixed frame."""


def about(entry: NveEntry) -> About:
    """Whom an entry serves."""
    match entry:
        case Flow():
            return None if entry.vni is None else NetworkSubject(entry.vni)
        case LeafBinding() | LeafFlood() | LeafUnicast():
            return NetworkSubject(entry.vni)
        case Plug() | Workload():
            return PortSubject(entry.port)


@dataclass(slots=True)
class NveDiff:
    """What one NVE lacks and what it holds beyond, by subject, and the numbers of the changes that mend it.

    `ready` is False when nothing can be changed there now: it is unknown, or its frame is being built.
    """

    target: TargetId
    ready: bool
    missing: Mapping[About, tuple[NveEntry, ...]] = field(default_factory=dict)
    surplus: Mapping[About, tuple[NveEntry, ...]] = field(default_factory=dict)
    maps: frozenset[tuple[Vid, Subject]] = frozenset()
    learnt: dict[About, int] = field(default_factory=dict)
    forgotten: dict[About, int] = field(default_factory=dict)

    def knows(self, subject: Subject) -> bool:
        """It lacks nothing for this subject, or what it lacks is in the plan."""
        return self.ready and (subject not in self.missing or subject in self.learnt)

    def learning(self, subject: Subject) -> tuple[int, ...]:
        """The changes after which it knows the subject."""
        return tuple(self.learnt[key] for key in (None, subject) if key in self.learnt)


def compare(view: View, target: TargetId, wanted: Mapping[NveKey, NveEntry], draft: Draft) -> NveDiff:
    """Compare an NVE with what it should hold.  An NVE that is not ready is built, and compared in the next pass."""
    mirror = view.nves.get(target)
    maps = view.maps.get(target, frozenset())
    if mirror is None or target not in view.known:
        return NveDiff(target, ready=False, maps=maps)
    if not mirror.ready:
        draft.add(target, BuildNve(), "its bridges or tunnel port are missing or wrong")
        return NveDiff(target, ready=False, maps=maps)
    if mirror.entries == wanted:  # the usual round, and a comparison of dicts hashes no key again
        return NveDiff(target, ready=True, maps=maps)
    missing: defaultdict[About, list[NveEntry]] = defaultdict(list)
    surplus: defaultdict[About, list[NveEntry]] = defaultdict(list)
    entries, held_and_wanted = mirror.entries, 0
    for key, entry in wanted.items():
        held = entries.get(key)
        held_and_wanted += held is not None
        if held is not entry and held != entry:
            missing[about(entry)].append(entry)
    if held_and_wanted < len(entries):
        for key, entry in entries.items():
            if key not in wanted:
                surplus[about(entry)].append(entry)
    for entry in _in_the_way(mirror, wanted):
        surplus[about(entry)].append(entry)
    return NveDiff(
        target,
        True,
        {key: tuple(entries) for key, entries in missing.items()},
        {key: tuple(entries) for key, entries in surplus.items()},
        maps,
    )


def _in_the_way(mirror: NveMirror, wanted: Mapping[NveKey, NveEntry]) -> Iterator[NveEntry]:
    """What must be forgotten by name before another takes its place, or beside an entry that goes.

    Where nothing says whose it is an NVE replaces nothing: by the time that it is told, a stranger's may stand there.
    """
    for entry in mirror.entries.values() if not mirror.marked else ():
        if entry.key in wanted and wanted[entry.key].vni != entry.vni:
            yield entry
    for rival in mirror.rivals:
        if rival.key not in wanted or wanted[rival.key].vni != rival.vni:
            yield rival


def learn(diff: NveDiff, draft: Draft) -> None:
    """Add what is missing.  A VID that the NVE maps to another subject is forgotten there first."""
    if not diff.ready:
        return
    for key, entries in sorted(diff.missing.items(), key=lambda item: str(item[0])):
        vids = _vids(entries)
        stale = {s for vid, s in diff.maps if vid in vids and s != key and s in diff.surplus}
        after = [_forget(diff, subject, (), draft) for subject in sorted(stale, key=str)]
        reason = "fixed frame" if key is None else f"{key}"
        diff.learnt[key] = draft.add(diff.target, Learn(entries), reason, [*after, *_frame(diff, key)])


def _frame(diff: NveDiff, key: About) -> tuple[int, ...]:
    return (diff.learnt[None],) if key is not None and None in diff.learnt else ()


def forget(
    view: View,
    diff: NveDiff,
    closing: Mapping[Subject, Collection[int]],
    draft: Draft,
    guarded: Callable[[About, Collection[Vid]], bool] = lambda key, vids: False,
) -> None:
    """Remove what is no longer wanted, after the changes (`closing`, by subject) that close what wears it.

    While the intent is only remembered, what it still wants follows its VMs, and only the rest waits.  `guarded`: by
    subject and its VIDs that go, what the guard may hold back.
    """
    if not diff.ready:
        return
    for key in sorted(diff.surplus, key=str):
        if key not in diff.forgotten and (view.world.intent.fresh or _is_wanted(view, key)):
            after = closing.get(key, ()) if key is not None else ()
            _forget(diff, key, after, draft, guarded=guarded(key, _vids(diff.surplus[key])))


def _is_wanted(view: View, key: About) -> bool:
    """The intent, as far as it is remembered, has the network or port that an entry serves."""
    match key:
        case NetworkSubject(vni):
            return any(network.vni == vni for network in view.world.intent.networks.values())
        case PortSubject(port):
            return any(attachment.port == port for attachment in view.attachments.by_nic.values())
        case _:
            return False


def _forget(diff: NveDiff, key: About, after: Iterable[int], draft: Draft, *, guarded: bool = False) -> int:
    if key not in diff.forgotten:
        reason = "stray entries" if key is None else f"{key} is no longer here"
        diff.forgotten[key] = draft.add(diff.target, Forget(diff.surplus[key]), reason, after, guarded=guarded)
    return diff.forgotten[key]


def _vids(entries: Iterable[NveEntry]) -> frozenset[Vid]:
    found: set[Vid] = set()
    for entry in entries:
        match entry:
            case Flow() if entry.match.vid is not None:
                found.add(entry.match.vid)
            case LeafBinding() | Plug():
                found.add(entry.vid)
            case _:
                pass
    return frozenset(found)
