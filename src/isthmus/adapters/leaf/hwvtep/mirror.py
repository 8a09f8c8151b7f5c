"""What is ours on a leaf, read from its database.

Law: ours is a logical switch whose name *and* description say so.  What such a switch is bound to, on any port of the
physical switch, and sends to is ours too; nothing else is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings
from isthmus.adapters.leaf.hwvtep.snapshot import LogicalSwitch, PhysicalSwitch, Snapshot
from isthmus.model.faults import Refused
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry
from isthmus.model.observed import NveMirror, TargetId
from isthmus.model.tags import MAX_VID, MAX_VNI, MIN_VID, Vid, VidSet, Vni

SOURCE_NODE = "source_node"
"""Every VTEP copies to all others itself.  The default, service_node, sends to one of them only."""


def mirror(target: TargetId, snapshot: Snapshot, settings: HwvtepSettings) -> NveMirror:
    """All that the leaf holds of ours.  Raises Refused where the switch is not the one that was configured."""
    switch = the_switch(snapshot, settings)
    ours = our_vnis(snapshot, settings)
    entries = {entry.key: entry for entry in _entries(snapshot, settings, switch, ours)}
    foreign = {vid for port in settings.ports for vid, name in switch.ports[port].bindings.items() if name not in ours}
    return NveMirror(target, dict(entries), foreign_vids=VidSet.of(filter(is_vid, foreign)))


def the_switch(snapshot: Snapshot, settings: HwvtepSettings) -> PhysicalSwitch:
    """The switch that was configured, with its ports and its VTEP address.  Raises Refused if it is not there so."""
    switch, there = _chosen(snapshot, settings), ", ".join(sorted(snapshot.physical)) or "none"
    if switch is None and settings.switch:
        raise Refused(
            f"{settings.target} has no physical switch {settings.switch!r}; there are: {there}.  Correct 'switch'"
        )
    if switch is None:
        raise Refused(
            f"{settings.target} has not one physical switch; there are: {there}.  "
            + ("Name ours as 'switch'" if snapshot.physical else "Is the switch's VTEP service configured and running?")
        )
    if missing := [port for port in settings.ports if port not in switch.ports]:
        raise Refused(
            f"switch {switch.name} at {settings.target} has no port {', '.join(missing)}; "
            f"there are: {', '.join(sorted(switch.ports)) or 'none'}.  Correct 'ports'"
        )
    if settings.vtep not in switch.tunnel_ips:
        raise Refused(
            f"switch {switch.name} at {settings.target} sends from {', '.join(sorted(switch.tunnel_ips)) or 'nowhere'} "
            f"(tunnel_ips), configured is {settings.vtep}: the others would send to the wrong place.  "
            "Correct 'vtep', or the switch's tunnel_ips"
        )
    return switch


def our_vnis(snapshot: Snapshot, settings: HwvtepSettings) -> dict[str, Vni]:
    """Our logical switches by name, each with the VNI that its name tells."""
    return {
        switch.name: vni
        for switch in snapshot.logical.values()
        if switch.description == settings.mark and (vni := named_vni(switch.name, settings)) is not None
    }


def named_vni(name: str, settings: HwvtepSettings) -> Vni | None:
    """The VNI in a name of ours; None if it is not the name of a logical switch of ours."""
    number = name.rpartition("-")[2]
    if not (number.isascii() and number.isdecimal() and 0 < int(number) <= MAX_VNI):
        return None
    vni = Vni(int(number))
    return vni if name == settings.name_of(vni) else None


def is_sound(switch: LogicalSwitch, vni: Vni, *, replicates: bool) -> bool:
    """It is as we make it, and no other hand has altered it since."""
    return switch.key == vni and (not replicates or switch.replication == SOURCE_NODE)


def is_vid(number: int) -> bool:
    """Frames can wear it: 0 is the port's untagged frames."""
    return MIN_VID <= number <= MAX_VID


def _chosen(snapshot: Snapshot, settings: HwvtepSettings) -> PhysicalSwitch | None:
    if settings.switch:
        return snapshot.physical.get(settings.switch)
    return next(iter(snapshot.physical.values())) if len(snapshot.physical) == 1 else None


def _entries(
    snapshot: Snapshot, settings: HwvtepSettings, switch: PhysicalSwitch, ours: dict[str, Vni]
) -> Iterator[NveEntry]:
    wearers: defaultdict[int, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for port, state in switch.ports.items():  # one that was taken out of the configuration lets nobody in any more
        for vid, name in state.bindings.items():
            if name in ours and is_vid(vid):
                wearers[vid][name].add(port)
    for vid, names in wearers.items():
        name = min(names, key=lambda name: ours[name])  # of several, all are mended or forgotten in turn
        sound = is_sound(snapshot.logical[name], ours[name], replicates=snapshot.replicates)
        yield LeafBinding(Vid(vid), ours[name], whole=sound and names[name] == set(settings.ports))
    for name, vni in ours.items():
        yield LeafFlood(vni, snapshot.flood.get(name, frozenset()))
    for (name, mac), vteps in snapshot.unicast.items():
        if name in ours:
            yield LeafUnicast(ours[name], mac, ",".join(vteps))
