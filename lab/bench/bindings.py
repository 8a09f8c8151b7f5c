"""Ports bound by a whole Neutron, on vSphere clusters below ten leaves, against a KVM host of Neutron's own driver.

Both through REST, by as many callers, in one run: API processes, database and message bus are the same.  What is
measured for us ends when ports are ACTIVE, so with port group and leaf in place; the floor ends when they are bound,
and isthmus stands still meanwhile.
The leaves are their databases alone: a software switch for each would take the processors from what is measured.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from lab.bench.figures import Figure
from lab.bench.metered import CALLS, EVERY
from lab.netns.stage import until
from lab.openstack.product import AGENT_TYPE
from lab.openstack.racks import Rack
from lab.openstack.site import KVM, Plan, Site, site

CALLERS = 4
PATIENCE = 900.0
LEAVES = 10
FAR_SIDES = ("vcenter", "leaf", "neutron")
METERED = "lab.bench.metered"


def figures() -> Iterator[Figure]:
    """A port of a new network, then more of one that is there, over all leaves."""
    racks = [_rack(number) for number in range(1, LEAVES + 1)]
    with site("bench", Plan(racks, forwarding=False, isthmus=METERED)) as made:
        clusters = [rack.compute for rack in racks]
        warm = made.network("warm")
        _bound(made, warm, [*clusters, KVM])
        first = made.network("first")
        yield from _compared(made, first, clusters[:1], "the first port of a network, which makes its port group", None)
        yield from _compared(made, first, clusters[:1], "a further port of it", 2.0)
        many = made.network("many")
        _bound(made, many, clusters)
        before = _writes(made)
        _bound(made, many, clusters)
        against = "changes in vCenter and at leaves, as isthmus counts them, for one more on each switch"
        yield Figure("writes for further ports of a network on a switch", _writes(made) - before, "", 0.0, against)
        yield from _compared(made, many, clusters * 10, f"100 ports over {LEAVES} leaves", 2.0)
        yield from _compared(made, many, clusters * 100, f"1,000 ports over {LEAVES} leaves", 2.0)


def _rack(number: int) -> Rack:
    return Rack(f"rack{number}", f"leaf{number}", f"192.0.2.{100 + number}", f"compute-{number}", (101, 149),
                (f"esx{number}.lab",))  # fmt: skip


def _compared(made: Site, network: str, hosts: list[str], what: str, target: float | None) -> Iterator[Figure]:
    before = _calls(made)
    ours = _bound(made, network, hosts)
    made_calls = _calls(made) - before
    with made.isthmus.standing_still():  # it reads Neutron whenever a port is bound, anybody's
        floor = _created(made, network, [KVM] * len(hosts))
    made.await_agents({(rack.compute, AGENT_TYPE) for rack in made.racks})
    if until(lambda: made.isthmus.is_settled, PATIENCE) is None:  # what it missed is no part of the next figure
        raise RuntimeError(f"isthmus does not settle within {PATIENCE:.0f} s")
    against = (
        f"as many ports on a KVM host, bound by Neutron's own driver in {floor:.2f} s; {len(hosts) / ours:.1f} a second"
    )
    yield Figure(f"{what}, ACTIVE", ours / floor, "x", target, against)
    each = {side: sum(n for name, n in made_calls.items() if name.startswith(side)) for side in FAR_SIDES}
    told = ", ".join(f"{name} {count / len(hosts):.2f}" for name, count in made_calls.most_common(8))
    total = sum(each.values()) / len(hosts)
    shares = ", ".join(f"{side} {count / len(hosts):.2f}" for side, count in each.items())
    yield Figure(f"{what}: calls for each", total, "", None, f"{shares}; most of them {told}")


def _bound(made: Site, network: str, hosts: list[str]) -> float:
    """Seconds until ports on these hosts are created and ACTIVE; those of KVM hosts only created."""
    started = time.perf_counter()
    ports = _ports(made, network, hosts)
    waiting = {port for port, host in zip(ports, hosts, strict=True) if host != KVM}
    moved = time.perf_counter()
    while waiting:
        active = {port["id"] for port in made.rest.list("ports", f"network_id={network}&status=ACTIVE&fields=id")}
        if waiting & active:
            waiting, moved = waiting - active, time.perf_counter()
        elif time.perf_counter() - moved > PATIENCE:
            raise RuntimeError(f"{len(waiting)} ports are not ACTIVE, and none was for {PATIENCE:.0f} s")
        else:
            time.sleep(0.02 if len(hosts) == 1 else 0.2)
    return time.perf_counter() - started


def _created(made: Site, network: str, hosts: list[str]) -> float:
    started = time.perf_counter()
    _ports(made, network, hosts)
    return time.perf_counter() - started


def _ports(made: Site, network: str, hosts: Sequence[str]) -> list[str]:
    with ThreadPoolExecutor(min(CALLERS, len(hosts))) as callers:
        return list(callers.map(lambda host: made.rest.port(network, host), hosts))


def _calls(made: Site) -> Counter[str]:
    """All calls so far, those of the last moments included."""
    time.sleep(3 * EVERY)
    return Counter(json.loads((made.state.directory / CALLS).read_text()))


def _writes(made: Site) -> int:
    status = json.loads(made.isthmus.ask("show", "--json").stdout)
    return sum(int(shard["changes"]) for shard in status["shards"])
