"""The designs: five choices each, and the reasons why some combinations cannot work.

A port group's VID is shared by every port and every host on its distributed switch, so it cannot carry a per-port,
a per-host or, if the switch spans leaves, a per-leaf tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from isthmus.model.place import PlaceKind


class IntentFrom(Enum):
    """Where wanted networks come from."""

    NEUTRON = "Neutron"
    CONTRAIL = "Contrail api-server"
    FILE = "file"


class TagScope(Enum):
    """Within what a tag is a name."""

    HOST = "ESXi host"
    CLUSTER = "cluster"
    LEAF = "leaf"
    FABRIC = "fabric"


class TagSubject(Enum):
    """What a tag names."""

    NETWORK = "network"
    PORT = "port"


class NveKind(Enum):
    """What encapsulates; the value is the kind of its TargetId."""

    OVS = "ovs"  # an OVS appliance VM on each host, programmed by us
    STOCK_OVS = "stock-ovs"  # an OVS appliance VM on each host, programmed by the stock Neutron OVS agent
    VROUTER = "vrouter"  # the vRouter agent on each host
    LEAF = "leaf"  # leaf switches

    @property
    def on_each_host(self) -> bool:
        """One NVE per ESXi host, as opposed to one per leaf."""
        return self is not NveKind.LEAF

    @property
    def filters_late(self) -> bool:
        """What filters a port there is not ours, and does so some time after the port was plugged in."""
        return self is NveKind.STOCK_OVS

    @property
    def keeps_workloads(self) -> bool:
        """Its SDN knows of a VM, and of its ports, what we tell of them."""
        return self is NveKind.VROUTER

    @property
    def knows_ports(self) -> bool:
        """It takes one port at a time rather than whole networks."""
        return self in (NveKind.STOCK_OVS, NveKind.VROUTER)


@dataclass(frozen=True, slots=True)
class Design:
    """One way to join vSphere to an overlay.  Raises ValueError, with every reason, for choices that cannot work."""

    name: str
    intents: frozenset[IntentFrom]
    scope: TagScope
    subject: TagSubject
    place: PlaceKind
    nve: NveKind

    def __post_init__(self) -> None:
        reasons = list(_misfits(self))
        if reasons:
            raise ValueError(f"design '{self.name}' cannot work: " + "; ".join(reasons))


def _misfits(design: Design) -> Iterator[str]:
    per_port = design.subject is TagSubject.PORT
    if not design.intents:
        yield "it takes its intent from nowhere"
    match design.place:
        case PlaceKind.DV_PORT_GROUP:
            if per_port:
                yield "a port group's VID is shared by all its ports, so it cannot be a port's own"
            if design.scope is TagScope.HOST:
                yield "a port group's VID is the same on every host of its switch, so it cannot differ by host"
        case PlaceKind.HOST_PORT_GROUP:
            if per_port:
                yield "a standard switch has room for some hundred port groups, so a port cannot have one of its own"
            if design.scope is not TagScope.HOST:
                yield "a standard switch ends at its host, so its port groups' VIDs cannot be agreed beyond it"
        case PlaceKind.DV_PORT:
            if design.scope is not TagScope.HOST:
                yield "an override is written for the host that the port is on, so its scope is that host"
    if design.nve.on_each_host and design.scope in (TagScope.LEAF, TagScope.FABRIC):
        yield f"the NVE is on each ESXi host, so a tag's scope cannot be the {design.scope.value}"
    if not design.nve.on_each_host and design.scope in (TagScope.HOST, TagScope.CLUSTER):
        yield "a leaf has one VLAN map for all hosts below it, so a tag's scope is the leaf or the fabric"
    if design.nve.knows_ports and not per_port:
        yield f"a {design.nve.value} knows a VID as one port, so each port needs a tag of its own"
    if not design.nve.knows_ports and per_port:
        yield f"a {design.nve.value} NVE maps a VID to a network, so it cannot tell ports apart by tag"
    if (IntentFrom.CONTRAIL in design.intents) != (design.nve is NveKind.VROUTER):
        yield "Contrail's networks end in vRouter agents, and only its do"


def unfit_switch(design: Design, scopes_of_hosts: Iterable[str]) -> str | None:
    """Why a distributed switch whose hosts lie in these tag scopes (by name) cannot serve `design`; None if it can."""
    if design.place is not PlaceKind.DV_PORT_GROUP:
        return None
    spanned = sorted(set(scopes_of_hosts))
    if len(spanned) < 2:
        return None
    kind = design.scope.value
    return (
        f"its hosts lie in {len(spanned)} scopes of kind {kind} ({', '.join(spanned)}), but a port group has one VID "
        f"on the whole switch: give each {kind} a distributed switch of its own"
    )


_FILE_OR_NEUTRON = frozenset({IntentFrom.NEUTRON, IntentFrom.FILE})

CONTRAIL = Design(
    "contrail",
    frozenset({IntentFrom.CONTRAIL}),
    TagScope.HOST,
    TagSubject.PORT,
    PlaceKind.DV_PORT,
    NveKind.VROUTER,
)
OVSVAPP = Design("ovsvapp", _FILE_OR_NEUTRON, TagScope.HOST, TagSubject.NETWORK, PlaceKind.DV_PORT, NveKind.OVS)
OVSVAPP_CLUSTER = Design(
    "ovsvapp-cluster", _FILE_OR_NEUTRON, TagScope.CLUSTER, TagSubject.NETWORK, PlaceKind.DV_PORT_GROUP, NveKind.OVS
)
OVSVAPP_PORT = Design(
    "ovsvapp-port",
    frozenset({IntentFrom.NEUTRON}),
    TagScope.HOST,
    TagSubject.PORT,
    PlaceKind.DV_PORT,
    NveKind.STOCK_OVS,
)
OVSVAPP_VSS = Design(
    "ovsvapp-vss", _FILE_OR_NEUTRON, TagScope.HOST, TagSubject.NETWORK, PlaceKind.HOST_PORT_GROUP, NveKind.OVS
)
VDS_STATIC = Design(
    "vds-static", _FILE_OR_NEUTRON, TagScope.FABRIC, TagSubject.NETWORK, PlaceKind.DV_PORT_GROUP, NveKind.LEAF
)
VDS_LEAF = Design(
    "vds-leaf", _FILE_OR_NEUTRON, TagScope.LEAF, TagSubject.NETWORK, PlaceKind.DV_PORT_GROUP, NveKind.LEAF
)

DESIGNS: Mapping[str, Design] = MappingProxyType(
    {
        design.name: design
        for design in (CONTRAIL, OVSVAPP, OVSVAPP_CLUSTER, OVSVAPP_PORT, OVSVAPP_VSS, VDS_STATIC, VDS_LEAF)
    }
)
