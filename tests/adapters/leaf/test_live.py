"""HwvtepTarget against ovsdb-server: what vtep-ctl reads of what we wrote, others' things, faults, and load."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from isthmus.adapters.leaf.hwvtep import HwvtepSettings, HwvtepTarget
from isthmus.adapters.leaf.hwvtep.steps import Draft, Step
from isthmus.adapters.tls import TlsFiles
from isthmus.model.change import Change, Forget, Learn, Outcome
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.flow import Bridge, Flow, Match
from isthmus.model.names import HostId, LeafId, Mac
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry
from isthmus.model.tags import Vid, VidSet, Vni
from lab.netns import namespace
from lab.netns.leaf import SCHEMA, VTEP_DB
from tests.adapters.leaf.switch import (
    PORTS,
    TestLeaf,
    apply,
    done,
    eventually,
    forget,
    held,
    leaf,
    learn,
    refused,
    sorted_lines,
)
from tests.adapters.ovs.certificates import certificates

pytestmark = pytest.mark.live

RED, BLUE, THEIRS = Vni(5000), Vni(6000), Vni(7000)
OUR_RED, OUR_BLUE = "isthmus-test-5000", "isthmus-test-6000"
A, B = Mac("00:50:56:00:00:0a"), Mac("00:50:56:00:00:0b")
PEER, OTHER = "192.0.2.2", "192.0.2.3"
NETWORK = (LeafBinding(Vid(101), RED), LeafFlood(RED, frozenset({PEER, OTHER})), LeafUnicast(RED, A, PEER))


@pytest.fixture
def switch() -> Iterator[TestLeaf]:
    with leaf() as made:
        yield made


def network(number: int, macs: int) -> tuple[NveEntry, ...]:
    vni = Vni(10000 + number)
    return (
        LeafBinding(Vid(1 + number), vni),
        LeafFlood(vni, frozenset(f"198.51.100.{peer}" for peer in range(1, 11))),
        *(
            LeafUnicast(
                vni, Mac(f"00:50:56:{number >> 8:02x}:{number & 255:02x}:{mac:02x}"), f"198.51.100.{1 + mac % 10}"
            )
            for mac in range(macs)
        ),
    )


# --- vtep-ctl is the witness


def test_what_we_write_is_what_vtep_ctl_reads(switch: TestLeaf) -> None:
    learn(switch.target(), *NETWORK)
    assert switch.ctl("list-ls") == [OUR_RED]
    for port in PORTS:
        assert switch.ctl("list-bindings", "leaf1", port) == [f"0101 {OUR_RED}"]
    assert switch.ctl("list-bindings", "leaf1", "swp9") == []
    assert sorted_lines(switch.ctl("list-remote-macs", OUR_RED)) == [
        f"{A} -> vxlan_over_ipv4/{PEER}",
        "mcast-mac-remote",
        "ucast-mac-remote",
        f"unknown-dst -> vxlan_over_ipv4/{PEER}",
        f"unknown-dst -> vxlan_over_ipv4/{OTHER}",
    ]
    assert switch.get("Logical_Switch", OUR_RED, "tunnel_key") == "5000"
    assert switch.get("Logical_Switch", OUR_RED, "replication_mode") == "source_node"
    assert switch.get("Logical_Switch", OUR_RED, "description") == "isthmus owner=test schema=1"


def test_what_we_forget_is_gone_altogether(switch: TestLeaf) -> None:
    before, target = switch.dump(), switch.target()
    learn(target, *NETWORK)
    switch.ctl(
        "add-ucast-local", OUR_RED, str(B), "192.0.2.1", "--", "add-mcast-local", OUR_RED, "unknown-dst", "192.0.2.1"
    )
    switch.ctl("add-mcast-remote", OUR_RED, "01:00:5e:00:00:01", PEER)
    forget(target, *NETWORK)
    assert held(target) == set()
    assert switch.dump() == before


def test_the_commands_that_plan_shows_do_what_apply_does(switch: TestLeaf) -> None:
    target = switch.target()
    target.observe()
    for action in (
        Learn(NETWORK),
        Learn((LeafFlood(RED, frozenset({OTHER})), LeafUnicast(RED, A, OTHER))),
        Forget(NETWORK),
    ):
        for line in target.words(Change(1, target.id, action, "test")):
            switch.ctl(*line.split()[1:])
        by_hand = [switch.ctl("show"), switch.ctl("list-ls"), switch.ctl("list", "Physical_Locator")]
        if switch.ctl("list-ls"):
            switch.ctl("set", "Logical_Switch", OUR_RED, 'description="isthmus owner=test schema=1"')
        done(target, action)
        assert [switch.ctl("show"), switch.ctl("list-ls"), switch.ctl("list", "Physical_Locator")] == by_hand
        target.observe()


def test_what_is_so_already_is_not_written_again(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    before, size = switch.dump(), (switch.leaf.ovs.rundir / VTEP_DB).stat().st_size
    learn(target, *NETWORK)
    assert held(target) == set(NETWORK)
    assert switch.dump() == before
    assert (switch.leaf.ovs.rundir / VTEP_DB).stat().st_size == size


def test_locators_are_shared_and_go_with_their_last_user(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    learn(target, LeafFlood(BLUE, frozenset({PEER})), LeafUnicast(BLUE, A, PEER))
    assert len(switch.ctl("--columns=_uuid", "find", "Physical_Locator", f"dst_ip={PEER}")) == 1
    forget(target, LeafFlood(BLUE, frozenset()), LeafUnicast(BLUE, A, PEER))
    assert len(switch.ctl("--columns=_uuid", "find", "Physical_Locator", f"dst_ip={PEER}")) == 1
    forget(target, *NETWORK)
    assert switch.ctl("list", "Physical_Locator") == switch.ctl("list", "Physical_Locator_Set") == []


def test_a_vid_goes_from_one_network_to_another_and_stays_there(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    learn(target, LeafBinding(Vid(101), BLUE), LeafFlood(BLUE, frozenset()))
    assert switch.ctl("list-bindings", "leaf1", "swp2") == [f"0101 {OUR_BLUE}"]
    forget(target, *NETWORK)
    assert switch.ctl("list-bindings", "leaf1", "swp1") == [f"0101 {OUR_BLUE}"]
    assert switch.ctl("list-ls") == [OUR_BLUE]


def test_a_switch_that_comes_back_has_kept_everything(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    switch.stop()
    # Whether the end of the connection was noticed before the question or in it, only the machine's load says.
    with pytest.raises(Unreachable, match=r"cannot be reached|hung up"):
        target.observe()
    switch.start()
    assert held(target) == set(NETWORK)
    learn(target, LeafFlood(BLUE, frozenset()))


# --- other hands


def test_others_networks_bindings_and_macs_are_left_alone(switch: TestLeaf) -> None:
    switch.ctl("add-ls", "storage", "--", "set", "Logical_Switch", "storage", "tunnel_key=7000")
    for port in ("swp1", "swp9"):
        switch.ctl("bind-ls", "leaf1", port, "300", "storage")
    switch.ctl("add-ucast-remote", "storage", str(A), PEER, "--", "add-mcast-remote", "storage", "unknown-dst", PEER)
    before, target = switch.dump(), switch.target()
    mirror = target.observe()
    assert mirror.entries == {}
    assert mirror.foreign_vids == VidSet.of([300])
    learn(target, *NETWORK)
    assert "'storage', which is not ours" in refused(target, Learn((LeafBinding(Vid(300), RED),)))
    assert "'storage', which is not ours" in refused(target, Learn((LeafFlood(THEIRS, frozenset()),)))
    forget(target, LeafBinding(Vid(300), THEIRS), LeafFlood(THEIRS, frozenset()), LeafUnicast(THEIRS, A, PEER))
    forget(target, *NETWORK)
    assert switch.dump() == before


def test_a_network_of_ours_bound_by_hand_untagged_stays_and_is_said(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    switch.ctl("bind-ls", "leaf1", "swp9", "0", OUR_RED)
    assert [found.what.partition(" is bound")[0] for found in target.findings()] == [
        "VLAN 0 of port swp9 of switch leaf1"
    ]
    assert "VLAN 0 of port swp9 of switch leaf1" in refused(target, Forget(NETWORK))
    assert switch.ctl("list-bindings", "leaf1", "swp1") == []
    assert switch.ctl("list-bindings", "leaf1", "swp9") == [f"0000 {OUR_RED}"]
    assert held(target) == {LeafFlood(RED, frozenset())}
    switch.ctl("unbind-ls", "leaf1", "swp9", "0")
    forget(target, LeafFlood(RED, frozenset()))
    assert switch.ctl("list-ls") == []


def test_a_port_that_was_taken_out_of_the_configuration_leaves_our_networks_and_no_others(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    switch.ctl("add-ls", "storage", "--", "set", "Logical_Switch", "storage", "tunnel_key=7000")
    for vid, name in (("101", OUR_RED), ("7", OUR_RED), ("300", "storage")):
        switch.ctl("bind-ls", "leaf1", "swp9", vid, name)
    stray = LeafBinding(Vid(7), RED, whole=False)
    assert {stray, LeafBinding(Vid(101), RED, whole=False)} <= held(target)
    learn(target, LeafBinding(Vid(101), RED))
    forget(target, stray)
    assert switch.ctl("list-bindings", "leaf1", "swp9") == ["0300 storage"]
    assert held(target) == set(NETWORK)


@pytest.mark.parametrize(
    "harm",
    [
        ("unbind-ls", "leaf1", "swp2", "101"),
        ("set", "Logical_Switch", OUR_RED, "tunnel_key=5001"),
        ("clear", "Logical_Switch", OUR_RED, "replication_mode"),
        ("clear-remote-macs", OUR_RED),
        ("add-ucast-remote", OUR_RED, str(A), OTHER),
        ("add-mcast-remote", OUR_RED, "unknown-dst", "192.0.2.66"),
    ],
    ids=" ".join,
)
def test_what_another_hand_harms_is_seen_and_mended(switch: TestLeaf, harm: tuple[str, ...]) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    before = switch.ctl("show"), sorted_lines(switch.ctl("list-remote-macs", OUR_RED))
    switch.ctl(*harm)
    assert held(target) != set(NETWORK)
    learn(target, *NETWORK)
    assert held(target) == set(NETWORK)
    assert (switch.ctl("show"), sorted_lines(switch.ctl("list-remote-macs", OUR_RED))) == before
    assert switch.get("Logical_Switch", OUR_RED, "tunnel_key") == "5000"
    assert switch.get("Logical_Switch", OUR_RED, "replication_mode") == "source_node"


def test_macs_written_twice_by_another_hand_become_one(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    switch.ctl(
        "--id=@twice", "create", "Ucast_Macs_Remote", f'MAC="{A.upper()}"',
        f"logical_switch={switch.get('Logical_Switch', OUR_RED, '_uuid')}",
        "locator=" + switch.ctl("--bare", "--columns=_uuid", "find", "Physical_Locator", f"dst_ip={OTHER}")[0],
    )  # fmt: skip
    assert LeafUnicast(RED, A, f"{PEER},{OTHER}") in held(target)
    learn(target, *NETWORK)
    assert held(target) == set(NETWORK)
    assert len(switch.ctl("--columns=MAC", "list", "Ucast_Macs_Remote")) == 1


def test_writers_on_other_vids_of_the_same_ports_do_not_undo_each_other(switch: TestLeaf) -> None:
    """Another hand binds VIDs of its own all the while, with care: vtep-ctl writes all bindings of a port anew."""
    target = switch.target()
    switch.ctl("add-ls", "storage", "--", "set", "Logical_Switch", "storage", "tunnel_key=7000")
    storage = switch.get("Logical_Switch", "storage", "_uuid")
    stop, failed = threading.Event(), []

    def meddle() -> None:
        vid = 0
        while not stop.is_set():
            vid += 1
            try:
                switch.bind_carefully("swp1", 3000 + vid, storage)
            except namespace.CommandFailed as fault:
                failed.append(fault)

    other = threading.Thread(target=meddle)
    other.start()
    for number in range(40):
        learn(target, *network(number, 1))
    stop.set()
    other.join()
    assert failed == []
    assert held(target) == {entry for number in range(40) for entry in network(number, 1)}
    bound = switch.ctl("list-bindings", "leaf1", "swp1")
    theirs = [int(line.split()[0]) for line in bound if "storage" in line]
    assert theirs == list(range(3001, 3001 + len(theirs)))
    assert len(theirs) > 3


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (("bind-ls", "leaf1", "swp1", "101", "storage"), "VID 101 of port swp1"),
        (("set", "Logical_Switch", "storage", "tunnel_key=5000"), "VNI 5000 is taken"),
    ],
    ids=["a VID", "a VNI"],
)
def test_what_another_hand_takes_in_the_last_moment_is_its_own(
    switch: TestLeaf, monkeypatch: pytest.MonkeyPatch, harm: tuple[str, ...], told: str
) -> None:
    """When what we write has been worked out from what the leaf held, and is not written yet."""
    switch.ctl("add-ls", "storage", "--", "set", "Logical_Switch", "storage", "tunnel_key=7000")
    target, worked_out, times = switch.target(), Draft.steps, iter([True, False])

    def interrupted(draft: Draft) -> tuple[Step, ...]:
        if next(times):
            switch.ctl(*harm)
        return worked_out(draft)

    monkeypatch.setattr(Draft, "steps", interrupted)
    assert told in refused(target, Learn(NETWORK))
    assert switch.ctl("list-ls") == ["storage"]
    assert held(target) == set()


def test_a_mac_that_the_leaf_has_just_seen_is_not_led_away_until_the_world_was_read_again(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    target.observe()
    switch.ctl("add-ucast-local", OUR_RED, str(B), "192.0.2.1")
    [result] = apply(target, Learn((LeafUnicast(RED, B, PEER), LeafUnicast(RED, A, OTHER))))
    assert result.outcome is Outcome.RETRY
    assert f"the leaf has just seen {B} below itself" in result.detail
    assert held(target) == {*NETWORK[:2], LeafUnicast(RED, A, OTHER)}
    learn(target, LeafUnicast(RED, B, PEER))
    assert LeafUnicast(RED, B, PEER) in held(target)


# --- not the leaf that was configured, or none


def test_a_leaf_that_is_not_as_configured_is_not_written(switch: TestLeaf) -> None:
    before = switch.dump()
    wrong: dict[str, HwvtepSettings] = {
        "there are: swp1, swp2, swp9.  Correct 'ports'": switch.settings(ports=("swp1", "Ethernet1")),
        "sends from 192.0.2.1 (tunnel_ips), configured is 192.0.2.99": switch.settings(vtep="192.0.2.99"),
        "no physical switch 'leaf2'; there are: leaf1": switch.settings(switch="leaf2"),
    }
    for told, settings in wrong.items():
        target = switch.target(settings)
        with pytest.raises(Retry) as fault:  # the other leaves of its fabric go on
            target.observe()
        assert told in str(fault.value)
        assert told in refused(target, Learn(NETWORK))
        [found] = target.findings()
        assert told in found.what
        assert found.is_problem
        target.close()
    assert switch.dump() == before


def test_a_port_that_comes_later_is_taken_then(switch: TestLeaf) -> None:
    target = switch.target(switch.settings(ports=("swp1", "swp5")))
    with pytest.raises(Retry):
        target.observe()
    switch.ctl("add-port", "leaf1", "swp5")
    learn(target, *NETWORK)
    switch.ctl("del-port", "leaf1", "swp5")
    with pytest.raises(Retry, match="has no port swp5"):
        target.observe()


def test_an_ovsdb_without_the_database_is_no_leaf(tmp_path: Path, switch: TestLeaf) -> None:
    only_ovs = [f"--unixctl={tmp_path}/ctl", str(switch.leaf.ovs.rundir / "conf.db")]
    switch.stop()
    log = tmp_path / "log"
    started = switch.state.processes.start(
        "ovsdb-server without vtep", ["ovsdb-server", f"--remote=punix:{tmp_path}/db.sock", *only_ovs], log
    )
    eventually((tmp_path / "db.sock").exists)
    with pytest.raises(Retry, match="has no database hardware_vtep"):
        switch.target(switch.settings(f"unix:{tmp_path}/db.sock")).observe()
    started.terminate()
    started.wait()


def test_an_older_schema_is_written_without_what_it_lacks(switch: TestLeaf) -> None:
    schema = json.loads(SCHEMA.read_text())
    del schema["tables"]["Logical_Switch"]["columns"]["replication_mode"]
    del schema["tables"]["Physical_Switch"]["columns"]["switch_fault_status"]
    del schema["tables"]["Physical_Port"]["columns"]["port_fault_status"]
    old, database = switch.leaf.ovs.rundir / "old.ovsschema", switch.leaf.ovs.rundir / VTEP_DB
    old.write_text(json.dumps(schema))
    switch.stop()
    database.unlink()
    namespace.run("ovsdb-tool", "create", database, old)
    log = switch.leaf.ovs.rundir / "ovs.log"
    command = ["ovsdb-server", f"--remote=punix:{switch.leaf.ovs.rundir}/db.sock", str(database)]
    switch.state.processes.start("ovsdb-server, old", [*command, f"--unixctl={switch.leaf.ovs.rundir}/old.ctl"], log)
    eventually((switch.leaf.ovs.rundir / "db.sock").exists)
    named = {"name": "leaf1", "tunnel_ips": "192.0.2.1", "ports": ["set", [["named-uuid", f"p{n}"] for n in (1, 2)]]}
    ports = [
        {"op": "insert", "table": "Physical_Port", "uuid-name": f"p{n}", "row": {"name": f"swp{n}"}} for n in (1, 2)
    ]
    rows = [{"op": "insert", "table": "Physical_Switch", "uuid-name": "ps", "row": named},
            {"op": "insert", "table": "Global", "row": {"switches": ["named-uuid", "ps"]}}]  # fmt: skip
    namespace.run("ovsdb-client", "transact", switch.leaf.db, json.dumps(["hardware_vtep", *ports, *rows]))
    target = switch.target()
    learn(target, *NETWORK)
    assert held(target) == set(NETWORK)
    assert target.findings() == ()


def test_a_leaf_that_hangs_is_unknown_within_the_time_it_is_given(switch: TestLeaf) -> None:
    target = switch.target(switch.settings(timeout=1.0))
    learn(target, *NETWORK)
    switch.freeze()
    try:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(Unreachable):
                target.observe()
            [result] = apply(target, Forget(NETWORK))
            assert result.outcome is Outcome.UNREACHABLE
            assert time.monotonic() - began < 6
    finally:
        switch.thaw()
    eventually(lambda: readable(target))
    assert held(target) >= {LeafFlood(RED, frozenset({PEER, OTHER}))} or held(target) == set()


def test_a_switch_that_dies_while_it_is_asked_is_unknown_at_once(switch: TestLeaf) -> None:
    target = switch.target(switch.settings(timeout=20.0))
    learn(target, *NETWORK)
    switch.freeze()
    faults: list[Retry] = []

    def ask() -> None:
        with pytest.raises(Unreachable, match="hung up") as raised:
            target.observe()
        faults.append(raised.value)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    time.sleep(0.3)
    assert not faults
    switch.stop()
    asking.join(5.0)
    assert len(faults) == 1


def test_a_switch_that_hung_and_was_then_started_anew_is_read_again(switch: TestLeaf) -> None:
    target = switch.target(switch.settings(timeout=0.5))
    learn(target, *NETWORK)
    switch.freeze()
    for _ in range(3):  # more than the library has room for
        assert not readable(target)
    switch.stop()
    assert in_time(lambda: readable(target)) is False
    switch.start()
    assert in_time(lambda: held(target)) == set(NETWORK)


def test_a_leaf_that_hangs_is_let_go_of_all_the_same(switch: TestLeaf) -> None:
    target = switch.target(switch.settings(timeout=0.5))
    learn(target, *NETWORK)
    switch.freeze()
    try:
        for _ in range(3):
            assert not readable(target)
        in_time(target.close)
    finally:
        switch.thaw()


T = TypeVar("T")


def in_time(does: Callable[[], T]) -> T:
    """What it gives, within seconds: whatever would never end must not keep the test from doing so."""
    given: list[T] = []
    doing = threading.Thread(target=lambda: given.append(does()), daemon=True)
    doing.start()
    doing.join(5.0)
    assert given, "it never ended"
    return given[0]


def readable(target: HwvtepTarget) -> bool:
    try:
        target.observe()
    except Retry:
        return False
    return True


# --- one writer


def test_a_second_process_of_the_same_installation_is_refused(switch: TestLeaf) -> None:
    first, second = switch.target(keeps=True), switch.target(keeps=True)
    learn(first, *NETWORK)
    for _ in range(2):
        with pytest.raises(Refused, match="another isthmus process writes the leaf"):
            second.observe()
    assert "stop that one" in refused(second, Forget(NETWORK))
    onlooker = switch.target()
    assert held(onlooker) == set(NETWORK)
    assert "stop that one" in refused(onlooker, Forget(NETWORK))
    first.close()
    eventually(lambda: bool(apply(second, Learn(NETWORK))[0].outcome is Outcome.DONE))


def test_two_installations_share_a_leaf_each_with_ports_of_its_own(switch: TestLeaf) -> None:
    east = switch.target(switch.settings(owner="east", ports=("swp1",)), keeps=True)
    west = switch.target(switch.settings(owner="west", ports=("swp2",)), keeps=True)
    learn(east, *NETWORK)
    assert held(west) == set()
    assert "'isthmus-east-5000', which is not ours" in refused(west, Learn(NETWORK))
    blue = LeafBinding(Vid(101), BLUE), LeafFlood(BLUE, frozenset())
    learn(west, *blue)
    assert held(east) == set(NETWORK)
    assert held(west) == set(blue)


# --- the ways to a switch


def test_a_switch_that_dials_in_is_served_and_found_again(switch: TestLeaf) -> None:
    target = switch.target(switch.settings("ptcp:16640:127.0.0.1", timeout=12.0))
    namespace.within(switch.leaf.ovs.namespace, lambda: dialled_in(switch, target, "tcp:127.0.0.1:16640"))


def dialled_in(switch: TestLeaf, target: HwvtepTarget, manager: str) -> None:
    switch.ctl("set-manager", manager)
    learn(target, *NETWORK)
    assert held(target) == set(NETWORK)
    switch.stop()
    with pytest.raises(Retry):
        target.observe()
    switch.start()
    eventually(lambda: readable(target), within=20)
    assert held(target) == set(NETWORK)
    assert switch.ctl("list-ls") == [OUR_RED]


def test_nobody_dialling_in_is_said_with_how_the_switch_is_told_to(switch: TestLeaf) -> None:
    target = switch.target(switch.settings("ptcp:16641:127.0.0.1", timeout=0.3))
    with pytest.raises(Retry, match=r"has not dialled in.*vtep-ctl set-manager"):
        target.observe()


def test_two_leaves_cannot_be_awaited_at_one_port(switch: TestLeaf) -> None:
    first = switch.target(switch.settings("ptcp:16642:127.0.0.1", timeout=0.1))
    second = switch.target(switch.settings("ptcp:16642:127.0.0.1", timeout=0.1))
    with pytest.raises(Retry):
        first.observe()
    with pytest.raises(Retry, match="every leaf needs a port of its own"):
        second.observe()


@pytest.mark.parametrize("waits", [False, True], ids=["dialled", "dials in"])
def test_by_tls_both_ends_trust_the_same_ca(waits: bool, tmp_path: Path) -> None:
    tls = certificates(tmp_path)
    with leaf("pssl:16640:127.0.0.1") as switch:
        switch.stop()
        command: list[str | Path] = [
            *namespace.inside(switch.leaf.ovs.namespace), "ovsdb-server", switch.leaf.ovs.rundir / VTEP_DB,
            f"--remote=punix:{switch.leaf.ovs.rundir}/db.sock", "--remote=db:hardware_vtep,Global,managers",
            f"--unixctl={switch.leaf.ovs.rundir}/tls.ctl",
            f"--private-key={tls.key}", f"--certificate={tls.certificate}", f"--ca-cert={tls.ca}",
        ]  # fmt: skip
        if not waits:
            command.append("--remote=pssl:16640:127.0.0.1")
        switch.state.processes.start("ovsdb-server with tls", command, switch.leaf.ovs.rundir / "ovs.log")
        eventually((switch.leaf.ovs.rundir / "db.sock").exists)
        if waits:
            switch.ctl("set-manager", "ssl:127.0.0.1:16641")
        where = "pssl:16641:127.0.0.1" if waits else "ssl:127.0.0.1:16640"
        settings = replace(switch.settings(), target=where, tls=tls, timeout=12.0)

        def scenario() -> None:
            target = switch.target(settings)
            learn(target, *NETWORK)
            assert held(target) == set(NETWORK)
            target.close()
            strange = tmp_path / "strange"
            strange.mkdir()
            others = certificates(strange)
            distrusted = replace(settings, tls=replace(tls, ca=others.ca), timeout=2.0)
            with pytest.raises(Retry, match=r"(?i)certificate|dialled in"):
                switch.target(distrusted).observe()

        namespace.within(switch.leaf.ovs.namespace, scenario)


def test_tls_files_that_cannot_be_read_are_named(switch: TestLeaf, tmp_path: Path) -> None:
    nothing = TlsFiles(*(str(tmp_path / name) for name in ("key", "certificate", "ca")))
    with pytest.raises(Retry, match=f"{tmp_path}/ca.* cannot be used: No such file"):
        HwvtepTarget(LeafId("leaf1"), replace(switch.settings(), target="ssl:127.0.0.1:1", tls=nothing)).observe()


# --- watching


def test_a_change_by_another_hand_wakes_for_the_hosts_below_and_ours_does_not(switch: TestLeaf) -> None:
    hosts, woken = frozenset({HostId("vc/host-1")}), []
    target = HwvtepTarget(LeafId("leaf1"), switch.settings(), hosts)
    switch.targets.append(target)
    learn(target, *NETWORK)
    target.observe()
    target.watch(woken.append)
    time.sleep(1.3)
    learn(target, LeafFlood(BLUE, frozenset({PEER})))
    target.observe()
    switch.ctl("add-ucast-local", OUR_RED, str(B), "192.0.2.1")
    time.sleep(2.3)
    assert woken == []
    switch.ctl("unbind-ls", "leaf1", "swp1", "101")
    eventually(lambda: woken == [hosts])
    switch.stop()
    eventually(lambda: len(woken) == 2)
    switch.start()
    eventually(lambda: len(woken) == 3)


# --- health


def test_a_tunnel_that_the_switch_finds_down_is_said(switch: TestLeaf) -> None:
    target = switch.target()
    learn(target, *NETWORK)
    switch.ctl("add-ucast-local", OUR_RED, str(B), "192.0.2.1")
    local, remote = (
        switch.ctl("--bare", "--columns=_uuid", "find", "Physical_Locator", f'dst_ip="{vtep}"')[0]
        for vtep in ("192.0.2.1", PEER)
    )
    switch.ctl(
        "--id=@t", "create", "Tunnel", f"local={local}", f"remote={remote}", "bfd_params:enable=true",
        "bfd_status:enabled=true", "bfd_status:state=down", 'bfd_status:diagnostic="Neighbor Signaled Session Down"',
        "--", "add", "Physical_Switch", "leaf1", "tunnels", "@t",
    )  # fmt: skip
    said = f"switch leaf1 finds its tunnel to {PEER} down (Neighbor Signaled Session Down)"
    assert target.observe().warnings == (said,)
    assert [found.what for found in target.findings()] == [said]


# --- load


def test_a_hundred_networks_of_ten_macs_are_written_and_read_in_a_second_or_two(switch: TestLeaf) -> None:
    target = switch.target()
    networks = [network(number, 10) for number in range(100)]
    began = time.monotonic()
    done(target, *map(Learn, networks))
    assert held(target) == {entry for entries in networks for entry in entries}
    assert time.monotonic() - began < 20  # 0.4 s on an idle machine
    assert len(switch.ctl("list-ls")) == 100
    done(target, *map(Forget, networks))
    assert switch.ctl("list-ls") == []


def test_a_change_that_the_server_rejects_stands_alone(switch: TestLeaf) -> None:
    """A router that another hand has put into a network of ours holds it."""
    target = switch.target()
    networks = [network(number, 1) for number in range(5)]
    done(target, *map(Learn, networks))
    held_fast = switch.get("Logical_Switch", "isthmus-test-10002", "_uuid")
    switch.ctl("create", "Logical_Router", "name=r1", f"switch_binding:192.0.2.0\\/24={held_fast}")
    results = apply(target, *map(Forget, networks))
    assert [result.outcome for result in results] == [
        Outcome.RETRY if number == 2 else Outcome.DONE for number in range(5)
    ]
    assert "referential integrity violation" in results[2].detail
    assert held(target) == set(networks[2])


def test_an_entry_of_another_kind_of_nve_is_a_bug_and_no_fault_of_the_leafs(switch: TestLeaf) -> None:
    flow = Flow(Bridge.INT, 0, 1, Match(), ())
    with pytest.raises(TypeError, match="a leaf holds no Flow"):
        apply(switch.target(), Learn((flow,)))


def test_nothing_runs_on_after_close(switch: TestLeaf) -> None:
    before = threading.active_count()
    target = switch.target()
    target.watch(lambda hosts: None)
    target.observe()
    target.close()
    assert threading.active_count() == before
    with pytest.raises(Retry, match="was closed"):
        target.observe()
