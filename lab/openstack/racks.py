"""Racks: a leaf switch each, ESXi hosts below it, one distributed switch for all hosts of a rack.  A spine joins them.

VM === [rack's distributed switch on its host: a VID for each port group] === swp1 [leaf] fabric0 === [spine]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.netns import namespace
from lab.netns.fabric import cable
from lab.netns.hosts import start_hostd, switches_of
from lab.netns.leaf import UPLINK, Leaf
from lab.netns.state import WorldState
from lab.netns.switches import far_end
from lab.vcenter import Cluster, Datacenter, Host, Topology


@dataclass(frozen=True, slots=True)
class Rack:
    """`name` is that of its distributed switch and of its mapping domain; `compute` is its nova-compute host."""

    name: str
    leaf: str
    vtep: str
    compute: str
    vids: tuple[int, int]
    hosts: tuple[str, ...]
    attached: tuple[str, ...] = ()
    """Machines below its leaf that are no ESXi hosts."""

    def port(self, host: str) -> str:
        """The leaf's port that a host or another machine is at."""
        return f"swp{(*self.hosts, *self.attached).index(host) + 1}"

    @property
    def ports(self) -> Sequence[str]:
        return [self.port(host) for host in (*self.hosts, *self.attached)]


RACKS = (
    Rack("rack1", "leaf1", "192.0.2.1", "compute-1", (101, 149), ("esx1.lab", "esx2.lab")),
    Rack("rack2", "leaf2", "192.0.2.2", "compute-2", (201, 249), ("esx3.lab",), ("net-2",)),
    Rack("rack3", "leaf3", "192.0.2.3", "compute-3", (301, 349), ("esx4.lab",)),
)
MTU = 1600
NIC = "vmnic1"
"""The free one of each host, cabled to its rack's leaf."""
MIGRATION_MS = 1850
"""Longer than pre-copy and stun together: when vCenter speaks of the new host, the VM has been there for a while."""


def topology(racks: Sequence[Rack]) -> Topology:
    """What vCenter holds before anybody comes: hosts with a free NIC each, and no distributed switch."""
    clusters = tuple(Cluster(rack.name, tuple(Host(host) for host in rack.hosts)) for rack in racks)
    return Topology((Datacenter("dc1", clusters),))


def spine_of(state: WorldState) -> str:
    """The namespace of the network between the leaves."""
    return f"{state.prefix}spine"


def bring_up(state: WorldState, racks: Sequence[Rack], *, forwarding: bool = True) -> Mapping[str, Leaf]:
    """Spine, leaves and hosts, beside a vCenter that is there already.  The leaves may be databases only."""
    spine, switches = spine_of(state), switches_of(state)
    for where in (spine, switches.namespace):
        namespace.add(where, speaks_ipv6=False)
    namespace.ip(spine, ["link add spine type bridge forward_delay 0", "link set spine up"])
    switches.start(state.processes)
    cables = {host: number for number, host in enumerate((h for rack in racks for h in rack.hosts), start=1)}
    leaves = {rack.leaf: _leaf(state, rack, cables, forwarding=forwarding) for rack in racks}
    start_hostd(state, {rack.name: {host: cables[host] for host in rack.hosts} for rack in racks})
    return leaves


def join_spine(state: WorldState, where: str, name: str) -> None:
    """A cable from the uplink in a namespace to the spine."""
    cable(where, UPLINK, spine_of(state), name)
    namespace.ip(spine_of(state), [f"link set {name} master spine"])


def _leaf(state: WorldState, rack: Rack, cables: Mapping[str, int], *, forwarding: bool) -> Leaf:
    where = f"{state.prefix}{rack.leaf}"
    namespace.add(where, speaks_ipv6=False)
    join_spine(state, where, rack.leaf)
    for host in rack.hosts:
        cable(where, rack.port(host), switches_of(state).namespace, far_end(cables[host]))
    for machine in rack.attached:
        namespace.add(f"{state.prefix}{machine}", speaks_ipv6=False)
        cable(where, rack.port(machine), f"{state.prefix}{machine}", UPLINK)
    leaf = Leaf.at(rack.leaf, f"{rack.vtep}/24", rack.ports, where, state.directory / rack.leaf)
    if forwarding:
        leaf.boot(state.processes)
    else:
        leaf.configure(state.processes)
    return leaf
