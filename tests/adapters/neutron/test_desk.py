"""At the desk: Neutron is given a port group that stands and stays, and one failure keeps nothing else from it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from isthmus.adapters.neutron.delivery import Delivery
from isthmus.adapters.neutron.desk import Desk
from isthmus.adapters.neutron.errands import Cluster, Errands, Memory
from isthmus.adapters.neutron.facts import Binding, Facts, Tunnelling
from isthmus.model.faults import Retry, Unreachable
from isthmus.model.handover import Member
from isthmus.model.names import HostId, Mac, NetworkId
from tests.adapters.neutron.test_errands import BOUND, DVS, RED, Site, port

PATIENCE = 10.0
ALL = Errands(
    ready=({"id": "p"},),
    rebind=("q",),
    correct=({"id": "r"},),
    allocate=((RED, "rack1"),),
    retire=(("s", ""),),
    release=(("t", "mark"),),
    hold=(("rack1", 101),),
    free=(("rack1", 102),),
)
KINDS = ("correct", "ready", "allocate", "retire", "release", "hold", "free")


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < end
        time.sleep(0.005)


class Bus:
    """Neutron, as far as it answers."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, Exception] = {}
        self.casts: Counter[str] = Counter()
        self.hanging: set[str] = {"rebind"}
        self.going = threading.Event()
        self.going.set()

    def cast(self, topic: str, method: str, **what: Any) -> None:
        self.casts[method] += 1

    def call(self, topic: str, method: str, **what: Any) -> Any:
        self.calls[method] += 1
        if method in self.hanging:
            assert self.going.wait(6 * PATIENCE)
        if method in self.faults:
            raise self.faults[method]
        return "" if method == "allocate" else []

    def serve(self, *what: object) -> None:
        pass


class Source:
    """What Neutron last said."""

    def __init__(self) -> None:
        self.facts: Facts | None = None
        self.retiring: frozenset[Any] = frozenset()
        self.reasons: dict[Any, str] = {}
        self.troubles: dict[str, str] = {}
        self.leaving: set[tuple[str, NetworkId]] = set()

    def is_retiring(self, domain: str, network: NetworkId) -> bool:
        return (domain, network) in self.leaving


class Office:
    """A desk, or what carries its errands, with everything it stands between."""

    def __init__(self) -> None:
        self.bus, self.source, self.memory = Bus(), Source(), Memory()
        self.rebound = threading.Event()
        self.delivery = Delivery(self.bus, self.memory, self.source.troubles, self.rebound.set)  # type: ignore[arg-type]
        self.desk = Desk(self.bus, self.source, frozenset(), {}, time.monotonic)  # type: ignore[arg-type]
        self.woken: list[frozenset[HostId] | None] = []
        self.desk._wake = self.woken.append

    def tried(self) -> None:
        """As if all of it had been due."""
        for kind in (*KINDS, "rebind"):
            self.memory.due(f"{kind} it", 0.0)


@pytest.fixture
def made() -> Office:
    return Office()


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_of_one_kind_keeps_no_other_from_being_asked_for_and_is_shown(made: Office, kind: str) -> None:
    made.bus.faults[kind] = Retry(f"Neutron failed at '{kind}'")
    made.tried()
    made.delivery.deliver(ALL)
    until(lambda: made.bus.calls["rebind"] == 1)
    assert set(made.bus.calls) == {*KINDS, "rebind"}
    assert made.source.troubles == {kind: f"Neutron failed at '{kind}'"}
    del made.bus.faults[kind]
    made.delivery.deliver(ALL)
    assert made.source.troubles == {}


def test_a_failure_is_shown_until_nobody_wants_it_any_more(made: Office) -> None:
    made.bus.faults["retire"] = Retry("no")
    made.tried()
    made.delivery.deliver(ALL)
    made.delivery.deliver(Errands())
    assert set(made.source.troubles) == {"retire"}, "it waits for its turn"
    made.memory.keep_only(set(), set(), set(), set(), set())
    made.delivery.deliver(Errands())
    assert made.source.troubles == {}


def test_while_the_bus_is_away_nothing_counts_as_tried(made: Office) -> None:
    made.bus.faults["ready"] = Unreachable("away")
    assert not made.memory.due("ready p", 0.0) or not made.memory.due("ready p", 0.0)
    with pytest.raises(Unreachable):
        made.delivery.deliver(ALL)
    assert made.memory.due("ready p", 0.0)


def test_ports_that_wait_for_others_to_be_bound_are_due_when_these_are(made: Office) -> None:
    made.bus.going.clear()
    made.delivery.deliver(Errands(rebind=("first",)))
    until(lambda: made.bus.calls["rebind"] == 1)
    made.memory.due("rebind second", 0.0)
    made.delivery.deliver(Errands(rebind=("second",)))
    assert made.memory.due("rebind second", 0.0), "it was not tried"
    assert not made.rebound.is_set()
    made.bus.going.set()
    assert made.rebound.wait(PATIENCE)
    assert made.bus.calls["rebind"] == 1


