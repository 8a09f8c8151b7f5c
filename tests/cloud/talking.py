"""Who talks to whom below a whole Neutron, and that nobody is harmed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab.netns.stage import until
from lab.openstack.site import KVM, Site, Vm

AWAY = 160.0
"""Seconds: twice as long as Neutron waits for an agent, the longest of the timers that are configured."""


def talks(one: Vm, other: Vm, patience: float = 60.0) -> bool:
    """Whether one gets an answer of the other in time."""
    return until(lambda: one.guest.reaches(other.address, 0.5), patience) is not None


@contextmanager
def unharmed(*pairs: tuple[Vm, Vm]) -> Iterator[None]:
    """The first of each pair pings the second every 10 ms, and no packet is lost."""
    pings = [one.guest.keep_pinging(other.address) for one, other in pairs]
    yield
    results = [ping.stop() for ping in pings]
    assert all(result.all_answered for result in results), [str(result) for result in results]


def settled_company(site: Site, first: str, other: str, **more: Any) -> dict[str, Vm]:
    """On two hosts with appliances and on KVM, a network with VMs that talk: `a`, `b`, `k`, one to be moved about.

    `more`: of their ports.
    """
    red = site.network("red", "10.0.0.0/24")
    where = {"a": first, "b": other, "k": KVM, "mover": first}
    vms = {name: site.vm(f"red-{name}", red, host, **more) for name, host in where.items()}
    assert until(lambda: site.are_active(*vms.values()), 90) is not None
    assert talks(vms["a"], vms["b"])
    assert talks(vms["k"], vms["a"])
    assert talks(vms["k"], vms["b"])
    return vms
