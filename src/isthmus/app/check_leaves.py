"""Preflight of a deployment whose NVEs are leaf switches: its switches, its hosts, its leaves.  Only reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

from isthmus.app.cabling import REMEDY
from isthmus.app.config import Config, DeploymentConfig, HwvtepLeafConfig, NgsLeafConfig
from isthmus.app.finding import Finding, Level
from isthmus.app.text import plain
from isthmus.app.wiring import Wiring
from isthmus.model.faults import Refused, Retry
from isthmus.model.inventory import Dvs, Inventory

_WHEN_SILENT = {
    "hwvtep": "start its OVSDB, or correct 'target'",
    "ngs": "see that ssh gets there with this user, key or password and host key, or correct 'ip'",
}

_TARGETS_BY_AS = ("netmiko_arista_eos", "netmiko_cisco_nxos")
"""Device types to which `route-target auto` means their own AS number and the VNI."""
_TARGETS_IF_ASKED = "netmiko_juniper"
"""One that is told such a target where `ngs_evpn_vni_config` says so."""


def below_leaves(
    wiring: Wiring, name: str, inventory: Inventory, switches: Sequence[Dvs], mtu: int
) -> Iterator[Finding]:
    """All there is to say of a deployment."""
    deployment = wiring.config.deployment[name]
    for dvs in switches:
        yield from _switch(wiring, name, deployment, dvs, mtu)
        if missing := wiring.placing[name].unattached(inventory, dvs):
            what = f"members of dvs '{plain(dvs.name)}' below no leaf of this deployment: {', '.join(missing)}"
            remedy = (
                "give each a host table with leaf and ports, or take it off the switch; until then nothing is written"
            )
            yield Finding(Level.ERROR, f"deployment.{name}.host", what, remedy)
    try:
        members = frozenset(host for dvs in switches for host in dvs.hosts)
        wiring.placing[name].refuse_torn_clusters(inventory, members)
    except Refused as torn:
        remedy = "one cluster lies inside one deployment; until then nothing is written"
        yield Finding(Level.ERROR, f"deployment.{name}.host", str(torn), remedy)
    yield from _hosts(wiring, name, deployment, inventory, switches)
    yield from _cabling(wiring, name)
    yield from _route_targets(wiring.config, name)
    for leaf in deployment.leaf:
        yield from _leaf(wiring, name, deployment, leaf, inventory)


def _switch(wiring: Wiring, name: str, deployment: DeploymentConfig, dvs: Dvs, mtu: int) -> Iterator[Finding]:
    place, vids = f"deployment.{name}", deployment.vids - deployment.reserved
    try:
        found = wiring.vcenters[wiring.placing[name].vcenter].preflight(dvs.id, vids=vids, mtu=mtu, wired=True)
    except (Refused, Retry) as fault:
        yield Finding(Level.ERROR, f"{place}.dvs", f"cannot be read: {fault}", "check the role's privileges")
        return
    for item in found:
        level = Level.ERROR if item.fatal else Level.WARNING
        yield Finding(level, f"{place}: {item.place}", item.problem, item.remedy)
    if not found:
        what = f"'{plain(dvs.name)}' carries all these VIDs to its leaves; MTU {dvs.mtu}"
        yield Finding(Level.GOOD, f"{place}.dvs", what)


def _hosts(
    wiring: Wiring, name: str, deployment: DeploymentConfig, inventory: Inventory, switches: Sequence[Dvs]
) -> Iterator[Finding]:
    members = {host for dvs in switches for host in dvs.hosts}
    names = ", ".join(f"'{plain(dvs.name)}'" for dvs in switches)
    for host_name in deployment.host:
        here = f'deployment.{name}.host."{plain(host_name)}"'
        try:
            host = wiring.placing[name].host(inventory, host_name)
        except Refused as fault:
            yield Finding(Level.WARNING, here, str(fault), "write its name as vCenter does, or take it out")
            continue
        if host.id not in members:
            yield Finding(Level.WARNING, here, f"is not a member of dvs {names}", "add the host to the switch")
        elif not host.connected:
            yield Finding(
                Level.WARNING, here, "is not connected to vCenter", "where its VMs are is not known until then"
            )


def _cabling(wiring: Wiring, name: str) -> Iterator[Finding]:
    """What the hosts' NICs hear by LLDP or CDP.  Silence is no fault."""
    cabling = wiring.cabling[name]
    try:
        cabling.look()
    except (Refused, Retry) as fault:
        yield Finding(Level.WARNING, f"deployment.{name}", f"what hosts hear by LLDP cannot be read: {fault}")
        return
    wrong = list(cabling.disagreements())
    for host, what in wrong:
        yield Finding(Level.WARNING, f'deployment.{name}.host."{plain(host)}"', what, REMEDY)
    if cabling.heard and not wrong:
        heard, hosts = len({host for host, _ in cabling.heard}), len(wiring.config.deployment[name].host)
        what = f"LLDP or CDP agrees with 'leaf' and 'ports' for {heard} of {hosts} hosts"
        yield Finding(Level.GOOD, f"deployment.{name}.host", what)


