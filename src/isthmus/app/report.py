"""What `show` and `explain` tell: rows of plain data from what the shards last saw, with or without a daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from isthmus.app.config import Config
from isthmus.app.keeper import Pass
from isthmus.core.design import Design
from isthmus.core.explain import PortReport, Side, explain
from isthmus.core.view import look
from isthmus.model.change import Change, Learn, SetDvPort
from isthmus.model.intent import Port
from isthmus.model.inventory import Inventory, Nic
from isthmus.model.names import HostId, NicId, PortId
from isthmus.model.nve import LeafBinding
from isthmus.model.observed import NveMirror, SwitchMirror, TargetId, Unknown
from isthmus.model.place import DvPort
from isthmus.model.shard import Duty
from isthmus.model.tags import Vni

Row = dict[str, Any]
EXTERNAL = "external"
"""In place of the state of a leaf that another controller tells: nothing of it is seen."""
Seen = Mapping[str, tuple[Design, Pass]]
"""The last pass of each shard, by name."""


def hosts(seen: Seen) -> list[Row]:
    """Each served host: its VTEP, its NVE, how many NICs it has in networks."""
    return [row for name, design, last in _tagging(seen) for row in _hosts(name, design, last)]


def _hosts(name: str, design: Design, last: Pass) -> Iterator[Row]:
    reports = reports_of(design, last)
    for host_id in sorted(last.world.shard.hosts):
        host = last.world.inventory.hosts.get(host_id)
        target = _nve_of(design, last, host_id)
        mirror = last.observed.targets.get(target) if target is not None else None
        here = [report for report in reports if report.host == host_id]
        yield {
            "host": host.name if host else host_id,
            "id": host_id,
            "shard": name,
            "vtep": host.vtep if host else None,
            "leaf": host.leaf if host else None,
            "connected": bool(host and host.connected),
            "nve": EXTERNAL if host and host.leaf in last.world.shard.beyond else _nve(mirror),
            "nics": len(here),
            "wired": sum(report.wired for report in here),
            "vids": sorted({int(report.vid) for report in here if report.vid is not None}),
        }


def _nve(mirror: object) -> str:
    match mirror:
        case Unknown(passing=True, last=NveMirror() as last):
            return _nve(last)
        case Unknown(reason=reason):
            return f"unknown: {reason}"
        case NveMirror(ready=True):
            return "ready"
        case NveMirror():
            return "not built"
    return "none"


def _nve_of(design: Design, last: Pass, host_id: HostId) -> TargetId | None:
    """The NVE that a host's frames go to: its own, or its leaf."""
    host = last.world.inventory.hosts.get(host_id)
    place = host_id if design.nve.on_each_host else host and host.leaf
    return last.world.shard.nves.get(place) if place else None


def leaves(seen: Seen, config: Config) -> list[Row]:
    """Each leaf: where it is reached, whether it is, and what it has of ours."""
    return [row for name, design, last in _tagging(seen) for row in _leaves(name, design, last, config)]


def _leaves(name: str, design: Design, last: Pass, config: Config) -> Iterator[Row]:
    if design.nve.on_each_host:
        return
    ours = look(design, last.world, last.observed, last.pool).nves
    for leaf, mirror in _leaf_mirrors(design, last):
        known = ours.get(last.world.shard.nves[leaf])
        settings = config.deployment[name].leaf[leaf]
        bindings = _bindings(known)
        yield {
            "leaf": leaf,
            "shard": name,
            "vtep": settings.vtep,
            "targets": list(settings.addresses),
            "state": _nve(mirror),
            "networks": len({binding.vni for binding in bindings}),
            "vids": sorted(int(binding.vid) for binding in bindings),
            "warnings": list(known.warnings) if known is not None else [],
        }
    for leaf in sorted(last.world.shard.beyond):
        vtep = config.deployment[name].leaf[leaf].vtep
        row: Row = {"leaf": leaf, "shard": name, "vtep": vtep, "targets": [], "state": EXTERNAL}
        yield {**row, "networks": None, "vids": None, "warnings": []}


