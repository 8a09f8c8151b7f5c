"""Ports bound by a whole Neutron, on vSphere clusters against a KVM host that Neutron's own driver binds.

Both through REST, by as many callers, in one run: API processes, database and message bus are the same.  What is
measured for us ends when ports are ACTIVE, so with port group and leaf in place; the floor ends when they are bound.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from lab.bench.figures import Figure
from lab.openstack.racks import RACKS
from lab.openstack.site import KVM, Site, site

CALLERS = 4
PATIENCE = 300.0


def figures() -> Iterator[Figure]:
    """A port of a new network, then many of networks that are there, over all racks of the lab."""
    with site("bench") as made:
        clusters = [rack.compute for rack in RACKS]
        warm = made.network("warm")
        _bound(made, warm, [*clusters, KVM])
        first = made.network("first")
        yield _compared(made, first, clusters[:1], "the first port of a network: port group and mapping made", None)
        yield _compared(made, first, clusters[:1], "a further port of it", 2.0)
        many = made.network("many")
        _bound(made, many, clusters)
        before = _writes(made)
        _bound(made, many, clusters * 10)
        against = "changes in vCenter and at leaves, as isthmus counts them, for 10 more on each switch"
        yield Figure("writes for further ports of a network on a switch", _writes(made) - before, "", 0.0, against)
        yield _compared(made, many, clusters * 50, f"{50 * len(clusters)} ports over {len(clusters)} leaves", 2.0)


def _compared(made: Site, network: str, hosts: list[str], what: str, target: float | None) -> Figure:
    ours = _bound(made, network, hosts)
    floor = _created(made, network, [KVM] * len(hosts))
    against = (
        f"as many ports on a KVM host, bound by Neutron's own driver in {floor:.2f} s; {len(hosts) / ours:.1f} a second"
    )
    return Figure(f"{what}, ACTIVE", ours / floor, "x", target, against)


def _bound(made: Site, network: str, hosts: list[str]) -> float:
    """Seconds until ports on these hosts are created and ACTIVE; those of KVM hosts only created."""
    started = time.perf_counter()
    ports = _ports(made, network, hosts)
    waiting = {port for port, host in zip(ports, hosts, strict=True) if host != KVM}
    while waiting:
        active = {port["id"] for port in made.rest.list("ports", f"network_id={network}&status=ACTIVE&fields=id")}
        waiting -= active
        if time.perf_counter() - started > PATIENCE:
            raise RuntimeError(f"{len(waiting)} ports are not ACTIVE after {PATIENCE:.0f} s")
        time.sleep(0.02 if len(hosts) == 1 else 0.2)
    return time.perf_counter() - started


def _created(made: Site, network: str, hosts: list[str]) -> float:
    started = time.perf_counter()
    _ports(made, network, hosts)
    return time.perf_counter() - started


def _ports(made: Site, network: str, hosts: list[str]) -> list[str]:
    with ThreadPoolExecutor(min(CALLERS, len(hosts))) as callers:
        return list(callers.map(lambda host: made.rest.port(network, host), hosts))


def _writes(made: Site) -> int:
    status = json.loads(made.isthmus.ask("show", "--json").stdout)
    return sum(int(shard["changes"]) for shard in status["shards"])
