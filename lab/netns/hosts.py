"""The ESXi hosts of a world: the process that acts them out, and what a scenario sees of the VMs on them."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.netns import control
from lab.netns.admin import Admin
from lab.netns.control import Stunned
from lab.netns.guest import Guest
from lab.netns.hostd import Hostd
from lab.netns.inventory import Berth
from lab.netns.ovs import OpenVswitch
from lab.netns.state import WorldState
from lab.netns.switches import Switches
from lab.netns.vcenter import Login
from lab.netns.wires import Wires

PATIENCE = 20.0


def switches_of(state: WorldState) -> OpenVswitch:
    """The one Open vSwitch that acts out every distributed switch of a world."""
    return OpenVswitch(f"{state.prefix}dvs", state.directory / "dvs")


def start_hostd(
    state: WorldState,
    uplinks: Mapping[str, Mapping[str, int]],
    named: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """`uplinks`: for each switch, the number of the cable that is each host's uplink; `named`: VMs with interface names
    of their own.  Returns when the hosts obey."""
    state.write("hosts", {"uplinks": uplinks, "named": named or {}})
    command = [sys.executable, "-m", "lab.netns", "hostd", state.name]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    log = state.directory / "hostd.log"
    started = state.processes.start("hostd", command, log, environment, stands_for_hardware=True)
    deadline = time.monotonic() + PATIENCE
    while not state.control.exists():
        if started.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the hosts of the world did not start")
        time.sleep(0.01)


def guest(state: WorldState, name: str) -> Guest:
    """A running VM.  Raises NotThere if there is none of that name."""
    vm = control.ask(state.control).vm(name)
    return Guest(vm.name, vm.namespace, vm.nics[0].interface, vm.nics[0].mac)


def migrate(state: WorldState, admin: Admin, name: str, to: str) -> Stunned:
    """vMotion, until vCenter says it is done and the VM runs at its destination; tells when it was off the wire."""
    before = len(control.ask(state.control).stuns)
    admin.migrate(name, to)
    return _stun_after(state, before, f"{name} has not resumed on {to}")


def relocate(state: WorldState, admin: Admin, name: str, to: str, port_group: str) -> Stunned:
    """The same, to a host whose switch is another one: the VM's first NIC goes into this port group there."""
    config = admin.port_group(port_group).config
    berth = Berth(config.distributedVirtualSwitch.uuid, int(config.defaultPortConfig.vlan.vlanId))
    before = len(control.ask(state.control, berths={admin.vm(name)._moId: berth}).stuns)
    try:
        admin.relocate(name, to, port_group)
        return _stun_after(state, before, f"{name} has not resumed on {to}")
    finally:
        control.ask(state.control, berths={})


def _stun_after(state: WorldState, before: int, failure: str) -> Stunned:
    """The stun that ended since there were so many."""
    deadline = time.monotonic() + PATIENCE
    while True:
        ended = [stun for stun in control.ask(state.control).stuns[before:] if stun.ended is not None]
        if ended:
            return ended[-1]
        if time.monotonic() > deadline:
            raise TimeoutError(f"{failure}; see {state.directory}/hostd.log")


def run_hostd(state: WorldState) -> None:
    """That process: until SIGTERM."""
    told = state.read("hosts")
    ovs = switches_of(state)
    wires = Wires(state.prefix, ovs.namespace, {vm: tuple(names) for vm, names in told["named"].items()})
    hostd = Hostd(Login(**state.read("login")), wires, Switches(ovs), told["uplinks"])
    signal.signal(signal.SIGTERM, lambda *_: hostd.stop())
    control.serve(state.control, hostd.requests.put)
    hostd.run()
