"""The instance-ips of a port's VMI: what it is given, what its guest uses, what it had from an older program.

Law: an address goes when the one in its place is there; a guest that wants another's loses nothing.  Only what
isthmus or an older Contrail program made is removed, which `id_perms.creator` says for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from isthmus.adapters.contrail.api import ApiServer, Conflict, Fields, Gone
from isthmus.adapters.contrail.elders import Elders, is_alone_on, is_theirs
from isthmus.adapters.contrail.meaning import ADDRESS, VMI
from isthmus.adapters.contrail.notes import CREATOR, creator_of, instance_ip_uuid
from isthmus.adapters.contrail.records import Records
from isthmus.model.faults import Refused
from isthmus.model.names import PortId
from isthmus.model.nve import Workload


class Addresses:
    """Threads may work on different ports at once.  `create` makes one object as ours."""

    def __init__(
        self, api: ApiServer, records: Records, elders: Elders | None, create: Callable[[str, Fields], Fields]
    ) -> None:
        """`elders` are asked for what an older program gave a port, if there are any."""
        self._api, self._records, self._elders, self._create = api, records, elders, create
        self.lacks: dict[PortId, str] = {}
        """Why ports have no address, or not the one that their guest uses."""

    def give(self, workload: Workload, network: Sequence[str], vmi: str, before: Sequence[str] = ()) -> tuple[str, ...]:
        """Those that a VMI has then, which had these `before`; with a lack noted where it has not what it should.

        Raises Retry, or Refused where an older program's port cannot be followed.
        """
        if self._elders is not None:
            self._elders.adopt(workload, [*network[:-1], vmi])
        held = self._held(vmi) if before or self._elders is not None else {}
        addresses = {uuid: str(item["instance_ip_address"]) for uuid, item in held.items()}
        if workload.address in addresses.values() or (addresses and not workload.address):
            self.lacks.pop(workload.port, None)
        elif workload.address != "":
            addresses |= self._asked_for(workload, network, vmi)
        if workload.address in addresses.values():
            for uuid, item in held.items():
                if addresses[uuid] != workload.address and _may_go(item, vmi):
                    self._api.delete(ADDRESS, uuid)
                    del addresses[uuid]
        return tuple(sorted(addresses.values()))

    def has_own(self, vmi: str) -> bool:
        """Whether a VMI has an address that was made here."""
        return any(creator_of(item) == CREATOR for item in self._held(vmi).values())

    def rename(self, workload: Workload, network: str) -> None:
        """Let the title of what was made here follow the VM's name."""
        with suppress(Gone):  # it may have none, or an older program's
            self._api.update(ADDRESS, _uuid(workload), {"display_name": _title(network, workload)})

    def remove(self, workload: Workload) -> None:
        """Remove the one that was made for a workload, if there is one."""
        self._api.delete(ADDRESS, _uuid(workload))

    def release(self, vmi: Fields) -> None:
        """Remove all others that hold up a VMI of ours which is to go, if they may be removed."""
        for uuid, item in self._items(vmi):
            if _may_go(item, vmi["uuid"]):
                self._api.delete(ADDRESS, uuid)

    def _held(self, vmi: str) -> Mapping[str, Fields]:
        """Those that a VMI has now, whoever gave them to it, by their uuid."""
        items = self._items(self._api.read(VMI, vmi))
        return {uuid: item for uuid, item in items if item.get("instance_ip_address")}

    def _items(self, vmi: Fields) -> Iterator[tuple[str, Fields]]:
        for ref in vmi.get("instance_ip_back_refs") or ():
            with suppress(Gone):
                yield ref["uuid"], self._api.read(ADDRESS, ref["uuid"])

    def _asked_for(self, workload: Workload, network: Sequence[str], vmi: str) -> Mapping[str, str]:
        """By uuid; empty, and noted as a lack, where there is none to give."""
        uuid = _uuid(workload)
        fields = {
            "uuid": uuid,
            "fq_name": [uuid],
            "display_name": _title(network[-1], workload),
            "virtual_network_refs": [{"to": list(network)}],
            "virtual_machine_interface_refs": [{"to": [*network[:-1], vmi]}],
        }
        if workload.address:
            fields["instance_ip_address"] = workload.address
        try:
            address = self._given(uuid, fields)
        except Refused as refused:  # no subnet, none left in it, or another has it: the port works on as it is
            what = f"{workload.address}, which its guest uses, is not its address" if workload.address else "no address"
            self.lacks[workload.port] = f"{what}: {refused}"
            return {}
        self.lacks.pop(workload.port, None)
        return {uuid: address} if address else {}

    def _given(self, uuid: str, fields: Fields) -> str | None:
        """The address of one that is made, or was: the answer to its creation does not say it.

        Raises Refused where there is none to give, or the one that is asked for is another's.
        """
        is_known = self._records.knows_address(uuid)  # then what is told of it is what was before
        try:
            self._create(ADDRESS, fields)
            told = None if is_known else self._records.address_told(uuid)
        except Conflict as conflict:
            try:
                return self._api.read(ADDRESS, uuid).get("instance_ip_address")
            except Gone:
                raise Refused(str(conflict)) from conflict
        return told or self._api.read(ADDRESS, uuid).get("instance_ip_address")


def _may_go(address: Fields, vmi: str) -> bool:
    return is_alone_on(address, vmi) and (creator_of(address) == CREATOR or is_theirs(address))


def _uuid(workload: Workload) -> str:
    return instance_ip_uuid(workload.port, workload.address or "")


def _title(network: str, workload: Workload) -> str:
    return f"ip-{network}-{workload.vm_name}"
