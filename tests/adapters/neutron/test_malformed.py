"""What the bus brings that makes no sense, comes late or twice: it is said, nothing is done by it, all else goes on."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import oslo_messaging
import pytest

from isthmus.adapters.neutron.bus import Bus, BusSettings
from isthmus.adapters.neutron.delivery import STRANGE, Delivery
from isthmus.adapters.neutron.desk import LONGEST_WAIT, _Endpoint
from isthmus.adapters.neutron.errands import LONGEST_AGAIN, Cluster, Errands, Memory, errands
from isthmus.adapters.neutron.fdb import Announcer
from isthmus.adapters.neutron.intent import NeutronIntent, _Ear
from isthmus.adapters.neutron.meaning import Places
from isthmus.adapters.neutron.packing import packed
from isthmus.adapters.neutron.protocol import SERVER_TOPIC, VERSION
from isthmus.model.faults import Retry
from isthmus.model.handover import Handover, Member, StandingGroup
from isthmus.model.intent import Intent
from isthmus.model.names import DvsId, HostId, Mac, NetworkId
from tests.adapters.neutron import test_meaning as rows
from tests.adapters.neutron.test_desk import Office

RED, DVS = NetworkId("red"), DvsId("dvs-1")
PLACES = replace(rows.PLACES, overlaid={"compute-2": "cloud"})
NONSENSE = (None, 7, -1, 2.5, "nonsense", "", True, [], [7], [[]], {}, {"a": 1})
ANSWER: dict[str, Any] = {
    "networks": [rows.network("red", 70001, rows.segment(101, used=True)), rows.network("blue", 70002)],
    "ports": [
        rows.port("p", "red", rows.binding("compute-1", "vxlan", "s101", ours=True, dvs_id="dvs-1", pg_id="pg-1")),
        rows.port("q", "blue", rows.binding("compute-2", "vxlan", ours=True, dvs_id="dvs-1", pg_id="pg-2")),
        rows.port("r", "red", rows.binding("compute-1", failed=True), pairs=[["fa:16:3e:00:00:0a", "10.0.0.9"]]),
        rows.port("kvm", "red", rows.binding("kvm", "vxlan"), status="ACTIVE", owner="network:dhcp"),
    ],
    "agents": [{"host": "kvm", "vtep": "192.0.2.9", "started_at": "1"}],
    "domains": {"rack1": ["101-149"]},
    "held": [["rack1", 120]],
    "fabric": True,
    "kept": ["compute-1"],
    "beside": [{"id": "flat", "host": "compute-2"}],
    "static": [],
}


def everywhere(part: Any, *way: Any) -> Iterator[tuple[Any, ...]]:
    """The way to each part of an answer."""
    inside = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, inner in inside:
        yield (*way, key)
        yield from everywhere(inner, *way, key)


def without(way: tuple[Any, ...]) -> tuple[dict[str, Any], Any, Any]:
    """A copy of the answer, and where in it the part is."""
    answer = copy.deepcopy(ANSWER)
    inside: Any = answer
    for key in way[:-1]:
        inside = inside[key]
    return answer, inside, way[-1]


def malformed() -> Iterator[Any]:
    """Answers in which one part is missing or something else."""
    yield from NONSENSE
    for way in everywhere(ANSWER):
        answer, inside, key = without(way)
        del inside[key]
        yield answer
        for nonsense in NONSENSE:
            answer, inside, key = without(way)
            inside[key] = nonsense
            yield answer


class Neutron:
    """Answers with what it is given, and takes everything else."""

    def __init__(self) -> None:
        self.answer: Any = ANSWER
        self.answers: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()

    def call(self, topic: str, method: str, **asked: Any) -> Any:
        self.calls[method] += 1
        return packed(self.answer) if method == "read" else self.answers.get(method)


def seen(domain: str) -> Handover:
    """The port groups of both networks stand in a domain."""
    vid, network, key = (101, RED, "pg-1") if domain == "rack1" else (None, NetworkId("blue"), "pg-2")
    group = StandingGroup(network, DVS, key, vid, frozenset({"leaf1"}))  # type: ignore[arg-type]
    return Handover(rows.RACK1, {(network, DVS): group}, frozenset(), frozenset(), True, 0.0)


def test_an_answer_with_nonsense_anywhere_is_a_failed_read_or_leaves_the_others_standing() -> None:
    """Never a bug: of those a shard bears three, and then Neutron hears that nobody keeps its hosts."""
    neutron = Neutron()
    source = NeutronIntent(neutron, PLACES)  # type: ignore[arg-type]
    good = source.read()
    assert (len(good.networks), len(good.ports), len(good.peers)) == (2, 3, 1)
    facts, failed, clusters = source.facts, 0, {"compute-1": Cluster("rack1", DVS, frozenset({"leaf1"}))}
    clusters["compute-2"] = Cluster("cloud", DVS, frozenset(), overlaid=True)
    for neutron.answer in malformed():
        before = source.facts
        try:
            found = source.read()
        except Retry:
            failed += 1
            assert source.facts is before, "what was read last stands"
            continue
        assert isinstance(found, Intent)
        assert source.facts is not None
        both = {domain: seen(domain) for domain in ("rack1", "cloud")}
        errands(source.facts, both, clusters, {}, frozenset(), Memory(), 0.0)
        there = Member(RED, Mac("00:50:56:00:00:0a"), "192.0.2.1", ("10.0.0.5",))
        Announcer(lambda *what: None).announce(source.facts, [there], 0.0)
    assert failed > 500
    neutron.answer = ANSWER
    assert replace(source.read(), reading=good.reading) == good
    assert source.facts == facts


@pytest.mark.parametrize("address", [7, ["192.0.2.9"], {"ip": "192.0.2.9"}, True])
def test_an_agent_whose_tunnel_address_is_no_text_is_named_and_the_others_stand(address: Any) -> None:
    neutron = Neutron()
    kvm2 = {"host": "kvm2", "vtep": address, "started_at": "1"}
    neutron.answer = ANSWER | {"agents": [*ANSWER["agents"], kvm2]}
    intent = NeutronIntent(neutron, PLACES).read()  # type: ignore[arg-type]
    assert [peer.vtep for peer in intent.peers] == ["192.0.2.9"]
    assert "neutron agent on host kvm2" in {doubt.about for doubt in intent.doubts}


# --- answers to errands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strange", [7, True, {"a": 1}, [7], [["s"]], [None]])
@pytest.mark.parametrize("kind", ["retire", "release", "allocate"])
def test_an_answer_to_an_errand_that_makes_no_sense_is_shown_and_the_others_are_had(kind: str, strange: Any) -> None:
    neutron, shown, memory = Neutron(), dict[str, str](), Memory()
    neutron.answers = {"retire": [], "release": [], "allocate": "", kind: strange}
    delivery = Delivery(neutron, memory, shown.update, lambda: None, lambda: 0.0)  # type: ignore[arg-type]
    every = Errands(allocate=((RED, "rack1"),), retire=(("s", ""),), release=(("t", "mark"),), free=(("rack1", 102),))
    memory.again_at = dict.fromkeys(("allocate ('red', 'rack1')", "retire ('s', '')", "release ('t', 'mark')"), 1.0)
    delivery.deliver(every)
    assert shown == {kind: STRANGE}
    assert set(neutron.calls) == {"allocate", "retire", "release", "free"}


def test_an_errand_whose_answer_makes_no_sense_is_run_again_ever_more_seldom_and_wakes_nobody() -> None:
    neutron, shown, memory, woken = Neutron(), dict[str, str](), Memory(), 0
    neutron.answers["retire"] = "nonsense"
    delivery = Delivery(neutron, memory, shown.update, lambda: None, lambda: float(now))  # type: ignore[arg-type]
    for now in range(3000):
        if memory.due("retire ('s', '')", now):
            woken += delivery.deliver(Errands(retire=(("s", ""),)))
    assert (woken, shown) == (0, {"retire": STRANGE})
    assert neutron.calls["retire"] <= 7 + 3000 / LONGEST_AGAIN


# --- what is asked of us ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": ["compute-1"]},
        {"host": None},
        {"network": {"id": "red"}},
        {"network": 7},
        {"vid": "101"},
        {"vid": [101]},
        {"seconds": "soon"},
        {"seconds": None},
        {"seconds": math.nan},
        {"wait": []},
        {"wait": math.inf},
    ],
)
def test_who_asks_for_a_port_group_in_words_that_make_no_sense_is_told_so(wrong: dict[str, Any]) -> None:
    office = Office()
    office.looks(office.source.reads())
    good = {"host": "compute-1", "network": "red", "vid": 101, "seconds": 0.0, "wait": 0.0}
    endpoint = _Endpoint(office.desk, "rack1")
    assert "pg_id" in endpoint.port_group(None, **good)
    for _ in range(3):
        assert "makes no sense" in endpoint.port_group(None, **(good | wrong))["reason"]
    assert (office.woken, office.source.reasons) == ([], {})
    assert "pg_id" in endpoint.port_group(None, **good)


@pytest.mark.parametrize(("asked", "waits"), [(1e12, LONGEST_WAIT), (-5.0, 0.0)])
def test_nobody_waits_longer_than_binding_may_whatever_he_asks_for(
    monkeypatch: pytest.MonkeyPatch, asked: float, waits: float
) -> None:
    """Who did would keep a thread from those who ask for others."""
    office, found = Office(), list[float]()
    monkeypatch.setattr(office.desk, "port_group", lambda *of: found.extend(of[-2:]) or {})
    _Endpoint(office.desk, "rack1").port_group(None, "compute-1", "red", 101, asked, asked)
    assert found == [waits, waits]


def test_a_notice_that_makes_no_sense_is_at_most_shown() -> None:
    source, woken = NeutronIntent(Neutron(), PLACES), list[frozenset[HostId] | None]()  # type: ignore[arg-type]
    ear = _Ear(woken.append, source)
    ear.changed(None, 7)  # type: ignore[arg-type]
    ear.refused(None, ["p"], {"h": 1}, None)
    ear.refused(None, "r", "compute-1", 7)
    doubts = {doubt.about: doubt.reason for doubt in source.read().doubts}
    assert doubts["port r"].endswith(": 7")
    assert woken == [None]
    source.read()
    assert set(source.refused) == {("r", "compute-1")}, "of what is no port's nothing is kept"


# --- answers that come late ---------------------------------------------------------------------------------------


class SlowServer:
    """neutron-rpc-server; its first answer comes when nobody waits for it any more."""

    target = oslo_messaging.Target(version=VERSION)

    def __init__(self) -> None:
        self.asked = 0
        self.late = threading.Event()

    def read(self, context: object) -> dict[str, int]:
        self.asked += 1
        mine = self.asked
        if mine == 1:
            self.late.wait(10)
        return {"number": mine}


def test_an_answer_that_comes_late_is_not_taken_for_that_to_a_later_question() -> None:
    server, bus = SlowServer(), Bus(BusSettings(lambda: "fake:///", timeout=0.3, exchange="late"))
    bus.serve(SERVER_TOPIC, "slow", [server])
    with pytest.raises(Retry, match="did not answer"):
        bus.call(SERVER_TOPIC, "read")
    threading.Timer(0.2, server.late.set).start()
    assert bus.call(SERVER_TOPIC, "read", seconds=5.0) == {"number": 2}
    time.sleep(0.3)
    assert bus.call(SERVER_TOPIC, "read", seconds=5.0) == {"number": 3}
    bus.close()


def test_of_two_answers_that_overtake_each_other_each_is_for_who_asked() -> None:
    server, bus = SlowServer(), Bus(BusSettings(lambda: "fake:///", timeout=10.0, exchange="overtaken"))
    bus.serve(SERVER_TOPIC, "slow", [server])
    first: list[Any] = []
    asking = threading.Thread(target=lambda: first.append(bus.call(SERVER_TOPIC, "read")))
    asking.start()
    while not server.asked:
        time.sleep(0.01)
    assert bus.call(SERVER_TOPIC, "read") == {"number": 2}
    server.late.set()
    asking.join(10)
    assert first == [{"number": 1}]
    bus.close()


def test_the_same_answer_twice_changes_nothing() -> None:
    source = NeutronIntent(Neutron(), Places())  # type: ignore[arg-type]
    first = source.read()
    assert replace(source.read(), reading=first.reading) == first
