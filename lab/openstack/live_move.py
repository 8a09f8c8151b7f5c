"""A VM that moves to another rack alive, as Nova does it: ready there, moved there, active there, then forgotten here.

    second binding, inactive -> port group and leaf there -> "migrating_to" -> vCenter moves the VM
        -> the second binding is activated -> the first one is deleted

Nova 34 does each of these steps but one: it moves the VM with the port group of its *active* binding, which no host of
another switch has.  Here the VM gets the port group that the second binding names, as a Nova that can would do it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.netns.control import Stunned
from lab.netns.stage import until
from lab.openstack.racks import Rack
from lab.openstack.rest import Failed
from lab.openstack.site import Site, Vm

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Followed:
    """A move, and when another leaf had been told of it and did as it was told, on the machine's clock; None: never."""

    stun: Stunned
    told: float | None
    done: float | None

    def after(self, when: float | None) -> float | None:
        """Seconds since the end of the stun."""
        return None if when is None else when - (self.stun.ended or 0.0)


@dataclass(frozen=True, slots=True)
class LiveMove:
    """Of one VM, from the rack where it is to a host of another one."""

    site: Site
    vm: Vm
    network: str
    source: Rack
    target: Rack

    def refused(self) -> str | None:
        """What Neutron's log says when it does not take the second binding; None if it took it."""
        try:
            self.bind()
        except Failed:
            return self.site.neutron.said(f"port {self.vm.port} is not bound on host {self.target.compute}")
        return None

    def bind(self) -> Mapping[str, Any]:
        """The second binding, which is inactive."""
        return self.site.rest.bind_elsewhere(self.vm.port, self.target.compute)

    def announce(self) -> None:
        """Tell Neutron where the VM goes, at which it binds the port anew where it is; returns when Nova is told so."""
        before = self.site.nova.plugged(self.vm.port)
        self.site.rest.update("ports", self.vm.port, {"binding:profile": {"migrating_to": self.target.compute}})
        if until(lambda: self.site.nova.plugged(self.vm.port) > before, PATIENCE) is None:
            raise TimeoutError(f"Nova is not told that port {self.vm.port} is plugged in, and would give up here")

    def go(self, host: str, binding: Mapping[str, Any]) -> Stunned:
        """vCenter moves it, into the port group that the binding names."""
        return self.site.relocate(self.vm.guest.name, host, self.site.group_of(binding))

    def arrived(self) -> None:
        """The second binding is the active one, and the first is no more."""
        self.site.rest.activate(self.vm.port, self.target.compute)
        self.site.rest.unbind(self.vm.port, self.source.compute)

    def roll_back(self) -> None:
        """It stays where it is."""
        self.site.rest.unbind(self.vm.port, self.target.compute)

    # --- what is there

    def follow(self, leaf: str, host: str, binding: Mapping[str, Any]) -> Followed:
        """Go, and watch another rack's leaf."""
        vni, mac, switch = self.site.vni_of(self.network), self.vm.guest.mac, self.site.leaves[leaf]
        before = switch.outputs(mac)
        stun = self.go(host, binding)
        told = until(lambda: self.site.sends_to(leaf, vni, mac) == {self.target.vtep})
        told_at = time.monotonic()
        done = until(lambda: switch.outputs(mac) not in (before, frozenset()))
        return Followed(stun, told_at if told is not None else None, time.monotonic() if done is not None else None)

    def is_ready(self) -> bool:
        """Port group and mapping are there, at the target."""
        vid = self.vid(self.target)
        return vid is not None and self.site.maps(self.target, vid)

    def vid(self, rack: Rack) -> int | None:
        """What the network's port group in a rack has; None: it has no port group there."""
        return self.site.vids_of(self.network).get(rack.name)
