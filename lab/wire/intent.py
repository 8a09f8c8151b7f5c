"""An SDN's intent in memory: networks and ports that people create and delete, Neutron-like, and members elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from isthmus.model.boundary import Wake
from isthmus.model.intent import Intent, Network, Peer, Port
from isthmus.model.names import Mac, NetworkId, PortId, VmId
from isthmus.model.scope import Scope
from isthmus.model.tags import Vid, Vni
from lab.wire.clock import VirtualClock
from lab.wire.faults import Faults

FIRST_VNI = 5000


class WireIntent:
    """The intent source, and the API by which users change what it says."""

    def __init__(self, clock: VirtualClock) -> None:
        self.faults = Faults("intent", clock)
        self.networks: dict[NetworkId, Network] = {}
        self.ports: dict[PortId, Port] = {}
        self.peers: list[Peer] = []
        self._wakes: list[Wake] = []
        self._vnis = FIRST_VNI

    # what users do

    def add_network(
        self,
        name: str,
        *,
        vni: int | None = None,
        ports_listed: bool = False,
        assigned: Mapping[Scope, Vid] | None = None,
    ) -> Network:
        """A new network; its id is its name."""
        if vni is None:
            vni, self._vnis = self._vnis, self._vnis + 1
        network = Network(NetworkId(name), Vni(vni), name, ports_listed=ports_listed, assigned=dict(assigned or {}))
        self.networks[network.id] = network
        self._wake()
        return network

    def renumber(self, name: str, vni: int | None = None) -> None:
        """Give a network another VNI: the next that nobody had, or this one."""
        if vni is None:
            vni, self._vnis = self._vnis, self._vnis + 1
        network = NetworkId(name)
        self.networks[network] = replace(self.networks[network], vni=Vni(vni))
        self._wake()

    def remove_network(self, name: str) -> None:
        """Delete a network, its ports and what is known of it elsewhere."""
        network = NetworkId(name)
        self.networks.pop(network)
        self.ports = {port.id: port for port in self.ports.values() if port.network != network}
        self.peers = [peer for peer in self.peers if peer.network != network]
        self._wake()

    def add_port(self, name: str, network: str, vm: VmId, mac: Mac, *addresses: str) -> Port:
        """A new port, for a VM's NIC by MAC."""
        port = Port(PortId(name), NetworkId(network), vm, mac, addresses)
        self.ports[port.id] = port
        self._wake()
        return port

    def remove_port(self, name: str) -> None:
        """Delete a port."""
        del self.ports[PortId(name)]
        self._wake()

    def set_admin_up(self, name: str, up: bool) -> None:
        """Switch a port on or off."""
        self.ports[PortId(name)] = replace(self.ports[PortId(name)], admin_up=up)
        self._wake()

    def set_elsewhere(self, name: str, where: str) -> None:
        """Have a port on a host that is none of ours (empty: here)."""
        self.ports[PortId(name)] = replace(self.ports[PortId(name)], elsewhere=where)
        self._wake()

    def add_peer(self, network: str, vtep: str, mac: Mac | None = None, *addresses: str) -> Peer:
        """A member of a network behind a VTEP that isthmus does not run."""
        peer = Peer(NetworkId(network), vtep, mac, addresses)
        self.peers.append(peer)
        self._wake()
        return peer

    # the boundary

    def read(self) -> Intent:
        """The whole intent; Retry if it cannot be had."""
        with self.faults.call("read"):
            return Intent(dict(self.networks), dict(self.ports), tuple(self.peers))

    def watch(self, wake: Wake) -> None:
        """Begin to wake."""
        self._wakes.append(wake)

    def close(self) -> None:
        """Stop."""
        self._wakes.clear()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake(None)
