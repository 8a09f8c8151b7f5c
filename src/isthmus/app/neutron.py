"""How deployments and Neutron know each other's names: mapping domains and scopes, compute hosts and switches."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from isthmus.adapters.neutron.bus import Bus, BusSettings
from isthmus.adapters.neutron.desk import Desk
from isthmus.adapters.neutron.errands import Cluster
from isthmus.adapters.neutron.intent import NeutronIntent
from isthmus.adapters.neutron.meaning import Places
from isthmus.adapters.neutron.protocol import KEPT, OBSERVED, PAUSED, RELEASED
from isthmus.app import neutron_ports
from isthmus.app.config import DeploymentConfig
from isthmus.app.keeper import Pass, Remark
from isthmus.app.observing import Clock
from isthmus.app.placing import scope_of
from isthmus.app.settings import Settings
from isthmus.app.standing import Word, write_whole
from isthmus.core.design import NveKind, TagScope
from isthmus.core.handover import handover, overlaid
from isthmus.model.boundary import Wake
from isthmus.model.inventory import Dvs
from isthmus.model.names import HostId
from isthmus.model.observed import Unknown
from isthmus.model.shard import Duty

log = logging.getLogger("isthmus")
MOST_TOLD = 50_000
"""Entries that are kept over a restart; of more, none."""
STANDINGS = {None: KEPT, Word.PAUSED: PAUSED, Word.RELEASED: RELEASED}


class NeutronSide:
    """Neutron as the source of the intent, and the desk where it is told what was done."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        config = settings.config
        neutron = config.intent.neutron
        assert neutron is not None
        options = None if neutron.options_file is None else str(neutron.options_file)
        self._deployments = {domain_of(name, found): (name, found) for name, found in config.deployment.items()}
        self._bus = Bus(BusSettings(settings.bus_url, options, neutron.timeout))
        static = {d for d, (_, found) in self._deployments.items() if found.design.scope is TagScope.FABRIC}
        computes = frozenset(host for _, found in self._deployments.values() for host in found.compute)
        self._places = replace(_places(self._deployments), static=frozenset(static), computes=computes)
        self.intent = NeutronIntent(self._bus, self._places, clock)
        # Who keeps a deployment reports its machines: another process does not know how they are.
        kept = {d: found for d, (_, found) in self._deployments.items() if found.port_groups}
        attached = {host: domain for domain, found in kept.items() for host in found.attached}
        self._vteps = {d: _vteps(found) for d, found in kept.items() if not found.observe_only}
        self._desk = Desk(
            self._bus,
            self.intent,
            frozenset(static),
            attached,
            clock,
            self._standing,
            self._vteps,
            self._keep,
            lambda domain: self.unkept(writer_of(*self._deployments[domain])),
        )
        self._state = None if config.status.state is None else config.status.state / "neutron-told.json"
        self.word: Callable[[str], Word | None] = lambda shard: None
        """An operator's word on a shard."""
        self.unkept: Callable[[str], str] = lambda shard: ""
        """Why nobody keeps a shard that should be kept; empty if somebody does."""

    def open(self, wake: Wake) -> None:
        """Begin to answer Neutron and to tell it what is in place.  Whatever only observes tells it nothing."""
        ours = (d for d, (_, found) in self._deployments.items() if not found.observe_only and found.port_groups)
        if self._state is not None:
            with suppress(
                OSError, ValueError, TypeError, KeyError, AttributeError
            ):  # without it, what went is not taken back
                kept = json.loads(self._state.read_text())
                # A leaf may have got another VTEP; of what another process keeps now that one speaks.
                still = {vtep for vtep, domain in kept["vteps"].items() if domain in self._vteps}
                self._desk.recall(kept["told"], still)
        self._desk.open(frozenset(ours), wake)

    def _keep(self, rows: list[Any]) -> None:
        """What stock agents were told, for the next life of this process, as far as that may be done."""
        if self._state is None:
            return
        try:
            few = sum(len(row[-1]) for row in rows) <= MOST_TOLD
            vteps = {vtep: domain for domain, found in self._vteps.items() for vtep in found}
            write_whole(self._state, json.dumps({"vteps": vteps, "told": rows if few else []}))
        except OSError as fault:
            log.debug("%s: %s", self._state, fault)

    def looked(self, last: Pass) -> None:
        """A shard was looked at."""
        domain, deployment = self._deployment(last)
        if deployment.observe_only:
            if deployment.port_groups:
                self._desk.observes(domain, _clusters(domain, deployment, last))
            return
        overlay = deployment.design.nve.on_each_host
        if overlay and not _has_agents(deployment):
            self._tell_of_appliances(last)
        if not deployment.port_groups:
            return  # who writes a switch's port groups speaks to Neutron for all of it
        seen = (overlaid if overlay else handover)(
            last.world, last.observed, last.thought, last.now, _vteps(deployment)
        )
        if seen is None:
            self._desk.looks_again(domain)
            return
        if Duty.PORT_GROUPS in last.world.shard.duties:
            self._desk.saw(domain, seen, _clusters(domain, deployment, last))
        else:
            self._desk.saw_ports(domain, seen)

    def released(self, last: Pass) -> None:
        """A shard was looked at, and is about to be handed back."""
        domain, deployment = self._deployment(last)
        whole = Duty.PORT_GROUPS in last.world.shard.duties  # a host's ports may be handed back alone
        if whole and not deployment.observe_only:
            self._desk.hands_back(domain, _clusters(domain, deployment, last))

    def refused(self, shard: str, reason: str) -> None:
        """A shard is not looked at before an operator has decided something."""
        for domain, (name, deployment) in self._deployments.items():
            if writer_of(name, deployment) == shard and deployment.port_groups and not deployment.observe_only:
                self._desk.cannot_look(domain, reason)

    def missed(self, name: str) -> list[Remark]:
        """The ports that wait on hosts of a deployment which is not looked at, by Neutron's last answer."""
        facts = self.intent.facts
        domain = next(domain for domain, (found, _) in self._deployments.items() if found == name)
        if facts is None:
            return []
        return [Remark(*said) for said in neutron_ports.waiting(facts, self._places, self.intent.why, domain)]

    def explained(self, wanted: str) -> list[dict[str, Any]]:
        """What is known of a port of Neutron's on one of our hosts; of those that Neutron's last answer has."""
        facts = self.intent.facts
        if facts is None:
            return []
        standings = {d: f"is {found}" for d in self._deployments if (found := self._standing(d)) != KEPT}
        standings |= self._desk.unlooked
        told = facts, self._places, self.intent.why
        return neutron_ports.explained(wanted, *told, self._deployments, self._desk.seen, standings)

    def unlooked(self, wanted: str) -> list[dict[str, Any]]:
        """The same of a port on a host whose deployment is not looked at now."""
        names = {self._deployments[domain][0] for domain in self._desk.unlooked}
        return [row for row in self.explained(wanted) if row["shard"] in names]

    def _standing(self, domain: str) -> str:
        """How a deployment stands that this process keeps, or would."""
        name, deployment = self._deployments[domain]
        if deployment.observe_only:
            return OBSERVED
        return STANDINGS[self.word(writer_of(name, deployment))]

    def _deployment(self, last: Pass) -> tuple[str, DeploymentConfig]:
        wanted = last.world.shard.deployment
        return next((domain, found) for domain, (name, found) in self._deployments.items() if name == wanted)

    def _tell_of_appliances(self, last: Pass) -> None:
        for place, target in last.world.shard.nves.items():
            host = last.world.inventory.hosts.get(HostId(place))
            if host is None or host.vtep is None:
                continue
            if isinstance(last.observed.targets.get(target, Unknown("")), Unknown):
                self._desk.is_silent(host.name)
            else:
                self._desk.answers(host.name, host.vtep, partial(self._is_kept, last.world.shard.name))

    def _is_kept(self, shard: str) -> bool:
        return not self.unkept(shard)

    def close(self) -> None:
        """Leave Neutron alone."""
        self._desk.close()
        self.intent.close()


