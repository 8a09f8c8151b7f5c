"""`isthmus_ovsvapp`: a VXLAN segment is a port group of a distributed switch whose hosts have VTEPs of their own.

A port's host is its cluster's nova-compute.  On which ESXi host its VM is, and so behind which VTEP, Neutron does not
know, and need not: `isthmus run` sees it in vCenter, and tells it to those who send there.  Where Neutron's own agent
runs on the appliance, it is that of one ESXi host, has the name of its nova-compute, and tells them itself.
"""

from __future__ import annotations

import logging
from typing import Any

from neutron_lib.constants import AGENT_TYPE_OVS, DEVICE_OWNER_COMPUTE_PREFIX

from isthmus.adapters.neutron.ml2 import preflight, segments
from isthmus.adapters.neutron.ml2.dvs import PortGroupBinder
from isthmus.adapters.neutron.ml2.hosts import our_host
from isthmus.adapters.neutron.protocol import NO_OVERLAY


class IsthmusOvsvappDriver(PortGroupBinder):
    """Binds VXLAN segments of compute ports on vSphere clusters with appliances to port groups."""

    NAME = preflight.OVSVAPP

    def bind_port(self, context: Any) -> None:
        """Bind the network's VXLAN segment, once its port group is there."""
        if context.binding_levels:
            return
        host = our_host(context)
        if host is None or not host.is_overlaid:
            return
        overlay = segments.overlay_of(context.segments_to_bind)
        if overlay is None:
            self.not_bound(context, host.name, NO_OVERLAY)
            return
        if host.is_plugged and not any(agent.get("alive") for agent in context.host_agents(AGENT_TYPE_OVS)):
            self.not_bound(context, host.name, f"no living {AGENT_TYPE_OVS} of host {host.name}, which would wire it")
            return
        self.bind_to_port_group(context, host, overlay, None)

    def not_bound(self, context: Any, host: str, reason: str, *, level: int = logging.ERROR) -> None:
        """And by nobody else: where Neutron's own agent is, its driver would bind a VM's port as `ovs`.

        Nova takes that for another product's, and Neutron a bound port for a good one, which nobody binds again.
        """
        super().not_bound(context, host, reason, level=level)
        if context.current.get("device_owner", "").startswith(DEVICE_OWNER_COMPUTE_PREFIX):
            context.segments_to_bind.clear()  # of this try: ML2 offers each driver in turn the same list
