"""Preflight: what must be so before anything is written; each finding has its place and its remedy.  Only reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isthmus.app.check_leaves import below_leaves
from isthmus.app.check_underlay import room
from isthmus.app.config import DeploymentConfig
from isthmus.app.finding import Finding, Level
from isthmus.app.leading import asked_until
from isthmus.app.placing import SPLIT
from isthmus.app.text import plain
from isthmus.app.wiring import Wiring
from isthmus.core.appliances import candidates
from isthmus.core.design import NveKind, TagSubject
from isthmus.model.boundary import LeaderLock
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.observed import SwitchMirror, Trunk


def check(wiring: Wiring) -> list[Finding]:
    """Everything that can be seen from here."""
    return list(_findings(wiring))


def summary(findings: Sequence[Finding]) -> str:
    """How it stands altogether, in a line."""
    wrong, warned = (sum(found.level is level for found in findings) for level in (Level.ERROR, Level.WARNING))
    warnings = f"{warned} warning{'' if warned == 1 else 's'}" if warned else ""
    return ", ".join(filter(None, (f"{wrong} to repair" if wrong else "", warnings))) or "all is well"


def _findings(wiring: Wiring) -> Iterator[Finding]:
    intent: Intent | None = None
    if wiring.lock is not None:
        yield _leader(wiring.lock)
    if wiring.contrail is not None:
        yield from wiring.contrail.findings()
    try:
        intent = wiring.intent.read().value
        yield Finding(Level.GOOD, wiring.config.intent.place, f"{len(intent.networks)} networks")
        for doubt in intent.doubts:
            level = Level.ERROR if doubt.scope in intent.unsure else Level.WARNING
            yield Finding(level, f"{wiring.config.intent.place}: {plain(doubt.about)}", doubt.reason)
    except (Refused, Retry) as fault:
        for text in str(fault).split("\n"):
            yield Finding(Level.ERROR, "intent", text, "nothing runs on an intent that was never read")
    inventories: dict[str, Inventory] = {}
    for name, source in wiring.inventories.items():
        try:
            inventories[name] = source.read().value
            found = inventories[name]
            yield Finding(
                Level.GOOD,
                f"vcenter.{name}",
                f"{len(found.hosts)} hosts, {len(found.switches)} distributed switches, {len(found.nics)} NICs",
            )
        except (Refused, Retry) as fault:
            yield Finding(Level.ERROR, f"vcenter.{name}", str(fault))  # which names its own remedy
    for name, deployment in wiring.config.deployment.items():
        inventory = inventories.get(wiring.config.vcenter_of(deployment))
        if inventory is not None:
            yield from _deployment(wiring, name, deployment, inventory, intent)


def _leader(lock: LeaderLock) -> Finding:
    try:
        holder = asked_until(lock.holder)
    except Retry as fault:
        return Finding(Level.ERROR, "leader", str(fault), "without a lease no process writes")
    return Finding(Level.GOOD, "leader", f"'{plain(holder)}' leads" if holder else "no process leads now")


def _deployment(
    wiring: Wiring, name: str, deployment: DeploymentConfig, inventory: Inventory, intent: Intent | None
) -> Iterator[Finding]:
    place = f"deployment.{name}"
    try:
        switches = wiring.placing[name].switches(inventory)
    except Refused as fault:
        yield Finding(Level.ERROR, f"{place}.dvs", str(fault), "correct 'dvs', or make the switch")
        return
    mtu = max((network.mtu for network in intent.networks.values()), default=0) if intent else 0
    if not deployment.design.nve.on_each_host:
        yield from below_leaves(wiring, name, inventory, switches, mtu)
        return
    (dvs,) = switches
    yield from _hosts(wiring, name, deployment, inventory, dvs)
    yield from room(place, deployment, mtu, _beyond(name, intent) if intent is not None else ())
    if intent is not None:
        yield from _unfiltered(place, deployment, intent)
    try:
        yield from _switch(wiring, place, deployment, inventory, dvs, mtu)
    except (Refused, Retry) as fault:
        yield Finding(Level.ERROR, f"{place}.dvs", f"cannot be read: {fault}", "check the role's privileges")


def _beyond(name: str, intent: Intent) -> set[str]:
    """The VTEPs outside vSphere of networks that have a place in a deployment."""
    networks = intent.within(None, name).networks
    return {peer.vtep for peer in intent.peers if peer.network in networks}


def _unfiltered(place: str, deployment: DeploymentConfig, intent: Intent) -> Iterator[Finding]:
    """What port security does not reach where a whole network has one VID on a host."""
    secured = sum(port.secured for port in intent.ports.values())
    if secured and deployment.design.subject is TagSubject.NETWORK:
        what = (
            f"the addresses of {secured} secured ports are checked by the appliances, so not between VMs of one "
            "network on one host: their frames never leave the switch"
        )
        yield Finding(Level.GOOD, place, what)


def _switch(
    wiring: Wiring, place: str, deployment: DeploymentConfig, inventory: Inventory, dvs: Dvs, mtu: int
) -> Iterator[Finding]:
    """The switch, its uplinks, its MTU, what we may do there, and the appliances' trunk."""
    vcenter = wiring.vcenters[wiring.config.vcenter_of(deployment)]
    vids = deployment.vids - deployment.reserved
    general = vcenter.preflight(dvs.id, vids=vids, mtu=mtu)
    for found in general:
        yield Finding(
            Level.ERROR if found.fatal else Level.WARNING, f"{place}: {found.place}", found.problem, found.remedy
        )
    if not general:
        carried = "has no uplinks" if dvs.uplink_vids is None else "carries none of these VIDs on its uplinks"
        yield Finding(Level.GOOD, f"{place}.dvs", f"'{plain(dvs.name)}' {carried}; MTU {dvs.mtu}")
    mirror = vcenter.switch(dvs.id).observe()
    used = dict(_trunks_in_use(deployment, inventory, dvs, mirror))
    for host, trunks in used.items():
        here = f'{place}.host."{plain(host)}".bios_uuid'
        if not trunks:
            what = f"the appliance's VM has no NIC on dvs '{plain(dvs.name)}'"
            yield Finding(Level.ERROR, here, what, "put its trunk NIC into the trunk port group there")
        elif deployment.trunk_port_group not in (None, *trunks):
            what = f"the appliance's VM has its trunk NIC in port group '{plain(', '.join(trunks))}'"
            remedy = f"move it to '{plain(deployment.trunk_port_group or '')}', or correct 'trunk_port_group'"
            yield Finding(Level.WARNING, here, what, remedy)
    choices = [trunks for trunks in used.values() if trunks]
    if not deployment.served or len(used) < len(deployment.served):  # of some appliance nobody knows where it is
        choices.append((deployment.trunk_port_group,) if deployment.trunk_port_group else _trunks(mirror))
    for trunks in dict.fromkeys(choices):
        if not trunks:
            remedy = f"make one: VLAN trunk {vids}, forged transmits accepted, MAC learning on (or promiscuous)"
            what = f"dvs '{plain(dvs.name)}' has no trunk port group for the appliances"
            yield Finding(Level.ERROR, f"{place}.trunk_port_group", what, remedy)
        flaws = {
            trunk: [f for f in vcenter.preflight(dvs.id, vids=vids, mtu=mtu, trunk=trunk) if f not in general]
            for trunk in trunks
        }
        for trunk, found_here in flaws.items():
            if not found_here:
                what = f"port group '{plain(trunk)}' lets through all that it must"
                yield Finding(Level.GOOD, f"{place}.trunk_port_group", what)
            elif all(flaws.values()):  # one good trunk is enough: which one it uses is not known
                for found in found_here:
                    yield Finding(Level.ERROR, f"{place}: {found.place}", found.problem, found.remedy)


