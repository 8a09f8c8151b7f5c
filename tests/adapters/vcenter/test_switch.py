"""What only a real vCenter can do to a writer: conflicts, policies, other people's settings, hostile names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter import dvports, marks
from isthmus.adapters.vcenter import switch as switch_module
from isthmus.adapters.vcenter.naming import plain
from isthmus.adapters.vcenter.switch import Switch
from isthmus.model.change import (
    Action,
    AlterPortGroup,
    Change,
    CreatePortGroup,
    Gate,
    Outcome,
    PortGroupSpec,
    RemovePortGroup,
    Result,
    SetDvPort,
)
from isthmus.model.names import DvsId, NetworkId
from isthmus.model.observed import Access, DvPortState, OwnerMark, PortGroupState
from isthmus.model.tags import Vid, Vni
from lab.vcenter import Drop, Fault
from tests.adapters.vcenter.bench import Bench

pytestmark = pytest.mark.sim
PortGroup = vim.dvs.DistributedVirtualPortgroup
VmwareSwitch = vim.dvs.VmwareDistributedVirtualSwitch


@pytest.fixture
def switch(bench: Bench) -> Switch:
    return bench.vcenter.switch("tenant")


def apply(switch: Switch, *actions: Action) -> Sequence[Result]:
    return switch.apply([Change(number, switch.id, action, "test") for number, action in enumerate(actions)])


def spec(name: str, network: str = "net", vid: int | None = None) -> PortGroupSpec:
    mark = OwnerMark("isthmus", NetworkId(network), Vni(5001))
    return PortGroupSpec(name, mark, Vid(vid) if vid else None)


def dvs(switch: Switch) -> DvsId:
    return DvsId(switch.id.name)


def make(switch: Switch, wanted: PortGroupSpec) -> PortGroupState:
    [result] = apply(switch, CreatePortGroup(dvs(switch), wanted))
    assert result.outcome is Outcome.DONE, result.detail
    groups = switch.observe().port_groups.values()
    return next(group for group in groups if group.mark and group.mark.network == wanted.mark.network)


def ports(switch: Switch) -> list[DvPortState]:
    return sorted(switch.observe().ports.values(), key=lambda port: int(port.key))


def opened(port: DvPortState, vid: int, gate: Gate = Gate.OPEN) -> SetDvPort:
    return SetDvPort(DvsId("x"), port.key, port.cookie, port.version, gate, Vid(vid), port.host)


def meddle(monkeypatch: pytest.MonkeyPatch, switch: Switch, times: int, how: Callable[[], None]) -> list[int]:
    """Somebody does something right before each of our first `times` tasks; the list counts our tasks."""
    tasks: Any = switch._ports._tasks
    run, count = tasks.run, [0]

    def late(start: Any, what: str, *more: Any) -> Any:
        count[0] += 1
        if count[0] <= times:
            how()
        return run(start, what, *more)

    monkeypatch.setattr(tasks, "run", late)
    return count


def test_a_change_of_something_that_is_not_ours_does_not_stop_a_write(bench: Bench, switch: Switch) -> None:
    port = ports(switch)[0]
    bench.operator.edit_port(bench.operator.switch("tenant"), port.key, name="a name")
    [result] = apply(switch, opened(port, 101))
    assert result.outcome is Outcome.DONE, result.detail
    assert bench.operator.port(bench.operator.switch("tenant"), port.key).config.name == "a name"


def test_claim_and_open_of_one_plan_follow_each_other(switch: Switch) -> None:
    port = ports(switch)[0]
    assert apply(switch, opened(port, 101, Gate.CLAIM))[0].outcome is Outcome.DONE
    [result] = apply(switch, opened(port, 101, Gate.OPEN))
    assert result.outcome is Outcome.DONE, result.detail
    assert not ports(switch)[0].blocked


def test_a_hand_made_change_between_claim_and_open_is_seen(bench: Bench, switch: Switch) -> None:
    port = ports(switch)[0]
    apply(switch, opened(port, 101, Gate.CLAIM))
    bench.operator.edit_port(bench.operator.switch("tenant"), port.key, vid=333)
    [result] = apply(switch, opened(port, 101, Gate.OPEN))
    assert result.outcome is Outcome.RETRY
    assert "changed" in result.detail
    assert ports(switch)[0].blocked


def test_a_conflict_in_the_last_moment_is_read_again_and_retried(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ports(switch)[0]
    tenant = bench.operator.switch("tenant")
    count = meddle(monkeypatch, switch, 2, lambda: bench.operator.edit_port(tenant, port.key, name="x"))
    [result] = apply(switch, opened(port, 101))
    assert result.outcome is Outcome.DONE, result.detail
    assert count == [3]


def test_conflicts_without_end_are_shown_after_three_attempts(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ports(switch)[0]
    tenant = bench.operator.switch("tenant")
    count = meddle(monkeypatch, switch, 99, lambda: bench.operator.edit_port(tenant, port.key, name="x"))
    [result] = apply(switch, opened(port, 101))
    assert result.outcome is Outcome.RETRY
    assert "ConcurrentAccess" in result.detail
    assert count == [3]


def test_a_write_whose_task_succeeds_but_does_not_take_is_seen_by_the_next_look_and_told(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ports(switch)[0]
    tasks: Any = switch._ports._tasks
    run = tasks.run
    monkeypatch.setattr(tasks, "run", lambda start, what, *more: None)
    apply(switch, opened(port, 101))
    assert ports(switch)[0] == port
    [result] = apply(switch, opened(port, 101))
    assert result.outcome is Outcome.RETRY
    assert "closed" in result.detail, "what it holds instead"
    monkeypatch.setattr(tasks, "run", run)
    [result] = apply(switch, opened(port, 101))
    assert result.outcome is Outcome.DONE, result.detail
    assert not ports(switch)[0].blocked


def test_a_port_whose_group_forbids_the_override_does_not_stop_the_others(bench: Bench, switch: Switch) -> None:
    rigid = bench.operator.make_port_group("tenant", "rigid", 9, vlanOverrideAllowed=False)
    for number in range(5):
        bench.operator.make_vm(f"r{number}", "esx1", rigid if number == 2 else _red(bench))
    bad = [port for port in ports(switch) if port.port_group == rigid]
    good = [port for port in ports(switch) if port.host == bad[0].host and port not in bad]
    results = apply(switch, *(opened(port, 100 + number) for number, port in enumerate([*good[:2], *bad, *good[2:]])))
    assert [result.outcome for result in results] == [
        Outcome.RETRY if result.change.action.key == bad[0].key else Outcome.DONE  # type: ignore[union-attr]
        for result in results
    ]
    assert len(results) == len(good) + 1
    assert all(not port.blocked for port in ports(switch) if port.key in {one.key for one in good})


def test_where_one_host_does_not_take_its_part_of_a_write_the_others_ports_are_written(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    [lost] = [host.id for host in bench.vcenter.inventory.read().hosts.values() if host.name == "esx2"]
    before = sorted(ports(switch), key=lambda port: port.host == lost)  # its port is the last of them
    count = meddle(monkeypatch, switch, 0, lambda: None)
    actions = [replace(opened(port, 100 + number), host=None) for number, port in enumerate(before)]
    with bench.simulator.faults.during(Fault("HostNotConnected"), method="applyDVPort", host="esx2", in_task=True):
        results = apply(switch, *actions)
    assert [result.outcome for result in results] == [Outcome.DONE, Outcome.DONE, Outcome.RETRY]
    assert "HostNotConnected" in results[-1].detail
    assert count == [1], "one task, whose outcome was read back"
    assert {port.key for port in ports(switch) if port.blocked} == {before[-1].key}


def _red(bench: Bench) -> str:
    return str(bench.operator.named(vim.dvs.DistributedVirtualPortgroup, "red").key)


def test_ports_of_one_host_go_out_in_one_task(bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        bench.operator.make_vm(f"v{number}", "esx1", _red(bench))
    count = meddle(monkeypatch, switch, 0, lambda: None)
    results = apply(switch, *(opened(port, 100 + number) for number, port in enumerate(ports(switch))))
    assert {result.outcome for result in results} == {Outcome.DONE}
    assert count == [3], "three hosts"


def test_an_alteration_leaves_what_is_not_ours_as_it_is(bench: Bench, switch: Switch) -> None:
    red = make(switch, spec("mine"))
    group = bench.operator.port_group(red.key)
    setting = VmwareSwitch.VmwarePortConfigPolicy(
        securityPolicy=VmwareSwitch.SecurityPolicy(
            inherited=False, forgedTransmits=vim.BoolPolicy(inherited=False, value=True)
        )
    )
    policy = group.config.policy
    policy.uplinkTeamingOverrideAllowed, policy.vlanOverrideAllowed = True, False
    by_hand = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion=group.config.configVersion,
        defaultPortConfig=setting,
        policy=policy,
        numPorts=32,
        description=group.config.description + "\nAsk Jo before touching.",
    )
    bench.operator.wait(group.ReconfigureDVPortgroup_Task(by_hand))
    now = switch.observe().port_groups[red.key]
    assert not now.vlan_override, "drift"
    [result] = apply(switch, AlterPortGroup(dvs(switch), red.key, now.version, spec("mine", vid=44)))
    assert result.outcome is Outcome.DONE, result.detail
    after = switch.observe().port_groups[red.key]
    assert (after.vlan, after.vlan_override, after.blocked) == (Access(Vid(44)), True, False)
    config = group.config
    assert after.forged_transmits
    assert config.policy.uplinkTeamingOverrideAllowed
    assert config.numPorts == 32
    assert config.description.endswith("Ask Jo before touching.")
    assert config.name == "mine"


def test_a_port_group_whose_key_is_not_the_id_of_its_object_is_written_and_removed(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So they are in a vCenter that was restored from a backup; and another one's id may be the key of ours by now."""
    first, second = make(switch, spec("first", "one")).key, make(switch, spec("second", "two")).key
    swapped = {first: second, second: first}

    def restored(managed: Any, read: dict[str, Any]) -> dict[str, Any]:
        key = swapped.get(managed._GetMoId())
        if key is not None and "key" in read:
            read["key"] = key
        if key is not None and "config" in read and hasattr(read["config"], "version"):
            read["config"] = replace(read["config"], key=key)
        return read

    for name in ("properties", "properties_with"):
        really = getattr(switch_module, name)
        monkeypatch.setattr(
            switch_module,
            name,
            lambda *asked, really=really, **how: {
                managed: restored(managed, read) for managed, read in really(*asked, **how).items()
            },
        )
    switch._known = {}
    seen = switch.observe().port_groups
    assert {key: seen[key].name for key in swapped} == {first: "second", second: "first"}
    [result] = apply(switch, AlterPortGroup(dvs(switch), second, seen[second].version, spec("first", "one", vid=44)))
    assert result.outcome is Outcome.DONE, result.detail
    assert bench.operator.port_group(first).config.defaultPortConfig.vlan.vlanId == 44
    [result] = apply(switch, RemovePortGroup(dvs(switch), first, spec("second", "two").mark))
    assert result.outcome is Outcome.DONE, result.detail
    assert [group.name for group in bench.operator.all(PortGroup) if group.name in ("first", "second")] == ["first"]


