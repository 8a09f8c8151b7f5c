"""What an operator is told of an appliance before anything is written to it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.adapters.ovs.bridges import Snapshot
from isthmus.adapters.ovs.findings import OvsFinding, findings, interfaces_beside
from isthmus.adapters.ovs.settings import PATCH_TUN, VXLAN, OvsSettings
from tests.adapters.ovs.test_bridges import BUILT, FOREIGN, SETTINGS, with_bridge, with_port, without

NICS = frozenset({"lo", "eth1", "eth2"})


def told(snapshot: Snapshot, settings: OvsSettings = SETTINGS, nics: frozenset[str] | None = NICS) -> list[str]:
    return [finding.what for finding in findings(snapshot, settings, nics)]


def test_what_is_as_configured_or_quite_new_gives_nothing_to_say() -> None:
    assert told(BUILT) == told(BUILT, nics=None) == told(FOREIGN) == []


@pytest.mark.parametrize("snapshot", [BUILT, FOREIGN], ids=["built", "new"])
def test_a_trunk_that_the_appliance_does_not_have_is_a_problem(snapshot: Snapshot) -> None:
    (found,) = findings(snapshot, replace(SETTINGS, trunk="trunk9"), NICS)
    assert found.is_problem
    assert "no interface trunk9" in found.what
    assert "correct 'trunk'" in found.remedy


def test_a_trunk_nic_that_went_away_is_named_once() -> None:
    gone = with_port("eth1", number=-1, error="No such device")
    for nics in (NICS - {"eth1"}, None):
        (found,) = findings(gone, SETTINGS, nics)
        assert found.is_problem
        assert "interface eth1" in found.what


@pytest.mark.parametrize("bridge", ["br-int", "br-tun"])
def test_a_bridge_of_another_installation_is_a_problem(bridge: str) -> None:
    (found,) = findings(with_bridge(bridge, owner="west"), SETTINGS, NICS)
    assert found.is_problem
    assert f"{bridge} belongs to the isthmus installation 'west', not to 'east'" in found.what
    (both,) = findings(BUILT, replace(SETTINGS, owner="north"), NICS)
    assert both.is_problem


def test_a_changed_vtep_is_pending() -> None:
    assert findings(BUILT, replace(SETTINGS, vtep="192.0.2.9"), NICS) == (
        OvsFinding("br-tun's tunnel sends from 192.0.2.1, configured is 192.0.2.9: apply changes it"),
    )


def test_a_changed_trunk_that_exists_is_pending() -> None:
    assert told(BUILT, replace(SETTINGS, trunk="eth2")) == [
        "port eth1 of br-int has no place there: apply removes it",
        "br-int has no port eth2: apply adds it",
    ]


@pytest.mark.parametrize(
    ("snapshot", "what"),
    [
        (without(VXLAN), "br-tun has no port isthmus-vxlan: apply adds it"),
        (with_port(PATCH_TUN, type=""), "br-int's port patch-tun has type none, must have patch: apply changes it"),
        (with_bridge("br-int", fail_mode=""), "br-int has fail_mode none, must have secure: apply changes it"),
        (
            with_bridge("br-tun", protocols=frozenset({"OpenFlow10"})),
            "br-tun has protocols OpenFlow10, must have OpenFlow13, OpenFlow14, OpenFlow15: apply changes it",
        ),
        (
            with_port(VXLAN, wanted_number=9, number=9),
            "br-tun's tunnel has ofport_request 9, must have 3: apply changes it",
        ),
        (
            with_port("eth1", owner=None),
            "br-int's port eth1 carries the mark of nobody, must carry that of east: apply changes it",
        ),
    ],
)
def test_every_other_difference_is_pending_in_words(snapshot: Snapshot, what: str) -> None:
    assert findings(snapshot, SETTINGS, NICS) == (OvsFinding(what),)


def test_interfaces_are_seen_only_beside_an_ovs_vswitchd_of_this_machine(tmp_path: Path) -> None:
    assert interfaces_beside(str(tmp_path)) is None
    (tmp_path / "ovs-vswitchd.pid").write_text(f"{os.getpid()}\n")
    assert interfaces_beside(str(tmp_path)) is None, "the number is another process's now"
