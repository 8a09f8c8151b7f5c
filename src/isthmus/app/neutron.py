"""How deployments and Neutron know each other's names: mapping domains and scopes, compute hosts and switches."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.adapters.neutron.bus import Bus, BusSettings
from isthmus.adapters.neutron.desk import Desk
from isthmus.adapters.neutron.errands import Cluster
from isthmus.adapters.neutron.intent import NeutronIntent
from isthmus.adapters.neutron.meaning import Places
from isthmus.app.config import Config, DeploymentConfig
from isthmus.app.keeper import Pass
from isthmus.app.observing import Clock
from isthmus.app.placing import scope_of
from isthmus.app.settings import Settings
from isthmus.core.design import TagScope
from isthmus.core.handover import handover
from isthmus.model.boundary import Wake
from isthmus.model.inventory import Dvs


class NeutronSide:
    """Neutron as the source of the intent, and the desk where it is told what was done."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        config = settings.config
        neutron = config.intent.neutron
        assert neutron is not None
        options = None if neutron.options_file is None else str(neutron.options_file)
        self._deployments = _with_domains(config)
        self._bus = Bus(BusSettings(settings.bus_url, options, neutron.timeout))
        self.intent = NeutronIntent(self._bus, _places(self._deployments))
        static = {d for d, (_, found) in self._deployments.items() if found.design.scope is TagScope.FABRIC}
        attached = {host: domain for domain, (_, found) in self._deployments.items() for host in found.attached}
        self._desk = Desk(self._bus, self.intent, frozenset(static), attached, clock)

    def open(self, wake: Wake) -> None:
        """Begin to answer Neutron and to tell it what is in place.  Whatever only observes tells it nothing."""
        ours = (d for d, (_, found) in self._deployments.items() if not found.observe_only)
        self._desk.open(frozenset(ours), wake)

    def looked(self, shard: str, last: Pass) -> None:
        """A shard was looked at."""
        for domain, (name, deployment) in self._deployments.items():
            if name == shard and not deployment.observe_only:
                vteps = frozenset(leaf.vtep for leaf in deployment.leaf.values() if leaf.vtep is not None)
                seen = handover(last.world, last.observed, last.thought, last.now, vteps)
                if seen is not None:
                    self._desk.saw(domain, seen, _clusters(domain, deployment, last))

    def released(self, shard: str, last: Pass) -> None:
        """A shard was looked at, and is about to be handed back."""
        for domain, (name, deployment) in self._deployments.items():
            if name == shard and not deployment.observe_only:
                self._desk.hands_back(domain, _clusters(domain, deployment, last))

    def close(self) -> None:
        """Leave Neutron alone."""
        self._desk.close()
        self.intent.close()


def domain_of(name: str, deployment: DeploymentConfig) -> str:
    """What Neutron calls a deployment's tag scope."""
    return deployment.domain or name


def _with_domains(config: Config) -> dict[str, tuple[str, DeploymentConfig]]:
    """The deployments that are mapping domains, by the domain's name, each with its own."""
    return {
        domain_of(name, deployment): (name, deployment)
        for name, deployment in config.deployment.items()
        if not deployment.design.nve.on_each_host
    }


def _places(deployments: Mapping[str, tuple[str, DeploymentConfig]]) -> Places:
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
    )


def _clusters(domain: str, deployment: DeploymentConfig, last: Pass) -> dict[str, Cluster]:
    """The nova-compute hosts of a deployment, each with its switch as it is now."""
    inventory, shard = last.world.inventory, last.world.shard
    found = {}
    for host, compute in deployment.compute.items():
        for dvs in (inventory.switches[id_] for id_ in shard.switches if id_ in inventory.switches):
            if compute.dvs in (None, dvs.name, dvs.id):
                found[host] = Cluster(domain, dvs.id, _nves_of(dvs, last), dvs.hosts)
    return found


def _nves_of(dvs: Dvs, last: Pass) -> frozenset[str]:
    """The leaves that the members of a switch are below."""
    hosts = last.world.inventory.hosts
    below = {leaf for member in dvs.hosts if member in hosts and (leaf := hosts[member].leaf) is not None}
    return frozenset(below & last.world.shard.nves.keys())
