"""VMs below a whole Neutron on hosts with appliances, against a KVM host with Neutron's own Open vSwitch agent.

The same Neutron in one run; ports are created, and bound, beforehand.  What is measured begins when the NIC is there
to be seen: the VM's power-on is done in vCenter, or its tap is in br-int.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lab.bench.bindings import METERED
from lab.bench.figures import Figure
from lab.bench.metered import CALLS, EVERY
from lab.netns import hosts
from lab.netns.guest import Guest
from lab.netns.ping import Ping
from lab.netns.stage import until
from lab.openstack.machines import OVS_AGENT
from lab.openstack.overlaid import LAYOUT, overlaid_site
from lab.openstack.product import Isthmus
from lab.openstack.site import KVM, Site, Vm

ONE_BY_ONE, AT_ONCE, MOVES, QUIET = 30, 200, 10, 60.0
RESTARTED = 2000
"""Ports on the three hosts while isthmus is killed and started again."""
WARM = 3
"""The first VMs of each kind are not measured."""
CALLERS = 4
PATIENCE = 600.0
A_PORT = 3.0
"""Seconds in which Neutron makes one of many ACTIVE, on any machine."""
EVENTS = ("power-on", "vMotion", "power-off")


@dataclass(frozen=True, slots=True)
class Awaited:
    """A VM's port in Neutron, on a host, before the VM is there."""

    name: str
    host: str
    port: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.port["fixed_ips"][0]["ip_address"])


def figures() -> Iterator[Figure]:
    """One VM after the other, many at once, and what isthmus costs meanwhile."""
    with overlaid_site(f"b{os.getpid()}", partial(Isthmus, module=METERED)) as made:
        network = made.rest.network("bench", "10.0.0.0/16", port_security_enabled=False)
        peer = _there(made, "peer", network, LAYOUT.hosts[2])
        yield from _one_by_one(made, network, peer)
        yield from _events(made, network, peer)
        yield from _idle(made)
        yield from _at_once(made, network)
        yield from _memory(made)
        yield from _restart(made, network, peer)


def _there(made: Site, name: str, network: str, host: str) -> Vm:
    vm = made.vm(name, network, host)
    vm.guest.set_addresses(f"{vm.address}/16")
    _must(until(lambda: made.are_active(vm), 60) is not None, f"{name} ACTIVE")
    return vm


def _one_by_one(made: Site, network: str, peer: Vm) -> Iterator[Figure]:
    taken: dict[str, list[tuple[float, float]]] = {}
    for kind, host in (("esx", LAYOUT.hosts[0]), ("kvm", KVM)):
        taken[kind] = []
        for vm in [_awaited(made, network, host, f"one-{kind}-{number}") for number in range(WARM + ONE_BY_ONE)]:
            _settle(made)
            taken[kind].append(_appears(made, vm, peer))
        del taken[kind][:WARM]
    for what, at in (("ACTIVE", 0), ("its first ping", 1)):
        ours, theirs = ([times[at] for times in taken[kind]] for kind in ("esx", "kvm"))
        for rank, of in (("p50", statistics.median), ("p99", max)):
            floor = f"on a KVM host with Neutron's own agent {of(theirs) * 1000:.0f} ms"
            against = f"{of(ours) * 1000:.0f} ms; {floor}; {ONE_BY_ONE} VMs of each"
            yield Figure(f"from a NIC's appearance to {what}, {rank}", of(ours) / of(theirs), "x", 1.0, against)


def _appears(made: Site, vm: Awaited, peer: Vm) -> tuple[float, float]:
    """Seconds until its port is ACTIVE, and until the peer answers it."""
    guest = _appear(made, vm)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as beside:
        active = beside.submit(lambda: until(lambda: made.rest.is_active(vm.port["id"]), PATIENCE))
        guest = guest or hosts.guest(made.state, vm.name)
        guest.set_addresses(f"{vm.address}/16")
        pings = Ping(guest.namespace, peer.address, 0.02, patience=0.0)
        _must(pings.await_answer(PATIENCE), f"an answer to {vm.name}")
        answered = min(echo.answered for echo in pings.stop().echoes if echo.answered is not None)
        waited = active.result()
    _must(waited is not None, f"{vm.name} ACTIVE")
    return waited or 0.0, answered - began


