"""What a simulated vCenter holds, as values; a topology renders itself to the JSON that the simulator reads.

Law: what is left out is what vCenter would choose, so a test writes down only what it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What the physical switch at the other end of a cable says of itself, by LLDP or CDP."""

    system: str
    port: str
    protocol: str = "lldp"
    chassis: str = ""
    vid: int = 0


@dataclass(frozen=True, slots=True)
class Pnic:
    """A physical NIC of a host."""

    device: str
    mac: str = ""
    speed_mb: int = 10_000
    neighbour: Neighbour | None = None


@dataclass(frozen=True, slots=True)
class Vswitch:
    """A standard switch of a host: its physical NICs, and the VMkernel NICs on it."""

    name: str
    pnics: tuple[str, ...] = ()
    vmkernel: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """An ESXi host; its hardware UUID follows from its name unless given.

    Every host has vSwitch0 with vmnic0 and the management's vmk0; `vswitches` come beside it.
    """

    name: str
    uuid: str = ""
    pnics: tuple[Pnic, ...] = (Pnic("vmnic0"), Pnic("vmnic1"))
    vswitches: tuple[Vswitch, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster and its hosts."""

    name: str
    hosts: tuple[Host, ...]


@dataclass(frozen=True, slots=True)
class Trunk:
    """A port that carries these VIDs tagged; VID 0 is the untagged traffic."""

    ranges: tuple[tuple[int, int], ...] = ((0, 4094),)


@dataclass(frozen=True, slots=True)
class Pvlan:
    """A port in a private VLAN; the number is the secondary VID."""

    vid: int


@dataclass(frozen=True, slots=True)
class PvlanEntry:
    """A line of a switch's private VLAN table; kind is promiscuous, isolated or community."""

    primary: int
    secondary: int
    kind: str


@dataclass(frozen=True, slots=True)
class Security:
    """The three security flags of a port group."""

    promiscuous: bool = False
    mac_changes: bool = False
    forged_transmits: bool = False


@dataclass(frozen=True, slots=True)
class MacLearning:
    """Native MAC learning (VDS 6.6 and later)."""

    enabled: bool = True
    limit: int = 4096
    limit_policy: str = "DROP"
    allow_unicast_flooding: bool = True


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a single port of the group may override, and whether it is bared when its NIC goes."""

    vlan: bool = False
    block: bool = True
    security: bool = False
    mac_management: bool = False
    shaping: bool = False
    teaming: bool = False
    traffic_filter: bool = False
    live_port_moving: bool = False
    reset_at_disconnect: bool = True


@dataclass(frozen=True, slots=True)
class PortGroup:
    """A distributed port group.  `vlan` is a VID (0: none), a Trunk or a Pvlan."""

    name: str
    vlan: int | Trunk | Pvlan = 0
    blocked: bool = False
    security: Security | None = None
    mac_learning: MacLearning | None = None
    overrides: Overrides = Overrides()
    num_ports: int = 8
    auto_expand: bool = True
    binding: str = "earlyBinding"
    description: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A host's membership of a switch, with the physical NICs it brings and its VMkernel NICs there."""

    host: str
    pnics: tuple[str, ...] = ()
    vmkernel: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dvs:
    """A distributed switch.  `uplinks` empty: a switch without uplinks.  `members` None: every host, without pnics."""

    name: str
    port_groups: tuple[PortGroup, ...] = ()
    mtu: int = 1500
    uplinks: tuple[str, ...] = ()
    uplink_vlans: tuple[tuple[int, int], ...] | None = None
    members: tuple[Member, ...] | None = None
    pvlans: tuple[PvlanEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Nic:
    """A VM's NIC in a port group.  Without a MAC, vCenter assigns one; `dvs` tells groups of one name apart.

    The guest uses the addresses `ips`, which its tools tell while it runs.
    """

    port_group: str
    mac: str = ""
    dvs: str = ""
    connected: bool = True
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vm:
    """A virtual machine."""

    name: str
    host: str
    nics: tuple[Nic, ...] = ()
    powered_on: bool = True
    uuid: str = ""
    instance_uuid: str = ""
    memory_mb: int = 64
    cpus: int = 1
    annotation: str = ""
    extra_config: Mapping[str, str] = field(default_factory=dict)
    tools: bool = True


@dataclass(frozen=True, slots=True)
class Datacenter:
    """A datacenter: clusters, switches, VMs; VMs begin on the first of the datastores."""

    name: str
    clusters: tuple[Cluster, ...] = ()
    switches: tuple[Dvs, ...] = ()
    vms: tuple[Vm, ...] = ()
    datastores: tuple[str, ...] = ("datastore1",)


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything a simulated vCenter holds at its start."""

    datacenters: tuple[Datacenter, ...]

    @classmethod
    def single(
        cls,
        hosts: Iterable[Host | str],
        switches: Iterable[Dvs] = (),
        vms: Iterable[Vm] = (),
        *,
        datacenter: str = "dc1",
        cluster: str = "cluster1",
    ) -> Topology:
        """One datacenter with one cluster, which is what most tests want."""
        members = tuple(host if isinstance(host, Host) else Host(host) for host in hosts)
        return cls((Datacenter(datacenter, (Cluster(cluster, members),), tuple(switches), tuple(vms)),))

    def render(self) -> Json:
        """The topology as the simulator's JSON."""
        return {"datacenters": [_datacenter(dc) for dc in self.datacenters]}


def _datacenter(dc: Datacenter) -> Json:
    hosts = [host for cluster in dc.clusters for host in cluster.hosts]
    return {
        "name": dc.name,
        "datastores": list(dc.datastores),
        "clusters": [{"name": c.name, "hosts": [_host(h) for h in c.hosts]} for c in dc.clusters],
        "switches": [_dvs(dvs, hosts) for dvs in dc.switches],
        "vms": [_vm(vm) for vm in dc.vms],
    }


def _host(host: Host) -> Json:
    return {
        "name": host.name,
        "uuid": host.uuid,
        "pnics": [_pnic(p) for p in host.pnics],
        "vswitches": [{"name": v.name, "pnics": list(v.pnics), "vmkernel": list(v.vmkernel)} for v in host.vswitches],
    }


def _pnic(pnic: Pnic) -> Json:
    rendered: Json = {"device": pnic.device, "mac": pnic.mac, "speedMb": pnic.speed_mb}
    if pnic.neighbour is not None:
        rendered["neighbour"] = render_neighbour(pnic.neighbour)
    return rendered


def render_neighbour(n: Neighbour) -> Json:
    """A neighbour as the simulator's JSON."""
    return {"protocol": n.protocol, "system": n.system, "port": n.port, "chassis": n.chassis, "vlan": n.vid}


def _dvs(dvs: Dvs, hosts: list[Host]) -> Json:
    members = dvs.members if dvs.members is not None else tuple(Member(host.name) for host in hosts)
    rendered: Json = {
        "name": dvs.name,
        "mtu": dvs.mtu,
        "uplinks": list(dvs.uplinks),
        "members": [{"host": m.host, "pnics": list(m.pnics), "vmkernel": list(m.vmkernel)} for m in members],
        "pvlans": [{"primary": p.primary, "secondary": p.secondary, "type": p.kind} for p in dvs.pvlans],
        "portGroups": [_port_group(pg) for pg in dvs.port_groups],
    }
    if dvs.uplink_vlans is not None:
        rendered["uplinkVlans"] = [list(r) for r in dvs.uplink_vlans]
    return rendered


def _port_group(pg: PortGroup) -> Json:
    rendered: Json = {
        "name": pg.name,
        "vlan": _vlan(pg.vlan),
        "blocked": pg.blocked,
        "numPorts": pg.num_ports,
        "autoExpand": pg.auto_expand,
        "binding": pg.binding,
        "description": pg.description,
        "policy": {
            "block": pg.overrides.block,
            "vlan": pg.overrides.vlan,
            "security": pg.overrides.security,
            "macManagement": pg.overrides.mac_management,
            "shaping": pg.overrides.shaping,
            "teaming": pg.overrides.teaming,
            "trafficFilter": pg.overrides.traffic_filter,
            "livePortMoving": pg.overrides.live_port_moving,
            "resetAtDisconnect": pg.overrides.reset_at_disconnect,
        },
    }
    if pg.security is not None:
        rendered["security"] = {
            "promiscuous": pg.security.promiscuous,
            "macChanges": pg.security.mac_changes,
            "forgedTransmits": pg.security.forged_transmits,
        }
    if pg.mac_learning is not None:
        rendered["macLearning"] = {
            "enabled": pg.mac_learning.enabled,
            "limit": pg.mac_learning.limit,
            "limitPolicy": pg.mac_learning.limit_policy,
            "allowUnicastFlooding": pg.mac_learning.allow_unicast_flooding,
        }
    return rendered


def _vlan(vlan: int | Trunk | Pvlan) -> Json:
    match vlan:
        case Trunk(ranges):
            return {"trunk": [list(r) for r in ranges]}
        case Pvlan(vid):
            return {"pvlan": vid}
        case vid:
            return {"id": vid}


def _vm(vm: Vm) -> Json:
    return {
        "name": vm.name,
        "host": vm.host,
        "uuid": vm.uuid,
        "instanceUuid": vm.instance_uuid,
        "poweredOn": vm.powered_on,
        "memoryMB": vm.memory_mb,
        "cpus": vm.cpus,
        "annotation": vm.annotation,
        "nics": [_nic(nic) for nic in vm.nics],
        "extraConfig": dict(vm.extra_config),
        "noTools": not vm.tools,
    }


def _nic(nic: Nic) -> Json:
    return {
        "portGroup": nic.port_group, "mac": nic.mac, "switch": nic.dvs, "connected": nic.connected, "ips": list(nic.ips)
    }  # fmt: skip
