"""Do the properties bite?  Each mutant breaks one law in the core; a mutant that no history gives away is a defect.

The patches are as small as the mistake they stand for, and made where the law is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from isthmus.core import plan_nves, plan_ports, reconcile, view, worn
from isthmus.core.allocate import Worn
from isthmus.core.design import (
    CONTRAIL,
    OVSVAPP,
    OVSVAPP_CLUSTER,
    OVSVAPP_PORT,
    OVSVAPP_VSS,
    VDS_LEAF,
    VDS_STATIC,
    Design,
)
from isthmus.core.view import View
from isthmus.model.change import Gate
from isthmus.model.names import HostId
from isthmus.model.observed import (
    NveMirror,
    Observed,
    StandardSwitchMirror,
    SwitchMirror,
    TargetId,
    Unknown,
)
from isthmus.model.scope import ForeignSubject, HostScope
from tests.core.properties.machine import settings_of, tell
from tests.core.properties.setting import SMALL, Setting
from tests.core.properties.told import a_tag_changes_hands_while_its_old_host_is_half_way

Mutate = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A mistake, and the histories that must give it away."""

    mistake: str
    mutate: Mutate
    setting: Setting
    told: Callable[[Setting], None] | None = None
    """The history that must do it, where it is too rare to be drawn in time."""


def _ignore_worn_tags(patch: pytest.MonkeyPatch) -> None:
    def own_only(seen: View) -> list[Worn]:
        return [wear for wear in worn.worn(seen) if not isinstance(wear.subject, ForeignSubject)]

    patch.setattr(reconcile, "worn", own_only)


def _ignore_all_worn_tags(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "worn", lambda seen: [])


def _free_a_tag_that_an_nve_still_knows(patch: pytest.MonkeyPatch) -> None:
    def places_only(seen: View) -> list[Worn]:
        return [wear for wear in worn.worn(seen) if wear.place is not None or isinstance(wear.subject, ForeignSubject)]

    patch.setattr(reconcile, "worn", places_only)


def _bare_a_port_before_the_nve_forgot(patch: pytest.MonkeyPatch) -> None:
    written = plan_ports.PortPlan.write

    def write(port: plan_ports.PortPlan, gate: Gate, vid: int | None) -> object:
        bare = gate is Gate.CLOSE
        return written(port, Gate.BARE if bare else gate, None if bare else vid)  # type: ignore[arg-type]

    patch.setattr(plan_ports.PortPlan, "write", write)


def _drop_the_owner_check(patch: pytest.MonkeyPatch) -> None:
    def look(design: object, world: object, observed: Observed, pool: object) -> View:
        owner = world.shard.owner  # type: ignore[attr-defined]
        mine = {target: _all_marked(mirror, owner) for target, mirror in observed.targets.items()}
        return view.look(design, world, Observed(mine), pool)  # type: ignore[arg-type]

    patch.setattr(reconcile, "look", look)


def _all_marked(mirror: object, owner: str) -> object:
    if not isinstance(mirror, SwitchMirror):
        return mirror
    groups = {
        key: replace(group, mark=replace(group.mark, owner=owner)) if group.mark else group
        for key, group in mirror.port_groups.items()
    }
    return replace(mirror, port_groups=groups)


def _take_a_failed_read_as_empty(patch: pytest.MonkeyPatch) -> None:
    def look(design: object, world: object, observed: Observed, pool: object) -> View:
        shard = world.shard  # type: ignore[attr-defined]
        read = {
            target: _empty(target, shard.scope) if isinstance(mirror, Unknown) else mirror
            for target, mirror in observed.targets.items()
        }
        return view.look(design, world, Observed(read), pool)  # type: ignore[arg-type]

    patch.setattr(reconcile, "look", look)


def _empty(target: TargetId, scope: object) -> object:
    match target.kind:
        case "dvs":
            return SwitchMirror(target.name, {}, {})  # type: ignore[arg-type]
        case "vss":
            assert isinstance(scope, HostScope)
            return StandardSwitchMirror(scope.host, scope.switch, {})
        case _:
            return NveMirror(target, {})


