"""What must be true of a vCenter before a design may stand on it; each finding names the place and the remedy.

Law: a preflight reads and never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isthmus.adapters.vcenter.faults import one_line
from isthmus.adapters.vcenter.vlans import worn
from isthmus.model.inventory import Dvs
from isthmus.model.names import DvsId
from isthmus.model.observed import (
    MOST_LEARNED,
    Access,
    MacLearning,
    NoVlan,
    PortGroupState,
    PrivateVlan,
    SwitchMirror,
    Trunk,
)
from isthmus.model.tags import VidSet

WRITING = (
    "DVSwitch.PortConfig",
    "DVPortgroup.Create",
    "DVPortgroup.Modify",
    "DVPortgroup.PolicyOp",
    "DVPortgroup.Delete",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be (`fatal`) or as it should be."""

    place: str
    problem: str
    remedy: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}; {self.remedy}"


def tenant_switch(switch: Dvs, vids: VidSet, mtu: int) -> list[Finding]:
    """A switch whose ports wear tags of a host or cluster: its uplinks must not carry them, its MTU must fit."""
    place = f"distributed switch {shown(switch.name)}"
    findings = []
    if switch.uplink_vids is not None and (carried := switch.uplink_vids & vids):
        findings.append(
            Finding(
                place,
                f"its uplinks carry VIDs {carried} of the pool, so hosts would hear each other's tags",
                "use a switch without uplinks, or take these VIDs off the uplink port group's trunk",
            )
        )
    return findings + _any_switch(switch, mtu)


def wired_switch(mirror: SwitchMirror, switch: Dvs, vids: VidSet, mtu: int) -> list[Finding]:
    """A switch whose port groups wear tags that leaf switches know: its uplinks must carry all, its MTU must fit."""
    place = f"distributed switch {shown(switch.name)}"
    if switch.uplink_vids is None:
        nowhere = "it has no uplinks, so no frame reaches a leaf"
        return [Finding(place, nowhere, "add uplinks, connected to the leaves"), *_any_switch(switch, mtu)]
    findings = []
    uplinks = [group for group in mirror.port_groups.values() if group.is_uplink]
    for group in uplinks:  # what one of them lacks the others do not carry in its place
        if missing := vids - worn(group.vlan):
            which = "its uplinks" if len(uplinks) == 1 else f"its uplinks in port group {shown(group.name)}"
            findings.append(
                Finding(
                    place,
                    f"{which} do not carry VIDs {missing} of the pool: networks with them end at their host",
                    f"add {missing} to the uplink port group's trunk, or take them out of 'vids'",
                )
            )
    return findings + _any_switch(switch, mtu)


def _any_switch(switch: Dvs, mtu: int) -> list[Finding]:
    place = f"distributed switch {shown(switch.name)}"
    findings = []
    if switch.mtu < mtu:
        findings.append(
            Finding(place, f"its MTU is {switch.mtu}, {mtu} is needed", f"set the switch's MTU to {mtu} or more")
        )
    if not switch.hosts:
        findings.append(Finding(place, "no host is a member", "add the hosts to it"))
    return findings


def trunk_port_group(mirror: SwitchMirror, switch: Dvs, name: str, vids: VidSet) -> list[Finding]:
    """The port group in which an appliance's trunk NIC sits: it sends and receives for all VMs of its host."""
    place = f"port group {shown(name)} on distributed switch {shown(switch.name)}"
    group = next((group for group in mirror.port_groups.values() if group.name == name), None)
    if group is None:
        names = ", ".join(sorted(shown(group.name) for group in mirror.port_groups.values())) or "none"
        return [Finding(place, "there is none", f"make it, or name one of: {names}")]
    findings = []
    carried = group.vlan.vids if isinstance(group.vlan, Trunk) else None
    if carried is None:
        findings.append(Finding(place, f"its VLAN is {_vlan(group)}, not a trunk", f"set VLAN trunking for {vids}"))
    elif missing := vids - carried:
        findings.append(Finding(place, f"its trunk lacks VIDs {missing} of the pool", f"add {missing} to the trunk"))
    if group.blocked:
        findings.append(Finding(place, "its ports are blocked", "unblock it"))
    if not group.forged_transmits:
        findings.append(
            Finding(place, "forged transmits are rejected", "accept them: frames leave with the MACs of remote VMs")
        )
    return findings if group.promiscuous else findings + _learned(place, group.mac_learning)


def _learned(place: str, learning: MacLearning | None) -> list[Finding]:
    """What a port group that is not promiscuous keeps from the appliance, or drops of what it sends."""
    if learning is None:
        only_own = "it receives only frames for the appliance's own MAC"
        return [Finding(place, only_own, "enable MAC learning (vSphere 6.7 and later) or promiscuous mode")]
    findings = []
    if not learning.unicast_flooding:
        what = "its MAC learning floods no unicast, so the appliance hears nothing for remote VMs that were silent"
        findings.append(Finding(place, what, "allow unicast flooding there"))
    if learning.drops and learning.limit < MOST_LEARNED:
        what = f"its MAC learning drops frames of remote VMs beyond the first {learning.limit} MACs"
        findings.append(Finding(place, what, f"set its limit policy to ALLOW, or its limit to {MOST_LEARNED}"))
    return findings


def privileges(place: str, held: Iterable[str]) -> list[Finding]:
    """What the user may do on the switch, as far as vCenter says."""
    missing = [privilege for privilege in WRITING if privilege not in set(held)]
    if not missing:
        return []
    return [
        Finding(place, f"the user lacks {', '.join(missing)}", "grant a role with these, propagated, on its folder")
    ]


def switch_named(switches: Mapping[DvsId, Dvs], name_or_uuid: str) -> Dvs | None:
    """The switch of this uuid, or the only one of this name."""
    if DvsId(name_or_uuid) in switches:
        return switches[DvsId(name_or_uuid)]
    named = [switch for switch in switches.values() if switch.name == name_or_uuid]
    return named[0] if len(named) == 1 else None


def shown(name: str) -> str:
    """A name from the far side in a message: one line, cut."""
    return repr(one_line(name, 80))


def _vlan(group: PortGroupState) -> str:
    match group.vlan:
        case Access(vid):
            return f"VID {vid}"
        case PrivateVlan(vid):
            return f"private VLAN {vid}"
        case NoVlan():
            return "none"
        case other:
            return str(other)
