"""Leaf switches around a spine, hosts below them, VMs on the hosts: a VXLAN overlay whose VTEPs are the leaves.

    VM eth0 === [host's switch: a VID on the VM's port, all VIDs on the uplink] === swp1 [leaf] fabric0 === [spine]

Who tells the leaves what a VID means is not this file's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

from lab.netns import namespace
from lab.netns.guest import Guest
from lab.netns.leaf import UPLINK
from lab.netns.ovs import OpenVswitch, in_order
from lab.netns.process import Processes
from lab.netns.state import WorldState

MTU = 1600
GUEST_MTU = 1500


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a VM is plugged in: the host at a port of a leaf, and the VID it wears there."""

    leaf: str
    port: str
    vid: int


class Switch(Protocol):
    """What a fabric is made of, whatever tells it what a VID means."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def ports(self) -> tuple[str, ...]:
        """Those of the hosts."""
        ...

    @property
    def ovs(self) -> OpenVswitch:
        """Its Open vSwitch, and so its namespace."""
        ...

    def boot(self, processes: Processes) -> object:
        """Start it."""
        ...


S = TypeVar("S", bound=Switch)
Make: TypeAlias = Callable[[str, str, Sequence[str], str, Path], S]
"""Name, VTEP address and prefix length, ports, namespace, directory."""


@dataclass(slots=True)
class Fabric(Generic[S]):
    """`ovs` is the Open vSwitch of all hosts: a bridge for each, and no way from one to another but by the leaves."""

    state: WorldState
    leaves: Mapping[str, S]
    ovs: OpenVswitch
    guests: dict[str, Guest] = field(default_factory=dict)
    spots: dict[str, Spot] = field(default_factory=dict)

    @classmethod
    def up(cls, state: WorldState, leaves: Mapping[str, Sequence[str]], make: Make[S]) -> Fabric[S]:
        """Bring up these leaves, each with a host at each of these ports."""
        hosts = OpenVswitch(f"{state.prefix}hosts", state.directory / "hosts")
        made = cls(
            state,
            {
                name: make(name, f"192.0.2.{number}/24", ports, f"{state.prefix}{name}", state.directory / name)
                for number, (name, ports) in enumerate(leaves.items(), start=1)
            },
            hosts,
        )
        for where in (made.spine, hosts.namespace, *(leaf.ovs.namespace for leaf in made.leaves.values())):
            namespace.add(where, speaks_ipv6=False)
        namespace.ip(made.spine, ["link add spine type bridge forward_delay 0", "link set spine up"])
        hosts.start(state.processes)
        for leaf in made.leaves.values():
            cable(leaf.ovs.namespace, UPLINK, made.spine, leaf.name)
            namespace.ip(made.spine, [f"link set {leaf.name} master spine"])
            for port in leaf.ports:
                made._add_host(leaf, port)
            leaf.boot(state.processes)
        return made

    @property
    def spine(self) -> str:
        """The namespace of the network between the leaves."""
        return f"{self.state.prefix}spine"

    def boot(self, name: str, spot: Spot, address: str) -> Guest:
        """A VM with one NIC."""
        number, where = len(self.guests) + 1, f"{self.state.prefix}{name}"
        namespace.add(where)
        mac = f"00:50:56:00:01:{number:02x}"
        cable(self.ovs.namespace, f"vm{number}", where, "eth0")
        namespace.ip(where, [f"link set eth0 address {mac} mtu {GUEST_MTU}", f"addr add {address} dev eth0"])
        guest = self.guests[name] = Guest(name, where, "eth0", mac)
        self.plug(name, spot)
        return guest

    def plug(self, name: str, spot: Spot) -> None:
        """Plug a VM in; out of where it was, if it was anywhere."""
        interface = f"vm{list(self.guests).index(name) + 1}"
        self.ovs.vsctl(*in_order([
            ["--if-exists", "del-port", interface],
            ["add-port", bridge_of(spot.leaf, spot.port), interface], ["set", "port", interface, f"tag={spot.vid}"],
        ]))  # fmt: skip
        self.spots[name] = spot

    def _add_host(self, leaf: S, port: str) -> None:
        bridge = bridge_of(leaf.name, port)
        cable(leaf.ovs.namespace, port, self.ovs.namespace, f"{bridge}u")
        self.ovs.vsctl(*in_order([
            ["add-br", bridge], ["set", "bridge", bridge, "datapath_type=netdev"], ["add-port", bridge, f"{bridge}u"],
        ]))  # fmt: skip


def bridge_of(leaf: str, port: str) -> str:
    """The switch of the host at a port of a leaf."""
    return f"{leaf[-6:]}{port[-6:]}"


def cable(here: str, near: str, there: str, far: str, mtu: int = MTU) -> None:
    """A cable between two namespaces, its ends named `near` and `far`."""
    namespace.ip(here, [f"link add {near} mtu {mtu} type veth peer name {far} netns {there} mtu {mtu}"])
    for where, interface in ((here, near), (there, far)):
        namespace.plain_frames_only(where, interface)
        namespace.ip(where, [f"link set {interface} up"])
