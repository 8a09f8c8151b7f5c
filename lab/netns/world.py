"""A whole small world: a simulated vCenter, ESXi hosts with their switches, an OVS appliance on each, an underlay.

Law: whatever is made is on record in the world's directory first, so it comes down again however the world ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.netns import control, namespace
from lab.netns.admin import Admin
from lab.netns.appliance import INTERFACES, Appliance
from lab.netns.control import Picture, Stunned
from lab.netns.guest import Guest
from lab.netns.hosts import guest, migrate, start_hostd, switches_of
from lab.netns.layout import UPLINK, Layout
from lab.netns.moves import Timing
from lab.netns.ovs import OpenVswitch
from lab.netns.simulator import Meddling, start_simulator
from lab.netns.state import NotThere, WorldState
from lab.netns.switches import far_end
from lab.netns.vcenter import Login
from lab.netns.wires import CABLE_MTU


@dataclass(slots=True)
class World:
    """The handle of a world that is up; several processes may hold one."""

    state: WorldState
    layout: Layout
    login: Login
    admin: Admin = field(init=False)

    def __post_init__(self) -> None:
        self.admin = Admin(self.login)

    # --- what there is

    def appliance(self, host: str) -> Appliance:
        return appliance_of(self.state, self.layout, host)

    @property
    def appliances(self) -> list[Appliance]:
        return [self.appliance(host) for host in self.layout.hosts]

    @property
    def switches(self) -> OpenVswitch:
        """The one Open vSwitch that acts out every distributed switch."""
        return switches_of(self.state)

    @property
    def meddling(self) -> Meddling:
        """What may be done to the vCenter behind its clients' backs."""
        return Meddling(self.state)

    @property
    def underlay(self) -> str:
        """The namespace of the network between the hosts."""
        return underlay_of(self.state)

    def picture(self) -> Picture:
        """What is on the wire, all included that vCenter had confirmed before this call."""
        return control.ask(self.state.control)

    def guest(self, name: str) -> Guest:
        """A running VM.  Raises NotThere if there is none of that name."""
        return guest(self.state, name)

    # --- what happens in it

    def boot(
        self, name: str, host: str, port_group: str, addresses: Sequence[str] = (), mac: str | None = None
    ) -> Guest:
        """A VM made and powered on through the vCenter API; its system sets its addresses."""
        self.admin.create_vm(name, host, [port_group], [mac] if mac else [])
        self.admin.power_on(name)
        guest = self.guest(name)
        guest.set_addresses(*addresses)
        return guest

    def migrate(self, name: str, to: str) -> Stunned:
        """vMotion, until vCenter says it is done and the VM runs at its destination; tells when it was off the wire."""
        return migrate(self.state, self.admin, name, to)

    def set_timing(self, timing: Timing) -> None:
        """How the next migrations go."""
        control.ask(self.state.control, timing)

    def close(self) -> None:
        """Give the handle back; the world stays."""
        self.admin.close()


def bring_up(name: str, layout: Layout | None = None, keep: bool = False) -> World:
    """Make a world, or nothing: what was made goes again if it cannot be finished."""
    state = WorldState(name)
    state.claim(keep)
    try:
        return furnish(state, layout or Layout())
    except BaseException as error:
        error.add_note(f"the end of hostd.log:\n{state.tail('hostd.log')}")
        state.take_down()
        raise


@contextmanager
def world(name: str, layout: Layout | None = None) -> Iterator[World]:
    """A world for the duration of a block."""
    made = bring_up(name, layout)
    try:
        yield made
    finally:
        made.close()
        made.state.take_down()


def attach(name: str) -> World:
    """A handle on a world that is up already."""
    state = WorldState(name)
    if not state.is_live:
        raise NotThere(f"no world named {name!r} is up")
    return World(state, Layout.parse(state.read("layout")), Login(**state.read("login")))


def appliance_of(state: WorldState, layout: Layout, host: str) -> Appliance:
    vm = layout.appliance_vm(host)
    ovs = OpenVswitch(f"{state.prefix}{vm}", state.directory / f"va{layout.hosts.index(host) + 1}")
    return Appliance(host, vm, layout.vtep(host), ovs)


def underlay_of(state: WorldState) -> str:
    return f"{state.prefix}underlay"


def furnish(state: WorldState, layout: Layout) -> World:
    """Make the world in a state that is claimed; what was made is on record there if it cannot be finished."""
    state.write("layout", layout.plain())
    login = start_simulator(state, layout.topology(), layout.migration_ms)
    _network(state, layout)
    switches_of(state).start(state.processes)
    named = {layout.appliance_vm(host): INTERFACES for host in layout.hosts}
    start_hostd(state, {UPLINK: {host: number for number, host in enumerate(layout.hosts, start=1)}}, named)
    made = World(state, layout, login)
    for host in layout.hosts:
        _make_appliance(made, host)
    return made


def _network(state: WorldState, layout: Layout) -> None:
    """The underlay, a plain bridge, and a cable from it to each host's uplink switch."""
    switches, underlay = switches_of(state).namespace, underlay_of(state)
    for name in (switches, underlay):
        namespace.add(name, speaks_ipv6=False)
    namespace.ip(underlay, ["link add underlay type bridge forward_delay 0", "link set underlay up"])
    for number, host in enumerate(layout.hosts, start=1):
        near, far = layout.underlay_port(host), far_end(number)
        cable = f"link add {far} mtu {CABLE_MTU} type veth peer name {near} netns {underlay} mtu {CABLE_MTU}"
        namespace.ip(switches, [cable])
        namespace.ip(underlay, [f"link set {near} master underlay up"])
        namespace.plain_frames_only(switches, far)
        namespace.plain_frames_only(underlay, near)


def _make_appliance(made: World, host: str) -> None:
    appliance = made.appliance(host)
    made.admin.create_vm(appliance.vm, host, [made.layout.trunk_group, made.layout.underlay_group])
    made.admin.power_on(appliance.vm)
    made.picture()
    appliance.boot(made.state.processes, made.layout.underlay_mtu)
