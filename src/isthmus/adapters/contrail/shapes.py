"""Whether what an api-server says of an object has the shape that it has: one odd field costs that field alone.

Law: what cannot be understood is left out and named; that it is not there is nobody's conclusion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

ODD = "odd"
"""Under which an object names its fields that are left out for their shape."""


def without_odd(fields: dict[str, Any]) -> dict[str, Any]:
    """The same, without fields of another shape than theirs; these are named."""
    odd = sorted(name for name, value in fields.items() if not _is_sound(name, value))
    kept = {name: value for name, value in fields.items() if name not in odd}
    return {**kept, ODD: tuple(odd)} if odd else kept


def _is_sound(name: str, value: Any) -> bool:
    if value is None:
        return True
    if name.endswith("_refs"):
        return isinstance(value, list) and all(map(_is_ref, value))
    return _SHAPES.get(name, lambda _: True)(value)


def _is_ref(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("uuid"), str):
        return False
    subnets = attr.get("ipam_subnets") if isinstance(attr := value.get("attr"), dict) else None
    listed = subnets is None or (isinstance(subnets, list) and all(isinstance(one, dict) for one in subnets))
    return listed and isinstance(attr, dict | None)


def _is_macs(value: Any) -> bool:
    macs = value.get("mac_address") if isinstance(value, dict) else 0
    return macs is None or (isinstance(macs, list) and all(isinstance(mac, str) for mac in macs))


def _is_a(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "id_perms": _is_a(dict),
    "annotations": _is_a(dict),
    "virtual_machine_interface_mac_addresses": _is_macs,
    "instance_ip_address": _is_a(str),
    "external_ipam": _is_a(bool),
    "virtual_network_network_id": lambda value: str(value).isdecimal(),
}
