"""The scene of `make demo-vds`: the site, the VMs that steps have left on it, and how they act."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lab.netns.guest import Guest
from lab.netns.stage import until
from lab.openstack.retiring import Left
from lab.openstack.site import Site, Vm

ESX1, ESX2, ESX3, ESX4 = "esx1.lab", "esx2.lab", "esx3.lab", "esx4.lab"
SUBNET = "10.0.0.0/24"
PATIENCE = 60.0


@dataclass(slots=True)
class Scene:
    site: Site
    networks: dict[str, str] = field(default_factory=dict)
    """Of each name, the id in Neutron."""
    vms: dict[str, Vm] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    """Of each security group's name, the id in Neutron."""
    control: list[int] = field(default_factory=list)
    """Pings lost beyond the stun in vMotions without isthmus."""
    left: list[Left] = field(default_factory=list)
    """Racks that the last VM of a network has left."""

    def network(self, name: str, cidr: str = SUBNET, *, secured: bool = True) -> str:
        """`secured`: its ports are, as Neutron makes them."""
        more = {} if secured else {"port_security_enabled": False}
        made = self.networks[name] = self.site.rest.network(name, cidr, **more)
        return made

    def vm(self, name: str, network: str, host: str, *, by_dhcp: bool = False, **more: Any) -> Vm:
        """`more`: of its port in Neutron."""
        made = self.vms[name] = self.site.vm(name, self.networks[network], host, by_dhcp=by_dhcp, **more)
        return made

    def guest(self, name: str) -> Guest:
        return self.vms[name].guest

    def vni(self, network: str) -> int:
        return self.site.vni_of(self.networks[network])

    def talks(self, one: str, other: str, patience: float = PATIENCE) -> float | None:
        """Seconds until one VM gets answers of another; None if it gets none."""
        return until(lambda: self.guest(one).reaches(self.vms[other].address, 0.5), patience)

    def active(self, *names: str, patience: float = PATIENCE) -> float | None:
        """Seconds until Neutron calls the VMs' ports ACTIVE."""
        return until(lambda: self.site.are_active(*(self.vms[name] for name in names)), patience)

    def told(self) -> dict[str, str]:
        """What each leaf was told."""
        return {leaf: self.site.told(leaf) for leaf in self.site.leaves}
