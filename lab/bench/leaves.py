"""A full resync of leaf switches by their OVSDB, against what the OVSDB library takes to read the same databases.

The process is new: it knows nothing, connects to every leaf, reads it whole, thinks, and finds nothing to do.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovs.db.idl import Idl, SchemaHelper
from ovs.poller import Poller

from isthmus.adapters.leaf.hwvtep import HwvtepSettings, HwvtepTarget
from isthmus.core.design import VDS_STATIC
from isthmus.model.change import Change, Outcome
from isthmus.model.names import LeafId
from isthmus.model.observed import TargetId
from isthmus.model.shard import VidPool
from lab.bench.figures import Figure, seconds
from lab.netns.leaf import SCHEMA, Leaf
from lab.netns.namespace import run
from lab.netns.process import Processes
from lab.wire.loop import Errand, ShardLoop
from lab.wire.world import HostSpec, Lab

LEAVES, NETWORKS = 10, 1000
TABLES = ("Physical_Switch", "Physical_Port", "Logical_Switch", "Ucast_Macs_Local", "Ucast_Macs_Remote",
          "Mcast_Macs_Remote", "Physical_Locator", "Physical_Locator_Set", "Tunnel")  # fmt: skip


def figures() -> Iterator[Figure]:
    """1,000 networks on 10 leaves, each with members below two of them."""
    scratch = Path(tempfile.mkdtemp(prefix="isthmus-bench-"))
    processes = Processes(scratch / "state")
    namespace = f"bench{scratch.name[-6:]}"
    run("ip", "netns", "add", namespace)
    try:
        site = _Site.made(namespace, scratch, processes)
        try:
            yield from _resync(site)
        finally:
            site.close()
    finally:
        processes.stop_all()
        run("ip", "netns", "delete", namespace)
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(slots=True)
class _Site:
    """A vCenter in memory, real databases, and the loop of one static fabric."""

    loop: ShardLoop
    leaves: dict[str, Leaf]

    @classmethod
    def made(cls, namespace: str, scratch: Path, processes: Processes) -> _Site:
        names = [f"leaf{number}" for number in range(LEAVES)]
        hosts = [HostSpec(f"esx-{name}", cluster=name, leaf=name) for name in names]
        world = Lab(VDS_STATIC, hosts, VidPool())
        networks = [world.intent.add_network(f"net{number}").id for number in range(NETWORKS)]
        world.settle()
        for number, network in enumerate(networks):
            for side in (number % LEAVES, (number + 1) % LEAVES):
                world.boot(f"vm{number}-{side}", f"esx-leaf{side}", network)
        (loop,) = world.loops.values()
        leaves = {
            target.name: Leaf.at(
                f"switch{number}", f"192.0.2.{number + 1}/24", ["swp1"], namespace, scratch / str(number)
            )
            for number, target in enumerate(sorted(target for target in loop.targets if target.kind == "leaf"))
        }
        for leaf in leaves.values():
            leaf.configure(processes)
        return cls(loop, leaves)

    def filled(self) -> bool:
        """Do what there is to do, each target's share at once; whether there was anything."""
        errand = Errand(self.loop.think().plan)
        while ready := errand.next():
            shares: dict[TargetId, list[Change]] = {}
            for change in ready:
                shares.setdefault(change.target, []).append(change)
            for target, changes in shares.items():
                for result in self.loop.targets[target].apply(changes):
                    errand.note(result)
                    if result.outcome is not Outcome.DONE:
                        raise RuntimeError(f"the fabric cannot be filled: {result.detail}")
        return bool(errand.plan)

    def connect(self) -> None:
        """A new process: nothing is remembered, nothing is connected."""
        self.close()
        self.loop.restart()
        fresh = {}
        for name, leaf in self.leaves.items():
            settings = HwvtepSettings(leaf.db, str(leaf.vtep.ip), leaf.ports, self.loop.shard.owner, timeout=60.0)
            made = HwvtepTarget(LeafId(name), settings)
            fresh[made.id] = made
        self.loop.targets = {**self.loop.targets, **fresh}

    def close(self) -> None:
        for target in self.loop.targets.values():
            if isinstance(target, HwvtepTarget):
                target.close()


def _resync(site: _Site) -> Iterator[Figure]:
    site.connect()
    for _ in range(8):
        if not site.filled():
            break

    def resync() -> None:
        site.connect()
        if site.loop.think().plan:
            raise RuntimeError("a settled fabric has something to do")

    def raw() -> None:
        for leaf in site.leaves.values():
            _read(leaf.db)

    floor, taken = seconds(raw, 3), seconds(resync, 3)
    against = f"python-ovs reads the same {LEAVES} databases, which takes {floor:.2f} s; the loop {taken:.2f} s"
    yield Figure(f"full resync of {NETWORKS:,} networks x {LEAVES} leaves", taken / floor, "x", 2.0, against)


def _read(remote: str) -> None:
    schema = SchemaHelper(location=str(SCHEMA))
    for table in TABLES:
        schema.register_table(table)
    idl = Idl(remote, schema)
    while not idl.has_ever_connected():
        if not idl.run():
            poller = Poller()
            idl.wait(poller)
            poller.block()
    idl.close()