def _appear(made: Site, vm: Awaited) -> Guest | None:
    """The NIC is there; a guest of a KVM host at once."""
    if vm.host == KVM:
        return made.machines[KVM].plug(vm.name, vm.port)
    made.admin.power_on(vm.name)
    return None


def _awaited(made: Site, network: str, host: str, name: str) -> Awaited:
    shown = made.rest.show("ports", made.rest.port(network, made.neutron_host(host)))
    if host != KVM:
        group = made.group_of(shown)
        made.admin.create_vm(name, host, [group], [shown["mac_address"]], uuid=shown["device_id"])
    return Awaited(name, host, shown)


def _at_once(made: Site, network: str) -> Iterator[Figure]:
    taken: dict[str, float] = {}
    for kind, places in (("esx", LAYOUT.hosts), ("kvm", (KVM,))):
        taken[kind], taken[f"{kind} there"] = _together(made, network, places, f"many-{kind}", AT_ONCE)
    against = (
        f"{taken['esx']:.1f} s from the first power-on, the last was done after {taken['esx there']:.1f}; "
        f"as many on one KVM host {taken['kvm']:.1f} s, the last tap after {taken['kvm there']:.1f}"
    )
    yield Figure(f"{AT_ONCE} VMs at once, all ACTIVE", taken["esx"] / taken["kvm"], "x", 1.0, against)


def _together(made: Site, network: str, places: Sequence[str], name: str, number: int) -> tuple[float, float]:
    """Seconds from the first of so many VMs until all are ACTIVE, and until the last of them was there."""
    with ThreadPoolExecutor(CALLERS) as callers:
        names = [(places[one % len(places)], f"{name}-{one}") for one in range(number)]
        vms = list(callers.map(lambda of: _awaited(made, network, *of), names))
    _settle(made)
    began = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(lambda vm: _appear(made, vm), vms))
    appeared = time.monotonic() - began
    waiting = {vm.port["id"] for vm in vms}
    patience = max(PATIENCE, number * A_PORT)
    _must(until(lambda: not waiting - _active(made, network), patience) is not None, f"{number} ports ACTIVE")
    return time.monotonic() - began, appeared


def _active(made: Site, network: str) -> set[str]:
    return {port["id"] for port in made.rest.list("ports", f"network_id={network}&status=ACTIVE&fields=id")}


def _events(made: Site, network: str, peer: Vm) -> Iterator[Figure]:
    first, second, _ = LAYOUT.hosts
    vm = _awaited(made, network, first, "mover")
    guest_on_kvm = _there(made, "witness", network, KVM)
    calls: dict[str, Counter[str]] = {}
    gaps: list[float] = []

    def counted(event: str, act: Callable[[], None]) -> None:
        _settle(made)
        before = _calls(made)
        act()
        _settle(made)
        calls[event] = calls.get(event, Counter()) + (_calls(made) - before)

    counted("power-on", lambda: _must(_appears(made, vm, peer)[0] > 0, "the mover"))
    _must(until(lambda: guest_on_kvm.guest.reaches(vm.address, 0.5), 60) is not None, "a way from KVM")
    for number in range(MOVES):
        counted("vMotion", lambda to=first if number % 2 else second: gaps.append(_moved(made, vm, guest_on_kvm, to)))  # type: ignore[misc]
    counted("power-off", lambda: made.admin.power_off(vm.name))
    against = f"seen from a KVM host under a ping every 10 ms, median of {MOVES}; the longest {max(gaps) * 1000:.0f} ms"
    yield Figure("after a vMotion's stun, until it is reached from KVM", statistics.median(gaps), "s", None, against)
    for event in EVENTS:
        times = MOVES if event == "vMotion" else 1
        for side in ("vcenter", "neutron"):
            its = {name: count for name, count in calls[event].items() if name.startswith(side)}
            told = ", ".join(f"{name} {count / times:.1f}" for name, count in Counter(its).most_common(5))
            yield Figure(f"{side} calls for a VM's {event}", sum(its.values()) / times, "", None, told or "none")


