"""How long one thought takes: a settled host, small and in a large site."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from lab.bench.figures import Figure, seconds
from lab.bench.sites import Site


def figures() -> Iterator[Figure]:
    """The core alone, no far side: each against a plain copy of the same mirrors, the least that any reading costs."""
    small = Site.of(hosts=4, ports=800, networks=100)
    yield from _host(small, "one host with 200 ports, 4 hosts on the switch", target=0.03)
    large = Site.of(hosts=1000, ports=50_000, networks=2000)
    yield from _host(large, "one host with 50 ports, 1,000 hosts and 50,000 ports on the switch", target=1.0)


def _host(site: Site, what: str, target: float) -> Iterator[Figure]:
    host = next(iter(site.hosts))
    site.settle([host])
    taken = seconds(lambda: site.think([host]))
    floor = seconds(lambda: (copy.copy(site.ports), {key: port.vlan for key, port in site.ports.items()}))
    yield Figure(f"recompute {what}", taken, "s", target, f"a walk over the DV ports: {floor * 1000:.2f} ms")
