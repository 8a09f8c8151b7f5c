"""Whatever happens, in every design: nobody hears another network, loops come to rest, and nothing of ours is left."""

from __future__ import annotations

import pytest

from isthmus.core.design import DESIGNS, Design
from isthmus.model.place import PlaceKind
from isthmus.model.shard import VidPool
from isthmus.model.tags import VidSet
from tests.core.properties.machine import PROFILE, settings_of, tell
from tests.core.properties.setting import Setting
from tests.core.properties.told import a_tag_changes_hands_while_its_old_host_is_half_way

REUSING = VidPool(VidSet.of("11-13"), reuse=True)
BY_HOST = [design for design in DESIGNS.values() if design.place is not PlaceKind.DV_PORT_GROUP]
BY_PORT = [design for design in DESIGNS.values() if design.place is PlaceKind.DV_PORT]


def _settings() -> dict[str, Setting]:
    found = {}
    for design in DESIGNS.values():
        found[design.name] = Setting(design)
        found[f"{design.name}-meddled"] = Setting(design, meddling=True)
    for design in BY_HOST:
        found[f"{design.name}-distributed"] = Setting(design, distributed=True)
        found[f"{design.name}-crowded"] = Setting(design, distributed=True, crowded=True)
    for design in BY_PORT:
        found[f"{design.name}-reuse"] = Setting(design, REUSING)
        found[f"{design.name}-reuse-distributed"] = Setting(design, REUSING, distributed=True)
    return found


SETTINGS = _settings()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_few_histories_keep_isolation_come_to_rest_and_leave_nothing(name: str) -> None:
    tell(SETTINGS[name], settings_of("quick"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SETTINGS)
def test_any_history_keeps_isolation_comes_to_rest_and_leaves_nothing(name: str) -> None:
    tell(SETTINGS[name], settings_of(PROFILE))


@pytest.mark.parametrize("design", BY_PORT, ids=lambda design: design.name)
def test_a_tag_changes_hands_while_its_old_host_is_half_way(design: Design) -> None:
    a_tag_changes_hands_while_its_old_host_is_half_way(Setting(design, distributed=True))
