"""What a look costs and shows when vCenter tells what changed: only that is read again, and nothing is missed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim

from isthmus.adapters.vcenter.seen import SeenPorts
from isthmus.adapters.vcenter.switch import Switch
from isthmus.adapters.vcenter.told import REMEMBERED, Told
from isthmus.model.change import CreatePortGroup, Outcome
from isthmus.model.faults import Retry
from isthmus.model.observed import DvPortState, NoVlan
from tests.adapters.vcenter.bench import Bench, eventually
from tests.adapters.vcenter.test_switch import apply, calls_of, dvs, opened, ports, spec

sim = pytest.mark.sim


@pytest.fixture
def switch(bench: Bench) -> Switch:
    """A switch that was looked at once, on a vCenter that tells."""
    bench.vcenter.inventory.watch(lambda hosts: None)
    bench.vcenter.inventory.read()
    switch = bench.vcenter.switch("tenant")
    switch.observe()
    eventually(lambda: not listened(switch, lambda: switch.refresh()))  # what was told of the start is read
    return switch


def listened(switch: Switch, do: Any) -> list[str]:
    """The methods called meanwhile."""
    session: Any = switch._session
    before = session._stub.SerializeRequest
    calls = calls_of(session)
    try:
        do()
    finally:
        session._stub.SerializeRequest = before
    return calls


@sim
def test_a_look_when_nothing_was_told_asks_vcenter_nothing(switch: Switch) -> None:
    assert listened(switch, lambda: switch.refresh()) == []


@sim
def test_a_new_vm_is_seen_by_reading_its_port_alone(bench: Bench, switch: Switch) -> None:
    red = str(bench.operator.named(vim.dvs.DistributedVirtualPortgroup, "red").key)
    nic = bench.operator.make_vm("new", "esx1", red)
    calls: list[str] = []

    def seen() -> bool:
        calls.extend(listened(switch, lambda: switch.refresh()))
        return any(port.nic == nic and port.connected for port in switch.refresh().ports.values())

    eventually(seen)
    assert set(calls) == {"FetchPorts"}
    assert switch.refresh() == switch.observe()


@sim
def test_what_a_hand_does_to_a_port_is_seen(bench: Bench, switch: Switch) -> None:
    port = ports(switch)[0]
    tenant = bench.operator.switch("tenant")
    bench.operator.edit_port(tenant, port.key, vid=77)
    eventually(lambda: switch.refresh().ports[port.key].vlan_own)
    assert switch.refresh() == switch.observe()


@sim
def test_a_vm_that_is_gone_takes_its_port_along(bench: Bench, switch: Switch) -> None:
    port = ports(switch)[0]
    assert port.nic is not None
    bench.operator.remove(bench.operator.vm(port.nic))
    eventually(lambda: port.key not in switch.refresh().ports)


@sim
def test_what_was_written_is_in_the_next_look(switch: Switch) -> None:
    port = ports(switch)[0]
    apply(switch, opened(port, 101))
    assert not switch.refresh().ports[port.key].blocked


@sim
def test_a_write_takes_one_call_beside_the_reading_of_its_port_and_the_wait_for_its_end(switch: Switch) -> None:
    for vid in (101, 102):
        port = switch.refresh().ports[ports(switch)[0].key]
        calls = listened(switch, lambda port=port, vid=vid: apply(switch, opened(port, vid)))
    assert sorted(call for call in calls if call != "WaitForUpdatesEx") == ["FetchPorts", "ReconfigurePort"]


@sim
def test_what_a_hand_did_while_there_was_no_event_collector_is_seen_once_there_is_one(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory: Any = bench.vcenter.inventory
    inventory._feed.events.collector.DestroyCollector()
    vm = bench.operator.named(vim.VirtualMachine, "a")
    bench.operator.power(vm, on=False)
    eventually(lambda: inventory._feed.events is None)
    switch.refresh()
    port = ports(switch)[-1]
    bench.operator.edit_port(bench.operator.switch("tenant"), port.key, vid=77)
    monkeypatch.setattr("isthmus.adapters.vcenter.inventory.EVENTS_AGAIN", 0.0)
    bench.operator.power(vm, on=True)
    eventually(lambda: switch.refresh().ports[port.key].vlan_own)


@sim
def test_what_a_hand_did_is_seen_though_nobody_could_make_anything_of_its_event(bench: Bench, switch: Switch) -> None:
    inventory: Any = bench.vcenter.inventory

    def baffled(page: Any = ()) -> Any:
        raise KeyError("strange")

    inventory._feed.events.news = baffled
    port = ports(switch)[-1]
    bench.operator.edit_port(bench.operator.switch("tenant"), port.key, vid=77)
    eventually(lambda: inventory._feed.events is None)
    assert switch.refresh().ports[port.key].vlan_own, "and its successor comes only in some minutes"


@sim
def test_a_write_of_which_nothing_more_was_heard_is_in_the_next_look(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ports(switch)[0]
    inventory, tasks = switch._inventory, switch._ports._tasks
    monkeypatch.setattr(inventory, "told_since", lambda place, uuid: (place, set()))  # nor is it told
    run = tasks.run

    def cut_off(start: Any, what: str, *more: Any) -> Any:
        run(start, what, *more)
        monkeypatch.setattr(switch._ports, "_read_back", cut_off_too)
        raise Retry("the connection broke")

    def cut_off_too(*_: Any) -> Any:
        raise Retry("the connection broke")

    monkeypatch.setattr(tasks, "run", cut_off)
    [result] = apply(switch, opened(port, 101))
    assert result.outcome is Outcome.RETRY
    assert not switch.refresh().ports[port.key].blocked


@sim
def test_all_ports_are_seen_anew_though_nobody_told_of_them_and_port_groups_are_not_read_for_it(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ports(switch)[-1]
    monkeypatch.setattr(switch._inventory, "told_since", lambda place, uuid: (place, set()))
    bench.operator.edit_port(bench.operator.switch("tenant"), port.key, vid=77)
    assert not switch.refresh().ports[port.key].vlan_own, "it was told"
    assert listened(switch, lambda: switch.refresh(every_port=True)) == ["FetchPorts"]
    assert switch.refresh().ports[port.key].vlan_own


@sim
def test_a_port_in_a_port_group_that_nobody_told_of_makes_all_be_read(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch._inventory, "told_since", lambda place, uuid: (place, set()))
    key = bench.operator.make_port_group("tenant", "green", 9)
    nic = bench.operator.make_vm("new", "esx1", key)
    eventually(lambda: any(port.nic == nic for port in switch.refresh(every_port=True).ports.values()))
    assert key in switch.refresh().port_groups


@sim
def test_after_another_port_group_all_is_read(switch: Switch) -> None:
    apply(switch, CreatePortGroup(dvs(switch), spec("green")))
    assert "RetrievePropertiesEx" in listened(switch, lambda: switch.refresh())


@sim
def test_after_another_tag_on_an_open_port_all_is_read(switch: Switch) -> None:
    key = ports(switch)[0].key
    for vid in (101, 102):
        apply(switch, opened(switch.refresh().ports[key], vid))
    assert "RetrievePropertiesEx" in listened(switch, lambda: switch.refresh())


@sim
def test_a_port_group_that_a_hand_made_is_seen(bench: Bench, switch: Switch) -> None:
    key = bench.operator.make_port_group("tenant", "foreign", 9)
    eventually(lambda: key in switch.refresh().port_groups)


@sim
def test_after_a_lost_session_all_is_read(bench: Bench, switch: Switch) -> None:
    bench.operator.end_other_sessions()
    eventually(lambda: "RetrievePropertiesEx" in listened(switch, lambda: switch.refresh()))
    assert switch.refresh() == switch.observe()


# --- what is told, what is seen ---------------------------------------------------------------------------------


def test_who_is_too_far_behind_is_told_that_everything_may_have_changed() -> None:
    told = Told()
    told.ports([("s", "1")])
    assert told.since(0, "s") == {"1"}
    assert told.since(0, "other") == set()
    assert told.since(1, "s") == set()
    told.ports(("s", str(number)) for number in range(REMEMBERED))
    assert told.since(0, "s") is None
    assert told.since(told.count - 3, "s") == {str(REMEMBERED - back) for back in (1, 2, 3)}
    told.everything()
    assert told.since(told.count - 1, "s") is None


def port(key: str, version: int) -> DvPortState:
    return DvPortState(key, "group", str(version), NoVlan(), False)


READS = st.lists(st.sets(st.sampled_from("ab")) | st.just("all"), min_size=1, max_size=8)
"""What is read: all ports, or these."""


@given(READS, st.data())
def test_whatever_order_answers_come_in_a_port_is_as_the_read_that_began_last_found_it(
    reads: list[set[str] | str], data: st.DataObject
) -> None:
    seen = SeenPorts()
    numbers = [seen.begin() for _ in reads]
    for moment in data.draw(st.permutations(range(len(reads)))):
        found = {key: port(key, moment) for key in ("ab" if reads[moment] == "all" else reads[moment])}
        if reads[moment] == "all":
            seen.all(numbers[moment], found)
        else:
            seen.some(numbers[moment], found, found)
    for key in "ab":
        last = [moment for moment, asked in enumerate(reads) if asked == "all" or key in asked][-1:]
        assert seen.now().get(key) == (port(key, last[0]) if last else None)


@pytest.mark.parametrize("kind", ["all", "some"])
def test_a_port_that_we_changed_is_doubtful_until_a_read_that_began_afterwards(kind: str) -> None:
    seen = SeenPorts()

    def read(number: int) -> None:
        found = {"a": port("a", number)}
        if kind == "all":
            seen.all(number, found)
        else:
            seen.some(number, found, found)

    early = seen.begin()
    seen.doubt(["a"])
    read(early)
    assert seen.doubtful == {"a"}
    read(seen.begin())
    assert seen.doubtful == set()
