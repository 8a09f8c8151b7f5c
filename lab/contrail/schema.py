"""Which resource types there are, and what fields each knows.  The real server's schema, cut to what isthmus meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.contrail.refusals import Refused

Json = dict[str, Any]
Shape = type | frozenset[str]
"""Of a property: a simple type, or the fields that its object may have."""

ROOT = "config-root"
PAIRS = frozenset({"key_value_pair"})
COMMON: Mapping[str, Shape] = {"id_perms": dict, "perms2": dict, "annotations": PAIRS, "display_name": str}


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    parents: tuple[str, ...]
    refs: tuple[str, ...] = ()
    own: tuple[tuple[str, Shape], ...] = ()
    lists: tuple[str, ...] = ()
    """Properties that are a list, with /prop-collection-update."""

    @property
    def object_type(self) -> str:
        return self.name.replace("-", "_")

    @property
    def collection(self) -> str:
        return f"{self.name}s"

    @property
    def properties(self) -> dict[str, Shape]:
        return {**COMMON, **dict(self.own)}

    @property
    def maps(self) -> set[str]:
        return {name for name, shape in self.properties.items() if shape == PAIRS}

    @property
    def ref_fields(self) -> dict[str, str]:
        """The type that each of its ref fields points to."""
        return {f"{target.replace('-', '_')}_refs": target for target in self.refs}

    @property
    def back_ref_field(self) -> str:
        return f"{self.object_type}_back_refs"

    @property
    def child_field(self) -> str:
        return f"{self.object_type}s"


VN_PROPERTIES = frozenset(
    [
        "allow_transit",
        "network_id",
        "vxlan_network_identifier",
        "forwarding_mode",
        "rpf",
        "mirror_destination",
        "max_flows",
    ]
)
VMI_PROPERTIES = frozenset(
    ["service_interface_type", "interface_mirror", "local_preference", "sub_interface_vlan_tag", "max_flows"]
)

KINDS = (
    Kind("domain", (ROOT,)),
    Kind("global-system-config", (ROOT,)),
    Kind("project", ("domain",), ("floating-ip-pool",), (("quota", dict),)),
    Kind(
        "network-ipam",
        ("project",),
        (),
        (("network_ipam_mgmt", dict), ("ipam_subnet_method", str), ("ipam_subnets", dict), ("ipam_subnetting", bool)),
        ("ipam_subnets",),
    ),
    Kind(
        "virtual-network",
        ("project",),
        ("network-ipam", "virtual-network"),
        (
            ("virtual_network_properties", VN_PROPERTIES),
            ("virtual_network_network_id", int),
            ("virtual_network_category", str),
            ("provider_properties", frozenset({"segmentation_id", "physical_network"})),
            ("port_security_enabled", bool),
            ("router_external", bool),
            ("is_shared", bool),
            ("external_ipam", bool),
            ("flood_unknown_unicast", bool),
            ("address_allocation_mode", str),
            ("route_target_list", dict),
        ),
    ),
    Kind("routing-instance", ("virtual-network",), ("routing-instance",), (("routing_instance_is_default", bool),)),
    Kind(
        "security-group",
        ("project",),
        (),
        (("security_group_id", int), ("configured_security_group_id", int), ("security_group_entries", dict)),
    ),
    Kind("virtual-machine", (ROOT,), (), (("server_type", str),)),
    Kind(
        "virtual-machine-interface",
        ("virtual-machine", "project", "virtual-router"),
        ("security-group", "virtual-machine-interface", "virtual-machine", "virtual-network", "routing-instance"),
        (
            ("virtual_machine_interface_mac_addresses", frozenset({"mac_address"})),
            ("virtual_machine_interface_properties", VMI_PROPERTIES),
            ("virtual_machine_interface_bindings", PAIRS),
            ("virtual_machine_interface_device_owner", str),
            ("virtual_machine_interface_disable_policy", bool),
            ("virtual_machine_interface_allowed_address_pairs", dict),
            ("virtual_machine_interface_dhcp_option_list", dict),
            ("virtual_machine_interface_host_routes", dict),
            ("virtual_machine_interface_fat_flow_protocols", dict),
            ("port_security_enabled", bool),
            ("vrf_assign_table", dict),
        ),
        ("virtual_machine_interface_fat_flow_protocols",),
    ),
    Kind(
        "instance-ip",
        (ROOT,),
        ("virtual-network", "network-ipam", "virtual-machine-interface", "virtual-router"),
        (
            ("instance_ip_address", str),
            ("instance_ip_family", str),
            ("instance_ip_mode", str),
            ("instance_ip_secondary", bool),
            ("instance_ip_subnet", dict),
            ("instance_ip_subscriber_tag", str),
            ("secondary_ip_tracking_ip", dict),
            ("service_instance_ip", bool),
            ("service_health_check_ip", bool),
            ("subnet_uuid", str),
        ),
    ),
    Kind(
        "virtual-router",
        ("global-system-config",),
        ("network-ipam", "virtual-machine"),
        (
            ("virtual_router_type", str),
            ("virtual_router_dpdk_enabled", bool),
            ("virtual_router_ip_address", str),
        ),
    ),
    Kind("floating-ip-pool", ("virtual-network",)),
    Kind(
        "floating-ip",
        ("floating-ip-pool", "instance-ip"),
        ("project", "virtual-machine-interface"),
        (
            ("floating_ip_address", str),
            ("floating_ip_fixed_ip_address", str),
            ("floating_ip_address_family", str),
            ("floating_ip_is_virtual_ip", bool),
            ("floating_ip_traffic_direction", str),
            ("floating_ip_port_mappings", dict),
        ),
        ("floating_ip_port_mappings",),
    ),
)

NEEDS_ATTRIBUTE = {
    ("virtual-network", "network-ipam"),
    ("virtual-machine-interface", "routing-instance"),
    ("virtual-router", "network-ipam"),
}
"""Links with a type of their own: such a ref without `attr` is a bad reference."""

DERIVED = {"routing-instance"}
"""Children that the server itself made, and that hold nothing back."""

_BY_NAME = {kind.name: kind for kind in KINDS}


def kind_of(name: object) -> Kind:
    """By its name with dashes or with underscores.  Raises Refused with 404, as the server does."""
    found = _BY_NAME.get(name.replace("_", "-")) if isinstance(name, str) else None
    if found is None:
        raise Refused(404, f"Resource type '{name}' not found")
    return found


def check(kind: Kind, given: Json, act: str) -> None:
    """Known properties must have their type.  Those that the schema does not know are nobody's business."""
    for name, shape in kind.properties.items():
        if not given.get(name):
            continue
        fault = _fault(name, shape, given[name])
        if fault:
            raise Refused(400, f"Bad property in {act}: {fault}")
    for field, target in kind.ref_fields.items():
        for ref in given.get(field) or []:
            if (kind.name, target) in NEEDS_ATTRIBUTE and "attr" not in ref:
                raise Refused(400, f"Bad reference in {act}: Error validating reference {field} value {ref} 'attr'")


