"""Whom a change on some hosts concerns: every host that carries a network of theirs must know where its members are."""

from __future__ import annotations

from isthmus.model.inventory import Inventory
from isthmus.model.names import HostId


def concerned(hosts: frozenset[HostId], *inventories: Inventory) -> frozenset[HostId]:
    """`hosts`, and all hosts with a NIC in a port group that a NIC there uses, or used in an older inventory.

    Port groups of one network on several switches count as one only by what NICs share, so a caller whose networks
    span switches wakes all hosts instead.
    """
    shared = {
        (nic.dvs, nic.port_group, nic.network_name)
        for inventory in inventories
        for nic in inventory.nics.values()
        if nic.host in hosts
    }
    return hosts | {
        nic.host
        for inventory in inventories
        for nic in inventory.nics.values()
        if nic.host is not None and (nic.dvs, nic.port_group, nic.network_name) in shared
    }
