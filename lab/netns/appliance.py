"""The OVS appliance of one ESXi host as it is delivered: Open vSwitch, br-phy with underlay NIC and VTEP, a trunk NIC.

br-int and br-tun are made by whoever is its NVE, isthmus or the lab's own static one.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab.netns import namespace
from lab.netns.ovs import OpenVswitch, in_order
from lab.netns.process import Processes

TRUNK, UNDERLAY = "trunk0", "phy0"
INTERFACES = (TRUNK, UNDERLAY)
"""The appliance's NICs, in the order of the VM's hardware."""
UNPLUG = Path(__file__).parents[2] / "packaging/systemd/isthmus-unplug.service"


@dataclass(frozen=True, slots=True)
class Appliance:
    host: str
    vm: str
    vtep: IPv4Interface
    ovs: OpenVswitch

    @property
    def namespace(self) -> str:
        return self.ovs.namespace

    def boot(self, processes: Processes, mtu: int) -> None:
        """What happens when the appliance is powered on."""
        namespace.ip(self.namespace, (f"link set {name} mtu {mtu}" for name in INTERFACES))
        self.ovs.start(processes)
        self.ovs.vsctl(*in_order(_br_phy(mtu)))
        # OVS encapsulates by itself only if the VTEP address is on a bridge of its own that leads to the peers.
        namespace.ip(self.namespace, [f"addr add {self.vtep} dev br-phy", "link set br-phy up"])

    @property
    def own_bridges(self) -> list[str]:
        """Bridges an NVE has made."""
        return [bridge for bridge in self.ovs.bridges() if bridge != "br-phy"]


def unplug_at_boot(ovs: OpenVswitch) -> None:
    """What systemd runs before the Neutron agent, on an appliance that has one."""
    (line,) = (line for line in UNPLUG.read_text().splitlines() if line.startswith("ExecStart="))
    words = shlex.split(line.removeprefix("ExecStart=").replace("$$", "$"))
    subprocess.run(words, env={**os.environ, "OVS_RUNDIR": str(ovs.rundir)}, check=True)


def _br_phy(mtu: int) -> list[list[str]]:
    return [
        ["add-br", "br-phy"],
        ["set", "bridge", "br-phy", "datapath_type=netdev"],
        # The bridge speaks with the NIC's own MAC (OVS takes it over), since the uplink switch allows no other.
        ["add-port", "br-phy", UNDERLAY],
        ["set", "interface", "br-phy", f"mtu_request={mtu}"],
    ]
