"""What hosts hear of the switches at the other end of their cables, by LLDP or CDP.

Law: silence says nothing.  Nothing is said of a host that cannot be asked, nor of a NIC that hears nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.faults import one_line
from isthmus.adapters.vcenter.reading import properties
from isthmus.adapters.vcenter.session import Session
from isthmus.model.faults import Unreachable
from isthmus.model.inventory import Neighbour
from isthmus.model.names import HostId

NETWORK = "configManager.networkSystem"
SILENT = (
    vmodl.fault.HostCommunication,  # HostNotConnected among them
    vmodl.fault.ManagedObjectNotFound,
    vim.fault.HostConfigFault,
    vim.fault.NotFound,
)
"""Why one host cannot be asked now, while others can."""
HANGING = 3
"""Hosts that may keep us waiting in vain, each for as long as an answer may take, before we give up on all."""
SYSTEM, PORT = "System Name", "Port Description"
LONGEST = 80


def neighbours(session: Session, nics: Iterable[tuple[HostId, str]]) -> dict[HostId, dict[str, Neighbour]]:
    """What each of these physical NICs hears."""
    by_host: dict[HostId, list[str]] = defaultdict(list)
    for host, nic in nics:
        by_host[host].append(nic)
    hosts = {session.object(vim.HostSystem, host.rpartition("/")[2]): host for host in by_host}
    read = session.call(lambda content: properties(content, list(hosts), {vim.HostSystem: [NETWORK]}))
    found: dict[HostId, dict[str, Neighbour]] = {}
    hanging = 0
    for managed, known in read.items():
        host, network = hosts[managed], known.get(NETWORK)
        if network is None:
            continue
        try:
            hints = session.call(partial(_hints, network, sorted(by_host[host])))
        except Unreachable:
            # vCenter passes the question on, so that a host which hangs looks as if vCenter did.
            hanging += 1
            if hanging > HANGING:
                raise
        else:
            found[host] = {hint.device: heard for hint in hints if (heard := neighbour(hint)) is not None}
    return found


def _hints(network: Any, nics: list[str], _: Any) -> Sequence[Any]:
    try:
        return list(network.QueryNetworkHint(nics) or ())
    except SILENT:
        return ()


def neighbour(hint: Any) -> Neighbour | None:
    """What a hint says; None if it says nothing.  Of both protocols LLDP is taken, whose names are the switch's own."""
    if (lldp := hint.lldpInfo) is not None:
        told = {pair.key: str(pair.value) for pair in lldp.parameter or ()}
        return _named("LLDP", (told.get(SYSTEM), lldp.chassisId), (lldp.portId, told.get(PORT)))
    if (cdp := hint.connectedSwitchPort) is not None:
        return _named("CDP", (cdp.systemName, cdp.devId), (cdp.portId,))
    return None


def _named(protocol: str, systems: Iterable[str | None], ports: Iterable[str | None]) -> Neighbour | None:
    heard = Neighbour(protocol, _distinct(systems), _distinct(ports))
    return heard if heard.systems and heard.ports else None


def _distinct(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one_line(name, LONGEST) for name in names if name))
