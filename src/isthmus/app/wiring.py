"""From configuration to shards, sources and targets.  The only place that names adapters.

One shard per host and switch writes tags and that host's NVE; one per switch writes its port groups, if this process
is told to.  Configured names become ids when an inventory is at hand, anew each round: a host may come later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from isthmus.adapters.file import FileIntent
from isthmus.adapters.ovs.settings import OvsSettings, TlsFiles
from isthmus.adapters.ovs.target import OvsTarget
from isthmus.adapters.vcenter import Vcenter, VcenterSettings
from isthmus.app.backoff import Backoff
from isthmus.app.config import Config, DeploymentConfig
from isthmus.app.keeper import Charge, Habits, Placed
from isthmus.app.observing import Clock, Sight
from isthmus.app.reading import Source
from isthmus.app.settings import Settings
from isthmus.app.text import plain
from isthmus.core.design import NveKind, TagScope
from isthmus.core.guard import Limits
from isthmus.model.boundary import Target, Wake
from isthmus.model.faults import Refused
from isthmus.model.flow import Bridge
from isthmus.model.intent import Intent
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.names import DvsId, HostId
from isthmus.model.observed import TargetId
from isthmus.model.scope import HostScope, Scope
from isthmus.model.shard import Duty, Shard, VidPool

NEVER = 1e9
"""Seconds that no command lives for."""


@dataclass(slots=True)
class Wiring:
    """Everything a process is connected to."""

    settings: Settings
    clock: Clock
    sight: Sight
    intent: Source[Intent]
    file: FileIntent
    vcenters: dict[str, Vcenter]
    inventories: dict[str, Source[Inventory]]
    placing: dict[str, Placing] = field(default_factory=dict)
    """How each deployment's shards are found, by its name."""
    charges: tuple[Charge, ...] = ()
    _switches: dict[DvsId, Target] = field(default_factory=dict)
    _ovs: dict[TargetId, OvsTarget] = field(default_factory=dict)
    _wake: Wake | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def config(self) -> Config:
        """The configuration behind it."""
        return self.settings.config

    def watch(self, wake: Wake) -> None:
        """Let everything that can notice a change wake the loop."""
        self._wake = wake
        self.file.watch(partial(self._news, self.intent, wake))
        for name, vcenter in self.vcenters.items():
            vcenter.inventory.watch(partial(self._news, self.inventories[name], wake))

    @staticmethod
    def _news(source: Source[Intent] | Source[Inventory], wake: Wake, hosts: frozenset[HostId] | None) -> None:
        source.woken()
        wake(hosts)

    def switch(self, vcenter: str, dvs: DvsId) -> Target:
        """A distributed switch."""
        if dvs not in self._switches:
            # Asks the vCenter, so without the lock: one that hangs must not delay another.
            made = self.vcenters[vcenter].switch(dvs)
            with self._lock:
                self._switches.setdefault(dvs, made)
        return self._switches[dvs]

    def ovs(self, deployment: DeploymentConfig, host: Host) -> OvsTarget:
        """The OVS of a host's appliance."""
        target = TargetId("ovs", host.id)
        with self._lock:
            if target not in self._ovs:
                made = OvsTarget(host.id, _ovs_settings(self.config, deployment, host.name))
                if self._wake is not None:
                    made.watch(self._wake)
                self._ovs[target] = made
            return self._ovs[target]

    def close(self) -> None:
        """Let go of everything; what was written stays."""
        for target in self._ovs.values():
            target.close()
        self.file.close()
        for vcenter in self.vcenters.values():
            vcenter.close()


def wire(settings: Settings, clock: Clock, *, once: bool = False) -> Wiring:
    """Connect nothing yet, but know how.  Raises Refused for a configuration that cannot be wired.

    `once` is for a command: a far side that did not answer it is not asked again.
    """
    config = settings.config
    first, longest = (NEVER, NEVER) if once else (config.loop.backoff_first, config.loop.backoff_longest)
    backoff = partial(Backoff, first, longest)
    file = FileIntent(config.intent.file)
    vcenters = {
        name: Vcenter(_vcenter_settings(settings, name), clock, _only_hosts(config, name)) for name in config.vcenter
    }
    wiring = Wiring(
        settings,
        clock,
        Sight(clock, backoff()),
        Source("intent file", file.read, clock, backoff()),
        file,
        vcenters,
        {
            name: Source(f"vCenter {name}", vcenter.inventory.read, clock, backoff())
            for name, vcenter in vcenters.items()
        },
    )
    wiring.charges = tuple(charge for name in config.deployment for charge in _charges(wiring, name))
    return wiring


