"""`isthmus_ovsvapp`: a VXLAN segment is a port group of a distributed switch whose hosts have VTEPs of their own.

A port's host is its cluster's nova-compute.  On which ESXi host its VM is, and so behind which VTEP, Neutron does not
know, and need not: `isthmus run` sees it in vCenter, and tells it to those who send there.
"""

from __future__ import annotations

from typing import Any

from isthmus.adapters.neutron.ml2 import preflight, segments
from isthmus.adapters.neutron.ml2.dvs import PortGroupBinder
from isthmus.adapters.neutron.ml2.hosts import our_host


class IsthmusOvsvappDriver(PortGroupBinder):
    """Binds VXLAN segments of compute ports on vSphere clusters with appliances to port groups."""

    NAME = preflight.OVSVAPP

    def bind_port(self, context: Any) -> None:
        """Bind the network's VXLAN segment, once its port group is there."""
        if context.binding_levels:
            return
        overlay = segments.overlay_of(context.segments_to_bind)
        host = our_host(context) if overlay is not None else None
        if overlay is not None and host is not None and host.is_overlaid:
            self.bind_to_port_group(context, host, overlay, None)
