"""What is wrong with Neutron's configuration, found before Neutron acts on it.

Law: drivers are made before any type driver is initialised.  The VLAN type driver deletes the allocations of physical
networks that its ranges lack, so a domain that was forgotten there must be refused in a constructor, not later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from oslo_config import cfg

from isthmus.adapters.neutron.ml2 import options

FABRIC, VDS, OVSVAPP = "isthmus_fabric", "isthmus_vds", "isthmus_ovsvapp"
BINDERS = (VDS, OVSVAPP)
"""Those whose bindings are port groups."""
BINDS_OVERLAYS = ("openvswitch", "linuxbridge", "ovn")
"""Drivers that bind a VXLAN segment themselves where a host's Neutron agent has tunnels."""


class Misconfigured(Exception):
    """Neutron must not start like this; says all that is wrong, and where."""


def domains_of(conf: Any = cfg.CONF) -> frozenset[str]:
    """All mapping domains, static or not."""
    ours = options.register(conf)
    return frozenset(ours.domains) | frozenset(ours.static_domains)


def static_domains(conf: Any = cfg.CONF) -> frozenset[str]:
    """Those in which every network has a VLAN."""
    return frozenset(options.register(conf).static_domains)


def speaker(conf: Any = cfg.CONF) -> str | None:
    """The one of our drivers that answers and wakes `isthmus run` for all of them."""
    return next((driver for driver in (FABRIC, *BINDERS) if driver in conf.ml2.mechanism_drivers), None)


def refuse(driver: str, conf: Any = cfg.CONF) -> None:
    """Raise Misconfigured if Neutron's configuration cannot work with the driver."""
    if found := list(_wrong(driver, conf)):
        raise Misconfigured("; ".join(found))


def _wrong(driver: str, conf: Any) -> Iterator[str]:
    if driver == OVSVAPP:
        if "vxlan" not in conf.ml2.type_drivers:
            yield "[ml2] type_drivers lacks vxlan: networks are nothing else to an appliance"
        yield from _early(OVSVAPP, list(conf.ml2.mechanism_drivers), "ports behind appliances with Neutron's own agent")
        return
    domains = domains_of(conf)
    if not domains:
        yield f"[{options.GROUP}] domains is empty: name the physical networks that are mapping domains"
    if missing := sorted(domains - {name for name, _, _ in _ranges(conf)}):
        yield (
            f"[ml2_type_vlan] network_vlan_ranges has no range for {', '.join(missing)}, which [{options.GROUP}] names "
            "as mapping domains: Neutron would forget which of their VLANs are in use"
        )
    if "vlan" not in conf.ml2.type_drivers:
        yield "[ml2] type_drivers lacks vlan"
    yield from _misplaced(driver, list(conf.ml2.mechanism_drivers))


def ranges_of(domain: str, conf: Any = cfg.CONF) -> list[str]:
    """The VLANs that Neutron gives out in a physical network, as ``["101-149"]``."""
    return [f"{low}-{high}" for name, low, high in _ranges(conf) if name == domain]


def _ranges(conf: Any) -> list[list[str]]:
    """What has a VLAN range: name, low, high.  A name alone allows no dynamic segment."""
    try:
        ranges: Sequence[str] = conf.ml2_type_vlan.network_vlan_ranges
    except cfg.NoSuchOptError:
        return []
    return [[part.strip() for part in entry.rsplit(":", 2)] for entry in ranges if entry.count(":") >= 2]


def _misplaced(driver: str, order: list[str]) -> Iterator[str]:
    if driver not in order:
        return
    if driver == FABRIC:
        yield from _early(FABRIC, order, "network nodes below a leaf")
        if VDS not in order:
            yield f"[ml2] mechanism_drivers has {FABRIC} but not {VDS}, which binds the ports of vSphere's clusters"


def _early(driver: str, order: list[str], whose: str) -> Iterator[str]:
    pairs = ((name, driver) for name in BINDS_OVERLAYS if {name, driver} <= set(order))
    early = [first for first, second in pairs if order.index(first) < order.index(second)]
    if early:
        yield (
            f"[ml2] mechanism_drivers has {', '.join(early)} before {driver}: {whose} would be "
            f"bound without it.  Put {driver} first"
        )
