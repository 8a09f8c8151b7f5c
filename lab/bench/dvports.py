"""A process that comes up beside a vCenter where everything is as it should be: it reads, thinks and writes nothing.

The floor is `Raw`: the same objects, properties and ports in five calls, taken apart with expat, nothing made of them.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bench.figures import Figure
from lab.bench.inventories import Size, configure
from lab.bench.keeping import Keeping
from lab.bench.raw import Raw, switch_in, values
from lab.vcenter import Simulator

SIZES = (Size(1000, 4), Size(5000, 16), Size(20_000, 64))
ALL_HOSTS_AT = 5000
RIVALS = (
    # What others need for as many VMs: size, calls, seconds, their name, and the share of that which we want.
    (Size(100, 2), 500, 4.3, "OVSvApp's agent", 0.1),
    (Size(200, 2), 11, 1.0, "networking-dvs", 0.5),
)
RUNS, RUNS_OF_LARGEST = 3, 2
IDLE = 65  # a long poll stays open for 60
NVES = "NVEs in memory"


@dataclass(frozen=True, slots=True)
class Cold:
    """A start: seconds, and bytes of memory afterwards."""

    wall: float
    cpu: float
    memory: int = 0
    told: dict[str, Any] | None = None


def figures() -> Iterator[Figure]:
    """The three sizes for a process that serves one host, and one size for one that serves all."""
    colds: dict[int, Cold] = {}
    for size in SIZES:
        with furnished(size) as (simulator, folder):
            floor = _raw(simulator)
            config, store = configure(folder / "one", simulator, size, serve=1), folder / "store1"
            first_start(config, store)
            runs = RUNS_OF_LARGEST if size is SIZES[-1] else RUNS
            cold = colds[size.ports] = _start(config, store, runs)
            yield from _ratios(f"cold start, {size.ports:,} ports, 1 of {size.hosts} hosts served", cold, floor)
            if size.ports == ALL_HOSTS_AT:
                yield from _at_rest(config, store)
                config, store = configure(folder / "all", simulator, size, serve=size.hosts), folder / "store2"
                first_start(config, store)
                whole = _start(config, store)
                yield from _ratios(f"cold start, {size.ports:,} ports, all {size.hosts} hosts served", whole, floor)
    yield from _growth(colds)
    yield from _beside_rivals()


def _beside_rivals() -> Iterator[Figure]:
    """A start among few VMs, log-ins included.  Theirs were read of other machines and another simulator."""
    for size, calls, seconds, rival, share in RIVALS:
        with furnished(size) as (simulator, folder):
            config, store = configure(folder / "one", simulator, size, serve=1), folder / "store"
            first_start(config, store)
            cold = _start(config, store)
            asked = cold.told["calls"] if cold.told else {}
            most = ", ".join(f"{count} {name}" for name, count in sorted(asked.items(), key=lambda x: -x[1])[:4])
            what = f"start among {size.ports} VMs, 1 of {size.hosts} hosts served"
            yield Figure(f"{what}: calls", sum(asked.values()), "", calls * share, f"{rival}: {calls}; {most}")
            yield Figure(f"{what}: wall", cold.wall, "s", seconds * share, f"{rival}: {seconds} s, elsewhere")


class furnished:  # noqa: N801 - reads as what it is: with furnished(size)
    """A simulator of this size whose ports are all open and tagged, and a folder."""

    def __init__(self, size: Size, **options: Any) -> None:
        self._simulator = Simulator(size.topology(), **options)
        self._folder = tempfile.TemporaryDirectory(prefix="isthmus-bench-")

    def __enter__(self) -> tuple[Simulator, Path]:
        self._simulator.start()
        try:
            open_ports(self._simulator)
        except BaseException:
            self.__exit__()
            raise
        return self._simulator, Path(self._folder.name)

    def __exit__(self, *_: object) -> None:
        self._simulator.stop()
        self._folder.cleanup()


def open_ports(simulator: Simulator) -> None:
    """Tag every connected port with its network's VID, and open it, as if isthmus had been there."""
    raw = Raw(simulator)
    objects = raw.inventory()
    switch = switch_in(objects)
    groups = {found["obj"]: found.get("name", "") for found in map(values, objects)}
    wanted = [
        (port["key"], vid_of(groups[port["portgroupKey"]]))
        for port in map(dict, raw.ports(switch))
        if "connectedEntity" in port
    ]
    for first in range(0, len(wanted), 500):
        raw.finish(raw.write(switch, wanted[first : first + 500]))
    raw.close()


