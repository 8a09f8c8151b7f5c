"""What Neutron is told of our hosts: each is reported as a Neutron agent, with where it is or what VTEP it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isthmus.adapters.neutron.protocol import AGENT_TYPE, APPLIANCE_TYPE, BINARY, KEPT


@dataclass(frozen=True, slots=True)
class Presence:
    """A Neutron host, its mapping domain, what kind of host it is, and how its deployment stands."""

    host: str
    domain: str
    kind: str
    standing: str = KEPT

    def report(self, *, start: bool) -> Mapping[str, Any]:
        """The arguments of `report_state`."""
        told = {"physical_network": self.domain, "kind": self.kind, "standing": self.standing}
        return _report(AGENT_TYPE, self.host, told, start)


@dataclass(frozen=True, slots=True)
class Appliance:
    """An ESXi host whose appliance answers, and its VTEP."""

    host: str
    vtep: str

    def report(self, *, start: bool) -> Mapping[str, Any]:
        """The arguments of `report_state`."""
        told = {"tunneling_ip": self.vtep, "tunnel_types": ["vxlan"], "l2_population": True}
        return _report(APPLIANCE_TYPE, self.host, told, start)

    @property
    def tunnel(self) -> Mapping[str, Any]:
        """The arguments of `tunnel_sync`: agents that take part in no l2population send to every VTEP of this list."""
        return {"tunnel_ip": self.vtep, "tunnel_type": "vxlan", "host": self.host}


def _report(agent_type: str, host: str, configurations: Mapping[str, Any], start: bool) -> Mapping[str, Any]:
    """Dated now, since Neutron leaves aside what is older than itself."""
    state = {
        "binary": BINARY,
        "agent_type": agent_type,
        "host": host,
        "topic": "N/A",
        "configurations": dict(configurations),
        "start_flag": start,
    }
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return {"agent_state": {"agent_state": state}, "time": now}
