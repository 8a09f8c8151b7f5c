"""A vRouter of the lab on each host: what its agent's stand-in holds, acted out so that frames show it.

It is no vRouter: the real one is a kernel module.  What it shares with one is the seam.  The trunk is parted by VID
alone, whatever MACs the frames have, and each VID is one VMI:

    trunk0 === br-vr === VID 101 === t1 --+
                     === VID 102 === t2 --+-- bridge `vn` in the namespace of (host, network) -- VXLAN of the network
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab.contrail.vrouter_agent import Port, VrouterAgentStandIn
from lab.netns import namespace
from lab.netns.appliance import TRUNK, Appliance
from lab.netns.namespace import plain_frames_only
from lab.netns.ovs import in_order

BRIDGE, NETWORK, TUNNEL = "br-vr", "vn", "vx"
POLL = 0.02
"""Seconds between two looks at what the agents hold."""


@dataclass(frozen=True, slots=True)
class Wired:
    """A VMI on the wire: its VID, its network, whether its link is up, and its end in the network's namespace."""

    vid: int
    network: str
    up: bool
    number: int

    @property
    def end(self) -> str:
        return f"t{self.number}"

    @property
    def trunk_end(self) -> str:
        return f"v{self.number}"


@dataclass(slots=True)
class Vrouter:
    """One host's.  `vni_of` tells the VNI of a virtual network by its uuid; `others` are the VTEPs of other hosts."""

    prefix: str
    appliance: Appliance
    agent: VrouterAgentStandIn
    vni_of: Callable[[str], int]
    others: Sequence[str]
    wired: dict[str, Wired] = field(default_factory=dict)
    _networks: set[str] = field(default_factory=set)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def boot(self) -> None:
        """The trunk ends here."""
        self.appliance.ovs.vsctl(
            *in_order(
                [
                    ["add-br", BRIDGE],
                    ["set", "bridge", BRIDGE, "datapath_type=netdev"],
                    ["add-port", BRIDGE, TRUNK],
                ]
            )
        )
        plain_frames_only(self.appliance.namespace, "br-phy")

    def namespace(self, network: str) -> str:
        """Where a virtual network is on this host."""
        return f"{self.prefix}{self.appliance.host.split('.')[0]}-{network[:8]}"

    def follow(self) -> None:
        """Act out what the agent holds now."""
        held = self.agent.ports
        for vmi, wired in list(self.wired.items()):
            port = held.get(vmi)
            if port is None or (port.vid, port.vn) != (wired.vid, wired.network):
                self._unplug(vmi, wired)
        for vmi, port in held.items():
            if port.vid is not None and vmi not in self.wired:
                self._plug(vmi, port, port.vid)
            elif vmi in self.wired and self.wired[vmi].up != port.enabled:
                self._switch(vmi, self.wired[vmi], up=port.enabled)

    def _plug(self, vmi: str, port: Port, vid: int) -> None:
        if port.vn not in self._networks:
            self._make(port.vn)
        wired = Wired(vid, port.vn, False, next(self._numbers))
        here, there = self.appliance.namespace, self.namespace(port.vn)
        namespace.ip(here, [f"link add {wired.trunk_end} type veth peer name {wired.end} netns {there}"])
        for where, end in ((here, wired.trunk_end), (there, wired.end)):
            plain_frames_only(where, end)
        namespace.ip(there, [f"link set {wired.end} master {NETWORK}"])
        namespace.ip(here, [f"link set {wired.trunk_end} up"])
        self.appliance.ovs.vsctl("add-port", BRIDGE, wired.trunk_end, f"tag={vid}")
        self.wired[vmi] = wired
        if port.enabled:
            self._switch(vmi, wired, up=True)

    def _unplug(self, vmi: str, wired: Wired) -> None:
        del self.wired[vmi]
        self.appliance.ovs.vsctl("del-port", BRIDGE, wired.trunk_end)
        namespace.ip(self.appliance.namespace, [f"link del {wired.trunk_end}"])

    def _switch(self, vmi: str, wired: Wired, *, up: bool) -> None:
        namespace.ip(self.namespace(wired.network), [f"link set {wired.end} {'up' if up else 'down'}"])
        self.wired[vmi] = Wired(wired.vid, wired.network, up, wired.number)

    def _make(self, network: str) -> None:
        """A bridge of its own for a network on this host, and a tunnel to where it is on the others."""
        here, there = self.appliance.namespace, self.namespace(network)
        namespace.add(there, speaks_ipv6=False)
        vtep, vni = self.appliance.vtep.ip, self.vni_of(network)
        tunnel = f"link add {TUNNEL}{vni} type vxlan id {vni} local {vtep} dstport 4789"
        namespace.ip(here, [tunnel, f"link set {TUNNEL}{vni} netns {there}"])
        namespace.ip(
            there,
            [
                f"link set {TUNNEL}{vni} name {TUNNEL}",
                f"link add {NETWORK} type bridge forward_delay 0 mcast_snooping 0",
                f"link set {TUNNEL} master {NETWORK} up",
                f"link set {NETWORK} up",
            ],
        )
        for other in self.others:
            flood = ["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", TUNNEL, "dst", other]
            namespace.run(*namespace.inside(there), *flood)
        self._networks.add(network)


class Following:
    """A thread that has every vRouter follow its agent."""

    def __init__(self, vrouters: Sequence[Vrouter]) -> None:
        self._vrouters = vrouters
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vrouters", daemon=True)
        self.fault: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """No more; what is on the wire stays.  Raises what the thread died of."""
        self._stopping.set()
        self._thread.join(10)
        if self.fault is not None:
            raise self.fault

    def _run(self) -> None:
        try:
            while not self._stopping.wait(POLL):
                for vrouter in self._vrouters:
                    vrouter.follow()
        except BaseException as fault:  # told to whoever stops it
            self.fault = fault