def _leaf_mirrors(design: Design, last: Pass) -> Iterator[tuple[str, object]]:
    if not design.nve.on_each_host:
        for leaf, target in sorted(last.world.shard.nves.items()):
            yield leaf, last.observed.targets.get(target)


def _bindings(mirror: object) -> list[LeafBinding]:
    entries = mirror.entries.values() if isinstance(mirror, NveMirror) else ()
    return [entry for entry in entries if isinstance(entry, LeafBinding)]


def networks(seen: Seen) -> list[Row]:
    """Each wanted network: its VNI, its port groups, and the VID it wears on each host, or at each leaf."""
    rows: dict[str, Row] = {}
    for _, (_, last) in sorted(seen.items()):
        for network in last.world.intent.networks.values():
            named: Row = {"name": network.name, "id": network.id, "vni": int(network.vni), "mtu": network.mtu}
            rows.setdefault(network.id, {**named, "port_groups": [], "nics": 0, "vids": {}})
        for mirror in last.observed.targets.values():
            known = mirror.last if isinstance(mirror, Unknown) else mirror
            if isinstance(known, SwitchMirror):
                _note_port_groups(rows, known, last.world.shard.owner)
    for _, design, last in _tagging(seen):
        for report in reports_of(design, last):
            row = rows[report.attachment.network.id]
            row["nics"] += 1
            by_host = design.nve.on_each_host and not design.nve.knows_ports  # else each NIC has its own: `ports`
            if by_host and report.vid is not None and report.host is not None:
                row["vids"][_host_name(last.world.inventory, report.host)] = int(report.vid)
        named_by = {row["vni"]: row for row in rows.values()}
        for leaf, nve in _leaf_mirrors(design, last):
            for binding in _bindings(nve.last if isinstance(nve, Unknown) else nve):
                if int(binding.vni) in named_by:
                    named_by[int(binding.vni)]["vids"][leaf] = int(binding.vid)
    return sorted(rows.values(), key=lambda row: str(row["id"]))


def _note_port_groups(rows: dict[str, Row], mirror: SwitchMirror, owner: str) -> None:
    for key, group in mirror.port_groups.items():
        if group.mark is not None and group.mark.owner == owner and group.mark.network in rows:
            keys = rows[group.mark.network]["port_groups"]
            if key not in keys:
                keys.append(key)


def ports(seen: Seen, opened: Mapping[NicId, float] | None = None) -> list[Row]:
    """Each NIC in a network: where it is, what it wears, which side is behind and why."""
    rows = []
    for name, design, last in _tagging(seen):
        for report in reports_of(design, last):
            rows.append(_port(name, last, report, opened or {}))
    return rows


def _port(name: str, last: Pass, report: PortReport, opened: Mapping[NicId, float]) -> Row:
    nic = report.attachment.nic
    return {
        "port": report.attachment.port,
        "vm": nic.vm_name,
        "vm_uuid": nic.id.vm,
        "nic": nic.label or str(nic.id.key),
        "nic_id": str(nic.id),
        "mac": nic.mac,
        "addresses": list(report.attachment.addresses),
        "network": report.attachment.network.name or report.attachment.network.id,
        "network_id": report.attachment.network.id,
        "host": _host_name(last.world.inventory, report.host),
        "leaf": known.leaf if report.host and (known := last.world.inventory.hosts.get(report.host)) else None,
        "dv_port": nic.port_key,
        "vid": None if report.vid is None else int(report.vid),
        "vni": int(report.attachment.network.vni),
        "vtep": report.vtep,
        "peers": list(report.peers),
        "wired": report.wired,
        "behind": report.behind.value,
        "why": report.why,
        "seconds_to_open": opened.get(nic.id),
        "shard": name,
    }


