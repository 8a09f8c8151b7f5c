"""What a world consists of when it comes up: hosts, switches, port groups, addresses.  Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from ipaddress import IPv4Interface
from typing import Any

from lab.vcenter import Cluster, Datacenter, Dvs, Host, MacLearning, Member, PortGroup, Security, Topology, Trunk

TENANT, UPLINK = "tenant", "uplink"


@dataclass(frozen=True, slots=True)
class Layout:
    """One datacenter; a tenant switch without uplinks and an uplink switch, both on all hosts."""

    hosts: tuple[str, ...] = ("esx1.lab", "esx2.lab", "esx3.lab")
    trunk_group: str = "isthmus-trunk"
    underlay_group: str = "underlay"
    foreign_group: str = "by-hand"
    # The tag somebody else uses on the tenant switch; no network of ours may get it.
    foreign_vid: int = 4000
    tenant_mtu: int = 1600
    underlay_mtu: int = 1600
    # Longer than pre-copy and stun together: when vCenter speaks of the new host, the VM has been there for a while.
    migration_ms: int = 1850
    clusters: tuple[tuple[str, ...], ...] = ()
    """The hosts of each; without any, all are in one."""

    def appliance_vm(self, host: str) -> str:
        return f"isthmus-{host.split('.')[0]}"

    def vtep(self, host: str) -> IPv4Interface:
        return IPv4Interface(f"192.0.2.{self.hosts.index(host) + 1}/24")

    def underlay_port(self, host: str) -> str:
        return f"to-{host.split('.')[0]}"

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Layout:
        clusters = tuple(tuple(hosts) for hosts in plain["clusters"])
        return cls(**{**plain, "hosts": tuple(plain["hosts"]), "clusters": clusters})

    def topology(self) -> Topology:
        trunk = PortGroup(
            self.trunk_group,
            vlan=Trunk(((1, 4094),)),
            # Frames of remote VMs come out of the appliance with their own MACs.
            security=Security(mac_changes=True, forged_transmits=True),
            mac_learning=MacLearning(limit_policy="ALLOW"),
        )
        foreign = PortGroup(self.foreign_group, vlan=self.foreign_vid)
        tenant = Dvs(TENANT, (trunk, foreign), mtu=self.tenant_mtu)
        members = tuple(Member(host, ("vmnic1",)) for host in self.hosts)
        underlay = PortGroup(self.underlay_group)
        uplink = Dvs(UPLINK, (underlay,), mtu=self.underlay_mtu, uplinks=("uplink1",), members=members)
        clusters = tuple(
            Cluster(f"cluster{number}", tuple(map(Host, hosts)))
            for number, hosts in enumerate(self.clusters or (self.hosts,), start=1)
        )
        return Topology((Datacenter("dc1", clusters, (tenant, uplink)),))
