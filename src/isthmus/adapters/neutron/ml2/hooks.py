"""What the drivers do at every hook: say which network changed, or that an agent starts.  One of them is enough."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.plugins.ml2.api import MechanismDriver
from oslo_log import log

from isthmus.adapters.neutron.ml2.hosts import vtep_of
from isthmus.adapters.neutron.ml2.notices import Notices

LOG = log.getLogger(__name__)
SEEN = (
    portbindings.HOST_ID,
    portbindings.VIF_TYPE,
    "mac_address",
    "fixed_ips",
    "admin_state_up",
    "allowed_address_pairs",
    "port_security_enabled",
    "device_id",
    "device_owner",
)


class Hooks(MechanismDriver):
    """A driver whose hooks wake `isthmus run`, after the transaction.  They never raise."""

    connectivity = "l2"

    def __init__(self) -> None:
        self.notices = Notices()
        self.speaks = True
        """False where another driver of ours hears of the same."""

    def initialize(self) -> None:
        """Hear of Neutron agents.  No thread, no connection: this process may fork."""
        if self.speaks:
            for event in (events.AFTER_CREATE, events.AFTER_UPDATE):
                registry.subscribe(self._agent_reported, resources.AGENT, event)

    def create_network_postcommit(self, context: Any) -> None:
        """A network is there."""
        self._changed(context.current["id"])

    update_network_postcommit = create_network_postcommit
    delete_network_postcommit = create_network_postcommit

    # A port that was created is bound next, which is an update: before that it is nobody's business.

    def update_port_postcommit(self, context: Any) -> None:
        """A port changed, was bound, unbound, or moved."""
        if (context.host or context.original_host) and _told(context.current) != _told(context.original):
            self._changed(context.current["network_id"])

    def delete_port_postcommit(self, context: Any) -> None:
        """A port is gone.  One without a host was nowhere."""
        if context.host:
            self._changed(context.current["network_id"])

    def not_bound(self, context: Any, host: str, reason: str, *, level: int = logging.ERROR) -> None:
        """Say why a port is not bound on a host: in the log, and to `isthmus run`, which shows it."""
        LOG.log(level, "port %s is not bound on host %s: %s", context.current["id"], host, reason)
        self.notices.refused(context.current["id"], host, reason)

    def _agent_reported(self, resource: str, event: str, trigger: object, payload: Any) -> None:
        """One with a VTEP that starts knows nobody behind ours.  The Open vSwitch agent starts with its switch, too."""
        agent = payload.desired_state or {}
        starts = event == events.AFTER_CREATE or agent.get("start_flag")
        if starts and vtep_of(agent.get("agent_type"), agent.get("configurations")):
            self.notices.changed([])

    def _changed(self, network: str) -> None:
        if self.speaks:
            self.notices.changed([network])


def has_agent(port: Mapping[str, Any]) -> bool:
    """Neutron's own agent filters and wires it, and says when it has."""
    return bool((port.get(portbindings.VIF_DETAILS) or {}).get(portbindings.CAP_PORT_FILTER))


def _told(port: Mapping[str, Any]) -> list[Any]:
    """What isthmus would see of a port.  That one of its own is ACTIVE now it knows, unless an agent said so."""
    status = port.get("status") if port.get(portbindings.VIF_TYPE) != "dvs" or has_agent(port) else None
    return [status, *(port.get(field) for field in SEEN)]
