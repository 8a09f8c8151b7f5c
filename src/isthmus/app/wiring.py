"""From configuration to shards, sources and targets.  The only place that names adapters.

An adapter whose far side nobody configured is not imported: the library that it needs may be missing (_extra).

With an appliance on each host, one shard per host and switch writes tags and that host's NVE; one per switch writes
its port groups, if this process is told to.  With leaves, one shard of a deployment writes all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.adapters.leaf.ngs import NgsSettings, NgsTarget
from isthmus.adapters.leaf.pair import Leaf, LeafPair
from isthmus.adapters.tls import TlsFiles
from isthmus.app.backoff import Backoff
from isthmus.app.cabling import Cabling
from isthmus.app.config import Config, DeploymentConfig, HwvtepLeafConfig, NgsLeafConfig, TlsConfig
from isthmus.app.keeper import Charge, Habits, Placed, Remark
from isthmus.app.observing import Clock, Sight
from isthmus.app.placing import Placing
from isthmus.app.reading import Source
from isthmus.app.settings import Settings
from isthmus.app.text import plain
from isthmus.core.appliances import astray
from isthmus.core.design import NveKind
from isthmus.core.guard import Limits
from isthmus.model.boundary import IntentSource, LeaderLock, Target, Wake
from isthmus.model.faults import Refused, Retry
from isthmus.model.flow import Bridge
from isthmus.model.intent import Intent
from isthmus.model.inventory import Host, Inventory
from isthmus.model.names import DvsId, HostId, LeafId, NetworkId
from isthmus.model.observed import TargetId

if TYPE_CHECKING:
    from isthmus.adapters.contrail.vrouter import VrouterTarget
    from isthmus.adapters.leaf.hwvtep import HwvtepSettings
    from isthmus.adapters.ovs import OvsTarget, PluggerTarget
    from isthmus.adapters.vcenter import Vcenter
    from isthmus.app.contrail import ContrailSide
    from isthmus.app.neutron import NeutronSide

NEVER = 1e9
"""Seconds that no command lives for."""


@dataclass(slots=True)
class Wiring:
    """Everything a process is connected to."""

    settings: Settings
    clock: Clock
    sight: Sight
    intent: Source[Intent]
    wanted: IntentSource
    """Where the intent is read from."""
    vcenters: dict[str, Vcenter]
    inventories: dict[str, Source[Inventory]]
    placing: dict[str, Placing] = field(default_factory=dict)
    """How each deployment's shards are found, by its name."""
    cabling: dict[str, Cabling] = field(default_factory=dict)
    """What the hosts of each deployment with leaves hear, by its name."""
    charges: tuple[Charge, ...] = ()
    neutron: NeutronSide | None = None
    contrail: ContrailSide | None = None
    lock: LeaderLock | None = None
    may_write: Callable[[], bool] = lambda: True
    """Whether this process leads, where several may."""
    _switches: dict[DvsId, Target] = field(default_factory=dict)
    _ovs: dict[TargetId, OvsTarget | PluggerTarget] = field(default_factory=dict)
    _vrouters: dict[TargetId, VrouterTarget] = field(default_factory=dict)
    _leaves: dict[TargetId, Leaf] = field(default_factory=dict)
    _wake: Wake | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def config(self) -> Config:
        """The configuration behind it."""
        return self.settings.config

    def watch(self, wake: Wake) -> None:
        """Let everything that can notice a change wake the loop."""
        self._wake = wake
        if self.contrail is not None:
            self.contrail.watch(wake)
        self.wanted.watch(partial(self._news, self.intent, wake))
        for name, vcenter in self.vcenters.items():
            vcenter.inventory.watch(partial(self._news, self.inventories[name], wake))
        if self.neutron is not None:
            self.neutron.open(partial(self._news, self.intent, wake))

    def _news(self, source: Source[Intent] | Source[Inventory], wake: Wake, hosts: frozenset[HostId] | None) -> None:
        source.woken()
        # A vCenter names the hosts that share a port group; a network has one on each deployment's switch.
        wake(hosts if len(self.config.deployment) == 1 else None)

    def switch(self, vcenter: str, dvs: DvsId) -> Target:
        """A distributed switch."""
        if dvs not in self._switches:
            # Asks the vCenter, so without the lock: one that hangs must not delay another.
            made = self.vcenters[vcenter].switch(dvs)
            with self._lock:
                self._switches.setdefault(dvs, made)
        return self._switches[dvs]

    def ovs(self, deployment: DeploymentConfig, host: Host) -> OvsTarget | PluggerTarget:
        """The OVS of a host's appliance."""
        target = TargetId(deployment.design.nve.value, host.id)
        with self._lock:
            if target not in self._ovs:
                keeps = self._wake is not None and not deployment.observe_only
                made = _ovs(self.config, deployment, host, keeps=keeps, astray=self._astray(deployment, host))
                if self._wake is not None:
                    made.watch(self._wake)
                self._ovs[target] = made
            return self._ovs[target]

    def vrouter(self, deployment: DeploymentConfig, host: Host) -> VrouterTarget:
        """The vRouter agent of a host."""
        if self.contrail is None:
            raise Refused(f"host '{plain(host.name)}' has a vRouter, and networks do not come from Contrail")
        target = TargetId(deployment.design.nve.value, host.id)
        with self._lock:
            if target not in self._vrouters:
                self._vrouters[target] = self.contrail.vrouter(deployment, host, lambda: self.may_write())
            return self._vrouters[target]

    def forget(self) -> None:
        """What was told to far sides that cannot be asked: another process may have told them other things since."""
        with self._lock:
            for vrouter in self._vrouters.values():
                vrouter.forget()

    def _astray(self, deployment: DeploymentConfig, host: Host) -> Callable[[], str]:
        """How it is found out that a host's appliance is on another."""
        appliance = deployment.host[host.name].bios_uuid
        if appliance is None:
            return str
        inventory = self.inventories[self.config.vcenter_of(deployment)]
        return lambda: astray(inventory.read().value, host.id, appliance)

    def leaf(self, placing: Placing, leaf: str, hosts: frozenset[HostId]) -> Leaf:
        """A leaf switch, or a pair, with these hosts below it."""
        target = TargetId("leaf", leaf)
        with self._lock:
            if target not in self._leaves:
                keeps = self._wake is not None and not placing.deployment.observe_only
                members: list[tuple[str, Leaf]] = []
                for settings in _leaf_settings(self.settings, placing.name, leaf):
                    if isinstance(settings, NgsSettings):
                        members.append((settings.address, NgsTarget(LeafId(leaf), settings)))
                    else:
                        hwvtep = _hwvtep(LeafId(leaf), settings, hosts, keeps=keeps)
                        members.append((settings.target, hwvtep))
                made = LeafPair(members) if len(members) > 1 else members[0][1]
                if self._wake is not None:
                    made.watch(self._wake)
                self._leaves[target] = made
            return self._leaves[target]

    def explained(self, wanted: str) -> list[dict[str, Any]]:
        """What the source of the intent knows of a port that no shard does."""
        return [] if self.neutron is None else self.neutron.explained(wanted)

    def holders(self, network: NetworkId, hosts: Mapping[HostId, str]) -> list[str]:
        """What the source of the intent has in a network."""
        return [] if self.contrail is None else self.contrail.holders(network, hosts)

    def unlooked(self, wanted: str) -> list[dict[str, Any]]:
        """The same of a port on a host that no shard looks at now."""
        return [] if self.neutron is None else self.neutron.unlooked(wanted)

    def close(self) -> None:
        """Let go of everything; what was written stays."""
        for ovs in self._ovs.values():
            ovs.close()
        for vrouter in self._vrouters.values():
            vrouter.close()
        for leaf in self._leaves.values():
            leaf.close()
        if self.lock is not None:
            self.lock.close()
        (self.neutron or self.contrail or self.wanted).close()
        for vcenter in self.vcenters.values():
            vcenter.close()


