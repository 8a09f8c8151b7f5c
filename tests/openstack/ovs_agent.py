"""Neutron's Open vSwitch agent on a host, as far as it hears who is behind which VTEP."""

from __future__ import annotations

from typing import Any

from neutron.plugins.ml2.drivers.l2pop.rpc_manager.l2population_rpc import L2populationRpcCallBackMixin

EVERYBODY = "00:00:00:00:00:00"


class OvsAgent(L2populationRpcCallBackMixin):  # type: ignore[misc]
    """The ear of Neutron's Open vSwitch agent, its own code, with a memory instead of flows."""

    def __init__(self) -> None:
        self.known: set[tuple[str, str, str, int]] = set()

    def fdb_add(self, context: object, fdb_entries: dict[str, Any]) -> None:
        self.known |= self._meant(fdb_entries)

    def fdb_remove(self, context: object, fdb_entries: dict[str, Any]) -> None:
        self.known -= self._meant(fdb_entries)

    def fdb_update(self, context: object, fdb_entries: dict[str, Any]) -> None:
        """Not said by us."""

    def behind(self, vtep: str) -> set[tuple[str, str, str, int]]:
        """Neutron's own driver tells it of itself and its like."""
        return {entry for entry in self.known if entry[0] == vtep}

    def _meant(self, entries: dict[str, Any]) -> set[tuple[str, str, str, int]]:
        return {
            (vtep, info.mac_address, info.ip_address, told["segment_id"])
            for told in entries.values()
            for vtep, infos in told["ports"].items()
            for info in infos
        }

    def vteps_of(self, mac: str) -> set[str]:
        """Behind which it knows a MAC."""
        return {entry[0] for entry in self.known if entry[1] == mac}
