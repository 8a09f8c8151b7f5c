"""Where a VID is a name (its scope), what it names (its subject), and the two joined (a binding).

A round makes, hashes and compares those of single hosts, switches, networks and ports by the ten thousand, so these are
tuples.  Where two kinds of tuple meet they differ in length or in the type of an item: none equals one of another kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from isthmus.model.names import ClusterId, DvsId, HostId, LeafId, PortId
from isthmus.model.tags import Vid, Vni


class HostScope(NamedTuple):
    """One switch of one ESXi host: a DVS by uuid, or a standard switch by name."""

    host: HostId
    switch: str

    def __str__(self) -> str:
        return f"host {self.host} switch {self.switch}"


@dataclass(frozen=True, slots=True, order=True)
class ClusterScope:
    """All hosts of a cluster."""

    cluster: ClusterId

    def __str__(self) -> str:
        return f"cluster {self.cluster}"


@dataclass(frozen=True, slots=True, order=True)
class LeafScope:
    """All hosts below one leaf, or leaf pair."""

    leaf: LeafId

    def __str__(self) -> str:
        return f"leaf {self.leaf}"


@dataclass(frozen=True, slots=True, order=True)
class FabricScope:
    """All leaves of a fabric, by its configured name."""

    fabric: str

    def __str__(self) -> str:
        return f"fabric {self.fabric}"


class SwitchScope(NamedTuple):
    """A whole distributed switch: the move domain of its DV ports, since a move carries an override along."""

    dvs: DvsId

    def __str__(self) -> str:
        return f"switch {self.dvs}"


Scope: TypeAlias = HostScope | ClusterScope | LeafScope | FabricScope
Domain: TypeAlias = HostScope | ClusterScope | LeafScope | FabricScope | SwitchScope
"""Where a VID has one subject at most."""


class NetworkSubject(NamedTuple):
    """A network, by the name the overlay knows it by."""

    vni: Vni

    def __str__(self) -> str:
        return f"VNI {int(self.vni)}"


class PortSubject(NamedTuple):
    """One port, where every VM NIC wears a tag of its own."""

    port: PortId

    def __str__(self) -> str:
        return f"port {self.port}"


@dataclass(frozen=True, slots=True, order=True)
class ForeignSubject:
    """Something that is not ours and wears a VID: a reserved tag, never written."""

    what: str

    def __str__(self) -> str:
        return self.what


Subject: TypeAlias = NetworkSubject | PortSubject | ForeignSubject


@dataclass(frozen=True, slots=True)
class VlanBinding:
    """In `scope`, `vid` means `subject`."""

    scope: Scope
    vid: Vid
    subject: Subject
