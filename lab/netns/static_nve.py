"""An NVE of fixed flows, written once from a description of the whole world: the control in comparisons with isthmus.

It knows beforehand what a controller has to find out: each network's VID on each host, where each VM's MAC may be.

    br-int   trunk0 <-> patch, the VIDs of the networks only
    br-tun   0 from br-int -> 1, from the tunnel -> 2
             1 VID -> VNI, tag off; a known MAC to its VTEPs, all else to the VTEPs of the network
             2 VNI -> VID, tag on, to br-int
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab.netns.appliance import TRUNK, Appliance
from lab.netns.ovs import in_order

_PATCH, _TRUNK, _TUNNEL = 1, 2, 3


@dataclass(frozen=True, slots=True)
class StaticNetwork:
    """`stations`: for each MAC the hosts where it may be.  Two, if it is about to move between them."""

    vni: int
    vids: Mapping[str, int]
    stations: Mapping[str, tuple[str, ...]]


def install(appliances: Iterable[Appliance], networks: Iterable[StaticNetwork]) -> None:
    appliances, networks = list(appliances), list(networks)
    vteps = {appliance.host: appliance.vtep.ip for appliance in appliances}
    for appliance in appliances:
        appliance.ovs.vsctl(*in_order(_bridges(appliance)))
        appliance.ovs.replace_flows("br-int", _br_int(appliance.host, networks))
        appliance.ovs.replace_flows("br-tun", _br_tun(appliance.host, networks, vteps))


def remove(appliances: Iterable[Appliance]) -> None:
    for appliance in appliances:
        appliance.ovs.vsctl(*in_order([["--if-exists", "del-br", bridge] for bridge in ("br-int", "br-tun")]))


def _bridges(appliance: Appliance) -> Iterator[list[str]]:
    for bridge in ("br-int", "br-tun"):
        yield ["add-br", bridge]
        protocols = "protocols=OpenFlow13,OpenFlow14"
        yield ["set", "bridge", bridge, "datapath_type=netdev", "fail_mode=secure", protocols]
    for bridge, port, peer in (("br-int", "patch-tun", "patch-int"), ("br-tun", "patch-int", "patch-tun")):
        yield ["add-port", bridge, port]
        yield ["set", "interface", port, "type=patch", f"options:peer={peer}", f"ofport_request={_PATCH}"]
    yield ["add-port", "br-int", TRUNK]
    yield ["set", "interface", TRUNK, f"ofport_request={_TRUNK}"]
    yield ["add-port", "br-tun", "vxlan0"]
    options = [f"options:{key}" for key in ("key=flow", "remote_ip=flow", f"local_ip={appliance.vtep.ip}")]
    yield ["set", "interface", "vxlan0", "type=vxlan", *options, f"ofport_request={_TUNNEL}"]


def _br_int(host: str, networks: Iterable[StaticNetwork]) -> Iterator[str]:
    for network in networks:
        if host in network.vids:
            vid = network.vids[host]
            yield f"in_port={_TRUNK},dl_vlan={vid},actions=output:{_PATCH}"
            yield f"in_port={_PATCH},dl_vlan={vid},actions=output:{_TRUNK}"


def _br_tun(host: str, networks: Iterable[StaticNetwork], vteps: Mapping[str, IPv4Address]) -> Iterator[str]:
    yield f"table=0,in_port={_PATCH},actions=resubmit(,1)"
    yield f"table=0,in_port={_TUNNEL},actions=resubmit(,2)"
    for network in networks:
        vid = network.vids.get(host)
        if vid is None:
            continue
        yield (
            f"table=2,tun_id={network.vni},actions=push_vlan:0x8100,set_field:{vid | 0x1000}->vlan_vid,output:{_PATCH}"
        )
        for mac, places in network.stations.items():
            remote = [vteps[place] for place in places if place != host]
            yield f"table=1,priority=20,dl_vlan={vid},dl_dst={mac},actions={_tunnelled(network.vni, remote)}"
        others = [vteps[place] for place in network.vids if place != host]
        yield f"table=1,priority=10,dl_vlan={vid},actions={_tunnelled(network.vni, others)}"


def _tunnelled(vni: int, vteps: Iterable[IPv4Address]) -> str:
    copies = [f"set_field:{vtep}->tun_dst,output:{_TUNNEL}" for vtep in vteps]
    return ",".join(["strip_vlan", f"set_field:{vni}->tun_id", *copies]) if copies else "drop"
