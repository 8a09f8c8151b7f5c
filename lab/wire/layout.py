"""How each design is laid out in the lab: which switches, which NVEs, and which shards with which duties."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.core.design import Design, NveKind, TagScope
from isthmus.model.boundary import Target
from isthmus.model.names import ClusterId, DvsId, HostId, LeafId, NicId
from isthmus.model.observed import TargetId, Trunk
from isthmus.model.place import PlaceKind
from isthmus.model.scope import ClusterScope, FabricScope, HostScope, LeafScope, Scope
from isthmus.model.shard import Duty, Shard
from isthmus.model.tags import ALL_VIDS
from lab.wire.leaf import WireLeaf
from lab.wire.nve import WireNve
from lab.wire.ovs import WireOvs
from lab.wire.switch import StandardSwitchTarget, SwitchTarget
from lab.wire.vcenter import VCenter
from lab.wire.vrouter import Directory, WireVrouter
from lab.wire.vsphere import EsxHost, StandardPortGroup

TENANT = "tenant"
TRUNK = "isthmus-trunk"
APPLIANCE = "nve"
FABRIC = "fabric"


@dataclass(slots=True)
class Layout:
    """The far sides of a world and the shards that reconcile them."""

    targets: dict[TargetId, Target]
    nves: dict[str, WireNve]
    trunks: dict[NicId, WireNve]
    leaves: dict[HostId, WireNve]
    shards: list[Shard]
    directory: Directory


def lay_out(design: Design, vcenter: VCenter, *, distributed: bool = False, switch_per_cluster: bool = False) -> Layout:
    """Make the switches and NVEs that `design` stands on, for the hosts that are there.

    `distributed`: one shard per host, which sees and writes its own NVE only, and one for the port groups.
    `switch_per_cluster`: as many deployments as clusters, each distributed over a switch of its own.
    """
    layout = Layout({}, {}, {}, {}, [], Directory())
    _make_nves(design, vcenter, layout)
    match design.place:
        case PlaceKind.HOST_PORT_GROUP:
            _on_standard_switches(vcenter, layout)
        case PlaceKind.DV_PORT if switch_per_cluster:
            for name, hosts in _by(vcenter, "cluster").items():
                _as_a_deployment(name.rpartition("/")[2], hosts, vcenter, layout)
        case PlaceKind.DV_PORT:
            _on_one_switch(vcenter, layout, distributed=distributed)
        case PlaceKind.DV_PORT_GROUP:
            _on_a_switch_per_scope(design, vcenter, layout)
    return layout


def _make_nves(design: Design, vcenter: VCenter, layout: Layout) -> None:
    if design.nve is NveKind.LEAF:
        for leaf, hosts in _by(vcenter, "leaf").items():
            vtep = next(host.vtep for host in hosts if host.vtep)
            nve = WireLeaf(LeafId(leaf), vtep, (host.id for host in hosts), vcenter.clock)
            layout.nves[leaf] = nve
            layout.leaves |= {host.id: nve for host in hosts}
    else:
        for host in vcenter.hosts.values():
            layout.nves[host.id] = _nve_of(design, host, vcenter, layout)
    layout.targets |= {nve.id: nve for nve in layout.nves.values()}


def _nve_of(design: Design, host: EsxHost, vcenter: VCenter, layout: Layout) -> WireNve:
    assert host.vtep is not None
    if design.nve is NveKind.OVS:
        return WireOvs(host.id, host.vtep, vcenter.clock)
    return WireVrouter(host.id, host.vtep, vcenter.clock, layout.directory, design.nve.value)


def _on_standard_switches(vcenter: VCenter, layout: Layout) -> None:
    for host in list(vcenter.hosts.values()):
        switch = vcenter.add_standard_switch(host.id, TENANT)
        switch.port_groups[TRUNK] = StandardPortGroup(TRUNK, Trunk(ALL_VIDS), forged_transmits=True, promiscuous=True)
        _place_appliance(vcenter, layout, host, TRUNK)
        target = StandardSwitchTarget(vcenter, host.id, TENANT)
        layout.targets[target.id] = target
        layout.shards.append(_shard(host.name, HostScope(host.id, TENANT), (), (host,), layout))


def _on_one_switch(vcenter: VCenter, layout: Layout, *, distributed: bool) -> None:
    hosts = list(vcenter.hosts.values())
    dvs = _tenant_switch(vcenter, layout, TENANT, hosts)
    if not distributed:
        layout.shards.append(_shard("all hosts", None, (dvs,), hosts, layout))
        return
    layout.shards.append(Shard("port groups", None, (dvs,), frozenset(), {}, Duty.PORT_GROUPS))
    for host in hosts:
        layout.shards.append(_shard(host.name, HostScope(host.id, dvs), (dvs,), (host,), layout, Duty.TAGS))


def _as_a_deployment(name: str, hosts: list[EsxHost], vcenter: VCenter, layout: Layout) -> None:
    dvs = _tenant_switch(vcenter, layout, f"{TENANT}-{name}", hosts)
    members = frozenset(host.id for host in hosts)
    layout.shards.append(Shard(f"{name}/port-groups", None, (dvs,), members, {}, Duty.PORT_GROUPS))
    for host in hosts:
        layout.shards.append(_shard(f"{name}/{host.name}", HostScope(host.id, dvs), (dvs,), (host,), layout, Duty.TAGS))


def _on_a_switch_per_scope(design: Design, vcenter: VCenter, layout: Layout) -> None:
    kind = {TagScope.CLUSTER: "cluster", TagScope.LEAF: "leaf", TagScope.FABRIC: "fabric"}[design.scope]
    for name, hosts in _by(vcenter, kind).items():
        short = name.rpartition("/")[2]
        if design.nve is NveKind.LEAF:
            switch = vcenter.add_switch(f"{TENANT}-{short}", {host.id for host in hosts}, uplink_vids=ALL_VIDS)
            target = SwitchTarget(vcenter, switch.id)
            layout.targets[target.id] = target
            dvs = switch.id
        else:
            dvs = _tenant_switch(vcenter, layout, f"{TENANT}-{short}", hosts)
        layout.shards.append(_shard(short, _scope(design, name), (dvs,), hosts, layout))


def _tenant_switch(vcenter: VCenter, layout: Layout, name: str, hosts: Iterable[EsxHost]) -> DvsId:
    """A closed distributed switch: no uplinks, and the appliance of each host on its trunk port group."""
    members = list(hosts)
    switch = vcenter.add_switch(name, {host.id for host in members})
    trunk = vcenter.add_port_group(switch.id, TRUNK, Trunk(ALL_VIDS), forged=True, mac_learning=True)
    for host in members:
        _place_appliance(vcenter, layout, host, (switch.id, trunk.key))
    target = SwitchTarget(vcenter, switch.id)
    layout.targets[target.id] = target
    return switch.id


def _place_appliance(vcenter: VCenter, layout: Layout, host: EsxHost, socket: tuple[DvsId, str] | str) -> None:
    vm = vcenter.create_vm(f"{APPLIANCE}-{host.name}", host.id, socket)
    (nic,) = vm.nics.values()
    layout.trunks[nic.id] = layout.nves[host.id]


def _scope(design: Design, name: str) -> Scope:
    match design.scope:
        case TagScope.CLUSTER:
            return ClusterScope(ClusterId(name))
        case TagScope.LEAF:
            return LeafScope(LeafId(name))
        case _:
            return FabricScope(FABRIC)


def _shard(
    name: str,
    scope: Scope | None,
    switches: tuple[DvsId, ...],
    hosts: Iterable[EsxHost],
    layout: Layout,
    duties: Duty = Duty.PORT_GROUPS | Duty.TAGS,
) -> Shard:
    members = list(hosts)
    keys = {str(host.leaf) if layout.leaves else host.id for host in members}
    nves = {key: layout.nves[key].id for key in sorted(keys)}
    return Shard(name, scope, switches, frozenset(host.id for host in members), nves, duties)


def _by(vcenter: VCenter, kind: str) -> dict[str, list[EsxHost]]:
    groups: defaultdict[str, list[EsxHost]] = defaultdict(list)
    for host in vcenter.hosts.values():
        groups[{"cluster": str(host.cluster), "leaf": str(host.leaf), "fabric": FABRIC}[kind]].append(host)
    return dict(groups)
