"""Every scenario in every design, in memory: run centrally, and one process per host where tags are a host's."""

from __future__ import annotations

import pytest

from isthmus.core.design import DESIGNS, TagScope
from lab.scenarios.table import INAPPLICABLE, SCENARIOS
from lab.wire.stage import WireStage
from lab.wire.world import two_racks

FORMS = [
    (design, distributed)
    for design in DESIGNS.values()
    for distributed in (False, True)
    if not distributed or design.scope is TagScope.HOST
]


def _name(form: object) -> str:
    design, distributed = form  # type: ignore[misc]
    return f"{design.name}{'-distributed' if distributed else ''}"


@pytest.mark.parametrize("form", FORMS, ids=_name)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, form: tuple) -> None:
    design, distributed = form
    if (scenario, design.name) in INAPPLICABLE:
        pytest.skip(INAPPLICABLE[scenario, design.name])
    SCENARIOS[scenario](WireStage(two_racks(design, distributed=distributed)))


def test_only_designs_without_a_gate_are_left_out_and_only_of_scenarios_about_the_gate() -> None:
    assert {scenario for scenario, _ in INAPPLICABLE} == {"closed_until_bound", "nobody_without_a_port"}
    assert {design for _, design in INAPPLICABLE} == {"ovsvapp-cluster", "ovsvapp-vss", "vds-static", "vds-leaf"}
    assert len(INAPPLICABLE) == 8
