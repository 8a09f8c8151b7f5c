"""`isthmus_vds`: the level below the fabric, where a VLAN is a port group of a distributed switch.

Whoever bound level 0 (isthmus_fabric, or a controller of the fabric) leaves a VLAN; of those only the one of the port's
own mapping domain is bound, and only when its port group is there.
"""

from __future__ import annotations

from typing import Any

from neutron_lib import constants
from neutron_lib.plugins.ml2 import api

from isthmus.adapters.neutron.ml2 import preflight
from isthmus.adapters.neutron.ml2.dvs import PortGroupBinder
from isthmus.adapters.neutron.ml2.hosts import our_host


class IsthmusVdsDriver(PortGroupBinder):
    """Binds VLAN segments of compute ports on vSphere clusters to port groups."""

    NAME = preflight.VDS

    def bind_port(self, context: Any) -> None:
        """Bind the VLAN of the host's domain, once its port group is there."""
        if not context.binding_levels:
            return  # a VLAN that is not below a VXLAN network is nobody's tag of ours
        host = our_host(context)
        if host is None or not host.is_cluster:
            return
        segment = next((s for s in context.segments_to_bind if _is_vlan_of(s, host.domain)), None)
        if segment is not None:
            self.bind_to_port_group(context, host, segment, segment[api.SEGMENTATION_ID])


def _is_vlan_of(segment: dict[str, Any], domain: str) -> bool:
    return bool(segment[api.NETWORK_TYPE] == constants.TYPE_VLAN and segment[api.PHYSICAL_NETWORK] == domain)