def _trunks_in_use(
    deployment: DeploymentConfig, inventory: Inventory, dvs: Dvs, mirror: SwitchMirror
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """By host, for appliances that are known by their BIOS UUID: the port groups that its trunk NIC may be in."""
    for host in deployment.served:
        uuid = deployment.host[host].bios_uuid
        machines = candidates(inventory, uuid) if uuid is not None else []
        if len(machines) == 1:  # else that is said of its host
            keys = [nic.port_group for nic in machines[0].nics if nic.dvs == dvs.id and nic.port_group is not None]
            groups = [mirror.port_groups[key] for key in keys if key in mirror.port_groups]
            trunks = [group for group in groups if isinstance(group.vlan, Trunk)] or groups
            yield host, tuple(sorted({group.name for group in trunks}))


def _trunks(mirror: SwitchMirror) -> tuple[str, ...]:
    groups = mirror.port_groups.values()
    return tuple(sorted(g.name for g in groups if isinstance(g.vlan, Trunk) and not g.is_uplink and g.mark is None))


def _hosts(
    wiring: Wiring, name: str, deployment: DeploymentConfig, inventory: Inventory, dvs: Dvs
) -> Iterator[Finding]:
    placing = wiring.placing[name]
    for host_name in deployment.host:
        here = f'deployment.{name}.host."{plain(host_name)}"'
        served = host_name in deployment.served
        try:
            host = placing.host(inventory, host_name)
        except Refused as fault:
            yield Finding(Level.ERROR if served else Level.WARNING, here, str(fault), "write its name as vCenter does")
            continue
        if host.id not in dvs.hosts:
            what = f"is not a member of dvs '{plain(dvs.name)}'"
            yield Finding(Level.ERROR if served else Level.WARNING, here, what, "add the host to the switch")
        elif not host.connected:
            yield Finding(Level.WARNING, here, "is not connected to vCenter", "its ports cannot be written until it is")
        if others := placing.neighbours(inventory, host):
            what = f"is in one cluster with {', '.join(others)}, and a nova-compute, whose name its Neutron agent has, "
            yield Finding(Level.ERROR, here, what + "stands for the cluster", SPLIT)
        if served and deployment.design.nve is NveKind.VROUTER:
            yield from _vrouter(wiring, deployment, host, here)
        elif served:
            yield from _ovs(wiring, deployment, host_name, here, inventory, name)
    if missing := placing.unattached(inventory, dvs):
        yield Finding(
            Level.WARNING,
            f"deployment.{name}.host",
            f"members of dvs '{plain(dvs.name)}' without a VTEP: {', '.join(missing)}",
            "give each a host table with its vtep, here and on every other appliance, or VMs there reach nobody",
        )


def _ovs(
    wiring: Wiring, deployment: DeploymentConfig, host_name: str, here: str, inventory: Inventory, name: str
) -> Iterator[Finding]:
    place = f"{here}.ovsdb"
    try:
        target = wiring.ovs(deployment, wiring.placing[name].host(inventory, host_name))
    except Refused as fault:
        yield Finding(Level.ERROR, here, str(fault), "correct that setting")
        return
    yield from _pinning(wiring, deployment, host_name, here)
    try:
        if where := target.astray():
            yield Finding(Level.ERROR, f"{here}.bios_uuid", where, "isthmus run keeps its trunk closed meanwhile")
            return
    except Refused as fault:
        yield Finding(Level.ERROR, f"{here}.bios_uuid", str(fault), "until then nothing is written to it")
        return
    try:
        ready, found = target.observe().ready, target.findings()
    except (Refused, Retry) as fault:
        yield Finding(Level.ERROR, place, str(fault), "start Open vSwitch there, or correct 'ovsdb' and 'rundir'")
        return
    for finding in found:
        yield Finding(Level.ERROR if finding.is_problem else Level.WARNING, place, finding.what, finding.remedy)
    if not found:
        yield Finding(Level.GOOD, place, "answers" if ready else "answers; its bridges are not built yet")


def _vrouter(wiring: Wiring, deployment: DeploymentConfig, host: Host, here: str) -> Iterator[Finding]:
    place = f"{here}.vrouter"
    try:
        found = wiring.vrouter(deployment, host).findings()
    except (Refused, Retry) as fault:
        yield Finding(Level.ERROR, place, str(fault), "start it, or correct 'vrouter' or 'vtep'")
        return
    for what in found:
        yield Finding(Level.WARNING, place, what)
    if not found:
        yield Finding(Level.GOOD, place, "answers")


def _pinning(wiring: Wiring, deployment: DeploymentConfig, host_name: str, here: str) -> Iterator[Finding]:
    """Whether the appliance stays where it is."""
    appliance = deployment.host[host_name].bios_uuid
    if appliance is None:
        return
    for what in wiring.vcenters[wiring.config.vcenter_of(deployment)].movers(appliance):
        remedy = f"add a rule that it must run on {plain(host_name)} alone, or switch that off for this VM"
        yield Finding(Level.WARNING, f"{here}.bios_uuid", f"the appliance's VM: {what}", remedy)
