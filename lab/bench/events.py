"""What a single event costs, what one of many at once costs, and how soon a VM that comes up is in its network.

Times are the simulator's own: from VmPoweredOnEvent to the last DvsPortReconfiguredEvent of the VM's port.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pyVmomi import vim

from lab.bench.dvports import NVES, first_start, furnished, vid_of
from lab.bench.figures import Figure
from lab.bench.inventories import Size, configure
from lab.bench.keeping import Keeping
from lab.bench.operator import Operator, all_finished, drained, finished, port_key
from lab.bench.raw import Raw, switch_in, values
from lab.vcenter import Simulator

SIZE = Size(1000, 4)
TIMES = 3
BURST = 200
BOOTS = 30
E = vim.event


def figures() -> Iterator[Figure]:
    """On a switch with 1,000 ports, for a process that serves all of its four hosts."""
    with furnished(SIZE) as (simulator, folder):
        operator = Operator(simulator)
        try:
            floor = list(_boots(operator, _floor(simulator), "floor"))
            config, store = configure(folder / "one", simulator, SIZE, serve=SIZE.hosts), folder / "store"
            first_start(config, store)
            with Keeping(config, store) as kept:
                kept.start()
                kept.ask("settled")
                kept.ask("quiet")
                yield from _single(operator, kept)
                yield from _latency(list(_boots(operator, kept, "kept")), floor)
                yield from _bursts(operator, kept)
        finally:
            operator.close()


# --- calls and bytes ------------------------------------------------------------------------------------------


def _single(operator: Operator, kept: Keeping) -> Iterator[Figure]:
    """Each kind of event by itself, some times; the median of the calls."""
    told: dict[str, list[dict[str, Any]]] = {}

    def measured(what: str, do: Callable[[], object]) -> None:
        kept.ask("reset")
        do()
        told.setdefault(what, []).append(kept.ask("quiet"))

    for number in range(TIMES):
        vms: list[Any] = []
        measured("create", lambda: vms.append(operator.create(f"one-{number}", "esx0.lab", f"n{number}")))  # noqa: B023
        [vm] = vms
        measured("power-on", lambda: finished(vm.PowerOnVM_Task()))  # noqa: B023
        measured("rename", lambda: finished(vm.Rename_Task(f"other-{number}")))  # noqa: B023
        measured("vMotion", lambda: finished(operator.move(vm, "esx1.lab")))  # noqa: B023
        measured("power-off", lambda: finished(vm.PowerOffVM_Task()))  # noqa: B023
        measured("delete", lambda: finished(vm.Destroy_Task()))  # noqa: B023
    for what, answers in told.items():
        calls = statistics.median(sum(answer["calls"].values()) for answer in answers)
        size = statistics.median(answer["bytes"] for answer in answers) / 1e6
        polls = statistics.median(answer["long_polls"] for answer in answers)
        rounds = f"and {polls:.0f} long polls; {SIZE.ports:,} ports, all {SIZE.hosts} hosts served"
        yield Figure(f"vCenter calls for one VM's {what}", calls, "", 6, rounds)
        yield Figure(f"bytes from and to vCenter for one VM's {what}", size, "MB", None, "inside TLS, long polls too")
    for what in ("rename", "vMotion"):
        writes = max(answer["vcenter_writes"] for answer in told[what])
        yield Figure(f"vCenter writes for one VM's {what}", writes, "", 0, "its VID is the same on every host")


def _bursts(operator: Operator, kept: Keeping) -> Iterator[Figure]:
    """Many at once: moves, which need no write, and power-offs, which need one for most ports."""
    vms = operator.vms(BURST)
    hosts = list(operator.hosts)
    places = [vm.runtime.host.name for vm in vms]

    def move_all() -> list[Any]:
        return [
            operator.move(vm, hosts[(hosts.index(place) + 1) % len(hosts)])
            for vm, place in zip(vms, places, strict=True)
        ]

    yield _burst("vMotions", move_all, kept)
    yield _burst("power-offs", lambda: [vm.PowerOffVM_Task() for vm in vms], kept)


def _burst(what: str, begin: Callable[[], list[Any]], kept: Keeping) -> Figure:
    kept.ask("reset")
    all_finished(begin())
    kept.ask("settled", seconds=300)
    told = kept.ask("quiet", seconds=300)
    calls = sum(told["calls"].values())
    most = ", ".join(f"{count} {name}" for name, count in sorted(told["calls"].items(), key=lambda x: -x[1])[:3])
    against = f"{calls} calls ({most}), {told['vcenter_writes']} writes, {told['bytes'] / 1e6:.0f} MB"
    return Figure(f"vCenter calls per event, {BURST} {what} at once", calls / BURST, "", 0.2, against)


# --- how soon -------------------------------------------------------------------------------------------------


def _latency(kept: list[float], floor: list[float]) -> Iterator[Figure]:
    for name, share, target in (("p50", 50, 1.3), ("p99", 99, 2.0)):
        mine, least = (statistics.quantiles(times, n=100, method="inclusive")[share - 1] for times in (kept, floor))
        against = (
            f"{mine * 1000:.0f} ms; a raw client that waits and writes: {least * 1000:.0f} ms; {BOOTS} VMs; {NVES}"
        )
        yield Figure(f"from power-on to an open port, {name}", mine / least, "x", target, against)


def _boots(operator: Operator, kept: Any, name: str) -> Iterator[float]:
    """Seconds from power-on until the port was open, VM by VM."""
    collector = operator.events([E.VmPoweredOnEvent, E.DvsPortReconfiguredEvent])
    kept.start()
    kept.ask("quiet")
    for number in range(BOOTS):
        host, network = f"esx{number % SIZE.hosts}.lab", f"n{number % SIZE.networks}"
        vm = operator.create(f"{name}-{number}", host, network)
        key = port_key(vm)
        kept.ask("quiet")
        drained(collector)
        finished(vm.PowerOnVM_Task())
        yield opened(collector, key, lambda: kept.ask("quiet"))
    kept.ask("done")
    collector.DestroyCollector()


def opened(collector: Any, key: str, rest: Callable[[], object]) -> float:
    """Seconds from the only power-on to the last write of this port, once nobody writes any more."""
    came: Any = None
    opened: Any = None
    end = time.monotonic() + 30
    while opened is None and time.monotonic() < end:
        rest()
        for event in drained(collector):
            match event:
                case E.VmPoweredOnEvent():
                    came = event.createdTime
                case E.DvsPortReconfiguredEvent() if key in event.portKey:
                    opened = event.createdTime
    if came is None or opened is None:
        raise RuntimeError(f"port {key} was not opened")
    seconds: float = (opened - came).total_seconds()
    return seconds


def _floor(simulator: Simulator) -> Floor:
    """A client that opens their port with a VID known beforehand."""
    raw = Raw(simulator)
    switch = switch_in(objects := raw.inventory())
    groups = {found["obj"]: found.get("name", "") for found in map(values, objects)}
    return Floor(raw, lambda vm: raw.write(switch, [(vm["portKey"], vid_of(groups[vm["portgroupKey"]]))]))


class Floor:
    """A client that waits for VMs that come up, and does something for each."""

    def __init__(self, raw: Raw, serve: Callable[[dict[str, str]], object]) -> None:
        self._raw, self._serve = raw, serve
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Read everything, then wait."""
        self._thread.start()

    def ask(self, what: str) -> None:
        """Let it rest a moment, or end."""
        time.sleep(0.25)
        if what == "done":
            self._stopping.set()
            self._thread.join(5)
            self._raw.close()

    def _run(self) -> None:
        self._raw.watch()
        known: dict[str, dict[str, str]] = {}
        version, truncated = "", False
        while not self._stopping.is_set():
            all_told = version != "" and not truncated
            version, truncated, changed = self._raw.updates(version, seconds=1)
            for record in changed:
                found = values(record)
                before = known.setdefault(found["obj"], {})
                comes_up = before.get("runtime.powerState") != found.get("runtime.powerState") == "poweredOn"
                before |= found
                if all_told and comes_up:
                    self._serve(before)
