"""What it costs to take the two hot answers apart: by pyVmomi, by us, and by expat alone, all from the same bytes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import SoapResponseDeserializer

from isthmus.adapters.vcenter.fetched import FETCH_DV_PORTS
from isthmus.adapters.vcenter.pages import updates
from isthmus.adapters.vcenter.stream import values as streamed
from lab.bench.dvports import furnished
from lab.bench.extract import OBJECT, PORT, texts
from lab.bench.figures import Figure
from lab.bench.inventories import Size
from lab.bench.operator import Operator
from lab.bench.raw import SWITCH_TYPE, Raw, switch_in
from lab.vcenter import Simulator

SIZE = Size(1000, 4)
RUNS = 5
Work = Callable[[], object]


def figures() -> Iterator[Figure]:
    """1,000 ports in one answer of FetchDVPorts; 1,000 VMs in pages of WaitForUpdatesEx."""
    with furnished(SIZE) as (simulator, _):
        ports, pages = _answers(simulator)
        operator = Operator(simulator)
        try:
            stub: Any = operator.stub
            yield from _compared("FetchDVPorts", [ports], _ports(stub), "returnval")
            yield from _compared("WaitForUpdatesEx", pages, _pages(stub), "objectSet")
        finally:
            operator.close()


def _answers(simulator: Simulator) -> tuple[bytes, list[bytes]]:
    raw = Raw(simulator)
    switch = switch_in(raw.inventory())
    ports = b"".join(raw.call("FetchDVPorts", SWITCH_TYPE, switch, "<criteria><nsxPort>false</nsxPort></criteria>"))
    raw.watch()
    pages: list[bytes] = []
    version = ""
    while not pages or b"<truncated>true" in pages[-1]:
        arguments = f"<version>{version}</version><options><maxWaitSeconds>0</maxWaitSeconds></options>"
        pages.append(b"".join(raw.call("WaitForUpdatesEx", "PropertyCollector", raw.collector, arguments)))
        version = dict(texts([pages[-1]], OBJECT, "none")[0])["version"]
    raw.close()
    return ports, pages


Reader = Callable[[bytes], object]


def _ports(stub: Any) -> tuple[Reader, Reader, Reader]:
    switch: Any = vim.DistributedVirtualSwitch
    result = switch.FetchDVPorts.info.result
    return (
        lambda data: streamed(io.BytesIO(data), FETCH_DV_PORTS),
        lambda data: SoapResponseDeserializer(stub).Deserialize(io.BytesIO(data), result),
        lambda data: texts([data], PORT, "returnval"),
    )


def _pages(stub: Any) -> tuple[Reader, Reader, Reader]:
    collector: Any = vmodl.query.PropertyCollector
    result = collector.WaitForUpdatesEx.info.result
    return (
        lambda data: updates(io.BytesIO(data), stub),
        lambda data: SoapResponseDeserializer(stub).Deserialize(io.BytesIO(data), result),
        lambda data: texts([data], OBJECT, "objectSet"),
    )


def _compared(
    method: str, answers: list[bytes], readers: tuple[Reader, Reader, Reader], record: str
) -> Iterator[Figure]:
    size = sum(map(len, answers)) / 1e6
    count = sum(answer.count(f"<{record}".encode()) for answer in answers)
    ours, theirs, least = (_cpu(lambda reader=reader: [reader(data) for data in answers]) for reader in readers)  # type: ignore[misc]
    told = f"{ours * 1e6 / count:.0f} us for each of {count:,}, {size:.1f} MB"
    yield Figure(f"decoding {method}: CPU over expat", ours / least, "x", 1.5, f"{told}; expat: {least:.3f} s in all")
    yield Figure(
        f"decoding {method}: CPU over pyVmomi", ours / theirs, "x", 0.5, f"{told}; pyVmomi: {theirs:.3f} s in all"
    )


def _cpu(work: Work) -> float:
    taken = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)