def wire(settings: Settings, clock: Clock, *, once: bool = False) -> Wiring:
    """Connect nothing yet, but know how.  Raises Refused for a configuration that cannot be wired.

    `once` is for a command: a far side that did not answer it is not asked again.
    """
    config = settings.config
    _refuse_unfit_leaves(settings)
    if any(d.design.nve in (NveKind.OVS, NveKind.STOCK_OVS) and d.served for d in config.deployment.values()):
        with _extra("ovs", "appliances"):
            import isthmus.adapters.ovs  # noqa: F401  now, and not only when the first of them is looked at
    first, longest = (NEVER, NEVER) if once else (config.loop.backoff_first, config.loop.backoff_longest)
    backoff = partial(Backoff, first, longest)
    neutron = _neutron(settings, clock) if config.intent.neutron is not None else None
    contrail = _contrail(settings, clock) if config.intent.contrail is not None else None
    side = neutron or contrail
    wanted: IntentSource = side.intent if side is not None else _file_intent(config)
    vcenters = {name: _vcenter(settings, name, clock) for name in config.vcenter}
    wiring = Wiring(
        settings,
        clock,
        Sight(clock, backoff()),
        _source(wanted, neutron, contrail, clock, backoff()),
        wanted,
        vcenters,
        {
            name: Source(f"vCenter {name}", vcenter.inventory.read, clock, backoff(), silence=vcenter.inventory.silence)
            for name, vcenter in vcenters.items()
        },
    )
    wiring.neutron, wiring.contrail = neutron, contrail
    wiring.lock = _lock(config)
    wiring.charges = tuple(charge for name in config.deployment for charge in _charges(wiring, name))
    return wiring


