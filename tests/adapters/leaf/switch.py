"""A leaf's database of a test's own.  vtep-ctl is its operator's hand, and the witness of what we wrote."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from isthmus.adapters.leaf.hwvtep import HwvtepSettings, HwvtepTarget
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.names import LeafId
from isthmus.model.nve import NveEntry
from lab.netns import namespace
from lab.netns.leaf import VTEP_DB, Leaf
from lab.netns.process import ProcessId
from lab.netns.state import WorldState

VTEP = "192.0.2.1"
PORTS = ("swp1", "swp2")
ALL_PORTS = (*PORTS, "swp9")
"""swp9 is not ours."""
OWNER = "test"


@dataclass(slots=True)
class TestLeaf:
    __test__ = False

    state: WorldState
    leaf: Leaf
    targets: list[HwvtepTarget] = field(default_factory=list)

    def settings(
        self,
        target: str = "",
        vtep: str = VTEP,
        ports: tuple[str, ...] = PORTS,
        owner: str = OWNER,
        switch: str = "",
        timeout: float = 5.0,
    ) -> HwvtepSettings:
        return HwvtepSettings(target or self.leaf.db, vtep, ports, owner, switch, None, timeout)

    def target(self, settings: HwvtepSettings | None = None, *, keeps: bool = False) -> HwvtepTarget:
        made = HwvtepTarget(LeafId("leaf1"), settings or self.settings(), keeps=keeps)
        self.targets.append(made)
        return made

    def ctl(self, *words: str) -> list[str]:
        """What vtep-ctl says, line by line."""
        return [line.strip() for line in self.leaf.ctl(*words).splitlines() if line.strip()]

    def get(self, table: str, row: str, column: str) -> str:
        return self.ctl("get", table, row, column)[0].strip('"')

    def bind_carefully(self, port: str, vid: int, logical_switch: str) -> None:
        """As vtep-ctl's bind-ls, but adding to what is there by then."""
        mutation = ["vlan_bindings", "insert", ["map", [[vid, ["uuid", logical_switch]]]]]
        bind = {"op": "mutate", "table": "Physical_Port", "where": [["name", "==", port]], "mutations": [mutation]}
        said = namespace.run("ovsdb-client", "transact", self.leaf.db, json.dumps(["hardware_vtep", bind]))
        if json.loads(said) != [{"count": 1}]:
            raise namespace.CommandFailed(said)

    def dump(self) -> str:
        """The database, every row of it."""
        said = namespace.run("ovsdb-client", "dump", self.leaf.db, "hardware_vtep")
        return "\n".join(line for line in said.splitlines() if "Manager" not in line)

    @property
    def server(self) -> ProcessId:
        return next(process for process in self.state.processes.alive() if "ovsdb-server" in process.what)

    def stop(self) -> None:
        """As a crash would."""
        server = self.server
        os.kill(server.pid, signal.SIGKILL)
        while server.alive:
            time.sleep(0.01)
        (self.leaf.ovs.rundir / "db.sock").unlink(missing_ok=True)

    def freeze(self) -> None:
        """It hangs, its sockets open."""
        os.kill(self.server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.server.pid, signal.SIGCONT)

    def start(self) -> None:
        """The same switch again: a database outlives its server."""
        self.leaf.configure(self.state.processes)

    def replace(self) -> None:
        """Another switch in its place, configured by its operator only."""
        (self.leaf.ovs.rundir / VTEP_DB).unlink()
        self.start()


@contextmanager
def leaf(*remotes: str) -> Iterator[TestLeaf]:
    """The database alone: no ovs-vswitchd, so nothing is forwarded, and writing is fast."""
    state = WorldState(f"l{secrets.token_hex(4)}")
    state.claim(keep=False)
    try:
        where = f"{state.prefix}leaf"
        namespace.add(where)
        made = TestLeaf(state, Leaf.at("leaf1", f"{VTEP}/24", ALL_PORTS, where, state.directory / "ovs", *remotes))
        made.leaf.configure(state.processes)
        yield made
        for target in made.targets:
            target.close()
    finally:
        state.take_down()


def apply(target: HwvtepTarget, *actions: BuildNve | Learn | Forget) -> list[Result]:
    return list(target.apply([Change(number, target.id, action, "test") for number, action in enumerate(actions)]))


def done(target: HwvtepTarget, *actions: BuildNve | Learn | Forget) -> None:
    results = apply(target, *actions)
    assert [result.outcome for result in results] == [Outcome.DONE] * len(actions), results


def refused(target: HwvtepTarget, action: Learn | Forget) -> str:
    [result] = apply(target, action)
    assert result.outcome is Outcome.REFUSED, result
    return result.detail


def held(target: HwvtepTarget) -> set[NveEntry]:
    return set(target.observe().entries.values())


def learn(target: HwvtepTarget, *entries: NveEntry) -> None:
    done(target, Learn(entries))


def forget(target: HwvtepTarget, *entries: NveEntry) -> None:
    done(target, Forget(entries))


def eventually(true: Callable[[], bool], within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def sorted_lines(lines: Sequence[str]) -> list[str]:
    return sorted(" ".join(line.split()) for line in lines)
