"""Give an instance-ip an address of its network.  An address is free when no object of the network holds it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lab.contrail.refusals import Refused
from lab.contrail.schema import Json

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Subnet:
    id: str
    network: IPv4Network | IPv6Network
    gateway: Address
    dns: Address
    pools: tuple[tuple[Address, Address], ...]

    @property
    def reserved(self) -> set[Address]:
        """What the server never gives away by itself."""
        return {self.network.network_address, self.network.broadcast_address, self.gateway, self.dns}

    def offers(self, address: Address) -> bool:
        if address not in self.network:
            return False
        return not self.pools or any(int(first) <= int(address) <= int(last) for first, last in self.pools)

    def candidates(self) -> Iterator[Address]:
        """Upwards from its beginning."""
        spans = self.pools or ((self.network[0], self.network[-1]),)
        for first, last in spans:
            for number in range(int(first), int(last) + 1):
                yield type(first)(number)


def completed(given: Json) -> Json:
    """A subnet of a network as the server keeps it: with its gateway, name server and id."""
    prefix = given["subnet"]
    try:
        network = ip_network(f"{prefix['ip_prefix']}/{prefix['ip_prefix_len']}", strict=False)
    except ValueError as fault:
        raise Refused(400, f"Bad reference: Subnet type is invalid: {fault}") from fault
    made = {
        "enable_dhcp": True,
        "default_gateway": str(network[1]),
        "dns_server_address": str(network[2]),
        "subnet_uuid": str(uuid.uuid4()),
        **{name: value for name, value in given.items() if value is not None},
        "subnet": {"ip_prefix": str(network.network_address), "ip_prefix_len": network.prefixlen},
    }
    if ip_address(made["default_gateway"]) not in network:
        raise Refused(409, f"gateway {made['default_gateway']} is not in the subnet {network}")
    return made


def subnets(virtual_network: Json) -> list[Subnet]:
    """Those of a network, over all its IPAMs, in their order."""
    return [
        _subnet(given)
        for ref in virtual_network.get("network_ipam_refs", ())
        for given in (ref["attr"] or {}).get("ipam_subnets", ())
        if given.get("subnet")
    ]


def check_overlap(those: Sequence[Subnet]) -> None:
    for number, one in enumerate(those):
        for other in those[:number]:
            if one.network.version == other.network.version and one.network.overlaps(other.network):
                raise Refused(400, f"Overlapping addresses: {[str(other.network), str(one.network)]}")


def is_gateway(those: Sequence[Subnet], wanted: str) -> bool:
    return any(subnet.gateway == ip_address(wanted) for subnet in those)


def allocate(
    name: Sequence[str],
    those: Sequence[Subnet],
    taken: Collection[str],
    wanted: str | None = None,
    family: str | None = None,
    subnet_id: str | None = None,
) -> tuple[str, Subnet]:
    """An address, and whose it is.  Raises Refused: taken, outside, exhausted."""
    if not those:
        raise Refused(400, f"Virtual-Network({list(name)}) has no defined subnet(s)")
    version = {"v4": 4, "v6": 6}.get(family or "")
    within = [
        subnet
        for subnet in those
        if (not subnet_id or subnet.id == subnet_id) and version in (None, subnet.network.version)
    ]
    held = {ip_address(address) for address in taken}
    found = _given(within, held, ip_address(wanted)) if wanted else _free(within, held)
    if found is None:
        # For an address outside, the server says that it has exhausted no subnets.
        tried = [] if wanted else [str(subnet.network) for subnet in within]
        raise Refused(400, f"Virtual-Network({list(name)}) has exhausted subnet({tried})")
    return str(found[0]), found[1]


def _given(within: Sequence[Subnet], held: set[Address], wanted: Address) -> tuple[Address, Subnet] | None:
    for subnet in within:
        if wanted == subnet.gateway:
            return wanted, subnet
        if wanted in held or wanted in subnet.reserved:
            raise Refused(409, "IP address already in use")
        if subnet.offers(wanted):
            return wanted, subnet
    return None


def _free(within: Sequence[Subnet], held: set[Address]) -> tuple[Address, Subnet] | None:
    for subnet in within:
        unusable = held | subnet.reserved
        for address in subnet.candidates():
            if address not in unusable:
                return address, subnet
    return None


def _subnet(kept: Json) -> Subnet:
    prefix = kept["subnet"]
    return Subnet(
        kept["subnet_uuid"],
        ip_network(f"{prefix['ip_prefix']}/{prefix['ip_prefix_len']}"),
        ip_address(kept["default_gateway"]),
        ip_address(kept["dns_server_address"]),
        tuple((ip_address(pool["start"]), ip_address(pool["end"])) for pool in kept.get("allocation_pools") or ()),
    )
