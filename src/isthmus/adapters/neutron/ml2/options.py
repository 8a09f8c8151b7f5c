"""The drivers' options, in Neutron's own configuration; `oslo-config-generator --namespace isthmus` writes a sample."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

GROUP = "ml2_isthmus"
OPTIONS = [
    cfg.ListOpt(
        "domains",
        default=[],
        help="Mapping domains: physical networks in which a VLAN means one network below a leaf or leaf pair. "
        "Each must have a range in [ml2_type_vlan] network_vlan_ranges. "
        "Which hosts are in which domain is reported by 'isthmus run', as a Neutron agent for each host.",
    ),
    cfg.ListOpt(
        "static_domains",
        default=[],
        help="Mapping domains whose VLANs mean the same at every leaf (design vds-static): creating a VXLAN network "
        "already creates its VLAN segment there, and with it its port group and its mapping.",
    ),
    cfg.IntOpt(
        "port_group_wait",
        default=10,
        min=0,
        max=20,
        help="Seconds that binding a port waits for its port group. After them the port is not bound; "
        "it is bound again as soon as its port group is there.",
    ),
    cfg.BoolOpt(
        "live_migration_between_switches",
        default=False,
        help="Whether a port whose VM runs may be bound to another port group than its present one, for a live "
        "migration. Nova 34 moves the VM with the port group where it is, which no host of another switch has: the "
        "migration would fail at its end. Without this it is refused before it begins.",
    ),
    cfg.StrOpt(
        "initial_port_status",
        default="BUILD",
        choices=["BUILD", "ACTIVE", "DOWN"],
        ignore_case=True,
        help="The status of a port when it is bound. BUILD: it becomes ACTIVE when port group and leaf are in place.",
    ),
]


def register(conf: Any = cfg.CONF) -> Any:
    """This group of the configuration, its options known."""
    conf.register_opts(OPTIONS, group=GROUP)
    return conf[GROUP]


def list_opts() -> list[tuple[str, list[Any]]]:
    """For oslo-config-generator."""
    return [(GROUP, OPTIONS)]