def _source(
    wanted: IntentSource, neutron: NeutronSide | None, contrail: ContrailSide | None, clock: Clock, backoff: Backoff
) -> Source[Intent]:
    if neutron is not None:
        return Source("Neutron", wanted.read, clock, backoff, holds=neutron.intent.holds)
    if contrail is not None:
        intent = contrail.intent
        return Source(
            "Contrail",
            wanted.read,
            clock,
            backoff,
            silence=intent.silence,
            holds=intent.holds,
            doubt=intent.doubt,
            remark=intent.remark,
        )
    return Source("intent file", wanted.read, clock, backoff)


@contextmanager
def _extra(extra: str, wanted_by: str) -> Iterator[None]:
    """Whatever is imported herein needs the libraries of an extra.  Raises Refused if they are missing."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("isthmus"):
            raise
        raise Refused(f"{wanted_by}: {missing.name} is not installed: install isthmus with [{extra}]") from missing


def _neutron(settings: Settings, clock: Clock) -> NeutronSide:
    with _extra("neutron", "intent.neutron"):
        from isthmus.app.neutron import NeutronSide
    return NeutronSide(settings, clock)


def _contrail(settings: Settings, clock: Clock) -> ContrailSide:
    with _extra("contrail", "intent.contrail"):
        from isthmus.app.contrail import ContrailSide
    return ContrailSide(settings, clock)


def _lock(config: Config) -> LeaderLock | None:
    if config.leader is None:
        return None
    with _extra("contrail", "leader"):
        from isthmus.adapters.zookeeper import ZooKeeperLock
    return ZooKeeperLock(config.leader.zookeeper, config.installation, config.leader.name, config.leader.lease)


def _file_intent(config: Config) -> IntentSource:
    with _extra("file", "intent.file"):
        from isthmus.adapters.file import FileIntent
    return FileIntent(config.intent.file or Path())


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
    placing = wiring.placing[name] = Placing(wiring.config, name, deployment)

    def charge(shard: str, place: Callable[[Inventory], Placed], targets: Callable[[], tuple[Target, ...]]) -> Charge:
        inventory = wiring.inventories[placing.vcenter]
        observe_only = deployment.observe_only
        by_hand = deployment.by_hand
        missed = partial(_missed, wiring, name) if shard in (name, f"{name}/port-groups") else tuple
        own = Charge(shard, deployment.design, wiring.intent, inventory, targets, place, observe_only, by_hand)
        return replace(own, missed=missed)

    if not deployment.design.nve.on_each_host:
        leaves = partial(_switches_and_leaves, wiring, placing)
        vcenter = placing.vcenter
        cabling = wiring.cabling[name] = Cabling(placing, wiring.inventories[vcenter], wiring.vcenters[vcenter])
        fabric = replace(charge(name, placing.fabric, leaves), remarks=cabling.remarks)
        return [fabric] if deployment.port_groups else []
    charges = []
    if deployment.port_groups:
        groups = charge(f"{name}/port-groups", placing.port_groups, partial(_switches, wiring, placing))
        standing_on_it = frozenset(f"{name}/{plain(host)}" for host in deployment.served)
        elsewhere = frozenset(deployment.host) - frozenset(deployment.served)
        charges.append(replace(groups, released_after=standing_on_it, hosts_elsewhere=elsewhere))
    for host in deployment.served:
        here = partial(placing.tags, host)
        charges.append(charge(f"{name}/{plain(host)}", here, partial(_switches_and_nve, wiring, placing, host)))
    return charges


def _missed(wiring: Wiring, name: str) -> Sequence[Remark]:
    """What Neutron waits for in a deployment that is handed back."""
    if wiring.neutron is None:
        return ()
    with suppress(Retry, Refused):  # the last answer will do
        wiring.intent.read()
    return wiring.neutron.missed(name)


def _switches(wiring: Wiring, placing: Placing) -> tuple[Target, ...]:
    """The deployment's switch, and the others, which are only read: they say whose a VNI is, and who else is there."""
    inventory = wiring.inventories[placing.vcenter].read().value
    dvses = (*placing.switches(inventory), *placing.other_switches(inventory))
    return tuple(wiring.switch(placing.vcenter, dvs.id) for dvs in dvses)


