"""What each command does, once the configuration is read.  Each returns its exit status."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from isthmus.app import describing
from isthmus.app.check import check, summary
from isthmus.app.control import Answer, ask
from isthmus.app.daemon import Daemon
from isthmus.app.keeper import Keeper
from isthmus.app.leading import leading_once
from isthmus.app.looking import Rounds, complaints, conditions, keepers_of, looked, say_unmet, standing_of, wired
from isthmus.app.output import complain, log_to_stderr, patience, say, say_json
from isthmus.app.settings import load
from isthmus.app.standing import WORDS, Standing, Word, say_word
from isthmus.app.status import own_version
from isthmus.app.wiring import wire
from isthmus.core.guard import Agreed
from isthmus.model.change import Outcome, Result

NOTHING, ERROR, DIFFERENCES = 0, 1, 2
MOST_ROUNDS = 30


def plan(args: Namespace) -> int:
    """What would change."""
    with closing(wired(args)) as wiring:
        rounds = looked(wiring)
    pending = {
        name: [*done.last.plan.changes, *done.last.held, *(item.change for item in done.last.deferred)]
        for name, (_, done) in rounds.items()
        if done.last is not None
    }
    failed = complaints(rounds)
    if args.json:
        data = {
            name: [_with_words(describing.change_data(change), rounds[name][0].words(change)) for change in changes]
            for name, changes in pending.items()
        }
        say_json({"plan": data, "conditions": conditions(rounds), "errors": failed})
    else:
        for name, changes in pending.items():
            for change in changes:
                say(f"{name}: {describing.change(change, rounds[name][0].named)}")
                for words in rounds[name][0].words(change):
                    say(f"    {words}")
        for name, (_, done) in rounds.items():
            if done.last is not None and (beyond := sorted(done.last.world.shard.beyond)):
                say(f"{name}: what a VID means at {', '.join(beyond)} is another controller's to say")
        say_unmet(rounds)
        total = sum(map(len, pending.values()))
        if total or not failed:
            say(f"{total} change{'' if total == 1 else 's'}" if total else "nothing to do")
    for text in failed:
        complain(text)
    return ERROR if failed else DIFFERENCES if any(pending.values()) else NOTHING


def apply(args: Namespace) -> int:
    """Make it so."""
    settings = load(args.config)
    answer = ask(settings.config.status.socket, {"do": "apply", "agree": args.agree}, seconds=90)
    if answer is not None:
        return _applied_by_daemon(args, answer)
    made: list[tuple[str, Result]] = []
    with closing(wire(settings, time.monotonic, once=True)) as wiring, leading_once(wiring.lock) as leads:
        wiring.may_write = leads
        standing = standing_of(settings)
        keepers = keepers_of(wiring)
        rounds: Rounds = {}
        said = Agreed() if args.agree else None

        def told(keeper: Keeper) -> Callable[[Result], None]:
            def tell(result: Result) -> None:
                made.append((keeper.name, result))
                if not args.json and result.outcome is Outcome.DONE:
                    say(f"{keeper.name}: {describing.result(result, keeper.named)}")

            return tell

        for _ in range(MOST_ROUNDS):
            tick, before = wiring.sight.tick(), _done(made)
            for keeper in keepers:
                word = standing.of(keeper.name)
                write = not keeper.charge.observe_only and word is not Word.PAUSED
                with patience(f"working on {keeper.name}"):
                    done = keeper.keep(
                        tick,
                        write=write,
                        said=said,
                        release=word is Word.RELEASED,
                        stopping=lambda: not leads(),
                        told=told(keeper),
                    )
                rounds[keeper.name] = (keeper, done)
            if _done(made) == before:
                break
    failed = complaints(rounds) + _left(rounds, standing)
    if args.json:
        data = [{"shard": name, **describing.result_data(result)} for name, result in made]
        say_json({"results": data, "conditions": conditions(rounds), "errors": failed})
    else:
        say_unmet(rounds)
        say(f"{_done(made)} changes made")
    for text in failed:
        complain(text)
    return ERROR if failed else NOTHING


def run(args: Namespace) -> int:
    """The daemon."""
    settings = load(args.config)
    log_to_stderr(settings.config.log.level)
    return Daemon(wire(settings, time.monotonic)).run()


def check_command(args: Namespace) -> int:
    """Is everything as it must be?"""
    with closing(wired(args)) as wiring, patience("checking"):
        findings = check(wiring)
    if args.json:
        say_json({"findings": [finding.data() for finding in findings]})
    else:
        for finding in findings:
            say(
                f"{finding.level.value:7} {finding.place}: {finding.what}"
                + (f" -> {finding.remedy}" if finding.remedy else "")
            )
        say(summary(findings))
    return ERROR if any(finding.is_error for finding in findings) else NOTHING


def tell(args: Namespace) -> int:
    """pause, resume or release a shard."""
    settings = load(args.config, secrets=False)
    everywhere = bool(getattr(args, "everywhere", False))
    request = {"do": args.command, "shard": args.shard, "everywhere": everywhere}
    answer = ask(settings.config.status.socket, request)
    if answer is None:
        charges = wire(settings, time.monotonic).charges
        answer = say_word(charges, standing_of(settings), args.shard, WORDS[args.command], everywhere=everywhere)
    if args.json:
        say_json(answer)
    else:
        say(f"{answer['shard']}: {answer['state']}")
    return NOTHING


def version(args: Namespace) -> int:
    """Which isthmus this is."""
    if args.json:
        say_json({"version": own_version()})
    else:
        say(f"isthmus {own_version()}")
    return NOTHING


def _with_words(data: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    return {**data, "words": list(words)} if words else data


def _done(made: list[tuple[str, Result]]) -> int:
    return sum(result.outcome is Outcome.DONE for _, result in made)


def _left(rounds: Rounds, standing: Standing) -> list[str]:
    left = []
    for name, (keeper, done) in rounds.items():
        if done.last is None:
            continue
        if asked := len(done.asked):
            left.append(f"{name}: {asked} changes ask for a word: --agree, said to the running isthmus that shows them")
        if guarded := len(done.last.held) - asked:
            left.append(f"{name}: {guarded} changes are held back by the guard; --agree makes them")
        pending = [*((c, "") for c in done.last.plan.changes), *((d.change, d.reason) for d in done.last.deferred)]
        if pending and (word := standing.of(name)):
            left.append(f"{name}: is {word.value}: {len(pending)} changes not made")
        elif pending and keeper.charge.observe_only:
            left.append(f"{name}: is observe-only: {len(pending)} changes not made")
        elif pending:
            for change, why in pending[:20]:
                left.append(f"{name}: {describing.change(change, keeper.named)}: {why or 'not made'}")
    return left


def _applied_by_daemon(args: Namespace, answer: Answer) -> int:
    conditions = [(shard["shard"], found) for shard in answer["shards"] for found in shard["conditions"]]
    unanswered = answer.get("unanswered", [])
    if args.json:
        say_json(answer)
    else:
        for name, count in sorted(answer["made"].items()):
            say(f"{name}: {count} changes made by the daemon")
        for name, found in conditions:
            complain(f"{name}: {found['kind']}: {found['about']}: {found['reason']}")
        for name in unanswered:
            complain(f"{name}: has not answered yet; the daemon goes on with it: see 'isthmus show conditions'")
    failed = any(found["kind"] not in ("warning", "unmet") for _, found in conditions)
    return ERROR if failed or unanswered else NOTHING
