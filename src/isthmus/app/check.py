"""Preflight: what must be so before anything is written; each finding has its place and its remedy.  Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from isthmus.app.config import DeploymentConfig
from isthmus.app.text import plain
from isthmus.app.wiring import Wiring
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.inventory import Dvs, Inventory
from isthmus.model.observed import PortGroupState, SwitchMirror, Trunk
from isthmus.model.tags import VidSet

ENCAPSULATION = 50
"""Bytes that VXLAN adds to an IP packet of the overlay: Ethernet 14, IPv4 20, UDP 8, VXLAN 8."""


class Level(Enum):
    """How bad it is."""

    GOOD = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    place: str
    what: str
    remedy: str = ""

    @property
    def is_error(self) -> bool:
        """Something will not work."""
        return self.level is Level.ERROR

    def data(self) -> dict[str, str]:
        """As JSON can carry it."""
        return {"level": self.level.value, "place": self.place, "what": self.what, "remedy": self.remedy}


def check(wiring: Wiring) -> list[Finding]:
    """Everything that can be seen from here."""
    return list(_findings(wiring))


def _findings(wiring: Wiring) -> Iterator[Finding]:
    intent: Intent | None = None
    try:
        intent = wiring.intent.read().value
        yield Finding(Level.GOOD, str(wiring.config.intent.file), f"{len(intent.networks)} networks")
    except (Refused, Retry) as fault:
        for text in str(fault).split("\n"):
            yield Finding(Level.ERROR, "intent", text, "repair the file; nothing runs on an intent that cannot be read")
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
            yield Finding(Level.ERROR, f"vcenter.{name}", str(fault), "check url, user, password and certificate")
    for name, deployment in wiring.config.deployment.items():
        inventory = inventories.get(wiring.config.vcenter_of(deployment))
        if inventory is not None:
            yield from _deployment(wiring, name, deployment, inventory, intent)


def _deployment(
    wiring: Wiring, name: str, deployment: DeploymentConfig, inventory: Inventory, intent: Intent | None
) -> Iterator[Finding]:
    place = f"deployment.{name}"
    placing = wiring.placing[name]
    try:
        dvs = placing.dvs(inventory)
    except Refused as fault:
        yield Finding(Level.ERROR, f"{place}.dvs", str(fault), "correct 'dvs', or make the switch")
        return
    yield from _uplinks(place, deployment, dvs)
    yield from _mtu(place, dvs, intent)
    yield from _hosts(wiring, name, deployment, inventory, dvs)
    try:
        mirror = wiring.switch(wiring.config.vcenter_of(deployment), dvs.id).observe()
    except (Refused, Retry) as fault:
        yield Finding(Level.ERROR, f"{place}.dvs", f"cannot be read: {fault}", "check the role's privileges")
        return
    assert isinstance(mirror, SwitchMirror)
    yield from _trunks(place, deployment, dvs, mirror)


def _uplinks(place: str, deployment: DeploymentConfig, dvs: Dvs) -> Iterator[Finding]:
    here = f"{place}.vids"
    if dvs.uplink_vids is None:
        yield Finding(Level.GOOD, here, f"dvs '{plain(dvs.name)}' has no uplinks: its VIDs stay on their hosts")
        return
    shared = VidSet.of(vid for vid in deployment.vids & dvs.uplink_vids if vid not in deployment.reserved)
    if shared:
        yield Finding(
            Level.ERROR,
            here,
            f"the uplinks of dvs '{plain(dvs.name)}' carry VIDs {shared}: tenants' frames would leave on them",
            "use a switch without uplinks, take these VIDs off its uplinks, or reserve them",
        )
    else:
        yield Finding(Level.GOOD, here, f"the uplinks of dvs '{plain(dvs.name)}' carry none of them")


def _mtu(place: str, dvs: Dvs, intent: Intent | None) -> Iterator[Finding]:
    for network in intent.networks.values() if intent else ():
        if network.mtu > dvs.mtu:
            yield Finding(
                Level.ERROR,
                f"{place}.dvs",
                f"network '{plain(network.name)}' has MTU {network.mtu}, dvs '{plain(dvs.name)}' carries {dvs.mtu}",
                f"raise the switch's MTU to {network.mtu} or lower the network's",
            )


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
        if served:
            yield _ovs(wiring, deployment, host_name, here, inventory, name)
    missing = sorted(
        plain(host.name)
        for host in inventory.hosts.values()
        if host.id in dvs.hosts and host.name not in deployment.host
    )
    if missing:
        yield Finding(
            Level.WARNING,
            f"deployment.{name}.host",
            f"members of dvs '{plain(dvs.name)}' without a VTEP: {', '.join(missing)}",
            "give each a host table with its vtep, here and on every other appliance, or VMs there reach nobody",
        )


def _ovs(
    wiring: Wiring, deployment: DeploymentConfig, host_name: str, here: str, inventory: Inventory, name: str
) -> Finding:
    try:
        mirror = wiring.ovs(deployment, wiring.placing[name].host(inventory, host_name)).observe()
    except (Refused, Retry) as fault:
        return Finding(
            Level.ERROR, f"{here}.ovsdb", str(fault), "start Open vSwitch there, or correct 'ovsdb' and 'rundir'"
        )
    return Finding(Level.GOOD, f"{here}.ovsdb", "answers" if mirror.ready else "answers; its bridges are not built yet")


def _trunks(place: str, deployment: DeploymentConfig, dvs: Dvs, mirror: SwitchMirror) -> Iterator[Finding]:
    """The port group the appliances' trunk NICs are in must let all our VIDs and foreign MACs through."""
    trunks = [
        g for g in mirror.port_groups.values() if isinstance(g.vlan, Trunk) and not g.is_uplink and g.mark is None
    ]
    here = f"{place}.trunk"
    if not trunks:
        yield Finding(
            Level.ERROR,
            here,
            f"dvs '{plain(dvs.name)}' has no trunk port group for the appliances",
            f"make one with VLAN trunk {deployment.vids}, forged transmits accepted and MAC learning (or promiscuous)",
        )
    wrong = {group.key: list(_trunk_flaws(deployment, group)) for group in trunks}
    for group in trunks:
        named = f"trunk port group '{plain(group.name)}'"
        if not wrong[group.key]:
            yield Finding(Level.GOOD, here, f"{named} lets everything through that it must")
        elif all(wrong.values()):
            for what, remedy in wrong[group.key]:
                yield Finding(Level.ERROR, here, f"{named} {what}", remedy)


def _trunk_flaws(deployment: DeploymentConfig, group: PortGroupState) -> Iterator[tuple[str, str]]:
    assert isinstance(group.vlan, Trunk)
    lacking = VidSet.of(vid for vid in deployment.vids if vid not in group.vlan.vids and vid not in deployment.reserved)
    if lacking:
        yield f"does not carry VIDs {lacking}", f"set its VLAN trunk range to include {deployment.vids}"
    if not group.forged_transmits:
        yield "rejects forged transmits: frames of remote VMs are dropped", "set 'Forged transmits' to Accept"
    if not (group.promiscuous or group.mac_learning):
        yield "neither learns MACs nor is promiscuous: frames to remote VMs are dropped", "switch MAC learning on"