def _leaf(
    wiring: Wiring, name: str, deployment: DeploymentConfig, leaf: str, inventory: Inventory
) -> Iterator[Finding]:
    place, settings = f"deployment.{name}.leaf.{leaf}", deployment.leaf[leaf]
    if leaf not in deployment.own_leaves:
        yield Finding(Level.GOOD, place, "another controller tells it what a VID means: it is neither read nor written")
        return
    target = wiring.leaf(wiring.placing[name], leaf, wiring.placing[name].below(inventory, leaf))
    try:
        found = target.findings()
    except (Refused, Retry) as fault:
        yield Finding(Level.ERROR, place, str(fault), _WHEN_SILENT[settings.driver])
        return
    if deaf := _told_where_all_is(wiring) if isinstance(settings, NgsLeafConfig) else []:
        what = f"learns by BGP EVPN who is where, which {', '.join(deaf)} cannot tell it: a network of both is two"
        yield Finding(Level.WARNING, place, what, "have no network on both sides, or leaves of one kind")
    for finding in found:
        yield Finding(Level.ERROR if finding.is_problem else Level.WARNING, place, finding.what, finding.remedy)
    if not found:
        ports = ", ".join(deployment.ports_of(leaf))
        yield Finding(Level.GOOD, place, f"answers; it sends from {settings.vtep}, and has {ports}")


def _route_targets(config: Config, name: str) -> Iterator[Finding]:
    """Leaves that make the route target of a network of their own AS number meet only those of the same number."""
    numbers: defaultdict[str, list[str]] = defaultdict(list)
    for deployment in config.deployment.values():
        for leaf, found in deployment.leaf.items():
            if not isinstance(found, NgsLeafConfig) or not _targets_by_as(found):
                continue
            if number := found.options.get("ngs_bgp_asn"):
                numbers[number].append(leaf)
    if len(numbers) > 1 and not config.deployment[name].leaf.keys().isdisjoint(chain(*numbers.values())):
        said = "; ".join(f"{number} on {', '.join(leaves)}" for number, leaves in sorted(numbers.items()))
        what = f"leaves have different ngs_bgp_asn ({said}): each takes the routes of its own number's targets alone"
        yield Finding(Level.WARNING, f"deployment.{name}.leaf", what, "have one AS number, or rewrite targets in BGP")


def _targets_by_as(leaf: NgsLeafConfig) -> bool:
    asked = leaf.options.get("ngs_evpn_vni_config", "").strip().lower() in ("true", "yes", "1")
    return leaf.device_type in _TARGETS_BY_AS or (leaf.device_type == _TARGETS_IF_ASKED and asked)


def _told_where_all_is(wiring: Wiring) -> list[str]:
    """The deployments, and leaves, whose NVEs we tell who is where: they speak no EVPN."""
    told = []
    for name, deployment in wiring.config.deployment.items():
        if deployment.design.nve.on_each_host:
            told.append(f"the appliances of '{name}'")
        told += [f"leaf '{leaf}'" for leaf, found in deployment.leaf.items() if isinstance(found, HwvtepLeafConfig)]
    return told