def matching(rows: Iterable[Row], wanted: str) -> list[Row]:
    """The ports that `wanted` may mean: a port id, a MAC, a VM's instance UUID or name, or ``name/NIC label``."""
    folded = wanted.lower()
    return [
        row
        for row in rows
        if wanted in (row["port"], row["nic_id"], row["vm"], f"{row['vm']}/{row['nic']}", f"{row['vm']} {row['nic']}")
        or folded in (row["mac"], row["vm_uuid"])
    ]


def explained(
    seen: Seen,
    wanted: str,
    opened: Mapping[NicId, float] | None = None,
    unlooked: Callable[[str], list[Row]] = lambda wanted: [],
) -> list[Row]:
    """What `wanted` may mean: NICs in our networks; else NICs in none, or ports that no NIC has.

    `unlooked`: what is known of ports on hosts that nobody looks at now; other shards know nothing better.
    """
    rows = matching(ports(seen, opened), wanted) or unlooked(wanted)
    return rows or strangers(seen, wanted) or unplugged(seen, wanted)


def strangers(seen: Seen, wanted: str) -> list[Row]:
    """NICs that `wanted` may mean and that are in no network of ours, with the reason as far as it is known."""
    found: dict[NicId, Row] = {}
    for name, design, last in _tagging(seen):
        attached = {report.nic for report in reports_of(design, last)}
        for nic in last.world.inventory.nics.values():
            if _means(wanted, nic) and nic.id not in attached and (nic.id not in found or _served(last, nic)):
                found[nic.id] = _stranger(name, last, nic)
    return list(found.values())


def unplugged(seen: Seen, wanted: str) -> list[Row]:
    """Ports of the intent that `wanted` may mean and that no NIC has, with the reason as far as it is known.

    Which leaf they will be below is not known here: each that cannot be seen may be why one is not in place.
    """
    found: dict[PortId, Row] = {}
    silent: dict[PortId, dict[TargetId, str]] = {}
    for name, design, last in _tagging(seen):
        plugged = {report.attachment.port for report in reports_of(design, last)}
        for port in last.world.intent.ports.values():
            if port.id not in plugged and _is_port(wanted, port) and _concerns(last, port):
                found.setdefault(port.id, _unplugged(name, last, port))
                silent.setdefault(port.id, {}).update(_silent(last))
    for port_id, targets in silent.items():
        unseen = [f"{target} cannot be seen now: {why}" for target, why in sorted(targets.items())]
        found[port_id]["why"] = "; ".join([found[port_id]["why"], *unseen])
    return list(found.values())


def _silent(last: Pass) -> dict[TargetId, str]:
    """The leaves that cannot be seen, and why."""
    seen = ((target, last.observed.targets.get(target)) for target in last.world.shard.nves.values())
    return {
        target: mirror.reason
        for target, mirror in seen
        if target.kind == "leaf" and isinstance(mirror, Unknown) and not mirror.passing
    }


def _concerns(last: Pass, port: Port) -> bool:
    return port.network in last.world.intent.networks or bool(_doubts(last, port))


def _doubts(last: Pass, port: Port) -> list[str]:
    return [doubt.reason for doubt in last.world.intent.doubts if port.id in doubt.about]


def _is_port(wanted: str, port: Port) -> bool:
    return wanted == port.id or wanted.lower() in (port.mac, port.vm)


def _unplugged(name: str, last: Pass, port: Port) -> Row:
    doubts, network = _doubts(last, port), last.world.intent.networks.get(port.network)
    why = "no NIC with its VM's instance UUID and its MAC is in a port group of its network"
    if port.elsewhere:
        why = f"port {port.id} {port.elsewhere}"
    return {
        "port": port.id,
        "vm": "",
        "vm_uuid": port.vm,
        "nic": "",
        "nic_id": "",
        "mac": port.mac,
        "network": network.name if network and network.name else port.network,
        "network_id": port.network,
        "host": None,
        "wired": False,
        "behind": "intent" if doubts or port.elsewhere else "vcenter",
        "why": "; ".join(doubts) or why,
        "shard": name,
    }