def _fault(name: str, shape: Shape, value: object) -> str | None:
    if isinstance(shape, frozenset):
        if not isinstance(value, dict):
            return f"Error in property {name} value of {value}"
        unknown = set(value) - shape
        if unknown:
            return f"Error validating property {name} value {value} does not have field {unknown}"
        faults = [_fault_of_element(shape, element) for each in shape & _LISTS for element in _listed(value.get(each))]
        return next((f"Error validating property {name}: {fault}" for fault in faults if fault), None)
    if shape is int:
        return None if isinstance(value, int | str) and str(value).lstrip("-").isdigit() else f"{name}: integer value"
    return None if isinstance(value, shape) else f"Error validating property {name}: {shape.__name__} expected"


def check_pair(value: object) -> None:
    """An element of a map property: a key and a value, both strings."""
    fault = _fault_of_element(PAIRS, value) if value is not None else None
    if fault:
        raise Refused(400, fault)


def _fault_of_element(shape: frozenset[str], element: object) -> str | None:
    if shape != PAIRS:
        return None if isinstance(element, str) else f"string value expected instead of {element}"
    if not isinstance(element, dict) or set(element) - {"key", "value"}:
        return f"class KeyValuePair does not have field {element}"
    wrong = [part for part in element.values() if part and not isinstance(part, str)]
    return f"string value expected instead of {wrong}" if wrong else None


def _listed(value: object) -> list[object]:
    if not value:
        return []
    if isinstance(value, list):
        return value
    raise Refused(400, f"must be a list. Received value: {value}")


_LISTS = {"key_value_pair", "mac_address"}
