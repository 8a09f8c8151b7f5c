"""What an operator is told of a leaf, and when the loop is woken for one."""

from __future__ import annotations

import threading
from dataclasses import replace

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.adapters.leaf.hwvtep.findings import findings, warnings
from isthmus.adapters.leaf.hwvtep.snapshot import PhysicalPort, Snapshot, Tunnel
from isthmus.adapters.leaf.hwvtep.watch import Watch
from isthmus.model.faults import Retry
from tests.adapters.leaf.switch import eventually
from tests.adapters.leaf.world import OUR_RED, PEER, RED, SETTINGS, everywhere, leaf, ours, theirs, with_switch

WELL = leaf(ours(RED), theirs(), bound={**everywhere((101, OUR_RED)), "swp9": {300: "storage"}})


def told(snapshot: Snapshot) -> list[str]:
    return [found.what for found in findings(snapshot, SETTINGS)]


def test_of_a_leaf_that_is_well_there_is_nothing_to_say() -> None:
    assert told(WELL) == told(leaf()) == []


def test_a_leaf_that_is_not_as_configured_is_a_problem_with_a_remedy() -> None:
    [found] = findings(WELL, replace(SETTINGS, ports=("swp1", "swp7")))
    assert found.is_problem
    assert "has no port swp7; there are: swp1, swp2, swp9.  Correct 'ports'" in found.what


def test_faults_that_the_switch_reports_of_itself_and_of_our_ports_are_shown() -> None:
    ports = {
        "swp1": PhysicalPort({}, frozenset({"invalid_vlan_map"})),
        "swp2": PhysicalPort({}),
        "swp9": PhysicalPort({}, frozenset({"unspecified_fault"})),
    }
    faulty = with_switch(WELL, ports=ports, faults=frozenset({"resource_exhaustion"}))
    assert told(faulty) == [
        "switch leaf1 reports resource_exhaustion",
        "port swp1 of switch leaf1 reports invalid_vlan_map",
    ]
    assert all(found.is_problem and found.remedy for found in findings(faulty, SETTINGS))


def test_a_tunnel_that_is_watched_and_down_is_shown_and_no_other() -> None:
    down = Tunnel(PEER, watched=True, state="down", diagnostic="Control Detection Time Expired")
    others = (Tunnel("192.0.2.7", watched=True, state="up"), Tunnel("192.0.2.8", watched=False, state="down"))
    snapshot = with_switch(WELL, tunnels=(*others, down))
    assert told(snapshot) == ["switch leaf1 finds its tunnel to 192.0.2.2 down (Control Detection Time Expired)"]
    assert warnings(snapshot, SETTINGS) == tuple(told(snapshot))


def test_a_binding_of_another_hand_to_a_network_of_ours_is_shown() -> None:
    bound = {**everywhere((101, OUR_RED)), "swp9": {0: OUR_RED}}
    snapshot = leaf(ours(RED), bound=bound)
    [found] = findings(snapshot, SETTINGS)
    said = f"VLAN 0 of port swp9 of switch leaf1 is bound to our {OUR_RED} by another hand"
    assert found == LeafFinding(said, "unbind it there")
    assert warnings(snapshot, SETTINGS) == (said,)


class Sights:
    """A leaf as a watch sees it."""

    def __init__(self) -> None:
        self.now: object = "first"
        self.observed: object = "first"
        self.wakes = 0
        self.looks = threading.Semaphore(0)

    def look(self) -> object:
        self.looks.release()
        if self.now is None:
            raise Retry("gone")
        return self.now

    def wake(self) -> None:
        self.wakes += 1

    def after_a_look(self) -> int:
        for _ in range(3):  # one may have been under way, and the last is compared before the next begins
            self.looks.acquire()
            while self.looks.acquire(blocking=False):
                pass
        return self.wakes


def test_a_watch_wakes_once_for_each_change_that_nobody_has_observed() -> None:
    sights = Sights()
    watch = Watch("leaf1", sights.look, lambda: sights.observed, sights.wake, interval=0.01)
    watch.start()
    assert sights.after_a_look() == 0, "nothing happened"
    sights.now = "altered by hand"
    eventually(lambda: sights.wakes == 1)
    assert sights.after_a_look() == 1, "it says so once"
    sights.observed = "written by us"
    sights.now = "written by us"
    assert sights.after_a_look() == 1, "we know"
    sights.now = None
    eventually(lambda: sights.wakes == 2)
    sights.now = "written by us"
    eventually(lambda: sights.wakes == 3)
    watch.close()
