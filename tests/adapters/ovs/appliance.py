"""A real Open vSwitch of a test's own: a namespace, a run directory, a trunk NIC and the DVS's end of it, br-phy."""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.adapters.ovs.target import OvsTarget
from isthmus.adapters.ovs.text import parse
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.flow import Flow
from isthmus.model.names import HostId
from isthmus.model.nve import NveEntry
from lab.netns import namespace
from lab.netns.ovs import OpenVswitch
from lab.netns.process import Processes, ProcessId
from lab.netns.state import WorldState

TRUNK, DVS_END = "trunk0", "dvs0"
HOST = HostId("vc/host-1")


@dataclass(slots=True)
class TestAppliance:
    __test__ = False

    state: WorldState
    ovs: OpenVswitch

    @property
    def processes(self) -> Processes:
        return self.state.processes

    @property
    def outside(self) -> str:
        """The namespace of the distributed switch, at the other end of the trunk NIC."""
        return f"{self.state.prefix}dvs"

    def settings(self, trunk: str = TRUNK, owner: str = "test", timeout: float = 5.0) -> OvsSettings:
        return OvsSettings(
            trunk=trunk,
            vtep="192.0.2.1",
            owner=owner,
            ovsdb=self.ovs.db,
            rundir=str(self.ovs.rundir),
            datapath_type="netdev",
            timeout=timeout,
        )

    def target(self, **settings: str) -> OvsTarget:
        return OvsTarget(HOST, self.settings(**settings))  # type: ignore[arg-type]

    def stop_vswitchd(self) -> None:
        self.end(self._vswitchd)

    def freeze_vswitchd(self) -> None:
        """It hangs, its sockets open."""
        os.kill(self._vswitchd.pid, signal.SIGSTOP)

    def thaw_vswitchd(self) -> None:
        os.kill(self._vswitchd.pid, signal.SIGCONT)

    @property
    def _vswitchd(self) -> ProcessId:
        pid = int((self.ovs.rundir / "ovs-vswitchd.pid").read_text())
        return next(process for process in self.processes.alive() if process.pid == pid)

    @staticmethod
    def end(process: ProcessId) -> None:
        """As a crash would."""
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)  # its first thread ends before its last, which holds the lock on its pidfile

    def start_vswitchd(self) -> None:
        self.ovs.start_vswitchd(self.processes)
        # ovs-vsctl returns from a change only when ovs-vswitchd has made all bridges.
        self.ovs.vsctl("set", "open_vswitch", ".", f"external_ids:started={secrets.token_hex(4)}")

    def restart_vswitchd(self) -> None:
        self.stop_vswitchd()
        self.start_vswitchd()

    def meddle(self, bridge: str, *lines: str) -> None:
        """Change flows by hand."""
        words = ("--bundle", "add-flows", f"unix:{self.ovs.rundir}/{bridge}.mgmt", "-")
        namespace.run("ovs-ofctl", "-OOpenFlow13", *words, stdin="\n".join(lines))

    def matched(self, flow: Flow) -> tuple[float, int]:
        """For how many seconds a flow has been there, and how many frames have met it."""
        target = f"unix:{self.ovs.rundir}/{flow.bridge.value}.mgmt"
        for line in namespace.run("ovs-ofctl", "-OOpenFlow13", "--no-names", "dump-flows", target).splitlines():
            found = re.search(r"duration=([0-9.]+)s, (.*)n_packets=([0-9]+), n_bytes=[0-9]+, ", line)
            if found and parse(flow.bridge, line.replace(found[0], found[2])) == flow:
                return float(found[1]), int(found[3])
        raise AssertionError(f"not there: {flow}")


@contextmanager
def appliance() -> Iterator[TestAppliance]:
    state = WorldState(f"o{secrets.token_hex(4)}")
    state.claim(keep=False)
    try:
        inside, outside = f"{state.prefix}ova", f"{state.prefix}dvs"
        namespace.add(inside)
        namespace.add(outside)
        peer = f"peer name {DVS_END} netns {outside}"
        namespace.ip(inside, [f"link add {TRUNK} type veth {peer}", f"link set {TRUNK} up"])
        namespace.ip(outside, [f"link set {DVS_END} up"])
        namespace.plain_frames_only(inside, TRUNK)
        namespace.plain_frames_only(outside, DVS_END)
        made = TestAppliance(state, OpenVswitch(inside, state.directory / "ovs"))
        made.ovs.start(state.processes)
        made.ovs.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev")
        yield made
    finally:
        state.take_down()


def built(appliance: TestAppliance) -> OvsTarget:
    target = appliance.target()
    try:
        done(target, BuildNve())
    except AssertionError:
        target.close()
        raise
    return target


def apply(target: OvsTarget, *actions: BuildNve | Learn | Forget) -> list[Result]:
    return list(target.apply([Change(number, target.id, action, "test") for number, action in enumerate(actions)]))


def done(target: OvsTarget, *actions: BuildNve | Learn | Forget) -> None:
    results = apply(target, *actions)
    assert [result.outcome for result in results] == [Outcome.DONE] * len(actions), results


def held(target: OvsTarget) -> set[NveEntry]:
    return set(target.observe().entries.values())


def eventually(true: Callable[[], bool], within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)
