"""A distributed switch with machines on it and no vCenter: the tests say themselves what each DV port holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lab.netns import frames, namespace
from lab.netns.capture import Capture, send
from lab.netns.dvs import Policy
from lab.netns.frames import Frame
from lab.netns.inventory import DvPort, Inventory, Nic, NicId, Place, Switch, Vm, wiring
from lab.netns.ovs import OpenVswitch
from lab.netns.state import WorldState
from lab.netns.switches import Switches
from lab.netns.wires import Cable, Wires

QUIET = 0.1
"""Seconds after which a frame that was not heard will not come."""


def mac(name: str) -> str:
    return f"00:50:56:00:00:{ord(name):02x}"


@dataclass(slots=True)
class Bench:
    state: WorldState
    wires: Wires
    switches: Switches
    policies: Mapping[str, Policy] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    stunned: frozenset[str] = frozenset()
    macs: dict[str, str] = field(default_factory=dict)

    def set(self, policies: Mapping[str, Policy], **hosts: str) -> None:
        """The machines there are, each with what its DV port holds, all on esx1 unless said otherwise."""
        self.policies, self.hosts, self.stunned = policies, hosts, frozenset()
        self.apply()

    def stun(self, *names: str) -> None:
        self.stunned = frozenset(names)
        self.apply()

    def apply(self) -> None:
        inventory = self._inventory()
        places = {vm.id: Place(vm.host, "h2" if vm.id in self.stunned else None) for vm in inventory.vms.values()}
        self.switches.make_bridges(inventory)
        self.wires.make(inventory)
        numbers = {cable.nic: cable.number for cable in self.wires.cables.values()}
        self.switches.apply(wiring(inventory, places, numbers, {}))

    def set_mtu(self, name: str, mtu: int) -> None:
        namespace.ip(self.cable(name).namespace, [f"link set eth0 mtu {mtu}"])

    def cable(self, name: str) -> Cable:
        return self.wires.cables[NicId(name, 4000)]

    def says(self, name: str, *said: Frame) -> None:
        send(self.cable(name).namespace, "eth0", *said)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Mapping[str, Capture]]:
        with contextlib.ExitStack() as stack:
            yield {name: stack.enter_context(Capture(self.cable(name).namespace, "eth0")) for name in self.policies}

    def who_hears(self, sender: str, said: Frame) -> dict[str, list[int | None]]:
        """For each machine that heard the frame, the tags with which it did, one for each copy."""
        mark = frames.mark_of(said)
        with self.listening() as captures:
            self.says(sender, said)
            some = next(iter(captures.values()))
            some.hears(lambda frame: False, within_seconds=QUIET)
            heard = {name: capture.frames(_is(mark)) for name, capture in captures.items()}
        return {name: [frame.vid for frame in copies] for name, copies in heard.items() if copies}

    def _inventory(self) -> Inventory:
        vms, ports = {}, {}
        for name, policy in self.policies.items():
            id = NicId(name, 4000)
            nic = Nic(id, self.macs.get(name, mac(name)), True, "dvs", name)
            vms[name] = Vm(name, name, self.hosts.get(name, "h1"), True, (nic,))
            ports["dvs", name] = DvPort("dvs", name, id, policy)
        hosts = {"h1": "esx1.lab", "h2": "esx2.lab"}
        return Inventory(hosts, {"dvs": Switch("dvs", "tenant", 1600)}, vms, ports)


def _is(mark: str | None) -> Callable[[Frame], bool]:
    return lambda frame: mark is not None and frames.mark_of(frame) == mark


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    state = WorldState(f"b{os.getpid()}")
    state.claim(keep=False)
    try:
        switches_namespace = f"{state.prefix}dvs"
        namespace.add(switches_namespace, speaks_ipv6=False)
        ovs = OpenVswitch(switches_namespace, state.directory / "dvs")
        ovs.start(state.processes)
        yield Bench(state, Wires(state.prefix, switches_namespace, {}), Switches(ovs))
    finally:
        state.take_down()
