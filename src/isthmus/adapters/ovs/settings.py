"""How one OVS appliance is reached and what its two bridges are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address

from isthmus.adapters.tls import TlsFiles
from isthmus.model.flow import Bridge
from isthmus.model.names import ovsdb

DATAPATHS = ("system", "netdev")
PATCH_TUN, PATCH_INT, VXLAN, BR_VDS = "patch-tun", "patch-int", "isthmus-vxlan", "br-vds"
OWN_INTERFACES = frozenset({PATCH_TUN, PATCH_INT, VXLAN, BR_VDS, *(bridge.value for bridge in Bridge)})
"""The interfaces of an appliance that are of our making."""


@dataclass(frozen=True, slots=True)
class OvsSettings:
    """One appliance.  Raises ValueError, naming the setting and the remedy, for what cannot work.

    `ovsdb` is ``unix:/run/openvswitch/db.sock``, with `rundir` the directory of the bridges' OpenFlow sockets, or
    ``ssl:host:port``, with an ssl: target per bridge in `openflow` (the bridge is told to listen there).
    """

    trunk: str
    """The appliance's interface in the trunk port group, the NIC that sees the VMs' frames with their VIDs."""
    vtep: str
    """The appliance's own VTEP address; the frames of the overlay come from it."""
    owner: str
    """The installation's name, written on all we make."""
    ovsdb: str = "unix:/run/openvswitch/db.sock"
    rundir: str = "/run/openvswitch"
    openflow: Mapping[Bridge, str] = field(default_factory=dict)
    tls: TlsFiles | None = None
    vxlan_port: int = 4789
    datapath_type: str = "system"
    timeout: float = 10.0
    own_flows: bool = True
    """Its flows are ours.  Else the stock Neutron OVS agent's, which we read only."""

    def __post_init__(self) -> None:
        try:
            IPv4Address(self.vtep)
        except AddressValueError:
            raise ValueError(f"vtep {self.vtep!r} is not an IPv4 address such as 192.0.2.1") from None
        if not re.fullmatch(r"[^\s/]{1,15}", self.trunk):
            raise ValueError(f"trunk {self.trunk!r} is not an interface name such as eth1")
        if self.trunk in OWN_INTERFACES:
            raise ValueError(f"trunk {self.trunk!r} is an interface isthmus makes itself: name the NIC, such as eth1")
        if not self.owner:
            raise ValueError("owner is empty: name the installation, so that its bridges can be told from others'")
        if self.datapath_type not in DATAPATHS:
            raise ValueError(f"datapath_type {self.datapath_type!r} is neither of {', '.join(DATAPATHS)}")
        if not 0 < self.vxlan_port < 2**16:
            raise ValueError(f"vxlan_port {self.vxlan_port} is not in 1..65535")
        try:
            ovsdb(self.ovsdb)
        except ValueError as wrong:
            raise ValueError(f"ovsdb {wrong}") from None
        if self.ovsdb.startswith("ssl:"):
            self._check_ssl()

    def _check_ssl(self) -> None:
        if not self.own_flows:
            raise ValueError(
                f"ovsdb {self.ovsdb}: with Neutron's own agent isthmus runs on the appliance (unix:/absolute/path), as "
                "the agent's flows can be read nowhere else"
            )
        if self.tls is None:
            raise ValueError(f"ovsdb {self.ovsdb} needs tls: a private key, a certificate and the CA's certificate")
        for bridge, target in self.openflow.items():
            if not target.startswith("ssl:") or not _is_place(target):
                raise ValueError(f"{bridge.value} {target!r} is not of the form ssl:host:port")
        missing = [bridge.value for bridge in Bridge if bridge not in self.openflow]
        if missing:
            raise ValueError(f"ovsdb {self.ovsdb} needs an OpenFlow target ssl:host:port for {' and '.join(missing)}")

    def openflow_target(self, bridge: Bridge) -> str:
        """Where ovs-ofctl finds a bridge."""
        return self.openflow.get(bridge) or f"unix:{self.rundir}/{bridge.value}.mgmt"

    def listener(self, bridge: Bridge) -> str | None:
        """Where the bridge must listen for us beside its unix socket."""
        target = self.openflow.get(bridge, "")
        return f"pssl:{target.rpartition(':')[2]}" if target.startswith("ssl:") else None


def _is_place(target: str) -> bool:
    try:
        return bool(ovsdb(target))
    except ValueError:
        return False
