"""Hosts whose appliances other processes serve, as `show hosts` has them: whether Neutron hears of them still.

A process that dies with its appliance tells nobody; Neutron takes it for dead when it has not reported for 75 s.  Where
Neutron's own agent runs on the appliance it is that one which reports, and of isthmus there nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from isthmus.app.config import Config
from isthmus.core.design import NveKind
from isthmus.model.faults import Refused, Retry

if TYPE_CHECKING:
    from isthmus.adapters.neutron.facts import Heard
    from isthmus.app.neutron import NeutronSide

Row = dict[str, Any]


def served_elsewhere(config: Config, neutron: NeutronSide | None) -> list[Row]:
    """A row for each, with what `report.hosts` knows only of those served here left empty."""
    hosts = [
        (host, name, deployment.vtep_of(host), deployment.design.nve is NveKind.STOCK_OVS)
        for name, deployment in config.deployment.items()
        if deployment.design.nve.on_each_host
        for host in deployment.host
        if host not in deployment.served
    ]
    if not hosts:
        return []
    heard: Mapping[str, Heard] = {}
    unknown = "unknown without Neutron" if neutron is None else ""
    try:
        heard = neutron.intent.heard() if neutron is not None else heard
    except (Retry, Refused) as fault:
        unknown = f"unknown: {fault}"
    return [
        {
            "host": host,
            "id": None,
            "shard": None,
            "deployment": name,
            "vtep": vtep,
            "leaf": None,
            "connected": None,
            "nve": f"served elsewhere: {unknown or _said(heard.get(vtep or ''), of_its_agent=stock)}",
            "nics": None,
            "wired": None,
            "vids": None,
        }
        for host, name, vtep, stock in sorted(hosts)
    ]


def _said(heard: Heard | None, *, of_its_agent: bool) -> str:
    if heard is None:
        return "nobody has reported its VTEP to Neutron"
    said = "alive" if heard.alive else f"dead since {heard.at} UTC"
    return f"its Neutron agent is {said}; of isthmus there nothing is known" if of_its_agent else said
