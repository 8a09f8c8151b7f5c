"""`show` and `explain`: the daemon's answer, or the same from a look of our own."""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing
from typing import Any

from isthmus.app import holding, report
from isthmus.app.control import Answer, ask
from isthmus.app.elsewhere import served_elsewhere
from isthmus.app.looking import complaints, conditions, listen, looked, standing_of, wired
from isthmus.app.output import complain, say, say_json, table
from isthmus.app.settings import load
from isthmus.app.text import plain
from isthmus.model.faults import Refused

_COLUMNS: dict[str, tuple[str, ...]] = {
    "hosts": ("host", "vtep", "connected", "nve", "nics", "wired", "vids"),
    "leaves": ("leaf", "vtep", "targets", "state", "networks", "vids", "warnings"),
    "networks": ("name", "vni", "mtu", "port_groups", "nics", "vids"),
    "ports": ("vm", "nic", "mac", "network", "host", "vid", "vni", "wired", "behind", "why"),
}


def show(args: Namespace) -> int:
    """Hosts, leaves, networks, ports, or the conditions of the shards."""
    answer = _asked_or_looked(args, {"do": "show", "what": args.what})
    if args.json:
        say_json(answer)
    elif args.what == "conditions":
        _say_conditions(answer)
    else:
        columns = _COLUMNS[args.what]
        table([[row.get(column) for column in columns] for row in answer["rows"]], columns)
    return 0


def explain(args: Namespace) -> int:
    """Everything about a port, or what holds a network."""
    rows = _asked_or_looked(args, {"do": "explain", "port": args.port})["rows"]
    if not rows:
        raise Refused(
            f"no port, VM, MAC, instance UUID or network '{plain(args.port)}'; 'isthmus show ports' lists them"
        )
    if args.json:
        say_json(rows)
        return 0
    for number, row in enumerate(rows):
        if number:
            say()
        for key, value in row.items():
            if key == "held_by":
                for held in value or ["nothing"]:
                    say(f"{'held by':16} {plain(held, 500)}")
                continue
            if key not in ("wired", "behind", "why") and value not in (None, "", []):
                text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                say(f"{key.replace('_', ' '):16} {plain(text, 300)}")
        if "wired" not in row:
            continue
        state = "open and wired" if row["wired"] else f"behind: {row['behind'] or 'nobody'}"
        say(f"{'state':16} {state}{': ' + plain(row['why'], 500) if row['why'] else ''}")
    return 0


def _asked_or_looked(args: Namespace, request: dict[str, Any]) -> Answer:
    """The daemon's answer; without a daemon, the same from a look of our own."""
    settings = load(args.config, secrets=False)
    answer = ask(settings.config.status.socket, request)
    if answer is not None:
        return answer
    with closing(wired(args)) as wiring:
        if request.get("what") == "conditions":
            listen(wiring)
        rounds = looked(wiring)
        found = conditions(rounds)
        for _, done in rounds.values():
            if wiring.neutron is not None and done.last is not None:
                wiring.neutron.looked(done.last)
        seen = {name: (keeper.charge.design, d.last) for name, (keeper, d) in rounds.items() if d.last is not None}
        held = holding.networks(seen, request["port"], wiring.holders) if request["do"] == "explain" else []
        others = served_elsewhere(wiring.config, wiring.neutron) if request.get("what") == "hosts" else []
    for text in complaints(rounds):
        complain(text)
    if not seen:
        raise Refused("nothing could be looked at")
    match request:
        case {"do": "explain", "port": str(wanted)}:
            return {"rows": [*(report.explained(seen, wanted) or wiring.explained(wanted)), *held]}
        case {"what": "hosts"}:
            return {"rows": [*report.hosts(seen), *others]}
        case {"what": "leaves"}:
            return {"rows": report.leaves(seen, settings.config)}
        case {"what": "networks"}:
            return {"rows": report.networks(seen)}
        case {"what": "ports"}:
            return {"rows": report.ports(seen)}
    standing = standing_of(settings)
    states = {
        name: word.value if (word := standing.of(name)) else "settled" if done.settled else "differs"
        for name, (_, done) in rounds.items()
    }
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
    if leader := answer.get("leader"):
        fault = f": {plain(leader['fault'], 500)}" if leader["fault"] else ""
        says = "this process" if leader["leads"] else plain(leader["holder"] or "nobody that is known of", 200)
        say(f"leader: {says}{fault}")
    for source in answer.get("sources", ()):
        age = "never read" if source["age"] is None else f"last word {source['age']:.0f} s ago"
        stale = f": {plain(source['stale'], 1000)}" if source["stale"] else ""
        remark = f"; {plain(source['remark'], 1000)}" if source.get("remark") else ""
        say(f"source {source['source']}: {age}{stale}{remark}")
