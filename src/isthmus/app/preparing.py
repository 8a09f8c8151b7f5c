"""`isthmus prepare`: shows what must be made before the deployments can stand, and makes it when told to.

Law: without --write nothing is written, and a second run finds nothing to do.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from isthmus.app.commands import DIFFERENCES, ERROR, NOTHING
from isthmus.app.config import Config, DeploymentConfig
from isthmus.app.looking import wired
from isthmus.app.output import complain, patience, say, say_json
from isthmus.app.text import plain
from isthmus.app.wiring import Wiring
from isthmus.core.prepare import prepare
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.ground import (
    Ground,
    JoinHost,
    MakerMark,
    MakeSwitch,
    MakeTrunk,
    NarrowUplinks,
    Preparing,
    SetSwitch,
    SetTrunk,
    Step,
    SwitchWanted,
    WidenUplinks,
)


@dataclass(slots=True)
class _Prepared:
    """What is to be done for one deployment, what was done of it, and what stands in the way."""

    steps: list[Step] = field(default_factory=list)
    done: list[Step] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def prepare_command(args: Namespace) -> int:
    """Show, or make, what the deployments stand on."""
    with closing(wired(args)) as wiring:
        all_prepared: dict[str, _Prepared] = {}
        try:
            for name in wiring.config.deployment:
                with patience(f"looking at deployment {plain(name)}"):
                    all_prepared[name] = prepared = _looked(wiring, name)
                if args.write:
                    _write(wiring, name, prepared, quiet=args.json)
        except KeyboardInterrupt:
            if args.write:  # what was made stays made
                _report(all_prepared, args)
            raise
    return _report(all_prepared, args)


def _report(all_prepared: Mapping[str, _Prepared], args: Namespace) -> int:
    """Say it all, and what it amounts to."""
    errors = [f"{name}: {plain(text, 1000)}" for name, one in all_prepared.items() for text in one.errors]
    open_steps = sum(len(one.steps) for one in all_prepared.values())
    if args.json:
        what = {name: [_data(step) for step in _shown(one, args.write)] for name, one in all_prepared.items()}
        say_json({"done" if args.write else "prepare": what, "errors": errors})
    elif args.write:
        made = sum(len(one.done) for one in all_prepared.values())
        say(f"{made} change{'' if made == 1 else 's'} made")
    else:
        for name, one in all_prepared.items():
            for step in one.steps:
                say(f"{name}: {_line(step)}")
        if open_steps or not errors:
            say(f"{open_steps} change{'' if open_steps == 1 else 's'}" if open_steps else "nothing to do")
    for text in errors:
        complain(text)
    return ERROR if errors else DIFFERENCES if open_steps and not args.write else NOTHING


def switches_wanted(config: Config, name: str) -> Iterator[SwitchWanted]:
    """What a deployment stands on."""
    deployment = config.deployment[name]
    for dvs in deployment.dvs:
        hosts = {host: settings.nics for host, settings in deployment.host.items() if deployment.dvs_of(host) == dvs}
        yield SwitchWanted(
            dvs,
            MakerMark(config.installation, name),
            deployment.mtu,
            deployment.vids - deployment.reserved,
            wired=not deployment.design.nve.on_each_host,
            nics=hosts,
            trunk=deployment.trunk_port_group,
        )


def _looked(wiring: Wiring, name: str) -> _Prepared:
    wanted, vcenter = list(switches_wanted(wiring.config, name)), wiring.vcenters[wiring.placing[name].vcenter]
    hosts = {host for switch in wanted for host in switch.nics}
    found = _Prepared(errors=[*_unplaced(wiring.config.deployment[name])])
    try:
        ground = vcenter.ground(hosts, {switch.name for switch in wanted})
        _refuse_torn_clusters(wiring, name, ground, hosts)
    except (Refused, Retry) as fault:
        found.errors.append(str(fault))
        return found
    for switch in wanted:
        preparation = prepare(switch, ground)
        found.steps += preparation.steps
        found.errors += preparation.refusals
    return found


def _refuse_torn_clusters(wiring: Wiring, name: str, ground: Ground, hosts: set[str]) -> None:
    """What is made must be a ground that the design will stand on.  Raises Refused, or Retry if it cannot be seen."""
    if wiring.config.deployment[name].design.nve.on_each_host:
        return
    placing = wiring.placing[name]
    members = frozenset(host.id for host in ground.hosts if host.name in hosts)
    placing.refuse_torn_clusters(wiring.inventories[placing.vcenter].read().value, members)


def _unplaced(deployment: DeploymentConfig) -> Iterator[str]:
    for host in deployment.host:
        if deployment.dvs_of(host) is None:
            yield f"host '{host}': say on which switch it is to be: dvs = one of {', '.join(deployment.dvs)}"


def _write(wiring: Wiring, name: str, prepared: _Prepared, *, quiet: bool) -> None:
    """Step by step; one that fails stops no other, but nothing is begun on a switch that could not be made."""
    deployment = wiring.config.deployment[name]
    if prepared.steps and (deployment.observe_only or not deployment.port_groups):
        why = "observe_only" if deployment.observe_only else "port_groups = false: another process keeps it"
        prepared.errors.append(f"{len(prepared.steps)} changes not made: {why}")
        return
    missing: set[str] = set()
    for step in prepared.steps:
        if step.switch in missing:
            continue
        try:
            with patience(f"working on {plain(step.switch)}"):
                wiring.vcenters[wiring.placing[name].vcenter].prepare(step)
        except KeyboardInterrupt:
            what = f"{_words(step.does, step.switch)}: interrupted: vCenter may still be at it, and may finish it"
            prepared.errors.append(f"{what}; nothing after it was begun: wait for its tasks, then run this again")
            raise
        except Unreachable as fault:  # whatever is left would only wait as long, and in vain
            prepared.errors.append(f"{_words(step.does, step.switch)}, and what comes after it: {fault}")
            return
        except (Refused, Retry) as fault:
            prepared.errors.append(f"{_words(step.does, step.switch)}: {fault}")
            if isinstance(step.does, MakeSwitch):
                missing.add(step.switch)
            continue
        prepared.done.append(step)
        if not quiet:
            say(f"{name}: {_line(step)}")


def _shown(prepared: _Prepared, written: bool) -> list[Step]:
    return prepared.done if written else prepared.steps


def _line(step: Step) -> str:
    return f"{_words(step.does, step.switch)} ({plain(step.reason, 500)})"


def _data(step: Step) -> dict[str, Any]:
    return {
        "switch": step.switch,
        "action": type(step.does).__name__,
        "what": _words(step.does, step.switch),
        "reason": step.reason,
    }


def _words(does: Preparing, switch: str) -> str:
    """What is done, in an operator's words."""
    name = f"'{plain(switch)}'"
    match does:
        case MakeSwitch(datacenter=datacenter, mtu=mtu, carries=None):
            return f"make distributed switch {name} in datacenter '{plain(datacenter)}': MTU {mtu}, nothing wired to it"
        case MakeSwitch(datacenter=datacenter, mtu=mtu, carries=carries):
            what = f"MTU {mtu}, LLDP on, its uplinks carry {carries}"
            return f"make distributed switch {name} in datacenter '{plain(datacenter)}': {what}"
        case SetSwitch(mtu=mtu):
            return f"set distributed switch {name}: MTU {mtu}, LLDP on"
        case WidenUplinks(lets=lets):
            return f"let {lets} through the uplinks of distributed switch {name}, too"
        case NarrowUplinks(lets=lets):
            return f"let only {lets} through the uplinks of distributed switch {name}"
        case JoinHost(name=host, nics=nics, had=None):
            return f"add host '{plain(host)}' to distributed switch {name}{f' with {_listed(nics)}' if nics else ''}"
        case JoinHost(name=host, nics=nics, had=had):
            new = [nic for nic in nics if nic not in (had or ())]
            return f"add {_listed(new)} of host '{plain(host)}' to the uplinks of distributed switch {name}"
        case MakeTrunk(name=group, vids=vids):
            return f"make trunk port group '{plain(group)}' on distributed switch {name} for VIDs {vids}"
        case SetTrunk(name=group, vids=vids):
            return f"set trunk port group '{plain(group)}' on distributed switch {name} for VIDs {vids}"


def _listed(nics: tuple[str, ...] | list[str]) -> str:
    return ", ".join(plain(nic) for nic in nics)
