"""VM, VMI and instance-ip of a workload: made in this order, and removed in the other.

Law: what has our uuid is ours, so that it is there already is success; what others refer to is not torn away from them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from isthmus.adapters.contrail.addresses import Addresses
from isthmus.adapters.contrail.api import ApiServer, Conflict, Fields, Gone
from isthmus.adapters.contrail.elders import Elders, is_theirs, key_of
from isthmus.adapters.contrail.http import MaybeDone
from isthmus.adapters.contrail.meaning import PORT_FIELDS, VMI, narrow
from isthmus.adapters.contrail.notes import (
    CREATOR,
    HOME,
    VM_OWNER,
    WORKLOAD,
    Record,
    as_annotations,
    creator_of,
    made_by,
    plug_key,
    plug_note,
    record_in,
    vm_note,
    vmi_uuid,
    workload_note,
)
from isthmus.adapters.contrail.records import Records
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import HostId, NetworkId
from isthmus.model.nve import Plug, Workload

VM, GROUP = "virtual-machine", "security-group"
VM_REFS = "virtual_machine_refs"
SWEEPS_EVERY = 600.0
"""Seconds, at least, between two looks for VMs that a killed process left."""
SWEEPS_AGAIN = 60.0
"""Seconds until the next, when the api-server did not answer."""


class Objects:
    """Threads may work on different ports at once.  `named` says what a network is called, project and all."""

    def __init__(
        self,
        api: ApiServer,
        records: Records,
        named: Callable[[NetworkId], Sequence[str]],
        *,
        adopts: bool = False,
    ) -> None:
        self._api, self.records, self._named = api, records, named
        self.elders, self._adopts = Elders(api), adopts
        self.addresses = Addresses(api, records, self.elders if adopts else None, self._create)
        self._projects: dict[tuple[str, ...], str] = {}
        self._sweeping, self._sweeps_at = threading.Lock(), float("-inf")

    def project_of(self, network: NetworkId) -> str:
        """The uuid of a network's project, in which ports can be made from now on."""
        name = tuple(self._named(network)[:-1])
        if name not in self._projects:
            project = self._api.id_of("project", name)
            self._ensure_group(name)
            self._projects[name] = project
        return self._projects[name]

    def _ensure_group(self, project: tuple[str, ...]) -> None:
        """The security group of ports without another: OpenStack makes it in its projects, nobody elsewhere."""
        try:
            self._api.id_of(GROUP, [*project, "default"])
        except Gone:
            with suppress(Conflict):  # another process was faster
                self._create(GROUP, default_group(project))

    def keep(self, workload: Workload, host: HostId, plug: Plug | None) -> Record:
        """Make a workload that is to be kept from a host, or take it over, and note what is to be plugged in there."""
        record = self.records.of(vmi_uuid(workload.port))
        if record is None or record.workload is None:
            return self._made(workload, host, plug)
        if workload.address == "":  # a host that has not heard of it yet takes nothing back
            workload = replace(workload, address=record.workload.address or "")
        notes: dict[str, str | None] = {}
        if record.workload != workload:
            self._follow(record, record.workload, workload)
            notes[WORKLOAD] = workload_note(workload, self.records.owner, vm_is_ours=record.vm_is_ours)
        if record.home != host:
            notes[HOME] = host
        after = replace(record, workload=workload, home=host)
        if _is_to_have_another(record, workload):
            record = self._with_address(record, workload, list(self._named(workload.network)))
            after = replace(after, addresses=record.addresses)
        if plug is not None and not _is_noted(record, host, plug):
            notes[plug_key(host)] = plug_note(plug, self.records.owner)
            after = replace(after, plugs={**record.plugs, host: plug})
        return self._noted(record, after, notes)

    def _follow(self, record: Record, before: Workload, now: Workload) -> None:
        """The properties that follow the VM's name and the NIC's MAC; the note of what was done comes after them."""
        fields: Fields = {}
        if before.mac != now.mac:
            fields["virtual_machine_interface_mac_addresses"] = {"mac_address": [now.mac]}
        if before.vm_name != now.vm_name:
            name = self._named(now.network)[-1]
            fields["display_name"] = _vmi_title(name, now)
            if record.vm_is_ours:
                self._api.update(VM, now.nic.vm, {"display_name": now.vm_name})
            self.addresses.rename(replace(before, vm_name=now.vm_name), name)
        if fields:
            self._api.update(VMI, record.uuid, fields)

    def note_plug(self, host: HostId, plug: Plug) -> Record:
        """Note what a host's vRouter agent is about to be told, on a VMI that is there.  Raises Gone without one."""
        uuid = vmi_uuid(plug.port)
        record = self.records.of(uuid) or Record(uuid)
        if _is_noted(record, host, plug):
            return record
        after = replace(record, plugs={**record.plugs, host: plug})
        return self._noted(record, after, {plug_key(host): plug_note(plug, self.records.owner)})

    def forget_plug(self, host: HostId, plug: Plug) -> None:
        """The host's vRouter agent has let go of it.  What nobody keeps goes with the last plug."""
        record = self.records.of(vmi_uuid(plug.port))
        if record is None or host not in record.plugs:
            return
        left = {at: other for at, other in record.plugs.items() if at != host}
        if record.workload is not None and record.home is None and not left:
            self._remove(record, record.workload)
            return
        self._noted(record, replace(record, plugs=left), {plug_key(host): None})
        now = self.records.of(record.uuid)
        if record.home is None or (now is not None and now.home is None):
            self._remove_if_nobodys(record.uuid)

    def give_up(self, workload: Workload, host: HostId) -> None:
        """A host keeps it no longer; it is gone when no vRouter agent has its plug."""
        record = self.records.of(vmi_uuid(workload.port))
        if record is None or record.workload is None or record.home != host:
            return
        if record.plugs:
            self._noted(record, replace(record, home=None), {HOME: None})
            self._remove_if_nobodys(record.uuid)
        else:
            self._remove(record, record.workload)

    def _remove_if_nobodys(self, uuid: str) -> None:
        """Read after one's own note: of several hosts that let go at once, whoever reads last sees nobody left.

        Who lets go of a port that another process's host keeps, as far as is known, does not read: see `sweep`.
        """
        with suppress(Gone):
            there = record_in(self._api.read(VMI, uuid), self.records.owner)
            if there.workload is not None and there.home is None and not there.plugs:
                self._remove(there, there.workload)

    def _made(self, workload: Workload, host: HostId, plug: Plug | None) -> Record:
        """The VMI says from its first moment what it is for."""
        network = list(self._named(workload.network))
        self.project_of(workload.network)
        vm_is_ours = self._create_vm(workload)
        record = Record(vmi_uuid(workload.port), workload, host, {host: plug} if plug else {}, vm_is_ours=vm_is_ours)
        with self.records.writing(record.uuid) as wrote:
            record = self._with_vmi(record, workload, network)
            wrote(None, record)
        if workload.address == "" and not self._adopts:
            return record
        return self._with_address(record, workload, network)

    def _with_vmi(self, record: Record, workload: Workload, network: Sequence[str]) -> Record:
        """Make the VMI, and the VM that it refers to if another process has taken that away as one without a VMI."""
        try:
            self._create_vmi(record, workload, network)
        except Refused:
            if not self._is_new_vm(workload):
                raise
            record = replace(record, vm_is_ours=True)
            self._create_vmi(record, workload, network)
        return record

    def _with_address(self, record: Record, workload: Workload, network: Sequence[str]) -> Record:
        """What is known of a VMI then that is given an address, or another."""
        with self.records.writing(record.uuid) as wrote:
            given = self.addresses.give(workload, network, record.uuid, record.addresses)
            after = replace(record, addresses=given)
            wrote(record, after)
        return after

    def _create_vm(self, workload: Workload) -> bool:
        """Whether it is ours: another may have made it, or we for another NIC of it."""
        if self._is_new_vm(workload):
            return True
        vm = self._api.read(VM, workload.nic.vm)
        if self._adopts and is_theirs(vm):
            self._api.update(VM, workload.nic.vm, {"display_name": workload.vm_name})  # the plugin's says a vRouter's
            return True
        return self._is_ours(vm)

    def _is_ours(self, vm: Fields) -> bool:
        """This installation made it."""
        return creator_of(vm) == CREATOR and made_by(vm) == self.records.owner

    def _is_new_vm(self, workload: Workload) -> bool:
        """Make it, unless it is there.  A VM has no parent: without an owner no tenant would see his."""
        uuid, project = workload.nic.vm, self.project_of(workload.network)
        fields = {
            "uuid": uuid,
            "fq_name": [uuid],
            "display_name": workload.vm_name,
            "perms2": {"owner": project.replace("-", ""), "owner_access": 7, "global_access": 0, "share": []},
            "annotations": as_annotations({VM_OWNER: vm_note(self.records.owner)}),
        }
        try:
            self._create(VM, fields)
        except Conflict:
            return False
        return True

    def sweep_now_and_then(self, now: float) -> None:
        """First before the first write of a process.  Raises Retry or Refused if it was not done whole."""
        with self._sweeping:
            if now < self._sweeps_at:
                return
            self._sweeps_at = now + SWEEPS_EVERY
        try:
            self.sweep()
        except Retry:
            self._sweeps_at = now + SWEEPS_AGAIN
            raise

    def sweep(self) -> None:
        """Take away what a process that was killed left: our VMIs that nobody keeps and no agent has, VMs without VMI.

        What the server refuses to let go of keeps nothing else, and is raised at the end.
        A VM whose VMI is just being made is safe: the server removes none that a VMI refers to, and who finds his gone
        before that makes it again.
        """
        self._projects.clear()  # one may have been made anew under its name
        refused: list[Refused] = []
        if self._adopts:
            with suppress(Conflict), _noted(refused):
                self._end_adoptions()
        for record in self.records.read().values():
            if record.workload is not None and record.home is None and not record.plugs:
                with suppress(Conflict), _noted(refused):  # something of another's refers to it
                    self._remove_if_nobodys(record.uuid)
        vmis = [narrow(VMI, vmi) for vmi in self._api.listed(VMI, PORT_FIELDS)]
        used = {ref["uuid"] for vmi in vmis for ref in vmi.get(VM_REFS) or ()}
        for vm in self._api.listed(VM, ("annotations", "id_perms")):
            if vm["uuid"] not in used and self._is_ours(vm):
                with suppress(Conflict), _noted(refused):  # it has one by now
                    self._api.delete(VM, vm["uuid"])
        if refused:
            raise refused[0]

    def _end_adoptions(self) -> None:
        """Those that a killed process began: a port that was given an address of ours has not been one."""
        ours = {
            (work.nic.vm, work.network, work.mac): (work, record)
            for record in self.records.read().values()
            if (work := record.workload) is not None
        }
        for vmi in [narrow(VMI, vmi) for vmi in self._api.listed(VMI, PORT_FIELDS)]:
            if not is_theirs(vmi) or (key := key_of(vmi)) not in ours:
                continue
            work, record = ours[key]
            with suppress(Gone):
                if not self.addresses.has_own(record.uuid):
                    self.elders.adopt(work, [*self._named(work.network)[:-1], record.uuid])
                    self.records.doubt()

    def _create_vmi(self, record: Record, workload: Workload, network: Sequence[str]) -> None:
        project, owner = network[:-1], self.records.owner
        notes = {WORKLOAD: workload_note(workload, owner, vm_is_ours=record.vm_is_ours), HOME: record.home or ""}
        notes |= {plug_key(host): plug_note(plug, owner) for host, plug in record.plugs.items()}
        fields = {
            "uuid": record.uuid,
            "fq_name": [*project, record.uuid],
            "parent_type": "project",
            "display_name": _vmi_title(network[-1], workload),
            "virtual_network_refs": [{"to": list(network)}],
            "virtual_machine_refs": [{"to": [workload.nic.vm]}],
            "security_group_refs": [{"to": [*project, "default"]}],
            "virtual_machine_interface_mac_addresses": {"mac_address": [workload.mac]},
            "port_security_enabled": True,
            "annotations": as_annotations(notes),
        }
        try:
            self._create(VMI, fields)
        except Conflict as conflict:
            there = record_in(self._api.read(VMI, record.uuid), owner)
            if there.workload is None:
                raise Refused(
                    f"{conflict}: it carries no note of {owner}: delete it, or run under its owner's name"
                ) from None
            self.records.doubt()
            raise

    def _create(self, kind: str, fields: Fields) -> Fields:
        """Make one object as ours.  Raises Conflict if its uuid is taken."""
        try:
            return self._api.create(kind, {**fields, "id_perms": {"creator": CREATOR, "enable": True}})
        except MaybeDone:
            self.records.doubt()
            raise

    def _noted(self, before: Record, after: Record, notes: Mapping[str, str | None]) -> Record:
        if notes:
            with self.records.writing(after.uuid) as wrote:
                try:
                    self._api.note(after.uuid, notes)
                except Retry:
                    self.records.doubt()
                    raise
                wrote(before, after)
        return after

    def _remove(self, record: Record, workload: Workload) -> None:
        """Instance-ip, VMI, and the VM unless it is another's or has others."""
        with self.records.writing(record.uuid) as wrote:
            try:
                self.addresses.remove(workload)
                self._delete_vmi(record.uuid)
            except Retry:
                self.records.doubt()
                raise
            wrote(record, None)
        self.addresses.lacks.pop(workload.port, None)
        if record.vm_is_ours:
            with suppress(Conflict):  # it has another NIC
                self._api.delete(VM, workload.nic.vm)

    def _delete_vmi(self, uuid: str) -> None:
        """Floating addresses leave it first; whatever else refers to it stays, and is named."""
        try:
            self._api.delete(VMI, uuid)
            return
        except Conflict:
            held = self._api.read(VMI, uuid)
        self.addresses.release(held)
        for ref in held.get("floating_ip_back_refs") or ():
            self._api.unlink("floating-ip", ref["uuid"], VMI, uuid)
        try:
            self._api.delete(VMI, uuid)
        except Conflict as conflict:
            raise Refused(str(conflict)) from conflict