def vid_of(network: str) -> int:
    """The VID that a network wears all over the switch."""
    return 2 + int(network[1:])


def first_start(config: Path, store: Path) -> None:
    """What another process has left behind: NVEs that know all they should."""
    with Keeping(config, store) as kept:
        kept.start()
        kept.ask("settled", seconds=400)
        kept.ask("quiet", seconds=400)
        kept.ask("save")


def _raw(simulator: Simulator) -> Cold:
    def once() -> Cold:
        wall, cpu = time.perf_counter(), time.process_time()
        raw = Raw(simulator)
        objects = raw.inventory()
        ports = raw.ports(switch_in(objects))
        raw.close()
        assert objects
        assert ports
        return Cold(time.perf_counter() - wall, time.process_time() - cpu)

    return _median([once() for _ in range(RUNS)])


def _start(config: Path, store: Path, runs: int = RUNS) -> Cold:
    colds = []
    for _ in range(runs):
        with Keeping(config, store) as kept:
            kept.start()
            told = kept.ask("settled", seconds=400)
            whole = kept.ask("quiet", seconds=400)
            written = whole["vcenter_writes"] + whole["nve_writes"]
            if written:
                raise RuntimeError(f"{written} writes where there was nothing to do")
            colds.append(Cold(told["wall"], told["cpu"], kept.ask("memory")["bytes"], whole))
    return _median(colds)


def _median(colds: list[Cold]) -> Cold:
    def middle(name: str) -> float:
        return float(statistics.median(getattr(cold, name) for cold in colds))

    return Cold(middle("wall"), middle("cpu"), int(middle("memory")), colds[-1].told)


def _ratios(what: str, cold: Cold, floor: Cold) -> Iterator[Figure]:
    for kind, mine, least in (("wall", cold.wall, floor.wall), ("client CPU", cold.cpu, floor.cpu)):
        against = f"{mine:.2f} s; raw SOAP and expat: {least:.2f} s; {NVES}"
        yield Figure(f"{what}: {kind}", mine / least, "x", 1.5, against)


def _growth(colds: dict[int, Cold]) -> Iterator[Figure]:
    sizes = sorted(colds)
    for kind, times in (("wall", [colds[n].wall for n in sizes]), ("CPU", [colds[n].cpu for n in sizes])):
        told = ", ".join(f"{n:,}: {t:.2f} s" for n, t in zip(sizes, times, strict=True))
        yield Figure(f"cold start, growth exponent of {kind}", exponent(sizes, times), "", 1.1, told)
    few, many = sizes[-2:]
    slope = (colds[many].memory - colds[few].memory) / (many - few) / 1000
    held = f"resident after a start, {few:,} to {many:,} ports, 1 host served; mirror, world and observed included"
    yield Figure("memory per port", slope, "kB", 2.0, held)


def exponent(sizes: list[int], times: list[float]) -> float:
    """The power of the size that fits the times best."""
    fit = statistics.linear_regression([math.log(n) for n in sizes], [math.log(t) for t in times])
    return fit.slope


def _at_rest(config: Path, store: Path) -> Iterator[Figure]:
    """A round with nothing to do, and minutes in which nothing happens."""
    with Keeping(config, store) as kept:
        kept.start()
        kept.ask("settled", seconds=400)
        kept.ask("quiet")
        kept.ask("reset")
        kept.ask("wake")
        told = kept.ask("quiet")
        calls, written = sum(told["calls"].values()), told["vcenter_writes"] + told["nve_writes"]
        size = f"{ALL_HOSTS_AT:,} ports, 1 host served"
        yield Figure(
            "writes of a round with nothing to do", written, "", 0,
            f"{size}; it took {calls} calls, {told['bytes'] / 1e6:.1f} MB, {told['cpu']:.2f} s of CPU",
        )  # fmt: skip
        kept.ask("reset")
        time.sleep(IDLE)
        still = kept.ask("report")
        asked = (sum(still["calls"].values()) + still["long_polls"]) * 60 / IDLE
        used = still["cpu"] * 60 / IDLE
        minute = f"{size}; a minute in which nothing happens, with the timer's one round"
        yield Figure("idle: requests a minute", asked + calls, "", None, minute)
        yield Figure("idle: CPU", (used + told["cpu"]) / 60 * 100, "%", None, f"{minute} ({used / 0.6:.2f} % without)")
