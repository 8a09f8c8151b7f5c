"""What the server makes of its own accord of an object: ids, MACs, addresses, children; and what it forbids."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from ipaddress import ip_address

from lab.contrail import addresses
from lab.contrail.objects import Objects
from lab.contrail.refusals import Refused
from lab.contrail.schema import Json, Kind, kind_of

SYSTEM_NETWORKS = ("ip-fabric", "__link_local__", "default-virtual-network", "dci-network")
UNALLOCATED = ("ip-fabric", "__link_local__")
"""In these an instance-ip gets no address of the server's."""
SYSTEM_PROJECT = ["default-domain", "default-project"]

VN = kind_of("virtual-network")
VMI = kind_of("virtual-machine-interface")
IP = kind_of("instance-ip")
FLOATING = kind_of("floating-ip")
RI = kind_of("routing-instance")


def made(objects: Objects, kind: Kind, body: Json) -> Json:
    """A new object as it will be kept.  Raises Refused, and nothing is kept."""
    rule = AT_CREATE.get(kind.name)
    return rule(objects, body) if rule else body


def changed(objects: Objects, kind: Kind, kept: Json, changes: Json) -> Json:
    rule = AT_UPDATE.get(kind.name)
    return rule(objects, kept, changes) if rule else changes


def after_create(objects: Objects, kind: Kind, body: Json) -> None:
    if kind is VN:
        name = [*body["fq_name"], body["fq_name"][-1]]
        own = {"fq_name": name, "parent_type": VN.name, "routing_instance_is_default": True}
        objects.create(RI, own)
    if kind is VMI:
        name = body["virtual_network_refs"][0]["to"]
        own = {"to": [*name, name[-1]], "attr": {"direction": "both"}}
        objects.update(VMI, body["uuid"], {"routing_instance_refs": [own]})


def before_delete(kind: Kind, body: Json) -> None:
    if kind is VN and body["fq_name"] in [[*SYSTEM_PROJECT, name] for name in UNALLOCATED]:
        raise Refused(409, f"Can not delete system created default virtual-network {body['uuid']}")


def _network(objects: Objects, body: Json) -> Json:
    if body.get("virtual_network_network_id") is not None:
        raise Refused(403, "Cannot set the virtual network ID, it's allocated by the server")
    return {
        **body,
        **_with_subnets(body),
        "virtual_network_network_id": next(objects.numbers["virtual-network"]),
    }


def _network_change(objects: Objects, kept: Json, changes: Json) -> Json:
    number = changes.get("virtual_network_network_id", kept["virtual_network_network_id"])
    if number != kept["virtual_network_network_id"]:
        raise Refused(403, "Cannot update the virtual network ID, it's allocated by the server")
    if "network_ipam_refs" not in changes:
        return changes
    changes = {**changes, **_with_subnets(changes)}
    left = addresses.subnets(changes)
    for address in _taken(objects, kept):
        if not any(subnet.offers(ip_address(address)) for subnet in left):
            raise Refused(409, f"Cannot Delete IP Block, IP({address}) is in use")
    return changes


def _with_subnets(body: Json) -> Json:
    refs = [
        {**ref, "attr": {**ref["attr"], "ipam_subnets": [_subnet(given) for given in ref["attr"]["ipam_subnets"]]}}
        for ref in body.get("network_ipam_refs", ())
    ]
    addresses.check_overlap(addresses.subnets({"network_ipam_refs": refs}))
    return {"network_ipam_refs": refs}


def _subnet(given: Json) -> Json:
    return addresses.completed(given) if given.get("subnet") else given


def _security_group(objects: Objects, body: Json) -> Json:
    if body.get("security_group_id") is not None:
        raise Refused(403, "Cannot set the security group ID, it's allocated by the server")
    return {**body, "security_group_id": next(objects.numbers["security-group"])}


def _interface(objects: Objects, body: Json) -> Json:
    body["virtual_network_refs"][0]  # one without a network raises KeyError, and the real server answers 500
    tag = _tag(body)
    _check_tag(tag)
    for ref in body.get("virtual_machine_interface_refs", ()) if tag else ():
        _check_sub_interface(objects, objects.body(ref["uuid"]), tag)
    given = (body.get("virtual_machine_interface_mac_addresses") or {}).get("mac_address")
    # Nobody asks whether it is a MAC, nor whether another interface has it.
    macs = [mac.replace("-", ":") for mac in given] if given else [_mac(body["uuid"])]
    return {**body, "virtual_machine_interface_mac_addresses": {"mac_address": macs}}


