"""Ports of the older Contrail programs, and how one becomes ours with its addresses.

Law: an instance-ip goes from their VMI to ours in one write, so at no moment is its address free, or in two places; and
theirs goes after that.  Only what they made is moved or removed, which `id_perms.creator` says for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from isthmus.adapters.contrail.api import ApiServer, Conflict, Fields, Gone
from isthmus.adapters.contrail.meaning import ADDRESS, VMI
from isthmus.adapters.contrail.notes import creator_of
from isthmus.model.names import PortId
from isthmus.model.nve import Workload

OLDER = frozenset({"vcenter-plugin", "vcenter-manager", "vcenter-fabric-manager"})
"""Their `id_perms.creator`: contrail-vcenter-plugin, contrail-vcenter-manager and contrail-vcenter-fabric-manager."""
FLOATING = "floating-ip"
Key = tuple[str, str, str]
"""VM, network and MAC: what they knew a port by, too."""


class Elders:
    """Threads may work on different ports at once."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self.stays: dict[PortId, str] = {}
        """Why their VMI is still there, of ports that have its addresses."""
        self.followed: dict[PortId, tuple[str, ...]] = {}
        """The VMIs in whose place a port is, under which a vRouter agent may still have it."""

    def adopt(self, workload: Workload, ours: Sequence[str]) -> None:
        """Let our VMI have what theirs has, and remove theirs.  Raises Retry, or Refused by the server.

        Whoever is killed in the middle does it again.
        """
        for elder in list(self._of(workload)):
            port = elder["uuid"]
            self.followed[workload.port] = tuple({*self.followed.get(workload.port, ()), port})
            for ref in elder.get("instance_ip_back_refs") or ():
                if self._is_movable(ref["uuid"], port):
                    self._api.update(ADDRESS, ref["uuid"], {"virtual_machine_interface_refs": [{"to": list(ours)}]})
            for ref in elder.get("floating_ip_back_refs") or ():
                self._api.link(FLOATING, ref["uuid"], VMI, ours[-1])
                self._api.unlink(FLOATING, ref["uuid"], VMI, port)
            try:
                self._api.delete(VMI, port)
                self.stays.pop(workload.port, None)
            except Conflict as conflict:  # somebody else's hangs on it
                self.stays[workload.port] = f"an older port of it: {conflict}"

    def _of(self, workload: Workload) -> Iterator[Fields]:
        try:
            vm = self._api.read("virtual-machine", workload.nic.vm)
        except Gone:
            return
        for ref in vm.get("virtual_machine_interface_back_refs") or ():
            with suppress(Gone):
                vmi = self._api.read(VMI, ref["uuid"])
                if is_theirs(vmi) and key_of(vmi) == (workload.nic.vm, workload.network, workload.mac):
                    yield vmi

    def _is_movable(self, uuid: str, holder: str) -> bool:
        """Whether an instance-ip is theirs, this VMI's alone, and no service's."""
        try:
            held = self._api.read(ADDRESS, uuid)
        except Gone:
            return False
        return is_theirs(held) and is_alone_on(held, holder)


def is_theirs(fields: Fields) -> bool:
    """Whether one of the older programs made it."""
    return creator_of(fields) in OLDER


def is_alone_on(instance_ip: Fields, vmi: str) -> bool:
    """Whether an instance-ip is this VMI's alone, and no service's."""
    serves = instance_ip.get("service_instance_ip") or instance_ip.get("service_health_check_ip")
    return not serves and [ref["uuid"] for ref in instance_ip.get("virtual_machine_interface_refs") or ()] == [vmi]


def key_of(vmi: Fields) -> Key | None:
    """None if it is no VM's."""
    vms, networks = (vmi.get(refs) or [] for refs in ("virtual_machine_refs", "virtual_network_refs"))
    macs = (vmi.get("virtual_machine_interface_mac_addresses") or {}).get("mac_address") or []
    if len(vms) != 1 or len(networks) != 1 or not macs:
        return None
    return vms[0]["uuid"], networks[0]["uuid"], str(macs[0]).lower().replace("-", ":")
