"""Which mapping domain a Neutron host is in: as `isthmus run` reports it, in a Neutron agent of the host.

A host without one is not ours, and costs one query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isthmus.adapters.neutron.protocol import (
    AGENT_TYPE,
    APPLIANCE_TYPE,
    ATTACHED,
    CLUSTER,
    KEPT,
    NOT_KEPT,
    OVERLAID,
    PLUGGED,
)


@dataclass(frozen=True, slots=True)
class OurHost:
    """A host that some `isthmus run` keeps."""

    name: str
    domain: str
    kind: str
    alive: bool
    standing: str = KEPT

    @property
    def refusal(self) -> str:
        """Why nothing is bound there anew; empty: it is kept."""
        why = NOT_KEPT.get(self.standing, "")
        return f"host {self.name} is in {self.domain}, and {why}" if why else ""

    @property
    def is_cluster(self) -> bool:
        """Its ports are VM NICs on a distributed switch, whose VLANs are those of its leaf."""
        return self.kind == CLUSTER

    @property
    def is_overlaid(self) -> bool:
        """Its ports are VM NICs on a distributed switch whose hosts have VTEPs of their own."""
        return self.kind in (OVERLAID, PLUGGED)

    @property
    def is_plugged(self) -> bool:
        """The same, and Neutron's own agent wires them: by this host's name."""
        return self.kind == PLUGGED


def our_host(context: Any) -> OurHost | None:
    """The host that a port is to be bound on; None: not ours.  Host names are compared whole, and as they are."""
    for agent in context.host_agents(AGENT_TYPE):
        told = agent.get("configurations") or {}
        domain = told.get("physical_network")
        if (
            agent["host"] == context.host
            and isinstance(domain, str)
            and told.get("kind") in (CLUSTER, ATTACHED, OVERLAID, PLUGGED)
        ):
            return OurHost(agent["host"], domain, told["kind"], bool(agent.get("alive")), str(told.get("standing")))
    return None


def vtep_of(agent_type: object, told: Any) -> Any:
    """The VTEP of a Neutron agent of this type, by the configurations that it tells; None: it has none, or is ours."""
    if agent_type in (AGENT_TYPE, APPLIANCE_TYPE) or not isinstance(told, dict):
        return None
    return told.get("tunneling_ip") or None
