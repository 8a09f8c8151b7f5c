"""What virtual networks and VMIs mean in our words: the networks that get port groups, and ports that others made.

Law: what cannot be had as it stands is left out and said, and costs the others nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

from isthmus.adapters.contrail.api import Fields
from isthmus.adapters.contrail.shapes import ODD, without_odd
from isthmus.model.intent import Doubt, Intent, Network, Port
from isthmus.model.names import NetworkId, PortId, VmId, unicast_mac
from isthmus.model.tags import Vni

NETWORK, VMI, ADDRESS = "virtual-network", "virtual-machine-interface", "instance-ip"
DEFAULT_DOMAIN = "default-domain"
SYSTEM_PROJECT = [DEFAULT_DOMAIN, "default-project"]
SYSTEM = frozenset({"ip-fabric", "__link_local__", "default-virtual-network", "dci-network"})
"""The server's own networks in that project; every other of its own is not `user_visible`."""
IPAMS = "network_ipam_refs"
NETWORK_FIELDS = ("virtual_network_network_id", IPAMS, "id_perms", "external_ipam")
PORT_FIELDS = (
    "virtual_machine_interface_mac_addresses",
    "virtual_machine_refs",
    "virtual_network_refs",
    "id_perms",
)
ADDRESS_FIELDS = ("instance_ip_address", "virtual_machine_interface_refs")
FROM_GUESTS = "has external_ipam: what addresses its VMs use only VMware Tools can tell; say guest_addresses = true"
KINDS: Mapping[str, tuple[str, ...]] = {
    NETWORK: NETWORK_FIELDS,
    VMI: (*PORT_FIELDS, "annotations"),
    ADDRESS: ADDRESS_FIELDS,
}
"""All that is read here of many objects: their fields beside ``uuid`` and ``fq_name``."""
PERMS = ("creator", "enable", "user_visible")
"""What is of interest in `id_perms`, which also say when an object was changed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which virtual networks concern us: those of some projects (``domain:project``), or of all.

    `listed`: VMs and VMIs are made by others (Nova and Neutron), so that only the VMIs there are belong.
    """

    projects: frozenset[str] = frozenset()
    listed: bool = False
    reads_guests: bool = False
    """VMware Tools are asked for the addresses that guests use."""

    def has(self, fq_name: Sequence[str]) -> bool:
        """Whether a network of this name is one of them."""
        if list(fq_name[:-1]) == SYSTEM_PROJECT and fq_name[-1] in SYSTEM:
            return False
        return not self.projects or project_of(fq_name) in self.projects


def project_of(fq_name: Sequence[str]) -> str:
    """The project of a network, as it is configured."""
    return ":".join(fq_name[:-1])


def project_named(text: str) -> str:
    """A configured project with its domain, which may be left out."""
    return text if ":" in text else f"{DEFAULT_DOMAIN}:{text}"


def intent_of(
    choice: Choice, networks: Iterable[Fields], ports: Iterable[Fields] = (), addresses: Iterable[Fields] = ()
) -> Intent:
    """The intent that these lists make."""
    doubts: list[Doubt] = []
    found = {network.id: network for network in _networks(choice, networks, doubts)}
    listed = {port.id: port for port in _ports(found, ports, addresses, doubts)} if choice.listed else {}
    return Intent(found, listed, doubts=tuple(doubts))


def _networks(choice: Choice, listed: Iterable[Fields], doubts: list[Doubt]) -> Iterator[Network]:
    for fields in listed:
        name = fields["fq_name"]
        if not choice.has(name) or not _perms(fields).get("user_visible", True):
            continue
        about = f"network {fields['uuid']}"
        odd = fields.get(ODD, ())
        if odd:
            doubts.append(Doubt(about, f"virtual network {':'.join(name)}: {strange(odd)}"))
        if not any(_subnets(fields)) and IPAMS not in odd:
            doubts.append(
                Doubt(about, f"virtual network {':'.join(name)} has no subnet: it gets a port group with one")
            )
            continue
        try:
            vni = Vni(int(fields["virtual_network_network_id"]))
        except (KeyError, TypeError, ValueError):
            doubts.append(
                Doubt(about, f"virtual network {':'.join(name)} has no network id: the api-server gives it one")
            )
            continue
        network = Network(NetworkId(fields["uuid"]), vni, str(name[-1]), ports_listed=choice.listed)
        if fields.get("external_ipam") is True and not choice.listed:
            network = replace(network, guests_choose=True, subnets=tuple(_prefixes(fields)))
            if not choice.reads_guests:
                doubts.append(Doubt(about, f"virtual network {':'.join(name)} {FROM_GUESTS}"))
        yield network


def _subnets(fields: Fields) -> Iterator[Any]:
    for ref in fields.get(IPAMS) or ():
        yield from (ref.get("attr") or {}).get("ipam_subnets") or ()


def _prefixes(fields: Fields) -> Iterator[str]:
    """Its subnets, as far as they are any."""
    for item in _subnets(fields):
        try:
            subnet = item["subnet"]
            yield str(ip_network(f"{subnet['ip_prefix']}/{subnet['ip_prefix_len']}", strict=False))
        except (KeyError, TypeError, ValueError):
            continue


def _ports(
    networks: Mapping[NetworkId, Network], listed: Iterable[Fields], addresses: Iterable[Fields], doubts: list[Doubt]
) -> Iterator[Port]:
    known = addresses_in(addresses)
    for fields in listed:
        vms, nets = (fields.get(refs) or [] for refs in ("virtual_machine_refs", "virtual_network_refs"))
        if odd := fields.get(ODD):
            doubts.append(Doubt(f"port {fields['uuid']}", strange(odd)))
        if len(vms) != 1 or len(nets) != 1 or nets[0]["uuid"] not in networks:
            continue  # a gateway's or a service's, or of a network that is not ours
        macs = (fields.get("virtual_machine_interface_mac_addresses") or {}).get("mac_address") or [""]
        try:
            mac = unicast_mac(macs[0])
        except ValueError as wrong:
            doubts.append(Doubt(f"port {fields['uuid']}", f"it has no MAC that a NIC can have: {wrong}"))
            continue
        port = PortId(fields["uuid"])
        yield Port(
            port,
            NetworkId(nets[0]["uuid"]),
            VmId(vms[0]["uuid"]),
            mac,
            tuple(known.get(port, ())),
            admin_up=bool(_perms(fields).get("enable", True)),
        )


def strange(odd: Sequence[str]) -> str:
    """What is said of an object with such fields."""
    return f"what the api-server says of its {', '.join(odd)} makes no sense, and is left aside"


def narrow(kind: str, fields: Fields) -> Fields:
    """An object without what nobody here asks for, so that two are equal if nothing of interest differs."""
    kept = without_odd({name: fields[name] for name in KINDS[kind] if fields.get(name) is not None})
    kept |= {"uuid": fields["uuid"], "fq_name": [str(part) for part in fields["fq_name"]] or [fields["uuid"]]}
    if "id_perms" in kept:
        kept["id_perms"] = {name: value for name, value in _perms(kept).items() if name in PERMS}
    return kept


def addresses_in(addresses: Iterable[Fields]) -> Mapping[str, list[str]]:
    """The addresses of each VMI, by its uuid, in an order that is the same however they were read."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for fields in addresses:
        for ref in fields.get("virtual_machine_interface_refs") or ():
            if address := fields.get("instance_ip_address"):
                found[ref["uuid"]].append(address)
    return {vmi: sorted(these) for vmi, these in found.items()}


def _perms(fields: Fields) -> Mapping[str, object]:
    return fields.get("id_perms") or {}
