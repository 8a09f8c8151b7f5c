"""What holds a network: the NICs in its port groups, wanted or not, and what its source has in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from isthmus.app.keeper import Pass
from isthmus.app.report import Row, Seen
from isthmus.model.intent import Network
from isthmus.model.inventory import Nic
from isthmus.model.names import DvsId, HostId, NetworkId
from isthmus.model.observed import PortGroupState, SwitchMirror, Unknown

Holders = Callable[[NetworkId, Mapping[HostId, str]], Sequence[str]]
"""What the source of the intent has in a network; hosts are known by these names."""


def networks(seen: Seen, wanted: str, holders: Holders) -> list[Row]:
    """The networks that `wanted` may mean, by id, by name or by the name of a port group that one has left behind."""
    passes = [last for _, (_, last) in sorted(seen.items())]
    known = {network.id: network for last in passes for network in last.world.intent.networks.values()}
    meant = {network.id for network in known.values() if wanted in (network.id, network.name)}
    for last in passes:
        for _, group in _groups(last):
            if group.mark is not None and wanted in (group.mark.network, group.name):
                meant.add(group.mark.network)
    return [_row(passes, network, known.get(network), holders) for network in sorted(meant)]


def _row(passes: Sequence[Pass], network: NetworkId, known: Network | None, holders: Holders) -> Row:
    groups: dict[str, str] = {}
    nics: dict[str, str] = {}
    hosts = {host.id: host.name for last in passes for host in last.world.inventory.hosts.values()}
    for last in passes:
        for dvs, group in _groups(last):
            if group.mark is not None and group.mark.network == network:
                groups[group.key] = group.name
                nics |= {
                    str(nic.id): _said(last, nic)
                    for nic in last.world.inventory.nics.values()
                    if (nic.dvs, nic.port_group) == (dvs, group.key)
                }
    return {
        "network": known.name if known is not None and known.name else network,
        "network_id": network,
        "vni": int(known.vni) if known is not None else None,
        "wanted": "yes" if known is not None else "no: its port groups go when the last NIC has left them",
        "port_groups": [groups[key] for key in sorted(groups)],
        "held_by": [*sorted(nics.values()), *holders(network, hosts)],
    }


def _groups(last: Pass) -> Iterator[tuple[DvsId, PortGroupState]]:
    """Our port groups on the switches of a shard."""
    for target, mirror in last.observed.targets.items():
        known = mirror.last if isinstance(mirror, Unknown) else mirror
        if target.kind == "dvs" and isinstance(known, SwitchMirror):
            for group in known.port_groups.values():
                if group.mark is not None and group.mark.owner == last.world.shard.owner:
                    yield DvsId(target.name), group


def _said(last: Pass, nic: Nic) -> str:
    host = last.world.inventory.hosts.get(nic.host) if nic.host is not None else None
    power = "" if nic.powered_on else ", which is off"
    return (
        f"NIC {nic.label or nic.id.key} of VM {nic.vm_name or nic.id.vm}{power}, on {host.name if host else 'no host'}"
    )
