"""How long one thought takes: one host, small and in a large site, and all hosts of a large site at once."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator

from isthmus.app.daemon import SELDOM
from isthmus.model.names import HostId
from lab.bench.figures import Figure, seconds
from lab.bench.sites import Site


def figures() -> Iterator[Figure]:
    """The core alone, no far side: each beside a plain walk over the same mirrors, the least that any reading costs."""
    gc.set_threshold(*SELDOM)  # as in `isthmus run`
    small = Site.of(hosts=4, ports=800, networks=100)
    yield _thought(small, list(small.hosts)[:1], "one host with 200 ports, 4 hosts on the switch", target=0.01)
    large = Site.of(hosts=1000, ports=50_000, networks=2000)
    hosts = list(large.hosts)
    yield _thought(large, hosts[:1], "one host with 50 ports, 50,000 ports on the switch", target=1.0)
    yield _thought(large, hosts, "1,000 hosts with 50,000 ports in one process", target=5.0, runs=3)
    yield _thought(large, hosts[:1], "the same one host, with all 50,000 ports tagged and open", target=1.0)


def _thought(site: Site, hosts: list[HostId], what: str, target: float, runs: int = 5) -> Figure:
    site.settle(hosts)
    # What an adapter reads back is equal to what the core wants, never the same objects.
    site.flows |= {host: pickle.loads(pickle.dumps(site.flows[host])) for host in hosts}
    taken = seconds(lambda: site.think(hosts), runs)
    floor = seconds(lambda: [port.vlan for port in site.ports.values()] and _walk(site, hosts), runs)
    flows = sum(len(site.flows[host]) for host in hosts)
    against = f"{flows:,} flows held; a walk over them and the DV ports: {floor * 1000:.2f} ms"
    return Figure(f"recompute {what}", taken, "s", target, against)


def _walk(site: Site, hosts: list[HostId]) -> int:
    return sum(flow.key in site.flows[host] for host in hosts for flow in site.flows[host].values())