def habits_of(config: Config) -> Habits:
    """How hard keepers try, as configured."""
    return Habits(
        passes=config.loop.passes,
        limits=Limits(config.guard.count, config.guard.share),
        move_deadline=config.loop.move_deadline,
        refused_again_after=config.loop.resync,
        backoff_first=config.loop.backoff_first,
        backoff_longest=config.loop.backoff_longest,
    )


def _charges(wiring: Wiring, name: str) -> list[Charge]:
    deployment = wiring.config.deployment[name]
    if deployment.design.nve is not NveKind.OVS or deployment.design.scope is not TagScope.HOST:
        raise Refused(f"deployment.{name}.design: '{deployment.design.name}' has no adapters yet; use 'ovsvapp'")
    placing = wiring.placing[name] = Placing(wiring, name, deployment)
    charges = []
    if deployment.port_groups:
        charges.append(placing.charge(f"{name}/port-groups", placing.port_groups, placing.switch_only))
    for host in deployment.served:
        here = partial(placing.tags, host)
        charges.append(placing.charge(f"{name}/{plain(host)}", here, partial(placing.switch_and_nve, host)))
    return charges


@dataclass(frozen=True, slots=True)
class Placing:
    """How one deployment's shards are found in an inventory."""

    wiring: Wiring
    name: str
    deployment: DeploymentConfig

    @property
    def vcenter(self) -> str:
        return self.wiring.config.vcenter_of(self.deployment)

    def charge(
        self, name: str, place: Callable[[Inventory], Placed], targets: Callable[[], tuple[Target, ...]]
    ) -> Charge:
        return Charge(
            name,
            self.deployment.design,
            self.wiring.intent,
            self.wiring.inventories[self.vcenter],
            targets,
            place,
            self.deployment.observe_only,
        )

    def switch_only(self) -> tuple[Target, ...]:
        inventory = self.wiring.inventories[self.vcenter].read().value
        return (self.wiring.switch(self.vcenter, self.dvs(inventory).id),)

    def switch_and_nve(self, host: str) -> tuple[Target, ...]:
        inventory = self.wiring.inventories[self.vcenter].read().value
        others = (self.wiring.switch(self.vcenter, dvs.id) for dvs in self._other_switches(inventory))
        return (*self.switch_only(), *others, self.wiring.ovs(self.deployment, self.host(inventory, host)))

    def _other_switches(self, inventory: Inventory) -> list[Dvs]:
        """Where networks may have more members: their port groups say so.  These are read, never written."""
        names = {
            other.dvs
            for name, other in self.wiring.config.deployment.items()
            if name != self.name and self.wiring.config.vcenter_of(other) == self.vcenter
        }
        return [dvs for dvs in inventory.switches.values() if dvs.name in names or dvs.id in names]

    def port_groups(self, inventory: Inventory) -> Placed:
        dvs = self.dvs(inventory)
        return self._placed(inventory, f"{self.name}/port-groups", None, dvs, dvs.hosts, {}, Duty.PORT_GROUPS)

    def tags(self, name: str, inventory: Inventory) -> Placed:
        dvs, host = self.dvs(inventory), self.host(inventory, name)
        if host.id not in dvs.hosts:
            raise Refused(
                f"host '{plain(name)}' is not a member of dvs '{plain(dvs.name)}': add it there, or serve others"
            )
        nves = {str(host.id): TargetId("ovs", host.id)}
        scope = HostScope(host.id, dvs.id)
        return self._placed(inventory, f"{self.name}/{plain(name)}", scope, dvs, frozenset({host.id}), nves, Duty.TAGS)

    def dvs(self, inventory: Inventory) -> Dvs:
        """The deployment's switch, by name or uuid."""
        wanted = self.deployment.dvs
        found = [dvs for dvs in inventory.switches.values() if wanted in (dvs.name, dvs.id)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(sorted(dvs.id for dvs in found))
            raise Refused(
                f"dvs '{plain(wanted)}' exists {len(found)} times in vCenter '{self.vcenter}': use a uuid of {ids}"
            )
        names = ", ".join(sorted(plain(dvs.name) for dvs in inventory.switches.values())) or "none"
        raise Refused(f"dvs '{plain(wanted)}' does not exist in vCenter '{self.vcenter}'; there are: {names}")

    def host(self, inventory: Inventory, name: str) -> Host:
        """A host by its name in vCenter."""
        found = [host for host in inventory.hosts.values() if host.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise Refused(f"host '{plain(name)}' exists {len(found)} times in vCenter '{self.vcenter}'")
        names = ", ".join(sorted(plain(host.name) for host in inventory.hosts.values())[:20]) or "none"
        raise Refused(f"host '{plain(name)}' does not exist in vCenter '{self.vcenter}'; there are: {names}")

    def _placed(
        self,
        inventory: Inventory,
        name: str,
        scope: Scope | None,
        dvs: Dvs,
        hosts: frozenset[HostId],
        nves: Mapping[str, TargetId],
        duties: Duty,
    ) -> Placed:
        shard = Shard(name, scope, (dvs.id,), hosts, nves, duties, self.wiring.config.installation)
        known = {
            host.id: replace(host, vtep=settings.vtep) if (settings := self.deployment.host.get(host.name)) else host
            for host in inventory.hosts.values()
        }
        pool = VidPool(
            self.deployment.vids,
            self.deployment.reserved,
            {
                HostScope(host.id, dvs.id): settings.reserved
                for host in inventory.hosts.values()
                if (settings := self.deployment.host.get(host.name)) and settings.reserved
            },
            self.deployment.reuse,
        )
        return Placed(shard, pool, replace(inventory, hosts=known))


def _only_hosts(config: Config, vcenter: str) -> frozenset[str] | None:
    """The hosts whose NICs this process needs whole; None: all."""
    here = [deployment for deployment in config.deployment.values() if config.vcenter_of(deployment) == vcenter]
    if any(deployment.serve == "all" for deployment in here):
        return None
    return frozenset(host for deployment in here for host in deployment.served)


def _vcenter_settings(settings: Settings, name: str) -> VcenterSettings:
    vcenter = settings.config.vcenter[name]
    return VcenterSettings(
        url=vcenter.url,
        user=vcenter.user,
        password=lambda: settings.password(name),
        ca_file=None if vcenter.ca_file is None else str(vcenter.ca_file),
        thumbprint=vcenter.thumbprint,
        insecure=vcenter.insecure,
        timeout=vcenter.timeout,
        task_timeout=vcenter.task_timeout,
        move_deadline=settings.config.loop.move_deadline,
    )


def _ovs_settings(config: Config, deployment: DeploymentConfig, host: str) -> OvsSettings:
    appliance = config.appliance_of(deployment, host)
    given: dict[str, Any] = {
        key: value
        for key in ("ovsdb", "datapath_type", "vxlan_port", "timeout")
        if (value := getattr(appliance, key)) is not None
    }
    if appliance.rundir is not None:
        given["rundir"] = str(appliance.rundir)
    if appliance.tls is not None:
        given["tls"] = TlsFiles(str(appliance.tls.key), str(appliance.tls.certificate), str(appliance.tls.ca))
    if appliance.openflow is not None:
        given["openflow"] = {Bridge.INT: appliance.openflow.br_int, Bridge.TUN: appliance.openflow.br_tun}
    try:
        return OvsSettings(
            trunk=appliance.trunk or "", vtep=deployment.host[host].vtep, owner=config.installation, **given
        )
    except ValueError as wrong:
        raise Refused(f"the OVS of host '{plain(host)}': {wrong}") from wrong
