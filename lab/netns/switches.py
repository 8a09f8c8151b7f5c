"""Every distributed switch on every host as an OVS bridge, changed only where it differs from what is wanted.

Law: at no instant does a frame pass that neither the old nor the new state would let pass.  So a bridge forgets a port
before the cable leaves it, and learns of a port only when the cable is in.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType

from lab.netns import namespace
from lab.netns.dvs_flows import Flows, changes, flows
from lab.netns.inventory import BridgeId, Inventory, Wiring
from lab.netns.ovs import OpenVswitch, in_order, packet_out


def far_end(number: int) -> str:
    """The interface at the switch's end of a cable.  Its number is the port's on whatever bridge it is in."""
    return f"w{number}"


Said = tuple[int, bytes]
"""A frame in the name of the machine behind a port."""


@dataclass(slots=True)
class Switches:
    ovs: OpenVswitch
    bridges: dict[BridgeId, str] = field(default_factory=dict)
    programmed_at: dict[BridgeId, float] = field(default_factory=dict)
    """When a switch was last changed, on the machine's monotonic clock."""
    _flows: dict[BridgeId, Flows | None] = field(default_factory=dict)
    _ports: dict[int, BridgeId] = field(default_factory=dict)
    _at_once: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(thread_name_prefix="switch"))

    @property
    def plugged(self) -> Mapping[int, BridgeId]:
        """Which switch has which cable in."""
        return self._ports

    def make_bridges(self, inventory: Inventory) -> list[BridgeId]:
        made = [
            (host, switch)
            for host in inventory.hosts
            for switch in inventory.switches
            if (host, switch) not in self.bridges
        ]
        for bridge in made:
            name = self._name(inventory, bridge)
            self.ovs.vsctl(
                *("--may-exist", "add-br", name, "--", "set", "bridge", name),
                *("datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow13,OpenFlow14"),
                *("other_config:disable-in-band=true",),
            )
            self.bridges[bridge] = name
            self._flows[bridge] = None
        return made

    def apply(self, wanted: Wiring, said: Mapping[BridgeId, Sequence[Said]] = MappingProxyType({})) -> None:
        """Make it so; and let machines say frames the moment their switch is as wanted."""
        after = {bridge: flows(switch) for bridge, switch in wanted.switches.items()}
        leaving = {n: bridge for n, bridge in self._ports.items() if wanted.cables.get(n) != bridge}
        arriving = {n: bridge for n, bridge in wanted.cables.items() if self._ports.get(n) != bridge}
        for bridge in {bridge for bridge in leaving.values() if bridge in after}:
            self._program(bridge, after[bridge], ())
        self._replug(leaving, arriving)
        # All at once: a migrated VM goes on at one switch in the same moment in which another forgets it.
        list(self._at_once.map(lambda bridge: self._program(bridge, after[bridge], said.get(bridge, ())), after))

    def _program(self, bridge: BridgeId, after: Flows, said: Sequence[Said]) -> None:
        lines = changes(self._flows[bridge], after)
        lines += [packet_out(number, frame) for number, frame in said]
        if lines:
            self.ovs.mixed_bundle(self.bridges[bridge], lines)
            self._flows[bridge] = after
            self.programmed_at[bridge] = time.monotonic()

    def _replug(self, leaving: Mapping[int, BridgeId], arriving: Mapping[int, BridgeId]) -> None:
        commands = [["del-port", self.bridges[bridge], far_end(number)] for number, bridge in leaving.items()]
        for number, bridge in arriving.items():
            interface = far_end(number)
            commands.append(["add-port", self.bridges[bridge], interface])
            commands.append(["set", "interface", interface, f"ofport_request={number}"])
        # OVS complains of a port that is down, so links rise before and fall after.
        namespace.ip(self.ovs.namespace, (f"link set {far_end(number)} up" for number in arriving))
        if commands:
            self.ovs.vsctl(*in_order(commands))
        # A guest sees its link down while its cable is in no switch.
        unplugged = leaving.keys() - arriving.keys()
        namespace.ip(self.ovs.namespace, (f"link set {far_end(number)} down" for number in unplugged))
        for number in leaving:
            del self._ports[number]
        self._ports.update(arriving)

    def _name(self, inventory: Inventory, bridge: BridgeId) -> str:
        """A name for people, if it fits an interface name and is free; an OVS bridge is an interface too."""
        host, switch = bridge
        plain = f"{inventory.switches[switch].name}-{inventory.hosts[host].split('.')[0]}"
        is_plain = plain.isascii() and plain.replace("-", "").isalnum() and len(plain) <= 15
        return plain if is_plain and plain not in self.bridges.values() else f"dvs{len(self.bridges)}"
