"""`isthmus_fabric`: level 0 of a binding, for fabrics that isthmus drives.

The VXLAN segment is the network; below the host's leaf a VLAN stands for it, in a dynamic segment of the host's mapping
domain.  Whoever binds the next level binds that.
"""

from __future__ import annotations

from typing import Any

from neutron_lib import context as neutron_context
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.plugins.ml2 import api
from oslo_log import log

from isthmus.adapters.neutron.ml2 import options, preflight, segments
from isthmus.adapters.neutron.ml2.answers import Answers, served
from isthmus.adapters.neutron.ml2.hooks import Hooks
from isthmus.adapters.neutron.ml2.hosts import our_host

LOG = log.getLogger(__name__)


class IsthmusFabricDriver(Hooks):
    """Binds VXLAN segments of ports on our hosts, and continues with a VLAN of the host's mapping domain."""

    def __init__(self) -> None:
        super().__init__()
        preflight.refuse(preflight.FABRIC)

    def initialize(self) -> None:
        """Read the options.  No thread, no connection of ours: this process may fork."""
        self._options = options.register()
        super().initialize()
        # Neutron counts a deleted network's VLANs as free while port groups and leaves still wear them.
        registry.subscribe(_hold_on, resources.NETWORK, events.PRECOMMIT_DELETE, priority=segments.LAST)
        # Before anybody gives out what Neutron has just counted as free.
        for domain in preflight.domains_of():
            try:
                segments.count_as_taken(neutron_context.get_admin_context(), domain)
            except Exception as fault:
                LOG.warning("VLANs of %s were not counted again: %s", domain, fault)

    def start_rpc_listeners(self) -> list[Any]:
        """Answer `isthmus run`, in neutron-rpc-server."""
        return served(Answers(fabric=True))

    def create_network_postcommit(self, context: Any) -> None:
        """Give a VXLAN network its VLAN in each domain that is static."""
        if segments.overlay_of(context.network_segments) is None:
            return
        for domain in self._options.static_domains:
            # A hook that raised would undo the network, and what is missing is made by the next round of isthmus.
            try:
                admin = neutron_context.get_admin_context()
                segments.reserve(admin, context.current["id"], domain, context.network_segments)
            except Exception as fault:
                LOG.warning("network %s has no VLAN in %s yet: %s", context.current["id"], domain, fault)
        super().create_network_postcommit(context)

    def delete_network_precommit(self, context: Any) -> None:
        """Note which VLANs are to be held."""
        segments.remember(context.plugin_context, context.current["id"], preflight.domains_of())

    def bind_port(self, context: Any) -> None:
        """Bind the overlay segment here, and hand a VLAN of the host's domain to the next level."""
        if context.binding_levels:
            return
        # A VLAN among the segments is what another port, perhaps in another domain, left: never bound at this level.
        overlay = segments.overlay_of(context.segments_to_bind)
        host = our_host(context) if overlay is not None else None
        if overlay is None or host is None or host.is_overlaid:
            return
        if host.refusal:
            self.not_bound(context, host.name, host.refusal)
            return
        if host.domain not in preflight.domains_of():
            why = f"it is in mapping domain {host.domain}, which [{options.GROUP}] domains does not name"
            self.not_bound(context, host.name, why)
            return
        try:
            vlan = segments.reserve(
                context.plugin_context, context.network.current["id"], host.domain, context.network.network_segments
            )
        except segments.NoNetworkAvailable:
            self.not_bound(context, host.name, f"no VLAN is left in mapping domain {host.domain}")
            return
        context.continue_binding(overlay[api.ID], [vlan])


def _hold_on(resource: str, event: str, trigger: object, payload: Any = None) -> None:
    """Neutron has released the VLANs of a network, in a transaction that is still open."""
    segments.hold_on(payload.context)
