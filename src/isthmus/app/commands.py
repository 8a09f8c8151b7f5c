"""What each command does, once the configuration is read.  Each returns its exit status."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from isthmus.app import describing, report
from isthmus.app.check import check
from isthmus.app.conditions import conditions_of
from isthmus.app.control import Answer, ask
from isthmus.app.daemon import Daemon
from isthmus.app.keeper import Keeper, Round
from isthmus.app.output import complain, log_to_stderr, patience, say, say_json, table
from isthmus.app.settings import Settings, load
from isthmus.app.standing import Standing, Word
from isthmus.app.status import own_version
from isthmus.app.text import plain
from isthmus.app.wiring import Wiring, habits_of, wire
from isthmus.model.change import Outcome, Result
from isthmus.model.faults import Refused
from isthmus.model.observed import Unknown

NOTHING, ERROR, DIFFERENCES = 0, 1, 2
MOST_ROUNDS = 30


def plan(args: Namespace) -> int:
    """What would change."""
    with closing(_wired(args)) as wiring:
        rounds = _looked(wiring)
    pending = {
        name: [*done.last.plan.changes, *done.last.held, *done.last.deferred]
        for name, (_, done) in rounds.items()
        if done.last is not None
    }
    failed = _complaints(rounds)
    if args.json:
        data = {name: [describing.change_data(change) for change in changes] for name, changes in pending.items()}
        say_json({"plan": data, "conditions": _conditions(rounds), "errors": failed})
    else:
        for name, changes in pending.items():
            for change in changes:
                say(f"{name}: {describing.change(change, rounds[name][0].named)}")
        _say_unmet(rounds)
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
    with closing(wire(settings, time.monotonic, once=True)) as wiring:
        standing = _standing(settings)
        keepers = _keepers(wiring)
        rounds: dict[str, tuple[Keeper, Round]] = {}

        def told(keeper: Keeper) -> Callable[[Result], None]:
            def tell(result: Result) -> None:
                made.append((keeper.name, result))
                if not args.json and result.outcome is Outcome.DONE:
                    say(f"{keeper.name}: {describing.result(result, keeper.named)}")

            return tell

        for _ in range(MOST_ROUNDS):
            tick, before = wiring.sight.tick(), _done(made)
            for keeper in keepers:
                write = not keeper.charge.observe_only and standing.of(keeper.name) is None
                with patience(f"working on {keeper.name}"):
                    done = keeper.keep(tick, write=write, agreed=args.agree, told=told(keeper))
                rounds[keeper.name] = (keeper, done)
            if _done(made) == before:
                break
    failed = _complaints(rounds) + _left(rounds, standing)
    if args.json:
        data = [{"shard": name, **describing.result_data(result)} for name, result in made]
        say_json({"results": data, "conditions": _conditions(rounds), "errors": failed})
    else:
        _say_unmet(rounds)
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
    with closing(_wired(args)) as wiring, patience("checking"):
        findings = check(wiring)
    if args.json:
        say_json({"findings": [finding.data() for finding in findings]})
    else:
        for finding in findings:
            say(
                f"{finding.level.value:7} {finding.place}: {finding.what}"
                + (f" -> {finding.remedy}" if finding.remedy else "")
            )
        wrong = sum(finding.is_error for finding in findings)
        say("all is well" if not wrong else f"{wrong} to repair")
    return ERROR if any(finding.is_error for finding in findings) else NOTHING


_COLUMNS: dict[str, tuple[str, ...]] = {
    "hosts": ("host", "vtep", "connected", "nve", "nics", "wired", "vids"),
    "networks": ("name", "vni", "mtu", "port_groups", "nics", "vids"),
    "ports": ("vm", "nic", "mac", "network", "host", "vid", "vni", "wired", "behind", "why"),
}


def show(args: Namespace) -> int:
    """Hosts, networks, ports, or the conditions of the shards."""
    answer = _asked_or_looked(args, {"do": "show", "what": args.what})
    if args.json:
        say_json(answer)
    elif args.what == "conditions":
        _say_conditions(answer)
    else:
        columns = _COLUMNS[args.what]
        table([[row.get(column) for column in columns] for row in answer["rows"]], columns)
    return NOTHING


def explain(args: Namespace) -> int:
    """Everything about a port."""
    rows = _asked_or_looked(args, {"do": "explain", "port": args.port})["rows"]
    if not rows:
        raise Refused(f"no port, VM, MAC or instance UUID '{plain(args.port)}'; 'isthmus show ports' lists them")
    if args.json:
        say_json(rows)
        return NOTHING
    for number, row in enumerate(rows):
        if number:
            say()
        for key, value in row.items():
            if key not in ("wired", "behind", "why") and value not in (None, "", []):
                text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                say(f"{key.replace('_', ' '):16} {plain(text, 300)}")
        state = "open and wired" if row["wired"] else f"behind: {row['behind'] or 'nobody'}"
        say(f"{'state':16} {state}{': ' + plain(row['why'], 500) if row['why'] else ''}")
    return NOTHING


def tell(args: Namespace) -> int:
    """pause, resume or release a shard."""
    settings = load(args.config, secrets=False)
    answer = ask(settings.config.status.socket, {"do": args.command, "shard": args.shard})
    if answer is None:
        names = [charge.name for charge in wire(settings, time.monotonic).charges]
        if args.shard not in names:
            raise Refused(f"there is no shard '{plain(args.shard)}' here; there are: {', '.join(sorted(names))}")
        words = {"pause": Word.PAUSED, "resume": None, "release": Word.RELEASED}
        word = words[args.command]
        _standing(settings).say(args.shard, word)
        answer = {"shard": args.shard, "state": word.value if word else "resumed"}
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


def _wired(args: Namespace) -> Wiring:
    return wire(load(args.config), time.monotonic, once=True)


def _standing(settings: Settings) -> Standing:
    state: Path | None = settings.config.status.state
    return Standing(None if state is None else state / "standing.json")


def _keepers(wiring: Wiring) -> list[Keeper]:
    habits = habits_of(wiring.config)
    return [Keeper(charge, wiring.sight, wiring.clock, habits) for charge in wiring.charges]


def _looked(wiring: Wiring) -> dict[str, tuple[Keeper, Round]]:
    """A round of every shard that writes nothing."""
    tick = wiring.sight.tick()
    rounds = {}
    for keeper in _keepers(wiring):
        with patience(f"looking at {keeper.name}"):
            rounds[keeper.name] = (keeper, keeper.keep(tick, write=False))
    return rounds


def _done(made: list[tuple[str, Result]]) -> int:
    return sum(result.outcome is Outcome.DONE for _, result in made)


def _complaints(rounds: dict[str, tuple[Keeper, Round]]) -> list[str]:
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


def _left(rounds: dict[str, tuple[Keeper, Round]], standing: Standing) -> list[str]:
    left = []
    for name, (keeper, done) in rounds.items():
        if done.last is None:
            continue
        if done.last.held:
            left.append(f"{name}: {len(done.last.held)} changes are held back by the guard; --agree makes them")
        pending = [*done.last.plan.changes, *done.last.deferred]
        if pending and (word := standing.of(name)):
            left.append(f"{name}: is {word.value}: {len(pending)} changes not made")
        elif pending and keeper.charge.observe_only:
            left.append(f"{name}: is observe-only: {len(pending)} changes not made")
        elif pending:
            whys = {result.change.action: result for result in done.results if result.outcome is not Outcome.DONE}
            for change in pending[:20]:
                why = whys[change.action].detail if change.action in whys else "not made"
                left.append(f"{name}: {describing.change(change, keeper.named)}: {why}")
    return left


def _conditions(rounds: dict[str, tuple[Keeper, Round]]) -> list[dict[str, str]]:
    return [
        {"shard": name, "kind": condition.kind, "about": condition.about, "reason": condition.reason}
        for name, (keeper, done) in rounds.items()
        for condition in conditions_of(done, named=keeper.named)
    ]


def _say_unmet(rounds: dict[str, tuple[Keeper, Round]]) -> None:
    for name, (keeper, done) in rounds.items():
        for condition in conditions_of(done, named=keeper.named):
            if condition.kind in ("unmet", "warning", "held"):
                say(f"{name}: {condition.kind}: {plain(condition.about, 200)}: {plain(condition.reason, 500)}")


def _applied_by_daemon(args: Namespace, answer: Answer) -> int:
    conditions = [(shard["shard"], found) for shard in answer["shards"] for found in shard["conditions"]]
    if args.json:
        say_json(answer)
    else:
        for name, count in sorted(answer["made"].items()):
            say(f"{name}: {count} changes made by the daemon")
        for name, found in conditions:
            complain(f"{name}: {found['kind']}: {found['about']}: {found['reason']}")
    return ERROR if any(found["kind"] not in ("warning", "unmet") for _, found in conditions) else NOTHING


def _asked_or_looked(args: Namespace, request: dict[str, Any]) -> Answer:
    """The daemon's answer; without a daemon, the same from a look of our own."""
    settings = load(args.config, secrets=False)
    answer = ask(settings.config.status.socket, request)
    if answer is not None:
        return answer
    with closing(_wired(args)) as wiring:
        rounds = _looked(wiring)
    seen = {name: (keeper.charge.design, done.last) for name, (keeper, done) in rounds.items() if done.last is not None}
    for text in _complaints(rounds):
        complain(text)
    if not seen:
        raise Refused("nothing could be looked at")
    match request:
        case {"do": "explain", "port": str(wanted)}:
            return {"rows": report.matching(report.ports(seen), wanted) or report.strangers(seen, wanted)}
        case {"what": "hosts"}:
            return {"rows": report.hosts(seen)}
        case {"what": "networks"}:
            return {"rows": report.networks(seen)}
        case {"what": "ports"}:
            return {"rows": report.ports(seen)}
    states = {name: "settled" if done.settled else "differs" for name, (_, done) in rounds.items()}
    found = _conditions(rounds)
    return {
        "daemon": False,
        "shards": [
            {"shard": name, "state": state, "conditions": [item for item in found if item["shard"] == name]}
            for name, state in states.items()
        ],
    }


def _say_conditions(answer: Answer) -> None:
    for shard in answer["shards"]:
        say(f"{shard['shard']}: {shard['state']}")
        for found in shard["conditions"]:
            age = f" (for {found['age']:.0f} s)" if "age" in found else ""
            say(f"  {found['kind']}: {plain(found['about'], 200)}: {plain(found['reason'], 1000)}{age}")
    for source in answer.get("sources", ()):
        if source["stale"]:
            age = "never read" if source["age"] is None else f"last read {source['age']:.0f} s ago"
            say(f"source {source['source']}: {age}: {plain(source['stale'], 1000)}")
