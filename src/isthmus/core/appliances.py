"""Whether an appliance is on the host that it serves.

Law: on another host it must not be heard, for there is one already: a frame that one of the two brings to the switch
the other would take away again, round and round.
"""

from __future__ import annotations

from isthmus.model.faults import Refused
from isthmus.model.inventory import Inventory, Machine
from isthmus.model.names import HostId


def astray(inventory: Inventory, host: HostId, bios_uuid: str) -> str:
    """Where the appliance of `host` is instead, in words; empty if it is there.

    Raises Refused if nobody can say: there is no such VM, or there are several.
    """
    running = candidates(inventory, bios_uuid)
    if not running:
        raise Refused(f"vCenter shows no VM with BIOS UUID {bios_uuid}, the appliance's: correct 'bios_uuid'")
    if len(running) > 1:
        names = ", ".join(machine.name for machine in running)
        raise Refused(f"{names} have one BIOS UUID, {bios_uuid}, so nobody knows which is the appliance: change one's")
    return "" if running[0].host in (None, host) else _where(inventory, running[0], host)


def candidates(inventory: Inventory, bios_uuid: str) -> list[Machine]:
    """The VMs that may be the appliance: of several with its BIOS UUID those that run."""
    found = [machine for machine in inventory.machines if machine.bios_uuid == bios_uuid]
    return [machine for machine in found if machine.powered_on] or found


def _where(inventory: Inventory, machine: Machine, host: HostId) -> str:
    there, here = (_name(inventory, at) for at in (machine.host, host))
    return f"the appliance {machine.name} is on host {there} and serves {here}: move it back, and pin it there"


def _name(inventory: Inventory, host: HostId | None) -> str:
    known = inventory.hosts.get(host) if host is not None else None
    return str(host) if known is None else known.name