def _switches_and_nve(wiring: Wiring, placing: Placing, host: str) -> tuple[Target, ...]:
    inventory = wiring.inventories[placing.vcenter].read().value
    deployment, known = placing.deployment, placing.host(inventory, host)
    at_vrouter = deployment.design.nve is NveKind.VROUTER
    nve: Target = wiring.vrouter(deployment, known) if at_vrouter else wiring.ovs(deployment, known)
    return (*_switches(wiring, placing), nve)


def _switches_and_leaves(wiring: Wiring, placing: Placing) -> tuple[Target, ...]:
    inventory = wiring.inventories[placing.vcenter].read().value
    own = placing.deployment.own_leaves
    leaves = (wiring.leaf(placing, leaf, placing.below(inventory, leaf)) for leaf in own)
    return (*_switches(wiring, placing), *leaves)


def _only_hosts(config: Config, vcenter: str) -> frozenset[str] | None:
    """The hosts whose NICs this process needs whole; None: all."""
    here = [deployment for deployment in config.deployment.values() if config.vcenter_of(deployment) == vcenter]
    if any(deployment.serve == "all" for deployment in here):
        return None
    return frozenset(host for deployment in here for host in deployment.served)


def _machines(config: Config, vcenter: str) -> frozenset[str]:
    """The appliances that this process serves, by BIOS UUID, as far as they have one in the configuration."""
    here = [deployment for deployment in config.deployment.values() if config.vcenter_of(deployment) == vcenter]
    found = (deployment.host[host].bios_uuid for deployment in here for host in deployment.served)
    return frozenset(uuid for uuid in found if uuid is not None)


def _vcenter(settings: Settings, name: str, clock: Clock) -> Vcenter:
    with _extra("vcenter", f"vcenter.{name}"):
        from isthmus.adapters.vcenter import Vcenter, VcenterSettings
    vcenter, contrail = settings.config.vcenter[name], settings.config.intent.contrail
    how = VcenterSettings(
        url=vcenter.url,
        user=vcenter.user,
        password=lambda: settings.password(name),
        ca_file=None if vcenter.ca_file is None else str(vcenter.ca_file),
        thumbprint=vcenter.thumbprint,
        insecure=vcenter.insecure,
        timeout=vcenter.timeout,
        task_timeout=vcenter.task_timeout,
        move_deadline=settings.config.loop.move_deadline,
        reads_guests=contrail is not None and contrail.guest_addresses,
    )
    return Vcenter(how, clock, _only_hosts(settings.config, name), _machines(settings.config, name))