def _vmi_title(network: str, workload: Workload) -> str:
    return f"vmi-{network}-{workload.vm_name}"


@contextmanager
def _noted(refused: list[Refused]) -> Iterator[None]:
    """What is refused here keeps nothing else from being done."""
    try:
        yield
    except Refused as fault:
        refused.append(fault)


def _is_to_have_another(record: Record, workload: Workload) -> bool:
    """It has no address, or its guest uses another now.  What is noted is what was done."""
    if workload.address is None:
        return not record.addresses
    noted = record.workload.address if record.workload is not None else None
    return workload.address != "" and (workload.address != noted or workload.address not in record.addresses)


def _is_noted(record: Record, host: HostId, plug: Plug) -> bool:
    noted = record.plugs.get(host)
    return noted is not None and (noted.vid, noted.nic, noted.mac) == (plug.vid, plug.nic, plug.mac)


def default_group(project: Sequence[str]) -> Fields:
    """Its members hear each other, and speak with everybody: as Neutron's, and that of the older programs, had it."""
    name = [*project, "default"]
    local, members = {"security_group": "local"}, {"security_group": ":".join(name)}
    rules = []
    for ethertype, everybody in (("IPv4", "0.0.0.0"), ("IPv6", "::")):
        anybody = {"subnet": {"ip_prefix": everybody, "ip_prefix_len": 0}}
        rules += [_rule(ethertype, members, local), _rule(ethertype, local, anybody)]
    return {"fq_name": name, "parent_type": "project", "security_group_entries": {"policy_rule": rules}}


def _rule(ethertype: str, source: Fields, destination: Fields) -> Fields:
    every = [{"start_port": 0, "end_port": 65535}]
    ends = {"src_addresses": [source], "dst_addresses": [destination], "src_ports": every, "dst_ports": every}
    return {"direction": ">", "protocol": "any", "ethertype": ethertype, **ends}
