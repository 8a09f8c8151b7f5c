"""What happens to the hosts and VMs of a simulated vCenter without any client asking for it."""

from __future__ import annotations

from collections.abc import Sequence

from lab.vcenter.control import Control
from lab.vcenter.topology import Neighbour, render_neighbour


class Hosts:
    """The hosts of one simulator, by name."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def lose(self, host: str) -> None:
        """The host does not respond any more; its VMs run on."""
        self._control.do("hosts.lose", host=host)

    def find(self, host: str) -> None:
        """The host responds again."""
        self._control.do("hosts.find", host=host)

    def die(self, host: str, *, restart: bool = True) -> tuple[str, ...]:
        """The host dies, and HA starts its VMs on others (if `restart`); their names.  Works while vCenter is away."""
        return tuple(self._control.do("hosts.die", host=host, restart=restart))

    def hear(self, host: str, device: str, neighbour: Neighbour | None) -> None:
        """The physical NIC hears this switch at the other end of its cable from now on; None: nobody."""
        told = None if neighbour is None else render_neighbour(neighbour)
        self._control.do("hosts.hear", host=host, device=device, neighbour=told)


class Vms:
    """The VMs of one simulator, by name."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def drs(self, vm: str, to: str) -> None:
        """DRS moves the VM, with its events; returns when it has arrived."""
        self._control.do("vms.drs", vm=vm, host=to)

    def appear(self, vm: str, on: str) -> None:
        """The VM is on another host from one moment to the next, and no event says so."""
        self._control.do("vms.appear", vm=vm, host=on)

    def conflict(self, vm: str, *, nic: int = 4000) -> None:
        """The NIC is on a port that its host made by itself: a conflict port, whose state vCenter does not keep."""
        self._control.do("ports.conflict", vm=vm, nic=nic)

    def addresses(self, vm: str, ips: Sequence[str], *, nic: int = 4000) -> None:
        """The guest uses these addresses now, as its tools tell in guest.net."""
        self._control.do("vms.addresses", vm=vm, nic=nic, ips=list(ips))
