"""Sites of any size as values: what a reconcile of design `ovsvapp` sees, and a settled state of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from isthmus.core.design import OVSVAPP
from isthmus.core.reconcile import reconcile
from isthmus.core.view import switch_target
from isthmus.model.change import Forget, Gate, Learn, Reconciled, SetDvPort
from isthmus.model.intent import Intent, Network
from isthmus.model.inventory import Dvs, Host, Inventory, Nic
from isthmus.model.names import DvsId, HostId, NetworkId, NicId, VmId, mac
from isthmus.model.nve import NveEntry, NveKey
from isthmus.model.observed import (
    Access,
    DvPortState,
    NoVlan,
    NveMirror,
    Observed,
    OwnerMark,
    PortGroupState,
    SwitchMirror,
    TargetId,
)
from isthmus.model.scope import HostScope
from isthmus.model.shard import Duty, Shard, VidPool, World
from isthmus.model.tags import ALL_VIDS, Vni

DVS = DvsId("dvs")


@dataclass(slots=True)
class Site:
    """Hosts on one switch, with ports spread evenly over hosts and networks."""

    hosts: dict[HostId, Host]
    intent: Intent
    inventory: Inventory
    groups: dict[str, PortGroupState]
    ports: dict[str, DvPortState]
    flows: dict[HostId, dict[NveKey, NveEntry]]

    @classmethod
    def of(cls, hosts: int, ports: int, networks: int) -> Site:
        """A site in which nothing is wired yet."""
        ids = [HostId(f"vc/host-{n}") for n in range(hosts)]
        by_id = {host: Host(host, f"esx{n}", vtep=f"10.{n >> 8}.{n & 255}.1") for n, host in enumerate(ids)}
        wanted = {NetworkId(f"n{n}"): Network(NetworkId(f"n{n}"), Vni(5001 + n)) for n in range(networks)}
        groups = {
            f"pg-{network.id}": PortGroupState(
                f"pg-{network.id}", network.id, NoVlan(), True, "0", _mark(network), True, True
            )
            for network in wanted.values()
        }
        nics, states = {}, {}
        for number in range(ports):
            nic = NicId(VmId(f"vm{number}"), 4000)
            row, column = divmod(number, hosts)
            host, group = ids[column], f"pg-n{(column * networks // hosts + 7 * row) % networks}"
            address = mac(f"00:50:56:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}")
            nics[nic] = Nic(nic, address, host, True, DVS, group, str(number), number)
            states[str(number)] = DvPortState(
                str(number), group, "0", NoVlan(), True, nic=nic, host=host, cookie=number, connected=True
            )
        switch = Dvs(DVS, "tenant", 1600, frozenset(ids))
        return cls(
            by_id, Intent(wanted), Inventory(by_id, {DVS: switch}, nics), groups, states, {host: {} for host in ids}
        )

    def think(self, served: Iterable[HostId]) -> Reconciled:
        """One reconcile of the shard that serves these hosts."""
        hosts = list(served)
        shard = Shard(
            "bench",
            HostScope(hosts[0], DVS),
            (DVS,),
            frozenset(hosts),
            {host: TargetId("ovs", host) for host in hosts},
            Duty.TAGS,
        )
        mirrors = {TargetId("ovs", host): NveMirror(TargetId("ovs", host), self.flows[host]) for host in hosts}
        observed = Observed({switch_target(DVS): SwitchMirror(DVS, self.groups, self.ports), **mirrors})
        return reconcile(OVSVAPP, World(shard, self.intent, self.inventory), observed, VidPool(ALL_VIDS), 0.0)

    def settle(self, served: Iterable[HostId]) -> None:
        """Make every change until the plan is empty."""
        hosts = list(served)
        while plan := self.think(hosts).plan:
            for change in plan.changes:
                match change.action:
                    case SetDvPort(_, key, _, _, gate, vid):
                        vlan = NoVlan() if vid is None else Access(vid)
                        self.ports[key] = replace(
                            self.ports[key], vlan=vlan, vlan_own=vid is not None, blocked=gate is not Gate.OPEN
                        )
                    case Learn(entries):
                        self.flows[HostId(change.target.name)].update({entry.key: entry for entry in entries})
                    case Forget(entries):
                        for entry in entries:
                            del self.flows[HostId(change.target.name)][entry.key]


def _mark(network: Network) -> OwnerMark:
    return OwnerMark("isthmus", network.id, network.vni)
