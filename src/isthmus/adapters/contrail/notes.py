"""What isthmus notes on a VMI, in its annotations, and the uuids of what it makes: the one convention of the design.

    isthmus/workload     {"schema": 1, "owner": ..., "port": ..., "vni": ..., "nic": ..., "mac": ..., "vm_name": ...,
                          "vm_is_ours": whether the VM was made here, too, "address": where guests choose theirs}
    isthmus/home         the host that keeps the workload
    isthmus/plug/HOST    {"schema": 1, "owner": ..., "vid": ..., "vni": ..., "nic": ..., "port": ..., "mac": ...}

and on a VM that it made

    isthmus/vm           {"schema": 1, "owner": ...}

Each key is one writer's: `annotations` is a map, and ``prop-collection-update`` sets one key of it (OpenSDN fbb63bcd).
A VM has its instance UUID; VMI and instance-ip have uuids made of the port's id, which is NIC and network: so two NICs,
equal names and equal MACs never meet, and a NIC in another network is another VMI.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from isthmus.adapters.contrail.api import Fields
from isthmus.model.names import HostId, Mac, NetworkId, NicId, PortId, VmId
from isthmus.model.nve import Plug, Workload
from isthmus.model.tags import Vid, Vni

SCHEMA = 1
CREATOR = "isthmus"
"""`id_perms.creator` of all that is made here."""
WORKLOAD, HOME, PLUG = "isthmus/workload", "isthmus/home", "isthmus/plug/"
VM_OWNER = "isthmus/vm"
OURS = UUID("d39e9f0d-bf76-47ea-8a50-26b0d018847d")
"""The namespace of the uuids that are made here.  Never changed: it is what a restarted process finds its own by."""


def vmi_uuid(port: PortId) -> str:
    """The uuid of a port's VMI; that of a port which the api-server listed is the port's id itself."""
    try:
        return str(UUID(port))
    except ValueError:
        return str(uuid5(OURS, f"vmi {port}"))


def instance_ip_uuid(port: PortId, chosen: str = "") -> str:
    """The uuid of the address that a port is given, or of one that its guest chose."""
    return str(uuid5(OURS, f"instance-ip {port} {chosen}".rstrip()))


def creator_of(fields: Fields) -> str | None:
    """Who made an object: the server never lets that change."""
    perms = fields.get("id_perms")
    return perms.get("creator") if isinstance(perms, dict) else None


@dataclass(frozen=True, slots=True)
class Record:
    """A VMI, as far as isthmus noted something on it.

    `workload` is what it was made for, if this installation made it.  `plugs` are those that vRouter agents may hold,
    by host; that an agent does hold one is not said here.  `addresses` are those of its instance-ips.
    `vm_is_ours` says that the VM goes with its last workload.
    """

    uuid: str
    workload: Workload | None = None
    home: HostId | None = None
    plugs: Mapping[HostId, Plug] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    vm_is_ours: bool = False


def record_in(vmi: Fields, owner: str, addresses: tuple[str, ...] = ()) -> Record:
    """What this installation noted on a VMI; what another did, or one of a newer schema, counts for nothing here.

    Tenants can write annotations: a note of another VMI than that which its port has here is a copy, and nobody's.
    """
    notes = dict(_notes(vmi))
    workload = _workload_in(notes.get(WORKLOAD), vmi, owner)
    if workload is not None and vmi_uuid(workload.port) != vmi["uuid"]:
        return Record(vmi["uuid"], addresses=addresses)
    home = notes.get(HOME) if workload is not None else None
    plugs: dict[HostId, Plug] = {}
    for key, text in notes.items():
        if not key.startswith(PLUG) or (plug := _plug_in(text, vmi, owner)) is None:
            continue
        if vmi_uuid(plug.port) == vmi["uuid"]:
            plugs[HostId(key.removeprefix(PLUG))] = plug
    return Record(vmi["uuid"], workload, HostId(home) if home else None, plugs, addresses, _made_its_vm(notes, owner))


def workload_note(workload: Workload, owner: str, *, vm_is_ours: bool) -> str:
    """What is noted of a workload."""
    said = {"port": workload.port, "vni": int(workload.vni), "nic": workload.nic.key, "mac": workload.mac}
    given = {} if workload.address is None else {"address": workload.address}
    return _text({**said, "vm_name": workload.vm_name, "vm_is_ours": vm_is_ours, **given}, owner)


def plug_note(plug: Plug, owner: str) -> str:
    """What is noted of a plug before its vRouter agent is told."""
    said = {"port": plug.port, "vid": int(plug.vid), "vni": int(plug.vni), "nic": plug.nic.key, "mac": plug.mac}
    return _text(said, owner)


def vm_note(owner: str) -> str:
    """What is noted on a VM that is made here."""
    return _text({}, owner)


def made_by(vm: Fields) -> str | None:
    """The installation that noted on a VM that it made it."""
    text = dict(_notes(vm)).get(VM_OWNER)
    try:
        said = json.loads(text or "null")
    except ValueError:
        return None
    return said.get("owner") if isinstance(said, dict) and said.get("schema") == SCHEMA else None


def plug_key(host: HostId) -> str:
    """The annotation that is a host's own."""
    return PLUG + host


