"""Flow reconcile on a real Open vSwitch, against `ovs-ofctl --bundle replace-flows` of the same flows.

Both begin at the same state and end at the same state; the floor is the simplest correct tool there is.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from isthmus.adapters.ovs import OvsSettings, OvsTarget
from isthmus.adapters.ovs.text import render
from isthmus.core.flows import flows
from isthmus.core.segments import Segment
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome
from isthmus.model.flow import Bridge, Flow
from isthmus.model.intent import Network
from isthmus.model.names import HostId, NetworkId, mac
from isthmus.model.tags import Vid, Vni
from lab.bench.figures import Figure, seconds
from lab.netns.namespace import run
from lab.netns.ovs import OpenVswitch
from lab.netns.process import Processes


def figures() -> Iterator[Figure]:
    """10,000 and 100,000 flows: nothing to do, and one network more or less."""
    for networks, runs in ((200, 5), (2000, 3)):
        yield from _with_ovs(networks, runs)


def _with_ovs(networks: int, runs: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as scratch:
        namespace = f"bench{Path(scratch).name[-6:]}"
        run("ip", "netns", "add", namespace)
        processes = Processes(Path(scratch) / "state")
        try:
            run("ip", "-n", namespace, "link", "add", "trunk0", "type", "veth", "peer", "name", "trunk1")
            ovs = OpenVswitch(namespace, Path(scratch) / "ovs")
            ovs.start(processes)
            yield from _measured(ovs, networks, runs)
        finally:
            processes.stop_all()
            run("ip", "netns", "delete", namespace)


def _measured(ovs: OpenVswitch, networks: int, runs: int) -> Iterator[Figure]:
    settings = OvsSettings("trunk0", "192.0.2.1", "bench", ovsdb=ovs.db, rundir=str(ovs.rundir), datapath_type="netdev")
    target = OvsTarget(HostId("bench"), settings)
    try:
        _made(target, BuildNve())
        wanted = {flow.key: flow for flow in flows(_segments(networks, 40))}
        _made(target, Learn(tuple(wanted.values())))
        extra = tuple(flow for flow in flows(_segments(networks + 1, 40)) if flow.key not in wanted)
        without = [flow for flow in wanted.values() if flow.bridge is Bridge.TUN]
        with_extra = [*without, *(flow for flow in extra if flow.bridge is Bridge.TUN)]

        def reconcile_one_network() -> None:
            for action in (Learn(extra), Forget(extra)):
                held = target.observe().entries
                assert set(wanted) <= set(held)
                _made(target, action)

        def replace_one_network() -> None:
            for content in (with_extra, without):
                _replace(ovs, Bridge.TUN, content)
                _replace(ovs, Bridge.INT, [flow for flow in wanted.values() if flow.bridge is Bridge.INT])

        count = len(wanted)
        floor = seconds(replace_one_network, runs)
        taken = seconds(reconcile_one_network, runs)
        yield Figure(
            f"add and remove a network among {count:,} flows", taken / floor, "x", 1.5,
            f"{taken:.2f} s; ovs-ofctl --bundle replace-flows: {floor:.2f} s",
        )  # fmt: skip
        quiet = seconds(target.observe, runs)
        quiet_floor = seconds(lambda: _replace(ovs, Bridge.TUN, without), runs)
        yield Figure(
            f"find nothing to do among {count:,} flows", quiet / quiet_floor, "x", 1.5,
            f"{quiet:.2f} s; replace-flows of br-tun: {quiet_floor:.2f} s",
        )  # fmt: skip
    finally:
        target.close()


def _segments(networks: int, members: int) -> Iterator[Segment]:
    for number in range(networks):
        network = Network(NetworkId(f"n{number}"), Vni(5001 + number))
        remote = {
            mac(f"02:00:{number >> 8:02x}:{number & 255:02x}:00:{member:02x}"): (f"10.0.0.{member + 2}",)
            for member in range(members)
        }
        vteps = tuple(vtep for (vtep,) in remote.values())
        local = {mac(f"02:01:{number >> 8:02x}:{number & 255:02x}:00:01"): Vid(100 + number)}
        yield Segment(network, (Vid(100 + number),), local, remote, vteps)


def _made(target: OvsTarget, action: BuildNve | Learn | Forget) -> None:
    [result] = target.apply([Change(0, target.id, action, "bench")])
    if result.outcome is not Outcome.DONE:
        raise RuntimeError(f"{type(action).__name__}: {result.detail}")


def _replace(ovs: OpenVswitch, bridge: Bridge, content: list[Flow]) -> None:
    lines = "".join(f"{render(flow)}\n" for flow in content)
    command = ["ovs-ofctl", "-OOpenFlow14", "--bundle", "replace-flows", f"unix:{ovs.rundir}/{bridge.value}.mgmt", "-"]
    subprocess.run(command, input=lines, text=True, check=True, capture_output=True)