def _means(wanted: str, nic: Nic) -> bool:
    names = (str(nic.id), nic.vm_name, f"{nic.vm_name}/{nic.label}", f"{nic.vm_name} {nic.label}")
    # vCenter's API escapes "/", "\\" and "%" in names, and people copy them from there.
    return wanted in names or unquote(wanted) in names or wanted.lower() in (nic.mac, nic.id.vm)


def _served(last: Pass, nic: Nic) -> bool:
    return nic.host in last.world.shard.hosts


def _stranger(name: str, last: Pass, nic: Nic) -> Row:
    reasons = {unmet.about: unmet.reason for unmet in last.thought.unmet}
    group = f"port group {nic.port_group}"
    its_group = f"{group} {reasons[group]}" if group in reasons else ""
    elsewhere = "" if _served(last, nic) else "its host is served by another process, or by none"
    return {
        "port": None,
        "vm": nic.vm_name,
        "vm_uuid": nic.id.vm,
        "nic": nic.label or str(nic.id.key),
        "nic_id": str(nic.id),
        "mac": nic.mac,
        "host": _host_name(last.world.inventory, nic.host),
        "wired": False,
        "behind": "" if elsewhere else "intent",
        "why": reasons.get(str(nic.id))
        or elsewhere
        or its_group
        or _unwanted(last, nic)
        or "it is in no port group of ours",
        "shard": name,
    }


def _unwanted(last: Pass, nic: Nic) -> str:
    """Of a NIC in a port group of ours whose network has no place here any more."""
    if nic.dvs is None or nic.port_group is None:
        return ""
    seen = last.observed.targets.get(TargetId("dvs", nic.dvs))
    mirror = seen.last if isinstance(seen, Unknown) else seen
    group = mirror.port_groups.get(nic.port_group) if isinstance(mirror, SwitchMirror) else None
    mark = group.mark if group is not None else None
    if mark is None or mark.owner != last.world.shard.owner or mark.network in last.world.intent.networks:
        return ""
    return f"its port group is that of network {mark.network}, which is not wanted here any more"


def reports_of(design: Design, last: Pass) -> tuple[PortReport, ...]:
    """The core's explanation of each NIC of a shard, and why a write that it waits for is not made, if it is not."""
    reports = explain(design, last.world, last.observed, last.pool, last.now)[0]
    hindered = {_port_of(item.change): f"its DV port is closed: {item.reason}" for item in last.left}
    untold: dict[tuple[TargetId | None, Vni | None], str] = {}
    for item in last.deferred:
        if item.reason:
            failed = f"failed and is {'not tried again as it is' if item.refused else 'tried again'}: {item.reason}"
            hindered[_port_of(item.change)] = f"the write to its DV port {failed}"
            for vni in _vnis_learnt(item.change):
                untold[item.change.target, vni] = f"the write to {item.change.target} {failed}"
    hindered.pop(None, None)  # writes to something else

    def why(report: PortReport) -> str:
        said = hindered.get(report.attachment.place, report.why)
        if report.behind is not Side.NVE or report.host is None:
            return said
        return untold.get((_nve_of(design, last, report.host), report.attachment.network.vni), said)

    return tuple(replace(report, why=why(report)) for report in reports)


def _vnis_learnt(change: Change) -> set[Vni | None]:
    return {entry.vni for entry in change.action.entries} if isinstance(change.action, Learn) else set()


def _port_of(change: Change) -> DvPort | None:
    action = change.action
    return DvPort(action.dvs, action.key, action.cookie) if isinstance(action, SetDvPort) else None


def _tagging(seen: Seen) -> Iterator[tuple[str, Design, Pass]]:
    for name, (design, last) in sorted(seen.items()):
        if Duty.TAGS in last.world.shard.duties:
            yield name, design, last


def _host_name(inventory: Inventory, host: Any) -> str | None:
    known = inventory.hosts.get(host)
    return known.name if known else host
