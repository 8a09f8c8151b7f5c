"""A small world in memory, for any design: hosts, NVEs, an SDN, VMs that speak, and the loops that join them.

world = two_hosts(OVSVAPP).network("red").vms("a@esx1", "b@esx1")
world.migrate("b", to="esx2").settle()
assert world.hears("a", frame_from="b")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from isthmus.core.design import Design
from isthmus.model.boundary import Target
from isthmus.model.intent import Network, Peer
from isthmus.model.names import DvsId, HostId, NetworkId, VmId
from isthmus.model.observed import TargetId
from isthmus.model.place import PlaceKind
from isthmus.model.scope import HostScope
from isthmus.model.shard import Shard, VidPool
from isthmus.model.tags import VidSet
from lab.wire.audit import OWNER, Leak, Outsider, audit
from lab.wire.carry import Wires, peer_nic
from lab.wire.clock import VirtualClock
from lab.wire.frames import Frame, Heard, broadcast, rarp, unicast
from lab.wire.intent import WireIntent
from lab.wire.inventory import WireInventory
from lab.wire.layout import TENANT, lay_out
from lab.wire.loop import ShardLoop
from lab.wire.nve import WireNve
from lab.wire.ovs import WireOvs
from lab.wire.vcenter import VCenter
from lab.wire.vsphere import PortGroup, Vm, VmNic

ROUNDS = 24
"""More rounds than any history may need to come to rest."""
ROUND_SECONDS = 1.0


class Unsettled(AssertionError):
    """The loops went on changing things."""


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host of the lab and what it belongs to."""

    name: str
    cluster: str = "c1"
    leaf: str = "leaf1"


