"""What Neutron is told of our hosts: each is reported as a Neutron agent, with the mapping domain that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isthmus.adapters.neutron.protocol import AGENT_TYPE, BINARY


@dataclass(frozen=True, slots=True)
class Presence:
    """A host, its mapping domain, and what kind of host it is."""

    host: str
    domain: str
    kind: str

    def report(self, *, start: bool) -> Mapping[str, Any]:
        """The arguments of `report_state`, dated now, since Neutron leaves aside what is older than itself."""
        state = {
            "binary": BINARY,
            "agent_type": AGENT_TYPE,
            "host": self.host,
            "topic": "N/A",
            "configurations": {"physical_network": self.domain, "kind": self.kind},
            "start_flag": start,
        }
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return {"agent_state": {"agent_state": state}, "time": now}