def _interface_change(objects: Objects, kept: Json, changes: Json) -> Json:
    if "virtual_machine_interface_properties" in changes:
        _check_tag(_tag(changes))
        if _tag(changes) != _tag(kept) and kept.get("virtual_machine_interface_refs"):
            raise Refused(400, "Cannot change sub-interface VLAN tag ID")
    if changes.get("virtual_machine_refs"):
        for holder in objects.holders(kept["uuid"], IP):
            if _is_gateway(objects, holder):
                raise Refused(400, "Gateway IP cannot be used by VM port")
    return changes


def _check_tag(tag: int) -> None:
    if not 0 <= tag <= 4094:
        raise Refused(400, f"Invalid sub-interface VLAN tag ID: {tag}")


def _check_sub_interface(objects: Objects, primary: Json, tag: int) -> None:
    if _tag(primary):
        raise Refused(400, "sub interface can't have another sub interface as it's primary port")
    below = [objects.body(ref["uuid"]) for ref in primary.get("virtual_machine_interface_refs", ())]
    if any(_tag(sibling) == tag for sibling in below):
        raise Refused(400, "Two sub interfaces under same primary port can't have same Vlan tag")


def _tag(body: Json) -> int:
    return int((body.get("virtual_machine_interface_properties") or {}).get("sub_interface_vlan_tag") or 0)


def _mac(object_id: str) -> str:
    digits = uuid.UUID(object_id).hex
    return ":".join(["02", *(digits[at : at + 2] for at in (0, 2, 4, 6, 8))])


def _instance_ip(objects: Objects, body: Json) -> Json:
    refs = body.get("virtual_network_refs")
    if not refs:
        raise Refused(400, "The lab gives an instance-ip an address of a virtual-network only")
    network = objects.body(refs[0]["uuid"])
    if network["fq_name"] in [[*SYSTEM_PROJECT, name] for name in UNALLOCATED]:
        return body
    wanted = body.get("instance_ip_address")
    if wanted and addresses.is_gateway(addresses.subnets(network), wanted) and _is_of_vm(objects, body):
        raise Refused(400, "Gateway IP cannot be used by VM port")
    return {**body, **_allocated(objects, network, wanted, body)}


def _instance_ip_change(objects: Objects, kept: Json, changes: Json) -> Json:
    address = changes.get("instance_ip_address")
    if address and address != kept.get("instance_ip_address"):
        raise Refused(400, "Instance IP Address can not be changed")
    if _is_gateway(objects, kept) and _is_of_vm(objects, changes):
        raise Refused(400, "Gateway IP cannot be used by VM port")
    return changes


def _allocated(objects: Objects, network: Json, wanted: str | None, body: Json) -> Json:
    address, subnet = addresses.allocate(
        network["fq_name"],
        addresses.subnets(network),
        _taken(objects, network),
        wanted,
        body.get("instance_ip_family"),
        body.get("subnet_uuid"),
    )
    prefix = {"ip_prefix": str(subnet.network.network_address), "ip_prefix_len": subnet.network.prefixlen}
    return {"instance_ip_address": address, "subnet_uuid": subnet.id, "instance_ip_subnet": prefix}


def _is_gateway(objects: Objects, instance_ip: Json) -> bool:
    refs = instance_ip.get("virtual_network_refs")
    address = instance_ip.get("instance_ip_address")
    if not refs or not address:
        return False
    return addresses.is_gateway(addresses.subnets(objects.body(refs[0]["uuid"])), address)


def _is_of_vm(objects: Objects, instance_ip: Json) -> bool:
    refs = instance_ip.get("virtual_machine_interface_refs", ())
    return any(objects.body(ref["uuid"]).get("virtual_machine_refs") for ref in refs)


def _taken(objects: Objects, network: Json) -> set[str]:
    """The addresses that the network's instance-ips have, and the floating-ips of its pools."""
    held = {ip.get("instance_ip_address") for ip in objects.holders(network["uuid"], IP)}
    for _, pool in objects.children(network["uuid"]):
        held |= {floating.get("floating_ip_address") for _, floating in objects.children(pool["uuid"])}
    return {address for address in held if address}


def _floating_ip(objects: Objects, body: Json) -> Json:
    """With an address of its pool's network.  One below an instance-ip takes what it is given."""
    if body.get("parent_type") != "floating-ip-pool":
        return body
    pool = objects.body(body["parent_uuid"])
    network = objects.body(pool["parent_uuid"])
    found = _allocated(objects, network, body.get("floating_ip_address"), {})
    return {**body, "floating_ip_address": found["instance_ip_address"]}


AT_CREATE: dict[str, Callable[[Objects, Json], Json]] = {
    VN.name: _network,
    "security-group": _security_group,
    VMI.name: _interface,
    IP.name: _instance_ip,
    FLOATING.name: _floating_ip,
}
AT_UPDATE: dict[str, Callable[[Objects, Json, Json], Json]] = {
    VN.name: _network_change,
    VMI.name: _interface_change,
    IP.name: _instance_ip_change,
}
