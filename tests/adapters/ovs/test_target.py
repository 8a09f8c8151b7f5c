"""What needs no Open vSwitch to be seen: in which order bridges are written, and what is said when there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.adapters.ovs import text
from isthmus.adapters.ovs.openflow import OpenFlow
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.adapters.ovs.target import OvsTarget, steps
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome
from isthmus.model.faults import Refused, Retry
from isthmus.model.flow import Bridge, Flow, Match
from isthmus.model.names import HostId
from isthmus.model.nve import LeafBinding
from isthmus.model.observed import TargetId
from isthmus.model.tags import Vid, Vni

HOST = HostId("vc/host-1")
OVS = TargetId("ovs", HOST)
INT, TUN = (Flow(bridge, 1, 2, Match()) for bridge in Bridge)


def settings(folder: Path) -> OvsSettings:
    return OvsSettings(
        trunk="eth1", vtep="192.0.2.1", owner="east", ovsdb=f"unix:{folder}/db.sock", rundir=str(folder), timeout=1.0
    )


def ordered(*actions: Learn | Forget) -> list[tuple[Bridge, list[str]]]:
    changes = [Change(number, OVS, action, "test") for number, action in enumerate(actions)]
    return [(bridge, [line.split()[0] for line in lines]) for bridge, lines in steps(changes)]


def test_what_frames_are_sent_to_is_there_before_they_are_sent() -> None:
    assert ordered(Learn((INT, TUN))) == [(Bridge.TUN, ["add"]), (Bridge.INT, ["add"])]


def test_what_frames_are_sent_to_goes_after_they_are_no_longer_sent() -> None:
    assert ordered(Forget((TUN, INT))) == [(Bridge.INT, ["delete_strict"]), (Bridge.TUN, ["delete_strict"])]


def test_both_at_once() -> None:
    assert ordered(Forget((TUN, INT)), Learn((INT, TUN))) == [
        (Bridge.TUN, ["add"]),
        (Bridge.INT, ["delete_strict", "add"]),
        (Bridge.TUN, ["delete_strict"]),
    ]


def test_a_bridge_with_nothing_to_change_is_not_spoken_to() -> None:
    assert ordered(Learn((INT,))) == [(Bridge.INT, ["add"])]
    assert ordered() == []


def test_what_was_learnt_for_a_network_goes_with_what_it_was_learnt_by_and_last_of_all() -> None:
    gone = Flow(Bridge.INT, 1, 2, Match(), vni=Vni(5000))
    assert ordered(Forget((gone, replace(gone, priority=3)))) == [
        (Bridge.INT, ["delete_strict", "delete_strict"]),
        (Bridge.TUN, ["delete"]),
    ]
    [_, (_, [learnt])] = steps([Change(0, OVS, Forget((gone,)), "test")])
    assert learnt == f"delete {text.render_learnt(Vni(5000))}"


def test_an_entry_of_another_kind_of_nve_is_a_bug() -> None:
    with pytest.raises(TypeError, match="LeafBinding"):
        ordered(Learn((LeafBinding(Vid(5), Vni(5000)),)))


def test_an_appliance_without_open_vswitch_is_unknown_and_the_place_is_named(tmp_path: Path) -> None:
    target = OvsTarget(HOST, settings(tmp_path))
    with pytest.raises(Retry, match=f"no OVSDB socket at {tmp_path}/db.sock: is Open vSwitch running"):
        target.observe()
    results = target.apply([Change(1, OVS, BuildNve(), "test"), Change(2, OVS, Learn((INT,)), "test")])
    assert [result.outcome for result in results] == [Outcome.RETRY, Outcome.RETRY]
    assert all("no OVSDB socket" in result.detail for result in results)
    target.close()


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    openflow = OpenFlow(settings(tmp_path))
    with pytest.raises(Refused, match="ovs-ofctl is not on the PATH: install"):
        openflow.dump(Bridge.INT)
    with pytest.raises(Refused, match="ovs-ofctl is not on the PATH: install"):
        openflow.bundle(Bridge.INT, ["add actions=drop"])
