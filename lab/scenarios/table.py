"""Every scenario, and why some do not apply to some designs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from isthmus.core.design import DESIGNS, Design
from isthmus.model.place import PlaceKind
from lab.scenarios import life, trouble
from lab.scenarios.stage import Stage

Scenario = Callable[[Stage], None]

SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        scenario.__name__: scenario
        for scenario in (
            life.boot_and_ping,
            life.closed_until_bound,
            life.nobody_without_a_port,
            life.announced_move,
            life.unannounced_move,
            life.failed_move,
            life.there_and_back,
            life.power_cycle,
            life.delete_vm,
            life.delete_network,
            life.delete_network_in_use,
            life.renumber_network,
            life.everybody_leaves,
            trouble.restart,
            trouble.crash_anywhere,
            trouble.nve_restart,
            trouble.nve_unreachable,
            trouble.vcenter_unknown,
            trouble.vcenter_unknown_at_start,
            trouble.source_failed,
            trouble.meddle,
            trouble.exhaust,
        )
    }
)


def inapplicable(scenario: str, design: Design) -> str | None:
    """Why a scenario does not apply to a design; None if it does."""
    gateless = design.place is not PlaceKind.DV_PORT
    if gateless and scenario in ("closed_until_bound", "nobody_without_a_port"):
        return "the place has no gate: a NIC is in its network as soon as it is plugged in, and only the NVE is closed"
    return None


INAPPLICABLE: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        (scenario, design.name): reason
        for scenario in SCENARIOS
        for design in DESIGNS.values()
        if (reason := inapplicable(scenario, design)) is not None
    }
)
