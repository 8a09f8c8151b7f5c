"""What `isthmus check` finds on an api-server: what older programs and others left there.  Only reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from isthmus.adapters.contrail.api import ApiServer, Fields
from isthmus.adapters.contrail.elders import is_theirs
from isthmus.adapters.contrail.meaning import ADDRESS, ADDRESS_FIELDS, KINDS, VMI
from isthmus.adapters.contrail.notes import record_in

SHOWN = 5
VROUTER = "virtual-router"


def of_older_programs(api: ApiServer, owner: str) -> Iterator[str]:
    """What the older Contrail programs made and has not become ours, by kind.  Raises Retry or Refused."""
    ports = api.listed(VMI, (*KINDS[VMI], "display_name"))
    records = {port["uuid"]: record_in(port, owner) for port in ports}
    ours = {uuid for uuid, record in records.items() if record.workload is not None}
    ours |= {record.workload.nic.vm for record in records.values() if record.workload and record.vm_is_ours}
    ours |= {ip["uuid"] for ip in api.listed(ADDRESS, ADDRESS_FIELDS) if ours & set(_referred(ip))}
    for kind in ("virtual-machine", VMI, ADDRESS):
        listed = ports if kind == VMI else api.listed(kind, ("id_perms", "display_name"))
        found = [item for item in listed if is_theirs(item) and item["uuid"] not in ours]
        if found:
            makers = sorted({item["id_perms"]["creator"] for item in found})
            yield f"{len(found)} {kind} objects of {', '.join(makers)}: {_names(found)}"


def unknown_agents(api: ApiServer, agents: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The hosts (by name) whose agent's URL is no virtual-router of the api-server, with what is amiss."""
    routers = api.listed(VROUTER, ("virtual_router_ip_address",))
    known = {item.get("virtual_router_ip_address") for item in routers} | {item["fq_name"][-1] for item in routers}
    for host, url in agents:
        place = urlsplit(url).hostname or ""
        if place not in known:
            yield host, f"{place} is no virtual-router of the api-server, which has {len(routers)}"


def _referred(address: Fields) -> list[str]:
    return [ref["uuid"] for ref in address.get("virtual_machine_interface_refs") or ()]


def _names(found: list[Fields]) -> str:
    names = sorted(f"{item.get('display_name') or item['fq_name'][-1]} ({item['uuid']})" for item in found)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
