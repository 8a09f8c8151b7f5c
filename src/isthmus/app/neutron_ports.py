"""Neutron's ports on our hosts as `explain` tells of them where no shard does: of machines below leaves, and of hosts
whose deployment is looked at by nobody now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.adapters.neutron.facts import Binding, Facts, NeutronPort, Segment
from isthmus.adapters.neutron.meaning import Places, Reasons
from isthmus.adapters.neutron.protocol import KEPT
from isthmus.app.config import DeploymentConfig
from isthmus.model.handover import Handover

Row = dict[str, Any]


def waiting(facts: Facts, places: Places, reasons: Reasons, domain: str) -> Iterator[tuple[str, str]]:
    """The ports that are not bound on a domain's hosts, each with the reason."""
    for port in facts.ports:
        for binding in port.bindings:
            if binding.failed and _home(places, binding) == domain:
                yield f"port {port.id}", _not_bound(port, binding, domain, facts, reasons)


def explained(
    wanted: str,
    facts: Facts,
    places: Places,
    reasons: Reasons,
    deployments: Mapping[str, tuple[str, DeploymentConfig]],
    seen: Mapping[str, Handover],
    standings: Mapping[str, str],
) -> list[Row]:
    """The ports that `wanted` may mean (an id, a MAC, a device), on each host of ours that they have a binding on.

    `deployments`, what was `seen`, and how those stand that are not simply kept, by mapping domain.
    """
    return [
        _row(port, binding, home, facts, reasons, deployments, seen, standings)
        for port in facts.ports
        if wanted == port.id or wanted.lower() in (port.mac, port.device)
        for binding in port.bindings
        if (home := _home(places, binding)) is not None
    ]


def _home(places: Places, binding: Binding) -> str | None:
    """The mapping domain that a host of ours is in, or the deployment whose hosts have VTEPs of their own."""
    return places.homes.get(binding.host) or places.overlaid.get(binding.host)


def _row(
    port: NeutronPort,
    binding: Binding,
    domain: str,
    facts: Facts,
    reasons: Reasons,
    deployments: Mapping[str, tuple[str, DeploymentConfig]],
    seen: Mapping[str, Handover],
    standings: Mapping[str, str],
) -> Row:
    name, deployment = deployments[domain]
    network = facts.networks[port.network]
    attached = deployment.attached.get(binding.host)
    leaf = attached.leaf if attached is not None else None
    segments = {segment.id: segment for segment in facts.segments}
    vlan = segments.get(binding.segments[-1]) if binding.segments else None
    standing = standings.get(domain)
    side, why = "intent", f"no VM of it is looked at here: {name} {standing or f'is {KEPT}'}"
    if binding.failed or binding.unbound:
        why = _not_bound(port, binding, domain, facts, reasons)
    elif leaf is not None:
        side, why = _at_the_leaf(port, leaf, vlan, deployment, seen.get(domain))
        why += f" ({name} {standing})" if why and standing else ""
    return {
        "port": port.id,
        "vm": "",
        "vm_uuid": port.device,
        "nic": "",
        "nic_id": "",
        "mac": port.mac,
        "addresses": list(port.addresses),
        "network": network.name or network.id,
        "network_id": network.id,
        "host": binding.host,
        "leaf": leaf,
        "vid": None if vlan is None else vlan.vid,
        "vni": network.vni,
        "vtep": None if leaf is None or vlan is None else deployment.leaf[leaf].vtep,
        "wired": not why,
        "behind": side if why else "",
        "why": why,
        "shard": name,
    }


def _not_bound(port: NeutronPort, binding: Binding, domain: str, facts: Facts, reasons: Reasons) -> str:
    why = reasons.why(port, binding.host, domain, facts)
    return f"Neutron could not bind it on host {binding.host}, and tries again: {why}"


def _at_the_leaf(
    port: NeutronPort, leaf: str, vlan: Segment | None, deployment: DeploymentConfig, seen: Handover | None
) -> tuple[str, str]:
    """Which side is behind with a machine's port, and with what."""
    if vlan is not None and leaf in deployment.own_leaves:
        mapped = any(
            leaf in group.mapped_at and group.vid == vlan.vid
            for group in (seen.groups.values() if seen is not None else ())
            if group.network == port.network
        )
        if not mapped:
            return "NVE", f"{leaf} does not map VID {vlan.vid} to its network yet"
    if port.status != "ACTIVE":
        return "intent", f"the machine's own Neutron agent has not wired it: its status is {port.status}"
    return "", ""