def test_a_mark_of_a_newer_release_is_left_alone(bench: Bench, switch: Switch) -> None:
    text = marks.encoded(spec("x").mark).replace("isthmus/1", "isthmus/2")
    key = bench.operator.make_port_group("tenant", "newer", 7, description=text)
    assert switch.observe().port_groups[key].mark is None
    version = switch.observe().port_groups[key].version
    for action in (
        CreatePortGroup(dvs(switch), spec("newer")),
        AlterPortGroup(dvs(switch), key, version, spec("newer")),
        RemovePortGroup(dvs(switch), key, spec("newer").mark),
    ):
        [result] = apply(switch, action)
        assert result.outcome is Outcome.REFUSED
        assert "schema 2" in result.detail
    assert switch.observe().port_groups[key].version == version


def test_a_name_held_by_another_switch_is_refused_with_its_holder(bench: Bench, switch: Switch) -> None:
    marked = marks.encoded(spec("its mark").mark)
    for name, description in (("shared name", ""), ("its mark", marked), ("its old mark", marks.HANDED_BACK + marked)):
        key = bench.operator.make_port_group("uplink", name, 7, description)
        [result] = apply(switch, CreatePortGroup(dvs(switch), spec(name)))
        assert result.outcome is Outcome.REFUSED, description
        assert key in result.detail


