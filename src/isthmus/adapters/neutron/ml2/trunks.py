"""Trunks, which no port group carries: it is one network, untagged, and a subport is a VLAN that the VM itself tags.

Neutron refuses by itself to make a trunk of a port that has a host already, if no driver says that it could.  What it
would let pass is refused here: a subport of a trunk whose parent is, or is about to be, on a cluster.  A trunk without
subports is a port like others.
"""

from __future__ import annotations

import json
from typing import Any

from neutron.db.models.agent import Agent
from neutron.plugins.ml2 import models
from neutron_lib import exceptions
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.db import api as db_api

from isthmus.adapters.neutron.protocol import AGENT_TYPE, CLUSTER, OVERLAID, PLUGGED


class SubportsNotCarried(exceptions.Conflict):
    """What the user is told who asks for it: 409."""

    message = (
        "Port %(parent)s is on host %(host)s, a vSphere cluster, where a port group carries one network, untagged: "
        "its trunk cannot have subports there."
    )


def subscribe() -> None:
    """Be asked before a trunk or subports are made.  Twice is as once."""
    for resource in (resources.TRUNK, resources.SUBPORTS):
        registry.subscribe(_refuse, resource, events.PRECOMMIT_CREATE)


def has_subports(port: dict[str, Any]) -> bool:
    """Whether the port is a trunk's parent with more than its own network.  Without Neutron's trunk plugin: no."""
    return bool((port.get("trunk_details") or {}).get("sub_ports"))


def _refuse(resource: str, event: str, trigger: object, payload: Any) -> None:
    trunk = payload.latest_state
    if not trunk.sub_ports:
        return
    table = models.PortBinding
    with db_api.CONTEXT_READER.using(payload.context):
        bindings = payload.context.session.query(table.host, Agent.host, Agent.configurations).filter(
            table.port_id == trunk.port_id, table.host == Agent.host, Agent.agent_type == AGENT_TYPE
        )
        for host, agent, told in bindings:  # MySQL compares names without regard to case
            if host == agent and json.loads(told).get("kind") in (CLUSTER, OVERLAID, PLUGGED):
                raise SubportsNotCarried(parent=trunk.port_id, host=host)