def writer_of(name: str, deployment: DeploymentConfig) -> str:
    """The shard of a deployment that writes its port groups."""
    return f"{name}/port-groups" if deployment.design.nve.on_each_host else name


def _has_agents(deployment: DeploymentConfig) -> bool:
    """Neutron's own agents wire its ports."""
    return deployment.design.nve is NveKind.STOCK_OVS


def domain_of(name: str, deployment: DeploymentConfig) -> str:
    """What Neutron calls a deployment's tag scope."""
    return deployment.domain or name


def _vteps(deployment: DeploymentConfig) -> frozenset[str]:
    """Behind which its members are, unless Neutron's own agents are there, of whom Neutron tells everybody."""
    if _has_agents(deployment):
        return frozenset()
    there = (leaf.vtep for leaf in deployment.leaf.values()), map(deployment.vtep_of, deployment.host)
    return frozenset(vtep for vteps in there for vtep in vteps if vtep is not None)


def _places(everywhere: Mapping[str, tuple[str, DeploymentConfig]]) -> Places:
    deployments = {d: (name, found) for d, (name, found) in everywhere.items() if not found.design.nve.on_each_host}
    return Places(
        {domain: scope_of(name, deployment) for domain, (name, deployment) in deployments.items()},
        {
            host: domain
            for domain, (_, deployment) in deployments.items()
            for host in (*deployment.compute, *deployment.attached)
        },
        {
            host: vtep
            for _, deployment in deployments.values()
            for host, attached in deployment.attached.items()
            if (vtep := deployment.leaf[attached.leaf].vtep) is not None  # else it is below another controller's leaf
        },
        {domain: deployment.vids - deployment.reserved for domain, (_, deployment) in deployments.items()},
        {
            host: name
            for name, deployment in everywhere.values()
            if deployment.design.nve.on_each_host
            for host in deployment.compute
        },
        frozenset(host for _, found in everywhere.values() if _has_agents(found) for host in found.compute),
        {
            vtep: host
            for _, found in everywhere.values()
            if found.design.nve.on_each_host and not _has_agents(found)
            for host in found.host
            if (vtep := found.vtep_of(host)) is not None
        },
    )


def _clusters(domain: str, deployment: DeploymentConfig, last: Pass) -> dict[str, Cluster]:
    """The nova-compute hosts of a deployment, each with its switch as it is now."""
    inventory, shard = last.world.inventory, last.world.shard
    found = {}
    for host, compute in deployment.compute.items():
        for dvs in (inventory.switches[id_] for id_ in shard.switches if id_ in inventory.switches):
            if compute.dvs in (None, dvs.name, dvs.id):
                overlay = deployment.design.nve.on_each_host
                nves = frozenset[str]() if overlay else _nves_of(dvs, last)
                found[host] = Cluster(domain, dvs.id, nves, dvs.hosts, overlay, _has_agents(deployment))
    return found


def _nves_of(dvs: Dvs, last: Pass) -> frozenset[str]:
    """The leaves that the members of a switch are below."""
    hosts = last.world.inventory.hosts
    below = {leaf for member in dvs.hosts if member in hosts and (leaf := hosts[member].leaf) is not None}
    return frozenset(below & last.world.shard.nves.keys())