# --- port groups --------------------------------------------------------------------------------------------------


@pytest.fixture
def standing(made: Office) -> Office:
    """RED's port group stands on rack1's switch, with VID 101."""
    seen = Site().seen
    assert seen is not None
    cluster = Cluster("rack1", DVS, frozenset({"leaf1", "leaf2"}), frozenset({HostId("esx1")}))
    made.desk.saw("rack1", seen, {"compute-1": cluster})
    return made


def test_a_port_group_that_stands_is_given_at_once(standing: Office) -> None:
    assert standing.desk.port_group("rack1", "compute-1", RED, 101, 0.0) == {"dvs_id": str(DVS), "pg_id": "pg-1"}
    assert standing.woken == []


@pytest.mark.parametrize(
    ("domain", "host", "vid"), [("rack1", "compute-1", 102), ("rack2", "compute-1", 101), ("rack1", "other", 101)]
)
def test_a_port_group_of_another_vlan_domain_or_host_is_not_it(
    standing: Office, domain: str, host: str, vid: int
) -> None:
    assert "pg_id" not in standing.desk.port_group(domain, host, RED, vid, 0.0)
    assert standing.source.reasons[RED, host]


def test_a_port_group_that_is_about_to_go_is_not_given_till_it_is_to_stay(standing: Office) -> None:
    standing.source.leaving.add(("rack1", RED))
    answers: list[dict[str, str]] = []
    asking = threading.Thread(
        target=lambda: answers.append(standing.desk.port_group("rack1", "compute-1", RED, 101, PATIENCE))
    )
    asking.start()
    until(lambda: standing.woken == [frozenset({HostId("esx1")})])
    assert answers == []
    standing.source.leaving.clear()
    seen = Site().seen
    assert seen is not None
    standing.desk.saw("rack1", replace(seen, at=1.0), dict(standing.desk._clusters()))
    asking.join(PATIENCE)
    assert answers == [{"dvs_id": str(DVS), "pg_id": "pg-1"}]


# --- threads ------------------------------------------------------------------------------------------------------

TO_KVM = Binding("kvm", active=True, failed=False, segments=("vxlan",), ours=False)
BEHIND_LEAF1 = Member(RED, Mac("00:50:56:00:00:0a"), "192.0.2.1", ("10.0.0.5",))


@pytest.fixture
def busy(standing: Office) -> Iterator[Office]:
    """A port of compute-1 waits to be ACTIVE, and a KVM host has to hear who is behind leaf1."""
    site = Site()
    site.ports = (port(BOUND), replace(port(TO_KVM, status="ACTIVE"), id="q"))
    standing.source.facts = replace(site.facts(), tunnelling=(Tunnelling("kvm", "192.0.2.9", "1"),))
    yield standing
    standing.desk.close()
    standing.bus.going.set()


def hangs_at(office: Office, errand: str) -> None:
    office.bus.hanging.add(errand)
    office.bus.going.clear()
    office.desk.open(frozenset(), office.woken.append)
    until(lambda: office.bus.calls[errand] > 0)


def look(office: Office, *members: Member, host: str = "compute-1") -> None:
    seen = Site().seen
    assert seen is not None
    clusters = {host: Cluster("rack1", DVS, frozenset({"leaf1", "leaf2"}))}
    office.desk.saw("rack1", replace(seen, members=frozenset(members)), clusters)


@pytest.mark.parametrize("fault", [Retry("no"), Unreachable("away"), ValueError("a bug")])
def test_while_neutron_fails_at_errands_kvm_hosts_hear_who_came_and_who_went(busy: Office, fault: Exception) -> None:
    busy.bus.faults["ready"] = fault
    busy.desk.open(frozenset(), busy.woken.append)
    until(lambda: busy.bus.calls["ready"] > 0)
    look(busy, BEHIND_LEAF1)
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    look(busy)
    until(lambda: busy.bus.casts["remove_fdb_entries"] > 0)


def test_while_neutron_hangs_at_an_errand_hosts_are_reported_and_kvm_hosts_told(busy: Office) -> None:
    """A host that is not reported counts as dead, and no port would be bound there."""
    hangs_at(busy, "ready")
    before = busy.bus.calls["report_state"]
    look(busy, BEHIND_LEAF1, host="compute-2")
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    until(lambda: busy.bus.calls["report_state"] > before)


def test_while_neutron_hangs_at_a_report_ports_become_active_and_kvm_hosts_are_told(busy: Office) -> None:
    hangs_at(busy, "report_state")
    look(busy, BEHIND_LEAF1)
    until(lambda: busy.bus.casts["add_fdb_entries"] > 0)
    until(lambda: busy.bus.calls["ready"] > 0)