def _ovs(
    config: Config, deployment: DeploymentConfig, host: Host, *, keeps: bool, astray: Callable[[], str]
) -> OvsTarget | PluggerTarget:
    from isthmus.adapters.ovs import OvsSettings, OvsTarget, PluggerTarget

    appliance = config.appliance_of(deployment, host.name)
    given: dict[str, Any] = {
        key: value
        for key in ("ovsdb", "datapath_type", "vxlan_port", "timeout")
        if (value := getattr(appliance, key)) is not None
    }
    if appliance.sockets is not None:
        given["rundir"] = str(appliance.sockets)
    if appliance.tls is not None:
        given["tls"] = _tls_files(appliance.tls)
    if appliance.openflow is not None:
        given["openflow"] = {Bridge.INT: appliance.openflow.br_int, Bridge.TUN: appliance.openflow.br_tun}
    plugs = deployment.design.nve is NveKind.STOCK_OVS
    try:
        settings = OvsSettings(
            trunk=appliance.trunk or "",
            vtep=deployment.vtep_of(host.name) or "",
            owner=config.installation,
            own_flows=not plugs,
            **given,
        )
    except ValueError as wrong:
        raise Refused(f"the OVS of host '{plain(host.name)}': {wrong}") from wrong
    return (PluggerTarget if plugs else OvsTarget)(host.id, settings, keeps=keeps, astray=astray)


def _hwvtep(leaf: LeafId, settings: HwvtepSettings, hosts: frozenset[HostId], *, keeps: bool) -> Leaf:
    from isthmus.adapters.leaf.hwvtep import HwvtepTarget

    return HwvtepTarget(leaf, settings, hosts or None, keeps=keeps)


def _leaf_settings(settings: Settings, deployment: str, name: str) -> list[HwvtepSettings | NgsSettings]:
    """Those of a leaf, or of each member of a pair; none of one that is not ours to tell.

    Raises ValueError for what cannot work.
    """
    placed = settings.config.deployment[deployment]
    ports = placed.ports_of(name)
    match placed.leaf[name]:
        case HwvtepLeafConfig() as leaf:
            return [_hwvtep_settings(leaf, target, ports, settings.config.installation) for target in leaf.target]
        case NgsLeafConfig() as leaf:
            vids = placed.vids - placed.reserved
            secrets = partial(settings.secrets_of, deployment, name)
            return [NgsSettings(leaf.device_type, ip, ports, vids, leaf.options, secrets) for ip in leaf.ip]
    return []


def _hwvtep_settings(leaf: HwvtepLeafConfig, target: str, ports: tuple[str, ...], owner: str) -> HwvtepSettings:
    with _extra("leaf", "driver 'hwvtep'"):
        from isthmus.adapters.leaf.hwvtep import HwvtepSettings
    given: dict[str, Any] = {key: value for key in ("switch", "timeout") if (value := getattr(leaf, key)) is not None}
    if leaf.tls is not None:
        given["tls"] = _tls_files(leaf.tls)
    return HwvtepSettings(target, leaf.vtep, ports, owner, **given)


def _tls_files(tls: TlsConfig) -> TlsFiles:
    return TlsFiles(str(tls.key), str(tls.certificate), str(tls.ca))


def _refuse_unfit_leaves(settings: Settings) -> None:
    """Raises Refused with all that is wrong with the leaves' settings."""
    wrong: list[str] = []
    for name, deployment in settings.config.deployment.items():
        for leaf in deployment.leaf:
            try:
                _leaf_settings(settings, name, leaf)
            except ValueError as fault:
                wrong.extend(f"deployment.{name}.leaf.{leaf}: {line}" for line in str(fault).splitlines())
    if wrong:
        raise Refused("\n".join(wrong))