class Lab:
    """The world."""

    def __init__(
        self,
        design: Design,
        hosts: Sequence[HostSpec],
        pool: VidPool | None = None,
        *,
        distributed: bool = False,
        switch_per_cluster: bool = False,
        clock: VirtualClock | None = None,
    ) -> None:
        self.design = design
        self.pool = pool or VidPool(VidSet.of("100-199"))
        self.clock = clock or VirtualClock()
        self.vcenter = VCenter(self.clock)
        self.intent = WireIntent(self.clock)
        self.inventory = WireInventory(self.vcenter)
        vteps: dict[str, str] = {}
        for index, spec in enumerate(hosts, 1):
            key = spec.name if design.nve.on_each_host else spec.leaf
            vtep = vteps.setdefault(key, f"192.0.2.{index}")
            self.vcenter.add_host(spec.name, spec.cluster, vtep, spec.leaf)
        layout = lay_out(design, self.vcenter, distributed=distributed, switch_per_cluster=switch_per_cluster)
        layout.directory.peers = lambda: [(int(vni), peer.vtep, peer.mac) for vni, peer in self._peers()]
        self.targets = layout.targets
        self.nves = layout.nves
        self.trunks = layout.trunks
        self.wires = Wires(self.vcenter, layout.trunks, layout.leaves, layout.nves.values(), self._peers)
        self.loops = {shard.name: self._loop(shard) for shard in layout.shards}
        self._latest: NetworkId | None = None

    def _loop(self, shard: Shard) -> ShardLoop:
        # Other switches are read, too: their port groups say of which network the NICs there are members, and whose
        # a VNI is.
        ids = [*(TargetId("dvs", dvs) for dvs in self.vcenter.switches), *shard.nves.values()]
        if isinstance(shard.scope, HostScope) and not shard.switches:
            ids.append(TargetId("vss", f"{shard.scope.host}/{shard.scope.switch}"))
        targets: list[Target] = [self.targets[target] for target in ids]
        return ShardLoop(self.design, shard, targets, self.intent, self.inventory, lambda: self.pool, self.clock)

    # building

    def network(self, name: str, *, vni: int | None = None, ports_listed: bool = False) -> Lab:
        """A new network, offered (its port groups made) before anyone plugs in."""
        self._latest = self.intent.add_network(name, vni=vni, ports_listed=ports_listed).id
        return self.settle()

    def vms(self, *names: str, network: str | None = None) -> Lab:
        """Running VMs, "name@host", on the network named or else the latest one."""
        on = NetworkId(network) if network else self._latest
        assert on is not None, "make a network first"
        for spec in names:
            name, _, host = spec.partition("@")
            self.boot(name, host, on)
        return self.settle()

    def boot(self, name: str, host: str, network: str, *, powered_on: bool = True, mac: str = "") -> Vm:
        """Create a VM on a network, with a port of its own if the network lists ports."""
        at = self.host(host)
        socket = self.socket(network, at)
        vm = self.vcenter.create_vm(name, at, socket, powered_on=powered_on, macs=(mac,) if mac else ())
        if self.intent.networks[NetworkId(network)].ports_listed:
            (nic,) = vm.nics.values()
            self.intent.add_port(f"port-{name}", network, vm.id, nic.mac, f"10.0.0.{len(self.vcenter.vms)}")
        return vm

    def socket(self, network: str, host: HostId) -> tuple[DvsId, str] | str:
        """Where a NIC of a network is plugged in on a host: the port group that our mark names, or the name."""
        if self.design.place is PlaceKind.HOST_PORT_GROUP:
            return network
        for switch in self.vcenter.switches.values():
            for group in switch.port_groups.values():
                if host in switch.hosts and group.mark is not None and group.mark.network == network:
                    return switch.id, group.key
        raise AssertionError(f"no port group of network {network} on host {host}: settle first")

    def is_offered(self, network: str, host: HostId) -> bool:
        """Whether a NIC on a host can be plugged into a network."""
        if self.design.place is PlaceKind.HOST_PORT_GROUP:
            return self.vcenter.standard_group(host, network) is not None
        switches = [switch.id for switch in self.vcenter.switches.values() if host in switch.hosts]
        groups = [group for dvs in switches for group in self.vcenter.switches[dvs].port_groups.values()]
        return any(group.mark is not None and group.mark.network == network for group in groups)

    # what happens

    def migrate(self, name: str, *, to: str, announced: bool = True) -> Lab:
        """vMotion: announced, prepared for, done; the VM speaks at its destination as ESXi makes it."""
        vm = self.vm(name)
        if announced:
            self.vcenter.announce(vm.id, self.host(to))
            self.settle()
            self.vcenter.complete(vm.id)
        else:
            self.vcenter.move(vm.id, self.host(to))
        for nic in vm.nics.values():
            self.wires.send(nic.id, rarp(nic.mac))
        return self

    def settle(self) -> Lab:
        """Let every shard go round until none wants to change anything."""
        for _ in range(ROUNDS):
            if not self.round():
                return self
        plans = {name: [str(c.action) for c in loop.last.plan.changes] for name, loop in self.loops.items()}
        raise Unsettled(f"after {ROUNDS} rounds there is still to do: {plans}")

    def round(self) -> int:
        """One round of every shard; how many changes were planned."""
        self.clock.advance(ROUND_SECONDS)
        return sum(len(loop.run_once().plan) for loop in self.loops.values())

    # looking

    def host(self, name: str) -> HostId:
        """A host by its name."""
        return HostId(f"{self.vcenter.uuid}/{name}")

    def vm(self, name: str) -> Vm:
        """A VM by its name."""
        return self.vcenter.vms[VmId(f"vm-{name}")]

    def nic(self, name: str) -> VmNic:
        """The first NIC of a VM."""
        return next(iter(self.vm(name).nics.values()))

    def nve(self, name: str) -> WireNve:
        """The NVE of a host or leaf, by the host's or the leaf's name."""
        return (
            self.nves.get(name)
            or self.nves.get(self.host(name))
            or self.nves[str(self.vcenter.hosts[self.host(name)].leaf)]
        )

    def guests(self) -> Iterator[tuple[Vm, VmNic]]:
        """All NICs but the appliances'."""
        return ((vm, nic) for vm, nic in self.vcenter.nics() if nic.id not in self.trunks)

    def groups_of_ours(self) -> list[PortGroup]:
        """All port groups that carry the mark of this installation."""
        groups = [group for switch in self.vcenter.switches.values() for group in switch.port_groups.values()]
        return [group for group in groups if group.mark is not None and group.mark.owner == OWNER]

    def tenant_groups(self, host: str) -> list[str]:
        """The names of a host's standard port groups that are not the appliance's."""
        switch = self.vcenter.hosts[self.host(host)].standard[TENANT]
        return [name for name in switch.port_groups if name != "isthmus-trunk"]

    # speaking

    def send(self, name: str, frame: Frame) -> list[Heard]:
        """A VM sends a frame; who hears it."""
        return self.wires.send(self.nic(name).id, frame)

    def hears(self, name: str, *, frame_from: str) -> bool:
        """Whether a VM hears what another says, to all and to it alone.  One without the other is an error."""
        return self.are_joined(self.nic(frame_from), self.nic(name))

    def are_joined(self, sender: VmNic, hearer: VmNic) -> bool:
        """The same of two NICs, whichever of their VMs' they are."""
        to_all = any(heard.nic == hearer.id for heard in self.wires.send(sender.id, broadcast(sender.mac)))
        alone = self.wires.send(sender.id, unicast(sender.mac, hearer.mac))
        copies = sum(heard.nic == hearer.id for heard in alone)
        assert copies < 2, f"{hearer.id} hears {sender.id} {copies} times: {alone}"
        assert to_all == bool(copies), (
            f"{hearer.id} hears {sender.id} {'only when it speaks to all' if to_all else 'only alone'}"
        )
        return to_all

    def ways(self, name: str, *, frame_from: str) -> list[Heard]:
        """How a broadcast from one VM reaches another: VIDs and VNIs worn on the way."""
        return [h for h in self.send(frame_from, broadcast(self.nic(frame_from).mac)) if h.nic == self.nic(name).id]

    def leaks(self) -> list[Leak]:
        """Frames of one network that are heard in another: none, ever."""
        outsiders = [
            Outsider(peer_nic(peer), peer.network, peer.vtep, vni, peer.mac)
            for vni, peer in self._peers()
            if peer.mac is not None
        ]
        appliances = [nve for nve in self.nves.values() if isinstance(nve, WireOvs)]
        learnt = [deepcopy(nve.learnt) for nve in appliances]
        try:
            return audit(self.vcenter, self.wires, self.trunks, outsiders)
        finally:  # looking must not teach the data path anything
            for nve, before in zip(appliances, learnt, strict=True):
                nve.learnt = before

    def _peers(self) -> Iterator[tuple[int, Peer]]:
        for peer in self.intent.peers:
            network: Network | None = self.intent.networks.get(peer.network)
            if network is not None:
                yield int(network.vni), peer


def two_hosts(design: Design, pool: VidPool | None = None, *, distributed: bool = False) -> Lab:
    """esx1 and esx2, in one cluster, below one leaf."""
    return Lab(design, (HostSpec("esx1"), HostSpec("esx2")), pool, distributed=distributed)


def two_racks(
    design: Design, pool: VidPool | None = None, *, distributed: bool = False, switch_per_cluster: bool = False
) -> Lab:
    """esx1 and esx2 in one cluster below one leaf, esx3 in another cluster below another leaf."""
    hosts = (HostSpec("esx1"), HostSpec("esx2"), HostSpec("esx3", "c2", "leaf2"))
    return Lab(design, hosts, pool, distributed=distributed, switch_per_cluster=switch_per_cluster)