def _take_a_failed_source_as_fresh(patch: pytest.MonkeyPatch) -> None:
    def look(design: object, world: object, observed: Observed, pool: object) -> View:
        empty = replace(world.intent, networks={}, ports={}, fresh=True)  # type: ignore[attr-defined]
        believed = world if world.intent.fresh else replace(world, intent=empty)  # type: ignore
        return view.look(design, believed, observed, pool)  # type: ignore[arg-type]

    patch.setattr(reconcile, "look", look)


def _open_before_the_nve_knows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan_nves.NveDiff, "learning", lambda diff, subject: ())


def _open_without_a_claim(patch: pytest.MonkeyPatch) -> None:
    step = plan_ports._step

    def hasty(*args: object, **named: object) -> plan_ports.Step:
        found = step(*args, **named)  # type: ignore[arg-type]
        return plan_ports.Step.OPEN if found is plan_ports.Step.CLAIM else found

    patch.setattr(plan_ports, "_step", hasty)


def _reuse_inside_a_move_domain(patch: pytest.MonkeyPatch) -> None:
    def by_host(seen: View, dvs: str, host: HostId | None) -> object:
        return HostScope(host or HostId("nowhere"), dvs)

    patch.setattr(View, "domain", by_host)


def _crowded(design: Design, *, distributed: bool = False) -> Setting:
    return Setting(design, distributed=distributed, crowded=True)


MUTANTS = [
    *(
        Mutant("ignore worn tags", _ignore_worn_tags, Setting(design, SMALL))
        for design in (OVSVAPP, CONTRAIL, OVSVAPP_CLUSTER, VDS_STATIC)
    ),
    *(
        Mutant("ignore all worn tags", _ignore_all_worn_tags, Setting(design, SMALL))
        for design in (OVSVAPP, OVSVAPP_PORT, OVSVAPP_CLUSTER, OVSVAPP_VSS, VDS_LEAF)
    ),
    *(
        Mutant("free a tag still worn", _free_a_tag_that_an_nve_still_knows, _crowded(design))
        for design in (OVSVAPP, CONTRAIL)
    ),
    Mutant("bare a port too early", _bare_a_port_before_the_nve_forgot, _crowded(CONTRAIL, distributed=True)),
    Mutant(
        "bare a port too early",
        _bare_a_port_before_the_nve_forgot,
        _crowded(OVSVAPP, distributed=True),
        told=a_tag_changes_hands_while_its_old_host_is_half_way,
    ),
    *(
        Mutant("drop the owner check", _drop_the_owner_check, Setting(design, SMALL))
        for design in (OVSVAPP, CONTRAIL, OVSVAPP_CLUSTER, VDS_LEAF)
    ),
    *(
        Mutant("failed read taken as empty", _take_a_failed_read_as_empty, Setting(design, SMALL))
        for design in (OVSVAPP, CONTRAIL, OVSVAPP_CLUSTER, OVSVAPP_VSS, VDS_STATIC)
    ),
    *(
        Mutant("failed source taken as fresh", _take_a_failed_source_as_fresh, Setting(design, SMALL))
        for design in (OVSVAPP, VDS_STATIC)
    ),
    *(
        Mutant("open before the NVE knows", _open_before_the_nve_knows, Setting(design, SMALL))
        for design in (OVSVAPP, CONTRAIL, OVSVAPP_PORT)
    ),
    *(
        Mutant("open without a claim", _open_without_a_claim, _crowded(design, distributed=True))
        for design in (OVSVAPP, CONTRAIL)
    ),
    *(
        Mutant("reuse inside a move domain", _reuse_inside_a_move_domain, Setting(design, SMALL))
        for design in (OVSVAPP, CONTRAIL)
    ),
]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.mistake}-{m.setting.design.name}".replace(" ", "-"))
def test_a_mutant_is_given_away(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.mutate(monkeypatch)
    histories = mutant.told or partial(tell, chosen=settings_of("fixed", shrink=False, examples=1000))
    with pytest.raises(AssertionError):
        histories(mutant.setting)