HOSTILE = {
    "newline": "a\nb\r\nc",
    "escape": "%2f%5c%25 / \\ %",
    "long": "x" * 10_000,
    "right-to-left": "\u202egnp.exe\u202c",
    "html": "<script>alert(1)</script>",
    "shell": "$(reboot); `id` | 'x' \"y\"",
    "null and controls": "a\x00\x01\x1b[31mb",
    "emoji": "net \U0001f600",
    "nothing": "\u200b \n",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_name_or_network_id_breaks_a_port_group(bench: Bench, switch: Switch, name: str) -> None:
    wanted = spec(name, network=name.replace("x" * 10_000, "x" * 500))
    made = make(switch, wanted)
    assert made.mark == wanted.mark
    assert 0 < len(made.name) <= 80
    assert made.name.isprintable()
    assert make(switch, wanted).key == made.key, "found again by its mark, not by its name"
    [result] = apply(switch, RemovePortGroup(dvs(switch), made.key, wanted.mark))
    assert result.outcome is Outcome.DONE, result.detail


@pytest.mark.parametrize("name", [n for n in HOSTILE.values() if len(n) < 80], ids=lambda n: repr(n)[:12])
def test_no_name_that_others_give_breaks_a_read(bench: Bench, switch: Switch, name: str) -> None:
    harmless = "".join(c for c in name if c == "\n" or ord(c) >= 32)  # what XML carries unchanged
    vm = bench.operator.named(vim.VirtualMachine, "a")
    escaped = harmless.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    bench.operator.rename(vm, escaped)
    bench.operator.rename(bench.operator.port_group(_red(bench)), escaped)
    found = bench.vcenter.inventory.read()
    assert plain(escaped) in {nic.vm_name for nic in found.nics.values()}
    port = next(port for port in ports(switch) if port.nic and port.nic.vm == vm.config.instanceUuid)
    [result] = apply(switch, opened(port, 101))
    assert result.outcome is Outcome.DONE, result.detail
    assert result.detail.isprintable()


def calls_of(session: Any) -> list[str]:
    """The methods that this session calls from now on, as pyVmomi calls them."""
    calls: list[str] = []
    serialized = session._stub.SerializeRequest
    session._stub.SerializeRequest = lambda mo, info, args: (calls.append(info.name), serialized(mo, info, args))[1]
    return calls


def test_a_read_of_an_unchanged_switch_reads_no_settings_again(bench: Bench, switch: Switch) -> None:
    first = switch.observe()
    session: Any = switch._session
    calls = calls_of(session)
    assert switch.observe() == first
    assert calls == ["RetrievePropertiesEx", "FetchPorts"]  # FetchDVPorts, as pyVmomi calls it


@pytest.mark.parametrize("page", [1, 3])
def test_a_switch_that_is_told_in_many_pages_is_read_whole(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    for number in range(7):
        make(switch, spec(f"net{number}", f"net{number}", 100 + number))
    told_at_once = switch.observe()
    assert len(told_at_once.port_groups) == 7 + 3
    monkeypatch.setattr("isthmus.adapters.vcenter.reading.PAGE", page)
    another = bench.again()
    try:
        assert another.switch("tenant").observe() == told_at_once
    finally:
        another.close()


def test_one_port_is_opened_with_three_calls_beside_the_waiting(bench: Bench, switch: Switch) -> None:
    port = ports(switch)[0]
    session: Any = switch._session
    calls = calls_of(session)
    apply(switch, opened(port, 101))
    first = [name for name in calls if name != "WaitForUpdatesEx"]
    calls.clear()
    apply(switch, opened(ports(switch)[0], 102))
    again = [name for name in calls if name != "WaitForUpdatesEx"]
    assert len(first) <= 6, first  # with what waits for tasks, made once
    assert len(again) <= 5, again  # with the observation of the second round


def test_the_other_switch_is_never_touched(bench: Bench, switch: Switch) -> None:
    other = bench.vcenter.switch("uplink")
    before = other.observe()
    make(switch, spec("n"))
    apply(switch, *(opened(port, 101) for port in ports(switch)[:1]))
    assert other.observe() == before
    assert any(group.is_uplink for group in before.port_groups.values())


def test_a_free_port_with_a_leftover_override_is_seen_and_can_be_bared(bench: Bench, switch: Switch) -> None:
    key = bench.operator.make_port_group("tenant", "keeps", 0, portConfigResetAtDisconnect=False)
    nic = bench.operator.make_vm("gone", "esx1", key)
    port = next(port for port in ports(switch) if port.port_group == key)
    bench.operator.edit_port(bench.operator.switch("tenant"), port.key, vid=55)
    bench.operator.remove(bench.operator.vm(nic))
    left = next(port for port in ports(switch) if port.port_group == key)
    assert (left.vlan, left.connected, left.nic, left.cookie) == (Access(Vid(55)), False, None, None)
    [result] = apply(switch, replace(opened(left, 1, Gate.BARE), vid=None))
    assert result.outcome is Outcome.DONE, result.detail
    assert not [port for port in ports(switch) if port.port_group == key]


def test_what_vcenter_does_not_accept_of_one_port_group_stops_no_other(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise vmodl.fault.InvalidArgument(invalidProperty="spec.description")

    meddle(monkeypatch, switch, 1, refuse)
    results = apply(
        switch, CreatePortGroup(dvs(switch), spec("one", "n1")), CreatePortGroup(dvs(switch), spec("two", "n2"))
    )
    assert sorted(result.outcome.value for result in results) == ["done", "refused"]
    assert "spec.description" in "".join(result.detail for result in results)


def test_a_write_whose_connection_breaks_is_the_vcenters_trouble_not_the_ports(bench: Bench, switch: Switch) -> None:
    port = ports(switch)[0]
    bench.simulator.faults.add(Drop(), method="ReconfigureDVPort_Task")
    [result] = apply(switch, opened(port, 11))
    assert result.outcome is Outcome.UNREACHABLE


def test_a_vm_that_comes_up_while_the_ports_are_read_is_named(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.vcenter.inventory.read()
    read, made = dvports.each_dv_port, []

    def late(*asked: Any) -> None:
        made.append(bench.operator.make_vm("late", "esx1", _red(bench)))
        read(*asked)

    monkeypatch.setattr(dvports, "each_dv_port", late)
    named = {port.nic for port in ports(switch)}
    assert set(made) <= named
    assert len(made) == 1


@pytest.mark.parametrize("fault", [vmodl.fault.SystemError, vmodl.fault.InvalidArgument])
def test_a_port_that_no_batch_can_contain_stops_none_of_the_others(
    bench: Bench, switch: Switch, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    made = [bench.operator.make_vm(f"p{number}", "esx1", _red(bench)) for number in range(4)]
    here = [port for port in ports(switch) if port.nic in made]
    poison = here[0].key
    inner: Any = type(switch._ports._dvs)
    reconfigure = inner.ReconfigureDVPort_Task

    def refusing(dvs: Any, specs: Sequence[Any]) -> Any:
        if poison in {spec.key for spec in specs}:
            raise fault()
        return reconfigure(dvs, specs)

    monkeypatch.setattr(inner, "ReconfigureDVPort_Task", refusing)
    results = apply(switch, *(opened(port, 100 + number) for number, port in enumerate(here)))
    assert [result.outcome for result in results] == [Outcome.RETRY, *[Outcome.DONE] * 3]
