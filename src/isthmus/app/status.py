"""How the process is, as data: each shard, its conditions, its far sides and sources with their ages."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from isthmus.app import describing
from isthmus.app.keeper import Pass
from isthmus.app.loop import Loop, Seat
from isthmus.app.observing import Clock, Sight
from isthmus.app.reading import Source
from isthmus.app.report import Seen

Data = dict[str, Any]


def own_version() -> str:
    """The version that is installed."""
    try:
        return version("isthmus")
    except PackageNotFoundError:
        return "not installed"


def status(loop: Loop, sight: Sight, sources: Iterable[Source[Any]], clock: Clock) -> Data:
    """Everything, for --json and the state file."""
    now = clock()
    return {
        "version": own_version(),
        "shards": [_shard(loop, seat, now) for _, seat in sorted(loop.seats.items())],
        "targets": [
            {"target": str(health.target), "age": _rounded(health.age), "unknown": health.reason}
            for health in sight.health()
        ],
        "sources": [
            {
                "source": source.name,
                "age": _rounded(source.age),
                "stale": source.reason,
                "remark": source.remark(),
            }
            for source in sources
        ],
    }


def _shard(loop: Loop, seat: Seat, now: float) -> Data:
    name = seat.keeper.name
    word = loop.standing.of(name)
    last = seat.last.last if seat.last else None
    return {
        "shard": name,
        "design": seat.keeper.charge.design.name,
        "state": _state(seat, word.value if word else "", writes=loop.term() is not None),
        "settled_age": None if seat.settled_at is None else _rounded(now - seat.settled_at),
        "rounds": seat.rounds,
        "changes": seat.changes,
        "pending": _pending(last, seat, now)[:100] if last else [],
        "conditions": [
            {"kind": condition.kind, "about": condition.about, "reason": condition.reason, "age": _rounded(now - since)}
            for condition, since in sorted(seat.conditions.items())
        ],
    }


def _pending(last: Pass, seat: Seat, now: float) -> list[str]:
    """What is to be done: now, or when what failed is tried again."""
    told = [describing.change(change, seat.keeper.named) for change in last.plan.changes]
    for item in last.deferred:
        again = "" if item.until is None else f", tried again in {max(0.0, item.until - now):.0f} s"
        told.append(f"{describing.change(item.change, seat.keeper.named)}: {item.reason or 'waits for another'}{again}")
    return told


def _state(seat: Seat, word: str, *, writes: bool) -> str:
    if word:
        return word
    if seat.fault:
        return "faulty"
    if seat.keeper.charge.observe_only:
        return "observe-only"
    if not writes:
        return "standby"
    if seat.last is None:
        return "starting"
    if seat.last.settled:
        return "settled"
    return "waiting" if seat.last.last is None else "working"


def seen_by(loop: Loop) -> Seen:
    """What each shard last saw and thought."""
    return {
        name: (seat.keeper.charge.design, seat.last.last)
        for name, seat in loop.seats.items()
        if seat.last is not None and seat.last.last is not None
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
