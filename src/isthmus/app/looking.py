"""A look at every shard that writes nothing, and what it found, in words: what commands have when no daemon runs."""

from __future__ import annotations

import time
from argparse import Namespace
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from isthmus.app.conditions import conditions_of
from isthmus.app.keeper import Keeper, Round
from isthmus.app.output import patience, say
from isthmus.app.settings import Settings, load
from isthmus.app.standing import Standing, Word
from isthmus.app.text import plain
from isthmus.app.wiring import Wiring, habits_of, wire
from isthmus.model.faults import Refused, Retry
from isthmus.model.observed import Unknown

Rounds: TypeAlias = dict[str, tuple[Keeper, Round]]
"""A round of each shard, by name, with who kept it."""


def wired(args: Namespace) -> Wiring:
    return wire(load(args.config), time.monotonic, once=True)


def standing_of(settings: Settings) -> Standing:
    state = settings.config.status.state
    return Standing(None if state is None else state / "standing.json")


def keepers_of(wiring: Wiring) -> list[Keeper]:
    habits = replace(habits_of(wiring.config), waits_for_leaves=True)
    return [Keeper(charge, wiring.sight, wiring.clock, habits) for charge in wiring.charges]


def looked(wiring: Wiring) -> Rounds:
    """A round of every shard that writes nothing."""
    tick = wiring.sight.tick()
    rounds: Rounds = {}
    standing = standing_of(wiring.settings)
    for keeper in keepers_of(wiring):
        released = standing.of(keeper.name) is Word.RELEASED
        with patience(f"looking at {keeper.name}"):
            rounds[keeper.name] = (keeper, keeper.keep(tick, write=False, release=released))
    return rounds


def listen(wiring: Wiring) -> None:
    """What hosts hear of leaves.  A vCenter that cannot be asked is complained of elsewhere."""
    for cabling in wiring.cabling.values():
        with suppress(Retry, Refused), patience("asking hosts for their neighbours"):
            cabling.look()


def complaints(rounds: Rounds) -> list[str]:
    """What kept shards from being thought through, each once."""
    found: dict[str, None] = {}
    for keeper, done in rounds.values():
        if done.last is None:
            found[done.reason] = None
            continue
        for source in (keeper.charge.intent, keeper.charge.inventory):
            if source.reason:
                found[source.reason] = None
        for target, mirror in done.last.observed.targets.items():
            if isinstance(mirror, Unknown):
                found[f"{keeper.named(target)} cannot be read: {mirror.reason}"] = None
    return list(found)


def conditions(rounds: Rounds) -> list[dict[str, str]]:
    return [
        {"shard": name, "kind": condition.kind, "about": condition.about, "reason": condition.reason}
        for name, (keeper, done) in rounds.items()
        for condition in conditions_of(done, keeper.named, keeper.charge.remarks())
    ]


def say_unmet(rounds: Rounds) -> None:
    for name, (keeper, done) in rounds.items():
        for condition in conditions_of(done, keeper.named, keeper.charge.remarks()):
            if condition.kind in ("unmet", "warning", "held"):
                say(f"{name}: {condition.kind}: {plain(condition.about, 200)}: {plain(condition.reason, 500)}")