def _moved(made: Site, vm: Awaited, witness: Vm, to: str) -> float:
    """Seconds from the end of the stun until the first ping that is answered was sent."""
    running = witness.guest.keep_pinging(vm.address)
    stun = made.migrate(vm.name, to)
    time.sleep(1.0)
    after = [e.sent for e in running.stop().echoes if e.answered is not None and e.sent >= (stun.ended or 0.0)]
    _must(bool(after), "an answer after a move")
    return after[0] - (stun.ended or 0.0)


def _idle(made: Site) -> Iterator[Figure]:
    _settle(made)
    ours, theirs = _processes(made)
    before = [_cpu(pids) for pids in (ours, theirs)]
    time.sleep(QUIET)
    spent = [_cpu(pids) - earlier for pids, earlier in zip((ours, theirs), before, strict=True)]
    shares = [seconds / QUIET * 100 for seconds in spent]
    against = f"of one processor; Neutron's own agent on the KVM host, with as many VMs: {shares[1]:.2f} %"
    yield Figure("idle: CPU of isthmus for three hosts", shares[0], "%", None, against)


def _memory(made: Site) -> Iterator[Figure]:
    ours, theirs = (_resident(pids) / 1e6 for pids in _processes(made))
    against = (
        f"for three hosts; Neutron's own agent on the KVM host {theirs:.0f} MB; each with {ONE_BY_ONE + AT_ONCE} VMs"
    )
    yield Figure("memory of isthmus, resident", ours, "MB", None, against)


def _restart(made: Site, network: str, peer: Vm) -> Iterator[Figure]:
    """isthmus is killed and started again, under pings across hosts and to a KVM host."""
    bound = [f"network_id={network}&binding:host_id={cluster.compute}&fields=id" for cluster in made.racks]
    there = sum(len(made.rest.list("ports", query)) for query in bound)
    # First: among so many ports Neutron's own agent takes minutes for one of its own.
    witnesses = [_there(made, f"witness-{host}", network, host) for host in (LAYOUT.hosts[0], KVM)]
    _together(made, network, LAYOUT.hosts, "restarted", RESTARTED - there)
    _settle(made)
    running = [witness.guest.keep_pinging(peer.address) for witness in witnesses]
    made.isthmus.kill()
    began = time.monotonic()
    made.isthmus.start()
    _settle(made)
    taken = time.monotonic() - began
    results = [pings.stop() for pings in running]
    asked = ", ".join(f"{name} {count}" for name, count in _calls(made).most_common(5))
    against = f"from its start until nothing is left to do, after a SIGKILL; calls: {asked}"
    yield Figure(f"a restart with {RESTARTED:,} ports on three hosts", taken, "s", None, against)
    against = f"of {sum(result.sent for result in results)} across hosts and from KVM, one every 10 ms each"
    yield Figure("pings lost meanwhile", sum(result.lost for result in results), "", 0.0, against)


def _processes(made: Site) -> tuple[Sequence[int], Sequence[int]]:
    """isthmus, and the Open vSwitch agent of the KVM host with what it has started."""
    named = {process.what: process.pid for process in made.state.processes.alive()}
    return [named["isthmus"]], _family(named[f"{OVS_AGENT} on {KVM}"])


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in _family(int(child)))]


def _cpu(pids: Sequence[int]) -> float:
    """Seconds of processor time."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def _resident(pids: Sequence[int]) -> int:
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def _calls(made: Site) -> Counter[str]:
    """All calls so far but what is said every half minute whatever happens."""
    time.sleep(3 * EVERY)
    found = Counter(json.loads((made.state.directory / CALLS).read_text()))
    del found["neutron report_state"]
    return found


def _settle(made: Site) -> None:
    _must(until(lambda: made.isthmus.is_settled, PATIENCE) is not None, "isthmus settled")


def _must(so: bool, what: str) -> None:
    if not so:
        raise RuntimeError(f"there is no measuring without {what}")
