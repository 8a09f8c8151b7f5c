"""What refers to a virtual network on the api-server, which removes none that something refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from isthmus.adapters.contrail.api import ApiServer, Fields, Gone
from isthmus.adapters.contrail.meaning import ADDRESS, KINDS, NETWORK, VMI
from isthmus.adapters.contrail.notes import record_in
from isthmus.model.names import HostId, NetworkId


def holders_of(api: ApiServer, network: NetworkId, owner: str, hosts: Mapping[HostId, str]) -> list[str]:
    """Each by its kind and name, ours with what they are for.  Raises Retry or Refused."""
    try:
        found = api.read(NETWORK, network)
    except Gone:
        return []
    vmis = _those(api, VMI, found.get("virtual_machine_interface_back_refs"))
    ours = {vmi["uuid"] for vmi in vmis if record_in(vmi, owner).workload is not None}
    said = [_port(vmi, owner, hosts) for vmi in vmis]
    for address in _those(api, ADDRESS, found.get("instance_ip_back_refs")):
        if not ours & {ref["uuid"] for ref in address.get("virtual_machine_interface_refs") or ()}:
            said.append(f"instance-ip {address.get('instance_ip_address', '')} ({address['uuid']})")
    return [*said, *_others(found)]


def _those(api: ApiServer, kind: str, refs: list[Fields] | None) -> list[Fields]:
    return api.listed(kind, KINDS[kind], among=[ref["uuid"] for ref in refs]) if refs else []


def _port(vmi: Fields, owner: str, hosts: Mapping[HostId, str]) -> str:
    record = record_in(vmi, owner)
    if record.workload is not None:
        agents = sorted(hosts.get(host, host) for host in record.plugs)
        plugged = f", in the vRouter agent of {' and of '.join(agents)}" if agents else ""
        home = f"kept by {hosts.get(record.home, record.home)}" if record.home else "kept by no host"
        return f"port {vmi['uuid']} of VM {record.workload.vm_name}, {home}{plugged}"
    creator = (vmi.get("id_perms") or {}).get("creator")
    return f"another's port {':'.join(vmi['fq_name'])}" + (f", made by {creator}" if creator else "")


def _others(network: Fields) -> Iterator[str]:
    for field, refs in sorted(network.items()):
        told = field in ("virtual_machine_interface_back_refs", "instance_ip_back_refs")
        if (field.endswith("_back_refs") and not told) or field == "floating_ip_pools":
            kind = field.removesuffix("_back_refs").removesuffix("s").replace("_", "-")
            yield from (f"{kind} {':'.join(ref['to'])}" for ref in refs or ())
