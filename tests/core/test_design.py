"""A design that cannot work says why, and the table's rows exist."""

from dataclasses import replace

import pytest

from isthmus.core.design import (
    CONTRAIL,
    DESIGNS,
    OVSVAPP,
    OVSVAPP_VSS,
    VDS_LEAF,
    VDS_STATIC,
    IntentFrom,
    NveKind,
    TagScope,
    TagSubject,
    unfit_switch,
)
from isthmus.model.place import PlaceKind


def test_the_rows_of_the_table_exist() -> None:
    assert sorted(DESIGNS) == [
        "contrail",
        "ovsvapp",
        "ovsvapp-cluster",
        "ovsvapp-port",
        "ovsvapp-vss",
        "vds-leaf",
        "vds-static",
    ]


@pytest.mark.parametrize(
    ("row", "choices", "reason"),
    [
        (CONTRAIL, {"place": PlaceKind.DV_PORT_GROUP, "scope": TagScope.CLUSTER}, "shared by all its ports"),
        (OVSVAPP, {"place": PlaceKind.DV_PORT_GROUP}, "same on every host of its switch"),
        (OVSVAPP, {"scope": TagScope.CLUSTER}, "its scope is that host"),
        (OVSVAPP, {"scope": TagScope.FABRIC}, "NVE is on each ESXi host"),
        (VDS_LEAF, {"scope": TagScope.HOST}, "a tag's scope is the leaf or the fabric"),
        (VDS_STATIC, {"subject": TagSubject.PORT}, "cannot tell ports apart"),
        (OVSVAPP, {"nve": NveKind.STOCK_OVS}, "needs a tag of its own"),
        (OVSVAPP, {"nve": NveKind.VROUTER, "subject": TagSubject.PORT}, "Contrail's networks end in vRouter agents"),
        (OVSVAPP, {"intents": frozenset({IntentFrom.CONTRAIL})}, "Contrail's networks end in vRouter agents"),
        (OVSVAPP, {"intents": frozenset()}, "intent from nowhere"),
        (OVSVAPP_VSS, {"scope": TagScope.CLUSTER}, "ends at its host"),
    ],
)
def test_choices_that_cannot_work_are_refused_with_the_reason(row, choices, reason) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=reason):
        replace(row, **choices)


def test_a_switch_that_spans_leaves_cannot_carry_a_tag_per_leaf() -> None:
    assert "give each leaf a distributed switch of its own" in (unfit_switch(VDS_LEAF, ["leaf1", "leaf2"]) or "")
    assert unfit_switch(VDS_LEAF, ["leaf1", "leaf1"]) is None
    assert unfit_switch(OVSVAPP, ["esx1", "esx2"]) is None