def as_annotations(notes: Mapping[str, str]) -> Fields:
    """Notes as a VMI is created with them."""
    return {"key_value_pair": [{"key": key, "value": value} for key, value in notes.items()]}


def _text(said: Mapping[str, Any], owner: str) -> str:
    return json.dumps({"schema": SCHEMA, "owner": owner, **said})


def _notes(vmi: Fields) -> Iterator[tuple[str, str]]:
    held = vmi.get("annotations")
    pairs = held.get("key_value_pair") if isinstance(held, dict) else None
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict) and isinstance(pair.get("key"), str) and isinstance(pair.get("value"), str):
            yield pair["key"], pair["value"]


def _workload_in(text: str | None, vmi: Fields, owner: str) -> Workload | None:
    said = _said(text, owner)
    try:
        port, vni, nic = PortId(said["port"]), Vni(said["vni"]), _nic_in(said, vmi)
        address = str(said["address"]) if "address" in said else None
        return Workload(port, _network_in(vmi), vni, nic, Mac(said["mac"]), str(said["vm_name"]), address)
    except (KeyError, TypeError, ValueError):
        return None


def _made_its_vm(notes: Mapping[str, str], owner: str) -> bool:
    return _said(notes.get(WORKLOAD), owner).get("vm_is_ours") is True


def _plug_in(text: str, vmi: Fields, owner: str) -> Plug | None:
    said = _said(text, owner)
    try:
        port, vid, vni = PortId(said["port"]), Vid(said["vid"]), Vni(said["vni"])
        return Plug(port, vid, _network_in(vmi), vni, _nic_in(said, vmi), Mac(said["mac"]))
    except (KeyError, TypeError, ValueError):
        return None


def _said(text: str | None, owner: str) -> Mapping[str, Any]:
    """A note that this installation made, in a schema that is known; else nothing."""
    try:
        said = json.loads(text or "null")
    except ValueError:
        return {}
    known = isinstance(said, dict) and said.get("schema") == SCHEMA and said.get("owner") == owner
    return said if known else {}


def _nic_in(said: Mapping[str, Any], vmi: Fields) -> NicId:
    return NicId(VmId(_referred(vmi, "virtual_machine_refs")), int(said["nic"]))


def _network_in(vmi: Fields) -> NetworkId:
    return NetworkId(_referred(vmi, "virtual_network_refs"))


def _referred(vmi: Fields, refs: str) -> str:
    """The uuid of the one object referred to.  Raises KeyError or TypeError without one."""
    (ref,) = vmi[refs]
    return str(ref["uuid"])
